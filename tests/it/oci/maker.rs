//! Layouts and archives, made file by file: also those that no tool would make.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sbx::error::{Error, Result};
use sbx::image::Platform;
use sbx::image::digest::Digest;
use sbx::image::oci::{At, Form, Manifest, Part, Scratch, Selection, open};
use serde_json::{Value, json};

use crate::image::arena::{Entry, dir, tar};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The files of a layout or an archive, by their names.
#[derive(Clone, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files {
    /// Returns a layout without images.
    pub(crate) fn layout() -> Self {
        let mut files = Self::default();
        files.set("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        files
    }

    /// Returns a layout of one image of these layers.
    pub(crate) fn of(layers: &[&str]) -> Self {
        let mut files = Self::layout();
        let image = files.image(&Platform::of_machine(), layers);
        files.index(&[image]);
        files
    }

    pub(crate) fn set(&mut self, name: &str, contents: impl AsRef<[u8]>) {
        self.0.insert(name.to_owned(), contents.as_ref().to_vec());
    }

    /// Adds a blob and returns its descriptor.
    pub(crate) fn blob(&mut self, media: &str, contents: impl AsRef<[u8]>) -> Value {
        let digest = Digest::of(contents.as_ref());
        self.set(&format!("blobs/sha256/{}", digest.hex()), contents.as_ref());
        json!({"mediaType": media, "digest": digest.to_string(), "size": contents.as_ref().len()})
    }

    /// Adds an image and returns the descriptor of its manifest.
    pub(crate) fn image(&mut self, platform: &Platform, layers: &[&str]) -> Value {
        let config = self.blob(CONFIG, config(platform, layers).to_string());
        let layers: Vec<Value> = layers.iter().map(|layer| self.blob(LAYER, layer)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        self.blob(MANIFEST, manifest.to_string())
    }

    pub(crate) fn index(&mut self, manifests: &[Value]) {
        self.set("index.json", index(manifests).to_string());
    }

    pub(crate) fn write(&self, directory: &Path) -> PathBuf {
        for (name, contents) in &self.0 {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
        directory.to_owned()
    }

    pub(crate) fn tar(&self) -> Vec<u8> {
        let file = |(name, contents): (&String, &Vec<u8>)| Entry::new(b'0', name).data(contents).bytes();
        tar(&[vec![dir("./")], self.0.iter().map(file).collect()].concat())
    }
}

pub(crate) fn index(manifests: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
}

pub(crate) fn config(platform: &Platform, layers: &[&str]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer.as_bytes()).to_string()).collect();
    json!({
        "os": platform.os, "architecture": platform.architecture,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
}

pub(crate) fn tagged(mut descriptor: Value, tag: &str) -> Value {
    descriptor["annotations"][REF_NAME] = tag.into();
    descriptor
}

pub(crate) fn on(mut descriptor: Value, platform: &str) -> Value {
    let words: Vec<_> = platform.split('/').collect();
    descriptor["platform"] = json!({"os": words[0], "architecture": words[1]});
    if let Some(variant) = words.get(2) {
        descriptor["platform"]["variant"] = (*variant).into();
    }
    descriptor
}

pub(crate) fn selection(tag: Option<&str>, platform: Option<&str>) -> Selection {
    Selection { tag: tag.map(str::to_owned), platform: platform.map(|platform| Platform::parse(platform).unwrap()) }
}

pub(crate) fn read(form: Form, path: &Path, selection: &Selection) -> Result<Manifest> {
    read_at(form, At { path, held: None }, selection)
}

pub(crate) fn read_at(form: Form, at: At<'_>, selection: &Selection) -> Result<Manifest> {
    let file = || Ok(tempfile::tempfile().unwrap());
    open(form, at, selection, Scratch { file: &file, progress: &mut |_| {} })
}

/// Reads an image of these bytes in a file, or of these files in a directory.
pub(crate) fn read_bytes(form: Form, bytes: &[u8], selection: &Selection) -> Result<Manifest> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.tar");
    std::fs::write(&path, bytes).unwrap();
    read(form, &path, selection)
}

/// Returns the packed bytes of each layer.
pub(crate) fn layers(manifest: &Manifest) -> Vec<Vec<u8>> {
    manifest.layers.iter().map(|layer| contents(&layer.place.open().unwrap())).collect()
}

pub(crate) fn contents(part: &Part) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(part.length).unwrap()];
    let file: &File = &part.file;
    file.read_exact_at(&mut bytes, part.offset).unwrap();
    bytes
}

/// Checks that a message has these words, is one line, and says nothing that acts on a terminal.
#[track_caller]
pub(crate) fn assert_says(error: &Error, words: &str) {
    let said = error.to_string();
    assert!(said.contains(words), "`{words}` is not in: {said}");
    assert!(said.len() < 2000 && !said.chars().any(char::is_control), "{said:?}");
}
