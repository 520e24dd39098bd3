//! Layouts as directories: damaged, cut short, and with links and devices where files are due.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sbx::image::Platform;
use sbx::image::digest::Digest;
use sbx::image::oci::{At, Form, Manifest, detect};
use sbx::sys::file::{self, Access};
use serde_json::json;

use super::maker::{CONFIG, Files, LAYER, MANIFEST, assert_says, config, contents, layers, read, read_at, selection};

struct Layout {
    directory: tempfile::TempDir,
    files: Files,
}

impl Layout {
    fn new() -> Self {
        let layout = Self { directory: tempfile::tempdir().unwrap(), files: Files::of(&["lower", "upper"]) };
        layout.files.write(&layout.path());
        layout
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    /// Returns the path of the blob with these contents.
    fn blob(&self, contents: &[u8]) -> PathBuf {
        self.path().join("blobs/sha256").join(Digest::of(contents).hex())
    }

    /// Returns the path of the blob that has this word in it.
    fn blob_with(&self, word: &str) -> PathBuf {
        let has = |contents: &[u8]| contents.windows(word.len()).any(|part| part == word.as_bytes());
        let found = self.files.0.iter().find(|(name, contents)| name.starts_with("blobs") && has(contents));
        self.path().join(found.unwrap().0)
    }

    fn read(&self) -> sbx::error::Result<Manifest> {
        read(Form::Layout, &self.path(), &selection(None, None))
    }

    #[track_caller]
    fn refused(&self, words: &str) {
        let error = self.read().expect_err("accepted");
        assert_says(&error, words);
        assert_says(&error, &format!("the image `{}`: ", self.path().display()));
    }
}

#[test]
fn a_layout_is_read() {
    let layout = Layout::new();
    let image = layout.read().unwrap();
    assert_eq!(layers(&image), [b"lower", b"upper"]);
    for (layer, contents) in image.layers.iter().zip([b"lower", b"upper"]) {
        assert_eq!((&layer.blob, &layer.diff_id), (&Some(Digest::of(contents)), &Digest::of(contents)));
        assert_eq!(layer.place.length(), Some(5));
    }
    assert_eq!(image.config.platform, Platform::of_machine());
    let held = file::open(&layout.path(), Access::Place).unwrap();
    let at = At { path: Path::new("/nowhere"), held: Some(&held) };
    assert_eq!(detect(at).unwrap(), Some(Form::Layout));
    assert_eq!(read_at(Form::Layout, at, &selection(None, None)).unwrap().digest, image.digest);
    let path = layout.directory.path().join("x.tar");
    std::fs::write(&path, layout.files.tar()).unwrap();
    let held = file::open(&path, Access::Place).unwrap();
    std::fs::remove_file(&path).unwrap();
    let at = At { path: &path, held: Some(&held) };
    assert_eq!(detect(at).unwrap(), Some(Form::Archive));
    assert_eq!(read_at(Form::Archive, at, &selection(None, None)).unwrap().digest, image.digest);
}

#[test]
fn a_document_that_is_damaged_never_counts() {
    for word in [MANIFEST, "diff_ids"] {
        let layout = Layout::new();
        let path = layout.blob_with(word);
        let whole = std::fs::read(&path).unwrap();
        let hex = path.file_name().unwrap().to_str().unwrap().to_owned();
        std::fs::write(&path, &whole[1..]).unwrap();
        layout.refused(&format!("blob `sha256:{hex}`: has {} bytes, and {} are due", whole.len() - 1, whole.len()));
        std::fs::write(&path, [&whole[..], b" "].concat()).unwrap();
        layout.refused("are due");
        std::fs::write(&path, [&whole[..whole.len() - 1], b" "].concat()).unwrap();
        layout.refused(&format!("blob `sha256:{hex}`: is damaged: its bytes have the digest `sha256:"));
        std::fs::remove_file(&path).unwrap();
        layout.refused(&format!("blob `sha256:{hex}`: is missing"));
    }
}

#[test]
fn a_layer_that_is_missing_or_cut_short_shows_when_it_is_opened() {
    let layout = Layout::new();
    let image = layout.read().unwrap();
    std::fs::write(layout.blob(b"upper"), "uppe").unwrap();
    assert_says(&image.layers[1].place.open().unwrap_err(), "has 4 bytes, and 5 are due");
    std::fs::remove_file(layout.blob(b"upper")).unwrap();
    assert_says(&image.layers[1].place.open().unwrap_err(), "is missing");
    assert_eq!(contents(&image.layers[0].place.open().unwrap()), b"lower");
}

#[test]
fn no_blob_is_anything_but_a_file_of_the_layout() {
    let open = |layout: &Layout| layout.read().unwrap().layers[0].place.open().map(|part| contents(&part));
    let replaced = |make: &dyn Fn(&Layout, &Path)| {
        let layout = Layout::new();
        let path = layout.blob(b"lower");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(layout.directory.path().join("outside"), "lower").unwrap();
        std::fs::write(layout.path().join("inside"), "lower").unwrap();
        make(&layout, &path);
        open(&layout)
    };
    let out = "is a link that leads out of the image";
    assert_says(&replaced(&|_, path| symlink("../../../outside", path).unwrap()).unwrap_err(), out);
    assert_says(&replaced(&|layout, path| symlink(layout.path().join("inside"), path).unwrap()).unwrap_err(), out);
    assert_says(&replaced(&|_, path| symlink("/etc/passwd", path).unwrap()).unwrap_err(), out);
    assert_says(&replaced(&|_, path| symlink("/proc/self/fd/0", path).unwrap()).unwrap_err(), out);
    assert_says(&replaced(&|_, path| symlink(path, path).unwrap()).unwrap_err(), out);
    let around = |path: &Path| symlink(path.file_name().unwrap(), path).unwrap();
    assert_says(&replaced(&|_, path| around(path)).unwrap_err(), "cannot be opened");
    assert_says(&replaced(&|_, path| std::fs::create_dir(path).unwrap()).unwrap_err(), "is not a regular file");
    let fifo = |_: &Layout, path: &Path| {
        let parent = file::open(path.parent().unwrap(), Access::DirectoryPlace).unwrap();
        file::make_fifo_at(parent, path.file_name().unwrap()).unwrap();
    };
    assert_says(&replaced(&fifo).unwrap_err(), "is not a regular file");
    assert_eq!(replaced(&|_, path| symlink("../../inside", path).unwrap()).unwrap(), b"lower");
}

#[test]
fn the_documents_of_a_layout_do_not_come_from_outside_either() {
    for name in ["index.json", "oci-layout"] {
        let layout = Layout::new();
        let (path, outside) = (layout.path().join(name), layout.directory.path().join(name));
        std::fs::rename(&path, &outside).unwrap();
        symlink(format!("../{name}"), &path).unwrap();
        layout.refused(&format!("`{name}`: is a link that leads out of the image"));
        std::fs::remove_file(&path).unwrap();
        layout.refused(&format!("`{name}`: is missing"));
        std::fs::write(&path, "[]").unwrap();
        layout.refused(&format!("`{name}`: is not the JSON that is due"));
        std::fs::write(&path, vec![b' '; (4 << 20) + 1]).unwrap();
        layout.refused(&format!("`{name}`: has 4194305 bytes, more than 4194304"));
    }
    let layout = Layout::new();
    let blobs = layout.path().join("blobs");
    std::fs::rename(&blobs, layout.directory.path().join("blobs")).unwrap();
    symlink("../blobs", &blobs).unwrap();
    layout.refused("is a link that leads out of the image");
}

#[test]
fn only_version_1_of_the_layout_is_known() {
    let layout = Layout::new();
    for (text, words) in [
        (
            r#"{"imageLayoutVersion":"2.0.0\n"}"#,
            "`oci-layout`: is of the version `2.0.0\\n`, and only `1.0.0` is known",
        ),
        (r#"{"imageLayoutVersion":"1.0.0","imageLayoutVersion":"1.0.0"}"#, "is there twice"),
        ("{}", "missing field `imageLayoutVersion`"),
        ("", "is not the JSON that is due"),
    ] {
        std::fs::write(layout.path().join("oci-layout"), text).unwrap();
        layout.refused(words);
    }
}

#[test]
fn manifest_and_config_agree() {
    let layout = Layout::new();
    let mut files = layout.files.clone();
    let inside = config(&Platform::of_machine(), &["lower"]);
    let inside = files.blob(CONFIG, inside.to_string());
    let (lower, upper) = (files.blob(LAYER, "lower"), files.blob(LAYER, "upper"));
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": inside, "layers": [lower, upper]});
    let mut manifest = files.blob(MANIFEST, manifest.to_string());
    files.index(&[manifest.clone()]);
    files.write(&layout.path());
    layout.refused("has 2 layers, and its config `sha256:");
    // The descriptor announces another type than the document has.
    manifest["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
    files.index(&[manifest]);
    files.write(&layout.path());
    layout.refused("but was announced as `application/vnd.docker.distribution.manifest.v2+json`");
}

#[test]
fn what_is_no_layout_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let none = selection(None, None);
    assert_says(&read(Form::Layout, directory.path(), &none).unwrap_err(), "`oci-layout`: is missing");
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = read(Form::Layout, &file, &none).unwrap_err();
    assert_says(&error, "is not a directory");
    let error = read(Form::Layout, &directory.path().join("nothing"), &none).unwrap_err();
    assert_eq!(error.errno, Some(libc::ENOENT), "{error}");
    let error = read(Form::Archive, directory.path(), &none).unwrap_err();
    assert_says(&error, "is a directory, not an archive");
}
