//! RTMP as a load generator needs it: [`Caller`] plays or publishes one stream, [`Host`] lets a player in.
//!
//! Both stand on the server's own chunk, command and handshake code, so what is measured is spoken to as real
//! clients do; they know only the calls that lead to `play` and `publish`.

use super::flv::media;
use super::{Error, Event, Wire};
use crate::target::Target;
use bytes::Bytes;
use srs_shard::formats::amf0::Value;
use srs_shard::formats::message::{Kind, WireTime};
use srs_shard::rtmp::chunk::reader::{ChunkReader, Keep, Limits, Payload, RawMessage};
use srs_shard::rtmp::chunk::{csid, type_id, writer::write_message};
use srs_shard::rtmp::command::{Answer, Body, Call, Command, Status};
use srs_shard::rtmp::control::{Acknowledgements, Control, User};
use srs_shard::rtmp::handshake::{ClientHandshake, ServerHandshake};
use srs_shard::rtmp::url::ClientUrl;

/// Chunk size of what we send: SRS's, which puts nearly every message in one chunk.
pub(crate) const CHUNK_BYTES: u32 = 60_000;
/// The window that a host asks players to acknowledge in: SRS's.
const WINDOW_BYTES: u32 = 2_500_000;
/// The message stream of everything after createStream.
pub(crate) const STREAM_ID: u32 = 1;

/// What a caller came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Play,
    Publish,
}

/// The client's side.
#[derive(Debug)]
pub(crate) struct Caller {
    url: ClientUrl,
    wish: Wish,
    seed: u64,
    handshake: Option<ClientHandshake>,
    reader: ChunkReader,
    acknowledgements: Acknowledgements,
    /// The id that createStream gave.
    stream_id: u32,
    started: bool,
}

// Transaction ids, each used once.
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

impl Caller {
    /// A caller for a target; fails if its URL names no stream.
    pub(crate) fn new(target: &Target, wish: Wish, seed: u64) -> Result<Caller, String> {
        let url = format!("rtmp://{}{}", target.authority, target.path);
        Ok(Caller {
            url: ClientUrl::parse(&url).map_err(|e| format!("{url}: {e}"))?,
            wish,
            seed,
            handshake: None,
            reader: ChunkReader::new(Limits::default(), Keep::Whole),
            acknowledgements: Acknowledgements::default(),
            stream_id: STREAM_ID,
            started: false,
        })
    }

    /// Appends a media message of a publisher.
    pub(crate) fn publish(&self, kind: Kind, ms: u32, payload: &[u8], out: &mut Vec<u8>) {
        write_media(kind, ms, payload, self.stream_id, out);
    }

    fn connect(&self, out: &mut Vec<u8>) {
        let connect = [
            ("app", self.url.app.as_str()),
            ("flashVer", if self.wish == Wish::Publish { "FMLE/3.0 (srs-load)" } else { "LNX 10,0,32,18" }),
            ("tcUrl", &self.url.tc_url),
        ];
        let mut object: Vec<(String, Value)> =
            connect.iter().map(|(name, value)| ((*name).to_owned(), Value::text(*value))).collect();
        object.push(("objectEncoding".into(), Value::Number(0.0)));
        Control::ChunkSize(CHUNK_BYTES).write(out);
        Body::call("connect", CONNECT).value(&Value::Object(object)).write_command(out, 0, CHUNK_BYTES);
    }

    fn create_stream(&self, out: &mut Vec<u8>) {
        if self.wish == Wish::Publish {
            for (name, transaction) in [("releaseStream", 2.0), ("FCPublish", 3.0)] {
                let body = Body::call(name, transaction).null().text(&self.url.stream);
                body.write_command(out, 0, CHUNK_BYTES);
            }
        }
        Body::call("createStream", CREATE_STREAM).null().write_command(out, 0, CHUNK_BYTES);
    }

    fn ask(&self, out: &mut Vec<u8>) {
        match self.wish {
            Wish::Play => {
                let body = Body::call("play", 5.0).null().text(&self.url.stream).number(-2000.0);
                body.write_command(out, self.stream_id, CHUNK_BYTES);
                Control::User(User::SetBufferLength { stream_id: self.stream_id, ms: 3000 }).write(out);
            }
            Wish::Publish => {
                let body = Body::call("publish", 5.0).null().text(&self.url.stream).text("live");
                body.write_command(out, self.stream_id, CHUNK_BYTES);
            }
        }
    }

    fn message(
        &mut self,
        message: &RawMessage,
        out: &mut Vec<u8>,
        on: &mut dyn FnMut(Event),
    ) -> Result<(), Error> {
        let Payload::Whole(payload) = &message.payload else { return Ok(()) };
        match message.type_id {
            type_id::AUDIO => self.media(Kind::Audio, payload, on),
            type_id::VIDEO => self.media(Kind::Video, payload, on),
            type_id::DATA => self.media(Kind::Data, payload, on),
            type_id::COMMAND => {
                let call = Call::read(payload).map_err(|e| self.broken(&e))?;
                return self.command(call, out, on);
            }
            _ => match Control::read(message.type_id, payload).map_err(|e| self.broken(&e))? {
                Some(Control::WindowAck(bytes)) => self.acknowledgements.set_window(bytes),
                Some(Control::User(User::PingRequest(time))) => {
                    Control::User(User::PingResponse(time)).write(out);
                }
                _ => {}
            },
        }
        Ok(())
    }

    fn media(&mut self, kind: Kind, payload: &Bytes, on: &mut dyn FnMut(Event)) {
        // Data comes before the start too (RtmpSampleAccess), pictures and sound only after it.
        if kind != Kind::Data && self.wish == Wish::Play {
            self.start(on);
        }
        on(media(kind, payload));
    }

    fn command(&mut self, call: Call, out: &mut Vec<u8>, on: &mut dyn FnMut(Event)) -> Result<(), Error> {
        match call.command {
            Command::Answer(Answer { error: true, status, .. })
                if [CONNECT, CREATE_STREAM].contains(&call.transaction) =>
            {
                return Err(refused(&status));
            }
            Command::Answer(_) if call.transaction == CONNECT => self.create_stream(out),
            Command::Answer(Answer { number, .. }) if call.transaction == CREATE_STREAM => {
                self.stream_id = number.map_or(STREAM_ID, |n| n as u32);
                self.ask(out);
            }
            Command::Status(status) => match status.code.as_str() {
                "NetStream.Play.Start" | "NetStream.Publish.Start" => self.start(on),
                _ if status.level == "error" => return Err(refused(&status)),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, on: &mut dyn FnMut(Event)) {
        if !std::mem::replace(&mut self.started, true) {
            on(Event::Started);
        }
    }

    fn broken(&self, what: &dyn std::fmt::Display) -> Error {
        Error::Broken { at: self.reader.position(), what: what.to_string() }
    }
}

fn refused(status: &Status) -> Error {
    Error::Refused(format!("{} {}", status.code, status.description).trim().to_owned())
}

impl Wire for Caller {
    fn connected(&mut self, out: &mut Vec<u8>, _: &mut dyn FnMut(Event)) -> Result<(), Error> {
        self.handshake = Some(ClientHandshake::new(self.seed, out));
        Ok(())
    }

    fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>, on: &mut dyn FnMut(Event)) -> Result<(), Error> {
        if let Some(sequence) = self.acknowledgements.on_received(bytes.len()) {
            Control::Acknowledgement(sequence).write(out);
        }
        if let Some(handshake) = &mut self.handshake {
            let agreed = handshake.feed(&mut bytes, out);
            if agreed.map_err(|e| Error::Broken { at: 0, what: e.to_string() })?.is_none() {
                return Ok(());
            }
            self.handshake = None;
            self.connect(out);
        }
        while let Some(message) = self.reader.read(&mut bytes).map_err(|e| self.broken(&e))? {
            self.message(&message, out, on)?;
        }
        Ok(())
    }
}

/// An Acknowledgement of so many received bytes: what a player that discards sends now and then, so that servers
/// which ping do not take it for dead.
pub(crate) fn acknowledge(received: u64, out: &mut Vec<u8>) {
    Control::Acknowledgement(received as u32).write(out);
}

/// Appends a media message, its chunks starting with a full header, so that a player may begin with it.
pub(crate) fn write_media(kind: Kind, ms: u32, payload: &[u8], stream_id: u32, out: &mut Vec<u8>) {
    let csid = match kind {
        Kind::Audio => csid::AUDIO,
        Kind::Video => csid::VIDEO,
        Kind::Data => csid::DATA,
    };
    write_message(out, csid, kind.type_id(), stream_id, WireTime(ms), &[payload], CHUNK_BYTES);
}

/// The server's side, up to where media begins.
#[derive(Debug)]
pub(crate) struct Host {
    handshake: Option<ServerHandshake>,
    reader: ChunkReader,
}

impl Host {
    pub(crate) fn new(seed: u64) -> Host {
        Host {
            handshake: Some(ServerHandshake::new(seed)),
            reader: ChunkReader::new(Limits::default(), Keep::Head),
        }
    }

    /// Takes a player's bytes and appends the answers; says whether it plays now.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, String> {
        if let Some(handshake) = &mut self.handshake {
            if handshake.feed(&mut bytes, out).map_err(|e| e.to_string())?.is_none() {
                return Ok(false);
            }
            self.handshake = None;
        }
        while let Some(message) = self.reader.read(&mut bytes).map_err(|e| e.to_string())? {
            if let (type_id::COMMAND, Payload::Whole(payload)) = (message.type_id, &message.payload)
                && answer(&Call::read(payload).map_err(|e| e.to_string())?, out)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Answers a call; says whether it was `play`.
fn answer(call: &Call, out: &mut Vec<u8>) -> bool {
    match call.command {
        Command::Connect(_) => {
            Control::WindowAck(WINDOW_BYTES).write(out);
            Control::PeerBandwidth { bytes: WINDOW_BYTES, limit: 2 }.write(out);
            Control::ChunkSize(CHUNK_BYTES).write(out);
            Body::call("_result", call.transaction)
                .object(&[("fmsVer", "FMS/3,5,3,888")])
                .status("status", "NetConnection.Connect.Success", "Connection succeeded", &[])
                .write_command(out, 0, CHUNK_BYTES);
        }
        Command::CreateStream => {
            let id = f64::from(STREAM_ID);
            Body::call("_result", call.transaction).null().number(id).write_command(out, 0, CHUNK_BYTES);
        }
        Command::Play(_) => {
            Control::User(User::StreamBegin(STREAM_ID)).write(out);
            for code in ["NetStream.Play.Reset", "NetStream.Play.Start"] {
                let body = Body::call("onStatus", 0.0).null().status("status", code, "Playing", &[]);
                body.write_command(out, STREAM_ID, CHUNK_BYTES);
            }
            return true;
        }
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::targets;

    fn caller(wish: Wish) -> Caller {
        let all = targets("rtmp://127.0.0.1/live/s?token=1", None).expect("a good URL");
        Caller::new(&all[0], wish, 1).expect("it names a stream")
    }

    /// Passes bytes between the two, `step` at a time, until neither speaks.
    fn meet(step: usize, media: &[u8]) -> (Result<(), Error>, Vec<Event>) {
        let (mut caller, mut host) = (caller(Wish::Play), Host::new(2));
        let (mut up, mut down, mut events) = (Vec::new(), Vec::new(), Vec::new());
        let mut on = |e| events.push(e);
        let mut result = caller.connected(&mut up, &mut on);
        let mut playing = false;
        while result.is_ok() && !(up.is_empty() && down.is_empty()) {
            for part in std::mem::take(&mut up).chunks(step) {
                if !playing && host.feed(part, &mut down).expect("a caller speaks RTMP") {
                    playing = true;
                    down.extend_from_slice(media);
                }
            }
            for part in std::mem::take(&mut down).chunks(step) {
                result = result.and_then(|()| caller.feed(part, &mut up, &mut on));
            }
        }
        (result, events)
    }

    #[test]
    fn a_caller_and_a_host_come_to_play_however_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        write_media(Kind::Data, 0, b"\x02\0\x0aonMetaData\x05", STREAM_ID, &mut bytes);
        write_media(Kind::Video, 0, b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1", STREAM_ID, &mut bytes);
        write_media(Kind::Video, 40, &[&b"\x17\x01\0\0\0"[..], &[7; 70_000]].concat(), STREAM_ID, &mut bytes);
        for step in [1, 7, 1000, 1 << 20] {
            let (result, events) = meet(step, &bytes);
            assert_eq!(result, Ok(()), "cut at {step}");
            let other = Event::Message { picture: false, sent_ns: None };
            let picture = Event::Message { picture: true, sent_ns: None };
            assert_eq!(events, [Event::Started, other, other, picture], "cut at {step}");
        }
    }

    #[test]
    fn a_publisher_sends_what_encoders_send_and_hears_a_refusal() {
        let mut publisher = caller(Wish::Publish);
        let mut out = Vec::new();
        let connected = Call { transaction: CONNECT, command: Command::Answer(answer_ok(None)) };
        publisher.command(connected, &mut out, &mut |_| {}).expect("connected");
        let created = Call { transaction: CREATE_STREAM, command: Command::Answer(answer_ok(Some(3.0))) };
        publisher.command(created, &mut out, &mut |_| {}).expect("created");
        assert_eq!(publisher.stream_id, 3);
        let mut reader = ChunkReader::new(Limits::default(), Keep::Whole);
        let mut chunk_size = Vec::new();
        Control::ChunkSize(CHUNK_BYTES).write(&mut chunk_size);
        let bytes = [chunk_size, out.clone()].concat();
        let (mut input, mut names) = (&bytes[..], Vec::new());
        while let Some(message) = reader.read(&mut input).expect("chunks") {
            if let (type_id::COMMAND, Payload::Whole(payload)) = (message.type_id, &message.payload) {
                let command = Call::read(payload).expect("a call").command;
                names.push(format!("{command:?}").split([' ', '(']).next().unwrap_or_default().to_owned());
            }
        }
        assert_eq!(names, ["ReleaseStream", "FcPublish", "CreateStream", "Publish"]);
        let status =
            Status { level: "error".into(), code: "NetStream.Publish.BadName".into(), ..Status::default() };
        let busy = Call { transaction: 0.0, command: Command::Status(status) };
        let told = publisher.command(busy, &mut out, &mut |_| {});
        assert_eq!(told, Err(Error::Refused("NetStream.Publish.BadName".into())));
    }

    fn answer_ok(number: Option<f64>) -> Answer {
        Answer { error: false, number, status: Status::default() }
    }
}
