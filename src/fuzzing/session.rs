//! The two ends of an RTMP connection: the server's as a sequence of what a client and the shell do, the client's
//! fed with whatever a server may send.

use super::assert_same_however_cut;
use crate::formats::amf0::Value;
use crate::formats::message::{Kind, WireTime};
use crate::rtmp::chunk::reader::{ChunkReader, Limits, RawMessage};
use crate::rtmp::chunk::{type_id, writer::write_message};
use crate::rtmp::client::{ClientConfig, ClientEvent, ClientSession, Role, Step};
use crate::rtmp::command::Body;
use crate::rtmp::control::{Control, User};
use crate::rtmp::handshake::PACKET_BYTES;
use crate::rtmp::link::LinkError;
use crate::rtmp::session::{
    Event, MAX_HELD_BYTES, MAX_OUTPUT_BYTES, PublishLimits, Refusal, ServerSession, SessionConfig,
    SessionError, State, Terms,
};
use crate::rtmp::url::ClientUrl;
use arbitrary::{Result, Unstructured};
use std::sync::Arc;

/// What happens to a session.
#[derive(Clone, Debug)]
enum Deed {
    /// Bytes come, and the shell gives them to the session.
    Bytes(Vec<u8>),
    /// The shell answers what was asked.
    Answer(Answer),
    /// The shell sends what is to be sent.
    Send,
    /// The shell stops or resumes a player.
    Paused(bool),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Yes,
    No,
    Busy,
}

/// Whatever a client sends and however the shell answers: all input is taken, output is bounded and whole messages,
/// events fit the state; and it is the same if every delivery is cut into single bytes.
pub fn session(data: &[u8]) {
    let steps = steps(&mut Unstructured::new(data));
    let whole = run(&steps, usize::MAX);
    let single = run(&steps, 1);
    assert_eq!(single.events, whole.events);
    assert_eq!(single.error, whole.error);
    if whole.error.is_none() {
        assert_eq!(single.sent, whole.sent);
    }
}

/// Reads the steps; what a client says is put into chunks here, in a size that it has told.
fn steps(u: &mut Unstructured<'_>) -> Vec<Deed> {
    let mut client = Client { chunk_bytes: 128, time: 0, late: Vec::new() };
    let mut steps = Vec::new();
    let mut bytes = 0;
    while !u.is_empty() && steps.len() < 200 && bytes < MAX_HELD_BYTES / 2 {
        let Ok(step) = client.step(u) else { break };
        if let Deed::Bytes(given) = &step {
            bytes += given.len();
        }
        steps.push(step);
    }
    steps
}

struct Client {
    chunk_bytes: u32,
    time: u32,
    /// Said, but not sent yet: it comes in one piece with what follows.
    late: Vec<u8>,
}

impl Client {
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<Deed> {
        Ok(match u.int_in_range(0..=15u8)? {
            0..=6 => {
                let body = call(u)?;
                self.say(type_id::COMMAND, &[body.as_bytes()], u)?
            }
            7 => {
                let body = call(u)?;
                self.say(type_id::COMMAND_AMF3, &[&[0], body.as_bytes()], u)?
            }
            8 | 9 => self.media(u)?,
            10 => self.control(u)?,
            11 => {
                let length = usize::from(u.arbitrary::<u8>()?).min(u.len());
                Deed::Bytes(u.bytes(length)?.to_vec())
            }
            12 | 13 => Deed::Answer(*u.choose(&[Answer::Yes, Answer::Yes, Answer::No, Answer::Busy])?),
            14 => Deed::Send,
            _ => Deed::Paused(u.arbitrary()?),
        })
    }

    fn say(&mut self, type_id: u8, payload: &[&[u8]], u: &mut Unstructured<'_>) -> Result<Deed> {
        let how = u.arbitrary::<u8>()?;
        let csid = [3, 8, 64, 320][usize::from(how & 3)];
        let time = WireTime(self.time);
        write_message(
            &mut self.late,
            csid,
            type_id,
            u32::from(how >> 2 & 1),
            time,
            payload,
            self.chunk_bytes,
        );
        let mut bytes = std::mem::take(&mut self.late);
        match how >> 5 {
            // Together with the next, or cut short for good.
            6 => self.late = std::mem::take(&mut bytes),
            7 => bytes.truncate(usize::from(u.arbitrary::<u16>()?) % (bytes.len() + 1)),
            _ => {}
        }
        Ok(Deed::Bytes(bytes))
    }

    fn media(&mut self, u: &mut Unstructured<'_>) -> Result<Deed> {
        self.time = self.time.wrapping_add(u.arbitrary::<u16>()?.into());
        let length = usize::from(u.arbitrary::<u16>()?) % 3000;
        let first: [u8; 2] = u.arbitrary()?;
        let mut payload = vec![first[1]; length];
        payload.iter_mut().zip(first).for_each(|(at, byte)| *at = byte);
        let id = *u.choose(&[
            type_id::AUDIO,
            type_id::VIDEO,
            type_id::DATA,
            type_id::DATA_AMF3,
            type_id::AGGREGATE,
        ])?;
        match id {
            type_id::DATA | type_id::DATA_AMF3 => {
                let name = *u.choose(&["@setDataFrame", "onMetaData", "@clearDataFrame", "onTextData"])?;
                let body = Body::data(name).text("onMetaData").object(&[("encoder", "x")]);
                self.say(id, &[body.as_bytes()], u)
            }
            type_id::AGGREGATE => {
                let mut tags = Vec::new();
                for kind in [Kind::Audio, Kind::Video, Kind::Data] {
                    crate::formats::flv_file::write_tag(kind, WireTime(self.time), &payload, &mut tags);
                }
                self.say(id, &[&tags], u)
            }
            _ => self.say(id, &[&payload], u),
        }
    }

    fn control(&mut self, u: &mut Unstructured<'_>) -> Result<Deed> {
        let value = u.arbitrary::<u32>()? >> (u.arbitrary::<u8>()? & 31);
        let control = match u.int_in_range(0..=5u8)? {
            0 => Control::ChunkSize(value),
            1 => Control::WindowAck(value),
            2 => Control::Acknowledgement(value),
            3 => Control::User(User::PingRequest(value)),
            4 => Control::User(User::SetBufferLength { stream_id: 1, ms: value }),
            _ => Control::PeerBandwidth { bytes: value, limit: 1 },
        };
        let mut bytes = std::mem::take(&mut self.late);
        control.write(&mut bytes);
        if let Control::ChunkSize(size) = control {
            self.chunk_bytes = size & 0x7fff_ffff;
        }
        Ok(Deed::Bytes(bytes))
    }
}

fn call(u: &mut Unstructured<'_>) -> Result<Body> {
    const NAMES: [&str; 24] = [
        "connect",
        "connect",
        "createStream",
        "createStream",
        "publish",
        "publish",
        "play",
        "play",
        "FCPublish",
        "releaseStream",
        "FCUnpublish",
        "deleteStream",
        "closeStream",
        "pause",
        "seek",
        "receiveAudio",
        "_result",
        "_error",
        "onStatus",
        "getStreamLength",
        "play2",
        "_checkbw",
        "pauseRaw",
        "receiveVideo",
    ];
    let name = *u.choose(&NAMES)?;
    let transaction = f64::from(u.arbitrary::<u8>()?);
    let body = Body::call(name, transaction);
    if name == "connect" {
        let url =
            *u.choose(&["rtmp://h/live", "rtmp://h/live?vhost=v", "rtmp://h:1/a/b", "h", "rtmp://h/.."])?;
        let url = if u.ratio(1, 16u8)? { text(u)? } else { url.to_owned() };
        let more = [("app", "live"), ("tcUrl", &url[..]), ("fourCcList", "x"), ("flashVer", "FMLE/3.0")];
        let body = body.object(&more[..usize::from(u.int_in_range(1..=4u8)?)]);
        return Ok(if u.arbitrary()? { body.object(&[("edge", "1")]) } else { body });
    }
    let body = body.null();
    Ok(match u.int_in_range(0..=7u8)? {
        0..=3 => body.text(u.choose(&["s", "s?vhost=v&k=1", "", "..", "a/b", "s...vhost...v"])?).text("live"),
        4 => body.boolean(u.arbitrary()?).number(f64::from(u.arbitrary::<i16>()?)),
        5 => body.text(&text(u)?).number(u.arbitrary()?).number(u.arbitrary()?).boolean(u.arbitrary()?),
        6 => body.value(&Value::Object(vec![("streamName".into(), Value::text(text(u)?))])),
        _ => body,
    })
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let length = usize::from(u.arbitrary::<u8>()?).min(u.len());
    let text = String::from_utf8_lossy(u.bytes(length)?).into_owned();
    Ok(if u.ratio(1, 32u8)? { text.repeat(60) } else { text })
}

#[derive(Debug, Default)]
struct Outcome {
    events: Vec<Event>,
    error: Option<SessionError>,
    /// What it said, but for acknowledgements: they tell how many bytes have come, which depends on the cut.
    sent: Vec<RawMessage>,
}

fn run(steps: &[Deed], piece: usize) -> Outcome {
    let mut shell = Shell {
        session: ServerSession::new(Arc::new(SessionConfig::default()), 1),
        ear: ChunkReader::new(Limits::default()),
        asked: None,
        greeted: false,
        got: Outcome::default(),
    };
    let hello = [&[3][..], &[0; 2 * PACKET_BYTES]].concat();
    assert_eq!(shell.give(&hello), Ok(()));
    for step in steps {
        let done = match step {
            Deed::Bytes(bytes) => {
                bytes.chunks(piece.min(bytes.len().max(1))).try_for_each(|bytes| shell.give(bytes))
            }
            Deed::Answer(answer) => {
                shell.answer(*answer);
                shell.give(&[])
            }
            Deed::Send => {
                shell.send();
                shell.give(&[])
            }
            Deed::Paused(on) => {
                shell.session.pause_done(*on);
                Ok(())
            }
        };
        if let Err(error) = done {
            shell.got.error = Some(error);
            break;
        }
    }
    shell.send();
    shell.got
}

struct Shell {
    session: ServerSession,
    ear: ChunkReader,
    asked: Option<Event>,
    greeted: bool,
    got: Outcome,
}

impl Shell {
    /// Gives bytes, and sends if nothing is read until that is done: single bytes are acknowledged more often, so that
    /// happens at different places.
    fn give(&mut self, mut bytes: &[u8]) -> std::result::Result<(), SessionError> {
        loop {
            while let Some(event) = self.session.read(&mut bytes)? {
                self.event(event);
            }
            assert!(bytes.is_empty(), "all is taken");
            assert!(!self.session.has_held_input(), "what can be read was read");
            if self.session.wants_read() {
                return Ok(());
            }
            self.send();
            if !self.session.has_held_input() {
                return Ok(());
            }
        }
    }

    fn event(&mut self, event: Event) {
        let state = self.session.state();
        match &event {
            Event::Connect(_) => assert_eq!(state, State::ConnectAsked),
            Event::Publish(_) => assert_eq!(state, State::PublishAsked),
            Event::Play(_) => assert_eq!(state, State::PlayAsked),
            Event::Media(_) => assert_eq!(state, State::Publishing),
            Event::Pause { .. } => assert_eq!(state, State::Playing),
            Event::Unpublish | Event::StopPlay => {}
        }
        if let Event::Connect(_) | Event::Publish(_) | Event::Play(_) = &event {
            assert!(!self.session.wants_read(), "nothing is read until it is answered");
            self.asked = Some(event.clone());
        }
        self.got.events.push(event);
    }

    fn answer(&mut self, answer: Answer) {
        let asked = self.asked.take();
        let before = self.session.state();
        match (answer, &asked) {
            (Answer::Yes, Some(Event::Connect(request))) => {
                self.session.accept_connect(request, &Terms { chunk_bytes: 200, ..Terms::default() });
            }
            (Answer::Yes, Some(Event::Publish(_))) => self.session.accept_publish(PublishLimits::default()),
            (Answer::Yes, Some(Event::Play(_))) => self.session.accept_play(),
            (Answer::No, Some(_)) => self.session.refuse(Refusal::Denied("no")),
            (Answer::Busy, Some(_)) => self.session.refuse(Refusal::Busy),
            // Out of turn: none of these may change anything.
            _ => {
                self.session.accept_publish(PublishLimits::default());
                self.session.accept_play();
            }
        }
        if asked.is_none() && before != State::PlayAsked {
            assert_eq!(self.session.state(), before);
        }
        let waits =
            matches!(self.session.state(), State::ConnectAsked | State::PublishAsked | State::PlayAsked);
        self.asked = asked.filter(|_| waits);
    }

    /// What it says is bounded, and whole messages.
    fn send(&mut self) {
        let out = self.session.take_output();
        assert!(out.len() < MAX_OUTPUT_BYTES + 16 * 1024, "{} bytes of output", out.len());
        let mut input = &out[..];
        if !self.greeted && !input.is_empty() {
            self.greeted = true;
            input = &input[1 + 2 * PACKET_BYTES..];
        }
        while let Some(message) = self.ear.read(&mut input).expect("what we say is chunks") {
            if message.type_id == type_id::COMMAND {
                crate::formats::amf0::read_all(&message.payload).expect("what we say is AMF0");
            }
            if message.type_id != type_id::ACKNOWLEDGEMENT {
                self.got.sent.push(message);
            }
        }
    }
}

/// A client's end, its role in the first byte, fed with anything behind a handshake.
pub fn client(data: &[u8]) {
    let Some((&how, data)) = data.split_first() else { return };
    let role = [Role::Play, Role::PublishFlash, Role::PublishFmle][usize::from(how) % 3];
    let url = ClientUrl::parse("rtmp://h/live/s").expect("a URL");
    let config = Arc::new(ClientConfig::new(&url, role));
    assert_same_however_cut(data, |pieces| {
        let mut client = ClientSession::new(config.clone(), 1);
        let hello = [&[3][..], &[0; 2 * PACKET_BYTES]].concat();
        assert_eq!(client.read(&mut &hello[..]), Ok(None));
        let mut events = Vec::new();
        let read = pieces.iter().try_for_each(|piece| listen(&mut client, piece, &mut events));
        if read.is_ok() {
            client.write_media(Kind::Video, WireTime(1), b"\x17\x01");
            client.finish();
        }
        (events, read, client.step())
    });
}

fn listen(
    client: &mut ClientSession,
    mut input: &[u8],
    events: &mut Vec<ClientEvent>,
) -> std::result::Result<(), LinkError> {
    while let Some(event) = client.read(&mut input)? {
        match &event {
            ClientEvent::Ready => assert_eq!(client.step(), Step::Ready),
            ClientEvent::Failed(_) => assert_eq!(client.step(), Step::Failed),
            _ => {}
        }
        events.push(event);
    }
    assert!(input.is_empty());
    client.take_output();
    Ok(())
}
