//! Which listeners are waited for: each while there is room for what it brings, and as long as it listens at all.

use std::os::fd::OwnedFd;

use crate::gateway::state::State;
use crate::gateway::stream::Way;
use crate::gateway::token::{Kind, Token};
use crate::spec::Protocol;
use crate::sys::poller::Interest;
use crate::sys::{Errno, Sys};

/// After what time a machine without memory or descriptors is asked again.
const PAUSE: u64 = 100_000_000;

impl State {
    /// Returns whether one more stream may begin. Those from outside leave half of all to the sandbox: who fills its
    /// published ports does not close its way out.
    #[must_use]
    pub fn has_room(&self, way: Way) -> bool {
        let of_way = match way {
            Way::Outward => true,
            Way::Inward => self.inward < self.most_streams / 2,
        };
        of_way && self.streams.len() < self.most_streams
    }

    /// Takes connections (again).
    ///
    /// # Errors
    /// What the kernel did not give.
    pub fn watch_listeners(&mut self, way: Way) -> Sys<()> {
        self.left[way as usize] = false;
        let mut listeners = self.listeners(way);
        listeners.try_for_each(|(listener, token)| self.poller.add(listener, token.bits(), Interest::Readable))
    }

    /// Lets connections wait until there is room.
    pub fn leave_listeners(&mut self, way: Way) {
        self.left[way as usize] = true;
        for (listener, _) in self.listeners(way) {
            // One that is not waited for is left alone already.
            self.poller.remove(listener).ok();
        }
    }

    /// Takes connections again if there is room for them.
    pub fn make_room(&mut self) {
        for way in [Way::Outward, Way::Inward] {
            let waits = self.left[way as usize] && !self.stopping;
            if waits && self.has_room(way) && self.watch_listeners(way).is_err() {
                self.leave_listeners(way);
                self.timers.set(Token::numbered(Kind::Room, 0), self.now() + PAUSE);
            }
        }
    }

    /// Does what there is to do about a listener that gave no connection.
    pub fn accept_failed(&mut self, token: Token, errno: Errno) {
        match errno {
            Errno::EAGAIN => {}
            // A module of security may say no for as long as it likes, and the connection stays where it is.
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EPERM | Errno::EACCES => {
                self.leave_listeners(Way::Outward);
                self.leave_listeners(Way::Inward);
                self.timers.set(Token::numbered(Kind::Room, 0), self.now() + PAUSE);
            }
            // It listens no more: root of the sandbox can destroy it (SOCK_DESTROY), and epoll(7) never tires of saying so.
            _ => {
                let gone = self.all_listeners().find(|(_, _, it)| *it == token);
                // One that is not waited for is left alone already.
                gone.map(|(listener, ..)| self.poller.remove(listener).ok());
                self.gone.insert(token);
            }
        }
    }

    fn listeners(&self, way: Way) -> impl Iterator<Item = (&OwnedFd, Token)> {
        let all = self.all_listeners().filter(move |(_, of, token)| *of == way && !self.gone.contains(token));
        all.map(|(listener, _, token)| (listener, token))
    }

    fn all_listeners(&self) -> impl Iterator<Item = (&OwnedFd, Way, Token)> {
        let inner = self.inlets.tcp.iter().enumerate();
        let inner = inner.map(|(number, it)| (it, Way::Outward, Token::numbered(Kind::Listener, number)));
        let outer = self.inlets.published.iter().enumerate();
        let outer = outer.filter(|(_, bound)| bound.publish.protocol == Protocol::Tcp);
        inner.chain(outer.map(|(number, it)| (&it.socket, Way::Inward, Token::numbered(Kind::Published, number))))
    }
}
