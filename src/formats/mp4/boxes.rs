//! Boxes that describe tracks: sample entries with their decoder configurations, and the headers around them.

use super::{AudioEntry, AudioTrack, VideoEntry, VideoTrack};

/// Timescale of video tracks and of the movie: milliseconds.
pub const MS_PER_SECOND: u32 = 1000;

/// Appends a box: `write` appends its body. A body of 4 GiB or more cannot be written this way.
pub fn write_box(kind: &[u8; 4], out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    write(out);
    let size = (out.len() - start) as u32;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&size.to_be_bytes());
    }
}

/// Appends a full box (§4.2): a box with a version and 24 bits of flags.
pub fn write_full_box(
    kind: &[u8; 4],
    version: u8,
    flags: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    write_box(kind, out, |out| {
        put_u32(u32::from(version) << 24 | flags & 0xff_ffff, out);
        write(out);
    });
}

pub(super) fn put_u16(value: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u32(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_zeros(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, 0);
}

/// Unity, §8.2.2: a matrix of 16.16 and 2.30 fixed point numbers.
fn put_matrix(out: &mut Vec<u8>) {
    for value in [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000] {
        put_u32(value, out);
    }
}

/// `mvhd`, §8.2.2, of a movie whose duration is not known.
pub(super) fn write_mvhd(next_track_id: u32, out: &mut Vec<u8>) {
    write_full_box(b"mvhd", 0, 0, out, |out| {
        put_zeros(8, out); // creation and modification time
        put_u32(MS_PER_SECOND, out);
        put_u32(0, out); // duration
        put_u32(0x1_0000, out); // rate 1.0
        put_u16(0x100, out); // volume 1.0
        put_zeros(10, out);
        put_matrix(out);
        put_zeros(24, out);
        put_u32(next_track_id, out);
    });
}

/// `trak` of a fragmented video track, §8.3.1.
pub(super) fn write_video_trak(id: u32, track: &VideoTrack, out: &mut Vec<u8>) {
    write_box(b"trak", out, |out| {
        write_tkhd(id, 0, track.width, track.height, out);
        write_mdia(b"vide", MS_PER_SECOND, out, |out| write_video_entry(track, out));
    });
}

/// `trak` of a fragmented audio track, §8.3.1.
pub(super) fn write_audio_trak(id: u32, track: &AudioTrack, out: &mut Vec<u8>) {
    write_box(b"trak", out, |out| {
        write_tkhd(id, 0x100, 0, 0, out);
        write_mdia(b"soun", track.rate_hz, out, |out| write_audio_entry(track, out));
    });
}

fn write_tkhd(id: u32, volume: u16, width: u16, height: u16, out: &mut Vec<u8>) {
    const ENABLED_IN_MOVIE: u32 = 3;
    write_full_box(b"tkhd", 0, ENABLED_IN_MOVIE, out, |out| {
        put_zeros(8, out); // creation and modification time
        put_u32(id, out);
        put_zeros(4 + 4 + 8 + 2 + 2, out); // duration, layer, alternate group
        put_u16(volume, out);
        put_zeros(2, out);
        put_matrix(out);
        put_u32(u32::from(width) << 16, out);
        put_u32(u32::from(height) << 16, out);
    });
}

fn write_mdia(handler: &[u8; 4], timescale: u32, out: &mut Vec<u8>, entry: impl FnOnce(&mut Vec<u8>)) {
    write_box(b"mdia", out, |out| {
        write_full_box(b"mdhd", 0, 0, out, |out| {
            put_zeros(8, out);
            put_u32(timescale, out);
            put_u32(0, out);
            put_u16(0x55c4, out); // language "und"
            put_zeros(2, out);
        });
        write_full_box(b"hdlr", 0, 0, out, |out| {
            put_zeros(4, out);
            out.extend_from_slice(handler);
            put_zeros(12 + 1, out); // reserved, empty name
        });
        write_box(b"minf", out, |out| {
            match handler {
                b"vide" => write_full_box(b"vmhd", 0, 1, out, |out| put_zeros(8, out)),
                _ => write_full_box(b"smhd", 0, 0, out, |out| put_zeros(4, out)),
            }
            write_box(b"dinf", out, |out| {
                write_full_box(b"dref", 0, 0, out, |out| {
                    put_u32(1, out);
                    const IN_THIS_FILE: u32 = 1;
                    write_full_box(b"url ", 0, IN_THIS_FILE, out, |_| {});
                });
            });
            write_box(b"stbl", out, |out| {
                write_full_box(b"stsd", 0, 0, out, |out| {
                    put_u32(1, out);
                    entry(out);
                });
                // §8.8: the samples are in the fragments; the tables must be there and are empty.
                for table in [b"stts", b"stsc", b"stco"] {
                    write_full_box(table, 0, 0, out, |out| put_u32(0, out));
                }
                write_full_box(b"stsz", 0, 0, out, |out| put_zeros(8, out));
            });
        });
    });
}

/// A VisualSampleEntry (§12.1.3) with its decoder configuration.
pub fn write_video_entry(track: &VideoTrack, out: &mut Vec<u8>) {
    let (entry, config) = match track.entry {
        VideoEntry::Avc1 => (b"avc1", b"avcC"),
        VideoEntry::Hvc1 => (b"hvc1", b"hvcC"),
        VideoEntry::Av01 => (b"av01", b"av1C"),
    };
    write_box(entry, out, |out| {
        put_zeros(6, out);
        put_u16(1, out); // data_reference_index
        put_zeros(16, out);
        put_u16(track.width, out);
        put_u16(track.height, out);
        put_u32(0x48_0000, out); // 72 dpi
        put_u32(0x48_0000, out);
        put_u32(0, out);
        put_u16(1, out); // frame_count
        put_zeros(32, out); // compressorname
        put_u16(0x18, out); // depth
        put_u16(0xffff, out); // pre_defined
        write_box(config, out, |out| out.extend_from_slice(&track.config));
    });
}

/// An AudioSampleEntry (§12.2.3) with its decoder configuration.
pub fn write_audio_entry(track: &AudioTrack, out: &mut Vec<u8>) {
    let kind = match track.entry {
        AudioEntry::Opus(_) => b"Opus",
        AudioEntry::Aac(_) | AudioEntry::Mp3 { .. } => b"mp4a",
    };
    write_box(kind, out, |out| {
        put_zeros(6, out);
        put_u16(1, out); // data_reference_index
        put_zeros(8, out);
        put_u16(track.channels.into(), out);
        put_u16(16, out); // samplesize
        put_zeros(4, out);
        put_u32(u16::try_from(track.rate_hz).map_or(0, |rate| u32::from(rate) << 16), out);
        match &track.entry {
            AudioEntry::Aac(config) => write_esds(0x40, config, out),
            AudioEntry::Mp3 { low_rate: false } => write_esds(0x6b, &[], out),
            AudioEntry::Mp3 { low_rate: true } => write_esds(0x69, &[], out),
            AudioEntry::Opus(config) => write_box(b"dOps", out, |out| out.extend_from_slice(config)),
        }
    });
}

/// `esds`: an elementary stream descriptor (ISO 14496-1 §7.2.6.5, ISO 14496-14 §3.1).
fn write_esds(object_type: u8, specific: &[u8], out: &mut Vec<u8>) {
    const AUDIO_STREAM: u8 = 0x15;
    const MP4_SYNC: &[u8] = &[6, 1, 2]; // SLConfigDescriptor, predefined 2
    let mut decoder = vec![object_type, AUDIO_STREAM];
    put_zeros(3 + 4 + 4, &mut decoder); // buffer size and bit rates: not known
    if !specific.is_empty() {
        put_descriptor(5, specific, &mut decoder);
    }
    let mut stream = vec![0, 0, 0]; // ES_ID, flags
    put_descriptor(4, &decoder, &mut stream);
    stream.extend_from_slice(MP4_SYNC);
    write_full_box(b"esds", 0, 0, out, |out| put_descriptor(3, &stream, out));
}

/// Tag, length in 7-bit groups (ISO 14496-1 §8.3.3), body.
fn put_descriptor(tag: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    for shift in [21, 14, 7] {
        if body.len() >> shift != 0 {
            out.push(0x80 | (body.len() >> shift) as u8);
        }
    }
    out.push((body.len() & 0x7f) as u8);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_nest_and_know_their_sizes() {
        let mut out = vec![9];
        write_box(b"outr", &mut out, |out| write_full_box(b"innr", 1, 5, out, |out| out.push(7)));
        assert_eq!(out, b"\x09\0\0\0\x15outr\0\0\0\x0dinnr\x01\0\0\x05\x07");
    }

    #[test]
    fn an_elementary_stream_descriptor() {
        let mut out = Vec::new();
        write_esds(0x40, &[0x12, 0x10], &mut out);
        let expected = b"\0\0\0\x27esds\0\0\0\0\x03\x19\0\0\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x12\x10\x06\x01\x02";
        assert_eq!(out, expected);
        out.clear();
        put_descriptor(5, &[0; 200], &mut out);
        assert_eq!(out[..3], [5, 0x81, 0x48]);
    }
}
