//! `sbx image`: what is in the store, got, looked at, verified and removed.

use std::path::PathBuf;
use std::time::Duration;

use crate::app::image_text as text;
use crate::app::run::Done;
use crate::app::sight::{self, Whose};
use crate::app::{Refusal, append, gather, store};
use crate::cli::{self, ImageVerb};
use crate::error::{Error, Kind, Result};
use crate::image::stock::{self, Known, Match};
use crate::image::{self, Store};
use crate::plan::facts::Invocation;
use crate::report::images as json;
use crate::spec::{Pull, Rootfs, RootfsSource, Spec, value, value_rootfs};
use crate::units::{Origin, Spanned};

/// The exit status of a store that is damaged, as that of `sha256sum --check`.
const DAMAGED: u8 = 1;

/// Carries out one verb; returns what goes to standard output, and the rest.
///
/// # Errors
/// What prevented it.
pub fn image(arguments: &cli::Image) -> std::result::Result<(Vec<u8>, Done), Refusal> {
    let said = store::chosen(&arguments.store).and_then(|store| match &arguments.verb {
        ImageVerb::List => list(&store, arguments).map(fine),
        ImageVerb::Pull { source, platform } => pull((source, platform.as_deref()), arguments).map(fine),
        ImageVerb::Inspect { image } => inspect(&store, image).map(fine),
        ImageVerb::Verify { image, repair: true } => repair(&store, image, arguments),
        ImageVerb::Verify { image, repair: false } => verify(&store, image, arguments),
        ImageVerb::Remove { image } => remove(&store, image, arguments).map(fine),
        ImageVerb::Prune { older_than } => prune(&store, older_than.as_deref(), arguments).map(fine),
        ImageVerb::Du => du(&store, arguments).map(fine),
        ImageVerb::Append(image) => append::append(image, &store),
    });
    said.map_err(|error| Refusal::new(&error, None))
}

fn fine(bytes: Vec<u8>) -> (Vec<u8>, Done) {
    (bytes, Done { text: String::new(), status: 0 })
}

/// Returns the JSON where that was asked for, else the text.
fn shown(arguments: &cli::Image, line: json::Line, text: impl FnOnce() -> String) -> Result<Vec<u8>> {
    if arguments.json { bytes(line) } else { Ok(text().into_bytes()) }
}

fn bytes(line: json::Line) -> Result<Vec<u8>> {
    line.map_err(|error| Error::new(Kind::Bug, format!("cannot write JSON: {error}")))
}

fn list(store: &Store, arguments: &cli::Image) -> Result<Vec<u8>> {
    let images = stock::known(store)?;
    let rows: Vec<json::Listed> = images.iter().flat_map(listed).collect();
    shown(arguments, json::to_line(&rows), || text::list(&rows))
}

/// One row a name.
fn listed(image: &Known) -> Vec<json::Listed> {
    let sizes = image.layers.iter().map(|layer| layer.size.map(|size| size.bytes));
    let row = |name: Option<&stock::Name>| json::Listed {
        name: name.map(|name| name.name.clone()),
        platform: name.and_then(|name| name.platform.clone()),
        digest: image.digest.to_string(),
        kind: image.kind.clone(),
        layers: image.layers.len(),
        size: sizes.clone().sum(),
        pulled_at: name.map(|name| name.pulled_at.clone()),
    };
    if image.names.is_empty() { Vec::from([row(None)]) } else { image.names.iter().map(|it| row(Some(it))).collect() }
}

fn pull((source, platform): (&str, Option<&str>), arguments: &cli::Image) -> Result<Vec<u8>> {
    let wrong = |text: &str, why: String| {
        Error::new(Kind::Usage, format!("`{}`: {why}", crate::units::visible(text)))
            .with_hint("write a source as in `rootfs`: `docker://HOST/NAME:TAG`, `oci:DIR:TAG`, an archive")
    };
    let parsed = value_rootfs::rootfs_source(source).map_err(|why| wrong(source, why))?;
    if matches!(parsed, RootfsSource::Host | RootfsSource::Scratch | RootfsSource::Directory(_)) {
        return Err(wrong(source, "is no image".to_owned()));
    }
    let platform = platform.map(|text| value_rootfs::platform(text).map_err(|why| wrong(text, why))).transpose()?;
    let is_remote = matches!(parsed, RootfsSource::Registry(_));
    let written = |value| Spanned::new(value, Origin::CommandLine);
    let rootfs = Rootfs {
        source: parsed,
        pull: is_remote.then(|| Spanned::new(Pull::Always, Origin::CommandLine)),
        platform: platform.map(|platform| Spanned::new(platform, Origin::CommandLine)),
        digest: None,
        writable: None,
        upper: None,
        size: None,
    };
    let spec = Spec { rootfs: Some(written(rootfs)), ..Spec::default() };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let invocation = Invocation { base: here()?, home, ..Invocation::default() };
    let found = gather::located(&spec, &invocation, None, &arguments.store)?;
    let image = found.filter(|image| image.kind != image::Kind::Directory);
    let image =
        image.ok_or_else(|| wrong(source, "is a directory, which is run as it is and not imported".to_owned()))?;
    let digest = image.digest.map(|digest| digest.to_string());
    let image::Skipped { devices, set_id, attributes } = image.skipped;
    let skipped = json::Skipped { devices, set_id, attributes };
    let row = json::Pulled { source: source.to_owned(), digest, layers: image.layers, skipped };
    shown(arguments, json::to_line(&row), || row.digest.iter().fold(String::new(), |text, digest| text + digest + "\n"))
}

fn here() -> Result<PathBuf> {
    std::env::current_dir().map_err(|error| Error::io("cannot look up the working directory", &error))
}

/// Returns the images that `words` mean. Every word that means none is told.
fn found(store: &Store, words: &[String]) -> Result<Vec<Match>> {
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let (all, here) = (stock::known(store)?, here()?);
    let (mut matches, mut wrong): (Vec<Match>, Vec<Error>) = (Vec::new(), Vec::new());
    for word in words {
        match stock::find(&all, word, &here) {
            Ok(found) => matches.push(found),
            Err(error) => wrong.push(error),
        }
    }
    let messages: Vec<&str> = wrong.iter().map(|error| error.message.as_str()).collect();
    match wrong.first() {
        None => Ok(matches),
        Some(first) => Err(Error { message: messages.join("; "), ..first.clone() }),
    }
}

fn inspect(store: &Store, words: &[String]) -> Result<Vec<u8>> {
    let rows: Vec<json::Inspected> = found(store, words)?.into_iter().map(|found| inspected(found.image)).collect();
    bytes(json::to_line(&rows))
}

fn inspected(image: Known) -> json::Inspected {
    let layers = image.layers.into_iter().map(|layer| json::Layer {
        digest: layer.digest.map(|digest| digest.to_string()),
        diff_id: layer.diff_id.to_string(),
        size: layer.size.map(|size| size.bytes),
        entries: layer.size.map(|size| size.entries),
    });
    let names = image.names.into_iter().map(|stock::Name { name, platform, pulled_at }| json::Named {
        name,
        platform,
        pulled_at,
    });
    json::Inspected {
        digest: image.digest.to_string(),
        kind: image.kind,
        names: names.collect(),
        chain_id: image.chain_id.map(|chain| chain.to_string()),
        layers: layers.collect(),
        config: image.config.map(|config| json::Config {
            platform: config.platform.to_string(),
            env: config.env,
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            user: config.user,
            workdir: config.workdir,
            volumes: config.volumes,
            stop_signal: config.stop_signal,
            labels: config.labels,
        }),
    }
}

fn problems(store: &Store, words: &[String]) -> Result<Vec<stock::Problem>> {
    let images: Vec<Known> = found(store, words)?.into_iter().map(|found| found.image).collect();
    see_all(store)?;
    stock::verify(store, &images)
}

/// What is verified or counted is all that is there.
fn see_all(store: &Store) -> Result<()> {
    sight::see_all(if store.has_ranges()? { Whose::Subordinates } else { Whose::Own });
    Ok(())
}

fn rows(problems: &[stock::Problem]) -> Vec<json::Problem> {
    let row = |problem: &stock::Problem| json::Problem {
        kind: problem.kind,
        name: problem.name.clone(),
        path: problem.path.clone(),
        reason: problem.reason.clone(),
    };
    problems.iter().map(row).collect()
}

fn verify(store: &Store, words: &[String], arguments: &cli::Image) -> Result<(Vec<u8>, Done)> {
    let problems = rows(&problems(store, words)?);
    let status = if problems.is_empty() { 0 } else { DAMAGED };
    let hint = match problems.is_empty() {
        true => String::new(),
        false => {
            "sbx: the store is damaged\n  hint: `sbx image verify --repair` removes what is damaged; the next run \
                  imports it again\n"
                .to_owned()
        }
    };
    let row = json::Verified { problems, removed: Vec::new() };
    let bytes = shown(arguments, json::to_line(&row), || text::problems(&row.problems))?;
    Ok((bytes, Done { text: hint, status }))
}

fn repair(store: &Store, words: &[String], arguments: &cli::Image) -> Result<(Vec<u8>, Done)> {
    // Damaged notes say nothing that could be chosen from.
    let found = problems(store, words)?;
    let (gone, failures) = match found.is_empty() {
        true => (Vec::new(), Vec::new()),
        false => stock::repair(store, &found)?,
    };
    let row = json::Verified { problems: rows(&found), removed: removed(&gone) };
    let bytes = shown(arguments, json::to_line(&row), || text::problems(&row.problems) + &text::removed(&row.removed))?;
    let said: String = failures.iter().map(|error| Refusal::new(error, None).text).collect();
    let status = if failures.is_empty() { 0 } else { DAMAGED };
    Ok((bytes, Done { text: said, status }))
}

fn remove(store: &Store, words: &[String], arguments: &cli::Image) -> Result<Vec<u8>> {
    let matches = found(store, words)?;
    let rows = removed(&stock::remove(store, &matches)?);
    shown(arguments, json::to_line(&rows), || text::removed(&rows))
}

fn prune(store: &Store, older_than: Option<&str>, arguments: &cli::Image) -> Result<Vec<u8>> {
    let limit = older_than.map(|text| {
        let wrong = |why| Error::new(Kind::Usage, format!("`--older-than {}`: {why}", crate::units::visible(text)));
        value::time(text).map_err(wrong)
    });
    let limit: Option<Duration> = limit.transpose()?;
    let rows = removed(&stock::prune(store, limit)?);
    shown(arguments, json::to_line(&rows), || text::removed(&rows))
}

fn removed(all: &[stock::Removed]) -> Vec<json::Removed> {
    let row = |kind, name: String| json::Removed { kind, name };
    all.iter()
        .map(|one| match one {
            stock::Removed::Name(name) => row("name", name.clone()),
            stock::Removed::Image(digest) => row("image", digest.to_string()),
            stock::Removed::Layer(digest) => row("layer", digest.to_string()),
            stock::Removed::Root(digest) => row("root", digest.to_string()),
            stock::Removed::Blob(digest) => row("blob", digest.to_string()),
            stock::Removed::File(path) => row("file", path.display().to_string()),
        })
        .collect()
}

fn du(store: &Store, arguments: &cli::Image) -> Result<Vec<u8>> {
    let mut rows: Vec<json::Used> = Vec::new();
    see_all(store)?;
    for stock::Usage { kind, name, files, bytes } in stock::usage(store)? {
        rows.push(json::Used { kind, name, files, bytes });
    }
    let (files, bytes) = rows.iter().fold((0, 0), |(files, bytes), row| (files + row.files, bytes + row.bytes));
    rows.push(json::Used { kind: "total", name: store.root().display().to_string(), files, bytes });
    shown(arguments, json::to_line(&rows), || text::usage(&rows))
}
