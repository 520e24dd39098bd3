//! `changes`: what a layer holds, and that it gives back what the run saw.

use std::os::unix::fs::MetadataExt as _;

use tar::EntryType;

use super::{leftovers, members, names};
use crate::fixture::has_rootfs;
use crate::harness::{Sbx, Who};

/// Fills a root with what the next run changes.
const FILL: &str = "busybox mkdir -p /gone/sub /swap/inner /keep/deep /was-dir && echo 1 >/gone/sub/x && echo 1 >/swap/old \
    && echo 1 >/swap/both && echo 1 >/swap/inner/x && echo 1 >/keep/deep/f && echo 1 >/mod && echo 1 >/del && echo 1 >/was-file \
    && echo 1 >/was-dir/x && echo 1 >/moded";

/// Adds, changes, removes, and replaces one kind by another.
const CHANGE: &str = "rm -r /gone /swap /was-dir /was-file /del && mkdir /swap /swap/inner && echo 22 >/swap/both && echo 2 >/swap/new \
    && echo 2 >/swap/inner/y && echo 2 >/was-dir && mkdir /was-file && echo 2 >/was-file/in && echo more >>/mod && chmod 600 /moded \
    && echo 2 >/h1 && busybox ln /h1 /h2 && busybox ln -s /etc/passwd /link && busybox mkfifo /fifo && echo 2 >/zero && chmod 0 /zero \
    && mkdir /closed && chmod 0 /closed && mkdir -p /keep/deep/more && echo s >/set && chmod 6755 /set \
    && d=/deep; for i in 1 2 3 4 5 6; do d=$d/directory-with-a-long-name; done; mkdir -p $d && echo 2 >$d/file";

/// Prints everything that a layer keeps, but for what sbx itself makes.
const LIST: &str = "cd /; busybox find . -xdev ! -path './bin/*' ! -path './closed/*' ! -path ./proc ! -path ./dev ! -path ./tmp ! -path ./run \
    ! -path . 2>/dev/null | sort | while read -r n; do if test -h $n; then echo $n $(readlink $n); elif test -d $n; then stat -c '%n %F %u %g' $n; \
    else stat -c '%n %F %a %u %g %s' $n; fi; done; cat /mod /moded /swap/both /keep/deep/f; test /h1 -ef /h2 && echo linked";

fn run(sbx: Sbx, rootfs: &str, layer: &str, script: &str) -> (Sbx, String) {
    let sbx =
        sbx.spec(&format!("rootfs \"{rootfs}\"\nchanges \"{layer}\"\nuser \"root\"\nseccomp \"none\"")).sh(script);
    let ran = sbx.run();
    let said = ran.ok().to_owned();
    assert_eq!(ran.stderr, "", "{ran:?}");
    (sbx, said)
}

fn append(sbx: Sbx, words: [&str; 3]) -> Sbx {
    let sbx = sbx.verb(&["image", "append", words[0], words[1], words[2]]).cmd(&[]);
    let ran = sbx.run();
    assert_eq!((ran.code(), ran.stdout.starts_with("sha256:")), (0, true), "{ran:?}");
    let report = sbx.path("report.json").display().to_string();
    sbx.verb(&["run"]).report(Some(&report))
}

/// Returns a run with the image `oci:image:one`, whose root is filled.
fn filled(who: Who) -> Sbx {
    let base = crate::fixture::of(who).join("root").display().to_string();
    let (sbx, _) = run(Sbx::new(who), &base, "@/one.tar", FILL);
    append(sbx, [&base, "one.tar", "oci:image:one"])
}

#[test]
fn a_layer_on_its_base_is_what_the_run_saw() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = filled(who);
        let (sbx, seen) = run(sbx, "oci:@/image:one", "@/two.tar", &format!("{CHANGE}; chmod 0755 /set; {LIST}"));
        assert!(seen.contains("linked") && seen.contains("./was-dir regular file"), "{who:?} {seen}");
        let sbx = append(sbx, ["oci:image:one", "two.tar", "oci:image:two"]);
        let (_, again) = run(sbx, "oci:@/image:two", "@/three.tar", LIST);
        assert_eq!(again, seen, "{who:?}");
    }
}

/// overlayfs copies a file as soon as it is opened to be written.
#[test]
fn what_was_copied_and_is_the_same_is_no_change() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = filled(who);
        let script = ": >>/mod; : >>/keep/deep/f; busybox touch -r /moded /stamp; echo 2 >/moded; busybox touch -r /stamp /moded; \
                      : >>/was-file; chmod 600 /was-file; : >>/del; busybox touch /del; busybox ln /swap/old /swap/linked";
        let (sbx, _) = run(sbx, "oci:@/image:one", "@/two.tar", script);
        let all: Vec<String> =
            names(&sbx, "two.tar").into_iter().map(|name| name.trim_end_matches('/').to_owned()).collect();
        let expected = ["del", "moded", "stamp", "swap", "swap/linked", "swap/old", "was-file"];
        assert_eq!(all, expected, "{who:?}");
    }
}

#[test]
fn what_is_gone_is_hidden_and_what_is_replaced_is_opaque() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = filled(who);
        let (sbx, _) = run(sbx, "oci:@/image:one", "@/two.tar", CHANGE);
        let all = members(&sbx, "two.tar");
        let sorts = |name: &str| all.iter().filter(|(it, _)| it == name).map(|(_, sort)| *sort).collect::<Vec<_>>();
        for name in [".wh.gone", ".wh.del", "swap/.wh..wh..opq"] {
            assert_eq!(sorts(name), [EntryType::Regular], "{name} {all:?}");
        }
        for (name, sort) in [
            ("was-dir", EntryType::Regular),
            ("was-file/", EntryType::Directory),
            ("h1", EntryType::Regular),
            ("h2", EntryType::Link),
            ("link", EntryType::Symlink),
            ("fifo", EntryType::Fifo),
            ("zero", EntryType::Regular),
            ("closed/", EntryType::Directory),
        ] {
            assert_eq!(sorts(name), [sort], "{name} {all:?}");
        }
        let long = format!("deep/{}file", "directory-with-a-long-name/".repeat(6));
        assert_eq!(sorts(&long), [EntryType::Regular], "{all:?}");
        // Neither what sbx made, nor what did not change, nor what overlayfs notes.
        for name in ["proc/", "dev/", "tmp/", "run/", "etc/", "bin/", "keep/deep/f"] {
            assert_eq!(sorts(name), [], "{name} {all:?}");
        }
        let mut sorted = names(&sbx, "one.tar");
        sorted.sort();
        assert_eq!(names(&sbx, "one.tar"), sorted);
        let bytes = std::fs::read(sbx.path("two.tar")).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            assert_eq!(header.mode().unwrap() & 0o6000, 0, "{:?}", entry.path());
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0), "{:?}", entry.path());
        }
        assert!(!String::from_utf8_lossy(&bytes).contains("overlay."));
    }
}

#[test]
fn the_report_counts_and_a_failed_command_has_changed_something_too() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("rootfs \"%/root\"\nchanges \"@/out.tar\"");
        let script = "echo x >/new; echo y >>/etc/passwd; rm -r /work; exit 3";
        let sbx = sbx.sh(script);
        let ran = sbx.run();
        assert_eq!(ran.code(), 3, "{ran:?}");
        let changes = &ran.report["changes"];
        let count = |name: &str| changes[name].as_u64().unwrap();
        assert_eq!((count("added"), count("modified"), count("deleted")), (1, 1, 1), "{who:?} {changes}");
        let written = std::fs::metadata(changes["path"].as_str().unwrap()).unwrap();
        assert_eq!((written.len(), written.uid()), (count("bytes"), who.uid()), "{who:?}");
    }
}

#[test]
fn a_kept_layer_and_the_host_s_root_have_changes_too() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("rootfs \"%/root\" writable=\"persist\" upper=\"@/kept\"\nchanges \"@/out.tar\"");
        let sbx = sbx.sh("echo x >>/first; rm -f /etc/passwd");
        sbx.run().ok();
        let sbx = sbx.sh("echo x >>/second");
        sbx.run().ok();
        assert_eq!(names(&sbx, "out.tar"), ["etc/", "etc/.wh.passwd", "first", "second"], "{who:?}");
        let spec = sbx.path("spec.kdl").display().to_string();
        let sbx = sbx.verb(&["diff", &spec]).cmd(&[]);
        let ran = sbx.run();
        assert_eq!(ran.stdout, "D /etc/passwd\nA /first\nA /second\n", "{who:?} {ran:?}");
        let sbx = sbx.flags(&["--json"]);
        let said: serde_json::Value = serde_json::from_str(&sbx.run().stdout).unwrap();
        assert_eq!(said["changes"][0], serde_json::json!({"kind": "deleted", "path": "/etc/passwd"}), "{who:?}");
        let sbx = Sbx::new(who).spec("rootfs \"host\" writable=\"ephemeral\"\nchanges \"@/out.tar\"");
        let sbx = sbx.sh("mkdir /mine && echo x >/mine/a");
        sbx.run().ok();
        assert_eq!(names(&sbx, "out.tar"), ["mine/", "mine/a"], "{who:?}");
    }
}

/// A line of text escapes what would end it; JSON has an escape of its own.
#[test]
fn a_diff_in_json_has_names_as_they_are() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("rootfs \"%/root\" writable=\"persist\" upper=\"@/kept\"");
        let sbx = sbx.sh(r#"echo 1 >"/n$(printf '\na')"; echo 2 >'/n\na'"#);
        sbx.run().ok();
        let spec = sbx.path("spec.kdl").display().to_string();
        let sbx = sbx.verb(&["diff", &spec]).cmd(&[]);
        assert_eq!(sbx.run().stdout, "A /n\\na\nA /n\\na\n", "{who:?}");
        let said: serde_json::Value = serde_json::from_str(&sbx.flags(&["--json"]).run().stdout).unwrap();
        let paths: Vec<_> = said["changes"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/n\na", "/n\\na"], "{who:?}");
    }
}

#[test]
fn a_name_that_would_hide_another_is_left_out_and_said() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who)
            .spec("rootfs \"%/root\"\nchanges \"@/out.tar\"")
            .sh("echo x >/etc/.wh.passwd; echo y >/etc/ok");
        let ran = sbx.run();
        ran.ok();
        assert!(ran.stderr.contains("`/etc/.wh.passwd` is left out"), "{ran:?}");
        assert_eq!(names(&sbx, "out.tar"), ["etc/", "etc/ok"], "{who:?}");
    }
}

#[test]
fn a_layer_that_cannot_be_written_is_sbx_s_failure_and_leaves_nothing() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("rootfs \"%/root\"\nchanges \"@/none/out.tar\"").sh("echo ran");
        sbx.run().refused("cannot open the directory of");
        let sbx = sbx.dir("taken").spec("rootfs \"%/root\"\nchanges \"@/taken\"");
        sbx.run().refused("Is a directory");
        // Deeper than is kept.
        let sbx = sbx.file("out.tar", b"old").spec("rootfs \"%/root\"\nchanges \"@/out.tar\"");
        let sbx = sbx.sh("mkdir /d && cd /d && i=0; while test $i -lt 450; do mkdir d && cd d; i=$((i+1)); done");
        let ran = sbx.run();
        assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{ran:?}");
        assert!(ran.stderr.contains("directories deep") && ran.stderr.contains("spec.kdl:2"), "{ran:?}");
        assert_eq!(ran.report["outcome"]["error"]["kind"], "io", "{ran:?}");
        assert_eq!((sbx.read("out.tar").as_str(), leftovers(&sbx).len()), ("old", 0));
    }
}

/// A directory is in the layer for its mode or its attributes alone, and so is the root; times are whole.
#[test]
fn what_a_directory_is_counts_as_much_as_what_is_in_it() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        use crate::image::arena::{dir, file, pax, tar};
        let root = |member: Vec<u8>| [pax(&[("uid", b"0"), ("gid", b"0")]), member].concat();
        let members = [dir("mode"), dir("attribute"), file("attribute/x", "1"), dir("same"), dir("other")];
        let base = tar(&members.map(root));
        let sbx = crate::layered::maker::image(who, &[base]);
        let spec = crate::layered::maker::SPEC.replacen('\n', " writable=\"persist\" upper=\"@/up\"\n", 1);
        let spec = format!("{spec}\nuser \"root\"\nchanges \"@/out.tar\"\n");
        let run = |sbx: Sbx, script: &str| {
            let (ran, sbx) = crate::layered::maker::shell(sbx.spec(&spec), script);
            ran.ok();
            let mut names = names(&sbx, "out.tar");
            names.sort();
            (sbx, names)
        };
        let script = "b=/.probe/busybox; $b chmod 700 /mode; echo 1 >/same/y; $b rm /same/y; echo 2 >/attribute/x";
        let (sbx, found) = run(sbx, script);
        assert_eq!(found, ["attribute/", "attribute/x", "mode/"], "{who:?}");
        let bytes = std::fs::read(sbx.path("out.tar")).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let mut entry = entries.find(|entry| &*entry.path_bytes() == b"attribute/x").unwrap();
        let time = entry.pax_extensions().unwrap().unwrap().map(Result::unwrap).find(|it| it.key() == Ok("mtime"));
        let file = std::fs::metadata(sbx.path("up/upper/attribute/x")).unwrap();
        let expected = format!("{}.{:09}", file.mtime(), file.mtime_nsec());
        assert_eq!(time.map(|time| time.value().unwrap().to_owned()), Some(expected), "{who:?}");

        let set =
            "import os, sys\nfor name in 'same', '': os.setxattr(sys.argv[1] + '/up/upper/' + name, 'user.x', b'1')";
        let place = sbx.path("").display().to_string();
        let done = std::process::Command::new("python3").args(["-c", set, &place]).status();
        if !done.is_ok_and(|status| status.success()) {
            crate::harness::skip("no python3, or no attributes where the tests lie");
            continue;
        }
        let (sbx, found) = run(sbx, "true");
        assert_eq!(found, ["./", "attribute/", "attribute/x", "mode/", "same/"], "{who:?}");
        let clear = set.replace("setxattr", "removexattr").replace(", b'1'", "");
        assert!(std::process::Command::new("python3").args(["-c", &clear, &place]).status().unwrap().success());
        let (_, found) = run(sbx, "/.probe/busybox chmod 711 /");
        assert_eq!(found, ["./", "attribute/", "attribute/x", "mode/"], "{who:?}");
    }
}
