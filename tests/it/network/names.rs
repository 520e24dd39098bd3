//! Names: only those that are allowed are answered for, an address counts as a name only if it was resolved here, and
//! what a request says of its host has to agree.

use super::world::{ASK, OTHER, RESOLVER, SERVER, World, await_port, connections, echo, serve, sh};
use crate::harness::{Sbx, Who};

pub(super) const NAMES: [(&str, &str); 4] = [
    ("crates.example", SERVER),
    ("debian.example", SERVER),
    ("evil.example", SERVER),
    ("inside.example", "169.254.0.9"),
];

/// Returns a spec in which the resolver is `dns`.
pub(super) fn egress(dns: &str, rules: &str) -> String {
    format!("network egress {{ {dns}; {rules} }}")
}

#[test]
fn a_name_that_is_allowed_is_found_and_reached_and_no_other() {
    let Some(mut world) = World::new(&["nginx", "dnsmasq", "curl"]) else { return };
    world.web();
    let dns = world.names(&NAMES);
    for who in Who::all() {
        let sbx = Sbx::new(who).spec(&egress(&dns, "allow \"crates.example:80\" \"*.debian.example:80\""));
        let ran = sbx.sh(
            "curl -sS http://crates.example/; curl -sS http://Crates.Example./; curl -sS http://a.b.debian.example/; \
             for name in debian.example evil.example crates.example.evil.example; do curl -sS -m 5 http://$name/; echo $?; done",
        );
        let ran = ran.run();
        // nginx is told the host as the client has it.
        let expected = "hello from crates.example\nhello from Crates.Example.\nhello from a.b.debian.example\n6\n6\n6";
        assert_eq!(ran.ok(), expected, "{ran:?}");
        let seen = connections(&ran);
        assert!(seen.contains(&"allowed tcp crates.example:80 x2".to_owned()), "{seen:?}");
        assert!(seen.contains(&"allowed tcp a.b.debian.example:80 x1".to_owned()), "{seen:?}");
        assert!(seen.iter().any(|it| it.starts_with("refused dns evil.example")), "{seen:?}");
    }
}

#[test]
fn whoever_is_asked_it_is_sbx_that_answers() {
    let Some(mut world) = World::new(&["dnsmasq", "dig"]) else { return };
    let dns = world.names(&NAMES);
    let line = "dig +short crates.example; dig +short @8.8.8.8 crates.example; dig +short +tcp @9.9.9.9 crates.example; \
                dig +short @8.8.8.8 evil.example; dig @8.8.8.8 evil.example | grep -o 'status: [A-Z]*'; \
                dig crates.example HTTPS | grep -o 'ANSWER: [0-9]*'; dig +noall +answer crates.example | awk '{print ($2 > 0 && $2 <= 60)}'";
    for who in Who::all() {
        let ran = Sbx::new(who).spec(&egress(&dns, "allow \"crates.example:443\"")).sh(line).run();
        let lines: Vec<_> = ran.ok().lines().collect();
        assert_eq!(lines[..3], [SERVER; 3], "{ran:?}");
        assert!(matches!(lines[3], "status: REFUSED" | "status: NXDOMAIN"), "{ran:?}");
        assert_eq!(lines[4..], ["ANSWER: 0", "1"], "{ran:?}");
    }
}

#[test]
fn an_address_is_a_name_only_if_it_was_asked_for() {
    let Some(mut world) = World::new(&["nginx", "dnsmasq", "curl"]) else { return };
    world.web();
    let dns = world.names(&NAMES);
    let line = format!(
        "{ASK} ask -H 'Host: crates.example' http://{SERVER}/; ask http://crates.example/; \
         ask -H 'Host: crates.example' http://{SERVER}/; ask -H 'Host: evil.example' http://crates.example/"
    );
    let ran = Sbx::new(Who::Root).spec(&egress(&dns, "allow \"crates.example:80\"")).sh(&line).run();
    let lines: Vec<_> = ran.ok().lines().collect();
    assert_eq!(lines, ["refused", "hello from crates.example", "hello from crates.example", "refused"], "{ran:?}");
    let seen = connections(&ran);
    assert_eq!(seen.iter().filter(|it| it.starts_with("refused tcp")).count(), 2, "{seen:?}");
}

#[test]
fn a_word_is_let_go_and_a_request_in_pieces_is_judged_as_one() {
    let Some(mut world) = World::new(&["dnsmasq", "python3"]) else { return };
    let dns = world.names(&NAMES);
    serve(&format!("{SERVER}:9000"), echo);
    let line = "python3 -c \"
import socket, time
for rest in ['it\\n', '\\n', ' / HTTP/1.1\\r\\nHost: crates.example\\r\\n\\r\\n', ' / HTTP/1.1\\r\\nHost: evil.example\\r\\n\\r\\n']:
    s = socket.create_connection(('crates.example', 9000), 5)
    heard = b''
    try:
        for said in 'GE', 'T', rest:
            s.send(said.encode())
            wanted = len(heard) + len(said)
            while len(heard) < wanted: heard += s.recv(999) or 1/0
        print(heard)
    except OSError as e: print(heard, type(e).__name__)
\"";
    let ran = Sbx::new(Who::Root).spec(&egress(&dns, "allow \"crates.example:9000\"")).sh(line).run();
    let expected = [
        "b'GETit\\n'",
        "b'GET\\n'",
        "b'GET / HTTP/1.1\\r\\nHost: crates.example\\r\\n\\r\\n'",
        "b'GET' ConnectionResetError",
    ];
    assert_eq!(ran.ok().lines().collect::<Vec<_>>(), expected, "{ran:?}");
    let seen = connections(&ran);
    assert!(seen.contains(&"allowed tcp crates.example:9000 x3".to_owned()), "{seen:?}");
    assert!(seen.contains(&"refused tcp crates.example:9000 x1".to_owned()), "{seen:?}");
}

#[test]
fn a_name_does_not_lead_into_the_host() {
    let Some(mut world) = World::new(&["dnsmasq", "curl"]) else { return };
    let dns = world.names(&NAMES);
    let line = "curl -sS -m 5 http://inside.example/; echo $?";
    let ran = Sbx::new(Who::Root).spec(&egress(&dns, "allow \"*\"")).sh(line).run();
    // No address is told, so nothing is tried.
    assert_eq!(ran.ok(), "6", "{ran:?}");
    let seen = connections(&ran);
    assert!(!seen.iter().any(|it| it.contains("tcp") || it.contains("allowed")), "{seen:?}");
    let found = &ran.report["network"]["connections"][0];
    assert_eq!((found["verdict"].as_str(), found["address"].as_str()), (Some("refused"), Some("169.254.0.9")));
}

#[test]
fn quic_does_not_pass_in_a_flow_that_began_as_something_else() {
    let Some(mut world) = World::new(&["dnsmasq", "python3"]) else { return };
    let dns = world.names(&NAMES);
    let server = std::net::UdpSocket::bind(format!("{SERVER}:443")).unwrap();
    server.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let line = "python3 -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.connect((NAME, 443))
hello = bytes([0xc3, 0, 0, 0, 1]) + bytes(1195)
s.send(b'x'); s.send(hello)
try: s.recv(9)
except OSError as e: print(type(e).__name__)
s.send(b'y')\"";
    for (rules, name) in
        [("allow \"crates.example:443\"", "crates.example"), ("allow \"*\"; deny \"evil.example\"", SERVER)]
    {
        let ran = Sbx::new(Who::Root).spec(&egress(&dns, rules)).sh(&line.replace("NAME", &format!("'{name}'"))).run();
        assert_ne!(ran.ok(), "TimeoutError", "it is told at once: {ran:?}");
        let mut heard = Vec::new();
        while let Ok(count) = server.recv(&mut [0; 2000]) {
            heard.push(count);
        }
        assert_eq!(heard, [1, 1], "{ran:?}");
        let seen = ran.report["network"]["connections"].as_array().unwrap();
        assert!(seen.iter().any(|it| it["reason"] == "QUIC is carried to allowed addresses only"), "{ran:?}");
    }
}

#[test]
fn tls_to_another_name_is_refused() {
    let Some(mut world) = World::new(&["nginx", "dnsmasq", "curl", "openssl"]) else { return };
    let place = world.file("x", "");
    let place = place.trim_end_matches("/x");
    sh(&format!(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout {place}/key -out {place}/cert -subj /CN=crates.example -days 9 2>/dev/null"
    ));
    let config = format!(
        "daemon off; master_process off; pid {place}/t.pid; error_log {place}/t.log; events {{}}\n\
         http {{ access_log off; server {{ listen {SERVER}:443 ssl; ssl_certificate {place}/cert; ssl_certificate_key {place}/key;\n\
         location / {{ return 200 \"hello from $ssl_server_name\\n\"; }} }} }}\n"
    );
    let config = world.file("tls.conf", &config);
    world.start(&["nginx", "-c", &config]);
    await_port(&format!("{SERVER}:443"));
    let dns = world.names(&NAMES);
    let line = "curl -sSk https://crates.example/; curl -sSk -m 5 --connect-to evil.example:443:crates.example:443 https://evil.example/; echo $?; \
                curl -sSk -m 5 https://evil.example/; echo $?";
    for who in Who::all() {
        let ran = Sbx::new(who).spec(&egress(&dns, "allow \"crates.example:443\"")).sh(line).run();
        let lines: Vec<_> = ran.ok().lines().collect();
        assert_eq!((lines[0], lines[2]), ("hello from crates.example", "6"), "{ran:?}");
        assert!(["35", "56", "52"].contains(&lines[1]), "{ran:?}");
        let reasons = ran.report["network"]["connections"].as_array().unwrap().iter();
        assert!(reasons.clone().any(|it| it["reason"] == "the request names another host"), "{ran:?}");
    }
}

#[test]
fn the_hosts_own_resolver_is_asked_where_the_spec_names_none() {
    let Some(mut world) = World::new(&["nginx", "dnsmasq", "curl", "unshare"]) else { return };
    world.web();
    world.names(&NAMES);
    let conf = world.file("resolv.conf", &format!("nameserver {RESOLVER}\n"));
    let hosts = world.file("hosts", &format!("127.0.0.1 localhost\n{OTHER} listed.example\n"));
    let line = format!(
        "unshare -m sh -c 'mount --bind {conf} /etc/resolv.conf && mount --bind {hosts} /etc/hosts && exec \"$@\"' sh \"$@\""
    );
    let sbx = Sbx::new(Who::Root).spec("network egress { allow \"crates.example:80\" \"listed.example:80\" }");
    let ran = sbx.through(&line).sh("curl -sS http://crates.example/; curl -sS http://listed.example/").run();
    assert_eq!(ran.ok(), "hello from crates.example\nhello from listed.example", "{ran:?}");
}
