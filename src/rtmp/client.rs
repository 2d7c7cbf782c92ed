//! The client's end of an RTMP connection, without I/O: plays or publishes one stream.
//!
//! Used by the load tool for thousands of players. The shell sends what [`ClientSession::take_output`] gives
//! after `new`, after each round of [`ClientSession::read`], and after `write_media`.

use super::chunk::reader::Limits;
use super::command::{Body, Call, Command, Status};
use super::control::{Control, User};
use super::handshake::ClientHandshake;
use super::link::{Link, LinkError, Received};
use crate::config::schema::{DEFAULT_CHUNK_SIZE, DEFAULT_OUT_ACK_SIZE};
use crate::formats::amf0::{self, Properties, Value};
use crate::formats::flv;
use crate::formats::message::{Kind, Message, WireTime};
use std::sync::Arc;

/// What a client wants. One for all sessions that want the same.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// `tcUrl`.
    pub tc_url: String,
    /// `app`, with parameters.
    pub app: String,
    /// Stream name, with parameters.
    pub stream: String,
    /// What to do with the stream.
    pub role: Role,
    /// `flashVer`.
    pub flash_version: String,
    /// `pageUrl`, if not empty.
    pub page_url: String,
    /// `swfUrl`, if not empty.
    pub swf_url: String,
    /// A second argument of `connect`: what an edge says of itself, or what its own client said.
    pub args: Option<Properties>,
    /// Buffer length that a player tells, in milliseconds.
    pub buffer_ms: u32,
    /// Chunk size of what we send once connected.
    pub chunk_bytes: u32,
    /// How often the server is to acknowledge.
    pub window_ack_bytes: u32,
    /// What the server may send.
    pub limits: Limits,
}

/// What to do with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// connect, createStream, play.
    Play,
    /// connect, createStream, publish: as SRS's edges and forwarders do.
    PublishFlash,
    /// connect, releaseStream, FCPublish, createStream, publish: as encoders do.
    PublishFmle,
}

impl ClientConfig {
    /// The usual client of the stream at `url`.
    pub fn new(url: &super::url::ClientUrl, role: Role) -> ClientConfig {
        ClientConfig {
            tc_url: url.tc_url.clone(),
            app: url.app.clone(),
            stream: url.stream.clone(),
            role,
            flash_version: "WIN 15,0,0,239".to_owned(),
            page_url: String::new(),
            swf_url: String::new(),
            args: None,
            buffer_ms: 1000,
            chunk_bytes: DEFAULT_CHUNK_SIZE,
            window_ack_bytes: DEFAULT_OUT_ACK_SIZE,
            limits: Limits::default(),
        }
    }
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The handshake is not over.
    Handshake,
    /// `connect` is not answered.
    Connect,
    /// `createStream` is not answered.
    CreateStream,
    /// `play` or `publish` is not answered.
    Start,
    /// The stream plays, or may be published.
    Ready,
    /// The server refused.
    Failed,
}

/// What the server did.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent {
    /// The stream will come, or may be sent.
    Ready,
    /// A message of the stream that is played.
    Media(Message),
    /// A status that is no error, `NetStream.Play.UnpublishNotify` for instance.
    Status(Box<Status>),
    /// The server refused, or sends the client elsewhere ([`Status::redirect`]): close.
    Failed(Box<Status>),
}

const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;

/// The client's end of one connection.
#[derive(Debug)]
pub struct ClientSession {
    config: Arc<ClientConfig>,
    step: Step,
    link: Link,
    peer_bandwidth_bytes: u32,
    stream_id: u32,
}

impl ClientSession {
    /// A session on a fresh connection: C0 and C1 wait to be sent. Their random bytes come from `seed`.
    pub fn new(config: Arc<ClientConfig>, seed: u64) -> ClientSession {
        let mut opening = Vec::new();
        let handshake = Box::new(ClientHandshake::new(seed, &mut opening));
        ClientSession {
            step: Step::Handshake,
            link: Link::new(handshake, config.limits, opening),
            peer_bandwidth_bytes: 0,
            stream_id: 0,
            config,
        }
    }

    /// How far it has come.
    pub const fn step(&self) -> Step {
        self.step
    }

    /// What is to be sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.link.take_output()
    }

    /// Bytes read so far, the handshake included.
    pub const fn bytes_read(&self) -> u64 {
        self.link.bytes_read()
    }

    /// Reads what came, up to the next event. Call it again until it gives `None`; then all of `input` has
    /// been taken.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<ClientEvent>, LinkError> {
        while let Some(received) = self.link.read(input)? {
            let event = match received {
                Received::Agreed(_) => {
                    self.connect();
                    None
                }
                Received::Media(message) => Some(ClientEvent::Media(message)),
                Received::Call(call) => self.call(call),
                Received::Control(Control::PeerBandwidth { bytes, .. }) => {
                    self.obey_bandwidth(bytes);
                    None
                }
                Received::Control(_) | Received::Other => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Sends a message of the stream that is published, once it is ready. Metadata (data that begins with
    /// `onMetaData`) is sent so that the server remembers it.
    pub fn write_media(&mut self, kind: Kind, time: WireTime, payload: &[u8]) {
        if self.step != Step::Ready {
            return;
        }
        let mut wrapping = Vec::new();
        if kind == Kind::Data && flv::is_metadata(payload) {
            amf0::write_string(&mut wrapping, "@setDataFrame");
        }
        self.link.media(kind, self.stream_id, time, &[&wrapping, payload]);
    }

    /// Says that no more is wanted, or will be sent. The connection may be closed after.
    pub fn finish(&mut self) {
        if self.step < Step::Start || self.step == Step::Failed {
            return;
        }
        if self.config.role == Role::PublishFmle {
            let name = self.config.stream.clone();
            self.link.command(0, Body::call("FCUnpublish", 5.0).null().text(&name));
        }
        self.link.command(0, Body::call("deleteStream", 0.0).null().number(self.stream_id.into()));
    }

    fn connect(&mut self) {
        let config = self.config.clone();
        let text = |name: &str, value: &str| (name.to_owned(), Value::text(value));
        let mut object = vec![text("app", &config.app)];
        if config.role != Role::Play {
            object.push(text("type", "nonprivate"));
        }
        object.push(text("flashVer", &config.flash_version));
        let more = [("swfUrl", &config.swf_url), ("tcUrl", &config.tc_url), ("pageUrl", &config.page_url)];
        object.extend(more.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| text(n, v)));
        object.push(("fpad".to_owned(), Value::Boolean(false)));
        // What Flash Player said it can do; servers of old look at it.
        let numbers = [
            ("capabilities", 239.0),
            ("audioCodecs", 3575.0),
            ("videoCodecs", 252.0),
            ("videoFunction", 1.0),
            ("objectEncoding", 0.0),
        ];
        object.extend(numbers.iter().map(|(n, v)| ((*n).to_owned(), Value::Number(*v))));
        let codecs = ["av01", "vp09", "hvc1", "Opus"].map(Value::text).to_vec();
        object.push(("fourCcList".to_owned(), Value::StrictArray(codecs)));
        let mut body = Body::call("connect", CONNECT).value(&Value::Object(object));
        if let Some(args) = &config.args {
            body = body.value(&Value::Object(args.clone()));
        }
        self.link.command(0, body);
        self.step = Step::Connect;
    }

    /// §5.4.5: to be answered if it differs from what was said last.
    fn obey_bandwidth(&mut self, bytes: u32) {
        if bytes != self.peer_bandwidth_bytes {
            self.peer_bandwidth_bytes = bytes;
            self.link.control(Control::WindowAck(bytes));
        }
    }

    fn call(&mut self, call: Call) -> Option<ClientEvent> {
        match call.command {
            Command::Answer(answer) => {
                let step = match call.transaction {
                    CONNECT => Step::Connect,
                    CREATE_STREAM => Step::CreateStream,
                    _ => return None, // releaseStream and FCPublish may fail
                };
                if step != self.step {
                    return None;
                }
                if answer.error {
                    return Some(self.fail(answer.status));
                }
                match step {
                    Step::Connect => self.connected(),
                    _ => self.created(answer.number.unwrap_or(1.0) as u32),
                }
                None
            }
            Command::Status(status) if status.level == "error" => Some(self.fail(status)),
            Command::Status(status) => {
                let starts = match self.config.role {
                    Role::Play => "NetStream.Play.Start",
                    _ => "NetStream.Publish.Start",
                };
                if self.step == Step::Start && status.code == starts {
                    self.step = Step::Ready;
                    return Some(ClientEvent::Ready);
                }
                Some(ClientEvent::Status(Box::new(status)))
            }
            _ => None,
        }
    }

    fn fail(&mut self, status: Status) -> ClientEvent {
        self.step = Step::Failed;
        ClientEvent::Failed(Box::new(status))
    }

    fn connected(&mut self) {
        let config = self.config.clone();
        self.link.control(Control::WindowAck(config.window_ack_bytes));
        if config.role != Role::Play {
            self.link.set_chunk_bytes(config.chunk_bytes);
        }
        if config.role == Role::PublishFmle {
            self.link.command(0, Body::call("releaseStream", RELEASE_STREAM).null().text(&config.stream));
            self.link.command(0, Body::call("FCPublish", FC_PUBLISH).null().text(&config.stream));
        }
        self.link.command(0, Body::call("createStream", CREATE_STREAM).null());
        self.step = Step::CreateStream;
    }

    fn created(&mut self, stream_id: u32) {
        let config = self.config.clone();
        self.stream_id = stream_id;
        if config.role == Role::Play {
            // −2: live if it is, else a recording.
            self.link.command(stream_id, Body::call("play", 0.0).null().text(&config.stream).number(-2.0));
            let buffer = User::SetBufferLength { stream_id, ms: config.buffer_ms };
            self.link.control(Control::User(buffer));
        } else {
            self.link.command(stream_id, Body::call("publish", 0.0).null().text(&config.stream).text("live"));
        }
        self.step = Step::Start;
    }
}
