//! Which codecs there are, and why a codec's header cannot be read: the one error of all codec modules.

use super::bits::Short;

/// The codec of a payload, whichever way it was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// AVC, ISO 14496-10.
    H264,
    /// HEVC, ISO 23008-2; FourCC `hvc1` or the unofficial codec id 12.
    Hevc,
    /// AV1; FourCC `av01` or the unofficial codec id 13.
    Av1,
    /// VP9, FourCC `vp09`.
    Vp9,
    /// AAC, ISO 14496-3.
    Aac,
    /// MPEG-1/2 layer 3.
    Mp3,
    /// Opus, RFC 6716.
    Opus,
    /// Any other FourCC.
    FourCc([u8; 4]),
    /// Any other FLV codec id (the 4 bits of the header byte).
    Id(u8),
}

impl Codec {
    /// The codec of an Enhanced RTMP FourCC.
    pub const fn of_fourcc(name: [u8; 4]) -> Codec {
        match &name {
            b"avc1" => Codec::H264,
            b"hvc1" => Codec::Hevc,
            b"av01" => Codec::Av1,
            b"vp09" => Codec::Vp9,
            b"mp4a" => Codec::Aac,
            b".mp3" => Codec::Mp3,
            b"Opus" => Codec::Opus,
            _ => Codec::FourCc(name),
        }
    }
}

/// A decoder configuration, parameter set or frame header that is no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It ends before a field does.
    #[error("{what} ends early: {short}")]
    Short {
        /// The record that was being read.
        what: &'static str,
        /// Where in it.
        short: Short,
    },
    /// A field has a value that the specification does not allow, or that nothing can be made of.
    #[error("{what}: {field} cannot be {value}")]
    Invalid {
        /// The record that was being read.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
}

impl HeaderError {
    /// For `map_err`: names the record in which a read came up short.
    pub fn short_in(what: &'static str) -> impl Fn(Short) -> HeaderError {
        move |short| HeaderError::Short { what, short }
    }
}
