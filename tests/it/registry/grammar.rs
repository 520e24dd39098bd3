//! The grammar of references: what is taken, as what, and the reason for what is not.

use sbx::image::registry::{DEFAULT_HOST, Reference};

#[test]
fn a_reference_is_read_as_docker_run_reads_it() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let pinned = format!("docker://a.example/b@{digest}");
    let both = format!("docker://a.example:443/b:c@{digest}");
    for (text, host, repository, wanted) in [
        ("docker://b", DEFAULT_HOST, "library/b", "latest"),
        ("docker://b:c", DEFAULT_HOST, "library/b", "c"),
        ("docker://a/b", DEFAULT_HOST, "a/b", "latest"),
        ("docker://localhost/b", "localhost", "b", "latest"),
        ("docker://a.example/b/c/d:e.f-G_1", "a.example", "b/c/d", "e.f-G_1"),
        ("docker://a:5000/b", "a:5000", "b", "latest"),
        ("docker://[::1]:5000/b:c", "[::1]:5000", "b", "c"),
        ("docker://127.0.0.1:5000/b__c/d---e/f.g_h", "127.0.0.1:5000", "b__c/d---e/f.g_h", "latest"),
        (&pinned, "a.example", "b", &digest),
        (&both, "a.example:443", "b", &digest),
    ] {
        let reference = Reference::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((reference.host(), reference.repository(), reference.wanted().as_str()), (host, repository, wanted));
        let again = Reference::parse(&reference.to_string()).unwrap();
        assert_eq!(again.to_string(), reference.to_string(), "{text}");
    }
}

#[test]
fn each_wrong_piece_has_its_reason() {
    let long = format!("docker://a.example/{}", "b/".repeat(130) + "b");
    let longer_tag = format!("docker://b:{}", "c".repeat(129));
    let number = format!("docker://{}", "0123456789abcdef".repeat(4));
    for (text, why) in [
        ("a.example/b", "does not begin with `docker://`"),
        ("docker://", "it has no name"),
        ("docker://a.example/", "it has no name"),
        ("docker://b:", "the tag is empty"),
        ("docker://b:-c", "begins with one of the last two"),
        ("docker://b:c d", "another character"),
        (&longer_tag, "more than 128"),
        ("docker://b@sha256:0", "not a SHA-256 digest"),
        ("docker://b@sha512:0", "not a SHA-256 digest"),
        ("docker://b@", "not a SHA-256 digest"),
        ("docker://a.example/B", "capital letters"),
        ("docker://B", "capital letters"),
        ("docker://a.example//b", "a part of the name is empty"),
        ("docker://a.example/../b", "`..` is no name"),
        ("docker://a.example/b_", "`b_` is no name"),
        ("docker://a.example/b___c", "is no name"),
        ("docker://a.example/b._c", "is no name"),
        ("docker://a.example/b?c", "`b?c` is no name"),
        ("docker://a.example/b\u{1b}[31m", "`b\\u{1b}[31m` is no name"),
        ("docker://a.example:0/b", "is no port"),
        ("docker://a.example:65536/b", "is no port"),
        ("docker://a.example:x/b", "is no port"),
        ("docker://-a.example/b", "is no name of a host"),
        ("docker://a..example/b", "is no name of a host"),
        ("docker://user:word@a.example/b", "not a SHA-256 digest"),
        ("docker://[::g]/b", "no IPv6 address"),
        ("docker://[::1/b", "has no `]`"),
        (&number, "the number of an image"),
        (&long, "more than 255"),
    ] {
        let error = Reference::parse(text).unwrap_err();
        assert!(error.message.contains(why), "{text}: {error}");
    }
}
