//! Fragmented MP4 (ISO 14496-12 §8.8) for Media Source: an initialisation segment, then fragments of one
//! track each.

use super::boxes::{
    put_u32, put_zeros, write_audio_trak, write_box, write_full_box, write_mvhd, write_video_trak,
};
use super::{AudioTrack, VideoTrack};

/// Track id of video.
pub const VIDEO_TRACK: u32 = 1;
/// Track id of audio.
pub const AUDIO_TRACK: u32 = 2;

/// One sample of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Duration in the track's timescale.
    pub duration: u32,
    /// Bytes.
    pub bytes: u32,
    /// Decoding can start here: a video keyframe, or any audio.
    pub sync: bool,
    /// Presentation minus decoding time, in the track's timescale.
    pub composition_offset: i32,
}

/// Appends `ftyp` and `moov` for the tracks that exist.
pub fn write_init(video: Option<&VideoTrack>, audio: Option<&AudioTrack>, out: &mut Vec<u8>) {
    write_box(b"ftyp", out, |out| {
        out.extend_from_slice(b"iso5"); // the brand that has default-base-is-moof
        put_u32(512, out);
        out.extend_from_slice(b"iso5iso6mp41");
    });
    write_box(b"moov", out, |out| {
        write_mvhd(AUDIO_TRACK + 1, out);
        if let Some(track) = video {
            write_video_trak(VIDEO_TRACK, track, out);
        }
        if let Some(track) = audio {
            write_audio_trak(AUDIO_TRACK, track, out);
        }
        write_box(b"mvex", out, |out| {
            for (id, there) in [(VIDEO_TRACK, video.is_some()), (AUDIO_TRACK, audio.is_some())] {
                if there {
                    write_full_box(b"trex", 0, 0, out, |out| {
                        put_u32(id, out);
                        put_u32(1, out); // default_sample_description_index
                        put_zeros(12, out);
                    });
                }
            }
        });
    });
}

/// Appends one `moof` and its `mdat`. `time` is the first sample's decoding time in the track's timescale;
/// `data` is what all samples consist of.
pub fn write_fragment(
    sequence: u32,
    track: u32,
    time: u64,
    samples: &[Sample],
    data: &[u8],
    out: &mut Vec<u8>,
) {
    const DEFAULT_BASE_IS_MOOF: u32 = 0x02_0000;
    // data offset; per sample: duration, size, flags, composition offset
    const RUN: u32 = 0x1 | 0x100 | 0x200 | 0x400 | 0x800;
    let start = out.len();
    let mut offset_at = 0;
    write_box(b"moof", out, |out| {
        write_full_box(b"mfhd", 0, 0, out, |out| put_u32(sequence, out));
        write_box(b"traf", out, |out| {
            write_full_box(b"tfhd", 0, DEFAULT_BASE_IS_MOOF, out, |out| put_u32(track, out));
            write_full_box(b"tfdt", 1, 0, out, |out| out.extend_from_slice(&time.to_be_bytes()));
            write_full_box(b"trun", 1, RUN, out, |out| {
                put_u32(samples.len() as u32, out);
                offset_at = out.len();
                put_u32(0, out);
                for sample in samples {
                    put_u32(sample.duration, out);
                    put_u32(sample.bytes, out);
                    put_u32(sample_flags(sample.sync), out);
                    put_u32(sample.composition_offset as u32, out);
                }
            });
        });
    });
    const BOX_HEAD: usize = 8;
    let offset = (out.len() - start + BOX_HEAD) as u32;
    if let Some(place) = out.get_mut(offset_at..offset_at + 4) {
        place.copy_from_slice(&offset.to_be_bytes());
    }
    write_box(b"mdat", out, |out| out.extend_from_slice(data));
}

/// §8.8.3.1: a sync sample depends on no other; the rest depend on others and are no sync samples.
const fn sample_flags(sync: bool) -> u32 {
    if sync { 0x0200_0000 } else { 0x0101_0000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment() {
        let sample = Sample { duration: 40, bytes: 3, sync: true, composition_offset: -1 };
        let mut out = vec![0xee];
        write_fragment(7, VIDEO_TRACK, 1 << 33, &[sample], b"abc", &mut out);
        let out = &out[1..];
        let moof = u32::from_be_bytes(out[..4].try_into().unwrap()) as usize;
        assert_eq!(out[moof..], *b"\0\0\0\x0bmdatabc");
        let at = |name: &[u8]| out.windows(4).position(|w| w == name).unwrap() + 4;
        assert_eq!(out[at(b"tfdt")..][..12], [1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        let run = &out[at(b"trun")..];
        assert_eq!(run[..4], [1, 0, 0x0f, 1], "version 1: signed composition offsets");
        assert_eq!(run[8..12], ((moof + 8) as u32).to_be_bytes(), "data offset from the moof");
        assert_eq!(run[12..28], [0, 0, 0, 40, 0, 0, 0, 3, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }
}
