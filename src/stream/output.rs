//! One live format of a stream on its owner: the encoder, the open block, the log, and who subscribed.

use super::block::Block;
use super::cadence::next_tick;
use super::encode::{Encode, Encoder, Format, OpenBlock, Unit, message_of};
use super::log::Log;
use super::origin::FeedPosts;
use super::post::{Epoch, FeedItem, Sub, WINDOW_MIN_BYTES};
use super::prelude::Prelude;
use super::settings::{Cadence, Settings};
use super::wire::Wire;
use crate::formats::flv;
use crate::formats::message::{Frame, Kind, MediaTime};
use std::sync::Arc;

/// A subscriber's window is so much of the stream, and at least [`WINDOW_MIN_BYTES`].
const WINDOW_MS: i64 = 2_000;
/// In a stream with video an audio message alone waits so long for the next picture: with 25 of them a second and more,
/// sound costs no send of its own. A player cannot tell, it waits for the picture itself.
pub(super) const AUDIO_WAITS_MS: u64 = 45;

/// A shard that gets this format's blocks.
#[derive(Debug)]
pub struct Subscriber {
    /// Which shard.
    pub shard: u16,
    /// Its own number for the subscription.
    pub sub: Sub,
    /// Interval it wishes.
    pub wish_ms: u32,
    /// Bytes of blocks posted and not yet taken in.
    pub in_flight: usize,
    /// Blocks are dropped for it until the next keyframe: its window was full.
    pub lagging: bool,
}

/// One live format of one stream.
pub struct Output {
    format: Format,
    encoder: Encoder,
    open: OpenBlock,
    open_since_ms: u64,
    open_prelude: Arc<Prelude>,
    /// Its recent blocks.
    pub log: Log,
    /// Who gets them.
    pub subscribers: Vec<Subscriber>,
    ended: bool,
}

impl Output {
    /// An output that begins with the stream's current GOP.
    pub fn new(format: Format, prelude: &Arc<Prelude>, gop: &[Frame], now_ms: u64) -> Output {
        let mut output = Output {
            format,
            encoder: Encoder::new(format),
            open: OpenBlock::new(format),
            open_since_ms: now_ms,
            open_prelude: Arc::clone(prelude),
            log: Log::default(),
            subscribers: Vec::new(),
            ended: false,
        };
        output.begin(prelude, gop);
        output.seal(); // subscribers get it with their start item
        output
    }

    /// Begins afresh after an end: those who come now get a body of the new tracks, on the same subscription.
    pub fn restart(&mut self, prelude: &Arc<Prelude>, gop: &[Frame]) {
        self.encoder = Encoder::new(self.format);
        self.open = OpenBlock::new(self.format);
        self.open_prelude = Arc::clone(prelude);
        self.ended = false;
        self.log.begin_publish();
        self.begin(prelude, gop);
    }

    fn begin(&mut self, prelude: &Arc<Prelude>, gop: &[Frame]) {
        // The encoder learns the codecs in force; the viewers have them in their own preludes.
        let at = gop.first().map_or(MediaTime::default(), |key| key.time);
        for header in &prelude.headers {
            let frame =
                Frame { kind: header.kind, time: at, tag: header.tag, payload: header.payload.clone() };
            self.encoder.frame(&frame, prelude, &mut self.open);
        }
        self.open = OpenBlock::new(self.format);
        for frame in gop {
            self.encoder.frame(frame, prelude, &mut self.open);
        }
    }

    /// Fetches ahead what a frame's coming, and the sealing of a block, touch beside the output itself.
    pub(super) fn fetch_parts<W: Wire>(&self) {
        self.open.fetch_tail::<W>();
        W::fetch(&*self.open_prelude);
        self.log.fetch_ends::<W>();
        W::fetch(&self.subscribers[..]);
    }

    /// And then what those lead to.
    pub(super) fn fetch_blocks<W: Wire>(&self) {
        self.log.fetch_blocks::<W>();
    }

    /// Which format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Encodes a frame into the open block.
    pub fn frame(
        &mut self,
        frame: &Frame,
        prelude: &Arc<Prelude>,
        now_ms: u64,
        settings: &Settings,
        epoch: Epoch,
        out: &mut FeedPosts,
    ) {
        if self.open_prelude.version != prelude.version {
            self.encoder.before_change(&mut self.open);
            self.seal_and_post(epoch, settings, out); // a block has one prelude
            self.open_prelude = Arc::clone(prelude);
        }
        if self.open.units.is_empty() {
            self.open_since_ms = now_ms;
        }
        self.encoder.frame(frame, prelude, &mut self.open);
        self.check_ended(epoch, settings, out);
    }

    /// The publish ended: what the encoder and the open block still hold goes out.
    pub fn flush(&mut self, prelude: &Prelude, epoch: Epoch, settings: &Settings, out: &mut FeedPosts) {
        self.encoder.flush(prelude, &mut self.open);
        self.seal_and_post(epoch, settings, out);
    }

    fn check_ended(&mut self, epoch: Epoch, settings: &Settings, out: &mut FeedPosts) {
        if self.encoder.ended() && !self.ended {
            self.ended = true;
            self.seal_and_post(epoch, settings, out);
            let format = self.format;
            out.extend(self.subscribers.iter().map(|s| (format, s.shard, s.sub, FeedItem::Ended { epoch })));
        }
    }

    /// Whether the tracks changed so that the format cannot go on; it must be made anew.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// When the open block is to be sealed, on the owner's clock; None while it is empty.
    pub fn due_ms(&self, settings: &Settings) -> Option<u64> {
        let last = self.open.units.last()?;
        let interval = self.subscribers.iter().map(|s| s.wish_ms).min().unwrap_or(0);
        let tick_ms = if interval > 0 { next_tick(self.open_since_ms, interval) } else { self.open_since_ms };
        let audio_only = self.open_prelude.has_video
            && self.format.carries_video()
            && last.kind == Kind::Audio
            && self.open.units.iter().all(|unit| unit.kind == Kind::Audio);
        let may_wait = match settings.cadence {
            Cadence::Auto => true,
            // What was asked for is kept.
            Cadence::Fixed { .. } => interval == 0,
            Cadence::MinLatency => false,
        };
        let waits = audio_only && may_wait;
        Some(tick_ms.max(self.open_since_ms + if waits { AUDIO_WAITS_MS } else { 0 }))
    }

    /// Seals the open block and posts it to every subscriber whose window has room.
    pub fn seal_and_post(&mut self, epoch: Epoch, settings: &Settings, out: &mut FeedPosts) {
        let Some(block) = self.seal() else { return };
        let has_video = block.prelude.has_video && self.format.carries_video();
        let resumes = !has_video || block.keys().next().is_some();
        let window = self.window();
        for subscriber in &mut self.subscribers {
            let room = subscriber.in_flight < window; // the last block may overdraw it
            subscriber.lagging = !room || (subscriber.lagging && !resumes);
            if subscriber.lagging {
                continue;
            }
            subscriber.in_flight += block.bytes.len();
            let item = FeedItem::Block { epoch, block: Arc::clone(&block) };
            out.push((self.format, subscriber.shard, subscriber.sub, item));
        }
        self.log.trim(settings, self.log.end(), has_video);
    }

    /// The first item of a subscription.
    pub fn start_item(&self, live: Option<Epoch>, prelude: &Arc<Prelude>) -> FeedItem {
        FeedItem::Start {
            live,
            prelude: Arc::clone(prelude),
            blocks: self.log.of_this_publish().cloned().collect(),
            end: self.log.end(),
        }
    }

    /// The current GOP, read back from the log and the open block of a format that holds messages; as far as they have
    /// it, the keyframe first.
    pub fn gop(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        let from = self.log.newest_key().map_or(self.log.end(), |key| key.offset);
        for block in self.log.blocks().iter().skip_while(|block| block.end() <= from) {
            for (at, unit) in block.units.iter().enumerate() {
                let start = block.unit_start(at) as usize;
                if block.start + start as u64 >= from {
                    self.read_back(unit, block.bytes.get(start..unit.end as usize), &mut frames);
                }
            }
        }
        let mut start = 0;
        for unit in &self.open.units {
            let end = unit.end as usize;
            self.read_back(unit, self.open.bytes.get(start..end), &mut frames);
            start = end;
        }
        frames
    }

    fn read_back(&self, unit: &Unit, bytes: Option<&[u8]>, frames: &mut Vec<Frame>) {
        if unit.key {
            frames.clear();
        } else if frames.is_empty() {
            return;
        }
        if let Some(payload) = bytes.and_then(|bytes| message_of(self.format, bytes)) {
            let tag = flv::inspect(unit.kind, &payload);
            frames.push(Frame { kind: unit.kind, time: unit.time, tag, payload });
        }
    }

    fn seal(&mut self) -> Option<Arc<Block>> {
        if self.open.units.is_empty() {
            return None;
        }
        let (bytes, units) = self.open.take();
        let block = Block::seal(self.log.end(), bytes, units, Arc::clone(&self.open_prelude));
        self.log.push(Arc::clone(&block));
        Some(block)
    }

    /// Two seconds of the stream as it is now, in bytes; at least [`WINDOW_MIN_BYTES`].
    fn window(&self) -> usize {
        let two_seconds = self.log.bytes_in(WINDOW_MS).and_then(|bytes| usize::try_from(bytes).ok());
        WINDOW_MIN_BYTES.max(two_seconds.unwrap_or(0))
    }
}
