//! Policies at random, compiled, played by a machine for BPF and compared with what the
//! policy says; and any text as a profile of the OCI: what is accepted is a program that
//! the kernel takes and that closes what has to be closed.
#![no_main]

use std::collections::BTreeMap;

use arbtest::arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};
use sbx::host::{Caller, Cgroups, Host, Rights};
use sbx::plan::facts::{Base, Facts, LandlockFacts, SeccompFacts};
use sbx::plan::seccomp::assemble::compile;
use sbx::plan::seccomp::{Action, resolve};
use sbx::spec::{Spec, Syscall, parse::parse};

#[path = "../../tests/it/seccomp/bpf.rs"]
mod bpf;
#[path = "../../tests/it/seccomp/reference.rs"]
mod reference;

use bpf::{Data, I386, play};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.starts_with('{') => profile(text),
        Ok(text) if text.starts_with("allow") || text.starts_with("deny") || text.starts_with("log") => rules(text),
        _ => policy(bytes),
    }
});

/// Bytes that are no text are choices for a policy.
fn policy(bytes: &[u8]) -> Corpus {
    let mut random = Unstructured::new(bytes);
    let Ok(policy) = reference::policy(&mut random) else { return Corpus::Reject };
    if let Some(program) = compile(&policy)
        && reference::compare(&policy, &program, &mut random).is_err()
    {
        return Corpus::Reject;
    }
    Corpus::Keep
}

/// The text of a profile. What it says is not known here, so only what holds for all of them is asked.
fn profile(text: &str) -> Corpus {
    for more in ["", "capabilities \"SYS_ADMIN\" \"SYS_PTRACE\"\n"] {
        let spec = parse(format!("seccomp \"./profile.json\"\n{more}").as_bytes()).expect("it is a spec");
        let Ok(Some(filter)) = resolve::resolve(&spec, &facts(text)) else { continue };
        let numbers = text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u64>().ok());
        let numbers: Vec<u64> = numbers.take(12).chain([0, u64::MAX]).collect();
        hold(&filter.program, &numbers);
        // Without these there would be no run to filter.
        for name in ["execve", "write", "exit_group"] {
            let call = Syscall::named(name).expect("it has a number");
            let passes = numbers.iter().any(|number| {
                let answer = play(&filter.program, &Data::native(call.number.into(), [*number; 6])).action;
                [Action::Allow.code(), Action::Log.code()].contains(&answer)
            });
            let conditional = text.contains("args");
            assert!(passes || conditional, "{name} never passes");
        }
    }
    Corpus::Keep
}

/// The rules of a spec before a profile of sbx.
fn rules(text: &str) -> Corpus {
    let mut kept = Corpus::Reject;
    for profile in ["default", "strict", "none"] {
        let Ok(spec) = parse(format!("seccomp \"{profile}\" {{\n{text}\n}}").as_bytes()) else { return kept };
        kept = Corpus::Keep;
        let Ok(Some(filter)) = resolve::resolve(&spec, &facts("")) else { continue };
        let numbers: Vec<u64> = values(&spec).take(12).chain([0, 1, u64::MAX]).collect();
        hold(&filter.program, &numbers);
        first_rule_decides(&spec, &filter.program, &numbers);
    }
    kept
}

fn values(spec: &Spec) -> impl Iterator<Item = u64> {
    let rules = spec.seccomp.iter().flat_map(|seccomp| &seccomp.value.rules);
    rules.flat_map(|rule| rule.value.conditions.iter().map(|condition| condition.value))
}

/// The first rule that names a call and holds decides, whatever the profile says.
fn first_rule_decides(spec: &Spec, program: &[sbx::sys::seccomp::Instruction], numbers: &[u64]) {
    let rules = spec.seccomp.iter().flat_map(|seccomp| &seccomp.value.rules);
    let rules: Vec<_> = rules.map(|rule| &rule.value).collect();
    let named: Vec<Syscall> = rules.iter().flat_map(|rule| rule.calls.iter().copied()).collect();
    for call in named {
        for number in numbers {
            let arguments = [*number; 6];
            let first = rules.iter().find(|rule| {
                rule.calls.contains(&call)
                    && rule.conditions.iter().all(|condition| reference::holds(condition, &arguments))
            });
            let Some(first) = first else { continue };
            let expected = match first.verdict {
                sbx::spec::SeccompVerdict::Allow => Action::Allow.code(),
                sbx::spec::SeccompVerdict::Log => Action::Log.code(),
                sbx::spec::SeccompVerdict::Deny(errno) => Action::Errno(errno).code(),
            };
            let answer = play(program, &Data::native(call.number.into(), arguments)).action;
            assert_eq!(answer, expected, "{} with {number:#x}", call.name);
        }
    }
}

/// Holds for every program: the kernel takes it, and it closes what no profile can open.
fn hold(program: &[sbx::sys::seccomp::Instruction], numbers: &[u64]) {
    const ENOSYS: u32 = 0x0005_0000 | 38;
    for call in 0..u32::try_from(Syscall::NUMBERS).expect("it is small") {
        for number in numbers {
            play(program, &Data::native(call, [*number; 6]));
        }
        let foreign = Data { architecture: I386, ..Data::native(call, [0; 6]) };
        assert_eq!(play(program, &foreign).action, Action::KillProcess.code(), "a call of i386");
        let x32 = Data::native(call | 0x4000_0000, [0; 6]);
        assert_eq!(play(program, &x32).action, ENOSYS, "a call of x32");
    }
    assert_eq!(play(program, &Data::native(u32::MAX, [0; 6])).action, reference::ALLOW, "a call that was called off");
}

fn facts(profile: &str) -> Facts {
    let seccomp = SeccompFacts { profile: profile.to_owned(), kernel: "6.1.0-18-amd64\n".to_owned(), missing: None };
    let cgroups = Cgroups { hierarchies: Vec::new(), refusals: Vec::new(), scope: None };
    Facts {
        host: Host { caller: Caller { uid: 1000, gid: 1000, rights: Rights::User }, cgroups },
        base: Base::Scratch,
        answers: BTreeMap::new(),
        above: BTreeMap::new(),
        top: None,
        account: None,
        subordinate: None,
        seccomp,
        families: vec![sbx::sys::net::Family::V4],
        redirection: sbx::plan::facts::Redirection::There,
        landlock: LandlockFacts::Version(7),
        devices: BTreeMap::new(),
        pinned: std::collections::BTreeSet::new(),
    }
}
