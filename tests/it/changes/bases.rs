//! A directory as the base of an image: what is packed of it and told, what the image gives back, and that one that
//! changes meanwhile makes none.

use std::collections::BTreeMap;
use std::fs::{File, Permissions, set_permissions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tar::EntryType;

use super::Blobs;
use super::tools::{call, has};
use crate::harness::{NOBODY, Ran, Sbx, Who, give, skip};

/// Of a member: its kind, its mode, what it links to, and its extended attributes.
type Found = (EntryType, u32, String, BTreeMap<String, String>);

fn found(bytes: &[u8]) -> BTreeMap<String, Found> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let records: Vec<_> = entry.pax_extensions().unwrap().into_iter().flatten().map(Result::unwrap).collect();
        let attributes = records
            .iter()
            .map(|record| (record.key().unwrap().to_owned(), record.value().unwrap().to_owned()))
            .filter_map(|(key, value)| Some((key.strip_prefix("SCHILY.xattr.")?.to_owned(), value)))
            .collect();
        let link = entry.link_name_bytes().map(|link| String::from_utf8(link.into_owned()).unwrap());
        let header = entry.header();
        let found = (header.entry_type(), header.mode().unwrap(), link.unwrap_or_default(), attributes);
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), found)
    });
    entries.collect()
}

/// Returns a call with a directory `base` that has one of each.
fn filled(who: Who) -> Sbx {
    let sbx = Sbx::new(who).file("empty.tar", &[0; 1024]).dir("base").dir("base/sub").dir("base/sub/closed");
    let sbx =
        sbx.file("base/one", b"1\n").file("base/set", b"2\n").file("base/.wh.one", b"").file("base/sub/.wh.x", b"");
    let base = sbx.path("base");
    std::fs::hard_link(base.join("one"), base.join("sub/two")).unwrap();
    symlink("sub/two", base.join("link")).unwrap();
    assert!(Command::new("mkfifo").arg(base.join("fifo")).status().unwrap().success());
    give(&base.join("fifo"), who);
    drop(UnixListener::bind(base.join("sub/sock")).unwrap());
    for (name, mode) in [("set", 0o6755), ("sub", 0o2775), ("sub/closed", 0o711), ("fifo", 0o640), ("one", 0o644)] {
        set_permissions(base.join(name), Permissions::from_mode(mode)).unwrap();
    }
    sbx
}

/// Sets attributes; where the file system has none that is said.
fn set_attributes(base: &Path) -> bool {
    let set =
        |name: &str, key: &str| rustix::fs::setxattr(base.join(name), key, b"value", rustix::fs::XattrFlags::empty());
    let done = set("one", "user.x").and_then(|()| set("sub", "user.d")).and_then(|()| set("", "user.r"));
    let kept = done.and_then(|()| set("sub", "user.overlay.opaque"));
    if kept.is_err() {
        skip("no attributes where the tests lie");
    }
    kept.is_ok()
}

fn appending(sbx: Sbx, tag: &str) -> Sbx {
    sbx.verb(&["image", "append", "./base", "empty.tar", &format!("oci:image:{tag}")]).cmd(&[])
}

fn append(sbx: Sbx, tag: &str) -> (Sbx, Ran) {
    let sbx = appending(sbx, tag);
    let ran = sbx.run();
    (sbx, ran)
}

#[test]
fn a_directory_is_packed_as_changes_are() {
    for who in Who::all() {
        let sbx = filled(who);
        let base = sbx.path("base");
        let keeps = set_attributes(&base);
        let device = who == Who::Root && {
            let made = Command::new("mknod").arg(base.join("null")).args(["c", "1", "3"]).status().unwrap().success();
            if !made {
                skip("root can make no device here");
            }
            made
        };
        let (sbx, ran) = append(sbx, "v1");
        assert_eq!(ran.code(), 0, "{who:?} {ran:?}");
        let mut told = vec![
            format!("`{}/.wh.one` is left out: in a layer its name would mean that another is hidden", base.display()),
            format!("the device `{}/null` is left out", base.display()),
            format!(
                "`{}/sub/.wh.x` is left out: in a layer its name would mean that another is hidden",
                base.display()
            ),
            format!("the socket `{}/sub/sock` is left out", base.display()),
        ];
        told.retain(|line| device || !line.contains("null"));
        let lines: Vec<_> = ran.stderr.lines().map(|line| line.strip_prefix("sbx: warning: ").unwrap()).collect();
        assert_eq!(lines, told, "{who:?}");
        let attributes = |keys: &[&str]| {
            keys.iter().filter(|_| keeps).map(|key| ((*key).to_owned(), "value".to_owned())).collect::<BTreeMap<_, _>>()
        };
        let expected: BTreeMap<String, Found> = [
            ("./", EntryType::Directory, 0o755, "", &["user.r"][..]),
            ("fifo", EntryType::Fifo, 0o640, "", &[]),
            ("link", EntryType::Symlink, 0o777, "sub/two", &[]),
            ("one", EntryType::Regular, 0o644, "", &["user.x"]),
            ("set", EntryType::Regular, 0o755, "", &[]),
            ("sub/", EntryType::Directory, 0o775, "", &["user.d"]),
            ("sub/closed/", EntryType::Directory, 0o711, "", &[]),
            ("sub/two", EntryType::Link, 0o644, "one", &[]),
        ]
        .map(|(name, kind, mode, link, keys)| (name.to_owned(), (kind, mode, link.to_owned(), attributes(keys))))
        .into();
        let image = Blobs(sbx.path("image"));
        assert_eq!(found(&image.layer("v1")), expected, "{who:?}");
        // The same directory is the same image.
        let (sbx, again) = append(sbx, "v2");
        assert_eq!((again.code(), &again.stdout), (0, &ran.stdout), "{who:?}");
        drop(sbx);
    }
}

#[test]
fn a_run_of_the_image_sees_links_modes_and_attributes() {
    for who in Who::all() {
        if !crate::fixture::has_rootfs() {
            return;
        }
        let sbx = filled(who);
        let keeps = set_attributes(&sbx.path("base"));
        let (sbx, ran) = append(sbx, "v1");
        assert_eq!(ran.code(), 0, "{who:?} {ran:?}");
        let report = sbx.path("report.json").display().to_string();
        let spec = crate::layered::maker::SPEC.replace("/image", "/image:v1");
        let sbx =
            sbx.verb(&["run"]).report(Some(&report)).spec(&format!("{spec}\nuser \"root\"\nchanges \"@/out.tar\""));
        let script = "b=/.probe/busybox; test /one -ef /sub/two && echo linked; $b cat /link; $b ls /sub; \
                      $b stat -c '%a' / /set /sub /sub/closed /fifo; $b chmod 600 /one; $b chmod 700 /sub /";
        let (ran, sbx) = crate::layered::maker::shell(sbx, script);
        assert_eq!(ran.ok(), "linked\n1\nclosed\ntwo\n755\n755\n775\n711\n640", "{who:?} {ran:?}");
        // What is copied up has what was there.
        let changed = found(&std::fs::read(sbx.path("out.tar")).unwrap());
        for (name, key) in [("one", "user.x"), ("sub/", "user.d")] {
            let attributes: Vec<_> = changed[name].3.keys().collect();
            assert_eq!(attributes, if keeps { vec![key] } else { Vec::new() }, "{who:?} {name}");
        }
    }
}

#[test]
fn others_read_an_image_of_a_directory() {
    let (true, true) = (has("skopeo"), has("umoci")) else { return };
    let Some(who) = Who::root() else { return };
    let sbx = filled(who);
    let keeps = set_attributes(&sbx.path("base"));
    std::os::unix::fs::chown(sbx.path("base/set"), Some(NOBODY), Some(12)).unwrap();
    let (sbx, ran) = append(sbx, "v1");
    assert_eq!(ran.code(), 0, "{ran:?}");
    let home = sbx.path("");
    let seen: serde_json::Value = serde_json::from_str(&call(&home, &["skopeo", "inspect", "oci:image:v1"])).unwrap();
    assert_eq!(seen["Digest"], ran.stdout.trim());
    call(&home, &["skopeo", "copy", "oci:image:v1", "oci:copied:v1"]);
    call(&home, &["umoci", "unpack", "--image", "copied:v1", "bundle"]);
    let root = sbx.path("bundle/rootfs");
    let look = |name: &str| std::fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!((look("one").ino(), look("one").nlink()), (look("sub/two").ino(), 2));
    let modes = ["set", "sub", "sub/closed", "fifo"].map(|name| look(name).mode() & 0o7777);
    assert_eq!(modes, [0o755, 0o775, 0o711, 0o640]);
    assert_eq!((look("set").uid(), look("set").gid()), (NOBODY, 12));
    assert_eq!(std::fs::read_link(root.join("link")).unwrap(), Path::new("sub/two"));
    for (name, key) in [("one", "user.x"), ("sub", "user.d")] {
        let mut value = [0; 16];
        let read = rustix::fs::getxattr(root.join(name), key, &mut value).ok();
        assert_eq!(read.map(|count| value[..count].to_vec()), keeps.then(|| b"value".to_vec()), "{name}");
    }
}

/// A hole costs nothing on the disk, and nothing in the image.
#[test]
fn holes_of_a_directory_stay_holes() {
    const MIB: u64 = 1 << 20;
    if !crate::fixture::has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who).file("empty.tar", &[0; 1024]).dir("base").file("base/last", b"").file("base/none", b"");
        let open = |name: &str| File::options().write(true).open(sbx.path(name)).unwrap();
        open("base/none").set_len(1025 * MIB).unwrap();
        let (last, long) = (open("base/last"), format!("base/{}", "n".repeat(200)));
        last.write_all_at(b"middle", 32 * MIB).unwrap();
        last.write_all_at(b"end", 64 * MIB + 1).unwrap();
        let sbx = sbx.file(&long, b"begin");
        File::options().write(true).open(sbx.path(&long)).unwrap().set_len(3 * MIB).unwrap();
        let (sbx, ran) = append(sbx, "v1");
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{who:?} {ran:?}");
        let length = std::fs::read_dir(sbx.path("image/blobs/sha256")).unwrap();
        let length: u64 = length.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(length < 64 << 10, "{who:?} {length}");
        let report = sbx.path("report.json").display().to_string();
        let spec = crate::layered::maker::SPEC.replace("/image", "/image:v1");
        let script = "b=/.probe/busybox; $b stat -c %s /last /none /nnn*; $b tail -c 4 /last | $b tr '\\0' .; echo; \
                      $b dd if=/last bs=1M skip=32 count=1 2>/dev/null | $b head -c 7 | $b tr '\\0' .; echo; \
                      $b head -c 6 /nnn* | $b tr '\\0' .";
        let sbx = sbx.verb(&["run"]).report(Some(&report)).spec(&spec);
        let (ran, sbx) = crate::layered::maker::shell(sbx, script);
        let said = ran.ok();
        let expected = format!("{}\n{}\n{}\n.end\nmiddle.\nbegin.", 64 * MIB + 4, 1025 * MIB, 3 * MIB);
        assert!(said.starts_with(&expected), "{who:?} {said}");
        if who == Who::Root && has("umoci") {
            call(&sbx.path(""), &["umoci", "unpack", "--image", "image:v1", "bundle"]);
            let at = |offset| {
                let mut bytes = [1; 8];
                let count = File::open(sbx.path("bundle/rootfs/last")).unwrap().read_at(&mut bytes, offset).unwrap();
                bytes[..count].to_vec()
            };
            assert_eq!((at(32 * MIB), at(64 * MIB)), (b"middle\0\0".to_vec(), b"\0end".to_vec()));
        }
    }
}

/// Ends whoever changes something, also when an expectation fails.
struct Meddler<'a>(&'a AtomicBool);

impl Drop for Meddler<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_directory_that_changes_meanwhile_makes_no_image() {
    /// Takes longer to read than a clock of the kernel's stands still, by far.
    const LENGTH: u64 = 128 << 20;
    for who in Who::all() {
        let sbx = Sbx::new(who).file("empty.tar", &[0; 1024]).dir("base").dir("base/sub").file("base/sub/large", b"1");
        let (sbx, ran) = append(sbx, "good");
        assert_eq!(ran.code(), 0, "{ran:?}");
        let sbx = appending(sbx, "bad");
        let large = File::options().write(true).open(sbx.path("base/sub/large")).unwrap();
        let named = sbx.path("base/sub/named");
        let write = || large.write_all_at(b"x", 1).unwrap();
        let left = AtomicU64::new(LENGTH);
        let cut = || large.set_len(left.fetch_sub(1, Ordering::Relaxed)).unwrap();
        let name =
            || [std::fs::write(&named, b"x"), std::fs::remove_file(&named)].map(Result::unwrap).iter().for_each(drop);
        let changes: [(&str, &(dyn Fn() + Sync)); 3] = [("write", &write), ("cut", &cut), ("name", &name)];
        for (what, change) in changes {
            std::fs::write(sbx.path("base/sub/large"), vec![b'x'; usize::try_from(LENGTH).unwrap()]).unwrap();
            let before = (sbx.read("image/index.json"), blobs(&sbx));
            let stop = AtomicBool::new(false);
            let ran = std::thread::scope(|scope| {
                let _meddler = Meddler(&stop);
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        change();
                        std::thread::sleep(Duration::from_micros(200));
                    }
                });
                sbx.run()
            });
            assert_eq!((ran.code(), ran.stdout.as_str()), (125, ""), "{who:?} {what} {ran:?}");
            assert!(ran.stderr.contains("it changed while it was read"), "{who:?} {what} {ran:?}");
            assert!(ran.stderr.contains(&sbx.path("base/sub").display().to_string()), "{who:?} {what} {ran:?}");
            assert_eq!((sbx.read("image/index.json"), blobs(&sbx)), before, "{who:?} {what}");
        }
        large.set_len(1).unwrap();
        let (_, ran) = append(sbx, "good");
        assert_eq!(ran.code(), 0, "{who:?} {ran:?}");
    }
}

fn blobs(sbx: &Sbx) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        std::fs::read_dir(sbx.path("image/blobs/sha256")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

/// What is mounted below is of another file system, such as that of the host's processes.
#[test]
fn what_is_mounted_in_a_directory_is_left_out_and_said() {
    let Some(who) = Who::root() else { return };
    let sbx = Sbx::new(who).file("empty.tar", &[0; 1024]).dir("base").dir("base/mounted").file("base/own", b"");
    let sbx = sbx.through(
        "exec unshare -m sh -c 'mount -t tmpfs none base/mounted && touch base/mounted/x && exec \"$@\"' sh \"$@\"",
    );
    let (sbx, ran) = append(sbx, "v1");
    assert_eq!(ran.code(), 0, "{ran:?}");
    let told = format!("sbx: warning: `{}` is left out: it is a mount\n", sbx.path("base/mounted").display());
    assert_eq!(ran.stderr, told);
    let names: Vec<_> = found(&Blobs(sbx.path("image")).layer("v1")).into_keys().collect();
    assert_eq!(names, ["./", "own"]);
}

#[test]
fn a_directory_that_cannot_be_read_is_named() {
    for who in Who::all().into_iter().filter(|who| *who == Who::Nobody) {
        let sbx = Sbx::new(who).file("empty.tar", &[0; 1024]).dir("base").dir("base/sub").file("base/sub/f", b"");
        set_permissions(sbx.path("base/sub/f"), Permissions::from_mode(0o000)).unwrap();
        let (sbx, ran) = append(sbx, "v1");
        assert_eq!(ran.code(), 125, "{ran:?}");
        let place = sbx.path("base/sub/f").display().to_string();
        assert!(ran.stderr.contains(&format!("`{place}`: Permission denied (EACCES)")), "{ran:?}");
        assert!(ran.stderr.contains("hint: "), "{ran:?}");
    }
}
