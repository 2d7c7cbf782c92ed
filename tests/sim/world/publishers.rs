//! Publishers: they ask, are granted or refused, send what their scripts say, and leave or die.

use super::*;

impl World {
    pub(super) fn session_step(&mut self, n: usize) {
        let (now, shard) = (self.now, self.sessions[n].shard);
        let session = &mut self.sessions[n];
        if self.shards[shard].stalled_until > now {
            return;
        }
        match session.state {
            State::Planned if session.starts_ms <= now => {
                let stream = &self.streams[session.stream];
                let nonce = session.script.nonce();
                let hub = &mut self.shards[shard].hub;
                let source = hub.publish(&stream.key, u64::from(nonce), &session.settings);
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
                let facts =
                    &mut self.streams[session.stream].ledger.sessions[session.script.nonce() as usize];
                session.script.make(elapsed, now, &mut self.rng, facts, &mut session.made);
                self.send(n);
            }
            _ => return,
        }
        self.shards[shard].touched = true;
        self.collect(shard);
    }

    pub(super) fn send(&mut self, n: usize) {
        let session = &mut self.sessions[n];
        if !session.room {
            if self.calm && self.now - session.room_lost_ms.max(self.calm_ms) > 3_000 {
                violated("room-comes", format!("session {n} waits since {}", session.room_lost_ms));
            }
            return;
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
            if matches!(message.kind, Kind::Audio | Kind::Video) && message.payload.len() > 10 {
                session.sent += 1;
            }
            batch.push(message);
        }
        if session.made_at == session.made.len() {
            session.made.clear();
            session.made_at = 0;
        }
        if batch.is_empty() {
            return;
        }
        session.uncredited += bytes as i64;
        let most = PUBLISH_CREDIT_BYTES + (READ_BYTES + session.most_bytes.0) as i64;
        let stream = &self.streams[session.stream];
        if session.shard != stream.owner && session.uncredited > most {
            violated("credit", format!("session {n} has {} bytes under way", session.uncredited));
        }
        session.room = self.shards[session.shard].hub.media(session.source.unwrap(), batch);
        session.room_lost_ms = self.now;
    }
}
