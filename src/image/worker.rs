//! Extraction in a process of its own: what is asked of it and what it answers, one JSON object a line. The
//! process confines itself (`app::extract`); this side only starts it and believes no more than digests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::image::decode::Packed;
use crate::image::digest::Digest;
use crate::image::extract::{self, Extracted};
use crate::image::tree::{Ownership, Target, Whiteouts};
use crate::image::{Bounds, Range, Skipped};
use crate::sys::file::{self, Access};
use crate::sys::thread;
use crate::sys::watch::{self, Entry, asked_to_end};

/// The word by which sbx is asked to confine itself and extract.
pub const CONFINE: &str = "extract-layers";
/// The word by which it is asked to extract, inside.
pub const PLACE: &str = "place-layers";

/// What a worker is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub layers: Vec<Layer>,
    /// Whether names that begin with `.wh.` hide what is below.
    pub whiteouts: bool,
    /// Whether files get the owners that the archive says.
    pub owned: bool,
    /// The ids that these owners are on disk, where it is not they themselves.
    pub range: Option<Range>,
    pub entries: u64,
    pub unpacked: u64,
    pub ratio: u64,
}

/// One layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// The file that holds the packed bytes, and where in it they are.
    pub archive: PathBuf,
    pub offset: u64,
    pub length: u64,
    /// A directory with an empty directory `rootfs` in it.
    pub made: PathBuf,
    /// The path of `made`, for messages.
    pub shown: PathBuf,
}

/// What it answers, in any order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Answer {
    Read { layer: usize, bytes: u64 },
    Done { layer: usize, digest: String, diff_id: String, devices: u64, set_id: u64, attributes: u64, below: u64 },
    Failed { layer: usize, kind: String, message: String, errno: Option<i32>, hint: Option<String> },
}

/// Extracts as `request` says, as many layers at once as there are processors, and writes the answers to `output`. To be called where nothing but the layers and their directories can be reached.
///
/// # Errors
/// An answer that could not be written.
pub fn place(request: Request, output: impl std::io::Write + Send + 'static) -> std::io::Result<()> {
    // Each layer has a thread for its decoder and one for its list as well.
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(request.layers.len());
    let work = Arc::new(Work { request, next: AtomicUsize::new(0), output: Mutex::new(Ok(output)) });
    let crew = work.clone();
    thread::share(threads, move || crew.all());
    let output = std::mem::replace(&mut *work.output(), Err(std::io::ErrorKind::BrokenPipe.into()));
    output.map(drop)
}

/// What the threads share.
struct Work<W> {
    request: Request,
    next: AtomicUsize,
    /// Or why there can be no more answers.
    output: Mutex<std::io::Result<W>>,
}

impl<W: std::io::Write> Work<W> {
    /// Places layers until there are none left.
    fn all(&self) {
        while let Some((number, layer)) = {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            self.request.layers.get(number).map(|layer| (number, layer))
        } {
            let mut told = 0;
            let mut progress = |bytes: u64| {
                // Often enough for a bar, seldom enough for a pipe.
                if bytes - told >= 1 << 20 {
                    told = bytes;
                    self.answer(&Answer::Read { layer: number, bytes });
                }
            };
            let placed = place_one(&self.request, layer, &mut progress);
            self.answer(&placed.map_or_else(|error| failed(number, &error), |extracted| done(number, &extracted)));
        }
    }

    fn answer(&self, answer: &Answer) {
        let mut output = self.output();
        if let Ok(writer) = &mut *output {
            let written = serde_json::to_vec(answer).map_err(std::io::Error::from).and_then(|mut line| {
                line.push(b'\n');
                writer.write_all(&line)?;
                writer.flush()
            });
            if let Err(error) = written {
                *output = Err(error);
            }
        }
    }

    fn output(&self) -> MutexGuard<'_, std::io::Result<W>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_one(request: &Request, layer: &Layer, progress: &mut dyn FnMut(u64)) -> Result<Extracted> {
    let at = |what: &str, path: &Path, error: &std::io::Error| {
        Error::io(format_args!("cannot {what} `{}`", path.display()), error)
    };
    let archive = std::fs::File::open(&layer.archive).map_err(|error| at("open", &layer.archive, &error))?;
    let root = file::open(&layer.made.join("rootfs"), Access::Directory);
    let root = root.map_err(|errno| at("open", &layer.shown, &errno.into()))?;
    let list = std::fs::File::create_new(layer.made.join("list"));
    let list = list.map_err(|error| at("create the list in", &layer.shown, &error))?;
    let ownership = match (request.owned, request.range) {
        (true, Some(range)) => Ownership::Range(range),
        (true, None) => Ownership::Archive,
        (false, _) => Ownership::Caller,
    };
    let target = Target { root, shown: layer.shown.join("rootfs"), ownership };
    let whiteouts = if request.whiteouts { Whiteouts::Hide } else { Whiteouts::AreFiles };
    let bounds = Bounds { entries: request.entries, unpacked: request.unpacked, ratio: request.ratio };
    let packed = Packed { file: &archive, offset: layer.offset, length: layer.length };
    extract::extract(&packed, (target, list), (whiteouts, &bounds), progress)
}

fn done(layer: usize, extracted: &Extracted) -> Answer {
    let Extracted { digest, diff_id, skipped: Skipped { devices, set_id, attributes }, below } = extracted;
    Answer::Done {
        layer,
        digest: digest.to_string(),
        diff_id: diff_id.to_string(),
        devices: *devices,
        set_id: *set_id,
        attributes: *attributes,
        below: *below,
    }
}

/// Returns the line by which a worker says why a layer could not be extracted.
#[must_use]
pub fn failure(layer: usize, error: &Error) -> String {
    serde_json::to_string(&failed(layer, error)).unwrap_or_default()
}

/// Returns the error that a line of [`failure`] tells.
pub(super) fn told(line: &str) -> Error {
    match hear(line, &mut [], &mut |_, _| {}) {
        Err((_, error)) => error,
        Ok(()) => Error::new(Kind::Bug, "the worker said nonsense"),
    }
}

fn failed(layer: usize, error: &Error) -> Answer {
    let Error { kind, message, errno, hint, .. } = error.clone();
    Answer::Failed { layer, kind: kind.as_str().to_owned(), message, errno, hint }
}

/// Runs `program` as the worker for `request`. `progress` gets the number of a layer and how many bytes of it were
/// read.
///
/// # Errors
/// The first layer that could not be extracted, with its number; or why there was no worker.
pub(super) fn run(
    program: &Path,
    request: &Request,
    progress: &mut dyn FnMut(usize, u64),
) -> std::result::Result<Vec<Extracted>, (Option<usize>, Error)> {
    let bug = |message: String| (None, Error::new(Kind::Bug, message));
    let mut command = Command::new(program);
    // What it prints on standard error says why it printed no answer.
    command.arg(CONFINE).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| (None, Error::io(format_args!("cannot run `{}`", program.display()), &error)))?;
    let asked = serde_json::to_vec(request).map_err(|error| bug(format!("cannot ask for layers: {error}")))?;
    // A worker that is gone already says why below.
    drop(child.stdin.take().map(|mut input| input.write_all(&asked)));
    let mut found: Vec<Option<Extracted>> = request.layers.iter().map(|_| None).collect();
    let answered = match child.stdout.take() {
        Some(output) => listen(output, &mut found, progress),
        None => Ok(()),
    };
    if answered.is_err() {
        child.kill().ok();
    }
    let said = ended(child);
    answered?;
    let missing = found.iter().position(Option::is_none);
    found.into_iter().collect::<Option<_>>().ok_or_else(|| (missing, silent(&said)))
}

fn listen(
    output: ChildStdout,
    found: &mut [Option<Extracted>],
    progress: &mut dyn FnMut(usize, u64),
) -> std::result::Result<(), (Option<usize>, Error)> {
    const PAUSE: u64 = 50_000_000;
    let number = output.as_raw_fd();
    let mut lines = BufReader::new(output);
    let mut line = String::new();
    loop {
        if lines.buffer().is_empty() {
            // sbx holds signals back, so they do not end a read.
            watch::poll(&mut [Entry::readable(crate::sys::Fd(number))], Some(PAUSE)).ok();
            if asked_to_end().is_some() {
                return Err((None, Error::new(Kind::Io, "the extraction was canceled")));
            }
        }
        line.clear();
        let length = lines.read_line(&mut line);
        match length.map_err(|error| (None, Error::io("cannot read what the worker says", &error)))? {
            0 => return Ok(()),
            _ => hear(&line, found, progress)?,
        }
    }
}

fn hear(
    line: &str,
    found: &mut [Option<Extracted>],
    progress: &mut dyn FnMut(usize, u64),
) -> std::result::Result<(), (Option<usize>, Error)> {
    let wrong = |why: &dyn std::fmt::Display| (None, Error::new(Kind::Bug, format!("the worker said nonsense: {why}")));
    match serde_json::from_str(line).map_err(|error| wrong(&error))? {
        Answer::Read { layer, bytes } => progress(layer, bytes),
        Answer::Done { layer, digest, diff_id, devices, set_id, attributes, below } => {
            let digests = Digest::parse(&digest).and_then(|digest| Ok((digest, Digest::parse(&diff_id)?)));
            let (digest, diff_id) = digests.map_err(|error| wrong(&error))?;
            let skipped = Skipped { devices, set_id, attributes };
            let place = found.get_mut(layer).ok_or_else(|| wrong(&"there is no such layer"))?;
            *place = Some(Extracted { digest, diff_id, skipped, below });
        }
        Answer::Failed { layer, kind, message, errno, hint } => {
            let kind = [Kind::Host, Kind::Image, Kind::Setup, Kind::Io].into_iter().find(|it| it.as_str() == kind);
            let origin = crate::units::Origin::Default;
            return Err((Some(layer), Error { kind: kind.unwrap_or(Kind::Bug), message, errno, hint, origin }));
        }
    }
    Ok(())
}

/// Waits for the worker and returns how it ended and what it said of it.
fn ended(child: Child) -> String {
    match child.wait_with_output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("{}: {}", output.status, crate::units::visible(said.trim()))
        }
        Err(error) => error.to_string(),
    }
}

fn silent(said: &str) -> Error {
    Error::new(Kind::Setup, format!("the worker that extracts layers ended without an answer ({said})"))
}
