//! Programs that ask for names by TCP (RFC 7766). What is answered is `lookup`'s.

use std::os::fd::OwnedFd;

use crate::gateway::lookups::{Asker, Whom};
use crate::gateway::slab::Key;
use crate::gateway::state::State;
use crate::gateway::token::{Kind, Token};
use crate::sys::poller::Interest;
use crate::sys::{Errno, socket};

/// How many there are at once; more are reset.
const MOST: usize = 64;
/// How long one may be silent.
const IDLE: u64 = 10_000_000_000;
/// Bytes of answers that one who does not read them may leave before no more is read of what it asks.
const UNREAD: usize = 64 << 10;
/// Pieces of questions that are read before others have their turn.
const AT_ONCE: usize = 4;

impl State {
    /// Takes a program that asks.
    pub fn admit_asker(&mut self, socket: OwnedFd) {
        if self.askers.len() >= MOST {
            socket::reset_on_close(&socket).ok();
            return;
        }
        let until = self.now() + IDLE;
        let (poller, mut added) = (&self.poller, Ok(()));
        let key = self.askers.insert_with(|key| {
            added = poller.add(&socket, Token::of(Kind::Asker, key).bits(), Interest::Changes);
            Asker { socket, input: Vec::new(), output: Vec::new(), until, waiting: 0, ended: false }
        });
        match added {
            Ok(()) => self.look_at_asker(key),
            Err(_) => self.drop_asker(key),
        }
    }

    /// Reads the questions that came, and writes the answers that there are.
    pub fn look_at_asker(&mut self, key: Key) {
        let now = self.now();
        self.write_to_asker(key);
        for taken in 0.. {
            let Some(asker) = self.askers.get_mut(key) else { return };
            // There is an event when it has read.
            if asker.ended || asker.output.len() > UNREAD {
                break;
            }
            if taken == AT_ONCE {
                self.ready.insert(Token::of(Kind::Asker, key));
                break;
            }
            match socket::receive(&asker.socket, &mut self.means.scratch[..4096]) {
                Ok(0) => asker.ended = true,
                Ok(count) => {
                    asker.input.extend_from_slice(&self.means.scratch[..count]);
                    asker.until = now + IDLE;
                    self.take_questions(key);
                }
                Err(Errno::EAGAIN) => break,
                Err(_) => return self.drop_asker(key),
            }
        }
        let Some(asker) = self.askers.get_mut(key) else { return };
        let done = asker.ended && asker.waiting == 0 && asker.output.is_empty();
        if done || now >= asker.until {
            return self.drop_asker(key);
        }
        self.timers.set(Token::of(Kind::Asker, key), asker.until);
    }

    fn take_questions(&mut self, key: Key) {
        while let Some(message) = self.askers.get_mut(key).and_then(|asker| message(&mut asker.input)) {
            if let Some(asker) = self.askers.get_mut(key) {
                asker.waiting += 1;
            }
            self.asked(&message, Whom::Stream(key));
        }
    }

    /// Writes an answer, with its length before it, to who asked; who is gone misses it.
    pub fn tell_asker(&mut self, key: Key, framed: &[u8]) {
        if let Some(asker) = self.askers.get_mut(key) {
            asker.waiting = asker.waiting.saturating_sub(1);
            asker.output.extend_from_slice(framed);
            self.write_to_asker(key);
        }
    }

    fn write_to_asker(&mut self, key: Key) {
        let Some(asker) = self.askers.get_mut(key) else { return };
        while !asker.output.is_empty() {
            match socket::send(&asker.socket, &asker.output) {
                Ok(count) => drop(asker.output.drain(..count)),
                Err(Errno::EAGAIN) => return,
                Err(_) => return self.drop_asker(key),
            }
        }
    }

    fn drop_asker(&mut self, key: Key) {
        self.timers.forget(Token::of(Kind::Asker, key));
        drop(self.askers.remove(key));
    }
}

/// Takes one message from the front of what came.
fn message(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let message = rest.get(..length)?.to_vec();
    input.drain(..2 + length);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn messages_are_cut_by_their_length() {
        let mut input = vec![0, 2, b'a', b'b', 0, 0, 0, 3, b'c'];
        assert_eq!(message(&mut input), Some(b"ab".to_vec()));
        assert_eq!(message(&mut input), Some(Vec::new()));
        assert_eq!(message(&mut input), None);
        input.extend_from_slice(b"de");
        assert_eq!(message(&mut input), Some(b"cde".to_vec()));
        assert!(input.is_empty());
    }
}
