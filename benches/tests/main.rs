//! Cases per second: `sbx test` beside as many separate `sbx run`, and beside bubblewrap in a loop of the shell.
//! `cargo bench --bench tests -- [--rounds N] [--cases N] [--write]`; see `benches/README.md`.

#[path = "../shared/compile.rs"]
mod compile;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/markers.rs"]
mod markers;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

type Fault = Box<dyn std::error::Error>;

struct Options {
    rounds: usize,
    cases: usize,
    write: bool,
}

/// One way to run all cases.
struct Contender {
    name: &'static str,
    script: String,
    /// Cases per second, a round each.
    rates: Vec<f64>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            std::io::stderr().write_all(format!("tests: {fault}\n").as_bytes()).ok();
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, Fault> {
    let mut options = Options { rounds: 7, cases: 400, write: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().ok_or("a number is missing")?.parse::<usize>().map_err(Fault::from);
        match argument.as_str() {
            "--rounds" => options.rounds = number()?.max(3),
            "--cases" => options.cases = number()?.max(50),
            "--write" => options.write = true,
            "--bench" => {}
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Fault> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tests");
    std::fs::create_dir_all(place.join("root"))?;
    let mut contenders = contenders(&place, options.cases)?;
    let busy = (machine::busy(), Instant::now());
    let mut own = 0.0;
    for round in 0..=options.rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let contender = &mut contenders[index];
            let (begin, before) = (Instant::now(), machine::busy());
            let done = Command::new("sh").args(["-c", &contender.script]).stdout(Stdio::null()).output()?;
            if !done.status.success() {
                return Err(format!(
                    "{}: {}",
                    contender.name,
                    String::from_utf8_lossy(&done.stderr).lines().next().unwrap_or_default()
                )
                .into());
            }
            own += machine::busy() - before;
            // The first round warms caches and says nothing.
            if round > 0 {
                let cases = f64::from(u32::try_from(options.cases)?);
                contender.rates.push(cases / begin.elapsed().as_secs_f64());
            }
        }
    }
    let seconds = busy.1.elapsed().as_secs_f64();
    let text = table(&mut contenders, options, (machine::busy() - busy.0, own, seconds))?;
    std::io::stdout().write_all(text.as_bytes())?;
    if options.write { markers::write("benches/README.md", "tests", &text) } else { Ok(()) }
}

fn contenders(place: &Path, cases: usize) -> Result<Vec<Contender>, Fault> {
    let sbx = std::env::var_os("SBX").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_sbx")), PathBuf::from);
    let (sbx, program) = (sbx.display(), place.join("root/true"));
    compile::compile(&["true"], &program, &["-static", "-nostdlib", "-ffreestanding", "-no-pie"])?;
    let root = place.join("root");
    let head = format!("rootfs \"dir:{}\" writable=\"no\"\ncommand \"/true\"\n", root.display());
    let one = place.join("one.kdl");
    std::fs::write(&one, format!("{head}report \"none\"\n"))?;
    let all = place.join("all.sbx.kdl");
    let tests: String = (0..cases).map(|number| format!("test \"{number}\" {{}}\n")).collect();
    std::fs::write(&all, head + &tests)?;
    let (one, all, root) = (one.display(), all.display(), root.display());
    for directory in ["proc", "dev", "tmp", "run"] {
        std::fs::create_dir_all(place.join("root").join(directory))?;
    }
    // As many as `sbx test` takes.
    let jobs = match std::thread::available_parallelism()?.get() {
        1 => 2,
        2 => 3,
        more => more + 2,
    };
    let bwrap = format!("bwrap --unshare-all --ro-bind {root} / --proc /proc --dev /dev --tmpfs /tmp /true");
    let loop_of = |line: &str| format!("i=0; while [ $i -lt {cases} ]; do {line} || exit 1; i=$((i+1)); done");
    let beside = |line: &str| format!("seq {cases} | xargs -P {jobs} -I@ {line}");
    let contender = |name, script| Contender { name, script, rates: Vec::new() };
    let mut contenders = vec![
        contender("`sbx test`", format!("{sbx} test {all} 2>/dev/null")),
        contender("`sbx test -j1`", format!("{sbx} test -j1 {all} 2>/dev/null")),
        contender("`sbx run` in a loop of the shell", loop_of(&format!("{sbx} run {one}"))),
        contender("`sbx run` under `xargs -P`", beside(&format!("{sbx} run {one}"))),
    ];
    if Command::new("bwrap").arg("--version").output().is_ok() {
        contenders.push(contender("bwrap in a loop of the shell", loop_of(&bwrap)));
        contenders.push(contender("bwrap under `xargs -P`", beside(&bwrap)));
    } else {
        std::io::stderr().write_all(b"tests: left out: bwrap (apt-get install bubblewrap)\n").ok();
    }
    Ok(contenders)
}

fn table(
    contenders: &mut [Contender],
    options: &Options,
    (busy, own, seconds): (f64, f64, f64),
) -> Result<String, Fault> {
    let medians: Vec<f64> = contenders
        .iter_mut()
        .map(|contender| {
            contender.rates.sort_by(f64::total_cmp);
            contender.rates[contender.rates.len() / 2]
        })
        .collect();
    let of =
        |name: &str| contenders.iter().position(|contender| contender.name.starts_with(name)).map(|at| medians[at]);
    let (run, bwrap) = (of("`sbx run` in"), of("bwrap in"));
    let mut text = machine::facts()?;
    writeln!(text, "{} rounds of {} cases each, interleaved.\n", options.rounds, options.cases)?;
    writeln!(text, "| | cases a second | slowest round | fastest | × `sbx run` in a loop | × bwrap in a loop |")?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|")?;
    for (contender, median) in contenders.iter().zip(&medians) {
        let times = |other: Option<f64>| other.map_or_else(|| "–".to_owned(), |other| format!("{:.2}", median / other));
        let (low, high) = (contender.rates[0], contender.rates[contender.rates.len() - 1]);
        writeln!(
            text,
            "| {} | {median:.0} | {low:.0} | {high:.0} | {} | {} |",
            contender.name,
            times(run),
            times(bwrap)
        )?;
    }
    let share = 100.0 * own / (seconds * machine::processors());
    let all = 100.0 * busy / (seconds * machine::processors());
    writeln!(text, "\nThe processors were busy to {all:.0} %, other work included ({share:.0} % while cases ran).")?;
    Ok(text)
}
