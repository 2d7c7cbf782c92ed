//! A player: reads RTMP chunks (a reader of its own, so that it shares no mistake with the server) and holds
//! every message against what the publishers made.

use crate::script::{self, Fact, Said};
use srs_shard::formats::message::Kind;

/// Everything that was published on one stream, and what is known of how it came through.
#[derive(Default)]
pub struct Ledger {
    /// By nonce.
    pub sessions: Vec<Vec<Fact>>,
    /// The place of each session in its stream's order, once known.
    pub order: Vec<Option<u32>>,
    pub orders: u32,
    /// Longest a frame was under way to a healthy viewer.
    pub claims: Vec<Claim>,
}

impl Ledger {
    pub fn granted(&mut self, nonce: u32) {
        if self.order[nonce as usize].is_none() {
            self.order[nonce as usize] = Some(self.orders);
            self.orders += 1;
        }
    }
}

/// A viewer that never jumped went from one session to another: where the first ended for it.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub from: u32,
    pub last: u32,
    pub to: u32,
    pub viewer: usize,
}

/// What a player expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eye {
    /// Its first frame.
    Fresh,
    /// Every frame.
    Step,
    /// Every sound; pictures from the next keyframe on.
    Sound,
}

/// One player.
pub struct Player {
    number: usize,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    message: Vec<u8>,
    headers: [u8; 2],
    meta: u8,
    pub eye: Eye,
    pub last: Option<(u32, u32)>,
    last_time: [u32; 2],
    prelude_time: Option<u32>,
    first_order: Option<u32>,
    /// Times that frames were missing.
    pub gaps: u32,
    pub frames: u64,
    /// Longest a frame took, those from before its first one left out.
    pub worst_ms: u64,
    pub began_ms: u64,
}

impl Player {
    pub fn new(number: usize, chunk_bytes: usize) -> Player {
        Player {
            number,
            chunk_bytes,
            buffer: Vec::new(),
            message: Vec::new(),
            headers: [0; 2],
            meta: 0,
            eye: Eye::Fresh,
            last: None,
            last_time: [0; 2],
            prelude_time: None,
            first_order: None,
            gaps: 0,
            frames: 0,
            worst_ms: 0,
            began_ms: 0,
        }
    }

    /// Takes bytes in; `jumps` is how often the server says that this viewer jumped.
    pub fn feed(&mut self, bytes: &mut Vec<u8>, ledger: &mut Ledger, jumps: u32, now_ms: u64) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.is_empty() {
            std::mem::swap(&mut buffer, bytes);
        } else {
            buffer.append(bytes);
        }
        let mut at = 0;
        while let Some(used) = self.one_message(&buffer[at..], ledger, jumps, now_ms) {
            at += used;
        }
        buffer.drain(..at);
        self.buffer = buffer;
    }

    /// One message as the server writes them: fmt 0 first, fmt 3 for the rest, nothing in between.
    fn one_message(&mut self, b: &[u8], ledger: &mut Ledger, jumps: u32, now_ms: u64) -> Option<usize> {
        let csid = *b.first()?;
        let head = b.get(..12)?;
        let time = u32::from_be_bytes([0, head[1], head[2], head[3]]);
        let length = u32::from_be_bytes([0, head[4], head[5], head[6]]) as usize;
        let (kind, wanted) = match head[7] {
            8 => (Kind::Audio, 7),
            9 => (Kind::Video, 6),
            18 => (Kind::Data, 4),
            other => panic!("framing: message type {other}"),
        };
        assert_eq!((csid, &head[8..]), (wanted, &[1, 0, 0, 0][..]), "framing: {head:02x?}");
        assert!(time < 0xff_ffff, "no run is that long");
        let chunks = length.div_ceil(self.chunk_bytes).max(1);
        let total = 12 + length + (chunks - 1);
        if b.len() < total {
            return None;
        }
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        let mut at = 12;
        while message.len() < length {
            if !message.is_empty() {
                assert_eq!(b[at], 0xc0 | csid, "framing: a chunk of type 3");
                at += 1;
            }
            let part = self.chunk_bytes.min(length - message.len());
            message.extend_from_slice(&b[at..at + part]);
            at += part;
        }
        self.message_in(kind, time, &message, ledger, jumps, now_ms);
        self.message = message;
        Some(total)
    }

    fn message_in(&mut self, kind: Kind, time: u32, b: &[u8], ledger: &mut Ledger, jumps: u32, now_ms: u64) {
        if self.eye == Eye::Fresh {
            self.prelude_time = Some(self.prelude_time.map_or(time, |before| before.max(time)));
        }
        match script::read(kind, b) {
            Said::Header(variant) => self.headers[usize::from(kind == Kind::Video)] = variant,
            Said::Meta(variant) => self.meta = variant,
            Said::Frame { nonce, seq } => self.frame(nonce, seq, time, ledger, jumps, now_ms),
        }
    }

    fn frame(&mut self, nonce: u32, seq: u32, time: u32, ledger: &mut Ledger, jumps: u32, now_ms: u64) {
        let who = self.number;
        ledger.granted(nonce);
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
                if fact.meta != 0 && jumps == 0 {
                    assert_eq!(self.meta, fact.meta, "metadata-first: viewer {who} begins with {here:?}");
                }
                let prelude = self.prelude_time.unwrap_or(time);
                assert!(prelude <= time, "prelude-time: {prelude} before {time}, viewer {who}");
                self.eye = if fact.key { Eye::Step } else { Eye::Sound };
                self.began_ms = now_ms;
                self.first_order = ledger.order[nonce as usize];
            }
            Some((before, last)) if before == nonce => {
                assert!(seq > last, "in-order-once: viewer {who} got {here:?} after {last}");
                jumped = self.missing(&ledger.sessions[nonce as usize][last as usize + 1..seq as usize]);
            }
            Some((before, last)) => {
                let (old, new) = (ledger.order[before as usize], ledger.order[nonce as usize]);
                assert!(new > old, "no-older-epoch: viewer {who} got {here:?} after {before}/{last}");
                jumped = self.missing(&ledger.sessions[nonce as usize][..seq as usize]);
                if self.eye == Eye::Step && jumps == 0 {
                    ledger.claims.push(Claim { from: before, last, to: nonce, viewer: who });
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
            self.eye = if fact.key { Eye::Step } else { Eye::Sound };
        }
        if self.eye == Eye::Sound && picture {
            assert!(fact.key, "sound-until-keyframe: viewer {who} got {here:?}");
            self.eye = Eye::Step;
        }
        if fact.header != 0 {
            let had = self.headers[usize::from(picture)];
            assert_eq!(had, fact.header, "headers-in-force: viewer {who} at {here:?}, last {:?}", self.last);
        }
        let last_time = &mut self.last_time[usize::from(picture)];
        assert!(time >= *last_time, "monotonic: viewer {who} got {time} after {last_time}");
        *last_time = time;
        let seen = ledger.sessions[nonce as usize][seq as usize].seen_time.get_or_insert(time);
        assert_eq!(*seen, time, "same-time: viewer {who}, frame {here:?}");
        if fact.made_ms > self.began_ms {
            self.worst_ms = self.worst_ms.max(now_ms.saturating_sub(fact.made_ms));
        }
        self.frames += 1;
        self.last = Some(here);
    }

    /// Whether a viewer of this eye may not miss these.
    fn missing(&self, facts: &[Fact]) -> bool {
        match self.eye {
            Eye::Sound => facts.iter().any(|fact| fact.kind == Kind::Audio || fact.key),
            _ => !facts.is_empty(),
        }
    }
}
