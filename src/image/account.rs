//! One account of an image's `/etc/passwd`, and its groups in `/etc/group`. The files are a stranger's: each is read
//! only if it is a regular file, only so far, and never decides anything by being malformed (CVE-2024-9676).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::image::{Account, Lookup};
use crate::sys::file::{self, Access, Errno, FileType};
use crate::units::{AbsPath, visible};

/// Bytes of a passwd file; 10,000 accounts fit.
const LIMIT: u64 = 1 << 20;

/// How many groups a process can have besides its own (NGROUPS_MAX of limits.h).
const GROUPS: usize = 65_536;

/// Returns the first account that `lookup` describes in the image at `root`, or `None`
/// where it has none, or no `/etc/passwd`.
///
/// # Errors
/// An `/etc/passwd` that is not a regular file or too large, or a line for that account
/// that passwd(5) does not allow.
pub fn account(root: &Path, lookup: Lookup<'_>) -> Result<Option<Account>> {
    let Some(data) = read(root, "etc/passwd")? else {
        return Ok(None);
    };
    for (index, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let found = match lookup {
            Lookup::Name(name) => !name.is_empty() && fields[0] == name.as_bytes(),
            Lookup::Uid(uid) => fields.get(2).is_some_and(|field| number(field) == Some(uid)),
        };
        if found {
            let account = parse(&fields).ok_or_else(|| {
                let at = format!("line {} of `/etc/passwd` in the rootfs `{}`", index + 1, root.display());
                bad(format!("{at} is not an account")).with_hint("it must read `NAME:x:UID:GID:TEXT:/HOME:/SHELL`")
            })?;
            return Ok(Some(account));
        }
    }
    Ok(None)
}

/// Returns the number of the first group of that name in the image at `root`, or `None` where it has none, or no
/// `/etc/group`.
///
/// # Errors
/// As those of [`account`], of group(5).
pub(super) fn group(root: &Path, name: &str) -> Result<Option<u32>> {
    let Some(data) = read(root, "etc/group")? else {
        return Ok(None);
    };
    for (index, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let mut fields = line.split(|byte| *byte == b':');
        if name.is_empty() || fields.next() != Some(name.as_bytes()) {
            continue;
        }
        return fields.nth(1).and_then(number).map(Some).ok_or_else(|| no_group(root, index));
    }
    Ok(None)
}

/// Returns the numbers of the groups that have a member of that name in the image at `root`, each once, in ascending
/// order.
///
/// # Errors
/// As those of [`account`], of group(5), for each line that names the member; more groups than a process can have.
pub fn memberships(root: &Path, name: &str) -> Result<Vec<u32>> {
    let Some(data) = read(root, "etc/group")? else {
        return Ok(Vec::new());
    };
    let mut groups = Vec::new();
    for (index, line) in data.split(|byte| *byte == b'\n').enumerate() {
        let mut fields = line.split(|byte| *byte == b':');
        let (gid, members) = (fields.nth(2), fields.next().unwrap_or_default());
        if name.is_empty() || !members.split(|byte| *byte == b',').any(|member| member == name.as_bytes()) {
            continue;
        }
        match (gid.and_then(number), fields.next()) {
            (Some(gid), None) => groups.push(gid),
            _ => return Err(no_group(root, index)),
        }
    }
    groups.sort_unstable();
    groups.dedup();
    match groups.len() {
        0..=GROUPS => Ok(groups),
        count => Err(bad(format!(
            "`{}` has {count} groups in `/etc/group` of the rootfs, and a process can have {GROUPS}",
            visible(name)
        ))),
    }
}

fn no_group(root: &Path, index: usize) -> Error {
    let at = format!("line {} of `/etc/group` in the rootfs `{}`", index + 1, root.display());
    bad(format!("{at} is not a group")).with_hint("it must read `NAME:x:GID:MEMBERS`")
}

/// Reads `/etc/passwd` or `/etc/group`.
fn read(root: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let shown = format!("`/{name}` in the rootfs `{}`", root.display());
    let failed = |error: &std::io::Error| Error::io(format_args!("cannot read {shown}"), error);
    let directory = file::open(root, Access::DirectoryPlace).map_err(|errno| failed(&errno.into()))?;
    // A device is not even opened: some do things when they are.
    match file::open_in_root(&directory, OsStr::new(name), Access::Place) {
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(failed(&errno.into())),
        Ok(place) => regular(file::stat(&place).map_err(|errno| failed(&errno.into()))?, &shown)?,
    }
    let opened = file::open_in_root(&directory, OsStr::new(name), Access::Read);
    let opened = opened.map_err(|errno| failed(&errno.into()))?;
    regular(file::stat(&opened).map_err(|errno| failed(&errno.into()))?, &shown)?;
    let mut data = Vec::new();
    File::from(opened).take(LIMIT + 1).read_to_end(&mut data).map_err(|error| failed(&error))?;
    match u64::try_from(data.len()) {
        Ok(length) if length <= LIMIT => Ok(Some(data)),
        _ => Err(too_large(&shown)),
    }
}

fn regular(stat: file::Stat, shown: &str) -> Result<()> {
    match stat.kind {
        FileType::Regular if stat.size <= LIMIT => Ok(()),
        FileType::Regular => Err(too_large(shown)),
        _ => Err(bad(format!("{shown} is not a regular file"))),
    }
}

fn parse(fields: &[&[u8]]) -> Option<Account> {
    let [name, _, uid, gid, _, home, shell] = fields else {
        return None;
    };
    Some(Account {
        uid: number(uid)?,
        gid: number(gid)?,
        name: std::str::from_utf8(name).ok()?.to_owned(),
        home: path(home, "/")?,
        shell: path(shell, "/bin/sh")?,
    })
}

fn path(field: &[u8], default: &str) -> Option<AbsPath> {
    let text = std::str::from_utf8(field).ok()?;
    AbsPath::new(if text.is_empty() { default } else { text }).ok()
}

/// Reads decimal digits only; the highest number means "none" to the kernel.
fn number(field: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(field).ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn too_large(shown: &str) -> Error {
    bad(format!("{shown} is larger than {LIMIT} bytes"))
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}
