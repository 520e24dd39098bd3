//! How fast a network through sbx is, beside pasta and slirp4netns, and beside the pair of interfaces that all of them
//! go through. Root makes two network namespaces, one for a server and one in which everything else runs; the
//! clients run there as nobody, and this program itself is the client and the server.
#![expect(clippy::print_stdout, reason = "it prints a table")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made is over")]

mod client;
mod contenders;
mod server;
mod world;

use std::path::PathBuf;

use contenders::{Contender, contenders};
use world::World;

/// Where the server is.
pub(crate) const SERVER: &str = "203.0.113.2:5201";

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some("client") => return client::run(&words[2], &words[3]),
        Some("server") => return server::run(&words[2]),
        _ => {}
    }
    if !nix::unistd::geteuid().is_root() {
        println!("SKIP: only root can make the network namespaces in which this is measured");
        return;
    }
    let world = World::new();
    println!("Kernel {}, {} processors, both interfaces of the pair with an MTU of 1500.\n", kernel(), processors());
    println!("| | out, Gbit/s | in, Gbit/s | round trip, µs | connections a second |");
    println!("|---|---|---|---|---|");
    for contender in contenders(&world) {
        match contender {
            Contender::Missing(name) => println!("| {name} | not installed | | | |"),
            Contender::There(there) => {
                let [out, back] = ["out", "in"].map(|what| median(3, || there.ask(what)));
                let trip = median(3, || there.ask("trip"));
                let rate = median(3, || there.ask("connect"));
                println!("| {} | {:.2} | {:.2} | {:.0} | {:.0} |", there.name, out / 1e9, back / 1e9, trip / 1e3, rate);
            }
        }
    }
    let [none, egress] = ["network none", "network egress { allow \"*\"; }"].map(|spec| set_up(&world, spec));
    println!(
        "\nSet-up of a sandbox until its command starts, median of 200: {none:.2} ms with `network none`, {egress:.2} ms with"
    );
    println!("`network egress`: {:.2} ms more.", egress - none);
}

fn median(times: usize, mut one: impl FnMut() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..times).map(|_| one()).collect();
    all.sort_by(f64::total_cmp);
    all[times / 2]
}

/// Returns milliseconds, as the report has them.
fn set_up(world: &World, spec: &str) -> f64 {
    let path = world.place.path().join("set-up.kdl");
    std::fs::write(&path, format!("{spec}\ncommand \"true\"\n")).unwrap();
    median(200, || {
        let output =
            world.nobody(&[sbx().to_str().unwrap(), "run", "--report", "stdout", path.to_str().unwrap()]).output();
        let report: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
        report["time"]["setup_ns"].as_f64().unwrap() / 1e6
    })
}

/// The program that is measured.
pub(crate) fn sbx() -> PathBuf {
    std::env::var_os("SBX").map_or_else(|| env!("CARGO_BIN_EXE_sbx").into(), PathBuf::from)
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
}
