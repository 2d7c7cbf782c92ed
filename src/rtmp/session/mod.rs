//! The server's end of an RTMP connection, without I/O.
//!
//! The shell reads from the socket, hands the bytes to [`ServerSession::read`] until that gives no more
//! events, acts on each event, and sends what [`ServerSession::take_output`] gives. What a client asks for
//! (`connect`, `publish`, `play`) is an event that the server answers when it can: with `accept_…` or with
//! [`ServerSession::refuse`]. Until then the session reads no further: it holds the rest of what it was given,
//! and [`ServerSession::wants_read`] is false, so that the shell leaves everything else in the socket. After an
//! answer the shell calls `read` again, if need be with no bytes.
//!
//! Media to players does not pass through here; see [`super`].

mod connect;
mod play;
mod publish;
mod refuse;

pub use connect::{ConnectRequest, ConnectionId, Identity, Terms};
pub use play::PlayRequest;
pub use publish::{PublishKind, PublishLimits, PublishRequest};
pub use refuse::Refusal;

use super::chunk::STREAM_ID;
use super::chunk::reader::Limits;
use super::command::{Body, Call, Command};
use super::handshake::{Agreed, ServerHandshake};
use super::link::{Link, LinkError, Received};
use super::url::{TcUrl, UrlError};
use crate::formats::amf0::Value;
use crate::formats::message::Message;
use publish::Flow;
use std::sync::Arc;

/// What SRS says of every client in answers to `publish` and `play`.
const CLIENT_ID: (&str, &str) = ("clientid", "ASAICiss");
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
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { identify_ms: 30_000, republish_ms: 180_000 }
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
            State::Closed => "closed",
        }
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
}

/// Why a session cannot go on: close the connection. Output that is still there may be sent before.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SessionError {
    /// What came cannot be read.
    #[error(transparent)]
    Link(#[from] LinkError),
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
    link: Link,
    agreed: Agreed,
    url: Option<Box<TcUrl>>,
    /// Transaction of `connect`.
    transaction: f64,
    flow: Flow,
    publish_limits: PublishLimits,
    created: u8,
    /// A second event of one message.
    queued: Option<Event>,
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
            link: Link::new(Box::new(ServerHandshake::new(seed)), limits, Vec::new()),
            agreed: Agreed { complex: None, proxied_ip: None },
            url: None,
            transaction: 1.0,
            flow: Flow::Unknown,
            publish_limits: PublishLimits::default(),
            created: 0,
            queued: None,
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
        !self.is_blocked() && (!self.held.is_empty() || self.link.has_more())
    }

    /// What is to be sent, in whole messages. Empty if there is nothing.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.link.take_output()
    }

    /// Where the session stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// How long it may stay there; `None` if the client is not who is waited for.
    pub fn timeout(&self) -> Option<Timeout> {
        let limits = &self.config.timeouts;
        Some(match self.state {
            State::Handshake | State::Connecting | State::Ready => Timeout::SinceEntered(limits.identify_ms),
            State::ReadyAgain => Timeout::SinceEntered(limits.republish_ms),
            State::PublishStart => Timeout::SinceEntered(self.publish_limits.first_ms),
            State::Publishing => Timeout::SinceMessage(self.publish_limits.next_ms),
            State::ConnectAsked | State::PublishAsked | State::PlayAsked => return None,
            State::Playing | State::Closed => return None,
        })
    }

    /// Messages read so far, modulo 2^32.
    pub const fn messages(&self) -> u32 {
        self.link.messages()
    }

    /// Bytes read so far, the handshake included.
    pub const fn bytes_read(&self) -> u64 {
        self.link.bytes_read()
    }

    /// What messages hold that are not whole yet, or not given yet.
    pub fn unfinished_bytes(&self) -> usize {
        self.link.unfinished_bytes() + self.held.capacity()
    }

    /// Chunk size of what is sent; media for this player must have the same.
    pub const fn chunk_bytes(&self) -> u32 {
        self.link.chunk_bytes()
    }

    const fn is_blocked(&self) -> bool {
        match self.state {
            State::ConnectAsked | State::PublishAsked | State::PlayAsked | State::Closed => true,
            _ => self.link.output_bytes() >= MAX_OUTPUT_BYTES,
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
            let Some(received) = self.link.read(input)? else { return Ok(None) };
            let event = match received {
                Received::Agreed(agreed) => {
                    self.agreed = agreed;
                    self.state = State::Connecting;
                    None
                }
                Received::Media(message) => self.media(message),
                Received::Call(call) => self.call(call)?,
                Received::Control(_) | Received::Other => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Media is of interest only from a client that publishes.
    fn media(&mut self, message: Message) -> Option<Event> {
        if !matches!(self.state, State::PublishStart | State::Publishing) {
            return None;
        }
        self.state = State::Publishing;
        Some(Event::Media(message))
    }

    fn call(&mut self, call: Call) -> Result<Option<Event>, SessionError> {
        match self.state {
            State::Connecting => self.connect_call(call),
            State::Ready | State::ReadyAgain => self.ready_call(call),
            State::PublishStart | State::Publishing => self.publishing_call(call),
            State::Playing => self.playing_call(call),
            _ => Ok(None),
        }
    }

    /// A call while the connection neither publishes nor plays.
    fn ready_call(&mut self, call: Call) -> Result<Option<Event>, SessionError> {
        let transaction = call.transaction;
        match call.command {
            Command::Publish(stream) => return self.publish_call(&stream).map(Some),
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
        self.link.command(0, body);
    }

    fn on_status(&mut self, level: &str, code: &str, description: &str, more: &[(&str, &str)]) {
        let body = Body::call("onStatus", 0.0).null().status(level, code, description, more);
        self.link.command(STREAM_ID, body);
    }
}

#[cfg(test)]
mod tests;
