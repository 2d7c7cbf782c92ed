//! What a stream's tracks are, in words: as SRS's HTTP API names them, and as browsers want to hear it
//! (RFC 6381).

use super::codec::Codec;
use super::flv::Tag;
use super::{aac, av1, h264, hevc, mp3, opus, vp9};

/// The `video` object of a stream in the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoInfo {
    /// `H264`, `HEVC`, `AV1`, `VP9`, `VP6` or `Other`.
    pub codec: &'static str,
    /// `Baseline`, `High(10)` …; `Other` if it is not known.
    pub profile: &'static str,
    /// `3.1` …; `Other` if it is not known.
    pub level: String,
    /// Pixels; 0 if not known.
    pub width: u32,
    /// Pixels; 0 if not known.
    pub height: u32,
}

/// The `audio` object of a stream in the HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioInfo {
    /// `AAC`, `MP3`, `Opus` or `Other`.
    pub codec: &'static str,
    /// Hz: what the FLV header byte says, as in SRS; the codec's own for packets without that byte.
    pub sample_rate: u32,
    /// Channels, from the same place.
    pub channel: u8,
    /// `LC`, `HE` …; `Other` for anything but AAC.
    pub profile: &'static str,
}

const OTHER: &str = "Other";

/// Describes video by its sequence header, or by any payload if its codec has none.
/// `None` if the header cannot be read.
pub fn video(tag: &Tag, payload: &[u8]) -> Option<VideoInfo> {
    let body = payload.get(tag.body_at..)?;
    let bare = |codec| VideoInfo { codec, profile: OTHER, level: OTHER.to_owned(), width: 0, height: 0 };
    Some(match tag.codec {
        Codec::H264 => {
            let config = h264::Config::parse(body).ok()?;
            let (width, height) = config.size().unwrap_or((0, 0));
            VideoInfo {
                codec: "H264",
                profile: avc_profile(config.profile, config.constraints),
                level: avc_level(config.level).to_owned(),
                width,
                height,
            }
        }
        Codec::Hevc => {
            let config = hevc::Config::parse(body).ok()?;
            let (width, height) = config.size().unwrap_or((0, 0));
            VideoInfo {
                codec: "HEVC",
                profile: hevc_profile(config.profile.idc),
                level: tenths(u32::from(config.profile.level) / 3),
                width,
                height,
            }
        }
        Codec::Av1 => {
            let config = av1::Config::parse(body).ok()?;
            let (width, height) = config.size.unwrap_or((0, 0));
            VideoInfo {
                codec: "AV1",
                profile: ["Main", "High", "Professional"].get(usize::from(config.profile)).unwrap_or(&OTHER),
                level: format!("{}.{}", 2 + config.level_index / 4, config.level_index % 4),
                width,
                height,
            }
        }
        Codec::Vp9 => {
            let config = vp9::Config::parse(body).ok()?;
            VideoInfo { level: tenths(config.level.into()), ..bare("VP9") }
        }
        Codec::Id(4 | 5) => bare("VP6"),
        _ => bare(OTHER),
    })
}

/// Describes audio by its sequence header, or by any payload if its codec has none (MP3).
/// `None` if the header cannot be read.
pub fn audio(tag: &Tag, payload: &[u8]) -> Option<AudioInfo> {
    let body = payload.get(tag.body_at..)?;
    let (codec, rate, channels, profile) = match tag.codec {
        Codec::Aac => {
            let config = aac::Config::parse(body).ok()?;
            ("AAC", config.rate_hz, config.channels(), aac_profile(&config))
        }
        Codec::Mp3 => match mp3::Header::parse(body) {
            Ok(header) => ("MP3", header.rate_hz, header.channels, OTHER),
            Err(_) => ("MP3", 0, 0, OTHER),
        },
        Codec::Opus => {
            let config = opus::Config::parse(body).ok()?;
            ("Opus", opus::RATE_HZ, config.channels, OTHER)
        }
        _ => (OTHER, 0, 0, OTHER),
    };
    let (sample_rate, channel) = flv_rate_and_channels(payload).unwrap_or((rate, channels));
    Some(AudioInfo { codec, sample_rate, channel, profile })
}

/// The codec string for a media type's `codecs` parameter (RFC 6381): `avc1.64001f`, `hvc1.1.6.L93.90`,
/// `av01.0.04M.08`, `vp09.00.31.08`, `mp4a.40.2`, `mp4a.6B`, `opus`. `None` if it has none, or if the header
/// (for MP3: the frame) cannot be read.
pub fn codec_string(tag: &Tag, payload: &[u8]) -> Option<String> {
    let body = payload.get(tag.body_at..)?;
    Some(match tag.codec {
        Codec::H264 => {
            let c = h264::Config::parse(body).ok()?;
            format!("avc1.{:02x}{:02x}{:02x}", c.profile, c.constraints, c.level)
        }
        Codec::Hevc => hevc_string(&hevc::Config::parse(body).ok()?.profile),
        Codec::Av1 => {
            let c = av1::Config::parse(body).ok()?;
            let tier = if c.high_tier { 'H' } else { 'M' };
            format!("av01.{}.{:02}{tier}.{:02}", c.profile, c.level_index, c.bit_depth)
        }
        Codec::Vp9 => {
            let c = vp9::Config::parse(body).ok()?;
            format!("vp09.{:02}.{:02}.{:02}", c.profile, c.level, c.bit_depth)
        }
        Codec::Aac => aac_string(&aac::Config::parse(body).ok()?),
        Codec::Mp3 => mp3_string(&mp3::Header::parse(body).ok()?).to_owned(),
        Codec::Opus => {
            opus::Config::parse(body).ok()?;
            "opus".to_owned()
        }
        Codec::FourCc(_) | Codec::Id(_) => return None,
    })
}

/// The codec string of MP3 inside MP4: its object type indication (`mp4a.6B` for MPEG-1, `mp4a.69` for
/// MPEG-2), for those who know the frame header only.
pub const fn mp3_string(header: &mp3::Header) -> &'static str {
    if header.low_rate { "mp4a.69" } else { "mp4a.6B" }
}

fn aac_string(config: &aac::Config) -> String {
    let object_type = match (config.parametric_stereo, config.sbr_rate_hz) {
        (true, _) => 29,
        (false, Some(_)) => 5,
        (false, None) => config.object_type,
    };
    format!("mp4a.40.{object_type}")
}

/// ISO 14496-15 §E.3: flags in reverse bit order, trailing zero bytes of the constraints left out.
fn hevc_string(p: &hevc::Profile) -> String {
    let space = ["", "A", "B", "C"].get(usize::from(p.space)).unwrap_or(&"");
    let tier = if p.high_tier { 'H' } else { 'L' };
    let mut out = format!("hvc1.{space}{}.{:x}.{tier}{}", p.idc, p.compatibility.reverse_bits(), p.level);
    let used = p.constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in p.constraints.iter().take(used) {
        out += &format!(".{byte:x}");
    }
    out
}

fn avc_profile(profile: u8, constraints: u8) -> &'static str {
    let set = |n: u8| constraints & (0x80 >> n) != 0;
    match profile {
        66 if set(1) => "Baseline(Constrained)",
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 if set(3) => "High(10+Intra)",
        110 => "High(10)",
        122 if set(3) => "High(422+Intra)",
        122 => "High(422)",
        144 => "High(444)",
        244 if set(3) => "High(444+Intra)",
        244 => "High(444+Predictive)",
        _ => OTHER,
    }
}

/// The levels that SRS has names for.
fn avc_level(level: u8) -> &'static str {
    match level {
        10 => "1",
        11 => "1.1",
        12 => "1.2",
        13 => "1.3",
        20 => "2",
        21 => "2.1",
        22 => "2.2",
        30 => "3",
        31 => "3.1",
        32 => "3.2",
        40 => "4",
        41 => "4.1",
        42 => "4.2",
        50 => "5",
        51 => "5.1",
        _ => OTHER,
    }
}

fn hevc_profile(idc: u8) -> &'static str {
    match idc {
        1 => "Main",
        2 => "Main10",
        3 => "MainStillPicture",
        4 => "Rext",
        _ => OTHER,
    }
}

fn aac_profile(config: &aac::Config) -> &'static str {
    match (config.object_type, config.sbr_rate_hz, config.parametric_stereo) {
        (_, _, true) => "HEv2",
        (_, Some(_), _) => "HE",
        (1, ..) => "Main",
        (2, ..) => "LC",
        (3, ..) => "SSR",
        _ => OTHER,
    }
}

/// `31` is `3.1`, `30` is `3`.
fn tenths(level: u32) -> String {
    if level.is_multiple_of(10) {
        format!("{}", level / 10)
    } else {
        format!("{}.{}", level / 10, level % 10)
    }
}

/// SoundRate and SoundType, FLV 10.1 §E.4.2.1; the enhanced header has none.
fn flv_rate_and_channels(payload: &[u8]) -> Option<(u32, u8)> {
    const ENHANCED: u8 = 9;
    let first = payload.first().filter(|first| *first >> 4 != ENHANCED)?;
    let rate_hz = [5512, 11025, 22050, 44100].get(usize::from(first >> 2 & 3))?;
    Some((*rate_hz, (first & 1) + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::flv::inspect;
    use crate::formats::message::Kind;
    use proptest::prelude::*;

    fn with_head(head: &[u8], body: &[u8]) -> Vec<u8> {
        [head, body].concat()
    }

    fn string(kind: Kind, payload: &[u8]) -> Option<String> {
        codec_string(&inspect(kind, payload), payload)
    }

    #[test]
    fn video_objects_and_codec_strings() {
        let avc = with_head(&[0x17, 0, 0, 0, 0], &h264::tests::avcc_1080());
        let info = video(&inspect(Kind::Video, &avc), &avc).unwrap();
        let expected =
            VideoInfo { codec: "H264", profile: "High", level: "4".into(), width: 1920, height: 1080 };
        assert_eq!(info, expected);
        assert_eq!(string(Kind::Video, &avc).unwrap(), "avc1.640028");

        let hevc = with_head(b"\x90hvc1", &hevc::tests::hvcc());
        let info = video(&inspect(Kind::Video, &hevc), &hevc).unwrap();
        assert_eq!((info.codec, info.profile, info.level.as_str()), ("HEVC", "Main", "4"));
        assert_eq!((info.width, info.height), (1920, 1080));
        assert_eq!(string(Kind::Video, &hevc).unwrap(), "hvc1.1.6.L120.90");

        let av1 = b"\x90av01\x81\x08\x0c\x00";
        assert_eq!(string(Kind::Video, av1).unwrap(), "av01.0.08M.08");
        assert_eq!(string(Kind::Video, b"\x90vp09\x00\x1f\x82\x01").unwrap(), "vp09.00.31.08");
        let vp6 = [0x14, 1, 2];
        assert_eq!(video(&inspect(Kind::Video, &vp6), &vp6).unwrap().codec, "VP6");
        assert_eq!(string(Kind::Video, &vp6), None);
    }

    #[test]
    fn profile_and_level_names() {
        assert_eq!(avc_profile(66, 0xc0), "Baseline(Constrained)");
        assert_eq!(avc_profile(66, 0x80), "Baseline");
        assert_eq!(avc_profile(110, 0x10), "High(10+Intra)");
        assert_eq!(avc_level(31), "3.1");
        assert_eq!(avc_level(9), OTHER);
        assert_eq!(tenths(93 / 3), "3.1");
    }

    #[test]
    fn audio_objects_and_codec_strings() {
        let look = |payload: &[u8]| {
            let info = audio(&inspect(Kind::Audio, payload), payload).unwrap();
            (info.codec, info.sample_rate, info.channel, info.profile)
        };
        let aac = [0xae, 0, 0x11, 0x90];
        assert_eq!(look(&aac), ("AAC", 44100, 1, "LC"), "SRS tells what the FLV header says");
        assert_eq!(look(b"\x90mp4a\x11\x90"), ("AAC", 48000, 2, "LC"), "where there is none, the truth");
        let he = [0xaf, 0, 0x13, 0x88, 0x56, 0xe5, 0xa5, 0x48, 0x80];
        assert_eq!(look(&he).3, "HEv2");
        assert_eq!(string(Kind::Audio, &aac).unwrap(), "mp4a.40.2");
        assert_eq!(string(Kind::Audio, &he).unwrap(), "mp4a.40.29");
        let mp3 = [0x2f, 0xff, 0xfb, 0x90, 0x64];
        assert_eq!(look(&mp3), ("MP3", 44100, 2, OTHER));
        assert_eq!(string(Kind::Audio, &mp3).unwrap(), "mp4a.6B");
        let opus = b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        assert_eq!(look(opus), ("Opus", 48000, 2, OTHER));
        assert_eq!(string(Kind::Audio, opus).unwrap(), "opus");
        assert_eq!(look(&[0xb2, 1, 2]).0, OTHER, "Speex");
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..80)) {
            for kind in [Kind::Audio, Kind::Video] {
                let tag = inspect(kind, &payload);
                video(&tag, &payload);
                audio(&tag, &payload);
                codec_string(&tag, &payload);
            }
        }
    }
}
