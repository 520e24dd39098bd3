//! The filter of system calls as the command's process loads it: a program, frozen. What
//! it says was decided by the plan.

use std::borrow::Cow;

use crate::plan::{Counting, Op, Plan};
use crate::sys::seccomp::{self, Instruction};
use crate::sys::{Fd, Sys};

/// A filter, and the step of the plan that asked for it.
#[derive(Debug)]
pub struct Filter {
    pub step: usize,
    program: Cow<'static, [Instruction]>,
    /// The program that asks where the other one refuses, if refusals are counted.
    asking: Option<Vec<Instruction>>,
    flags: u32,
}

impl Filter {
    /// Returns the filter of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        plan.steps.iter().enumerate().find_map(|(step, it)| match &it.op {
            Op::Seccomp { filter } => Some(Self {
                step,
                program: filter.program.clone(),
                asking: match plan.watch.refusals {
                    Counting::Yes => filter.asking(),
                    Counting::No => None,
                },
                flags: filter.flags,
            }),
            _ => None,
        })
    }

    /// Returns whether somebody is to be asked.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.asking.is_some()
    }

    /// The same as [`Filter::load`] if refusals are counted and the kernel can tell of them; returns who is asked.
    /// Where it cannot, nothing is filtered yet; child-safe.
    #[must_use]
    pub fn load_asking(&self) -> Option<Fd> {
        seccomp::load_asking(self.asking.as_ref()?, self.flags).ok()
    }

    /// Filters this process and what it starts from here on; child-safe.
    ///
    /// # Errors
    /// The errno of seccomp(2).
    pub fn load(&self) -> Sys<()> {
        seccomp::load(&self.program, self.flags)
    }
}
