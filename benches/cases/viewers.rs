//! From a publisher's message to the connections of thousands of viewers, without the kernel: the owner's part and the pump.

use crate::film::GOP_MS;
use crate::{Case, Film};
use ahash::RandomState;
use bytes::Bytes;
use srs_shard::formats::message::{Message, WireTime};
use srs_shard::stats::reason::CloseReason;
use srs_shard::stream::encode::Format;
use srs_shard::stream::hub::{Event, Hub};
use srs_shard::stream::post::{SourceId, StreamKey};
use srs_shard::stream::settings::{Cadence, Settings};
use srs_shard::stream::viewer::Wanted;
use srs_shard::stream::wire::{Taken, Wire};
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;

const VIEWERS: usize = 10_000;
/// Then a stream begins anew: from 2^24 ms on RTMP's messages are 4 bytes longer (Adobe RTMP §5.3.1.3).
const MAX_LAPS: u32 = (1 << 24) / GOP_MS - 10;
const FORMAT: Format = Format::Rtmp { chunk_bytes: 60_000 };

/// A connection that takes everything at once, and counts it.
struct Sink {
    taken: Rc<Cell<u64>>,
    /// What a real connection's state takes, so that caches are as full as they would be.
    _state: [u64; 6],
}

impl Wire for Sink {
    fn ready(&self) -> bool {
        true
    }
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<Taken> {
        let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
        self.taken.set(self.taken.get() + bytes as u64);
        Ok(Taken::All)
    }
    fn park(&self, _: Bytes) {}
    fn push_private(&self, _: &[u8]) {}
    fn flush(&self) {}
    fn bound_unsent(&self, _: u32) {}
    fn end(&self, _: CloseReason) {}
    fn close(&self, _: CloseReason) {}
}

/// One shard: a publisher, its stream, and viewers.
struct Shard {
    hub: Hub<Sink>,
    source: SourceId,
    key: StreamKey,
    settings: Arc<Settings>,
    film: Film,
    lap: u32,
    next: usize,
    now_ms: u64,
    taken: Rc<Cell<u64>>,
}

impl Shard {
    /// With so many viewers who have all there is.
    fn new(viewers: usize) -> Shard {
        let settings = Arc::new(Settings { cadence: Cadence::Fixed { ms: 0 }, ..Settings::default() });
        let mut hub = Hub::new(0, |_| 0, RandomState::with_seeds(1, 2, 3, 4));
        let key: StreamKey = "v/live/s".into();
        let source = hub.publish(&key, 1, &settings);
        hub.turn(0, 0);
        assert!(matches!(hub.take_events()[..], [Event::Granted(_)]), "the stream is ours");
        let taken = Rc::new(Cell::new(0));
        let mut shard =
            Shard { hub, source, key, settings, film: Film::default(), lap: 0, next: 0, now_ms: 0, taken };
        let headers = shard.film.headers.clone();
        shard.hub.media(shard.source, headers);
        shard.publish(shard.film.messages.len());
        (0..viewers).for_each(|_| shard.join());
        shard.drive();
        shard
    }

    fn join(&mut self) {
        let sink = Sink { taken: Rc::clone(&self.taken), _state: [0; 6] };
        self.hub.join(&self.key, FORMAT, &self.settings, sink, Wanted::default());
    }

    /// The publisher's next messages, in one turn.
    fn publish(&mut self, messages: usize) {
        let mut turn = Vec::with_capacity(messages);
        for _ in 0..messages {
            let message = &self.film.messages[self.next];
            let time = WireTime(message.time.0 + self.lap * GOP_MS);
            self.now_ms = u64::from(time.0);
            turn.push(Message { time, ..message.clone() });
            self.next += 1;
            if self.next == self.film.messages.len() {
                (self.next, self.lap) = (0, self.lap + 1);
            }
        }
        self.hub.media(self.source, turn);
        self.drive();
    }

    /// Turns until nothing is left to do.
    fn drive(&mut self) {
        loop {
            let end = self.hub.turn(self.now_ms, 0);
            match end.next_ms {
                _ if end.again => {}
                // Audio that waits for a picture.
                Some(next_ms) if next_ms <= self.now_ms + 50 => self.now_ms = next_ms,
                _ => break,
            }
        }
        self.hub.take_posts(|_, _| {});
        self.hub.take_events();
    }
}

/// A case of a shard: each run publishes so many messages, so often.
fn served(name: &'static str, viewers: usize, turns: u64, messages: usize) -> Case {
    let mut shard = Shard::new(viewers);
    let runs = turns * messages as u64;
    // A lap of the film is a multiple of a run, so each run sees as many bytes as the lap's share of it.
    let all = shard.film.messages.len() as u64;
    assert_eq!(runs % all, 0, "{name}: whole laps");
    let mut run = move || {
        if shard.lap >= MAX_LAPS {
            shard = Shard::new(viewers);
        }
        let before = shard.taken.get();
        (0..turns).for_each(|_| shard.publish(messages));
        shard.taken.get() - before
    };
    let bytes = run();
    let elements = turns * viewers.max(1) as u64;
    Case { name, elements, bytes, run: Box::new(run), expected: bytes }
}

/// A stream that nobody watches but one: timeline, encoder, block, seal, and one send, per message.
pub fn own() -> Case {
    served("stream/own, 1 viewer", 1, 136, 1)
}

/// Ten thousand viewers in step, each message on its own: what the pump does for one of them.
pub fn in_step() -> Case {
    served("pump/10000 in step, each message", VIEWERS, 136, 1)
}

/// The same, 17 messages (250 ms) in one block.
pub fn merged() -> Case {
    served("pump/10000 in step, merged", VIEWERS, 8, 17)
}

/// A thousand viewers who come and get the current GOP.
pub fn catch_up() -> Case {
    const NEWCOMERS: u64 = 1_000;
    let mut shard = Shard::new(1);
    let run = move || {
        if shard.lap >= MAX_LAPS {
            shard = Shard::new(1);
        }
        // A fresh GOP, in blocks as they are cut for those in step.
        while shard.next != 68 {
            shard.publish(1);
        }
        let before = shard.taken.get();
        let ids: Vec<_> = (0..NEWCOMERS)
            .map(|_| {
                let sink = Sink { taken: Rc::clone(&shard.taken), _state: [0; 6] };
                shard.hub.join(&shard.key, FORMAT, &shard.settings, sink, Wanted::default())
            })
            .collect();
        shard.drive();
        let bytes = shard.taken.get() - before;
        ids.into_iter().for_each(|id| drop(shard.hub.leave(id)));
        bytes
    };
    let mut run: Box<dyn FnMut() -> u64> = Box::new(run);
    run();
    let bytes = run();
    assert!(bytes > NEWCOMERS * 20_000, "each gets most of a GOP: {bytes}");
    Case { name: "pump/1000 newcomers", elements: NEWCOMERS, bytes, run, expected: bytes }
}
