//! What of a run could be left on the host: processes, mounts, groups.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Returns the mounts that the tests themselves see, but for those that the tests of the store make meanwhile.
pub(crate) fn mounts() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|line| !line.contains("/sbx-image-")).map(str::to_owned).collect()
}

/// Returns the processes in sbx's own process group (its init), or with the mark of the run (the command's).
pub(crate) fn processes_of(pid: u32, mark: &str) -> Vec<String> {
    let mark = format!("SBX_IT_MARK={mark}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Ok(number) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let mut words = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
        // What is dead waits for the machine's own first process, which may take its time.
        if words.next() == Some("Z") {
            continue;
        }
        let group = words.nth(1).and_then(|group| group.parse::<u32>().ok());
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let marked = environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        if group == Some(pid) || marked {
            found.push(format!("{number}: {stat}"));
        }
    }
    found
}

/// Returns the groups that sbx with this process id made and that are there.
pub(crate) fn groups_of(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("sbx-{pid}-");
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut places = BTreeSet::new();
    for line in mounts().iter().filter(|line| line.contains(" - cgroup")) {
        let mount = PathBuf::from(line.split(' ').nth(4).unwrap());
        for path in own.lines().filter_map(|line| line.splitn(3, ':').nth(2)) {
            places.insert(mount.join(path.trim_start_matches('/')));
        }
        places.insert(mount);
    }
    let entries = places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().filter_map(Result::ok);
    entries.filter(|it| it.file_name().to_string_lossy().starts_with(&prefix)).map(|it| it.path()).collect()
}
