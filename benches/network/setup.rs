//! What a way out costs a run: before its command starts, and altogether.

use std::fmt::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use sbx::plan::way::{Doors, Published};
use sbx::run::{inlets, netlink};
use sbx::sys::net::{self, Family};
use sbx::sys::{Fd, process};

use crate::contenders::{PASTA, installed};
use crate::world::World;
use crate::{Fault, median, sbx};

const RUNS: usize = 200;

/// One kind of run.
struct Row {
    name: &'static str,
    words: Vec<String>,
    /// Milliseconds, as the report or the program itself has them.
    ready: Vec<f64>,
    whole: Vec<f64>,
}

/// Returns the table of what sets up a network.
///
/// # Errors
/// A run that fails.
pub(crate) fn table(world: &World) -> Result<String, Fault> {
    let mut rows = rows(world)?;
    for round in 0..=RUNS {
        let mut order: Vec<&mut Row> = rows.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for row in order {
            let (ready, whole) = once(world, row)?;
            // The first round warms caches and says nothing.
            if round > 0 {
                row.ready.extend(ready);
                row.whole.push(whole);
            }
        }
    }
    let mut text = format!("\n### Set-up of a network\n\n{RUNS} runs of `true` each, interleaved.\n\n");
    writeln!(text, "| ms | until the command starts: min | median | whole run: min | median |")?;
    writeln!(text, "|---|--:|--:|--:|--:|")?;
    for row in &rows {
        let [ready, whole] = [&row.ready, &row.whole].map(|times| match times[..] {
            [] => "– | –".to_owned(),
            _ => format!("{:.2} | {:.2}", times.iter().copied().fold(f64::INFINITY, f64::min), median(times)),
        });
        // Of that program only what it has timed itself says something.
        let whole = if row.name.starts_with("the calls") { "– | –" } else { &whole };
        writeln!(text, "| {} | {ready} | {whole} |", row.name)?;
    }
    let (none, egress) = (median(&rows[0].ready), median(&rows[1].ready));
    writeln!(text, "\n`network egress` starts its command {:.2} ms later than `network none`.", egress - none)?;
    Ok(text)
}

fn rows(world: &World) -> Result<Vec<Row>, Fault> {
    let row = |name, words| Row { name, words, ready: Vec::new(), whole: Vec::new() };
    let own = |file: &str, network: &str| -> Result<Vec<String>, Fault> {
        let path = world.place.path().join(file);
        std::fs::write(&path, format!("{network}\ncommand \"true\"\n"))?;
        let path = path.display().to_string();
        Ok([&sbx().display().to_string(), "run", "--report", "stdout", &path].map(str::to_owned).to_vec())
    };
    let client = world.place.path().join("client").display().to_string();
    let mut rows = vec![
        row("sbx, `network none`", own("none.kdl", "network none")?),
        row("sbx, `network egress`", own("egress.kdl", "network egress { allow \"*\"; }")?),
        row("the calls alone that `egress` makes more inside", vec![client, "floor".to_owned()]),
    ];
    if installed("pasta") {
        rows.push(row("pasta", PASTA.split(' ').chain(["true"]).map(str::to_owned).collect()));
    }
    Ok(rows)
}

/// Returns the two times of a run.
fn once(world: &World, row: &Row) -> Result<(Option<f64>, f64), Fault> {
    let words: Vec<&str> = row.words.iter().map(String::as_str).collect();
    let mut command: Command = world.nobody(&words);
    command.stderr(Stdio::null());
    let begin = Instant::now();
    let output = command.output()?;
    let whole = begin.elapsed().as_secs_f64() * 1e3;
    if !output.status.success() {
        return Err(format!("{}: {}", row.name, output.status).into());
    }
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let ready = said["time"]["setup_ns"].as_f64().or_else(|| said.as_f64());
    Ok((ready.map(|nanoseconds| nanoseconds / 1e6), whole))
}

/// Makes a network namespace and in it what a way out needs; prints how many nanoseconds that took, the namespace
/// and its `lo` not counted.
///
/// # Errors
/// What the kernel does not give to this caller.
pub(crate) fn floor() -> Result<(), Fault> {
    let families = [Family::V4, Family::V6];
    let (routes, rules) = (netlink::any_address(&families), netlink::intercept(&[], &[]));
    let (here, _there) = UnixStream::pair()?;
    process::unshare((libc::CLONE_NEWUSER | libc::CLONE_NEWNET).unsigned_abs().into())?;
    net::loopback_up()?;
    let begin = Instant::now();
    net::ask_kernel(libc::NETLINK_ROUTE, &routes.bytes)?;
    net::ask_kernel(libc::NETLINK_NETFILTER, &rules.bytes)?;
    inlets::open(&families, (&Doors::One, Published::Nothing), Fd(here.as_raw_fd()))?;
    crate::say(&begin.elapsed().as_nanos().to_string());
    Ok(())
}
