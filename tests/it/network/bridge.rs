//! Sandboxes on one bridge: they reach each other by address and by name, the way out is the gateway's, and nothing
//! of it is left.

use std::path::Path;

use super::world::{ASK as REQUEST, OTHER, SERVER, SERVER_6, World, connections};
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
    let first = server(&first);
    assert_eq!(places(&["pair"]), ["pair"], "a bridge in use is seen");
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
    let answers: Vec<_> = other.ok().lines().collect();
    assert!(answers.len() == 2 && answers.iter().all(|answer| answer.to_lowercase().ends_with("error")), "{other:?}");
    first.signal(nix::sys::signal::Signal::SIGTERM);
    first.wait();
    assert_eq!(places(&["pair", "other"]), [""; 0], "nothing is left");
    assert_eq!(links(), ["lo"]);
}

#[test]
fn nobody_goes_out_by_the_gateway_of_a_neighbour() {
    let Some(_world) = World::new(&["python3", "ip"]) else { return };
    let spec = format!("network bridge \"near\" address=\"10.88.11.2/24\" {{ allow \"{SERVER}\" \"[{SERVER_6}]\" }}");
    let victim = Sbx::new(Who::Root).spec(&spec).sh(SERVE);
    let running = server(&victim);
    let line = format!(
        "ip route add {SERVER} via 10.88.11.2 && ip -6 route add {SERVER_6} via fd73:6278:a58:b00::a58:b02 && python3 -c \"
import socket, struct
def ping(a):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); s.sendto(struct.pack('>BBHHH', 8, 0, 0xf7ff - 7, 7, 0), (a, 0))
ping('{SERVER}'); ping('10.88.11.2')
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6); s.sendto(struct.pack('>BBHHH', 128, 0, 0, 7, 0), ('{SERVER_6}', 0))
for a in ('{SERVER}', '10.88.11.2', '{SERVER_6}'):
    try: print(socket.create_connection((a, 1), 3))
    except OSError as e: print(type(e).__name__)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b'x', ('{SERVER}', 1))\"; sleep 0.3"
    );
    let attacker = "network bridge \"near\"\ncapabilities \"NET_ADMIN\" \"NET_RAW\"\nseccomp \"none\"";
    let ran = Sbx::new(Who::Root).spec(attacker).sh(&line).run();
    assert_eq!(ran.ok().lines().collect::<Vec<_>>(), ["ConnectionRefusedError"; 3], "{ran:?}");
    // It went by its neighbour indeed, not by a gateway of its own.
    assert_eq!(connections(&ran), [""; 0], "of its own");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(connections(&running.wait()), [""; 0], "of the neighbour");
}

#[test]
fn sandboxes_speak_ipv6_to_each_other_at_once() {
    let Some(mut world) = World::new(&["python3", "nginx", "curl"]) else { return };
    world.web();
    let serve = "python3 -u -c \"
import socket
s = socket.create_server(('::', 8000), family=socket.AF_INET6, dualstack_ipv6=True); print('ready')
while True:
    c, p = s.accept(); c.sendall(p[0].encode()); c.close()\"";
    let first =
        Sbx::new(Who::Root).spec("hostname \"six\"\nnetwork bridge \"sixes\" address=\"10.88.11.2/24\"").sh(serve);
    let first = server(&first);
    let line = format!(
        "python3 -c \"
import socket, time
print(sorted({{it[4][0] for it in socket.getaddrinfo('six', 8000)}}))
begin = time.monotonic()
for f, host in ((10, 'fd73:6278:a58:b00::a58:b02'), (10, 'six'), (2, 'six')):
    s = socket.socket(f); s.settimeout(5); s.connect((host, 8000)); print(s.recv(99).decode())
print(time.monotonic() - begin < 0.9)\"
curl -sS 'http://[2001:db8::2]/'; {REQUEST} ask 'http://[2001:db9::2]/'; cat /proc/sys/net/ipv6/conf/eth0/accept_ra"
    );
    let spec = "network bridge \"sixes\" { allow \"[2001:db8::2]:80\" }";
    let ran = Sbx::new(Who::Root).spec(spec).sh(&line).run();
    let own = "fd73:6278:a58:b00::a58:b01";
    let expected = [
        "['10.88.11.2', 'fd73:6278:a58:b00::a58:b02']",
        own,
        own,
        "::ffff:10.88.11.1",
        "True",
        "hello from [2001:db8::2]",
        "refused",
        "0",
    ];
    assert_eq!(ran.ok().lines().collect::<Vec<_>>(), expected, "{ran:?}");
    first.signal(nix::sys::signal::Signal::SIGTERM);
    first.wait();
}

/// Which of these bridges have a place on disk.
fn places<'n>(names: &[&'n str]) -> Vec<&'n str> {
    names.iter().copied().filter(|name| Path::new("/run/sbx/bridge").join(name).exists()).collect()
}

/// The interfaces of the world, which has one of its own.
fn links() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
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
fn a_deny_that_cannot_be_held_towards_neighbours_is_refused() {
    let Some(_world) = World::new(&["python3"]) else { return };
    for (deny, address) in [
        ("10.88.14.3", " address=\"10.88.14.2/24\""),
        ("10.0.0.0/8:80", " address=\"10.88.14.2/24\""),
        ("[fd73:6278:a58:e00::a58:e03]:80", " address=\"10.88.14.2/24\""),
        ("fd73:6278::/33", ""),
        ("10.88.0.0/28", ""),
    ] {
        let spec = format!("network bridge \"held\"{address} {{\n  allow \"*\"\n  deny \"{deny}\"\n}}");
        let refused = |verb: &[&str]| {
            let sbx = Sbx::new(Who::Root).spec(&spec).sh("echo ran");
            let ran = if verb.is_empty() { sbx.run() } else { sbx.verb(verb).run() };
            assert_eq!(ran.code(), 125, "{deny}: {ran:?}");
            for words in ["cannot be held towards the other sandboxes on the bridge `held`", "spec.kdl:3:8", "hint:"] {
                assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
            }
        };
        refused(&[]);
        // Without an address none is known before the run.
        if !address.is_empty() || deny.contains("::") {
            refused(&["plan"]);
        }
        assert_eq!(places(&["held"]), [""; 0]);
    }
    let spec = "network bridge \"held\" { deny \"10.89.0.0/16\" \"fc00::/7\" \"*:25\" \"a.example\" }";
    assert_eq!(Sbx::new(Who::Root).spec(spec).sh("echo ran").run().ok(), "ran", "that is about the way out");
}

#[test]
fn a_neighbour_whose_name_is_denied_is_not_found_by_it() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let first =
        Sbx::new(Who::Root).spec("hostname \"one\"\nnetwork bridge \"names\" address=\"10.88.15.2/24\"").sh(SERVE);
    let first = server(&first);
    let sbx = Sbx::new(Who::Root).spec("network bridge \"names\" { deny \"one\" \"*.two\" }");
    let ran = sbx.sh(&format!("{ASK} one 10.88.15.2")).run();
    assert_eq!(ran.ok().lines().collect::<Vec<_>>(), ["gaierror", "10.88.15.1"], "{ran:?}");
    assert!(connections(&ran).iter().all(|it| it.starts_with("refused dns one:53")), "{ran:?}");
    first.signal(nix::sys::signal::Signal::SIGTERM);
    first.wait();
}

#[test]
fn a_set_up_that_fails_leaves_no_place() {
    let Some(_world) = World::new(&[]) else { return };
    for wrong in ["collect \"/tmp/x\" to=\"/nonexistent/dir/y\"", "mounts { bind \"/nonexistent\" \"/x\" }"] {
        let spec = format!("network bridge \"failed\"\n{wrong}");
        Sbx::new(Who::Root).spec(&spec).sh("echo ran").run().refused("/nonexistent");
        assert_eq!(places(&["failed"]), [""; 0], "{wrong}");
    }
}

#[test]
fn a_killed_sbx_leaves_no_interface_and_its_place_is_free() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let spec = "hostname \"gone\"\nnetwork bridge \"killed\" address=\"10.88.8.2/24\"";
    let first = Sbx::new(Who::Root).spec(spec).sh(SERVE);
    server(&first).murder();
    assert_eq!(places(&["killed"]), ["killed"], "there is something to remove");
    let again = Sbx::new(Who::Root).spec(spec).sh(&format!("{ASK} gone")).run();
    // The name is that of this one only, at its own address, where nobody listens.
    assert_eq!(again.ok(), "ConnectionRefusedError", "{again:?}");
    assert_eq!((places(&["killed"]), links()), (vec![], vec!["lo".to_owned()]));
    let first = Sbx::new(Who::Root).spec(spec).sh(SERVE);
    server(&first).murder();
    assert_eq!(places(&["killed"]), ["killed"], "there is something to remove");
    Sbx::new(Who::Root).verb(&["gc"]).run();
    assert_eq!(places(&["killed"]), [""; 0], "gc does it too");
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

#[test]
fn a_bridge_and_the_right_over_mounts_do_not_go_together() {
    if Who::root().is_none() {
        return;
    }
    for verb in ["run", "plan"] {
        let sbx = Sbx::new(Who::Root).spec("network bridge \"b\"\ncapabilities \"SYS_ADMIN\"").sh("true");
        let ran = if verb == "run" { sbx.run() } else { sbx.verb(&[verb]).run() };
        assert_eq!(ran.code(), 125, "{ran:?}");
        for words in [
            "`SYS_ADMIN`",
            "spec.kdl:1:1",
            "hint: remove `SYS_ADMIN` from `capabilities`, or write `network \"egress\"`",
        ] {
            assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
        }
    }
    assert_eq!(places(&["b"]), [""; 0]);
}
