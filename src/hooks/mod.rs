//! HTTP callbacks (SRS's `http_hooks`): an operator's backend decides about clients, and is told of them.
//!
//! *Decisions* (on_connect, on_publish, on_play) are waited for by the client that they are about, within a deadline.
//! *Events* (on_close, on_unpublish, on_stop) are told when they have happened: in the order of each client and of each
//! stream, again and again until the backend has them, so that it may get one twice.
//!
//! [`notice`] is what a backend is sent, [`answer`] what it says; [`backlog`] keeps the events that are to be told, and
//! says which is next (no I/O and no clock in these); [`spool`] keeps them on disk; [`desk`] does the telling and, for each [`decision`], the asking.

pub mod answer;
pub mod backlog;
pub mod decision;
pub mod desk;
pub mod notice;
pub mod spool;

use serde::{Deserialize, Serialize};

/// What a backend is asked or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// A client that has said what it wants; may it be here?
    OnConnect,
    /// An RTMP client has gone.
    OnClose,
    /// May it publish?
    OnPublish,
    /// It publishes no more.
    OnUnpublish,
    /// May it play?
    OnPlay,
    /// It plays no more.
    OnStop,
}

impl Hook {
    /// All of them.
    pub const ALL: [Hook; 6] =
        [Hook::OnConnect, Hook::OnClose, Hook::OnPublish, Hook::OnUnpublish, Hook::OnPlay, Hook::OnStop];

    /// SRS's name for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Hook::OnConnect => "on_connect",
            Hook::OnClose => "on_close",
            Hook::OnPublish => "on_publish",
            Hook::OnUnpublish => "on_unpublish",
            Hook::OnPlay => "on_play",
            Hook::OnStop => "on_stop",
        }
    }

    /// Its place in [`Hook::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is about a stream.
    pub const fn has_stream(self) -> bool {
        !matches!(self, Hook::OnConnect | Hook::OnClose)
    }
}
