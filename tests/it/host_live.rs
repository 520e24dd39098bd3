//! The discovery in processes of its own: as another user and in groups that the test
//! makes and removes. They need root and a v1 hierarchy, and say so where they skip.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a skip is loud, and a discovery in another process answers by print"
)]

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use sbx::host::membership::parse_self_cgroup;
use sbx::host::probe::{Depth, caller, probe};
use sbx::host::{Controller, Version};

const NOBODY: u32 = 65534;

/// Not a test of its own: what the tests below start as another process. It prints a line
/// a controller.
#[test]
#[ignore = "started by the other tests of this file"]
fn print_discovery() {
    let depth = match std::env::var_os("SBX_TEST_PARENT") {
        Some(parent) => Depth::CgroupsUnder(PathBuf::from(parent)),
        None => Depth::Cgroups(Controller::ALL.to_vec()),
    };
    let cgroups = probe(&depth).cgroups;
    for controller in Controller::ALL {
        match cgroups.find(controller) {
            Ok(hierarchy) => println!("= {controller} found {}", hierarchy.parent.display()),
            Err(Some(refusal)) => {
                println!("= {controller} refused {:?} {} | {}", refusal.errno, refusal.why, refusal.hint)
            }
            Err(None) => println!("= {controller} unknown"),
        }
    }
}

/// Runs the discovery after the shell commands `before`, as nobody.
fn discover_as_nobody(before: &str) -> Vec<String> {
    let exe = std::env::current_exe().expect("path of the test program");
    let script = format!(
        "{before}\nexec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$0\" --ignored --nocapture --exact host_live::print_discovery"
    );
    let output = Command::new("/bin/sh").arg("-euc").arg(script).arg(exe).output().expect("start /bin/sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| Some(line.split_once("= ")?.1.to_owned())).collect()
}

fn line(lines: &[String], controller: Controller) -> &str {
    let prefix = format!("{controller} ");
    lines.iter().find(|line| line.starts_with(&prefix)).unwrap_or_else(|| panic!("no line of {controller}: {lines:#?}"))
}

/// Returns whether the tests can run, and says why not.
fn is_possible() -> bool {
    let memberships = parse_self_cgroup(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    let why = if !caller().is_root() {
        "needs root"
    } else if !memberships.iter().any(|member| member.version == Version::V1) {
        "needs a v1 hierarchy"
    } else if !Path::new("/sys/fs/cgroup/pids/tasks").exists() {
        "needs the v1 pids hierarchy at its usual place"
    } else {
        return true;
    };
    crate::skip(why);
    false
}

#[test]
fn root_works_below_its_own_groups() {
    if !is_possible() {
        return;
    }
    let memberships = parse_self_cgroup(&fs::read_to_string("/proc/self/cgroup").expect("read /proc/self/cgroup"));
    let cgroups = probe(&Depth::Cgroups(vec![Controller::Memory, Controller::Pids, Controller::Cpu])).cgroups;
    for controller in [Controller::Memory, Controller::Pids, Controller::Cpu] {
        let Some(member) = memberships.iter().find(|member| member.controllers.contains(&controller)) else { continue };
        let hierarchy = cgroups.find(controller).unwrap_or_else(|refusal| panic!("{controller}: {refusal:?}"));
        assert_eq!(hierarchy.version, Version::V1);
        let path = member.path.trim_end_matches('/');
        assert!(hierarchy.parent.ends_with(path.trim_start_matches('/')), "{hierarchy:?} for {member:?}");
        let probe = hierarchy.parent.join(format!("sbx-test-{}", std::process::id()));
        fs::create_dir(&probe).expect("make a group below the parent that was found");
        assert!(probe.join("tasks").exists(), "{} is not a v1 group", probe.display());
        fs::remove_dir(&probe).expect("remove the group");
    }
}

#[test]
fn nobody_is_refused_with_hints() {
    if !is_possible() {
        return;
    }
    let lines = discover_as_nobody("");
    for controller in [Controller::Memory, Controller::Pids, Controller::Cpu] {
        let line = line(&lines, controller);
        assert!(line.contains("refused Some(13)"), "{line}");
        assert!(line.contains("chown -R USER"), "{line}");
    }
}

/// A v1 group that is removed when the test ends, also by a panic.
struct Delegated(PathBuf);

impl Delegated {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(format!("/sys/fs/cgroup/pids/sbx-test-{}-{name}", std::process::id()));
        fs::create_dir(&dir).expect("make a v1 group");
        let group = Self(dir);
        for path in [group.0.clone(), group.0.join("tasks"), group.0.join("cgroup.procs")] {
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("hand the group over");
        }
        group
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("{} is left: {error}", self.0.display());
        }
    }
}

#[test]
fn a_v1_group_of_nobody_is_found_from_inside() {
    if !is_possible() {
        return;
    }
    let group = Delegated::new("inside");
    let lines = discover_as_nobody(&format!("echo $$ > {}/tasks", group.0.display()));
    assert_eq!(line(&lines, Controller::Pids), format!("pids found {}", group.0.display()));
    assert!(line(&lines, Controller::Memory).contains("refused"), "{lines:#?}");
}

#[test]
fn a_given_parent_is_the_only_one() {
    if !is_possible() {
        return;
    }
    let group = Delegated::new("given");
    let name = group.0.file_name().expect("name").to_string_lossy().into_owned();
    for parent in [group.0.display().to_string(), format!("/{name}")] {
        let lines = discover_as_nobody(&format!("export SBX_TEST_PARENT={parent}"));
        assert_eq!(line(&lines, Controller::Pids), format!("pids found {}", group.0.display()));
        assert!(line(&lines, Controller::Memory).contains("there is no group"), "{lines:#?}");
    }
    let lines = discover_as_nobody("export SBX_TEST_PARENT=/sys/fs/cgroup/pids/../../../../etc");
    assert!(line(&lines, Controller::Pids).contains("there is no group"), "{lines:#?}");
}
