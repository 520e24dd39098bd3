//! An image whose `/etc/passwd` is these bytes, or a link to what is outside: the account
//! that comes out is one of its lines, told by another reader.
#![no_main]

use std::os::unix::fs::symlink;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sbx::host::subordinate;
use sbx::image::{Lookup, account};
use sbx_fuzz::arena::Arena;

static ARENA: LazyLock<Arena> = LazyLock::new(|| Arena::new("passwd"));

fuzz_target!(|bytes: &[u8]| {
    let root = ARENA.fresh();
    std::fs::create_dir(root.join("etc")).expect("a directory can be made");
    let place = root.join("etc/passwd");
    match bytes.strip_prefix(b"link ") {
        // Whatever the link says, it leads to the empty file inside or nowhere.
        Some(target) if !target.is_empty() && !target.contains(&0) && target.len() < 4096 => {
            std::fs::write(root.join("file"), "").expect("a file can be written");
            use std::os::unix::ffi::OsStrExt as _;
            symlink(std::ffi::OsStr::from_bytes(target), &place).expect("a link can be made");
            for lookup in [Lookup::Name("root"), Lookup::Uid(0)] {
                assert!(!matches!(account(&root, lookup), Ok(Some(_))), "an account from outside");
            }
        }
        _ => {
            std::fs::write(&place, bytes).expect("a file can be written");
            look_up(&root, bytes);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        subordinate_ids(text);
    }
});

/// The lines of passwd(5) by `splitn` and hand: what is wanted, without the reader that is fuzzed.
fn look_up(root: &std::path::Path, bytes: &[u8]) {
    let names = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
        let name = std::str::from_utf8(line.split(|byte| *byte == b':').next()?).ok()?;
        Some(name).filter(|name| !name.is_empty())
    });
    for name in names.take(8).chain(["root", "", "x:y", "a\nroot"]) {
        if let Ok(Some(found)) = account(root, Lookup::Name(name)) {
            assert_eq!(found.name, name);
            assert!(found.uid != u32::MAX && found.gid != u32::MAX, "{found:?}");
            // A name finds the first line of that name, so the uid finds that one or an earlier one.
            match account(root, Lookup::Uid(found.uid)) {
                Ok(Some(other)) => assert_eq!(other.uid, found.uid),
                Ok(None) => panic!("{found:?} is not found by its number"),
                Err(_) => {}
            }
            let prefix = format!("{name}:");
            let mut lines = bytes.split(|byte| *byte == b'\n');
            let line = lines.find(|line| line.starts_with(prefix.as_bytes())).expect("its line is in the file");
            // What no account has, the password and the comment, need not be text.
            let line = String::from_utf8_lossy(line);
            let fields: Vec<&str> = line.split(':').collect();
            assert_eq!(fields.len(), 7, "{line}");
            assert_eq!(fields[2].trim_start_matches('0').parse().unwrap_or(0), found.uid, "{line}");
            assert_eq!(fields[3].trim_start_matches('0').parse().unwrap_or(0), found.gid, "{line}");
        }
    }
    for uid in [0, 1, 1000, 65_534, u32::MAX] {
        if let Ok(Some(found)) = account(root, Lookup::Uid(uid)) {
            assert_eq!(found.uid, uid);
        }
    }
    assert!(!matches!(account(root, Lookup::Uid(u32::MAX)), Ok(Some(_))), "the uid that means none");
}

/// The other file of this form that names users: ranges lie within the numbers that there are.
fn subordinate_ids(text: &str) {
    for range in subordinate::ranges(text, Some("root"), 0) {
        assert!(range.count > 0 && range.start.checked_add(range.count - 1).is_some(), "{range:?}");
    }
    if let Some(name) = subordinate::user_name(text, 0) {
        assert!(text.contains(name));
    }
}
