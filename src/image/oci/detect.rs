//! Whether a path without a prefix is an image, from as little of it as can tell. A tar of a root file system is
//! the common case, so it costs a few headers, however large it is.

use std::fs::File;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;

use crate::error::Result;
use crate::image::Bounds;
use crate::image::decode::{self, Packed};
use crate::image::digest::Digest;
use crate::image::members::Members;
use crate::image::oci::archive::{self, walk};
use crate::image::oci::place::Part;
use crate::image::oci::{At, DOCUMENT, Form, docker, open};

/// Members that are looked at before a tar is taken for a root file system. The directories above the first blob come
/// first, and `docker save` begins with a layer.
const FIRST: usize = 16;
/// Bytes of a packed archive that are unpacked for that.
const UNPACKED: u64 = 1 << 20;

/// Returns the form of the image at a path, or `None` for what is none, or cannot be read as one: then whoever reads
/// it as a root file system says what is wrong with it.
///
/// A packed archive is told by its first members alone, so an unusual one needs its prefix: only `blobs/sha256/…`,
/// `oci-layout`, or a name of 64 hexadecimal digits as `docker save` has them will do. In a plain one all
/// headers are looked at, once one of these has shown: `manifest.json` stands at the end.
///
/// # Errors
/// A path that cannot be opened.
pub fn detect(at: At<'_>) -> Result<Option<Form>> {
    let eyes = open::eyes(at);
    let found = std::fs::metadata(&eyes);
    match found.as_ref().map(|found| (found.is_dir(), found.is_file())) {
        Ok((true, _)) => {
            let layout = std::fs::metadata(eyes.join("oci-layout")).is_ok_and(|found| found.is_file());
            return Ok(layout.then_some(Form::Layout));
        }
        Ok((_, true)) => {}
        _ => return Ok(None),
    }
    let file = open::file(at)?;
    let image = match decode::is_packed(&archive::start(&file)?) {
        Ok(true) => packed(&file),
        Ok(false) => plain(&file),
        Err(_) => false,
    };
    Ok(image.then_some(Form::Archive))
}

/// What the names seen so far say.
#[derive(Default)]
struct Names {
    layout: bool,
    index: bool,
    /// Contents of `manifest.json`.
    manifest: Option<(u64, u64)>,
    telling: bool,
    count: usize,
}

impl Names {
    fn add(&mut self, name: &[u8], place: (u64, u64)) {
        self.count += 1;
        match name {
            b"oci-layout" => self.layout = true,
            b"index.json" => self.index = true,
            b"manifest.json" => self.manifest = Some(place),
            _ => {}
        }
        self.telling |= self.layout || tells(name);
    }
}

fn tells(name: &[u8]) -> bool {
    let hex = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(|text| Digest::from_hex(text).is_ok());
    let mut parts = name.split(|byte| *byte == b'/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(b"blobs"), Some(b"sha256"), Some(blob)) => hex(blob),
        (Some(first), ..) => {
            let first = first.strip_suffix(b".json").or_else(|| first.strip_suffix(b".tar")).unwrap_or(first);
            hex(first)
        }
        (None, ..) => false,
    }
}

fn plain(file: &File) -> bool {
    let mut names = Names::default();
    let walked = walk(file, &mut |member, offset| {
        names.add(&archive::name(member)?, (offset, member.size));
        Ok(match names.telling || names.count < FIRST {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    });
    let docker = |(offset, length)| {
        let file = file.try_clone().ok()?;
        let bytes = Part { file: file.into(), offset, length }.read(DOCUMENT).ok()?;
        Some(docker::is_manifest(&bytes))
    };
    walked.is_ok() && (names.layout && names.index || names.manifest.and_then(docker).unwrap_or(false))
}

fn packed(file: &File) -> bool {
    let read = AtomicU64::new(0);
    let packed = Packed { file, offset: 0, length: file.metadata().map_or(0, |found| found.len()) };
    let mut source = decode::buffered(packed.reader(&read));
    let Ok(unpacked) = decode::unpacked(&mut source, &read, &Bounds::default()) else {
        return false;
    };
    let mut members = Members::new(unpacked.take(UNPACKED));
    let mut names = Names::default();
    while let Ok(Some(member)) = members.next() {
        let Ok(name) = archive::name(&member) else {
            return false;
        };
        names.add(&name, (0, 0));
        if names.telling || names.count >= FIRST {
            break;
        }
    }
    names.telling
}
