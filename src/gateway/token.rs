//! What an event or a timer is about, as the one number that the kernel hands back.

use crate::gateway::slab::Key;

/// What something happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// The gateway is told to end.
    Stop,
    /// A listener of the sandbox, by number.
    Listener,
    /// A published port, by number.
    Published,
    /// A UDP socket of the sandbox, by number.
    Datagrams,
    /// An ICMP socket of the sandbox, by number.
    Echoes,
    /// The end of a stream that came.
    Client,
    /// The end of a stream that was dialed.
    Server,
    /// A program that asks for names by TCP.
    Asker,
    /// A query to a resolver.
    Query,
    /// A flow of datagrams.
    Flow,
    /// A published UDP port, by number.
    PublishedDatagrams,
    /// Datagrams under way, by direction.
    Lane,
    /// Whether more streams can be taken.
    Room,
}

const KINDS: [Kind; 13] = [
    Kind::Stop,
    Kind::Listener,
    Kind::Published,
    Kind::Datagrams,
    Kind::Echoes,
    Kind::Client,
    Kind::Server,
    Kind::Asker,
    Kind::Query,
    Kind::Flow,
    Kind::PublishedDatagrams,
    Kind::Lane,
    Kind::Room,
];

/// A kind and which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

impl Token {
    /// Names something that is kept in a slab.
    #[must_use]
    pub fn of(kind: Kind, key: Key) -> Self {
        Self((kind as u64) << 56 | key.bits())
    }

    /// Names something by its number.
    #[must_use]
    pub fn numbered(kind: Kind, number: usize) -> Self {
        Self((kind as u64) << 56 | (number as u64 & 0xffff_ffff))
    }

    /// Returns the token with these bits.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Returns the kind; `None` for bits that were never a token's.
    #[must_use]
    pub fn kind(self) -> Option<Kind> {
        KINDS.get(usize::try_from(self.0 >> 56).ok()?).copied()
    }

    #[must_use]
    pub fn key(self) -> Key {
        Key::of(self.0)
    }

    #[must_use]
    pub fn number(self) -> usize {
        usize::try_from(self.0 & 0xffff_ffff).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Token};
    use crate::gateway::slab::Slab;

    #[test]
    fn every_kind_comes_back() {
        let mut slab = Slab::default();
        for (number, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            let key = slab.insert_with(|_| ());
            let token = Token::from_bits(Token::of(kind, key).bits());
            assert_eq!((token.kind(), token.key()), (Some(kind), key));
            let token = Token::numbered(kind, number);
            assert_eq!((token.kind(), token.number()), (Some(kind), number));
        }
        assert_eq!(Token::from_bits(u64::MAX).kind(), None);
    }
}
