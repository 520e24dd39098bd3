//! Class H: archives that write outside of the tree, mean two things at once, or never end; and the store
//! that keeps what came of them. Each is run: what is inside is looked at from inside.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::fixture::has_rootfs;
use crate::harness::{NOBODY, Ran, Sbx, Who, skip};
use crate::image::arena::{Census, Entry, census, dir, file, hardlink, pax, symlink, tar};
use crate::image::formats::gzip;

/// A place with a store, an archive that is the root, programs apart from it, and a canary.
struct Place {
    sbx: Sbx,
    before: Census,
}

impl Place {
    fn new(who: Who) -> Self {
        let sbx = Sbx::new(who).dir("canary").file("canary/file", b"untouched").dir("canary/deep");
        let sbx = sbx.spec("rootfs \"a.tar\"\nenv PATH=\"/.probe\"\nmounts { bind \"%/root/bin\" \"/.probe\"; }");
        let before = census(&sbx.path("canary"));
        Self { sbx, before }
    }

    fn canary(&self) -> String {
        self.sbx.path("canary").display().to_string()
    }

    /// Runs a line of the shell in a root made of `archive`, and looks after the canary.
    fn run(self, archive: &[u8], script: &str) -> (Ran, PathBuf, Self) {
        let sbx = self.sbx.file("a.tar", archive).cmd(&["/.probe/busybox", "sh", "-c", script]);
        let passwd = std::fs::read("/etc/passwd").unwrap();
        let ran = sbx.run();
        let store = sbx.path("store");
        let place = Self { sbx, before: self.before };
        place.check();
        assert_eq!(std::fs::read("/etc/passwd").unwrap(), passwd, "the accounts of the host changed");
        if ran.code() == 125 {
            let kept = std::fs::read_dir(store.join("layers")).map(Iterator::count).unwrap_or(0);
            assert_eq!(kept, 0, "a refused archive came into the store: {ran:?}");
        }
        (ran, store, place)
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(census(&self.sbx.path("canary")), self.before, "something outside of the tree changed");
    }
}

/// What comes of an archive: a message, or text that is at a path inside.
enum Comes {
    Refused(&'static str),
    Holds(&'static str, &'static str),
}
use Comes::{Holds, Refused};

type Case = (&'static str, Vec<Vec<u8>>, Comes);

fn judge(cases: impl Fn(&str) -> Vec<Case>) {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let count = cases("").len();
        for number in 0..count {
            let place = Place::new(who);
            let (name, members, comes) = cases(&place.canary()).swap_remove(number);
            match comes {
                Refused(words) => place.run(&tar(&members), "echo ran").0.refused(words),
                Holds(path, text) => {
                    let (ran, ..) = place.run(&tar(&members), &format!("cat {path}"));
                    assert_eq!(ran.ok(), text, "{who:?} {name}");
                }
            }
        }
    }
}

/// A link, and then something by the name of the link: the oldest of all, in tar-rs in 2018 and again in 2021.
#[test]
fn cve_2018_20990_cve_2021_38511_a_link_is_not_written_through() {
    judge(|canary| {
        vec![
            ("file over a link", vec![symlink("l", &format!("{canary}/file")), file("l", "mine")], Holds("/l", "mine")),
            ("file below a link", vec![symlink("l", canary), file("l/file", "mine"), file("f", "x")], Holds("/f", "x")),
            (
                "link in a link",
                vec![symlink("l", ".."), symlink("l/m", "../.."), file("l/m/f", "in")],
                Holds("/f", "in"),
            ),
            (
                "hard link over a link",
                vec![file("f", "mine"), symlink("l", canary), hardlink("l", "f")],
                Holds("/l", "mine"),
            ),
            (
                "FIFO over a link",
                vec![symlink("l", canary), Entry::new(b'6', "l").bytes(), file("f", "x")],
                Holds("/f", "x"),
            ),
            (
                "directory over a link",
                vec![symlink("l", "/d"), dir("d"), dir("l"), file("l/f", "x")],
                Holds("/l/f", "x"),
            ),
        ]
    });
}

/// A mode, owner or time that is set by name after a link took the name: tar-rs in 2026, containerd and Docker in 2021.
#[test]
fn cve_2026_33056_cve_2021_32760_cve_2021_41089_no_mode_through_a_link() {
    judge(|canary| {
        let open = |name: &str| Entry::new(b'5', name).mode(0o777).bytes();
        let victim = format!("{canary}/file");
        let executable = |name: &str| Entry::new(b'0', name).mode(0o777).data(b"x").bytes();
        vec![
            ("directory", vec![symlink("l", canary), open("l"), file("f", "x")], Holds("/f", "x")),
            ("directory with a slash", vec![symlink("l", canary), open("l/"), file("f", "x")], Holds("/f", "x")),
            ("directory first", vec![dir("l"), symlink("l", canary), open("l"), file("f", "x")], Holds("/f", "x")),
            ("hard link to a link", vec![symlink("l", &victim), hardlink("h", "l"), executable("h")], Holds("/h", "x")),
            ("hard link to a victim", vec![hardlink("h", &victim), executable("h")], Refused("not in the archive")),
            ("deep", vec![dir("a"), symlink("a/l", canary), open("a/l/deep"), file("f", "x")], Holds("/f", "x")),
        ]
    });
}

/// What containerd, Docker and umoci try their own readers with, written anew: a root of its own for every path.
#[test]
fn cve_2025_47290_cve_2026_33747_every_way_out_of_containerds_list() {
    judge(|canary| {
        let etc = || vec![dir("etc"), file("etc/passwd", "inside")];
        let with = |more: &[Vec<u8>]| [etc(), more.to_vec()].concat();
        let up = "../".repeat(40);
        let far = format!("{up}{}", &canary[canary.len().min(1)..]);
        vec![
            ("absolute link", with(&[symlink("l", "/etc"), file("l/f", "x")]), Holds("/etc/f", "x")),
            ("up and out", with(&[symlink("l", "../etc"), file("l/f", "x")]), Holds("/etc/f", "x")),
            ("far up and out", with(&[symlink("l", &far), file("l/file", "x"), file("f", "x")]), Holds("/f", "x")),
            (
                "several absolute",
                with(&[symlink("l", "/etc"), dir("l/d"), symlink("l/d/m", "/.."), file("l/d/m/f", "x")]),
                Holds("/f", "x"),
            ),
            (
                "several relative",
                with(&[symlink("l", "etc"), dir("l/d"), symlink("l/d/m", "../../../.."), file("l/d/m/f", "x")]),
                Holds("/f", "x"),
            ),
            ("empty target", vec![symlink("l", ""), file("l/f", "x")], Refused("leads nowhere")),
            ("link to itself", vec![symlink("l", "l"), file("l/f", "x")], Refused("ELOOP")),
            ("hard link", with(&[hardlink("h", "etc/passwd")]), Holds("/h", "inside")),
            ("absolute hard link", with(&[hardlink("h", "/etc/passwd")]), Holds("/h", "inside")),
            (
                "hard link through a link",
                with(&[symlink("l", "/etc"), hardlink("h", "l/passwd")]),
                Holds("/h", "inside"),
            ),
            ("hard link down and out", with(&[hardlink("h", "etc/../../../etc/passwd")]), Refused("holds `..`")),
            ("hard link up and out", vec![hardlink("h", &format!("{up}etc/passwd"))], Refused("holds `..`")),
            ("hard link to the host", vec![hardlink("h", "/etc/passwd")], Refused("not in the archive")),
            (
                "hard link to a link to the host",
                vec![symlink("l", "/etc/hostname"), hardlink("h", "l"), file("h", "x")],
                Holds("/h", "x"),
            ),
            (
                "before its target",
                vec![symlink("l", "/etc/f"), hardlink("h", "l"), dir("etc"), file("etc/f", "x"), file("h", "y")],
                Holds("/etc/f", "x"),
            ),
            ("name up and out", vec![file("../victim", "x")], Refused("holds `..`")),
            ("absolute name up and out", vec![file("/../victim", "x")], Refused("holds `..`")),
            ("name down and out", vec![dir("a"), file("a/../../victim", "x")], Refused("holds `..`")),
            ("long name up and out", vec![pax(&[("path", b"../victim")]), file("victim", "x")], Refused("holds `..`")),
            (
                "long link out",
                vec![pax(&[("linkpath", b"/etc/passwd")]), hardlink("h", "h2")],
                Refused("not in the archive"),
            ),
            (
                "a link in procfs",
                vec![dir("proc"), symlink("proc/self", canary), file("proc/self/file", "x"), file("f", "x")],
                Holds("/f", "x"),
            ),
            (
                "through procfs",
                vec![symlink("l", "/proc/self/root/etc"), file("l/f", "x"), file("f", "x")],
                Holds("/f", "x"),
            ),
            (
                "a directory becomes a link",
                vec![dir("d"), file("d/f", "x"), symlink("d", canary), file("d/file", "x")],
                Refused("that an earlier member filled"),
            ),
        ]
    });
}

/// umoci let `/.` be a link: whatever came later was put where it led.
#[test]
fn cve_2021_29136_the_root_stays_a_directory() {
    judge(|canary| {
        let root = ["./", "/", ".", "/.", "./.", "//", "a/.."];
        let mut cases = Vec::new();
        for name in &root[..6] {
            cases.push(("link", vec![symlink(name, canary), file("file", "x")], Refused("root")));
            cases.push(("file", vec![file(name, "x")], Refused("directory")));
            cases.push(("hard link", vec![file("f", "x"), hardlink(name, "f")], Refused("root")));
            cases.push(("FIFO", vec![Entry::new(b'6', name).bytes()], Refused("root")));
            cases.push(("device", vec![Entry::new(b'3', name).bytes()], Refused("root")));
            cases.push(("directory", vec![dir(name), file("f", "x")], Holds("/f", "x")));
        }
        cases.push(("by the parent", vec![dir("a"), symlink(root[6], canary)], Refused("holds `..`")));
        cases
    });
}

/// A header with this text where the size stands.
fn sized(name: &str, kind: u8, size: &[u8; 12], data: &[u8]) -> Vec<u8> {
    let mut bytes = Entry::new(kind, name).data(data).bytes();
    bytes[124..136].copy_from_slice(size);
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

/// Archives whose extent depends on who reads: an archive in the data of a member, and headers that disagree on how
/// long the data is.
fn ambiguous() -> Vec<(&'static str, Vec<u8>)> {
    let inner = [file("minner", "smuggled"), file("mother", "smuggled too")].concat();
    let data = &inner[..];
    let length = inner.len().to_string();
    let outer = |size: u64| Entry::new(b'0', "mouter").data(data).size(size).bytes();
    let full = inner.len() as u64;
    let mut base256 = [0; 12];
    base256[0] = 0x80;
    base256[4..].copy_from_slice(&full.to_be_bytes());
    let tail = || file("mtail", "t");
    let whole = |pieces: &[Vec<u8>]| tar(pieces);
    vec![
        ("plain", whole(&[outer(full), tail()])),
        ("PAX alike", whole(&[pax(&[("size", length.as_bytes())]), outer(full), tail()])),
        ("PAX only", whole(&[pax(&[("size", length.as_bytes())]), outer(0), tail()])),
        ("PAX zero", whole(&[pax(&[("size", b"0")]), outer(full), tail()])),
        ("PAX less", whole(&[pax(&[("size", b"512")]), outer(full), tail()])),
        ("PAX twice", whole(&[pax(&[("size", b"0"), ("size", length.as_bytes())]), outer(full), tail()])),
        (
            "PAX of the one before",
            whole(&[
                pax(&[("size", length.as_bytes())]),
                Entry::new(b'L', "L").data(b"mlong\0").bytes(),
                outer(0),
                tail(),
            ]),
        ),
        (
            "PAX for all",
            whole(&[
                {
                    let mut g = pax(&[("size", length.as_bytes())]);
                    g[156] = b'g';
                    resum(g)
                },
                outer(0),
                tail(),
            ]),
        ),
        ("PAX with a sign", whole(&[pax(&[("size", format!("+{length}").as_bytes())]), outer(full), tail()])),
        ("PAX with a space", whole(&[pax(&[("size", format!(" {length}").as_bytes())]), outer(full), tail()])),
        ("PAX empty", whole(&[pax(&[("size", b"")]), outer(full), tail()])),
        ("base 256", whole(&[sized("mouter", b'0', &base256, data), tail()])),
        (
            "spaces",
            whole(&[sized("mouter", b'0', format!("{full:11o} ").as_bytes().try_into().unwrap(), data), tail()]),
        ),
        (
            "no end",
            whole(&[sized("mouter", b'0', format!("{full:012o}").as_bytes().try_into().unwrap(), data), tail()]),
        ),
        ("early end", whole(&[sized("mouter", b'0', b"0\x0000100000 \0", data), tail()])),
        ("negative", whole(&[sized("mouter", b'0', b"-0000001000\0", data), tail()])),
        ("negative in base 256", whole(&[sized("mouter", b'0', &[0xff; 12], data), tail()])),
        ("no octal", whole(&[sized("mouter", b'0', b"00000000089\0", data), tail()])),
    ]
}

/// The same by members that have data and should have none, and by what stands between members.
fn misplaced() -> Vec<(&'static str, Vec<u8>)> {
    let inner = [file("minner", "smuggled"), file("mother", "smuggled too")].concat();
    let data = &inner[..];
    let outer = || Entry::new(b'0', "mouter").data(data).bytes();
    let tail = || file("mtail", "t");
    let whole = |pieces: &[Vec<u8>]| tar(pieces);
    vec![
        ("a link with data", whole(&[Entry::new(b'2', "mlink").link("x").data(data).bytes(), tail()])),
        (
            "a hard link with data",
            whole(&[file("mfile", "x"), Entry::new(b'1', "mlink").link("mfile").data(data).bytes(), tail()]),
        ),
        ("a directory with data", whole(&[Entry::new(b'5', "mdir").data(data).bytes(), tail()])),
        ("a FIFO with data", whole(&[Entry::new(b'6', "mfifo").data(data).bytes(), tail()])),
        ("an old directory", whole(&[Entry::new(0, "mdir/").data(data).bytes(), tail()])),
        ("an old file", whole(&[Entry::new(0, "mouter").data(data).bytes(), tail()])),
        ("contiguous", whole(&[Entry::new(b'7', "mouter").data(data).bytes(), tail()])),
        ("unknown", whole(&[Entry::new(b'Z', "mouter").data(data).bytes(), tail()])),
        ("zeros between", [outer(), vec![0; 512], tail(), vec![0; 1024]].concat()),
        ("archives in a row", [whole(&[outer()]), whole(&[tail()])].concat()),
        ("a bad sum", {
            let mut bad = whole(&[outer(), tail()]);
            bad[148] ^= 1;
            bad
        }),
        ("a bad sum later", {
            let mut bad = whole(&[tail(), outer()]);
            bad[1024 + 148] ^= 1;
            bad
        }),
    ]
}

fn resum(mut header: Vec<u8>) -> Vec<u8> {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Two readers see two archives: tar-rs, tokio-tar ("TARmageddon") and their kin. What is not refused is what Python
/// and GNU tar see as well, names, sizes and all.
#[test]
fn cve_2025_62518_cve_2026_33055_cve_2026_32766_an_archive_means_one_thing() {
    const PYTHON: &str = "import sys, tarfile\nfor m in sorted(tarfile.open(sys.argv[1]), key=lambda m: m.name): print(m.name, m.size if m.isreg() else 0)";
    const SEEN: &str =
        "cd /; for f in m*; do if [ -f $f -a ! -L $f ]; then echo $f $(wc -c < $f); else echo $f 0; fi; done";
    if !has_rootfs() {
        return;
    }
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !has("python3") || !has("tar") {
        return skip("no python3 or no tar to compare with");
    }
    for who in Who::all() {
        let (mut accepted, mut refused) = (0, 0);
        for (name, bytes) in ambiguous().into_iter().chain(misplaced()) {
            let (ran, _, place) = Place::new(who).run(&bytes, SEEN);
            if ran.code() != 0 {
                ran.refused("archive");
                refused += 1;
                continue;
            }
            accepted += 1;
            let archive = place.sbx.path("a.tar");
            let python = Command::new("python3").args(["-c", PYTHON]).arg(&archive).output().unwrap();
            let ours = ran.ok();
            assert_eq!(ours, String::from_utf8_lossy(&python.stdout).trim_end(), "{who:?} {name}: Python sees another");
            let gnu = Command::new("tar").arg("-tf").arg(&archive).output().unwrap();
            let mut gnu: Vec<&str> =
                std::str::from_utf8(&gnu.stdout).unwrap().lines().map(|it| it.trim_end_matches('/')).collect();
            gnu.sort_unstable();
            let ours: Vec<&str> = ours.lines().map(|line| line.split(' ').next().unwrap()).collect();
            assert_eq!(ours, gnu, "{who:?} {name}: GNU tar sees another");
        }
        assert!(accepted >= 4 && refused >= 12, "{accepted} accepted, {refused} refused");
    }
}

/// A digest was put into a path as it was.
#[test]
fn cve_2024_3727_a_digest_is_never_a_path() {
    if !has_rootfs() {
        return;
    }
    let hex = "0123456789abcdef".repeat(4);
    let digests = [
        "sha256:../../../canary/file".to_owned(),
        format!("sha256:{}/../../canary", &hex[..40]),
        format!("sha256:{}", hex.to_uppercase()),
        format!("sha256:{}", &hex[..63]),
        format!("sha256:{hex}0"),
        format!("sha512:{hex}"),
        format!("md5:{}", &hex[..32]),
        format!("{hex}:sha256"),
        format!("sha256:{}\\u{{0}}", &hex[..63]),
        format!(" sha256:{hex}"),
        "sha256:".to_owned(),
        hex.clone(),
        String::new(),
    ];
    for who in Who::all() {
        for digest in &digests {
            let mut place = Place::new(who);
            place.sbx = place.sbx.spec(&format!("rootfs \"a.tar\" digest=\"{digest}\""));
            let (ran, store, _) = place.run(&tar(&[file("f", "x")]), "true");
            ran.refused("digest");
            assert!(!store.exists(), "the store was made for {digest}");
        }
    }
}

/// tar-split, containerd, Go's reader of sparse files and containers/storage read without a bound or never came back.
/// That what is packed too well is refused, and too many members are, is tried with small bounds in `image::damage`.
#[test]
fn cve_2017_14992_cve_2023_25153_cve_2025_58183_cve_2021_20291_bombs_end_soon() {
    if !has_rootfs() {
        return;
    }
    let twice = gzip(&gzip(&tar(&[file("f", "x")])));
    let long = vec![b'n'; 2 << 20];
    let cut = &gzip(&tar(&[file("f", "x")]))[..60];
    let mut sparse = tar::Header::new_gnu();
    sparse.set_entry_type(tar::EntryType::GNUSparse);
    sparse.as_old_mut().name[..1].copy_from_slice(b"s");
    sparse.set_mode(0o644);
    sparse.set_uid(0);
    sparse.set_gid(0);
    sparse.set_mtime(0);
    sparse.set_size(0);
    sparse.as_gnu_mut().unwrap().set_real_size(1 << 60);
    sparse.set_cksum();
    let map = format!("{}\n{}", u64::MAX, "0\n1\n".repeat(1000));
    let sparse_pax =
        pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9223372036854775807")]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("", twice),
        ("", tar(&[Entry::new(b'0', "lie").size(u64::MAX >> 2).bytes()])),
        ("", tar(&[Entry::new(b'L', "L").data(&long).bytes(), file("f", "x")])),
        ("", tar(&[Entry::new(b'x', "x").data(&long).bytes(), file("f", "x")])),
        ("", tar(&[Entry::new(b'x', "x").size(u64::MAX >> 3).bytes()])),
        ("more than", tar(&[sparse.as_bytes().to_vec()])),
        ("sparse", tar(&[sparse_pax, Entry::new(b'0', "s").data(map.as_bytes()).bytes()])),
        ("truncated", cut.to_vec()),
        ("", vec![0x1f, 0x8b, 8, 0]),
        ("", vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0xff, 0xff]),
        ("", b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46".to_vec()),
        ("", tar(&[file(&"d/".repeat(2100), "x")])),
    ];
    for who in Who::all() {
        for (number, (words, bytes)) in cases.iter().enumerate() {
            let begin = Instant::now();
            let (ran, store, _) = Place::new(who).run(bytes, "echo ran");
            assert_eq!((ran.code(), ran.stdout.as_str()), (125, ""), "case {number}: {ran:?}");
            assert!(ran.stderr.contains(words), "case {number}: no `{words}` in {ran:?}");
            assert!(begin.elapsed() < Duration::from_secs(20), "case {number} took {:?}", begin.elapsed());
            let left = Command::new("find").arg(&store).args(["-type", "f", "-size", "+64k"]).output().unwrap();
            assert!(left.stdout.is_empty(), "case {number} left {:?}", String::from_utf8_lossy(&left.stdout));
        }
    }
}

/// Podman, Docker and umoci kept images where every user found their set-id programs.
#[test]
fn cve_2021_41091_cve_2025_4953_the_store_is_its_owners_and_holds_no_set_id_file() {
    if !has_rootfs() {
        return;
    }
    let program = |name: &str, mode: u32| Entry::new(b'0', name).mode(mode).data(b"#!/bin/sh\n").bytes();
    let members = [program("suid", 0o4755), program("sgid", 0o2755), program("both", 0o6777), program("plain", 0o755)];
    for who in Who::all() {
        let (ran, store, place) = Place::new(who).run(&tar(&members), "stat -c %a /suid /sgid /both /plain");
        assert_eq!(ran.ok(), "755\n755\n777\n755", "{who:?}");
        for name in ["", "layers", "roots", "blobs", "names", "tmp", "seen"] {
            let mode = std::fs::metadata(store.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o700, "{name}");
        }
        let found = Command::new("find").arg(&store).args(["-perm", "/6000", "-type", "f"]).output().unwrap();
        assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
        if who == Who::Root {
            let mut other = Command::new("setpriv");
            other.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups", "ls"]);
            assert!(!other.arg(&store).output().unwrap().status.success(), "everybody reads the store");
        }
        // A store that somebody else could have prepared is not used.
        std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o777)).unwrap();
        place.sbx.run().refused("can be written by others");
        std::fs::remove_dir_all(&store).unwrap();
        // Nor one that a link has somewhere else, where it is somebody else's.
        let theirs = if who == Who::Root { place.sbx.path("theirs") } else { PathBuf::from("/usr") };
        if who == Who::Root {
            std::fs::create_dir(&theirs).unwrap();
            std::os::unix::fs::chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        std::os::unix::fs::symlink(&theirs, &store).unwrap();
        place.sbx.run().refused("store");
        std::fs::remove_file(&store).unwrap();
    }
}

/// Exchanges what lies at `one` and at `other` for as long as it is wanted.
fn exchange(one: &Path, other: &Path, ends: &AtomicBool) -> u64 {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let mut count = 0;
    while !ends.load(Ordering::Relaxed) {
        let done = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
        count += u64::from(done.is_ok());
        std::thread::sleep(Duration::from_micros(200));
    }
    count
}

/// Removing a tree by names followed a link that took a directory's place meanwhile: Rust's own library did.
#[test]
fn cve_2022_21658_removing_follows_no_exchanged_link() {
    for who in Who::all() {
        let place = Place::new(who);
        let first = tar(&[file("f", "x")]);
        let store = place.sbx.path("store");
        let sbx = place.sbx.file("a.tar", &first);
        // Makes the store, with its own owner and modes.
        plainly(&sbx);
        let place = Place { sbx: sbx.verb(&["gc"]), before: place.before };
        let mut exchanged = 0;
        for _ in 0..12 {
            let dead = store.join("tmp/dead");
            // The round before may have left the link in the place of the directory.
            std::fs::remove_dir_all(&dead).ok();
            for number in 0..30 {
                std::fs::create_dir_all(dead.join(format!("a/d/{number}"))).unwrap();
                std::fs::write(dead.join(format!("a/d/{number}/f")), "").unwrap();
            }
            let link = place.sbx.path("link");
            std::fs::remove_file(&link).or_else(|_| std::fs::remove_dir_all(&link)).ok();
            std::os::unix::fs::symlink(place.canary(), &link).unwrap();
            if who == Who::Nobody && nix::unistd::geteuid().is_root() {
                assert!(
                    Command::new("chown")
                        .args(["-R", "-h", &format!("{NOBODY}:{NOBODY}")])
                        .arg(&dead)
                        .status()
                        .unwrap()
                        .success()
                );
            }
            let ends = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let swapper = scope.spawn(|| exchange(&dead.join("a/d"), &link, &ends));
                // Whatever it says: what it cannot remove it names.
                plainly(&place.sbx);
                ends.store(true, Ordering::Relaxed);
                exchanged += swapper.join().unwrap();
            });
            place.check();
        }
        if exchanged == 0 {
            skip("nothing was exchanged while sbx removed");
        }
        std::fs::remove_dir_all(place.sbx.path("store/tmp/dead")).ok();
    }
}

/// The same while an archive is unpacked: each member is placed by the descriptor of its parent.
#[test]
fn cve_2021_41089_unpacking_follows_no_exchanged_link() {
    if !has_rootfs() {
        return;
    }
    let mut members = vec![dir("d"), dir("d/deep")];
    members.extend((0..5000).map(|number| file(&format!("d/deep/f{number}"), "x")));
    members.push(Entry::new(b'5', "d/deep").mode(0o777).bytes());
    let archive = tar(&members);
    for who in Who::all() {
        let exchanged = AtomicU64::new(0);
        for _ in 0..2 {
            let place = Place::new(who);
            let (store, link) = (place.sbx.path("store"), place.sbx.path("link"));
            std::os::unix::fs::symlink(place.canary(), &link).unwrap();
            let ends = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !ends.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(1));
                        let all = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
                        let trees = all(&store.join("tmp")).flat_map(|made| all(&made.path()));
                        for found in trees.map(|tree| tree.path().join("rootfs/d")) {
                            if found.exists() {
                                exchanged.fetch_add(exchange(&found, &link, &ends), Ordering::Relaxed);
                            }
                        }
                    }
                });
                let sbx = place.sbx.file("a.tar", &archive).cmd(&["/.probe/busybox", "true"]);
                let status = plainly(&sbx);
                ends.store(true, Ordering::Relaxed);
                assert!(matches!(status, Some(0 | 125)), "{status:?}");
                assert_eq!(census(&sbx.path("canary")), place.before, "{who:?}: written outside");
            });
        }
        if exchanged.into_inner() == 0 {
            skip("nothing was exchanged while sbx unpacked");
        }
    }
}

/// Runs sbx to its end without looking what it left: here somebody is at work in its store.
fn plainly(sbx: &Sbx) -> Option<i32> {
    let words = sbx.words();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).env("SBX_STORE", sbx.path("store")).stdin(Stdio::null()).stderr(Stdio::null());
    if nix::unistd::geteuid().is_root() && sbx.who() == Who::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.stdout(Stdio::null()).status().unwrap().code()
}
