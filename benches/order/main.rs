//! Puts what a run executes side by side in the binary: `cargo bench --bench order` steps through a few runs
//! of sbx and writes the functions that it saw, in that order, into `.cargo/order.ld`, which the linker reads.
//! Scattered over the text, these functions cost a page fault for every 64 KiB that one of them lies in.
//!
//! A function that the list lacks or that is gone does no harm. Run it after larger changes, as root.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

type Fault = Box<dyn std::error::Error>;

const LIST: &str = ".cargo/order.ld";

/// Objects of the C library that are written in assembler: their functions have no sections of their own.
const ASSEMBLER: [&str; 6] = ["memcpy", "memset", "memmove", "crt1", "clone", "set_thread_area"];

const TEXT: &str =
    "/* Written by `cargo bench --bench order`: the functions that a run executes, in the order of their first
   call, those of the child before all others. The linker lays them side by side, before the rest of the text
   (INSERT of the GNU linker's manual). */
";

fn main() -> ExitCode {
    match order() {
        Ok(count) => {
            say(&format!("order: {count} functions are in {LIST}"));
            ExitCode::SUCCESS
        }
        Err(fault) => {
            say(&format!("order: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn order() -> Result<usize, Fault> {
    let yard = std::env::temp_dir().join(format!("sbx-order-{}", std::process::id()));
    std::fs::create_dir_all(yard.join("root"))?;
    for name in ["proc", "dev", "tmp", "run"] {
        std::fs::create_dir_all(yard.join("root").join(name))?;
    }
    let names = names(&yard);
    std::fs::remove_dir_all(&yard)?;
    let names = names?;
    let mut text = format!("{TEXT}SECTIONS\n{{\n  .text.run :\n  {{\n");
    for object in ASSEMBLER {
        writeln!(text, "    *{object}.*o(.text)")?;
    }
    for name in &names {
        writeln!(text, "    *(.text.{name} .text.unlikely.{name})")?;
    }
    text.push_str("  }\n}\nINSERT BEFORE .text;\n");
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST), text)?;
    Ok(names.len())
}

/// Returns the patterns of the functions that the runs execute, each once, in the order of the first call, those first
/// that a child executes.
fn names(yard: &Path) -> Result<Vec<String>, Fault> {
    let sbx = with_symbols(yard)?;
    let steps = yard.join("steps");
    let c = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/c");
    run(Command::new("cc").args(["-O2", "-o"]).arg(&steps).arg(c.join("steps.c")))?;
    run(Command::new("cc")
        .args(["-O2", "-nostdlib", "-static", "-o"])
        .arg(yard.join("root/true"))
        .arg(c.join("true.c")))?;
    let root = format!("rootfs {:?} writable=\"no\"\n", yard.join("root").display().to_string());
    let (plain, limits) = (yard.join("plain.kdl"), yard.join("limits.kdl"));
    std::fs::write(&plain, format!("{root}report \"none\"\n"))?;
    std::fs::write(&limits, format!("{root}report {:?}\nlimits {{ memory \"64M\"; pids 32; cpu 1; }}\n", "stderr"))?;
    let symbols = symbols(&sbx)?;
    let (plain, limits) = (plain.display().to_string(), limits.display().to_string());
    let nobody = 65534;
    let runs: [(&[&str], u32); 5] = [
        (&["run", &plain, "--", "/true"], 0),
        (&["run", &plain, "--", "/true"], nobody),
        (&["run", &limits, "--", "/true"], 0),
        (&["plan", &plain], 0),
        (&["--version"], 0),
    ];
    let (mut children, mut parents) = (Vec::new(), Vec::new());
    for (words, user) in runs {
        let executed = executed((&steps, &sbx), words, user, symbols.last().map_or(0, |(last, _)| *last))?;
        for (process, address) in executed {
            if process == "c" { children.push(address) } else { parents.push(address) }
        }
    }
    let (mut names, mut have) = (Vec::new(), BTreeSet::new());
    // The child's first: it maps each page of the text anew, in every run of a test.
    for address in children.into_iter().chain(parents) {
        let at = symbols.partition_point(|(start, _)| *start <= address).saturating_sub(1);
        let Some((start, _)) = symbols.get(at) else { continue };
        // The linker may have folded several names into one function.
        for (_, name) in symbols.iter().filter(|(other, _)| other == start) {
            if have.insert(name.clone()) {
                names.push(name.clone());
            }
        }
    }
    Ok(names)
}

/// Builds sbx as it is released, but with its symbols, and returns where it lies for everybody to run.
fn with_symbols(yard: &Path) -> Result<PathBuf, Fault> {
    run(Command::new(env!("CARGO")).args([
        "build",
        "--release",
        "--bin",
        "sbx",
        "--config",
        "profile.release.strip=false",
    ]))?;
    let bench = std::env::current_exe()?;
    let built = bench.ancestors().nth(2).ok_or("no directory of builds")?.join("sbx");
    let sbx = yard.join("sbx");
    std::fs::copy(&built, &sbx).map_err(|fault| format!("{}: {fault}", built.display()))?;
    Ok(sbx)
}

/// Returns the functions of `binary` in the order of their addresses, their names as patterns: what differs from one
/// compilation to the next is a `*`.
fn symbols(binary: &Path) -> Result<Vec<(u64, String)>, Fault> {
    let output =
        Command::new("nm").arg("--defined-only").arg(binary).output().map_err(|fault| format!("nm: {fault}"))?;
    let text = String::from_utf8(output.stdout)?;
    let mut symbols = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        if let (Some(address), Some("t" | "T" | "w" | "W"), Some(name)) = (words.next(), words.next(), words.next()) {
            symbols.push((u64::from_str_radix(address, 16)?, pattern(name)));
        }
    }
    symbols.sort();
    Ok(symbols)
}

/// Takes the hashes out of a mangled name: `17h` and sixteen digits at the end of an old one, `Cs…_` before each crate
/// of a new one, and what LLVM appends to a name that it made public.
fn pattern(name: &str) -> String {
    let (name, end) = name.split_once(".llvm.").map_or((name, ""), |(name, _)| (name, "*"));
    if let Some((start, _)) = name.rsplit_once("17h") {
        return format!("{start}17h*");
    }
    let mut parts = name.split("Cs");
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('_') {
            Some((hash, rest)) if hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                pattern.push_str("Cs*_");
                pattern.push_str(rest);
            }
            _ => {
                pattern.push_str("Cs");
                pattern.push_str(part);
            }
        }
    }
    pattern + end
}

/// Returns the addresses up to that of the function at `last`, each with who executed it: the program itself, `p`, or a
/// descendant, `c`.
fn executed((steps, sbx): (&Path, &Path), words: &[&str], user: u32, last: u64) -> Result<Vec<(String, u64)>, Fault> {
    let directory = std::env::temp_dir().join(format!("sbx-steps-{}-{user}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    std::os::unix::fs::chown(&directory, Some(user), Some(user))?;
    let list = directory.join("list");
    let mut command = Command::new(steps);
    command.args(["400000", &format!("{last:x}")]).arg(&list).arg(sbx).args(words);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).uid(user).gid(user);
    run(&mut command)?;
    let text = std::fs::read_to_string(&list)?;
    std::fs::remove_dir_all(&directory)?;
    let step = |line: &str| {
        let (process, address) = line.split_once(' ').ok_or("steps wrote another line")?;
        Ok((process.to_owned(), u64::from_str_radix(address, 16)?))
    };
    text.lines().map(step).collect()
}

fn run(command: &mut Command) -> Result<(), Fault> {
    let status = command.status().map_err(|fault| format!("{}: {fault}", command.get_program().display()))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", command.get_program().display()).into()) }
}

#[expect(clippy::print_stderr, reason = "this program is its own printer")]
fn say(text: &str) {
    eprintln!("{text}");
}
