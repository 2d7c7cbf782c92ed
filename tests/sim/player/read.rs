//! Readers of what viewers get, of their own so that they share no mistake with the server.

use super::{Glance, Player};
use crate::script;
use srs_shard::formats::message::Kind;
use srs_shard::stream::encode::Format;

/// Length of an ADTS header without CRC.
pub(super) const ADTS_BYTES: usize = 7;

impl Player {
    /// One piece of what came, if it is whole; its length.
    pub(super) fn read(&mut self, b: &[u8], glance: &mut Glance<'_>) -> Option<usize> {
        match self.format {
            Format::Rtmp { chunk_bytes } => self.one_message(b, chunk_bytes as usize, glance),
            _ if self.wanted.bare => self.one_bare_piece(b, glance),
            _ => self.one_http_chunk(b, glance),
        }
    }

    /// One message as the server writes them: fmt 0 first, fmt 3 for the rest, nothing in between.
    fn one_message(&mut self, b: &[u8], chunk_bytes: usize, glance: &mut Glance<'_>) -> Option<usize> {
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
        assert!(time < 0xff_ffff, "framing: no run is that long");
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
        self.message_in(kind, time, &message, glance);
        self.message = message;
        Some(total)
    }

    /// One HTTP/1.1 chunk: whole pieces of the format, the file header before the first.
    fn one_http_chunk(&mut self, b: &[u8], glance: &mut Glance<'_>) -> Option<usize> {
        let head_end = b.windows(2).position(|two| two == b"\r\n")? + 2;
        assert!(!self.ended, "framing: more after the last chunk");
        let digits = std::str::from_utf8(&b[..head_end - 2]).expect("framing: a chunk's length");
        let length = usize::from_str_radix(digits, 16).expect("framing: a chunk's length");
        let whole = b.get(..head_end + length + 2)?;
        assert!(whole.ends_with(b"\r\n"), "framing: the end of a chunk");
        let body = &whole[head_end..head_end + length];
        if length == 0 {
            self.body_ends(glance);
        }
        let mut at = 0;
        while at < length {
            at += self.one_bare_piece(&body[at..], glance).expect("framing: a piece beyond its chunk");
        }
        if self.format == Format::Ts {
            self.end_of_unit(glance);
        }
        Some(whole.len())
    }

    /// One piece of a body without chunks.
    fn one_bare_piece(&mut self, b: &[u8], glance: &mut Glance<'_>) -> Option<usize> {
        match self.format {
            Format::Ts => self.one_packet(b),
            Format::Aac => self.one_adts_frame(b, glance),
            _ if self.header.is_some() => self.one_tag(b, glance),
            _ => {
                let head = b.get(..13)?;
                assert_eq!(&head[..3], b"FLV", "framing: the file header");
                self.header = Some([head[4] & 4 != 0, head[4] & 1 != 0]);
                Some(head.len())
            }
        }
    }

    fn one_tag(&mut self, b: &[u8], glance: &mut Glance<'_>) -> Option<usize> {
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
        self.message_in(kind, time, &b[11..11 + size], glance);
        Some(11 + size + 4)
    }

    fn one_adts_frame(&mut self, b: &[u8], glance: &mut Glance<'_>) -> Option<usize> {
        let whole = adts_frame(b)?;
        let (nonce, seq) = self.sound_in_adts(whole);
        self.frame(nonce, seq, None, glance);
        Some(whole.len())
    }

    /// Which sound an ADTS frame is; its header is the audio header in force.
    pub(super) fn sound_in_adts(&mut self, frame: &[u8]) -> (u32, u32) {
        self.headers[0] = script::audio_variant(frame[2] >> 2 & 15);
        script::names(&frame[ADTS_BYTES..])
    }
}

/// The ADTS frame that begins here, if it is whole (ISO 14496-3 §1.A.2.2).
pub(super) fn adts_frame(b: &[u8]) -> Option<&[u8]> {
    let head = b.get(..ADTS_BYTES)?;
    assert_eq!(&head[..2], b"\xff\xf1", "framing: an ADTS header");
    let length = usize::from(head[3] & 3) << 11 | usize::from(head[4]) << 3 | usize::from(head[5] >> 5);
    b.get(..length)
}
