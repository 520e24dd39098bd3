//! Images made by umoci and copied by skopeo from form to form: what is read here is what skopeo says is there.

use std::path::{Path, PathBuf};
use std::process::Command;

use sbx::image::Platform;
use sbx::image::digest::Digest;
use sbx::image::oci::{At, Form, Manifest, detect};
use serde_json::Value;

use super::maker::{assert_says, layers, read, selection};
use crate::image::arena::run;

/// A layout with two images, and where it is.
struct Made {
    directory: tempfile::TempDir,
}

impl Made {
    /// Returns `None` where a tool is missing, which is said.
    fn new() -> Option<Self> {
        let made = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(made.path("tree/etc")).unwrap();
        std::fs::write(made.path("tree/etc/one"), "1\n".repeat(1000)).unwrap();
        std::fs::write(made.path("tree/two"), "two").unwrap();
        let there = made.umoci(&["init", "--layout", "layout"])
            && made.umoci(&["new", "--image", "layout:one"])
            && made.umoci(&["insert", "--image", "layout:one", "tree/etc", "/etc"])
            && made.umoci(&["insert", "--image", "layout:one", "tree", "/srv"])
            && made.umoci(&[
                "config",
                "--image",
                "layout:one",
                "--config.env=A=b c",
                "--config.env=PATH=/bin:/usr/bin",
                "--config.entrypoint=/init",
                "--config.cmd=sh",
                "--config.cmd=-c\necho",
                "--config.user=1:2",
                "--config.workingdir=/srv",
                "--config.label=org.example=x y",
                "--config.volume=/data",
                "--config.stopsignal=SIGINT",
                "--config.exposedports=80/tcp",
            ]);
        (there && run(made.directory.path(), "skopeo", &["--version"])).then_some(made)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn umoci(&self, arguments: &[&str]) -> bool {
        run(self.directory.path(), "umoci", arguments)
    }

    fn copy(&self, arguments: &[&str]) {
        assert!(run(self.directory.path(), "skopeo", &[&["copy", "-q"], arguments].concat()));
    }

    fn inspect(&self, arguments: &[&str]) -> Value {
        let output = Command::new("skopeo").arg("inspect").args(arguments).current_dir(self.directory.path()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Reads an image and compares all of it with what skopeo says.
    fn compare(&self, form: Form, name: &str, tag: Option<&str>) -> Manifest {
        let image = read(form, &self.path(name), &selection(tag, None)).unwrap();
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let reference = format!("{}:{name}{tag}", form.as_str());
        let config = self.inspect(&["--config", &reference]);
        compare_config(&image, &config);
        if form != Form::DockerArchive {
            let raw = self.inspect(&["--raw", &reference]);
            let blobs: Vec<_> = raw["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].clone()).collect();
            let ours: Vec<_> = image.layers.iter().map(|layer| layer.blob.as_ref().unwrap().to_string()).collect();
            assert_eq!(ours, blobs);
        }
        for (layer, bytes) in image.layers.iter().zip(layers(&image)) {
            if let Some(blob) = &layer.blob {
                assert_eq!(*blob, Digest::of(&bytes));
            }
        }
        image
    }
}

fn compare_config(image: &Manifest, theirs: &Value) {
    let ours = &image.config;
    let settings = &theirs["config"];
    let strings = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap_or_default() };
    let one = |value: &Value| value.as_str().map(str::to_owned);
    assert_eq!(ours.env, strings(&settings["Env"]));
    assert_eq!(ours.entrypoint, strings(&settings["Entrypoint"]));
    assert_eq!(ours.cmd, strings(&settings["Cmd"]));
    assert_eq!(ours.user, one(&settings["User"]));
    assert_eq!(ours.workdir, one(&settings["WorkingDir"]));
    assert_eq!(ours.stop_signal, one(&settings["StopSignal"]));
    assert_eq!(serde_json::to_value(&ours.labels).unwrap(), settings["Labels"]);
    assert_eq!(ours.volumes, settings["Volumes"].as_object().unwrap().keys().cloned().collect::<Vec<_>>());
    let diff_ids: Vec<_> = ours.diff_ids.iter().map(ToString::to_string).collect();
    assert_eq!(diff_ids, strings(&theirs["rootfs"]["diff_ids"]));
    assert_eq!(diff_ids, image.layers.iter().map(|layer| layer.diff_id.to_string()).collect::<Vec<_>>());
    let platform = format!("{}/{}", theirs["os"].as_str().unwrap(), theirs["architecture"].as_str().unwrap());
    assert_eq!(ours.platform, Platform::parse(&platform).unwrap());
    assert!(!diff_ids.is_empty() && !ours.env.is_empty() && ours.workdir.is_some(), "nothing was compared");
}

fn form(path: &Path) -> Option<Form> {
    detect(At { path, held: None }).unwrap()
}

#[test]
fn all_forms_of_an_image_are_read_as_skopeo_reads_them() {
    let Some(made) = Made::new() else { return };
    let layout = made.compare(Form::Layout, "layout", Some("one"));
    assert_eq!(layout.layers.len(), 2);
    assert_eq!(made.compare(Form::Layout, "layout", None).digest, layout.digest);
    made.copy(&["oci:layout:one", "oci-archive:a.tar:one"]);
    assert_eq!(made.compare(Form::OciArchive, "a.tar", Some("one")).digest, layout.digest);
    made.copy(&["oci-archive:a.tar:one", "docker-archive:d.tar:example/one:v1"]);
    let docker = made.compare(Form::DockerArchive, "d.tar", None);
    assert_eq!(docker.config, layout.config);
    // skopeo stores the layers of such an archive unpacked.
    for (layer, bytes) in docker.layers.iter().zip(layers(&docker)) {
        assert_eq!(layer.diff_id, Digest::of(&bytes));
    }
    for tag in ["v1", "example/one:v1", "docker.io/example/one:v1"] {
        let image = read(Form::DockerArchive, &made.path("d.tar"), &selection(Some(tag), None)).unwrap();
        assert_eq!(image.digest, docker.digest);
    }
    made.copy(&["docker-archive:d.tar", "oci:back:x"]);
    assert_eq!(made.compare(Form::Layout, "back", Some("x")).config, layout.config);
    for (name, kind) in [("layout", Form::Layout), ("a.tar", Form::Archive), ("d.tar", Form::Archive)] {
        assert_eq!(form(&made.path(name)), Some(kind), "{name}");
    }
    for (name, of) in [("a.tar", &layout), ("d.tar", &docker)] {
        assert_eq!(read(Form::Archive, &made.path(name), &selection(None, None)).unwrap().digest, of.digest);
    }
}

#[test]
fn packed_layers_and_packed_archives_are_found() {
    let Some(made) = Made::new() else { return };
    let digest = made.compare(Form::Layout, "layout", Some("one")).digest;
    let archives = [("a.tar", Form::OciArchive), ("d.tar", Form::DockerArchive)];
    made.copy(&["oci:layout:one", "oci-archive:a.tar:one"]);
    made.copy(&["oci:layout:one", "docker-archive:d.tar:one:v1"]);
    let magic = |image: &Manifest| layers(image).iter().map(|layer| layer[..2].to_vec()).collect::<Vec<_>>();
    for (format, start) in [("gzip", [0x1f, 0x8b]), ("zstd", [0x28, 0xb5])] {
        let target = format!("oci:{format}:one");
        made.copy(&["--dest-compress-format", format, "docker-archive:d.tar", &target]);
        assert_eq!(magic(&made.compare(Form::Layout, format, Some("one"))), [start, start]);
    }
    for (name, kind) in archives {
        let plain = made.compare(kind, name, None);
        for (program, suffix) in [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz")] {
            if !run(made.directory.path(), program, &["-q", "-k", "-f", name]) {
                continue;
            }
            let path = made.path(&format!("{name}.{suffix}"));
            assert_eq!(form(&path), Some(Form::Archive), "{}", path.display());
            let image = read(kind, &path, &selection(None, None)).unwrap();
            assert_eq!((&image.digest, layers(&image)), (&plain.digest, layers(&plain)));
        }
    }
    assert_eq!(read(Form::OciArchive, &made.path("a.tar"), &selection(None, None)).unwrap().digest, digest);
}

#[test]
fn docker_manifests_and_their_blobs_are_read() {
    let Some(made) = Made::new() else { return };
    made.copy(&["--format", "v2s2", "oci:layout:one", "dir:v2s2"]);
    let manifest = std::fs::read(made.path("v2s2/manifest.json")).unwrap();
    std::fs::write(made.path("v2s2").join(Digest::of(&manifest).hex()), &manifest).unwrap();
    let image = sbx::image::oci::from_blobs(&made.path("v2s2"), &Digest::of(&manifest), None).unwrap();
    compare_config(&image, &made.inspect(&["--config", "dir:v2s2"]));
    for (layer, bytes) in image.layers.iter().zip(layers(&image)) {
        assert_eq!(*layer.blob.as_ref().unwrap(), Digest::of(&bytes));
    }
}

#[test]
fn several_images_of_one_layout_are_listed() {
    let Some(made) = Made::new() else { return };
    assert!(made.umoci(&["new", "--image", "layout:empty"]));
    let error = read(Form::Layout, &made.path("layout"), &selection(None, None)).unwrap_err();
    assert_says(&error, "holds several images: `one`, `empty`");
    let empty = read(Form::Layout, &made.path("layout"), &selection(Some("empty"), None)).unwrap();
    assert_eq!((empty.layers.len(), empty.config.diff_ids.len()), (0, 0));
    assert!(made.umoci(&["config", "--image", "layout:one", "--tag", "foreign", "--architecture", "s390x"]));
    let error = read(Form::Layout, &made.path("layout"), &selection(Some("foreign"), None)).unwrap_err();
    assert_says(&error, "the image is for `linux/s390x`, and this machine is");
    made.copy(&["--override-arch", "s390x", "oci:layout:foreign", "docker-archive:d.tar:foreign:1"]);
    let error = read(Form::Archive, &made.path("d.tar"), &selection(None, None)).unwrap_err();
    assert_says(&error, "the image is for `linux/s390x`");
    assert!(read(Form::Archive, &made.path("d.tar"), &selection(None, Some("linux/s390x"))).is_ok());
}
