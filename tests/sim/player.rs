//! A player: reads RTMP chunks (a reader of its own, so that it shares no mistake with the server) and holds
//! every message against what the publishers made.

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
    pub(crate) orders: u32,
    pub(crate) claims: Vec<Claim>,
}

impl Ledger {
    pub(crate) fn granted(&mut self, nonce: u32) {
        if self.order[nonce as usize].is_none() {
            self.order[nonce as usize] = Some(self.orders);
            self.orders += 1;
        }
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
    pub(crate) http: bool,
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

/// One player.
pub(crate) struct Player {
    number: usize,
    format: Format,
    wanted: Wanted,
    /// The last chunk of its body came.
    pub(crate) ended: bool,
    /// The file header came.
    headed: bool,
    buffer: Vec<u8>,
    message: Vec<u8>,
    headers: [u8; 2],
    meta: u8,
    pub(crate) eye: Eye,
    pub(crate) last: Option<(u32, u32)>,
    last_time: [u32; 2],
    prelude_time: Option<u32>,
    /// No frame of this time or later is for it.
    until: Option<u32>,
    first_order: Option<u32>,
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
            headed: false,
            buffer: Vec::new(),
            message: Vec::new(),
            headers: [0; 2],
            meta: 0,
            eye: Eye::Fresh,
            last: None,
            last_time: [0; 2],
            prelude_time: None,
            until: None,
            first_order: None,
            gaps: 0,
            frames: 0,
            worst_ms: 0,
            began_ms: 0,
        }
    }

    /// Takes bytes in; `jumps` is how often the server says that this viewer jumped.
    pub(crate) fn feed(&mut self, bytes: &mut Vec<u8>, ledger: &mut Ledger, jumps: u32, now_ms: u64) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.is_empty() {
            std::mem::swap(&mut buffer, bytes);
        } else {
            buffer.append(bytes);
        }
        let mut at = 0;
        let one = |player: &mut Player, b: &[u8], ledger: &mut Ledger| match player.format {
            Format::Rtmp { chunk_bytes } => {
                player.one_message(b, chunk_bytes as usize, ledger, jumps, now_ms)
            }
            _ if player.wanted.bare => player.one_bare_tag(b, ledger, jumps, now_ms),
            _ => player.one_http_chunk(b, ledger, jumps, now_ms),
        };
        while let Some(used) = one(self, &buffer[at..], ledger) {
            at += used;
        }
        buffer.drain(..at);
        self.buffer = buffer;
    }

    /// One message as the server writes them: fmt 0 first, fmt 3 for the rest, nothing in between.
    fn one_message(
        &mut self,
        b: &[u8],
        chunk_bytes: usize,
        ledger: &mut Ledger,
        jumps: u32,
        now_ms: u64,
    ) -> Option<usize> {
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
        let chunks = length.div_ceil(chunk_bytes).max(1);
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
            let part = chunk_bytes.min(length - message.len());
            message.extend_from_slice(&b[at..at + part]);
            at += part;
        }
        self.message_in(kind, time, &message, ledger, jumps, now_ms);
        self.message = message;
        Some(total)
    }

    /// One HTTP/1.1 chunk: FLV tags, the file header before the first.
    fn one_http_chunk(&mut self, b: &[u8], ledger: &mut Ledger, jumps: u32, now_ms: u64) -> Option<usize> {
        let head_end = b.windows(2).position(|two| two == b"\r\n")? + 2;
        assert!(!self.ended, "framing: more after the last chunk");
        let digits = std::str::from_utf8(&b[..head_end - 2]).unwrap();
        let length = usize::from_str_radix(digits, 16).unwrap();
        let whole = b.get(..head_end + length + 2)?;
        assert!(whole.ends_with(b"\r\n"), "framing: the end of a chunk");
        let mut at = head_end;
        if length == 0 {
            self.ended = true;
            if let Some((from, last)) = self.last
                && self.eye == Eye::Step
                && jumps == 0
            {
                ledger.claims.push(Claim { from, last, to: None, viewer: self.number, http: true });
            }
        } else if !self.headed {
            self.headed = true;
            assert_eq!(&whole[at..at + 3], b"FLV", "framing: the file header");
            at += 13;
        }
        while at < head_end + length {
            let tag = self.one_tag(&whole[at..head_end + length], ledger, jumps, now_ms);
            at += tag.expect("framing: a tag beyond its chunk");
        }
        Some(whole.len())
    }

    /// One piece of a body without chunks: the file header, or a tag.
    fn one_bare_tag(&mut self, b: &[u8], ledger: &mut Ledger, jumps: u32, now_ms: u64) -> Option<usize> {
        if self.headed {
            return self.one_tag(b, ledger, jumps, now_ms);
        }
        let head = b.get(..13)?;
        assert_eq!(&head[..3], b"FLV", "framing: the file header");
        self.headed = true;
        Some(head.len())
    }

    /// One FLV tag, if it is whole; its length.
    fn one_tag(&mut self, b: &[u8], ledger: &mut Ledger, jumps: u32, now_ms: u64) -> Option<usize> {
        let head = b.get(..11)?;
        let n = |at: usize| u32::from_be_bytes([0, head[at], head[at + 1], head[at + 2]]);
        let (size, time) = (n(1) as usize, n(4));
        let kind = match head[0] {
            8 => Kind::Audio,
            9 => Kind::Video,
            18 => Kind::Data,
            other => panic!("framing: tag type {other}"),
        };
        let tail = b.get(11 + size..11 + size + 4)?;
        assert_eq!(tail, (11 + size as u32).to_be_bytes(), "framing: a tag's length after it");
        self.message_in(kind, time, &b[11..11 + size], ledger, jumps, now_ms);
        Some(11 + size + 4)
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
                self.until = self.wanted.duration_ms.map(|ms| time.saturating_add(ms));
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
                    ledger.claims.push(Claim {
                        from: before,
                        last,
                        to: Some(nonce),
                        viewer: who,
                        http: self.format.is_http(),
                    });
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
