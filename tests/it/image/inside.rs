//! Looking into an image: which paths are missing, who an account is.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use sbx::image::{Found, Lookup, Source, account, locate, look, memberships};
use sbx::units::AbsPath;

use super::arena::Arena;

fn paths(texts: &[&str]) -> Vec<AbsPath> {
    texts.iter().map(|text| AbsPath::new(text).unwrap()).collect()
}

#[test]
fn missing_paths_are_looked_for_inside_the_image() {
    let arena = Arena::new();
    let root = arena.path("root");
    std::fs::create_dir_all(root.join("usr/bin")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    for (link, target) in [("bin", "/usr/bin"), ("etc", "/canary"), ("up", "../../../etc"), ("self", "/proc/self")] {
        symlink(target, root.join(link)).unwrap();
    }
    let wanted = paths(&["/", "/usr", "/bin", "/etc", "/etc/passwd", "/up", "/self", "/new/dir", "/file"]);
    let lacking = paths(&["/etc", "/etc/passwd", "/up", "/self", "/new/dir"]);
    let missing: Vec<AbsPath> = wanted.into_iter().filter(|path| look(&root, path) == Found::Missing).collect();
    assert_eq!(missing, lacking);
    assert_eq!(look(&root, &paths(&["/bin"])[0]), Found::Directory);
    assert_eq!(look(&root, &paths(&["/file"])[0]), Found::File);
    symlink("ring", root.join("ring")).unwrap();
    for (path, errno) in [("/file/below", nix::errno::Errno::ENOTDIR), ("/ring", nix::errno::Errno::ELOOP)] {
        assert_eq!(look(&root, &paths(&[path])[0]), Found::Unknown(errno as i32), "{path}");
    }
    arena.check_canary();
}

fn passwd(root: &Path, text: &[u8]) {
    std::fs::create_dir_all(root.join("etc")).unwrap();
    drop(std::fs::remove_file(root.join("etc/passwd")));
    std::fs::write(root.join("etc/passwd"), text).unwrap();
}

#[test]
fn accounts_are_found_by_name_and_by_number() {
    let arena = Arena::new();
    let root = arena.path("root");
    std::fs::create_dir(&root).unwrap();
    assert_eq!(account(&root, Lookup::Uid(0)).unwrap(), None);
    passwd(&root, b"root:x:0:0:root:/root:/bin/bash\n+::::::\nsmall\nciu:x:1000:100:::\nciu:x:7:7::/:/x\n");
    let found = account(&root, Lookup::Name("root")).unwrap().unwrap();
    assert_eq!((found.uid, found.gid, found.home.as_str(), found.shell.as_str()), (0, 0, "/root", "/bin/bash"));
    let found = account(&root, Lookup::Name("ciu")).unwrap().unwrap();
    assert_eq!((found.uid, found.gid, found.home.as_str(), found.shell.as_str()), (1000, 100, "/", "/bin/sh"));
    assert_eq!(account(&root, Lookup::Uid(1000)).unwrap().unwrap().name, "ciu");
    for absent in [Lookup::Name("nobody"), Lookup::Name(""), Lookup::Name("roo"), Lookup::Uid(5)] {
        assert_eq!(account(&root, absent).unwrap(), None);
    }
}

#[test]
fn hostile_account_files_are_errors_and_never_root() {
    let arena = Arena::new();
    let root = arena.path("root");
    for line in [
        "ci:x:4294967296:0::/:/x",
        "ci:x:18446744073709551616:0::/:/x",
        "ci:x:4294967295:0::/:/x",
        "ci:x:-0:0::/:/x",
        "ci:x:+0:0::/:/x",
        "ci:x:0x0:0::/:/x",
        "ci:x: 0:0::/:/x",
        "ci:x::0::/:/x",
        "ci:x:1:::/:/x",
        "ci:x:1:2",
        "ci:x:1:2::relative:/x",
        "ci:x:1:2::/../up:/x",
        "ci:x:1:2::/:/x:more",
        "ci",
    ] {
        passwd(&root, format!("other:x:5:5::/:/x\n{line}\n").as_bytes());
        let error = account(&root, Lookup::Name("ci")).expect_err(line);
        assert!(error.to_string().contains("line 2 of `/etc/passwd`"), "{error}");
        assert_eq!(account(&root, Lookup::Uid(0)).unwrap(), None, "{line} became root");
    }
    // Line breaks in a name do not make a second account.
    assert_eq!(account(&root, Lookup::Name("other:x:5:5::/:/x\nci")).unwrap(), None);
}

#[test]
fn an_account_file_that_is_no_file_neither_hangs_nor_fills_the_memory() {
    let arena = Arena::new();
    let root = arena.path("root");
    passwd(&root, b"");
    let path = root.join("etc/passwd");
    let started = Instant::now();
    let refused = |word: &str| {
        let message = account(&root, Lookup::Name("ci")).expect_err(word).to_string();
        assert!(message.contains(word), "{message}");
        std::fs::remove_file(&path).unwrap();
    };
    std::fs::File::options().write(true).open(&path).unwrap().set_len(2 << 30).unwrap();
    refused("larger than 1048576 bytes");
    std::fs::write(&path, "ci:x:1:1:".to_owned() + &"a,".repeat(1_000_000)).unwrap();
    refused("larger than 1048576 bytes");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    refused("not a regular file");
    symlink("passwd", &path).unwrap();
    refused("ELOOP");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    refused("not a regular file");
    drop(socket);
    // These lead to files of the host, were they followed there.
    let victim = arena.path("canary").join("passwd");
    for target in [victim.as_path(), Path::new("/dev/zero"), Path::new("../../canary/passwd")] {
        symlink(target, &path).unwrap();
        assert_eq!(account(&root, Lookup::Name("root")).unwrap(), None, "{}", target.display());
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::create_dir(&path).unwrap();
    assert!(account(&root, Lookup::Uid(0)).unwrap_err().to_string().contains("not a regular file"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn sources_of_the_wrong_kind_are_told_apart() {
    let arena = Arena::new();
    let (store, file, none) = (arena.store(), arena.archive("file", b"x"), arena.path("none"));
    let fifo = arena.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let canary = arena.path("canary");
    let digest = "0".repeat(64);
    for (source, digest, word) in [
        (Source::Path(&none), None, "ENOENT"),
        (Source::Directory(&file), None, "is not a directory"),
        (Source::Tar(&canary), None, "is a directory, not an archive"),
        (Source::Path(&fifo), None, "neither a directory nor an archive"),
        (Source::Path(&canary), Some(digest.as_str()), "only archives can be pinned"),
        (Source::Path(&canary), Some("sha256:x"), "is not a SHA-256 digest"),
        (Source::Tar(&file), Some(&digest.replace('0', "A")), "is not a SHA-256 digest"),
        (Source::Tar(&file), Some("../../../../etc/passwd"), "is not a SHA-256 digest"),
    ] {
        let message = locate(source, digest, || Ok(store.clone()), &mut |_| {}).unwrap_err().to_string();
        assert!(message.contains(word), "{message}");
    }
    let image = locate(Source::Path(&canary), None, || Ok(store.clone()), &mut |_| panic!("read something")).unwrap();
    assert_eq!((image.root.as_path(), image.digest), (canary.as_path(), None));
    assert!(!arena.path("store").exists(), "a directory needs no store");
}

#[test]
fn groups_are_those_that_name_the_member() {
    let arena = Arena::new();
    let root = arena.path("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    let group = |text: &str| std::fs::write(root.join("etc/group"), text).unwrap();
    let none = Vec::<u32>::new();
    assert_eq!(memberships(&root, "ci").unwrap(), none);
    group("ci:x:1000:\nvideo:x:44:ann,ci\naudio:x:29:ci\nother:x:5:cia,anci\n+:::\nagain:x:44:ci\nsmall\nlast:x:7:ci");
    assert_eq!(memberships(&root, "ci").unwrap(), [7, 29, 44]);
    for nobody in ["bob", "", "ann,ci", "c"] {
        assert_eq!(memberships(&root, nobody).unwrap(), none, "{nobody}");
    }
    for line in ["a:x::ci", "a:x:-1:ci", "a:x:4294967295:ci", "a:x:4294967296:ci", "a:x:0x1:ci", "a:x:1:ci:more"] {
        group(&format!("fine:x:1:ci\n{line}\n"));
        let error = memberships(&root, "ci").expect_err(line);
        assert!(error.to_string().contains("line 2 of `/etc/group`"), "{error}");
        assert_eq!(memberships(&root, "ann").unwrap(), none, "{line} is another's");
    }
    let many = |count: u32| group(&(0..count).map(|gid| format!("::{gid}:c\n")).collect::<String>());
    many(65_536);
    assert_eq!(memberships(&root, "c").unwrap().len(), 65_536);
    many(65_537);
    assert!(memberships(&root, "c").unwrap_err().to_string().contains("`c` has 65537 groups"));
    group(&format!("a:x:1:ci\n{}", " ".repeat(1 << 20)));
    assert!(memberships(&root, "ci").unwrap_err().to_string().contains("larger than"));
}
