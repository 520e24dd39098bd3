//! Indexes and manifests that two readers could read in two ways, and those that all read alike.

use sbx::image::oci::{DOCUMENT, Document};
use serde_json::{Value, json};

use super::maker::{CONFIG, INDEX, LAYER, MANIFEST, assert_says};

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

fn to(media: &str) -> Value {
    json!({"mediaType": media, "digest": digest('a'), "size": 3})
}

fn manifest() -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": to(CONFIG), "layers": [to(LAYER)]})
}

fn index() -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [to(MANIFEST)]})
}

fn with(mut document: Value, member: &str, value: impl Into<Value>) -> Value {
    document[member] = value.into();
    document
}

fn without(mut document: Value, member: &str) -> Value {
    document.as_object_mut().unwrap().remove(member).unwrap();
    document
}

#[track_caller]
fn refused(document: &Value, declared: Option<&str>, words: &str) {
    refused_text(&document.to_string(), declared, words);
}

#[track_caller]
fn refused_text(text: &str, declared: Option<&str>, words: &str) {
    match Document::parse(text.as_bytes(), declared) {
        Ok(_) => panic!("accepted: {}", &text[..text.len().min(300)]),
        Err(error) => assert_says(&error, words),
    }
}

#[test]
fn a_document_is_an_index_or_a_manifest_and_never_both() {
    let both = "could be read in two ways";
    refused(&with(manifest(), "manifests", json!([])), None, both);
    refused(&with(manifest(), "manifests", Value::Null), Some(MANIFEST), both);
    refused(&with(index(), "layers", json!([])), None, both);
    refused(&with(index(), "config", to(CONFIG)), Some(INDEX), both);
    refused(&with(manifest(), "fsLayers", json!([])), None, both);
    refused(&with(manifest(), "history", json!([])), None, both);
    refused(&without(with(manifest(), "manifests", json!([])), "mediaType"), None, "both `manifests` and `layers`");
    refused(&with(manifest(), "Manifests", json!([])), None, "`Manifests` would be read as `manifests` by some");
    refused(&with(index(), "LAYERS", json!([])), None, "`LAYERS` would be read as `layers` by some");
    refused(&with(manifest(), "MediaType", INDEX), None, "`MediaType` would be read as `mediaType`");
}

#[test]
fn the_media_type_agrees_with_what_was_announced_and_with_the_contents() {
    refused(&manifest(), Some(INDEX), "but was announced as `application/vnd.oci.image.index.v1+json`");
    refused(&index(), Some(MANIFEST), "but was announced as");
    refused(&manifest(), Some(DOCKER), "but was announced as");
    refused(&with(manifest(), "mediaType", INDEX), None, "is an index and has the member `config`");
    refused(&with(index(), "mediaType", MANIFEST), None, "is a manifest and has the member `manifests`");
    refused(&without(index(), "mediaType"), Some(MANIFEST), "is a manifest and has the member `manifests`");
    refused(&without(manifest(), "mediaType"), Some(INDEX), "is an index and has the member `config`");
    refused(&without(manifest(), "mediaType"), Some(DOCKER), "does not say so itself");
    refused(&with(manifest(), "mediaType", "text/html"), None, "`text/html`, which is neither an index nor a manifest");
    refused(&with(manifest(), "mediaType", CONFIG), None, "which is neither an index nor a manifest");
    refused(&with(manifest(), "mediaType", format!("{MANIFEST}; charset=utf-8")), None, "which is neither");
    refused(&with(manifest(), "mediaType", MANIFEST.to_uppercase()), None, "which is neither");
    refused(&with(manifest(), "mediaType", 3), None, "is not the JSON that is due: invalid type: integer `3`");
    refused(&json!({"schemaVersion": 2}), None, "is neither an index nor a manifest");
    refused(&json!([]), None, "is not the JSON that is due");
}

#[test]
fn an_old_or_a_foreign_format_is_named() {
    let old = json!({"schemaVersion": 1, "name": "x", "tag": "1", "fsLayers": [], "history": []});
    refused(&old, None, "Docker's schema 1");
    refused(&with(manifest(), "schemaVersion", 3), None, "has no `schemaVersion` of 2");
    refused(&with(manifest(), "schemaVersion", "2"), None, "invalid type: string");
    refused(&without(index(), "schemaVersion"), None, "has no `schemaVersion` of 2");
    let empty = "application/vnd.oci.empty.v1+json";
    let artifact = with(with(manifest(), "config", to(empty)), "artifactType", "application/spdx+json");
    refused(&artifact, None, "is an artifact of the type `application/spdx+json`, not an image");
    let helm = with(manifest(), "config", to("application/vnd.cncf.helm.config.v1+json"));
    refused(&helm, None, "is an artifact of the type `application/vnd.cncf.helm.config.v1+json`, not an image");
    let layer = with(manifest(), "layers", json!([to(LAYER), to("application/vnd.oci.image.layer.v1.tar+bzip2")]));
    refused(
        &layer,
        None,
        "`layers[1]`: the type `application/vnd.oci.image.layer.v1.tar+bzip2` is not that of a layer",
    );
    refused(&with(manifest(), "layers", json!([to(MANIFEST)])), None, "`layers[0]`: the type");
}

#[test]
fn a_descriptor_has_a_digest_and_a_size_that_can_be_true() {
    for (word, words) in [
        ("sha256:../../../../etc/passwd".to_owned(), "`sha256:../../../../etc/passwd` is not a SHA-256 digest"),
        (digest('A'), "is not a SHA-256 digest"),
        (digest('a')[..70].to_owned(), "is not a SHA-256 digest"),
        (format!("sha512:{}", "a".repeat(128)), "is not a SHA-256 digest"),
        ("x\u{1b}[2J\n".to_owned(), "`x\\u{1b}[2J\\n` is not a SHA-256 digest"),
    ] {
        let bad = json!({"mediaType": LAYER, "digest": word, "size": 1});
        refused(&with(manifest(), "layers", json!([to(LAYER), bad])), None, words);
        refused(&with(index(), "manifests", json!([bad])), None, "`manifests[0]`: ");
        refused(&with(manifest(), "config", bad), None, "`config`: ");
    }
    for size in [json!(-1), json!(1.5), json!("1"), json!(1e30), Value::Null] {
        let bad = json!({"mediaType": LAYER, "digest": digest('a'), "size": size});
        refused(&with(manifest(), "layers", json!([bad])), None, "is not the JSON that is due");
    }
    refused(
        &with(manifest(), "layers", json!([{"digest": digest('a'), "size": 1}])),
        None,
        "missing field `mediaType`",
    );
    refused(&with(manifest(), "layers", json!([to(LAYER)]).to_string()), None, "invalid type: string");
    refused(&without(manifest(), "config"), None, "missing field `config`");
    refused(&without(index(), "manifests"), None, "without `manifests`");
}

#[test]
fn json_has_one_meaning_and_bounds() {
    let text = manifest().to_string();
    let twice = text.replacen('{', r#"{"schemaVersion":2,"#, 1);
    refused_text(&twice, None, "the member `schemaVersion` is there twice");
    let hidden = text.replacen('{', r#"{"x":[{"y":{"\u0061":1,"a":2}}],"#, 1);
    refused_text(&hidden, None, "the member `a` is there twice");
    refused_text(&format!("{text}{text}"), None, "trailing characters");
    refused_text(&format!("{text}\0"), None, "trailing characters");
    refused_text(&format!("\u{feff}{text}"), None, "expected value");
    refused_text(&text.replacen('{', "{// no\n", 1), None, "key must be a string");
    refused_text(&text.replace(']', ",]"), None, "trailing comma");
    refused_text(&text.replacen('{', r#"{"x":"\ud800","#, 1), None, "is not the JSON that is due");
    refused_text(&text.replacen('{', r#"{"x":NaN,"#, 1), None, "expected");
    refused_text("", None, "EOF");
    let nested = |depth: usize| text.replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(depth), "]".repeat(depth)), 1);
    refused_text(&nested(32), None, "it is deeper than 32");
    assert!(Document::parse(nested(31).as_bytes(), None).is_ok());
    refused_text(&nested(100_000), None, "it is deeper than 32");
    let many = |count: usize| text.replacen('{', &format!(r#"{{"x":[{}0],"#, "0,".repeat(count - 1)), 1);
    refused_text(&many(10_001), None, "more than 10000 members");
    assert!(Document::parse(many(10_000).as_bytes(), None).is_ok());
    let padded = |size: usize| format!("{text}{}", " ".repeat(size - text.len()));
    let size = usize::try_from(DOCUMENT).unwrap();
    assert!(Document::parse(padded(size).as_bytes(), None).is_ok());
    refused_text(&padded(size + 1), None, "has more than 4194304 bytes");
    assert!(Document::parse(b"{\"schemaVersion\":2,\"x\":\"\xff\"}", None).is_err(), "not UTF-8");
}

#[test]
fn an_image_has_at_most_127_layers() {
    let layers = |count| with(manifest(), "layers", vec![to(LAYER); count]);
    refused(&layers(128), None, "has 128 layers, more than 127");
    for count in [0, 1, 127] {
        match Document::parse(layers(count).to_string().as_bytes(), Some(MANIFEST)).unwrap() {
            Document::Image(image) => assert_eq!(image.layers.len(), count),
            Document::Index(_) => panic!("an index"),
        }
    }
}

#[test]
fn what_all_tools_write_is_read() {
    let old = without(manifest(), "mediaType");
    let docker = with(
        with(manifest(), "mediaType", DOCKER),
        "layers",
        json!([
            to("application/vnd.docker.image.rootfs.diff.tar.gzip"),
            to("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
            to("application/vnd.docker.image.rootfs.diff.tar"),
            to("application/vnd.oci.image.layer.v1.tar+zstd"),
            to("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        ]),
    );
    let docker = with(docker, "config", to("application/vnd.docker.container.image.v1+json"));
    for (document, declared) in
        [(&old, None), (&old, Some(MANIFEST)), (&docker, None), (&docker, Some(DOCKER)), (&manifest(), Some(MANIFEST))]
    {
        assert!(matches!(Document::parse(document.to_string().as_bytes(), declared).unwrap(), Document::Image(_)));
    }
    let list = with(index(), "mediaType", DOCKER_LIST);
    for (document, declared) in [(&list, Some(DOCKER_LIST)), (&without(index(), "mediaType"), None)] {
        assert!(matches!(Document::parse(document.to_string().as_bytes(), declared).unwrap(), Document::Index(_)));
    }
    let unknown = with(with(index(), "subject", to(MANIFEST)), "x.example", json!({"deep": [1, 2.5, null, true]}));
    assert!(Document::parse(unknown.to_string().as_bytes(), Some(INDEX)).is_ok());
}
