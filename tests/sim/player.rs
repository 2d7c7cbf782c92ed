//! A player: holds every message that it reads against what the publishers made.

mod read;
mod ts;

use crate::report::violated;
use crate::script::{self, Fact, Said};
use srs_shard::formats::message::Kind;
use srs_shard::stream::encode::Format;
use srs_shard::stream::viewer::Wanted;

/// Everything that was published on one stream, and what is known of how it came through.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By nonce.
    pub(crate) sessions: Vec<Vec<Fact>>,
    /// The place of each session in its stream's order, once known.
    pub(crate) order: Vec<Option<u32>>,
    /// When each place was taken, in ms.
    granted_ms: Vec<u64>,
    pub(crate) claims: Vec<Claim>,
}

impl Ledger {
    /// A session has its place in the order; whether that is news.
    pub(crate) fn granted(&mut self, nonce: u32, now_ms: u64) -> bool {
        let news = self.order[nonce as usize].is_none();
        if news {
            self.order[nonce as usize] = Some(self.orders());
            self.granted_ms.push(now_ms);
        }
        news
    }

    /// How many sessions have their place.
    pub(crate) fn orders(&self) -> u32 {
        self.granted_ms.len() as u32
    }

    /// How many had it before a time.
    pub(crate) fn orders_before(&self, ms: u64) -> u32 {
        self.granted_ms.partition_point(|&granted_ms| granted_ms < ms) as u32
    }
}

/// A viewer that never jumped went from one session to another: where the first ended for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) from: u32,
    pub(crate) last: u32,
    /// None: its body ended there.
    pub(crate) to: Option<u32>,
    pub(crate) viewer: usize,
    pub(crate) format: Format,
}

/// What a player expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eye {
    /// Its first frame.
    Fresh,
    /// Every frame.
    Step,
    /// Every sound; pictures from the next keyframe on.
    Sound,
}

/// Whether a format brings a frame at all.
pub(crate) fn carries(format: Format, fact: &Fact) -> bool {
    format.carries_video() || fact.kind == Kind::Audio
}

/// What comes with the bytes that a player is given.
pub(crate) struct Glance<'a> {
    pub(crate) ledger: &'a mut Ledger,
    /// How often the server says that this viewer jumped.
    pub(crate) jumps: u32,
    pub(crate) now_ms: u64,
}

/// One player.
pub(crate) struct Player {
    number: usize,
    format: Format,
    wanted: Wanted,
    /// The last chunk of its body came.
    pub(crate) ended: bool,
    /// Whether the file header of its FLV body names audio and video, once it came.
    header: Option<[bool; 2]>,
    /// The place in the order of what its shard had heard of for sure when it came.
    pub(crate) joined: u32,
    /// It gets nothing of sessions before this place in the order.
    pub(crate) oldest: u32,
    buffer: Vec<u8>,
    message: Vec<u8>,
    ts: ts::Reader,
    headers: [u8; 2],
    meta: u8,
    pub(crate) eye: Eye,
    pub(crate) first: Option<(u32, u32)>,
    pub(crate) last: Option<(u32, u32)>,
    last_time: [u32; 2],
    prelude_time: Option<u32>,
    /// No frame of this time or later is for it.
    until: Option<u32>,
    /// Times that frames were missing.
    pub(crate) gaps: u32,
    pub(crate) frames: u64,
    /// Longest a frame took, those from before its first one left out.
    pub(crate) worst_ms: u64,
    pub(crate) began_ms: u64,
}

impl Player {
    pub(crate) fn new(number: usize, format: Format, wanted: Wanted) -> Player {
        Player {
            number,
            format,
            wanted,
            ended: false,
            header: None,
            joined: 0,
            oldest: 0,
            buffer: Vec::new(),
            message: Vec::new(),
            ts: ts::Reader::default(),
            headers: [0; 2],
            meta: 0,
            eye: Eye::Fresh,
            first: None,
            last: None,
            last_time: [0; 2],
            prelude_time: None,
            until: None,
            gaps: 0,
            frames: 0,
            worst_ms: 0,
            began_ms: 0,
        }
    }

    /// Takes bytes in.
    pub(crate) fn feed(&mut self, bytes: &mut Vec<u8>, glance: &mut Glance<'_>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.is_empty() {
            std::mem::swap(&mut buffer, bytes);
        } else {
            buffer.append(bytes);
        }
        let mut at = 0;
        while let Some(used) = self.read(&buffer[at..], glance) {
            at += used;
        }
        buffer.drain(..at);
        self.buffer = buffer;
    }

    /// The last chunk of an HTTP body.
    fn body_ends(&mut self, glance: &mut Glance<'_>) {
        self.ended = true;
        if let Some((from, last)) = self.last
            && self.eye == Eye::Step
            && glance.jumps == 0
        {
            let (viewer, format) = (self.number, self.format);
            glance.ledger.claims.push(Claim { from, last, to: None, viewer, format });
        }
    }

    fn message_in(&mut self, kind: Kind, time: u32, b: &[u8], glance: &mut Glance<'_>) {
        if self.eye == Eye::Fresh {
            self.prelude_time = Some(self.prelude_time.map_or(time, |before| before.max(time)));
        }
        match script::read(kind, b) {
            Said::Header(variant) => self.headers[usize::from(kind == Kind::Video)] = variant,
            Said::Meta(variant) => self.meta = variant,
            Said::Frame { nonce, seq } => self.frame(nonce, seq, Some(time), glance),
        }
    }

    /// A frame came, with its time if the format says that.
    fn frame(&mut self, nonce: u32, seq: u32, time: Option<u32>, glance: &mut Glance<'_>) {
        let who = self.number;
        let Glance { ledger, jumps, now_ms } = glance;
        let (jumps, now_ms) = (*jumps, *now_ms);
        ledger.granted(nonce, now_ms);
        let order = ledger.order[nonce as usize];
        assert!(order >= Some(self.oldest), "no-older-epoch: viewer {who} came after {nonce} and got {seq}");
        let fact = ledger.sessions[nonce as usize][seq as usize];
        let picture = fact.kind == Kind::Video;
        let here = (nonce, seq);
        let mut jumped = false;
        match self.last {
            None => {
                assert!(
                    !picture || fact.key,
                    "starts-at-keyframe: viewer {who} begins with {here:?} {fact:?}"
                );
                let tells = matches!(self.format, Format::Rtmp { .. } | Format::Flv);
                if fact.meta != 0 && jumps == 0 && tells {
                    assert_eq!(self.meta, fact.meta, "metadata-first: viewer {who} begins with {here:?}");
                }
                if let (Some(prelude), Some(time)) = (self.prelude_time, time) {
                    assert!(prelude <= time, "prelude-time: {prelude} before {time}, viewer {who}");
                }
                self.began_ms = now_ms;
                self.until = self.wanted.duration_ms.and_then(|ms| time.map(|time| time.saturating_add(ms)));
            }
            Some((before, last)) if before == nonce => {
                assert!(seq > last, "in-order-once: viewer {who} got {here:?} after {last}");
                jumped = self.missing(&ledger.sessions[nonce as usize][last as usize + 1..seq as usize]);
            }
            Some((before, last)) => {
                let old = ledger.order[before as usize];
                assert!(order > old, "no-older-epoch: viewer {who} got {here:?} after {before}/{last}");
                jumped = self.missing(&ledger.sessions[nonce as usize][..seq as usize]);
                if self.eye == Eye::Step && jumps == 0 {
                    let (viewer, format) = (who, self.format);
                    ledger.claims.push(Claim { from: before, last, to: Some(nonce), viewer, format });
                }
            }
        }
        if jumped {
            self.gaps += 1;
            let from = self.last;
            assert!(
                self.gaps <= jumps,
                "every-frame: viewer {who} got {here:?} after {from:?}, eye {:?}",
                self.eye
            );
            assert!(!picture || fact.key, "jump-to-keyframe: viewer {who} got {here:?} after {from:?}");
        }
        if jumped || self.last.is_none() {
            let all_is_here = fact.key || !self.format.carries_video();
            self.eye = if all_is_here { Eye::Step } else { Eye::Sound };
        }
        if self.eye == Eye::Sound && picture {
            assert!(fact.key, "sound-until-keyframe: viewer {who} got {here:?}");
            self.eye = Eye::Step;
        }
        if fact.header != 0 {
            let had = self.headers[usize::from(picture)];
            assert_eq!(had, fact.header, "headers-in-force: viewer {who} at {here:?}, last {:?}", self.last);
        }
        // The header of a body cannot tell what a later publish brings.
        let since = |n: usize| (Some(self.joined)..order).contains(&ledger.order[n]);
        let told = || ledger.sessions.iter().enumerate().all(|(n, facts)| !since(n) || facts.is_empty());
        if let Some(named) = self.header
            && !named[usize::from(picture)]
            && told()
        {
            violated(
                "tracks-named",
                format!("viewer {who} got {here:?}, which its FLV header does not name"),
            );
        }
        if let Some(time) = time {
            self.check_time(here, picture, time, ledger);
        }
        if fact.made_ms > self.began_ms {
            self.worst_ms = self.worst_ms.max(now_ms.saturating_sub(fact.made_ms));
        }
        self.frames += 1;
        self.first = self.first.or(Some(here));
        self.last = Some(here);
        ledger.sessions[nonce as usize][seq as usize].seen = true;
    }

    fn check_time(&mut self, here: (u32, u32), picture: bool, time: u32, ledger: &mut Ledger) {
        let who = self.number;
        if let Some(until) = self.until {
            // A play of 0 ms is over with its first frame at the latest.
            assert!(
                time < until.max(1) || self.frames == 0,
                "duration: viewer {who} got {time}, until {until}"
            );
        }
        let last_time = &mut self.last_time[usize::from(picture)];
        assert!(time >= *last_time, "monotonic: viewer {who} got {time} after {last_time}");
        *last_time = time;
        let (nonce, seq) = here;
        let seen = ledger.sessions[nonce as usize][seq as usize].seen_time.get_or_insert(time);
        assert_eq!(*seen, time, "same-time: viewer {who}, frame {here:?}");
    }

    /// Whether a viewer of this eye may not miss these.
    fn missing(&self, facts: &[Fact]) -> bool {
        facts.iter().any(|fact| match self.eye {
            // In a transport stream the pictures carry clock and tables: sound alone would be without.
            Eye::Sound if self.format == Format::Ts => fact.key,
            Eye::Sound => fact.kind == Kind::Audio || fact.key,
            _ => carries(self.format, fact),
        })
    }
}
