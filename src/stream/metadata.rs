//! `onMetaData`: read once per publish, rewritten as SRS does.
//!
//! SRS removes `duration` (a live stream has none) and adds `server` and `server_version`; players and tools
//! look at these.

use crate::formats::amf0::Value;
use crate::formats::bits::Reader;
use bytes::Bytes;

/// Which tracks a publisher announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracks {
    /// Audio.
    pub audio: bool,
    /// Video.
    pub video: bool,
}

/// Metadata, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// The data message as players get it.
    pub body: Bytes,
    /// The tracks it announces, if it says.
    pub tracks: Option<Tracks>,
    /// `bravo_atc`: the encoder's time is absolute (Flash Media Live Encoder's hint, as SRS reads it).
    pub absolute_time: bool,
}

/// Reads a data message; None if it is not `onMetaData` with an object.
pub fn normalise(payload: &[u8]) -> Option<Metadata> {
    let mut reader = Reader::new(payload);
    let Ok(Value::String(name)) = Value::read(&mut reader) else { return None };
    if name != "onMetaData" {
        return None;
    }
    let mut value = Value::read(&mut reader).ok()?;
    let (Value::Object(properties) | Value::EcmaArray(properties)) = &mut value else { return None };
    let says = |key: &str| properties.iter().any(|(name, _)| name == key);
    let (audio, video) = (says("audiocodecid"), says("videocodecid"));
    let tracks = (audio || video).then_some(Tracks { audio, video });
    let absolute_time = properties.iter().any(|(name, v)| name == "bravo_atc" && v.as_str() == Some("true"));
    properties.retain(|(name, _)| !matches!(name.as_str(), "duration" | "server" | "server_version"));
    properties.push(("server".into(), Value::text(crate::SIGNATURE)));
    properties.push(("server_version".into(), Value::text(crate::VERSION)));
    let mut body = Vec::with_capacity(payload.len() + 64);
    Value::String(name).write(&mut body);
    value.write(&mut body);
    Some(Metadata { body: body.into(), tracks, absolute_time })
}
