//! Frames as the bytes of live formats: done once per stream and format, on the owner.

use crate::{Case, Film};
use srs_shard::stream::encode::{Encode, Encoder, Format, OpenBlock};
use std::hint::black_box;

/// RTMP chunks of the default size.
pub fn rtmp() -> Case {
    encode("encode/RTMP", Format::Rtmp { chunk_bytes: 60_000 })
}

/// FLV tags in HTTP chunks.
pub fn flv() -> Case {
    encode("encode/FLV", Format::Flv)
}

/// Transport stream packets in HTTP chunks.
pub fn ts() -> Case {
    encode("encode/TS", Format::Ts)
}

/// Fragmented MP4 in HTTP chunks.
pub fn fmp4() -> Case {
    encode("encode/fMP4", Format::Fmp4)
}

fn encode(name: &'static str, format: Format) -> Case {
    let film = Film::default();
    let (prelude, frames) = film.frames();
    let run = move || {
        let mut encoder = Encoder::new(format);
        let mut block = OpenBlock::new(format);
        for frame in black_box(&frames) {
            encoder.frame(frame, &prelude, &mut block);
        }
        encoder.flush(&prelude, &mut block);
        let units = block.units.len() as u64;
        // The last unit ends where the bytes do; and there is more of them than went in.
        let whole = block.units.last().map(|unit| unit.end as usize) == Some(block.bytes.len());
        if whole { units << 32 | block.bytes.len() as u64 } else { 0 }
    };
    let mut run: Box<dyn FnMut() -> u64> = Box::new(run);
    let expected = run();
    assert!(expected & 0xffff_ffff > film.bytes(), "{name}: nothing is lost");
    Case { name, elements: film.messages.len() as u64, bytes: film.bytes(), run, expected }
}
