//! Every block of README and every spec that says how it is run: executed, with the
//! built program on PATH, in a directory of its own, by root and by an unprivileged user.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use sbx::app::request::Text;
use sbx::spec::parse::parse;

/// One fenced block.
struct Block {
    line: usize,
    /// `console`, `kdl` and what follows them.
    info: String,
    text: String,
}

impl Block {
    /// Returns the name of the file that the block is.
    fn name(&self) -> Option<String> {
        let name = self.text.lines().find_map(|line| line.strip_prefix("// ")?.split_once(".kdl"));
        name.filter(|_| self.info == "kdl").map(|(name, _)| format!("{name}.kdl"))
    }
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in markdown.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                open = true;
                blocks.push(Block { line: number + 1, info: info.to_owned(), text: String::new() });
            }
            None if open => blocks.last_mut().unwrap().text.extend([line, "\n"]),
            None => {}
        }
    }
    assert!(!open, "the last block of the document is not closed");
    blocks
}

fn readme() -> Vec<Block> {
    blocks(&std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap())
}

/// Who runs a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum As {
    Caller,
    Nobody,
}

/// A directory with the program, the specs of the package and the named specs of README.
struct Place(tempfile::TempDir);

/// By another process: a test that forks while this one has the copy open for writing would make it ETXTBSY.
pub(crate) fn copy_program(to: &Path) {
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_sbx")).arg(to).status().unwrap().success());
}

impl Place {
    fn new() -> Self {
        let place = tempfile::Builder::new().prefix("sbx-docs-").tempdir_in("/tmp").unwrap();
        std::fs::create_dir_all(place.path().join("bin")).unwrap();
        std::fs::create_dir_all(place.path().join("specs")).unwrap();
        copy_program(&place.path().join("bin/sbx"));
        for path in crate::spec::specs("specs") {
            std::fs::copy(&path, place.path().join("specs").join(path.file_name().unwrap())).unwrap();
        }
        for block in readme().iter().filter(|block| block.info == "kdl") {
            if let Some(name) = block.name() {
                let path = place.path().join(name);
                std::fs::write(&path, &block.text).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        // The unprivileged user writes here, too.
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        Self(place)
    }

    /// Runs a script and returns its standard output, its standard error and its status.
    fn sh(&self, script: &str, who: As) -> (String, String, i32) {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.0.path().join("bin").display());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).current_dir(&self.0).env_clear().env("PATH", path).env("HOME", self.0.path());
        if who == As::Nobody {
            // The standard library drops the supplementary groups, too.
            command.uid(65534).gid(65534);
        }
        let done = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (text(done.stdout), text(done.stderr), done.status.code().unwrap_or(-1))
    }

    /// Returns why this user cannot have what `needs` names, if so.
    fn lacks(&self, needs: &str, who: As) -> Option<String> {
        if needs.starts_with('/') {
            return (!Path::new(needs).exists()).then(|| format!("{needs} is not installed"));
        }
        let (doctor, ..) = self.sh("sbx doctor --json", who);
        let doctor: serde_json::Value = serde_json::from_str(&doctor).unwrap();
        let names = match needs {
            "cgroup" => ["cgroup: memory", "cgroup: cpu", "cgroup: pids"].as_slice(),
            "namespaces" => &["namespace: user", "namespace: mount", "namespace: net"],
            other => panic!("nobody knows the need `{other}`"),
        };
        let checks = doctor.as_array().unwrap();
        names.iter().find_map(|name| {
            let check = checks.iter().find(|check| check["name"] == *name).unwrap();
            (check["status"] != "ok").then(|| format!("{name}: {}", check["found"]))
        })
    }
}

fn callers() -> Vec<As> {
    if nix::unistd::geteuid().is_root() { vec![As::Caller, As::Nobody] } else { vec![As::Caller] }
}

/// Whether `text` is `pattern`, where `…` stands for anything within a line and a line `…` for any lines.
fn matches(pattern: &[&str], text: &[&str]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), _) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        (Some((first, rest)), Some((line, lines))) => line_matches(first, line) && matches(rest, lines),
        _ => false,
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else { return pattern == line.trim_end() };
    let Some(line) = line.strip_prefix(start) else { return false };
    let ends: Vec<usize> = line.char_indices().map(|(at, _)| at).chain([line.len()]).collect();
    ends.into_iter().any(|at| line_matches(rest, &line[at..]))
}

#[test]
fn a_pattern_matches_what_it_says() {
    assert!(matches(&["a…c", "…", "z"], &["abc", "1", "2", "z"]) && matches(&["…"], &[]));
    assert!(!matches(&["a…c"], &["abd"]) && !matches(&["…", "z"], &["z", "1"]) && !matches(&["a"], &[]));
}

const MARK: &str = "\u{1}next\u{1}";

/// Runs the commands of a `console` block in one shell and compares what each says.
fn check_console(place: &Place, block: &Block, who: As) {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.text.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => commands.push((command, Vec::new())),
            None => commands.last_mut().expect("a console block begins with `$ `").1.push(line),
        }
    }
    // `$?` of one command is there for the next.
    let script: String = commands
        .iter()
        .map(|(command, _)| format!("{command}\nstatus=$?; printf '%s\\n' '{MARK}'; (exit $status)\n"))
        .collect();
    let (said, _, _) = place.sh(&format!("exec 2>&1\n{script}"), who);
    let answers: Vec<&str> = said.split(MARK).collect();
    for ((command, expected), answer) in commands.iter().zip(&answers) {
        let lines: Vec<&str> = answer.strip_prefix('\n').unwrap_or(answer).lines().collect();
        assert!(
            matches(expected, &lines),
            "README.md, block at line {}, as {who:?}:\n$ {command}\nsays:\n{}\ninstead of:\n{}",
            block.line,
            lines.join("\n"),
            expected.join("\n"),
        );
    }
    assert_eq!(
        answers.len(),
        commands.len() + 1,
        "README.md, block at line {}: the shell ended early:\n{said}",
        block.line
    );
}

#[test]
fn every_console_block_of_readme_is_true() {
    let blocks: Vec<_> = readme().into_iter().filter(|block| block.info.starts_with("console")).collect();
    assert!(blocks.len() >= 6, "the tour is gone");
    let places: Vec<_> = callers().into_iter().map(|who| (who, Place::new())).collect();
    for block in &blocks {
        let needs: Vec<_> = block.info.split(' ').skip(1).chain(["namespaces"]).collect();
        for place in able(&places, &needs, &format!("the block of README.md at line {}", block.line)) {
            check_console(&place.1, block, place.0);
        }
    }
}

/// Returns those who have all that `needs` names; says so where that is nobody.
fn able<'a>(places: &'a [(As, Place)], needs: &[&str], what: &str) -> Vec<&'a (As, Place)> {
    let mut reasons = Vec::new();
    let able = places.iter().filter(|(who, place)| {
        let lacks = needs.iter().find_map(|needs| place.lacks(needs, *who));
        lacks.map(|why| reasons.push(why)).is_none()
    });
    let able: Vec<_> = able.collect();
    if able.is_empty() {
        crate::skip(&format!("{what}: {}", reasons.join("; ")));
    }
    able
}

#[test]
fn every_kdl_block_of_readme_is_what_it_says() {
    let blocks: Vec<_> = readme().into_iter().filter(|block| block.info.starts_with("kdl")).collect();
    assert!(blocks.len() >= 3, "the specs are gone");
    let place = Place::new();
    for block in blocks {
        // What has a name may extend what has another.
        let parsed = match block.name() {
            Some(name) => Text::read(&place.0.path().join(name)).unwrap().parse(&[]),
            None => parse(block.text.as_bytes()),
        };
        match block.info.as_str() {
            "kdl" => assert!(parsed.is_ok(), "README.md line {}: {parsed:?}", block.line),
            "kdl must-fail" => assert!(parsed.is_err(), "README.md line {} is a good spec", block.line),
            other => panic!("README.md line {}: nobody knows `{other}`", block.line),
        }
    }
}

#[test]
fn every_spec_does_what_its_first_lines_say() {
    let places: Vec<_> = callers().into_iter().map(|who| (who, Place::new())).collect();
    let mut examples = 0;
    for path in crate::spec::specs("specs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let lines = |word: &str| -> Vec<&str> {
            text.lines().filter_map(|line| line.strip_prefix("// ")?.strip_prefix(word)).map(str::trim).collect()
        };
        let Some(command) = lines("run:").pop() else { continue };
        examples += 1;
        let expected = lines("expect:");
        assert!(expected.iter().any(|line| line.starts_with("exit ")), "specs/{name} does not say how it ends");
        let needs = [lines("needs:"), vec!["namespaces"]].concat();
        for (who, place) in able(&places, &needs, &format!("specs/{name}")) {
            let (said, complaints, status) = place.sh(command, *who);
            for line in &expected {
                let (what, value) = line.split_once(' ').unwrap();
                let holds = match what {
                    "exit" => value == status.to_string(),
                    "stdout" => said.lines().any(|line| line == value),
                    "stderr" => complaints.lines().any(|line| line == value),
                    other => panic!("specs/{name}: nobody knows `{other}`"),
                };
                assert!(holds, "specs/{name} as {who:?}: not `{line}`\n{status}\n{said}\n{complaints}");
            }
        }
    }
    assert!(examples >= 6, "only {examples} specs say how they are run");
}

#[test]
fn the_documents_name_files_that_exist() {
    for document in ["README.md", "SECURITY.md", "CHANGELOG.md", "docs/runners.md"] {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap();
            let local = !target.is_empty() && !target.contains("://");
            assert!(!local || Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists(), "{document} names {target}");
        }
    }
}
