//! What the command is and what it finds: argv, environment, working directory.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Base, Inputs, Manner};
use crate::plan::ground::Grounds;
use crate::plan::steps::{Place, Steps};
use crate::plan::{Content, Exec, Identity, Op, Variable, VariableValue, mounts, terminal};
use crate::spec::{Command, Secret, Who};
use crate::units::{AbsPath, Origin, Spanned};

/// Where a script lies inside.
const SCRIPT: &str = "/run/sbx/script";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Decides what is executed; a script becomes a read-only file.
///
/// # Errors
/// No command at all, or a secret whose variable the caller does not have.
pub fn resolve(inputs: Inputs<'_>, identity: &Identity, grounds: &Grounds, steps: &mut Steps) -> Result<Exec> {
    let env = environment(inputs, identity)?;
    let argv = argv(inputs, grounds, steps)?;
    let workdir = inputs.spec.workdir.as_ref().map_or_else(AbsPath::root, |workdir| workdir.value.clone());
    let candidates = candidates(argv.first().map(OsString::as_os_str).unwrap_or_default(), &env);
    let replaced = !inputs.invocation.arguments.is_empty() && !follow(inputs);
    let origin = match &inputs.spec.command {
        Some(Spanned { value: Command::Script { .. }, origin }) => *origin,
        _ if replaced => Origin::CommandLine,
        command => command.as_ref().map_or(Origin::Default, |command| command.origin),
    };
    Ok(Exec { candidates, argv, env, workdir, origin })
}

fn argv(inputs: Inputs<'_>, grounds: &Grounds, steps: &mut Steps) -> Result<Vec<OsString>> {
    let arguments = &inputs.invocation.arguments;
    match inputs.spec.command.as_ref().map(|command| (&command.value, command.origin)) {
        Some((Command::Script { text, interpreter }, origin)) => {
            refuse_script_path(inputs)?;
            let path = AbsPath::new(SCRIPT).unwrap_or_else(|_| AbsPath::root());
            let place = Place { grounds, facts: inputs.facts, path: &path, origin };
            mounts::add_file(place, (0o555, Content::Text(text.clone())), steps)?;
            // It belongs to the command, which could give itself the right to write.
            steps.inside(Op::ReadOnly { path: path.clone() }, origin);
            Ok([interpreter.into(), SCRIPT.into()].into_iter().chain(arguments.iter().cloned()).collect())
        }
        Some((Command::Argv(words), _)) if arguments.is_empty() || follow(inputs) => {
            Ok(words.iter().map(OsString::from).chain(arguments.iter().cloned()).collect())
        }
        _ if !arguments.is_empty() => Ok(arguments.clone()),
        // The command line is a right one: what is missing can be in either place.
        _ => Err(Error::new(Kind::Spec, "there is no command to run")
            .with_hint("write `sbx run SPEC -- COMMAND…`, or `command \"…\"` in the spec")),
    }
}

/// Whether the arguments of the call come after the command of the spec. That of an image gives way.
fn follow(inputs: Inputs<'_>) -> bool {
    let written = inputs.spec.command.as_ref().is_some_and(|command| command.origin != Origin::Image);
    written && inputs.invocation.manner == Manner::Follow
}

fn refuse_script_path(inputs: Inputs<'_>) -> Result<()> {
    let mounts = inputs.spec.mounts.iter().map(|mount| (mount.value.destination(), mount.origin));
    let files = inputs.spec.secrets.iter().filter_map(|secret| match &secret.value {
        Secret::File { destination, .. } => Some((destination, secret.origin)),
        Secret::Env { .. } => None,
    });
    match mounts.chain(files).find(|(destination, _)| destination.as_str() == SCRIPT) {
        Some((_, origin)) => Err(Error::new(Kind::Spec, format!("at `{SCRIPT}` lies the script of the spec"))
            .with_hint("choose another destination")
            .at(origin)),
        None => Ok(()),
    }
}

/// Returns the paths that are tried, as execvp(3) would.
fn candidates(name: &OsStr, env: &[Variable]) -> Vec<OsString> {
    if name.as_bytes().contains(&b'/') || name.is_empty() {
        return vec![name.to_owned()];
    }
    let path =
        env.iter().rev().find(|variable| variable.name == "PATH").map_or(PATH, |variable| match &variable.value {
            VariableValue::Plain(value) | VariableValue::Secret(value) => value,
        });
    path.split(':')
        .map(|place| {
            let mut path = OsString::from(if place.is_empty() { "." } else { place });
            path.push("/");
            path.push(name);
            path
        })
        .collect()
}

fn environment(inputs: Inputs<'_>, identity: &Identity) -> Result<Vec<Variable>> {
    let mut env = defaults(inputs, identity);
    // Programs that draw need the name of the terminal that their bytes end up on.
    if let (Some(_), Some(name)) = (terminal::resolve(inputs)?, inputs.invocation.variables.get("TERM")) {
        set(&mut env, "TERM", VariableValue::Plain(name.clone()));
    }
    for variable in &inputs.spec.env {
        set(&mut env, &variable.value.name, VariableValue::Plain(variable.value.value.clone()));
    }
    let refuse_bytes = |name: &str, origin| match inputs.invocation.not_text.contains(name) {
        true => Err(Error::new(Kind::Spec, format!("the variable `{name}` is set, and is not UTF-8"))
            .with_hint("set it to text, or pass it in a file")
            .at(origin)),
        false => Ok(()),
    };
    for name in &inputs.spec.pass_env {
        refuse_bytes(&name.value, name.origin)?;
        if let Some(value) = inputs.invocation.variables.get(&name.value) {
            set(&mut env, &name.value, VariableValue::Plain(value.clone()));
        }
    }
    for secret in &inputs.spec.secrets {
        if let Secret::Env { name, variable } = &secret.value {
            refuse_bytes(variable, secret.origin)?;
            let value = inputs.invocation.variables.get(variable).ok_or_else(|| {
                Error::new(Kind::Spec, format!("the secret `{name}` is to come from `{variable}`, which is not set"))
                    .with_hint(format!("set `{variable}` in the environment of sbx"))
                    .at(secret.origin)
            })?;
            set(&mut env, name, VariableValue::Secret(value.clone()));
        }
    }
    Ok(env)
}

fn set(env: &mut Vec<Variable>, name: &str, value: VariableValue) {
    match env.iter_mut().find(|variable| variable.name == name) {
        Some(variable) => variable.value = value,
        None => env.push(Variable { name: name.to_owned(), value }),
    }
}

fn defaults(inputs: Inputs<'_>, identity: &Identity) -> Vec<Variable> {
    let (name, home) = who(inputs, identity);
    [("PATH", PATH), ("HOME", &home), ("USER", &name), ("LANG", "C.UTF-8"), ("SBX", "1")]
        .map(|(name, value)| Variable { name: name.to_owned(), value: VariableValue::Plain(value.to_owned()) })
        .into()
}

/// The caller's home is not visible in a sandbox made of system directories; what is writable there and
/// gone afterwards is `/tmp`.
fn who(inputs: Inputs<'_>, identity: &Identity) -> (String, String) {
    let written = inputs.spec.user.as_ref().map(|user| &user.value.who);
    let host = matches!(inputs.facts.base, Base::Host(_));
    match (&inputs.facts.account, written) {
        (Some(account), _) => (account.name.clone(), account.home.clone()),
        (None, Some(Who::Caller)) | (None, None) if host => {
            let name = match identity.inside.uid {
                0 => Some("root".to_owned()),
                _ => inputs.invocation.variables.get("USER").cloned(),
            };
            (name.unwrap_or_else(|| identity.inside.uid.to_string()), "/tmp".to_owned())
        }
        _ if identity.inside.uid == 0 => ("root".to_owned(), if host { "/tmp" } else { "/root" }.to_owned()),
        _ => (identity.inside.uid.to_string(), if host { "/tmp" } else { "/" }.to_owned()),
    }
}
