//! Arbitrary bytes, and valid images with a few of theirs changed: an answer always comes, and is never a wrong one.

use arbtest::arbitrary::{Result, Unstructured};
use sbx::image::Platform;
use sbx::image::digest::Digest;
use sbx::image::oci::{At, Config, Document, Form, detect};

use super::maker::{CONFIG, Files, assert_says, config, index, layers, read, selection};

/// Changes, removes or inserts a few bytes.
fn damage(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    for _ in 0..u.int_in_range(1..=4)? {
        let at = u.choose_index(bytes.len().max(1))?;
        match u.int_in_range(0..=3)? {
            0 => bytes.truncate(at.max(1)),
            1 => bytes.insert(at.min(bytes.len()), u.arbitrary()?),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = *u.choose(b"{}[]\",:0a\\\x00\xff")?,
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn documents_never_panic_and_are_never_two_things() {
    let mut files = Files::layout();
    let image = files.image(&Platform::of_machine(), &["1", "2"]);
    let hex = image["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let seeds = [
        files.0[&format!("blobs/sha256/{hex}")].clone(),
        index(&[image]).to_string().into_bytes(),
        config(&Platform::of_machine(), &["1"]).to_string().into_bytes(),
        b"[[[[".to_vec(),
    ];
    arbtest::arbtest(|u| {
        let mut bytes = u.choose(&seeds)?.clone();
        damage(u, &mut bytes)?;
        for declared in [None, Some(CONFIG), Some(super::maker::MANIFEST), Some(super::maker::INDEX)] {
            match Document::parse(&bytes, declared) {
                Ok(Document::Image(image)) => assert!(image.layers.len() <= 127),
                Ok(Document::Index(_)) => {}
                Err(error) => assert_says(&error, ""),
            }
        }
        if let Err(error) = Config::parse(&bytes) {
            assert_says(&error, "");
        }
        Ok(())
    });
}

#[test]
fn a_digest_is_its_own_spelling() {
    arbtest::arbtest(|u| {
        let mut text = Digest::of(u.arbitrary::<u64>()?.to_string().as_bytes()).to_string().into_bytes();
        if u.arbitrary()? {
            damage(u, &mut text)?;
        }
        let Ok(text) = String::from_utf8(text) else { return Ok(()) };
        let hex = text.strip_prefix("sha256:");
        let expected = hex.filter(|hex| hex.len() == 64 && hex.chars().all(|c| "0123456789abcdef".contains(c)));
        assert_eq!(Digest::parse(&text).ok().map(|digest| digest.to_string()), expected.map(|_| text.clone()));
        Ok(())
    });
}

/// What is accepted of a damaged archive has the documents of the whole one: they are verified.
#[test]
fn a_damaged_archive_gives_the_same_image_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.tar");
    let whole = Files::of(&["lower", "upper"]).tar();
    let none = selection(None, None);
    std::fs::write(&path, &whole).unwrap();
    let expected = read(Form::OciArchive, &path, &none).unwrap();
    arbtest::arbtest(|u| {
        let mut bytes = whole.clone();
        damage(u, &mut bytes)?;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(detect(At { path: &path, held: None }), Ok(None | Some(Form::Archive))));
        drop(read(Form::DockerArchive, &path, &none).map_err(|error| assert_says(&error, "the image `")));
        match read(Form::OciArchive, &path, &none) {
            Ok(image) => {
                assert_eq!((&image.digest, &image.config), (&expected.digest, &expected.config));
                assert!(layers(&image).iter().all(|layer| layer.len() == 5));
            }
            Err(error) => assert_says(&error, "the image `"),
        }
        Ok(())
    });
}
