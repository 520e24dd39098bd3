//! Decides the rules of a run: first those that follow from its mounts, then, as a second
//! set that can only take away, the spec's own.

use nix::errno::Errno;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Inputs, LandlockFacts};
use crate::plan::landlock::derive::{self, CHANGE};
use crate::plan::landlock::{Act, InForce, LATEST, Right, Rights, Status};
use crate::plan::posture::{self, Layer};
use crate::plan::{Op, Step, Weakened};
use crate::spec::{Command, Feature, Landlock, LandlockRule, Namespace, Spec};
use crate::units::{AbsPath, Origin, Spanned};

/// Where a script of the spec lies inside.
const SCRIPT: &str = "/run/sbx/script";

/// What the derived rules are about. Ports are not: a network namespace of its own has what it listens to itself.
const DERIVED: Rights =
    Rights::of(&[Right::Read, Right::Write, Right::Execute, Right::MakeDevice, Right::Refer, Right::Ioctl]);
const SCOPES: Rights = Rights::of(&[Right::AbstractSocket, Right::Signal]);
const FILES: Rights = DERIVED;
const READ: Rights = Rights::of(&[Right::Read]);

/// What was decided.
#[derive(Debug, Default)]
pub struct Decided {
    pub steps: Vec<Step>,
    pub in_force: InForce,
    pub weakened: Vec<Weakened>,
}

/// Returns whether a run of `spec` depends on what the kernel has.
#[must_use]
pub fn asks(spec: &Spec) -> bool {
    match spec.landlock.as_ref().map(|node| &node.value) {
        Some(Landlock::None) => false,
        Some(Landlock::Rules(_)) => true,
        None => posture::of_spec(spec).0.landlock == Layer::Derived,
    }
}

/// Decides the rules for what `made` mounts.
///
/// # Errors
/// A kernel without Landlock, or too old for a rule of the spec, without leave of `best-effort`.
pub fn resolve(inputs: Inputs<'_>, made: &[&Step]) -> Result<Decided> {
    let spec = inputs.spec;
    let (own, derive) = (own_rules(spec), posture::of_spec(spec).0.landlock == Layer::Derived);
    let leave = spec.best_effort.iter().any(|it| it.value == Feature::Landlock);
    let abi = match (spec.landlock.as_ref().map(|node| &node.value), inputs.facts.landlock) {
        (Some(Landlock::None), _) => return Ok(off("`landlock none` turns it off".to_owned())),
        (None, _) if !derive => return Ok(Decided::default()),
        (_, LandlockFacts::NotAsked) => return Err(missing(Errno::ENOSYS as i32)),
        (_, LandlockFacts::Version(version)) => version.min(LATEST),
        (_, LandlockFacts::Missing(errno)) if leave => {
            return Ok(off(format!("the kernel has no Landlock ({:?})", Errno::from_raw(errno))));
        }
        (node, LandlockFacts::Missing(errno)) => {
            let error = missing(errno);
            return Err(match (node, &spec.landlock) {
                (Some(_), Some(node)) => error.at(node.origin),
                _ => error,
            });
        }
    };
    let mut decided = Decided::default();
    for (rule, right) in own.iter().map(|rule| (rule, right(&rule.value))) {
        if right.since() > abi && !leave {
            return Err(too_old(rule, right, abi));
        }
        if right.since() > abi && decided.weakened.is_empty() {
            let why = format!("version {abi} of the kernel cannot hold `{}`", rule.value.as_str());
            decided.weakened.push(Weakened { feature: Feature::Landlock.as_str(), why });
        }
    }
    let narrowed = own.iter().fold(Rights::NONE, |all, rule| all.and(Rights::of(&[right(&rule.value)])));
    let mut wanted = Rights::NONE;
    if derive {
        wanted = derived(inputs, made, &mut decided, narrowed);
    }
    wanted = wanted.and(narrow(inputs, own, narrowed, &mut decided));
    let complete = wanted.incomplete(abi).is_empty() && decided.weakened.is_empty();
    decided.steps = known(std::mem::take(&mut decided.steps), abi);
    decided.in_force = match (decided.steps.is_empty(), complete) {
        (true, _) => InForce::default(),
        (false, true) => InForce { abi: Some(abi), status: Status::Full },
        (false, false) => InForce { abi: Some(abi), status: Status::Partial },
    };
    Ok(decided)
}

fn off(why: String) -> Decided {
    let weakened = vec![Weakened { feature: Feature::Landlock.as_str(), why }];
    Decided { weakened, ..Decided::default() }
}

fn missing(errno: i32) -> Error {
    let hint = match Errno::from_raw(errno) {
        Errno::EOPNOTSUPP => "add `landlock` to `lsm=` on the kernel's command line",
        Errno::ENOSYS => {
            "use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK; in a container, look at its seccomp profile"
        }
        _ => "a seccomp filter around sbx may hide it: in a container, look at its seccomp profile",
    };
    let hint = format!("{hint}; `best-effort \"landlock\"` runs the command without, and the report says so");
    Error::new(Kind::Host, "the kernel has no Landlock").with_errno(errno).with_hint(hint)
}

fn too_old(rule: &Spanned<LandlockRule>, right: Right, abi: u32) -> Error {
    let word = rule.value.as_str();
    let since = match right.since() {
        2 => "5.19",
        3 => "6.2",
        _ => "6.7",
    };
    let message = format!("`{word}` needs version {} of Landlock, and this kernel has {abi}", right.since());
    let hint = format!("use Linux {since} or later; `best-effort \"landlock\"` goes on as far as the kernel can");
    Error::new(Kind::Host, message).with_hint(hint).at(rule.origin)
}

fn own_rules(spec: &Spec) -> &[Spanned<LandlockRule>] {
    match spec.landlock.as_ref().map(|node| &node.value) {
        Some(Landlock::Rules(rules)) => rules,
        Some(Landlock::None) | None => &[],
    }
}

/// What is narrowed by a rule.
fn right(rule: &LandlockRule) -> Right {
    match rule {
        LandlockRule::Read(_) => Right::Read,
        LandlockRule::Write(_) => Right::Write,
        LandlockRule::Execute(_) => Right::Execute,
        LandlockRule::Connect(_) => Right::Connect,
        LandlockRule::Bind(_) => Right::Bind,
    }
}

/// Adds the rules that follow from the mounts, and returns what they are about.
fn derived(inputs: Inputs<'_>, made: &[&Step], decided: &mut Decided, narrowed: Rights) -> Rights {
    let keeps = |name: &str| inputs.spec.capabilities.iter().any(|capability| capability.value.name == name);
    let places = derive::rules(made);
    // Whoever obeys rules on files cannot mount, with any capability (landlock(7)).
    let mounts = keeps("SYS_ADMIN") && narrowed.within(FILES).is_empty();
    if mounts {
        let why = "`SYS_ADMIN` may mount, which rules on files would forbid".to_owned();
        decided.weakened.push(Weakened { feature: Feature::Landlock.as_str(), why });
    }
    let mut add = |act, origin| decided.steps.push(Step { op: Op::Landlock { act }, origin });
    let Some(places) = places.filter(|_| !mounts) else {
        add(Act::Handle(SCOPES), Origin::Default);
        return SCOPES;
    };
    let handled = DERIVED.and(SCOPES);
    add(Act::Handle(handled), Origin::Default);
    let nodes = if keeps("MKNOD") { Rights::of(&[Right::MakeDevice]) } else { Rights::NONE };
    for place in places {
        let more = if place.rights.has(Right::Write) { nodes } else { Rights::NONE };
        add(Act::Path(place.path, place.rights.and(more)), place.origin);
    }
    add(Act::Streams(STREAMS), Origin::Default);
    handled
}

/// What the three streams together can be opened for again.
const STREAMS: Rights = Rights::of(&[Right::Read, Right::Write, Right::Ioctl]);

/// Adds the spec's own rules as a set of their own, and returns what they are about.
fn narrow(inputs: Inputs<'_>, own: &[Spanned<LandlockRule>], narrowed: Rights, decided: &mut Decided) -> Rights {
    if narrowed.is_empty() {
        return Rights::NONE;
    }
    let spec = inputs.spec;
    let files = !narrowed.within(FILES).is_empty();
    // Every set of rules on files forbids this unless it says otherwise, also one that is not about writing.
    let handled = if files { narrowed.and(Rights::of(&[Right::Refer])) } else { narrowed };
    let origin = spec.landlock.as_ref().map_or(Origin::Default, |node| node.origin);
    let mut add = |act, origin| decided.steps.push(Step { op: Op::Landlock { act }, origin });
    add(Act::Handle(handled), origin);
    for (path, rights) in given(inputs, narrowed) {
        let rights = rights.within(handled);
        if let (Ok(path), false) = (AbsPath::new(path), rights.is_empty()) {
            add(Act::Path(path, rights), Origin::Default);
        }
    }
    let streams = STREAMS.within(handled);
    if !streams.is_empty() {
        add(Act::Streams(streams), Origin::Default);
    }
    for rule in own {
        let act = match &rule.value {
            LandlockRule::Read(path) => Act::Path(path.clone(), READ),
            LandlockRule::Write(path) => Act::Path(path.clone(), CHANGE),
            // The kernel reads what it executes with the rights of whoever asked for it.
            LandlockRule::Execute(path) => {
                Act::Path(path.clone(), Rights::of(&[Right::Execute, Right::Read]).within(handled))
            }
            LandlockRule::Connect(port) => Act::Port(*port, Rights::of(&[Right::Connect])),
            LandlockRule::Bind(port) => Act::Port(*port, Rights::of(&[Right::Bind])),
        };
        add(act, rule.origin);
    }
    handled
}

/// What stays allowed whatever the spec's own rules are: what sbx itself puts into the sandbox.
fn given(inputs: Inputs<'_>, narrowed: Rights) -> Vec<(&'static str, Rights)> {
    let mut given = Vec::new();
    if !narrowed.has(Right::Write) {
        given.push(("/", Rights::of(&[Right::Refer])));
    }
    if inputs.namespaces.contains(&Namespace::Mount) {
        given.extend(["/proc", "/dev"].map(|path| (path, READ.and(CHANGE))));
        if matches!(inputs.spec.command.as_ref().map(|command| &command.value), Some(Command::Script { .. })) {
            given.push((SCRIPT, READ));
        }
    }
    given
}

/// Leaves out of `steps` what version `abi` knows nothing of: the kernel would refuse it.
fn known(steps: Vec<Step>, abi: u32) -> Vec<Step> {
    let known = |step: Step| match step.op {
        Op::Landlock { act } => act.known(abi).map(|act| Step { op: Op::Landlock { act }, ..step }),
        op => Some(Step { op, ..step }),
    };
    steps.into_iter().filter_map(known).collect()
}

impl Act {
    fn known(self, abi: u32) -> Option<Self> {
        let some = |rights: Rights| Some(rights.known(abi)).filter(|rights| !rights.is_empty());
        match self {
            Self::Handle(rights) => some(rights).map(Self::Handle),
            Self::Path(path, rights) => some(rights).map(|rights| Self::Path(path, rights)),
            Self::Streams(rights) => some(rights).map(Self::Streams),
            Self::Port(port, rights) => some(rights).map(|rights| Self::Port(port, rights)),
        }
    }
}
