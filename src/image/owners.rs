//! Who owns what is extracted: it depends on what this process may give away.

use crate::error::{Error, Result};
use crate::image::ask::{Ids, Range};
use crate::image::tree::Ownership;
use crate::sys::file::{Owner, effective_gid, effective_uid};

/// Root keeps the owners of the archive, if its user namespace knows them; others those in their `range`, if they
/// ask for one.
pub(super) fn ownership(range: Option<Range>) -> Result<Ownership> {
    const ENOUGH: u64 = 65_535;
    if effective_uid() != 0 {
        return Ok(range.map_or(Ownership::Caller, Ownership::Range));
    }
    for path in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        let map =
            std::fs::read_to_string(path).map_err(|error| Error::io(format_args!("cannot read `{path}`"), &error))?;
        let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
        if counts.sum::<u64>() < ENOUGH {
            return Ok(Ownership::Caller);
        }
    }
    Ok(Ownership::Archive)
}

impl Ownership {
    /// Returns whom a file of `owner` belongs to on disk; `None` where it belongs to whoever makes it.
    pub(super) fn on_disk(self, owner: Owner) -> Option<Owner> {
        match self {
            Self::Archive => Some(owner),
            Self::Caller => None,
            Self::Range(Range { uids, gids }) => {
                Some(Owner { uid: uids.on_disk(owner.uid), gid: gids.on_disk(owner.gid) })
            }
        }
    }

    /// Returns what stands behind the digest in the name of a tree. Two that differ on disk have two.
    pub(super) fn flavour(self) -> String {
        match self {
            Self::Archive => "owned".to_owned(),
            Self::Caller => "squashed".to_owned(),
            Self::Range(Range { uids, gids }) => match (uids.own, gids.own) {
                (0, 0) => format!("range-{}-{}", uids.first, gids.first),
                (uid, gid) => format!("range-{}-{}-{uid}-{gid}", uids.first, gids.first),
            },
        }
    }

    /// Reads what [`Ownership::flavour`] wrote, in a store of this process's user.
    pub(super) fn of_flavour(text: &str) -> Option<Self> {
        match text {
            "owned" => return Some(Self::Archive),
            "squashed" => return Some(Self::Caller),
            _ => {}
        }
        let numbers: Option<Vec<u32>> = text.strip_prefix("range-")?.split('-').map(|it| it.parse().ok()).collect();
        let (firsts, owns) = match numbers?[..] {
            [uid, gid] => ((uid, gid), (0, 0)),
            [uid, gid, own_uid, own_gid] => ((uid, gid), (own_uid, own_gid)),
            _ => return None,
        };
        let uids = Ids { caller: effective_uid(), first: firsts.0, own: owns.0 };
        let gids = Ids { caller: effective_gid(), first: firsts.1, own: owns.1 };
        // A number that is written in another way is the name of nothing.
        Some(Self::Range(Range { uids, gids })).filter(|read| read.flavour() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, Owner, Ownership, Range};

    #[test]
    fn ids_around_the_own_one_are_subordinate() {
        let ids = |own| Ids { caller: 1000, first: 100_000, own };
        assert_eq!([0, 1, 33].map(|id| ids(0).on_disk(id)), [1000, 100_000, 100_032]);
        assert_eq!([0, 32, 33, 34].map(|id| ids(33).on_disk(id)), [100_000, 100_032, 1000, 100_033]);
        let range = Range { uids: ids(0), gids: ids(33) };
        let owner = Owner { uid: 33, gid: 33 };
        assert_eq!(Ownership::Range(range).on_disk(owner), Some(Owner { uid: 100_032, gid: 1000 }));
        assert_eq!(Ownership::Range(range.seen_by_root()).on_disk(owner), Some(Owner { uid: 33, gid: 0 }));
    }

    #[test]
    fn flavours_are_read_as_they_are_written() {
        for text in ["owned", "squashed", "range-100000-200000", "range-100000-100000-33-0"] {
            assert_eq!(Ownership::of_flavour(text).unwrap().flavour(), text);
        }
        for text in ["", "range-", "range-1", "range-1-2-3", "range-01-2", "range-1-2-0-0", "other"] {
            assert_eq!(Ownership::of_flavour(text), None, "{text}");
        }
    }
}
