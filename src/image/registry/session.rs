//! Questions to one registry about one repository: it logs in when asked to, follows
//! redirects without taking a secret along, and turns a status into words.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Deserialize;
use ureq::Body;
use ureq::http::header::{LOCATION, RETRY_AFTER};
use ureq::http::{Response, StatusCode, Uri};

use crate::error::{Error, Kind, Result};
use crate::image::registry::auth::{Gate, authorize, denied};
use crate::image::registry::credentials::{Keyring, Secret};
use crate::image::registry::failure::{LONGEST_WAIT, Passing, Trouble, speaks_no_tls};
use crate::image::registry::http::{Headers, Line, header, host_of, redirect, url};
use crate::image::registry::reference::is_loopback;
use crate::image::registry::retry::asked_pause;
use crate::image::registry::roots::{identity, roots};
use crate::image::registry::{Reference, Variable};
use crate::units::visible;

/// How often a request may be sent elsewhere.
const REDIRECTS: usize = 5;

/// Bytes of an error's explanation.
const EXPLANATION: u64 = 64 << 10;

/// One pull's dealings with a registry.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) line: Line,
    pub(super) reference: Reference,
    keyring: Keyring,
    scheme: OnceLock<&'static str>,
    /// What the last request was let in with: asked for once, then kept for the whole pull.
    authorization: Mutex<Option<Arc<Secret>>>,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub(super) what: What<'a>,
    pub(super) accept: &'a str,
    /// The first byte that is wanted.
    pub(super) from: u64,
}

/// `manifests/…` by tag or digest, or `blobs/…` by digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'a> {
    Manifest(&'a str),
    Blob(&'a str),
}

/// Whether an answer is the registry's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Registry,
    Another,
}

#[derive(Deserialize)]
struct Explanation {
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Session {
    /// Prepares a session; nothing is sent yet.
    ///
    /// # Errors
    /// Certificates that cannot be had.
    pub(super) fn open(reference: &Reference, variable: Variable<'_>) -> Result<Self> {
        let host = reference.host();
        Ok(Self {
            line: Line::new(&roots(host, variable)?, identity(host, variable)?, reference.api()),
            reference: reference.clone(),
            keyring: Keyring::of(reference, variable),
            scheme: OnceLock::new(),
            authorization: Mutex::new(None),
        })
    }

    /// Asks and returns the answer: 200, 206 or 416.
    pub(super) fn get(&self, ask: &Ask<'_>) -> std::result::Result<(Uri, Response<Body>), Trouble> {
        let kind = match ask.what {
            What::Manifest(wanted) => format!("manifests/{wanted}"),
            What::Blob(digest) => format!("blobs/{digest}"),
        };
        let base = format!("{}://{}/v2/", self.scheme()?, self.reference.api());
        let url = url(&format!("{base}{}/{kind}", self.reference.repository()))?;
        let used = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut at, mut speaker, mut response) = self.follow(&url, ask, used.as_deref())?;
        if response.status() == StatusCode::UNAUTHORIZED && speaker == Speaker::Registry {
            let fresh = self.renew(used.as_ref(), &response)?;
            // A connection whose answer was read to its end is used again.
            self.reason(&at, response);
            (at, speaker, response) = self.follow(&url, ask, Some(&fresh))?;
        }
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok((at, response)),
            _ => Err(self.refusal((&at, speaker), ask.what, response)),
        }
    }

    /// Several blobs may find out at once that a token has expired: one gets a new one for all.
    fn renew(
        &self,
        used: Option<&Arc<Secret>>,
        response: &Response<Body>,
    ) -> std::result::Result<Arc<Secret>, Trouble> {
        let mut kept = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = kept.as_ref().filter(|kept| used.is_none_or(|used| !Arc::ptr_eq(kept, used))) {
            return Ok(other.clone());
        }
        let fresh = Arc::new(authorize(self.gate(), response)?);
        *kept = Some(fresh.clone());
        Ok(fresh)
    }

    fn follow(
        &self,
        url: &Uri,
        ask: &Ask<'_>,
        authorization: Option<&Secret>,
    ) -> std::result::Result<(Uri, Speaker, Response<Body>), Trouble> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let own = (at.scheme(), at.authority()) == (url.scheme(), url.authority());
            let secret = authorization.filter(|_| own);
            let headers = Headers { accept: Some(ask.accept), authorization: secret, from: ask.from, query: &[] };
            let response = self.line.get(&at, &headers)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((at, if own { Speaker::Registry } else { Speaker::Another }, response));
            }
            let location = header(&response, LOCATION).unwrap_or_default();
            at = redirect(&at, location)?;
        }
        let message = format!("`{}` redirects more than {REDIRECTS} times", visible(self.reference.host()));
        Err(Error::new(Kind::Image, message).into())
    }

    /// A registry on loopback may have a certificate or not: what answers TLS gets TLS.
    fn scheme(&self) -> Result<&'static str> {
        if let Some(scheme) = self.scheme.get() {
            return Ok(scheme);
        }
        let api = self.reference.api();
        let plain = is_loopback(api) && {
            let probe = url(&format!("https://{api}/v2/"))?;
            self.line.look(&probe, &Headers::default()).is_err_and(|error| speaks_no_tls(&error))
        };
        Ok(self.scheme.get_or_init(|| if plain { "http" } else { "https" }))
    }

    fn gate(&self) -> Gate<'_> {
        Gate { line: &self.line, reference: &self.reference, keyring: &self.keyring }
    }

    /// Returns what a status means that is no answer.
    fn refusal(&self, (at, speaker): (&Uri, Speaker), what: What<'_>, response: Response<Body>) -> Trouble {
        let (host, repository) = (visible(host_of(at)).into_owned(), self.reference.repository());
        let status = response.status();
        let pause = asked_pause(header(&response, RETRY_AFTER), (&host, LONGEST_WAIT));
        let reason = self.reason(at, response);
        let said = reason.as_ref().map(|reason| format!(" ({})", reason.words())).unwrap_or_default();
        let asked = match what {
            What::Manifest(wanted) => {
                let mark = if wanted.contains(':') { '@' } else { ':' };
                format!("`{repository}{mark}{wanted}`")
            }
            What::Blob(digest) => format!("the blob `{digest}` of `{repository}`"),
        };
        let image = |message: String, hint: &str| Error::new(Kind::Image, message).with_hint(hint).into();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if speaker == Speaker::Registry => {
                denied(self.gate(), reason.map(|reason| reason.words()).as_deref()).into()
            }
            StatusCode::NOT_FOUND if reason.as_ref().is_some_and(|reason| reason.code == "NAME_UNKNOWN") => {
                image(format!("`{host}` has no `{repository}`{said}"), "look at the spelling of the name")
            }
            StatusCode::NOT_FOUND => match what {
                What::Manifest(_) => {
                    let hint = "look at the spelling of the name and of the tag";
                    image(format!("`{host}` has no {asked}{said}"), hint)
                }
                What::Blob(_) => {
                    let hint = "the image is damaged there: have it pushed again";
                    image(format!("`{host}` has lost {asked}{said}"), hint)
                }
            },
            status if status.is_server_error() || matches!(status.as_u16(), 408 | 429) => {
                let message = format!("`{host}` answered {status} for {asked}{said}");
                let error = Error::new(Kind::Host, message).with_hint("try again later");
                match pause {
                    Ok(wait) => Trouble::Passing(Passing { error, wait, received: 0 }),
                    Err(longer) => longer.into(),
                }
            }
            status => image(
                format!("`{host}` answered {status} for {asked}{said}"),
                "look whether a container registry answers there",
            ),
        }
    }

    /// Returns what the registry says of its own error, where it says it as the specification wants.
    fn reason(&self, at: &Uri, response: Response<Body>) -> Option<Reason> {
        let body = self.line.body(response, (at, EXPLANATION)).ok()?;
        serde_json::from_slice::<Explanation>(&body).ok()?.errors.into_iter().next()
    }
}

impl Reason {
    /// A stranger wrote them.
    fn words(&self) -> String {
        let words = match self.message.is_empty() {
            true => self.code.clone(),
            false => format!("{}: {}", self.code, self.message),
        };
        visible(&words).chars().take(200).collect()
    }
}
