//! Several images in one place: the one that is meant is found, or the message lists what there is.

use sbx::image::Platform;
use sbx::image::digest::Digest;
use sbx::image::oci::{Form, Manifest, from_blobs};
use serde_json::{Value, json};

use super::maker::{Files, INDEX, MANIFEST, assert_says, index, layers, on, read, read_bytes, selection, tagged};

const FOREIGN: &str = "linux/s390x";

fn machine() -> String {
    Platform::of_machine().to_string()
}

/// Returns what the layers of the image are.
fn found(files: &Files, tag: Option<&str>, platform: Option<&str>) -> Result<String, sbx::error::Error> {
    let read = read_bytes(Form::OciArchive, &files.tar(), &selection(tag, platform));
    let directory = tempfile::tempdir().unwrap();
    let layout = read_layout(files, directory.path(), tag, platform);
    match (&read, &layout) {
        (Ok(archive), Ok(layout)) => assert_eq!(archive.digest, layout.digest),
        (Err(archive), Err(layout)) => {
            let end = |error: &sbx::error::Error| error.to_string().split_once("`: ").unwrap().1.to_owned();
            assert_eq!(end(archive), end(layout));
        }
        _ => panic!("{read:?} {layout:?}"),
    }
    read.map(|image| String::from_utf8(layers(&image).concat()).unwrap())
}

fn read_layout(
    files: &Files,
    directory: &std::path::Path,
    tag: Option<&str>,
    platform: Option<&str>,
) -> Result<Manifest, sbx::error::Error> {
    read(Form::Layout, &files.write(directory), &selection(tag, platform))
}

#[track_caller]
fn refused(files: &Files, tag: Option<&str>, platform: Option<&str>, words: &str) {
    assert_says(&found(files, tag, platform).expect_err("accepted"), words);
}

/// Returns an image for each platform, whose only layer is its name.
fn for_each(files: &mut Files, platforms: &[&str]) -> Vec<Value> {
    platforms.iter().map(|name| on(files.image(&Platform::parse(name).unwrap(), &[name]), name)).collect()
}

#[test]
fn the_tag_chooses() {
    let mut files = Files::layout();
    let (one, two) = (files.image(&Platform::of_machine(), &["1"]), files.image(&Platform::of_machine(), &["2"]));
    files.index(&[tagged(one.clone(), "one"), tagged(two, "name:two\u{1b}")]);
    assert_eq!(found(&files, Some("one"), None).unwrap(), "1");
    assert_eq!(found(&files, Some("name:two\u{1b}"), None).unwrap(), "2");
    refused(&files, None, None, "holds several images: `one`, `name:two\\u{1b}`");
    refused(&files, Some("On\ne"), None, "holds no image with the tag `On\\ne`, but `one`, `name:two\\u{1b}`");
    files.index(&[tagged(one.clone(), "one"), tagged(one, "latest")]);
    assert_eq!(found(&files, None, None).unwrap(), "1", "two names of one image");
    assert_eq!(found(&files, Some("latest"), None).unwrap(), "1");
}

#[test]
fn one_name_for_two_images_is_unclear() {
    let mut files = Files::layout();
    let (one, two) = (files.image(&Platform::of_machine(), &["1"]), files.image(&Platform::of_machine(), &["2"]));
    files.index(&[tagged(one.clone(), "x"), tagged(two.clone(), "x")]);
    refused(&files, Some("x"), None, "holds 2 images that could be meant: `sha256:");
    files.index(&[on(one, &machine()), on(two, &machine())]);
    refused(&files, None, None, "holds 2 images that could be meant: `linux/");
}

#[test]
fn the_machine_or_the_wanted_platform_chooses() {
    let mut files = Files::layout();
    let images = for_each(&mut files, &[FOREIGN, &machine(), "linux/arm/v6", "linux/arm/v7"]);
    files.index(&images);
    assert_eq!(found(&files, None, None).unwrap(), machine());
    assert_eq!(found(&files, None, Some(FOREIGN)).unwrap(), FOREIGN);
    assert_eq!(found(&files, None, Some("linux/arm/v7")).unwrap(), "linux/arm/v7");
    assert_eq!(found(&files, None, Some("linux/arm")).unwrap(), "linux/arm/v7", "the newest of those that run");
    assert_eq!(found(&files, None, Some("linux/arm/v6")).unwrap(), "linux/arm/v6");
    let there = format!("`linux/mips`, but for `linux/s390x`, `{}`, `linux/arm/v6`, `linux/arm/v7`", machine());
    refused(&files, None, Some("linux/mips"), &there);
    refused(&files, None, Some("linux/arm/v5"), "holds no image for `linux/arm/v5`");
}

#[test]
fn an_image_for_another_machine_is_refused_unless_it_is_wanted() {
    let mut files = Files::layout();
    let image = files.image(&Platform::parse(FOREIGN).unwrap(), &["1"]);
    files.index(&[image]);
    refused(&files, None, None, "the image is for `linux/s390x`, and this machine is `linux/");
    refused(&files, None, Some("linux/arm64"), "the image is for `linux/s390x`, not for `linux/arm64`");
    assert_eq!(found(&files, None, Some(FOREIGN)).unwrap(), "1");
    // What the index says does not help where the config says something else.
    let lie = on(files.image(&Platform::parse("linux/ppc64le").unwrap(), &["2"]), &machine());
    files.index(&[lie]);
    refused(&files, None, None, "the image is for `linux/ppc64le`");
    let windows = files.image(&Platform::parse("windows/amd64").unwrap(), &["3"]);
    files.index(&[on(windows, "windows/amd64")]);
    refused(&files, None, None, "the image is for `windows/amd64`, and only images for linux run here");
    refused(&files, None, Some("windows/amd64"), "only images for linux run here");
}

#[test]
fn what_goes_with_an_image_is_not_one() {
    let mut files = Files::layout();
    let image = files.image(&Platform::of_machine(), &["1"]);
    let attestation = on(files.image(&Platform::of_machine(), &["a"]), "unknown/unknown");
    let mut reference = files.image(&Platform::of_machine(), &["b"]);
    reference["annotations"]["vnd.docker.reference.type"] = "attestation-manifest".into();
    let mut signature = files.image(&Platform::of_machine(), &["c"]);
    signature["artifactType"] = "application/x.signature".into();
    let other = json!({"mediaType": "application/x.strange", "digest": Digest::of(b"x").to_string(), "size": 1});
    files.index(&[attestation.clone(), reference, signature, other.clone(), image]);
    assert_eq!(found(&files, None, None).unwrap(), "1");
    files.index(&[other, attestation]);
    refused(
        &files,
        None,
        None,
        "lists no image, only `application/vnd.oci.image.manifest.v1+json`, `application/x.strange`",
    );
    files.index(&[]);
    refused(&files, None, None, "`index.json`: lists no image");
}

#[test]
fn indexes_lie_in_two_others_and_no_deeper() {
    let mut files = Files::layout();
    let mut inner = for_each(&mut files, &[&machine(), FOREIGN]);
    for depth in 1..=3 {
        inner = vec![files.blob(INDEX, index(&inner).to_string())];
        files.index(&[tagged(inner[0].clone(), "x")]);
        match depth {
            3 => refused(&files, Some("x"), None, "lies in more than 2 indexes"),
            _ => {
                assert_eq!(found(&files, Some("x"), None).unwrap(), machine());
                assert_eq!(found(&files, None, Some(FOREIGN)).unwrap(), FOREIGN);
            }
        }
    }
}

#[test]
fn long_lists_are_cut() {
    let mut files = Files::layout();
    let all: Vec<_> = (0..100)
        .map(|n| tagged(files.image(&Platform::of_machine(), &[&n.to_string()]), &"t".repeat(n + 300)))
        .collect();
    files.index(&all);
    let error = found(&files, None, None).unwrap_err().to_string();
    assert!(error.contains("t…`") && error.ends_with("and 80 more") && error.len() < 5000, "{error}");
}

#[test]
fn blobs_of_a_store_are_an_image() {
    let mut files = Files::layout();
    let images = for_each(&mut files, &[&machine(), FOREIGN]);
    let list = files.blob(INDEX, index(&images).to_string());
    let directory = tempfile::tempdir().unwrap();
    for (name, contents) in &files.0 {
        if let Some(hex) = name.strip_prefix("blobs/sha256/") {
            std::fs::write(directory.path().join(hex), contents).unwrap();
        }
    }
    let digest = |descriptor: &Value| Digest::parse(descriptor["digest"].as_str().unwrap()).unwrap();
    for start in [&list, &images[0]] {
        let image = from_blobs(directory.path(), &digest(start), None).unwrap();
        assert_eq!((image.digest.clone(), layers(&image).concat()), (digest(&images[0]), machine().into_bytes()));
    }
    let foreign = Platform::parse(FOREIGN).unwrap();
    assert_eq!(from_blobs(directory.path(), &digest(&list), Some(&foreign)).unwrap().digest, digest(&images[1]));
    let refused = |digest: &Digest| from_blobs(directory.path(), digest, None).unwrap_err();
    assert_says(&refused(&Digest::of(b"?")), &format!("blob `{}`: is missing", Digest::of(b"?")));
    assert_says(&refused(&Digest::of(FOREIGN.as_bytes())), "is not the JSON that is due");
    std::fs::write(directory.path().join(digest(&images[0]).hex()), "{}").unwrap();
    assert_says(&refused(&digest(&images[0])), "is damaged: its bytes have the digest `sha256:44136fa");
    assert!(images[0]["mediaType"] == MANIFEST);
}
