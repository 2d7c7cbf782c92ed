//! A viewer's connection as the core sees it: something that takes bytes or says that it is full.

use crate::stats::reason::CloseReason;
use bytes::Bytes;
use std::io::{self, IoSlice};

/// How much a connection took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Everything.
    All,
    /// So many bytes; it is full now.
    Part(usize),
    /// Nothing, and not even all the private bytes before it: it is full, and tells the feed when that is over.
    Nothing,
}

/// A viewer's connection. At most one sender at a time: while [`Wire::park`]ed bytes are on their way,
/// [`Wire::ready`] is false and nobody else may send.
pub trait Wire {
    /// Something will be looked at soon, once others have been: it may be fetched from memory meanwhile.
    fn fetch<T: ?Sized>(_: &T) {}
    /// It is the next to be served, once another has been: what that takes may be fetched from memory already.
    fn is_next(&self) {}
    /// Whether it may be sent something.
    fn ready(&self) -> bool;
    /// Sends private bytes that wait (commands, pings, preludes) and, in one go with them, what fits of
    /// `slices`; of these it tells.
    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<Taken>;
    /// Sends `rest` as the connection becomes writable, then private bytes that gathered meanwhile, then
    /// tells the feed ([`super::hub::Hub::wake`]).
    fn park(&self, rest: Bytes);
    /// Bytes for this viewer alone, to be sent before anything else of the feed.
    fn push_private(&self, bytes: &[u8]);
    /// Sends private bytes that wait where nothing of the feed is there to go with them.
    fn flush(&self);
    /// What a viewer starts with is sent: none of it is to wait for more to be sent, or for an acknowledgement.
    fn push_out(&self) {}
    /// The transport is to hold no more than this of unsent bytes. Told when a viewer joins, and as the
    /// stream's bitrate changes.
    fn bound_unsent(&self, bytes: u32);
    /// No more will come: once private bytes are sent the connection ends politely.
    fn end(&self, reason: CloseReason);
    /// The connection is to end now.
    fn close(&self, reason: CloseReason);
}
