//! Who the caller is to a registry: the files that Docker, Podman and skopeo write at a
//! login (containers-auth.json(5)). They are read, never written; a credential helper is a
//! program and is never run; a secret is never shown.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::image::registry::{Reference, Variable};
use crate::sys::file::effective_uid;
use crate::units::visible;

/// Bytes of a file of credentials.
const LARGEST: u64 = 1 << 20;

/// A text that neither `Debug` nor an error shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(String);

/// How the caller proves who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    Password {
        user: String,
        password: Secret,
    },
    /// A refresh token of OAuth 2, `identitytoken` in the files.
    Identity(Secret),
}

/// What the files say of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// With the file that it is from.
    pub(super) proof: Option<(Proof, PathBuf)>,
    /// The credential helper that a file names for the registry instead, and the file.
    pub(super) helper: Option<(String, PathBuf)>,
}

/// The files that may know, those of the closest tool first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyring {
    files: Vec<PathBuf>,
    keys: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<Secret>,
    #[serde(default, rename = "identitytoken")]
    identity: Option<Secret>,
}

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text, for the one header or form that it is for.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Keyring {
    /// Returns where the caller's credentials for the registry of `reference` may be.
    pub(super) fn of(reference: &Reference, variable: Variable<'_>) -> Self {
        Self { files: files(variable), keys: reference.credential_keys() }
    }

    /// Returns the files that are looked into, for a message.
    pub(super) fn places(&self) -> String {
        let names: Vec<_> =
            self.files.iter().map(|path| format!("`{}`", visible(&path.display().to_string()))).collect();
        names.join(", ")
    }

    /// Looks into the files; the first that knows the registry wins.
    ///
    /// # Errors
    /// A file that is there and cannot be read or understood.
    pub(super) fn find(&self) -> Result<Found> {
        let mut helper = None;
        for path in &self.files {
            let Some(config) = read(path)? else { continue };
            let named = self.keys.iter().find_map(|key| config.helpers.get(key));
            let entry = self.keys.iter().find_map(|key| entry(&config.auths, key));
            if let (None, Some(entry)) = (named, entry)
                && let Some(proof) = proof(entry, path)?
            {
                return Ok(Found { proof: Some((proof, path.clone())), helper: None });
            }
            let named = named.or(config.store.as_ref()).filter(|name| !name.is_empty());
            helper = helper.or_else(|| Some((named?.clone(), path.clone())));
        }
        Ok(Found { proof: None, helper })
    }
}

fn files(variable: Variable<'_>) -> Vec<PathBuf> {
    let set = |name: &str| variable(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = set("REGISTRY_AUTH_FILE") {
        return vec![path];
    }
    let home = set("HOME");
    let below = |name: &str| home.as_ref().map(|home| home.join(name));
    // Podman's default where no session made a directory.
    let runtime = set("XDG_RUNTIME_DIR").map_or_else(
        || PathBuf::from(format!("/run/containers/{}/auth.json", effective_uid())),
        |path| path.join("containers/auth.json"),
    );
    let config = set("XDG_CONFIG_HOME").or_else(|| below(".config")).map(|path| path.join("containers/auth.json"));
    let docker = set("DOCKER_CONFIG").or_else(|| below(".docker")).map(|path| path.join("config.json"));
    [Some(runtime), config, docker].into_iter().flatten().collect()
}

fn read(path: &Path) -> Result<Option<Config>> {
    let cannot =
        |error: &std::io::Error| Error::io(format_args!("cannot read the credentials in `{}`", path.display()), error);
    let text = match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(cannot(&error)),
        Ok(found) if found.len() > LARGEST => {
            let message = format!("the file of credentials `{}` has more than {LARGEST} bytes", path.display());
            return Err(Error::new(Kind::Host, message));
        }
        Ok(_) => std::fs::read(path).map_err(|error| cannot(&error))?,
    };
    // The words of serde quote what they stumbled over, which may be a password.
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Error::new(Kind::Host, format!("`{}` is no file of credentials: {place}", path.display()))
            .with_hint("log in again with `podman login` or `docker login`, which write it")
    })
}

/// Docker writes a URL as the key, the others a host or the beginning of a name.
fn entry<'a>(auths: &'a BTreeMap<String, Entry>, key: &str) -> Option<&'a Entry> {
    let host_of = |url: &str| {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let bare = rest.map(|rest| rest.split('/').next().unwrap_or(rest).to_owned());
        bare.or_else(|| Some(url.strip_suffix("/v1/").or_else(|| url.strip_suffix("/v2/"))?.to_owned()))
    };
    let url = || auths.iter().find(|(url, _)| host_of(url).is_some_and(|host| host == key)).map(|(_, entry)| entry);
    auths.get(key).or_else(url)
}

/// An entry without a secret is what Docker leaves where a helper has it.
fn proof(entry: &Entry, path: &Path) -> Result<Option<Proof>> {
    let given = |secret: &Option<Secret>| secret.clone().filter(|secret| !secret.reveal().is_empty());
    if let Some(identity) = given(&entry.identity) {
        return Ok(Some(Proof::Identity(identity)));
    }
    let Some(auth) = given(&entry.auth) else { return Ok(None) };
    let text = BASE64_STANDARD.decode(auth.reveal()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = text.as_deref().and_then(|text| text.split_once(':'));
    let (user, password) = pair.ok_or_else(|| {
        let message = format!("`auth` in `{}` is not `USER:PASSWORD` in base64", path.display());
        Error::new(Kind::Host, message).with_hint("log in again with `podman login` or `docker login`")
    })?;
    let password = Secret(password.trim_end_matches('\0').to_owned());
    Ok(Some(Proof::Password { user: user.to_owned(), password }))
}
