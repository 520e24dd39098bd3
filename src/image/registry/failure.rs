//! What can go wrong between here and a registry, in words: which end has to act, and
//! whether trying again can help. No URL of an answer is repeated, for it may be signed.

use std::io::ErrorKind;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError};

use crate::error::{Error, Kind};
use crate::units::visible;

/// How long an answer to a connection is waited for.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// How long a connection may be silent.
pub(super) const STALLED: Duration = Duration::from_secs(60);

/// The longest that a registry's `Retry-After` is heeded.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Trying again changes nothing.
    Lasting(Error),
    Passing(Passing),
}

/// A failure after which the same attempt can succeed.
#[derive(Debug)]
pub(super) struct Passing {
    /// What to say if it does not pass.
    pub(super) error: Error,
    /// What the registry asked for.
    pub(super) wait: Option<Duration>,
    /// Bytes that came before.
    pub(super) received: u64,
}

/// Whether the host has answered anything before in this pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Yes,
    No,
}

impl Trouble {
    pub(super) fn passing(error: Error) -> Self {
        Self::Passing(Passing { error, wait: None, received: 0 })
    }

    /// Adds what came before it.
    pub(super) fn after(self, received: u64) -> Self {
        match self {
            Self::Passing(passing) => Self::Passing(Passing { received, ..passing }),
            lasting @ Self::Lasting(_) => lasting,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

/// Returns whether what answered speaks no TLS at all.
pub(super) fn speaks_no_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(io) if io.kind() == ErrorKind::UnexpectedEof => true,
        error => matches!(tls(error), Some(rustls::Error::InvalidMessage(_))),
    }
}

/// Returns what it means that a request to `host` did not come to an answer.
pub(super) fn unanswered(error: &ureq::Error, host: &str, known: Known) -> Trouble {
    let host = visible(host);
    if let Some(tls) = tls(error) {
        return Trouble::Lasting(untrusted(tls, &host));
    }
    let new = |message: String, hint: &str| Error::new(Kind::Host, message).with_hint(hint);
    let network = "look at the network, and at HTTPS_PROXY if there is a proxy";
    match error {
        ureq::Error::Io(io) => interrupted(io, &host, known),
        ureq::Error::HostNotFound => Trouble::Lasting(unresolved(&host)),
        ureq::Error::Timeout(ureq::Timeout::PerRead | ureq::Timeout::PerWrite) => {
            let message = format!("`{host}` was silent for {} seconds", STALLED.as_secs());
            Trouble::passing(new(message, network))
        }
        ureq::Error::Timeout(_) => {
            let message = format!("`{host}` did not answer within {} seconds", CONNECT.as_secs());
            of(known, new(message, network))
        }
        ureq::Error::ConnectProxyFailed(why) => {
            let message = format!("the proxy did not connect to `{host}`: {}", visible(why));
            Trouble::Lasting(new(message, "look at HTTPS_PROXY and ALL_PROXY, or add the host to NO_PROXY"))
        }
        other => {
            let message = format!("`{host}` did not answer as HTTP does: {}", visible(&other.to_string()));
            of(known, new(message, "look at the host and the port of the reference"))
        }
    }
}

/// Returns what it means that an answer of `host` broke off.
pub(super) fn interrupted(error: &std::io::Error, host: &str, known: Known) -> Trouble {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    if let Some(inner) = inner {
        return unanswered(inner, host, known);
    }
    let new = |message: String| {
        let mut new = Error::new(Kind::Host, message);
        new.errno = error.raw_os_error();
        new
    };
    match error.kind() {
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => {
            Trouble::passing(new(format!("`{host}` broke the connection off")).with_hint("try again later"))
        }
        ErrorKind::ConnectionRefused => {
            let error = new(format!("nothing listens at `{host}`"));
            of(known, error.with_hint("look at the host and the port of the reference, and whether the registry runs"))
        }
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable | ErrorKind::NetworkDown => {
            let error = new(format!("there is no way to `{host}` from here"));
            of(known, error.with_hint("look at the network: a registry needs one"))
        }
        _ => {
            let message = format!("the connection to `{host}` failed");
            of(known, Error::io(message, error).with_kind(Kind::Host))
        }
    }
}

/// A host that has answered before will again; one that never has is misspelled or down.
fn of(known: Known, error: Error) -> Trouble {
    match known {
        Known::Yes => Trouble::passing(error),
        Known::No => Trouble::Lasting(error),
    }
}

fn unresolved(host: &str) -> Error {
    Error::new(Kind::Host, format!("the name `{host}` does not resolve"))
        .with_hint("look at the spelling, at the network and at /etc/resolv.conf")
}

fn tls(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(tls) => Some(tls),
        ureq::Error::Io(io) => io.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn untrusted(error: &rustls::Error, host: &str) -> Error {
    let new = |why: String, hint: String| {
        Error::new(Kind::Host, format!("no trusted connection to `{host}`: {why}")).with_hint(hint)
    };
    let place = format!("~/.config/containers/certs.d/{host}/ca.crt");
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => new(
            "its certificate is from an authority that this machine does not know".to_owned(),
            format!("put the authority's certificate into `{place}`, or name a bundle in SSL_CERT_FILE"),
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => new(
            "its certificate is for another host".to_owned(),
            "write the host as the certificate names it, or have a certificate made for this name".to_owned(),
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => new(
            "its certificate is not valid at this time".to_owned(),
            "look at this machine's clock, else the registry needs a new certificate".to_owned(),
        ),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired,
        ) => new(
            "it wants a certificate of the caller that it knows".to_owned(),
            format!("put yours beside `{place}`: `client.cert` and `client.key`"),
        ),
        rustls::Error::InvalidMessage(_) => new(
            "it does not answer with TLS but with something else, such as plain HTTP".to_owned(),
            "give the registry a certificate: sbx speaks plain HTTP to loopback addresses only".to_owned(),
        ),
        other => new(
            visible(&other.to_string()).into_owned(),
            format!("ask who runs the registry; its authority's certificate belongs into `{place}`"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Known, Trouble, interrupted};

    #[test]
    fn what_passes_is_told_from_what_lasts() {
        let passes = |kind: io::ErrorKind, known| {
            matches!(interrupted(&io::Error::from(kind), "a.example", known), Trouble::Passing(_))
        };
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe] {
            assert!(passes(kind, Known::No) && passes(kind, Known::Yes), "{kind}");
        }
        for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::NetworkUnreachable] {
            assert!(!passes(kind, Known::No) && passes(kind, Known::Yes), "{kind}");
        }
    }
}
