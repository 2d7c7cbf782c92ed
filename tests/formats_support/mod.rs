//! Clips as frames, frames as bodies of live formats, and a transport stream checker of our own.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part of it

pub mod ts_check;

use srs_shard::formats::flv::{Role, inspect};
use srs_shard::formats::flv_file::{Event, FlvReader, MAX_BODY_BYTES};
use srs_shard::formats::message::{Frame, Kind, MediaTime};
use srs_shard::stream::encode::{
    CHUNK_HEAD, CHUNK_TAIL, Encode, Encoder, Format, OpenBlock, Start, Unit, prelude,
};
use srs_shard::stream::prelude::Prelude;

pub const H264_AAC: &[u8] = include_bytes!("../data/h264_aac.flv");
pub const H264B_MP3: &[u8] = include_bytes!("../data/h264b_mp3.flv");
pub const HEVC_AAC: &[u8] = include_bytes!("../data/hevc_aac.flv");
pub const AV1_OPUS: &[u8] = include_bytes!("../data/av1_opus.flv");
pub const AAC: &[u8] = include_bytes!("../data/aac.flv");

/// A clip's frames, `shift_ms` later, each with the prelude in force with it.
pub fn frames(flv: &[u8], shift_ms: i64) -> Vec<(Frame, Prelude)> {
    let mut reader = FlvReader::new(MAX_BODY_BYTES);
    reader.push(flv);
    let mut in_force = Prelude::default();
    let mut frames = Vec::new();
    while let Some(event) = reader.poll().expect("a clip is FLV") {
        let Event::Message(message) = event else { continue };
        let tag = inspect(message.kind, &message.payload);
        match (message.kind, tag.role) {
            (Kind::Data, _) => _ = in_force.remember_metadata(&message.payload),
            (kind, Role::SequenceHeader) => _ = in_force.remember(kind, tag, &message.payload),
            (kind, Role::Key | Role::Coded) => in_force.saw_frame(kind, &tag, &message.payload),
            _ => {}
        }
        let time = MediaTime(i64::from(message.time.0) + shift_ms);
        frames.push((Frame { kind: message.kind, time, tag, payload: message.payload }, in_force.clone()));
    }
    assert!(reader.is_at_boundary());
    frames
}

/// Coded frames of a kind.
pub fn coded(frames: &[(Frame, Prelude)], kind: Kind) -> impl Iterator<Item = &Frame> {
    let coded = move |f: &&Frame| f.kind == kind && f.tag.role.is_coded();
    frames.iter().map(|(frame, _)| frame).filter(coded)
}

/// What an encoder makes of a clip.
pub struct Encoded {
    pub format: Format,
    pub block: OpenBlock,
    /// The prelude in force with each unit.
    pub preludes: Vec<Prelude>,
    pub ended: bool,
}

impl Encoded {
    pub fn new(format: Format, frames: &[(Frame, Prelude)]) -> Encoded {
        let mut encoder = Encoder::new(format);
        let (mut block, mut preludes) = (OpenBlock::new(format), Vec::new());
        let mut before = Prelude::default();
        for (frame, in_force) in frames {
            if before.version != in_force.version {
                encoder.before_change(&mut block);
                preludes.resize(block.units.len(), before);
            }
            encoder.frame(frame, in_force, &mut block);
            preludes.resize(block.units.len(), in_force.clone());
            before = in_force.clone();
        }
        if let Some((_, last)) = frames.last() {
            encoder.flush(last, &mut block);
            preludes.resize(block.units.len(), last.clone());
        }
        Encoded { format, block, preludes, ended: encoder.ended() }
    }

    pub fn unit(&self, at: usize) -> &Unit {
        &self.block.units[at]
    }

    /// A unit's bytes without HTTP framing, which is checked.
    pub fn bare(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.unit(at - 1).end as usize };
        let framed = &self.block.bytes[start..self.unit(at).end as usize];
        let bare = &framed[CHUNK_HEAD..framed.len() - CHUNK_TAIL];
        let head = std::str::from_utf8(&framed[..8]).expect("hex digits");
        assert_eq!(usize::from_str_radix(head, 16), Ok(bare.len()));
        bare
    }

    /// A viewer's own bytes before unit `at`.
    pub fn start(&self, at: usize, first: bool) -> Vec<u8> {
        let unit = self.unit(at);
        let start = Start { first, time: unit.time, counters: unit.counters };
        let mut out = Vec::new();
        prelude(self.format, &self.preludes[at], &start, &mut out);
        out
    }

    /// What a viewer gets who is there from the first unit on.
    pub fn body(&self) -> Vec<u8> {
        let mut out = self.start(0, true);
        for at in 0..self.block.units.len() {
            out.extend_from_slice(self.bare(at));
        }
        out
    }
}
