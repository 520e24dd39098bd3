//! Connections of HTTP that are kept alive: each request on them is judged by its host, before the server sees any of it, and
//! what is no request any more passes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::names::{NAMES, egress};
use super::world::{SERVER, World, connections, echo, serve};
use crate::harness::{Ran, Sbx, Who};

/// What the clients share: a connection, and the answer to one request. `None` is a reset.
const CLIENT: &str = "
import socket, time
def connect(name='crates.example', port=80):
    s = socket.create_connection((name, port), 10); s.settimeout(10); return s
def more(s, size):
    got = s.recv(size)
    if not got: raise EOFError
    return got
def answer(s):
    got = b''
    try:
        while b'\\r\\n\\r\\n' not in got: got += more(s, 1)
        head, size = got.lower(), 0
        if b'content-length: ' in head: size = int(head.split(b'content-length: ')[1].split(b'\\r')[0])
        body = b''
        while len(body) < size: body += more(s, size - len(body))
        return got[9:12].decode() + ' ' + body.decode().strip()
    except ConnectionResetError: return None
    except EOFError: return 'end'
def ask(s, text):
    try: s.sendall(text if isinstance(text, bytes) else text.encode())
    except ConnectionResetError: return None
    return answer(s)
def get(host, more=''): return 'GET / HTTP/1.1\\r\\nHost: ' + host + '\\r\\n' + more + '\\r\\n'
GET = get('crates.example')
EVIL = get('evil.example')
";

fn python(sbx: Sbx, script: &str) -> Ran {
    sbx.cmd(&["python3", "-c", &format!("{CLIENT}{script}")]).run()
}

/// Answers each request of a connection with its host and the length of its body; at `/up` agrees to an upgrade, and sends
/// back what comes. It is a server that reads what it should, and no more.
fn talk(connection: TcpStream) {
    let mut writer = connection.try_clone().unwrap();
    let mut reader = BufReader::new(connection);
    while let Some((head, host, length)) = request(&mut reader) {
        if head.starts_with("GET /up ") {
            writer.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").ok();
            let early = reader.buffer().to_vec();
            writer.write_all(&early).ok();
            return echo(reader.into_inner());
        }
        let body = format!("{host} {length}\n");
        let answer = if head.starts_with("GET /chunked ") {
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        } else {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        };
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads one request; returns its head, its host, and how long its body was.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, String, u64)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let field = |name: &str| head.lines().find_map(|line| Some(line.strip_prefix(name)?.to_owned()));
    let mut length = field("Content-Length: ").map_or(0, |value| value.parse().unwrap());
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
    while field("Transfer-Encoding: ").is_some() {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = u64::from_str_radix(line.trim_end(), 16).unwrap();
        std::io::copy(&mut reader.by_ref().take(size + 2), &mut std::io::sink()).ok()?;
        length += size;
        if size == 0 {
            break;
        }
    }
    let host = field("Host: ").unwrap_or_default();
    Some((head, host, length))
}

#[test]
fn a_connection_that_is_kept_carries_many_requests_to_one_host() {
    let Some(mut world) = World::new(&["nginx", "dnsmasq", "curl"]) else { return };
    world.web();
    let dns = world.names(&NAMES);
    // The second is 1 MiB, the third is sent in chunks.
    let line = "format='%{http_code} %{num_connects} %{size_download}\\n'; u=http://crates.example
        curl -sS -w \"$format\" $u/ -o /dev/null $u/large -o /dev/null $u/ -o /dev/null
        head -c 1000000 /dev/zero | curl -sS -w \"$format\" -T - $u/up -o /dev/null --next -sS -w \"$format\" $u/ -o /dev/null
        curl -sS -0 -w \"$format\" $u/ -o /dev/null; curl -sS -I -w \"$format\" $u/large -o /dev/null $u/ -o /dev/null";
    for who in Who::all() {
        let ran = Sbx::new(who).spec(&egress(&dns, "allow \"crates.example:80\"")).sh(line).run();
        let size = "hello from crates.example\n".len();
        let expected = [
            format!("200 1 {size}\n200 0 1048576\n200 0 {size}"),
            format!("200 1 {size}\n200 0 {size}"),
            format!("200 1 {size}\n200 1 0\n200 0 0"),
        ];
        assert_eq!(ran.ok(), expected.join("\n"), "{ran:?}");
        assert!(connections(&ran).contains(&"allowed tcp crates.example:80 x4".to_owned()), "{ran:?}");
    }
}

#[test]
fn a_later_request_to_another_host_is_refused() {
    let Some(mut world) = World::new(&["nginx", "dnsmasq", "python3"]) else { return };
    world.web();
    let dns = world.names(&NAMES);
    let script = "
for second in EVIL, EVIL.lower().replace('get /', 'GET /').replace('http', 'HTTP'), GET.replace('/ ', 'http://evil.example/ '), 'GET / HTTP/1.0\\r\\n\\r\\n', \
              'CONNECT evil.example:80 HTTP/1.1\\r\\nHost: crates.example\\r\\n\\r\\n', 'x' * 40000, EVIL[:-2] + 'Connection: upgrade\\r\\nUpgrade: x\\r\\n\\r\\n':
    s = connect(); print(ask(s, GET), ask(s, GET), ask(s, second), sep=', ')
";
    let rules = "allow \"crates.example:80\"";
    for who in Who::all() {
        let ran = python(Sbx::new(who).spec(&egress(&dns, rules)), script);
        let lines: Vec<_> = ran.ok().lines().collect();
        assert_eq!(lines, ["200 hello from crates.example, 200 hello from crates.example, None"; 7], "{ran:?}");
        let seen = ran.report["network"]["connections"].as_array().unwrap();
        let count = |reason: &str| {
            let entry = seen.iter().find(|it| it["verdict"] == "refused" && it["reason"] == reason);
            entry.map(|it| {
                (it["to"].as_str().unwrap(), it["count"].as_u64().unwrap(), it["sent_bytes"].as_u64().unwrap())
            })
        };
        // What went before stays counted.
        let two = 2 * "GET / HTTP/1.1\r\nHost: crates.example\r\n\r\n".len() as u64;
        assert_eq!(count("the request names another host"), Some(("crates.example", 5, 5 * two)), "{ran:?}");
        assert_eq!(count("the request names no host"), Some(("crates.example", 1, two)), "{ran:?}");
        assert_eq!(count("the request cannot be read"), Some(("crates.example", 1, two)), "{ran:?}");
    }
    // So it is on a bridge, and where a rule denies a name.
    let bridge = format!("network bridge \"kept\" {{ {dns}; {rules} }}");
    let denied = egress(&dns, &format!("allow \"{SERVER}:80\"; deny \"evil.example:80\""));
    let script = "s = connect(HOST); print(ask(s, GET), ask(s, EVIL), sep=', ')";
    for (spec, host) in [(bridge, "'crates.example'".to_owned()), (denied, format!("'{SERVER}'"))] {
        let ran = python(Sbx::new(Who::Root).spec(&spec), &script.replace("HOST", &host));
        assert_eq!(ran.ok(), "200 hello from crates.example, None", "{ran:?}");
        assert!(connections(&ran).iter().any(|it| it.starts_with("refused tcp")), "{ran:?}");
    }
}

#[test]
fn where_no_rule_is_about_names_nothing_is_read() {
    let Some(mut world) = World::new(&["nginx", "python3"]) else { return };
    world.web();
    let script = format!("s = connect('{SERVER}'); print(ask(s, GET), ask(s, EVIL), ask(s, 'x\\r\\n\\r\\n')[:3])");
    let ran = python(Sbx::new(Who::Root).spec(&format!("network egress {{ allow \"{SERVER}:80\" }}")), &script);
    assert_eq!(ran.ok(), "200 hello from crates.example 200 hello from evil.example 400", "{ran:?}");
    assert_eq!(connections(&ran), [format!("allowed tcp {SERVER}:80 x1")]);
}

/// Keeps what each connection said.
fn listen(address: &str) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let listener = TcpListener::bind(address).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut bytes = Vec::new();
            // A reset is an end too, and what came before it counts.
            connection.read_to_end(&mut bytes).ok();
            ears.lock().unwrap().push(bytes);
        }
    });
    heard
}

#[test]
fn a_request_hides_behind_no_other() {
    let Some(mut world) = World::new(&["dnsmasq", "python3"]) else { return };
    let dns = world.names(&NAMES);
    let heard = listen(&format!("{SERVER}:80"));
    let script = "
import sys
def post(fields, body): return 'POST / HTTP/1.1\\r\\nHost: crates.example\\r\\n' + fields + '\\r\\n' + body
size, chunked = 'Content-Length: %d\\r\\n', 'Transfer-Encoding: chunked\\r\\n'
hidden = [
    GET + EVIL, GET + '\\r\\n' + EVIL, GET * 3 + EVIL + GET, GET + GET[:-4] + '\\r\\n' + EVIL,
    post(size % 3, 'abc') + EVIL, post(size % 3 + size % 3, 'abc' + EVIL), post(size % 0 + size % len(EVIL), EVIL),
    post(size % len(EVIL) + chunked, '0\\r\\n\\r\\n' + EVIL), post(chunked + size % 4, '0\\r\\n\\r\\n' + EVIL),
    post(chunked, '3\\r\\nabc\\r\\n0\\r\\n\\r\\n') + EVIL, post(chunked + chunked, '0\\r\\n\\r\\n' + EVIL),
    post('Transfer-Encoding: xchunked\\r\\n', EVIL), post('Transfer-Encoding:\\x0bchunked\\r\\n', EVIL),
    post('Transfer-Encoding : chunked\\r\\n', EVIL), post('X: y\\r\\n Transfer-Encoding: chunked\\r\\n', EVIL),
    post('X: y\\rTransfer-Encoding: chunked\\r\\n', EVIL), post('X: y\\n' + chunked, EVIL),
    post(chunked, '3;\\nxx\\r\\n0\\r\\n\\r\\n' + EVIL), post(chunked, '0x0\\r\\n\\r\\n' + EVIL), post(chunked, '0\\r\\nHost: x\\r\\n\\r\\n' + EVIL),
    post(size.replace('%d', '+0'), EVIL), post(size.replace('%d', '0, 9'), EVIL), post(size % 0, EVIL),
    'connect crates.example:80 HTTP/1.1\\r\\nHost: crates.example\\r\\n\\r\\n' + EVIL,
]
for text in hidden:
    for size in len(text), 7:
        s = connect(); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(0, len(text), size): s.sendall(text[at:at + size].encode())
            s.shutdown(socket.SHUT_WR)
            while s.recv(99): pass
        except OSError as e: pass
print(len(hidden) * 2)
";
    let ran = python(Sbx::new(Who::Root).spec(&egress(&dns, "allow \"crates.example:80\"")), script);
    let count: usize = ran.ok().parse().unwrap();
    let heard = heard.lock().unwrap();
    assert!(
        heard.iter().any(|bytes| bytes.ends_with(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
        "what is right goes: {heard:?}"
    );
    for bytes in heard.iter() {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("evil"), "{text}");
    }
    let refused = ran.report["network"]["connections"].as_array().unwrap().iter();
    let refused = refused.filter(|it| it["verdict"] == "refused" && it["protocol"] == "tcp");
    assert_eq!(refused.map(|it| it["count"].as_u64().unwrap()).sum::<u64>(), count as u64, "{ran:?}");
}

#[test]
fn what_a_server_agrees_to_is_no_request() {
    let Some(mut world) = World::new(&["dnsmasq", "python3"]) else { return };
    let dns = world.names(&NAMES);
    serve(&format!("{SERVER}:80"), talk);
    // At once, on a connection that is kept, and said before the server has agreed.
    let script = "
up = get('crates.example', 'Connection: Upgrade\\r\\nUpgrade: websocket\\r\\n').replace('/ ', '/up ')
def echoed(s, bytes):
    s.sendall(bytes); got = b''
    while len(got) < len(bytes): got += more(s, len(bytes) - len(got))
    return got == bytes
frames = b'\\x81\\x85abcdhello' + EVIL.encode() + bytes(200000)
for before in [], [GET], [GET.replace('/ ', '/chunked '), GET], [up.replace('/up', '/no'), GET]:
    s = connect()
    for text in before: s.sendall(text.encode()); time.sleep(0.1); s.recv(9999)
    print(ask(s, up), echoed(s, frames), echoed(s, frames))
s = connect(); s.sendall(GET.encode() + up.encode() + frames[:999])
print(answer(s), answer(s), s.recv(999) == frames[:999], echoed(s, frames))
# It does not agree.
s = connect(); print(ask(s, up.replace('/up', '/no')), ask(s, GET), ask(s, EVIL))
s = connect(); print(ask(s, up.replace('/up', '/no') + GET + EVIL), answer(s), answer(s))
# Nobody asked.
s = connect(); print(ask(s, GET.replace('/ ', '/up ')), ask(s, frames))
";
    for who in Who::all() {
        let ran = python(Sbx::new(who).spec(&egress(&dns, "allow \"crates.example:80\"")), script);
        let lines: Vec<_> = ran.ok().lines().collect();
        assert_eq!(lines[..4], ["101  True True"; 4], "{ran:?}");
        assert_eq!(lines[4], "200 crates.example 0 101  True True", "{ran:?}");
        assert_eq!(lines[5], "200 crates.example 0 200 crates.example 0 None", "{ran:?}");
        assert!(lines[6].starts_with("200 crates.example 0 ") && !lines[6].contains("evil"), "{ran:?}");
        assert!(!lines[6].ends_with('0'), "{ran:?}");
        assert_eq!(lines[7], "101  None", "{ran:?}");
    }
}

#[test]
fn a_tunnel_is_judged_by_what_it_begins_with() {
    let Some(mut world) = World::new(&["dnsmasq", "python3"]) else { return };
    let dns = world.names(&NAMES);
    // It says that there is a tunnel, and goes on with HTTP, as some servers do.
    serve(&format!("{SERVER}:80"), talk);
    let script = "
connect_to = 'CONNECT crates.example:22 HTTP/1.1\\r\\nHost: crates.example\\r\\n\\r\\n'
for text in GET, EVIL, 'SSH-2.0-x\\r\\n\\r\\nHost: ssh\\r\\n\\r\\n':
    s = connect(); print(ask(s, connect_to), ask(s, text), sep=', ')
    # Without waiting for the answer.
    s = connect(); s.sendall((connect_to + text).encode()); first = answer(s); print(first, first and answer(s), sep=', ')
";
    let ran = python(Sbx::new(Who::Root).spec(&egress(&dns, "allow \"crates.example:80\"")), script);
    let lines: Vec<_> = ran.ok().lines().collect();
    assert_eq!([lines[0], lines[1]], ["200 crates.example 0, 200 crates.example 0"; 2], "{ran:?}");
    assert_eq!([lines[4], lines[5]], ["200 crates.example 0, 200 0"; 2], "{ran:?}");
    // Of the second at once not even the answer to the first is sure to arrive.
    assert!(lines[2] == "200 crates.example 0, None" && lines[3].ends_with(", None"), "{ran:?}");
}

#[test]
fn large_bodies_arrive_and_are_counted() {
    let Some(mut world) = World::new(&["dnsmasq", "python3"]) else { return };
    let dns = world.names(&NAMES);
    serve(&format!("{SERVER}:80"), talk);
    let script = "
import threading
def post(field): return 'POST / HTTP/1.1\\r\\nHost: crates.example\\r\\n' + field + '\\r\\n\\r\\n'
sent, block = 0, bytes(1 << 20)
def say(text):
    global sent
    text = text if isinstance(text, bytes) else text.encode()
    s.sendall(text); sent += len(text)
s = connect(); s.settimeout(60)
say(post('Content-Length: %d' % (SIZE << 20)))
for _ in range(SIZE): say(block)
print(answer(s)); say(GET); print(answer(s))
say(post('Transfer-Encoding: chunked'))
for number in range(SIZE):
    for size in 1 << 19, 1, 300000, (1 << 19) - 300001: say(b'%x\\r\\n' % size); say(block[:size]); say('\\r\\n')
say('0\\r\\n\\r\\n'); print(answer(s)); say(GET); print(answer(s), sent)
s.shutdown(socket.SHUT_WR); print(s.recv(1))
";
    let slow = "latency \"5ms\"; bandwidth \"400mbit\"";
    for (who, size, shape) in Who::all().into_iter().map(|who| (who, 100, "")).chain([(Who::Root, 4, slow)]) {
        let spec = egress(&dns, &format!("allow \"crates.example:80\"; {shape}"));
        let ran = python(Sbx::new(who).spec(&spec), &script.replace("SIZE", &size.to_string()));
        let lines: Vec<_> = ran.ok().lines().collect();
        let body = format!("200 crates.example {}", size << 20);
        assert_eq!((lines[0], lines[1], lines[2]), (&*body, "200 crates.example 0", &*body), "{ran:?}");
        let sent = lines[3].strip_prefix("200 crates.example 0 ").unwrap();
        assert_eq!(lines[4], "b''", "{ran:?}");
        let entry = ran.report["network"]["connections"].as_array().unwrap().iter().find(|it| it["protocol"] == "tcp");
        assert_eq!(entry.unwrap()["sent_bytes"].to_string(), sent, "{ran:?}");
    }
}
