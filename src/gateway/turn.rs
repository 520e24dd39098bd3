//! Lets everything that a gateway keeps have its turn, until it is told to end. It judges nothing.

use std::time::Duration;

use crate::gateway::Ledger;
use crate::gateway::state::State;
use crate::gateway::stream::End;
use crate::gateway::token::{Kind, Token};
use crate::sys::poller::Happened;
use crate::sys::{Sys, time};

/// How long what a program sent before it ended may take to go out.
const LAST: u64 = 2_000_000_000;
/// How long it may stand still, besides what the network is made slower.
const STILL: u64 = 500_000_000;

/// Serves until it is told to end; returns what happened.
pub fn serve(mut state: State) -> Ledger {
    let mut happened = Vec::with_capacity(256);
    while !state.stopping {
        if turn(&mut state, &mut happened, None).is_err() {
            break;
        }
    }
    let_out(&mut state, &mut happened);
    state.cut_streams();
    state.files.lower();
    state.record.close()
}

/// Lets go out what was sent already. Nothing of the sandbox lives any more, so nothing more comes.
fn let_out(state: &mut State, happened: &mut Vec<Happened>) {
    state.now_is(time::monotonic());
    let (end, mut still) = (state.now() + LAST, state.now());
    // A handshake, and the way of what follows it.
    let patience = STILL.saturating_add(state.links[0].as_ref().map_or(0, |link| link.latency().saturating_mul(3)));
    let mut owed = (usize::MAX, 0);
    state.begin_last();
    while state.now() < end && state.now() < still.saturating_add(patience) {
        let waits = state.admit_last();
        let owes = state.owes();
        if owes.0 == 0 && !waits {
            return;
        }
        if owes != owed {
            (owed, still) = (owes, state.now());
        }
        let most = if waits { Duration::ZERO } else { Duration::from_millis(10) };
        if turn(state, happened, Some(most)).is_err() {
            return;
        }
    }
}

fn turn(state: &mut State, happened: &mut Vec<Happened>, most: Option<Duration>) -> Sys<()> {
    let until = |time: u64| Duration::from_nanos(time.saturating_sub(time::monotonic_often()));
    let timeout = if state.ready.is_empty() { state.timers.next().map(until) } else { Some(Duration::ZERO) };
    let timeout = timeout.into_iter().chain(most).min();
    state.poller.wait(happened, timeout)?;
    state.now_is(time::monotonic_often());
    for happened in happened.drain(..) {
        dispatch(state, happened);
    }
    // Those that are put there now have their turn next time, once each.
    for token in std::mem::take(&mut state.ready) {
        look(state, token);
    }
    while let Some(token) = state.timers.due(state.now()) {
        look(state, token);
    }
    Ok(())
}

fn dispatch(state: &mut State, happened: Happened) {
    let token = Token::from_bits(happened.token);
    let end = match token.kind() {
        Some(Kind::Client) => End::Client,
        Some(Kind::Server) => End::Server,
        _ => return look(state, token),
    };
    if let Some(stream) = state.streams.get_mut(token.key()) {
        stream.happened(end, happened);
        state.turn_stream(token.key());
    }
}

fn look(state: &mut State, token: Token) {
    match token.kind() {
        Some(Kind::Stop) => state.stopping = true,
        Some(Kind::Listener) => {
            state.admit(token.number());
        }
        Some(Kind::Published) => state.admit_published(token.number()),
        Some(Kind::Client | Kind::Server) => state.turn_stream(token.key()),
        Some(Kind::Room) => state.make_room(),
        Some(Kind::Datagrams) => {
            state.take_datagrams(token.number());
        }
        Some(Kind::PublishedDatagrams) => state.take_published(token.number()),
        Some(Kind::Echoes) => state.take_echoes(token.number()),
        Some(Kind::Flow) => state.look_at_flow(token.key()),
        Some(Kind::Lane) => state.move_lane(token.number()),
        Some(Kind::Asker) => state.look_at_asker(token.key()),
        Some(Kind::Query) => state.look_at_query(token.key()),
        None => {}
    }
}
