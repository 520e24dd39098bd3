//! What a policy means, without any program, and policies at random: the other side of every
//! comparison. It compiles nothing.

use std::borrow::Cow;

use arbtest::arbitrary::{Result, Unstructured};
use sbx::plan::seccomp::builtin::Builtin;
use sbx::plan::seccomp::refusal::{self, Call};
use sbx::plan::seccomp::{Action, Filter, Policy, Rule, Verdict};
use sbx::spec::{Compare, Condition, SeccompRule, Syscall};
use sbx::sys::seccomp::{ASK, Instruction};

use super::bpf::{Data, I386, play};

/// The call by which sbx hands over who is asked, on x86-64.
const SENDMSG: u32 = 46;
const ENOSYS: u32 = 0x0005_0000 | 38;
pub(crate) const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Returns whether `condition` is true of `arguments`.
pub(crate) fn holds(condition: &Condition, arguments: &[u64; 6]) -> bool {
    let (argument, value) = (arguments[usize::from(condition.argument)], condition.value);
    match condition.compare {
        Compare::Eq => argument == value,
        Compare::Ne => argument != value,
        Compare::Lt => argument < value,
        Compare::Le => argument <= value,
        Compare::Gt => argument > value,
        Compare::Ge => argument >= value,
        Compare::MaskedEq { mask } => argument & mask == value,
    }
}

/// What `policy` says of a native call.
fn reference(policy: &Policy, number: u32, arguments: &[u64; 6]) -> u32 {
    let Some(verdict) = usize::try_from(number).ok().and_then(|number| policy.verdicts.get(number)) else {
        return if number == u32::MAX { ALLOW } else { ENOSYS };
    };
    let matching = |rule: &&Rule| rule.conditions.iter().flatten().all(|condition| holds(condition, arguments));
    verdict.rules.iter().find(matching).map_or(verdict.otherwise, |rule| rule.action).code()
}

/// Arguments that lie on, beside, above and below what the rules of a call name, with junk in either half.
fn interesting(verdict: &Verdict, random: &mut Unstructured<'_>) -> Result<Vec<[u64; 6]>> {
    let mut all = vec![[0; 6], [u64::MAX; 6], random.arbitrary()?];
    for condition in verdict.rules.iter().flat_map(|rule| rule.conditions.iter().flatten()) {
        let value = condition.value;
        for near in [
            value,
            value.wrapping_add(1),
            value.wrapping_sub(1),
            value | 1 << 32,
            value ^ 1 << 63,
            value << 32,
            value >> 32,
            !value,
        ] {
            let mut arguments: [u64; 6] = if random.arbitrary()? { random.arbitrary()? } else { [value; 6] };
            arguments[usize::from(condition.argument)] = near;
            all.push(arguments);
        }
    }
    Ok(all)
}

/// sbx's own machine says what this one says, and the program that asks differs by asking alone.
fn asks_where_it_refuses(program: &[Instruction], asking: Option<&[Instruction]>, data: &Data) {
    let expected = play(program, data).action;
    let call = Call { number: data.number, architecture: data.architecture, arguments: Some(data.arguments) };
    assert_eq!(refusal::answer(program, &call), Some(expected), "{data:x?}");
    let number_only = refusal::answer(program, &Call { arguments: None, ..call });
    assert!(number_only.is_none_or(|answer| answer == expected), "{data:x?}");
    let refused = expected & 0xffff_0000 == 0x0005_0000 && expected != ENOSYS;
    if let Some(asking) = asking {
        let asked = play(asking, data).action;
        assert_eq!(asked, if refused { ASK } else { expected }, "{data:x?}");
        assert_eq!(refusal::errno(expected).is_some(), refused || expected == ENOSYS);
    }
}

/// Plays `program` and asks the reference, for all numbers and then some.
pub(crate) fn compare(policy: &Policy, program: &[Instruction], random: &mut Unstructured<'_>) -> Result<()> {
    let asking = Filter { program: Cow::Owned(program.to_vec()), ..Builtin::Default.filter() }.asking();
    if let Some(asking) = &asking {
        let send = SENDMSG;
        let answer = play(asking, &Data::native(send, random.arbitrary()?)).action;
        assert!([ALLOW, Action::Log.code()].contains(&answer), "sbx could not hand over who is asked");
    }
    for number in 0..u32::try_from(Syscall::NUMBERS).unwrap() {
        let verdict = &policy.verdicts[usize::try_from(number).unwrap()];
        for arguments in interesting(verdict, random)? {
            let (expected, got) =
                (reference(policy, number, &arguments), play(program, &Data::native(number, arguments)));
            assert_eq!(got.action, expected, "call {number} with {arguments:x?}, {verdict:?}");
            asks_where_it_refuses(program, asking.as_deref(), &Data::native(number, arguments));
        }
    }
    for number in [512, 520, 547, 548, 1000, 0x3fff_ffff, 0x4000_0000, 0x4000_0001, 0x4000_0208, u32::MAX - 1, u32::MAX]
    {
        let arguments = random.arbitrary()?;
        let got = play(program, &Data::native(number, arguments)).action;
        asks_where_it_refuses(program, asking.as_deref(), &Data::native(number, arguments));
        assert_eq!(got, reference(policy, number, &arguments), "{number:#x}");
        assert_eq!(got, if number == u32::MAX { ALLOW } else { ENOSYS }, "{number:#x}");
    }
    for number in [0, 1, 11, 59, 512] {
        let data = Data { architecture: I386, ..Data::native(number, [0; 6]) };
        assert_eq!(play(program, &data).action, KILL_PROCESS, "a call of i386");
        asks_where_it_refuses(program, asking.as_deref(), &data);
    }
    Ok(())
}

fn condition(random: &mut Unstructured<'_>) -> Result<Condition> {
    let value: u64 = match random.int_in_range(0..=3)? {
        0 => random.arbitrary::<u8>()?.into(),
        1 => random.arbitrary::<u32>()?.into(),
        2 => u64::from(random.arbitrary::<u32>()?) << 32,
        _ => random.arbitrary()?,
    };
    let masks = [u64::MAX, 0xffff_ffff, 0xffff_ffff_0000_0000, 0, 0x0f0f_0000_0000_00ff, random.arbitrary()?];
    let mask = *random.choose(&masks)?;
    let plain = [Compare::Eq, Compare::Ne, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge];
    let argument = random.int_in_range(0..=5)?;
    Ok(match random.int_in_range(0..=6)? {
        6 => Condition { argument, compare: Compare::MaskedEq { mask }, value: value & mask },
        index => Condition { argument, compare: plain[index], value },
    })
}

fn action(random: &mut Unstructured<'_>) -> Result<Action> {
    let errno = Action::Errno(random.int_in_range(1..=133)?);
    let all = [Action::Allow, Action::Log, errno, Action::Trap, Action::KillThread, Action::KillProcess];
    random.choose(&all).copied()
}

/// Returns a policy at random.
pub(crate) fn policy(random: &mut Unstructured<'_>) -> Result<Policy> {
    let mut policy = Policy::uniform(action(random)?);
    for _ in 0..random.int_in_range(0..=120)? {
        let (first, count) = (random.int_in_range(0..=511)?, random.int_in_range(1..=9)?);
        let mut verdict = Verdict { rules: Vec::new(), otherwise: action(random)? };
        for _ in 0..random.int_in_range(0..=4)? {
            let mut conditions = [None; SeccompRule::CONDITIONS];
            let wanted = random.int_in_range(0..=SeccompRule::CONDITIONS)?;
            for place in conditions.iter_mut().take(wanted) {
                *place = Some(condition(random)?);
            }
            verdict.rules.push(Rule { conditions, action: action(random)? });
        }
        for place in policy.verdicts.iter_mut().skip(first).take(count) {
            place.clone_from(&verdict);
        }
    }
    Ok(policy)
}
