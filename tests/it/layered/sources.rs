//! One image by every way that leads to it: layouts, archives and registries, packed in every form, as skopeo writes
//! and pushes them.

use super::maker::{Listing, SPEC, assert_same, has, image, inside, readable, run, shell, unpacked};
use crate::harness::{Sbx, Who};
use crate::image::arena::{dir, file, hardlink, symlink, tar};
use crate::registry::trust::certificate;
use crate::registry::yard::{self, Door, Server, Yard};

fn layers() -> Vec<Vec<u8>> {
    let noise = "0123456789abcdef".repeat(20_000);
    vec![
        tar(&[
            dir("etc"),
            file("etc/a", "one"),
            file("etc/b", "two"),
            dir("opt"),
            file("opt/old", "x"),
            symlink("l", "opt"),
        ]),
        tar(&[file("etc/.wh.a", ""), file("l/new", "through"), hardlink("b", "etc/b"), file("noise", &noise)]),
        tar(&[dir("opt"), file("opt/.wh..wh..opq", ""), file("opt/own", "y")]),
    ]
}

/// Returns a run of the image, the image itself as umoci sees it, and copies it with skopeo to `target`.
fn copied(who: Who, target: &str, words: &[&str]) -> (Sbx, Listing) {
    let sbx = image(who, &layers());
    let from = format!("oci:{}:a", sbx.path("image").display());
    let target = target.replace('@', &sbx.path("").display().to_string());
    run("skopeo", &[&["--insecure-policy", "copy", "-q"], words, &[&from, &target]].concat());
    readable(&sbx.path(""));
    let theirs = unpacked(&sbx.path("image"));
    (sbx, theirs)
}

fn of(source: &str) -> String {
    SPEC.replace("oci:@/image", source)
}

#[test]
fn layouts_and_archives_of_skopeo() {
    if !has(&["umoci", "skopeo"]) {
        return;
    }
    let cases: [(&str, &[&str], &str); 7] = [
        ("oci:@/copy:t", &[], "oci:@/copy:t"),
        ("oci:@/copy:t", &["--dest-compress-format", "zstd"], "oci:@/copy"),
        ("oci:@/copy:t", &["--dest-decompress"], "@/copy"),
        ("oci-archive:@/copy:t", &[], "oci-archive:@/copy"),
        ("oci-archive:@/copy:t", &[], "oci-archive:@/copy:t"),
        ("docker-archive:@/copy:r/n:t", &[], "docker-archive:@/copy"),
        ("docker-archive:@/copy:r/n:t", &[], "@/copy"),
    ];
    for who in Who::all() {
        for (target, words, source) in cases {
            let (sbx, theirs) = copied(who, target, words);
            assert_same(&inside(sbx.spec(&of(source))).0, &theirs, &format!("{who:?} {target} {words:?} {source}"));
        }
    }
}

#[test]
fn packed_archives() {
    if !has(&["umoci", "skopeo", "gzip", "zstd", "xz"]) {
        return;
    }
    for who in Who::all() {
        for (form, packer, end) in
            [("oci-archive", "gzip", "gz"), ("docker-archive", "zstd", "zst"), ("docker-archive", "xz", "xz")]
        {
            let (sbx, theirs) = copied(who, &format!("{form}:@/copy:r/n:t"), &[]);
            run(packer, &["-q", &sbx.path("copy").display().to_string()]);
            readable(&sbx.path(""));
            let spec = of(&format!("{form}:@/copy.{end}"));
            assert_same(&inside(sbx.spec(&spec)).0, &theirs, &format!("{who:?} {form} {packer}"));
        }
    }
}

fn push(sbx: &Sbx, server: &Server) {
    let (from, to) = (format!("oci:{}:a", sbx.path("image").display()), server.name("b/c:a"));
    run("skopeo", &["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", &from, &to]);
}

/// From a registry that is open, behind a password, and behind TLS of an authority that only this run knows; the
/// second run asks for nothing.
#[test]
fn registries() {
    let Some(yard) = Yard::new().filter(|_| has(&["umoci"])) else { return };
    drop(yard.registry(&Door::Open));
    certificate(&yard, "server", ("IP:127.0.0.1", "2"));
    let authority = std::fs::read(yard.path("ca.crt")).unwrap();
    for who in Who::all() {
        let open = yard.registry(&Door::Open);
        let first = image(who, &layers());
        push(&first, &open);
        let theirs = unpacked(&first.path("image"));
        let (ours, first) = inside(first.spec(&of(&open.name("b/c:a"))));
        assert_same(&ours, &theirs, &format!("{who:?} open"));
        drop(open);
        assert_same(&inside(first).0, &theirs, &format!("{who:?} again, without the registry"));

        let locked = yard.registry(&Door::Password);
        let sbx = Sbx::new(who).spec(&of(&locked.name("b/c:a")));
        let (ran, sbx) = shell(sbx, "echo ran");
        ran.refused("somebody who is not logged in");
        let login = format!(r#"{{"auths":{{"127.0.0.1:{}":{{"auth":"YW5uOnNlY3JldA=="}}}}}}"#, locked.port);
        let sbx = sbx.file("auth.json", login.as_bytes());
        let auth = sbx.path("auth.json").display().to_string();
        assert_same(&inside(sbx.env("REGISTRY_AUTH_FILE", &auth)).0, &theirs, &format!("{who:?} password"));
        drop(locked);

        let safe = yard.registry(&Door::Tls(&yard.path("server.crt"), &yard.path("server.key")));
        let (ran, sbx) = shell(Sbx::new(who).spec(&of(&safe.name("b/c:a"))), "echo ran");
        ran.refused("no trusted connection");
        let sbx = sbx.file("ca.crt", &authority);
        let known = sbx.path("ca.crt").display().to_string();
        assert_same(&inside(sbx.env("SSL_CERT_FILE", &known)).0, &theirs, &format!("{who:?} TLS"));
    }
}

/// Runs a verb of `sbx image` that has to succeed; returns what it says.
#[track_caller]
fn verb(sbx: Sbx, words: &[&str]) -> (Sbx, String) {
    let sbx = sbx.verb(&[&["image"], words].concat()).cmd(&[]).report(None);
    let ran = sbx.run();
    assert_eq!(ran.code(), 0, "{words:?}: {ran:?}");
    let report = sbx.path("report.json").display().to_string();
    (sbx.verb(&["run"]).report(Some(&report)), ran.stdout)
}

/// Made by umoci, pushed by skopeo, pulled and run by sbx, changed by that run; the change is put on top of it, run
/// again, and read back by skopeo.
#[test]
fn an_image_goes_all_the_way_round() {
    let Some(yard) = Yard::new().filter(|_| has(&["umoci", "skopeo"])) else { return };
    for who in Who::all() {
        let server = yard.registry(&Door::Open);
        let name = server.name("b/c:a");
        let sbx = image(who, &layers());
        push(&sbx, &server);
        // What is pulled and not unpacked yet is no damage.
        let sbx = sbx.file("empty.tar", &tar(&[file("none", "")]));
        let (sbx, _) = verb(sbx, &["append", &name, "empty.tar", "oci:unused:t"]);
        assert_eq!(super::maker::kept(&sbx, "layers"), Vec::<String>::new(), "{who:?}");
        let (sbx, said) = verb(sbx, &["verify"]);
        assert_eq!(said, "", "{who:?}");

        let spec = of(&name).replace("\nmounts", "\nchanges \"@/change.tar\"\nmounts");
        let (ran, sbx) = shell(sbx.spec(&spec), "echo new >/new");
        ran.ok();
        let (sbx, digest) = verb(sbx, &["append", &name, "change.tar", "oci:out:a", "--label", "made=here"]);
        readable(&sbx.path("out"));
        let seen = yard::run("skopeo", &["inspect", &format!("oci:{}:a", sbx.path("out").display())]);
        let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
        assert_eq!((&seen["Digest"], &seen["Labels"]["made"]), (&digest.trim().into(), &"here".into()));
        let (ran, sbx) = shell(sbx.spec(&of("oci:@/out:a")), "cat /new; test -e /none || echo none");
        assert_eq!(ran.ok(), "new\nnone", "{who:?}");
        let theirs = unpacked(&sbx.path("out"));
        assert!(theirs.contains_key("./new") && theirs.contains_key("./opt/own"), "{who:?}");
    }
}

/// Packed layers are needed no more once they are extracted, and are fetched again where they are.
#[test]
fn packed_layers_are_pruned_and_fetched_again() {
    let Some(yard) = Yard::new().filter(|_| has(&["umoci"])) else { return };
    for who in Who::all() {
        let server = yard.registry(&Door::Open);
        let name = server.name("b/c:a");
        let sbx = image(who, &layers());
        push(&sbx, &server);
        let (ours, sbx) = inside(sbx.spec(&of(&name)));
        let blobs = super::maker::kept(&sbx, "blobs").len();
        let (sbx, _) = verb(sbx, &["prune"]);
        assert_eq!(super::maker::kept(&sbx, "blobs").len(), blobs - 3, "{who:?}");
        let (sbx, said) = verb(sbx, &["verify"]);
        assert_eq!(said, "", "{who:?}");
        let (again, sbx) = inside(sbx);
        assert_same(&again, &ours, &format!("{who:?} pruned"));
        assert_eq!(super::maker::kept(&sbx, "blobs").len(), blobs - 3, "{who:?}: a run needs none");

        let sbx = sbx.file("one.tar", &tar(&[file("added", "x"), file("opt/.wh.own", "")]));
        let (sbx, _) = verb(sbx, &["append", &name, "one.tar", "oci:out:t"]);
        assert_eq!(super::maker::kept(&sbx, "blobs").len(), blobs, "{who:?}");
        readable(&sbx.path("out"));
        let (more, sbx) = inside(sbx.spec(&of("oci:@/out:t")));
        assert!(more.contains_key("./added") && more.contains_key("./noise") && !more.contains_key("./opt/own"));

        // Without its trees the image is pulled once more, and named where it cannot be.
        let (sbx, _) = verb(sbx, &["prune"]);
        let trees = ["layers", "roots"].map(|name| sbx.path("store").join(name));
        for tree in &trees {
            run("chmod", &["-R", "u+rwx", &tree.display().to_string()]);
            std::fs::remove_dir_all(tree).unwrap();
        }
        let (again, sbx) = inside(sbx.spec(&of(&name)));
        assert_same(&again, &ours, &format!("{who:?} pulled again"));
        drop(server);
        assert_same(&inside(sbx).0, &ours, &format!("{who:?} without the registry"));
    }
}
