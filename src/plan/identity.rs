//! Who the command is: inside as the spec says, outside never the host's root.

use crate::error::{Error, Kind, Result};
use crate::host::{Rights, advice};
use crate::plan::facts::{Account, Base, Facts, Invocation, Subordinate};
use crate::plan::{IdRange, Identity, Ids, MapWriter};
use crate::spec::{self, Namespace, Spec, User, Who};
use crate::units::{Origin, Spanned};

/// What the command of a run by root is outside: this and the process id of sbx, so that no two of them can signal
/// or trace each other or share what the kernel counts by user. A process id is below 2^22 (`PID_MAX_LIMIT` of the
/// kernel), so the ids end at 2104194303: above those of containers (to 1879048191) and of directories (SSSD's, to
/// 2000200000), below systemd's foreign ones (from 2147352576) and Podman's (from 2147483647); see "Users, Groups,
/// UIDs and GIDs on systemd Systems" and sssd-ldap(5). Nothing on disk ever belongs to one.
pub const OWN: u32 = 2_100_000_000;

/// How many numbers a process can have.
const PROCESSES: u32 = 1 << 22;

/// The first of the 65536 ids of a sandbox with a range of them; without a user namespace the command is the first
/// one, because what it makes then keeps its owner on disk. The last block of those that systemd leaves to containers.
pub const RESERVED: u32 = 1_878_982_656;

/// How many ids a range has.
const RANGE: u32 = 65_536;

/// Decides who the command is.
///
/// # Errors
/// What this caller cannot be: several ids without subordinate ones, another id or root without a
/// user namespace.
pub fn resolve(spec: &Spec, facts: &Facts, invocation: &Invocation, namespaces: &[Namespace]) -> Result<Identity> {
    let default = Spanned::new(
        User { who: if matches!(facts.base, Base::Host(_)) { Who::Caller } else { Who::Root }, ids: spec::Ids::Single },
        Origin::Default,
    );
    let user = spec.user.as_ref().unwrap_or(&default);
    if let (false, Some(kept)) = (namespaces.contains(&Namespace::User), spec.capabilities.first()) {
        let message = "without a user namespace a capability would be one over the host";
        return Err(Error::new(Kind::Spec, message).with_hint("add `user` to `namespaces`").at(kept.origin));
    }
    if facts.host.caller.rights == Rights::Powerless {
        let message = "root without its capabilities can make no sandbox";
        return Err(Error::new(Kind::Host, message).with_hint(advice::POWERLESS));
    }
    let inside = inside(&user.value.who, facts).map_err(|error| error.at(user.origin))?;
    let process = invocation.process % PROCESSES;
    let identity = match (namespaces.contains(&Namespace::User), facts.host.caller.is_root()) {
        (true, true) => mapped_by_root(inside, user.value.ids, process),
        (true, false) => mapped_by_caller(inside, user.value.ids, facts),
        (false, _) if !spec.capabilities.is_empty() => Err(capabilities_of_host()),
        (false, _) => unmapped(user, facts),
    };
    identity.and_then(|identity| grouped(identity, user.value.ids, facts)).map_err(|error| error.at(user.origin))
}

/// The user with the groups that the image gives them. What one of them may not do is forbidden to its members alone,
/// so to start without it would not only take rights away.
fn grouped(identity: Identity, ids: spec::Ids, facts: &Facts) -> Result<Identity> {
    let account = facts.account.as_ref().filter(|_| ids == spec::Ids::Range);
    let groups = account.map_or(&[][..], |account| &account.groups);
    let has = |gid: u32| {
        identity.gid_map.iter().any(|range| gid.checked_sub(range.inside).is_some_and(|it| it < range.count))
    };
    match groups.iter().find(|gid| !has(**gid)) {
        None => Ok(Identity { groups: groups.to_vec(), ..identity }),
        Some(gid) => {
            let message = format!(
                "`/etc/group` of the rootfs gives the user group {gid}, which is not among the ids of the range"
            );
            let Ids { uid, gid } = identity.inside;
            Err(Error::new(Kind::Spec, message)
                .with_hint(format!("a user by number has no other groups: `user {uid} {gid} ids=\"range\"`")))
        }
    }
}

fn inside(who: &Who, facts: &Facts) -> Result<Ids> {
    let caller = facts.host.caller;
    Ok(match who {
        Who::Caller => Ids { uid: caller.uid, gid: caller.gid },
        Who::Root => Ids { uid: 0, gid: 0 },
        Who::Numeric { uid, gid } => Ids { uid: *uid, gid: *gid },
        Who::Name(name) => match &facts.account {
            Some(Account { uid, gid, .. }) => Ids { uid: *uid, gid: *gid },
            None => {
                let message = format!("there is no user `{}` in the `/etc/passwd` of the rootfs", name.escape_debug());
                return Err(
                    Error::new(Kind::Spec, message).with_hint("name one that is there, or write `user UID GID`")
                );
            }
        },
    })
}

fn mapped_by_root(inside: Ids, ids: spec::Ids, process: u32) -> Result<Identity> {
    let map = |id| match ids {
        spec::Ids::Single => (OWN + process, vec![IdRange { inside: id, outside: OWN + process, count: 1 }]),
        spec::Ids::Range => (RESERVED + id, vec![IdRange { inside: 0, outside: RESERVED, count: RANGE }]),
        spec::Ids::All => (RESERVED + id, all()),
    };
    if ids == spec::Ids::Range && (inside.uid >= RANGE || inside.gid >= RANGE) {
        return Err(Error::new(Kind::Spec, format!("a range has the ids 0 to {}", RANGE - 1))
            .with_hint("take a smaller id, or write `ids=\"single\"`"));
    }
    let ((uid, uid_map), (gid, gid_map)) = (map(inside.uid), map(inside.gid));
    Ok(Identity { inside, outside: Ids { uid, gid }, uid_map, gid_map, groups: Vec::new(), writer: MapWriter::Parent })
}

/// The first ones as in a range, so that no process has the number of one outside; the others are themselves, but for
/// those that the first ones have.
fn all() -> Vec<IdRange> {
    let above = RESERVED + RANGE;
    vec![
        IdRange { inside: 0, outside: RESERVED, count: RANGE },
        IdRange { inside: RANGE, outside: RANGE, count: RESERVED - RANGE },
        // The highest number is that of nobody at all.
        IdRange { inside: above, outside: above, count: u32::MAX - above },
    ]
}

fn mapped_by_caller(inside: Ids, ids: spec::Ids, facts: &Facts) -> Result<Identity> {
    let caller = facts.host.caller;
    let outside = Ids { uid: caller.uid, gid: caller.gid };
    let (uid_map, gid_map, writer) = match ids {
        spec::Ids::Single => (
            vec![IdRange { inside: inside.uid, outside: outside.uid, count: 1 }],
            vec![IdRange { inside: inside.gid, outside: outside.gid, count: 1 }],
            MapWriter::Child,
        ),
        spec::Ids::Range | spec::Ids::All => {
            let Subordinate { first_uid, uids, first_gid, gids } = facts.subordinate.ok_or_else(|| {
                Error::new(Kind::Host, format!("`ids=\"range\"` needs subordinate ids, and uid {} has none", caller.uid))
                    .with_hint(format!("as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {}, and install the package `uidmap`", caller.uid))
            })?;
            (
                around(inside.uid, outside.uid, first_uid, uids),
                around(inside.gid, outside.gid, first_gid, gids),
                MapWriter::Helpers,
            )
        }
    };
    Ok(Identity { inside, outside, uid_map, gid_map, groups: Vec::new(), writer })
}

/// Maps `own` to the caller and all ids around it to the subordinate ones, in order.
fn around(own: u32, caller: u32, first: u32, count: u32) -> Vec<IdRange> {
    let below = own.min(count);
    let mut ranges = Vec::with_capacity(3);
    if below > 0 {
        ranges.push(IdRange { inside: 0, outside: first, count: below });
    }
    ranges.push(IdRange { inside: own, outside: caller, count: 1 });
    if let (Some(next), rest @ 1..) = (own.checked_add(1), count - below) {
        ranges.push(IdRange { inside: next, outside: first + below, count: rest });
    }
    ranges
}

fn capabilities_of_host() -> Error {
    Error::new(Kind::Spec, "without a user namespace the `capabilities` would be those of the host")
        .with_hint("add `user` to `namespaces`")
}

fn unmapped(user: &Spanned<User>, facts: &Facts) -> Result<Identity> {
    let asked = inside(&user.value.who, facts)?;
    let caller = Ids { uid: facts.host.caller.uid, gid: facts.host.caller.gid };
    let refuse = |message: &str| Err(Error::new(Kind::Spec, message).with_hint("add `user` to `namespaces`"));
    let ids = match (facts.host.caller.is_root(), &user.value.who) {
        (true, Who::Caller) => Ids { uid: RESERVED, gid: RESERVED },
        (true, _) if asked.uid == 0 || asked.gid == 0 => {
            return refuse("without a user namespace the command would be the host's root");
        }
        (true, _) => asked,
        (false, _) if asked == caller => caller,
        (false, _) => return refuse("only root can change ids without a user namespace"),
    };
    if user.value.ids != spec::Ids::Single {
        return refuse("`ids=\"range\"` needs a user namespace");
    }
    let (uid_map, gid_map, groups) = Default::default();
    Ok(Identity { inside: ids, outside: ids, uid_map, gid_map, groups, writer: MapWriter::Nobody })
}
