//! MPEG-TS: each frame is one PES, with tables and clock before it where they are due.

use super::tracks::{Audio, Tracks, Video};
use super::{Encode, OpenBlock, Start};
use crate::formats::message::{Frame, Kind};
use crate::formats::ts::mux::{Access, Mux, write_start};
use crate::formats::ts::pes::Stream;
use crate::formats::ts::{AudioType, Counters, Program, VideoType};
use crate::stream::prelude::Prelude;

/// The encoder.
#[derive(Debug, Default)]
pub struct Ts {
    tracks: Tracks,
    mux: Mux,
    payload: Vec<u8>,
}

/// A frame larger than this leaves no scratch of its size behind.
const KEPT_SCRATCH_BYTES: usize = 256 * 1024;

impl Encode for Ts {
    fn frame(&mut self, frame: &Frame, prelude: &Prelude, out: &mut OpenBlock) {
        if self.tracks.follow(prelude) {
            self.mux.set_program(program(&self.tracks));
        }
        if !self.tracks.carries(frame) {
            return;
        }
        let key = frame.is_key();
        self.payload.clear();
        self.payload.shrink_to(KEPT_SCRATCH_BYTES);
        elementary(&self.tracks, frame, key, &mut self.payload);
        if self.payload.is_empty() {
            return;
        }
        let dts = frame.time.0.saturating_mul(90);
        let access = Access {
            stream: if frame.kind == Kind::Video { Stream::Video } else { Stream::Audio },
            key,
            pts: dts.saturating_add(i64::from(frame.tag.composition_ms) * 90),
            dts,
            payload: &self.payload,
        };
        let counters = self.mux.counters().pack();
        out.unit(frame.time, frame.kind, key, counters, |out| self.mux.write(&access, out));
    }

    fn flush(&mut self, _: &Prelude, _: &mut OpenBlock) {}
}

/// PAT and PMT; after a jump each PID's break of continuity too.
pub fn prelude(prelude: &Prelude, start: &Start, out: &mut Vec<u8>) {
    let program = program(&Tracks::of(prelude));
    if !program.is_empty() {
        write_start(&program, Counters::unpack(start.counters), !start.first, out);
    }
}

/// What of the tracks a transport stream can carry.
fn program(tracks: &Tracks) -> Program {
    let video = tracks.video.as_ref().and_then(|video| match video {
        Video::H264(..) => Some(VideoType::H264),
        Video::Hevc(..) => Some(VideoType::Hevc),
        Video::Av1(..) => None,
    });
    let audio = tracks.audio.as_ref().and_then(|audio| match audio {
        Audio::Aac(config, _) => config.adts_header(0).map(|_| AudioType::Aac),
        Audio::Mp3(header) => Some(AudioType::Mp3 { low_rate: header.low_rate }),
        Audio::Opus(_) => None,
    });
    Program { video, audio }
}

/// Appends a frame's elementary stream: what its PES carries.
fn elementary(tracks: &Tracks, frame: &Frame, key: bool, out: &mut Vec<u8>) {
    match (frame.kind, &tracks.video, &tracks.audio) {
        (Kind::Video, Some(Video::H264(config, _)), _) => config.write_annex_b(frame.body(), key, out),
        (Kind::Video, Some(Video::Hevc(config, _)), _) => config.write_annex_b(frame.body(), key, out),
        (Kind::Audio, _, Some(Audio::Aac(config, _))) => {
            if let Some(header) = config.adts_header(frame.body().len()) {
                out.extend_from_slice(&header);
                out.extend_from_slice(frame.body());
            }
        }
        (Kind::Audio, _, Some(Audio::Mp3(_))) => out.extend_from_slice(frame.body()),
        _ => {}
    }
}
