//! A middle that cuts, stalls, lies and redirects: what was right goes on, what was wrong is
//! refused, and no blob ever has a name that is not its digest.

use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde_json::Value;

use crate::registry::yard::{LARGE, Yard};

/// The ranges that were asked of blobs, those of the whole as 0.
fn ranges(asked: &[Value]) -> Vec<u64> {
    let blobs = asked.iter().filter(|asked| asked["path"].as_str().unwrap().contains("/blobs/"));
    let from = |range: &str| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    blobs.map(|asked| asked["headers"]["range"].as_str().map_or(0, from)).collect()
}

#[test]
fn an_interrupted_blob_is_gone_on_with() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let middle = yard.middle(&server, &["cut", "1000000"]);
    yard.pull(&middle.name("b/c:a")).unwrap();
    assert_eq!(yard.sound().len(), 5);
    let asked = ranges(&yard.asked());
    for from in [1_000_000, 2_000_000, 3_000_000] {
        assert!(asked.contains(&from), "{asked:?}");
    }
    assert_eq!(asked.len(), 7, "each byte once: {asked:?}");
}

#[test]
fn the_next_pull_goes_on_where_one_was_given_up() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    // So little at a time that it is no progress.
    let middle = yard.middle(&server, &["nolength", "20000"]);
    yard.refused(&middle.name("b/c:a"), &["ended the blob", "times in a row", "try again later"]);
    drop(middle);
    let kept: u64 =
        yard.list("tmp").iter().map(|name| std::fs::metadata(yard.path("tmp").join(name)).unwrap().len()).sum();
    assert!(kept >= 100_000, "{kept}");
    let middle = yard.middle(&server, &["pass"]);
    yard.pull(&middle.name("b/c:a")).unwrap();
    assert_eq!(yard.sound().len(), 5);
    assert!(ranges(&yard.asked()).iter().any(|from| *from >= 100_000), "{:?}", ranges(&yard.asked()));
    assert!(yard.list("tmp").is_empty());
}

#[test]
fn a_damaged_beginning_is_thrown_away() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    yard.pull(&server.name("b/c:a")).unwrap();
    let size = |name: &String| std::fs::metadata(yard.path("blobs").join(name)).unwrap().len();
    let large = yard.sound().into_iter().max_by_key(size).unwrap();
    for length in [1, 100_000, LARGE, LARGE * 2] {
        std::fs::remove_file(yard.path("blobs").join(&large)).unwrap();
        std::fs::write(yard.path("tmp").join(&large), vec![7; length]).unwrap();
        yard.pull(&server.name("b/c:a")).unwrap();
        assert_eq!(yard.sound().len(), 5, "after {length} wrong bytes");
    }
}

#[test]
fn a_registry_without_ranges_starts_again() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let middle = yard.middle(&server, &["norange", "1000000"]);
    yard.pull(&middle.name("b/c:a")).unwrap();
    assert_eq!(yard.sound().len(), 5);
    assert!(ranges(&yard.asked()).contains(&1_000_000));
}

#[test]
fn a_busy_registry_is_waited_for() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let began = Instant::now();
    let middle = yard.middle(&server, &["busy", "429", "1", "2"]);
    yard.pull(&middle.name("b/c:a")).unwrap();
    assert!(began.elapsed() >= Duration::from_secs(2), "it asked for a second, twice");
    yard.clear();
    let middle = yard.middle(&server, &["busy", "503", "-", "3"]);
    yard.pull(&middle.name("b/c:a")).unwrap();
    yard.clear();
    let middle = yard.middle(&server, &["busy", "500", "0", "1000"]);
    yard.refused(&middle.name("b/c:a"), &["answered 500", "6 times in a row", "try again later"]);
    assert_eq!(yard.asked().len(), 6, "{:?}", yard.asked());
    let middle = yard.middle(&server, &["busy", "429", "7200", "1000"]);
    yard.refused(&middle.name("b/c:a"), &["no requests for the next 7200 seconds", "log in"]);
}

#[test]
fn bytes_that_are_not_the_image_are_refused() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let digest = yard.pull(&server.name("b/c:a")).unwrap().manifest;
    yard.clear();
    for (behaviour, words) in [
        (&["flip", "blobs"][..], ["what came as the blob", "has the digest"]),
        (&["longer"], ["is longer than", "damaged in the registry"]),
        (&["announce"], ["is longer than", "damaged in the registry"]),
        (&["flip", "manifests"], ["has the digest", "changed it"]),
    ] {
        let middle = yard.middle(&server, behaviour);
        yard.refused(&middle.name("b/c:a"), &words);
        yard.refused(&middle.name(&format!("b/c@{digest}")), &words);
        yard.clear();
    }
}

#[test]
fn documents_that_lie_are_refused() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let config = format!(
        r#""config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":2}}"#,
        "0".repeat(64)
    );
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(5 << 20));
    for (text, kind, why) in [
        (format!(r#"{{"schemaVersion":2,{config},"layers":[],"manifests":[]}}"#), manifest, "what an index has"),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "application/json", "of the first version"),
        (format!(r#"{{"schemaVersion":2,{}}}"#, config.replace("0000\"", "../x\"")), manifest, "no `config`"),
        (
            format!(r#"{{"schemaVersion":2,{},"layers":[]}}"#, config.replace("0000\"", "../x\"")),
            manifest,
            "not a SHA-256",
        ),
        ("<html>".to_owned(), "text/html", "is unusable"),
        (large, manifest, "more than 4194304 bytes"),
    ] {
        std::fs::write(yard.path("document"), text).unwrap();
        let middle = yard.middle(&server, &["manifest", &yard.text("document"), kind]);
        yard.refused(&middle.name("b/c:a"), &[why]);
    }
    assert!(yard.sound().is_empty());
}

#[test]
fn a_redirect_stays_where_it_may() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    for (to, words) in [
        ("http://a.example/x", ["redirects to plain HTTP at `a.example`", "https"]),
        ("http://127.0.0.1:PORTPATH", ["redirects more than 5 times", ""]),
        ("nonsense", ["no URL", ""]),
    ] {
        let middle = yard.middle(&server, &["redirect", to]);
        yard.refused(&middle.name("b/c:a"), &words);
    }
    let middle = yard.middle(&server, &["redirect", "http://localhost:PORT/elsewherePATH"]);
    yard.pull(&middle.name("b/c:a")).unwrap();
    assert_eq!(yard.sound().len(), 5);
}

#[test]
fn a_signal_ends_a_pull_at_once() {
    let Some(yard) = Yard::new() else { return };
    let server = yard.filled();
    let middle = yard.middle(&server, &["silent"]);
    // As in sbx, which blocks its signals: here of this thread only, and only what is sent to it.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().unwrap();
    let (mut began, mut looks) = (Instant::now(), 0);
    let error = yard.pull_with(&middle.name("b/c:a"), &mut |_| {
        looks += 1;
        if looks == 5 {
            began = Instant::now();
            nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        }
    });
    let took = began.elapsed();
    assert_eq!(signals.wait().unwrap(), Signal::SIGTERM, "it is left for who handles it");
    signals.thread_unblock().unwrap();
    assert_eq!(error.unwrap_err().message, "the pull was canceled");
    assert!(took < Duration::from_secs(3), "{took:?}");
    yard.sound();
}
