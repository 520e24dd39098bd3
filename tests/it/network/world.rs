//! A host with a network of its own, as large as a test: the thread of the test moves into a new network namespace,
//! and with it all that it starts, servers, sbx and all. What is outside does not notice.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sbx::sys::{entry, process};

use crate::harness::{Ran, Who, skip};

/// Where the servers of a world are: addresses of documentation (RFC 5737, RFC 3849), so that none is special.
pub(crate) const SERVER: &str = "203.0.113.2";
pub(crate) const OTHER: &str = "203.0.113.3";
pub(crate) const SERVER_6: &str = "2001:db8::2";
/// Who answers for names.
pub(crate) const RESOLVER: &str = "203.0.113.53";

/// A network namespace that this thread is in, until it is dropped.
pub(crate) struct World {
    outside: File,
    services: Vec<Child>,
    place: tempfile::TempDir,
}

impl World {
    /// Returns a world, if these tests may make one and the programs that it needs are there; says so if not.
    pub(crate) fn new(programs: &[&str]) -> Option<Self> {
        Who::root()?;
        for program in ["ip"].iter().chain(programs) {
            let found = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
                .iter()
                .any(|place| std::path::Path::new(place).join(program).exists());
            if !found {
                skip(&format!("no `{program}`: ./test installs it"));
                return None;
            }
        }
        let outside = File::open("/proc/thread-self/ns/net").unwrap();
        process::unshare(libc::CLONE_NEWNET.unsigned_abs().into()).unwrap();
        let world = Self { outside, services: Vec::new(), place: tempfile::tempdir().unwrap() };
        sh("ip link set lo up");
        for address in [SERVER, OTHER, RESOLVER] {
            sh(&format!("ip addr add {address}/32 dev lo"));
        }
        sh(&format!("ip addr add {SERVER_6}/128 dev lo nodad"));
        Some(world)
    }

    /// Starts a server, which ends with the world.
    pub(crate) fn start(&mut self, words: &[&str]) {
        let log = File::create(self.place.path().join(format!("{}.log", self.services.len()))).unwrap();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.place.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.services.push(command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}")));
    }

    /// Writes a file into the directory in which the servers run; returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.place.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Starts nginx, which answers `hello from HOST` to whatever is asked for, and one MiB at `/large`; HTTPS at 443
    /// if there is a certificate.
    pub(crate) fn web(&mut self) {
        let place = self.place.path().display().to_string();
        std::fs::write(self.place.path().join("large"), vec![b'x'; 1 << 20]).unwrap();
        let config = format!(
            "daemon off; master_process off; pid {place}/nginx.pid; error_log {place}/error.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p; \
             fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n\
             server {{ listen {SERVER}:80; listen {OTHER}:80; listen [{SERVER_6}]:80; listen {SERVER}:8080; root {place};\n\
             location / {{ return 200 \"hello from $http_host\\n\"; }} location /large {{ }} }} }}\n"
        );
        let config = self.file("nginx.conf", &config);
        self.start(&["nginx", "-c", &config]);
        await_port(&format!("{SERVER}:80"));
    }

    /// Starts dnsmasq, which knows these names and no others; returns a line of the spec that asks it.
    pub(crate) fn names(&mut self, names: &[(&str, &str)]) -> String {
        let mut words: Vec<String> =
            ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root"].map(str::to_owned).into();
        words.extend([
            "--local-ttl=60".to_owned(),
            format!("--listen-address={RESOLVER}"),
            "--bind-interfaces".to_owned(),
        ]);
        words.extend(["--pid-file".to_owned(), "--conf-file=/dev/null".to_owned()]);
        words.extend(names.iter().map(|(name, address)| format!("--address=/{name}/{address}")));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.start(&words);
        await_port(&format!("{RESOLVER}:53"));
        format!("dns \"{RESOLVER}\"")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for service in &mut self.services {
            service.kill().ok();
            service.wait().ok();
        }
        entry::enter(&self.outside).unwrap();
    }
}

/// Runs a line of the shell that has to succeed.
#[track_caller]
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Waits until somebody listens.
pub(crate) fn await_port(address: &str) {
    let address: SocketAddr = address.parse().unwrap();
    let begin = Instant::now();
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "nobody listens at {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Listens at `address` and does `work` with each connection, for ever.
pub(crate) fn serve(address: &str, work: fn(TcpStream)) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || work(connection));
        }
    });
}

/// Sends back what comes, until its end.
pub(crate) fn echo(mut connection: TcpStream) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count @ 1..) = connection.read(&mut bytes) {
        if connection.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}

/// Starts `"$@"` on a kernel that knows no nf_tables: a filter answers for NETLINK_NETFILTER as the kernel would.
pub(crate) const WITHOUT_NF_TABLES: &str = r#"exec python3 -c "
import ctypes, os, struct, sys
number = {'x86_64': 41, 'aarch64': 198}[os.uname().machine]
# struct seccomp_data: the call at 0, its first argument at 16, its third at 32. socket(AF_NETLINK, _, 12): EPROTONOSUPPORT.
code = [(0x20, 0, 0, 0), (0x15, 0, 5, number), (0x20, 0, 0, 16), (0x15, 0, 3, 16), (0x20, 0, 0, 32), (0x15, 0, 1, 12),
        (6, 0, 0, 0x50000 | 93), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *it) for it in code))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 8, ctypes.addressof(code)))
call = ctypes.CDLL(None, use_errno=True).prctl
assert call(38, 1, 0, 0, 0) == 0 and call(22, 2, program, 0, 0) == 0, ctypes.get_errno()
os.execv(sys.argv[1], sys.argv[1:])" "$@""#;

/// Asks for a URL and says `refused` if there was none who answered, at once: refused before there was a connection, or
/// reset after. A shell function for the sandbox.
pub(crate) const ASK: &str =
    "ask() { curl -sS -m 5 \"$@\" 2>/dev/null; case $? in 0) ;; 7|35|52|56) echo refused;; *) echo $?;; esac; }; ";

/// Returns the entries of `network.connections` as `verdict protocol to-or-address:port xCOUNT`.
pub(crate) fn connections(ran: &Ran) -> Vec<String> {
    let listed = ran.report["network"]["connections"].as_array().unwrap_or_else(|| panic!("{ran:?}")).iter();
    let line = |it: &serde_json::Value| {
        let to = it["to"].as_str().or(it["address"].as_str()).unwrap();
        let port = it["port"].as_u64().map(|port| format!(":{port}")).unwrap_or_default();
        let (verdict, protocol) = (it["verdict"].as_str().unwrap(), it["protocol"].as_str().unwrap());
        format!("{verdict} {protocol} {to}{port} x{}", it["count"])
    };
    listed.map(line).collect()
}
