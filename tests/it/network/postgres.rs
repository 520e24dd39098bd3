//! PostgreSQL through the gateway, as a protocol that is not HTTP: the client speaks first, eight bytes by which it
//! asks for TLS (SSLRequest), and only then the one or the other begins.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::world::{OTHER, SERVER, World, await_port, connections, sh};
use crate::harness::{Sbx, Who, skip};

/// Where Debian has the programs of the server, by version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|it| it.path().join("bin")).filter(|it| it.join("postgres").exists()).max();
    if found.is_none() {
        skip("no server of `postgresql`: ./test installs it");
    }
    found
}

/// Starts a server with TLS at 5432 of [`SERVER`] and one without at 5433, with one user whom they trust.
fn start(world: &mut World, programs: &std::path::Path) {
    let place = PathBuf::from(world.file("x", "")).parent().unwrap().to_owned();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (place, programs) = (place.display(), programs.display());
    // It refuses to be root.
    let user = "setpriv --reuid postgres --regid postgres --clear-groups";
    sh(&format!(
        "mkdir {place}/pg && chown postgres:postgres {place}/pg && cd {place}/pg && \
         {user} {programs}/initdb -D tls -A trust -U tester --no-sync --locale=C >/dev/null && \
         echo 'host all all all trust' >> tls/pg_hba.conf && cp -a tls plain && \
         openssl req -x509 -newkey rsa:2048 -nodes -keyout tls/server.key -out tls/server.crt -subj /CN=db.example -days 9 2>/dev/null && \
         chmod 600 tls/server.key && chown postgres:postgres tls/server.*"
    ));
    for (port, data, tls) in [("5432", "tls", "on"), ("5433", "plain", "off")] {
        let words = format!(
            "exec {user} {programs}/postgres -D {place}/pg/{data} -p {port} -c ssl={tls} -c fsync=off \
             -c listen_addresses={SERVER} -c unix_socket_directories= -c shared_buffers=8MB"
        );
        world.start(&["sh", "-c", &words]);
    }
    for port in [5432, 5433] {
        await_port(&format!("{SERVER}:{port}"));
        let ready = format!(
            "for n in $(seq 100); do {programs}/pg_isready -q -h {SERVER} -p {port} && exit 0; sleep 0.1; done; exit 1"
        );
        sh(&ready);
    }
}

/// Asks whether the connection has TLS, and for more than a buffer holds.
fn ask(host: &str, port: u16, mode: &str) -> String {
    format!(
        "psql -X -A -t \"host={host} port={port} user=tester dbname=postgres sslmode={mode} connect_timeout=5\" \
         -c 'select ssl from pg_stat_ssl where pid = pg_backend_pid()' -c \"select length(repeat('x', 3000000))\" \
         -c \"select repeat('x', 300000)\" 2>&1 | cut -c -40 | tr '\\n' ' '; echo; "
    )
}

const ANSWER: &str = "3000000 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ";

#[test]
fn postgres_is_spoken_with_tls_and_without_by_address_and_by_name() {
    let Some(mut world) = World::new(&["psql", "dnsmasq", "openssl", "setpriv"]) else { return };
    let Some(programs) = programs() else { return };
    start(&mut world, &programs);
    let dns = world.names(&[("db.example", SERVER)]);
    for who in Who::all() {
        for (host, rules) in [(SERVER, format!("allow \"{SERVER}:5432,5433\"")), ("db.example", named(&dns))] {
            let line = [
                ask(host, 5432, "disable"),
                ask(host, 5432, "prefer"),
                ask(host, 5432, "require"),
                ask(host, 5433, "prefer"),
                ask(host, 5433, "disable"),
            ];
            let ran = Sbx::new(who).spec(&format!("network egress {{ {rules} }}")).sh(&line.concat()).run();
            let expected = ["f", "t", "t", "f", "f"].map(|tls| format!("{tls} {ANSWER}"));
            assert_eq!(ran.ok().lines().collect::<Vec<_>>(), expected, "{ran:?}");
            let seen = connections(&ran);
            assert!(seen.contains(&format!("allowed tcp {host}:5432 x3")), "{seen:?}");
            assert!(seen.contains(&format!("allowed tcp {host}:5433 x2")), "{seen:?}");
            assert!(!seen.iter().any(|it| it.starts_with("refused")), "{seen:?}");
        }
    }
}

fn named(dns: &str) -> String {
    format!("{dns}; allow \"db.example:5432,5433\"")
}

#[test]
fn a_database_that_is_not_allowed_is_refused_at_once() {
    let Some(mut world) = World::new(&["psql", "dnsmasq"]) else { return };
    let dns = world.names(&[("db.example", SERVER), ("other.example", OTHER)]);
    let line = "for host in other.example 203.0.113.3; do psql -X \"host=$host user=tester sslmode=prefer connect_timeout=5\" -c 'select 1' 2>&1; done";
    let ran =
        Sbx::new(Who::Root).spec(&format!("network egress {{ {} }}", named(&dns))).sh(&format!("{line}; true")).run();
    assert!(ran.ok().contains("could not translate host name"), "{ran:?}");
    // A reset, of which psql has several opinions.
    assert!(ran.ok().contains(&format!("connection to server at \"{OTHER}\", port 5432 failed")), "{ran:?}");
    assert!(!ran.ok().contains("timeout expired"), "{ran:?}");
    assert!(connections(&ran).iter().any(|it| it.starts_with(&format!("refused tcp {OTHER}:5432"))), "{ran:?}");
}
