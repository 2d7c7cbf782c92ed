//! Writes messages as chunks: the first with a full header (fmt 0), the others with none (fmt 3).
//!
//! A full header costs 11 bytes per message and buys that a message needs no history: it may be the first
//! one that a player gets, and messages of two writers can follow each other.

use super::EXTENDED_TIME;
use crate::formats::message::WireTime;

/// Appends one message. `payload` is given in parts, so that a header can be put before a body without
/// copying the two together; the length on the wire is their sum. `chunk_bytes` must be what the peer was
/// told last. An extended timestamp is repeated in every chunk (§5.3.1.3).
pub fn write_message(
    out: &mut Vec<u8>,
    csid: u32,
    type_id: u8,
    stream_id: u32,
    time: WireTime,
    payload: &[&[u8]],
    chunk_bytes: u32,
) {
    let length: usize = payload.iter().map(|part| part.len()).sum();
    debug_assert!(length <= 0xff_ffff, "a message's length has 24 bits");
    let chunk_bytes = chunk_bytes.max(1) as usize;
    let extended = time.0 >= EXTENDED_TIME;
    let chunks = length.div_ceil(chunk_bytes).max(1);
    out.reserve(length + 18 + (chunks - 1) * 7);

    basic_header(out, 0, csid);
    out.extend_from_slice(&time.0.min(EXTENDED_TIME).to_be_bytes()[1..]);
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.push(type_id);
    out.extend_from_slice(&stream_id.to_le_bytes()); // the one little-endian field (§5.3.1.2.1)
    if extended {
        out.extend_from_slice(&time.0.to_be_bytes());
    }
    let mut room = chunk_bytes;
    for part in payload {
        let mut part = *part;
        while !part.is_empty() {
            if room == 0 {
                basic_header(out, 3, csid);
                if extended {
                    out.extend_from_slice(&time.0.to_be_bytes());
                }
                room = chunk_bytes;
            }
            let (now, later) = part.split_at(room.min(part.len()));
            out.extend_from_slice(now);
            room -= now.len();
            part = later;
        }
    }
}

/// The basic header in its shortest form (§5.3.1.1).
pub(super) fn basic_header(out: &mut Vec<u8>, fmt: u8, csid: u32) {
    let fmt = fmt << 6;
    match csid {
        0..=63 => out.push(fmt | csid as u8),
        64..=319 => out.extend_from_slice(&[fmt, (csid - 64) as u8]),
        _ => {
            let [low, high, ..] = (csid - 64).to_le_bytes();
            out.extend_from_slice(&[fmt | 1, low, high]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(csid: u32, time: u32, payload: &[&[u8]], chunk_bytes: u32) -> Vec<u8> {
        let mut out = Vec::new();
        write_message(&mut out, csid, 9, 1, WireTime(time), payload, chunk_bytes);
        out
    }

    #[test]
    fn a_message_in_one_chunk() {
        let bytes = written(6, 0x010203, &[b"ab", b"", b"c"], 128);
        assert_eq!(bytes, b"\x06\x01\x02\x03\0\0\x03\x09\x01\0\0\0abc");
        assert_eq!(
            written(6, 0, &[], 128),
            b"\x06\0\0\0\0\0\0\x09\x01\0\0\0",
            "an empty message is a header"
        );
    }

    #[test]
    fn chunks_do_not_care_where_the_parts_meet() {
        let bytes = written(6, 0, &[b"abcd", b"ef"], 3);
        assert_eq!(bytes, b"\x06\0\0\0\0\0\x06\x09\x01\0\0\0abc\xc6def");
        assert_eq!(written(6, 0, &[b"a", b"bcdef"], 3), bytes);
        assert_eq!(written(6, 0, &[b"abc"], 3), b"\x06\0\0\0\0\0\x03\x09\x01\0\0\0abc", "no empty chunk");
    }

    #[test]
    fn a_late_timestamp_is_extended_in_each_chunk() {
        let bytes = written(6, 0x00ff_ffff, &[b"abcd"], 3);
        assert_eq!(bytes, b"\x06\xff\xff\xff\0\0\x04\x09\x01\0\0\0\0\xff\xff\xffabc\xc6\0\xff\xff\xffd");
        assert_eq!(written(6, 0x00ff_fffe, &[b"a"], 3)[1..4], [0xff, 0xff, 0xfe]);
    }

    #[test]
    fn chunk_stream_ids_take_one_two_or_three_bytes() {
        for (csid, header) in [
            (2, &b"\x02"[..]),
            (63, b"\x3f"),
            (64, b"\x00\x00"),
            (319, b"\x00\xff"),
            (320, b"\x01\x00\x01"),
            (65599, b"\x01\xff\xff"),
        ] {
            assert_eq!(written(csid, 0, &[], 128)[..header.len()], *header, "{csid}");
        }
    }
}
