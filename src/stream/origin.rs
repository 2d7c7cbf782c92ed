//! A stream on its owner shard: its publisher, its timeline, its prelude, its outputs.

use super::encode::Format;
use super::gop::CurrentGop;
use super::hub::Entry;
use super::metadata;
use super::output::{Output, Subscriber};
use super::post::{Batch, Epoch, FeedItem, SourceId, StreamKey, Sub};
use super::prelude::{Change, Prelude};
use super::settings::{OnDuplicate, Settings};
use super::timeline::{Jitter, Timeline};
use super::wire::Wire;
use crate::formats::codec::Codec;
use crate::formats::flv::{self, Role, Tag};
use crate::formats::message::{Frame, Kind, MediaTime, Message};
use crate::logging::Client;
use crate::stats::rates::Rate;
use crate::stats::reason::CloseReason;
use bytes::Bytes;
use std::sync::Arc;

/// Formats one stream may have in demand at once: five over HTTP and a few RTMP chunk sizes.
pub const MAX_OUTPUTS: usize = 16;

/// Frame rate and bitrate are measured over so much time.
const PACE_MS: u64 = 1_000;

/// Enough of a payload to tell its codec by.
const FIRST_CODED_BYTES: usize = 64;

/// What goes to the shards of a stream's viewers.
pub type FeedPosts = Vec<(Format, u16, Sub, FeedItem)>;

/// Who publishes.
#[derive(Clone, Copy, Debug)]
pub struct Publisher {
    /// The shard of its connection.
    pub shard: u16,
    /// Its number there.
    pub source: SourceId,
    /// Its client id.
    pub client: u64,
    /// Its publish.
    pub epoch: Epoch,
    /// When something last came from it, on the owner's clock.
    pub last_heard_ms: u64,
    /// When it began.
    pub since_ms: u64,
    /// Bytes taken in and not yet credited to it.
    owed: usize,
}

/// What an owner counts of a stream since its publish began.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamCounters {
    /// Video frames, headers not counted.
    pub video_frames: u64,
    /// Payload bytes received.
    pub recv_bytes: u64,
    /// Time of the newest keyframe, on the stream's timeline.
    pub key_time: Option<MediaTime>,
    /// Distance of the last two keyframes in ms.
    pub gop_ms: Option<i64>,
}

/// Sequence headers and metadata above this are dropped: every viewer is given a copy of what is in force.
const MAX_HEADER_BYTES: usize = 64 << 10;
const MAX_METADATA_BYTES: usize = 256 << 10;

/// What the owner answers to a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may publish.
    Granted {
        /// The new publish.
        epoch: Epoch,
        /// The publisher that had to give way, and why.
        closed: Option<(u16, SourceId, CloseReason)>,
    },
    /// It may not.
    Refused(CloseReason),
}

/// A stream, on the one shard that owns it.
pub struct Origin {
    key: StreamKey,
    settings: Arc<Settings>,
    epoch: Epoch,
    publisher: Option<Publisher>,
    timeline: Timeline,
    prelude: Arc<Prelude>,
    /// Headers and metadata that every player in step surely has, maybe from an earlier publish.
    delivered: Prelude,
    pub(super) gop: CurrentGop,
    outputs: Vec<Output>,
    counters: StreamCounters,
    past_sent_bytes: u64,
    /// The first coded payload of each kind in this publish, to tell what codecs without headers are.
    first_coded: [Option<(Tag, Bytes)>; 2],
    /// Its place on the hub's agenda.
    pub(super) entry: Entry,
    key_arrived_ms: u64,
    rate: Rate,
    pace: Pace,
    measured: (u64, StreamCounters),
}

/// What comes in now, measured over the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    /// Video frames per second.
    pub fps: f64,
    /// Payload bitrate.
    pub kbps: u32,
}

impl Origin {
    /// A stream that nobody publishes yet.
    pub fn new(key: StreamKey, settings: Arc<Settings>) -> Origin {
        Origin {
            key,
            timeline: Timeline::new(settings.jitter),
            settings,
            epoch: Epoch(0),
            publisher: None,
            prelude: Arc::default(),
            delivered: Prelude::default(),
            gop: CurrentGop::default(),
            outputs: Vec::new(),
            counters: StreamCounters::default(),
            past_sent_bytes: 0,
            first_coded: [None, None],
            entry: Entry::default(),
            key_arrived_ms: 0,
            rate: Rate::default(),
            pace: Pace::default(),
            measured: (0, StreamCounters::default()),
        }
    }

    /// New settings are in force. Those of times, which one publish must not change midway, with the next.
    pub fn configure(&mut self, settings: Arc<Settings>) {
        self.settings = settings;
    }

    /// Its key.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// Who publishes now.
    pub fn publisher(&self) -> Option<&Publisher> {
        self.publisher.as_ref()
    }

    /// The prelude in force.
    pub fn prelude(&self) -> &Arc<Prelude> {
        &self.prelude
    }

    /// Counters of this publish.
    pub fn counters(&self) -> StreamCounters {
        self.counters
    }

    /// Bytes sent to viewers of shards that have unsubscribed since the stream came into being.
    pub fn past_sent_bytes(&self) -> u64 {
        self.past_sent_bytes
    }

    /// The beginning of the first coded payload of a kind in this publish.
    pub fn first_coded(&self, kind: Kind) -> Option<&(Tag, Bytes)> {
        self.first_coded[usize::from(kind == Kind::Video)].as_ref()
    }

    /// Payload received, as a rate.
    pub fn rate(&self) -> &Rate {
        &self.rate
    }

    /// What comes in now.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// How long ago the newest keyframe came, in ms; None without video.
    pub fn keyframe_age_ms(&self, now_ms: u64) -> Option<u64> {
        self.counters.key_time.map(|_| now_ms.saturating_sub(self.key_arrived_ms))
    }

    /// Housekeeping, four times a second: what comes in is measured.
    pub fn sweep(&mut self, now_ms: u64) {
        self.rate.tick(now_ms, self.counters.recv_bytes);
        let (then_ms, then) = self.measured;
        let elapsed_ms = now_ms.saturating_sub(then_ms);
        if elapsed_ms >= PACE_MS {
            let since = |now: u64, then: u64| now.saturating_sub(then);
            let frames = since(self.counters.video_frames, then.video_frames);
            let bits = 8 * since(self.counters.recv_bytes, then.recv_bytes);
            let kbps = u32::try_from(bits / elapsed_ms).unwrap_or(u32::MAX);
            self.pace = Pace { fps: frames as f64 * 1000.0 / elapsed_ms as f64, kbps };
            self.measured = (now_ms, self.counters);
        }
    }

    /// Lets go of the older GOPs of its outputs.
    pub(super) fn shed(&mut self) {
        for output in &mut self.outputs {
            output.log.shed();
        }
    }

    /// Fetches ahead what a message will touch beside the origin itself.
    pub(super) fn fetch_parts<W: Wire>(&self) {
        W::fetch(&*self.prelude);
        W::fetch(&self.outputs[..]);
    }

    /// The formats in demand.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Whether nobody publishes and nobody subscribed: it can be forgotten.
    pub fn is_idle(&self) -> bool {
        self.publisher.is_none() && self.outputs.is_empty()
    }

    /// Somebody asks to publish, as `epoch` if it may.
    #[allow(clippy::too_many_arguments)] // the fields of one post
    pub fn publish(
        &mut self,
        epoch: Epoch,
        shard: u16,
        source: SourceId,
        client: u64,
        settings: &Arc<Settings>,
        now_ms: u64,
        out: &mut FeedPosts,
    ) -> Verdict {
        let mut closed = None;
        if let Some(old) = self.publisher {
            let silent_ms = now_ms.saturating_sub(old.last_heard_ms);
            let reason = if silent_ms >= u64::from(settings.stale_after_ms) {
                CloseReason::PublishStale
            } else if settings.on_duplicate == OnDuplicate::Takeover {
                CloseReason::PublishTakeover
            } else {
                return Verdict::Refused(CloseReason::StreamBusy);
            };
            closed = Some((old.shard, old.source, reason));
            self.end_publish(out); // the next one takes its place: players don't notice
        }
        self.settings = Arc::clone(settings);
        let first = self.epoch == Epoch::default();
        self.epoch = epoch;
        self.publisher = Some(Publisher {
            shard,
            source,
            client,
            epoch,
            last_heard_ms: now_ms,
            since_ms: now_ms,
            owed: 0,
        });
        self.counters = StreamCounters::default();
        self.measured = (now_ms, self.counters);
        self.first_coded = [None, None];
        if first {
            self.timeline = Timeline::new(settings.jitter);
        } else {
            self.timeline.republish(settings.jitter);
        }
        // Whoever started in the last publish knows of those before it only what was in force there. If it brought
        // headers alone nobody started, but who was behind may have jumped over earlier ones: what all know is nothing.
        if self.prelude.has_media() {
            self.delivered = Prelude::clone(&self.prelude);
        } else if self.prelude.brings_anything() {
            self.delivered = Prelude::default();
        }
        // Headers and metadata of the last publish are nobody's any more (SRS clears them at on_publish).
        let version = self.prelude.version + 1;
        self.prelude = Arc::new(Prelude { version, ..Prelude::default() });
        self.tell_all(out, |_| FeedItem::Published { epoch });
        Verdict::Granted { epoch, closed }
    }

    /// The publisher of `epoch` left. An older one's leaving is no news.
    pub fn unpublish(&mut self, epoch: Epoch, out: &mut FeedPosts) {
        if self.publisher.is_some_and(|publisher| publisher.epoch == epoch) {
            self.end_publish(out);
            self.tell_all(out, |_| FeedItem::Unpublished { epoch });
        }
    }

    fn end_publish(&mut self, out: &mut FeedPosts) {
        let Some(publisher) = self.publisher.take() else { return };
        Client(publisher.client).scope(|| log::info!("stream {}: its publish is over", self.key));
        for output in &mut self.outputs {
            output.flush(&self.prelude, publisher.epoch, &self.settings, out);
            output.log.begin_publish();
        }
        self.gop.clear();
    }

    /// Messages of publish `epoch`; returns what holding them took, also of those ignored as too old.
    pub fn media(&mut self, epoch: Epoch, messages: Batch, now_ms: u64, out: &mut FeedPosts) -> usize {
        let held = messages.iter().map(Message::held_bytes).sum();
        let Some(publisher) = self.publisher.as_mut().filter(|publisher| publisher.epoch == epoch) else {
            return held;
        };
        publisher.last_heard_ms = now_ms;
        for message in messages {
            self.counters.recv_bytes += message.payload.len() as u64;
            if let Some(frame) = self.normalise(message, now_ms) {
                self.encode(frame, now_ms, out);
            }
        }
        held
    }

    /// Adds to what the publisher is owed; what is to be credited to it now, once that reaches `at_least`.
    pub fn owe_credit(&mut self, bytes: usize, at_least: usize) -> Option<usize> {
        let owed = &mut self.publisher.as_mut()?.owed;
        *owed += bytes;
        (*owed >= at_least).then(|| std::mem::take(owed))
    }

    /// Gives a message its time and its place in the prelude. None: players are to see nothing of it.
    fn normalise(&mut self, message: Message, now_ms: u64) -> Option<Frame> {
        let Message { kind, time, mut payload } = message;
        if payload.is_empty() {
            return None; // as SRS
        }
        let tag = flv::inspect(kind, &payload);
        if kind == Kind::Data {
            payload = self.metadata(payload)?; // first of all: it may turn atc on
        }
        let time = self.timeline.place(kind, tag.role, time, now_ms);
        match (kind, tag.role) {
            (_, Role::SequenceHeader) if payload.len() > MAX_HEADER_BYTES => return None,
            (_, Role::SequenceHeader) => {
                let replaces = self.prelude.configures(kind, tag);
                let again = Arc::make_mut(&mut self.prelude).remember(kind, tag, &payload) == Change::Same;
                if replaces && !again {
                    self.gop.clear(); // who starts in it would be given this header for frames of the old one
                }
                let known = self.delivered.remember(kind, tag, &payload) == Change::Same;
                if known && self.is_no_news(again) {
                    return None;
                }
            }
            (_, Role::Key | Role::Coded) => {
                if tag.role == Role::Key {
                    self.key_arrived_ms = now_ms;
                }
                self.count(kind, &tag, &payload, time);
            }
            _ => {}
        }
        Some(Frame { kind, time, tag, payload })
    }

    fn metadata(&mut self, payload: Bytes) -> Option<Bytes> {
        let Some(found) = metadata::normalise(&payload) else { return Some(payload) };
        if found.body.len() > MAX_METADATA_BYTES {
            return None;
        }
        if found.absolute_time && self.settings.atc_auto && !self.prelude.has_media() {
            self.timeline = Timeline::new(Jitter::Atc);
        }
        let prelude = Arc::make_mut(&mut self.prelude);
        prelude.announced = found.tracks;
        let again = prelude.remember_metadata(&found.body) == Change::Same;
        let known = self.delivered.remember_metadata(&found.body) == Change::Same;
        let silent = known && self.is_no_news(again);
        (!silent).then_some(found.body)
    }

    /// Whether players need not be told what they know. Within one publish a repeated header passes, as in
    /// SRS; after a republish it is news only if it differs from what players have – or if it comes so late
    /// that others may have started without it.
    fn is_no_news(&self, again: bool) -> bool {
        if again { self.settings.reduce_sequence_header } else { !self.prelude.has_media() }
    }

    fn count(&mut self, kind: Kind, tag: &Tag, payload: &[u8], time: MediaTime) {
        let role = tag.role;
        let seen = if kind == Kind::Video { self.prelude.has_video } else { self.prelude.has_audio };
        // MP3 has no sequence header: each frame says what it is, and may differ from the one before.
        if !seen || (tag.codec == Codec::Mp3 && self.prelude.mp3_news(tag, payload).is_some()) {
            Arc::make_mut(&mut self.prelude).saw_frame(kind, tag, payload);
        }
        let first = &mut self.first_coded[usize::from(kind == Kind::Video)];
        if first.is_none() {
            *first =
                Some((*tag, Bytes::copy_from_slice(payload.get(..FIRST_CODED_BYTES).unwrap_or(payload))));
        }
        let counters = &mut self.counters;
        if kind == Kind::Video {
            counters.video_frames += 1;
            #[cfg(feature = "fault-injection")]
            crate::faults::in_stream(&self.key, counters.video_frames);
        }
        if role == Role::Key {
            counters.gop_ms = counters.key_time.map(|before| time.0 - before.0).or(counters.gop_ms);
            counters.key_time = Some(time);
        }
    }

    fn encode(&mut self, frame: Frame, now_ms: u64, out: &mut FeedPosts) {
        let mut ended = false;
        for output in &mut self.outputs {
            output.frame(&frame, &self.prelude, now_ms, &self.settings, self.epoch, out);
            ended |= output.ended();
        }
        let in_log = self.outputs.iter().any(|output| output.format().holds_messages());
        self.gop.push(frame, in_log, &self.settings);
        if ended {
            let gop = self.current_gop(); // with this frame
            for output in self.outputs.iter_mut().filter(|output| output.ended()) {
                output.restart(&self.prelude, &gop);
            }
        }
    }

    /// The frames since the newest keyframe, that one first; none where nobody may start with it.
    fn current_gop(&self) -> Vec<Frame> {
        let Some(start) = self.gop.start() else { return Vec::new() };
        let Some(output) = self.outputs.iter().find(|output| output.format().holds_messages()) else {
            return self.gop.frames().to_vec();
        };
        let frames = output.gop();
        // The log may have been cut shorter than a GOP.
        if frames.first().is_some_and(|key| key.time == start) { frames } else { Vec::new() }
    }

    /// Seals the blocks that are due; returns when the next one will be.
    pub fn tick(&mut self, now_ms: u64, out: &mut FeedPosts) -> Option<u64> {
        let mut next: Option<u64> = None;
        for output in &mut self.outputs {
            let Some(due) = output.due_ms(&self.settings) else { continue };
            if due <= now_ms {
                output.seal_and_post(self.epoch, &self.settings, out);
            } else {
                next = Some(next.map_or(due, |n| n.min(due)));
            }
        }
        next
    }

    /// A shard subscribes to a format.
    pub fn subscribe(
        &mut self,
        format: Format,
        shard: u16,
        sub: Sub,
        wish_ms: u32,
        now_ms: u64,
        out: &mut FeedPosts,
    ) {
        let at = match self.outputs.iter().position(|output| output.format() == format) {
            Some(at) => at,
            None if self.outputs.len() >= MAX_OUTPUTS => {
                return out.push((format, shard, sub, FeedItem::Refused));
            }
            None => {
                let gop = self.current_gop();
                self.outputs.push(Output::new(format, &self.prelude, &gop, now_ms));
                if format.holds_messages() {
                    self.gop.hand_over();
                }
                self.outputs.len() - 1
            }
        };
        let live = self.publisher.map(|publisher| publisher.epoch);
        let output = &mut self.outputs[at];
        output.subscribers.retain(|subscriber| subscriber.shard != shard);
        // The open block is not in the start item: it follows as the first block.
        out.push((format, shard, sub, output.start_item(live, &self.prelude)));
        output.subscribers.push(Subscriber { shard, sub, wish_ms, in_flight: 0, lagging: false });
    }

    /// A shard has no viewers of a format any more; they were sent so many bytes.
    pub fn unsubscribe(&mut self, format: Format, shard: u16, sub: Sub, sent_bytes: u64) {
        self.past_sent_bytes += sent_bytes;
        if let Some(output) = self.outputs.iter_mut().find(|output| output.format() == format) {
            output.subscribers.retain(|s| (s.shard, s.sub) != (shard, sub));
        }
        let stays = |output: &Output| !output.subscribers.is_empty();
        let holds = |output: &Output| output.format().holds_messages();
        if self.outputs.iter().any(holds) && !self.outputs.iter().any(|output| holds(output) && stays(output))
        {
            self.gop.take_back(self.current_gop());
        }
        self.outputs.retain(stays);
    }

    /// The subscriber of a format from a shard.
    pub fn subscriber(&mut self, format: Format, shard: u16) -> Option<&mut Subscriber> {
        let output = self.outputs.iter_mut().find(|output| output.format() == format)?;
        output.subscribers.iter_mut().find(|subscriber| subscriber.shard == shard)
    }

    fn tell_all(&mut self, out: &mut FeedPosts, item: impl Fn(&Output) -> FeedItem) {
        for output in &self.outputs {
            out.extend(output.subscribers.iter().map(|s| (output.format(), s.shard, s.sub, item(output))));
        }
    }
}
