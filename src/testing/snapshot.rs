//! Snapshots: what a run wrote and how it ended, as a text file beside the spec. Reads them, never writes one.

use std::path::{Path, PathBuf};

use crate::units::shows_itself;

/// The directory beside the spec.
const DIRECTORY: &str = "snapshots";

/// Returns where the snapshot of the test `name` of `spec` lies.
#[must_use]
pub fn path(spec: &Path, name: &str) -> PathBuf {
    let file = spec.file_name().map(|file| file.to_string_lossy()).unwrap_or_default();
    let stem = file.strip_suffix(".sbx.kdl").or(file.strip_suffix(".kdl")).unwrap_or(&file);
    let mut slug = String::new();
    for character in name.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            slug.push(character);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let directory = spec.parent().unwrap_or(Path::new("")).join(DIRECTORY);
    directory.join(format!("{stem}__{}.snap", slug.trim_end_matches('-')))
}

/// Returns the text of a snapshot.
#[must_use]
pub fn text(ended: &str, stdout: &str, stderr: &str) -> String {
    let mut text = format!("{ended}\n");
    for (name, stream) in [("stdout", stdout), ("stderr", stderr)] {
        if stream.is_empty() {
            continue;
        }
        text.extend(["--- ", name, "\n"]);
        for line in stream.split_inclusive('\n') {
            text.extend(line.trim_end_matches('\n').chars().flat_map(|character| {
                // Left as it is where it shows itself: the file is read by people, in reviews too.
                let escaped = !shows_itself(character) && character != '\t';
                let plain = (!escaped).then_some(character);
                plain.into_iter().chain(escaped.then(|| character.escape_default()).into_iter().flatten())
            }));
            text.push_str(if line.ends_with('\n') { "\n" } else { "\n(no newline at the end)\n" });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{path, text};

    #[test]
    fn a_snapshot_lies_beside_its_spec() {
        let of = |spec: &str, name: &str| path(Path::new(spec), name).display().to_string();
        assert_eq!(of("a/app.sbx.kdl", "Rejects  an empty/file!"), "a/snapshots/app__rejects-an-empty-file.snap");
        assert_eq!(of("app.kdl", "../../x"), "snapshots/app__x.snap");
    }

    #[test]
    fn a_snapshot_can_be_read() {
        insta::assert_snapshot!(text("exited 1", "one\n\ttwo\u{1b}[1m\n", "oops"), @r"
        exited 1
        --- stdout
        one
        	two\u{1b}[1m
        --- stderr
        oops
        (no newline at the end)
        ");
        assert_eq!(text("exited 0", "", ""), "exited 0\n");
    }
}
