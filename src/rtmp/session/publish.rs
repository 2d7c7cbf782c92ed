//! Publishing: the three ways in which encoders begin, and how they end.

use super::{CLIENT_ID, Event, ServerSession, SessionError, State};
use crate::formats::amf0::Value;
use crate::rtmp::chunk::STREAM_ID;
use crate::rtmp::command::{Body, Call, Command};
use crate::rtmp::url::{StreamName, TcUrl, UrlError};

/// A client that asks to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// How it began.
    pub kind: PublishKind,
    /// What it wants to publish.
    pub name: StreamName,
}

/// How long a publisher may take, in milliseconds (`firstpkt_timeout`, `normal_timeout`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishLimits {
    /// For its first media.
    pub first_ms: u32,
    /// Between two messages.
    pub next_ms: u32,
}

/// The order of calls before `publish`, which decides on the answers (SRS's names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublishKind {
    /// createStream, publish.
    Flash,
    /// releaseStream, FCPublish, createStream, publish: OBS, ffmpeg, FMLE.
    Fmle,
    /// createStream, FCPublish, publish.
    Haivision,
}

/// What the calls so far make of a `publish` to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Unknown,
    Is(PublishKind),
}

impl Flow {
    pub(super) const fn after_create(self) -> Flow {
        match self {
            Flow::Unknown => Flow::Is(PublishKind::Flash),
            known => known,
        }
    }

    pub(super) const fn after_fc(self) -> Flow {
        match self {
            Flow::Unknown => Flow::Is(PublishKind::Fmle),
            Flow::Is(PublishKind::Flash) => Flow::Is(PublishKind::Haivision),
            known => known,
        }
    }

    const fn kind(self) -> PublishKind {
        match self {
            Flow::Unknown => PublishKind::Flash,
            Flow::Is(kind) => kind,
        }
    }
}

impl ServerSession {
    pub(super) fn publish_call(&mut self, stream: &str) -> Result<Event, SessionError> {
        let name = self.stream_name(stream).map_err(|error| {
            self.on_status("error", "NetStream.Publish.BadName", &error.to_string(), &[]);
            SessionError::Url { command: "publish", error }
        })?;
        self.state = State::PublishAsked;
        self.created = 0;
        Ok(Event::Publish(Box::new(PublishRequest { kind: self.flow.kind(), name })))
    }

    pub(super) fn stream_name(&self, stream: &str) -> Result<StreamName, UrlError> {
        let url: &TcUrl = self.url.as_deref().ok_or(UrlError::Empty("tcUrl"))?;
        url.stream(stream)
    }

    /// Answers [`Event::Publish`]: the encoder may begin.
    pub fn accept_publish(&mut self, limits: PublishLimits) {
        if self.state != State::PublishAsked {
            return;
        }
        self.publish_limits = limits;
        self.state = State::PublishStart;
        self.link.set_limits(self.config.limits);
        const CODE: &str = "NetStream.Publish.Start";
        const TEXT: &str = "Started publishing stream.";
        if self.flow.kind() != PublishKind::Flash {
            self.on_fc("onFCPublish", CODE, TEXT);
        }
        self.on_status("status", CODE, TEXT, &[CLIENT_ID]);
    }

    fn on_fc(&mut self, name: &str, code: &str, description: &str) {
        let body = Body::call(name, 0.0).null().object(&[("code", code), ("description", description)]);
        self.link.command(STREAM_ID, body);
    }

    pub(super) fn publishing_call(&mut self, call: Call) -> Result<Option<Event>, SessionError> {
        match call.command {
            Command::FcUnpublish(_) => {
                self.say_unpublished(Some(call.transaction));
                self.leave();
                Ok(Some(Event::Unpublish))
            }
            Command::CloseStream | Command::DeleteStream => {
                self.say_unpublished(None);
                self.leave();
                Ok(Some(Event::Unpublish))
            }
            // An encoder that begins anew without having ended.
            Command::ReleaseStream(_) | Command::FcPublish(_) => {
                self.say_unpublished(None);
                self.leave_for(call, Event::Unpublish)
            }
            Command::Publish(_) | Command::Play(_) => self.leave_for(call, Event::Unpublish),
            _ => self.busy_call(call).map(|()| None),
        }
    }

    fn say_unpublished(&mut self, transaction: Option<f64>) {
        const CODE: &str = "NetStream.Unpublish.Success";
        if self.flow.kind() != PublishKind::Flash {
            self.on_fc("onFCUnpublish", CODE, "Stop publishing stream.");
        }
        if let Some(transaction) = transaction {
            self.result(transaction, &Value::Undefined);
        }
        self.on_status("status", CODE, "Stream is now unpublished", &[CLIENT_ID]);
    }
}
