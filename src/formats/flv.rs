//! What is inside an audio or video payload, as far as the server has to know: codec, sequence header,
//! keyframe, composition offset, and where the codec's own bytes begin.
//!
//! Adobe FLV 10.1 §E.4.2 and §E.4.3 for the classic header byte, Enhanced RTMP v2 for FourCC codecs,
//! `ModEx` prefixes and multitrack packets. Anything unknown is passed on untouched: payloads are opaque
//! unless a format has to be made from them.

use super::bits::{Reader, Short};
use super::codec::Codec;
use super::message::Kind;

/// What a payload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Decoder configuration (avcC, hvcC, AudioSpecificConfig …): remembered in the prelude.
    SequenceHeader,
    /// Coded media that decoding can start at: a video keyframe.
    Key,
    /// Other coded media: a video frame that is no keyframe, or audio.
    Coded,
    /// End of sequence.
    End,
    /// Metadata, commands, script data: no coded media.
    Other,
}

impl Role {
    /// Coded media, keyframes included.
    pub const fn is_coded(self) -> bool {
        matches!(self, Role::Key | Role::Coded)
    }
}

/// What one look at a payload tells. `body_at` is the offset of the codec's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The codec (of the first track, in a multitrack packet).
    pub codec: Codec,
    /// Header, keyframe, coded …
    pub role: Role,
    /// Composition time offset in milliseconds (presentation − decoding time).
    pub composition_ms: i32,
    /// Offset of the codec's own bytes in the payload; the payload's length if there are none.
    pub body_at: usize,
    /// Track id of a multitrack packet; 0 otherwise.
    pub track: u8,
    /// Whether the packet is a multitrack packet, whose body only Enhanced RTMP peers can read.
    pub multitrack: bool,
}

impl Tag {
    /// Script data and whatever cannot be read any closer.
    pub const fn opaque(codec: Codec) -> Tag {
        Tag { codec, role: Role::Other, composition_ms: 0, body_at: 0, track: 0, multitrack: false }
    }
}

/// Looks at a payload. Never fails: a payload too short to be told apart is [`Role::Other`].
pub fn inspect(kind: Kind, payload: &[u8]) -> Tag {
    let looked = match kind {
        Kind::Audio => audio(payload),
        Kind::Video => video(payload),
        Kind::Data => Ok(Tag::opaque(Codec::Id(0))),
    };
    looked.unwrap_or(Tag::opaque(Codec::Id(0)))
}

// Enhanced RTMP v2, "VideoPacketType" and "AudioPacketType": the two agree on these.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const SEQUENCE_END: u8 = 2;
const CODED_FRAMES_X: u8 = 3;
const VIDEO_METADATA: u8 = 4;
const VIDEO_MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;
const MOD_EX: u8 = 7;
/// Frame type 5: "video info/command frame", no picture.
const FRAME_COMMAND: u8 = 5;

fn video(payload: &[u8]) -> Result<Tag, Short> {
    let mut r = Reader::new(payload);
    let first = r.u8()?;
    let frame_type = first >> 4 & 7;
    if first & 0x80 != 0 {
        return enhanced_video(r, frame_type, first & 0x0f);
    }
    let codec = match first & 0x0f {
        7 => Codec::H264,
        12 => Codec::Hevc,
        13 => Codec::Av1,
        id => Codec::Id(id),
    };
    let coded = if frame_type == 1 { Role::Key } else { Role::Coded };
    let mut tag = Tag { body_at: r.position(), ..Tag::opaque(codec) };
    if frame_type == FRAME_COMMAND {
        return Ok(tag);
    }
    if matches!(codec, Codec::Id(_)) {
        tag.role = coded;
        return Ok(tag);
    }
    // AVCPacketType and CompositionTime, FLV 10.1 §E.4.3.1; ids 12 and 13 copied that layout.
    tag.role = match r.u8()? {
        0 => Role::SequenceHeader,
        1 => coded,
        2 => Role::End,
        _ => Role::Other,
    };
    tag.composition_ms = signed_24(r.u24()?);
    tag.body_at = r.position();
    Ok(tag)
}

fn enhanced_video(mut r: Reader<'_>, frame_type: u8, packet_type: u8) -> Result<Tag, Short> {
    let packet_type = skip_mod_ex(&mut r, packet_type)?;
    if frame_type == FRAME_COMMAND && packet_type != VIDEO_METADATA {
        return Ok(Tag::opaque(Codec::Id(0)));
    }
    let multitrack = packet_type == VIDEO_MULTITRACK;
    let (packet_type, codec, track) = codec_head(&mut r, packet_type, multitrack)?;
    let role = match packet_type {
        SEQUENCE_START => Role::SequenceHeader,
        // A GOP begins where the main track's does; the other tracks' keyframes come right behind.
        CODED_FRAMES | CODED_FRAMES_X if frame_type == 1 && track == 0 => Role::Key,
        CODED_FRAMES | CODED_FRAMES_X => Role::Coded,
        SEQUENCE_END => Role::End,
        _ => Role::Other,
    };
    let mut composition_ms = 0;
    let has_composition = matches!(codec, Codec::H264 | Codec::Hevc) || codec == Codec::FourCc(*b"vvc1");
    if packet_type == CODED_FRAMES && has_composition {
        composition_ms = signed_24(r.u24()?);
    }
    Ok(Tag { codec, role, composition_ms, body_at: r.position(), track, multitrack })
}

fn audio(payload: &[u8]) -> Result<Tag, Short> {
    let mut r = Reader::new(payload);
    let first = r.u8()?;
    let format = first >> 4;
    if format == 9 {
        return enhanced_audio(r, first & 0x0f);
    }
    let codec = match format {
        10 => Codec::Aac,
        2 | 14 => Codec::Mp3,
        id => Codec::Id(id),
    };
    let mut role = Role::Coded;
    if codec == Codec::Aac && r.u8()? == 0 {
        role = Role::SequenceHeader; // AACPacketType, FLV 10.1 §E.4.2.1
    }
    Ok(Tag { role, body_at: r.position(), ..Tag::opaque(codec) })
}

fn enhanced_audio(mut r: Reader<'_>, packet_type: u8) -> Result<Tag, Short> {
    let packet_type = skip_mod_ex(&mut r, packet_type)?;
    let multitrack = packet_type == AUDIO_MULTITRACK;
    let (packet_type, codec, track) = codec_head(&mut r, packet_type, multitrack)?;
    let role = match packet_type {
        SEQUENCE_START => Role::SequenceHeader,
        CODED_FRAMES => Role::Coded,
        SEQUENCE_END => Role::End,
        _ => Role::Other,
    };
    Ok(Tag { codec, role, composition_ms: 0, body_at: r.position(), track, multitrack })
}

/// `ModEx` prefixes: a length, that many bytes, and the next packet type in the low 4 bits.
fn skip_mod_ex(r: &mut Reader<'_>, mut packet_type: u8) -> Result<u8, Short> {
    while packet_type == MOD_EX {
        let mut size = usize::from(r.u8()?) + 1;
        if size == 256 {
            size = usize::from(r.u16()?) + 1;
        }
        r.take(size)?;
        packet_type = r.u8()? & 0x0f;
    }
    Ok(packet_type)
}

/// Whether a data message (AMF0) is `onMetaData`.
pub fn is_metadata(payload: &[u8]) -> bool {
    payload.starts_with(b"\x02\x00\x0aonMetaData")
}

/// What follows the packet type: of a multitrack packet the real packet type, codec and id of its first track.
fn codec_head(r: &mut Reader<'_>, packet_type: u8, multitrack: bool) -> Result<(u8, Codec, u8), Short> {
    const ONE_TRACK: u8 = 0;
    if !multitrack {
        return Ok((packet_type, Codec::of_fourcc(r.fourcc()?), 0));
    }
    let types = r.u8()?;
    let codec = Codec::of_fourcc(r.fourcc()?); // shared by all tracks, or the first track's own: the same place
    let track = r.u8()?;
    if types >> 4 != ONE_TRACK {
        r.u24()?; // sizeOfTrack
    }
    Ok((types & 0x0f, codec, track))
}

fn signed_24(v: u32) -> i32 {
    ((v << 8) as i32) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(kind: Kind, bytes: &[u8]) -> (Codec, Role, i32, usize) {
        let t = inspect(kind, bytes);
        (t.codec, t.role, t.composition_ms, t.body_at)
    }

    #[test]
    fn classic_tags() {
        let v = |b: &[u8]| look(Kind::Video, b);
        assert_eq!(v(&[0x17, 0, 0, 0, 0, 1]), (Codec::H264, Role::SequenceHeader, 0, 5));
        assert_eq!(v(&[0x17, 1, 0, 0, 80, 1]), (Codec::H264, Role::Key, 80, 5));
        assert_eq!(v(&[0x27, 1, 0xff, 0xff, 0xd8, 1]), (Codec::H264, Role::Coded, -40, 5));
        assert_eq!(v(&[0x27, 2, 0, 0, 0]), (Codec::H264, Role::End, 0, 5));
        assert_eq!(v(&[0x1c, 1, 0, 0, 0, 1]), (Codec::Hevc, Role::Key, 0, 5));
        assert_eq!(v(&[0x12, 9]), (Codec::Id(2), Role::Key, 0, 1), "Sorenson H.263 passes");
        assert_eq!(v(&[0x57, 0]).1, Role::Other, "a command frame is no picture");
        let a = |b: &[u8]| look(Kind::Audio, b);
        assert_eq!(a(&[0xaf, 0, 0x12, 0x10]), (Codec::Aac, Role::SequenceHeader, 0, 2));
        assert_eq!(a(&[0xaf, 1, 0x21]), (Codec::Aac, Role::Coded, 0, 2));
        assert_eq!(a(&[0x2f, 0xff]), (Codec::Mp3, Role::Coded, 0, 1));
    }

    #[test]
    fn enhanced_tags() {
        let v = |b: &[u8]| look(Kind::Video, b);
        assert_eq!(v(b"\x90hvc1\x01"), (Codec::Hevc, Role::SequenceHeader, 0, 5));
        assert_eq!(v(b"\x91hvc1\x00\x00\x28x"), (Codec::Hevc, Role::Key, 40, 8));
        assert_eq!(v(b"\xa3hvc1x"), (Codec::Hevc, Role::Coded, 0, 5));
        assert_eq!(v(b"\x91av01x"), (Codec::Av1, Role::Key, 0, 5), "AV1 has no composition time");
        assert_eq!(v(b"\x94av01x").1, Role::Other, "HDR metadata");
        assert_eq!(v(b"\x97\x00\xaa\x01avc1\x00\x00\x01x"), (Codec::H264, Role::Key, 1, 11), "ModEx");
        let t = inspect(Kind::Video, b"\x96\x01avc1\x03\x00\x00\x00x");
        assert_eq!((t.codec, t.role, t.track, t.multitrack), (Codec::H264, Role::Coded, 3, true));
        assert_eq!(v(b"\x96\x01avc1\x00\x00\x00\x00x").1, Role::Key, "of the main track");
        assert_eq!(v(b"\x95av01x").1, Role::Other, "an MPEG-2 TS descriptor configures no decoder of ours");
        let a = |b: &[u8]| look(Kind::Audio, b);
        assert_eq!(a(b"\x90OpusOpusHead"), (Codec::Opus, Role::SequenceHeader, 0, 5));
        assert_eq!(a(b"\x91Opusx"), (Codec::Opus, Role::Coded, 0, 5));
        assert_eq!(a(b"\x95\x01mp4a\x02x").1, Role::Coded);
    }

    #[test]
    fn short_payloads_are_opaque() {
        for short in [&b""[..], b"\x17", b"\x97\xff", b"\x90hv", b"\x96\x00avc"] {
            assert_eq!(inspect(Kind::Video, short).role, Role::Other, "{short:02x?}");
        }
        for short in [&b""[..], b"\xaf", b"\x95\x00Opu", b"\x97\x03ab"] {
            assert_eq!(inspect(Kind::Audio, short).role, Role::Other, "{short:02x?}");
        }
        assert_eq!(inspect(Kind::Data, b"\x02").role, Role::Other);
    }
}
