//! `sbx run`: the story of one run, from the text of the spec to the report.

use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::path::PathBuf;

use crate::app::deliver::Place;
use crate::app::gather;
use crate::app::prepare;
use crate::app::request::{self, Mistake, Text};
use crate::app::stages::{Laps, Stages};
use crate::app::{Refusal, redirection, reenter, watch_network};
use crate::cli::{self, Form};
use crate::error::{Error, Kind, Result, exit};
use crate::image::{Image, InUse};
use crate::plan::facts::{Accounting, Base, Invocation, Manner, Redirection};
use crate::plan::{Capture, Plan, resolve};
use crate::report::build::error_member;
use crate::report::{Report, RootfsMember, Subject, exit as status, explain};
use crate::run::anchor::Exposed;
use crate::run::conclude::unstarted;
use crate::run::{Ended, Outcome, drive, stdio};
use crate::spec::{Mount, ReportTarget, RootfsSource, Secret, Spec, Writable, value};
use crate::sys::process;
use crate::sys::watch::asked_to_end;
use crate::units::Origin;

/// What a run printed on standard error, if anything, and its exit status.
#[derive(Debug)]
pub struct Done {
    pub text: String,
    pub status: u8,
}

/// Runs a command as `arguments` say.
///
/// # Errors
/// What prevented the run, or the delivery of its report.
pub fn run(arguments: &cli::Run, form: Form) -> std::result::Result<Done, Refusal> {
    let mut stages = Stages::start(if arguments.verbose { Laps::Taken } else { Laps::Ignored });
    let text = Text::read(&arguments.request.spec).map_err(|error| Refusal::new(&error, None))?;
    stages.lap("read");
    let mut account = Account {
        arguments,
        text: &text,
        sha256: None,
        source: None,
        digest: None,
        rootfs: RootfsMember::default(),
        in_use: InUse::default(),
    };
    let spec = match request::spec(&text, &arguments.request) {
        Ok(spec) => spec,
        Err(mistake) => return Err(account.mistaken(&mistake)),
    };
    account.asked(&spec);
    stages.lap("parse");
    if let Some(label) = arguments.label.iter().find(|label| label.find('=').is_none_or(|at| at == 0)) {
        let message = format!("`--label {}`: must be NAME=VALUE", label.escape_debug());
        return Err(Refusal::new(&Error::new(Kind::Usage, message), None));
    }
    let refuse = |error: Error| Refusal::new(&error, Some(text.as_spec()));
    let target = target(arguments, &spec, form).map_err(refuse)?;
    let accounting = if target == ReportTarget::None { Accounting::NotWanted } else { Accounting::IfAvailable };
    let capture = if arguments.capture { Capture::Yes } else { Capture::No };
    let mut invocation = invocation(&spec, &arguments.request, &text, (capture, accounting));
    if form == Form::Script {
        invocation.manner = Manner::Follow;
        let dashes = invocation.arguments.first().is_some_and(|word| word == "--");
        invocation.arguments.drain(..usize::from(dashes && spec.command.is_none()));
    }
    // Without a place for volumes the run is refused, which the report is to say.
    invocation.volumes = volumes(&spec, &arguments.request.place).unwrap_or_default();
    invocation.process = process::own_pid().0.unsigned_abs();
    let exposed = prepare::exposed(&spec, &invocation);
    let base = report_base(arguments, &invocation).map_err(refuse)?;
    let place = Place::open(&target, &base, &exposed).map_err(refuse)?;
    // From here on there is a report to be written, whatever comes.
    let blocked = process::block_signals()
        .map_err(|errno| Error::new(Kind::Host, "cannot block signals").with_errno(errno as i32));
    let mut go = |redirection| {
        let watcher = arguments.watch_network.then(watch_network::watcher);
        match decide(&spec, (&invocation, &exposed, redirection), &mut account, &mut stages) {
            Ok(plan) => drive::run(&plan, stages.started(), watcher).map(|outcome| (Some(plan), outcome)),
            Err(error) => match asked_to_end() {
                Some(signal) => Ok((None, unstarted(Ended::Canceled { signal }, stages.started(), None))),
                None => Err(error),
            },
        }
    };
    let mut happened = blocked.and_then(|_| go(Redirection::There));
    if let Ok((Some(plan), outcome)) = &happened
        && let Some(missing) = redirection::missing(plan, outcome)
    {
        happened = go(missing);
    }
    stages.lap("run");
    finish(happened, place, &mut account, stages)
}

/// Everything up to the plan.
fn decide(
    spec: &Spec,
    (invocation, exposed, redirection): (&Invocation, &Exposed, Redirection),
    account: &mut Account<'_>,
    stages: &mut Stages,
) -> Result<Plan> {
    let place = &account.arguments.request.place;
    volumes(spec, place)?;
    let mut gathered = gather::gather(spec, invocation, exposed, place)?;
    gathered.facts.redirection = redirection;
    account.in_use = gathered.image.as_ref().map(|image| image.in_use.clone()).unwrap_or_default();
    account.found(spec, &gathered.facts.base, gathered.image.as_ref());
    reenter::in_scope_if_needed(account.text, spec, &gathered.facts.host)?;
    stages.lap("gather");
    let spec = gathered.configured.as_ref().unwrap_or(spec);
    let mut plan = resolve::resolve(spec, &gathered.facts, invocation)?;
    // Whatever could be known to stand in the way is known.
    prepare::directories(spec, invocation, exposed)?;
    if let Some(devices @ 1..) = gathered.image.map(|image| image.skipped.devices) {
        plan.warnings
            .push(format!("{devices} devices of the archive are not in the root: name what is needed with `device`"));
    }
    stages.lap("resolve");
    Ok(plan)
}

/// Says what happened: to the place of the report, and to a person where there is something to say.
fn finish(
    happened: Result<(Option<Plan>, Outcome)>,
    place: Place,
    account: &mut Account<'_>,
    mut stages: Stages,
) -> std::result::Result<Done, Refusal> {
    let source = account.text.as_spec();
    let (mut said, code) = match &happened {
        Ok((plan, outcome)) => (words(plan.as_ref(), outcome, account), status::exit_status(outcome)),
        Err(error) => (Refusal::new(error, Some(source)).text, status::error_status(error)),
    };
    if place.is_wanted() {
        account.sha256 = Some(request_digest(account.text));
        let subject = account.subject();
        let (plan, happened) = match &happened {
            Ok((plan, outcome)) => (plan.as_ref(), Ok(outcome)),
            Err(error) => (None, Err(error)),
        };
        let line = Report::new(&subject, plan, happened).to_line();
        let line =
            line.map_err(|error| Refusal::of_text(format!("{said}sbx: cannot write the report as JSON: {error}\n")))?;
        // What a person reads comes before the line for programs where both go to one stream.
        if matches!(place, Place::Stderr) {
            std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).ok();
            said.clear();
        }
        place
            .write(&line)
            .map_err(|error| Refusal { text: said.clone() + &Refusal::new(&error, None).text, status: exit::SBX })?;
    }
    if account.arguments.verbose {
        stages.lap("report");
        said.push_str(&stages.show());
    }
    Ok(Done { text: said, status: code })
}

/// Returns what a person has to know of a run: why it did not start or was ended, and warnings.
fn words(plan: Option<&Plan>, outcome: &Outcome, account: &Account<'_>) -> String {
    let mut text = String::new();
    match outcome.ended {
        Ended::NotStarted(failure) => {
            let explained = explain::failure(failure, plan);
            text = Refusal::new(&explained.error, Some(account.text.as_spec())).text;
        }
        // Whoever read has read enough: shells say nothing of it either.
        Ended::Exited { .. } | Ended::Signaled { signal: libc::SIGPIPE, .. } => {}
        _ => {
            if let Some(reason) = explain::reason(outcome, plan) {
                text = format!("sbx: {}\n", crate::units::visible(&reason));
            }
        }
    }
    for error in &outcome.failed {
        text.push_str(&Refusal::new(error, Some(account.text.as_spec())).text);
    }
    let planned = plan.iter().flat_map(|plan| &plan.warnings);
    for warning in outcome.warnings.iter().chain(planned) {
        text.push_str(&self::warning(warning));
    }
    for leftover in &outcome.leftovers {
        text.extend(["sbx: warning: could not remove `", &crate::units::visible(leftover), "`; try `sbx gc`\n"]);
    }
    text
}

/// Returns the line that warns a person.
#[must_use]
pub fn warning(text: &str) -> String {
    format!("sbx: warning: {}\n", crate::units::visible(text))
}

/// Returns what `cat SPEC EXTENDED… | sha256sum` says.
#[must_use]
pub fn request_digest(text: &Text) -> String {
    use sha2::Digest;
    let mut digest = sha2::Sha256::new();
    text.all_bytes().for_each(|bytes| digest.update(bytes));
    digest
        .finalize()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| char::from_digit(nibble.into(), 16))
        .collect()
}

/// Returns where the report goes: the flag, the spec, or the default of the form.
fn target(arguments: &cli::Run, spec: &Spec, form: Form) -> Result<ReportTarget> {
    if let Some(text) = &arguments.report {
        return flag_target(text);
    }
    let default = match form {
        Form::Verb => ReportTarget::Stderr,
        Form::Script => ReportTarget::None,
    };
    Ok(spec.report.as_ref().map_or(default, |target| target.value.clone()))
}

fn flag_target(text: &str) -> Result<ReportTarget> {
    let wrong = |why: String| {
        Error::new(Kind::Usage, format!("`--report {}`: {why}", text.escape_debug())).at(Origin::CommandLine)
    };
    value::report_target(text).map_err(wrong)
}

/// Returns where a relative path of the report begins: on the command line it is the caller's, not the spec's.
fn report_base(arguments: &cli::Run, invocation: &Invocation) -> Result<Invocation> {
    let mut base = Invocation { base: invocation.base.clone(), home: invocation.home.clone(), ..Invocation::default() };
    if arguments.report.as_ref().is_some_and(|path| !path.starts_with(['/', '~'])) {
        base.base =
            std::env::current_dir().map_err(|source| Error::io("cannot look up the working directory", &source))?;
    }
    Ok(base)
}

/// Returns what this call adds to the spec, but for the place of the volumes and the number of the process.
#[must_use]
pub fn invocation(
    spec: &Spec,
    request: &cli::Request,
    text: &Text,
    (capture, accounting): (Capture, Accounting),
) -> Invocation {
    let mut names: BTreeSet<&str> = spec.pass_env.iter().map(|name| name.value.as_str()).collect();
    names.extend(["USER", "TERM"]);
    names.extend(spec.secrets.iter().filter_map(|secret| match &secret.value {
        Secret::Env { variable, .. } => Some(variable.as_str()),
        Secret::File { .. } => None,
    }));
    let (mut variables, mut not_text) = (BTreeMap::new(), BTreeSet::new());
    for name in names {
        match std::env::var(name) {
            Ok(value) => drop(variables.insert(name.to_owned(), value)),
            Err(VarError::NotUnicode(_)) => drop(not_text.insert(name.to_owned())),
            Err(VarError::NotPresent) => {}
        }
    }
    Invocation {
        base: text.base.clone(),
        home: std::env::var_os("HOME").map(PathBuf::from),
        volumes: PathBuf::new(),
        variables,
        not_text,
        arguments: request.command.clone(),
        manner: Manner::Replace,
        capture,
        accounting,
        streams: stdio::look(),
        process: 0,
        trusted: text.paths(),
    }
}

/// Returns the directory of the named volumes, which only a spec with one needs.
///
/// # Errors
/// No place for them, or one that others can write to, with the line of the first.
pub fn volumes(spec: &Spec, place: &cli::Place) -> Result<PathBuf> {
    match spec.mounts.iter().find(|mount| matches!(mount.value, Mount::Volume { .. })) {
        Some(volume) => {
            let store = crate::app::store::chosen(place);
            store.and_then(|store| store.volumes()).map_err(|error| error.at(volume.origin))
        }
        None => Ok(PathBuf::new()),
    }
}

/// Returns what the report says of the root, but for its source and its digest.
#[must_use]
pub fn rootfs_member(spec: &Spec, base: &Base, image: Option<&Image>) -> RootfsMember<'static> {
    let writable = spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.writable.as_ref()).map(|wanted| wanted.value);
    let default = if matches!(base, Base::Host(_)) { Writable::No } else { Writable::Ephemeral };
    RootfsMember {
        kind: Some(match (base, image) {
            (_, Some(image)) => image.kind.as_str(),
            (Base::Scratch, None) => "scratch",
            (_, None) => "host",
        }),
        writable: Some(match writable.unwrap_or(default) {
            Writable::No => "no",
            Writable::Ephemeral => "ephemeral",
            Writable::Persist => "persist",
        }),
        layers: image.and_then(|image| image.layers),
        ..RootfsMember::default()
    }
}

/// What the report says of the request.
struct Account<'a> {
    arguments: &'a cli::Run,
    text: &'a Text,
    sha256: Option<String>,
    /// The rootfs as the spec says it, where that is a path.
    source: Option<String>,
    /// Of the image, in the form in which a spec pins it.
    digest: Option<String>,
    rootfs: RootfsMember<'a>,
    /// Held until the end of the run.
    in_use: InUse,
}

impl<'a> Account<'a> {
    fn asked(&mut self, spec: &Spec) {
        let source = spec.rootfs.as_ref().map(|rootfs| &rootfs.value.source);
        let source = source.filter(|source| !matches!(source, RootfsSource::Host | RootfsSource::Scratch));
        self.source = source.map(RootfsSource::as_written);
    }

    fn found(&mut self, spec: &Spec, base: &Base, image: Option<&Image>) {
        self.rootfs = rootfs_member(spec, base, image);
        self.digest = image.and_then(|image| Some(image.digest.as_ref()?.to_string()));
    }

    fn subject(&self) -> Subject<'_> {
        let labels = self.arguments.label.iter().filter_map(|label| label.split_once('='));
        Subject {
            spec: Some(self.text.as_spec()),
            sha256: self.sha256.as_deref(),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            command: &self.arguments.request.command,
            rootfs: RootfsMember {
                source: self.source.as_deref(),
                digest: self.digest.as_deref(),
                ..self.rootfs.clone()
            },
        }
    }

    /// A wrong spec is drawn for a person; the report gets it only where the command line says where that is.
    fn mistaken(&mut self, mistake: &Mistake) -> Refusal {
        let mistakes = mistake.errors();
        let error = mistakes.first().cloned().unwrap_or_else(|| Error::new(Kind::Spec, "the spec is wrong"));
        let mut refusal = match mistake {
            Mistake::Findings(findings) => Refusal::of_text(self.text.draw(findings)),
            Mistake::Error(error) => Refusal::new(error, Some(self.text.as_spec())),
        };
        self.sha256 = Some(request_digest(self.text));
        let Some(text) = &self.arguments.report else { return refusal };
        let subject = self.subject();
        let written = flag_target(text).and_then(|target| {
            let base = report_base(self.arguments, &Invocation::default())?;
            let place = Place::open(&target, &base, &Exposed::default())?;
            let mut report = Report::new(&subject, None, Err(&error));
            report.outcome.mistakes = mistakes.iter().map(|error| error_member(error, subject.spec)).collect();
            let line = report.to_line();
            place.write(
                &line.map_err(|error| Error::new(Kind::Bug, format!("cannot write the report as JSON: {error}")))?,
            )
        });
        if let Err(error) = written {
            refusal.text.push_str(&Refusal::new(&error, None).text);
        }
        refusal
    }
}
