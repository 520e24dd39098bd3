//! Whether the kernel can lead all ports to one: told by a run that failed for it, which is made again without, or
//! tried for a plan that is only shown. Nothing is asked on the way to a run that has it.

use crate::host::{Caller, trial};
use crate::plan::facts::Redirection;
use crate::plan::way::Deed;
use crate::plan::{Op, Plan};
use crate::run::{Ended, Failure, Outcome, way};
use crate::sys::net::Family;

/// Returns what to plan with instead, where a run failed because the kernel lacks it: nothing of it has started.
#[must_use]
pub fn missing(plan: &Plan, outcome: &Outcome) -> Option<Redirection> {
    let Ended::NotStarted(Failure::Step { step, errno }) = outcome.ended else { return None };
    let step = plan.steps.get(step)?;
    let found = matches!(step.op, Op::Way(Deed::Intercept { .. })).then(|| Redirection::of(errno))?;
    (found != Redirection::There).then_some(found)
}

/// Tries it in a network that is thrown away.
#[must_use]
pub fn tried(caller: Caller, families: &[Family]) -> Redirection {
    match trial::network(caller, &way::trials(families)[0]) {
        Err(failure) if failure.step == way::REDIRECTION => Redirection::of(failure.errno),
        Err(_) | Ok(()) => Redirection::There,
    }
}
