//! The config of an image that is made of another: what the base says stays, members that nobody here knows
//! included; layers and history grow by one.

use serde_json::{Map, Value, json};

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::platform::Platform;

/// As reproducible builds have it.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// What is written in place of what the base says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// `NAME=VALUE` each; one of the base with that name goes.
    pub env: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub labels: Vec<(String, String)>,
}

/// Returns the config of `base`, which has all of `diff_ids` but the last, with what is `changed`. Without a base it
/// is for this machine.
///
/// # Errors
/// A config that is no JSON object.
pub(super) fn inherit(base: Option<&[u8]>, changed: &Changed, diff_ids: &[&Digest]) -> Result<Value> {
    let mut document: Map<String, Value> = match base {
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|error| Error::new(Kind::Image, format!("the config of the base is damaged: {error}")))?,
        None => fresh(),
    };
    let mut run = match document.remove("config") {
        Some(Value::Object(run)) => run,
        _ => Map::new(),
    };
    apply(&mut run, changed);
    document.insert("config".to_owned(), Value::Object(run));
    let ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
    document.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": ids}));
    let mut history = match document.remove("history") {
        Some(Value::Array(history)) if told(&history) + 1 == ids.len() => history,
        // One that says something else of the layers says nothing.
        _ => ids.iter().skip(1).map(|_| entry("base")).collect(),
    };
    history.push(entry("sbx image append"));
    document.insert("history".to_owned(), Value::Array(history));
    Ok(Value::Object(document))
}

fn fresh() -> Map<String, Value> {
    let Platform { os, architecture, variant } = Platform::of_machine();
    let mut document = Map::new();
    document.insert("created".to_owned(), json!(EPOCH));
    document.insert("os".to_owned(), json!(os));
    document.insert("architecture".to_owned(), json!(architecture));
    if let Some(variant) = variant {
        document.insert("variant".to_owned(), json!(variant));
    }
    document
}

/// The same words make the same image; without a time umoci 0.4 does not read it.
fn entry(what: &str) -> Value {
    json!({"created": EPOCH, "created_by": what})
}

/// Returns of how many layers a history tells.
fn told(history: &[Value]) -> usize {
    history.iter().filter(|entry| entry.get("empty_layer") != Some(&Value::Bool(true))).count()
}

fn apply(run: &mut Map<String, Value>, changed: &Changed) {
    if !changed.env.is_empty() {
        let mut env = match run.remove("Env") {
            Some(Value::Array(env)) => env,
            _ => Vec::new(),
        };
        for variable in &changed.env {
            let name = variable.split('=').next();
            env.retain(|old| old.as_str().and_then(|old| old.split('=').next()) != name);
            env.push(json!(variable));
        }
        run.insert("Env".to_owned(), Value::Array(env));
    }
    // As `docker build` does: a command of the base is an argument of the base's entrypoint.
    if let Some(entrypoint) = &changed.entrypoint {
        run.insert("Entrypoint".to_owned(), json!(entrypoint));
        run.remove("Cmd");
    }
    if let Some(cmd) = &changed.cmd {
        run.insert("Cmd".to_owned(), json!(cmd));
    }
    for (name, value) in [("User", &changed.user), ("WorkingDir", &changed.workdir)] {
        if let Some(value) = value {
            run.insert(name.to_owned(), json!(value));
        }
    }
    if !changed.labels.is_empty() {
        let mut labels = match run.remove("Labels") {
            Some(Value::Object(labels)) => labels,
            _ => Map::new(),
        };
        labels.extend(changed.labels.iter().map(|(name, value)| (name.clone(), json!(value))));
        run.insert("Labels".to_owned(), Value::Object(labels));
    }
}
