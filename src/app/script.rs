//! A script that carries its spec: the file itself is in the sandbox, read-only, and is what the command is given.

use std::path::Path;

use crate::spec::diagnostic::Finding;
use crate::spec::flat::Script;
use crate::spec::{Access, Bind, Command, Exec, HostPath, Mount, Need, Spec};
use crate::units::{AbsPath, Origin, Span, Spanned};

/// The directory inside in which the script lies under its own name.
const PLACE: &str = "/run/sbx";

/// Returns the spec of the script at `path` with the script as the last argument of its command.
///
/// # Errors
/// No command, or a text beside the script.
pub fn with_file(mut spec: Spec, path: &Path) -> Result<Spec, Vec<Finding>> {
    let refused = |span: Span, message: &str, help: &str| Err(vec![Finding::new(span, message).help(help)]);
    let at = |origin: Origin| match origin {
        Origin::Spec(span) => span,
        Origin::CommandLine | Origin::Image | Origin::Default => Span::default(),
    };
    let help = "name the program that reads the script: `command \"python3\"`";
    let words = match &mut spec.command {
        Some(Spanned { value: Command::Argv(words), .. }) => words,
        Some(Spanned { value: Command::Script { .. }, origin }) => {
            return refused(at(*origin), "a script that carries its spec is the script already", help);
        }
        None => return refused(Span::default(), "the spec of the script has no `command`", help),
    };
    let Some(Script { inside, .. }) = names(path) else {
        let help = "give sbx the path of the script, in UTF-8";
        return refused(Span::default(), "a script needs a file, which the sandbox can be given", help);
    };
    let source = path.to_string_lossy().into_owned();
    words.push(inside.as_str().to_owned());
    let bind = Bind {
        source: HostPath(source),
        destination: inside,
        access: Access::ReadOnly,
        need: Need::Required,
        exec: Exec::Allowed,
    };
    // Last, so that no mount of the spec can lie over it.
    spec.mounts.push(Spanned::new(Mount::Bind(bind), Origin::Default));
    Ok(spec)
}

/// Returns what the script at `path` is called beside itself and inside; `None` where there is no file, or its name
/// is no text.
#[must_use]
pub fn names(path: &Path) -> Option<Script> {
    let name = path.to_str().filter(|path| !path.starts_with("/proc/")).and(path.file_name())?.to_str()?;
    let inside = AbsPath::new(&format!("{PLACE}/{name}")).ok()?;
    Some(Script { outside: name.to_owned(), inside })
}
