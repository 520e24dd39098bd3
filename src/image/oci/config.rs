//! The config of an image: what of it becomes a part of a run, and within which bounds. Each value is only read
//! here; whether the spec wants it is decided by the plan.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::oci::{Config, bad, json, shown, within};
use crate::image::platform::{Platform, Words};

/// Variables, arguments, labels: more than any image has, and less than execve(2) takes.
const ENTRIES: usize = 1000;
/// `MAX_ARG_STRLEN` of execve(2), with its final NUL.
const STRING: usize = 128 << 10;
const PATH: usize = 4095;
/// An account or the name of a signal.
const WORD: usize = 256;

#[derive(Deserialize)]
struct Wire {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    config: Option<Settings>,
    rootfs: Rootfs,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    volumes: Option<BTreeMap<String, IgnoredAny>>,
    labels: Option<BTreeMap<String, String>>,
    stop_signal: Option<String>,
}

#[derive(Deserialize)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Option<Vec<String>>,
}

const KNOWN: [&str; 6] = ["architecture", "os", "variant", "config", "rootfs", "history"];

impl Config {
    /// Reads the JSON of a config.
    ///
    /// # Errors
    /// What is wrong with it; the message reads on from "config `sha256:…`: ".
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        json::refuse_lookalikes(&json::members(bytes)?, &KNOWN)?;
        let wire: Wire = json::read(bytes)?;
        let words = Words { os: wire.os, architecture: wire.architecture, variant: wire.variant };
        let Some(platform) = words.platform() else {
            return Err(bad("does not say for which `os` and `architecture` the image is"));
        };
        foreign(&platform)?;
        let diff_ids = diff_ids(wire.rootfs)?;
        let Settings { user, env, entrypoint, cmd, working_dir, volumes, labels, stop_signal } =
            wire.config.unwrap_or_default();
        let volumes = volumes.unwrap_or_default().into_keys().collect();
        Ok(Self {
            platform,
            env: strings("Env", env, variable)?,
            entrypoint: strings("Entrypoint", entrypoint, |text| plain(text, STRING))?,
            cmd: strings("Cmd", cmd, |text| plain(text, STRING))?,
            user: one("User", user, word)?,
            workdir: one("WorkingDir", working_dir, path)?,
            volumes: strings("Volumes", Some(volumes), path)?,
            stop_signal: one("StopSignal", stop_signal, word)?,
            labels: self::labels(labels.unwrap_or_default())?,
            diff_ids,
        })
    }
}

/// Nothing but Linux runs here, whatever `platform` asks for.
fn foreign(platform: &Platform) -> Result<()> {
    match platform.os.as_str() {
        "linux" => Ok(()),
        _ => Err(bad(format!("the image is for `{platform}`, and only images for linux run here"))),
    }
}

fn diff_ids(rootfs: Rootfs) -> Result<Vec<Digest>> {
    if rootfs.kind != "layers" {
        return Err(bad(format!("its `rootfs` is of the type `{}`, not `layers`", shown(&rootfs.kind))));
    }
    let all = rootfs.diff_ids.unwrap_or_default();
    let read = |(at, text): (usize, &String)| {
        Digest::parse(text).map_err(|error| within(format_args!("`diff_ids[{at}]`"), error))
    };
    all.iter().enumerate().map(read).collect()
}

type Check = fn(&str) -> std::result::Result<(), String>;

fn strings(name: &str, all: Option<Vec<String>>, check: Check) -> Result<Vec<String>> {
    let all = all.unwrap_or_default();
    few(name, all.len())?;
    for (at, text) in all.iter().enumerate() {
        check(text).map_err(|why| bad(format!("`{name}[{at}]`, `{}`, {why}", shown(text))))?;
    }
    Ok(all)
}

/// Go writes what is not set as an empty string.
fn one(name: &str, text: Option<String>, check: Check) -> Result<Option<String>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    check(&text).map_err(|why| bad(format!("`{name}`, `{}`, {why}", shown(&text))))?;
    Ok(Some(text))
}

fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    few("Labels", labels.len())?;
    for (name, value) in &labels {
        let checked = word_of(name, PATH).and_then(|()| plain(value, STRING));
        checked.map_err(|why| bad(format!("the label `{}` {why}", shown(name))))?;
    }
    Ok(labels)
}

fn few(name: &str, count: usize) -> Result<()> {
    match count {
        0..=ENTRIES => Ok(()),
        _ => Err(bad(format!("`{name}` has {count} entries, more than {ENTRIES}"))),
    }
}

/// A value can be several lines, as a key is. A name alone is a variable that is not set; who runs the image leaves
/// it out.
fn variable(text: &str) -> std::result::Result<(), String> {
    plain(text, STRING)?;
    let (name, _) = text.split_once('=').unwrap_or((text, ""));
    match name {
        "" => Err("does not read NAME=VALUE".to_owned()),
        name if name.contains('\n') => Err("has a newline in its name".to_owned()),
        _ => Ok(()),
    }
}

fn path(text: &str) -> std::result::Result<(), String> {
    word_of(text, PATH)?;
    if text.starts_with('/') { Ok(()) } else { Err("is not an absolute path".to_owned()) }
}

fn word(text: &str) -> std::result::Result<(), String> {
    word_of(text, WORD)
}

fn word_of(text: &str, longest: usize) -> std::result::Result<(), String> {
    plain(text, longest)?;
    if text.chars().any(char::is_control) { Err("has a control character".to_owned()) } else { Ok(()) }
}

fn plain(text: &str, longest: usize) -> std::result::Result<(), String> {
    match text.len() {
        _ if text.contains('\0') => Err("has a NUL".to_owned()),
        length if length > longest => Err(format!("has {length} bytes, more than {longest}")),
        _ => Ok(()),
    }
}
