//! Archives made to get out of the store or to mean two things at once. Each line of a
//! table is an attack that worked somewhere; the canary is checked after each.

use super::arena::{Arena, Entry, dir, file, hardlink, pax, symlink, tar};

#[test]
fn links_that_lead_out_lead_into_the_tree() {
    let arena = Arena::new();
    let canary = arena.path("canary").to_str().unwrap().to_owned();
    let up = "../".repeat(30);
    let relative = format!("{up}{}", &canary[1..]);
    for target in
        [canary.as_str(), relative.as_str(), "/proc/self/cwd/canary", "/proc/self/root/etc", "../../../canary"]
    {
        let members = [
            symlink("out", target),
            file("out/file", "overwritten"),
            file("out/new", "planted"),
            Entry::new(b'5', "out/deep").mode(0o777).bytes(),
            symlink("out/link", "/etc/shadow"),
            file("out/link", "through a planted link"),
            Entry::new(b'6', "out/fifo").bytes(),
            Entry::new(b'5', "out").mode(0o777).bytes(),
        ];
        for count in 2..members.len() {
            let image = arena.locate(&tar(&members[..count])).unwrap_or_else(|error| panic!("{target}: {error}"));
            let real = std::fs::canonicalize(image.root.parent().unwrap()).unwrap();
            assert!(real.starts_with(std::fs::canonicalize(arena.path("store")).unwrap()));
        }
        // The last member replaces the link itself, and the archive is still inside.
        arena.locate(&tar(&[members[0].clone(), members[7].clone(), file("out/file", "x")])).unwrap();
    }
}

#[test]
fn a_link_at_the_end_of_a_name_is_replaced_not_followed() {
    let arena = Arena::new();
    let victim = arena.path("canary").join("file");
    let victim = victim.to_str().unwrap();
    let image = arena
        .locate(&tar(&[
            symlink("a", victim),
            file("a", "mine"),
            symlink("b", victim),
            Entry::new(b'6', "b").bytes(),
            symlink("c", victim),
            Entry::new(b'5', "c").mode(0o777).bytes(),
            symlink("d", victim),
            hardlink("e", "d"),
            file("e", "mine too"),
        ]))
        .unwrap();
    assert_eq!(std::fs::read_to_string(image.root.join("a")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(image.root.join("e")).unwrap(), "mine too");
    assert!(std::fs::symlink_metadata(image.root.join("d")).unwrap().is_symlink());
}

#[test]
fn archives_that_are_refused() {
    let arena = Arena::new();
    let victim = arena.path("canary").join("file");
    let victim = victim.to_str().unwrap();
    let lying = [pax(&[("size", b"0")]), file("lie", &"x".repeat(512))];
    let pair = |first: Vec<u8>, second: Vec<u8>| vec![first, second];
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("holds `..`", vec![file("../escape", "x")]),
        ("holds `..`", vec![file("a/../../escape", "x")]),
        ("holds `..`", vec![file("/..", "x")]),
        ("holds `..`", vec![hardlink("link", "../canary/file")]),
        ("not in the archive", vec![hardlink("link", "/etc/passwd")]),
        ("not in the archive", vec![hardlink("link", victim)]),
        ("not in the archive", pair(symlink("out", "/etc"), hardlink("link", "out/passwd"))),
        ("is a directory", pair(dir("d"), hardlink("link", "d"))),
        ("which is the root", vec![hardlink("link", "/")]),
        ("root that is not a directory", vec![symlink("./", "/etc")]),
        ("root that is not a directory", vec![symlink("/", victim)]),
        ("root that is not a directory", vec![file(".", "x")]),
        ("root that is not a directory", vec![hardlink("", "a")]),
        (
            "that an earlier member filled",
            vec![dir("d"), file("d/f", "x"), symlink("d", "/etc"), file("d/passwd", "x")],
        ),
        ("ELOOP", vec![symlink("l", "l"), file("l/f", "x")]),
        ("ELOOP", vec![symlink("l", "m"), symlink("m", "l"), file("l/f", "x")]),
        ("ENOTDIR", pair(file("f", "x"), file("f/g", "x"))),
        ("ENOTDIR", vec![file("f", "x"), symlink("l", "f/g"), file("l/h", "x")]),
        ("name of a directory", vec![file("f/", "x")]),
        ("do not end", vec![symlink("a", "/b/x/../../a"), file("a/f", "x")]),
        ("leads nowhere", vec![symlink("l", "")]),
        ("unknown type `V`", vec![Entry::new(b'V', "label").bytes()]),
        ("unknown type `M`", vec![Entry::new(b'M', "part").bytes()]),
        ("has contents but is not a file", vec![Entry::new(b'5', "d").data(b"x").bytes()]),
        ("has contents but is not a file", vec![Entry::new(b'2', "l").link("x").data(&[b'y'; 512]).bytes()]),
        ("sizes in the two headers", lying.to_vec()),
        ("malformed PAX", pair(Entry::new(b'x', "p").data(b"99 path=x\n").bytes(), file("f", ""))),
        ("malformed PAX", pair(Entry::new(b'x', "p").data(b"8 path=xy").bytes(), file("f", ""))),
        ("malformed PAX", pair(Entry::new(b'x', "p").data(b"\n").bytes(), file("f", ""))),
        ("twice", pair(pax(&[("path", b"a"), ("path", b"b")]), file("f", ""))),
        ("NUL", pair(pax(&[("path", b"a\0b")]), file("f", ""))),
        ("not a number", pair(pax(&[("uid", b"-1")]), file("f", ""))),
        ("which no file can have", pair(pax(&[("uid", b"4294967295")]), file("f", ""))),
        ("which no file can have", pair(pax(&[("gid", b"4294967296")]), file("f", ""))),
        ("not a number", pair(pax(&[("uid", b"99999999999999999999999")]), file("f", ""))),
        ("not a time", pair(pax(&[("mtime", b"1.x")]), file("f", ""))),
        ("is unknown", pair(pax(&[("tomorrow", b"1")]), file("f", ""))),
        ("records that do not go together", pair(pax(&[("GNU.sparse.major", b"1")]), file("f", ""))),
        ("has the unknown record", pair(pax(&[("GNU.sparse.other", b"1")]), file("f", ""))),
        ("is sparse but is not a file", pair(pax(&[("GNU.sparse.major", b"1")]), dir("f"))),
        ("not supported", vec![Entry::new(b'g', "g").data(b"23 GNU.sparse.offset=0\n").bytes(), file("f", "")]),
        ("two headers of one type", vec![pax(&[("path", b"a")]), pax(&[("path", b"b")]), file("f", "")]),
        (
            "a GNU and a PAX name",
            vec![Entry::new(b'L', "L").data(b"long\0").bytes(), pax(&[("path", b"p")]), file("f", "")],
        ),
        ("member to come", vec![pax(&[("path", b"a")])]),
        ("not supported", vec![Entry::new(b'g', "g").data(b"12 path=abc\n").bytes(), file("f", "")]),
    ];
    for (word, members) in cases {
        let message = arena.refused(&tar(&members));
        assert!(message.contains(word), "expected `{word}` in: {message}");
    }
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let arena = Arena::new();
    let sparse = |pieces: &[(u64, u64)], stored: usize, real: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.as_old_mut().name[..1].copy_from_slice(b"s");
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(stored as u64);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(real);
        for (slot, (offset, length)) in gnu.sparse.iter_mut().zip(pieces) {
            slot.set_offset(*offset);
            slot.set_length(*length);
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.resize(512 + stored.next_multiple_of(512), b'x');
        bytes
    };
    let good = arena.locate(&tar(&[sparse(&[(512, 512), (4096, 10)], 522, 8192)])).unwrap();
    let data = std::fs::read(good.root.join("s")).unwrap();
    assert_eq!((data.len(), data[511], data[512], data[1024], data[4105], data[4106]), (8192, 0, b'x', 0, b'x', 0));
    for (pieces, stored, real) in [
        (&[(0, 512), (256, 512)][..], 1024, 4096),
        (&[(0, 512)], 1024, 4096),
        (&[(0, 1024)], 512, 4096),
        (&[(4096, 512)], 512, 4096),
        (&[(0, 10), (512, 512)], 522, 4096),
        (&[(u64::MAX >> 1, u64::MAX >> 1), (u64::MAX, 512)], 512, 4096),
    ] {
        let message = arena.refused(&tar(&[sparse(pieces, stored, real)]));
        assert!(message.contains("sparse"), "{pieces:?}: {message}");
    }
    let message = arena.refused(&tar(&[sparse(&[(0, 512)], 512, 1 << 60)]));
    assert!(message.contains("more than"), "{message}");
}

/// The maps of PAX, in its three versions: those that are right, and those that are not.
#[test]
fn sparse_maps_of_pax_that_lie_are_refused() {
    let arena = Arena::new();
    let member = |records: &[(&str, &str)], map: &str, stored: usize| {
        let records: Vec<(&str, &[u8])> = records.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
        let mut data = map.as_bytes().to_vec();
        data.resize(data.len().next_multiple_of(512) + stored, b'x');
        data[map.len()..map.len().next_multiple_of(512)].fill(0);
        tar(&[pax(&records), Entry::new(b'0', "GNUSparseFile.1/s").data(&data).bytes()])
    };
    let (name, size) = (("GNU.sparse.name", "s"), ("GNU.sparse.size", "8192"));
    let (offset, length) = ("GNU.sparse.offset", "GNU.sparse.numbytes");
    let one = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "8192"), name];
    let count = |count| ("GNU.sparse.numblocks", count);
    let map = |map| ("GNU.sparse.map", map);
    let path = ("path", "s");
    let good = [
        member(&[path, size, count("2"), (offset, "512"), (length, "512"), (offset, "4096"), (length, "10")], "", 522),
        member(&[name, size, count("2"), map("512,512,4096,10")], "", 522),
        member(&one, "2\n512\n512\n4096\n10\n", 522),
        member(&[one[0], one[1], one[2], ("path", "GNUSparseFile.1/s"), name], "3\n512\n512\n4096\n10\n8192\n0\n", 522),
    ];
    for (number, bytes) in good.iter().enumerate() {
        let image = arena.locate(bytes).unwrap_or_else(|error| panic!("{number}: {error}"));
        let data = std::fs::read(image.root.join("s")).unwrap();
        let seen = (data.len(), data[511], data[512], data[1024], data[4105], data[4106]);
        assert_eq!(seen, (8192, 0, b'x', 0, b'x', 0), "{number}");
    }
    let long = "0,0,".repeat(5000) + "0,0";
    let bad = [
        member(&[path, size, count("2"), (offset, "512"), (length, "512")], "", 512),
        member(&[path, size, count("1"), (length, "512"), (offset, "512")], "", 512),
        member(&[path, size, count("1"), (offset, "512")], "", 512),
        member(&[path, size, (offset, "0"), (length, "512")], "", 512),
        member(&[name, size, count("2"), map("512,512,256,512")], "", 1024),
        member(&[name, size, count("1"), map("512,512,")], "", 512),
        member(&[name, size, count("1"), map("512,-1")], "", 512),
        member(&[name, size, count("1"), map("8000,512")], "", 512),
        member(&[name, size, count("1"), map("0,512")], "", 1024),
        member(&[name, size, count("5001"), map(&long)], "", 0),
        member(&[name, size, count("1"), map("0,512"), (offset, "0"), (length, "512")], "", 512),
        member(&[name, size, count("1"), map("0,512"), ("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")], "", 512),
        member(&one, "", 0),
        member(&one, "2\n512\n512\n", 512),
        member(&one, "1\n512\nx\n", 512),
        member(&one, "99999\n", 512),
        member(&one, &"0".repeat(600), 512),
        member(&one, "1\n0\n1024\n", 512),
        member(&[one[0], one[1], one[2], name, size], "1\n0\n512\n", 512),
    ];
    for (number, bytes) in bad.iter().enumerate() {
        let message = arena.refused(bytes);
        assert!(message.contains("sparse"), "{number}: {message}");
    }
    let huge = [one[0], one[1], ("GNU.sparse.realsize", "1152921504606846976"), name];
    assert!(arena.refused(&member(&huge, "0\n", 0)).contains("more than"));
    // Its name is one as any other.
    let message = arena.refused(&member(&[one[0], one[1], one[2], ("GNU.sparse.name", "../s")], "0\n", 0));
    assert!(message.contains("holds `..`"), "{message}");
}

/// What could be run and not be verified: by its name, and by way of a link.
#[test]
fn a_tree_of_more_directories_than_are_verified_is_refused() {
    let arena = Arena::new();
    let long = |count: usize, last: &str| {
        let name = "d/".repeat(count) + last;
        [pax(&[("path", name.as_bytes())]), file("x", "x")].concat()
    };
    arena.locate(&tar(&[long(512, "f")])).unwrap();
    let target = "d/".repeat(500);
    let link = [pax(&[("linkpath", target.as_bytes())]), symlink("link", "t")].concat();
    let inner = "e/".repeat(13);
    for members in [
        vec![long(513, "f")],
        vec![long(500, "f"), link.clone(), file(&format!("link/{inner}f"), "x")],
        vec![long(512, "f"), link, dir(&format!("link/{}new", "d/".repeat(12)))],
    ] {
        let message = arena.refused(&tar(&members));
        assert!(message.contains("lies deeper than 512 directories") && message.len() < 400, "{message}");
    }
}

#[test]
fn a_tree_deeper_than_any_path_is_refused_and_removed() {
    let arena = Arena::new();
    // Each link stands for 800 bytes of directories; through six of them the path is far beyond PATH_MAX.
    let deep = format!("{}/", "d".repeat(199)).repeat(4);
    let mut members = vec![file(&("x/".to_owned() + &"e/".repeat(45) + "f"), "x")];
    let mut above = String::new();
    for level in 0..6 {
        let link = format!("l{level}");
        let target = format!("{above}{}", &deep[..deep.len() - 1]);
        members.push(pax(&[("linkpath", target.as_bytes())]));
        members.push(symlink(&link, "t"));
        members.push(Entry::new(b'5', &format!("{link}/closed")).mode(0).bytes());
        above = format!("{link}/");
    }
    let message = arena.refused(&tar(&members));
    assert!(message.contains("ENAMETOOLONG") && message.len() < 1000, "{message}");
}
