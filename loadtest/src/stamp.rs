//! The time of sending, inside the picture: how latency is measured through any server.
//!
//! Each coded H.264 or HEVC picture gets one more NAL unit before its first slice: SEI
//! `user_data_unregistered` (ISO 14496-10 §D.1.7, HEVC §D.2.7) with [`UUID`] and CLOCK_MONOTONIC nanoseconds as
//! 16 hexadecimal digits. Decoders ignore it, servers that do not transcode pass it on whatever they do to
//! timestamps, metadata and containers, and neither the UUID nor the digits hold a zero byte, so no emulation
//! prevention is needed. Publisher and player must share a host. Streams without such video have no latency.

use srs_shard::formats::codec::Codec;
use srs_shard::formats::flv::{self, Role};
use srs_shard::formats::message::Kind;
use srs_shard::formats::nalu::Nalus;

/// Marks the SEI as ours; made at random.
pub(crate) const UUID: [u8; 16] =
    [0x7d, 0x3a, 0x91, 0xc5, 0x5e, 0x24, 0x4b, 0x9f, 0xa6, 0xd8, 0x13, 0x6e, 0xb2, 0x47, 0xf0, 0x5c];
/// Hexadecimal digits of the time.
const DIGITS: usize = 16;
/// The SEI stands before the first slice; what may stand before it (AUD, parameter sets, other SEI) is short.
const SEARCHED_BYTES: usize = 4096;

/// Makes room for a stamp in each picture of a stream.
#[derive(Debug, Default)]
pub(crate) struct Stamper {
    /// Bytes of a NAL unit's length, from the sequence header.
    length_bytes: Option<u8>,
}

impl Stamper {
    /// Takes the stream's next video payload (FLV tag body). The payload with room for a stamp, and where the
    /// stamp is to be written; `None` for what cannot carry one.
    pub(crate) fn make_room(&mut self, payload: &[u8]) -> Option<(Vec<u8>, usize)> {
        let tag = flv::inspect(Kind::Video, payload);
        let body = payload.get(tag.body_at..)?;
        let (hevc, length_at) = match tag.codec {
            Codec::H264 => (false, 4),
            Codec::Hevc => (true, 21),
            _ => return None,
        };
        match tag.role {
            Role::SequenceHeader => {
                self.length_bytes = body.get(length_at).map(|b| (b & 3) + 1);
                None
            }
            Role::Key | Role::Coded if !tag.multitrack => {
                let length_bytes = self.length_bytes?;
                let at = tag.body_at + first_slice(body, length_bytes, hevc)?;
                let sei = sei(hevc);
                let length = (sei.len() as u32).to_be_bytes();
                let (before, after) = payload.split_at(at);
                let mut out = before.to_vec();
                out.extend_from_slice(&length[4 - usize::from(length_bytes)..]);
                out.extend_from_slice(&sei);
                let digits_at = out.len() - 1 - DIGITS;
                out.extend_from_slice(after);
                Some((out, digits_at))
            }
            _ => None,
        }
    }
}

/// Writes the time into the room that was made at `at`.
pub(crate) fn write(payload: &mut [u8], at: usize, sent_ns: u64) {
    for (i, digit) in payload.iter_mut().skip(at).take(DIGITS).enumerate() {
        *digit = b"0123456789abcdef"[(sent_ns >> (60 - 4 * i)) as usize & 15];
    }
}

/// The time a video payload was stamped with.
pub(crate) fn read(payload: &[u8]) -> Option<u64> {
    let searched = &payload[..payload.len().min(SEARCHED_BYTES)];
    let at = searched.windows(UUID.len()).position(|w| w == UUID)? + UUID.len();
    let digits = std::str::from_utf8(searched.get(at..at + DIGITS)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// Offset in the body of the first slice's length field.
fn first_slice(body: &[u8], length_bytes: u8, hevc: bool) -> Option<usize> {
    let unit = Nalus::new(body, length_bytes).find(|unit| match unit.first() {
        Some(head) if hevc => (head >> 1 & 0x3f) < 32,
        Some(head) => (1..=5).contains(&(head & 0x1f)),
        None => false,
    })?;
    (unit.as_ptr() as usize).checked_sub(body.as_ptr() as usize + usize::from(length_bytes))
}

/// The NAL unit, its time still zeros.
fn sei(hevc: bool) -> Vec<u8> {
    const USER_DATA_UNREGISTERED: u8 = 5;
    const STOP_BIT: u8 = 0x80;
    let head: &[u8] = if hevc { &[39 << 1, 1] } else { &[6] };
    let mut out = head.to_vec();
    out.extend_from_slice(&[USER_DATA_UNREGISTERED, (UUID.len() + DIGITS) as u8]);
    out.extend_from_slice(&UUID);
    out.extend_from_slice(&[b'0'; DIGITS]);
    out.push(STOP_BIT);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AVC: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1";
    const HEVC: &[u8] = b"\x90hvc1\x01PCCCCcccccclmmpfdeaa\x03";

    fn avc_picture() -> Vec<u8> {
        // AUD, SEI, an IDR slice.
        [
            &b"\x17\x01\0\0\x28"[..],
            b"\0\0\0\x02\x09\xf0",
            b"\0\0\0\x03\x06\x01\x80",
            b"\0\0\0\x03\x65\x88\x84",
        ]
        .concat()
    }

    #[test]
    fn a_stamp_stands_before_the_first_slice_and_nothing_else_changes() {
        let mut stamper = Stamper::default();
        assert_eq!(stamper.make_room(AVC), None);
        let picture = avc_picture();
        let (mut stamped, at) = stamper.make_room(&picture).expect("a picture has room");
        write(&mut stamped, at, 0x0123_4567_89ab_cdef);
        assert_eq!(read(&stamped), Some(0x0123_4567_89ab_cdef));
        let types: Vec<u8> = Nalus::new(&stamped[5..], 4).map(|unit| unit[0] & 0x1f).collect();
        assert_eq!(types, [9, 6, 6, 5]);
        let added = stamped.len() - picture.len();
        assert_eq!(added, 4 + 1 + 2 + 16 + 16 + 1);
        let start = picture.len() - 7;
        assert_eq!([&stamped[..start], &stamped[start + added..]].concat(), picture);
    }

    #[test]
    fn hevc_pictures_are_stamped_with_a_prefix_sei() {
        let mut stamper = Stamper::default();
        assert_eq!(stamper.make_room(HEVC), None);
        let picture = b"\x93hvc1\0\0\0\x03\x46\x01\x50\0\0\0\x04\x26\x01\xaf\x08";
        let (mut stamped, at) = stamper.make_room(picture).expect("a picture has room");
        write(&mut stamped, at, 77);
        assert_eq!(read(&stamped), Some(77));
        let types: Vec<u8> = Nalus::new(&stamped[5..], 4).map(|unit| unit[0] >> 1 & 0x3f).collect();
        assert_eq!(types, [35, 39, 19]);
    }

    #[test]
    fn what_cannot_carry_a_stamp_is_left_alone() {
        let mut stamper = Stamper::default();
        assert_eq!(stamper.make_room(&avc_picture()), None, "no sequence header yet");
        stamper.make_room(AVC);
        for payload in [&b""[..], b"\x17", b"\x17\x02\0\0\0", b"\x12abc", b"\x17\x01\0\0\0\0\0\0\x02\x09\xf0"]
        {
            assert_eq!(stamper.make_room(payload), None, "{payload:02x?}");
        }
        assert_eq!(read(&avc_picture()), None);
    }

    proptest! {
        #[test]
        fn any_time_is_read_back_and_needs_no_emulation_prevention(ns: u64) {
            let mut stamper = Stamper::default();
            stamper.make_room(AVC);
            let (mut stamped, at) = stamper.make_room(&avc_picture()).expect("a picture has room");
            write(&mut stamped, at, ns);
            prop_assert_eq!(read(&stamped), Some(ns));
            let sei = Nalus::new(&stamped[5..], 4).nth(2).expect("the SEI");
            prop_assert!(!sei.contains(&0));
        }

        #[test]
        fn any_bytes_are_no_panic(payload: Vec<u8>) {
            let mut stamper = Stamper { length_bytes: Some(4) };
            let _ = stamper.make_room(&payload);
            let _ = read(&payload);
        }
    }
}
