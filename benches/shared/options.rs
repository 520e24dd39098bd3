//! What a benchmark of rounds is asked for on its command line.

/// How often, and where the tables go.
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) output: Output,
}

pub(crate) enum Output {
    Print,
    WriteReadme,
}

/// Reads `[--rounds N] [--write]`.
pub(crate) fn options(words: &[String]) -> Result<Options, Box<dyn std::error::Error>> {
    let mut options = Options { rounds: 5, output: Output::Print };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => options.rounds = words.next().ok_or("--rounds needs a number")?.parse()?,
            "--write" => options.output = Output::WriteReadme,
            // Cargo's own, on every bench target.
            "--bench" => {}
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    match options.rounds {
        0..3 => Err("fewer than 3 rounds say nothing".into()),
        _ => Ok(options),
    }
}
