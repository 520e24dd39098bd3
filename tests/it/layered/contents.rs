//! What layers do to one another: each image is run and compared with what umoci makes of it.

use std::os::unix::fs::MetadataExt as _;

use super::maker::{
    Layer, assert_same, has, image, inside, kept, readable, run, shell, unpacked, write_image, write_layout,
};
use crate::harness::{Sbx, Who};
use crate::image::arena::{Entry, dir, file, hardlink, pax, symlink, tar};

type Layers = Vec<Vec<u8>>;

/// A sparse file in the old GNU format: 1 MiB, of which the last 512 bytes are there.
fn sparse(name: &str) -> Vec<u8> {
    let mut bytes = Entry::new(b'S', name).data(&[b'x'; 512]).bytes();
    bytes[386..398].copy_from_slice(b"00003777000\0");
    bytes[398..410].copy_from_slice(b"00000001000\0");
    bytes[483..495].copy_from_slice(b"00004000000\0");
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes
}

fn changes() -> Vec<(&'static str, Layers)> {
    let base =
        || tar(&[dir("etc"), file("etc/a", "one"), file("etc/b", "two"), dir("etc/deep"), file("etc/deep/c", "3")]);
    vec![
        ("a whiteout of a file", vec![base(), tar(&[file("etc/.wh.a", "")])]),
        ("a whiteout of a directory", vec![base(), tar(&[file("etc/.wh.deep", "")])]),
        (
            "a whiteout and the same name",
            vec![base(), tar(&[file("etc/.wh.deep", ""), dir("etc/deep"), file("etc/deep/d", "4")])],
        ),
        (
            "the name before its whiteout",
            vec![base(), tar(&[dir("etc/deep"), file("etc/deep/d", "4"), file("etc/deep/.wh.c", "")])],
        ),
        ("opaque", vec![base(), tar(&[dir("etc"), file("etc/.wh..wh..opq", ""), file("etc/new", "x")])]),
        (
            "opaque after its contents",
            vec![base(), tar(&[dir("etc"), file("etc/new", "x"), file("etc/.wh..wh..opq", "")])],
        ),
        ("a whiteout of nothing", vec![base(), tar(&[file("etc/.wh.nothing", "")])]),
        ("taken away and made again", vec![base(), tar(&[file("etc/.wh.a", "")]), tar(&[file("etc/a", "again")])]),
        ("a file becomes a directory", vec![base(), tar(&[dir("etc/a"), file("etc/a/in", "x")])]),
        ("a directory becomes a file", vec![base(), tar(&[file("etc/deep", "flat")])]),
        ("a directory becomes a link", vec![base(), tar(&[symlink("etc/deep", "a")])]),
        ("a link becomes a file", vec![tar(&[file("a", "1"), symlink("l", "a")]), tar(&[file("l", "own")])]),
        (
            "a link becomes a directory",
            vec![tar(&[dir("opt"), file("opt/f", "1"), symlink("l", "opt")]), tar(&[dir("l"), file("l/g", "2")])],
        ),
        (
            "through a link below",
            vec![tar(&[dir("opt"), dir("var"), symlink("var/opt", "/opt")]), tar(&[file("var/opt/x", "1")])],
        ),
        (
            "through a relative link below",
            vec![
                tar(&[dir("opt"), dir("var"), symlink("var/opt", "../opt")]),
                tar(&[dir("var/opt/d"), file("var/opt/d/x", "1")]),
            ],
        ),
        (
            "a whiteout through a link",
            vec![
                tar(&[dir("opt"), file("opt/x", "1"), file("opt/y", "2"), symlink("l", "opt")]),
                tar(&[file("l/.wh.x", "")]),
            ],
        ),
        ("one file with two names", vec![tar(&[file("a", "1"), hardlink("b", "a"), hardlink("c", "b")])]),
        ("a name of a file below", vec![base(), tar(&[hardlink("etc/again", "etc/a"), hardlink("top", "/etc/b")])]),
        ("a name of a file below, which goes", vec![base(), tar(&[hardlink("top", "etc/a"), file("etc/.wh.b", "")])]),
        ("a name of a file below that goes", vec![base(), tar(&[hardlink("etc/z", "etc/a"), file("etc/.wh.a", "")])]),
        (
            "a name in a directory below that goes",
            vec![base(), tar(&[hardlink("etc/z", "etc/deep/c"), file("etc/.wh.deep", "")])],
        ),
        ("a mode of a directory", vec![base(), tar(&[Entry::new(b'5', "etc").mode(0o1777).bytes()])]),
        ("an empty layer between", vec![base(), tar(&[]), tar(&[file("top", "x")])]),
        ("a layer twice", vec![base(), tar(&[file("etc/.wh.a", "")]), base()]),
        ("a layer without a byte", vec![base(), Vec::new(), tar(&[file("top", "x")])]),
        ("no end mark", vec![base(), file("top", "x")]),
        (
            "no padding either",
            vec![base(), {
                let mut last = file("top", "x");
                last.truncate(513);
                last
            }],
        ),
    ]
}

/// Names, times and modes, alone and between other layers.
fn members() -> Vec<(&'static str, Layers)> {
    let long = "n".repeat(200);
    let far = format!("{}/{}", "d".repeat(120), "e".repeat(120));
    vec![(
        "names and times",
        vec![
            tar(&[
                dir("d"),
                [pax(&[("mtime", b"1234567890.987654321")]), file("d/time", "t")].concat(),
                [pax(&[("mtime", b"-100")]), file("d/old", "t")].concat(),
                file(&format!("d/{long}"), "long"),
                dir(&format!("d/{}", "d".repeat(120))),
                [pax(&[("path", format!("d/{far}").as_bytes())]), dir("short")].concat(),
                file(&format!("d/{far}/deep"), "far"),
                symlink("d/link", &"t".repeat(300)),
                Entry { name: b"d/\xff\xfe%41", ..Entry::new(b'0', "").data(b"bytes") }.bytes(),
                Entry { link: b"\xff", ..Entry::new(b'2', "d/bytes") }.bytes(),
                Entry::new(b'6', "d/fifo").mode(0o640).bytes(),
                Entry::new(b'0', "d/set-id").mode(0o6755).data(b"x").bytes(),
                Entry::new(b'5', "d/set-gid").mode(0o2755).bytes(),
                Entry::new(b'0', "d/run").mode(0o555).data(b"x").bytes(),
            ]),
            tar(&[file("over", "x")]),
        ],
    )]
}

#[test]
fn each_image_is_what_umoci_makes_of_it() {
    if !has(&["umoci"]) {
        return;
    }
    for (name, layers) in [changes(), members()].concat() {
        let mut theirs = None;
        for who in Who::all() {
            let sbx = image(who, &layers);
            let theirs = theirs.get_or_insert_with(|| unpacked(&sbx.path("image")));
            assert_same(&inside(sbx).0, theirs, &format!("{who:?} {name}"));
            // The same where the lowest layers are in the store, so that the root is begun with them.
            for lowest in 1..layers.len() {
                let (_, sbx) = inside(image(who, &layers[..lowest]));
                write_image(&sbx, &layers);
                let (listing, sbx) = inside(sbx);
                assert_same(&listing, theirs, &format!("{who:?} {name}, {lowest} of its layers there"));
                assert_eq!(kept(&sbx, "tmp"), Vec::<String>::new(), "{who:?} {name}");
            }
        }
    }
}

/// The archive's owners on disk as root, the caller's otherwise; the list has the archive's in both.
#[test]
fn owners_and_set_id_bits_are_remembered() {
    if !has(&["umoci"]) {
        return;
    }
    let set_id = || Entry::new(b'0', "d/set-id").mode(0o6755).data(b"x").bytes();
    for who in Who::all() {
        let sbx = image(who, &[tar(&[dir("d"), set_id()]), tar(&[file("top", "x")])]);
        let (ran, sbx) = shell(sbx, "/.probe/busybox stat -c %a /d/set-id");
        assert_eq!(ran.ok(), "755", "{who:?}");
        let [root] = &kept(&sbx, "roots")[..] else { panic!("{:?}", kept(&sbx, "roots")) };
        for name in ["d", "d/set-id", "top"] {
            let found = std::fs::metadata(sbx.path("store/roots").join(root).join("rootfs").join(name)).unwrap();
            let owner = if who == Who::Root { (12, 34) } else { (who.uid(), who.gid()) };
            assert_eq!((found.uid(), found.gid()), owner, "{who:?} {name}");
            assert_eq!(found.mode() & 0o6000, 0, "{who:?} {name}");
        }
        let lists: String =
            kept(&sbx, "layers").iter().map(|name| sbx.read(&format!("store/layers/{name}/list"))).collect();
        let line = lists.lines().find(|line| line.contains("d/set-id")).unwrap();
        for word in [r#""mode":3565"#, r#""uid":12"#, r#""gid":34"#] {
            assert!(line.contains(word), "{who:?}: no {word} in {line}");
        }
    }
}

/// Those of domains, of other machines' containers, and the highest that there is.
#[test]
fn every_owner_is_kept() {
    let ids = [65_535, 65_536, 1_000_000, 999_999_999, 4_294_967_294];
    let mut builder = tar::Builder::new(Vec::new());
    for id in ids {
        let mut header = tar::Header::new_gnu();
        header.set_uid(id);
        header.set_gid(id);
        header.set_mode(0o644);
        header.set_size(0);
        builder.append_data(&mut header, id.to_string(), std::io::empty()).unwrap();
    }
    let layer = builder.into_inner().unwrap();
    for who in Who::all() {
        let (ran, sbx) = shell(image(who, std::slice::from_ref(&layer)), "/.probe/busybox true");
        ran.ok();
        let [layer] = &kept(&sbx, "layers")[..] else { panic!("{:?}", kept(&sbx, "layers")) };
        for id in ids {
            let path = sbx.path("store/layers").join(layer).join("rootfs").join(id.to_string());
            let found = std::fs::metadata(path).unwrap();
            let owner = if who == Who::Root { (id, id) } else { (who.uid().into(), who.gid().into()) };
            assert_eq!((u64::from(found.uid()), u64::from(found.gid())), owner, "{who:?}");
        }
    }
}

#[test]
fn devices_are_left_out_and_counted() {
    for who in Who::all() {
        let device = |name: &str| Entry::new(b'3', name).bytes();
        let (ran, _) = shell(
            image(who, &[tar(&[device("null"), device("dev/null2"), file("f", "x")]), tar(&[device("other")])]),
            "cd /; for f in null other f; do test -e $f && echo $f; done",
        );
        assert_eq!(ran.ok(), "f", "{who:?}");
        let warnings = ran.report["warnings"].to_string();
        assert!(warnings.contains("2 device"), "{who:?}: {warnings}");
    }
}

/// Extended attributes of files and directories, which a merged root has anew.
#[test]
fn attributes_come_through_the_merge() {
    if !has(&["python3"]) {
        return;
    }
    let with = |value: &[u8], member: Vec<u8>| [pax(&[("SCHILY.xattr.user.a", value)]), member].concat();
    for who in Who::all() {
        let layers = [
            tar(&[
                with(b"root", dir("./")),
                with(b"\xff\n%\0x", dir("d")),
                with(b"file", file("d/f", "x")),
                with(b"below", dir("e")),
            ]),
            tar(&[file("d/g", "x"), with(b"above", dir("e"))]),
        ];
        let (ran, sbx) = shell(image(who, &layers), "true");
        ran.ok();
        let [root] = &kept(&sbx, "roots")[..] else { panic!("{:?}", kept(&sbx, "roots")) };
        let script =
            "import os,sys\nos.chdir(sys.argv[1])\nfor n in ['.','d','d/f','e']: print(n, os.getxattr(n, 'user.a'))";
        let path = sbx.path("store/roots").join(root).join("rootfs");
        let said = std::process::Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
        let expected = ". b'root'\nd b'\\xff\\n%\\x00x'\nd/f b'file'\ne b'above'\n";
        assert_eq!(
            String::from_utf8_lossy(&said.stdout),
            expected,
            "{who:?} {}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[test]
fn as_many_layers_as_overlay_file_systems_take() {
    let layers: Layers =
        (0..127).map(|number| tar(&[file("f", &number.to_string()), file(&format!("f{number}"), "x")])).collect();
    for who in Who::all() {
        let (ran, sbx) =
            shell(image(who, &layers), "cat /f; echo; /.probe/busybox find / -maxdepth 1 -name 'f*' | wc -l");
        assert_eq!(ran.ok(), "126\n128", "{who:?}");
        assert_eq!(kept(&sbx, "layers").len(), 127);
        let many = [layers.clone(), vec![tar(&[file("one", "more")])]].concat();
        shell(image(who, &many), "echo ran").0.refused("has 128 layers, more than 127");
    }
}

#[test]
fn a_hard_link_to_nothing_is_refused() {
    for who in Who::all() {
        let (ran, _) = shell(image(who, &[tar(&[hardlink("h", "nothing")])]), "echo ran");
        ran.refused("hard links of its only layer lead to files that are not in it");
        let (ran, _) = shell(image(who, &[tar(&[file("f", "x")]), tar(&[hardlink("h", "nothing")])]), "echo ran");
        ran.refused("neither in its layer nor in one below");
    }
}

/// Layers are shared: of an image that differs in its top only, one is new.
#[test]
fn layers_are_shared_by_images() {
    for who in Who::all() {
        let layers = [tar(&[file("a", "1")]), tar(&[file("b", "2")]), tar(&[file("c", "3")])];
        let (ran, sbx) = shell(image(who, &layers), "cat /a /b /c");
        assert_eq!(ran.ok(), "123");
        let before = kept(&sbx, "layers");
        let other = [layers[0].clone(), layers[1].clone(), tar(&[file("c", "4")])];
        std::fs::remove_dir_all(sbx.path("image")).unwrap();
        write_layout(&sbx.path("image"), &other.iter().map(|tar| Layer::plain(tar)).collect::<Vec<_>>());
        let (ran, sbx): (_, Sbx) = shell(sbx, "cat /a /b /c");
        assert_eq!(ran.ok(), "124", "{who:?}");
        let after = kept(&sbx, "layers");
        assert!(
            before.iter().all(|name| after.contains(name)) && after.len() == before.len() + 1,
            "{before:?} {after:?}"
        );
    }
}

/// umoci's own layers: what it repacks hides what was taken away.
#[test]
fn what_umoci_repacks_is_run() {
    if !has(&["umoci"]) {
        return;
    }
    for who in Who::all() {
        let sbx =
            image(who, &[tar(&[dir("etc"), file("etc/a", "1"), file("etc/b", "2"), dir("gone"), file("gone/f", "x")])]);
        let (image, bundle) = (format!("{}:a", sbx.path("image").display()), sbx.path("bundle"));
        run("umoci", &["unpack", "--rootless", "--image", &image, &bundle.display().to_string()]);
        std::fs::remove_dir_all(bundle.join("rootfs/gone")).unwrap();
        std::fs::remove_file(bundle.join("rootfs/etc/a")).unwrap();
        std::fs::write(bundle.join("rootfs/etc/c"), "3").unwrap();
        run("umoci", &["repack", "--image", &image, &bundle.display().to_string()]);
        std::fs::write(sbx.path("inserted"), "y").unwrap();
        run(
            "umoci",
            &["insert", "--rootless", "--image", &image, &sbx.path("inserted").display().to_string(), "/etc/y"],
        );
        run("umoci", &["insert", "--rootless", "--whiteout", "--image", &image, "/etc/b"]);
        readable(&sbx.path("image"));
        let theirs = unpacked(&sbx.path("image"));
        assert!(theirs.contains_key("./etc/y") && !theirs.contains_key("./etc/b"), "{theirs:?}");
        assert_same(&inside(sbx).0, &theirs, &format!("{who:?}"));
    }
}

/// A hole of a file stays one; umoci does not read the format.
#[test]
fn a_sparse_file_stays_sparse() {
    for who in Who::all() {
        let layers = [tar(&[sparse("sparse")]), tar(&[file("top", "x")])];
        let (ran, sbx) = shell(image(who, &layers), "wc -c </sparse; /.probe/busybox tr -d '\\000' </sparse | wc -c");
        assert_eq!(ran.ok(), "1048576\n512", "{who:?}");
        let [root] = &kept(&sbx, "roots")[..] else { panic!("{:?}", kept(&sbx, "roots")) };
        let found = std::fs::metadata(sbx.path("store/roots").join(root).join("rootfs/sparse")).unwrap();
        assert!(found.len() == 1 << 20 && found.blocks() <= 16, "{who:?}: {} blocks", found.blocks());
    }
}

/// What a layer is said to be is not believed because the same was said of another, or because that is in the store.
#[test]
fn every_layer_is_read_before_it_counts() {
    if !has(&[]) {
        return;
    }
    for who in Who::all() {
        let good = tar(&[file("a", "1"), file("b", "2")]);
        let lie = |packed: &[u8]| Layer { diff_id: Layer::plain(&good).diff_id, ..Layer::plain(packed) };
        let sbx = Sbx::new(who).spec(super::maker::SPEC);
        write_layout(&sbx.path("image"), &[Layer::gzip(&good), lie(&tar(&[file("b", "other")]))]);
        let (ran, sbx) = shell(sbx, "cat /b");
        ran.refused("its unpacked digest is");
        assert_eq!(kept(&sbx, "layers"), Vec::<String>::new(), "{who:?}");
        // Packed in two ways it is one layer.
        write_layout(&sbx.path("image"), &[Layer::gzip(&good), Layer::plain(&good)]);
        let (ran, sbx) = shell(sbx, "cat /b");
        assert_eq!(ran.ok(), "2", "{who:?}");
        assert_eq!(kept(&sbx, "layers").len(), 1, "{who:?}");
        write_layout(&sbx.path("image"), &[lie(b"no tar at all"), Layer::plain(&tar(&[file("c", "3")]))]);
        let (ran, sbx) = shell(sbx, "cat /b");
        ran.refused("layer 1 of 2");
        assert_eq!(kept(&sbx, "layers").len(), 1, "{who:?}");
        // An image of which nothing has to be read makes no other believed.
        write_layout(&sbx.path("image"), &[lie(b"no tar at all")]);
        let (ran, sbx) = shell(sbx, "cat /b");
        assert_eq!(ran.ok(), "2", "{who:?}");
        write_layout(&sbx.path("image"), &[lie(b"no tar at all"), Layer::plain(&tar(&[file("c", "3")]))]);
        let (ran, _) = shell(sbx, "cat /b");
        ran.refused("layer 1 of 2");
    }
}
