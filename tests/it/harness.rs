//! Runs the built binary as root and as nobody, and after each run looks whether the host
//! is as it was. Never reaches into the crate: what is tested here is the program.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::aftermath::{groups_of, mounts, processes_of};
use crate::fixture;

/// The overflow id: owns nothing, may do nothing.
pub(crate) const NOBODY: u32 = 65534;

/// Who calls sbx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    /// Uid 65534 where the tests are root, else whoever runs them.
    Nobody,
}

impl Who {
    /// Returns everybody that these tests can be.
    pub(crate) fn all() -> Vec<Self> {
        if nix::unistd::geteuid().is_root() {
            return vec![Self::Root, Self::Nobody];
        }
        skip("not root, so nothing is run as root");
        vec![Self::Nobody]
    }

    /// Returns root, if the tests are.
    pub(crate) fn root() -> Option<Self> {
        let root = nix::unistd::geteuid().is_root();
        if !root {
            skip("needs root");
        }
        root.then_some(Self::Root)
    }

    /// Returns the uid outside.
    pub(crate) fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Nobody if nix::unistd::geteuid().is_root() => NOBODY,
            Self::Nobody => nix::unistd::geteuid().as_raw(),
        }
    }

    /// Returns the gid outside.
    pub(crate) fn gid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Nobody if nix::unistd::geteuid().is_root() => NOBODY,
            Self::Nobody => nix::unistd::getegid().as_raw(),
        }
    }
}

/// Says that something was not tested; `SBX_MUST_RUN=1` makes that a failure.
pub(crate) fn skip(reason: &str) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(std::env::var_os("SBX_MUST_RUN").is_none_or(|value| value != "1"), "SKIP: {reason}");
    // Past the capture of the test harness, which would keep it for failures.
    std::io::stderr().write_all(format!("SKIP: {reason} (number {count})\n").as_bytes()).ok();
}

/// A directory of one identity with a spec in it, and how sbx is to be called on it.
#[derive(Debug)]
pub(crate) struct Sbx {
    who: Who,
    home: tempfile::TempDir,
    verb: Vec<String>,
    flags: Vec<String>,
    command: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
    through: Vec<String>,
    report: Option<String>,
    /// Where sbx is told that the spec lies.
    place: String,
    /// In the environment of the command, so that what survives can be found.
    mark: String,
}

impl Sbx {
    /// Returns `sbx run` of an empty spec as `who`.
    pub(crate) fn new(who: Who) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let home = tempfile::Builder::new().prefix("sbx-e2e-").tempdir().unwrap();
        give(home.path(), who);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let report = home.path().join("report.json").display().to_string();
        let sbx = Self {
            who,
            home,
            verb: vec!["run".to_owned()],
            flags: Vec::new(),
            command: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            through: Vec::new(),
            report: Some(report),
            place: "spec.kdl".to_owned(),
            mark: format!("{}-{number}", std::process::id()),
        };
        sbx.spec("")
    }

    /// Writes the spec. `@` in it is the directory of this run, `%` that of its fixtures.
    pub(crate) fn spec(self, text: &str) -> Self {
        let text = text.replace('@', &self.path("").display().to_string());
        let text =
            if text.contains('%') { text.replace('%', &fixture::of(self.who).display().to_string()) } else { text };
        self.file("spec.kdl", text.as_bytes())
    }

    /// Calls the spec by this name, below the directory of this run, instead of writing it to `spec.kdl`.
    pub(crate) fn place(mut self, name: &str) -> Self {
        self.place = name.to_owned();
        self
    }

    /// Writes a file that the caller owns.
    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        std::fs::write(self.path(name), content).unwrap();
        give(&self.path(name), self.who);
        self
    }

    /// Makes a directory that the caller owns.
    pub(crate) fn dir(self, name: &str) -> Self {
        std::fs::create_dir(self.path(name)).unwrap();
        give(&self.path(name), self.who);
        self
    }

    /// Sets the verb instead of `run`; there is no report then.
    pub(crate) fn verb(mut self, words: &[&str]) -> Self {
        self.verb = words.iter().map(|word| (*word).to_owned()).collect();
        self.report = None;
        self
    }

    /// Adds flags.
    pub(crate) fn flags(mut self, words: &[&str]) -> Self {
        self.flags.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Sets what follows `--`.
    pub(crate) fn cmd(mut self, words: &[&str]) -> Self {
        self.command = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Runs a line of the shell.
    pub(crate) fn sh(self, script: &str) -> Self {
        self.cmd(&["sh", "-c", script])
    }

    /// Sets a variable of sbx itself.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets what sbx reads on its standard input.
    pub(crate) fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_owned();
        self
    }

    /// Starts sbx by a line of the shell in which `"$@"` is sbx and its arguments.
    pub(crate) fn through(mut self, script: &str) -> Self {
        self.through = ["sh", "-c", script, "sh"].map(str::to_owned).into();
        self
    }

    /// Sends the report elsewhere, or leaves the choice to sbx.
    pub(crate) fn report(mut self, target: Option<&str>) -> Self {
        self.report = target.map(str::to_owned);
        self
    }

    /// Returns a path in the directory of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.home.path().to_owned() } else { self.home.path().join(name) }
    }

    /// Returns who calls.
    pub(crate) fn who(&self) -> Who {
        self.who
    }

    /// Returns what a file in the directory of this run holds.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns the words of the call.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = self.through.clone();
        words.push(fixture::binary().display().to_string());
        words.extend(self.verb.iter().cloned());
        if let Some(report) = &self.report {
            words.extend(["--report".to_owned(), report.clone()]);
        }
        words.extend(self.flags.iter().cloned());
        if matches!(self.verb.as_slice(), [verb] if verb == "run") {
            words.extend(["--env".to_owned(), format!("SBX_IT_MARK={}", self.mark)]);
        }
        if matches!(self.verb.first().map(String::as_str), Some("run" | "plan" | "check")) {
            words.push(self.path(&self.place).display().to_string());
        }
        if !self.command.is_empty() {
            words.push("--".to_owned());
            words.extend(self.command.iter().cloned());
        }
        words
    }

    /// Starts sbx and returns at once.
    pub(crate) fn start(&self) -> Running<'_> {
        self.start_with(&[])
    }

    fn start_with(&self, variables: &[(&str, &str)]) -> Running<'_> {
        let before = mounts();
        let mut command = self.command_of(self.words(), variables);
        command.process_group(0);
        // Files, so that nothing blocks and nothing is lost whoever holds the other end.
        let input = self.path(".stdin");
        std::fs::write(&input, &self.stdin).unwrap();
        let stream = |name| std::fs::File::create(self.path(name)).unwrap();
        command.stdin(std::fs::File::open(input).unwrap()).stdout(stream(".stdout")).stderr(stream(".stderr"));
        let child = command.spawn().unwrap();
        Running { sbx: self, child, before }
    }

    /// Starts sbx below `leader`, a program and its arguments that execute what follows, with these streams;
    /// without a group of its own, so that it can lead a session.
    pub(crate) fn start_at(&self, leader: &[&str], [input, output, error]: [Stdio; 3]) -> Running<'_> {
        let before = mounts();
        let words = leader.iter().map(|word| (*word).to_owned()).chain(self.words()).collect();
        let mut command = self.command_of(words, &[]);
        let child = command.stdin(input).stdout(output).stderr(error).spawn().unwrap();
        Running { sbx: self, child, before }
    }

    fn command_of(&self, words: Vec<String>, variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", self.path(""));
        command.env("SBX_STORE", self.path("store")).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.envs(variables.iter().copied()).current_dir(self.path(""));
        if nix::unistd::geteuid().is_root() && self.who == Who::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        if self.verb.first().is_some_and(|verb| verb == "test") {
            // Workers have it of sbx, commands by `pass-env`.
            command.env("SBX_IT_MARK", &self.mark);
        }
        std::fs::remove_file(self.path("report.json")).ok();
        command
    }

    /// Runs sbx to its end and checks the host.
    pub(crate) fn run(&self) -> Ran {
        self.start().wait()
    }

    /// The same with one more variable of sbx itself.
    pub(crate) fn run_with(&self, name: &str, value: &str) -> Ran {
        self.start_with(&[(name, value)]).wait()
    }
}

pub(crate) fn give(path: &Path, who: Who) {
    if nix::unistd::geteuid().is_root() {
        chown(path, Some(who.uid()), Some(who.gid())).unwrap();
    }
    if path.is_dir() {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// An sbx that was started.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    sbx: &'a Sbx,
    child: Child,
    before: BTreeSet<String>,
}

impl Running<'_> {
    /// Returns the process id of sbx.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal to sbx.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits until sbx's standard output has `text`.
    pub(crate) fn await_output(&self, text: &str) {
        let begin = Instant::now();
        while !self.sbx.read(".stdout").contains(text) {
            let said = (self.sbx.read(".stdout"), self.sbx.read(".stderr"));
            assert!(begin.elapsed() < Duration::from_secs(10), "no `{text}` came: {said:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the end, and that nothing is left.
    pub(crate) fn wait(mut self) -> Ran {
        let status = self.child.wait().unwrap();
        self.finish(status, Groups::MustBeGone)
    }

    /// Kills sbx itself, and waits that its processes are gone; groups may stay until the next run.
    pub(crate) fn murder(mut self) -> Ran {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        self.finish(status, Groups::MayStay)
    }

    fn finish(self, status: ExitStatus, groups: Groups) -> Ran {
        let bytes = |name: &str| std::fs::read(self.sbx.path(name)).unwrap_or_default();
        let text = |name: &str| String::from_utf8_lossy(&bytes(name)).into_owned();
        let (stdout, stderr) = (text(".stdout"), text(".stderr"));
        let report = serde_json::from_slice(&bytes("report.json")).unwrap_or(Value::Null);
        let pid = self.child.id();
        let begin = Instant::now();
        loop {
            let left = processes_of(pid, &self.sbx.mark);
            if left.is_empty() {
                break;
            }
            assert!(begin.elapsed() < Duration::from_secs(3), "processes are left: {left:?} {stderr}");
            std::thread::sleep(Duration::from_millis(2));
        }
        let new: Vec<_> = mounts().difference(&self.before).cloned().collect();
        assert_eq!(new, Vec::<String>::new(), "mounts are left");
        if groups == Groups::MustBeGone {
            assert_eq!(groups_of(pid), Vec::<PathBuf>::new(), "groups are left: {stderr}");
        }
        if let Ok(entries) = std::fs::read_dir(self.sbx.path("store/tmp")) {
            assert_eq!(entries.count(), 0, "the store has unfinished files");
        }
        Ran { status, stdout, stderr, report, pid }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Groups {
    MustBeGone,
    MayStay,
}

/// What came of a run.
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Null where no report was written to the file.
    pub(crate) report: Value,
    pub(crate) pid: u32,
}

impl std::fmt::Debug for Ran {
    /// Writes what a failure is understood by; the whole report would hide it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} {}", self.status, self.report["outcome"])?;
        write!(f, "stdout: {}\nstderr: {}", self.stdout, self.stderr)
    }
}

impl Ran {
    /// Returns the exit status; a signal of sbx itself is a failure.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        assert_eq!(self.status.signal(), None, "sbx was ended by a signal: {self:?}");
        self.status.code().unwrap()
    }

    /// Returns the outcome's kind.
    pub(crate) fn kind(&self) -> &str {
        self.report["outcome"]["kind"].as_str().unwrap_or("no report")
    }

    /// Expects a plain exit with 0 and returns standard output without its last newline.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!((self.code(), self.kind()), (0, "exited"), "{self:?}");
        self.stdout.trim_end_matches('\n')
    }

    /// Expects a refusal that says `words`, and that nothing was printed by a command.
    #[track_caller]
    pub(crate) fn refused(&self, words: &str) {
        assert_eq!(self.code(), 125, "{self:?}");
        assert!(self.stderr.contains(words), "no `{words}` in {self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.kind(), "setup_failed", "{self:?}");
    }
}
