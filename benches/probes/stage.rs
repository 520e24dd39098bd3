//! The stage for the doors: what a caller has around it when it starts a runner, and the
//! runs that try each door from inside. It knows no runner; the test of sbx shares it.

use super::Fault;
use super::compile::compile;
use super::surroundings::{self, PATH, surroundings};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// One run of a runner; each has its own doors to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Main,
    /// All three streams are a terminal, of whose session the runner is the leader.
    Terminal,
    /// The runner is killed while its command lives.
    Stay,
    /// The host's network is asked for.
    Network,
    /// 64 MiB of memory and 32 processes are asked for.
    Limits,
    /// `work` is asked for at `made` below this link of a hostile root directory.
    Image(&'static str),
}

impl Run {
    pub(crate) const ALL: [Self; 8] = [
        Self::Main,
        Self::Terminal,
        Self::Stay,
        Self::Network,
        Self::Limits,
        Self::Image("through-old-root"),
        Self::Image("absolute"),
        Self::Image("dots"),
    ];

    /// The word that the programs on both sides take.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Terminal => "tty",
            Self::Stay => "stay",
            Self::Network => "network",
            Self::Limits => "limits",
            Self::Image(_) => "image",
        }
    }

    /// The doors that have no answer when this run cannot be made.
    fn doors(self) -> &'static [&'static str] {
        match self {
            Self::Main => &[],
            Self::Terminal => &["tiocsti", "tiocsti-upper", "tioclinux"],
            Self::Stay => &["outlives", "outer-root"],
            Self::Network => &["abstract-socket-host"],
            Self::Limits => &["fork-bomb", "memory"],
            Self::Image(_) => &["destination"],
        }
    }
}

/// One thing that a sandbox should keep shut.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// What the doors from here on are about; empty when it is the same as before.
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    NotApplicable,
    Closed,
    Open,
}

/// What was found of each door, with a word about how.
pub(crate) type Found = BTreeMap<String, (Answer, String)>;

/// A runner's words for a run; `None` where it has no way to be asked for that.
pub(crate) type Words = Option<Vec<String>>;

/// One user's stage; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    dir: PathBuf,
    pub(crate) uid: u32,
}

impl Stage {
    /// Makes it for `uid`, which is the caller's own unless the caller is root.
    ///
    /// # Errors
    /// No C compiler, or a directory that cannot be written.
    pub(crate) fn build(uid: u32) -> Result<Self, Fault> {
        // Two tests of one process can be at it.
        static BUILT: AtomicU32 = AtomicU32::new(0);
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("sbx-doors-{}-{uid}-{number}", std::process::id()));
        fs::create_dir(&dir)?;
        let stage = Self { dir, uid };
        for name in ["", "work", "outside", "canary", "run", "home", "image", "image/proc", "image/dev", "image/tmp"] {
            let path = stage.path(name);
            fs::create_dir_all(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(if name == "run" { 0o700 } else { 0o755 }))?;
            if !name.is_empty() {
                stage.give(&path)?;
            }
        }
        compile(&["doors", "doors_kernel"], &stage.path("work/doors"), &["-static"])?;
        compile(&["doorkeeper"], &stage.path("doorkeeper"), &["-static"])?;
        for (name, mode) in [("secret", 0o600), ("outside/readable", 0o644), ("work/group-file", 0o040)] {
            fs::write(stage.path(name), "sbx-door\n")?;
            fs::set_permissions(stage.path(name), fs::Permissions::from_mode(mode))?;
        }
        if surroundings::is_root() {
            // Of nobody that is here, but of a group of the caller's (doors.h).
            chown(stage.path("work/group-file"), Some(1), Some(4242))?;
        } else {
            fs::remove_file(stage.path("work/group-file"))?;
        }
        let canary = stage.text("canary");
        symlink(&canary, stage.path("image/absolute"))?;
        symlink(format!("/oldroot{canary}"), stage.path("image/through-old-root"))?;
        symlink(format!("../../../../../../..{canary}"), stage.path("image/dots"))?;
        Ok(stage)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The same as text: arguments of programs.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Gives what is at `path` to the user of the stage.
    ///
    /// # Errors
    /// A file that is not there.
    pub(crate) fn give(&self, path: &Path) -> Result<(), Fault> {
        if surroundings::is_root() {
            chown(path, Some(self.uid), Some(self.uid))?;
        }
        Ok(())
    }

    /// Returns all doors, in the order of the table.
    ///
    /// # Errors
    /// A program that does not list them.
    pub(crate) fn doors(&self) -> Result<Vec<Door>, Fault> {
        let output = Command::new(self.path("work/doors")).arg("list").output()?;
        let text = String::from_utf8(output.stdout)?;
        let door = |line: &str| {
            let mut fields = line.split('\t').map(str::to_owned);
            Some(Door { group: fields.next()?, name: fields.next()?, text: fields.next()? })
        };
        text.lines().map(|line| door(line).ok_or_else(|| format!("`{line}` is no door").into())).collect()
    }

    /// Makes all runs of the runner whose words are `words`.
    ///
    /// # Errors
    /// A runner whose plain run does not even start the program inside: what it said.
    pub(crate) fn try_all(&self, words: impl Fn(&Self, Run) -> Result<Words, Fault>) -> Result<Found, Fault> {
        let mut found = Found::new();
        for run in Run::ALL {
            self.reset()?;
            let (lines, said) = match words(self, run)? {
                Some(argv) => self.run(run, &argv)?,
                None => (String::new(), "it has no way to be asked for that".to_owned()),
            };
            let mut seen = parse(&lines);
            if run == Run::Main && !seen.contains_key("x32") {
                return Err(format!("it did not run the program to its end: {said}").into());
            }
            if run == Run::Limits && seen.contains_key("fork-bomb") {
                // It comes last: who has no answer was ended with the whole run.
                seen.entry("memory".to_owned()).or_insert((Answer::Closed, said.clone()));
            }
            for door in run.doors() {
                seen.entry((*door).to_owned()).or_insert((Answer::NotApplicable, said.clone()));
            }
            for (door, (answer, how)) in seen {
                let before = found.entry(door).or_insert((answer, how.clone()));
                // One of several ways is enough.
                if answer > before.0 {
                    *before = (answer, how);
                }
            }
        }
        Ok(found)
    }

    /// Removes what a run before may have left.
    fn reset(&self) -> Result<(), Fault> {
        let (left, canary) = (self.path("work/set-id"), self.path("canary"));
        if left.exists() {
            fs::remove_file(left)?;
        }
        fs::remove_dir_all(&canary)?;
        fs::create_dir(&canary)?;
        self.give(&canary)
    }

    /// Returns what was printed, and the first line of what was said.
    fn run(&self, run: Run, argv: &[String]) -> Result<(String, String), Fault> {
        let mut all = surroundings();
        all.push(self.text("doorkeeper"));
        all.extend([run.word().to_owned(), self.uid.to_string(), self.text("")]);
        all.extend_from_slice(argv);
        let mut command = Command::new(&all[0]);
        command.args(&all[1..]).env_clear().env("PATH", PATH);
        command.env("HOME", self.path("home")).env("XDG_RUNTIME_DIR", self.path("run"));
        // A file: who outlives its runner would keep a pipe open.
        let said = self.path("said");
        command.current_dir("/").stderr(fs::File::create(&said)?);
        self.give(&said)?;
        let output = command.output()?;
        let said = fs::read_to_string(said)?;
        let said = said.lines().next().unwrap_or("it said nothing");
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), format!("{}: {said}", output.status)))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What a run leaves that cannot be removed is the next look's to find: the directory stays.
        drop(fs::remove_dir_all(&self.dir));
    }
}

fn parse(lines: &str) -> Found {
    let mut found = Found::new();
    for line in lines.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(answer)) = (words.next(), words.next()) else { continue };
        let answer = match answer {
            "open" => Answer::Open,
            "closed" => Answer::Closed,
            "n/a" => Answer::NotApplicable,
            _ => continue,
        };
        // What the outside sees comes last, and counts.
        found.insert(name.to_owned(), (answer, words.next().unwrap_or("").to_owned()));
    }
    found
}
