//! The worker that extracts layers: sbx confines itself as it confines any command, then unpacks what a stranger
//! packed. All that it can reach are the archives, to read, and the directories that they go into.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::app::run::Done;
use crate::app::{Refusal, gather, prepare};
use crate::cli::Place;
use crate::error::{Error, Kind, Result};
use crate::image::Range;
use crate::image::worker::{self, Layer, Request};
use crate::plan::facts::Invocation;
use crate::plan::{Plan, resolve};
use crate::report::explain;
use crate::run::{Ended, drive, stdio};
use crate::spec::{Access, Bind, Exec, HostPath, Ids, Mount, Need, Spec, parse};
use crate::sys::process;
use crate::units::{AbsPath, Origin, Spanned};

/// `openat2` and `fchmod` are opened again: the filter sees neither that the one stays below its directory nor that
/// the other gives set-group-ID bits to directories only.
const SPEC: &str = r#"
rootfs "scratch"
user "root"
seccomp "strict" { allow "openat2" "fchmod"; }
capabilities "CHOWN" "DAC_OVERRIDE" "FOWNER"
stdin "null"
tty "no"
command "/sbx" "place-layers"
"#;

/// Where the request lies inside.
const REQUEST: &str = "/request.json";

/// Reads a request from standard input, and runs the second half of the worker in a sandbox.
///
/// # Errors
/// What prevented the sandbox; what is wrong with a layer is an answer on standard output.
pub fn confine() -> std::result::Result<Done, Refusal> {
    let refuse = |error: Error| Refusal::new(&error, None);
    // It has nothing to do without who asked for it.
    process::signal_on_parent_death(libc::SIGKILL)
        .map_err(|errno| refuse(Error::new(Kind::Host, "cannot follow sbx").with_errno(errno as i32)))?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| refuse(Error::io("cannot read the request", &error)))?;
    let request: Request = serde_json::from_str(&text)
        .map_err(|error| refuse(Error::new(Kind::Usage, format!("not a request for layers: {error}"))))?;
    let plan = plan(&request).map_err(refuse)?;
    process::block_signals()
        .map_err(|errno| refuse(Error::new(Kind::Host, "cannot block signals").with_errno(errno as i32)))?;
    let now = (std::time::SystemTime::now(), crate::sys::time::monotonic());
    let outcome = drive::run(&plan, now, None).map_err(refuse)?;
    match outcome.ended {
        Ended::Exited { code: 0, .. } => Ok(Done { text: String::new(), status: 0 }),
        Ended::NotStarted(failure) => Err(refuse(explain::failure(failure, Some(&plan)).error)),
        _ => {
            let reason = explain::reason(&outcome, Some(&plan)).unwrap_or_else(|| "it failed".to_owned());
            Err(refuse(Error::new(Kind::Setup, format!("the extraction ended: {reason}"))))
        }
    }
}

/// Extracts, inside.
///
/// # Errors
/// A request that cannot be read, an answer that cannot be written.
pub fn place() -> std::result::Result<Done, Refusal> {
    let refuse = |error: Error| Refusal::new(&error, None);
    let text = std::fs::read_to_string(REQUEST);
    let text = text.map_err(|error| refuse(Error::io(format_args!("cannot read `{REQUEST}`"), &error)))?;
    let request: Request = serde_json::from_str(&text)
        .map_err(|error| refuse(Error::new(Kind::Usage, format!("not a request for layers: {error}"))))?;
    let written = worker::place(request, std::io::stdout());
    written.map_err(|error| refuse(Error::io("cannot answer", &error)))?;
    Ok(Done { text: String::new(), status: 0 })
}

fn plan(request: &Request) -> Result<Plan> {
    let spec = parse::parse(SPEC.as_bytes()).map_err(|_| Error::new(Kind::Bug, "the spec of the worker is wrong"))?;
    let spec = mounted(spec, request)?;
    let invocation = Invocation { streams: stdio::look(), ..Invocation::default() };
    let exposed = prepare::exposed(&spec, &invocation);
    let gathered = gather::gather(&spec, &invocation, &exposed, &Place::default())?;
    // Root inside, so that what is owned by N on disk is owned by N inside, and the other way round.
    resolve::resolve(&spec, &gathered.facts, &invocation)
}

/// Returns the spec with the mounts that `request` needs.
fn mounted(mut spec: Spec, request: &Request) -> Result<Spec> {
    let mut inner = request.clone();
    inner.range = request.range.map(Range::seen_by_root);
    let program = std::env::current_exe().map_err(|error| Error::io("cannot find sbx itself", &error))?;
    bind(&mut spec, &program, "/sbx".to_owned(), Access::ReadOnly)?;
    for (number, (layer, inside)) in request.layers.iter().zip(&mut inner.layers).enumerate() {
        let Layer { archive, made, .. } = layer;
        bind(&mut spec, archive, format!("/in/{number}"), Access::ReadOnly)?;
        bind(&mut spec, made, format!("/out/{number}"), Access::ReadWrite)?;
        inside.archive = PathBuf::from(format!("/in/{number}"));
        inside.made = PathBuf::from(format!("/out/{number}"));
    }
    let text = serde_json::to_string(&inner)
        .map_err(|error| Error::new(Kind::Bug, format!("cannot pass the request on: {error}")))?;
    let destination = AbsPath::new(REQUEST).map_err(|_| Error::new(Kind::Bug, "not a path"))?;
    spec.mounts.push(Spanned::new(Mount::File { destination, text, mode: Some(0o444) }, Origin::Default));
    if request.owned
        && let Some(user) = &mut spec.user
    {
        user.value.ids = if request.range.is_some() { Ids::Range } else { Ids::All };
    }
    Ok(spec)
}

fn bind(spec: &mut Spec, source: &Path, destination: String, access: Access) -> Result<()> {
    let source = source.to_str().ok_or_else(|| {
        Error::new(Kind::Host, format!("the path `{}` is not UTF-8", source.display()))
            .with_hint("set SBX_STORE to a path that is")
    })?;
    let destination = AbsPath::new(&destination).map_err(|_| Error::new(Kind::Bug, "not a path"))?;
    let bind = Bind {
        source: HostPath(source.to_owned()),
        destination,
        access,
        need: Need::Required,
        exec: if access == Access::ReadOnly { Exec::Allowed } else { Exec::Forbidden },
    };
    spec.mounts.push(Spanned::new(Mount::Bind(bind), Origin::Default));
    Ok(())
}
