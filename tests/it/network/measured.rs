//! `bandwidth` as a real client measures it: iperf3, in both directions at once.

use serde_json::Value;

use super::world::{SERVER, World, await_port};
use crate::harness::{Sbx, Who};

/// What one direction of the network lets through, in bits a second.
const RATE: f64 = 20e6;

/// Returns what iperf3 found with these flags, in five seconds after the first, in which buffers fill.
fn measure(port: u16, flags: &str) -> Option<Value> {
    let mut world = World::new(&["iperf3"])?;
    world.start(&["iperf3", "--server", "--bind", SERVER, "--port", &port.to_string()]);
    await_port(&format!("{SERVER}:{port}"));
    let line =
        format!("exec iperf3 --client {SERVER} --port {port} --time 5 --omit 1 --json --connect-timeout 5000 {flags}");
    let spec = format!("network egress {{ allow \"{SERVER}:{port}\"; bandwidth \"20mbit\" }}");
    let ran = Sbx::new(Who::Root).spec(&spec).sh(&line).run();
    Some(serde_json::from_str(ran.ok()).unwrap())
}

/// What arrived, by direction.
fn arrived(found: &Value) -> [f64; 2] {
    ["sum_received", "sum_received_bidir_reverse"].map(|sum| found["end"][sum]["bits_per_second"].as_f64().unwrap())
}

#[track_caller]
fn accurate(found: &Value) {
    for rate in arrived(found) {
        assert!((rate / RATE - 1.0).abs() <= 0.05, "{rate} for {RATE}: {}", found["end"]);
    }
}

#[test]
fn streams_have_the_bandwidth_in_each_direction() {
    let Some(found) = measure(5201, "--bidir") else { return };
    accurate(&found);
}

#[test]
fn datagrams_have_the_bandwidth_in_each_direction() {
    // Half as much again is sent as may go; what does not go is lost.
    let Some(found) = measure(5202, "--bidir --udp --bitrate 30M --length 1400") else { return };
    accurate(&found);
}
