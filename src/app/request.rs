//! Reads a spec and applies what the command line changes: from here on there is one
//! `Spec`, whoever said what.

use std::path::{Path, PathBuf};

use crate::app::{edit, network, script};
use crate::cli;
use crate::error::{Error, Kind, Result};
use crate::report::SpecText;
use crate::run::c_text::path_text;
use crate::spec::diagnostic::{self, Finding};
use crate::spec::{Spec, carried, parse};
use crate::sys::{Errno, Fd, fd, watch};
use crate::units::Origin;

/// The largest spec that is read at all; the language's own limit is smaller and says so better.
const READ_MAX: usize = 4 << 20;

/// The text of a spec and where it came from.
#[derive(Debug, Clone)]
pub struct Text {
    /// As the caller gave it.
    pub name: String,
    /// Where it can be read again, absolute.
    pub path: PathBuf,
    /// The directory that is the base of relative paths.
    pub base: PathBuf,
    pub bytes: Vec<u8>,
    /// The spec in it, where it is a script that carries one; or why there is none.
    carried: Option<std::result::Result<Vec<u8>, Finding>>,
    /// The same as text, for places in it; what is not UTF-8 is replaced.
    pub text: String,
}

impl Text {
    /// Reads the spec at `path`; `-` is standard input, whose base is the working directory.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.to_string_lossy().into_owned();
        let failed =
            |source: &std::io::Error| Error::io(format_args!("cannot read the spec `{}`", name.escape_debug()), source);
        let standard = path.as_os_str() == "-";
        let opened = match standard {
            true => Ok(None),
            false => path_text(path)
                .and_then(|text| fd::open(&text, libc::O_RDONLY, 0).map_err(|errno| failed(&errno.into())))
                .map(Some),
        }?;
        let opened = opened.map(watch::own);
        let source = opened.as_ref().map_or(Fd(0), watch::number);
        let bytes = read_all(source).map_err(|errno| failed(&errno.into()))?;
        let parent = if standard { Path::new(".") } else { path.parent().unwrap_or(Path::new(".")) };
        let base = base(parent).map_err(|source| {
            Error::io("cannot look up the working directory, where the paths of the spec begin", &source)
                .with_hint("change to a directory that is there")
        })?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let path = match path.file_name() {
            Some(file) if !standard => base.join(file),
            _ => PathBuf::from("/proc/self/fd/0"),
        };
        let carried = carried::carried(&bytes).transpose();
        Ok(Self { name, path, base, bytes, carried, text })
    }

    /// Returns the spec that is written here.
    ///
    /// # Errors
    /// All mistakes of the text.
    pub fn parse(&self) -> std::result::Result<Spec, Vec<Finding>> {
        match &self.carried {
            None => parse::parse(&self.bytes),
            Some(Ok(spec)) => parse::parse(spec).and_then(|spec| script::with_file(spec, &self.path)),
            Some(Err(finding)) => Err(vec![finding.clone()]),
        }
    }

    /// Returns the text with its name, for messages.
    #[must_use]
    pub fn as_spec(&self) -> SpecText<'_> {
        SpecText { name: &self.name, text: &self.text }
    }

    /// Draws `findings` over the text.
    #[must_use]
    pub fn draw(&self, findings: &[Finding]) -> String {
        let colour = match crate::app::colour() {
            crate::report::text::Colour::Plain => diagnostic::Colour::Never,
            crate::report::text::Colour::Ansi => diagnostic::Colour::Always,
        };
        diagnostic::render(&self.name, &self.text, findings, colour)
    }
}

/// Reads to the end, or as far as any spec may go.
fn read_all(source: Fd) -> std::result::Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    let mut piece = [0u8; 4096];
    while bytes.len() < READ_MAX {
        match fd::read(source, &mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(bytes)
}

/// Returns the absolute path of a directory without asking what it is: the working directory is only
/// looked up for a relative one.
fn base(parent: &Path) -> std::io::Result<PathBuf> {
    if parent.is_absolute() {
        return Ok(parent.to_owned());
    }
    let working = std::env::current_dir()?;
    Ok(if parent.as_os_str().is_empty() || parent == Path::new(".") { working } else { working.join(parent) })
}

/// Why a request has no spec.
#[derive(Debug)]
pub enum Mistake {
    /// The text has mistakes, all of them here.
    Findings(Vec<Finding>),
    /// The command line has one.
    Error(Error),
}

/// Returns the spec of `text` with the edits of the command line.
///
/// # Errors
/// All mistakes of the text, or the first one of the command line.
pub fn spec(text: &Text, request: &cli::Request) -> std::result::Result<Spec, Mistake> {
    let mut spec = text.parse().map_err(Mistake::Findings)?;
    edit::apply(&mut spec, request).map_err(Mistake::Error)?;
    network::complete(&mut spec).map_err(Mistake::Error)?;
    Ok(spec)
}

impl Mistake {
    /// Returns the mistakes as a report has them, at least one.
    #[must_use]
    pub fn errors(&self) -> Vec<Error> {
        match self {
            Self::Error(error) => vec![error.clone()],
            Self::Findings(findings) => findings.iter().map(told).collect(),
        }
    }
}

/// Without a help it is the words at the caret that say what is expected.
fn told(finding: &Finding) -> Error {
    let error = Error::new(Kind::Spec, finding.message.clone()).at(Origin::Spec(finding.span));
    let label = Some(&finding.label).filter(|label| !label.is_empty());
    match finding.help.as_ref().or(label) {
        Some(help) => error.with_hint(help),
        None => error,
    }
}
