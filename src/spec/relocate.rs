//! The paths of the host in a file that is extended: relative ones begin at that file's directory, and are written
//! here as the spec that extends it would. It looks at no path of the machine.

use std::borrow::Cow;

use crate::spec::literal::Value;
use crate::spec::tree::{Entry, Node};
use crate::spec::{ReportTarget, RootfsSource, SeccompProfile, Stdin, decode_seccomp, value, value_rootfs};

/// Which part of a node is a path.
enum Part {
    Argument(fn(&str) -> Option<usize>),
    Property(&'static str),
}

/// The nodes with paths of the host: the block around it, its name, and where the path is.
const PATHS: [(&str, &str, Part); 11] = [
    ("", "rootfs", Part::Argument(source)),
    ("", "rootfs", Part::Property("upper")),
    ("mounts", "bind", Part::Argument(all)),
    ("mounts", "overlay", Part::Property("lower")),
    ("limits", "io", Part::Argument(all)),
    ("", "secret", Part::Property("file")),
    ("", "seccomp", Part::Argument(profile)),
    ("", "stdin", Part::Argument(stdin)),
    ("", "changes", Part::Argument(all)),
    ("", "collect", Part::Property("to")),
    ("", "report", Part::Argument(report)),
];

/// Writes the relative paths in `nodes` as seen from where `directory` is, which is empty or ends in no `/`.
pub(crate) fn relocate(nodes: &mut [Node<'_>], directory: &str) {
    if !directory.is_empty() {
        within("", nodes, directory);
    }
}

/// Returns `path` as seen from where `directory` is.
#[must_use]
pub fn joined(directory: &str, path: &str) -> String {
    match directory {
        _ if path.starts_with('/') || path.starts_with("~/") => path.to_owned(),
        "" => path.to_owned(),
        directory => format!("{}/{path}", directory.trim_end_matches('/')),
    }
}

/// Returns the directory of `path`, in the form that [`joined`] takes; `.` before what could be taken for a word.
#[must_use]
pub fn directory(path: &str) -> String {
    match path.rsplit_once('/') {
        None => String::new(),
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) if directory.starts_with(['/', '.']) || directory == "~" => directory.to_owned(),
        Some((directory, _)) if directory.starts_with("~/") => directory.to_owned(),
        Some((directory, _)) => format!("./{directory}"),
    }
}

fn within(block: &str, nodes: &mut [Node<'_>], directory: &str) {
    for node in nodes {
        // What a test says itself is written as at the top, but for its input, which is a text.
        let of_test = |name: &str| block == "test" && name != "stdin";
        let here = |parent: &str, name: &str| parent == block || (parent.is_empty() && of_test(name));
        for (_, _, part) in PATHS.iter().filter(|(parent, name, _)| *name == node.name && here(parent, name)) {
            let found = |entry: &&mut Entry<'_>| match part {
                Part::Argument(_) => entry.name.is_none(),
                Part::Property(name) => entry.name.as_deref() == Some(name),
            };
            let Some(Entry { value, .. }) = node.entries.iter_mut().find(found) else { continue };
            let Value::Text(text) = value else { continue };
            let at = match part {
                Part::Argument(begin) => begin(text),
                Part::Property(_) => all(text),
            };
            // What is no path, or none that can be read, is for whoever decodes it.
            let Some(at) = at else { continue };
            *value = Value::Text(Cow::Owned(format!("{}{}", &text[..at], joined(directory, &text[at..]))));
        }
        let top = block.is_empty() && matches!(node.name.as_ref(), "mounts" | "limits" | "test");
        if top || (block == "test" && matches!(node.name.as_ref(), "mounts" | "limits")) {
            within(&node.name, node.children.as_deref_mut().unwrap_or_default(), directory);
        }
    }
}

/// Each of these returns where in a text the path begins, if it has one.
fn all(text: &str) -> Option<usize> {
    value::host_path(text).is_ok().then_some(0)
}

fn source(text: &str) -> Option<usize> {
    match value_rootfs::rootfs_source(text).ok()? {
        RootfsSource::Host | RootfsSource::Scratch | RootfsSource::Registry(_) => None,
        RootfsSource::Path(_) => Some(0),
        _ => text.find(':').map(|colon| colon + 1),
    }
}

fn profile(text: &str) -> Option<usize> {
    matches!(decode_seccomp::profile(text), Ok(SeccompProfile::Oci(_))).then_some(0)
}

fn stdin(text: &str) -> Option<usize> {
    matches!(value::stdin(text), Ok(Stdin::File(_))).then_some(0)
}

fn report(text: &str) -> Option<usize> {
    matches!(value::report_target(text), Ok(ReportTarget::File(_))).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::{directory, joined};

    #[test]
    fn a_path_is_seen_from_the_spec() {
        for (file, path, seen) in [
            ("base.kdl", "x", "x"),
            ("../common/base.kdl", "./x", "../common/./x"),
            ("common/base.kdl", ".", "./common/."),
            ("oci:x/base.kdl", "y", "./oci:x/y"),
            ("/base.kdl", "x", "/x"),
            ("/etc/sbx/base.kdl", "x", "/etc/sbx/x"),
            ("~/base.kdl", "x", "~/x"),
            ("~/a/base.kdl", "~/x", "~/x"),
            ("a/base.kdl", "/x", "/x"),
        ] {
            assert_eq!(joined(&directory(file), path), seen, "{file} {path}");
        }
    }
}
