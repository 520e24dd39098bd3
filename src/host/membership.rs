//! The two texts that say where this process is: /proc/self/cgroup and
//! /proc/self/mountinfo. Pure: it opens no file.

use std::path::{Path, PathBuf};

use crate::host::{Controller, Version};

/// One line of /proc/self/cgroup, cgroups(7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub version: Version,
    /// Those that sbx can use; v2 lines name none.
    pub controllers: Vec<Controller>,
    /// The names as the kernel writes them, which is also the name of a co-mounted
    /// hierarchy's conventional directory: `cpu,cpuacct`.
    pub names: String,
    /// The group, relative to the root of the cgroup namespace: `/`, `/user.slice/x.scope`;
    /// it starts with `/..` where the group is outside that root.
    pub path: String,
}

/// One mounted hierarchy from /proc/self/mountinfo, proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub version: Version,
    /// Empty for v2 and for named hierarchies.
    pub controllers: Vec<Controller>,
    /// Which group is mounted, relative to the root of the cgroup namespace.
    pub root: String,
    pub point: PathBuf,
}

/// Returns the lines that sbx can use: `0::PATH` and those of v1 that have a controller.
/// A line of another shape is left out.
#[must_use]
pub fn parse_self_cgroup(text: &str) -> Vec<Membership> {
    text.lines().filter_map(parse_membership).collect()
}

fn parse_membership(line: &str) -> Option<Membership> {
    let mut parts = line.splitn(3, ':');
    let (id, names, path) = (parts.next()?, parts.next()?, parts.next()?);
    // A group that was removed under a running process.
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    if !path.starts_with('/') {
        return None;
    }
    let version = match (id, names) {
        ("0", "") => Version::V2,
        _ => Version::V1,
    };
    let controllers = parse_names(names, ',', version);
    match version {
        Version::V1 if controllers.is_empty() => None,
        _ => Some(Membership { version, controllers, names: names.to_owned(), path: path.to_owned() }),
    }
}

/// Returns the controllers of `cpu,cpuacct` (v1) or `cpu io memory` (v2), in the order of
/// the text, without those that sbx has no use for.
#[must_use]
pub fn parse_names(text: &str, separator: char, version: Version) -> Vec<Controller> {
    text.trim_end().split(separator).filter_map(|name| Controller::from_name(name, version)).collect()
}

/// Returns the mounted hierarchies, in the order of the text.
#[must_use]
pub fn parse_mountinfo(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    // 36 35 98:0 /root /point rw,noatime shared:1 - cgroup cgroup rw,memory
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    let mut fields = after.split(' ');
    let version = match fields.next()? {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let options = fields.nth(1).unwrap_or_default();
    let controllers = match version {
        Version::V1 => parse_names(options, ',', version),
        Version::V2 => Vec::new(),
    };
    Some(Mount { version, controllers, root: unescape(root), point: PathBuf::from(unescape(point)) })
}

/// Undoes the octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                plain.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// Returns the directory of `group` under a mount of `root` at `point`, or `None` where the
/// mount does not show that group: a container's bind mount of another one, or a mount made
/// from outside the cgroup namespace (`root` starts with `/..`).
#[must_use]
pub fn locate(group: &str, root: &str, point: &Path) -> Option<PathBuf> {
    let inside = match root {
        "/" => group,
        _ => match group.strip_prefix(root)? {
            rest if rest.is_empty() || rest.starts_with('/') => rest,
            _ => return None,
        },
    };
    let outside = |path: &str| path.split('/').any(|part| part == "..");
    if outside(inside) || outside(root) {
        return None;
    }
    Some(below(point, inside))
}

/// Returns `point` itself for `/`, else the directory of `group` below it.
#[must_use]
pub fn below(point: &Path, group: &str) -> PathBuf {
    match group.trim_matches('/') {
        "" => point.to_owned(),
        relative => point.join(relative),
    }
}
