//! Text that a program writes, at its place in a document of the repository.

use std::path::Path;

/// Puts `text` between the two comments called `name` in `file` of the package.
///
/// # Errors
/// A document without the comments, or one that cannot be written.
pub(crate) fn write(file: &str, name: &str, text: &str) -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let old = std::fs::read_to_string(&path)?;
    let (before, rest) = old.split_once(&begin).ok_or_else(|| format!("no `{}` in {file}", begin.trim_end()))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| format!("no `{end}` in {file}"))?;
    let new = format!("{before}{begin}{}\n{end}{after}", text.trim_end());
    std::fs::write(&path, new).map_err(|fault| format!("{}: {fault}", path.display()).into())
}
