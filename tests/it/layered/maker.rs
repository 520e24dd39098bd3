//! OCI layouts of layers that are given byte by byte, what is inside of them when sbx runs them, and what umoci
//! makes of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use sbx::image::Platform;
use sbx::image::digest::Digest;
use serde_json::{Value, json};

use crate::harness::{Ran, Sbx, Who, skip};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The base of a spec that runs the image in the directory `image`; the programs are apart from it.
pub(crate) const SPEC: &str =
    "rootfs \"oci:@/image\"\nenv PATH=\"/.probe\"\nmounts { bind \"%/root/bin\" \"/.probe\"; }";

/// Names that the sandbox or its spec puts over an image.
const OWN: [&str; 6] = [".probe", "dev", "proc", "run", "sys", "tmp"];

/// One layer as an image has it.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) media: String,
    pub(crate) packed: Vec<u8>,
    pub(crate) diff_id: String,
}

impl Layer {
    /// Returns the layer of this tar, unpacked.
    pub(crate) fn plain(tar: &[u8]) -> Self {
        Self { media: LAYER.to_owned(), packed: tar.to_vec(), diff_id: Digest::of(tar).to_string() }
    }

    /// Returns the layer of this tar, packed with gzip.
    pub(crate) fn gzip(tar: &[u8]) -> Self {
        Self { media: format!("{LAYER}+gzip"), packed: crate::image::formats::gzip(tar), ..Self::plain(tar) }
    }
}

/// Writes a layout with the one image `a` to `directory`.
pub(crate) fn write_layout(directory: &Path, layers: &[Layer]) {
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer.diff_id).collect();
    let platform = Platform::of_machine();
    let config = json!({
        "created": "2020-01-01T00:00:00Z", "os": platform.os, "architecture": platform.architecture,
        "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    let blob = |media: &str, bytes: &[u8]| -> Value {
        let digest = Digest::of(bytes);
        std::fs::write(directory.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media, "digest": digest.to_string(), "size": bytes.len()})
    };
    let config = blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layers: Vec<_> = layers.iter().map(|layer| blob(&layer.media, &layer.packed)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    let mut manifest = blob(MANIFEST, manifest.to_string().as_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "a"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Returns a run of the image of these tars, each packed as its number says.
pub(crate) fn image(who: Who, tars: &[Vec<u8>]) -> Sbx {
    let sbx = Sbx::new(who).spec(SPEC);
    write_image(&sbx, tars);
    sbx
}

/// Puts the image of these tars in the place of the one that was there.
pub(crate) fn write_image(sbx: &Sbx, tars: &[Vec<u8>]) {
    let packed = |(number, tar)| if number % 2 == 0 { Layer::gzip(tar) } else { Layer::plain(tar) };
    let layers: Vec<_> = tars.iter().map(Vec::as_slice).enumerate().map(packed).collect();
    write_layout(&sbx.path("image"), &layers);
}

/// Runs a line of busybox's shell.
pub(crate) fn shell(sbx: Sbx, script: &str) -> (Ran, Sbx) {
    let sbx = sbx.cmd(&["/.probe/busybox", "sh", "-c", script]);
    (sbx.run(), sbx)
}

/// What a tree holds: for each name its type, mode, size, time and target, its contents, and the names that are one
/// file with it.
pub(crate) type Listing = BTreeMap<String, String>;

/// Lists what `$1` has; `$0` is busybox.
fn lister() -> String {
    let own: Vec<_> = OWN.iter().map(|name| format!("-path ./{name}")).collect();
    let prune = format!("\\( {} \\) -prune -o", own.join(" -o "));
    format!(
        "cd \"$1\" && \"$0\" find . -xdev {prune} -exec \"$0\" stat -c '%n|%F|%a|%i|%s|%Y|%N' {{}} + && \
         \"$0\" find . -xdev {prune} -type f -exec \"$0\" sha256sum {{}} +"
    )
}

/// Returns what the image of `sbx` holds inside.
#[track_caller]
pub(crate) fn inside(sbx: Sbx) -> (Listing, Sbx) {
    let sbx = sbx.cmd(&["/.probe/busybox", "sh", "-c", &lister(), "/.probe/busybox", "/"]);
    (read(sbx.run().ok()), sbx)
}

/// Returns what is in a directory of the host.
pub(crate) fn outside(directory: &Path) -> Listing {
    let listed = Command::new("/bin/busybox").args(["sh", "-c", &lister(), "/bin/busybox"]).arg(directory).output();
    let listed = listed.unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    read(&String::from_utf8_lossy(&listed.stdout))
}

fn read(text: &str) -> Listing {
    let mut listing = Listing::new();
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split('|').collect();
        if let [name, kind, mode, inode, size, time, shown] = fields[..] {
            let directory = kind == "directory";
            // Set-id bits of files are powerless in sbx's trees, and kept in the list.
            let mode = u32::from_str_radix(mode, 8).unwrap() & if directory { 0o3777 } else { 0o1777 };
            let size = if directory { "-" } else { size };
            let target = shown.split_once(" -> ").map(|(_, target)| target).unwrap_or_default();
            if !directory {
                names.entry(inode.to_owned()).or_default().push(name.to_owned());
            }
            listing.insert(name.to_owned(), format!("{kind} {mode:o} {size} {time} {target}"));
        } else {
            let (sum, name) = line.split_once("  ").unwrap_or_else(|| panic!("`{line}` is no line of a list"));
            listing.get_mut(name).unwrap().push_str(sum);
        }
    }
    for mut same in names.into_values().filter(|same| same.len() > 1) {
        same.sort();
        for name in &same {
            listing.entry(name.clone()).and_modify(|line| *line = format!("{line} is {same:?}"));
        }
    }
    listing
}

/// Returns what umoci makes of a layout, without owners.
pub(crate) fn unpacked(layout: &Path) -> Listing {
    let bundle = tempfile::tempdir().unwrap();
    let at = bundle.path().join("bundle");
    let image = format!("{}:a", layout.display());
    run("umoci", &["unpack", "--rootless", "--image", &image, &at.display().to_string()]);
    outside(&at.join("rootfs"))
}

/// Says where two trees differ.
#[track_caller]
pub(crate) fn assert_same(ours: &Listing, theirs: &Listing, what: &str) {
    let names: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let different: Vec<_> = names
        .into_iter()
        // Each made the root by itself where no layer describes it, and sbx has mount points in it.
        .filter(|name| name.as_str() != "." && ours.get(*name) != theirs.get(*name))
        .map(|name| format!("{name}: {:?} instead of {:?}", ours.get(name), theirs.get(name)))
        .collect();
    assert!(different.is_empty() && !ours.is_empty(), "{what}: {different:#?}");
}

/// Returns whether these programs are there; says so if not.
pub(crate) fn has(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let missing = programs.iter().find(|name| !std::env::split_paths(&path).any(|at| at.join(name).exists()));
    if let Some(name) = missing {
        skip(&format!("no {name}: apt-get install {name}"));
    }
    missing.is_none() && crate::fixture::has_rootfs()
}

/// Runs a program that has to succeed.
pub(crate) fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the sorted names in a directory of the store; none where there is no such directory.
pub(crate) fn kept(sbx: &Sbx, name: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(sbx.path("store").join(name)) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Lets everybody read what a tool has made.
pub(crate) fn readable(path: &Path) {
    run("chmod", &["-R", "a+rX", &path.display().to_string()]);
}
