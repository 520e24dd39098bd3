//! What the first bytes of a stream say: the words between those who read them and those who judge.

use crate::domain::DomainName;

/// What the bytes that came so far say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// More have to come.
    Undecided,
    Told(Told),
}

/// The most that a hello or the head of a request may have; who sends more is refused.
pub const LONGEST: usize = 32 << 10;

/// What the first bytes of a connection say about its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// TLS or HTTP, to these hosts: what a request names twice must be allowed twice.
    Names(Vec<DomainName>),
    /// TLS or HTTP without the name of a host.
    Nameless,
    /// The beginning of TLS or HTTP, and then something else, or a name that is none.
    Unreadable,
    /// Neither TLS nor HTTP.
    Other,
}
