//! What may leave leaves, what may not is refused at once, and the report says so; by addresses.

use std::time::{Duration, Instant};

use super::world::{ASK, OTHER, SERVER, SERVER_6, World, connections, echo, serve};
use crate::harness::{Sbx, Who};

#[test]
fn an_allowed_address_is_reached_and_no_other() {
    let Some(mut world) = World::new(&["nginx", "curl"]) else { return };
    world.web();
    for who in Who::all() {
        let sbx = Sbx::new(who).spec(&format!("network egress {{ allow \"{SERVER}:80\" }}"));
        let ran = sbx.sh(&format!("{ASK} curl -sS http://{SERVER}/; ask http://{OTHER}/; ask http://{SERVER}:8080/"));
        let ran = ran.run();
        assert_eq!(ran.ok(), format!("hello from {SERVER}\nrefused\nrefused"), "{ran:?}");
        assert_eq!(
            connections(&ran),
            [
                format!("allowed tcp {SERVER}:80 x1"),
                format!("refused tcp {OTHER}:80 x1"),
                format!("refused tcp {SERVER}:8080 x1")
            ]
        );
        let first = &ran.report["network"]["connections"][0];
        assert!(first["sent_bytes"].as_u64() > Some(50) && first["received_bytes"].as_u64() > Some(100), "{first}");
        assert_eq!((ran.report["network"]["mode"].as_str(), first["to"].is_null()), (Some("egress"), true));
    }
}

#[test]
fn ipv6_is_as_good() {
    let Some(mut world) = World::new(&["nginx", "curl"]) else { return };
    world.web();
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("network egress { allow \"2001:db8::/32:80\" }");
        let ran = sbx.sh(&format!("{ASK} ask 'http://[{SERVER_6}]/'; ask 'http://[2001:db9::1]/'")).run();
        assert_eq!(ran.ok(), format!("hello from [{SERVER_6}]\nrefused"), "{ran:?}");
        assert_eq!(
            connections(&ran),
            [format!("allowed tcp {SERVER_6}:80 x1"), "refused tcp 2001:db9::1:80 x1".to_owned()]
        );
    }
}

#[test]
fn an_empty_list_lets_nothing_out_and_is_not_no_list() {
    let Some(mut world) = World::new(&["nginx", "curl"]) else { return };
    world.web();
    for (spec, flags) in [("network egress", &[][..]), ("network egress { }", &[]), ("", &["--network", "egress"])] {
        let begin = Instant::now();
        let ran = Sbx::new(Who::Root).spec(spec).flags(flags);
        let ran = ran.sh(&format!("{ASK} ask http://{SERVER}/")).run();
        assert_eq!(ran.ok(), "refused", "{spec} {flags:?} {ran:?}");
        assert_eq!(connections(&ran), [format!("refused tcp {SERVER}:80 x1")]);
        assert!(begin.elapsed() < Duration::from_secs(4), "refused by waiting");
    }
}

#[test]
fn deny_beats_allow() {
    let Some(mut world) = World::new(&["nginx", "curl"]) else { return };
    world.web();
    let spec = format!("network egress {{ deny \"{OTHER}\"; allow \"*:80\" }}");
    let line = format!("{ASK} ask http://{SERVER}/; ask http://{OTHER}/");
    let ran = Sbx::new(Who::Root).spec(&spec).sh(&line).run();
    assert_eq!(ran.ok(), format!("hello from {SERVER}\nrefused"), "{ran:?}");
}

#[test]
fn the_flag_adds_to_the_rules_of_the_file() {
    let Some(mut world) = World::new(&["nginx", "curl"]) else { return };
    world.web();
    let line = format!("curl -sS http://{SERVER}/; curl -sS http://{OTHER}/");
    let spec = format!("network egress {{ allow \"{SERVER}:80\" }}");
    let ran = Sbx::new(Who::Root).spec(&spec).flags(&["--allow", OTHER]).sh(&line).run();
    assert_eq!(ran.ok(), format!("hello from {SERVER}\nhello from {OTHER}"), "{ran:?}");
    let ran = Sbx::new(Who::Root).flags(&["--allow", "203.0.113.0/24"]).sh(&line).run();
    assert_eq!(ran.ok(), format!("hello from {SERVER}\nhello from {OTHER}"), "{ran:?}");
}

#[test]
fn the_hosts_loopback_and_link_local_are_out_of_reach_unless_written_out() {
    let Some(_world) = World::new(&["python3", "ip"]) else { return };
    super::world::sh("ip addr add 169.254.169.254/32 dev lo");
    // So that what is not refused is answered.
    for address in ["64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"] {
        super::world::sh(&format!("ip addr add {address}/128 dev lo nodad"));
        serve(&format!("[{address}]:7001"), echo);
    }
    for address in ["127.0.0.1:7001", "127.9.9.9:7001", "169.254.169.254:7001"] {
        serve(address, echo);
    }
    let ask = "import socket,sys\nfor a in sys.argv[1:]:\n  try:\n    s=socket.create_connection((a,7001),3); s.send(b'x'); print(a, s.recv(1))\n  except OSError as e: print(a, type(e).__name__)\n";
    // The first three are the sandbox's own loopback, where nobody listens.
    let addresses = [
        "127.9.9.9",
        "0.0.0.0",
        "::ffff:127.9.9.9",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ];
    let ran = Sbx::new(Who::Root).spec("network egress { allow \"*\" }").stdin(ask.as_bytes());
    let ran = ran.cmd(&[&["python3", "-"][..], &addresses].concat()).run();
    assert_eq!(ran.ok().lines().filter(|line| line.contains("b'x'")).count(), 0, "{ran:?}");
    assert_eq!(ran.ok().lines().count(), addresses.len());
    let expected = [
        "refused tcp 169.254.169.254:7001 x2",
        "refused tcp 64:ff9b::a9fe:a9fe:7001 x1",
        "refused tcp 2002:a9fe:a9fe::1:7001 x1",
    ];
    assert_eq!(connections(&ran), expected, "{ran:?}");
    let reasons = ran.report["network"]["connections"].as_array().unwrap().iter();
    assert!(reasons.clone().all(|it| it["reason"] == "an address of the host's own, written out by no rule"));
    let spec = "network egress { allow \"169.254.169.254:7001\" }";
    let ran = Sbx::new(Who::Root).spec(spec).stdin(ask.as_bytes());
    let ran = ran.cmd(&["python3", "-", "169.254.169.254"]).run();
    assert_eq!(ran.ok(), "169.254.169.254 b'x'", "{ran:?}");
}

#[test]
fn the_hosts_loopback_is_reached_where_a_rule_writes_it_out() {
    let Some(_world) = World::new(&["python3"]) else { return };
    for address in ["127.0.0.1:7002", "[::1]:7002", "127.0.0.1:7003"] {
        serve(address, echo);
    }
    let ask = "import socket,sys\nfor a in (('127.0.0.1', 7002), ('::1', 7002), ('127.0.0.1', 7003)):\n  try:\n    s=socket.create_connection(a,3); s.send(b'x'); print(s.recv(1))\n  except OSError as e: print('refused')\n";
    for who in Who::all() {
        let sbx =
            Sbx::new(who).spec("network egress { allow \"127.0.0.1:7002\" \"[::1]:7002\" }").stdin(ask.as_bytes());
        assert_eq!(sbx.cmd(&["python3", "-"]).run().ok(), "b'x'\nb'x'\nrefused");
    }
}

#[test]
fn what_runs_inside_is_reached_inside() {
    for who in Who::all() {
        let line = "python3 -c \"
import socket
s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); a, _ = s.accept()
a.send(b'four'); print(c.recv(4))
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.bind(('::1', 0)); u.sendto(b'six', u.getsockname()); print(u.recv(9))
s = socket.create_server(('0.0.0.0', 443)); c = socket.create_connection(('localhost', 443)); print('privileged')
\"";
        let ran = Sbx::new(who).spec("network egress { allow \"*:443\" }").sh(line).run();
        // Whoever is not root inside may not have port 443.
        assert!(ran.stdout.starts_with("b'four'\nb'six'\n"), "{ran:?}");
        assert_eq!(connections(&ran), [""; 0]);
    }
}

#[test]
fn an_upstream_that_cannot_be_reached_is_an_error_at_once_and_a_line_of_the_report() {
    let Some(_world) = World::new(&["curl"]) else { return };
    // Nobody listens; nobody knows the way.
    let spec = format!("network egress {{ allow \"{SERVER}:81\" \"198.51.100.1:80\" }}");
    let begin = Instant::now();
    let line = format!("{ASK} ask http://{SERVER}:81/; ask http://198.51.100.1/");
    let ran = Sbx::new(Who::Root).spec(&spec).sh(&line).run();
    assert_eq!(ran.ok(), "refused\nrefused", "{ran:?}");
    assert_eq!(
        connections(&ran),
        [format!("unreachable tcp {SERVER}:81 x1"), "unreachable tcp 198.51.100.1:80 x1".to_owned()]
    );
    let reasons: Vec<_> = (0..2).map(|at| ran.report["network"]["connections"][at]["reason"].clone()).collect();
    assert_eq!(reasons, ["connection refused", "network is unreachable"]);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_watcher_says_what_happens() {
    let Some(mut world) = World::new(&["nginx", "curl"]) else { return };
    world.web();
    let spec = format!("network egress {{ allow \"{SERVER}:80\" }}");
    let line = format!("curl -sS http://{SERVER}/; curl -sS -m 5 http://{OTHER}/ 2>/dev/null");
    let ran = Sbx::new(Who::Root).spec(&spec).flags(&["--watch-network"]).sh(&line).run();
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(
        lines,
        [
            format!("sbx: network: allowed tcp {SERVER}:80"),
            format!("sbx: network: refused tcp {OTHER}:80: no rule allows it")
        ]
    );
}
