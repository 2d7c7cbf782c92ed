//! Playing: what is said around the media, which others send.

use super::{CLIENT_ID, Event, ServerSession, SessionError, State};
use crate::rtmp::chunk::STREAM_ID;
use crate::rtmp::command::{Body, Call, Command, Play};
use crate::rtmp::control::{Control, User};
use crate::rtmp::url::StreamName;

/// A client that asks to play.
#[derive(Clone, Debug, PartialEq)]
pub struct PlayRequest {
    /// What it wants to play.
    pub name: StreamName,
    /// How long to play, in milliseconds, if not without end.
    pub duration_ms: Option<u32>,
}

const DETAILS: (&str, &str) = ("details", "stream");

impl ServerSession {
    pub(super) fn play_call(&mut self, play: &Play) -> Result<Event, SessionError> {
        let name = self.stream_name(&play.stream).map_err(|error| {
            self.on_status("error", "NetStream.Play.StreamNotFound", &error.to_string(), &[]);
            SessionError::Url { command: "play", error }
        })?;
        self.state = State::PlayAsked;
        self.created = 0;
        let duration_ms = (play.duration_ms > 0.0).then_some(play.duration_ms as u32);
        let request = PlayRequest { name, duration_ms };
        Ok(Event::Play(Box::new(request)))
    }

    /// Answers [`Event::Play`]: media may follow.
    ///
    /// SRS 3 also sends `NetStream.Data.Start`; later versions do not, since ffmpeg then shows a data stream
    /// that is none.
    pub fn accept_play(&mut self) {
        if self.state != State::PlayAsked {
            return;
        }
        self.state = State::Playing;
        self.link.control(Control::User(User::StreamBegin(STREAM_ID)));
        let reset = "Playing and resetting stream.";
        self.on_status("status", "NetStream.Play.Reset", reset, &[DETAILS, CLIENT_ID]);
        let start = "Started playing stream.";
        self.on_status("status", "NetStream.Play.Start", start, &[DETAILS, CLIENT_ID]);
        let access = Body::data("|RtmpSampleAccess").boolean(true).boolean(true);
        self.link.data(STREAM_ID, access);
    }

    /// Follows [`Event::Pause`], once the player gets media no more, or again.
    pub fn pause_done(&mut self, on: bool) {
        if self.state != State::Playing {
            return;
        }
        if on {
            self.on_status("status", "NetStream.Pause.Notify", "Paused stream.", &[DETAILS, CLIENT_ID]);
            self.link.control(Control::User(User::StreamEof(STREAM_ID)));
        } else {
            self.on_status("status", "NetStream.Unpause.Notify", "Unpaused stream.", &[DETAILS, CLIENT_ID]);
            self.link.control(Control::User(User::StreamBegin(STREAM_ID)));
        }
    }

    pub(super) fn playing_call(&mut self, call: Call) -> Result<Option<Event>, SessionError> {
        match call.command {
            Command::Pause { on, ms } => Ok(Some(Event::Pause { on, ms: ms as u32 })),
            Command::CloseStream | Command::DeleteStream | Command::PlayNothing => {
                self.leave();
                Ok(Some(Event::StopPlay))
            }
            Command::Play(_) | Command::Publish(_) | Command::ReleaseStream(_) | Command::FcPublish(_) => {
                self.leave_for(call, Event::StopPlay)
            }
            Command::Seek(_) => {
                let why = "A live stream cannot be sought in.";
                self.on_status("error", "NetStream.Seek.Failed", why, &[DETAILS, CLIENT_ID]);
                Ok(None)
            }
            _ => self.busy_call(call).map(|()| None),
        }
    }
}
