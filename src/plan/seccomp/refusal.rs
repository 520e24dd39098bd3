//! What a filter answers to a call, played as the kernel plays it; and the same filter so
//! that it asks sbx instead of refusing by itself. It changes no answer.

use crate::plan::seccomp::assemble::{
    AND, ARCHITECTURE, ARGUMENTS, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_GREATER_EQUAL, LOAD, NATIVE, NUMBER, RETURN,
};
use crate::plan::seccomp::{Action, Filter};
use crate::sys::seccomp::{ASK, Instruction, LAST_CALLS};

/// What a filter sees of a call: `struct seccomp_data` of seccomp(2) but for the instruction pointer.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub number: u32,
    pub architecture: u32,
    /// `None` are any.
    pub arguments: Option<[u64; 6]>,
}

/// Not refused but not there, as on an older kernel: programs ask and do without. So do all of them, once a
/// thread, for clone3(2).
const ABSENT: Action = Action::Errno(38);

impl Filter {
    /// Returns the program that asks where this one refuses, so that refusals can be counted: what it answers
    /// is to be the answer of [`Filter::program`]. `None` if nothing is refused, or if sbx itself might be asked
    /// for leave before anybody is there to give it.
    #[must_use]
    pub fn asking(&self) -> Option<Vec<Instruction>> {
        let mut program = self.program.to_vec();
        let mut changed = false;
        for instruction in program.iter_mut().filter(|it| it.code == RETURN && is_refusal(it.operand)) {
            instruction.operand = ASK;
            changed = true;
        }
        let own = LAST_CALLS.into_iter().filter_map(|number| u32::try_from(number).ok());
        let passes = |number| {
            let call = Call { number, architecture: NATIVE, arguments: None };
            [Action::Allow, Action::Log].iter().any(|action| answer(&program, &call) == Some(action.code()))
        };
        (changed && own.into_iter().all(passes)).then_some(program)
    }
}

/// Returns the SECCOMP_RET_* with its data that `program` answers; `None` if the arguments matter and are not
/// given, or if this is no program of [`crate::plan::seccomp::assemble`].
#[must_use]
pub fn answer(program: &[Instruction], call: &Call) -> Option<u32> {
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = *program.get(at)?;
        // Every jump leads forward, so this ends.
        at += 1;
        let jump = |holds: bool| usize::from(if holds { jump_true } else { jump_false });
        match code {
            LOAD => accumulator = call.word(operand)?,
            AND => accumulator &= operand,
            JUMP => at += usize::try_from(operand).ok()?,
            JUMP_EQUAL => at += jump(accumulator == operand),
            JUMP_GREATER => at += jump(accumulator > operand),
            JUMP_GREATER_EQUAL => at += jump(accumulator >= operand),
            RETURN => return Some(operand),
            _ => return None,
        }
    }
}

/// Returns the errno of an answer that is one.
#[must_use]
pub fn errno(answer: u32) -> Option<u16> {
    let errno = u16::try_from(answer & 0xffff).ok()?;
    (Action::Errno(errno).code() == answer).then_some(errno)
}

fn is_refusal(answer: u32) -> bool {
    errno(answer).is_some() && answer != ABSENT.code()
}

impl Call {
    /// Returns the 32 bits at `offset`; the lower half of an argument comes first.
    fn word(&self, offset: u32) -> Option<u32> {
        match offset {
            NUMBER => Some(self.number),
            ARCHITECTURE => Some(self.architecture),
            _ => {
                let place = usize::try_from(offset.checked_sub(ARGUMENTS)?).ok()?;
                let argument = self.arguments?.get(place / 8)?.to_le_bytes();
                let half = argument.get(place % 8..place % 8 + 4)?;
                Some(u32::from_le_bytes(half.try_into().ok()?))
            }
        }
    }
}
