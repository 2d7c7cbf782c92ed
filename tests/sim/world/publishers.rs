//! Publishers: they ask, are granted or refused, send what their scripts say, and leave or die.

use super::*;
use crate::script::{self, Script};
use srs_shard::formats::message::{Kind, Message};
use srs_shard::stream::hub::PUBLISH_CREDIT_BYTES;
use srs_shard::stream::post::SourceId;

/// Bytes a publisher's connection reads in one go.
const READ_BYTES: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Planned,
    Asking,
    Live,
    Over,
}

pub(super) struct Session {
    pub(super) rng: Rng,
    pub(super) stream: usize,
    pub(super) shard: usize,
    pub(super) source: Option<SourceId>,
    pub(super) state: State,
    pub(super) starts_ms: u64,
    pub(super) ends_ms: u64,
    /// Sends nothing from then on, without leaving.
    pub(super) hangs_ms: u64,
    /// Sends a message then that breaks the stream.
    pub(super) bomb_ms: u64,
    pub(super) live_ms: u64,
    pub(super) left_ms: u64,
    pub(super) asked_ms: u64,
    pub(super) script: Script,
    pub(super) made: Vec<Message>,
    pub(super) made_at: usize,
    /// Frames that the server has read.
    pub(super) sent: u32,
    pub(super) room: bool,
    pub(super) room_lost_ms: u64,
    pub(super) uncredited: i64,
    pub(super) most_bytes: (usize, usize),
}

impl World {
    pub(super) fn session_step(&mut self, n: usize) {
        let (now, shard) = (self.now, self.sessions[n].shard);
        let session = &mut self.sessions[n];
        if self.shards[shard].stalled_until > now {
            return;
        }
        let stream = &mut self.streams[session.stream];
        match session.state {
            State::Planned if session.starts_ms <= now => {
                let nonce = session.script.nonce();
                let hub = &mut self.shards[shard].hub;
                let source = hub.publish(&stream.key, u64::from(nonce), &self.vhosts[stream.vhost].settings);
                trace!(
                    now,
                    "session {n} (nonce {nonce}) of {} asks on shard {shard}: {source:?}", stream.key
                );
                session.source = Some(source);
                session.state = State::Asking;
                session.asked_ms = now;
                session.uncredited = 0;
            }
            State::Asking | State::Live if session.ends_ms <= now => {
                trace!(now, "session {n} leaves shard {shard}, {:?}", session.state);
                self.shards[shard].hub.unpublish(session.source.unwrap());
                session.state = State::Over;
                session.left_ms = now;
            }
            State::Live if session.hangs_ms > now => {
                let elapsed = now - session.live_ms;
                let facts = &mut stream.ledger.sessions[session.script.nonce() as usize];
                session.script.make(elapsed, now, &mut session.rng, facts, &mut session.made);
                if session.bomb_ms <= now {
                    trace!(now, "session {n} sends what breaks {}", stream.key);
                    session.bomb_ms = u64::MAX;
                    session.made.push(bomb::message(session.stream));
                }
                if !self.send(n) {
                    return;
                }
            }
            _ => return,
        }
        self.shards[shard].touched = true;
        self.collect(shard);
    }

    /// Gives the hub what was read, if it takes it; false if there was nothing to give.
    fn send(&mut self, n: usize) -> bool {
        let session = &mut self.sessions[n];
        if !session.room {
            if self.calm && self.now - session.room_lost_ms.max(self.calm_ms) > 3_000 {
                violated("room-comes", format!("session {n} waits since {}", session.room_lost_ms));
            }
            return false;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < READ_BYTES && session.made_at < session.made.len() {
            let message = std::mem::replace(
                &mut session.made[session.made_at],
                Message { kind: Kind::Data, time: Default::default(), payload: Default::default() },
            );
            session.made_at += 1;
            bytes += message.held_bytes();
            session.sent += u32::from(script::is_frame(&message));
            batch.push(message);
        }
        if session.made_at == session.made.len() {
            session.made.clear();
            session.made_at = 0;
        }
        if batch.is_empty() {
            return false;
        }
        session.uncredited += bytes as i64;
        let most = PUBLISH_CREDIT_BYTES + (READ_BYTES + session.most_bytes.0) as i64;
        let stream = &self.streams[session.stream];
        if session.shard != stream.owner && session.uncredited > most {
            violated("credit", format!("session {n} has {} bytes under way", session.uncredited));
        }
        session.room = self.shards[session.shard].hub.media(session.source.unwrap(), batch);
        session.room_lost_ms = self.now;
        self.tally.note(Tried::Starved, u64::from(!session.room));
        true
    }
}
