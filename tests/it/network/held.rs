//! What a sandboxed program can do to its own way out: cut it off, never widen it.

use super::world::{OTHER, SERVER, World, connections, sh};
use crate::harness::{Sbx, Who};

#[test]
fn with_capabilities_over_its_network_it_can_only_cut_itself_off() {
    let Some(mut world) = World::new(&["nginx", "curl", "ip", "nft"]) else { return };
    world.web();
    // Everything that leads to the gateway is taken away, and other ways are looked for.
    let line = format!(
        "ip link; curl -sS http://{SERVER}/; nft delete table inet sbx 2>/dev/null; ip route flush table main; \
         ip route add default dev lo 2>/dev/null; for a in {SERVER} {OTHER}; do curl -sS -m 3 http://$a/ 2>/dev/null; echo $?; done; \
         ip link add veth9 type veth peer name veth8 2>/dev/null; ip addr add 203.0.113.9/24 dev veth9 2>/dev/null; \
         ip link set veth9 up 2>/dev/null; curl -sS -m 3 http://{OTHER}/ 2>/dev/null; echo $?"
    );
    for who in Who::all() {
        let spec = format!(
            "network egress {{ allow \"{SERVER}:80\" }}\ncapabilities \"NET_ADMIN\" \"NET_RAW\"\nseccomp \"none\""
        );
        let ran = Sbx::new(who).spec(&spec).sh(&line).run();
        let said = ran.ok();
        assert_eq!(said.matches("hello from").count(), 1, "{ran:?}");
        assert!(said.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).all(|line| line != "0"));
        assert!(!said.contains("eth0"), "{ran:?}");
    }
}

#[test]
fn a_mark_of_its_own_does_not_pass_the_gateway_by() {
    let Some(mut world) = World::new(&["nginx", "python3"]) else { return };
    world.web();
    let line = format!(
        "python3 -c \"
import socket
s = socket.socket(); s.settimeout(3); s.setsockopt(socket.SOL_SOCKET, 36, 0x736278)
try: s.connect(('{OTHER}', 80)); print('connected')
except OSError as e: print(type(e).__name__)\""
    );
    let spec = format!("network egress {{ allow \"{SERVER}:80\" }}\ncapabilities \"NET_ADMIN\"");
    let ran = Sbx::new(Who::Root).spec(&spec).sh(&line).run();
    assert_eq!(ran.ok(), "ConnectionRefusedError", "{ran:?}");
}

#[test]
fn no_socket_of_the_set_up_is_left_to_the_command() {
    let Some(_world) = World::new(&["ls"]) else { return };
    for who in Who::all() {
        for mode in ["egress", "bridge \"held\""].into_iter().take(if who == Who::Root { 2 } else { 1 }) {
            let rules = "{ allow \"*\"; publish 8080 80; publish 8081 81 protocol=\"udp\" }";
            let ran = Sbx::new(who).spec(&format!("network {mode} {rules}"));
            let ran = ran.sh("ls /proc/self/fd | wc -l; ls -l /proc/1/fd 2>&1 | grep -c socket").run();
            // 0, 1, 2 and the directory itself; of pid 1 nothing is seen.
            assert_eq!(ran.stdout, "4\n0\n", "{mode}: {ran:?}");
        }
    }
}

#[test]
fn the_inlets_refuse_who_speaks_to_them() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let line = "python3 -c \"
import socket
for a in ('127.0.0.1', '::1'):
    try:
        s = socket.create_connection((a, 1), 3); s.settimeout(3); print(s.recv(1))
    except OSError as e: print(type(e).__name__)\"";
    let ran = Sbx::new(Who::Root).spec("network egress { allow \"*\" }").sh(line).run();
    assert!(ran.ok().lines().all(|line| line == "b''" || line.starts_with("Connection")), "{ran:?}");
    // By a rule, not because nobody listens at the host's.
    assert_eq!(connections(&ran), ["refused tcp 127.0.0.1:1 x1", "refused tcp ::1:1 x1"]);
}

#[test]
fn mounts_that_are_locked_do_not_change_the_network() {
    let Some(mut world) = World::new(&["nginx", "curl"]) else { return };
    world.web();
    // With this capability the network namespace is made later than otherwise.
    let spec = format!("network egress {{ allow \"{SERVER}:80\" }}\ncapabilities \"SYS_ADMIN\"");
    for who in Who::all() {
        let ran = Sbx::new(who).spec(&spec).sh(&format!("curl -sS http://{SERVER}/")).run();
        assert_eq!(ran.ok(), format!("hello from {SERVER}"), "{ran:?}");
        assert_eq!(connections(&ran), [format!("allowed tcp {SERVER}:80 x1")]);
    }
}

#[test]
fn the_hosts_own_root_has_a_way_out_too() {
    let Some(mut world) = World::new(&["nginx", "curl"]) else { return };
    world.web();
    for who in Who::all() {
        let spec = format!("namespaces \"user\" \"pid\" \"net\"\nnetwork egress {{ allow \"{SERVER}:80\" }}");
        let ran = Sbx::new(who).spec(&spec).sh(&format!("curl -sS http://{SERVER}/")).run();
        assert_eq!(ran.ok(), format!("hello from {SERVER}"), "{ran:?}");
    }
}

#[test]
fn other_roots_find_their_resolver_too() {
    let Some(mut world) = World::new(&["dnsmasq"]) else { return };
    if !crate::fixture::has_rootfs() {
        return;
    }
    let dns = world.names(&[("crates.example", SERVER)]);
    for who in Who::all() {
        for root in ["rootfs \"%/root\"", "rootfs \"%/root\" writable=\"no\""] {
            let ran = Sbx::new(who).spec(&format!("{root}\nnetwork egress {{ {dns}; allow \"crates.example\" }}"));
            let ran = ran.sh("cat /etc/resolv.conf /etc/hosts").run();
            assert!(ran.ok().starts_with("nameserver 192.0.0.8\n127.0.0.1 localhost sbx\n"), "{root} {ran:?}");
        }
    }
}

#[test]
fn a_root_whose_files_are_links_has_its_resolver_and_leads_nowhere_else() {
    let Some(mut world) = World::new(&["dnsmasq", "cp"]) else { return };
    if !crate::fixture::has_rootfs() {
        return;
    }
    let dns = world.names(&[("crates.example", SERVER)]);
    // As systemd-resolved has them, as a path of the sandbox's; to where the host has something; by another link; to
    // what is not there, in a directory that is; and to what is.
    let links = [
        "../run/systemd/resolve/stub-resolv.conf",
        "/run/systemd/resolve/stub-resolv.conf",
        "../../../../../../../@/canary",
        "@/canary",
        "@/made/in/vain",
        "/var/run/resolv.conf",
        "/work/not-there",
        "canary",
    ];
    for who in Who::all() {
        for link in links {
            for writable in ["no", "ephemeral"] {
                let sbx = Sbx::new(who).file("canary", b"of the host\n");
                let root = sbx.path("root").display().to_string();
                sh(&format!("cp -a {} {root}", crate::fixture::of(who).join("root").display()));
                let link = link.replace('@', &sbx.path("").display().to_string());
                sh(&format!(
                    "ln -s {link} {root}/etc/resolv.conf; ln -s {link}.hosts {root}/etc/hosts; ln -s ../run {root}/var/run"
                ));
                let spec = format!(
                    "rootfs \"@/root\" writable=\"{writable}\"\nnetwork egress {{ {dns}; allow \"crates.example\" }}"
                );
                let sbx = sbx.spec(&spec).sh("cat /etc/resolv.conf /etc/hosts");
                let ran = sbx.run();
                assert!(ran.ok().starts_with("nameserver 192.0.0.8\n127.0.0.1 localhost sbx\n"), "{link} {ran:?}");
                assert_eq!((sbx.read("canary").as_str(), sbx.path("made").exists()), ("of the host\n", false));
            }
        }
    }
}

#[test]
fn a_host_whose_file_leads_nowhere_gives_a_resolver_too() {
    let Some(mut world) = World::new(&["nginx", "dnsmasq", "unshare", "curl"]) else { return };
    let dns = world.names(&[("crates.example", SERVER)]);
    world.web();
    let place = world.file("x", "");
    let place = place.trim_end_matches("/x");
    // The directory of the host as it is, but for this file.
    let line = format!(
        "mkdir -p {place}/e && unshare -m sh -c 'mount -t tmpfs none {place}/e && mkdir {place}/e/u {place}/e/w && \
         mount -t overlay none -o lowerdir=/etc,upperdir={place}/e/u,workdir={place}/e/w /etc && \
         ln -snf ../run/nobody/resolv.conf /etc/resolv.conf && exec \"$@\"' sh \"$@\""
    );
    let sbx = Sbx::new(Who::Root).spec(&format!("network egress {{ {dns}; allow \"crates.example\" }}"));
    let ran = sbx.through(&line).sh("cat /etc/resolv.conf; curl -sS http://crates.example/").run();
    assert_eq!(ran.ok(), "nameserver 192.0.0.8\nhello from crates.example", "{ran:?}");
}
