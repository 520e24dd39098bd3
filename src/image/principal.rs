//! Who an image's configuration says that it runs as: `USER[:GROUP]`, each a name or a number, as
//! `docker run` reads it. A number is never looked up as a name first (CVE-2016-3697).

use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::image::account::{account, group};
use crate::image::{Lookup, Principal};
use crate::units::visible;

/// Returns the ids of `text` in the image at `root`, or `None` where it names what the image does not have.
///
/// # Errors
/// A number out of range, an `/etc/passwd` or `/etc/group` that cannot be read.
pub fn principal(root: &Path, text: &str) -> Result<Option<Principal>> {
    let (user, named_group) = match text.split_once(':') {
        // Of whom only the group is said is root.
        Some(("", group)) => ("0", Some(group)),
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let found = match number(user)? {
        Some(uid) => account(root, Lookup::Uid(uid))?
            .map_or((uid, 0, None), |found| (uid, found.gid, Some((found.name, found.home.as_str().to_owned())))),
        None => match account(root, Lookup::Name(user))? {
            Some(found) => (found.uid, found.gid, Some((found.name, found.home.as_str().to_owned()))),
            None => return Ok(None),
        },
    };
    let (uid, own, account) = found;
    let gid = match named_group.filter(|group| !group.is_empty()) {
        None => own,
        Some(text) => match (number(text)?, text) {
            (Some(gid), _) => gid,
            (None, name) => match group(root, name)? {
                Some(gid) => gid,
                None => return Ok(None),
            },
        },
    };
    Ok(Some(Principal { uid, gid, account }))
}

/// Reads a number where there are digits only; the highest one means "none" to the kernel.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(Error::new(Kind::Image, format!("`{}` is no number of a user or a group", visible(text)))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Principal, principal};

    #[test]
    fn a_group_alone_is_that_of_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        let Principal { uid, gid, account } = principal(root.path(), ":50").unwrap().unwrap();
        assert_eq!((uid, gid, account.map(|(name, _)| name)), (0, 50, Some("root".to_owned())));
    }
}
