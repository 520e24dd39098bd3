//! Writes an image as an OCI layout: the layers of a base, as they are stored, and one more. The
//! documents are made anew from what is known of the base; nothing is unpacked, nothing is run.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};
use crate::image::ask::{Asked, Source};
use crate::image::decode::{self, Packed};
use crate::image::digest::Digest;
use crate::image::inherit::inherit;
use crate::image::mend;
use crate::image::oci::{self, At, DOCUMENT, Form, Manifest, Scratch, Selection};
use crate::image::pack::archive::{Archive, Holes};
use crate::image::pack::walk::{self, Purpose, Top};
use crate::image::platform::Platform;
use crate::image::store::failed;
use crate::image::{Bounds, Progress, Store};
use crate::sys::file::{self, Access};
use crate::sys::{entry, random};
use crate::units::Origin;

pub use crate::image::inherit::Changed;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The annotation that holds a tag (annotations.md).
const TAG: &str = "org.opencontainers.image.ref.name";

/// An image as it was written.
#[derive(Debug)]
pub struct Appended {
    /// Of its manifest.
    pub digest: Digest,
    /// What of a base that is a directory was left out.
    pub warnings: Vec<String>,
}

/// The config of a base, where it has one, its layers, and what was left out of them.
struct Base {
    config: Option<Vec<u8>>,
    blobs: Vec<Blob>,
    warnings: Vec<String>,
}

/// One layer in the new layout.
struct Blob {
    digest: Digest,
    diff_id: Digest,
    size: u64,
    media: String,
}

/// Writes `base` with `layer` on top into the layout `target` under `tag`. What the layout holds besides stays.
///
/// # Errors
/// A base or a layer that cannot be read or is damaged, a target that is no layout or cannot be written.
pub fn append(
    (base, layer): (&Asked<'_>, &Path),
    (target, tag): (&Path, &str),
    changed: &Changed,
    store: impl Fn() -> Result<Store>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Appended> {
    runs(changed)?;
    let layout = Layout::open(target)?;
    let Base { config, mut blobs, warnings } = layout.base(base, store, progress)?;
    let opened = File::open(layer).map_err(|error| failed("open", layer, &error))?;
    let length = opened.metadata().map_err(|error| failed("look at", layer, &error))?.len();
    let packed = Packed { file: &opened, offset: 0, length };
    let added = layout.layer(packed, Squeeze::Gzip).map_err(|error| about(layer, error))?;
    if !is_tar(&opened, length, layer)? {
        return Err(about(layer, Error::new(Kind::Image, "it is no tar"))
            .with_hint("name what `changes` wrote, or another layer"));
    }
    blobs.push(added);
    let diff_ids: Vec<&Digest> = blobs.iter().map(|blob| &blob.diff_id).collect();
    let config = layout.document(&inherit(config.as_deref(), changed, &diff_ids)?)?;
    let descriptor = |media: &str, digest: &Digest, size: u64| json!({"mediaType": media, "digest": digest.to_string(), "size": size});
    let layers: Vec<Value> = blobs.iter().map(|blob| descriptor(&blob.media, &blob.digest, blob.size)).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config.0, config.1), "layers": layers,
    });
    let (digest, size) = layout.document(&manifest)?;
    layout.name(tag, descriptor(MANIFEST, &digest, size))?;
    Ok(Appended { digest, warnings })
}

/// Refuses what would make an image that sbx itself does not take.
fn runs(changed: &Changed) -> Result<()> {
    let config = inherit(None, changed, &[])?.to_string();
    oci::Config::parse(config.as_bytes()).map(drop).map_err(|error| {
        let message = format!("no image can have this: {}", error.message);
        Error { kind: Kind::Usage, message, ..error }.at(Origin::CommandLine)
    })
}

/// What is done to the bytes of a layer that is not packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Squeeze {
    Gzip,
    /// They stay as the base has them.
    No,
}

fn about(path: &Path, error: Error) -> Error {
    Error { message: format!("cannot read the layer `{}`: {}", path.display(), error.message), ..error }
}

/// A tar has a header with the magic of one, or nothing but zeros; what is packed was read as one of a few formats.
fn is_tar(file: &File, length: u64, path: &Path) -> Result<bool> {
    let mut start = [0u8; 512];
    if length < 512 {
        // A packed layer without any member can be as short.
        let count = file.read_at(&mut start, 0).map_err(|error| failed("read", path, &error))?;
        return Ok(decode::is_packed(&start[..count]).unwrap_or(false));
    }
    file.read_exact_at(&mut start, 0).map_err(|error| failed("read", path, &error))?;
    Ok(decode::is_packed(&start).unwrap_or(false) || start.get(257..262) == Some(b"ustar") || start == [0; 512])
}

/// A directory with the parts of image-layout.md.
struct Layout {
    root: PathBuf,
}

impl Layout {
    fn open(root: &Path) -> Result<Self> {
        let layout = Self { root: root.to_owned() };
        std::fs::create_dir_all(root).map_err(|error| failed("create", root, &error))?;
        // Another one may be about to make the same layout.
        let _locked = layout.lock()?;
        let marker = root.join("oci-layout");
        if !marker.exists() && std::fs::read_dir(root).is_ok_and(|mut names| names.next().is_some()) {
            return Err(Error::new(Kind::Image, format!("`{}` is neither empty nor an OCI layout", root.display()))
                .with_hint("name a new directory, or one that holds a layout"));
        }
        std::fs::create_dir_all(layout.blobs()).map_err(|error| failed("create", &layout.blobs(), &error))?;
        if !marker.exists() {
            let text = b"{\"imageLayoutVersion\":\"1.0.0\"}";
            std::fs::write(&marker, text).map_err(|error| failed("write", &marker, &error))?;
        }
        Ok(layout)
    }

    /// Waits for whoever else changes what the layout names; what is returned holds the others back.
    fn lock(&self) -> Result<File> {
        let directory = File::open(&self.root).map_err(|error| failed("open", &self.root, &error))?;
        directory.lock().map_err(|error| failed("lock", &self.root, &error))?;
        Ok(directory)
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// Brings the layers of the base here; returns its configuration too.
    fn base(
        &self,
        base: &Asked<'_>,
        store: impl Fn() -> Result<Store>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Base> {
        let scratch = || {
            file::create_unnamed(&self.root).map(File::from).map_err(|errno| {
                Error::io(format_args!("cannot create a file in `{}`", self.root.display()), &errno.into())
            })
        };
        let platform = base.platform.map(Platform::parse).transpose()?;
        let (form, path) = match base.source {
            Source::Registry(reference, _) => {
                let store = store()?;
                let blobs = store.root().join("blobs");
                let _importing = store.importing()?;
                let digest = match store.named_image(reference, base.platform)? {
                    // `sbx image prune` may have removed the packed layers.
                    Some(digest) if !mend::mend(&store, &digest)? => digest,
                    Some(_) => mend::pull(&store, (reference, base.platform), progress)?,
                    None => store.pull(reference, base.platform, progress)?,
                };
                return self.copy(&oci::from_blobs(&blobs, &digest, platform.as_ref())?);
            }
            Source::Images(form, path) => (form, path),
            Source::Path(path) if path.join("oci-layout").is_file() => (Form::Layout, path),
            Source::Path(path) | Source::Directory(path) if path.is_dir() => return self.directory(path),
            Source::Path(path) => match oci::detect(At { path, held: base.held })? {
                Some(form) => (form, path),
                None => return self.archive(path),
            },
            Source::Tar(path) | Source::Directory(path) => return self.archive(path),
        };
        let selection = Selection { tag: base.tag.map(str::to_owned), platform };
        let manifest = oci::open(form, At { path, held: base.held }, &selection, Scratch { file: &scratch, progress })?;
        self.copy(&manifest)
    }

    fn copy(&self, manifest: &Manifest) -> Result<Base> {
        let mut blobs = Vec::with_capacity(manifest.layers.len() + 1);
        for layer in &manifest.layers {
            let part = layer.place.open()?;
            let packed = Packed { file: &part.file, offset: part.offset, length: part.length };
            let blob = self.layer(packed, Squeeze::No)?;
            let wrong = layer.blob.as_ref().filter(|wanted| **wanted != blob.digest);
            if let Some(wanted) = wrong.or((blob.diff_id != layer.diff_id).then_some(&layer.diff_id)) {
                return Err(Error::new(Kind::Image, format!("the layer `{wanted}` of the base is damaged"))
                    .with_hint("get the image again"));
            }
            blobs.push(blob);
        }
        Ok(Base { config: Some(manifest.document.clone()), blobs, warnings: Vec::new() })
    }

    fn archive(&self, path: &Path) -> Result<Base> {
        let opened = File::open(path).map_err(|error| failed("open", path, &error))?;
        let length = opened.metadata().map_err(|error| failed("look at", path, &error))?.len();
        let packed = Packed { file: &opened, offset: 0, length };
        let blob = self.layer(packed, Squeeze::No).map_err(|error| about(path, error))?;
        Ok(Base { config: None, blobs: vec![blob], warnings: Vec::new() })
    }

    /// Packs a directory as the one layer of a base.
    fn directory(&self, path: &Path) -> Result<Base> {
        let scratch = file::create_unnamed(&self.root).map(File::from);
        let scratch = scratch.map_err(|errno| Error::io("cannot create a file for the base", &errno.into()))?;
        let opened = file::open(path, Access::Directory).map_err(|errno| failed("open", path, &errno.into()))?;
        let (shown, mut warnings) = (path.to_string_lossy(), Vec::new());
        let mut archive = Archive::new(BufWriter::with_capacity(256 << 10, &scratch), Holes::Mapped);
        let top = Top { name: b"", shown: &shown, purpose: Purpose::Layer };
        entry::raise_open_files();
        let walked = walk::walk(&opened, top, (&mut archive, &mut warnings));
        archive.tell(&mut warnings);
        let packed = walked.and_then(|()| archive.finish().map(drop));
        packed.map_err(|fault| fault.error(&format!("cannot pack `{shown}`"), ""))?;
        let length = scratch.metadata().map_err(|error| failed("look at", path, &error))?.len();
        let packed = Packed { file: &scratch, offset: 0, length };
        let blob = self.layer(packed, Squeeze::Gzip).map_err(|error| about(path, error))?;
        Ok(Base { config: None, blobs: vec![blob], warnings })
    }

    /// Puts the bytes of a layer here, under their digest.
    fn layer(&self, packed: Packed<'_>, squeeze: Squeeze) -> Result<Blob> {
        let diff_id = diff_id(packed)?;
        let mut start = [0u8; 6];
        let count =
            packed.file.read_at(&mut start, packed.offset).map_err(|error| Error::io("cannot be read", &error))?;
        let suffix = match start.get(..count).unwrap_or_default() {
            [0x1f, 0x8b, ..] => "+gzip",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => "+zstd",
            [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                return Err(Error::new(Kind::Image, "an OCI layer cannot be packed with xz")
                    .with_hint("unpack it first: `xz -d`"));
            }
            _ => "",
        };
        let read = AtomicU64::new(0);
        let mut source = packed.reader(&read);
        let squeezes = suffix.is_empty() && squeeze == Squeeze::Gzip;
        let suffix = if squeezes { "+gzip" } else { suffix };
        let (digest, size) = self.blob(&mut |sink| {
            if squeezes {
                let mut encoder = GzEncoder::new(sink, Compression::default());
                io::copy(&mut source, &mut encoder)?;
                encoder.finish().map(drop)
            } else {
                io::copy(&mut source, sink).map(drop)
            }
        })?;
        Ok(Blob { digest, diff_id, size, media: format!("{LAYER}{suffix}") })
    }

    /// Writes a blob beside its place and gives it its name when it is whole.
    fn blob(&self, fill: &mut dyn FnMut(&mut Hashed) -> io::Result<()>) -> Result<(Digest, u64)> {
        let spare = random::number().map_err(|errno| Error::io("cannot choose a name", &errno.into()))?;
        let new = self.blobs().join(format!(".new-{spare:016x}"));
        let made = File::create_new(&new).map_err(|error| failed("create", &new, &error))?;
        let mut hashed = Hashed { file: BufWriter::with_capacity(256 << 10, made), hash: Sha256::new(), size: 0 };
        let done = fill(&mut hashed).and_then(|()| hashed.file.flush());
        let digest = Digest::finish(hashed.hash);
        let place = self.blobs().join(digest.hex());
        let named = done.and_then(|()| std::fs::rename(&new, &place));
        named.map_err(|error| {
            std::fs::remove_file(&new).ok();
            failed("write", &place, &error)
        })?;
        Ok((digest, hashed.size))
    }

    fn document(&self, value: &Value) -> Result<(Digest, u64)> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::new(Kind::Bug, format!("cannot write a document: {error}")))?;
        self.blob(&mut |sink| sink.write_all(&text))
    }

    /// Makes the index name the image; another of that tag loses it.
    fn name(&self, tag: &str, mut descriptor: Value) -> Result<()> {
        let _locked = self.lock()?;
        let path = self.root.join("index.json");
        let mut index = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
            }
            other => {
                let file = other.map_err(|error| failed("open", &path, &error))?;
                let mut text = Vec::new();
                file.take(DOCUMENT).read_to_end(&mut text).map_err(|error| failed("read", &path, &error))?;
                serde_json::from_slice(&text).map_err(|error| {
                    Error::new(Kind::Image, format!("`{}` is no index of images: {error}", path.display()))
                        .with_hint("name a new directory")
                })?
            }
        };
        descriptor["annotations"] = json!({ TAG: tag });
        let Some(manifests) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
            return Err(Error::new(Kind::Image, format!("`{}` is no index of images", path.display()))
                .with_hint("name a new directory"));
        };
        manifests.retain(|it| it.pointer("/annotations").and_then(|all| all.get(TAG)).is_none_or(|name| name != tag));
        manifests.push(descriptor);
        let new = path.with_extension("new");
        std::fs::write(&new, index.to_string()).map_err(|error| failed("write", &new, &error))?;
        std::fs::rename(&new, &path).map_err(|error| failed("rename to", &path, &error))
    }
}

/// What is written, counted and hashed.
struct Hashed {
    file: BufWriter<File>,
    hash: Sha256,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.size += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Returns the digest of the tar inside.
fn diff_id(packed: Packed<'_>) -> Result<Digest> {
    // A layer that adds nothing.
    if packed.length == 0 {
        return Ok(Digest::of(&[]));
    }
    let read = AtomicU64::new(0);
    let mut source = decode::buffered(packed.reader(&read));
    let mut unpacked = decode::unpacked(&mut source, &read, &Bounds::default())?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 256 << 10];
    loop {
        match unpacked.read(&mut buffer) {
            Ok(0) => return Ok(Digest::finish(hash)),
            Ok(count) => hash.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("cannot be read", &error).with_kind(Kind::Image)),
        }
    }
}
