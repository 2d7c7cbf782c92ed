use super::*;
use crate::formats::amf0;
use crate::formats::flv::{Role as TagRole, inspect};
use crate::formats::message::{Kind, WireTime};
use crate::rtmp::chunk::reader::{ChunkError, ChunkReader};
use crate::rtmp::chunk::type_id;
use crate::rtmp::chunk::writer::write_message;
use crate::rtmp::client::{ClientConfig, ClientEvent, ClientSession, Role, Step};
use crate::rtmp::control::{Control, User};
use crate::rtmp::handshake::Schema;
use crate::rtmp::url::ClientUrl;
use bytes::Bytes;
use proptest::prelude::*;

const FFMPEG_PUBLISH: &[u8] = include_bytes!("../../../tests/data/rtmp/ffmpeg-publish.bin");
const FFMPEG_PLAY: &[u8] = include_bytes!("../../../tests/data/rtmp/ffmpeg-play.bin");
const GSTREAMER_PUBLISH: &[u8] = include_bytes!("../../../tests/data/rtmp/gstreamer-publish.bin");
const RTMPDUMP_PLAY: &[u8] = include_bytes!("../../../tests/data/rtmp/rtmpdump-play.bin");

const LIMITS: PublishLimits = PublishLimits { first_ms: 20_000, next_ms: 5_000 };

fn session() -> ServerSession {
    ServerSession::new(Arc::new(SessionConfig::default()), 1)
}

/// A session whose handshake is over.
fn shaken() -> ServerSession {
    let mut s = session();
    let hello = [&[3u8][..], &[0; 1536 * 2]].concat();
    assert_eq!(s.read(&mut &hello[..]), Ok(None));
    assert_eq!(s.take_output().len(), 3073);
    s
}

/// Says yes to whatever is asked.
fn agree(s: &mut ServerSession, event: &Event) {
    match event {
        Event::Connect(request) => s.accept_connect(request, &Terms::default()),
        Event::Publish(_) => s.accept_publish(LIMITS),
        Event::Play(_) => s.accept_play(),
        Event::Pause { on, .. } => s.pause_done(*on),
        _ => {}
    }
}

/// Runs a recording through a session in pieces; all events, and all output.
fn replay<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Vec<u8>) {
    let (mut s, mut events, mut out) = (session(), Vec::new(), Vec::new());
    for mut piece in pieces {
        while let Some(event) = s.read(&mut piece).unwrap() {
            agree(&mut s, &event);
            events.push(event);
        }
        assert!(piece.is_empty());
        out.extend(s.take_output());
    }
    (events, out)
}

/// The messages of one or more outputs in words. Each output must be readable without history: only full
/// headers, no chunk stream of media.
fn words(out: &[u8], chunk_bytes: u32) -> Vec<String> {
    let mut reader = ChunkReader::new(Limits::default());
    let mut size = Vec::new();
    Control::ChunkSize(chunk_bytes).write(&mut size);
    assert_eq!(reader.read(&mut &size[..]), Ok(None));
    let (mut input, mut all) = (out, Vec::new());
    while !input.is_empty() {
        assert_eq!(input[0] >> 6, 0, "a full header");
        let Some(m) = reader.read(&mut input).unwrap() else { continue };
        assert!(matches!(m.csid, 2 | 3 | 5), "csid {}", m.csid);
        all.push(match m.type_id {
            type_id::COMMAND | type_id::DATA => {
                let mut values = amf0::read_all(&m.payload).unwrap().into_iter();
                let name = values.next().unwrap();
                let rest: Vec<String> = values.map(|v| brief(&v)).collect();
                format!("{}: {} {}", m.stream_id, name.as_str().unwrap(), rest.join(" "))
            }
            id => format!("{:?}", Control::read(id, &m.payload).unwrap().unwrap()),
        });
    }
    all
}

fn brief(v: &Value) -> String {
    match v {
        Value::Number(n) => n.to_string(),
        Value::Boolean(b) => b.to_string(),
        Value::Null => "null".into(),
        Value::Undefined => "undefined".into(),
        v => v.property("code").and_then(Value::as_str).map_or("object".into(), |c| {
            let level = v.property("level").and_then(Value::as_str).unwrap_or("-");
            format!("{level}/{c}")
        }),
    }
}

/// A client that says what the test makes it say, after a simple handshake and `connect`.
struct Peer {
    s: ServerSession,
}

impl Peer {
    fn connected() -> Peer {
        let mut p = Peer { s: shaken() };
        let events = p.say(Body::call("connect", 1.0).object(&[("tcUrl", "rtmp://h/live")]));
        assert!(matches!(events[..], [Event::Connect(_)]));
        p.s.take_output();
        p
    }

    fn send(&mut self, id: u8, payload: &[u8]) -> Vec<Event> {
        let mut bytes = Vec::new();
        write_message(&mut bytes, 3, id, 1, WireTime(0), &[payload], 128);
        self.bytes(&bytes)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<Event> {
        let (mut input, mut events) = (bytes, Vec::new());
        while let Some(event) = self.s.read(&mut input).unwrap() {
            agree(&mut self.s, &event);
            events.push(event);
        }
        events
    }

    fn say(&mut self, body: Body) -> Vec<Event> {
        self.send(type_id::COMMAND, body.as_bytes())
    }

    fn call(&mut self, name: &str, transaction: f64, argument: &str) -> Vec<Event> {
        self.say(Body::call(name, transaction).null().text(argument))
    }

    fn heard(&mut self) -> Vec<String> {
        let chunk_bytes = self.s.chunk_bytes();
        words(&self.s.take_output(), chunk_bytes)
    }
}

fn media_of(events: &[Event]) -> Vec<&Message> {
    events.iter().filter_map(|e| if let Event::Media(m) = e { Some(m) } else { None }).collect()
}

#[test]
fn ffmpeg_publishes() {
    let (events, out) = replay([FFMPEG_PUBLISH].into_iter());
    let Event::Connect(connect) = &events[0] else { panic!("{:?}", events[0]) };
    assert_eq!((&connect.url.app[..], connect.handshake.complex), ("live", Some(Schema::DigestFirst)));
    let Event::Publish(publish) = &events[1] else { panic!("{:?}", events[1]) };
    assert_eq!((publish.kind, &publish.name.to_string()[..]), (PublishKind::Fmle, "127.0.0.1/live/x"));
    assert_eq!(&publish.name.params, "token=abc");
    assert_eq!(events.last(), Some(&Event::Unpublish));
    let media = media_of(&events);
    assert_eq!(events.len(), media.len() + 3);
    assert!(media[0].payload.starts_with(b"\x02\0\x0aonMetaData"));
    let count = |kind, role| {
        media.iter().filter(|m| m.kind == kind && inspect(kind, &m.payload).role == role).count()
    };
    assert_eq!(count(Kind::Video, TagRole::SequenceHeader), 1);
    assert_eq!(count(Kind::Video, TagRole::Key) + count(Kind::Video, TagRole::Coded), 30, "3 s at 10 fps");
    assert_eq!(count(Kind::Audio, TagRole::Coded), 131);
    let mut times = media.iter().filter(|m| m.kind == Kind::Video).map(|m| m.time);
    assert!(times.clone().is_sorted() && times.next_back() == Some(WireTime(2923)), "{:?}", media.last());
    // S0 to S2, then window, bandwidth and chunk size at the default size: words() begins behind those.
    let heard = words(&out[3073 + 16 + 17 + 16..], 60_000);
    let names: Vec<&str> = heard.iter().filter_map(|w| w.split(' ').nth(1)).collect();
    let calls =
        ["_result", "onBWDone", "_result", "_result", "_result", "_result", "onFCPublish", "onStatus"];
    assert_eq!(names[..8], calls, "{heard:?}");
    assert_eq!(names[8..11], ["onFCUnpublish", "_result", "onStatus"], "{heard:?}");
}

#[test]
fn gstreamer_publishes_an_old_codec() {
    let (events, _) = replay([GSTREAMER_PUBLISH].into_iter());
    assert!(
        matches!(&events[1], Event::Publish(r) if r.name.to_string() == "127.0.0.1/live/gst"),
        "{:?}",
        events[1]
    );
    let videos = media_of(&events).iter().filter(|m| m.kind == Kind::Video && m.payload[0] & 15 == 2).count();
    assert_eq!(videos, 21, "20 pictures of Sorenson H.263 and the end tag of a single byte that flvmux adds");
    assert_eq!(events.last(), Some(&Event::Unpublish));
}

#[test]
fn ffmpeg_and_rtmpdump_play() {
    for (recording, complex) in [(FFMPEG_PLAY, Some(Schema::DigestFirst)), (RTMPDUMP_PLAY, None)] {
        let (events, _) = replay([recording].into_iter());
        let Event::Connect(connect) = &events[0] else { panic!("{events:?}") };
        assert_eq!(connect.handshake.complex, complex);
        let played: Vec<_> = events.iter().filter(|e| matches!(e, Event::Play(_))).collect();
        let [Event::Play(play)] = played[..] else { panic!("{events:?}") };
        assert_eq!((&play.name.to_string()[..], play.duration_ms), ("127.0.0.1/live/x", None));
        assert_eq!(events.last(), Some(&Event::StopPlay), "deleteStream at the end");
    }
}

#[test]
fn recordings_mean_the_same_wherever_they_are_cut() {
    for recording in [&FFMPEG_PUBLISH[..6000], &GSTREAMER_PUBLISH[..6000], FFMPEG_PLAY, RTMPDUMP_PLAY] {
        let whole = replay([recording].into_iter());
        // Every place behind C1; before, one in 100.
        let places = (0..1537).step_by(100).chain(3070..recording.len());
        for at in places {
            let (a, b) = recording.split_at(at);
            assert_eq!(replay([a, b].into_iter()), whole, "cut at {at}");
        }
    }
    let whole = replay([FFMPEG_PUBLISH].into_iter());
    for piece in [1, 3, 1000, 4096] {
        assert_eq!(replay(FFMPEG_PUBLISH.chunks(piece)), whole, "pieces of {piece}");
    }
}

#[test]
fn an_answer_may_come_later_and_nothing_is_lost() {
    let whole = replay([FFMPEG_PUBLISH].into_iter()).0;
    let (mut s, mut events) = (session(), Vec::new());
    let mut pieces = FFMPEG_PUBLISH.chunks(5000);
    let mut asked: Option<Event> = None;
    loop {
        // The shell of this test answers only when it has nothing else to do.
        let mut input: &[u8] = match asked.take() {
            Some(event) => {
                assert!(!s.wants_read());
                agree(&mut s, &event);
                &[]
            }
            None if s.wants_read() => match pieces.next() {
                Some(piece) => piece,
                None => break,
            },
            None => &[],
        };
        while let Some(event) = s.read(&mut input).unwrap() {
            if matches!(event, Event::Connect(_) | Event::Publish(_)) {
                asked = Some(event.clone());
            }
            events.push(event);
        }
        s.take_output();
    }
    assert_eq!(events, whole);
    // A shell that goes on reading is told so, before memory is.
    let mut s = session();
    s.state = State::PublishAsked;
    assert_eq!(s.read(&mut &vec![0; MAX_HELD_BYTES][..]), Ok(None));
    assert_eq!(s.read(&mut &[0; 1][..]), Err(SessionError::Held));
}

#[test]
fn connect_is_answered_in_the_order_of_srs() {
    let codecs = Value::StrictArray(vec![Value::text("hvc1")]);
    let mut object = vec![("tcUrl".to_owned(), Value::text("rtmp://h/live"))];
    for enhanced in [false, true] {
        if enhanced {
            object.push(("fourCcList".to_owned(), codecs.clone()));
        }
        let body = Body::call("connect", 1.0).value(&Value::Object(object.clone()));
        let mut bytes = Vec::new();
        body.write_command(&mut bytes, 0, 128);
        let mut s = shaken();
        let Ok(Some(Event::Connect(request))) = s.read(&mut &bytes[..]) else { panic!() };
        assert_eq!(s.state(), State::ConnectAsked);
        let terms =
            Terms { server_ip: "10.0.0.1".into(), id: ConnectionId::Number(107.0), ..Terms::default() };
        s.accept_connect(&request, &terms);
        let out = s.take_output();
        let (mut reader, mut input) = (ChunkReader::new(Limits::default()), &out[..]);
        let mut next = || reader.read(&mut input).unwrap().map(|m| (m.type_id, m.payload));
        let whole = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        assert_eq!(next(), Some((5, whole(b"\0\x26\x25\xa0"))));
        assert_eq!(next(), Some((6, whole(b"\0\x26\x25\xa0\x02"))));
        let Some((20, result)) = next() else { panic!() };
        assert_eq!(next(), Some((20, whole(Body::call("onBWDone", 0.0).null().as_bytes()))));
        assert_eq!((next(), reader.chunk_bytes()), (None, 60_000));

        let values = amf0::read_all(&result).unwrap();
        assert_eq!((values[0].as_str(), values[1].as_number()), (Some("_result"), Some(1.0)));
        let names = |v: &Value| v.properties().unwrap().iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
        let more = ["videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx", "fourCcList"];
        let expected = [&["fmsVer", "capabilities", "mode"][..], if enhanced { &more } else { &[] }].concat();
        assert_eq!(names(&values[2]), expected);
        assert_eq!(values[2].property("fourCcList"), enhanced.then_some(&codecs));
        assert_eq!(names(&values[3]), ["level", "code", "description", "objectEncoding", "data"]);
        let data = values[3].property("data").unwrap();
        assert!(matches!(data, Value::EcmaArray(_)));
        let expected = ["version", "srs_sig", "srs_server", "srs_license", "srs_url", "srs_version"];
        assert_eq!(names(data)[..6], expected);
        assert_eq!(names(data)[6..], ["srs_server_ip", "srs_pid", "srs_id"]);
        assert_eq!(data.property("version").unwrap().as_str(), Some("3,5,3,888"));
    }
}

#[test]
fn an_fmle_encoder_publishes_twice_on_one_connection() {
    let mut p = Peer::connected();
    for stream in ["a", "b"] {
        assert_eq!(p.call("releaseStream", 2.0, stream), []);
        assert_eq!(p.call("FCPublish", 3.0, stream), []);
        assert_eq!(p.say(Body::call("createStream", 4.0).null()), []);
        let results = ["0: _result 2 null undefined", "0: _result 3 null undefined", "0: _result 4 null 1"];
        assert_eq!(p.heard(), results);
        let events = p.say(Body::call("publish", 5.0).null().text(stream).text("record"));
        let [Event::Publish(request)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(request.kind, PublishKind::Fmle);
        assert_eq!(request.name.stream, stream);
        assert_eq!(
            p.heard(),
            [
                "1: onFCPublish 0 null -/NetStream.Publish.Start",
                "1: onStatus 0 null status/NetStream.Publish.Start"
            ]
        );
        assert_eq!(p.s.state(), State::PublishStart);
        assert!(matches!(p.send(8, b"\xaf\x01x")[..], [Event::Media(_)]));
        assert_eq!(p.s.state(), State::Publishing);
        assert_eq!(p.call("FCUnpublish", 6.0, stream), [Event::Unpublish]);
        assert_eq!(
            p.heard(),
            [
                "1: onFCUnpublish 0 null -/NetStream.Unpublish.Success",
                "0: _result 6 null undefined",
                "1: onStatus 0 null status/NetStream.Unpublish.Success"
            ]
        );
        assert_eq!(p.s.state(), State::ReadyAgain);
        assert_eq!(p.send(8, b"\xaf\x01x"), [], "media of nobody");
        assert_eq!(p.say(Body::call("deleteStream", 0.0).null().number(1.0)), []);
        p.heard();
    }
}

#[test]
fn flash_and_haivision_publish_in_their_own_ways() {
    let mut p = Peer::connected();
    p.say(Body::call("createStream", 2.0).null());
    p.heard();
    let events = p.call("publish", 3.0, "s");
    assert!(matches!(&events[..], [Event::Publish(r)] if r.kind == PublishKind::Flash));
    assert_eq!(p.heard(), ["1: onStatus 0 null status/NetStream.Publish.Start"]);
    assert_eq!(p.say(Body::call("closeStream", 0.0).null()), [Event::Unpublish]);
    assert_eq!(p.heard(), ["1: onStatus 0 null status/NetStream.Unpublish.Success"]);

    p.say(Body::call("createStream", 2.0).null());
    p.call("FCPublish", 3.0, "s");
    assert_eq!(p.heard(), ["0: _result 2 null 1", "0: _result 3 null undefined"]);
    let events = p.call("publish", 4.0, "s");
    assert!(matches!(&events[..], [Event::Publish(r)] if r.kind == PublishKind::Haivision));
    assert_eq!(p.heard().len(), 2);
    // It begins anew without an end.
    assert_eq!(p.call("FCPublish", 5.0, "s"), [Event::Unpublish]);
    assert_eq!(p.heard().last().unwrap(), "0: _result 5 null undefined");
    let events = p.call("publish", 6.0, "t");
    assert!(
        matches!(&events[..], [Event::Publish(r)] if r.kind == PublishKind::Fmle && r.name.stream == "t")
    );
    let events = p.call("publish", 7.0, "u");
    assert!(matches!(&events[..], [Event::Unpublish, Event::Publish(r)] if r.name.stream == "u"));
}

#[test]
fn a_player_plays_pauses_and_changes_streams() {
    let mut p = Peer::connected();
    p.say(Body::call("createStream", 2.0).null());
    p.heard();
    let first = Body::call("play", 0.0).null().text("a?t=1").number(-1.0).number(5000.0);
    let events = p.say(first);
    let [Event::Play(request)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&request.name.params[..], request.duration_ms), ("t=1", Some(5000)));
    let begin = [
        "User(StreamBegin(1))",
        "1: onStatus 0 null status/NetStream.Play.Reset",
        "1: onStatus 0 null status/NetStream.Play.Start",
        "1: |RtmpSampleAccess true true",
    ];
    assert_eq!(p.heard(), begin);
    let pause = |on| Body::call("pause", 0.0).null().boolean(on).number(1234.0);
    assert_eq!(p.say(pause(true)), [Event::Pause { on: true, ms: 1234 }]);
    assert_eq!(p.heard(), ["1: onStatus 0 null status/NetStream.Pause.Notify", "User(StreamEof(1))"]);
    assert_eq!(p.say(pause(false)), [Event::Pause { on: false, ms: 1234 }]);
    assert_eq!(p.heard(), ["1: onStatus 0 null status/NetStream.Unpause.Notify", "User(StreamBegin(1))"]);
    assert_eq!(p.say(Body::call("seek", 0.0).null().number(10.0)), []);
    assert_eq!(p.heard(), ["1: onStatus 0 null error/NetStream.Seek.Failed"]);
    assert_eq!(p.say(Body::call("receiveVideo", 7.0).null().boolean(false)), []);
    assert_eq!(p.say(Body::call("receiveAudio", 0.0).null().boolean(false)), []);
    assert_eq!(p.heard(), ["0: _result 7 null null"]);

    // Another stream without an end of the first, play2, closeStream, play again.
    let events = p.call("play", 0.0, "b");
    assert!(matches!(&events[..], [Event::StopPlay, Event::Play(r)] if r.name.stream == "b"));
    assert_eq!(p.heard(), begin);
    let events = p.say(Body::call("play2", 0.0).null().object(&[("streamName", "c")]));
    assert!(matches!(&events[..], [Event::StopPlay, Event::Play(r)] if r.name.stream == "c"));
    assert_eq!(p.say(Body::call("closeStream", 0.0).null()), [Event::StopPlay]);
    assert_eq!(p.s.state(), State::ReadyAgain);
    p.heard();
    assert!(matches!(p.call("play", 0.0, "d")[..], [Event::Play(_)]));
    assert_eq!(p.say(Body::call("play", 0.0).null().boolean(false)), [Event::StopPlay]);
    assert!(matches!(p.call("play", 0.0, "e")[..], [Event::Play(_)]));
}

#[test]
fn calls_that_mean_nothing_here_are_answered() {
    let mut p = Peer::connected();
    for (name, answer) in [("_checkbw", "null"), ("getStreamLength", "0"), ("whatever", "null")] {
        assert_eq!(p.call(name, 9.0, "s"), []);
        assert_eq!(p.heard(), [format!("0: _result 9 null {answer}")]);
    }
    for _ in 0..MAX_CREATED {
        p.say(Body::call("createStream", 2.0).null());
    }
    let mut bytes = Vec::new();
    Body::call("createStream", 2.0).null().write_command(&mut bytes, 0, 128);
    assert_eq!(p.s.read(&mut &bytes[..]), Err(SessionError::Streams));
}

#[test]
fn pings_and_windows() {
    let mut p = Peer::connected();
    let mut bytes = Vec::new();
    Control::User(User::PingRequest(77)).write(&mut bytes);
    Control::User(User::SetBufferLength { stream_id: 1, ms: 300 }).write(&mut bytes); // of no interest
    Control::WindowAck(100).write(&mut bytes);
    assert_eq!(p.bytes(&bytes), []);
    assert_eq!(p.heard()[0], "User(PingResponse(77))");
    let read = p.s.bytes_read();
    p.send(8, &[0; 60]);
    assert_eq!(p.heard(), [format!("Acknowledgement({})", read + 72)]);
}

#[test]
fn amf3_messages_and_aggregates_are_unwrapped() {
    let mut p = Peer::connected();
    let amf3 = |body: Body| [&[0], body.as_bytes()].concat();
    assert_eq!(p.send(type_id::COMMAND_AMF3, &amf3(Body::call("createStream", 2.0).null())), []);
    assert_eq!(p.heard(), ["0: _result 2 null 1"]);
    let publish = amf3(Body::call("publish", 3.0).null().text("s"));
    assert!(matches!(p.send(type_id::COMMAND_AMF3, &publish)[..], [Event::Publish(_)]));
    let meta = amf3(Body::data("@setDataFrame").text("onMetaData").null());
    let events = p.send(type_id::DATA_AMF3, &meta);
    let body = Body::data("onMetaData").null();
    assert_eq!(media_of(&events)[0].payload, body.as_bytes());
    let part = |id: u8, time: u8| [&[id, 0, 0, 1, 0, 0, time, 0, 0, 0, 0, 0xaf][..], &[0, 0, 0, 12]].concat();
    let events = p.send(type_id::AGGREGATE, &[part(8, 10), part(9, 30)].concat());
    let got: Vec<_> = media_of(&events).iter().map(|m| (m.kind, m.time.0)).collect();
    assert_eq!(got, [(Kind::Audio, 0), (Kind::Video, 20)]);
}

#[test]
fn what_cannot_be_named_is_refused_with_a_word() {
    let mut p = Peer::connected();
    let mut bytes = Vec::new();
    Body::call("publish", 3.0).null().text("../../etc/x").write_command(&mut bytes, 1, 128);
    assert!(matches!(p.s.read(&mut &bytes[..]), Err(SessionError::Url { command: "publish", .. })));
    assert_eq!(p.heard(), ["1: onStatus 0 null error/NetStream.Publish.BadName"]);

    p.s.state = State::Connecting;
    let mut bytes = Vec::new();
    Body::call("connect", 1.0).object(&[("tcUrl", "rtmp://h/..")]).write_command(&mut bytes, 0, 128);
    assert!(matches!(p.s.read(&mut &bytes[..]), Err(SessionError::Url { command: "connect", .. })));
    assert_eq!(p.heard(), ["0: _error 1 null error/NetConnection.Connect.Rejected"]);
}

#[test]
fn who_does_not_publish_cannot_make_the_server_hold_much() {
    let long = [&b"\x06\0\0\0\x05\0\0\x09\x01\0\0\0"[..], &[0; 128]].concat();
    let mut p = Peer::connected();
    let error = p.s.read(&mut &long[..]).unwrap_err();
    let SessionError::Link(LinkError::Chunk(error)) = error else { panic!("{error}") };
    assert!(matches!(error, ChunkError::TooLong { bytes: 0x50000, limit: 0x40000, .. }));
    let mut p = Peer::connected();
    p.call("publish", 0.0, "s");
    assert_eq!(p.bytes(&long), [], "a publisher's long message is under way");
}

#[test]
fn a_peer_that_calls_and_does_not_listen_is_read_no_further() {
    let mut p = Peer::connected();
    let mut bytes = Vec::new();
    for _ in 0..5000 {
        Control::User(User::PingRequest(1)).write(&mut bytes);
    }
    p.bytes(&bytes);
    assert!(!p.s.wants_read() && !p.s.has_held_input());
    let first = p.s.take_output().len();
    assert!(p.s.has_held_input(), "its output is gone, so it can go on");
    assert!((MAX_OUTPUT_BYTES..MAX_OUTPUT_BYTES + 100).contains(&first), "{first}");
    p.bytes(&[]);
    assert_eq!(first + p.s.take_output().len(), 5000 * 18);
    assert!(p.s.wants_read());
}

#[test]
fn an_idle_player_takes_little_memory() {
    let (mut s, mut input) = (session(), FFMPEG_PLAY.get(..FFMPEG_PLAY.len() - 60).unwrap());
    while let Some(event) = s.read(&mut input).unwrap() {
        agree(&mut s, &event);
    }
    assert_eq!(s.state(), State::Playing);
    assert!(!s.take_output().is_empty());
    let url = s.url.as_ref().unwrap();
    let url_bytes = size_of_val(&**url) + url.host.len() + url.vhost.len() + url.app.len() + url.params.len();
    let heap = url_bytes + s.link.heap_bytes() + s.held.capacity();
    assert!(s.queued.is_none());
    let all = size_of::<ServerSession>() + heap;
    assert!(all < 1200, "{} + {heap} bytes", size_of::<ServerSession>());
}

#[test]
fn timeouts_fit_the_states() {
    let mut s = session();
    let mut at = |state, timeout| {
        s.state = state;
        assert_eq!(s.timeout(), timeout, "{state:?}");
    };
    at(State::Handshake, Some(Timeout::SinceEntered(30_000)));
    at(State::ReadyAgain, Some(Timeout::SinceEntered(180_000)));
    at(State::Playing, None);
    s.state = State::PublishAsked;
    s.accept_publish(LIMITS);
    assert_eq!(s.timeout(), Some(Timeout::SinceEntered(20_000)));
    s.state = State::Publishing;
    assert_eq!(s.timeout(), Some(Timeout::SinceMessage(5_000)));
}

/// Both ends in memory. `answer` stands for the server's decisions.
struct Both {
    client: ClientSession,
    server: ServerSession,
    said: Vec<ClientEvent>,
    asked: Vec<Event>,
}

impl Both {
    fn new(role: Role) -> Both {
        let url = ClientUrl::parse("rtmp://h/live?vhost=v/s?k=1").unwrap();
        let client = ClientSession::new(Arc::new(ClientConfig::new(&url, role)), 5);
        Both { client, server: session(), said: Vec::new(), asked: Vec::new() }
    }

    fn run(&mut self, mut answer: impl FnMut(&mut ServerSession, &Event)) {
        loop {
            let (up, mut down) = (self.client.take_output(), Vec::new());
            let mut input = &up[..];
            while let Some(event) = self.server.read(&mut input).unwrap() {
                answer(&mut self.server, &event);
                self.asked.push(event);
            }
            down.append(&mut self.server.take_output());
            self.down(&down);
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
    }

    fn down(&mut self, bytes: &[u8]) {
        for mut piece in bytes.chunks(777) {
            while let Some(event) = self.client.read(&mut piece).unwrap() {
                self.said.push(event);
            }
        }
    }
}

#[test]
fn our_client_publishes_to_our_server() {
    for (role, kind) in [(Role::PublishFlash, PublishKind::Flash), (Role::PublishFmle, PublishKind::Fmle)] {
        let mut both = Both::new(role);
        both.run(agree);
        assert_eq!((&both.said[..], both.client.step()), (&[ClientEvent::Ready][..], Step::Ready));
        assert!(
            matches!(&both.asked[1], Event::Publish(r) if r.kind == kind && r.name.to_string() == "v/live/s")
        );
        let meta = Body::data("onMetaData").null();
        let body = vec![0xaf; 100_000];
        both.client.write_media(Kind::Data, WireTime(0), meta.as_bytes());
        both.client.write_media(Kind::Video, WireTime(u32::MAX), &body);
        both.client.finish();
        both.run(agree);
        let message = |kind, time, payload: &[u8]| {
            Event::Media(Message { kind, time: WireTime(time), payload: Bytes::copy_from_slice(payload) })
        };
        assert_eq!(both.asked[2], message(Kind::Data, 0, meta.as_bytes()));
        assert_eq!(both.asked[3], message(Kind::Video, u32::MAX, &body));
        assert_eq!(both.asked[4..], [Event::Unpublish]);
    }
}

#[test]
fn our_client_plays_from_our_server() {
    let mut both = Both::new(Role::Play);
    both.run(agree);
    assert!(matches!(&both.asked[1], Event::Play(r) if r.name.params == "k=1"), "{:?}", both.asked);
    assert_eq!(both.said.last(), Some(&ClientEvent::Ready));
    both.said.clear();
    // The stream core sends media beside the session.
    let frame = [&b"\x17\x01\0\0\x28"[..], &[7; 70_000]].concat();
    let mut out = Vec::new();
    write_message(&mut out, 6, 9, 1, WireTime(40), &[&frame], both.server.chunk_bytes());
    both.down(&out);
    let [ClientEvent::Media(m)] = &both.said[..] else { panic!("{:?}", both.said) };
    assert_eq!((&m.payload[..], m.time.0), (&frame[..], 40));
    both.client.finish();
    both.run(agree);
    assert_eq!(both.asked.last(), Some(&Event::StopPlay));
}

#[test]
fn refusals_reach_the_client() {
    let refused = |role, code: &str, at: fn(&Event) -> bool, how: fn(&mut ServerSession)| {
        let mut both = Both::new(role);
        both.run(|s, event| if at(event) { how(s) } else { agree(s, event) });
        let Some(ClientEvent::Failed(status)) = both.said.last() else { panic!("{:?}", both.said) };
        assert_eq!((&status.code[..], both.client.step()), (code, Step::Failed));
        (status.clone(), both.server)
    };
    let connect: fn(&Event) -> bool = |e| matches!(e, Event::Connect(_));
    let publish: fn(&Event) -> bool = |e| matches!(e, Event::Publish(_));
    let play: fn(&Event) -> bool = |e| matches!(e, Event::Play(_));
    let (status, server) =
        refused(Role::Play, "NetConnection.Connect.Rejected", connect, |s| s.refuse(Refusal::Denied("no")));
    assert_eq!((&status.description[..], server.state()), ("no", State::Closed));
    refused(Role::PublishFmle, "NetStream.Publish.BadName", publish, |s| s.refuse(Refusal::Busy));
    refused(Role::Play, "NetStream.Play.Failed", play, |s| s.refuse(Refusal::Denied("full")));
}

proptest! {
    #[test]
    fn garbage_after_the_handshake_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 1usize..50,
    ) {
        let mut p = Peer::connected();
        'all: for mut piece in bytes.chunks(cut) {
            loop {
                match p.s.read(&mut piece) {
                    Ok(Some(event)) => agree(&mut p.s, &event),
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
    }

    #[test]
    fn damaged_recordings_never_panic(at in 3073usize..6000, value: u8, cut in 1usize..500) {
        let mut bytes = FFMPEG_PUBLISH[..6000].to_vec();
        bytes[at] = value;
        let mut s = session();
        'all: for mut piece in bytes.chunks(cut) {
            loop {
                match s.read(&mut piece) {
                    Ok(Some(event)) => agree(&mut s, &event),
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
        }
    }
}
