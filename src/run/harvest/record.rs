//! What the collector says to sbx, as lines of text on a pipe: counts, warnings, and why it
//! stopped. Names are shown as text of one line.

use std::fmt;

use crate::run::harvest::{Counts, Unfit};
use crate::sys::Errno;

/// As many warnings as are said; the pipe holds them all, so that nobody waits for a reader.
const WARNINGS: usize = 64;

/// Why the collector stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is nothing at the path.
    Missing,
    /// It is not what is wanted.
    Unfit(Unfit),
    /// A place inside could not be read.
    Read { path: String, errno: Errno },
    /// A place inside cannot be kept, for this reason.
    Refused { path: String, why: String },
    /// What sbx opened takes no more.
    Write(Errno),
    /// The sandbox could not be entered.
    Enter(Errno),
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
    /// Adds a warning, unless there are many.
    pub fn warn(&mut self, warning: String) {
        if self.warnings.len() < WARNINGS {
            self.warnings.push(warning.chars().take(300).collect());
        } else if self.warnings.len() == WARNINGS {
            self.warnings.push("more was left out, which is not listed".to_owned());
        }
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
            match word {
                "added" => record.counts.added = number(),
                "modified" => record.counts.modified = number(),
                "deleted" => record.counts.deleted = number(),
                "warning" => record.warnings.push(rest.to_owned()),
                "missing" => record.failure = Some(Failure::Missing),
                "no-file" => record.failure = Some(Failure::Unfit(Unfit::NotAFile)),
                "large" => record.failure = Some(Failure::Unfit(Unfit::TooLarge(number()))),
                "read" => {
                    record.failure = Some(Failure::Read { path: second.to_owned(), errno: errno(first) });
                }
                "refused" => {
                    record.failure = Some(Failure::Refused { path: second.to_owned(), why: first.to_owned() });
                }
                "write" => record.failure = Some(Failure::Write(errno(rest))),
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
            Some(Failure::Read { path, errno }) => writeln!(f, "read {}\t{path}", *errno as i32)?,
            Some(Failure::Refused { path, why }) => writeln!(f, "refused {why}\t{path}")?,
            Some(Failure::Write(errno)) => writeln!(f, "write {}", *errno as i32)?,
            Some(Failure::Enter(errno)) => writeln!(f, "enter {}", *errno as i32)?,
        }
        f.write_str("end\n")
    }
}

/// Returns the bytes of a name as text of one line.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{End, Failure, Record, shown};
    use crate::run::harvest::{Counts, Unfit};
    use crate::sys::Errno;

    #[test]
    fn a_record_survives_the_way() {
        for failure in [
            None,
            Some(Failure::Missing),
            Some(Failure::Unfit(Unfit::NotAFile)),
            Some(Failure::Unfit(Unfit::TooLarge(1 << 40))),
            Some(Failure::Write(Errno::ENOSPC)),
            Some(Failure::Read { path: shown(b"/a b\n\tc"), errno: Errno::EACCES }),
            Some(Failure::Refused { path: "/x".to_owned(), why: "too deep".to_owned() }),
        ] {
            let mut record =
                Record { counts: Counts { added: 1, modified: 2, deleted: 3 }, failure, ..Record::default() };
            record.warn("left out".to_owned());
            assert_eq!(Record::read(&record.to_string()), Record { end: End::Whole, ..record.clone() });
        }
        assert_eq!(Record::read("added 1\n").end, End::Cut);
    }
}
