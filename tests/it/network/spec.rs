//! `network` as text: what is read, what is refused, what the plan shows, and what it costs those who have none.

use sbx::spec::parse::parse;
use sbx::spec::{Network, Protocol};
use serde_json::json;

use crate::harness::{Sbx, Who};

#[test]
fn every_child_is_read() {
    let text = "network \"egress\" {\n allow \"crates.example:443\" \"10.0.0.0/8\"\n allow \"*:80\"\n deny \"10.1.0.0/16\"\n\
                publish \"[::1]:8080\" 80\n publish 53 5353 protocol=\"udp\"\n bandwidth \"1.5mbit\"\n latency \"20ms\"\n\
                loss \"1%\"\n dns \"10.0.0.2\" \"[2001:db8::1]:5353\"\n}";
    let spec = parse(text.as_bytes()).unwrap();
    let Network::Egress(rules) = spec.network.unwrap().value else { panic!("not egress") };
    assert_eq!((rules.allow.len(), rules.deny.len(), rules.publish.len(), rules.dns.len()), (3, 1, 2, 2));
    assert_eq!(rules.publish[1].value.protocol, Protocol::Udp);
    assert_eq!(rules.bandwidth.unwrap().value.0, 1_500_000);
    assert_eq!(rules.dns[1].value.to_string(), "[2001:db8::1]:5353");
}

#[test]
fn absent_empty_and_full_are_three_things() {
    let network = |text: &str| parse(text.as_bytes()).unwrap().network.map(|network| network.value);
    assert_eq!(network(""), None);
    let Some(Network::Egress(rules)) = network("network egress") else { panic!("not egress") };
    assert!(rules.allow.is_empty());
    for empty in ["network egress {}", "network egress { deny \"*\" }"] {
        let Some(Network::Egress(rules)) = network(empty) else { panic!("not egress") };
        assert!(rules.allow.is_empty(), "{empty}");
    }
    assert!(parse(b"network egress { allow }").is_err(), "a list of nothing");
    assert!(parse(b"network none { allow \"*\" }").is_err(), "`none` takes no block");
    assert!(parse(b"network host { allow \"*\" }").is_err());
}

#[test]
fn as_many_resolvers_are_taken_as_are_asked() {
    let text = |count: usize| {
        let list: Vec<_> = (1..=count).map(|number| format!("\"10.0.0.{number}\"")).collect();
        format!("network egress {{\n  dns {}\n  dns {}\n}}", list[..3].join(" "), list[3..].join(" "))
    };
    assert!(parse(text(6).as_bytes()).is_ok());
    let ran = Sbx::new(Who::Nobody).spec(&text(8)).verb(&["check"]).run();
    assert_ne!(ran.code(), 0, "{ran:?}");
    for words in ["`dns` takes 6 addresses at most", "spec.kdl:3:40"] {
        assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
    }
    assert_eq!(ran.stderr.matches("at most").count(), 1, "{ran:?}");
}

#[test]
fn what_is_not_known_of_the_network_is_null() {
    for who in Who::all() {
        for (network, connections) in [("host", json!(null)), ("none", json!([])), ("egress", json!([]))] {
            let ran = Sbx::new(who).spec(&format!("network {network}")).cmd(&["true"]).run();
            let found = &ran.report["network"];
            assert_eq!((&found["mode"], &found["connections"]), (&json!(network), &connections), "{ran:?}");
            let unlisted = if connections.is_null() { json!(null) } else { json!(0) };
            assert_eq!(found["unlisted_connections"], unlisted, "{ran:?}");
        }
    }
}

#[test]
fn a_bridge_is_for_root() {
    let ran = Sbx::new(Who::Nobody).spec("network bridge \"tests\"").sh("true").run();
    ran.refused("only root can connect a sandbox to a bridge");
}

#[test]
fn the_plan_shows_the_rules_and_where_they_stand() {
    let spec = "network egress {\n  allow \"crates.example:443\"\n  publish 8080 80\n}\ncommand \"true\"";
    let ran = Sbx::new(Who::Nobody).spec(spec).verb(&["plan"]).run();
    let line = |start: &str| ran.stdout.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("allow crates.example:443").ends_with("spec.kdl:2"), "{ran:?}");
    assert!(line("publish 127.0.0.1:8080->80/tcp").ends_with("spec.kdl:3"), "{ran:?}");
    for step in ["any-address", "intercept", "open-inlets"] {
        assert!(line(step).ends_with("spec.kdl:1"), "{step}: {ran:?}");
    }
}

#[test]
fn a_spec_without_a_way_out_has_nothing_of_it() {
    for spec in ["", "network none", "network host"] {
        let ran = Sbx::new(Who::Nobody).spec(&format!("{spec}\ncommand \"true\"")).verb(&["plan"]).run();
        assert!(ran.stdout.contains("exec true"), "{ran:?}");
        for word in ["any-address", "intercept", "open-inlets", "resolv.conf", "/etc/hosts"] {
            assert!(!ran.stdout.contains(word), "{spec}: {word}");
        }
    }
}

/// The calls by which a way out is made; a run without one makes none of them.
#[test]
fn a_run_without_a_way_out_makes_no_call_for_it() {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return crate::harness::skip("no strace: ./test installs it");
    }
    for who in Who::all() {
        let count = |spec: &str| {
            let sbx = Sbx::new(who).spec(spec).through("exec strace -f -o \"$HOME/calls\" \"$@\"").sh("true");
            sbx.run().ok();
            let calls = sbx.read("calls");
            let of = |word: &str| calls.lines().filter(|line| line.contains(word)).count();
            [of("AF_NETLINK"), of("setsockopt("), of("bind("), of("SOCK_RAW")]
        };
        assert_eq!(count("network none"), [0; 4], "{who:?}");
        assert!(count("network egress")[0] >= 2, "the calls are not seen");
    }
}
