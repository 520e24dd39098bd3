//! What the size of an image costs a run of it: files, layers, and whether anything is written back.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::measure::median;
use crate::yard::{Yard, tool};
use crate::{Fault, say};

const SAMPLES: usize = 300;

/// The table of warm runs.
///
/// # Errors
/// Images that cannot be made or run.
pub(crate) fn table(yard: &Yard) -> Result<String, Fault> {
    let images = [("1000 files", 1000, 1), ("100,000 files", 100_000, 1), ("64 layers, 1000 files", 1000, 64)];
    let mut specs = Vec::new();
    yard.clear()?;
    for (label, files, layers) in images {
        let name = format!("start-{files}-{layers}");
        yard.once(&name, || image(yard, &name, (files, layers)))?;
        specs.push((label, yard.sbx(&name, &format!("oci:{}:it", yard.path(&name)))?, Vec::new()));
    }
    say("Start-up");
    for _ in 0..5 {
        for (_, spec, _) in &specs {
            start(yard, spec)?;
        }
    }
    yard.settle()?;
    for round in 0..SAMPLES {
        let count = specs.len();
        for step in 0..count {
            let index = if round % 2 == 0 { step } else { count - 1 - step };
            let (_, spec, samples) = &mut specs[index];
            samples.push(start(yard, spec)?);
        }
    }
    let mut text = String::from("\n### A run of an image that is there\n\n");
    writeln!(text, "{SAMPLES} runs each, interleaved.\n")?;
    text.push_str("| ms | min | median | − first | calls that write back |\n|---|--:|--:|--:|--:|\n");
    let first = median(specs[0].2.iter().copied());
    for (label, spec, samples) in &specs {
        let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
        let middle = median(samples.iter().copied());
        let more = middle - first;
        writeln!(text, "| {label} | {least:.2} | {middle:.2} | {more:+.2} | {} |", syncs(yard, spec)?)?;
    }
    yard.close()?;
    Ok(text)
}

fn start(yard: &Yard, spec: &str) -> Result<f64, Fault> {
    let mut command = Command::new(yard.program());
    command.args(["run", spec]).env("SBX_STORE", yard.store());
    let begin = std::time::Instant::now();
    let status = command.status()?;
    let wall = begin.elapsed().as_secs_f64() * 1e3;
    if status.success() { Ok(wall) } else { Err(format!("{spec}: {status}").into()) }
}

/// How many calls of a run wait until something is on the disk.
fn syncs(yard: &Yard, spec: &str) -> Result<String, Fault> {
    let trace = yard.out("trace");
    let program = yard.program();
    let argv =
        ["-f", "-o", &trace, "-e", "trace=sync,syncfs,fsync,fdatasync,msync,sync_file_range", &program, "run", spec];
    let mut command = Command::new("strace");
    match command.args(argv).env("SBX_STORE", yard.store()).status() {
        Ok(status) if status.success() => {
            let calls = std::fs::read_to_string(&trace)?;
            Ok(calls.lines().filter(|line| line.contains("sync")).count().to_string())
        }
        Ok(status) => Err(format!("strace: {status}").into()),
        Err(_) => Ok("strace is not installed".to_owned()),
    }
}

fn image(yard: &Yard, name: &str, (files, layers): (usize, usize)) -> Result<(), Fault> {
    let program = yard.path("true");
    crate::compile::compile(&["true"], Path::new(&program), &["-static", "-nostdlib", "-ffreestanding", "-no-pie"])?;
    tool("umoci", &["init", "--layout", &yard.path(name)])?;
    let mut parts = Vec::new();
    for layer in 0..layers {
        let path = yard.path(&format!("{name}-{layer}.tar"));
        let mut part = tar::Builder::new(File::create(&path)?);
        if layer == 0 {
            part.append_path_with_name(&program, "bin/true")?;
        }
        for file in 0..files / layers {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            header.set_mode(0o644);
            part.append_data(&mut header, format!("d/{layer}/{}/{file}", file / 100), std::io::empty())?;
        }
        part.finish()?;
        parts.push(path);
    }
    yard.image(name, "it", &parts)?;
    parts.iter().try_for_each(|part| std::fs::remove_file(part).map_err(Fault::from))
}
