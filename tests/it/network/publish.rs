//! Ports of the host that lead into the sandbox.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::world::{OTHER, SERVER, SERVER_6, WITHOUT_NF_TABLES, World, connections};
use crate::harness::{Sbx, Who};

pub(super) const ECHO: &str = "python3 -u -c \"
import socket, threading
s = socket.create_server(('127.0.0.1', 8000)); print('ready')
def serve(c):
    while d := c.recv(65536): c.sendall(d)
    c.close()
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()\"";

pub(super) fn ask(address: &str, what: &[u8]) -> Vec<u8> {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    connection.write_all(what).unwrap();
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    answer
}

#[test]
fn a_published_port_leads_inside() {
    let Some(_world) = World::new(&["python3"]) else { return };
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("network egress { publish 8080 8000; publish \"[::1]:8081\" 8000 }").sh(ECHO);
        let running = sbx.start();
        running.await_output("ready");
        assert_eq!(ask("127.0.0.1:8080", b"over IPv4"), b"over IPv4");
        assert_eq!(ask("[::1]:8081", b"over IPv6"), b"over IPv6");
        let large = vec![7; 3 << 20];
        assert!(ask_large("127.0.0.1:8080", &large) == large);
        // Many at once: each has a socket that is made for it.
        let many: Vec<_> = (0..200).map(|_| TcpStream::connect("127.0.0.1:8080").unwrap()).collect();
        for mut connection in &many {
            connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            connection.write_all(b"!").unwrap();
            assert_eq!(connection.read(&mut [0; 9]).unwrap(), 1);
        }
        drop(many);
        running.signal(nix::sys::signal::Signal::SIGTERM);
        let ran = running.wait();
        let seen = connections(&ran);
        assert!(seen.iter().any(|it| it.starts_with("published tcp")), "{seen:?} {ran:?}");
        assert!(TcpStream::connect("127.0.0.1:8080").is_err(), "still published");
    }
}

fn ask_large(address: &str, what: &[u8]) -> Vec<u8> {
    let mut connection = TcpStream::connect(address).unwrap();
    let mut writer = connection.try_clone().unwrap();
    let what = what.to_owned();
    let writing = std::thread::spawn(move || {
        writer.write_all(&what).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).unwrap();
    writing.join().unwrap();
    answer
}

#[test]
fn what_is_published_leads_inside_also_where_the_hosts_loopback_is_allowed() {
    let Some(_world) = World::new(&["python3"]) else { return };
    super::world::serve("127.0.0.1:8000", |mut connection| connection.write_all(b"from the host").unwrap());
    for allow in ["127.0.0.1:8000", "127.0.0.1"] {
        let spec = format!("network egress {{ publish 8080 8000; allow \"{allow}\" }}");
        let sbx = Sbx::new(Who::Root).spec(&spec).sh(ECHO);
        let running = sbx.start();
        running.await_output("ready");
        assert_eq!(ask("127.0.0.1:8080", b"from inside"), b"from inside", "{allow}");
        running.signal(nix::sys::signal::Signal::SIGTERM);
        running.wait();
    }
    // What answers a lookup is not the host's either, whatever port asked.
    let line = "python3 -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
s.sendto(bytes.fromhex('123401000001000000000000096c6f63616c686f73740000010001'), ('192.0.0.8', 53)); print(s.recv(99)[-4:])\"";
    let ran = Sbx::new(Who::Root).spec("network egress { allow \"127.0.0.1\" }").sh(line).run();
    assert_eq!(ran.ok(), "b'\\x7f\\x00\\x00\\x01'", "{ran:?}");
}

#[test]
fn where_the_gateway_listens_nothing_is_published() {
    let Some(_world) = World::new(&[]) else { return };
    for who in Who::all() {
        for protocol in ["", " protocol=\"udp\""] {
            let spec = format!("network egress {{\n  allow \"127.0.0.1\"\n  publish 8080 1{protocol}\n}}");
            for verb in ["run", "plan"] {
                let sbx = Sbx::new(who).spec(&spec).sh("echo ran");
                let ran = if verb == "run" { sbx.run() } else { sbx.verb(&[verb]).run() };
                assert_eq!(ran.code(), 125, "{ran:?}");
                for words in ["the port 1 inside is sbx's own", "spec.kdl:3", "hint: choose another port"] {
                    assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
                }
            }
        }
    }
}

#[test]
fn published_datagrams_lead_inside() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let line = "python3 -u -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 5353)); print('ready')
while True:
    d, p = s.recvfrom(9999); s.sendto(b'%s from %d' % (d.upper(), p[1]), p)\"";
    // Many servers answer nobody who comes from the port of a service.
    for kernel in ["exec \"$@\"", WITHOUT_NF_TABLES] {
        let sbx = Sbx::new(Who::Root)
            .spec("network egress { publish \"127.0.0.1:5300\" 5353 protocol=\"udp\" }")
            .through(kernel)
            .sh(line);
        let running = sbx.start();
        running.await_output("ready");
        let clients: Vec<_> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for (number, client) in clients.iter().enumerate() {
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send_to(format!("client {number}").as_bytes(), "127.0.0.1:5300").unwrap();
            let mut bytes = [0; 99];
            let (count, from) = client.recv_from(&mut bytes).unwrap();
            let said = String::from_utf8_lossy(&bytes[..count]);
            let port = if kernel == WITHOUT_NF_TABLES { 53 } else { client.local_addr().unwrap().port() };
            let expected = format!("CLIENT {number} from {port}");
            assert_eq!((said, from.to_string()), (expected.into(), "127.0.0.1:5300".to_owned()));
        }
        running.signal(nix::sys::signal::Signal::SIGTERM);
        let seen = connections(&running.wait());
        assert!(seen.iter().any(|it| it.starts_with("published udp")), "{seen:?}");
    }
}

#[test]
fn as_many_as_send_datagrams_are_answered_by_whom_they_asked() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let line = "python3 -u -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 5353)); print('ready')
while True:
    d, p = s.recvfrom(65535); s.sendto(d, p)\"";
    for who in Who::all() {
        let spec = "network egress { publish \"0.0.0.0:5300\" 5353 protocol=\"udp\"; publish \"[::]:5300\" 5353 protocol=\"udp\" }";
        let sbx = Sbx::new(who).spec(spec).sh(line);
        let running = sbx.start();
        running.await_output("ready");
        let clients: Vec<_> = (0..200).map(|_| UdpSocket::bind("0.0.0.0:0").unwrap()).collect();
        for round in 0..2 {
            for (number, client) in clients.iter().enumerate() {
                client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let to = format!("{}:5300", if number % 2 == 0 { SERVER } else { OTHER });
                let said = format!("{number} in {round}");
                client.send_to(said.as_bytes(), &to).unwrap();
                let mut bytes = [0; 99];
                let (count, from) = client.recv_from(&mut bytes).unwrap();
                assert_eq!((&*String::from_utf8_lossy(&bytes[..count]), from.to_string()), (&*said, to));
            }
        }
        let client = UdpSocket::bind("[::]:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let large = vec![7; 9000];
        client.send_to(&large, format!("[{SERVER_6}]:5300")).unwrap();
        let mut bytes = [0; 9999];
        let (count, from) = client.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..count], from.to_string()), (&large[..], format!("[{SERVER_6}]:5300")));
        running.signal(nix::sys::signal::Signal::SIGTERM);
        let seen = connections(&running.wait());
        assert_eq!(seen, ["published udp 0.0.0.0:5300:5353 x200", "published udp [::]:5300:5353 x1"]);
    }
}

#[test]
fn a_port_that_is_taken_is_an_error_before_anything_runs() {
    let Some(_world) = World::new(&[]) else { return };
    let _taken = TcpListener::bind("127.0.0.1:8080").unwrap();
    for who in Who::all() {
        let ran = Sbx::new(who).spec("network egress {\n  publish 8080 80\n}").sh("echo ran").run();
        ran.refused("127.0.0.1:8080");
        assert!(ran.stderr.contains("spec.kdl:2"), "{ran:?}");
    }
}

#[test]
fn nothing_listens_inside_and_the_client_hears_it() {
    let Some(_world) = World::new(&["sleep"]) else { return };
    let sbx = Sbx::new(Who::Root).spec("network egress { publish 8080 8000 }").sh("echo ready; exec sleep 60");
    let running = sbx.start();
    running.await_output("ready");
    let mut connection = TcpStream::connect("127.0.0.1:8080").unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // The end or a reset; never silence.
    assert!(!matches!(connection.read(&mut [0; 9]), Ok(1..)));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait();
}
