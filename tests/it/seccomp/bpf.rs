//! A machine for the classic BPF of seccomp(2), as Documentation/networking/filter.rst
//! and kernel/seccomp.c describe it: only what seccomp takes, and every jump checked.

use sbx::sys::seccomp::Instruction;

/// `AUDIT_ARCH_I386` of `linux/audit.h`.
pub(crate) const I386: u32 = 0x4000_0003;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data {
    pub(crate) number: u32,
    pub(crate) architecture: u32,
    pub(crate) arguments: [u64; 6],
}

impl Data {
    pub(crate) fn native(number: u32, arguments: [u64; 6]) -> Self {
        let architecture = sbx::plan::seccomp::assemble::NATIVE;
        Self { number, architecture, arguments }
    }

    fn word(&self, offset: u32) -> u32 {
        let argument = |offset: u32| self.arguments[usize::try_from(offset / 8).unwrap()];
        match offset {
            0 => self.number,
            4 => self.architecture,
            // The instruction pointer, which no filter of ours looks at.
            8 | 12 => panic!("the program looks at the instruction pointer"),
            16..64 if offset.is_multiple_of(8) => u32::try_from(argument(offset - 16) & 0xffff_ffff).unwrap(),
            16..64 if offset.is_multiple_of(4) => u32::try_from(argument(offset - 20) >> 32).unwrap(),
            _ => panic!("the program loads from {offset}"),
        }
    }
}

/// What a run of a program came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) action: u32,
    pub(crate) steps: usize,
}

/// Plays `program`. Panics where the kernel would refuse it.
pub(crate) fn play(program: &[Instruction], data: &Data) -> Answer {
    assert!((1..=4096).contains(&program.len()), "{} instructions", program.len());
    let (mut at, mut accumulator, mut steps) = (0usize, 0u32, 0usize);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program[at];
        steps += 1;
        at += 1;
        let jump = |truth: bool| usize::from(if truth { jump_true } else { jump_false });
        match code {
            0x20 => accumulator = data.word(operand),
            0x54 => accumulator &= operand,
            0x05 => at += usize::try_from(operand).unwrap(),
            0x15 => at += jump(accumulator == operand),
            0x25 => at += jump(accumulator > operand),
            0x35 => at += jump(accumulator >= operand),
            0x06 => return Answer { action: operand, steps },
            other => panic!("seccomp does not take the instruction {other:#x}"),
        }
    }
}
