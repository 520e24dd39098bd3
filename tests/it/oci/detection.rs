//! What a path without a prefix is taken for, and how little of it is read for that.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use sbx::image::oci::{At, Form, detect};
use serde_json::json;

use super::maker::Files;
use crate::image::arena::{Entry, dir, file, run, sample, symlink, tar};

const HEX: &str = "4f725b22b7c596153d9beacd4f877b615273e1b87c9ffe4e139a091297368fd1";

fn form(path: &Path) -> Option<Form> {
    detect(At { path, held: None }).unwrap()
}

/// Returns what a plain archive of these bytes is taken for, and checks that packing makes no difference.
fn form_of(bytes: &[u8]) -> Option<Form> {
    let plain = plain_form_of(bytes);
    assert_eq!(packed_form_of(bytes), plain, "packed");
    plain
}

fn plain_form_of(bytes: &[u8]) -> Option<Form> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    std::fs::write(&path, bytes).unwrap();
    form(&path)
}

fn packed_form_of(bytes: &[u8]) -> Option<Form> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x");
    std::fs::write(&path, bytes).unwrap();
    assert!(run(directory.path(), "gzip", &["-q", "x"]), "no gzip");
    form(&directory.path().join("x.gz"))
}

fn manifest() -> String {
    json!([{"Config": "c.json", "Layers": ["l"]}]).to_string()
}

#[test]
fn images_are_told_from_root_file_systems() {
    assert_eq!(form_of(&Files::of(&["x"]).tar()), Some(Form::Archive));
    let save = [dir(HEX), file(&format!("{HEX}/layer.tar"), "x"), file("manifest.json", &manifest())];
    assert_eq!(form_of(&tar(&save)), Some(Form::Archive));
    let skopeo = [
        file(&format!("{HEX}.tar"), "x"),
        symlink(&format!("{HEX}/layer.tar"), "../x.tar"),
        file("manifest.json", &manifest()),
    ];
    assert_eq!(form_of(&tar(&skopeo)), Some(Form::Archive));
    let root =
        [dir("./"), dir("./bin/"), file("./bin/sh", ""), file("./index.json", "{}"), file("manifest.json", "{}")];
    for bytes in
        [sample(), tar(&root), tar(&[]), tar(&[dir("blobs/"), dir("blobs/sha256/")]), tar(&[file(&HEX[1..], "")])]
    {
        assert_eq!(form_of(&bytes), None);
    }
    for bytes in [&b""[..], b"x", &[b'x'; 600], b"\x1f\x8bgarbage", b"BZh9"] {
        assert_eq!(plain_form_of(bytes), None);
    }
}

/// Only a plain archive can be looked at as a whole for little.
#[test]
fn a_plain_archive_is_told_by_all_of_its_members() {
    let unusual = [file("l", ""), file("c.json", ""), file("manifest.json", &manifest())];
    assert_eq!(plain_form_of(&tar(&unusual)), Some(Form::Archive));
    assert_eq!(packed_form_of(&tar(&unusual)), None, "needs its prefix");
    let half = tar(&[file("oci-layout", ""), file("x", "")]);
    assert_eq!(plain_form_of(&half), None);
    let web = [file("index.json", "{}"), file("manifest.json", r#"{"name":"app"}"#), file("app.js", "")];
    assert_eq!(plain_form_of(&tar(&web)), None);
    let damaged = Files::of(&["x"]).tar();
    assert_eq!(plain_form_of(&damaged[..damaged.len() - 1024]), None, "whoever reads it as a tar says why");
}

#[test]
fn other_paths_are_told_by_what_they_are() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(form(directory.path()), None);
    std::fs::create_dir(directory.path().join("oci-layout")).unwrap();
    assert_eq!(form(directory.path()), None);
    let layout = directory.path().join("layout");
    assert_eq!(form(&Files::of(&["x"]).write(&layout)), Some(Form::Layout));
    assert_eq!(form(Path::new("/dev/null")), None);
    assert_eq!(form(&directory.path().join("nothing")), None);
}

/// A file of a terabyte, all of it holes but the first headers: whoever reads it all will not come back.
#[test]
fn a_large_archive_of_a_root_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.tar");
    let large = 1 << 36;
    let mut members = std::fs::File::create(&path).unwrap();
    members.write_all(&dir("./")).unwrap();
    let mut at = 512;
    for number in 0..40 {
        let header = Entry::new(b'0', &format!("usr/{number}")).size(large).bytes();
        members.write_all_at(&header, at).unwrap();
        at += 512 + large;
    }
    members.set_len(at + 1024).unwrap();
    let before = std::time::Instant::now();
    assert_eq!(form(&path), None);
    assert!(before.elapsed().as_secs() < 5, "{:?}", before.elapsed());
}
