//! Random archives, extracted here and by GNU tar: what both accept, both understand alike.

use std::path::Path;
use std::process::{Command, Stdio};

use super::arena::{Arena, Census, Entry, census, dir, file, hardlink, skip, symlink, tar};

const NAMES: [&str; 11] = ["a", "b", "a/b", "a/c", "b/d", "c", "c/e", "l", "l/x", "m", "a/b/c"];
/// None with `..`: GNU tar makes those at its very end, over what came after them.
const TARGETS: [&str; 6] = ["a", "b", "c", "l", "a/b", "nowhere"];

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

fn member(random: &mut Random, number: usize) -> Vec<u8> {
    let name = NAMES[random.below(NAMES.len())];
    match random.below(8) {
        0..=1 => file(name, &format!("contents {number}")),
        2..=4 => dir(name),
        5 => symlink(name, TARGETS[random.below(TARGETS.len())]),
        6 => hardlink(name, NAMES[random.below(NAMES.len())]),
        _ => Entry::new(b'6', name).bytes(),
    }
}

/// Returns the tree without the times of directories, which differ for those that no member describes.
fn comparable(root: &Path) -> Census {
    let mut tree = census(root);
    tree.retain(|path, _| !path.as_os_str().is_empty());
    for (path, line) in &mut tree {
        if std::fs::symlink_metadata(root.join(path)).unwrap().is_dir() {
            line.truncate(line.find(' ').unwrap());
        }
    }
    tree
}

#[test]
fn gnu_tar_sees_the_same_tree() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut compared = 0;
    for _ in 0..120 {
        let arena = Arena::new();
        let members: Vec<Vec<u8>> = (0..=random.below(8)).map(|number| member(&mut random, number)).collect();
        let bytes = tar(&members);
        let ours = arena.locate(&bytes);
        let other = arena.path("other");
        std::fs::create_dir(&other).unwrap();
        let theirs = Command::new("sh")
            .args(["-c", "umask 022 && exec tar -xpf ../archive"])
            .current_dir(&other)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if theirs.code() == Some(127) {
            return skip("there is no tar to compare with");
        }
        if let (Ok(ours), true) = (ours, theirs.success()) {
            let heads: Vec<String> = members.iter().map(|head| head[..170].escape_ascii().to_string()).collect();
            assert_eq!(comparable(&ours.root), comparable(&other), "{heads:#?}");
            compared += 1;
        }
    }
    assert!(compared > 30, "only {compared} archives were accepted by both");
}
