//! Goal: what a viewer of FLV, ADTS, MP3 and fMP4 gets, unit by unit. Method: real clips through the encoders,
//! and the same clips bent: headers that change, tracks that come and go, a viewer who jumps.

mod formats_support;

use bytes::Bytes;
use formats_support::*;
use srs_shard::formats::flv::{Role, inspect};
use srs_shard::formats::flv_file::{Event, FlvReader, MAX_BODY_BYTES};
use srs_shard::formats::message::{Frame, Kind, MediaTime, WireTime};
use srs_shard::stream::encode::Format;
use srs_shard::stream::prelude::Prelude;

fn read_flv(bytes: &[u8]) -> Vec<Event> {
    let mut reader = FlvReader::new(MAX_BODY_BYTES);
    reader.push(bytes);
    let mut events = Vec::new();
    while let Some(event) = reader.poll().expect("FLV") {
        events.push(event);
    }
    assert!(reader.is_at_boundary());
    events
}

#[test]
fn flv_is_the_publishers_tags_behind_a_head_of_ones_own() {
    let frames = frames(HEVC_AAC, 0);
    let encoded = Encoded::new(Format::Flv, &frames);
    let units: Vec<u8> = (0..encoded.block.units.len()).flat_map(|n| encoded.bare(n).to_vec()).collect();
    assert_eq!(units, HEVC_AAC[13..], "tag for tag");
    let key = (1..encoded.block.units.len()).rfind(|n| encoded.unit(*n).key).expect("a keyframe");
    let time = encoded.unit(key).time.wire();
    let head = read_flv(&encoded.start(key, true));
    assert_eq!(head[0], Event::Header { has_audio: true, has_video: true });
    let roles: Vec<_> = head[1..]
        .iter()
        .map(|event| match event {
            Event::Message(m) => (m.kind, inspect(m.kind, &m.payload).role, m.time),
            Event::Header { .. } => panic!("one header"),
        })
        .collect();
    let header = Role::SequenceHeader;
    assert_eq!(
        roles,
        [(Kind::Data, Role::Other, WireTime(0)), (Kind::Audio, header, time), (Kind::Video, header, time)]
    );
    let jump = [b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec(), encoded.start(key, false)].concat();
    assert_eq!(read_flv(&jump)[1..], head[1..], "a jump brings metadata and sequence headers");
}

#[test]
fn flv_says_whether_there_is_video() {
    let encoded = Encoded::new(Format::Flv, &frames(AAC, 0));
    let last = encoded.block.units.len() - 1;
    assert_eq!(read_flv(&encoded.start(last, true))[0], Event::Header { has_audio: true, has_video: false });
}

#[test]
fn bare_audio_has_only_its_own_codec() {
    assert_eq!(Encoded::new(Format::Aac, &frames(H264B_MP3, 0)).block.units.len(), 0);
    assert_eq!(Encoded::new(Format::Mp3, &frames(H264_AAC, 0)).block.units.len(), 0);
    let frames = frames(H264B_MP3, 0);
    assert_eq!(Encoded::new(Format::Mp3, &frames).block.units.len(), coded(&frames, Kind::Audio).count());
}

/// A fragment's track, decoding time and samples (duration, size, flags, offset), or `None` for an init.
fn fragment(unit: &[u8]) -> Option<(u32, u64, Vec<[u32; 4]>)> {
    if &unit[4..8] == b"ftyp" {
        return None;
    }
    assert_eq!(&unit[4..8], b"moof");
    let u32_at = |at: usize| u32::from_be_bytes(unit[at..at + 4].try_into().unwrap());
    let body = |name: &[u8]| unit.windows(4).position(|w| w == name).unwrap() + 8;
    assert_eq!(unit.windows(4).filter(|w| *w == b"moof" || *w == b"traf").count(), 2, "one of each");
    let (track, time, run) = (u32_at(body(b"tfhd")), body(b"tfdt"), body(b"trun"));
    let time = u64::from(u32_at(time)) << 32 | u64::from(u32_at(time + 4));
    let samples =
        (0..u32_at(run) as usize).map(|n| std::array::from_fn(|i| u32_at(run + 8 + 16 * n + 4 * i)));
    let samples: Vec<_> = samples.collect();
    let data: u32 = samples.iter().map(|s| s[1]).sum();
    assert_eq!(u32_at(run + 4) as usize + data as usize, unit.len(), "the data is what ends the unit");
    Some((track, time, samples))
}

#[test]
fn fmp4_is_a_picture_or_100_ms_of_audio_at_its_real_time() {
    for clip in [H264_AAC, H264B_MP3, HEVC_AAC, AV1_OPUS] {
        let frames = frames(clip, 5_000);
        let encoded = Encoded::new(Format::Fmp4, &frames);
        let (mut pictures, mut audio_ms, mut audio_end) = (Vec::new(), Vec::new(), None);
        for n in 0..encoded.block.units.len() {
            let unit = encoded.unit(n);
            let (track, time, samples) = fragment(encoded.bare(n)).expect("no second init");
            if unit.kind == Kind::Video {
                assert_eq!((track, time, samples.len()), (1, unit.time.0 as u64, 1));
                assert_eq!(samples[0][2], if unit.key { 0x0200_0000 } else { 0x0101_0000 });
                pictures.push((time, samples[0][0], samples[0][3]));
            } else {
                let rate = if clip == AV1_OPUS { 48_000 } else { 44_100 };
                assert_eq!(track, 2);
                assert!((time as i64 * 1000 / rate - unit.time.0).abs() <= 2, "real time");
                if let Some(end) = audio_end {
                    assert_eq!(time, end, "no gap and no overlap where the source has none");
                }
                let ticks: u32 = samples.iter().map(|s| s[0]).sum();
                audio_end = Some(time + u64::from(ticks));
                audio_ms.push(i64::from(ticks) * 1000 / rate);
            }
        }
        let expected: Vec<_> = coded(&frames, Kind::Video)
            .map(|f| (f.time.0 as u64, 250, f.tag.composition_ms as u32))
            .collect();
        assert_eq!(pictures, expected);
        assert!(audio_ms.iter().all(|ms| *ms < 130), "{audio_ms:?}");
        assert!(audio_ms.iter().filter(|ms| **ms >= 100).count() > 15, "{audio_ms:?}");
        assert!(!encoded.ended);
    }
}

#[test]
fn a_pictures_duration_is_the_step_before_it_and_no_less_than_a_browser_needs() {
    let mut frames = frames(H264_AAC, 0);
    frames.retain(|(f, _)| f.kind == Kind::Video);
    for (n, (frame, _)) in frames.iter_mut().enumerate() {
        let n = n as i64;
        frame.time = MediaTime(n * n * 40);
    }
    let encoded = Encoded::new(Format::Fmp4, &frames);
    let steps: Vec<u32> = (1..6).map(|n| fragment(encoded.bare(n)).expect("a fragment").2[0][0]).collect();
    // The header is frame 0, so the pictures are at 40, 160, 360, 640, 1000, 1440.
    assert_eq!(steps, [250, 250, 280, 360, 440]);
}

/// `second` after `first` on one timeline, in one publish or in two.
fn one_after_another(first: &[u8], second: &[u8], keep_headers: bool) -> Vec<(Frame, Prelude)> {
    let mut all = frames(first, 0);
    let mut in_force = all.last().expect("frames").1.clone();
    if !keep_headers {
        in_force = Prelude { version: in_force.version + 1, ..Prelude::default() };
    }
    for (frame, _) in frames(second, 2_100) {
        match frame.tag.role {
            Role::SequenceHeader => _ = in_force.remember(frame.kind, frame.tag, &frame.payload),
            _ => in_force.saw_frame(frame.kind, &frame.tag, &frame.payload),
        }
        all.push((frame, in_force.clone()));
    }
    all
}

/// A clip whose avcC differs in a byte that does not matter.
fn with_another_header(clip: &[u8]) -> Vec<u8> {
    let mut clip = clip.to_vec();
    let at = clip.windows(6).position(|w| w == b"\x17\0\0\0\0\x01").expect("an avcC");
    clip[at + 9] ^= 0x80; // a reserved bit before lengthSizeMinusOne
    clip
}

#[test]
fn new_parameters_bring_one_new_init_and_the_same_ones_none() {
    for keep_headers in [true, false] {
        let again = Encoded::new(Format::Fmp4, &one_after_another(H264_AAC, H264_AAC, keep_headers));
        assert!((0..again.block.units.len()).all(|n| fragment(again.bare(n)).is_some()));
        assert!(!again.ended);

        let other = with_another_header(H264_AAC);
        let changed = Encoded::new(Format::Fmp4, &one_after_another(H264_AAC, &other, keep_headers));
        let inits: Vec<usize> =
            (0..changed.block.units.len()).filter(|n| fragment(changed.bare(*n)).is_none()).collect();
        let [init] = inits[..] else { panic!("one init, not {inits:?}") };
        assert!(!changed.ended);
        let next = changed.unit(init + 1);
        assert!(next.time.0 >= 2_100, "before the first frame that needs it");
        assert_eq!(changed.start(init + 1, true), changed.bare(init), "who joins then gets the same");
        assert_ne!(changed.start(0, true), changed.bare(init), "and not who joined before");
    }
}

#[test]
fn a_track_whose_header_cannot_be_read_is_left_out() {
    let mut clip = H264_AAC.to_vec();
    let avcc = clip.windows(6).position(|w| w == b"\x17\0\0\0\0\x01").expect("an avcC") + 5;
    assert_eq!(clip[avcc + 8], 0x67);
    clip[avcc + 8] = 0x66; // its SPS is none
    let encoded = Encoded::new(Format::Fmp4, &frames(&clip, 0));
    assert!(!encoded.start(0, true).windows(4).any(|w| w == b"avc1"));
    assert!(
        encoded.block.units.len() > 10 && encoded.block.units.iter().all(|unit| unit.kind == Kind::Audio)
    );
}

#[test]
fn another_set_of_tracks_ends_the_body() {
    for (first, second) in [(H264_AAC, AAC), (AAC, H264_AAC), (H264_AAC, HEVC_AAC), (H264_AAC, H264B_MP3)] {
        let encoded = Encoded::new(Format::Fmp4, &one_after_another(first, second, false));
        assert!(encoded.ended);
        assert!(encoded.block.units.iter().all(|unit| unit.time.0 < 2_100), "nothing more is written");
    }
}

#[test]
fn mp3_that_shows_up_after_the_first_picture_is_still_in_the_init() {
    let encoded = Encoded::new(Format::Fmp4, &frames(H264B_MP3, 0));
    assert!(encoded.start(0, true).windows(4).any(|w| w == b"mp4a"));
    assert_eq!(encoded.block.units.iter().filter(|u| u.kind == Kind::Video).count(), 50);
    let mut video_only = frames(H264B_MP3, 0);
    video_only.retain(|(f, _)| f.kind != Kind::Audio);
    for (_, prelude) in &mut video_only {
        (prelude.mp3, prelude.has_audio) = (None, false);
    }
    let encoded = Encoded::new(Format::Fmp4, &video_only);
    assert_eq!(encoded.block.units.len(), 50, "without audio it starts after a moment's wait");
    assert!(!encoded.start(0, true).windows(4).any(|w| w == b"mp4a"));
}

#[test]
fn multitrack_packets_pass_in_flv_only() {
    let mut frames = frames(H264_AAC, 0);
    let coded_before = coded(&frames, Kind::Video).count();
    let prelude = frames.last().expect("frames").1.clone();
    let payload = Bytes::from_static(b"\x96\x01avc1\x01\0\0\0\0\0\0\x01\x65");
    let tag = inspect(Kind::Video, &payload);
    assert!(tag.multitrack && tag.role == Role::Coded, "a keyframe of another track begins no GOP");
    frames.push((Frame { kind: Kind::Video, time: MediaTime(2000), tag, payload }, prelude));
    for format in [Format::Ts, Format::Fmp4] {
        let units = Encoded::new(format, &frames).block.units;
        assert_eq!(units.iter().filter(|u| u.kind == Kind::Video).count(), coded_before);
    }
    assert_eq!(Encoded::new(Format::Flv, &frames).block.units.len(), frames.len());
}
