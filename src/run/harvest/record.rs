//! What the collector says to sbx, as lines of text on a pipe: counts, warnings, and why it
//! stopped. Names are shown as text of one line.

use std::fmt;

use crate::image::pack::{self, Fault};
use crate::run::harvest::{Counts, Unfit};
use crate::sys::Errno;

/// Why the collector stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is nothing at the path.
    Missing,
    /// It is not what is wanted.
    Unfit(Unfit),
    /// A place inside, or what sbx opened to be written.
    Fault(Fault),
    /// The sandbox could not be entered.
    Enter(Errno),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What the collector did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub counts: Counts,
    pub warnings: Vec<String>,
    pub failure: Option<Failure>,
    /// Whether the last line came: a collector that was killed says nothing.
    pub end: End,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Cut,
    Whole,
}

impl Record {
    /// Adds a warning, unless there are many: the pipe holds them all, so that nobody waits for a reader.
    pub fn warn(&mut self, warning: &str) {
        pack::warn(&mut self.warnings, warning);
    }

    /// Reads what [`fmt::Display`] wrote.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut record = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let number = || rest.parse().unwrap_or(0);
            let errno = |text: &str| Errno::from_raw(text.parse().unwrap_or(libc::EIO));
            let (first, second) = rest.split_once('\t').unwrap_or((rest, ""));
            let path = || second.to_owned();
            match word {
                "added" => record.counts.added = number(),
                "modified" => record.counts.modified = number(),
                "deleted" => record.counts.deleted = number(),
                "warning" => record.warnings.push(rest.to_owned()),
                "missing" => record.failure = Some(Failure::Missing),
                "no-file" => record.failure = Some(Failure::Unfit(Unfit::NotAFile)),
                "large" => record.failure = Some(Failure::Unfit(Unfit::TooLarge(number()))),
                "read" => record.failure = Some(Fault::Read { path: path(), errno: errno(first) }.into()),
                "refused" => record.failure = Some(Fault::Refused { path: path(), why: first.to_owned() }.into()),
                "write" => record.failure = Some(Fault::Write(errno(rest)).into()),
                "enter" => record.failure = Some(Failure::Enter(errno(rest))),
                "end" => record.end = End::Whole,
                _ => {}
            }
        }
        record
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { added, modified, deleted } = self.counts;
        write!(f, "added {added}\nmodified {modified}\ndeleted {deleted}\n")?;
        for warning in &self.warnings {
            writeln!(f, "warning {warning}")?;
        }
        match &self.failure {
            None => {}
            Some(Failure::Missing) => f.write_str("missing\n")?,
            Some(Failure::Unfit(Unfit::NotAFile)) => f.write_str("no-file\n")?,
            Some(Failure::Unfit(Unfit::TooLarge(size))) => writeln!(f, "large {size}")?,
            Some(Failure::Fault(Fault::Read { path, errno })) => writeln!(f, "read {}\t{path}", *errno as i32)?,
            Some(Failure::Fault(Fault::Refused { path, why })) => writeln!(f, "refused {why}\t{path}")?,
            Some(Failure::Fault(Fault::Write(errno))) => writeln!(f, "write {}", *errno as i32)?,
            Some(Failure::Enter(errno)) => writeln!(f, "enter {}", *errno as i32)?,
        }
        f.write_str("end\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Failure, Record};
    use crate::image::pack::Fault;
    use crate::run::harvest::{Counts, Unfit};
    use crate::sys::Errno;
    use crate::units::shown;

    #[test]
    fn a_record_survives_the_way() {
        for failure in [
            None,
            Some(Failure::Missing),
            Some(Failure::Unfit(Unfit::NotAFile)),
            Some(Failure::Unfit(Unfit::TooLarge(1 << 40))),
            Some(Fault::Write(Errno::ENOSPC).into()),
            Some(Fault::Read { path: shown(b"/a b\n\tc"), errno: Errno::EACCES }.into()),
            Some(Fault::Refused { path: "/x".to_owned(), why: "too deep".to_owned() }.into()),
        ] {
            let mut record =
                Record { counts: Counts { added: 1, modified: 2, deleted: 3 }, failure, ..Record::default() };
            record.warn("left out");
            assert_eq!(Record::read(&record.to_string()), Record { end: End::Whole, ..record.clone() });
        }
        assert_eq!(Record::read("added 1\n").end, End::Cut);
    }
}
