//! The core's rules (DESIGN §2), one test each: what no simulation needs chance for.

use super::encode::Format;
use super::output::AUDIO_WAITS_MS;
use super::post::{FeedItem, Sub};
use super::settings::Settings;
use super::testing::{AUDIO_HEADER, Bench, KEY, PICTURE, RTMP, SOUND, VIDEO_HEADER, VIDEO_HEADER_2, count};
use super::viewer::Mode;
use crate::formats::amf0::Value;
use crate::formats::message::MediaTime;
use crate::stats::reason::CloseReason;
use crate::stream::metadata;

fn video(settings: Settings) -> Bench {
    let mut bench = Bench::new(RTMP, settings);
    bench.publish();
    bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY]);
    bench
}

#[test]
fn a_viewer_in_step_costs_one_send_per_block_and_nothing_else() {
    let mut bench = video(Settings::default());
    let viewers: Vec<_> = (0..20).map(|_| bench.join()).collect();
    bench.pump();
    let pieces = bench.feed.lend_pieces().capacity();
    let begun: Vec<usize> = viewers.iter().map(|(_, wire)| wire.0.borrow().sends).collect();
    for n in 1..=100u32 {
        let blocks = bench.send(n * 40, &[PICTURE, SOUND]);
        assert_eq!(blocks, 1 + usize::from(n == 1), "the first sound is news for the prelude");
        bench.pump();
        bench.pump();
    }
    for ((_, wire), begun) in viewers.iter().zip(begun) {
        let seen = wire.0.borrow();
        assert!(seen.sends - begun <= 101, "{} sends for 101 blocks", seen.sends - begun);
        assert_eq!(count(&seen.bytes, b"pic"), 100);
    }
    assert!(pieces <= 4 && bench.feed.lend_pieces().capacity() <= 4, "no list of pieces was grown");
}

#[test]
fn more_viewers_than_a_turn_may_serve_are_all_served() {
    let mut bench = video(Settings::default());
    let viewers: Vec<_> = (0..600).map(|_| bench.join()).collect();
    while bench.feed.has_work() {
        bench.pump();
    }
    bench.send(40, &[PICTURE]);
    bench.pump();
    bench.send(80, &[PICTURE]); // comes while the walk is under way
    let mut turns = 0;
    while bench.feed.has_work() {
        bench.pump();
        turns += 1;
        assert!(turns < 20, "the pump comes to rest");
    }
    for (_, wire) in &viewers {
        assert_eq!(count(&wire.0.borrow().bytes, b"pic"), 2);
    }
}

#[test]
fn a_log_keeps_the_current_gop_and_the_one_before() {
    let mut bench = video(Settings::default());
    for n in 1..=40u32 {
        bench.send(n * 100, if n % 10 == 0 { &[KEY] } else { &[PICTURE] });
    }
    bench.feed.sweep(bench.now_ms);
    let first = bench.feed.log().blocks().front().unwrap();
    assert_eq!(first.units[0].time.0, 3_000, "keyframes at 3 s and 4 s are kept");
    let slow = video(Settings { gop_cache_max_ms: 1_000, ..Settings::default() });
    let mut bench = slow;
    (1..=20u32).for_each(|n| _ = bench.send(n * 100, &[PICTURE]));
    bench.feed.sweep(bench.now_ms);
    assert!(bench.feed.log().newest_key().is_none(), "a GOP above gop_cache_max is no start point");
}

#[test]
fn bytes_are_bounded_but_the_newest_block_stays() {
    let mut bench = video(Settings { feed_max_bytes: 4, ..Settings::default() });
    let (_, wire) = bench.join();
    bench.pump();
    bench.send(40, &[PICTURE]);
    assert_eq!(bench.feed.log().blocks().len(), 1);
    bench.pump();
    assert_eq!(count(&wire.0.borrow().bytes, b"pic"), 1, "who is in step loses nothing");
    bench.send(80, &[KEY]);
    bench.pump();
    assert_eq!(count(&wire.0.borrow().bytes, b"key"), 2);
}

#[test]
fn who_falls_behind_jumps_to_a_keyframe_with_the_headers_in_force_there() {
    let mut bench = video(Settings { queue_length_ms: 1_000, ..Settings::default() });
    let (slot, wire) = bench.join();
    bench.pump();
    wire.0.borrow_mut().private.clear();
    wire.0.borrow_mut().parked = Some(Default::default()); // stuck
    for n in 1..=20u32 {
        bench.send(n * 100, &[PICTURE]);
        bench.pump();
    }
    bench.send(2_100, &[VIDEO_HEADER_2, KEY]);
    wire.0.borrow_mut().parked = None;
    wire.0.borrow_mut().bytes.clear();
    bench.pump();
    let seen = wire.0.borrow();
    assert_eq!(bench.feed.viewers()[slot].counters.jumps, 1);
    assert_eq!(count(&seen.bytes, b"pic"), 0);
    assert_eq!(count(&seen.bytes, b"key"), 1);
    assert_eq!(count(&seen.private, VIDEO_HEADER_2), 1);
}

#[test]
fn a_full_connection_gets_the_rest_of_the_message_in_flight_and_no_more() {
    let mut bench = video(Settings::default());
    let (_, wire) = bench.join();
    bench.pump();
    wire.0.borrow_mut().bytes.clear();
    wire.0.borrow_mut().room = Some(5);
    bench.send(40, &[PICTURE, PICTURE, PICTURE]);
    bench.pump();
    let rest = wire.0.borrow().parked.clone().unwrap();
    assert_eq!(rest.len() + 5, 12 + PICTURE.len(), "one message in all");
    wire.0.borrow_mut().parked = None;
    wire.0.borrow_mut().room = None;
    bench.feed.dirty = true;
    bench.pump();
    assert_eq!(count(&wire.0.borrow().bytes, b"pic"), 2);
}

#[test]
fn headers_come_again_only_if_they_changed() {
    let mut bench = video(Settings::default());
    let (_, wire) = bench.join();
    bench.pump();
    let times = |what: &[u8]| count(&wire.0.borrow().bytes, what);
    bench.unpublish();
    bench.publish();
    bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY]);
    bench.pump();
    assert_eq!((times(VIDEO_HEADER), times(b"key")), (0, 2), "only in its private prelude");
    bench.unpublish();
    bench.publish();
    bench.send(0, &[VIDEO_HEADER_2, AUDIO_HEADER, KEY]);
    bench.pump();
    assert_eq!((times(VIDEO_HEADER_2), times(AUDIO_HEADER)), (1, 0));
    bench.send(40, &[VIDEO_HEADER_2]);
    bench.pump();
    assert_eq!(times(VIDEO_HEADER_2), 2, "within a publish it passes, as in SRS");
}

#[test]
fn reduce_sequence_header_drops_repeats() {
    let mut bench = video(Settings { reduce_sequence_header: true, ..Settings::default() });
    let (_, wire) = bench.join();
    bench.pump();
    bench.send(40, &[VIDEO_HEADER]);
    bench.send(80, &[VIDEO_HEADER_2, KEY]);
    bench.pump();
    let seen = wire.0.borrow();
    assert_eq!((count(&seen.bytes, VIDEO_HEADER), count(&seen.bytes, VIDEO_HEADER_2)), (0, 1));
}

#[test]
fn an_http_body_ends_with_its_publisher_unless_it_is_held_or_taken_over() {
    for (hold_ms, ends) in [(0, true), (2_000, false)] {
        let mut bench = Bench::new(Format::Flv, Settings { hold_ms, ..Settings::default() });
        bench.publish();
        bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY, SOUND]);
        let (slot, wire) = bench.join();
        bench.pump();
        bench.unpublish();
        bench.publish();
        bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY]);
        bench.pump();
        assert_eq!(wire.0.borrow().ended.is_some(), ends);
        assert_eq!(count(&wire.0.borrow().bytes, b"key"), 1 + usize::from(!ends));
        if !ends {
            bench.unpublish();
            bench.feed.sweep(bench.now_ms + 2_000);
            bench.pump();
            assert_eq!(wire.0.borrow().ended, Some(CloseReason::Unpublished));
            assert!(wire.0.borrow().private.ends_with(b"0\r\n\r\n"));
            assert_eq!(bench.feed.viewers()[slot].mode(), Mode::Closed);
        }
    }
    let mut bench = Bench::new(Format::Flv, Settings { stale_after_ms: 0, ..Settings::default() });
    bench.publish();
    bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY, SOUND]);
    let (_, wire) = bench.join();
    bench.pump();
    bench.publish(); // in its place
    bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY]);
    bench.pump();
    assert_eq!(wire.0.borrow().ended, None);
    assert_eq!(count(&wire.0.borrow().bytes, b"key"), 2);
}

#[test]
fn who_waited_for_a_publish_gets_all_of_it() {
    for (gop_cache, format) in [(true, RTMP), (false, RTMP), (true, Format::Flv), (false, Format::Flv)] {
        let mut bench = Bench::new(format, Settings { gop_cache, ..Settings::default() });
        let (_, wire) = bench.join();
        bench.publish();
        bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, SOUND, KEY, PICTURE]);
        bench.send(1_000, &[KEY, PICTURE]);
        bench.pump();
        bench.pump();
        let seen = wire.0.borrow();
        let counts = [SOUND, KEY, PICTURE].map(|what| count(&seen.bytes, what));
        assert_eq!(counts, [1, 2, 2], "{format:?}, gop_cache {gop_cache}");
    }
}

/// AVC and AAC headers that TS can carry, and a picture and a sound to go with them.
const AVC_HEADER: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x02\x67A\x01\0\x02\x68A";
const AVC_KEY: &[u8] = b"\x17\x01\0\0\0\0\0\0\x04\x65key";

#[test]
fn a_ts_viewer_without_video_goes_on_with_a_publish_of_sound_alone() {
    let settings = Settings { queue_length_ms: 1_000, stale_after_ms: 0, ..Settings::default() };
    let mut bench = Bench::new(Format::Ts, settings);
    bench.publish();
    bench.send(0, &[AVC_HEADER, AUDIO_HEADER, AVC_KEY, SOUND]);
    let (slot, wire) = bench.join();
    bench.pump();
    wire.0.borrow_mut().parked = Some(Default::default()); // stuck
    (1..=20u32).for_each(|n| _ = bench.send(n * 100, &[SOUND]));
    wire.0.borrow_mut().parked = None;
    bench.feed.dirty = true;
    bench.pump();
    assert_eq!(bench.feed.viewers()[slot].mode(), Mode::Audio, "it jumped, and no keyframe came since");
    bench.publish(); // in its place
    wire.0.borrow_mut().bytes.clear();
    wire.0.borrow_mut().private.clear();
    bench.send(3_000, &[AUDIO_HEADER, SOUND]);
    bench.pump();
    assert_eq!(count(&wire.0.borrow().bytes, b"snd"), 1);
    let broken = count(&wire.0.borrow().private, b"\xb7\x80\xff"); // adaptation fields that say so
    assert_eq!(broken, 4, "the break of continuity is announced on every PID");
}

#[test]
fn what_a_waiting_viewer_is_to_begin_with_is_kept() {
    let mut bench = Bench::new(RTMP, Settings::default());
    let (_, wire) = bench.join();
    bench.publish();
    bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY]);
    (1..=4).for_each(|n| _ = bench.send(n * 1_000, &[KEY]));
    bench.feed.sweep(bench.now_ms); // before its first turn, as after a stall
    bench.pump();
    bench.pump();
    assert_eq!(count(&wire.0.borrow().bytes, b"key"), 5);
}

#[test]
fn nobody_jumps_into_a_publish_before_its_first_frame() {
    const METADATA: &[u8] = b"\x02\0\x0aonMetaData\x03\0\0\x09";
    let mut bench = video(Settings { queue_length_ms: 1_000, ..Settings::default() });
    let (_, wire) = bench.join();
    bench.pump();
    wire.0.borrow_mut().parked = Some(Default::default()); // stuck
    (1..=20u32).for_each(|n| _ = bench.send(n * 100, &[PICTURE]));
    bench.publish_again();
    bench.send(0, &[VIDEO_HEADER_2, AUDIO_HEADER, KEY]);
    bench.publish_again();
    bench.send(0, &[METADATA]);
    bench.feed.sweep(bench.now_ms);
    wire.0.borrow_mut().parked = None;
    wire.0.borrow_mut().private.clear();
    wire.0.borrow_mut().bytes.clear();
    bench.feed.dirty = true;
    bench.pump();
    // Players in step have these headers, so they are not in the stream again.
    bench.send(0, &[VIDEO_HEADER_2, AUDIO_HEADER, KEY]);
    bench.pump();
    bench.pump();
    let seen = wire.0.borrow();
    assert_eq!(count(&seen.bytes, b"key"), 1);
    assert_eq!(count(&seen.private, VIDEO_HEADER_2) + count(&seen.bytes, VIDEO_HEADER_2), 1);
}

#[test]
fn who_jumped_behind_a_publish_of_headers_alone_is_told_those_of_the_next() {
    const METADATA: &[u8] = b"\x02\0\x0aonMetaData\x03\0\0\x09";
    let mut bench = video(Settings { queue_length_ms: 1_000, ..Settings::default() });
    let (_, wire) = bench.join();
    bench.pump();
    wire.0.borrow_mut().parked = Some(Default::default()); // stuck
    bench.publish_again();
    bench.send(0, &[VIDEO_HEADER_2, AUDIO_HEADER, KEY]);
    (1..=20u32).for_each(|n| _ = bench.send(n * 100, &[PICTURE]));
    bench.publish_again();
    bench.send(0, &[METADATA]);
    bench.unpublish();
    bench.feed.sweep(bench.now_ms);
    wire.0.borrow_mut().parked = None;
    bench.feed.dirty = true;
    bench.pump();
    bench.publish();
    bench.send(0, &[VIDEO_HEADER_2, AUDIO_HEADER, KEY]);
    bench.pump();
    bench.pump();
    let seen = wire.0.borrow();
    assert!(count(&seen.bytes, b"key") >= 1);
    assert!(count(&seen.private, VIDEO_HEADER_2) + count(&seen.bytes, VIDEO_HEADER_2) >= 1);
}

#[test]
fn a_window_is_measured_from_the_first_unit_kept() {
    let mut bench = video(Settings::default());
    let times: Vec<u32> = (1..=50).map(|n| n * 100).collect();
    bench.send_at(&times, PICTURE); // a block of five seconds
    let bytes = bench.feed.log().bytes() as u64;
    let two_seconds = bench.feed.log().bytes_in(2_000).unwrap();
    assert!(two_seconds <= bytes * 2 / 5 + 1, "{two_seconds} of {bytes}");
}

#[test]
fn an_flv_header_names_a_track_that_began_after_the_keyframe() {
    let mut bench = Bench::new(Format::Flv, Settings::default());
    bench.publish();
    bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY]);
    bench.send(20, &[SOUND]);
    let (_, wire) = bench.join();
    bench.pump();
    assert_eq!(count(&wire.0.borrow().private, b"FLV\x01\x05"), 1, "audio and video");
}

#[test]
fn audio_alone_waits_for_a_picture_and_prelude_changes_cut_blocks() {
    let mut bench = Bench::new(RTMP, Settings::default());
    bench.publish();
    bench.send(0, &[VIDEO_HEADER, KEY, SOUND]);
    let settings = Settings::default();
    let mut out = Vec::new();
    let sound = crate::formats::message::Message {
        kind: crate::formats::message::Kind::Audio,
        time: crate::formats::message::WireTime(40),
        payload: bytes::Bytes::from_static(SOUND),
    };
    bench.origin.media(bench.epoch, vec![sound].into(), 100, &mut out);
    assert_eq!(bench.origin.outputs()[0].due_ms(&settings), Some(100 + AUDIO_WAITS_MS));
    let blocks = bench.feed.log().blocks();
    let versions: Vec<u32> = blocks.iter().map(|block| block.prelude.version).collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

#[test]
fn a_window_that_is_full_drops_to_the_next_keyframe() {
    static BIG: [u8; 600_000] = {
        let mut picture = [0u8; 600_000];
        (picture[0], picture[1]) = (0x27, 1);
        picture
    };
    let mut bench = video(Settings::default());
    let mut posted = Vec::new();
    for (n, payload) in [&BIG[..], &BIG, PICTURE, SOUND, KEY].into_iter().enumerate() {
        posted.push(bench.send(1_000 * (n as u32 + 1), &[payload]) > 0);
        // The credit comes back late: after the third.
        if n == 2 {
            let subscriber = bench.origin.subscriber(RTMP, 0).unwrap();
            assert!(subscriber.lagging && subscriber.in_flight > 1 << 20);
            subscriber.in_flight = 0;
        }
    }
    assert_eq!(posted, [true, true, false, false, true], "overdrawn once, then dropped to the keyframe");
    assert_eq!(bench.feed.counters().gaps, 1);
}

#[test]
fn a_start_item_holds_the_publish_in_force_only() {
    let mut bench = video(Settings::default());
    bench.unpublish();
    bench.publish();
    bench.send(0, &[AUDIO_HEADER, SOUND]);
    let mut out = Vec::new();
    bench.origin.subscribe(RTMP, 3, Sub { feed: 0, serial: 9 }, 0, 0, &mut out);
    let Some((.., FeedItem::Start { blocks, live, .. })) = out.pop() else { panic!("no start") };
    assert_eq!(live, Some(bench.epoch));
    assert!(blocks.iter().all(|block| count(&block.bytes, b"key") == 0 && !block.prelude.has_video));
}

#[test]
fn metadata_is_rewritten_as_srs_does() {
    let mut body = Vec::new();
    Value::text("onMetaData").write(&mut body);
    let number = |name: &str| (name.to_owned(), Value::Number(7.0));
    let properties = vec![number("duration"), number("videocodecid"), number("server")];
    Value::EcmaArray(properties).write(&mut body);
    let found = metadata::normalise(&body).unwrap();
    assert_eq!(found.tracks, Some(metadata::Tracks { audio: false, video: true }));
    assert_eq!(count(&found.body, b"duration"), 0);
    assert_eq!(count(&found.body, b"srs-shard/"), 1);
    assert_eq!(count(&found.body, b"server_version"), 1);
    assert_eq!(metadata::normalise(&found.body).unwrap().body, found.body, "twice is once");
    assert!(metadata::normalise(b"\x02\0\x03foo").is_none());
    assert!(metadata::normalise(&body[..13]).is_none());
}

#[test]
fn metadata_can_turn_the_encoders_absolute_time_on() {
    const METADATA: &[u8] = b"\x02\0\x0aonMetaData\x03\0\x09bravo_atc\x02\0\x04true\0\0\x09";
    for (atc_auto, time) in [(true, 3_600_000), (false, 0)] {
        let mut bench = Bench::new(RTMP, Settings { atc_auto, ..Settings::default() });
        bench.publish();
        bench.send(3_600_000, &[METADATA, VIDEO_HEADER, KEY]);
        assert_eq!(bench.origin.counters().key_time, Some(MediaTime(time)), "atc_auto {atc_auto}");
    }
}

#[test]
fn many_who_wait_do_not_keep_the_pump_busy() {
    let mut bench = Bench::new(RTMP, Settings::default());
    let viewers: Vec<_> = (0..600).map(|_| bench.join()).collect();
    bench.pump();
    assert!(!bench.feed.has_work(), "there is nothing to do until somebody publishes");
    bench.publish();
    bench.send(0, &[VIDEO_HEADER, KEY]);
    while bench.feed.has_work() {
        bench.pump();
    }
    assert!(viewers.iter().all(|(_, wire)| count(&wire.0.borrow().bytes, b"key") == 1));
}

#[test]
fn what_no_viewer_could_be_given_is_dropped() {
    static HUGE_HEADER: [u8; 100_000] = {
        let mut header = [0u8; 100_000];
        header[0] = 0x17;
        header
    };
    let mut bench = video(Settings::default());
    let (version, blocks) = (bench.origin.prelude().version, bench.feed.log().blocks().len());
    bench.send(40, &[&HUGE_HEADER, b""]);
    assert_eq!(bench.origin.prelude().version, version);
    assert_eq!(bench.feed.log().blocks().len(), blocks, "and nothing is sent for an empty message");
}

#[test]
fn a_gop_begins_with_the_main_track() {
    const KEY_0: &[u8] = b"\x91avc1\0\0\0main";
    const KEY_1: &[u8] = b"\x96\x01avc1\x01\0\0\0other";
    let mut bench = Bench::new(RTMP, Settings::default());
    bench.publish();
    for gop in 0..3 {
        bench.send(gop * 1_000, &[KEY_0, KEY_1]);
        bench.send(gop * 1_000 + 500, &[PICTURE]);
    }
    assert_eq!(bench.origin.counters().gop_ms, Some(1_000));
    let (_, wire) = bench.join();
    bench.pump();
    let seen = wire.0.borrow();
    assert_eq!((count(&seen.bytes, b"main"), count(&seen.bytes, b"other")), (1, 1), "a whole GOP");
}

#[test]
fn messages_of_next_to_nothing_are_bounded_too() {
    let mut gop = crate::stream::gop::CurrentGop::default();
    let settings = Settings { feed_max_bytes: 64 << 10, ..Settings::default() };
    let frame = |payload: &'static [u8], kind| crate::formats::message::Frame {
        kind,
        time: MediaTime(0),
        tag: crate::formats::flv::inspect(kind, payload),
        payload: payload.into(),
    };
    gop.push(frame(KEY, crate::formats::message::Kind::Video), false, &settings);
    for _ in 0..100_000 {
        gop.push(frame(b"x", crate::formats::message::Kind::Audio), false, &settings);
        assert!(gop.frames().len() < 2_000);
    }
}
