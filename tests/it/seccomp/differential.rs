//! Programs against a reference that knows no program: all numbers, arguments at random
//! and around every value that a rule names.

use sbx::plan::seccomp::assemble::compile;
use sbx::plan::seccomp::builtin::Builtin;
use sbx::plan::seccomp::{Action, Policy, Rule};
use sbx::spec::{Compare, Condition, SeccompRule, Syscall};

use crate::seccomp::bpf::{Data, play};
use crate::seccomp::reference::{ALLOW, compare, policy};

#[test]
fn a_program_does_what_the_policy_says() {
    arbtest::arbtest(|random| {
        let policy = policy(random)?;
        match compile(&policy) {
            Some(program) => compare(&policy, &program, random),
            None => Ok(()),
        }
    })
    .size_min(1 << 12)
    .size_max(1 << 17)
    .budget_ms(3_000);
}

#[test]
fn the_built_in_programs_do_what_their_policies_say() {
    for builtin in [Builtin::Default, Builtin::Strict] {
        let (policy, filter) = (builtin.policy(), builtin.filter());
        assert!(compile(&policy).unwrap().len().abs_diff(filter.program.len()) < 8, "{builtin:?}");
        arbtest::arbtest(|random| compare(&policy, &filter.program, random))
            .size_min(1 << 16)
            .size_max(1 << 17)
            .budget_ms(500);
    }
}

/// The kernel plays a filter once for each number when it is loaded, and for each call that depends on its
/// arguments: a chain would take hundreds of steps.
#[test]
fn a_call_takes_few_steps() {
    for builtin in [Builtin::Default, Builtin::Strict] {
        let filter = builtin.filter();
        let steps = |number: u32| play(&filter.program, &Data::native(number, [0x7777; 6])).steps;
        let most = (0..512).map(steps).max().unwrap();
        assert!(most <= 40, "{builtin:?}: {most} steps");
        let plain = Syscall::all().filter(|call| builtin.policy().of(*call).rules.is_empty());
        let most = plain.map(|call| steps(call.number.into())).max().unwrap();
        assert!(most <= 16, "{builtin:?}: {most} steps");
    }
}

#[test]
fn more_rules_than_the_kernel_takes_are_refused() {
    let mut policy = Policy::uniform(Action::Allow);
    let rule = |value| {
        let condition = Condition { argument: 0, compare: Compare::Eq, value };
        let mut conditions = [None; SeccompRule::CONDITIONS];
        conditions[0] = Some(condition);
        Rule { conditions, action: Action::Errno(1) }
    };
    policy.verdicts[0].rules = (0..1000).map(rule).collect();
    let program = compile(&policy).unwrap();
    // Beyond what a conditional jump reaches.
    assert_eq!(play(&program, &Data::native(1, [0; 6])).action, ALLOW);
    assert_eq!(play(&program, &Data::native(0, [999, 0, 0, 0, 0, 0])).action, 0x0005_0001);
    policy.verdicts[0].rules = (0..1100).map(rule).collect();
    assert!(compile(&policy).is_none());
}
