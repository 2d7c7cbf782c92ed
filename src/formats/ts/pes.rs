//! PES packet headers (ISO 13818-1 §2.4.3.6).

use super::CLOCK_WRAP;

/// What a PES packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Stream id 0xE0.
    Video,
    /// Stream id 0xC0.
    Audio,
}

/// More audio does not fit into a PES packet, whose length only video may leave out (§2.4.3.7).
pub const MAX_AUDIO_BYTES: usize = u16::MAX as usize - 3 - 10;

/// Appends the header of a PES packet with `payload_bytes` behind it. `pts` and `dts` count 90 kHz and are
/// taken modulo 2^33; the DTS is left out where it equals the PTS.
pub fn write_header(stream: Stream, pts: i64, dts: i64, payload_bytes: usize, out: &mut Vec<u8>) {
    let both = pts != dts;
    let times: u8 = if both { 10 } else { 5 };
    let stream_id = match stream {
        Stream::Video => 0xe0,
        Stream::Audio => 0xc0,
    };
    // 0 means "until the next one", which costs a receiver a frame of delay, but is all there is above 64 KiB.
    let length = u16::try_from(3 + usize::from(times) + payload_bytes).unwrap_or(0);
    out.extend_from_slice(&[0, 0, 1, stream_id]);
    out.extend_from_slice(&length.to_be_bytes());
    const MARKER_AND_DATA_ALIGNMENT: u8 = 0x84;
    out.extend_from_slice(&[MARKER_AND_DATA_ALIGNMENT, if both { 0xc0 } else { 0x80 }, times]);
    write_time(if both { 3 } else { 2 }, pts, out);
    if both {
        write_time(1, dts, out);
    }
}

/// 33 bits in three groups, each with a marker bit.
fn write_time(prefix: u8, time: i64, out: &mut Vec<u8>) {
    let t = time.rem_euclid(CLOCK_WRAP) as u64;
    let marked = |bits: u64| ((bits & 0x7fff) << 1 | 1) as u16;
    out.push(prefix << 4 | ((t >> 30 & 7) << 1) as u8 | 1);
    out.extend_from_slice(&marked(t >> 15).to_be_bytes());
    out.extend_from_slice(&marked(t).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_with_one_and_with_two_times() {
        let mut out = Vec::new();
        write_header(Stream::Audio, 90_000, 90_000, 10, &mut out);
        assert_eq!(out, [0, 0, 1, 0xc0, 0, 18, 0x84, 0x80, 5, 0x21, 0, 0x05, 0xbf, 0x21]);
        out.clear();
        write_header(Stream::Video, 1, -1, 70_000, &mut out);
        assert_eq!(out[..9], [0, 0, 1, 0xe0, 0, 0, 0x84, 0xc0, 10]);
        assert_eq!(out[9..], [0x31, 0, 1, 0, 3, 0x1f, 0xff, 0xff, 0xff, 0xff], "-1 is 2^33 - 1");
    }
}
