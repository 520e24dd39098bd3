//! A real Debian of two layers: made by mmdebstrap, packed by umoci, the second with python3 installed into it.

use std::path::Path;
use std::process::Command;

use super::maker::{has, readable, run};
use crate::harness::{Sbx, Who, skip};

/// Returns the files with apt's own sources: where this machine gets its packages from.
fn sources() -> Vec<String> {
    let directory = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let files = directory.map(|entry| entry.path()).chain([Path::new("/etc/apt/sources.list").to_owned()]);
    let files = files.filter(|path| {
        let known = path.extension().is_some_and(|end| end == "sources" || end == "list");
        known && std::fs::read_to_string(path).is_ok_and(|text| text.contains("debian"))
    });
    files.map(|path| path.display().to_string()).collect()
}

/// Makes the layout `layout:a`; says why not where Debian cannot be reached.
fn make(at: &Path) -> bool {
    let text = |name: &str| at.join(name).display().to_string();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let sources = sources();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some(suite) = suite.filter(|_| release.contains("ID=debian") && !sources.is_empty()) else {
        skip("not on Debian, so no Debian is made");
        return false;
    };
    // Only what is run below: no documentation, no lists of packages.
    let base = format!("rm -rf \"$1\"/var/lib/apt/lists/*_*; cp -ax \"$1\" {}", text("base"));
    // What it mounts for its chroot is nobody else's to see.
    let output = Command::new("unshare")
        .args(["--mount", "mmdebstrap", "--quiet", "--variant=apt", "--aptopt=APT::Install-Recommends \"false\""])
        .args(["doc", "man", "locale", "info"].map(|name| format!("--dpkgopt=path-exclude=/usr/share/{name}/*")))
        .arg(format!("--customize-hook={base}"))
        .arg(
            "--customize-hook=chroot \"$1\" apt-get -qq update && chroot \"$1\" apt-get -qq install -y python3-minimal",
        )
        .args([suite, &text("final")])
        .args(sources)
        .output()
        .unwrap();
    if !output.status.success() {
        skip(&format!("mmdebstrap made no Debian: {}", String::from_utf8_lossy(&output.stderr)));
        return false;
    }
    let image = format!("{}:a", text("layout"));
    run("umoci", &["init", "--layout", &text("layout")]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["unpack", "--image", &image, &text("bundle")]);
    for tree in ["base", "final"] {
        run(
            "sh",
            &[
                "-c",
                "rm -rf \"$1\" && mv \"$2\" \"$1\" && rm -rf \"$1\"/dev/*",
                "sh",
                &text("bundle/rootfs"),
                &text(tree),
            ],
        );
        run("umoci", &["repack", "--refresh-bundle", "--image", &image, &text("bundle")]);
    }
    readable(&at.join("layout"));
    true
}

#[test]
fn a_debian_of_two_layers_runs() {
    if Who::root().is_none() || !has(&["mmdebstrap", "umoci"]) {
        return;
    }
    let made = tempfile::tempdir().unwrap();
    if !make(made.path()) {
        return;
    }
    readable(made.path());
    let spec = format!("rootfs \"oci:{}\"", made.path().join("layout").display());
    for who in Who::all() {
        let mut sbx = Sbx::new(who).spec(&spec);
        let commands: [(&[&str], &str); 6] = [
            (&["apt-get", "--version"], "apt 2"),
            (&["dpkg", "-l", "apt"], "ii  apt"),
            (&["perl", "-v"], "This is perl 5"),
            (&["python3", "-c", "import sys; print('version', sys.version_info[0])"], "version 3"),
            (&["dpkg", "--verify", "libc6"], ""),
            (&["sh", "-c", "ls -ld /lib; id -un; find / -xdev -name '.wh.*' 2>/dev/null; true"], "usr/lib\nroot"),
        ];
        for (command, words) in commands {
            sbx = sbx.cmd(command);
            let ran = sbx.run();
            assert!(ran.ok().contains(words), "{who:?} {command:?}: {ran:?}");
        }
        assert_eq!(sbx.run().report["rootfs"]["layers"], 2, "{who:?}");
    }
}
