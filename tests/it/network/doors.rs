//! A kernel without nf_tables: sbx listens at the ports that rules name. The verdicts are the same.

use std::io::Write as _;
use std::net::UdpSocket;

use super::publish::{ECHO, ask};
use super::world::{ASK, OTHER, SERVER, SERVER_6, WITHOUT_NF_TABLES, World, connections, echo, serve};
use crate::harness::{Ran, Sbx, Who};

fn run(who: Who, spec: &str, line: &str) -> Ran {
    Sbx::new(who).spec(spec).through(WITHOUT_NF_TABLES).sh(line).run()
}

#[test]
fn what_rules_name_is_reached_and_nothing_else() {
    let Some(mut world) = World::new(&["nginx", "curl", "dnsmasq", "python3"]) else { return };
    world.web();
    let dns = world.names(&[("crates.example", SERVER), ("evil.example", OTHER)]);
    let spec =
        format!("network egress {{ {dns}; allow \"crates.example:80\" \"2001:db8::/32:80\" \"{SERVER}:8080\" }}");
    let line = format!(
        "{ASK} ask http://crates.example/; ask http://crates.example/large | wc -c; ask 'http://[{SERVER_6}]/'; ask http://{SERVER}:8080/; \
         ask http://{OTHER}/; ask http://{OTHER}:8080/; ask http://{SERVER}:81/; curl -sS http://evil.example/ 2>/dev/null; echo $?"
    );
    for who in Who::all() {
        let ran = run(who, &spec, &line);
        let answers = [
            "hello from crates.example",
            "1048576",
            &format!("hello from [{SERVER_6}]"),
            &format!("hello from {SERVER}:8080"),
            "refused",
            "refused",
            "refused",
            "6",
        ];
        assert_eq!(ran.ok().lines().collect::<Vec<_>>(), answers, "{ran:?}");
        let seen = connections(&ran);
        for line in [
            "allowed tcp crates.example:80 x2".to_owned(),
            format!("allowed tcp {SERVER_6}:80 x1"),
            format!("refused tcp {OTHER}:80 x1"),
            format!("refused tcp {OTHER}:8080 x1"),
        ] {
            assert!(seen.contains(&line), "{line}: {seen:?}");
        }
        // To where nobody listens the kernel says no by itself.
        assert!(!seen.iter().any(|it| it.contains(":81 ")), "{seen:?}");
        let warnings = ran.report["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|it| it.as_str().unwrap().contains("no nf_tables with TPROXY")), "{warnings:?}");
    }
}

#[test]
fn datagrams_and_the_hosts_own_are_as_ever() {
    let Some(_world) = World::new(&["python3"]) else { return };
    for address in [format!("{SERVER}:5000"), format!("[{SERVER_6}]:5000"), format!("{OTHER}:5000")] {
        let socket = UdpSocket::bind(&address).unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((count, from)) = socket.recv_from(&mut bytes) {
                socket.send_to(&bytes[..count], from).unwrap();
            }
        });
    }
    serve("127.0.0.1:7002", echo);
    serve("127.0.0.1:7003", echo);
    let line = format!(
        "python3 -c \"
import socket
def ask(f, a, p):
    s = socket.socket(f, socket.SOCK_DGRAM); s.settimeout(3); s.connect((a, p)); s.send(b'x')
    try: return s.recv(9)
    except OSError as e: return type(e).__name__
for f, a in ((2, '{SERVER}'), (10, '{SERVER_6}'), (2, '{OTHER}')): print(ask(f, a, 5000), ask(f, a, 5001))
for port in (7002, 7003):
    try: s = socket.create_connection(('127.0.0.1', port), 3); s.send(b'x'); print(s.recv(1))
    except OSError as e: print(type(e).__name__)
s = socket.socket(2, 2, 1); s.settimeout(1); s.sendto(bytes([8, 0, 247, 254, 0, 0, 0, 1]), ('198.51.100.7', 0))
try: print(s.recv(99))
except OSError as e: print('no answer')
\""
    );
    let spec = format!("network egress {{ allow \"{SERVER}:5000\" \"[{SERVER_6}]:5000\" \"127.0.0.1:7002\" }}");
    for who in Who::all() {
        let ran = run(who, &spec, &line);
        let lines: Vec<_> = ran.ok().lines().collect();
        assert_eq!(lines[0], "b'x' ConnectionRefusedError", "{ran:?}");
        assert_eq!(lines[1], lines[0], "{ran:?}");
        assert!(!lines[2].contains("b'x'") && !lines[2].contains("Timeout"), "{ran:?}");
        assert_eq!(lines[3..], ["b'x'", "ConnectionRefusedError", "no answer"], "{ran:?}");
        assert!(connections(&ran).iter().any(|it| it.starts_with(&format!("refused udp {OTHER}:5000"))), "{ran:?}");
    }
}

#[test]
fn what_a_list_of_ports_cannot_do_is_said() {
    let Some(_world) = World::new(&["python3"]) else { return };
    for (spec, words, place) in [
        (
            "network egress {\n  allow \"a.example:80\" \"*\"\n}",
            "`*`, with all ports, needs nf_tables",
            "spec.kdl:2:24",
        ),
        ("network egress {\n  allow \"a.example\"\n}", "write the ports: `:80,443`", "spec.kdl:2:9"),
        ("network egress { allow \"a.example:1-129\" }", "a way out to 129 ports needs", "spec.kdl:1"),
        ("capabilities \"SYS_ADMIN\"\nnetwork egress", "remove the capability", "spec.kdl:1"),
        ("network bridge \"none\"", "the bridge `none` needs nf_tables", "spec.kdl:1"),
    ] {
        let ran = run(Who::Root, spec, "echo ran");
        ran.refused(words);
        for words in [place, "modprobe -a nf_tables nft_tproxy", "EPROTONOSUPPORT"] {
            assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
        }
    }
    let ran = run(Who::Root, "network egress { allow \"a.example:1-50,54-128\" \"*:60\" }", "echo ran");
    assert_eq!(ran.ok(), "ran", "as many as there can be");
}

#[test]
fn what_is_published_leads_inside_and_never_to_where_the_gateway_listens() {
    let Some(_world) = World::new(&["python3"]) else { return };
    serve("127.0.0.1:7000", |mut connection| connection.write_all(b"from the host").unwrap());
    for (publish, words) in [
        (
            "publish 8080 7000",
            "`publish` to the port 7000 inside, at which a rule lets the sandbox out, needs nf_tables",
        ),
        ("publish 8080 7000 protocol=\"udp\"", "`publish` to the port 7000 inside, at which"),
        ("publish 8080 53", "`publish` to the port 53 inside, at which sbx answers for names, needs nf_tables"),
        ("publish 8080 53 protocol=\"udp\"", "`publish` to the port 53 inside, at which sbx"),
        ("publish 8080 1", "the port 1 inside is sbx's own"),
    ] {
        let ran = run(Who::Root, &format!("network egress {{\n allow \"127.0.0.1:7000\"\n {publish}\n}}"), "echo ran");
        ran.refused(words);
        assert!(ran.stderr.contains("spec.kdl:3") && ran.stderr.contains("another port"), "{ran:?}");
    }
    let spec = "network egress { allow \"127.0.0.1:7000\"; publish 8080 8000 }";
    let sbx = Sbx::new(Who::Root).spec(spec).through(WITHOUT_NF_TABLES).sh(ECHO);
    let running = sbx.start();
    running.await_output("ready");
    assert_eq!(ask("127.0.0.1:8080", b"from inside"), b"from inside");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait();
}

#[test]
fn the_plan_says_which_it_is() {
    let Some(_world) = World::new(&["python3"]) else { return };
    for who in Who::all() {
        let sbx = || Sbx::new(who).spec("network egress { allow \"*:80,443\" }").verb(&["plan"]).cmd(&["true"]);
        let with = sbx().run();
        assert!(with.stdout.contains("intercept") && !with.stdout.contains("silence-pings"), "{with:?}");
        let without = sbx().through(WITHOUT_NF_TABLES).run();
        assert!(!without.stdout.contains("intercept"), "{without:?}");
        assert!(without.stdout.contains("silence-pings"), "{without:?}");
        assert!(without.stdout.contains("port=53 port=80 port=443"), "{without:?}");
    }
}

#[test]
fn the_doctor_says_what_is_missing() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let ran = Sbx::new(Who::Root).verb(&["doctor"]).through(WITHOUT_NF_TABLES).run();
    let said: Vec<_> = ran.stdout.lines().skip_while(|line| !line.contains("network: egress")).collect();
    assert!(said[0].starts_with("limited") && said[0].contains("EPROTONOSUPPORT"), "{ran:?}");
    assert!(said[1].contains("modprobe -a nf_tables nft_tproxy"), "{ran:?}");
    assert!(said[2].starts_with("limited") && said[2].contains("network: bridge"), "{ran:?}");
}

#[test]
fn cases_of_tests_have_it_too() {
    let Some(mut world) = World::new(&["nginx", "curl", "python3"]) else { return };
    world.web();
    let spec = format!(
        "network egress {{ allow \"{SERVER}:80\" }}\ntest \"asks\" {{ command \"curl\" \"-sS\" \"http://{SERVER}/\"; expect {{ stdout \"hello from {SERVER}\\n\" }} }}"
    );
    let sbx = Sbx::new(Who::Root).file("way.sbx.kdl", spec.as_bytes());
    let ran = sbx.verb(&["test", "way.sbx.kdl"]).through(WITHOUT_NF_TABLES).run();
    assert_eq!(ran.code(), 0, "{ran:?}");
}
