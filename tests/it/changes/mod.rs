//! What is taken out of a sandbox when it has ended: its changes as a layer, files and
//! directories, and what others make of a layer.

mod bases;
mod collect;
mod layer;
mod places;
mod tools;

use std::io::Read as _;
use std::path::PathBuf;

use sbx::image::digest::Digest;
use serde_json::{Value, json};

use crate::harness::Sbx;

/// Unpacks nothing: returns the names in a tar, and what each is.
fn members(sbx: &Sbx, name: &str) -> Vec<(String, tar::EntryType)> {
    let bytes = std::fs::read(sbx.path(name)).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(Result::unwrap);
    entries
        .map(|entry| (String::from_utf8_lossy(&entry.path_bytes()).into_owned(), entry.header().entry_type()))
        .collect()
}

fn names(sbx: &Sbx, name: &str) -> Vec<String> {
    members(sbx, name).into_iter().map(|(name, _)| name).collect()
}

/// Returns what is left of sbx's own in the directory of the run.
fn leftovers(sbx: &Sbx) -> Vec<String> {
    let names = std::fs::read_dir(sbx.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with(".sbx-")).collect()
}

/// A layout, whose documents are read and changed.
struct Blobs(PathBuf);

impl Blobs {
    fn read(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.join(name)).unwrap()).unwrap()
    }

    fn blob(&self, descriptor: &Value) -> Value {
        self.read(&descriptor["digest"].as_str().unwrap().replace(':', "/").replace("sha256/", "blobs/sha256/"))
    }

    fn write(&self, media: &Value, document: &Value) -> Value {
        let text = document.to_string();
        let digest = Digest::of(text.as_bytes());
        std::fs::write(self.0.join("blobs/sha256").join(digest.hex()), &text).unwrap();
        json!({"mediaType": media, "digest": digest.to_string(), "size": text.len()})
    }

    fn manifest(&self, tag: &str) -> Value {
        let index = self.read("index.json");
        let found = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["annotations"]["org.opencontainers.image.ref.name"] == tag);
        self.blob(found.unwrap())
    }

    /// Returns the config of the image with a tag.
    fn config(&self, tag: &str) -> Value {
        self.blob(&self.manifest(tag)["config"])
    }

    /// Returns the members of the first layer of the image with a tag, which is packed with gzip.
    fn layer(&self, tag: &str) -> Vec<u8> {
        let digest = self.manifest(tag)["layers"][0]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
        let packed = std::fs::File::open(self.0.join(digest)).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Changes the config of the only image, which is returned.
    fn change(&self, change: &dyn Fn(&mut Value)) -> Value {
        let mut index = self.read("index.json");
        let mut manifest = self.blob(&index["manifests"][0]);
        let mut config = self.blob(&manifest["config"]);
        change(&mut config);
        manifest["config"] = self.write(&manifest["config"]["mediaType"], &config);
        let mut descriptor = self.write(&index["manifests"][0]["mediaType"], &manifest);
        descriptor["annotations"] = index["manifests"][0]["annotations"].clone();
        index["manifests"][0] = descriptor;
        std::fs::write(self.0.join("index.json"), index.to_string()).unwrap();
        config
    }
}
