//! What comes of a pull: the blobs that skopeo pushed, by their digests, each fetched once.

use std::sync::Arc;

use sbx::image::Platform;
use sbx::image::registry::{Options, Reference, pull};
use serde_json::json;

use crate::registry::yard::{LARGE, Yard, run};

#[test]
fn a_pull_brings_what_was_pushed() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let mut seen = Vec::new();
    let pulled = yard.pull_with(&server.name("b/c:a"), &mut |progress| seen.push(progress)).unwrap();
    let told = run("skopeo", &["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &server.name("b/c:a")]);
    assert_eq!((pulled.manifest.to_string().as_str(), pulled.index.as_ref()), (told.trim(), None));
    assert_eq!(yard.sound().len(), 5, "three layers, configuration, manifest");
    assert!(yard.list("tmp").is_empty(), "{:?}", yard.list("tmp"));
    let last = seen.last().unwrap();
    assert!(last.received > u64::try_from(LARGE).unwrap() && last.received == last.total, "{last:?}");
    assert_eq!((last.blobs, last.blobs_total), (4, 4));
    assert!(seen.windows(2).all(|pair| pair[0].received <= pair[1].received), "{seen:?}");

    // By its digest, with everything there, nobody is asked.
    let pinned = server.name(&format!("b/c:a@{}", pulled.manifest));
    drop(server);
    assert_eq!(yard.pull(&pinned).unwrap(), pulled);
}

#[test]
fn what_is_there_or_skipped_is_not_fetched() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let middle = yard.middle(&server, &["pass"]);
    yard.pull(&middle.name("b/c:a")).unwrap();
    let all = yard.sound();
    let blobs = |yard: &Yard| yard.asked().iter().filter(|asked| asked["path"].to_string().contains("/blobs/")).count();
    assert_eq!(blobs(&yard), 4);
    yard.pull(&middle.name("b/c:a")).unwrap();
    assert_eq!(blobs(&yard), 4, "nothing was fetched again");

    yard.clear();
    let reference = Reference::parse(&middle.name("b/c:a")).unwrap();
    let options = Options { skip: &|_| true, ..Options::new(&|_| None) };
    pull(&reference, &options, &yard.destination(), &mut |_| {}).unwrap();
    assert_eq!((blobs(&yard), yard.sound().len()), (5, 2), "the configuration and the manifest are always wanted");
    assert!(yard.sound().iter().all(|name| all.contains(name)));
}

#[test]
fn pulls_beside_each_other_share_the_work() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let middle = yard.middle(&server, &["pass"]);
    let (yard, name) = (Arc::new(yard), middle.name("b/c:a"));
    let pulls: Vec<_> = (0..6)
        .map(|_| {
            let (reference, destination) = (Reference::parse(&name).unwrap(), yard.destination());
            std::thread::spawn(move || pull(&reference, &Options::new(&|_| None), &destination, &mut |_| {}))
        })
        .collect();
    for pull in pulls {
        pull.join().unwrap().unwrap();
    }
    assert_eq!(yard.sound().len(), 5);
    assert!(yard.list("tmp").is_empty(), "{:?}", yard.list("tmp"));
    let mut paths: Vec<_> = yard.asked().iter().map(|asked| asked["path"].to_string()).collect();
    paths.retain(|path| path.contains("/blobs/"));
    assert_eq!(paths.len(), 4, "each blob once, by whichever pull was first: {paths:?}");
}

/// Puts a document into the registry as a manifest.
fn put(port: u16, tag: &str, (kind, text): (&str, &str)) {
    let script = "import sys, urllib.request as u; u.urlopen(u.Request(sys.argv[1], sys.argv[3].encode(), \
                  {'Content-Type': sys.argv[2]}, method='PUT'))";
    run("python3", &["-c", script, &format!("http://127.0.0.1:{port}/v2/b/c/manifests/{tag}"), kind, text]);
}

#[test]
fn an_index_gives_the_manifest_of_the_platform() {
    let Some(mut yard) = Yard::new() else { return };
    let server = yard.filled();
    let plain = yard.pull(&server.name("b/c:a")).unwrap().manifest;
    let size = std::fs::metadata(yard.destination().blob(&plain)).unwrap().len();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let entry = |architecture: &str| {
        json!({"mediaType": kind, "digest": plain.to_string(), "size": size,
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = "application/vnd.oci.image.index.v1+json";
    let here = Platform::of_machine().to_string();
    let own = here.split('/').nth(1).unwrap();
    let text = json!({"schemaVersion": 2, "mediaType": index, "manifests": [entry("s390x"), entry(own)]}).to_string();
    put(server.port, "many", (index, &text));
    yard.clear();
    let pulled = yard.pull(&server.name("b/c:many")).unwrap();
    assert_eq!(pulled.manifest, plain);
    assert_eq!(std::fs::read_to_string(yard.destination().blob(&pulled.index.unwrap())).unwrap(), text);
    assert_eq!(yard.sound().len(), 6);

    yard.platform = Some(Platform::parse("linux/arm/v7").unwrap());
    yard.refused(&server.name("b/c:many"), &["is not there for `linux/arm/v7`", "`linux/s390x`", &here]);
    yard.platform = Some(Platform::parse("linux/s390x").unwrap());
    assert_eq!(yard.pull(&server.name("b/c:many")).unwrap().manifest, plain);
}

#[test]
fn what_is_not_there_is_named() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    yard.refused(&server.name("b/c:none"), &["`b/c:none`", "MANIFEST_UNKNOWN", "spelling", "tag"]);
    yard.refused(&server.name("b/none:a"), &["`b/none", "spelling"]);
    let digest = format!("sha256:{}", "0".repeat(64));
    yard.refused(&server.name(&format!("b/c@{digest}")), &[&format!("`b/c@{digest}`")]);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let began = std::time::Instant::now();
    yard.refused(&format!("docker://127.0.0.1:{closed}/b"), &["nothing listens at `127.0.0.1", "look at the host"]);
    assert!(began.elapsed().as_secs() < 2, "nobody is asked six times whether nothing listens");
    yard.refused("docker://no-such-host.invalid/b", &["`no-such-host.invalid` does not resolve", "resolv.conf"]);
}
