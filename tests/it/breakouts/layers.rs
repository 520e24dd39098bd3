//! Class H again, for images of layers: what one layer plants, another uses. Each image is run; what is refused names
//! the image and the layer, and nothing of it comes into the store.

use std::path::Path;

use sbx::image::digest::Digest;
use serde_json::{Value, json};

use crate::fixture::has_rootfs;
use crate::harness::{Ran, Sbx, Who};
use crate::image::arena::{Census, Entry, census, dir, file, hardlink, pax, symlink, tar};
use crate::layered::maker::{Layer, SPEC, image, kept, shell, write_layout};

/// What comes of an image: a message, or text that a line of the shell prints inside.
enum Comes {
    Refused(&'static str),
    Prints(&'static str, &'static str),
}
use Comes::{Prints, Refused};

type Case = (&'static str, Vec<Vec<Vec<u8>>>, Comes);

fn judge(cases: impl Fn(&str) -> Vec<Case>) {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        for number in 0..cases("").len() {
            let canary = tempfile::tempdir_in("/var/tmp").unwrap();
            std::fs::create_dir(canary.path().join("deep")).unwrap();
            std::fs::write(canary.path().join("file"), "untouched").unwrap();
            let before = outside(canary.path());
            let (name, layers, comes) = cases(&canary.path().display().to_string()).swap_remove(number);
            let layers: Vec<_> = layers.iter().map(|members| tar(members)).collect();
            let script = if let Prints(script, _) = comes { script } else { "echo ran" };
            let (ran, sbx) = shell(image(who, &layers), script);
            assert_eq!(outside(canary.path()), before, "{who:?} {name}: something outside changed");
            match comes {
                Prints(_, text) => assert_eq!(ran.ok(), text, "{who:?} {name}"),
                Refused(words) => refused(&ran, &sbx, words),
            }
        }
    }
}

/// What an escape could change.
fn outside(canary: &Path) -> Census {
    let mut census = census(canary);
    census.insert("passwd".into(), format!("{:?}", std::fs::read("/etc/passwd").unwrap()));
    census
}

#[track_caller]
fn refused(ran: &Ran, sbx: &Sbx, words: &str) {
    ran.refused(words);
    for name in ["roots", "tmp"] {
        assert_eq!(kept(sbx, name), Vec::<String>::new(), "{words}: a refused image came into the store");
    }
    let home = sbx.path("").display().to_string();
    assert!(ran.stderr.contains(&home), "the image is not named: {ran:?}");
}

/// The cases of containerd's `TestBreakouts`, of moby and of umoci, where one layer plants the link and the next one uses it.
#[test]
fn cve_2025_47290_cve_2021_32760_a_layer_does_not_lead_the_next_one_out() {
    judge(|canary| {
        let up = "../".repeat(40);
        let far = format!("{up}{}", &canary[canary.len().min(1)..]);
        let base = || vec![dir("etc"), file("etc/passwd", "inside")];
        let with = |more: Vec<u8>| [base(), vec![more]].concat();
        let open = |name: &str| Entry::new(b'5', name).mode(0o777).bytes();
        vec![
            ("absolute link", vec![with(symlink("l", canary)), vec![file("l/file", "x")]], Prints("cat /l/file", "x")),
            ("relative link", vec![with(symlink("l", &far)), vec![file("l/file", "x")]], Prints("cat /l/file", "x")),
            ("link to a parent", vec![with(symlink("l", "..")), vec![file("l/f", "x")]], Prints("cat /f", "x")),
            (
                "link in a link",
                vec![with(symlink("l", "etc")), vec![symlink("l/m", "../..")], vec![file("l/m/f", "x")]],
                Prints("cat /f", "x"),
            ),
            (
                "file over a link",
                vec![with(symlink("l", &format!("{canary}/file"))), vec![file("l", "x")]],
                Prints("cat /l", "x"),
            ),
            (
                "mode over a link",
                vec![with(symlink("l", canary)), vec![open("l")]],
                Prints("test -h /l || stat -c %a /l", "777"),
            ),
            (
                "mode below a link",
                vec![with(symlink("l", canary)), vec![open("l/deep")]],
                Prints("stat -c %a /l/deep", "777"),
            ),
            ("links that do not end", vec![with(symlink("l", "l")), vec![file("l/f", "x")]], Refused("do not end")),
            (
                "links of two layers that do not end",
                vec![with(symlink("a", "b/x")), vec![symlink("b", "a/x")], vec![file("a/f", "x")]],
                Refused("do not end"),
            ),
        ]
    });
}

/// The same with what is taken away, hard links and names.
#[test]
fn cve_2026_33747_whiteouts_and_hard_links_stay_in_the_image() {
    judge(|canary| {
        let base = || vec![dir("etc"), file("etc/passwd", "inside")];
        let with = |more: Vec<u8>| [base(), vec![more]].concat();
        let up = "../".repeat(40);
        vec![
            (
                "whiteout through a link",
                vec![with(symlink("l", canary)), vec![file("l/.wh.file", "")]],
                Prints("echo ok", "ok"),
            ),
            (
                "opaque through a link",
                vec![with(symlink("l", canary)), vec![file("l/.wh..wh..opq", "")]],
                Prints("echo ok", "ok"),
            ),
            (
                "whiteout inside, through a link",
                vec![with(symlink("l", "/etc")), vec![file("l/.wh.passwd", "")]],
                Prints("test -e /etc/passwd || echo gone", "gone"),
            ),
            (
                "whiteout of a link",
                vec![with(symlink("l", canary)), vec![file(".wh.l", "")]],
                Prints("test -h /l || echo gone", "gone"),
            ),
            (
                "hard link to a link's target",
                vec![with(symlink("l", "/etc")), vec![hardlink("h", "l/passwd")]],
                Prints("cat /h", "inside"),
            ),
            (
                "hard link to a link",
                vec![with(symlink("l", "/etc/hostname")), vec![hardlink("h", "l")], vec![file("h", "x")]],
                Prints("cat /h", "x"),
            ),
            (
                "hard link through a link out",
                vec![with(symlink("l", canary)), vec![hardlink("h", "l/file")]],
                Refused("neither in its layer nor in one below"),
            ),
            (
                "hard link up and out",
                vec![base(), vec![hardlink("h", &format!("{up}etc/passwd"))]],
                Refused("holds `..`"),
            ),
            ("hard link to a directory", vec![base(), vec![hardlink("h", "etc")]], Refused("which is a directory")),
            (
                "hard link to what is hidden",
                vec![base(), vec![file("etc/.wh.passwd", ""), hardlink("h", "etc/passwd")]],
                Refused("neither in its layer nor in one below"),
            ),
            ("name up and out", vec![base(), vec![file("../victim", "x")]], Refused("holds `..`")),
            (
                "long name up and out",
                vec![base(), vec![pax(&[("path", b"a/../../victim")]), file("a", "x")]],
                Refused("holds `..`"),
            ),
            (
                "through procfs",
                vec![
                    vec![dir("proc"), symlink("proc/self", canary)],
                    vec![file("proc/self/file", "x"), file("f", "y")],
                ],
                Prints("cat /f", "y"),
            ),
        ]
    });
}

/// umoci let `/.` of a layer be a link: the layers above were put where it led.
#[test]
fn cve_2021_29136_no_layer_makes_the_root_a_link() {
    judge(|canary| {
        let mut cases: Vec<Case> = Vec::new();
        for name in ["/.", ".", "/", "./"] {
            cases.push(("link below", vec![vec![symlink(name, canary)], vec![file("file", "x")]], Refused("root")));
            cases.push((
                "link above",
                vec![vec![file("f", "x")], vec![symlink(name, canary), file("file", "x")]],
                Refused("root"),
            ));
            cases.push(("file", vec![vec![file("f", "x")], vec![file(name, "x")]], Refused("directory")));
            cases.push(("hard link", vec![vec![file("f", "x")], vec![hardlink(name, "f")]], Refused("root")));
            cases.push((
                "directory",
                vec![vec![file("f", "x")], vec![dir(name), file("g", "y")]],
                Prints("cat /f /g", "xy"),
            ));
        }
        cases
    });
}

/// Names that begin with `.wh.`: what they hide is in this image, or they are refused.
#[test]
fn whiteouts_hide_names_of_layers_below_and_nothing_else() {
    judge(|canary| {
        let base = || vec![dir("d"), file("d/f", "x"), file("g", "y")];
        let left = |text| {
            Prints("cd /; for n in d d/f g; do test -e $n && echo -n \"$n \"; done; test -e /d/f -o -e /g; echo", text)
        };
        let on = |members: Vec<Vec<u8>>| vec![base(), members];
        vec![
            ("nothing", on(vec![file(".wh.", "")]), Refused("hides nothing")),
            ("the directory", on(vec![file("d/.wh..", "")]), Refused("hides nothing")),
            ("the one above", on(vec![file("d/.wh...", "")]), Refused("hides nothing")),
            ("the root", on(vec![file(".wh..", "")]), Refused("hides nothing")),
            ("above the root", on(vec![file(".wh...", "")]), Refused("hides nothing")),
            ("by a path out", on(vec![file("../.wh.g", "")]), Refused("holds `..`")),
            ("an absolute path", on(vec![file("/d/.wh.f", "")]), left("d g ")),
            ("as a directory", on(vec![dir("d/.wh.f")]), left("d g ")),
            ("as a link", on(vec![symlink("d/.wh.f", canary)]), left("d g ")),
            ("as a hard link", on(vec![hardlink("d/.wh.f", "g")]), left("d g ")),
            ("opaque as a directory", on(vec![dir("d/.wh..wh..opq")]), left("d g ")),
            ("opaque as a link", on(vec![symlink("d/.wh..wh..opq", canary)]), left("d g ")),
            ("an opaque root", on(vec![file(".wh..wh..opq", ""), file("g", "new")]), left("g ")),
            ("of AUFS", on(vec![dir(".wh..wh.plnk"), file(".wh..wh.aufs", "")]), left("d d/f g ")),
            ("in a whiteout", on(vec![dir(".wh.d"), file(".wh.d/x", "")]), Refused("lies in the whiteout")),
            ("in a directory of AUFS", on(vec![dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x")]), left("d d/f g ")),
            (
                "of its own layer only",
                vec![vec![file("g", "y"), file(".wh.g", "")], vec![file("h", "z")]],
                Prints("cat /g", "y"),
            ),
            (
                "and none is to be seen",
                on(vec![file("d/.wh.f", ""), file("d/.wh..wh..opq", "")]),
                Prints("ls -a /d | grep wh; echo ok", "ok"),
            ),
        ]
    });
}

/// An image on which an attacker has worked: a blob that is not what its digest says, or a layer that is not what the
/// configuration says.
#[test]
fn what_is_not_what_its_digest_says_is_refused_by_name() {
    if !has_rootfs() {
        return;
    }
    let tars = [tar(&[file("a", "1")]), tar(&[file("b", "2")])];
    for who in Who::all() {
        for number in 0..2 {
            for harm in ["a byte", "cut", "longer", "other", "diff id"] {
                let sbx = Sbx::new(who).spec(SPEC);
                let mut layers: Vec<_> = tars.iter().map(|tar| Layer::plain(tar)).collect();
                if harm == "diff id" {
                    layers[number].diff_id = Digest::of(b"something else").to_string();
                }
                write_layout(&sbx.path("image"), &layers);
                let digest = Digest::of(&tars[number]);
                let path = sbx.path("image/blobs/sha256").join(digest.hex());
                let mut bytes = tars[number].clone();
                match harm {
                    "a byte" => bytes[512] = b'!',
                    "cut" => bytes.truncate(1024),
                    "longer" => bytes.extend([0; 512]),
                    "other" => bytes = [file("c", "3"), vec![0; bytes.len() - 1024]].concat(),
                    _ => {}
                }
                std::fs::write(&path, &bytes).unwrap();
                let (ran, sbx) = shell(sbx, "echo ran");
                refused(&ran, &sbx, digest.hex());
                assert_eq!(kept(&sbx, "layers"), Vec::<String>::new(), "{who:?} {number} {harm}");
                let layer = format!("layer {} of 2", number + 1);
                let wanted = if matches!(harm, "cut" | "longer") { "bytes" } else { layer.as_str() };
                assert!(ran.stderr.contains(wanted), "{who:?} {harm}: {ran:?}");
            }
        }
    }
}

/// A layer that says it holds more than anybody asked for; what only turns out to is in `archives`.
#[test]
fn cve_2017_14992_cve_2023_25153_a_layer_that_is_a_bomb() {
    if !has_rootfs() {
        return;
    }
    let good = tar(&[file("a", "1")]);
    let cases = [
        (Entry::new(b'0', "bomb").size(1 << 35).bytes(), "it unpacks to more than"),
        (Entry::new(b'x', "header").size(2 << 20).bytes(), "a header of 2097152 bytes, more than 1048576"),
    ];
    for who in Who::all() {
        for (bomb, words) in &cases {
            let sbx = Sbx::new(who).spec(SPEC);
            write_layout(&sbx.path("image"), &[Layer::gzip(&good), Layer::gzip(bomb)]);
            let (ran, sbx) = shell(sbx, "echo ran");
            refused(&ran, &sbx, words);
            assert!(ran.stderr.contains("layer 2 of 2"), "{ran:?}");
            assert_eq!(kept(&sbx, "layers"), Vec::<String>::new());
        }
    }
}

fn edit(sbx: &Sbx, change: impl FnOnce(&mut Value)) {
    let index: Value = serde_json::from_str(&sbx.read("image/index.json")).unwrap();
    let old = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "");
    let mut manifest: Value = serde_json::from_str(&sbx.read(&format!("image/blobs/sha256/{old}"))).unwrap();
    change(&mut manifest);
    put(sbx, &manifest.to_string());
}

fn put(sbx: &Sbx, manifest: &str) {
    let digest = Digest::of(manifest.as_bytes());
    std::fs::write(sbx.path("image/blobs/sha256").join(digest.hex()), manifest).unwrap();
    let media = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = json!({"mediaType": media, "digest": digest.to_string(), "size": manifest.len()});
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    std::fs::write(sbx.path("image/index.json"), index.to_string()).unwrap();
}

/// A document that one reader takes for a manifest and another for an index.
#[test]
fn cve_2021_41190_a_document_is_one_thing_or_refused() {
    if !has_rootfs() {
        return;
    }
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 4] = [
        ("both", |manifest| manifest["manifests"] = json!([])),
        ("says index", |manifest| manifest["mediaType"] = "application/vnd.oci.image.index.v1+json".into()),
        ("says Docker's list", |manifest| {
            manifest["mediaType"] = "application/vnd.docker.distribution.manifest.list.v2+json".into();
        }),
        ("schema 1", |manifest| {
            manifest["fsLayers"] = json!([]);
            manifest["schemaVersion"] = 1.into();
        }),
    ];
    for who in Who::all() {
        for (name, change) in cases {
            let sbx = image(who, &[tar(&[file("a", "1")])]);
            edit(&sbx, change);
            let (ran, sbx) = shell(sbx, "echo ran");
            refused(&ran, &sbx, "sha256:");
            assert_eq!(kept(&sbx, "layers"), Vec::<String>::new(), "{who:?} {name}");
        }
        let sbx = image(who, &[tar(&[file("a", "1")])]);
        let mut text = String::new();
        edit(&sbx, |manifest| text = manifest.to_string().replacen('{', r#"{"layers":[],"#, 1));
        put(&sbx, &text);
        let (ran, sbx) = shell(sbx, "echo ran");
        refused(&ran, &sbx, "layers");
    }
}

/// A digest that is a path, or that is of a kind nobody computes.
#[test]
fn cve_2024_3727_a_digest_in_a_document_is_no_path() {
    if !has_rootfs() {
        return;
    }
    let long = "0".repeat(128);
    for who in Who::all() {
        for digest in [
            "sha256:../../../../etc/passwd",
            "sha256:",
            "../index.json",
            &format!("sha512:{long}"),
            &format!("sha256:{}", "A".repeat(64)),
        ] {
            for field in ["config", "layers"] {
                let sbx = image(who, &[tar(&[file("a", "1")])]);
                edit(&sbx, |manifest| {
                    let descriptor =
                        if field == "config" { &mut manifest["config"] } else { &mut manifest["layers"][0] };
                    descriptor["digest"] = digest.into();
                });
                let (ran, sbx) = shell(sbx, "echo ran");
                refused(&ran, &sbx, "digest");
            }
        }
    }
}
