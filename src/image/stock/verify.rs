//! Ties the verbs together: everything in the store is compared with what is written of it, several trees at once.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Kind, Result};
use crate::image::digest::Digest;
use crate::image::layer;
use crate::image::layered::chain_id;
use crate::image::mend::{self, Blob};
use crate::image::seal::{self, Sealed};
use crate::image::stock::{Known, Problem, Remedy, check};
use crate::image::store::{Name, Store, failed, numbers};
use crate::image::tree::Ownership;
use crate::sys::entry::raise_open_files;
use crate::sys::file::{self, Access};
use crate::sys::thread;
use crate::sys::watch::asked_to_end;

/// Looks for what is wrong with the store: with all of it, or with what `images` need.
///
/// # Errors
/// A store that cannot be read.
pub fn verify(store: &Store, images: &[Known]) -> Result<Vec<Problem>> {
    if !store.root().exists() {
        return Ok(Vec::new());
    }
    // Each thread holds open what it is in, level by level.
    raise_open_files();
    // What is read is not taken away meanwhile.
    let _importing = store.importing()?;
    let mut problems = notes(store, images)?;
    let tasks = Mutex::new(tasks(store, images)?);
    let found: Arc<Mutex<Vec<Result<Vec<Problem>>>>> = Arc::default();
    let (own, results) = (store.clone(), found.clone());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    thread::share(threads, move || work(&own, &tasks, &results));
    let found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    for one in found {
        problems.extend(one?);
    }
    problems.sort_by(|one, other| {
        (one.kind, &one.name, &one.path, &one.reason).cmp(&(other.kind, &other.name, &other.path, &other.reason))
    });
    problems.dedup();
    Ok(problems)
}

/// One thing to be read.
enum Task {
    Layer(Digest, Ownership),
    Root(Digest, Ownership),
    Blob(Digest),
}

fn work(store: &Store, tasks: &Mutex<VecDeque<Task>>, found: &Mutex<Vec<Result<Vec<Problem>>>>) {
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(task) = next() {
        let (problems, (kind, digest)) = match &task {
            Task::Layer(diff_id, ownership) => (layer(store, diff_id, *ownership), ("layer", diff_id)),
            Task::Root(chain, ownership) => (root(store, chain, *ownership), ("root", chain)),
            Task::Blob(digest) => (blob(store, digest), ("blob", digest)),
        };
        // What is wrong with one must not hide the others.
        let problems = problems.or_else(|error| match asked_to_end() {
            Some(_) => Err(error),
            None => {
                let (name, remedy) = (digest.to_string(), Remedy::None);
                Ok(Vec::from([Problem { kind, name, path: None, reason: error.to_string(), remedy }]))
            }
        });
        found.lock().unwrap_or_else(PoisonError::into_inner).push(problems);
    }
}

fn tasks(store: &Store, images: &[Known]) -> Result<VecDeque<Task>> {
    let layers: BTreeSet<&Digest> = images.iter().flat_map(|image| &image.layers).map(|layer| &layer.diff_id).collect();
    let chains: BTreeSet<&Digest> = images.iter().filter_map(|image| image.chain_id.as_ref()).collect();
    let packed = images.iter().flat_map(|image| &image.layers).filter_map(|layer| layer.digest.as_ref());
    let blobs: BTreeSet<&Digest> = images.iter().flat_map(|image| &image.documents).chain(packed).collect();
    let wanted = |set: &BTreeSet<&Digest>, digest: &Digest| images.is_empty() || set.contains(digest);
    let mut tasks = VecDeque::new();
    for (digest, ownership) in trees(store, "layers")? {
        if wanted(&layers, &digest) {
            tasks.push_back(Task::Layer(digest, ownership));
        }
    }
    for (digest, ownership) in trees(store, "roots")? {
        if wanted(&chains, &digest) {
            tasks.push_back(Task::Root(digest, ownership));
        }
    }
    for name in store.list("blobs")? {
        if let Ok(digest) = Digest::from_hex(&name)
            && wanted(&blobs, &digest)
        {
            tasks.push_back(Task::Blob(digest));
        }
    }
    Ok(tasks)
}

/// Returns what the names in a directory of trees say.
pub(super) fn trees(store: &Store, section: &str) -> Result<Vec<(Digest, Ownership)>> {
    let names = store.list(section)?;
    Ok(names
        .iter()
        .filter_map(|name| {
            let (digest, flavour) = name.split_once('.')?;
            Some((Digest::from_hex(digest).ok()?, Ownership::of_flavour(flavour)?))
        })
        .collect())
}

/// What of a tree was found wrong.
struct About {
    kind: &'static str,
    name: String,
    place: PathBuf,
}

impl About {
    fn problem(&self, path: Option<String>, reason: impl Into<String>) -> Problem {
        let remedy = Remedy::Tree(self.place.clone());
        Problem { kind: self.kind, name: self.name.clone(), path, reason: reason.into(), remedy }
    }

    fn found(&self, faults: Result<Vec<check::Fault>>) -> Result<Vec<Problem>> {
        match faults {
            Ok(faults) => Ok(faults.into_iter().map(|(path, reason)| self.problem(Some(path), reason)).collect()),
            // Its list is damaged, or says what no tree can be.
            Err(error) if matches!(error.kind, Kind::Host | Kind::Image) => {
                Ok(Vec::from([self.problem(None, error.message)]))
            }
            Err(error) => Err(error),
        }
    }

    /// The note without which a tree counts as missing.
    fn note(&self) -> Result<Option<Problem>> {
        let path = self.place.join("skipped");
        Ok(match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Some(self.problem(None, "its note `skipped` is missing"))
            }
            Err(error) => return Err(failed("read", &path, &error)),
            Ok(bytes) if numbers(&bytes).is_none() => Some(self.problem(None, "its note `skipped` is damaged")),
            Ok(_) => None,
        })
    }
}

fn layer(store: &Store, diff_id: &Digest, ownership: Ownership) -> Result<Vec<Problem>> {
    let place = store.place_of(Name::Layer(diff_id), ownership);
    let about = About { kind: "layer", name: diff_id.to_string(), place };
    let mut problems: Vec<Problem> = about.note()?.into_iter().collect();
    match layer::open(&about.place.join("list")) {
        Ok(list) => problems.extend(about.found(check::layer(&about.place.join("rootfs"), ownership, list))?),
        Err(error) if error.errno == Some(libc::ENOENT) => problems.push(about.problem(None, "its list is missing")),
        Err(error) => return Err(error),
    }
    Ok(problems)
}

fn root(store: &Store, chain: &Digest, ownership: Ownership) -> Result<Vec<Problem>> {
    let place = store.place_of(Name::Root(chain), ownership);
    let about = About { kind: "root", name: chain.to_string(), place };
    let mut problems: Vec<Problem> = about.note()?.into_iter().collect();
    let Some(diff_ids) = made_of(&about.place).filter(|ids| chain_id(ids.iter()).as_ref() == Some(chain)) else {
        problems.push(about.problem(None, "its note `layers` is missing or damaged"));
        return Ok(problems);
    };
    let damaged = &Cell::new(None);
    let mut layers = Vec::new();
    for diff_id in &diff_ids {
        let layer = store.place_of(Name::Layer(diff_id), ownership);
        let tree = file::open(&layer.join("rootfs"), Access::DirectoryPlace);
        match (layer::open(&layer.join("list")), tree) {
            (Ok(list), Ok(tree)) => {
                let seen = list.inspect(move |entry| {
                    if entry.as_ref().is_err_and(|error| error.kind != Kind::Io) {
                        damaged.set(Some(diff_id));
                    }
                });
                layers.push((seen, tree));
            }
            (Err(error), _) if error.errno != Some(libc::ENOENT) => return Err(error),
            _ => {
                damaged.set(Some(diff_id));
                break;
            }
        }
    }
    if damaged.get().is_none() {
        let faults = check::root(&about.place.join("rootfs"), ownership, layers);
        if damaged.get().is_none() {
            problems.extend(about.found(faults)?);
        }
    }
    if let Some(diff_id) = damaged.get() {
        problems.push(about.problem(None, format!("its layer `{diff_id}` is missing or damaged")));
    }
    Ok(problems)
}

/// Returns the layers that a root was made of, as its note says.
pub(super) fn made_of(place: &Path) -> Option<Vec<Digest>> {
    let text = std::fs::read_to_string(place.join("layers")).ok()?;
    seal::unseal(&text)?.lines().map(|line| Digest::from_hex(line).ok()).collect()
}

fn blob(store: &Store, digest: &Digest) -> Result<Vec<Problem>> {
    let path = store.root().join("blobs").join(digest.hex());
    Ok(match mend::blob(&path, digest)? {
        Blob::Whole | Blob::Missing => Vec::new(),
        Blob::Damaged => {
            let (name, reason) = (digest.to_string(), "its bytes have another digest".to_owned());
            Vec::from([Problem { kind: "blob", name, path: None, reason, remedy: Remedy::File(path) }])
        }
    })
}

/// Looks at the notes of images and names, and whether what they name is there.
pub(super) fn notes(store: &Store, images: &[Known]) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    let wanted = |digest: &Digest| images.is_empty() || images.iter().any(|image| image.digest == *digest);
    for (path, record) in store.records()? {
        let stem = path.file_stem().and_then(|stem| Digest::from_hex(stem.to_str()?).ok());
        let Some(digest) = stem else { continue };
        let mut problem = |reason: String| {
            let (name, remedy) = (digest.to_string(), Remedy::Image(digest.clone()));
            problems.push(Problem { kind: "image", name, path: None, reason, remedy });
        };
        match record {
            Sealed::Whole(record) if record.digest == digest => {
                let is_there = |name: Name<'_>| store.flavours(name).is_ok_and(|flavours| !flavours.is_empty());
                for layer in record.layers.iter().filter(|_| wanted(&digest)) {
                    if !is_there(Name::Layer(&layer.diff_id)) {
                        problem(format!("its layer `{}` is missing", layer.diff_id));
                    }
                }
                let chain = chain_id(record.layers.iter().map(|layer| &layer.diff_id));
                if wanted(&digest) && record.layers.len() > 1 && !chain.is_some_and(|it| is_there(Name::Root(&it))) {
                    problem("its root is missing".to_owned());
                }
                for document in record.documents.iter().filter(|_| wanted(&digest)) {
                    if !store.root().join("blobs").join(document.hex()).is_file() {
                        problem(format!("its document `{document}` is missing"));
                    }
                }
                known.insert(digest);
            }
            _ => problem("its note is damaged".to_owned()),
        }
    }
    if images.is_empty() {
        names(store, &known, &mut problems)?;
    }
    Ok(problems)
}

/// Looks at the notes that lead to an image.
fn names(store: &Store, known: &BTreeSet<Digest>, problems: &mut Vec<Problem>) -> Result<()> {
    let mut problem = |kind, path: PathBuf, reason: &str| {
        let name = path.strip_prefix(store.root()).unwrap_or(&path).display().to_string();
        problems.push(Problem { kind, name, path: None, reason: reason.to_owned(), remedy: Remedy::File(path) });
    };
    for (path, named) in store.names()? {
        match named.whole() {
            Some(named) if path == store.name_note(&named.reference, named.platform.as_deref()) => {
                // What was pulled and not unpacked yet is noted by the first run of it.
                let is_there = |digest: &Digest| store.root().join("blobs").join(digest.hex()).is_file();
                if !Digest::from_hex(&named.manifest).is_ok_and(|it| known.contains(&it) || is_there(&it)) {
                    problem("name", path, "its image is not there");
                }
            }
            _ => problem("name", path, "it is damaged"),
        }
    }
    for (path, memo) in store.notes::<serde_json::Value>("seen", ".image")? {
        let digest = memo.whole().and_then(|memo| Digest::from_hex(memo.get("digest")?.as_str()?).ok());
        match digest {
            Some(digest) if known.contains(&digest) => {}
            Some(_) => problem("memo", path, "its image is not noted"),
            None => problem("memo", path, "it is damaged"),
        }
    }
    for name in store.list("seen")?.into_iter().filter(|name| !name.contains('.')) {
        let path = store.note(&name);
        let text = std::fs::read(&path).map_err(|error| failed("read", &path, &error))?;
        if std::str::from_utf8(&text).ok().and_then(seal::unseal).is_none() {
            problem("memo", path, "it is damaged");
        }
    }
    Ok(())
}
