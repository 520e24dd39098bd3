//! The rules of the house, read from the source text: who may import whom, which words
//! stay at their border, how long a file may be. README shows the same table of floors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room with its floor. A file imports its own room and lower floors only.
const FLOORS: [(&str, u8, &str); 13] = [
    ("main", 7, "the one printer"),
    ("app", 7, "the wiring, one verb a file"),
    ("cli cli_image cli_spec cli_test", 7, "the command line"),
    ("testing", 6, "the test runner: cases, workers, expectations, snapshots, JUnit"),
    ("report", 5, "the only serialisable types: JSON, hints, exit status"),
    ("run", 4, "the deed: parent side, child side, cgroups, the watch"),
    ("plan", 3, "the decision; pure"),
    ("gateway", 3, "what may leave the sandbox: verdicts, names, relay"),
    ("spec", 2, "what was written"),
    ("host", 2, "what this machine and this caller can do"),
    ("image", 2, "what the root file system is"),
    ("sys", 1, "the kernel; the only unsafe code"),
    ("domain error units", 0, "words and numbers that know nobody"),
];

/// Words of the outside, and the only places that know them.
const BORDERS: [(&[&str], &[&str]); 22] = [
    (&["clap"], &["cli.rs", "cli_image.rs", "cli_spec.rs", "cli_test.rs", "main.rs"]),
    (&["clap_complete"], &["cli.rs", "main.rs"]),
    (&["clap_mangen"], &["cli.rs"]),
    (&["kdl", "annotate_snippets", "strsim", "parse_size"], &["spec/"]),
    (&["flate2", "lzma_rust2", "zstd"], &["image/"]),
    (&["tar"], &["image/", "run/harvest/"]),
    (&["syscalls"], &["spec/syscall.rs"]),
    (&["sha2"], &["image/", "app/run.rs"]),
    (&["blake3"], &["image/"]),
    (&["serde", "serde_json"], &["report/", "plan/seccomp/oci.rs", "image/", "app/extract.rs", "testing/lines.rs"]),
    (&["ureq", "http_auth", "openssl_probe", "base64"], &["image/registry/"]),
    (&["rustls"], &["image/registry/", "gateway/hello.rs"]),
    (&["httparse"], &["gateway/http/"]),
    (&["simple_dns"], &["gateway/dns/"]),
    (&["humantime"], &["units.rs", "spec/", "report/", "image/store/names.rs"]),
    (&["indicatif"], &["app/progress.rs", "app/test_display.rs"]),
    (&["quick_junit", "chrono"], &["testing/junit.rs"]),
    (&["similar"], &["app/fmt.rs", "testing/difference.rs"]),
    (&["regex_lite"], &["spec/value_test.rs", "testing/pattern.rs"]),
    (&["anstream"], &["app/"]),
    (&["anstyle"], &["report/", "testing/tell.rs"]),
    (&["rustix"], &["sys/"]),
];

/// `libc` and `nix` outside of `sys/`: names and numbers of the kernel's own words, never a call.
const KERNEL_WORDS: [&str; 4] = ["nix::errno::Errno", "nix::sys::signal::Signal", "libc::major", "libc::minor"];

const MAX_LINES: usize = 400;
/// A third of them are for registries: HTTP and TLS without a runtime, and of these a dozen are for Windows, never built.
/// Two dozen came with JUnit, of which a dozen are for browsers, never built either.
const MAX_PACKAGES: usize = 155;

struct Source {
    /// Below `src/`.
    name: String,
    /// Without comments and without the module of its own tests.
    code: String,
    lines: usize,
    text: String,
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(package().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns every Rust file below a directory of the package, by its path below it.
fn rust_files(directory: &str) -> BTreeMap<String, String> {
    let root = package().join(directory);
    let mut open = vec![root.clone()];
    let mut files = BTreeMap::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

fn sources() -> Vec<Source> {
    let source = |(name, text): (String, String)| {
        // Its own tests are the last module of a file; they may know more than the file does.
        let tests =
            text.match_indices("#[cfg(test)]\nmod ").find(|(at, _)| text[*at..].lines().nth(1).unwrap().ends_with('{'));
        let own = &text[..tests.map_or(text.len(), |(at, _)| at)];
        let code =
            own.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
        Source { name, code, lines: text.lines().count(), text }
    };
    rust_files("src").into_iter().map(source).collect()
}

/// Returns the room of a file or of a path: `plan` of `plan/show.rs`.
fn room(name: &str) -> &str {
    name.split(['/', '.', ':']).next().unwrap()
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(names, ..)| names.split(' ').any(|name| name == room)).map(|(_, floor, _)| *floor)
}

/// Returns the paths of our own crate that the code names, with `{…}` written out: `plan::show::show`.
fn own_paths(source: &Source) -> BTreeSet<String> {
    let prefix = if source.name == "main.rs" { "sbx::" } else { "crate::" };
    let mut paths = BTreeSet::new();
    for (at, _) in source.code.match_indices(prefix) {
        let before = source.code[..at].chars().next_back();
        if before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':') {
            expand("", &source.code[at + prefix.len()..], &mut paths);
        }
    }
    paths
}

/// Writes out one path at the start of `rest`; returns what follows it.
fn expand<'a>(prefix: &str, rest: &'a str, paths: &mut BTreeSet<String>) -> &'a str {
    let rest = rest.trim_start();
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let path = format!("{prefix}{}", &rest[..word]);
    let rest = &rest[word..];
    if let Some(rest) = rest.strip_prefix("::") {
        return expand(&format!("{path}::"), rest, paths);
    }
    if let (true, Some(mut rest)) = (word == 0, rest.strip_prefix('{')) {
        loop {
            rest = expand(prefix, rest, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(next) if !next.trim_start().starts_with('}') => rest = next,
                _ => return rest.trim_start_matches(',').trim_start().trim_start_matches('}'),
            }
        }
    }
    // An exported macro lives at the root of the crate, wherever it was written.
    if !rest.starts_with('!') {
        paths.insert(path);
    }
    rest
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn a_path_with_braces_is_written_out() {
    let mut paths = BTreeSet::new();
    let rest = expand("", "plan::{\n    self, Op,\n    facts::{Base, Facts},\n};\nlet", &mut paths);
    assert_eq!(rest, ";\nlet");
    let expected = ["plan::Op", "plan::facts::Base", "plan::facts::Facts", "plan::self"];
    assert_eq!(paths.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn a_file_imports_its_own_room_and_lower_floors() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.name != "lib.rs") {
        let own = room(&source.name);
        let Some(height) = floor(own) else { panic!("src/{} is in no room of the table", source.name) };
        for path in own_paths(source) {
            let other = room(&path);
            // The rooms of the top and of the ground floor are single files that may know each other.
            let above = floor(other).is_none_or(|other| other > height || other == height && ![0, 7].contains(&height));
            if other != own && above {
                wrong.push(format!("src/{} names crate::{path}", source.name));
            }
        }
    }
    assert_none(&wrong, "imports that climb");
}

/// The files that `source` names: the longest prefix of each path that is a file.
fn neighbours(source: &Source, names: &BTreeSet<String>) -> BTreeSet<String> {
    let file = |path: &String| {
        let words: Vec<_> = path.split("::").collect();
        (1..=words.len()).rev().find_map(|n| {
            let stem = words[..n].join("/");
            [format!("{stem}.rs"), format!("{stem}/mod.rs")].into_iter().find(|name| names.contains(name))
        })
    };
    own_paths(source).iter().filter_map(file).filter(|name| *name != source.name).collect()
}

#[test]
fn no_ring_of_imports() {
    let sources = sources();
    let names = sources.iter().map(|source| source.name.clone()).collect();
    let mut graph: BTreeMap<_, _> =
        sources.iter().map(|source| (source.name.clone(), neighbours(source, &names))).collect();
    assert!(graph["run/drive.rs"].len() > 5, "the imports are not seen: {:?}", graph["run/drive.rs"]);
    // Take away who imports nobody that is left, until nothing changes: what stays is in a ring or above one.
    loop {
        let leaves: Vec<_> = graph.iter().filter(|(_, to)| to.is_empty()).map(|(name, _)| name.clone()).collect();
        if leaves.is_empty() {
            break;
        }
        graph.retain(|name, _| !leaves.contains(name));
        for to in graph.values_mut() {
            to.retain(|name| !leaves.contains(name));
        }
    }
    let rings: Vec<_> = graph.iter().map(|(name, to)| format!("{name} -> {to:?}")).collect();
    assert_none(&rings, "a ring of imports, and what stands on it");
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter(|source| source.lines > MAX_LINES);
    let long: Vec<_> = long.map(|source| format!("src/{}: {} lines", source.name, source.lines)).collect();
    assert_none(&long, "files that want to be split by noun");
}

#[test]
fn every_file_says_what_it_is_for() {
    let all = ["src", "tests", "fuzz/src", "fuzz/fuzz_targets"].into_iter().flat_map(rust_files);
    let silent = all.filter(|(_, text)| !text.starts_with("//! "));
    assert_none(&silent.map(|(name, _)| name).collect::<Vec<_>>(), "files that do not open with `//!`");
}

#[test]
fn unsafe_code_lives_under_sys() {
    let has =
        |code: &str| ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|word| code.contains(word));
    let all = sources();
    assert!(all.iter().any(|source| source.name.starts_with("sys/") && has(&source.code)), "nothing is seen");
    let found = all.iter().filter(|source| !source.name.starts_with("sys/") && has(&source.code));
    assert_none(&found.map(|source| source.name.clone()).collect::<Vec<_>>(), "unsafe code outside of src/sys");
}

#[test]
fn nothing_is_left_undone_or_imported_by_star() {
    // In two halves, so that this file does not find itself.
    let words = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!("));
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"]].map(|halves| halves.concat());
    let mut found = Vec::new();
    for (folder, name, text) in ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"]
        .into_iter()
        .flat_map(|folder| rust_files(folder).into_iter().map(move |(name, text)| (folder, name, text)))
    {
        for (number, line) in text.lines().enumerate() {
            let star = line.trim_start().trim_start_matches("pub ").starts_with("use ") && line.contains("::*");
            if star
                || words.iter().any(|word| line.contains(word.as_str()))
                || marks.iter().any(|mark| line.contains(mark))
            {
                found.push(format!("{folder}/{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none(&found, "words that must not stay");
}

/// Whether `word::` stands in the code as a crate, not as the end of another word or path.
fn names_crate(code: &str, word: &str) -> bool {
    code.match_indices(&format!("{word}::")).any(|(at, _)| {
        code[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && !"_:\"`".contains(before))
    })
}

#[test]
fn words_of_the_outside_stay_at_their_border() {
    let mut wrong = Vec::new();
    for (words, places) in BORDERS {
        for word in words {
            let (inside, outside): (Vec<_>, Vec<_>) = sources()
                .into_iter()
                .filter(|source| names_crate(&source.text, word))
                .partition(|source| places.iter().any(|place| source.name.starts_with(place)));
            assert!(!inside.is_empty(), "nobody uses `{word}`: drop the row");
            wrong.extend(outside.iter().map(|source| format!("src/{} names {word}", source.name)));
        }
    }
    assert_none(&wrong, "words beyond their border");
}

#[test]
fn only_sys_calls_the_kernel() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.name.starts_with("sys/")) {
        for (at, word) in ["libc::", "nix::"].iter().flat_map(|word| source.code.match_indices(word)) {
            let before = source.code[..at].chars().next_back();
            let path: String =
                source.code[at..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
            // A constant or one of wait(2)'s macros is upper case: a number of the kernel, not a call to it.
            let constant = path[word.len()..].chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            let known = KERNEL_WORDS.iter().any(|known| path.starts_with(known));
            if before.is_none_or(|before| !before.is_alphanumeric()) && !constant && !known {
                wrong.push(format!("src/{} names {path}", source.name));
            }
        }
    }
    assert_none(&wrong, "calls of the kernel outside of src/sys");
}

#[test]
fn no_file_of_the_tests_is_forgotten() {
    let files = rust_files("tests/it");
    let mut forgotten = Vec::new();
    for name in files.keys().filter(|name| *name != "main.rs") {
        let path = Path::new(name);
        let (stem, folder) = (path.file_stem().unwrap().to_str().unwrap(), path.parent().unwrap());
        let (parent, word) = if stem == "mod" {
            ("main.rs".to_owned(), folder.to_str().unwrap())
        } else if folder.as_os_str().is_empty() {
            ("main.rs".to_owned(), stem)
        } else {
            (format!("{}/mod.rs", folder.display()), stem)
        };
        let parent = files.get(&parent).unwrap_or_else(|| panic!("tests/it/{parent} is missing"));
        if !parent.lines().any(|line| line.trim_start_matches("pub(crate) ") == format!("mod {word};")) {
            forgotten.push(name.clone());
        }
    }
    assert_none(&forgotten, "files of tests/it that nobody runs");
}

#[test]
fn each_dependency_says_why() {
    let manifests = ["Cargo.toml", "fuzz/Cargo.toml"].map(read).concat();
    let (mut section, mut before, mut silent) = ("", "", Vec::new());
    for line in manifests.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && line.contains(" = ")
            && !line.starts_with('#')
            && !before.starts_with('#')
        {
            silent.push(line.to_owned());
        }
        before = line;
    }
    assert_none(&silent, "dependencies without a reason above them");
}

/// A target that cargo or the corpus does not know is one that nobody runs.
#[test]
fn no_fuzz_target_is_forgotten() {
    let (manifest, readme) = (read("fuzz/Cargo.toml"), read("fuzz/README.md"));
    let targets = rust_files("fuzz/fuzz_targets");
    assert!(targets.len() > 5, "{:?}", targets.keys());
    let (mut forgotten, mut kept, mut bytes) = (Vec::new(), 0, 0);
    for file in targets.keys() {
        let target = file.trim_end_matches(".rs");
        let seeds = std::fs::read_dir(package().join("fuzz/corpus").join(target)).into_iter().flatten();
        let sizes: Vec<u64> = seeds.map(|seed| seed.unwrap().metadata().unwrap().len()).collect();
        let built = manifest.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{file}\"\n"));
        if sizes.is_empty() || !built || !readme.contains(&format!("| `{target}` |")) {
            forgotten.push(file.clone());
        }
        (kept, bytes) = (kept + sizes.len(), bytes + sizes.iter().sum::<u64>());
    }
    assert_none(&forgotten, "fuzz targets without a corpus, a row in fuzz/README.md or a place in fuzz/Cargo.toml");
    assert!(kept < 450 && bytes < 300 << 10, "{kept} seeds of {bytes} bytes: merge them, see fuzz/README.md");
    assert!(read("Cargo.toml").contains("\"/fuzz\""), "the package would ship what it does not need");
}

#[test]
fn the_tree_of_packages_stays_small() {
    let count = read("Cargo.lock").lines().filter(|line| *line == "[[package]]").count();
    assert!(
        count <= MAX_PACKAGES,
        "{count} packages in Cargo.lock, {MAX_PACKAGES} is the cap: is the new one worth it?"
    );
}

#[test]
fn the_changelog_keeps_its_form() {
    let text = read("CHANGELOG.md");
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    assert_eq!(headings.next(), Some("# Changelog"));
    assert_eq!(headings.next(), Some("## [Unreleased]"));
    for heading in headings {
        let kind = heading.strip_prefix("### ").is_some_and(|kind| kinds.contains(&kind));
        let version = heading.strip_prefix("## [").and_then(|rest| rest.split_once("] - "));
        let dated = version.is_some_and(|(version, date)| {
            version.split('.').count() == 3 && date.len() == 10 && date.split('-').count() == 3
        });
        assert!(kind || dated, "`{heading}` is no heading of keepachangelog.com");
    }
}

#[test]
fn readme_shows_the_same_floors() {
    let row = |(names, floor, what): (&str, u8, &str)| {
        let names: Vec<_> = names
            .split(' ')
            .map(|name| {
                let folder = package().join("src").join(name).is_dir();
                if folder { format!("`{name}/`") } else { format!("`{name}.rs`") }
            })
            .collect();
        format!("| {floor} | {} | {what} |\n", names.join(" "))
    };
    let table: String = FLOORS.map(row).concat();
    assert!(read("README.md").contains(&table), "README.md does not have these rows:\n{table}");
}
