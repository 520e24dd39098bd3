//! The filter of system calls as the command's process loads it: a program, frozen. What
//! it says was decided by the plan.

use std::borrow::Cow;

use crate::plan::{Op, Plan};
use crate::sys::Sys;
use crate::sys::seccomp::{self, Instruction};

/// A filter, and the step of the plan that asked for it.
#[derive(Debug)]
pub struct Filter {
    pub step: usize,
    program: Cow<'static, [Instruction]>,
    flags: u32,
}

impl Filter {
    /// Returns the filter of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        plan.steps.iter().enumerate().find_map(|(step, it)| match &it.op {
            Op::Seccomp { filter } => Some(Self { step, program: filter.program.clone(), flags: filter.flags }),
            _ => None,
        })
    }

    /// Filters this process and what it starts from here on; child-safe.
    ///
    /// # Errors
    /// The errno of seccomp(2).
    pub fn load(&self) -> Sys<()> {
        seccomp::load(&self.program, self.flags)
    }
}
