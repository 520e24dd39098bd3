//! Many cases with a way out, in few workers: what the gateway of one took is given back before the next.

use std::time::Duration;

use super::{empty, said, tests};
use crate::harness::Who;
use crate::network::world::{OTHER, SERVER, World, echo, serve};

/// How many descriptors and threads a process has.
fn held(pid: &str) -> Option<[usize; 2]> {
    let count = |what| std::fs::read_dir(format!("/proc/{pid}/{what}")).ok().map(Iterator::count);
    Some([count("fd")?, count("task")?])
}

#[test]
fn what_left_is_counted_however_much_was_refused_before() {
    let Some(_world) = World::new(&["python3"]) else { return };
    serve(&format!("{SERVER}:9002"), echo);
    let line = format!(
        "import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(9); s.connect(('192.0.0.8', 53))
for n in range(1100):
    s.send(bytes.fromhex('123401000001000000000000') + b'\\x05%05d\\x07example\\0\\0\\x01\\0\\x01' % n); s.recv(99)
c = socket.create_connection(('{SERVER}', 9002)); c.send(b'x'); print(c.recv(1))"
    );
    let spec = format!(
        "network egress {{ allow \"{SERVER}:9002\" }}\ncommand \"python3\" \"-c\" #\"\"\"\n{line}\n\"\"\"#\n\
         test \"none\" {{ expect {{ connections allowed=0; }}; }}\n\
         test \"one\" {{ expect {{ connections allowed=1; }}; }}\n\
         test \"refused\" {{ expect {{ connections refused=1100; }}; }}\n\
         test \"connects\" {{ expect {{ stdout \"b'x'\\n\"; }}; }}\n"
    );
    let Some(who) = Who::all().pop() else { return };
    let sbx = tests(who, &[("a.sbx.kdl", &spec)]).flags(&["t"]);
    let ran = sbx.run();
    assert_eq!((ran.code(), said(&ran, "PASS")), (1, vec!["connects"]), "{ran:?}");
    for words in [
        "1 connection was allowed, and of 332 more it is not known, expected 0",
        "1 connection was allowed, and of 332 more it is not known, expected 1",
        "768 connections were refused, and of 332 more it is not known, expected 1100",
    ] {
        assert!(ran.stderr.contains(words), "no {words}: {ran:?}");
    }
}

#[test]
fn a_hundred_ways_out_leave_no_thread_and_no_descriptor() {
    let Some(_world) = World::new(&["bash"]) else { return };
    serve(&format!("{SERVER}:9002"), echo);
    let ask = |address| format!("(exec 3<>/dev/tcp/{address}/9002 && echo hello >&3 && head -n 1 <&3) 2>/dev/null");
    let line = format!("{}; {} || echo refused", ask(SERVER), ask(OTHER));
    let head = format!("network egress {{ allow \"{SERVER}:9002\" }}\ncommand \"bash\" \"-c\" \"{line}\"\n");
    let expected = "{ expect { stdout \"hello\\nrefused\\n\"; connections allowed=1 refused=1; }; }";
    let cases: String = (0..100).map(|number| format!("test \"{number}\" {expected}\n")).collect();
    for who in Who::all() {
        let sbx = tests(who, &[("a.sbx.kdl", &(head.clone() + &cases))]).flags(&["t", "-j2"]);
        let mut running = sbx.start();
        let mut seen: Vec<(String, [usize; 2])> = Vec::new();
        while running.is_alive() {
            let children = format!("/proc/{0}/task/{0}/children", running.pid());
            for worker in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
                seen.extend(held(worker).map(|held| (worker.to_owned(), held)));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let ran = running.wait();
        empty(&sbx);
        assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 100), "{who:?} {ran:?}");
        let mut workers: Vec<&str> = seen.iter().map(|(worker, _)| worker.as_str()).collect();
        workers.sort_unstable();
        workers.dedup();
        let of = |worker: &str| seen.iter().filter(|(of, _)| of == worker).map(|(_, held)| *held).collect::<Vec<_>>();
        // Two that run cases and one that takes the last sandbox down. Root has made a mount namespace before.
        workers.retain(|worker| of(worker).len() > 20);
        assert_eq!(workers.len(), 3, "{who:?}");
        for worker in workers {
            let held = of(worker);
            assert!(held.len() >= 40, "{who:?}: looked only {} times", held.len());
            let most = |held: &[[usize; 2]]| [0, 1].map(|what| held.iter().map(|held| held[what]).max().unwrap_or(0));
            let (early, late) = (most(&held[..held.len() / 3]), most(&held[held.len() - held.len() / 3..]));
            assert!(early[1] >= 2, "{who:?}: no gateway was seen: {early:?}");
            assert!(late[0] <= early[0] + 4 && late[1] <= early[1] + 1, "{who:?}: {early:?} became {late:?}");
        }
    }
}
