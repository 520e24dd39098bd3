//! What is remembered of images that lie in a place, and when it counts.

use std::process::Command;

use crate::fixture;
use crate::harness::Who;
use crate::image_verbs::shop::{SAID, Shop};

/// A run of a layout that is in the store costs the same however many layers it has: only its index is read.
#[test]
fn a_layout_that_did_not_change_is_not_read_again() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        let runs = |source: &str, said: &str| {
            let ran = shop.run(source);
            assert_eq!((ran.out.as_str(), ran.status), (said, 0), "{source}: {ran:?}");
        };
        runs("oci:lay:a", SAID);
        shop.script("mv \"$1/lay/blobs\" \"$1/away\"", &[&shop.text("")]);
        runs("oci:lay:a", SAID);
        let none = shop.run("oci:root.tar");
        assert!(none.status == 125 && none.err.contains("root.tar`: is not a directory"), "{none:?}");
        let other = shop.run("oci:lay");
        assert!(other.status == 125 && other.err.contains("is missing"), "another choice is not known: {other:?}");
        shop.script("echo >> \"$1/lay/index.json\"", &[&shop.text("")]);
        let changed = shop.run("oci:lay:a");
        assert!(changed.status == 125 && changed.err.contains("is missing"), "{changed:?}");
        shop.script("mv \"$1/away\" \"$1/lay/blobs\"", &[&shop.text("")]);
        runs("oci:lay:a", SAID);
        assert_eq!(shop.image_verb(&["verify"]), "");

        // What was removed of an image that stays is there again with the next run.
        runs("oci:lay:a", SAID);
        shop.image_verb(&["pull", "oci-archive:oci.tar"]);
        let names = || shop.json(&["list"]).as_array().unwrap().len();
        assert_eq!(names(), 2);
        shop.image_verb(&["remove", "oci:lay:a"]);
        assert_eq!(names(), 1);
        runs("oci:lay:a", SAID);
        assert_eq!(names(), 2);
        shop.image_verb(&["remove", "oci:lay:a", "oci-archive:oci.tar"]);
        assert!(!shop.files().iter().any(|file| file.ends_with(".image")), "{:?}", shop.files());
        runs("oci:lay:a", SAID);
    }
}

/// A place of which nothing can be remembered is read each time.
#[test]
fn a_memo_that_cannot_be_written_ends_no_run() {
    let Some(who) = Who::all().into_iter().find(|who| who.uid() != 0) else { return };
    let Some(shop) = Shop::new(who) else { return };
    shop.image_verb(&["pull", "oci:lay:a"]);
    shop.script("rm -f \"$1\"/*.image; chmod 0555 \"$1\"", &[&shop.store("seen").display().to_string()]);
    for _ in 0..2 {
        let ran = shop.run("oci:lay:a");
        assert_eq!((ran.out.as_str(), ran.err.as_str(), ran.status), (SAID, "", 0), "{ran:?}");
    }
    assert!(!shop.files().iter().any(|file| file.starts_with("seen/")), "{:?}", shop.files());
}

/// Two file systems that a program made, with times of its own, on one device.
#[test]
fn a_layout_whose_times_do_not_tell_is_the_one_that_is_there() {
    let Some(who) = Who::root() else { return };
    let Some(shop) = Shop::new(who) else { return };
    let make = r#"
        set -e; cd "$1"; mkdir m
        for n in 1 2; do
            mkdir tree; cp -a lay tree/lay
            umoci config --image tree/lay:a --history.created 2020-01-01T00:00:00Z --created 2020-01-01T00:00:00Z \
                --config.cmd /bin/busybox --config.cmd echo --config.cmd $n
            truncate -s 16M $n.img; mke2fs -q -t ext4 -d tree $n.img
            for time in mtime ctime; do
                debugfs -w -R "sif /lay/index.json $time 1577836800" $n.img 2>&1
                debugfs -w -R "sif /lay/index.json ${time}_extra 0" $n.img 2>&1
            done
            rm -r tree
        done
    "#;
    shop.script(make, &[&shop.text("")]);
    std::fs::write(shop.path("m.kdl"), format!("rootfs \"oci:{}:a\"\n", shop.text("m/lay"))).unwrap();
    let script = r#"
        set -e; cd "$1"; device=$(losetup -f --show 1.img); trap 'losetup -d $device' EXIT
        for n in 1 2; do
            mount -o ro $device m; stat -c '%d %i %s %Y %Z' m/lay/index.json
            "$2" run --report none m.kdl || echo "failed: $?"; umount m
            dd if=2.img of=$device bs=1M status=none; blockdev --flushbufs $device
        done
    "#;
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(shop.path("")).arg(fixture::binary());
    let said = command.env("SBX_STORE", shop.store("")).output().unwrap();
    let out = String::from_utf8(said.stdout).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    let [one, first, other, second] = lines[..] else { panic!("{lines:?} {:?}", String::from_utf8(said.stderr)) };
    assert_eq!((one, first, second), (other, "1", "2"), "{lines:?}");
}
