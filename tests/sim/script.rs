//! What publishers send: streams of frames that say what they are, so that whoever receives one can tell
//! which it is, what came before it, and which headers it needs.

use crate::rng::Rng;
use bytes::Bytes;
use srs_shard::formats::amf0::Value;
use srs_shard::formats::message::{Kind, Message, WireTime};

/// What a session's content is like.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    pub(crate) audio: bool,
    pub(crate) video: bool,
    /// 0: no metadata; else its variant.
    pub(crate) meta: u8,
    pub(crate) picture_ms: u64,
    pub(crate) sound_ms: u64,
    pub(crate) gop_pictures: u32,
    pub(crate) key_bytes: usize,
    pub(crate) picture_bytes: usize,
    /// The first picture comes so much later than the first sound.
    pub(crate) video_late_ms: u64,
    /// The audio header, and sound, come so much later.
    pub(crate) audio_late_ms: u64,
    /// Headers change at a keyframe in so many of 100 cases.
    pub(crate) changes: u64,
    /// Time of the first message on the wire.
    pub(crate) first_time: u32,
}

impl Style {
    pub(crate) fn random(rng: &mut Rng, fat: bool) -> Style {
        let tracks = rng.within(0, 9);
        let fps = if fat { 25 } else { rng.pick(&[2, 10, 25, 25]) };
        let gop_ms = rng.pick(&[300, 500, 1000, 2000]);
        Style {
            audio: tracks != 0,
            video: tracks != 1 && tracks != 2,
            meta: rng.pick(&[0, 1, 1, 2]),
            picture_ms: 1000 / fps,
            sound_ms: rng.pick(&[23, 60]),
            gop_pictures: (gop_ms * fps / 1000).max(1) as u32,
            key_bytes: if fat { 200_000 } else { rng.pick(&[50, 800, 6000]) },
            picture_bytes: if fat { 60_000 } else { rng.pick(&[20, 100, 400]) },
            video_late_ms: if rng.percent(10) { rng.within(0, 400) } else { 0 },
            audio_late_ms: if rng.percent(20) { rng.within(0, 400) } else { 0 },
            changes: rng.pick(&[0, 0, 30]),
            first_time: rng.pick(&[0, 0, 100, 5_000_000]),
        }
    }

    /// Most bytes of one message, and most in a second.
    pub(crate) fn most_bytes(&self) -> (usize, usize) {
        let keys = 1000 / (u64::from(self.gop_pictures) * self.picture_ms).max(1) + 1;
        let pictures = 1000 / self.picture_ms + 1;
        let second = keys as usize * self.key_bytes + pictures as usize * self.picture_bytes;
        (self.key_bytes.max(self.picture_bytes) + 64, second + 200 * 64)
    }
}

/// What is known of one frame that was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact {
    pub(crate) kind: Kind,
    pub(crate) key: bool,
    /// Variant of the header it needs; 0 for none.
    pub(crate) header: u8,
    /// Variant of the metadata in force; 0 for none.
    pub(crate) meta: u8,
    pub(crate) made_ms: u64,
    /// Time as every viewer saw it.
    pub(crate) seen_time: Option<u32>,
    /// Some viewer got it.
    pub(crate) seen: bool,
}

/// Makes one session's messages as time goes by.
pub(crate) struct Script {
    pub(crate) style: Style,
    nonce: u32,
    next_picture_ms: u64,
    next_sound_ms: u64,
    pictures: u32,
    video_header: u8,
    audio_header: u8,
    meta: u8,
    began: bool,
}

const SOUND: &[u8] = b"\xaf\x01";
const KEY: &[u8] = b"\x17\x01\x00\x00\x00";
const PICTURE: &[u8] = b"\x27\x01\x00\x00\x00";
/// AAC LC, stereo, at a sampling rate that is the variant.
const AUDIO_HEADERS: [&[u8]; 3] = [b"\xaf\x00\x12\x10", b"\xaf\x00\x11\x90", b"\xaf\x00\x12\x90"];
/// `samplingFrequencyIndex` of each.
const RATE_INDEXES: [u8; 3] = [4, 3, 5];
/// AVC with parameter sets of two bytes, the second of which is the variant.
const VIDEO_HEADER: &[u8] = b"\x17\x00\x00\x00\x00\x01\x64\x00\x1f\xff\xe1\x00\x02\x67V\x01\x00\x02\x68V";
const VARIANT_AT: usize = 14;
/// First bytes of a slice of a keyframe and of another.
const KEY_SLICE: u8 = 0x65;
const SLICE: u8 = 0x41;

/// The variant of an audio header, by its `samplingFrequencyIndex`.
pub(crate) fn audio_variant(rate_index: u8) -> u8 {
    RATE_INDEXES.iter().position(|index| *index == rate_index).expect("a rate that was published") as u8 + 1
}

impl Script {
    pub(crate) fn new(nonce: u32, style: Style, rng: &mut Rng) -> Script {
        Script {
            nonce,
            next_picture_ms: style.video_late_ms,
            next_sound_ms: style.audio_late_ms,
            pictures: 0,
            video_header: if style.video { rng.pick(&[1, 1, 2]) } else { 0 },
            audio_header: if style.audio { rng.pick(&[1, 1, 2]) } else { 0 },
            meta: style.meta,
            style,
            began: false,
        }
    }

    /// Which session this is, among its stream's.
    pub(crate) fn nonce(&self) -> u32 {
        self.nonce
    }

    /// Everything due until `elapsed_ms` since the session went live.
    pub(crate) fn make(
        &mut self,
        elapsed_ms: u64,
        now_ms: u64,
        rng: &mut Rng,
        facts: &mut Vec<Fact>,
        out: &mut Vec<Message>,
    ) {
        if !self.began {
            self.began = true;
            let time = WireTime(self.style.first_time);
            if self.meta > 0 {
                out.push(Message { kind: Kind::Data, time, payload: metadata(self.meta) });
            }
            if self.style.video {
                out.push(self.header(Kind::Video, 0));
            }
            if self.style.audio && self.style.audio_late_ms == 0 {
                out.push(self.header(Kind::Audio, 0));
            }
        }
        loop {
            let picture = if self.style.video { self.next_picture_ms } else { u64::MAX };
            let sound = if self.style.audio { self.next_sound_ms } else { u64::MAX };
            if picture.min(sound) > elapsed_ms {
                return;
            }
            let is_picture = picture <= sound;
            let at = picture.min(sound);
            let kind = if is_picture { Kind::Video } else { Kind::Audio };
            let key = is_picture && self.pictures.is_multiple_of(self.style.gop_pictures);
            if is_picture {
                if key && self.pictures > 0 && rng.percent(self.style.changes) {
                    self.video_header = rng.pick(&[1, 2, 3]);
                    out.push(self.header(Kind::Video, at));
                }
                self.pictures += 1;
                self.next_picture_ms += self.style.picture_ms;
            } else {
                let first = self.style.audio_late_ms > 0 && at == self.style.audio_late_ms;
                if first || (self.style.changes > 0 && rng.percent(1)) {
                    self.audio_header = if first { self.audio_header } else { rng.pick(&[1, 2, 3]) };
                    out.push(self.header(Kind::Audio, at));
                }
                self.next_sound_ms += self.style.sound_ms;
            }
            let seq = facts.len() as u32;
            let header = if is_picture { self.video_header } else { self.audio_header };
            facts.push(Fact {
                kind,
                key,
                header,
                meta: self.meta,
                made_ms: now_ms,
                seen_time: None,
                seen: false,
            });
            let size = match (is_picture, key) {
                (true, true) => self.style.key_bytes,
                (true, false) => self.style.picture_bytes,
                _ => 8,
            };
            let mut payload = Vec::with_capacity(size + 18);
            if is_picture {
                payload.extend_from_slice(if key { KEY } else { PICTURE });
                payload.extend_from_slice(&(size as u32 + 9).to_be_bytes());
                payload.push(if key { KEY_SLICE } else { SLICE });
            } else {
                payload.extend_from_slice(SOUND);
            }
            payload.extend_from_slice(&self.nonce.to_be_bytes());
            payload.extend_from_slice(&seq.to_be_bytes());
            payload.resize(payload.len() + size, seq as u8);
            out.push(Message { kind, time: self.time(at), payload: payload.into() });
        }
    }

    fn time(&self, at_ms: u64) -> WireTime {
        WireTime(self.style.first_time.wrapping_add(at_ms as u32))
    }

    fn header(&self, kind: Kind, at_ms: u64) -> Message {
        let payload = if kind == Kind::Audio {
            AUDIO_HEADERS[usize::from(self.audio_header) - 1].to_vec()
        } else {
            let mut header = VIDEO_HEADER.to_vec();
            let last = header.len() - 1;
            (header[VARIANT_AT], header[last]) = (self.video_header, self.video_header);
            header
        };
        Message { kind, time: self.time(at_ms), payload: payload.into() }
    }
}

fn metadata(variant: u8) -> Bytes {
    let mut body = Vec::new();
    Value::text("onMetaData").write(&mut body);
    let properties = vec![("variant".to_owned(), Value::Number(f64::from(variant)))];
    Value::EcmaArray(properties).write(&mut body);
    body.into()
}

/// What a payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Header(u8),
    Meta(u8),
    Frame { nonce: u32, seq: u32 },
}

/// Whether a message is a frame, and not a header or metadata.
pub(crate) fn is_frame(message: &Message) -> bool {
    message.kind != Kind::Data && message.payload.get(1) == Some(&1)
}

/// Which session and which of its frames the bytes of a sound or a slice name.
pub(crate) fn names(b: &[u8]) -> (u32, u32) {
    let u32_at = |at: usize| u32::from_be_bytes(b[at..at + 4].try_into().unwrap());
    (u32_at(0), u32_at(4))
}

/// Reads a payload that a viewer got.
pub(crate) fn read(kind: Kind, payload: &[u8]) -> Said {
    let frame = |at: usize| {
        let (nonce, seq) = names(&payload[at..]);
        Said::Frame { nonce, seq }
    };
    match kind {
        Kind::Data => {
            let name = b"variant\x00";
            let at = payload.windows(name.len()).position(|window| window == name).unwrap() + name.len();
            Said::Meta(f64::from_be_bytes(payload[at..at + 8].try_into().unwrap()) as u8)
        }
        Kind::Audio if payload[1] == 0 => {
            Said::Header(audio_variant((payload[2] & 7) << 1 | payload[3] >> 7))
        }
        Kind::Video if payload[1] == 0 => Said::Header(payload[VARIANT_AT]),
        Kind::Audio => frame(2),
        Kind::Video => frame(10),
    }
}
