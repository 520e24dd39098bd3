//! What a good archive becomes.

use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use sbx::image::{Image, Kind, Skipped};

use super::arena::{Arena, Entry, dir, file, hardlink, is_root, name, pax, run, sample, skip, symlink, tar};

fn mode(image: &Image, path: &str) -> u32 {
    std::fs::symlink_metadata(image.root.join(path)).unwrap().mode() & 0o7777
}

fn text(image: &Image, path: &str) -> String {
    std::fs::read_to_string(image.root.join(path)).unwrap()
}

#[test]
fn every_kind_of_member_is_placed_with_its_attributes() {
    let arena = Arena::new();
    let image = arena.locate(&sample()).unwrap();
    assert_eq!((image.kind, image.skipped), (Kind::Tar, Skipped::default()));
    assert_eq!(text(&image, "etc/os-release"), "NAME=test\n");
    assert_eq!(std::fs::read_link(image.root.join("bin")).unwrap(), Path::new("usr/bin"));
    assert_eq!((mode(&image, ""), mode(&image, "usr/bin/tool"), mode(&image, "closed")), (0o755, 0o755, 0));
    assert_eq!(mode(&image, "fifo"), 0o640);
    assert!(std::fs::symlink_metadata(image.root.join("fifo")).unwrap().file_type().is_fifo());
    let (tool, other) = ("usr/bin/tool", "usr/bin/other");
    let inode = |path: &str| std::fs::metadata(image.root.join(path)).unwrap().ino();
    assert_eq!(inode(tool), inode(other));
    for path in ["", "etc", "etc/os-release", "bin", "fifo", "usr/bin", tool, "closed"] {
        let found = std::fs::symlink_metadata(image.root.join(path)).unwrap();
        assert_eq!(found.mtime(), 1_000_000_000, "{path}");
        let owner = if is_root() { (12, 34) } else { (sbx::sys::file::effective_uid(), found.gid()) };
        assert_eq!((found.uid(), found.gid()), owner, "{path}");
    }
}

/// Large files are written by another thread than the one that makes them; which of the two it was does not show.
#[test]
fn files_of_all_sizes_are_whole_whatever_comes_behind_them() {
    let arena = Arena::new();
    let bytes =
        |size: usize| (0..size).map(|at| b'a' + u8::try_from((at / 7 + size) % 26).unwrap()).collect::<Vec<_>>();
    let sizes = [0, 1, 4096, (16 << 10) - 1, 16 << 10, 300_000, 1 << 20, 3 << 20];
    let text = |size| String::from_utf8(bytes(size)).unwrap();
    let mut members = Vec::new();
    // One that a later one replaces is still being written then.
    members.push(file("replaced", &text(2 << 20)));
    members.push(file("replaced", "short"));
    for (size, round) in sizes.iter().flat_map(|size| (0..20).map(move |round| (*size, round))) {
        members.push(file(&format!("{size}.{round}"), &text(size)));
        members.push(hardlink(&format!("{size}.{round}.link"), &format!("{size}.{round}")));
    }
    let image = arena.locate(&tar(&members)).unwrap();
    assert_eq!(std::fs::read(image.root.join("replaced")).unwrap(), b"short");
    for (size, round) in sizes.iter().flat_map(|size| (0..20).map(move |round| (*size, round))) {
        let path = image.root.join(format!("{size}.{round}"));
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.len(), found.nlink(), found.mtime()), (size as u64, 2, 1_000_000_000), "{size}.{round}");
        assert!(std::fs::read(&path).unwrap() == bytes(size), "{size}.{round}");
    }
    assert_eq!(sbx::image::stock::verify(&arena.store(), &[]).unwrap(), []);
}

#[test]
fn an_owner_and_a_time_that_are_left_blank_are_0() {
    let arena = Arena::new();
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..1].copy_from_slice(b"x");
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    let image = arena.locate(&tar(&[header.as_bytes().to_vec()])).unwrap();
    let found = std::fs::metadata(image.root.join("x")).unwrap();
    let owner = if is_root() { (0, 0) } else { (sbx::sys::file::effective_uid(), found.gid()) };
    assert_eq!((found.mtime(), found.uid(), found.gid()), (0, owner.0, owner.1));
}

#[test]
fn members_go_through_the_links_of_a_merged_usr() {
    let arena = Arena::new();
    let image = arena
        .locate(&tar(&[
            symlink("bin", "usr/bin"),
            symlink("lib", "/usr/lib"),
            symlink("var/run", "../run"),
            file("bin/sh", "shell"),
            file("lib/x86/libc.so", "libc"),
            file("var/run/lock/pid", "1"),
            file("run/lock/other", "2"),
        ]))
        .unwrap();
    assert_eq!(text(&image, "usr/bin/sh"), "shell");
    assert_eq!(text(&image, "usr/lib/x86/libc.so"), "libc");
    assert_eq!((text(&image, "run/lock/pid"), text(&image, "run/lock/other")), ("1".into(), "2".into()));
    assert_eq!(mode(&image, "usr/lib/x86"), 0o755);
}

#[test]
fn later_members_replace_earlier_ones() {
    let arena = Arena::new();
    let image = arena
        .locate(&tar(&[
            file("a", "old"),
            file("a", "new"),
            file("b", "file"),
            symlink("b", "a"),
            file("b", "again a file"),
            dir("c"),
            file("c", "no longer a directory"),
            file("d", "file"),
            dir("d"),
            file("d/e", "inside"),
            hardlink("f", "a"),
            hardlink("f", "f"),
            file("f", "apart"),
        ]))
        .unwrap();
    assert_eq!((text(&image, "a"), text(&image, "b")), ("new".into(), "again a file".into()));
    assert_eq!((text(&image, "c"), text(&image, "d/e")), ("no longer a directory".into(), "inside".into()));
    assert_eq!(text(&image, "f"), "apart");
}

#[test]
fn devices_privileges_and_foreign_attributes_are_left_out_and_counted() {
    let arena = Arena::new();
    let image = arena
        .locate(&tar(&[
            Entry::new(b'3', "dev/null").bytes(),
            Entry::new(b'4', "dev/sda").bytes(),
            Entry::new(b'3', "var/null").bytes(),
            Entry::new(b'4', "dev").bytes(),
            Entry::new(b'0', "su").mode(0o6755).bytes(),
            Entry::new(b'5', "shared").mode(0o2775).bytes(),
            pax(&[
                ("SCHILY.xattr.user.kept", b"line\nbreak"),
                ("SCHILY.xattr.user.overlay.opaque", b"y"),
                ("SCHILY.xattr.security.capability", b"\x01\x00\x00\x02"),
                ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ]),
            file("attributes", ""),
        ]))
        .unwrap();
    assert!(!image.root.join("dev/null").exists() && !image.root.join("dev/sda").exists());
    assert_eq!((mode(&image, "su"), mode(&image, "shared")), (0o755, 0o2775));
    let mut buffer = [0u8; 64];
    let path = image.root.join("attributes");
    match rustix::fs::getxattr(&path, "user.kept", &mut buffer) {
        Ok(length) => {
            assert_eq!(&buffer[..length], b"line\nbreak");
            assert_eq!(image.skipped, Skipped { devices: 2, set_id: 1, attributes: 3 });
        }
        Err(_) => {
            skip("the file system of the tests keeps no attributes");
            assert_eq!(image.skipped, Skipped { devices: 2, set_id: 1, attributes: 4 });
        }
    }
    let length = rustix::fs::listxattr(&path, &mut buffer).unwrap_or(0);
    assert!(!buffer[..length].escape_ascii().to_string().contains("overlay"));
}

#[test]
fn pax_headers_rule_names_links_owners_and_times() {
    let arena = Arena::new();
    let long = format!("{}/{}", "d".repeat(200), "f\n".repeat(100));
    let image = arena
        .locate(&tar(&[
            pax(&[("path", long.as_bytes()), ("mtime", b"-1.25"), ("comment", b"a = b\n\n")]),
            file("short", "long"),
            pax(&[("linkpath", long.as_bytes()), ("uid", b"7"), ("gid", b"8"), ("mtime", b"5.000000001")]),
            symlink("link", "short"),
        ]))
        .unwrap();
    let found = std::fs::metadata(image.root.join(&long)).unwrap();
    assert_eq!((found.mtime(), found.mtime_nsec()), (-2, 750_000_000));
    assert_eq!(std::fs::read_link(image.root.join("link")).unwrap(), Path::new(&long));
    let link = std::fs::symlink_metadata(image.root.join("link")).unwrap();
    assert_eq!((link.mtime(), link.mtime_nsec()), (5, 1));
    if is_root() {
        assert_eq!((link.uid(), link.gid()), (7, 8));
    }
}

/// A tree with what real root file systems have: deep names, odd names, holes, hard links.
fn real_tree(at: &Path) {
    let make = |path: &Path| std::fs::create_dir_all(path).unwrap();
    make(&at.join("usr/bin"));
    make(&at.join("usr/lib/x86_64-linux-gnu"));
    make(&at.join("d".repeat(150)).join("e".repeat(150)));
    for (link, target) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "/usr/lib"), ("dangling", "/nowhere")] {
        std::os::unix::fs::symlink(target, at.join(link)).unwrap();
    }
    std::fs::write(at.join("usr/bin/sh"), vec![7u8; 70_000]).unwrap();
    std::fs::hard_link(at.join("usr/bin/sh"), at.join("usr/bin/bash")).unwrap();
    std::fs::write(at.join(name(b"caf\xe9")), "not UTF-8").unwrap();
    std::fs::write(at.join("d".repeat(150)).join("e".repeat(150)).join("long"), "long").unwrap();
    let holes = std::fs::File::create(at.join("holes")).unwrap();
    for piece in 0..9 {
        holes.write_all_at(b"data", piece * (1 << 20)).unwrap();
    }
    holes.set_len(10 << 20).unwrap();
}

#[test]
fn archives_of_gnu_tar_come_out_as_they_went_in() {
    let arena = Arena::new();
    let tree = arena.path("tree");
    real_tree(&tree);
    let posix = |version| ["--format=posix", version, "--sparse"];
    for options in [
        ["--format=gnu", "--xattrs", "--sparse"],
        ["--format=gnu", "--no-xattrs", "--numeric-owner"],
        ["--format=posix", "--xattrs", "--numeric-owner"],
        posix("--sparse-version=0.0"),
        posix("--sparse-version=0.1"),
        posix("--sparse-version=1.0"),
    ] {
        let path = arena.path("real.tar");
        let out = path.to_str().unwrap();
        if !run(&tree, "tar", &[options[0], options[1], options[2], "-cf", out, "."]) {
            return;
        }
        let bytes = std::fs::read(&path).unwrap();
        let image = arena.locate(&bytes).unwrap();
        let (was, is) = (super::arena::census(&tree), super::arena::census(&image.root));
        let gnu = options[0] == "--format=gnu";
        let sparse = options[2] == "--sparse";
        for (path, line) in &was {
            // The GNU format keeps whole seconds, the posix one all of the time.
            let seen = is.get(path).unwrap_or_else(|| panic!("{} is missing", path.display()));
            let words = |line: &str| {
                let mut words: Vec<String> = line.splitn(4, ' ').map(str::to_owned).collect();
                if gnu {
                    let seconds = words[2].find('.').unwrap();
                    words[2].truncate(seconds);
                }
                words
            };
            assert_eq!(words(line), words(seen), "{options:?} {}", path.display());
        }
        assert_eq!(was.len(), is.len());
        if sparse {
            let blocks = std::fs::metadata(image.root.join("holes")).unwrap().blocks();
            assert!(blocks * 512 < 1 << 20, "the holes were filled: {blocks} blocks");
        }
    }
}

#[test]
fn names_and_chains_of_links_are_kept_up_to_the_limits_of_the_kernel() {
    let arena = Arena::new();
    for length in [4094, 4095, 4096] {
        let start = "ddddddd/".repeat(480);
        let name = format!("{start}{}", "f".repeat(length - start.len()));
        let members = [pax(&[("path", name.as_bytes())]), file("short", "deep down")];
        if length > 4095 {
            let message = arena.refused(&tar(&members));
            assert!(message.contains("longer than 4095 bytes"), "{message}");
            continue;
        }
        let image = arena.locate(&tar(&members)).unwrap();
        let root = std::fs::File::open(&image.root).unwrap();
        let place = sbx::sys::file::open_in_root(&root, name.as_ref(), sbx::sys::file::Access::Read).unwrap();
        assert_eq!(std::io::read_to_string(std::fs::File::from(place)).unwrap(), "deep down");
        // As if the extraction had been killed at its end.
        std::fs::rename(image.root.parent().unwrap(), arena.path("store").join("tmp/dead")).unwrap();
        let found = arena.store().collect().unwrap();
        assert!(found.len() == 1 && found[0].error.is_none(), "{found:?}");
        assert_eq!(arena.left_in("tmp"), Vec::<String>::new());
    }
    let mut chain = vec![dir("d"), symlink("l1", "d")];
    chain.extend((2..=41).map(|number| symlink(&format!("l{number}"), &format!("l{}", number - 1))));
    chain.push(file("l40/f", "end"));
    assert_eq!(text(&arena.locate(&tar(&chain)).unwrap(), "d/f"), "end");
    chain.push(file("l41/g", "beyond"));
    assert!(arena.refused(&tar(&chain)).contains("ELOOP"));
}
