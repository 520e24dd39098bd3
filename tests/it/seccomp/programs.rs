//! Real programs under the default filter, as root and as nobody: none may notice it. One
//! that does not run without a filter either is skipped, and says so.

use std::fmt::Write as _;
use std::process::Command;

use crate::harness::{Ran, Sbx, Who, skip};

/// A program, the Debian package that has it, and a line of the shell that uses it hard.
struct Program<'a> {
    command: &'a str,
    package: &'a str,
    spec: &'a str,
    script: &'a str,
    /// What the last line of its output is.
    says: &'a str,
}

fn installed(command: &str, package: &str) -> bool {
    let there = Command::new("sh").args(["-c", &format!("command -v {command}")]).output().unwrap().status.success();
    if !there {
        skip(&format!("no `{command}`: apt-get install {package}"));
    }
    there
}

fn ran(who: Who, seccomp: &str, program: &Program<'_>) -> Ran {
    let spec = format!("seccomp \"{seccomp}\"\nlimits {{ wall \"5m\" }}\n{}", program.spec);
    Sbx::new(who).spec(&spec).sh(&format!("cd /tmp\n{}", program.script)).run()
}

fn runs(program: &Program<'_>, profile: &str) {
    if !installed(program.command, program.package) {
        return;
    }
    for who in Who::all() {
        let filtered = ran(who, profile, program);
        let works = |ran: &Ran| ran.code() == 0 && ran.stdout.lines().last() == Some(program.says);
        if works(&filtered) {
            continue;
        }
        let free = ran(who, "none", program);
        assert!(!works(&free), "{} runs as {who:?} without a filter only: {filtered:?}", program.command);
        skip(&format!("`{}` does not run as {who:?} without a filter either: {}", program.command, brief(&free)));
    }
}

fn brief(ran: &Ran) -> String {
    let mut text = String::new();
    for line in ran.stdout.lines().chain(ran.stderr.lines()).take(6) {
        write!(text, "{line}; ").unwrap();
    }
    text
}

const PYTHON: Program<'_> = Program {
    command: "python3",
    package: "python3",
    spec: "",
    script: r#"python3 - <<'END'
import concurrent.futures, ctypes, mmap, os, resource, select, signal, socket, subprocess, tempfile, threading, time
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    assert sum(pool.map(lambda n: n * n, range(1000))) == 332833500
server = socket.create_server(("127.0.0.1", 0))
def serve():
    peer, _ = server.accept()
    peer.sendall(peer.recv(99)[::-1])
threading.Thread(target=serve).start()
client = socket.create_connection(server.getsockname())
client.sendall(b"abc")
assert client.recv(99) == b"cba"
assert subprocess.run(["tr", "a", "b"], input=b"aaa", stdout=subprocess.PIPE).stdout == b"bbb"
left, right = socket.socketpair()
poll = select.epoll(); poll.register(right, select.EPOLLIN); left.send(b"x"); assert poll.poll(5)
pid = os.fork()
if pid == 0: os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
memory = mmap.mmap(-1, 1 << 20); memory[0:3] = b"abc"
with tempfile.TemporaryDirectory() as name:
    path = os.path.join(name, "f"); open(path, "w").write("x"); os.chmod(path, 0o640); os.utime(path, (1, 1)); os.link(path, path + "2")
    os.symlink(path, path + "3"); assert sorted(os.listdir(name)) == ["f", "f2", "f3"]; os.sendfile(1, os.open(path, os.O_RDONLY), 0, 0)
os.sched_setaffinity(0, os.sched_getaffinity(0)); os.getloadavg(); resource.getrusage(resource.RUSAGE_CHILDREN); os.memfd_create("x")
print("python is well")
END"#,
    says: "python is well",
};

#[test]
fn python_with_threads_sockets_and_children() {
    runs(&PYTHON, "default");
}

#[test]
fn python_under_strict() {
    runs(&PYTHON, "strict");
}

#[test]
fn perl_with_pipes_and_signals() {
    runs(
        &Program {
            command: "perl",
            package: "perl",
            spec: "",
            script: r#"perl -MIO::Socket::INET -MPOSIX -e '
                pipe(my $r, my $w) or die; my $pid = fork; if (!$pid) { close $r; print $w "from the child\n"; exit 3 }
                close $w; <$r> eq "from the child\n" or die; waitpid $pid, 0; ($? >> 8) == 3 or die;
                local $SIG{USR1} = sub { $main::got = 1 }; kill USR1 => $$; $main::got or die;
                IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die; mkdir "d", 0755 or die; chmod 0700, "d" or die;
                rmdir "d" or die; my @lines = `ls /`; @lines > 3 or die; print "perl is well\n"'"#,
            says: "perl is well",
        },
        "default",
    );
}

#[test]
fn bash_with_jobs() {
    runs(
        &Program {
            command: "bash",
            package: "bash",
            spec: "",
            script: r#"bash -c 'set -meu; sleep 60 & kill -STOP %1; sleep 0.05; jobs | grep -q Stopped; kill -CONT %1; kill %1; wait %1 || [ $? = 143 ]
                exec 3<> <(echo text); read -u 3 line; [ "$line" = text ]; trap "echo trapped" USR1; kill -USR1 $$; ulimit -n 64; umask 077
                cat <<< "$(seq 100 | sort -R | sort -n | tail -n 1)" | grep -q 100; echo bash is well'"#,
            says: "bash is well",
        },
        "default",
    );
}

#[test]
fn gdb_on_a_child() {
    runs(
        &Program {
            command: "gdb",
            package: "gdb",
            spec: "",
            script: r#"gdb -nx -batch -ex 'catch syscall write' -ex run -ex 'info registers rip' -ex delete -ex continue --args /bin/echo hello </dev/null >log 2>&1
                grep -q 'exited normally' log && grep -q '^rip' log || { cat log; exit 1; }; echo gdb is well"#,
            says: "gdb is well",
        },
        "default",
    );
}

#[test]
fn strace_on_a_child() {
    runs(
        &Program {
            command: "strace",
            package: "strace",
            spec: "",
            script: r#"strace -f -o log sh -c '/bin/true; mount -t tmpfs x /tmp' 2>/dev/null; grep -q 'execve("/bin/true"' log && grep -q 'exited with 0' log || exit 1
                strace -e inject=openat:error=EXDEV -o log /bin/cat /etc/hostname >/dev/null 2>&1; grep -q 'EXDEV.*INJECTED' log && echo strace is well"#,
            says: "strace is well",
        },
        "default",
    );
}

#[test]
fn node_with_workers_and_a_server() {
    runs(
        &Program {
            command: "node",
            package: "nodejs",
            spec: "",
            script: r#"cat > main.js <<'END'
const { Worker, isMainThread, parentPort } = require("worker_threads");
if (!isMainThread) { parentPort.postMessage(require("crypto").createHash("sha256").update("x").digest("hex").length); } else {
  const worker = new Worker(__filename);
  worker.on("message", length => {
    if (length !== 64) process.exit(1);
    const server = require("http").createServer((_, reply) => reply.end("hello"));
    server.listen(0, "127.0.0.1", () => require("http").get({ port: server.address().port, host: "127.0.0.1" }, reply => {
      reply.on("data", data => {
        require("fs").promises.writeFile("f", data).then(() => {
          require("child_process").execFile("cat", ["f"], (error, text) => {
            server.close();
            console.log(error || text !== "hello" ? "node is ill" : "node is well");
          });
        });
      });
    }));
  });
}
END
node main.js"#,
            says: "node is well",
        },
        "default",
    );
}

#[test]
fn a_java_machine() {
    runs(
        &Program {
            command: "java",
            package: "default-jre-headless",
            spec: "",
            script: "java -XX:+UseNUMA -XX:+UseG1GC -Xmx64m -version 2>&1 && java -XX:+UseParallelGC --list-modules | grep -q java.base && \
                echo java is well",
            says: "java is well",
        },
        "default",
    );
}

#[test]
fn go_test() {
    runs(
        &Program {
            command: "go",
            package: "golang-go",
            spec: "",
            script: r#"export HOME=/tmp GOCACHE=/tmp/cache GOFLAGS=-mod=mod CGO_ENABLED=0 GO111MODULE=on; mkdir m && cd m
printf 'module m\n' > go.mod
cat > m_test.go <<'END'
package m

import ("net"; "os"; "os/exec"; "sync"; "testing")

func TestAll(t *testing.T) {
	var group sync.WaitGroup
	for i := 0; i < 200; i++ { group.Add(1); go func() { defer group.Done(); os.ReadFile("go.mod") }() }
	group.Wait()
	if text, err := exec.Command("echo", "x").Output(); err != nil || string(text) != "x\n" { t.Fatal(err) }
	listener, err := net.Listen("tcp", "127.0.0.1:0"); if err != nil { t.Fatal(err) }
	go net.Dial("tcp", listener.Addr().String())
	if _, err := listener.Accept(); err != nil { t.Fatal(err) }
}
END
go test ./... | grep -q '^ok' && echo go is well"#,
            says: "go is well",
        },
        "default",
    );
}

#[test]
fn address_and_leak_sanitizer() {
    runs(
        &Program {
            command: "cc",
            package: "build-essential",
            spec: "",
            script: r#"printf '#include <stdlib.h>\nint main(int c, char **v) { char *p = malloc(9); if (c > 1) p = 0; else free(p); return p == (char *)1; }\n' > a.c
                cc -g -fsanitize=address,undefined -o a a.c || exit 1; ./a || exit 1
                ./a leak 2> log && exit 1; grep -q 'detected memory leaks' log || { cat log; exit 1; }; echo asan is well"#,
            says: "asan is well",
        },
        "default",
    );
}

#[test]
fn apt_get_fetches() {
    runs(
        &Program {
            command: "apt-get",
            package: "apt",
            spec: "network \"host\"\nuser \"root\"",
            script: r#"mkdir -p state/lists/partial cache/archives/partial && cp /var/lib/dpkg/status status 2>/dev/null || : > status
                set -- -q -o Dir::State=/tmp/state -o Dir::State::status=/tmp/status -o Dir::Cache=/tmp/cache -o APT::Sandbox::User=root \
                    -o Dir::Log=/tmp -o Acquire::http::Timeout=20 -o Acquire::Retries=1
                apt-get "$@" update >log 2>&1 && apt-get "$@" install -y --no-install-recommends --download-only hello >>log 2>&1 && \
                    ls cache/archives | grep -q '^hello_' && echo apt is well || { tail -n 5 log; exit 1; }"#,
            says: "apt is well",
        },
        "default",
    );
}
