//! Passwords and tokens: where they are found, to whom they are shown, and that nobody else sees them.

use serde_json::json;

use crate::registry::yard::{Door, Server, Yard, run};

/// `ann:secret`, as the tools write it.
const ANN: &str = "YW5uOnNlY3JldA==";

fn login(yard: &Yard, file: &str, auth: &serde_json::Value) {
    yard.write(file, &json!({ "auths": auth }).to_string());
}

/// The image behind a password. It is pushed through a registry without one on the same files.
fn locked(yard: &Yard) -> Server {
    drop(yard.filled());
    yard.registry(&Door::Password)
}

#[test]
fn a_password_opens() {
    let Some(mut yard) = Yard::new() else { return };
    let server = locked(&yard);
    let (name, host) = (server.name("b/c:a"), format!("127.0.0.1:{}", server.port));
    let empty = yard.text("empty");
    yard.variables.insert("XDG_RUNTIME_DIR".to_owned(), empty);
    yard.refused(
        &name,
        &["does not give `b/c` to somebody who is not logged in", "podman login", ".docker/config.json"],
    );

    // Each tool's file and each form of a key; the closest key wins over a wrong one.
    let (good, bad) = (json!({"auth": ANN}), json!({"auth": "YW5uOndyb25n"}));
    for (file, auths) in [
        (".docker/config.json", json!({ host.as_str(): good })),
        (".docker/config.json", json!({ format!("https://{host}/v1/"): good })),
        (".config/containers/auth.json", json!({ host.as_str(): good })),
        (".config/containers/auth.json", json!({ format!("{host}/b"): good, host.as_str(): bad })),
        ("empty/containers/auth.json", json!({ format!("{host}/b/c"): good, format!("{host}/b"): bad })),
    ] {
        yard.clear();
        login(&yard, file, &auths);
        yard.pull(&name).unwrap_or_else(|error| panic!("{file} {auths}: {error}"));
        std::fs::remove_file(yard.path(file)).unwrap();
    }
    yard.clear();
    login(&yard, "named", &json!({ host.as_str(): good }));
    let named = yard.text("named");
    yard.variables.insert("REGISTRY_AUTH_FILE".to_owned(), named);
    yard.pull(&name).unwrap();

    yard.clear();
    login(&yard, "named", &json!({ host.as_str(): bad }));
    yard.refused(&name, &["to the login in", "named`", "log in again"]);
    yard.write("named", "{\"auths\": {\"a\": {\"auth\": [\"secret\"]}}}");
    yard.refused(&name, &["is no file of credentials: line 1"]);
    login(&yard, "named", &json!({ host.as_str(): {"auth": "c2VjcmV0"} }));
    yard.refused(&name, &["is not `USER:PASSWORD` in base64"]);
}

#[test]
fn a_helper_is_named_and_never_run() {
    let Some(mut yard) = Yard::new() else { return };
    let server = locked(&yard);
    let host = format!("127.0.0.1:{}", server.port);
    let bin = yard.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let file = yard.text("named");
    yard.variables.insert("REGISTRY_AUTH_FILE".to_owned(), file);
    for text in [
        json!({"credHelpers": { host.as_str(): "shop" }}),
        json!({"credsStore": "shop", "auths": { host.as_str(): {} }}),
        json!({"credHelpers": { host.as_str(): "shop" }, "auths": { host.as_str(): {"auth": ANN} }}),
    ] {
        yard.write("named", &text.to_string());
        yard.refused(&server.name("b/c:a"), &["docker-credential-shop", "never runs", "REGISTRY_AUTH_FILE"]);
    }
    // Of another registry it says nothing.
    yard.write("named", &json!({"credHelpers": {"a.example": "shop"}, "auths": { host: {"auth": ANN} }}).to_string());
    yard.pull(&server.name("b/c:a")).unwrap();
}

#[test]
fn a_token_is_asked_for_once() {
    let Some(yard) = Yard::new() else { return };
    let open = yard.filled();
    let (key, certificate) = (yard.text("token.key"), yard.text("token.crt"));
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-days",
            "2",
            "-subj",
            "/CN=test",
        ],
    );
    let tokens = yard.middle(&open, &["token", &key, &certificate, "ann", "secret", "refresh-me"]);
    let server = yard.registry(&Door::Token(tokens.port, &yard.path("token.crt")));
    let (name, host) = (server.name("b/c:a"), format!("127.0.0.1:{}", server.port));
    yard.refused(&name, &["not logged in", "its token server", "401"]);
    let before = yard.asked().len();

    login(&yard, ".docker/config.json", &json!({ host.as_str(): {"auth": ANN} }));
    yard.pull(&name).unwrap();
    let asked = yard.asked().split_off(before);
    assert_eq!(asked.len(), 1, "one token for the manifest and all blobs: {asked:?}");
    let path = asked[0]["path"].as_str().unwrap();
    assert!(path.starts_with("/token?own=1&") && path.contains("service=test"), "{path}");
    assert!(path.contains("scope=repository%3Ab%2Fc%3Apull"), "{path}");

    yard.clear();
    login(&yard, ".docker/config.json", &json!({ host.as_str(): {"auth": "", "identitytoken": "refresh-me"} }));
    yard.pull(&name).unwrap();
    assert!(yard.asked().last().unwrap()["form"].as_str().unwrap().contains("grant_type=refresh_token"));
    yard.clear();
    login(&yard, ".docker/config.json", &json!({ host.as_str(): {"identitytoken": "old-secret"} }));
    yard.refused(&name, &["to the login in", "log in again"]);
}

#[test]
fn a_challenge_cannot_send_the_password_away() {
    let Some(yard) = Yard::new() else { return };
    let open = yard.filled();
    for (challenge, words) in [
        ("Bearer realm=\"http://a.example/token\"", ["without encryption", "`a.example`"]),
        ("Bearer realm=\"http://127.0.0.1@a.example/token\"", ["without encryption", "`a.example`"]),
        ("Bearer realm=\"nonsense\"", ["no URL", ""]),
        ("Bearer service=\"x\"", ["not from whom", ""]),
        ("Negotiate", ["`Negotiate`", "`Basic` and `Bearer`"]),
        ("Bearer realm=\"unclosed", ["in a way that is no HTTP", ""]),
    ] {
        let middle = yard.middle(&open, &["challenge", challenge]);
        let host = format!("127.0.0.1:{}", middle.port);
        login(&yard, ".docker/config.json", &json!({ host.as_str(): {"auth": ANN} }));
        yard.refused(&middle.name("b/c:a"), &words);
    }
}

#[test]
fn a_redirect_gets_no_password() {
    let Some(yard) = Yard::new() else { return };
    let server = locked(&yard);
    let middle = yard.middle(&server, &["redirect", "http://localhost:PORT/elsewherePATH"]);
    let host = format!("127.0.0.1:{}", middle.port);
    login(&yard, ".docker/config.json", &json!({ host.as_str(): {"auth": ANN} }));
    // Elsewhere is the same registry, which wants the password that must not come.
    yard.refused(&middle.name("b/c:a"), &["401"]);
    let asked = yard.asked();
    let secret = |asked: &&serde_json::Value| asked["headers"].get("authorization").is_some();
    let (away, own): (Vec<_>, Vec<_>) =
        asked.iter().partition(|asked| asked["path"].as_str().unwrap().starts_with("/elsewhere"));
    assert!(!away.is_empty() && !away.iter().any(secret), "{away:?}");
    assert!(own.iter().any(secret), "{own:?}");

    // On the same host it goes along.
    let middle = yard.middle(&server, &["redirect", "/elsewherePATH"]);
    login(&yard, ".docker/config.json", &json!({ format!("127.0.0.1:{}", middle.port): {"auth": ANN} }));
    yard.pull(&middle.name("b/c:a")).unwrap();
}
