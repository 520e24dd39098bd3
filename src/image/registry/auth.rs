//! What a registry asks for before it answers (RFC 9110 11.6.1, distribution's token
//! specification): a password, or a token that its own token server gives. Only a challenge
//! of the registry itself is ever met, never one of a host that it redirects to.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_auth::ChallengeRef;
use serde::Deserialize;
use ureq::http::header::WWW_AUTHENTICATE;
use ureq::http::{Response, Uri};
use ureq::{Body, http::StatusCode};

use crate::error::{Error, Kind, Result};
use crate::image::registry::Reference;
use crate::image::registry::credentials::{Found, Keyring, Proof, Secret};
use crate::image::registry::failure::Trouble;
use crate::image::registry::http::{Headers, Line, host_of, url};
use crate::image::registry::reference::is_loopback;
use crate::units::visible;

/// Bytes of a token server's answer.
const LARGEST: u64 = 1 << 20;

/// Who asks for what, on which line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate<'a> {
    pub(super) line: &'a Line,
    pub(super) reference: &'a Reference,
    pub(super) keyring: &'a Keyring,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<Secret>,
    #[serde(default)]
    access_token: Option<Secret>,
}

/// Meets the challenge of an answer with status 401; returns the value of the header that does.
///
/// # Errors
/// A challenge that nobody can meet, credentials that are not there, and a token server that gives nothing.
pub(super) fn authorize(gate: Gate<'_>, response: &Response<Body>) -> std::result::Result<Secret, Trouble> {
    let host = visible(gate.reference.host());
    let values: Vec<&str> =
        response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut challenges = Vec::new();
    for value in values {
        let parsed = http_auth::parse_challenges(value).map_err(|_| {
            Error::new(Kind::Image, format!("`{host}` asks for a login in a way that is no HTTP: `{}`", visible(value)))
        })?;
        challenges.extend(parsed);
    }
    let of = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
    let found = gate.keyring.find()?;
    if let Some(challenge) = of("Bearer") {
        return bearer(gate, challenge, &found);
    }
    if of("Basic").is_some() {
        return match &found.proof {
            Some((Proof::Password { user, password }, _)) => Ok(basic(user, password)),
            _ => Err(refused(gate, &found, None).into()),
        };
    }
    let schemes: Vec<_> = challenges.iter().map(|challenge| visible(challenge.scheme)).collect();
    let message = format!("`{host}` asks for a login that sbx does not know: `{}`", schemes.join("`, `"));
    Err(Error::new(Kind::Host, message).with_hint("sbx knows `Basic` and `Bearer`").into())
}

/// Returns the error of a registry that does not let us in, with what it said.
pub(super) fn denied(gate: Gate<'_>, said: Option<&str>) -> Error {
    match gate.keyring.find() {
        Ok(found) => refused(gate, &found, said),
        Err(error) => error,
    }
}

fn refused(gate: Gate<'_>, found: &Found, said: Option<&str>) -> Error {
    let (host, repository) = (gate.reference.host(), gate.reference.repository());
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    let new = |message: String, hint: String| Error::new(Kind::Host, message).with_hint(hint);
    if let Some((_, path)) = &found.proof {
        return new(
            format!("`{host}` does not give `{repository}` to the login in `{}`{said}", path.display()),
            format!("log in again with `podman login {host}` or `docker login {host}`, or ask for access to it"),
        );
    }
    let message = format!("`{host}` does not give `{repository}` to somebody who is not logged in{said}");
    match &found.helper {
        Some((name, path)) => {
            let (name, path) = (visible(name), path.display());
            new(
                message,
                format!(
                    "the login is kept by the program `docker-credential-{name}` (named in `{path}`), which sbx never runs: \
                     `podman login --authfile FILE {host}` writes a file, and REGISTRY_AUTH_FILE=FILE names it"
                ),
            )
        }
        None => new(
            message,
            format!(
                "look at the spelling, or log in with `podman login {host}` or `docker login {host}`; there is no login in {}",
                gate.keyring.places()
            ),
        ),
    }
}

fn basic(user: &str, password: &Secret) -> Secret {
    Secret::new(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.reveal()))))
}

fn bearer(gate: Gate<'_>, challenge: &ChallengeRef<'_>, found: &Found) -> std::result::Result<Secret, Trouble> {
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let realm = realm(gate.reference, parameter("realm").as_deref())?;
    let service = parameter("service").unwrap_or_default();
    let scope = format!("repository:{}:pull", gate.reference.repository());
    let query = [("service", service.as_str()), ("scope", &scope)];
    let query = if service.is_empty() { &query[1..] } else { &query };
    let answer = match &found.proof {
        Some((Proof::Identity(token), _)) => {
            let more = [("grant_type", "refresh_token"), ("client_id", "sbx"), ("refresh_token", token.reveal())];
            gate.line.post(&realm, &[query, &more].concat())?
        }
        Some((Proof::Password { user, password }, _)) => {
            let secret = basic(user, password);
            gate.line.get(&realm, &Headers { authorization: Some(&secret), query, ..Headers::default() })?
        }
        None => gate.line.get(&realm, &Headers { query, ..Headers::default() })?,
    };
    token(gate, (&realm, found), answer)
}

/// A registry can name any token server; the caller's password is only sent to one that can keep it. What listens on
/// the loopback of the caller is no concern of a registry elsewhere.
fn realm(reference: &Reference, text: Option<&str>) -> Result<Uri> {
    let host = visible(reference.host());
    let text = text.ok_or_else(|| Error::new(Kind::Image, format!("`{host}` asks for a token but not from whom")))?;
    let realm = url(text)?;
    let is_here = is_loopback(reference.host()) && is_loopback(host_of(&realm));
    let plain = realm.scheme_str() == Some("http") && is_here;
    match plain || realm.scheme_str() == Some("https") {
        true => Ok(realm),
        false => {
            let message = format!("`{host}` sends logins to `{}` without encryption", visible(host_of(&realm)));
            Err(Error::new(Kind::Image, message).with_hint("ask who runs the registry for a token server with `https`"))
        }
    }
}

fn token(
    gate: Gate<'_>,
    (realm, found): (&Uri, &Found),
    response: Response<Body>,
) -> std::result::Result<Secret, Trouble> {
    let server = visible(host_of(realm)).into_owned();
    let status = response.status();
    let new = |message: String| Error::new(Kind::Host, message);
    match status {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            let said = format!("its token server `{server}` answered {status}");
            return Err(refused(gate, found, Some(&said)).into());
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            let error = new(format!("the token server `{server}` answered {status}")).with_hint("try again later");
            return Err(Trouble::passing(error));
        }
        status => return Err(new(format!("the token server `{server}` answered {status}")).into()),
    }
    let body = gate.line.body(response, (realm, LARGEST))?;
    // What serde says may quote the token.
    let answer = serde_json::from_slice::<Answer>(&body).ok();
    let token = answer.and_then(|answer| answer.token.or(answer.access_token));
    let token =
        token.filter(|token| !token.reveal().is_empty() && token.reveal().bytes().all(|byte| byte.is_ascii_graphic()));
    let token = token.ok_or_else(|| new(format!("the token server `{server}` answered without a token")))?;
    Ok(Secret::new(format!("Bearer {}", token.reveal())))
}

#[cfg(test)]
mod tests {
    use super::realm;
    use crate::image::registry::Reference;

    #[test]
    fn a_token_server_on_the_callers_loopback_is_one_of_a_registry_there() {
        let goes = |registry: &str, text: &str| realm(&Reference::parse(registry).unwrap(), Some(text)).is_ok();
        assert!(goes("docker://127.0.0.1:5000/a", "http://localhost:5001/token"));
        assert!(goes("docker://r.example/a", "https://auth.example/token"));
        for text in ["http://127.0.0.1:631/", "http://localhost/", "http://[::1]:1/x", "http://auth.example/token"] {
            assert!(!goes("docker://r.example/a", text), "{text}");
        }
        assert!(!goes("docker://localhost:5000/a", "http://auth.example/token"));
    }
}
