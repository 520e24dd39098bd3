//! The parent's part in the filter of system calls: counts what the filter refuses. Every
//! call gets the answer that the filter gives; none is ever let through.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crate::plan::seccomp::refusal::{self, Call};
use crate::plan::{Op, Plan};
use crate::run::Refused;
use crate::sys::seccomp::{Instruction, next_question, refuse, take_turns};
use crate::sys::watch::{Entry, number, own};
use crate::sys::{Fd, Sys};

/// What was refused so far.
#[derive(Debug)]
pub struct Refusals<'a> {
    /// What the calls are to be answered.
    program: &'a [Instruction],
    asked: Asked,
    /// By number. The filter asks about calls with a number below 512 only, so there are not many.
    counts: BTreeMap<u32, u64>,
}

#[derive(Debug)]
enum Asked {
    /// The command's process makes it.
    Awaited,
    Here(OwnedFd),
    /// Nobody is left whom the filter is for; closed with the other descriptors.
    Over(OwnedFd),
    /// The kernel could not, or there was no command.
    Never,
}

impl<'a> Refusals<'a> {
    /// Returns the count of a run that is about to begin.
    #[must_use]
    pub fn of(plan: &'a Plan) -> Option<Self> {
        let filter = plan.steps.iter().find_map(|step| match &step.op {
            Op::Seccomp { filter } => Some(filter),
            _ => None,
        })?;
        Some(Self { program: &filter.program, asked: Asked::Awaited, counts: BTreeMap::new() })
    }

    /// Returns whether the child still has to hand over who is asked.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(self.asked, Asked::Awaited)
    }

    /// Takes who is asked; `None` is nobody.
    pub fn attach(&mut self, asked: Option<Fd>) {
        self.asked = asked.map_or(Asked::Never, |asked| Asked::Here(own(asked)));
    }

    /// Returns what to wait for.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        match &self.asked {
            Asked::Here(asked) => Some(Entry::readable(number(asked))),
            Asked::Awaited | Asked::Over(_) | Asked::Never => None,
        }
    }

    /// Does what [`Refusals::entry`] waited for, once: however many calls there are, the clocks have their turn
    /// between two of them. `seen` is what poll(2) has seen.
    pub fn pump(&mut self, seen: i16) {
        self.asked = match std::mem::replace(&mut self.asked, Asked::Never) {
            Asked::Here(asked) if seen & libc::POLLIN != 0 => {
                // Whoever called may be gone by now, or a signal has called it off: then it comes again.
                self.answer(number(&asked)).ok();
                Asked::Here(asked)
            }
            Asked::Here(asked) => Asked::Over(asked),
            other => other,
        };
    }

    fn answer(&mut self, asked: Fd) -> Sys<()> {
        if self.counts.is_empty() {
            // An older kernel cannot, and is slower.
            take_turns(asked).ok();
        }
        let question = next_question(asked)?;
        let number = question.number.cast_unsigned();
        let call = Call { number, architecture: question.architecture, arguments: Some(question.arguments) };
        let answer = refusal::answer(self.program, &call).and_then(refusal::errno);
        // The kernel has played the same program on the same numbers: there always is an errno.
        refuse(asked, &question, answer.unwrap_or(EPERM))?;
        let count = self.counts.entry(number).or_default();
        *count = count.saturating_add(1);
        Ok(())
    }

    /// Returns what was refused, the most frequent first, and the descriptor that is no longer needed; nothing if
    /// nobody was told.
    #[must_use]
    pub fn finish(self) -> Option<(Vec<Refused>, OwnedFd)> {
        let (Asked::Here(asked) | Asked::Over(asked)) = self.asked else { return None };
        let refused = |(number, count): (u32, u64)| Refused { number, count };
        let mut all: Vec<Refused> = self.counts.into_iter().map(refused).collect();
        all.sort_by_key(|refused| std::cmp::Reverse(refused.count));
        Some((all, asked))
    }
}

const EPERM: u16 = 1;
