//! What the core's unit tests share: one hub's worth of stream and feed without a hub, and a counting wire.

use super::encode::Format;
use super::feed::Feed;
use super::origin::{FeedPosts, Origin, Verdict};
use super::output::AUDIO_WAITS_MS;
use super::post::{Epoch, FeedItem, SourceId, Sub};
use super::settings::{Cadence, Settings};
use super::viewer::Wanted;
use super::wire::{Taken, Wire};
use crate::formats::message::{Kind, Message, WireTime};
use crate::stats::reason::CloseReason;
use bytes::Bytes;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::sync::Arc;

/// Payloads: headers of two variants, a keyframe, a picture, sound.
pub(super) const VIDEO_HEADER: &[u8] = b"\x17\0\0\0\0A";
pub(super) const VIDEO_HEADER_2: &[u8] = b"\x17\0\0\0\0B";
pub(super) const AUDIO_HEADER: &[u8] = b"\xaf\x00\x12\x10";
pub(super) const KEY: &[u8] = b"\x17\x01\0\0\0key";
pub(super) const PICTURE: &[u8] = b"\x27\x01\0\0\0pic";
pub(super) const SOUND: &[u8] = b"\xaf\x01snd";

/// What a [`CountingWire`] saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) sends: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) private: Vec<u8>,
    pub(super) parked: Option<Bytes>,
    pub(super) room: Option<usize>,
    pub(super) ended: Option<CloseReason>,
    pub(super) closed: Option<CloseReason>,
    /// It panics when it is told how much may wait unsent.
    pub(super) panics: bool,
}

/// Takes everything, or as much as it is told.
#[derive(Clone, Debug, Default)]
pub(super) struct CountingWire(pub(super) Rc<RefCell<Seen>>);

impl Wire for CountingWire {
    fn ready(&self) -> bool {
        self.0.borrow().parked.is_none()
    }
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<Taken> {
        let mut seen = self.0.borrow_mut();
        seen.sends += 1;
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = seen.room.map_or(all.len(), |room| room.min(all.len()));
        seen.bytes.extend_from_slice(&all[..taken]);
        Ok(if taken == all.len() { Taken::All } else { Taken::Part(taken) })
    }
    fn park(&self, rest: Bytes) {
        self.0.borrow_mut().parked = Some(rest);
    }
    fn push_private(&self, bytes: &[u8]) {
        self.0.borrow_mut().private.extend_from_slice(bytes);
    }
    fn flush(&self) {}
    fn bound_unsent(&self, _: u32) {
        assert!(!self.0.borrow().panics, "as the test wants it");
    }

    fn end(&self, reason: CloseReason) {
        self.0.borrow_mut().ended = Some(reason);
    }
    fn close(&self, reason: CloseReason) {
        self.0.borrow_mut().closed = Some(reason);
    }
}

const SUB: Sub = Sub { feed: 0, serial: 1 };
pub(super) const RTMP: Format = Format::Rtmp { chunk_bytes: 60_000 };

/// A stream and one feed of it.
pub(super) struct Bench {
    pub(super) origin: Origin,
    pub(super) feed: Feed<CountingWire>,
    pub(super) now_ms: u64,
    pub(super) epoch: Epoch,
    settings: Arc<Settings>,
    epochs: u32,
}

impl Bench {
    pub(super) fn new(format: Format, settings: Settings) -> Bench {
        let settings = Arc::new(Settings { cadence: Cadence::Fixed { ms: 0 }, ..settings });
        let key: Arc<str> = "v/app/s".into();
        let mut origin = Origin::new(Arc::clone(&key), Arc::clone(&settings));
        let mut feed = Feed::new(key, format, SUB, Arc::clone(&settings), 0);
        let mut out = FeedPosts::new();
        origin.subscribe(format, 0, SUB, 0, 0, &mut out);
        out.into_iter().for_each(|(.., item)| _ = feed.take(item, 0));
        Bench { origin, feed, now_ms: 0, epoch: Epoch(0), settings, epochs: 0 }
    }

    pub(super) fn publish(&mut self) {
        self.epochs += 1;
        self.epoch = Epoch(self.epochs);
        let (settings, mut out) = (Arc::clone(&self.settings), FeedPosts::new());
        let source = SourceId { slot: 0, serial: self.epochs };
        let verdict = self.origin.publish(self.epoch, 0, source, 1, &settings, self.now_ms, &mut out);
        assert!(matches!(verdict, Verdict::Granted { .. }));
        self.give(out);
    }

    /// Another publisher takes the stream over.
    pub(super) fn publish_again(&mut self) {
        self.now_ms += u64::from(self.settings.stale_after_ms);
        self.publish();
    }

    pub(super) fn unpublish(&mut self) {
        let mut out = FeedPosts::new();
        self.origin.unpublish(self.epoch, &mut out);
        self.give(out);
    }

    /// Messages at one time, in a block (or several, if the prelude changes); returns the blocks posted.
    pub(super) fn send(&mut self, time: u32, payloads: &[&'static [u8]]) -> usize {
        self.messages(payloads.iter().map(|payload| message(time, payload)).collect())
    }

    /// One payload at several times, in a block.
    pub(super) fn send_at(&mut self, times: &[u32], payload: &'static [u8]) -> usize {
        self.messages(times.iter().map(|time| message(*time, payload)).collect())
    }

    fn messages(&mut self, messages: Vec<Message>) -> usize {
        let last = messages.last().map_or(0, |message| u64::from(message.time.0));
        self.now_ms = self.now_ms.max(last);
        let mut out = FeedPosts::new();
        self.origin.media(self.epoch, messages.into(), self.now_ms, &mut out);
        self.origin.tick(self.now_ms + AUDIO_WAITS_MS, &mut out);
        self.give(out)
    }

    pub(super) fn give(&mut self, out: FeedPosts) -> usize {
        let blocks = out.iter().filter(|(.., item)| matches!(item, FeedItem::Block { .. })).count();
        out.into_iter().for_each(|(.., item)| _ = self.feed.take(item, self.now_ms));
        blocks
    }

    pub(super) fn join(&mut self) -> (usize, CountingWire) {
        let wire = CountingWire::default();
        (self.feed.join(wire.clone(), Wanted::default()), wire)
    }

    pub(super) fn pump(&mut self) {
        self.feed.welcome();
        self.feed.pump(self.now_ms);
    }
}

fn message(time: u32, payload: &'static [u8]) -> Message {
    let kind = match payload.first() {
        Some(0xaf) => Kind::Audio,
        Some(0x02) => Kind::Data,
        _ => Kind::Video,
    };
    Message { kind, time: WireTime(time), payload: Bytes::from_static(payload) }
}

/// How often `what` stands in `bytes`.
pub(super) fn count(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).filter(|window| *window == what).count()
}
