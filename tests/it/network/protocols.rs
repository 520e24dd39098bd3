//! Real protocols through the gateway: one in which the server speaks first, half-closed streams, many connections,
//! datagrams, pings, large transfers both ways.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream, UdpSocket};

use super::world::{SERVER, SERVER_6, World, await_port, connections, echo, serve, sh};
use crate::harness::{Sbx, Who};

#[test]
fn redis_is_spoken() {
    let Some(mut world) = World::new(&["redis-server", "redis-cli"]) else { return };
    world.start(&["redis-server", "--bind", SERVER, "--protected-mode", "no", "--save", ""]);
    await_port(&format!("{SERVER}:6379"));
    for who in Who::all() {
        let spec = format!("network egress {{ allow \"{SERVER}:6379\" }}");
        let line = format!("redis-cli -h {SERVER} set key value && redis-cli -h {SERVER} get key");
        assert_eq!(Sbx::new(who).spec(&spec).sh(&line).run().ok(), "OK\nvalue");
    }
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    let Some(_world) = World::new(&["python3"]) else { return };
    serve(&format!("{SERVER}:25"), |mut connection| {
        connection.write_all(b"220 ready\r\n").unwrap();
        echo(connection);
    });
    let line = format!(
        "python3 -c \"import socket; s = socket.create_connection(('{SERVER}', 25), 5); print(s.recv(99)); s.send(b'EHLO'); print(s.recv(99))\""
    );
    let ran = Sbx::new(Who::Root).spec(&format!("network egress {{ allow \"{SERVER}\" }}")).sh(&line).run();
    assert_eq!(ran.ok(), "b'220 ready\\r\\n'\nb'EHLO'", "{ran:?}");
}

#[test]
fn a_half_closed_stream_goes_on_in_the_other_direction() {
    let Some(_world) = World::new(&["python3"]) else { return };
    // Answers only when it has seen the end.
    serve(&format!("{SERVER}:9000"), |mut connection| {
        let mut all = Vec::new();
        connection.read_to_end(&mut all).unwrap();
        connection.write_all(format!("{} bytes", all.len()).as_bytes()).unwrap();
        connection.shutdown(Shutdown::Both).ok();
    });
    let line = format!(
        "python3 -c \"
import socket
s = socket.create_connection(('{SERVER}', 9000), 5); s.sendall(b'x' * 3000000); s.shutdown(socket.SHUT_WR); print(s.recv(99), s.recv(99))\""
    );
    let ran = Sbx::new(Who::Root).spec(&format!("network egress {{ allow \"{SERVER}\" }}")).sh(&line).run();
    assert_eq!(ran.ok(), "b'3000000 bytes' b''", "{ran:?}");
    assert_eq!(ran.report["network"]["connections"][0]["sent_bytes"], 3_000_000);
}

#[test]
fn what_was_sent_before_the_end_arrives() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let (sender, receiver) = std::sync::mpsc::channel();
    let listener = std::net::TcpListener::bind(format!("{SERVER}:9001")).unwrap();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        sender.send(std::io::copy(&mut connection, &mut std::io::sink()).unwrap()).unwrap();
    });
    let line = format!(
        "exec python3 -c \"import socket,os; s = socket.create_connection(('{SERVER}', 9001)); s.sendall(b'x' * 100000); os._exit(0)\""
    );
    Sbx::new(Who::Root).spec(&format!("network egress {{ allow \"{SERVER}\" }}")).sh(&line).run().ok();
    assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(10)), Ok(100_000));
}

#[test]
fn datagrams_go_both_ways_and_answers_come_from_whom_they_were_sent_to() {
    let Some(_world) = World::new(&["python3"]) else { return };
    for address in [format!("{SERVER}:5000"), format!("[{SERVER_6}]:5000")] {
        let socket = UdpSocket::bind(&address).unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((count, from)) = socket.recv_from(&mut bytes) {
                socket.send_to(&bytes[..count], from).unwrap();
            }
        });
    }
    let line = format!(
        "python3 -c \"
import socket
for f, a in ((socket.AF_INET, '{SERVER}'), (socket.AF_INET6, '{SERVER_6}')):
    s = socket.socket(f, socket.SOCK_DGRAM); s.settimeout(5); s.sendto(b'x' * 1400, (a, 5000)); d, p = s.recvfrom(9999); print(len(d), *p[:2])
    s.connect((a, 5000)); s.send(b'connected'); print(s.recv(99))
    s.connect((a, 5001)); s.send(b'refused')
    try: print(s.recv(99))
    except TimeoutError: print('silence')
    except OSError: print('refused')
\""
    );
    for who in Who::all() {
        let spec = format!("network egress {{ allow \"{SERVER}:5000\" \"[{SERVER_6}]:5000\" }}");
        let ran = Sbx::new(who).spec(&spec).sh(&line).run();
        let expected = [SERVER, SERVER_6].map(|it| format!("1400 {it} 5000\nb'connected'\nrefused"));
        assert_eq!(ran.ok(), expected.join("\n"), "{ran:?}");
        // Both flows are of one socket with two destinations each.
        let seen = connections(&ran);
        assert!(seen.iter().any(|it| it.starts_with(&format!("allowed udp {SERVER}:5000"))), "{seen:?}");
        assert!(seen.iter().any(|it| it.starts_with(&format!("refused udp {SERVER_6}:5001"))), "{seen:?}");
    }
}

#[test]
fn two_thousand_connections_at_once() {
    let Some(_world) = World::new(&["python3"]) else { return };
    sbx::sys::entry::raise_open_files();
    let listener = std::net::TcpListener::bind(format!("{SERVER}:9002")).unwrap();
    // The library's own queue is short: this is about the gateway.
    sbx::sys::net::listen(sbx::sys::entry::number(&listener), 4096).unwrap();
    std::thread::spawn(move || {
        let mut all: Vec<TcpStream> = Vec::new();
        for mut connection in listener.incoming().flatten() {
            connection.write_all(b"!").unwrap();
            all.push(connection);
        }
    });
    let line = format!(
        "ulimit -n 4096; python3 -c \"
import socket
all = [socket.create_connection(('{SERVER}', 9002), 20) for _ in range(2000)]
print(sum(len(s.recv(1)) for s in all))\""
    );
    for who in Who::all() {
        let ran = Sbx::new(who).spec(&format!("network egress {{ allow \"{SERVER}\" }}")).sh(&line).run();
        assert_eq!(ran.ok(), "2000", "{ran:?}");
        assert_eq!(connections(&ran), [format!("allowed tcp {SERVER}:9002 x2000")]);
    }
}

#[test]
fn a_transfer_is_whole_in_both_directions() {
    let Some(mut world) = World::new(&["nginx", "wget", "curl", "python3"]) else { return };
    world.web();
    serve(&format!("{SERVER}:9003"), echo);
    let spec = format!("network egress {{ allow \"{SERVER}\" }}");
    let line = format!(
        "wget -q -O - http://{SERVER}/large | wc -c; curl -sS http://{SERVER}/large | sha256sum; head -c 1048576 /dev/zero | tr '\\0' x | sha256sum
python3 -c \"
import socket, threading, hashlib, os
data = os.urandom(20000000); s = socket.create_connection(('{SERVER}', 9003), 20)
threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
got = bytearray()
while piece := s.recv(1 << 16): got += piece
print(bytes(got) == data)\""
    );
    for who in Who::all() {
        let ran = Sbx::new(who).spec(&spec).sh(&line).run();
        let lines: Vec<_> = ran.ok().lines().collect();
        assert_eq!((lines[0], lines[3]), ("1048576", "True"), "{ran:?}");
        assert_eq!(lines[1], lines[2]);
    }
}

#[test]
fn git_clones_over_http() {
    let Some(mut world) = World::new(&["nginx", "git"]) else { return };
    world.web();
    let place = world.file("x", "");
    let place = place.trim_end_matches("/x");
    sh(&format!(
        "cd {place} && git init -q -b main w && cd w && git -c user.name=a -c user.email=a@example commit -q --allow-empty \
         -m first && cd .. && git clone -q --bare w w.git && cd w.git && git update-server-info"
    ));
    let config = format!(
        "daemon off; master_process off; pid {place}/g.pid; error_log {place}/g.log; events {{}}\n\
         http {{ access_log off; server {{ listen {SERVER}:81; root {place}; }} }}\n"
    );
    let config = world.file("git.conf", &config);
    world.start(&["nginx", "-c", &config]);
    await_port(&format!("{SERVER}:81"));
    for who in Who::all() {
        let line = format!("cd /tmp && git clone -q http://{SERVER}:81/w.git w && git -C w log --format=%s");
        let ran = Sbx::new(who).spec(&format!("network egress {{ allow \"{SERVER}:81\" }}")).sh(&line).run();
        assert_eq!(ran.ok(), "first", "{ran:?}");
    }
}

#[test]
fn pings_are_answered_by_whom_they_reach() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let line = format!(
        "python3 -c \"
import socket, struct
for a in ('{SERVER}', '198.51.100.7', '{SERVER_6}', '2001:db9::7'):
    family, protocol, kind = (socket.AF_INET6, socket.IPPROTO_ICMPV6, 128) if ':' in a else (socket.AF_INET, socket.IPPROTO_ICMP, 8)
    s = socket.socket(family, socket.SOCK_DGRAM, protocol); s.settimeout(1)
    s.sendto(struct.pack('>BBHHH', kind, 0, 0, 0, 1) + b'ping', (a, 0))
    try: print(a, s.recv(99)[-4:])
    except OSError as e: print(a, 'no answer')
\""
    );
    let spec = format!("network egress {{ allow \"{SERVER}\" \"[{SERVER_6}]\" }}");
    // Nobody may ping but root, by other means; then everybody.
    for group in ["1 0", "0 2147483647"] {
        sh(&format!("echo {group} > /proc/sys/net/ipv4/ping_group_range"));
        let ran = Sbx::new(Who::Root).spec(&spec).sh(&line).run();
        let answers = format!("{SERVER} b'ping'\n198.51.100.7 no answer\n{SERVER_6} b'ping'\n2001:db9::7 no answer");
        assert_eq!(ran.ok(), answers, "{group}: {ran:?}");
        let expected = [
            format!("allowed icmp {SERVER} x1"),
            "refused icmp 198.51.100.7 x1".to_owned(),
            format!("allowed icmp {SERVER_6} x1"),
            "refused icmp 2001:db9::7 x1".to_owned(),
        ];
        assert_eq!(connections(&ran), expected, "{group}");
    }
}
