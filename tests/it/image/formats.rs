//! The four forms of an archive file, and what may stand behind one.

use std::io::Write as _;

use sbx::image::Step;
use sha2::Digest as _;

use super::arena::{Arena, census, run, sample, steps};

type Pack = fn(&[u8]) -> Vec<u8>;

pub(crate) const FORMATS: [(&str, Pack); 4] = [("plain", plain), ("gzip", gzip), ("zstd", zstd), ("xz", xz)];

fn plain(data: &[u8]) -> Vec<u8> {
    data.to_vec()
}

pub(crate) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(6)).unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn hexadecimal(data: &[u8]) -> String {
    sha2::Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn all_forms_give_one_tree_and_the_digest_of_the_file() {
    let arena = Arena::new();
    let mut trees = Vec::new();
    for (form, pack) in FORMATS {
        let bytes = pack(&sample());
        let image = arena.locate(&bytes).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(image.digest.as_ref().map(|it| it.hex()), Some(hexadecimal(&bytes).as_str()), "{form}");
        if super::arena::is_root() {
            trees.push(census(&image.root));
        } else {
            trees.push(census(&image.root.join("usr")));
        }
    }
    assert!(trees.iter().all(|tree| *tree == trees[0] && tree.len() > 3));
}

#[test]
fn an_archive_in_several_compressed_pieces_is_read_to_its_end() {
    let arena = Arena::new();
    let data = sample();
    let (first, second) = data.split_at(3000);
    for (form, pack) in FORMATS {
        let mut bytes = pack(first);
        if form == "zstd" {
            bytes.extend_from_slice(b"\x50\x2a\x4d\x18\x05\x00\x00\x00skip!");
        }
        if form == "xz" {
            bytes.extend_from_slice(&[0; 8]);
        }
        bytes.extend_from_slice(&pack(second));
        let image = arena.locate(&bytes).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert!(image.root.join("usr/bin/other").exists(), "{form}");
    }
}

#[test]
fn what_stands_behind_the_archive_is_refused() {
    let arena = Arena::new();
    for (form, pack) in FORMATS {
        for garbage in [&b"garbage that is no member at all"[..], b"\x1f", b"\0\0\0x"] {
            let mut bytes = pack(&sample());
            bytes.extend_from_slice(garbage);
            let message = arena.refused(&bytes);
            assert!(message.contains("near byte"), "{form}: {message}");
        }
        let mut twice = sample();
        twice.extend_from_slice(&sample());
        let message = arena.refused(&pack(&twice));
        assert!(message.contains("after its end mark"), "{form}: {message}");
    }
}

#[test]
fn other_forms_are_named() {
    let arena = Arena::new();
    for (start, word) in [
        (&b"BZh91AY&SY"[..], "bzip2"),
        (b"PK\x03\x04", "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7-zip"),
        (b"LZIP\x01", "lzip"),
        (b"", "empty"),
        (b"#!/bin/sh\n", "truncated"),
        (&[b'x'; 2048], "not a tar archive"),
    ] {
        let message = arena.refused(start);
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn what_the_programs_of_the_field_write_is_read() {
    let arena = Arena::new();
    for (program, arguments, extension) in [
        ("gzip", &["-k", "-9"][..], "gz"),
        ("xz", &["-k", "-9e", "--check=sha256"], "xz"),
        ("xz", &["-k", "-T2", "--block-size=4096", "--check=crc64", "-f"], "xz"),
        ("zstd", &["-q", "-k", "-19", "--long=27", "--check"], "zst"),
        ("zstd", &["-q", "-k", "-1", "-f", "--no-check"], "zst"),
    ] {
        let plain = arena.archive("field.tar", &sample());
        let mut arguments = arguments.to_vec();
        arguments.push(plain.to_str().unwrap());
        if !run(arena.directory.path(), program, &arguments) {
            continue;
        }
        let packed = arena.path(&format!("field.tar.{extension}"));
        let (image, seen) = steps(&packed, None, &arena.store());
        let image = image.unwrap_or_else(|error| panic!("{program} {arguments:?}: {error}"));
        assert!(image.root.join("usr/bin/other").exists());
        assert_eq!(seen, [Step::Extract], "{program} {arguments:?}");
    }
}
