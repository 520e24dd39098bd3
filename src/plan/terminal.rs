//! Whether the command gets a terminal of the sandbox's own, and which of its streams
//! lead there. The caller's terminal itself is then nowhere in the sandbox.

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Inputs, Stream};
use crate::plan::steps::Steps;
use crate::plan::{Capture, Op, ground};
use crate::spec::{Namespace, Stdin, Tty};
use crate::units::{AbsPath, Origin};

/// Where the terminal can be found besides its own name, as systems with a console have it.
pub const CONSOLE: &str = "/dev/console";

/// The command's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terminal {
    /// Standard input, output and error; output is always the terminal.
    pub leads: [Lead; 3],
}

impl Terminal {
    /// Returns the names of the streams that lead to the terminal.
    pub fn streams(&self) -> impl Iterator<Item = &'static str> + use<> {
        let named = ["stdin", "stdout", "stderr"].into_iter().zip(self.leads);
        named.filter(|(_, lead)| *lead == Lead::Terminal).map(|(name, _)| name)
    }
}

/// Where one of the command's streams leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    Terminal,
    /// Where it would without one.
    Elsewhere,
}

/// Decides on a terminal.
///
/// # Errors
/// One that is asked for where there is no place for it.
pub fn resolve(inputs: Inputs<'_>) -> Result<Option<(Terminal, Origin)>> {
    let Inputs { spec, invocation, .. } = inputs;
    let (tty, origin) = spec.tty.as_ref().map_or((Tty::Auto, Origin::Default), |tty| (tty.value, tty.origin));
    let inherits = spec.stdin.as_ref().is_none_or(|stdin| stdin.value == Stdin::Inherit);
    let at = |index: usize| matches!(invocation.streams.get(index), Some(Stream::Terminal(_)));
    let lead = |leads: bool| if leads { Lead::Terminal } else { Lead::Elsewhere };
    let terminal = match tty {
        Tty::No => return Ok(None),
        Tty::Yes => Terminal { leads: [lead(inherits), Lead::Terminal, Lead::Terminal] },
        // What is captured is not looked at by anybody, and an error stream that leads to a file goes there.
        Tty::Auto if inherits && at(0) && at(1) && invocation.capture == Capture::No => {
            Terminal { leads: [Lead::Terminal, Lead::Terminal, lead(at(2))] }
        }
        Tty::Auto => return Ok(None),
    };
    match (missing(inputs), tty) {
        (None, _) => Ok(Some((terminal, origin))),
        (Some((why, hint)), Tty::Yes) => Err(Error::new(Kind::Spec, why).with_hint(hint).at(origin)),
        (Some(_), _) => Ok(None),
    }
}

/// A terminal is made on the sandbox's own devpts: on the host's it would be one of the host's.
fn missing(inputs: Inputs<'_>) -> Option<(&'static str, &'static str)> {
    if !inputs.namespaces.contains(&Namespace::Mount) {
        return Some(("a terminal of its own needs a mount namespace", "add `mount` to `namespaces`"));
    }
    let own = ground::base_mounts(inputs.spec).iter().any(|path| path.as_str() == "/dev");
    (!own).then_some(("a terminal of its own needs sbx's own `/dev`", "leave `/dev` out of `mounts`"))
}

/// Adds what makes the terminal, while nothing of the spec can lie over `/dev`.
pub fn add(origin: Origin, steps: &mut Steps) {
    steps.inside(Op::MakeFile { path: AbsPath::new(CONSOLE).unwrap_or_else(|_| AbsPath::root()), mode: 0o600 }, origin);
    steps.inside(Op::OpenTerminal, origin);
}
