//! Whose certificates are believed: the machine's bundle (`SSL_CERT_FILE`, `SSL_CERT_DIR` or
//! where the distribution has it), and the authorities that Docker's and Podman's `certs.d`
//! name for one registry. There is no way to switch the check off.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

use crate::error::{Error, Kind, Result};
use crate::image::registry::Variable;
use crate::image::registry::reference::is_loopback;

/// Returns the authorities for the registry at `host` (with its port, as it was named).
///
/// # Errors
/// No authority at all, or a file that was named and cannot be read.
pub(super) fn roots(host: &str, variable: Variable<'_>) -> Result<Vec<Certificate<'static>>> {
    let mut all = Vec::new();
    let set = |name: &str| variable(name).filter(|value: &OsString| !value.is_empty());
    match (set("SSL_CERT_FILE"), set("SSL_CERT_DIR")) {
        (None, None) => machine(&mut all)?,
        (file, directories) => {
            file.map_or(Ok(()), |file| bundle(Path::new(&file), &mut all))?;
            for directory in directories.iter().flat_map(std::env::split_paths) {
                directory_of(&directory, &mut all)?;
            }
        }
    }
    for directory in certs_d(host, variable) {
        for path in listed(&directory)?.unwrap_or_default() {
            if path.extension().is_some_and(|extension| extension == "crt") {
                bundle(&path, &mut all)?;
            }
        }
    }
    // Loopback may do without.
    match all.is_empty() && !is_loopback(host) {
        false => Ok(all),
        true => {
            Err(Error::new(Kind::Host, "this machine knows no certificate authority, so no registry can be trusted")
                .with_hint("install `ca-certificates`, or name a bundle in SSL_CERT_FILE"))
        }
    }
}

/// Returns by what the caller is known to the registry at `host`: `NAME.cert` and `NAME.key` of containers-certs.d(5).
///
/// # Errors
/// One of the two without the other, or a file that cannot be read.
pub(super) fn identity(host: &str, variable: Variable<'_>) -> Result<Option<ClientCert>> {
    let mut found = None;
    for directory in certs_d(host, variable) {
        let paths = listed(&directory)?.unwrap_or_default();
        let ends = |path: &&PathBuf, with: &str| path.extension().is_some_and(|extension| extension == with);
        for (one, other) in [("cert", "key"), ("key", "cert")] {
            let alone = paths.iter().find(|path| ends(path, one) && !paths.contains(&path.with_extension(other)));
            if let Some(alone) = alone {
                let missing = alone.with_extension(other);
                let message = format!("`{}` is there without `{}`", alone.display(), missing.display());
                return Err(Error::new(Kind::Host, message)
                    .with_hint("a certificate of an authority has a name that ends with `.crt`"));
            }
        }
        // The first of several, of the directory that is closest to the caller.
        if let Some(path) = paths.iter().find(|path| ends(path, "cert")) {
            let mut chain = Vec::new();
            bundle(path, &mut chain)?;
            found = Some(ClientCert::new_with_certs(&chain, key(&path.with_extension("key"))?));
        }
    }
    Ok(found)
}

fn key(path: &Path) -> Result<PrivateKey<'static>> {
    let text = std::fs::read(path)
        .map_err(|error| Error::io(format_args!("cannot read the key in `{}`", path.display()), &error))?;
    // What is wrong with it is not said: that could be a part of it.
    PrivateKey::from_pem(&text).map_err(|_| {
        Error::new(Kind::Host, format!("`{}` is no file with a private key", path.display()))
            .with_hint("a key is due in the form that begins with `-----BEGIN PRIVATE KEY-----`")
    })
}

fn machine(all: &mut Vec<Certificate<'static>>) -> Result<()> {
    let found = openssl_probe::probe();
    match found.cert_file {
        Some(file) => bundle(&file, all),
        None => found.cert_dir.iter().try_for_each(|directory| directory_of(directory, all)),
    }
}

/// Where Docker and Podman look, the caller's own last.
fn certs_d(host: &str, variable: Variable<'_>) -> Vec<PathBuf> {
    let home = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = home("XDG_CONFIG_HOME").or_else(|| home("HOME").map(|home| home.join(".config")));
    let own = own.map(|own| own.join("containers/certs.d"));
    let all = ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from).into_iter().chain(own);
    all.map(|directory| directory.join(host)).collect()
}

fn directory_of(directory: &Path, all: &mut Vec<Certificate<'static>>) -> Result<()> {
    // OpenSSL's links and the bundle beside them name a certificate several times, which does no harm.
    listed(directory)?.unwrap_or_default().iter().filter(|path| path.is_file()).try_for_each(|path| bundle(path, all))
}

fn listed(directory: &Path) -> Result<Option<Vec<PathBuf>>> {
    let cannot = |error| Error::io(format_args!("cannot list the certificates in `{}`", directory.display()), &error);
    let listing = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(cannot)?,
    };
    let mut paths = listing.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>();
    if let Ok(paths) = &mut paths {
        paths.sort();
    }
    paths.map(Some).map_err(cannot)
}

fn bundle(path: &Path, all: &mut Vec<Certificate<'static>>) -> Result<()> {
    let text = std::fs::read(path)
        .map_err(|error| Error::io(format_args!("cannot read the certificates in `{}`", path.display()), &error))?;
    for item in parse_pem(&text) {
        let item = item.map_err(|error| {
            Error::new(Kind::Host, format!("`{}` is no file of certificates: {error}", path.display()))
                .with_hint("certificates are due in the form that begins with `-----BEGIN CERTIFICATE-----`")
        })?;
        if let PemItem::Certificate(certificate) = item {
            all.push(certificate);
        }
    }
    Ok(())
}
