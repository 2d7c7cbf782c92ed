//! The stream core of two shards, driven at random: publishers, viewers, cuts between them, and time.

use crate::formats::message::{Kind, Message, WireTime};
use crate::rtmp::chunk::reader::{ChunkReader, Limits};
use crate::rtmp::control::Control;
use crate::stats::reason::CloseReason;
use crate::stream::encode::Format;
use crate::stream::hub::{Event, Hub, ViewerId};
use crate::stream::post::{Post, SourceId, StreamKey, key};
use crate::stream::settings::{Cadence, Settings};
use crate::stream::viewer::Wanted;
use crate::stream::wire::{Taken, Wire};
use ahash::RandomState;
use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;

const SHARDS: u16 = 2;
const RTMP: Format = Format::Rtmp { chunk_bytes: 60_000 };

/// However publishers, viewers and posts follow each other: the core never panics, the bytes that a viewer has been
/// sent are whole messages whose numbers only grow, and at the end everybody is idle.
pub fn hub(data: &[u8]) {
    let mut world = World::new();
    let mut u = Unstructured::new(data);
    let mut steps = 0;
    while !u.is_empty() && steps < 400 && world.step(&mut u).is_ok() {
        steps += 1;
    }
    world.finish();
}

/// A viewer's connection.
#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    parked: Option<Bytes>,
    private: Vec<u8>,
    room: Option<usize>,
    over: bool,
}

impl Line {
    fn flush(&mut self) {
        if self.parked.is_none() {
            self.bytes.append(&mut self.private);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct LineWire(Rc<RefCell<Line>>);

impl Wire for LineWire {
    fn ready(&self) -> bool {
        self.0.borrow().parked.is_none()
    }
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<Taken> {
        let mut line = self.0.borrow_mut();
        assert!(line.parked.is_none(), "who is busy is left alone");
        line.flush();
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = line.room.map_or(all.len(), |room| room.min(all.len()));
        line.bytes.extend_from_slice(&all[..taken]);
        Ok(if taken == all.len() { Taken::All } else { Taken::Part(taken) })
    }
    fn park(&self, rest: Bytes) {
        assert!(self.0.borrow_mut().parked.replace(rest).is_none());
    }
    fn push_private(&self, bytes: &[u8]) {
        self.0.borrow_mut().private.extend_from_slice(bytes);
    }
    fn flush(&self) {
        self.0.borrow_mut().flush();
    }
    fn bound_unsent(&self, _: u32) {}
    fn end(&self, _: CloseReason) {
        self.0.borrow_mut().over = true;
    }
    fn close(&self, _: CloseReason) {
        self.0.borrow_mut().over = true;
    }
}

struct Watcher {
    shard: usize,
    id: ViewerId,
    line: LineWire,
}

struct World {
    hubs: Vec<Hub<LineWire>>,
    /// Posts on their way, in order from shard to shard.
    mail: [VecDeque<Post>; 2],
    keys: [StreamKey; 2],
    settings: Arc<Settings>,
    watchers: Vec<Watcher>,
    gone: Vec<LineWire>,
    sources: Vec<(usize, SourceId)>,
    now_ms: u64,
    number: u32,
}

impl World {
    fn new() -> World {
        let owner_of = |key: &str| u16::from(key.ends_with('1'));
        let hub = |me| Hub::new(me, owner_of, RandomState::with_seeds(1, 2, 3, 4));
        let settings = Settings {
            cadence: Cadence::Fixed { ms: 0 },
            queue_length_ms: 1_000,
            stale_after_ms: 300,
            feed_max_bytes: 20_000,
            ..Settings::default()
        };
        World {
            hubs: (0..SHARDS).map(hub).collect(),
            mail: Default::default(),
            keys: [key("v", "live", "0"), key("v", "live", "1")],
            settings: Arc::new(settings),
            watchers: Vec::new(),
            gone: Vec::new(),
            sources: Vec::new(),
            now_ms: 1_000,
            number: 0,
        }
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let op = u.arbitrary::<u8>()?;
        let shard = usize::from(op >> 4 & 1);
        let key = Arc::clone(&self.keys[usize::from(op >> 5 & 1)]);
        match op & 15 {
            0 if self.sources.len() < 4 => {
                let source = self.hubs[shard].publish(&key, 1 + u64::from(self.number), &self.settings);
                self.sources.push((shard, source));
            }
            1 if !self.sources.is_empty() => {
                let (shard, source) = self.sources.swap_remove(u.choose_index(self.sources.len())?);
                self.hubs[shard].unpublish(source);
            }
            2..=5 if !self.sources.is_empty() => self.media(u)?,
            6 | 7 if self.watchers.len() < 6 => {
                let line = LineWire::default();
                let wanted = Wanted { duration_ms: (op & 0xc0 == 0xc0).then_some(500), ..Wanted::default() };
                let id = self.hubs[shard].join(&key, RTMP, &self.settings, line.clone(), wanted);
                self.watchers.push(Watcher { shard, id, line });
            }
            8 if !self.watchers.is_empty() => {
                let gone = self.watchers.swap_remove(u.choose_index(self.watchers.len())?);
                self.hubs[gone.shard].leave(gone.id);
                self.gone.push(gone.line);
            }
            9 if !self.watchers.is_empty() => {
                let room = u.arbitrary::<u8>()?;
                let watcher = &self.watchers[u.choose_index(self.watchers.len())?];
                watcher.line.0.borrow_mut().room = room.checked_sub(41).map(usize::from);
                self.unpark(u.choose_index(self.watchers.len())?);
            }
            10 if !self.watchers.is_empty() => {
                let watcher = &self.watchers[u.choose_index(self.watchers.len())?];
                self.hubs[watcher.shard].pause(watcher.id, op & 0x80 != 0);
            }
            11 => {
                self.now_ms += u64::from(u.arbitrary::<u16>()? >> 4);
                self.hubs.iter_mut().for_each(|hub| hub.sweep(self.now_ms));
            }
            12 => self.deliver(shard, 1),
            13 => self.turn(shard),
            _ => self.round(),
        }
        Ok(())
    }

    fn media(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (shard, source) = self.sources[u.choose_index(self.sources.len())?];
        let mut messages = Vec::new();
        for _ in 0..u.int_in_range(1..=4u8)? {
            let op = u.arbitrary::<u8>()?;
            self.now_ms += u64::from(op >> 4);
            self.number += 1;
            let (kind, head): (Kind, &[u8]) = match op & 15 {
                0 => (Kind::Video, b"\x17\0\0\0\0"),
                1 => (Kind::Audio, b"\xaf\0"),
                2 => (Kind::Data, b"\x02\0\x0aonMetaData\x03\0\0\x09"),
                3..=5 => (Kind::Video, b"\x17\x01\0\0\0"),
                6..=9 => (Kind::Audio, b"\xaf\x01"),
                _ => (Kind::Video, b"\x27\x01\0\0\0"),
            };
            let fill = vec![op; if op & 0x88 == 0x88 { 3000 } else { 30 }];
            let payload = [head, &self.number.to_be_bytes(), &fill].concat();
            messages.push(Message { kind, time: WireTime(self.now_ms as u32), payload: payload.into() });
        }
        self.hubs[shard].media(source, messages);
        Ok(())
    }

    /// The connection took what was parked, and what waited behind that.
    fn unpark(&mut self, at: usize) {
        let watcher = &self.watchers[at];
        {
            let mut line = watcher.line.0.borrow_mut();
            let rest =
                [line.parked.take().unwrap_or_default(), std::mem::take(&mut line.private).into()].concat();
            line.bytes.extend(rest);
        }
        self.hubs[watcher.shard].wake(watcher.id);
    }

    fn deliver(&mut self, to: usize, most: usize) {
        for _ in 0..most {
            let Some(post) = self.mail[to].pop_front() else { return };
            self.hubs[to].receive(1 - to as u16, post, self.now_ms);
        }
    }

    fn turn(&mut self, shard: usize) {
        self.hubs[shard].turn(self.now_ms, 0);
        let mail = &mut self.mail;
        self.hubs[shard].take_posts(|to, post| mail[usize::from(to)].push_back(post));
        for event in self.hubs[shard].take_events() {
            if let Event::Revoked(gone, _) = event {
                self.sources.retain(|source| *source != (shard, gone));
            }
        }
        assert_eq!(self.hubs[shard].panics(), 0, "the hub caught a panic");
    }

    fn round(&mut self) {
        for shard in 0..self.hubs.len() {
            self.deliver(shard, usize::MAX);
            self.turn(shard);
        }
    }

    fn finish(mut self) {
        for at in 0..self.watchers.len() {
            self.watchers[at].line.0.borrow_mut().room = None;
        }
        for _ in 0..50 {
            self.now_ms += 20;
            (0..self.watchers.len()).for_each(|at| self.unpark(at));
            self.round();
        }
        for line in self.watchers.iter().map(|watcher| &watcher.line).chain(&self.gone) {
            check(&line.0.borrow());
        }
        for watcher in std::mem::take(&mut self.watchers) {
            self.hubs[watcher.shard].leave(watcher.id);
        }
        for (shard, source) in std::mem::take(&mut self.sources) {
            self.hubs[shard].unpublish(source);
        }
        for _ in 0..50 {
            self.now_ms += 1_000;
            self.hubs.iter_mut().for_each(|hub| hub.sweep(self.now_ms));
            self.round();
        }
        assert!(self.hubs.iter().all(|hub| !hub.is_live()), "nothing is left of streams without anybody");
    }
}

/// Whole messages, except that a connection which ended may have been cut; coded media in the order it was sent.
fn check(line: &Line) {
    let mut size = Vec::new();
    Control::ChunkSize(60_000).write(&mut size);
    let mut reader = ChunkReader::new(Limits::default());
    assert_eq!(reader.read(&mut &size[..]), Ok(None));
    let (mut input, mut last) = (&line.bytes[..], [0; 2]);
    while let Some(message) = reader.read(&mut input).expect("chunks") {
        let (kind, number) = match &message.payload[..] {
            [0x17 | 0x27, 1, _, _, _, number @ ..] => (0, number),
            [0xaf, 1, number @ ..] => (1, number),
            _ => continue,
        };
        let number = u32::from_be_bytes(*number.first_chunk().expect("a number"));
        // Tracks may be interleaved anew by a start at a keyframe, but none runs backward.
        assert!(number > last[kind], "{number} after {}", last[kind]);
        last[kind] = number;
    }
    assert!(reader.heap_bytes() < 4096 || line.over || line.parked.is_some());
}
