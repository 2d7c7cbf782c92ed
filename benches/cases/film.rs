//! The stream that all cases share: two seconds of 250 kbit/s, 25 pictures and 43 frames of audio a second, as an encoder
//! would send it.

use bytes::Bytes;
use srs_shard::formats::flv::inspect;
use srs_shard::formats::message::{Frame, Kind, MediaTime, Message, WireTime};
use srs_shard::stream::prelude::Prelude;

/// A group of pictures lasts so long.
pub const GOP_MS: u32 = 2_000;
const PICTURES: u32 = 50;
const SOUNDS: u32 = 86;
const KEY_BYTES: usize = 6_500;
const PICTURE_BYTES: usize = 820;
const SOUND_BYTES: usize = 186;
/// Parameter sets of 1280 × 720, High profile.
const AVC_HEADER: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x1a\x67\x64\0\x1f\xac\xd9\x40\x50\x05\xbb\x01\x10\0\0\x03\0\x10\0\0\x03\x03\x20\xf1\x83\x19\x60\x01\0\x06\x68\xeb\xe3\xcb\x22\xc0";
const AAC_HEADER: &[u8] = b"\xaf\0\x12\x10";

/// See the module.
pub struct Film {
    /// Sequence headers.
    pub headers: Vec<Message>,
    /// Coded messages in the order of their times.
    pub messages: Vec<Message>,
}

impl Default for Film {
    fn default() -> Film {
        let message = |kind, ms, payload: Bytes| Message { kind, time: WireTime(ms), payload };
        let headers = vec![
            message(Kind::Video, 0, Bytes::from_static(AVC_HEADER)),
            message(Kind::Audio, 0, Bytes::from_static(AAC_HEADER)),
        ];
        let pictures = (0..PICTURES).map(|i| {
            let (flag, unit, bytes) =
                if i == 0 { (0x17, 0x65, KEY_BYTES) } else { (0x27, 0x41, PICTURE_BYTES) };
            let mut payload = vec![flag, 1, 0, 0, 0];
            payload.extend_from_slice(&(bytes as u32).to_be_bytes());
            payload.push(unit);
            // No start code is in it, as in real slices.
            payload.extend((1..bytes).map(|n| (n % 251) as u8 | 1));
            message(Kind::Video, i * GOP_MS / PICTURES, payload.into())
        });
        let sounds = (0..SOUNDS).map(|i| {
            let payload: Vec<u8> =
                [0xaf, 1].into_iter().chain((0..SOUND_BYTES).map(|n| (n % 253) as u8)).collect();
            message(Kind::Audio, i * GOP_MS / SOUNDS, payload.into())
        });
        let mut messages: Vec<Message> = pictures.chain(sounds).collect();
        messages.sort_by_key(|m| m.time);
        Film { headers, messages }
    }
}

impl Film {
    /// Bytes of the coded messages' payloads.
    pub fn bytes(&self) -> u64 {
        self.messages.iter().map(|m| m.payload.len() as u64).sum()
    }

    /// The prelude in force, and the messages as a stream's frames.
    pub fn frames(&self) -> (Prelude, Vec<Frame>) {
        let mut prelude = Prelude::default();
        let mut frames = Vec::new();
        for message in &self.headers {
            let tag = inspect(message.kind, &message.payload);
            prelude.remember(message.kind, tag, &message.payload);
        }
        for message in &self.messages {
            let tag = inspect(message.kind, &message.payload);
            prelude.saw_frame(message.kind, &tag, &message.payload);
            let time = MediaTime(i64::from(message.time.0));
            frames.push(Frame { kind: message.kind, time, tag, payload: message.payload.clone() });
        }
        (prelude, frames)
    }
}
