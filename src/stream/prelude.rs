//! The prelude: what a decoder must know before the first frame – metadata and sequence headers.
//!
//! It is remembered on the owner as the publisher sends it, travels with the blocks, and is encoded for a
//! viewer who joins or jumps. Its version number tells a viewer's shard whether what a viewer was given last
//! is still in force.

use crate::formats::codec::Codec;
use crate::formats::flv::{Role, Tag};
use crate::formats::message::Kind;
use crate::formats::mp3;
use bytes::Bytes;

/// A stream with more tracks than this loses the headers of the later ones for those who join late.
pub const MAX_HEADERS: usize = 16;

/// One sequence header: the whole FLV tag body, and which track it configures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Audio or video.
    pub kind: Kind,
    /// What the payload is.
    pub tag: Tag,
    /// FLV tag body.
    pub payload: Bytes,
}

/// Metadata and sequence headers in force at some point of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prelude {
    /// Grows with every change; 0 is the empty prelude of a stream that was never published.
    pub version: u32,
    /// Body of the `onMetaData` data message (AMF0: the string, then the values), without `@setDataFrame`.
    pub metadata: Option<Bytes>,
    /// Sequence headers, in SRS's order: audio before video, then by track.
    pub headers: Vec<Header>,
    /// The tracks that the metadata announces, if it says.
    pub announced: Option<super::metadata::Tracks>,
    /// Whether coded audio has been seen in this publish; a header alone is no sound yet.
    pub has_audio: bool,
    /// Whether coded video has been seen in this publish; a header alone is no picture yet.
    pub has_video: bool,
    /// What an MP3 frame's own header says: MP3 has no sequence header, but TS and MP4 announce it.
    pub mp3: Option<mp3::Header>,
}

/// What remembering a sequence header changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is byte for byte the one in force.
    Same,
    /// It is new, or differs.
    New,
}

impl Prelude {
    /// The header of the main track of a kind: the one that comes in packets of its own, which every peer can read. A
    /// track 0 in multitrack packets is none: formats other than FLV and RTMP cannot carry it.
    pub fn header(&self, kind: Kind) -> Option<&Header> {
        self.headers.iter().find(|h| h.kind == kind && !h.tag.multitrack)
    }

    /// Whether anything came of which viewers are told, be it no more than metadata.
    pub fn brings_anything(&self) -> bool {
        self.has_media() || self.metadata.is_some() || !self.headers.is_empty()
    }

    /// Whether coded media has been seen in this publish, so that viewers may have started.
    pub fn has_media(&self) -> bool {
        self.has_audio || self.has_video
    }

    /// Whether pictures have been seen in this publish, or a header says that they will come.
    pub fn expects_video(&self) -> bool {
        self.has_video || self.header(Kind::Video).is_some()
    }

    /// Whether the track that a header is for has one already.
    pub fn configures(&self, kind: Kind, tag: Tag) -> bool {
        let place = |h: &Header| (h.kind, h.tag.multitrack, h.tag.track);
        self.headers.iter().any(|h| place(h) == (kind, tag.multitrack, tag.track))
    }

    /// Remembers a sequence header.
    pub fn remember(&mut self, kind: Kind, tag: Tag, payload: &Bytes) -> Change {
        debug_assert_eq!(tag.role, Role::SequenceHeader);
        let place = |h: &Header| (h.kind, h.tag.multitrack, h.tag.track);
        let new = Header { kind, tag, payload: payload.clone() };
        match self.headers.binary_search_by_key(&place(&new), place) {
            Ok(at) if self.headers[at].payload == *payload => return Change::Same,
            Ok(at) => self.headers[at] = new,
            Err(_) if self.headers.len() >= MAX_HEADERS => return Change::New,
            Err(at) => self.headers.insert(at, new),
        }
        self.version += 1;
        Change::New
    }

    /// Remembers metadata.
    pub fn remember_metadata(&mut self, body: &Bytes) -> Change {
        if self.metadata.as_ref() == Some(body) {
            return Change::Same;
        }
        self.metadata = Some(body.clone());
        self.version += 1;
        Change::New
    }

    /// What an MP3 frame says of itself, if that is not known yet.
    pub fn mp3_news(&self, tag: &Tag, payload: &[u8]) -> Option<mp3::Header> {
        let header = payload.get(tag.body_at..).and_then(|body| mp3::Header::parse(body).ok());
        header.filter(|header| self.mp3.as_ref() != Some(header))
    }

    /// Notes a coded frame: that its kind was seen, and what MP3 says of itself. `payload` is the FLV tag body.
    pub fn saw_frame(&mut self, kind: Kind, tag: &Tag, payload: &[u8]) {
        self.saw(kind);
        if kind != Kind::Audio || tag.codec != Codec::Mp3 || tag.multitrack || tag.role != Role::Coded {
            return;
        }
        if let Some(header) = self.mp3_news(tag, payload) {
            self.mp3 = Some(header);
            self.version += 1;
        }
    }

    /// Notes that coded media of a kind was seen.
    pub fn saw(&mut self, kind: Kind) {
        let seen = match kind {
            Kind::Audio => &mut self.has_audio,
            Kind::Video => &mut self.has_video,
            Kind::Data => return,
        };
        if !*seen {
            *seen = true;
            self.version += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::flv::inspect;

    fn remember(p: &mut Prelude, kind: Kind, body: &'static [u8]) -> Change {
        p.remember(kind, inspect(kind, body), &Bytes::from_static(body))
    }

    #[test]
    fn audio_stands_before_video_and_the_version_moves_only_on_change() {
        let mut p = Prelude::default();
        assert_eq!(remember(&mut p, Kind::Video, b"\x17\0\0\0\0A"), Change::New);
        assert_eq!(remember(&mut p, Kind::Audio, b"\xaf\0\x12\x10"), Change::New);
        assert_eq!(remember(&mut p, Kind::Video, b"\x17\0\0\0\0A"), Change::Same);
        assert_eq!(p.version, 2);
        assert_eq!(remember(&mut p, Kind::Video, b"\x17\0\0\0\0B"), Change::New);
        assert_eq!(p.version, 3);
        let kinds: Vec<Kind> = p.headers.iter().map(|h| h.kind).collect();
        assert_eq!(kinds, [Kind::Audio, Kind::Video]);
    }

    #[test]
    fn the_main_track_is_the_one_that_comes_in_packets_of_its_own() {
        let mut p = Prelude::default();
        remember(&mut p, Kind::Video, b"\x96\x00avc1\x00multi");
        assert_eq!(p.header(Kind::Video), None);
        remember(&mut p, Kind::Video, b"\x90avc1plain");
        assert_eq!(p.header(Kind::Video).map(|h| &h.payload[..]), Some(&b"\x90avc1plain"[..]));
    }

    #[test]
    fn mp3_is_described_by_its_frames() {
        let mut p = Prelude::default();
        for (body, version) in
            [(&b"\x2f\xff\xfb\x90\x64"[..], 2), (b"\x2f\xff\xfb\xa0\x64", 2), (b"\x2f\xff\xf3\x40\xc4", 3)]
        {
            p.saw_frame(Kind::Audio, &inspect(Kind::Audio, body), body);
            assert_eq!(p.version, version);
        }
        assert_eq!(p.mp3.map(|h| h.rate_hz), Some(22050));
    }

    #[test]
    fn tracks_keep_headers_of_their_own_and_their_number_is_bounded() {
        let mut p = Prelude::default();
        for track in 0..40u8 {
            let body: Bytes = [&b"\x96\x00avc1"[..], &[track], b"x"].concat().into();
            p.remember(Kind::Video, inspect(Kind::Video, &body), &body);
        }
        assert_eq!(p.headers.len(), MAX_HEADERS);
    }
}
