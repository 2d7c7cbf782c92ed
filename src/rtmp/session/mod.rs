//! The server's end of an RTMP connection, without I/O.
//!
//! The shell reads from the socket, hands the bytes to [`ServerSession::read`] until that gives no more
//! events, acts on each event, and sends what [`ServerSession::take_output`] gives. What a client asks for
//! (`connect`, `publish`, `play`) is an event that the server answers when it can: with `accept_…`, with
//! [`ServerSession::refuse`] or with [`ServerSession::redirect`]. Until then the session reads no further: it
//! holds the rest of what it was given, and [`ServerSession::wants_read`] is false, so that the shell leaves
//! everything else in the socket. After an answer the shell calls `read` again, if need be with no bytes.
//!
//! Media to players does not pass through here; see [`super`].

mod connect;
pub(crate) mod media;
mod play;
mod publish;
mod refuse;

pub use connect::{ConnectRequest, ConnectionId, Identity, Terms};
pub use play::PlayRequest;
pub use publish::{PublishKind, PublishRequest};
pub use refuse::Refusal;

use super::chunk::reader::{ChunkError, ChunkReader, Keep, Limits, Payload, RawMessage};
use super::chunk::{DEFAULT_CHUNK_BYTES, type_id};
use super::command::{Body, Call, Command, CommandError};
use super::control::{Acknowledgements, Control, User};
use super::handshake::{Agreed, HandshakeError, ServerHandshake};
use super::url::{TcUrl, UrlError};
use crate::formats::amf0::Value;
use crate::formats::bits::Short;
use crate::formats::message::Message;
use media::Aggregate;
use publish::Flow;
use std::sync::Arc;

/// The id of every message stream, as in SRS: the bytes of a stream are shared by all its players.
pub const STREAM_ID: u32 = 1;
/// Bytes that wait to be sent, above which a session reads no further: a peer that calls and does not listen.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// Bytes given to a session that reads no further. A shell that obeys `wants_read` gives one read's worth.
pub const MAX_HELD_BYTES: usize = 256 * 1024;
/// `createStream` calls before one of the streams is used (SRS allows 3, error 2055).
const MAX_CREATED: u8 = 8;

/// What is the same for all sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionConfig {
    /// What a publisher may send.
    pub limits: Limits,
    /// Longest message of a client that was never allowed to publish, in bytes; all its messages under way
    /// may hold twice as much.
    pub max_idle_message_bytes: u32,
    /// What the server says of itself.
    pub identity: Identity,
    /// How long each state may last.
    pub timeouts: Timeouts,
}

impl Default for SessionConfig {
    fn default() -> Self {
        SessionConfig {
            limits: Limits::default(),
            max_idle_message_bytes: 256 * 1024,
            identity: Identity::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// Time limits in milliseconds, by SRS's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the handshake, then for `connect`, then for `publish` or `play`.
    pub identify_ms: u32,
    /// For the next `publish` or `play` after one ended.
    pub republish_ms: u32,
    /// For the first media of a publisher (`firstpkt_timeout`).
    pub first_media_ms: u32,
    /// Between two messages of a publisher (`normal_timeout`).
    pub media_ms: u32,
    /// For the call with which a redirected client says that it goes.
    pub redirect_ms: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            identify_ms: 30_000,
            republish_ms: 180_000,
            first_media_ms: 20_000,
            media_ms: 5_000,
            redirect_ms: 3_000,
        }
    }
}

/// How long something may take, and from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Milliseconds since the state was entered.
    SinceEntered(u32),
    /// Milliseconds since [`ServerSession::messages`] last grew: single bytes do not count.
    SinceMessage(u32),
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The handshake is not over.
    Handshake,
    /// `connect` has not come.
    Connecting,
    /// `connect` waits for the server's answer.
    ConnectAsked,
    /// Connected; neither publishing nor playing yet.
    Ready,
    /// Connected; it has published or played before.
    ReadyAgain,
    /// `publish` waits for the server's answer.
    PublishAsked,
    /// It may publish; no media has come.
    PublishStart,
    /// Media has come.
    Publishing,
    /// `play` waits for the server's answer.
    PlayAsked,
    /// It plays.
    Playing,
    /// It was told to go elsewhere.
    Redirected,
    /// It was refused: send what is to be sent, then close.
    Closed,
}

impl State {
    /// The state's name, for logs and the API.
    pub const fn name(self) -> &'static str {
        match self {
            State::Handshake => "handshake",
            State::Connecting => "connecting",
            State::ConnectAsked => "connect_asked",
            State::Ready => "ready",
            State::ReadyAgain => "ready_again",
            State::PublishAsked => "publish_asked",
            State::PublishStart => "publish_start",
            State::Publishing => "publishing",
            State::PlayAsked => "play_asked",
            State::Playing => "playing",
            State::Redirected => "redirected",
            State::Closed => "closed",
        }
    }
}

impl Timeouts {
    /// How long a session may stay in `state`; `None` if the client is not who is waited for.
    pub const fn of(&self, state: State) -> Option<Timeout> {
        Some(match state {
            State::Handshake | State::Connecting | State::Ready => Timeout::SinceEntered(self.identify_ms),
            State::ReadyAgain => Timeout::SinceEntered(self.republish_ms),
            State::PublishStart => Timeout::SinceEntered(self.first_media_ms),
            State::Publishing => Timeout::SinceMessage(self.media_ms),
            State::Redirected => Timeout::SinceEntered(self.redirect_ms),
            State::ConnectAsked | State::PublishAsked | State::PlayAsked => return None,
            State::Playing | State::Closed => return None,
        })
    }
}

/// What a client did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It asks to connect: answer.
    Connect(Box<ConnectRequest>),
    /// It asks to publish: answer.
    Publish(Box<PublishRequest>),
    /// It asks to play: answer.
    Play(Box<PlayRequest>),
    /// Audio, video or data of the stream it publishes. Data begins with its name; `@setDataFrame` is gone.
    Media(Message),
    /// It no longer publishes.
    Unpublish,
    /// It no longer plays.
    StopPlay,
    /// It asks to pause or go on: do so at the next message boundary, then say
    /// [`ServerSession::pause_done`].
    Pause {
        /// Pause, or go on.
        on: bool,
        /// The player's position in milliseconds.
        ms: u32,
    },
    /// It tells how much it buffers, in milliseconds.
    BufferLength(u32),
    /// It has understood where to go: close.
    RedirectSeen,
}

/// Why a session cannot go on: close the connection. Output that is still there may be sent before.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SessionError {
    /// No handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// Chunks that cannot be read.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A control message shorter than its kind.
    #[error("control message of type {type_id}: {short}")]
    Control {
        /// Its type.
        type_id: u8,
        /// What is missing.
        short: Short,
    },
    /// A call that cannot be understood.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A URL or stream name that cannot be used.
    #[error("{command}: {error}")]
    Url {
        /// connect, publish or play.
        command: &'static str,
        /// What is wrong with it.
        error: UrlError,
    },
    /// More `createStream` than anyone needs.
    #[error("more than {MAX_CREATED} createStream without publish or play")]
    Streams,
    /// The shell went on reading while the session did not want it to.
    #[error("more than {MAX_HELD_BYTES} bytes given to a session that waits for an answer")]
    Held,
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct ServerSession {
    config: Arc<SessionConfig>,
    state: State,
    /// Only until the handshake is over.
    handshake: Option<Box<ServerHandshake>>,
    agreed: Agreed,
    reader: ChunkReader,
    acks: Acknowledgements,
    messages: u32,
    /// Chunk size of what is sent.
    chunk_bytes: u32,
    url: Option<Box<TcUrl>>,
    /// Transaction of `connect`.
    transaction: f64,
    flow: Flow,
    created: u8,
    aggregate: Option<Box<Aggregate>>,
    /// A second event of one message.
    queued: Option<Event>,
    out: Vec<u8>,
    /// Bytes that were given while the session did not read, and how many of them are read by now.
    held: Vec<u8>,
    held_read: usize,
}

impl ServerSession {
    /// A session on a fresh connection. The handshake's random bytes come from `seed`.
    pub fn new(config: Arc<SessionConfig>, seed: u64) -> ServerSession {
        let (all, idle) = (config.limits, config.max_idle_message_bytes);
        let limits = Limits {
            max_message_bytes: all.max_message_bytes.min(idle),
            max_script_bytes: all.max_script_bytes.min(idle),
            max_partial_bytes: all.max_partial_bytes.min(2 * idle as usize),
            ..all
        };
        ServerSession {
            state: State::Handshake,
            handshake: Some(Box::new(ServerHandshake::new(seed))),
            agreed: Agreed { complex: None, proxied_ip: None },
            reader: ChunkReader::new(limits, Keep::Whole),
            acks: Acknowledgements::default(),
            messages: 0,
            chunk_bytes: DEFAULT_CHUNK_BYTES,
            url: None,
            transaction: 1.0,
            flow: Flow::Unknown,
            created: 0,
            aggregate: None,
            queued: None,
            out: Vec::new(),
            held: Vec::new(),
            held_read: 0,
            config,
        }
    }

    /// Reads what came, up to the next event. Call it again until it gives `None`; then all of `input` has
    /// been taken.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Event>, SessionError> {
        if let Some(event) = self.queued.take() {
            return Ok(Some(event));
        }
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let mut rest = held.get(self.held_read..).unwrap_or_default();
            let event = self.advance(&mut rest)?;
            if rest.is_empty() {
                self.held_read = 0;
            } else {
                self.held_read = held.len() - rest.len();
                self.held = held;
            }
            if event.is_some() {
                return Ok(event);
            }
        }
        let event = if self.held.is_empty() { self.advance(input)? } else { None };
        if event.is_none() && !input.is_empty() {
            if self.held.len() + input.len() > MAX_HELD_BYTES {
                return Err(SessionError::Held);
            }
            self.held.extend_from_slice(input);
            *input = &[];
        }
        Ok(event)
    }

    /// Whether more bytes should be read from the socket.
    pub const fn wants_read(&self) -> bool {
        self.held.is_empty() && !self.is_blocked()
    }

    /// Whether it holds input back that it can read by now: [`ServerSession::read`] with nothing goes on.
    pub const fn has_held_input(&self) -> bool {
        !self.is_blocked() && (!self.held.is_empty() || self.aggregate.is_some())
    }

    /// What is to be sent, in whole messages. Empty if there is nothing.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Where the session stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// How long it may stay there.
    pub fn timeout(&self) -> Option<Timeout> {
        self.config.timeouts.of(self.state)
    }

    /// Messages read so far, modulo 2^32.
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// Bytes read so far, the handshake included.
    pub const fn bytes_read(&self) -> u64 {
        self.acks.received()
    }

    /// Chunk size of what is sent; media for this player must have the same.
    pub const fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    const fn is_blocked(&self) -> bool {
        match self.state {
            State::ConnectAsked | State::PublishAsked | State::PlayAsked | State::Closed => true,
            _ => self.out.len() >= MAX_OUTPUT_BYTES,
        }
    }

    /// Reads up to the next event, or until the session is blocked, or all was taken.
    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Event>, SessionError> {
        loop {
            if self.state == State::Closed {
                *input = &[];
            }
            if self.is_blocked() {
                return Ok(None);
            }
            if let Some(message) = self.aggregate.as_mut().and_then(|a| a.next()) {
                return Ok(Some(Event::Media(message)));
            }
            self.aggregate = None;
            let before = input.len();
            if let Some(handshake) = &mut self.handshake {
                let agreed = handshake.feed(input, &mut self.out)?;
                self.acks.on_received(before - input.len());
                let Some(agreed) = agreed else { return Ok(None) };
                self.agreed = agreed;
                self.handshake = None;
                self.state = State::Connecting;
                continue;
            }
            let message = self.reader.read(input)?;
            if let Some(sequence) = self.acks.on_received(before - input.len()) {
                Control::Acknowledgement(sequence).write(&mut self.out);
            }
            let Some(message) = message else { return Ok(None) };
            self.messages = self.messages.wrapping_add(1);
            if let Some(event) = self.message(message)? {
                return Ok(Some(event));
            }
        }
    }

    fn message(&mut self, m: RawMessage) -> Result<Option<Event>, SessionError> {
        let Payload::Whole(payload) = m.payload else { return Ok(None) };
        match m.type_id {
            type_id::AUDIO | type_id::VIDEO | type_id::DATA | type_id::DATA_AMF3 | type_id::AGGREGATE => {
                Ok(self.media(m.type_id, m.time, payload))
            }
            type_id::COMMAND | type_id::COMMAND_AMF3 => {
                let call = Call::read(without_amf3_mark(&payload))?;
                self.call(call)
            }
            type_id => {
                let control = Control::read(type_id, &payload);
                Ok(match control.map_err(|short| SessionError::Control { type_id, short })? {
                    Some(Control::WindowAck(bytes)) => {
                        self.acks.set_window(bytes);
                        None
                    }
                    Some(Control::User(User::PingRequest(time))) => {
                        Control::User(User::PingResponse(time)).write(&mut self.out);
                        None
                    }
                    Some(Control::User(User::SetBufferLength { ms, .. })) => Some(Event::BufferLength(ms)),
                    _ => None,
                })
            }
        }
    }

    fn call(&mut self, call: Call) -> Result<Option<Event>, SessionError> {
        match self.state {
            State::Connecting => self.connect_call(call),
            State::Ready | State::ReadyAgain => self.ready_call(call),
            State::PublishStart | State::Publishing => self.publishing_call(call),
            State::Playing => self.playing_call(call),
            State::Redirected => Ok(Some(Event::RedirectSeen)),
            _ => Ok(None),
        }
    }

    /// A call while the connection neither publishes nor plays.
    fn ready_call(&mut self, call: Call) -> Result<Option<Event>, SessionError> {
        let transaction = call.transaction;
        match call.command {
            Command::Publish { stream, mode } => return self.publish_call(&stream, mode).map(Some),
            Command::Play(play) => return self.play_call(&play).map(Some),
            Command::CreateStream => self.create_stream(transaction)?,
            Command::ReleaseStream(_) | Command::FcPublish(_) => {
                self.flow = self.flow.after_fc();
                self.result(transaction, &Value::Undefined);
            }
            Command::FcUnpublish(_) => self.result(transaction, &Value::Undefined),
            Command::StreamLength => self.result(transaction, &Value::Number(0.0)),
            Command::Answer(_) | Command::Status(_) => {}
            // SRS answers here even calls that expect no answer.
            _ => self.result(transaction, &Value::Null),
        }
        Ok(None)
    }

    /// A call that means the same whether the connection publishes or plays.
    fn busy_call(&mut self, call: Call) -> Result<(), SessionError> {
        match call.command {
            Command::CreateStream => self.create_stream(call.transaction)?,
            Command::Answer(_) | Command::Status(_) => {}
            _ if call.transaction <= 0.0 => {}
            Command::StreamLength => self.result(call.transaction, &Value::Number(0.0)),
            _ => self.result(call.transaction, &Value::Null),
        }
        Ok(())
    }

    /// Ends publishing or playing with `event`, and reads `call` as one of a connection that is free again.
    fn leave_for(&mut self, call: Call, event: Event) -> Result<Option<Event>, SessionError> {
        self.leave();
        self.queued = self.ready_call(call)?;
        Ok(Some(event))
    }

    const fn leave(&mut self) {
        self.state = State::ReadyAgain;
        self.flow = Flow::Unknown;
        self.created = 0;
    }

    fn create_stream(&mut self, transaction: f64) -> Result<(), SessionError> {
        if self.created >= MAX_CREATED {
            return Err(SessionError::Streams);
        }
        self.created += 1;
        self.flow = self.flow.after_create();
        self.result(transaction, &Value::Number(STREAM_ID.into()));
        Ok(())
    }

    fn result(&mut self, transaction: f64, value: &Value) {
        let body = Body::call("_result", transaction).null().value(value);
        body.write_command(&mut self.out, 0, self.chunk_bytes);
    }

    fn on_status(&mut self, level: &str, code: &str, description: &str, more: &[(&str, &str)]) {
        let body = Body::call("onStatus", 0.0).null().status(level, code, description, more);
        body.write_command(&mut self.out, STREAM_ID, self.chunk_bytes);
    }
}

/// Messages of the AMF3 types carry AMF0 behind one byte that says so; some senders leave it out, but no
/// command or data begins with a number, which that byte would mean.
fn without_amf3_mark(payload: &[u8]) -> &[u8] {
    payload.strip_prefix(&[0]).unwrap_or(payload)
}

#[cfg(test)]
mod tests;
