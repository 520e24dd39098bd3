//! The flags of the command line as edits of the spec, in the same words and with the
//! same rules as the file's.

use crate::cli::Request;
use crate::error::{Error, Kind, Result};
use crate::spec::{
    Access, Bind, Cpu, Destination, Exec, Memory, Mount, Namespace, Need, Network, Spec, Stdin, Tty, Variable, Wall,
    value,
};
use crate::units::{Origin, Spanned};

fn written<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Origin::CommandLine)
}

fn wrong(flag: &str, text: &str, why: &str) -> Error {
    Error::new(Kind::Usage, format!("`--{flag} {}`: {why}", text.escape_debug())).at(Origin::CommandLine)
}

/// Applies the flags of `request` to `spec`. A flag replaces what the file says of the same thing; mounts
/// and variables are added.
///
/// # Errors
/// The first flag whose value is wrong.
pub fn apply(spec: &mut Spec, request: &Request) -> Result<()> {
    environment(spec, request)?;
    mounts(spec, request)?;
    limits(spec, request)?;
    if let Some(name) = &request.hostname {
        let name = value::hostname(name).map_err(|why| wrong("hostname", name, &why))?;
        spec.hostname = Some(written(name));
    }
    if let Some(path) = &request.workdir {
        let path = value::inside_path(path).map_err(|why| wrong("workdir", path, &why))?;
        spec.workdir = Some(written(path));
    }
    if let Some(when) = &request.tty {
        spec.tty = Some(written(match when.as_str() {
            "auto" => Tty::Auto,
            "yes" => Tty::Yes,
            "no" => Tty::No,
            _ => return Err(wrong("tty", when, "must be `auto`, `yes` or `no`")),
        }));
    }
    if request.interactive {
        spec.stdin = Some(written(Stdin::Inherit));
    }
    if let Some(mode) = &request.network {
        network(spec, mode)?;
    }
    allow(spec, request)?;
    Ok(())
}

fn environment(spec: &mut Spec, request: &Request) -> Result<()> {
    for text in &request.env {
        let (name, content) = text.split_once('=').ok_or_else(|| wrong("env", text, "must be NAME=VALUE"))?;
        let name = value::variable_name(name).map_err(|why| wrong("env", text, &why))?;
        let content = value::c_text(content).map_err(|why| wrong("env", text, &why))?;
        spec.env.retain(|variable| variable.value.name != name);
        spec.env.push(written(Variable { name, value: content }));
    }
    for name in &request.pass_env {
        let name = value::variable_name(name).map_err(|why| wrong("pass-env", name, &why))?;
        spec.pass_env.push(written(name));
    }
    Ok(())
}

fn mounts(spec: &mut Spec, request: &Request) -> Result<()> {
    for text in &request.bind {
        let mut parts = text.splitn(3, ':');
        let (source, destination) = (parts.next().unwrap_or_default(), parts.next());
        let destination =
            destination.ok_or_else(|| wrong("bind", text, "must be SOURCE:DESTINATION or SOURCE:DESTINATION:rw"))?;
        let access = match parts.next() {
            None | Some("ro") => Access::ReadOnly,
            Some("rw") => Access::ReadWrite,
            Some(_) => return Err(wrong("bind", text, "the access is `ro` or `rw`")),
        };
        // On the command line a relative path is the caller's, not the spec's.
        let source = if source.starts_with(['/', '~']) { source.to_owned() } else { in_working_directory(source)? };
        let bind = Bind {
            source: value::host_path(&source).map_err(|why| wrong("bind", text, &why))?,
            destination: value::mount_point(destination).map_err(|why| wrong("bind", text, &why))?,
            access,
            need: Need::Required,
            exec: Exec::Allowed,
        };
        spec.mounts.push(written(Mount::Bind(bind)));
    }
    for text in &request.tmpfs {
        let destination = value::mount_point(text).map_err(|why| wrong("tmpfs", text, &why))?;
        spec.mounts.push(written(Mount::Tmpfs { destination, size: None, inodes: None, mode: None }));
    }
    Ok(())
}

fn in_working_directory(path: &str) -> Result<String> {
    let working =
        std::env::current_dir().map_err(|source| Error::io("cannot look up the working directory", &source))?;
    working.join(path).into_os_string().into_string().map_err(|_| {
        Error::new(Kind::Usage, "the working directory is not UTF-8, so `--bind` needs an absolute source")
    })
}

fn limits(spec: &mut Spec, request: &Request) -> Result<()> {
    let limits = &mut spec.limits;
    if let Some(text) = &request.memory {
        let max = value::size(text).map_err(|why| wrong("memory", text, &why))?;
        limits.memory = Some(written(Memory { max, swap: None, high: None }));
    }
    if let Some(text) = &request.cpu {
        let cores = Some(value::cores(text).map_err(|why| wrong("cpu", text, &why))?);
        let weight = limits.cpu.as_ref().and_then(|cpu| cpu.value.weight);
        limits.cpu = Some(written(Cpu { cores, weight }));
    }
    if let Some(count) = request.pids {
        if count == 0 {
            return Err(wrong("pids", "0", "the command itself is one"));
        }
        limits.pids = Some(written(count));
    }
    if let Some(text) = &request.wall {
        let after = value::positive_time(text).map_err(|why| wrong("wall", text, &why))?;
        let grace = limits.wall.as_ref().map(|wall| wall.value.grace).unwrap_or_default();
        limits.wall = Some(written(Wall { after, grace }));
    }
    if let Some(text) = &request.cpu_time {
        limits.cpu_time = Some(written(value::positive_time(text).map_err(|why| wrong("cpu-time", text, &why))?));
    }
    if let Some(text) = &request.output {
        limits.output = Some(written(value::size(text).map_err(|why| wrong("output", text, &why))?));
    }
    Ok(())
}

/// What is allowed is added to the rules of the file; a sandbox without a network of the kind gets one.
fn allow(spec: &mut Spec, request: &Request) -> Result<()> {
    if request.allow.is_empty() {
        return Ok(());
    }
    if spec.network.is_none() {
        network(spec, "egress")?;
    }
    let Some(rules) = spec.network.as_mut().and_then(|network| network.value.rules_mut()) else {
        return Err(wrong("allow", &request.allow[0], "the network of the spec lets nothing out by rules")
            .with_hint("add `--network egress`"));
    };
    for text in &request.allow {
        let destination =
            Destination::parse(text).map_err(|not| wrong("allow", text, &not.message).with_hint(not.hint))?;
        rules.allow.push(written(destination));
    }
    Ok(())
}

/// The network and the list of new namespaces say the same thing; the flag changes both.
fn network(spec: &mut Spec, mode: &str) -> Result<()> {
    let network = match mode {
        "none" => Network::None,
        "host" => Network::Host,
        "egress" => Network::Egress(spec.network.take().and_then(|it| it.value.rules().cloned()).unwrap_or_default()),
        _ => return Err(wrong("network", mode, "must be `none`, `host` or `egress`")),
    };
    let own = network != Network::Host;
    spec.network = Some(written(network));
    if let Some(namespaces) = &mut spec.namespaces {
        namespaces.value.new.retain(|namespace| *namespace != Namespace::Net);
        if own {
            namespaces.value.new.push(Namespace::Net);
            namespaces.value.new.sort();
        }
    }
    Ok(())
}
