//! Reads a spec and applies what the command line changes: from here on there is one
//! `Spec`, whoever said what.

use std::path::{Path, PathBuf};

use crate::app::extended::{self, Chain, First};
use crate::app::{edit, network, script};
use crate::cli;
use crate::error::{Error, Kind, Result};
use crate::run::c_text::path_text;
use crate::spec::diagnostic::{self, Finding, UNKNOWN};
use crate::spec::input::{File, Input};
use crate::spec::param::Setting;
use crate::spec::parse;
use crate::spec::{Spec, carried};
use crate::sys::{Errno, Fd, fd, watch};
use crate::testing::snapshot;
use crate::units::{Origin, SpecText};

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
    /// What the spec extends, if it does.
    chain: Chain,
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
        let mut read = Self { name, path, base, bytes, carried, text, chain: Chain::default() };
        if let Ok(spec) = read.spec() {
            let length = read.text.len().max(read.bytes.len());
            let first = First { name: &read.name, path: &read.path, base: &read.base, length };
            read.chain = extended::follow(first, spec);
        }
        Ok(read)
    }

    /// Returns what is read as the spec: all of the text, or what a script carries.
    fn spec(&self) -> std::result::Result<&[u8], &Finding> {
        match &self.carried {
            None => Ok(&self.bytes),
            Some(carried) => carried.as_deref(),
        }
    }

    /// Returns the spec that is written here, with its parameters set as `settings` say.
    ///
    /// # Errors
    /// All mistakes of the text and of what it extends.
    pub fn parse(&self, settings: &[Setting]) -> std::result::Result<Spec, Vec<Finding>> {
        let spec = self.with_input(settings, parse::parse_files)?;
        let findings = snapshot::unstorable(&self.path, &spec.tests);
        if !findings.is_empty() {
            return Err(findings);
        }
        if self.carried.is_some() { script::with_file(spec, &self.path) } else { Ok(spec) }
    }

    /// Returns the names of the parameters that the text and what it extends declare.
    ///
    /// # Errors
    /// Mistakes that may hide more, which are told when the text is parsed: those that are found all the same.
    pub fn parameters(&self) -> std::result::Result<Vec<String>, Vec<String>> {
        self.with_input(&[], |input| Ok(parse::parameters(input))).unwrap_or(Err(Vec::new()))
    }

    /// Returns the spec that is written here as one that extends nothing and has no parameters. That of a script
    /// shows the script to its command, as beside it.
    ///
    /// # Errors
    /// All mistakes of the text and of what it extends.
    pub fn flatten(&self, settings: &[Setting]) -> std::result::Result<String, Vec<Finding>> {
        self.parse(settings)?;
        let script = self.carried.as_ref().and_then(|_| script::names(&self.path));
        self.with_input(settings, |input| parse::flatten(input, self.as_spec(), script.as_ref()))
    }

    fn with_input<T>(
        &self,
        settings: &[Setting],
        then: impl FnOnce(Input<'_>) -> std::result::Result<T, Vec<Finding>>,
    ) -> std::result::Result<T, Vec<Finding>> {
        let own = self.spec().map_err(|finding| vec![finding.clone()])?;
        let mut files = vec![File { text: own, start: 0, directory: "" }];
        files.extend(self.chain.files());
        then(Input { files: &files, settings, missing: self.chain.missing.as_ref() })
    }

    /// Returns whether the text is a script that carries its spec.
    #[must_use]
    pub fn is_script(&self) -> bool {
        self.carried.is_some()
    }

    /// Returns whether all of the file was read, of which no spec is as large as what is read at most.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.bytes.len() < READ_MAX
    }

    /// Returns the absolute paths of all files that the spec is made of, itself first.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        std::iter::once(self.path.clone()).chain(self.chain.paths()).collect()
    }

    /// Returns the bytes of all files that the spec is made of, its own first.
    pub fn all_bytes(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.bytes.as_slice()).chain(self.chain.files().map(|file| file.text))
    }

    /// Returns the text with its name and that of what it extends, for messages.
    #[must_use]
    pub fn as_spec(&self) -> SpecText<'_> {
        SpecText { name: &self.name, text: &self.text, extended: &self.chain.shown }
    }

    /// Returns the name of the file in which `origin` lies, the line and the column; the beginning of the text for what
    /// was written nowhere.
    #[must_use]
    pub fn place(&self, origin: Origin) -> (&str, (usize, usize)) {
        match origin {
            Origin::Spec(span) => self.as_spec().place(span),
            Origin::CommandLine | Origin::Image | Origin::Default => (&self.name, (1, 1)),
        }
    }

    /// Draws `findings` over the text.
    #[must_use]
    pub fn draw(&self, findings: &[Finding]) -> String {
        let colour = match crate::app::colour() {
            crate::report::text::Colour::Plain => diagnostic::Colour::Never,
            crate::report::text::Colour::Ansi => diagnostic::Colour::Always,
        };
        diagnostic::draw(self.as_spec(), findings, colour)
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
    let settings = settings(&request.set).map_err(Mistake::Error)?;
    let mut spec = text.parse(&settings).map_err(Mistake::Findings)?;
    edit::apply(&mut spec, request).map_err(Mistake::Error)?;
    network::complete(&mut spec).map_err(Mistake::Error)?;
    Ok(spec)
}

/// Returns what the words of `--set` say.
///
/// # Errors
/// A word that is not NAME=VALUE, or a name that comes twice.
pub fn settings(words: &[String]) -> Result<Vec<Setting>> {
    let mut settings: Vec<Setting> = Vec::with_capacity(words.len());
    for word in words {
        let wrong = |why: &str| {
            let message = format!("`--set {}`: {why}", word.escape_debug());
            Error::new(Kind::Usage, message).at(Origin::CommandLine)
        };
        let (name, value) = word.split_once('=').ok_or_else(|| wrong("must be NAME=VALUE"))?;
        if settings.iter().any(|setting| setting.name == name) {
            return Err(wrong("the parameter is set twice"));
        }
        settings.push(Setting { name: name.to_owned(), value: value.to_owned() });
    }
    Ok(settings)
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

/// Returns a finding as an error. Without a help it is the words at the caret that say what is expected, if they do.
#[must_use]
pub fn told(finding: &Finding) -> Error {
    let error = Error::new(Kind::Spec, finding.message.clone()).at(Origin::Spec(finding.span));
    let label = Some(&finding.label).filter(|label| !label.is_empty() && *label != UNKNOWN);
    match finding.help.as_ref().or(label) {
        Some(help) => error.with_hint(help),
        None => error,
    }
}
