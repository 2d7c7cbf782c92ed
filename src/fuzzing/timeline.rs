//! The timeline, under any clock.

use crate::formats::flv::Role;
use crate::formats::message::{Kind, WireTime};
use crate::stream::timeline::{Jitter, Timeline};
use arbitrary::Unstructured;

/// Whatever an encoder sends as time: a mended stream never runs backward, one that is passed through keeps its
/// times modulo the wrap.
pub fn timeline(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let jitter = [Jitter::Full, Jitter::Zero, Jitter::Off, Jitter::Atc][byte(&mut u) % 4];
    let mends = matches!(jitter, Jitter::Full | Jitter::Zero);
    let mut timeline = Timeline::new(jitter);
    let (mut wire, mut now_ms) = ([0u32; 3], 1_000_000u64);
    let mut last = [0i64; 3];
    while !u.is_empty() {
        let op = byte(&mut u);
        let (kind, at) = match op & 3 {
            0 => (Kind::Audio, 0),
            1 | 2 => (Kind::Video, 1),
            _ => (Kind::Data, 2),
        };
        let role = [Role::Coded, Role::Key, Role::SequenceHeader, Role::Coded][op >> 2 & 3];
        now_ms += u64::try_from(byte(&mut u)).unwrap_or_default() << (op >> 2 & 12);
        wire[at] = match op >> 4 & 7 {
            0..=3 => wire[at].wrapping_add(op as u32 >> 4 & 3).wrapping_add(20),
            4 => wire[at].wrapping_add_signed(u.arbitrary::<i8>().unwrap_or(0).into()),
            5 => wire[at].wrapping_add_signed(u.arbitrary::<i16>().unwrap_or(0).into()),
            6 => wire[1 - at.min(1)],
            _ => u.arbitrary().unwrap_or(0),
        };
        if op & 0x80 != 0 && byte(&mut u) == 0 {
            timeline.republish(jitter);
        }
        let out = timeline.place(kind, role, WireTime(wire[at]), now_ms).0;
        if mends {
            assert!(out >= last[at], "{kind:?} runs backward: {out} after {}", last[at]);
            last[at] = out;
        } else {
            // A wrap at 2^31 is undone too, so only 31 bits are sure to be the same.
            assert_eq!(out as u32 & 0x7fff_ffff, wire[at] & 0x7fff_ffff);
        }
        assert!(out.unsigned_abs() < 1 << 56, "no arithmetic downstream can overflow");
    }
}

fn byte(u: &mut Unstructured<'_>) -> usize {
    u.arbitrary::<u8>().unwrap_or(0).into()
}
