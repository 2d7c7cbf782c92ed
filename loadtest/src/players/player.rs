//! One player: its socket, its protocol until nothing is to be learned from it any more, and what it has seen.

use super::tally::Tally;
use crate::net::{self, Moved};
use crate::times::Times;
use crate::wire::{self, Event, Wire, rtmp};
use mio::Registry;
use mio::event::Event as Readiness;
use mio::unix::SourceFd;
use socket2::Socket;
use std::os::fd::AsRawFd;

/// A stream without pictures is not parsed for longer than this by those that are not sampled.
const MAX_PARSE_NS: u64 = 10_000_000_000;

/// One receive takes up to this much; pages that are never written cost nothing.
pub(super) const SCRATCH_BYTES: usize = 1 << 20;
/// What comes is received into this, by all players.
pub(super) type Scratch = [u8];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Starting,
    Playing,
    Over,
}

/// What a player does with what comes, once it has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Parses all of it.
    Sampled,
    /// Parses until the first key picture, then discards as it comes.
    Prompt,
    /// The same, then discards at each sweep.
    Swept,
    /// Takes only so much per sweep, from the start on.
    Slow,
    /// Takes nothing.
    Stuck,
}

/// The time of a turn, and where its figures go.
pub(super) struct Turn<'t> {
    pub(super) now: u64,
    /// Latencies are measured.
    pub(super) window: bool,
    pub(super) tally: &'t mut Tally,
    /// Latencies since the last second.
    pub(super) second: &'t mut Times,
}

/// See the module.
pub(super) struct Player {
    socket: Socket,
    connect_ns: u64,
    /// When its last bytes came; when it connected, before that.
    last_ns: u64,
    bytes: u64,
    state: State,
    habit: Habit,
    /// It came while others left.
    late_comer: bool,
    seen_picture: bool,
    /// `None` once there is nothing to be learned from what comes.
    wire: Option<Box<dyn Wire>>,
    /// What its socket has not taken yet.
    out: Vec<u8>,
}

impl Player {
    pub(super) fn new(
        socket: Socket,
        wire: Box<dyn Wire>,
        habit: Habit,
        late_comer: bool,
        now: u64,
    ) -> Player {
        Player {
            socket,
            connect_ns: now,
            last_ns: now,
            bytes: 0,
            state: State::Connecting,
            habit,
            late_comer,
            seen_picture: false,
            wire: Some(wire),
            out: Vec::new(),
        }
    }

    pub(super) fn is_playing(&self) -> bool {
        self.state == State::Playing
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Whether it has not started, and has had so long for it.
    pub(super) fn is_overdue(&self, now: u64, limit_ns: u64) -> bool {
        let waits = matches!(self.state, State::Connecting | State::Starting);
        waits && now.saturating_sub(self.connect_ns) > limit_ns
    }

    /// How long nothing has come.
    pub(super) fn silence_ns(&self, now: u64) -> u64 {
        now.saturating_sub(self.last_ns)
    }

    /// Its socket is ready for something.
    pub(super) fn ready(
        &mut self,
        event: &Readiness,
        registry: &Registry,
        scratch: &mut Scratch,
        turn: &mut Turn<'_>,
    ) {
        if self.state == State::Connecting && (event.is_writable() || event.is_error()) {
            self.connected(turn);
        }
        if event.is_writable() {
            self.flush(turn.tally);
        }
        if self.state == State::Playing && self.wire.is_none() && self.habit == Habit::Stuck {
            if event.is_read_closed() || event.is_error() {
                self.end("closed by the server".into(), turn.tally);
            }
            return;
        }
        if self.state != State::Over && (event.is_readable() || event.is_read_closed()) {
            self.read(event.is_read_closed(), scratch, turn);
        }
        let discards = self.wire.is_none() && self.state == State::Playing && self.out.is_empty();
        if discards && matches!(self.habit, Habit::Swept | Habit::Slow) {
            // From here on nothing wakes us for it.
            let _ = registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()));
        }
    }

    /// Discards what is there, at most `most` bytes.
    pub(super) fn sweep(&mut self, most: usize, scratch: &mut Scratch, turn: &mut Turn<'_>) {
        if self.state == State::Playing && self.wire.is_none() {
            match self.habit {
                Habit::Swept => self.drain(false, scratch, turn),
                Habit::Slow => {
                    let moved = net::discard(&self.socket, &mut scratch[..most.min(SCRATCH_BYTES)]);
                    self.took(moved, turn);
                }
                Habit::Sampled | Habit::Prompt | Habit::Stuck => {}
            }
        }
    }

    /// Acknowledges what it has discarded, if it is to.
    pub(super) fn acknowledge(&mut self, tally: &mut Tally) {
        if self.state == State::Playing && self.wire.is_none() && self.habit != Habit::Stuck {
            rtmp::acknowledge(self.bytes, &mut self.out);
            self.flush(tally);
        }
    }

    fn connected(&mut self, turn: &mut Turn<'_>) {
        if let Ok(Some(error)) | Err(error) = self.socket.take_error() {
            return self.end(format!("connect: {error}"), turn.tally);
        }
        // Requests are small and must not wait for acknowledgements; it changes nothing for what is received.
        let _ = self.socket.set_tcp_nodelay(true);
        self.state = State::Starting;
        self.last_ns = turn.now;
        self.speak(turn, |wire, out, on| wire.connected(out, on));
    }

    /// Lets the protocol speak, and acts on what it tells.
    fn speak(
        &mut self,
        turn: &mut Turn<'_>,
        say: impl FnOnce(&mut dyn Wire, &mut Vec<u8>, &mut dyn FnMut(Event)) -> Result<(), wire::Error>,
    ) {
        let Some(mut wire) = self.wire.take() else { return };
        let mut out = std::mem::take(&mut self.out);
        let result = say(wire.as_mut(), &mut out, &mut |event| self.on_event(event, turn));
        self.out = out;
        if self.learns(turn.now) {
            self.wire = Some(wire);
        }
        self.flush(turn.tally);
        if let Err(error) = result {
            turn.tally.broken += u64::from(matches!(error, wire::Error::Broken { .. }));
            self.end(error.to_string(), turn.tally);
        }
    }

    /// Whether what comes next is to be parsed.
    fn learns(&self, now: u64) -> bool {
        self.state != State::Playing
            || match self.habit {
                Habit::Sampled => true,
                Habit::Prompt | Habit::Swept => {
                    !self.seen_picture && now.saturating_sub(self.connect_ns) < MAX_PARSE_NS
                }
                Habit::Slow | Habit::Stuck => false,
            }
    }

    fn on_event(&mut self, event: Event, turn: &mut Turn<'_>) {
        let tally = &mut *turn.tally;
        match event {
            Event::Started => {
                self.state = State::Playing;
                tally.outcome.started += 1;
                tally.playing += 1;
            }
            Event::Message { key, sent_ns } => {
                if key && !self.seen_picture {
                    self.seen_picture = true;
                    let ns = turn.now.saturating_sub(self.connect_ns);
                    if self.late_comer {
                        tally.later_picture.add_ns(ns);
                    } else {
                        tally.first_picture.add_ns(ns);
                        tally.saw += 1;
                        tally.last_saw_ns = turn.now;
                    }
                }
                if self.habit == Habit::Sampled && turn.window {
                    tally.messages += 1;
                    // What was sent before it came is the past that it starts with.
                    if let Some(sent) = sent_ns.filter(|sent| *sent >= self.connect_ns) {
                        let ns = turn.now.saturating_sub(sent);
                        tally.latency.add_ns(ns);
                        turn.second.add_ns(ns);
                    }
                }
            }
        }
    }

    fn flush(&mut self, tally: &mut Tally) {
        while !self.out.is_empty() && self.state != State::Over {
            match net::send(&self.socket, &self.out) {
                Moved::Bytes(n) => drop(self.out.drain(..n)),
                Moved::Nothing => return,
                Moved::Gone => self.end("connection lost".into(), tally),
            }
        }
    }

    fn read(&mut self, to_end: bool, scratch: &mut Scratch, turn: &mut Turn<'_>) {
        while self.wire.is_some() && self.state != State::Over {
            let (moved, bytes) = net::receive(&self.socket, scratch);
            self.took(moved, turn);
            if bytes.is_empty() {
                return;
            }
            self.speak(turn, |wire, out, on| wire.feed(bytes, out, on));
            if bytes.len() < SCRATCH_BYTES && !to_end {
                return;
            }
        }
        self.drain(to_end, scratch, turn);
    }

    /// Discards what is there. With edges one short receive is enough, unless the end is to be seen (`to_end`).
    fn drain(&mut self, to_end: bool, scratch: &mut Scratch, turn: &mut Turn<'_>) {
        while self.state == State::Playing {
            let moved = net::discard(&self.socket, scratch);
            self.took(moved, turn);
            if !matches!(moved, Moved::Bytes(n) if n >= SCRATCH_BYTES || to_end) {
                return;
            }
        }
    }

    /// Counts what was taken from the socket, and notices its end.
    fn took(&mut self, moved: Moved, turn: &mut Turn<'_>) {
        match moved {
            Moved::Bytes(0) => self.end("closed by the server".into(), turn.tally),
            Moved::Bytes(n) => self.got(n, turn),
            Moved::Nothing => {}
            Moved::Gone => self.end("connection lost".into(), turn.tally),
        }
    }

    fn got(&mut self, bytes: usize, turn: &mut Turn<'_>) {
        self.bytes += bytes as u64;
        turn.tally.bytes += bytes as u64;
        if self.state == State::Playing {
            turn.tally.silent(turn.now.saturating_sub(self.last_ns));
        }
        self.last_ns = turn.now;
    }

    /// Goes, to make place for another.
    pub(super) fn leave(&mut self, tally: &mut Tally) {
        if self.state == State::Playing {
            tally.playing -= 1;
            tally.outcome.left += 1;
            self.close();
        }
    }

    /// It is over, against its will.
    pub(super) fn end(&mut self, reason: String, tally: &mut Tally) {
        match self.state {
            State::Over => return,
            State::Playing => {
                tally.playing -= 1;
                tally.outcome.close(reason);
            }
            State::Connecting | State::Starting => tally.outcome.fail(reason),
        }
        self.close();
    }

    fn close(&mut self) {
        self.state = State::Over;
        self.wire = None;
        self.out = Vec::new();
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}
