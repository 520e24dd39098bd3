//! What this machine and this caller can do, found out by doing it, and for each thing
//! that is missing the one thing to change. It changes nothing itself.

use std::path::{Path, PathBuf};

use crate::host::advice::{self, Switches};
use crate::host::scope::{self, Surroundings};
use crate::host::trial::Asked;
use crate::host::{Caller, Cgroups, Controller, Rights, Version, cgroup, probe, subordinate, trial};
use crate::sys::attempt::{self as kernel, Failure, namespace};
use crate::sys::probe::{describe, read_text};
use crate::sys::{Errno, landlock};

/// The oldest kernel that sbx promises to work on: all the calls below and Landlock.
pub const OLDEST: (u32, u32) = (5, 13);

/// One thing that a sandbox needs or can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Stable; the part before a colon groups: `namespace: pid`.
    pub name: String,
    pub status: Status,
    /// What was found, a lower-case fragment.
    pub found: String,
    /// The one thing to change; never there with [`Status::Ok`].
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    /// A spec that asks for it is refused; others run.
    Limited,
    /// No sandbox can be made.
    Missing,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, found: found.into(), fix: None }
    }

    fn not(status: Status, name: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), status, found: found.into(), fix: Some(fix.into()) }
    }
}

/// Returns every check; some twenty short-lived children are made and gone. `networks` is what a way out, and then
/// a bridge, asks of the kernel.
#[must_use]
pub fn examine(networks: &[Vec<Asked>; 2]) -> Vec<Check> {
    let caller = probe::caller();
    let mut checks = vec![release()];
    checks.extend(system_calls());
    checks.extend(namespaces(caller, &switches()));
    checks.extend(file_systems(caller));
    checks.extend(ids(caller));
    checks.extend(groups(caller));
    checks.extend([landlock(), seccomp(), devices()]);
    checks.extend(ways(caller, networks));
    checks
}

fn release() -> Check {
    let text = read_text(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    let text = text.trim();
    match parse_release(text) {
        Some(version) if version >= OLDEST => Check::ok("kernel", format!("Linux {text}")),
        _ => Check::not(
            Status::Missing,
            "kernel",
            format!("Linux `{text}`"),
            format!("use Linux {}.{} or later", OLDEST.0, OLDEST.1),
        ),
    }
}

/// Returns the first two numbers of a release: `6.1.0-18-amd64` is (6, 1).
#[must_use]
pub fn parse_release(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|character: char| !character.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn system_calls() -> Vec<Check> {
    let calls = [
        ("clone3", "5.3", kernel::clone3()),
        ("close_range", "5.9", kernel::close_range()),
        ("openat2", "5.6", kernel::openat2()),
        ("pidfd_open", "5.3", kernel::pidfd_open()),
    ];
    let check = |(name, since, outcome)| match outcome {
        Ok(()) => Check::ok(format!("system call: {name}"), "works"),
        Err(errno) => Check::not(
            Status::Missing,
            format!("system call: {name}"),
            describe(errno),
            format!("use Linux {since} or later; in a container {}", advice::NESTED),
        ),
    };
    calls.into_iter().map(check).collect()
}

/// Reads what forbids user namespaces.
fn switches() -> Switches {
    let number = |path: &str| read_text(Path::new(path)).ok()?.trim().parse().ok();
    let status = read_text(Path::new("/proc/self/status")).unwrap_or_default();
    let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:")?.trim().parse().ok());
    Switches {
        max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
        unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        seccomp,
        binary: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/sbx")),
    }
}

fn at(failure: Failure) -> String {
    format!("{}: {}", failure.step, describe(failure.errno))
}

fn namespaces(caller: Caller, switches: &Switches) -> Vec<Check> {
    if let Err(failure) = trial::user_namespace(caller) {
        // The others are made inside it, so they would all fail alike.
        let fix = match caller.rights {
            Rights::Powerless => advice::POWERLESS.to_owned(),
            Rights::Root | Rights::User => advice::user_namespace(failure, switches),
        };
        return vec![Check::not(Status::Missing, "namespace: user", at(failure), fix)];
    }
    let kinds = [
        ("mount", namespace::MOUNT, Status::Missing),
        ("pid", namespace::PID, Status::Missing),
        ("net", namespace::NET, Status::Missing),
        ("ipc", namespace::IPC, Status::Missing),
        ("uts", namespace::UTS, Status::Missing),
        ("cgroup", namespace::CGROUP, Status::Missing),
        ("time", namespace::TIME, Status::Limited),
    ];
    let mut checks = vec![Check::ok("namespace: user", "works, with an id map")];
    checks.extend(kinds.map(|(kind, flags, without)| {
        let name = format!("namespace: {kind}");
        match trial::other_namespace(caller, flags) {
            Ok(()) => Check::ok(name, "works"),
            // Without a permission to use it, the namespace exists and is of no use: Ubuntu's restriction.
            Err(failure) if switches.apparmor_restricts.is_some_and(|value| value != 0) => {
                Check::not(without, name, at(failure), advice::user_namespace(failure, switches))
            }
            Err(failure) => Check::not(without, name, at(failure), advice::namespace(kind, failure.errno)),
        }
    }));
    checks
}

fn file_systems(caller: Caller) -> Vec<Check> {
    let judge = |kind: &str, without, outcome: Result<(), Failure>| match outcome {
        Ok(()) => Check::ok(format!("mount: {kind}"), "works in a user namespace"),
        Err(failure) => {
            let fix = match failure.step {
                "clone" | "setgroups" | "uid_map" | "gid_map" => "first what `namespace: user` wants".to_owned(),
                _ => advice::file_system(kind, failure),
            };
            Check::not(without, format!("mount: {kind}"), at(failure), fix)
        }
    };
    let mut checks = vec![
        judge("tmpfs", Status::Missing, trial::tmpfs(caller)),
        judge("proc", Status::Missing, trial::fresh_proc(caller)),
        judge("overlay", Status::Limited, trial::overlay(caller)),
    ];
    if caller.is_root() {
        checks.push(match trial::id_mapped_mount(c"/") {
            Ok(()) => Check::ok("mount: id-mapped", "works on the file system of `/`"),
            Err(failure) => Check::not(
                Status::Limited,
                "mount: id-mapped",
                format!("`/`: {}", at(failure)),
                "keep root file systems on ext4, xfs, btrfs or tmpfs (6.3), with Linux 5.12 or later",
            ),
        });
    }
    checks
}

/// The subordinate ids of `ids="range"`. Root maps ranges itself.
fn ids(caller: Caller) -> Vec<Check> {
    if caller.is_root() {
        return vec![Check::ok("subordinate ids", "root maps any range")];
    }
    let passwd = read_text(Path::new("/etc/passwd")).unwrap_or_default();
    let name = subordinate::user_name(&passwd, caller.uid);
    let user = name.map_or_else(|| caller.uid.to_string(), str::to_owned);
    let kinds = [
        ("newuidmap", "/etc/subuid", caller.uid, "--add-subuids"),
        ("newgidmap", "/etc/subgid", caller.gid, "--add-subgids"),
    ];
    let check = |(program, table, own, option): (&str, &str, u32, &str)| {
        let title = format!("subordinate ids: {program}");
        let text = read_text(Path::new(table)).unwrap_or_default();
        let Some(range) = subordinate::ranges(&text, name, caller.uid).into_iter().next() else {
            let fix = format!("as root: `usermod {option} 100000-165535 {user}`");
            return Check::not(Status::Limited, title, format!("no range of `{user}` in `{table}`"), fix);
        };
        let path = Path::new("/usr/bin").join(program);
        match trial::subordinate_ids(&path, own, range.start, range.count) {
            Ok(()) => Check::ok(title, format!("{} ids from {}", range.count, range.start)),
            Err(why) => Check::not(
                Status::Limited,
                title,
                format!("`{}`: {why}", path.display()),
                format!("as root: `apt-get install uidmap` and `chmod u+s {}`", path.display()),
            ),
        }
    };
    kinds.into_iter().map(check).collect()
}

fn groups(caller: Caller) -> Vec<Check> {
    let cgroups = cgroup::discover(caller, &Controller::ALL);
    let v2_cpu = cgroups.find(Controller::Cpu).is_ok_and(|hierarchy| hierarchy.version == Version::V2);
    let mut checks: Vec<Check> = Controller::ALL
        .into_iter()
        .filter(|controller| !(v2_cpu && *controller == Controller::Cpuacct))
        .map(|controller| controller_check(&cgroups, controller))
        .collect();
    checks.extend(systemd(caller, &cgroups));
    checks
}

fn controller_check(cgroups: &Cgroups, controller: Controller) -> Check {
    let name = format!("cgroup: {controller}");
    match cgroups.find(controller) {
        Ok(hierarchy) => {
            let version = match hierarchy.version {
                Version::V1 => 1,
                Version::V2 => 2,
            };
            Check::ok(name, format!("version {version}, below `{}`", hierarchy.parent.display()))
        }
        Err(Some(refusal)) => {
            let errno = refusal.errno.map(|errno| format!(": {}", describe(errno))).unwrap_or_default();
            Check::not(Status::Limited, name, format!("{}{errno}", refusal.why), refusal.hint.clone())
        }
        Err(None) => Check::not(
            Status::Limited,
            name,
            "this kernel does not have the controller",
            format!("use a kernel with CONFIG_{}", config_name(controller)),
        ),
    }
}

fn config_name(controller: Controller) -> &'static str {
    match controller {
        Controller::Memory => "MEMCG",
        Controller::Cpu => "CGROUP_SCHED and CONFIG_CFS_BANDWIDTH",
        Controller::Cpuacct => "CGROUP_CPUACCT",
        Controller::Cpuset => "CPUSETS",
        Controller::Pids => "CGROUP_PIDS",
        Controller::Io => "BLK_CGROUP",
        Controller::Hugetlb => "CGROUP_HUGETLB",
    }
}

/// The way to groups through the caller's systemd; nothing where it is not needed.
fn systemd(caller: Caller, cgroups: &Cgroups) -> Option<Check> {
    let needed = !caller.is_root() && cgroups.find(Controller::Memory).is_err();
    if !needed {
        return None;
    }
    Some(match scope::scope_command(caller, &Surroundings::read()) {
        Some(command) => Check::ok("systemd scope", format!("reachable by `{}`", command.program.display())),
        None => Check::not(
            Status::Limited,
            "systemd scope",
            "no systemd of the caller can be reached",
            "log in through systemd-logind, or as root: `loginctl enable-linger USER`",
        ),
    })
}

/// Without it a spec is refused, unless it says that it can do without.
fn landlock() -> Check {
    const WITHOUT: &str = "a spec can do without: `landlock none`, or `best-effort \"landlock\"`";
    match landlock::version() {
        Ok(version) => judge_landlock(version),
        Err(Errno::EOPNOTSUPP) => Check::not(
            Status::Missing,
            "landlock",
            "built in but not switched on",
            format!("add `landlock` to `lsm=` on the kernel's command line; {WITHOUT}"),
        ),
        Err(errno) => Check::not(
            Status::Missing,
            "landlock",
            describe(errno as i32),
            format!("use a kernel with CONFIG_SECURITY_LANDLOCK; {WITHOUT}"),
        ),
    }
}

/// Returns what a version of Landlock is worth: the kernels of `landlock` in landlock(7).
#[must_use]
pub fn judge_landlock(version: u32) -> Check {
    let (without, since) = match version {
        0 | 1 => ("renames and links between directories, which answer EXDEV,", "5.19"),
        2 => ("rules for truncating", "6.2"),
        3 => ("rules for ports", "6.7"),
        4 => ("rules for commands to devices", "6.10"),
        5 => ("rules for abstract sockets and signals", "6.12"),
        _ => return Check::ok("landlock", format!("version {version}")),
    };
    let found = format!("version {version}, without {without} and what came later");
    Check::not(Status::Limited, "landlock", found, format!("use Linux {since} or later; 6.12 has all"))
}

fn seccomp() -> Check {
    match kernel::seccomp_notify() {
        Ok(()) => Check::ok("seccomp", "filters and notifications"),
        Err(errno) => {
            Check::not(Status::Missing, "seccomp", describe(errno), "use Linux 5.0 or later with CONFIG_SECCOMP_FILTER")
        }
    }
}

/// `network "egress"`, and `network "bridge"`, which needs the same and more.
fn ways(caller: Caller, [egress, bridge]: &[Vec<Asked>; 2]) -> [Check; 2] {
    let judge = |name, found, outcome: Result<(), Failure>| match outcome {
        Ok(()) => Check::ok(name, found),
        Err(failure) => Check::not(Status::Limited, name, at(failure), advice::network(failure)),
    };
    let out = trial::network(caller, egress);
    let joined = match (caller.is_root(), out) {
        (false, _) => Check::not(
            Status::Limited,
            "network: bridge",
            "only root can connect a sandbox to a bridge",
            "run sbx as root, or write `network \"egress\"`",
        ),
        (true, Ok(())) => judge("network: bridge", "links and routes", trial::network(caller, bridge)),
        (true, Err(failure)) => judge("network: bridge", "", Err(failure)),
    };
    [judge("network: egress", "routes, redirection and transparent sockets", out), joined]
}

/// The nodes that the sandbox's own /dev is made from.
fn devices() -> Check {
    use std::os::unix::fs::FileTypeExt;
    let is_device = |name: &&str| {
        let kind = std::fs::metadata(Path::new("/dev").join(name)).map(|found| found.file_type());
        kind.is_ok_and(|kind| kind.is_char_device())
    };
    let names = ["null", "zero", "full", "random", "urandom", "tty"];
    match names.iter().find(|name| !is_device(name)) {
        None => Check::ok("devices", names.join(" ")),
        Some(name) => Check::not(
            Status::Missing,
            "devices",
            format!("`/dev/{name}` is not a device"),
            "as root: `mount -t devtmpfs devtmpfs /dev`",
        ),
    }
}
