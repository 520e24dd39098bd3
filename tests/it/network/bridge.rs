//! Sandboxes on one bridge: they reach each other by address and by name, the way out is the gateway's, and nothing
//! of it is left.

use super::world::{ASK as REQUEST, OTHER, SERVER, World, connections, sh};
use crate::harness::{Running, Sbx, Who};

const SERVE: &str = "python3 -u -c \"
import socket
s = socket.create_server(('0.0.0.0', 8000)); print('ready')
while True:
    c, p = s.accept(); c.sendall(p[0].encode()); c.close()\"";

const ASK: &str = "python3 -c \"
import socket, sys
for host in sys.argv[1:]:
    try: print(socket.create_connection((host, 8000), 5).recv(99).decode())
    except OSError as e: print(type(e).__name__)\"";

fn server(sbx: &Sbx) -> Running<'_> {
    let running = sbx.start();
    running.await_output("ready");
    running
}

#[test]
fn sandboxes_reach_each_other_by_address_and_by_name() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let first =
        Sbx::new(Who::Root).spec("hostname \"one\"\nnetwork bridge \"pair\" address=\"10.88.7.2/24\"").sh(SERVE);
    let first = (server(&first), &first).0;
    let sbx = Sbx::new(Who::Root).spec("network bridge \"pair\"");
    let ran = sbx
        .sh(&format!("{ASK} 10.88.7.2 one; cat /sys/class/net/eth0/operstate 2>/dev/null; ip -br addr show eth0"))
        .run();
    let lines: Vec<_> = ran.ok().lines().collect();
    assert_eq!(lines[..2], ["10.88.7.1"; 2], "{ran:?}");
    assert!(ran.stdout.contains("10.88.7.1/24"), "{ran:?}");
    assert_eq!(ran.report["network"]["mode"], "bridge");
    // On another bridge there is nobody of that name, and nobody at that address.
    let other = Sbx::new(Who::Root).spec("network bridge \"other\"").sh(&format!("{ASK} 10.88.7.2 one")).run();
    assert!(!other.stdout.contains("10.88"), "{other:?}");
    first.signal(nix::sys::signal::Signal::SIGTERM);
    first.wait();
    assert_eq!(left("pair|other"), "", "nothing is left");
}

/// What is on disk of these bridges, and what interfaces the host has.
fn left(names: &str) -> String {
    let directories = sh(&format!("ls /run/sbx/bridge 2>/dev/null | grep -E '^({names})$' || true"));
    let links = sh("ip -br link | grep -v '^lo ' || true");
    format!("{directories}{links}")
}

#[test]
fn the_way_out_of_a_bridge_is_the_gateways() {
    let Some(mut world) = World::new(&["nginx", "curl", "python3"]) else { return };
    world.web();
    let spec = format!("network bridge \"out\" {{ allow \"{SERVER}:80\" }}");
    let line = format!("{REQUEST} ask http://{SERVER}/; ask http://{OTHER}/");
    let ran = Sbx::new(Who::Root).spec(&spec).sh(&line).run();
    assert_eq!(ran.ok(), format!("hello from {SERVER}\nrefused"), "{ran:?}");
    assert_eq!(connections(&ran), [format!("allowed tcp {SERVER}:80 x1"), format!("refused tcp {OTHER}:80 x1")]);
}

#[test]
fn a_killed_sbx_leaves_no_interface_and_its_place_is_free() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let spec = "hostname \"gone\"\nnetwork bridge \"killed\" address=\"10.88.8.2/24\"";
    let first = Sbx::new(Who::Root).spec(spec).sh(SERVE);
    server(&first).murder();
    let again = Sbx::new(Who::Root).spec(spec).sh(&format!("{ASK} gone")).run();
    // The name is that of this one only, at its own address, where nobody listens.
    assert_eq!(again.ok(), "ConnectionRefusedError", "{again:?}");
    assert_eq!(left("killed"), "");
    let first = Sbx::new(Who::Root).spec(spec).sh(SERVE);
    server(&first).murder();
    Sbx::new(Who::Root).verb(&["gc"]).run();
    assert_eq!(left("killed"), "", "gc does it too");
}

#[test]
fn an_address_is_given_once() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let spec = "network bridge \"taken\" address=\"10.88.9.2/24\"";
    let first = Sbx::new(Who::Root).spec(spec).sh(SERVE);
    let running = server(&first);
    Sbx::new(Who::Root).spec(spec).sh("true").run().refused("is the address of another sandbox");
    let wide = "network bridge \"taken\" address=\"10.88.10.2/24\"";
    Sbx::new(Who::Root).spec(wide).sh("true").run().refused("is not of the bridge");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait();
}
