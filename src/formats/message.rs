//! What moves through the server: a media message with its time.
//!
//! A message's payload is always the body of an FLV tag (Adobe FLV 10.1 §E.4; Enhanced RTMP v2 for FourCC
//! codecs), because that is what RTMP carries and what every other format is made from.

use bytes::Bytes;

/// The kind of an RTMP media message or FLV tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// RTMP message type 8, FLV tag type 8.
    Audio,
    /// RTMP message type 9, FLV tag type 9.
    Video,
    /// RTMP message type 18 (AMF0 data), FLV tag type 18 (script).
    Data,
}

impl Kind {
    /// The message type id on the wire, the same in RTMP and FLV.
    pub const fn type_id(self) -> u8 {
        match self {
            Kind::Audio => 8,
            Kind::Video => 9,
            Kind::Data => 18,
        }
    }

    /// The kind that such an id means.
    pub const fn of_type_id(id: u8) -> Option<Kind> {
        match id {
            8 => Some(Kind::Audio),
            9 => Some(Kind::Video),
            18 => Some(Kind::Data),
            _ => None,
        }
    }
}

/// A timestamp as a peer sent it: milliseconds modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct WireTime(pub u32);

/// A stream's own time: milliseconds, unwrapped; never wraps in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// The time as 32-bit wire formats (RTMP, FLV) carry it: modulo 2^32.
    pub const fn wire(self) -> WireTime {
        WireTime(self.0 as u32)
    }
}

/// A message as it came from a publisher, its time still raw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Audio, video or data.
    pub kind: Kind,
    /// The publisher's timestamp (decoding time), as sent.
    pub time: WireTime,
    /// FLV tag body.
    pub payload: Bytes,
}

impl Message {
    /// What holding it takes, in bytes: many messages of no length are not nothing.
    pub fn held_bytes(&self) -> usize {
        self.payload.len() + size_of::<Message>()
    }
}

/// A message on the stream's own timeline, looked at once: what the encoders and the log work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Audio, video or data.
    pub kind: Kind,
    /// Decoding time on the stream's timeline.
    pub time: MediaTime,
    /// What the payload is: header, keyframe, codec, composition offset, where the codec's own bytes start.
    pub tag: super::flv::Tag,
    /// FLV tag body.
    pub payload: Bytes,
}

impl Frame {
    /// Whether it is a picture that decoding can start with.
    pub fn is_key(&self) -> bool {
        self.kind == Kind::Video && self.tag.role == super::flv::Role::Key
    }

    /// The codec's own bytes: the payload behind the FLV tag's audio or video header.
    pub fn body(&self) -> &[u8] {
        self.payload.get(self.tag.body_at..).unwrap_or_default()
    }
}
