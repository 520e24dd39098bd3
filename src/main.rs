//! Reads the command line, calls one verb, prints what it says, once.
#![no_main]

use std::ffi::OsString;
use std::io::Write;

use sbx::app::fmt::Action;
use sbx::app::inspect::Rendering;
use sbx::app::replace::Existing;
use sbx::app::run::Done;
use sbx::app::{self, Refusal};
use sbx::cli::{self, Cli, Form, Verb};
use sbx::error::exit;

sbx::entry!(run);

fn run(arguments: Vec<OsString>) -> u8 {
    let done = match Cli::read(arguments) {
        Ok((cli, form)) => carry_out(&cli, form),
        Err(error) => {
            // Nobody is left to tell if this cannot be printed.
            let status = if error.use_stderr() { exit::USAGE } else { 0 };
            cli::advised(error).print().ok();
            return status;
        }
    };
    let (Ok(Done { text, status }) | Err(Refusal { text, status })) = done;
    if !text.is_empty() {
        std::io::stderr().write_all(text.as_bytes()).ok();
    }
    status
}

fn carry_out(cli: &Cli, form: Form) -> Result<Done, Refusal> {
    app::refuse_set_id()?;
    match &cli.verb {
        Verb::Run(arguments) => app::run::run(arguments, form),
        Verb::Check { specs, set } => app::check::check(specs, set).map(|text| Done { text, status: 0 }),
        Verb::Test(arguments) => app::test::test(arguments),
        Verb::Plan { request, flat: true, .. } => print(&app::inspect::flat(request)?),
        Verb::Plan { request, json, flat: false } => {
            print(&app::inspect::plan(request, if *json { Rendering::Json } else { Rendering::Text })?)
        }
        Verb::Init(cli::Init { purpose, path, force }) => {
            let existing = if *force { Existing::Replaced } else { Existing::Refused };
            let (bytes, done) = app::init::init(*purpose, path.as_deref(), existing)?;
            print(&bytes).map(|_| done)
        }
        Verb::Fmt(cli::Fmt { paths, check }) => {
            let (bytes, done) = app::fmt::fmt(paths, if *check { Action::Check } else { Action::Write })?;
            print(&bytes).map(|_| done)
        }
        Verb::Diff { spec, json, set, store } => {
            let request =
                cli::Request { spec: spec.clone(), set: set.clone(), place: store.clone(), ..cli::Request::default() };
            print(&app::diff::diff(&request, if *json { Rendering::Json } else { Rendering::Text })?)
        }
        Verb::Doctor { json: true } => print(&app::machine::doctor_json()?),
        Verb::Doctor { json: false } => print(&app::machine::doctor_text()),
        Verb::Image(arguments) => {
            let (bytes, done) = app::image::image(arguments)?;
            print(&bytes).map(|_| done)
        }
        Verb::Gc { store } => {
            let (removed, text) = app::machine::gc(store)?;
            print(&removed).map(|done| Done { text, ..done })
        }
        Verb::ExtractLayers => app::extract::confine(),
        Verb::PlaceLayers => app::extract::place(),
        Verb::TendStore => print(&app::tend::tend()?),
        Verb::SettleStore { store } => {
            let settled = app::store::chosen(store).and_then(|store| store.settle());
            settled.map(|()| done(0)).map_err(|error| Refusal::new(&error, None))
        }
        Verb::Schema { format: cli::Format::Report } => print(sbx::report::schema::REPORT.as_bytes()),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::definition(), "sbx", &mut script);
            print(&script)
        }
        Verb::Man => {
            let mut page = Vec::new();
            cli::man(&mut page)
                .map_err(|error| Refusal::of_text(format!("sbx: cannot make the man page: {error}\n")))?;
            print(&page)
        }
    }
}

fn done(status: u8) -> Done {
    Done { text: String::new(), status }
}

/// Writes to standard output. A reader that is gone is no error.
fn print(bytes: &[u8]) -> Result<Done, Refusal> {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Refusal::of_text(format!("sbx: cannot write to standard output: {error}\n")))
        }
        _ => Ok(done(0)),
    }
}
