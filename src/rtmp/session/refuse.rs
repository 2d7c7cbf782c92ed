//! How a server says no. SRS closes without a word; here the client is told why first, in the codes of
//! NetConnection and NetStream, which costs nothing and which encoders show to their users.

use super::{ServerSession, State};
use crate::formats::amf0::Value;
use crate::rtmp::command::Body;

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// Not allowed, not configured, over a limit: in these words.
    Denied(&'a str),
    /// Another one publishes this stream.
    Busy,
    /// There is no such stream.
    NotFound,
}

impl ServerSession {
    /// Answers whatever was asked with no, or ends what was allowed. The session is closed after: send its
    /// output, then close the connection.
    pub fn refuse(&mut self, why: Refusal<'_>) {
        let description = match why {
            Refusal::Denied(text) => text,
            Refusal::Busy => "Stream already publishing.",
            Refusal::NotFound => "Stream not found.",
        };
        match self.state {
            State::ConnectAsked => self.reject_connect(description),
            State::PublishAsked | State::PublishStart | State::Publishing => {
                self.on_status("error", "NetStream.Publish.BadName", description, &[]);
            }
            State::PlayAsked | State::Playing => {
                let code = match why {
                    Refusal::NotFound => "NetStream.Play.StreamNotFound",
                    _ => "NetStream.Play.Failed",
                };
                self.on_status("error", code, description, &[]);
            }
            _ => {}
        }
        self.close();
    }

    /// Answers [`super::Event::Play`]: the stream is elsewhere (SRS's RTMP 302). `stream_url` is the whole
    /// URL, `tc_url` that without the stream. The client may say that it understood.
    pub fn redirect(&mut self, tc_url: &str, stream_url: &str) {
        if self.state != State::PlayAsked {
            return;
        }
        let text = |name: &str, value: &str| (name.to_owned(), Value::text(value));
        let ex = vec![
            ("code".to_owned(), Value::Number(302.0)),
            text("redirect", tc_url),
            text("redirect2", stream_url),
        ];
        let information = vec![
            text("level", "error"),
            text("code", "NetConnection.Connect.Rejected"),
            text("description", "RTMP 302 Redirect"),
            ("ex".to_owned(), Value::Object(ex)),
        ];
        let body = Body::call("onStatus", 0.0).null().value(&Value::Object(information));
        body.write_command(&mut self.out, 0, self.chunk_bytes);
        self.state = State::Redirected;
    }

    pub(super) fn reject_connect(&mut self, description: &str) {
        let body = Body::call("_error", self.transaction).null();
        let body = body.status("error", "NetConnection.Connect.Rejected", description, &[]);
        body.write_command(&mut self.out, 0, self.chunk_bytes);
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.held = Vec::new();
        self.queued = None;
        self.aggregate = None;
    }
}
