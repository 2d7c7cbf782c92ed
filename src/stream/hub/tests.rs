//! One hub whose shard owns the streams that it views.

use super::*;
use crate::formats::message::{Kind, Message, WireTime};
use crate::stream::settings::Cadence;
use crate::stream::testing::{CountingWire, KEY, PICTURE, RTMP, VIDEO_HEADER, count};
use crate::stream::viewer::Wanted;
use bytes::Bytes;

fn message(payload: &'static [u8]) -> Message {
    Message { kind: Kind::Video, time: WireTime(0), payload: Bytes::from_static(payload) }
}

#[test]
fn what_viewers_were_sent_is_told_to_the_owner_when_the_last_one_leaves() {
    let mut hub: Hub<CountingWire> = Hub::new(0, |_| 0, RandomState::with_seeds(1, 2, 3, 4));
    let (key, settings): (StreamKey, _) = ("v/app/s".into(), Arc::new(Settings::default()));
    let source = hub.publish(&key, 1, &settings);
    hub.turn(0, 0);
    hub.media(source, vec![message(VIDEO_HEADER), message(KEY)]);
    hub.turn(0, 0);
    let mut all = 0;
    for _ in 0..3 {
        let viewer = hub.join(&key, RTMP, &settings, CountingWire::default(), Wanted::default());
        hub.turn(40, 0);
        hub.turn(80, 0);
        let sent = hub.leave(viewer).expect("a viewer").counters.sent_bytes;
        assert!(sent > 0);
        all += sent;
        hub.turn(80, 0);
        assert!(hub.feeds().next().is_none());
        assert_eq!(hub.origin(&key).map(Origin::past_sent_bytes), Some(all));
    }
}

#[test]
fn who_comes_between_two_ticks_is_served_at_once_and_the_others_at_the_tick() {
    let mut hub: Hub<CountingWire> = Hub::new(0, |_| 0, RandomState::with_seeds(1, 2, 3, 4));
    let settings = Settings { cadence: Cadence::Fixed { ms: 350 }, ..Settings::default() };
    let (key, settings): (StreamKey, _) = ("v/app/s".into(), Arc::new(settings));
    let source = hub.publish(&key, 1, &settings);
    hub.turn(0, 0);
    let first = CountingWire::default();
    hub.join(&key, RTMP, &settings, first.clone(), Wanted::default());
    hub.media(source, vec![message(VIDEO_HEADER), message(KEY)]);
    hub.turn(10, 0);
    hub.turn(350, 0);
    let sent = first.0.borrow().bytes.len();
    assert_eq!(count(&first.0.borrow().bytes, b"key"), 1);

    hub.media(source, vec![message(PICTURE)]);
    hub.turn(400, 0);
    let newcomer = CountingWire::default();
    hub.join(&key, RTMP, &settings, newcomer.clone(), Wanted::default());
    let end = hub.turn(410, 0);
    assert_eq!(count(&newcomer.0.borrow().bytes, b"key"), 1, "it does not wait for the tick");
    assert_eq!((first.0.borrow().bytes.len(), end), (sent, TurnEnd { again: false, next_ms: Some(700) }));
    hub.turn(700, 0);
    hub.turn(701, 0);
    assert!([&first, &newcomer].iter().all(|wire| count(&wire.0.borrow().bytes, b"pic") == 1));
}
