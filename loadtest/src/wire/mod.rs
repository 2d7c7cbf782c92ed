//! What a player speaks: bytes in, events and bytes out; no socket and no clock.

pub(crate) mod flv;
pub(crate) mod raw;
pub(crate) mod rtmp;

/// What a player's protocol tells of the bytes it was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The server agreed: from here on media comes.
    Started,
    /// A media message, whole.
    Message {
        /// It is a picture that needs no other.
        key: bool,
        /// CLOCK_MONOTONIC nanoseconds at which the publisher sent it, if it says.
        sent_ns: Option<u64>,
    },
}

/// Why a player cannot go on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    /// The server said no.
    #[error("refused: {0}")]
    Refused(String),
    /// The bytes are not what the protocol says.
    #[error("byte {at}: {what}")]
    Broken {
        /// Bytes fed before the ones that are wrong.
        at: u64,
        /// What is wrong with them.
        what: String,
    },
    /// The server ended the stream.
    #[error("the server ended the stream")]
    Ended,
}

/// A player's side of a protocol.
pub(crate) trait Wire {
    /// The connection stands: appends what is to be sent first.
    fn connected(&mut self, out: &mut Vec<u8>, on: &mut dyn FnMut(Event)) -> Result<(), Error>;

    /// Takes received bytes, appends what is to be sent, and tells what they were.
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>, on: &mut dyn FnMut(Event)) -> Result<(), Error>;
}
