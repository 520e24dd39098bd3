//! The right to read what is one's own whatever its mode, and what belongs to one's subordinate ids: an image may
//! hold files that nobody may read. Nothing of the host is seen that was not before.

use crate::host::subordinate;
use crate::plan::IdRange;
use crate::plan::facts::Subordinate;
use crate::run::idmap;
use crate::sys::file::{effective_gid, effective_uid};

/// Whose files are to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Own,
    /// And those of the caller's subordinate ids, where there are any.
    Subordinates,
}

/// Gives this process, which has one thread, all rights over the caller's files, in a user namespace in which each
/// id is what it was. Where that cannot be had, the file that cannot be read is named later.
pub fn see_all(whose: Whose) {
    let (uid, gid) = (effective_uid(), effective_gid());
    if uid == 0 {
        return;
    }
    let same = |id, count| IdRange { inside: id, outside: id, count };
    if let Some(range) = subordinates(uid).filter(|_| whose == Whose::Subordinates) {
        let uids = [same(uid, 1), same(range.first_uid, range.uids)];
        let gids = [same(gid, 1), same(range.first_gid, range.gids)];
        if idmap::enter(&uids, &gids).is_ok() {
            return;
        }
    }
    // The caller's own may be seen even where newuidmap(1) is missing.
    idmap::enter_alone(same(uid, 1), same(gid, 1)).ok();
}

/// Returns the first range of the subordinate ids of `uid`, subuid(5).
#[must_use]
pub fn subordinates(uid: u32) -> Option<Subordinate> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = subordinate::user_name(&passwd, uid);
    let first = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        subordinate::ranges(&text, name, uid).into_iter().next()
    };
    let (uids, gids) = (first("/etc/subuid")?, first("/etc/subgid")?);
    Some(Subordinate { first_uid: uids.start, uids: uids.count, first_gid: gids.start, gids: gids.count })
}
