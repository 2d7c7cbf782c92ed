//! Goal: transport streams that nothing can be said against. Method: real clips through the encoder, read by
//! a strict checker of our own; the same for a viewer who jumps, for clocks that wrap and for slow pictures.

mod formats_support;

use formats_support::ts_check::{Report, check};
use formats_support::*;
use srs_shard::formats::flv::Role;
use srs_shard::formats::message::{Frame, Kind};
use srs_shard::stream::encode::Format;
use srs_shard::stream::prelude::Prelude;

const LEAD: i64 = 9000;

fn assert_carries(report: &Report, frames: &[(Frame, Prelude)], kind: Kind, pid: u16) {
    let wrapped = |ticks: i64| (ticks + LEAD).rem_euclid(1 << 33);
    let expected: Vec<_> = coded(frames, kind)
        .map(|f| {
            let dts = f.time.0 * 90;
            let key = f.tag.role == Role::Key;
            (wrapped(dts + i64::from(f.tag.composition_ms) * 90), wrapped(dts), key)
        })
        .collect();
    let got: Vec<_> =
        report.pes.iter().filter(|p| p.pid == pid).map(|p| (p.pts, p.dts, p.random_access)).collect();
    assert!(!expected.is_empty());
    assert_eq!(got, expected);
}

#[test]
fn every_frame_of_every_clip_is_in_it_with_its_times() {
    for (clip, types, audio_pid) in [
        (H264_AAC, vec![(0x100, 0x1b), (0x101, 0x0f)], 0x101),
        (H264B_MP3, vec![(0x100, 0x1b), (0x102, 0x03)], 0x102),
        (HEVC_AAC, vec![(0x100, 0x24), (0x101, 0x0f)], 0x101),
        (AAC, vec![(0x101, 0x0f)], 0x101),
    ] {
        // At 0, before 0, and across the wrap of the 33-bit clock.
        for shift_ms in [0, -1000, (1 << 33) / 90 - 1000] {
            let frames = frames(clip, shift_ms);
            let report = check(&Encoded::new(Format::Ts, &frames).body());
            assert_eq!(report.streams, types.iter().copied().collect());
            assert_carries(&report, &frames, Kind::Audio, audio_pid);
            if types.len() == 2 {
                assert_carries(&report, &frames, Kind::Video, 0x100);
            }
            assert_eq!(report.discontinuities, 0);
            assert!(report.pcrs > 20);
        }
    }
}

#[test]
fn codecs_that_it_cannot_carry_give_nothing() {
    let encoded = Encoded::new(Format::Ts, &frames(AV1_OPUS, 0));
    assert!(encoded.block.bytes.is_empty());
    let mut out = Vec::new();
    let start = srs_shard::stream::encode::Start { first: true, time: Default::default(), counters: 0 };
    let (_, prelude) = frames(AV1_OPUS, 0).pop().unwrap();
    srs_shard::stream::encode::prelude(Format::Ts, &prelude, &start, &mut out);
    assert!(out.is_empty());
}

#[test]
fn audio_alone_has_tables_and_clock_often_enough() {
    let frames = frames(AAC, 0);
    let encoded = Encoded::new(Format::Ts, &frames);
    let report = check(&encoded.body());
    assert_eq!(report.pcr_pid, 0x101);
    let with_tables = (0..encoded.block.units.len()).filter(|n| encoded.bare(*n)[1..3] == [0x40, 0]).count();
    assert_eq!(with_tables, 5, "2 s: at 0 and every 400 ms or a frame later");
}

#[test]
fn one_picture_a_second_still_has_a_clock_each_100_ms() {
    for kinds in [&[Kind::Video][..], &[Kind::Video, Kind::Audio]] {
        let mut frames = frames(H264_AAC, 0);
        frames.retain(|(f, _)| kinds.contains(&f.kind));
        let mut pictures = 0;
        frames.retain(|(f, _)| {
            let coded = f.kind == Kind::Video && f.tag.role != Role::SequenceHeader;
            pictures += usize::from(coded);
            !coded || pictures % 25 == 1
        });
        // The checker refuses steps of the clock over 100 ms and tables further apart than 500 ms.
        let report = check(&Encoded::new(Format::Ts, &frames).body());
        assert_eq!(report.pes.iter().filter(|pes| pes.pid == 0x100).count(), 2);
        assert!(report.pcrs >= 11);
    }
}

#[test]
fn audio_half_a_second_behind_is_still_in_time() {
    let mut frames = frames(H264_AAC, 0);
    for (frame, _) in frames.iter_mut().filter(|(f, _)| f.kind == Kind::Audio) {
        frame.time.0 -= 500;
    }
    let encoded = Encoded::new(Format::Ts, &frames);
    // The checker refuses data that is due before the clock.
    let report = check(&encoded.body());
    assert_carries(&report, &frames, Kind::Audio, 0x101);
    let with_tables = (0..encoded.block.units.len()).filter(|n| encoded.bare(*n)[1..3] == [0x40, 0]).count();
    assert!(with_tables <= 7, "{with_tables} in 2 s: not once per change of track");
}

#[test]
fn tracks_over_a_second_apart_share_a_steady_clock() {
    for ahead in [Kind::Audio, Kind::Video] {
        let mut frames = frames(H264_AAC, 0);
        for (frame, _) in frames.iter_mut().filter(|(f, _)| f.kind == ahead) {
            frame.time.0 += 1200;
        }
        let report = check(&Encoded::new(Format::Ts, &frames).body());
        // At most the one where the second track shows where it is.
        assert!(report.discontinuities <= 1, "{ahead:?} ahead: {} breaks", report.discontinuities);
        assert_carries(&report, &frames, Kind::Audio, 0x101);
    }
}

#[test]
fn a_viewer_who_jumps_gets_a_stream_without_faults() {
    let encoded = Encoded::new(Format::Ts, &frames(H264_AAC, 0));
    let key = (5..encoded.block.units.len()).find(|n| encoded.unit(*n).key).expect("a second keyframe");
    for last in [0, 1, 7, 20, key - 2] {
        let mut body = encoded.start(0, true);
        for n in 0..=last {
            body.extend_from_slice(encoded.bare(n));
        }
        body.extend_from_slice(&encoded.start(key, false));
        for n in key..encoded.block.units.len() {
            body.extend_from_slice(encoded.bare(n));
        }
        let report = check(&body);
        assert_eq!(report.discontinuities, 4, "one per PID");
        assert_eq!(report.versions.len(), 1);
    }
}

#[test]
fn a_viewer_who_joins_later_has_no_break() {
    let encoded = Encoded::new(Format::Ts, &frames(HEVC_AAC, 0));
    let key = (5..encoded.block.units.len()).find(|n| encoded.unit(*n).key).expect("a second keyframe");
    let mut body = encoded.start(key, true);
    for n in key..encoded.block.units.len() {
        body.extend_from_slice(encoded.bare(n));
    }
    let report = check(&body);
    assert_eq!((report.discontinuities, report.versions.len()), (0, 1));
    let first = report.pes.iter().find(|pes| pes.pid == 0x100).expect("video");
    assert!(first.random_access, "starts at the keyframe");
    let types: Vec<u8> = (0..first.payload.len() - 4)
        .filter(|at| first.payload[*at..].starts_with(&[0, 0, 0, 1]))
        .map(|at| first.payload[at + 4] >> 1)
        .collect();
    assert_eq!(types[..4], [35, 32, 33, 34], "delimiter, VPS, SPS, PPS");
}

#[test]
fn audio_that_comes_later_changes_the_tables() {
    let all = frames(H264_AAC, 0);
    let mut in_force = Prelude::default();
    let mut frames = Vec::new();
    for (frame, _) in all
        .into_iter()
        .filter(|(f, _)| f.kind != Kind::Audio || f.time.0 > 700 || f.tag.role == Role::SequenceHeader)
    {
        if frame.tag.role == Role::SequenceHeader && frame.kind == Kind::Video {
            in_force.remember(frame.kind, frame.tag, &frame.payload);
        }
        frames.push((frame, in_force.clone()));
    }
    let header = frames.iter().position(|(f, _)| f.kind == Kind::Audio).unwrap();
    let header = frames.remove(header).0;
    for (frame, prelude) in &mut frames {
        if frame.time.0 > 700 {
            prelude.remember(Kind::Audio, header.tag, &header.payload);
        }
    }
    let report = check(&Encoded::new(Format::Ts, &frames).body());
    assert_eq!(report.versions.len(), 2);
    assert_eq!(report.streams.len(), 2);
}

#[test]
fn audio_that_changes_its_codec_and_back_has_no_unmarked_break() {
    let mut all: Vec<(Frame, Prelude)> = Vec::new();
    let mut version = 0;
    for (clip, shift_ms) in [(H264_AAC, 0), (H264B_MP3, 2_100), (H264_AAC, 4_200)] {
        let publish = frames(clip, shift_ms);
        let last = publish.last().expect("frames").1.version;
        all.extend(publish.into_iter().map(|(frame, mut prelude)| {
            prelude.version += version;
            (frame, prelude)
        }));
        version += last;
    }
    let report = check(&Encoded::new(Format::Ts, &all).body());
    // H.264 stays on its PID throughout; each audio PID says that it begins anew.
    assert_eq!(report.pes.iter().filter(|pes| pes.pid == 0x100).count(), 150);
    assert!(report.discontinuities >= 2);
}

#[test]
fn audio_goes_on_after_a_silence_though_video_never_does() {
    let mut frames = frames(H264_AAC, 0);
    frames.retain(|(f, _)| f.kind != Kind::Video || f.time.0 < 500);
    for (frame, _) in frames.iter_mut().filter(|(f, _)| f.time.0 >= 500) {
        frame.time.0 += 6_000;
    }
    // The checker refuses data that is due 5 s after the clock or later: this one would stand still.
    let report = check(&Encoded::new(Format::Ts, &frames).body());
    assert_eq!(report.discontinuities, 1, "the clock's break");
    assert_carries(&report, &frames, Kind::Audio, 0x101);
}
