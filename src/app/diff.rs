//! `sbx diff`: what the runs of a spec have changed in its root, where that is kept. Nothing is run, and nothing
//! is changed.

use std::path::Path;

use crate::app::inspect::Rendering;
use crate::app::prepare;
use crate::app::request::{self, Mistake, Text};
use crate::app::sight::{self, Whose};
use crate::app::{Refusal, gather, run};
use crate::cli::{Place, Request};
use crate::error::{Error, Kind, Result};
use crate::image::pack::Fault;
use crate::plan::facts::{Accounting, Base, Invocation};
use crate::plan::{Capture, resolve};
use crate::report::diff;
use crate::run::harvest::upper::{self, Item, Layers, Sink, Sort};
use crate::spec::{Command, HostPath, Ids, Spec};
use crate::sys::Errno;
use crate::units::{Origin, Spanned, shown};

/// Returns what differs, a name a line: `A`, `M` or `D`, and the path inside.
///
/// # Errors
/// A spec that keeps nothing, or what cannot be read.
pub fn diff(request: &Request, rendering: Rendering) -> std::result::Result<Vec<u8>, Refusal> {
    let (text, place) = (Text::read(&request.spec).map_err(|error| Refusal::new(&error, None))?, &request.place);
    let refuse = |error: &Error| Refusal::new(error, Some(text.as_spec()));
    let spec = request::spec(&text, request).map_err(|mistake| match mistake {
        Mistake::Findings(findings) => Refusal::of_text(text.draw(&findings)),
        Mistake::Error(error) => refuse(&error),
    })?;
    let mut invocation = run::invocation(&spec, request, &text, (Capture::No, Accounting::NotWanted));
    invocation.volumes = run::volumes(&spec, place).map_err(|error| refuse(&error))?;
    let changes = changes(spec, &invocation, place).map_err(|error| refuse(&error))?;
    match rendering {
        Rendering::Text => {
            let letter = |sort| match sort {
                Sort::Added => 'A',
                Sort::Modified | Sort::Same => 'M',
                Sort::Deleted => 'D',
            };
            Ok(changes
                .0
                .iter()
                .flat_map(|(sort, path)| format!("{} {}\n", letter(*sort), shown(path)).into_bytes())
                .collect())
        }
        Rendering::Json => diff::to_line(&changes.0)
            .map_err(|error| refuse(&Error::new(Kind::Bug, format!("cannot write the changes as JSON: {error}")))),
    }
}

fn changes(mut spec: Spec, invocation: &Invocation, place: &Place) -> Result<List> {
    let kept = spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.upper.clone());
    let Some(kept) = kept else {
        return Err(Error::new(Kind::Spec, "this spec keeps no changes")
            .with_hint("write `writable=\"persist\" upper=\"DIRECTORY\"` behind the `rootfs`"));
    };
    let exposed = prepare::exposed(&spec, invocation);
    let gathered = gather::gather(&spec, invocation, &exposed, place)?;
    spec = gathered.configured.unwrap_or(spec);
    // What sbx itself makes in the root is known to who plans a layer of its changes.
    spec.changes = Some(Spanned::new(HostPath("/".to_owned()), Origin::Default));
    // Nothing is run, so it does not matter what would be.
    let nothing = || Spanned::new(Command::Argv(vec!["true".to_owned()]), Origin::Default);
    spec.command.get_or_insert_with(nothing);
    let plan = resolve::resolve(&spec, &gathered.facts, invocation)?;
    let made = plan.harvest.and_then(|harvest| harvest.changes).map(|changes| changes.made).unwrap_or_default();
    // What a run kept may be closed to its owner, or belong to a subordinate id.
    let range = spec.user.as_ref().is_some_and(|user| user.value.ids == Ids::Range);
    sight::see_all(if range { Whose::Subordinates } else { Whose::Own });
    let path = invocation.absolute(&kept.value).join("upper");
    let failed = |path: &Path, errno: Errno| {
        Error::io(format_args!("cannot read the layer `{}`", path.display()), &errno.into()).at(kept.origin)
    };
    let mut list = List(Vec::new());
    let open = |path: &Path| exposed.open(path, libc::O_RDONLY | libc::O_DIRECTORY);
    let upper = match open(&path) {
        // No run has kept anything yet.
        Err(Errno::ENOENT) => return Ok(list),
        other => other.map_err(|errno| failed(&path, errno))?,
    };
    let lower = match &gathered.facts.base {
        Base::Image(root) => Some(open(root).map_err(|errno| failed(root, errno))?),
        Base::Scratch | Base::Host(_) => None,
    };
    let layers = Layers { upper, lower, place: Vec::new(), made: &made };
    upper::walk(layers, &mut list).map_err(|failure| match failure {
        Fault::Read { path: inside, errno } => failed(&path.join(inside.trim_start_matches('/')), errno),
        other => Error::new(Kind::Io, format!("cannot read the layer `{}`: {other:?}", path.display())),
    })?;
    Ok(list)
}

/// The names are absolute and as they are.
struct List(Vec<(Sort, Vec<u8>)>);

impl Sink for List {
    fn take(&mut self, item: &Item<'_>) -> std::result::Result<(), Fault> {
        if item.sort != Sort::Same {
            self.0.push((item.sort, [b"/", item.path].concat()));
        }
        Ok(())
    }

    fn warn(&mut self, _: String) {}
}
