//! `sbx plan`: the decision, shown and not carried out.

use crate::app::gather;
use crate::app::prepare;
use crate::app::request::{self, Mistake, Text};
use crate::app::{Refusal, redirection, run};
use crate::cli::Request;
use crate::error::{Error, Kind};
use crate::plan::facts::Accounting;
use crate::plan::{Capture, resolve, show};
use crate::report::plan_json;
use crate::spec::ReportTarget;

/// How a plan is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rendering {
    Text,
    Json,
}

/// Returns the spec of a request as one file that extends nothing and has no parameters.
///
/// # Errors
/// The mistakes of the spec.
pub fn flat(request: &Request) -> Result<Vec<u8>, Refusal> {
    let text = Text::read(&request.spec).map_err(|error| Refusal::new(&error, None))?;
    let refuse = |error: &Error| Refusal::new(error, Some(text.as_spec()));
    let settings = request::settings(&request.set).map_err(|error| refuse(&error))?;
    let flat = text.flatten(&settings).map_err(|findings| Refusal::of_text(text.draw(&findings)))?;
    Ok(flat.into_bytes())
}

/// Returns the plan of a request, with a final newline.
///
/// # Errors
/// Whatever would prevent the run.
pub fn plan(request: &Request, rendering: Rendering) -> Result<Vec<u8>, Refusal> {
    let text = Text::read(&request.spec).map_err(|error| Refusal::new(&error, None))?;
    let refuse = |error: &Error| Refusal::new(error, Some(text.as_spec()));
    let spec = request::spec(&text, request).map_err(|mistake| match mistake {
        Mistake::Findings(findings) => Refusal::of_text(text.draw(&findings)),
        Mistake::Error(error) => refuse(&error),
    })?;
    // As `sbx run` without flags would: only a spec that wants no report wants no figures.
    let accounting = match spec.report.as_ref().map(|target| &target.value) {
        Some(ReportTarget::None) => Accounting::NotWanted,
        _ => Accounting::IfAvailable,
    };
    let mut invocation = run::invocation(&spec, request, &text, (Capture::No, accounting));
    invocation.volumes = run::volumes(&spec, &request.place).map_err(|error| refuse(&error))?;
    let exposed = prepare::exposed(&spec, &invocation);
    let mut gathered = gather::gather(&spec, &invocation, &exposed, &request.place).map_err(|error| refuse(&error))?;
    if spec.network.as_ref().is_some_and(|network| network.value.rules().is_some()) {
        let facts = &mut gathered.facts;
        facts.redirection = redirection::tried(facts.host.caller, &facts.families);
    }
    let spec = gathered.configured.as_ref().unwrap_or(&spec);
    let plan = resolve::resolve(spec, &gathered.facts, &invocation).map_err(|error| refuse(&error))?;
    match rendering {
        Rendering::Text => Ok(show::show(&plan, text.as_spec()).into_bytes()),
        Rendering::Json => plan_json::to_line(&plan, text.as_spec())
            .map_err(|error| refuse(&Error::new(Kind::Bug, format!("cannot write the plan as JSON: {error}")))),
    }
}
