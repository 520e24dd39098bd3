//! What the tests of the registry share: a registry of their own, an image in it, a place to
//! pull to, and a middle that misbehaves.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sbx::error::{Error, Result};
use sbx::image::Platform;
use sbx::image::digest::Digest;
use sbx::image::registry::{Destination, Options, Progress, Pulled, Reference, pull};
use serde_json::Value;

use crate::harness::skip;

/// Bytes of the largest layer.
pub(crate) const LARGE: usize = 3 << 20;

/// A directory with an image in it, a store to pull to, and the caller's home.
pub(crate) struct Yard {
    pub(crate) home: tempfile::TempDir,
    /// The environment that the client sees.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) platform: Option<Platform>,
}

/// A process that ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

/// How a registry lets in.
pub(crate) enum Door<'a> {
    Open,
    /// `ann` with the password `secret`.
    Password,
    /// A token of the server at this port, signed by this certificate.
    Token(u16, &'a Path),
    /// TLS with this certificate and key.
    Tls(&'a Path, &'a Path),
    /// The same for those who have a certificate of this authority.
    Known(&'a Path, &'a Path, &'a Path),
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Yard {
    /// Returns a yard, or says loudly which program is not there.
    pub(crate) fn new() -> Option<Self> {
        for (program, package) in [
            ("docker-registry", "docker-registry"),
            ("skopeo", "skopeo"),
            ("umoci", "umoci"),
            ("python3", "python3"),
            ("openssl", "openssl"),
            ("htpasswd", "apache2-utils"),
        ] {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .any(|directory| directory.join(program).exists());
            if !found {
                skip(&format!("no {program}, so no registry is pulled from: apt-get install {package}"));
                return None;
            }
        }
        let home = tempfile::tempdir().unwrap();
        for name in ["blobs", "tmp", "registry"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        let variables = BTreeMap::from([("HOME".to_owned(), home.path().display().to_string())]);
        Some(Self { home, variables, platform: None })
    }

    /// Makes an image `layout:a` of three layers, the last of [`LARGE`] bytes that no packer makes smaller.
    pub(crate) fn image(&self) {
        run("umoci", &["init", "--layout", &self.text("layout")]);
        let image = format!("{}:a", self.text("layout"));
        run("umoci", &["new", "--image", &image]);
        for (name, length) in [("small", 1000), ("middle", 300_000), ("large", LARGE)] {
            let mut bytes = vec![0; length];
            std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
            std::fs::write(self.path(name), bytes).unwrap();
            run("umoci", &["insert", "--rootless", "--image", &image, &self.text(name), &format!("/{name}")]);
        }
    }

    /// Starts a registry on a free port. What it holds is shared by all that are started in this yard.
    pub(crate) fn registry(&self, door: &Door<'_>) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            self.text("registry")
        );
        let door = match door {
            Door::Open => String::new(),
            Door::Password => {
                let list = Command::new("htpasswd").args(["-Bbn", "ann", "secret"]).output().unwrap();
                std::fs::write(self.path("htpasswd"), list.stdout).unwrap();
                format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", self.text("htpasswd"))
            }
            Door::Token(port, certificate) => format!(
                "auth: {{token: {{realm: 'http://127.0.0.1:{port}/token?own=1', service: test, issuer: test, rootcertbundle: {}}}}}\n",
                certificate.display()
            ),
            Door::Tls(certificate, key) => {
                format!("  tls: {{certificate: {}, key: {}}}\n", certificate.display(), key.display())
            }
            Door::Known(certificate, key, authority) => format!(
                "  tls: {{certificate: {}, key: {}, clientcas: [{}]}}\n",
                certificate.display(),
                key.display(),
                authority.display()
            ),
        };
        let config = self.path(&format!("registry-{port}.yml"));
        std::fs::write(&config, text + &door).unwrap();
        let log = std::fs::File::create(self.path(&format!("registry-{port}.log"))).unwrap();
        let mut command = Command::new("docker-registry");
        let command = command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = Server { child: command.spawn().unwrap(), port };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry does not answer: {}", self.read(&format!("registry-{port}.log")));
    }

    /// Starts an open registry with the image `127.0.0.1:PORT/b/c:a` in it.
    pub(crate) fn filled(&self) -> Server {
        let server = self.registry(&Door::Open);
        self.image();
        self.push(&server);
        server
    }

    pub(crate) fn push(&self, server: &Server) {
        let (from, to) = (format!("oci:{}:a", self.text("layout")), server.name("b/c:a"));
        run("skopeo", &["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", &from, &to]);
    }

    /// Starts the middle before `server`; what it was asked is in [`Yard::asked`].
    pub(crate) fn middle(&self, server: &Server, behaviour: &[&str]) -> Server {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/registry/middle.py");
        std::fs::remove_file(self.path("asked")).ok();
        let mut command = Command::new("python3");
        command.arg(script).arg(server.port.to_string()).arg(self.path("asked")).args(behaviour);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Server { child, port: line.trim().parse().unwrap() }
    }

    /// Returns the requests that the middle got, in order.
    pub(crate) fn asked(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("asked")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn pull(&self, reference: &str) -> Result<Pulled> {
        self.pull_with(reference, &mut |_| {})
    }

    pub(crate) fn pull_with(&self, reference: &str, progress: &mut dyn FnMut(Progress)) -> Result<Pulled> {
        let variable = |name: &str| self.variables.get(name).map(OsString::from);
        let options = Options { platform: self.platform.as_ref(), ..Options::new(&variable) };
        pull(&Reference::parse(reference)?, &options, &self.destination(), progress)
    }

    /// Pulls what cannot be pulled, and looks whether the error says so and nothing whole was made.
    pub(crate) fn refused(&self, reference: &str, words: &[&str]) -> Error {
        let error = self.pull(reference).unwrap_err();
        let said = format!("{error}; {}", error.hint.as_deref().unwrap_or("no hint"));
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
        assert!(!said.contains("secret"), "{said}");
        self.sound();
        error
    }

    pub(crate) fn destination(&self) -> Destination {
        Destination { blobs: self.path("blobs"), tmp: self.path("tmp") }
    }

    /// Returns the names of the blobs that are there; each is what its name says.
    pub(crate) fn sound(&self) -> Vec<String> {
        let mut names = self.list("blobs");
        names.sort();
        for name in &names {
            assert_eq!(Digest::of(&std::fs::read(self.path("blobs").join(name)).unwrap()).hex(), name);
        }
        names
    }

    /// Empties the store.
    pub(crate) fn clear(&self) {
        for name in ["blobs", "tmp"] {
            std::fs::remove_dir_all(self.path(name)).unwrap();
            std::fs::create_dir(self.path(name)).unwrap();
        }
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let listed = std::fs::read_dir(self.path(name)).unwrap();
        listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file below the home, with its directories.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }
}

impl Server {
    /// Returns the reference of something in it.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("docker://127.0.0.1:{}/{rest}", self.port)
    }
}

/// Runs a program that has to succeed, and returns what it wrote.
pub(crate) fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
