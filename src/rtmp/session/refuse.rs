//! How a server says no. SRS closes without a word; here the client is told why first, in the codes of
//! NetConnection and NetStream, which costs nothing and which encoders show to their users.

use super::{ServerSession, State};
use crate::rtmp::command::Body;

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// Not allowed, not configured, over a limit: in these words.
    Denied(&'a str),
    /// Another one publishes this stream.
    Busy,
}

impl ServerSession {
    /// Answers whatever was asked with no, or ends what was allowed. The session is closed after: send its
    /// output, then close the connection.
    pub fn refuse(&mut self, why: Refusal<'_>) {
        let description = match why {
            Refusal::Denied(text) => text,
            Refusal::Busy => "Stream already publishing.",
        };
        match self.state {
            State::ConnectAsked => self.reject_connect(description),
            State::PublishAsked | State::PublishStart | State::Publishing => {
                self.on_status("error", "NetStream.Publish.BadName", description, &[]);
            }
            State::PlayAsked | State::Playing => {
                self.on_status("error", "NetStream.Play.Failed", description, &[]);
            }
            _ => {}
        }
        self.close();
    }

    pub(super) fn reject_connect(&mut self, description: &str) {
        let body = Body::call("_error", self.transaction).null();
        let body = body.status("error", "NetConnection.Connect.Rejected", description, &[]);
        self.link.command(0, body);
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.held = Vec::new();
        self.queued = None;
        self.link.drop_rest();
    }
}
