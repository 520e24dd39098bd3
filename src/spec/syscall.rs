//! The system calls of this architecture: number and name. It allows nothing.

use syscalls::Sysno;

/// A system call of syscalls(2), as this architecture has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syscall {
    pub number: u16,
    pub name: &'static str,
}

impl Syscall {
    /// One more than the largest number that a system call of any 64-bit architecture has; on x86-64 the
    /// numbers from here on are those of x32 (`arch/x86/entry/syscalls/syscall_64.tbl`).
    pub const NUMBERS: usize = 512;

    /// Returns the call with this number, if sbx knows it.
    #[must_use]
    pub const fn at(number: usize) -> Option<Self> {
        match Sysno::new(number) {
            Some(call) => Some(Self { number: number_of(call), name: call.name() }),
            None => None,
        }
    }

    /// Returns all calls in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::NUMBERS).filter_map(Self::at)
    }

    /// Returns the call of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        name.parse::<Sysno>().ok().map(|call| Self { number: number_of(call), name: call.name() })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "below NUMBERS, as a test holds; there is no other conversion in a const"
)]
const fn number_of(call: Sysno) -> u16 {
    call.id() as u16
}

#[cfg(test)]
mod tests {
    use super::Syscall;

    #[test]
    fn every_call_has_its_own_number_below_the_bound() {
        let all: Vec<_> = Syscall::all().collect();
        assert!(all.len() > 300, "{}", all.len());
        assert!(usize::try_from(syscalls::Sysno::last().id()).unwrap() < Syscall::NUMBERS);
        assert!(all.iter().all(|call| Syscall::named(call.name) == Some(*call)));
        assert!(all.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert_eq!(Syscall::named("socketcall").is_some(), cfg!(target_arch = "x86"));
    }
}
