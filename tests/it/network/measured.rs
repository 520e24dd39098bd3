//! `bandwidth` as a real client measures it: iperf3, in both directions at once.

use serde_json::Value;

use super::world::{SERVER, World, await_port};
use crate::harness::{Sbx, Who};

/// What one direction of the network lets through, in bits a second.
const RATE: f64 = 20e6;

/// Returns what iperf3 found with these flags, in five seconds after the first, in which buffers fill.
fn measure(port: u16, flags: &str) -> Option<Value> {
    let mut world = World::new(&["iperf3", "nice"])?;
    // Before whatever else the machine does meanwhile: this is about sbx.
    world.start(&["nice", "-n", "-15", "iperf3", "--server", "--bind", SERVER, "--port", &port.to_string()]);
    await_port(&format!("{SERVER}:{port}"));
    let line =
        format!("exec iperf3 --client {SERVER} --port {port} --time 5 --omit 1 --json --connect-timeout 5000 {flags}");
    let spec = format!("network egress {{ allow \"{SERVER}:{port}\"; bandwidth \"20mbit\" }}");
    let ran = Sbx::new(Who::Root).spec(&spec).through("exec nice -n -15 \"$@\"").sh(&line).run();
    Some(serde_json::from_str(ran.ok()).unwrap())
}

/// What arrived, by direction.
fn arrived(found: &Value) -> [f64; 2] {
    ["sum_received", "sum_received_bidir_reverse"].map(|sum| found["end"][sum]["bits_per_second"].as_f64().unwrap())
}

/// Never more than the twentieth too much; and where the machine has nothing else to do, never less. Who shares it with
/// other tests has three tries.
#[track_caller]
fn accurate(port: u16, flags: &str) {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let Some(found) = measure(port, flags) else { return };
        let rates = arrived(&found);
        assert!(rates.iter().all(|rate| rate / RATE <= 1.05), "{rates:?} for {RATE}: {}", found["end"]);
        if rates.iter().all(|rate| rate / RATE >= 0.95) {
            return;
        }
        seen.push(rates);
    }
    panic!("{seen:?} for {RATE}");
}

#[test]
fn streams_have_the_bandwidth_in_each_direction() {
    accurate(5201, "--bidir");
}

#[test]
fn datagrams_have_the_bandwidth_in_each_direction() {
    // Half as much again is sent as may go; what does not go is lost.
    accurate(5202, "--bidir --udp --bitrate 30M --length 1400");
}
