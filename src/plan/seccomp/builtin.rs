//! The built-in profiles: what `default` and `strict` do, and their programs, made when
//! sbx is compiled. Why each call is where it is stands beside its name.

use std::borrow::Cow;

use crate::plan::seccomp::assemble::{Assembly, Leaf, Table, assemble};
use crate::plan::seccomp::{Action, Counts, Filter, Policy, Rule, Verdict, names};
use crate::spec::{Compare, Condition, SeccompRule, Syscall};
use crate::sys::seccomp::{FLAG_SPEC_ALLOW, Instruction};

/// A built-in profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    Default,
    Strict,
}

impl Builtin {
    /// Returns the word of the language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
        }
    }

    /// Returns the filter, which was compiled together with sbx.
    #[must_use]
    pub fn filter(self) -> Filter {
        let (program, counts): (&'static [Instruction], Counts) = match self {
            Self::Default => (&DEFAULT_PROGRAM, DEFAULT_COUNTS),
            Self::Strict => (&STRICT_PROGRAM, STRICT_COUNTS),
        };
        Filter {
            profile: Cow::Borrowed(self.as_str()),
            rules: 0,
            otherwise: UNKNOWN,
            counts,
            program: Cow::Borrowed(program),
            flags: FLAG_SPEC_ALLOW,
        }
    }

    /// Returns what the filter does, so that rules can be put before it.
    #[must_use]
    pub fn policy(self) -> Policy {
        let table = match self {
            Self::Default => &DEFAULT,
            Self::Strict => &STRICT,
        };
        let verdict = |leaf: &u16| {
            let leaf = &table.leaves[usize::from(*leaf)];
            Verdict { rules: leaf.rules.to_vec(), otherwise: leaf.otherwise }
        };
        Policy { verdicts: table.leaf_of.iter().map(verdict).collect(), otherwise: UNKNOWN }
    }
}

/// What is not known to be harmful and not known to be needed: a program takes it for an old kernel.
const UNKNOWN: Action = Action::Errno(libc_errno(libc::ENOSYS));
const FORBIDDEN: Action = Action::Errno(libc_errno(libc::EPERM));
const NO_SUCH_FAMILY: Action = Action::Errno(libc_errno(libc::EAFNOSUPPORT));
const NO_SUCH_PROTOCOL: Action = Action::Errno(libc_errno(libc::EPROTONOSUPPORT));
const NO_LOCKS: Action = Action::Errno(libc_errno(libc::ENOLCK));

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an errno is small and positive")]
const fn libc_errno(errno: i32) -> u16 {
    errno as u16
}

/// The numbers of leaves that every profile has.
const ENOSYS_LEAF: u16 = 0;
const ALLOW_LEAF: u16 = 1;
const EPERM_LEAF: u16 = 2;
const FIRST_CHAIN: u16 = 3;

/// Calls that depend on their arguments.
struct Chain {
    names: &'static [&'static str],
    leaf: Leaf<'static>,
}

/// The argument is an `int` in the kernel, which never looks at the upper half: neither does the filter, or
/// junk there would lead a call past it (CVE-2019-10063).
const fn int(argument: u8, value: u32) -> Condition {
    bits(argument, u32::MAX, value)
}

const fn bits(argument: u8, mask: u32, value: u32) -> Condition {
    Condition { argument, compare: Compare::MaskedEq { mask: mask as u64 }, value: value as u64 }
}

const fn when<const N: usize>(conditions: [Condition; N], action: Action) -> Rule {
    let mut rule = Rule { conditions: [None; SeccompRule::CONDITIONS], action };
    let mut index = 0;
    while index < N {
        rule.conditions[index] = Some(conditions[index]);
        index += 1;
    }
    rule
}

const fn chain(names: &'static [&'static str], rules: &'static [Rule], otherwise: Action) -> Chain {
    Chain { names, leaf: Leaf { rules, otherwise } }
}

/// The CLONE_NEW* of clone(2): whoever gets a user namespace has all capabilities in it and reaches code of
/// the kernel that others cannot. The kernel looks at the lower half only.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
const NEW_TIME: u32 = 0x80;

const CLONE: Chain = chain(&["clone"], &[when([bits(0, NEW_NAMESPACES, 0)], Action::Allow)], FORBIDDEN);
const UNSHARE: Chain = chain(&["unshare"], &[when([bits(0, NEW_NAMESPACES | NEW_TIME, 0)], Action::Allow)], FORBIDDEN);

/// PER_LINUX, PER_LINUX32, both with UNAME26, and the question what it is (moby's list): others turn off
/// what makes attacks hard, as ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC do.
const PERSONALITY: Chain = chain(
    &["personality"],
    &[when([bits(0, !0x2_0008, 0)], Action::Allow), when([int(0, u32::MAX)], Action::Allow)],
    FORBIDDEN,
);

const UNIX: u32 = 1;
const INET: u32 = 2;
const INET6: u32 = 10;
const NETLINK: u32 = 16;
const NETLINK_ROUTE: u32 = 0;

/// AF_ALG, AF_VSOCK, AF_RXRPC, AF_PACKET and some thirty more families are code that only few programs
/// need (CVE-2026-31431, CVE-2026-43284).
const SOCKET: Chain = chain(
    &["socket"],
    &[
        when([int(0, UNIX)], Action::Allow),
        when([int(0, INET)], Action::Allow),
        when([int(0, INET6)], Action::Allow),
        when([int(0, NETLINK), int(2, NETLINK_ROUTE)], Action::Allow),
        when([int(0, NETLINK)], NO_SUCH_PROTOCOL),
    ],
    NO_SUCH_FAMILY,
);
const STRICT_SOCKET: Chain = chain(
    &["socket"],
    &[when([int(0, UNIX)], Action::Allow), when([int(0, INET)], Action::Allow), when([int(0, INET6)], Action::Allow)],
    NO_SUCH_FAMILY,
);
const SOCKETPAIR: Chain = chain(&["socketpair"], &[when([int(0, UNIX)], Action::Allow)], NO_SUCH_FAMILY);

/// TIOCSTI and TIOCLINUX push input into a terminal (CVE-2017-5226, CVE-2023-28100), TIOCSETD loads drivers
/// of modems into the kernel.
const IOCTL: Chain = chain(
    &["ioctl"],
    &[when([int(1, 0x5412)], FORBIDDEN), when([int(1, 0x541c)], FORBIDDEN), when([int(1, 0x5423)], FORBIDDEN)],
    Action::Allow,
);

/// S_ISUID and S_ISGID.
const SET_ID: u32 = 0o6000;
/// O_CREAT, and __O_TMPFILE without O_DIRECTORY.
const CREATES: u32 = 0o20_000_100;

/// A set-id program on a writable bind would work on the host (systemd: RestrictSUIDSGID=). The mode is
/// argument 1 or 2.
const MODE_1: Chain =
    chain(&["chmod", "fchmod", "creat", "mknod"], &[when([bits(1, SET_ID, 0)], Action::Allow)], FORBIDDEN);
const MODE_2: Chain =
    chain(&["fchmodat", "fchmodat2", "mknodat"], &[when([bits(2, SET_ID, 0)], Action::Allow)], FORBIDDEN);
/// What makes no file has no mode: the register holds anything.
const OPEN: Chain = chain(
    &["open"],
    &[when([bits(1, CREATES, 0)], Action::Allow), when([bits(2, SET_ID, 0)], Action::Allow)],
    FORBIDDEN,
);
const OPENAT: Chain = chain(
    &["openat"],
    &[when([bits(2, CREATES, 0)], Action::Allow), when([bits(3, SET_ID, 0)], Action::Allow)],
    FORBIDDEN,
);

/// F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW, F_SETLEASE and F_NOTIFY: sandboxes that share a file could
/// signal to each other (isolate(1) closes the same).
const LOCKS: Chain = chain(
    &["fcntl"],
    &[
        when([int(1, 6)], NO_LOCKS),
        when([int(1, 7)], NO_LOCKS),
        when([int(1, 37)], NO_LOCKS),
        when([int(1, 38)], NO_LOCKS),
        when([int(1, 1024)], NO_LOCKS),
        when([int(1, 1026)], NO_LOCKS),
    ],
    Action::Allow,
);
const FLOCK: Chain = chain(&["flock"], &[], NO_LOCKS);

const DEFAULT_CHAINS: [Chain; 10] =
    [CLONE, UNSHARE, PERSONALITY, SOCKET, SOCKETPAIR, IOCTL, MODE_1, MODE_2, OPEN, OPENAT];
const STRICT_CHAINS: [Chain; 12] =
    [CLONE, UNSHARE, PERSONALITY, STRICT_SOCKET, SOCKETPAIR, IOCTL, MODE_1, MODE_2, OPEN, OPENAT, LOCKS, FLOCK];

const DEFAULT_LEAVES: [Leaf<'static>; 13] = leaves(&DEFAULT_CHAINS);
const STRICT_LEAVES: [Leaf<'static>; 15] = leaves(&STRICT_CHAINS);

static DEFAULT: Table<'static> = Table {
    leaf_of: &numbers(&[names::COMMON, names::MORE], &[names::REFUSED], &DEFAULT_CHAINS),
    leaves: &DEFAULT_LEAVES,
};
static STRICT: Table<'static> = Table {
    leaf_of: &numbers(&[names::COMMON], &[names::REFUSED, names::REFUSED_BY_STRICT], &STRICT_CHAINS),
    leaves: &STRICT_LEAVES,
};

static DEFAULT_PROGRAM: [Instruction; length(&DEFAULT)] = program(&DEFAULT);
static STRICT_PROGRAM: [Instruction; length(&STRICT)] = program(&STRICT);

const DEFAULT_COUNTS: Counts = counts(&DEFAULT);
const STRICT_COUNTS: Counts = counts(&STRICT);

const fn leaves<const C: usize, const L: usize>(chains: &[Chain; C]) -> [Leaf<'static>; L] {
    assert!(L == C + FIRST_CHAIN as usize);
    let mut leaves = [Leaf { rules: &[], otherwise: UNKNOWN }; L];
    leaves[ALLOW_LEAF as usize].otherwise = Action::Allow;
    leaves[EPERM_LEAF as usize].otherwise = FORBIDDEN;
    let mut index = 0;
    while index < C {
        leaves[index + FIRST_CHAIN as usize] = chains[index].leaf;
        index += 1;
    }
    leaves
}

type Names = &'static [&'static [&'static str]];

/// Returns the leaf of each number. Where a name stands twice, the arguments decide before the refusal, and
/// the refusal before the permission.
const fn numbers(allowed: &[Names], refused: &[Names], chains: &[Chain]) -> [u16; Syscall::NUMBERS] {
    let mut leaf_of = [ENOSYS_LEAF; Syscall::NUMBERS];
    let mut number = 0;
    while number < Syscall::NUMBERS {
        if let Some(call) = Syscall::at(number) {
            let mut leaf = FIRST_CHAIN;
            let mut index = 0;
            while index < chains.len() && !among(call.name, chains[index].names) {
                leaf += 1;
                index += 1;
            }
            leaf_of[number] = if index < chains.len() {
                leaf
            } else if among_all(call.name, refused) {
                EPERM_LEAF
            } else if among_all(call.name, allowed) {
                ALLOW_LEAF
            } else {
                ENOSYS_LEAF
            };
        }
        number += 1;
    }
    leaf_of
}

const fn among_all(name: &str, lists: &[Names]) -> bool {
    let mut outer = 0;
    while outer < lists.len() {
        let mut inner = 0;
        while inner < lists[outer].len() {
            if among(name, lists[outer][inner]) {
                return true;
            }
            inner += 1;
        }
        outer += 1;
    }
    false
}

const fn among(name: &str, names: &[&str]) -> bool {
    let name = name.as_bytes();
    let mut index = 0;
    while index < names.len() {
        let other = names[index].as_bytes();
        if other.len() == name.len() {
            let mut at = 0;
            while at < name.len() && name[at] == other[at] {
                at += 1;
            }
            if at == name.len() {
                return true;
            }
        }
        index += 1;
    }
    false
}

const fn length(table: &Table<'_>) -> usize {
    let mut assembly = Assembly::new();
    assemble(table, &mut assembly);
    assembly.length()
}

const fn program<const N: usize>(table: &Table<'_>) -> [Instruction; N] {
    let mut assembly = Assembly::new();
    assemble(table, &mut assembly);
    let mut program = [assembly.at(0); N];
    let mut index = 0;
    while index < N {
        program[index] = assembly.at(index);
        index += 1;
    }
    program
}

const fn counts(table: &Table<'_>) -> Counts {
    let mut counts = Counts { allow: 0, conditional: 0, deny: 0 };
    let mut number = 0;
    while number < Syscall::NUMBERS {
        if Syscall::at(number).is_some() {
            let leaf = &table.leaves[table.leaf_of[number] as usize];
            match (leaf.rules.is_empty(), leaf.otherwise.passes()) {
                (false, _) => counts.conditional += 1,
                (true, true) => counts.allow += 1,
                (true, false) => counts.deny += 1,
            }
        }
        number += 1;
    }
    counts
}
