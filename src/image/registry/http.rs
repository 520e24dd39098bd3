//! One line to the outside for one pull: requests that follow no redirect by themselves,
//! the bounds of their time, and the switch that cuts all of them off at once.

use std::io::Read as _;
use std::net::ToSocketAddrs as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::header::{AUTHORIZATION, HeaderName};
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, ClientCert, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Proxy};

use crate::error::{Error, Kind, Result};
use crate::image::registry::credentials::Secret;
use crate::image::registry::failure::{CONNECT, Known, STALLED, Trouble, interrupted, unanswered};
use crate::image::registry::reference::is_loopback;
use crate::units::visible;

/// How often a pause looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes that are kept between the socket and us, each way.
const BUFFER: usize = 64 << 10;

/// The connections of one pull.
#[derive(Debug)]
pub(super) struct Line {
    agent: Agent,
    /// For the registry itself, which the caller shows a certificate; nobody else sees it.
    known_at: Option<(String, Agent)>,
    stopped: AtomicBool,
    answered: AtomicBool,
}

/// What goes with a request.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    pub(super) accept: Option<&'a str>,
    pub(super) authorization: Option<&'a Secret>,
    /// The first byte that is wanted; 0 asks for the whole.
    pub(super) from: u64,
    /// Added to the URL's own query.
    pub(super) query: &'a [(&'a str, &'a str)],
}

/// Looks names up on the thread that asks. That of ureq has a thread for it, and says in words only that a name is
/// not there.
#[derive(Debug)]
struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        let place = uri.scheme().zip(uri.authority());
        let place = place.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let found = place.and_then(|place| place.to_socket_addrs().ok()).into_iter().flatten();
        let mut addresses = self.empty();
        // What is spelled as this machine may be asked without TLS, so a resolver must not lead it elsewhere (RFC 6761 6.3).
        let is_here = uri.host().is_some_and(is_loopback);
        let found = found.filter(|address| !is_here || address.ip().is_loopback());
        // As many as it holds.
        found.take(16).for_each(|address| addresses.push(address));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

impl Line {
    /// Returns a line that believes `roots` and shows `host` who the caller is. One to loopback takes no proxy.
    pub(super) fn new(roots: &[Certificate<'static>], identity: Option<ClientCert>, host: &str) -> Self {
        // Whoever was first has installed the same.
        rustls::crypto::ring::default_provider().install_default().ok();
        Self {
            agent: Self::agent(roots, None, host),
            known_at: identity.map(|identity| (host.to_owned(), Self::agent(roots, Some(identity), host))),
            stopped: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        }
    }

    fn agent(roots: &[Certificate<'static>], identity: Option<ClientCert>, host: &str) -> Agent {
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(roots)).client_cert(identity).build();
        let proxy = if is_loopback(host) { None } else { Proxy::try_from_env() };
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("sbx/", env!("CARGO_PKG_VERSION")))
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER / 4)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(STALLED))
            .timeout_per_write(Some(STALLED))
            .build();
        Agent::with_parts(config, DefaultConnector::default(), Names)
    }

    fn agent_for(&self, url: &Uri) -> &Agent {
        match &self.known_at {
            Some((host, agent)) if host_of(url) == host => agent,
            _ => &self.agent,
        }
    }

    /// Asks for `url` and returns the answer, whatever its status.
    pub(super) fn get(&self, url: &Uri, headers: &Headers<'_>) -> std::result::Result<Response<Body>, Trouble> {
        self.look(url, headers).map_err(|error| self.unanswered(&error, url))
    }

    /// As [`Line::get`], for who can tell errors apart.
    pub(super) fn look(&self, url: &Uri, headers: &Headers<'_>) -> std::result::Result<Response<Body>, ureq::Error> {
        let mut request = self.agent_for(url).get(url).header("accept-encoding", "identity");
        if let Some(accept) = headers.accept {
            request = request.header("accept", accept);
        }
        if let Some(secret) = headers.authorization {
            request = request.header(AUTHORIZATION, secret.reveal());
        }
        if headers.from > 0 {
            request = request.header("range", format!("bytes={}-", headers.from));
        }
        let response = request.query_pairs(headers.query.iter().copied()).call()?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(response)
    }

    /// Sends a form to `url`.
    pub(super) fn post(&self, url: &Uri, form: &[(&str, &str)]) -> std::result::Result<Response<Body>, Trouble> {
        let answer = self.agent_for(url).post(url).send_form(form.iter().copied());
        answer.map_err(|error| self.unanswered(&error, url))
    }

    /// Returns the body of an answer, at most `limit` bytes.
    pub(super) fn body(
        &self,
        response: Response<Body>,
        (url, limit): (&Uri, u64),
    ) -> std::result::Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let read = response.into_body().into_reader().take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| interrupted(&error, &visible(host_of(url)), self.known()))?;
        match u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
            true => Ok(bytes),
            false => {
                let message = format!("`{}` answered with more than {limit} bytes", visible(host_of(url)));
                Err(Error::new(Kind::Image, message).into())
            }
        }
    }

    /// Returns whether anybody has answered on this line.
    pub(super) fn known(&self) -> Known {
        if self.answered.load(Ordering::Relaxed) { Known::Yes } else { Known::No }
    }

    /// Cuts every connection off and lets no new one be made.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.agent.clone().shutdown();
        if let Some((_, agent)) = &self.known_at {
            agent.clone().shutdown();
        }
    }

    /// Fails once the line is stopped.
    pub(super) fn check(&self) -> Result<()> {
        match self.stopped.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(canceled()),
        }
    }

    /// Waits, unless the line is stopped meanwhile.
    pub(super) fn rest(&self, pause: Duration) -> Result<()> {
        let began = Instant::now();
        while let Some(left) = pause.checked_sub(began.elapsed()) {
            self.check()?;
            std::thread::sleep(left.min(LOOK));
        }
        self.check()
    }

    fn unanswered(&self, error: &ureq::Error, url: &Uri) -> Trouble {
        unanswered(error, host_of(url), self.known())
    }
}

/// Returns the error of a pull that was asked to end.
pub(super) fn canceled() -> Error {
    Error::new(Kind::Io, "the pull was canceled")
}

/// Returns host and port of a URL, without a user that may stand before it.
pub(super) fn host_of(url: &Uri) -> &str {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Returns a header as text.
pub(super) fn header<B>(response: &Response<B>, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}

/// Parses a URL that we made, or that an answer gave.
pub(super) fn url(text: &str) -> Result<Uri> {
    let parsed = text.parse::<Uri>().ok().filter(|url| url.scheme().is_some() && url.authority().is_some());
    parsed.ok_or_else(|| Error::new(Kind::Image, "the registry answered with something that is no URL"))
}

/// Returns where a redirect of `from` leads. Secrets and blobs go in the clear on loopback only.
pub(super) fn redirect(from: &Uri, location: &str) -> Result<Uri> {
    let to = match location.strip_prefix('/').filter(|rest| !rest.starts_with('/')) {
        Some(_) => {
            let scheme = from.scheme_str().unwrap_or("https");
            url(&format!("{scheme}://{}{location}", from.authority().map_or("", |authority| authority.as_str())))?
        }
        None => url(location)?,
    };
    let plain = from.scheme_str() == Some("http") && is_loopback(host_of(&to));
    match to.scheme_str() {
        Some("https") => Ok(to),
        Some("http") if plain => Ok(to),
        _ => {
            let (from, to) = (visible(host_of(from)), visible(host_of(&to)));
            Err(Error::new(Kind::Image, format!("`{from}` redirects to plain HTTP at `{to}`"))
                .with_hint("ask who runs the registry to redirect to `https`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{host_of, redirect, url};

    #[test]
    fn a_redirect_never_leaves_tls() {
        let leads = |from: &str, to: &str| redirect(&url(from).unwrap(), to).map(|url| url.to_string());
        assert_eq!(leads("https://a.example/v2/x", "/y?z=1").unwrap(), "https://a.example/y?z=1");
        assert_eq!(leads("https://a.example/v2/x", "https://b.example/y").unwrap(), "https://b.example/y");
        assert_eq!(leads("http://127.0.0.1:5/v2/x", "/y").unwrap(), "http://127.0.0.1:5/y");
        assert_eq!(leads("http://127.0.0.1:5/v2/x", "http://localhost:6/y").unwrap(), "http://localhost:6/y");
        for to in ["http://b.example/y", "http://127.0.0.1/y", "ftp://b.example/y", "//b.example/y", "y", ""] {
            leads("https://a.example/v2/x", to).unwrap_err();
        }
        leads("http://127.0.0.1:5/v2/x", "http://b.example/y").unwrap_err();
    }

    #[test]
    fn a_user_in_a_url_is_no_host() {
        assert_eq!(host_of(&url("https://localhost@b.example:1/y").unwrap()), "b.example:1");
    }
}
