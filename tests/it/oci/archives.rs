//! Archives of layouts and of `docker save`: plain and packed, whole, damaged and hostile.

use std::path::Path;

use sbx::image::Platform;
use sbx::image::digest::Digest;
use sbx::image::oci::{At, Form, Scratch, Selection, open};
use serde_json::{Value, json};

use super::maker::{Files, assert_says, config, layers, read, read_bytes, selection};
use crate::image::arena::{Entry, dir, file, hardlink, run, symlink, tar};

const HEX: &str = "4f725b22b7c596153d9beacd4f877b615273e1b87c9ffe4e139a091297368fd1";

fn none() -> Selection {
    selection(None, None)
}

#[track_caller]
fn refused(form: Form, bytes: &[u8], words: &str) {
    let error = read_bytes(form, bytes, &none()).expect_err("accepted");
    assert_says(&error, words);
    assert_says(&error, "the image `");
}

/// Returns the members of an archive of `docker save` with two layers.
fn docker(tags: &[&str], layers: &[&str], members: &[Vec<u8>]) -> Vec<u8> {
    let config = config(&Platform::of_machine(), &["lower", "upper"]).to_string();
    let name = format!("{}.json", Digest::of(config.as_bytes()).hex());
    let manifest = json!([{"Config": name, "RepoTags": tags, "Layers": layers}]).to_string();
    tar(&[members.to_vec(), vec![file(&name, &config), file("manifest.json", &manifest)]].concat())
}

fn sample() -> Vec<u8> {
    let members = [dir("a/"), file("a/VERSION", "1.0"), file("a/layer.tar", "lower"), file("b.tar", "upper")];
    docker(&["name:1"], &["a/layer.tar", "b.tar"], &members)
}

#[test]
fn packed_archives_are_read_as_plain_ones() {
    let directory = tempfile::tempdir().unwrap();
    let oci = Files::of(&["lower", "upper"]).tar();
    for (form, bytes) in [(Form::OciArchive, oci), (Form::DockerArchive, sample())] {
        let plain = directory.path().join("x.tar");
        std::fs::write(&plain, &bytes).unwrap();
        let digest = read(form, &plain, &none()).unwrap().digest;
        for (program, name, after) in [
            ("gzip", "x.tar.gz", "there is something after its compressed data"),
            ("zstd", "x.tar.zst", "it is damaged or too large"),
            ("xz", "x.tar.xz", "it is damaged or too large"),
        ] {
            std::fs::write(&plain, &bytes).unwrap();
            if !run(directory.path(), program, &["-q", "-k", "-f", "x.tar"]) {
                continue;
            }
            let path = directory.path().join(name);
            for form in [form, Form::Archive] {
                let image = read(form, &path, &none()).unwrap();
                assert_eq!((&image.digest, layers(&image)), (&digest, vec![b"lower".to_vec(), b"upper".to_vec()]));
            }
            let packed = std::fs::read(&path).unwrap();
            refused(form, &packed[..packed.len() - 9], "it is damaged or too large");
            refused(form, &[&packed[..], b"more"].concat(), after);
        }
    }
}

#[test]
fn a_packed_archive_is_unpacked_into_the_file_that_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.tar");
    std::fs::write(&path, sample()).unwrap();
    if !run(directory.path(), "gzip", &["x.tar"]) {
        return;
    }
    let (path, mut steps) = (directory.path().join("x.tar.gz"), 0);
    let scratch = Scratch { file: &|| Ok(tempfile::tempfile().unwrap()), progress: &mut |_| steps += 1 };
    let image = open(Form::Archive, At { path: &path, held: None }, &none(), scratch).unwrap();
    assert_eq!(layers(&image), [b"lower", b"upper"]);
    assert!(steps > 0);
    let full = || Err(sbx::error::Error::new(sbx::error::Kind::Io, "is full"));
    let scratch = Scratch { file: &full, progress: &mut |_| {} };
    let error = open(Form::Archive, At { path: &path, held: None }, &none(), scratch).unwrap_err();
    assert_says(&error, "is full");
}

#[test]
fn an_archive_of_docker_save_is_read() {
    let image = read_bytes(Form::DockerArchive, &sample(), &none()).unwrap();
    assert_eq!(layers(&image), [b"lower", b"upper"]);
    assert_eq!(image.layers.iter().map(|layer| layer.blob.clone()).collect::<Vec<_>>(), [None, None]);
    assert_eq!(image.digest, Digest::of(config(&Platform::of_machine(), &["lower", "upper"]).to_string().as_bytes()));
    for path in ["./a/../b.tar", "/b.tar", "a/./layer.tar", ".//b.tar"] {
        let bytes = docker(&[], &["b.tar", path], &[file("./b.tar", "upper"), file("a/layer.tar", "upper")]);
        assert_eq!(layers(&read_bytes(Form::Archive, &bytes, &none()).unwrap())[1], b"upper", "{path}");
    }
}

#[test]
fn layers_that_are_links_are_followed_inside_of_the_archive() {
    let links = [
        symlink("a/layer.tar", "../b/./layer.tar"),
        hardlink("b/layer.tar", "c/layer.tar"),
        file("c/layer.tar", "lower"),
    ];
    let image =
        read_bytes(Form::DockerArchive, &docker(&[], &["a/layer.tar", "c/layer.tar"], &links), &none()).unwrap();
    assert_eq!(layers(&image), [b"lower", b"lower"]);
    let refused_with = |members: &[Vec<u8>], words| {
        refused(Form::DockerArchive, &docker(&[], &["a/layer.tar", "a/layer.tar"], members), words);
    };
    refused_with(&[], "`a/layer.tar` is missing in it");
    refused_with(
        &[symlink("a/layer.tar", "../../etc/passwd")],
        "`a/layer.tar` is a link that leads out of the archive",
    );
    refused_with(&[symlink("a/layer.tar", "/etc/passwd")], "`a/layer.tar` is a link that leads out of the archive");
    refused_with(&[symlink("a/layer.tar", "x\u{1b}")], "is a link to `a/x\\x1b`, which is missing");
    refused_with(&[symlink("a/layer.tar", "layer.tar")], "leads through more than 40 links");
    refused_with(&[symlink("a/layer.tar", "b"), symlink("a/b", "layer.tar")], "leads through more than 40 links");
    refused_with(&[Entry::new(b'6', "a/layer.tar").bytes()], "`a/layer.tar` is not a regular file");
    refused_with(&[dir("a/layer.tar/")], "`a/layer.tar` is missing in it");
    refused(Form::DockerArchive, &docker(&[], &["../a", "b"], &[]), "`../a` leads out of the archive");
}

#[test]
fn the_name_chooses_one_of_several() {
    let mut members = vec![file("l", "x")];
    let mut images = Vec::new();
    for (number, tags) in
        [(1, json!(["docker.io/library/one:latest", "alias:9"])), (2, json!(["two:9"])), (3, Value::Null)]
    {
        let mut config = config(&Platform::of_machine(), &["x"]);
        config["author"] = number.into();
        let name = format!("config-{number}");
        members.push(file(&name, &config.to_string()));
        images.push(json!({"Config": name, "RepoTags": tags, "Layers": ["l"]}));
    }
    members.push(file("manifest.json", &json!(images).to_string()));
    let bytes = tar(&members);
    let named = |tag: &str| read_bytes(Form::DockerArchive, &bytes, &selection(Some(tag), None));
    let digest = |tag: &str| named(tag).unwrap().digest;
    for same in ["one:latest", "docker.io/library/one", "library/one", "latest", "alias:9"] {
        assert_eq!(digest(same), digest("one"), "{same}");
    }
    assert_ne!(digest("two:9"), digest("one"));
    assert_says(
        &named("9").unwrap_err(),
        "holds several images `9`: `docker.io/library/one:latest = alias:9`, `two:9`",
    );
    assert_says(&named("three").unwrap_err(), "holds no image with the tag `three`, but `docker.io/");
    refused(
        Form::Archive,
        &bytes,
        "holds several images: `docker.io/library/one:latest = alias:9`, `two:9`, `config-3`",
    );
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_refused() {
    let oci = Files::of(&["lower"]);
    let mut twice = oci.clone();
    twice.0.insert("./index.json".to_owned(), b"{}".to_vec());
    refused(Form::OciArchive, &twice.tar(), "it holds the member `index.json` twice");
    let mut out = oci.clone();
    out.set("x/../index.json", "{}");
    refused(Form::OciArchive, &out.tar(), "the name of `x/../index.json` leads out of it");
    let whole = oci.tar();
    refused(Form::OciArchive, &whole[..whole.len() - 1024], "it is truncated");
    refused(Form::OciArchive, &[&whole[..], &whole[..]].concat(), "there is something after its end mark");
    refused(Form::OciArchive, b"BZh91AY", "is a bzip2 file");
    refused(Form::OciArchive, b"", "is empty");
    refused(Form::OciArchive, &[b'x'; 4096], "is not a tar archive");
    let many: Vec<_> = (0..65_537).map(|number| file(&number.to_string(), "")).collect();
    refused(Form::OciArchive, &tar(&many), "it has more than 65536 members");
}

#[test]
fn blobs_of_an_archive_have_the_size_and_the_digest_that_are_due() {
    let files = Files::of(&["lower"]);
    let lower = format!("blobs/sha256/{}", Digest::of(b"lower").hex());
    let mut short = files.clone();
    short.set(&lower, "lowe");
    refused(Form::OciArchive, &short.tar(), "has 4 bytes, and 5 are due");
    let mut missing = files.clone();
    missing.0.remove(&lower).unwrap();
    refused(Form::OciArchive, &missing.tar(), &format!("blob `{}`: is missing", Digest::of(b"lower")));
    for (name, contents) in &files.0 {
        if name.starts_with("blobs") && contents.starts_with(b"{") {
            let mut wrong = files.clone();
            wrong.set(name, [&contents[..contents.len() - 1], b" "].concat());
            refused(Form::OciArchive, &wrong.tar(), "is damaged: its bytes have the digest `sha256:");
        }
    }
}

#[test]
fn a_manifest_of_docker_save_is_read_strictly() {
    let with = |manifest: &str, more: &[Vec<u8>]| tar(&[more, &[file("manifest.json", manifest)]].concat());
    let refused = |manifest: &str, words| refused(Form::DockerArchive, &with(manifest, &[]), words);
    refused("[]", "holds no image");
    refused("{}", "`manifest.json`: is not the JSON that is due");
    refused(r#"[{"Config":"a","Config":"b"}]"#, "the member `Config` is there twice");
    refused(r#"[{"Config":"a\u001b"}]"#, "`a\\u{1b}` is missing in it");
    refused(r#"[{"Layers":[]}]"#, "missing field `Config`");
    let many = json!([{"Config": "c", "Layers": vec!["l"; 128]}]).to_string();
    refused(&many, "more than 127 layers");
    let one = json!([{"Config": "c", "Layers": ["l"]}]).to_string();
    let config = config(&Platform::of_machine(), &["1", "2"]).to_string();
    let form = Form::DockerArchive;
    self::refused(form, &with(&one, &[file("c", &config)]), "has 1 layers, and the config 2 `diff_ids`");
    let named = json!([{"Config": format!("{HEX}.json"), "Layers": ["l", "l"]}]).to_string();
    let wrong = with(&named, &[file(&format!("{HEX}.json"), &config), file("l", "")]);
    self::refused(form, &wrong, "is damaged: its bytes have the digest `sha256:");
}

#[test]
fn a_new_docker_save_is_both_and_read_as_a_layout() {
    let mut files = Files::of(&["lower"]);
    let layout = read_bytes(Form::OciArchive, &files.tar(), &none()).unwrap();
    let inside = config(&Platform::of_machine(), &["lower"]).to_string();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let manifest = json!([{
        "Config": blob(inside.as_bytes()), "RepoTags": ["x:1"], "Layers": [blob(b"lower")],
        "LayerSources": {(Digest::of(b"lower").to_string()): {"size": 5}},
    }]);
    files.set("manifest.json", manifest.to_string());
    assert_eq!(read_bytes(Form::Archive, &files.tar(), &none()).unwrap().digest, layout.digest);
    let docker = read_bytes(Form::DockerArchive, &files.tar(), &none()).unwrap();
    assert_eq!(docker.digest, Digest::of(inside.as_bytes()));
    assert_eq!(docker.layers[0].blob, Some(Digest::of(b"lower")));
    assert_eq!(layers(&docker), [b"lower"]);
}

#[test]
fn the_wrong_prefix_is_told() {
    let oci = Files::of(&["lower"]).tar();
    refused(Form::DockerArchive, &oci, "was not written by `docker save`");
    refused(Form::OciArchive, &sample(), "is no OCI image layout");
    for form in [Form::OciArchive, Form::DockerArchive, Form::Archive] {
        refused(form, &tar(&[dir("bin/"), file("bin/sh", "")]), "is no image: it has neither");
    }
    let error = read(Form::Archive, Path::new("/dev/null"), &none()).unwrap_err();
    assert_says(&error, "is not a regular file");
    let error = read(Form::Archive, Path::new("/nowhere/x"), &none()).unwrap_err();
    assert_eq!(error.errno, Some(libc::ENOENT));
}
