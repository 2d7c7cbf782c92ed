//! A viewer's connection: takes random amounts, becomes full, stalls, recovers, or stays stuck.

use crate::bomb;
use bytes::Bytes;
use srs_shard::stats::reason::CloseReason;
use srs_shard::stream::wire::{Taken, Wire};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;

/// A connection keeps at most so many private bytes (DESIGN §2).
const PRIVATE_MAX_BYTES: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Line {
    /// Bytes the peer's side takes now.
    pub(crate) room: usize,
    /// What reached the peer and was not looked at yet.
    pub(crate) arrived: Vec<u8>,
    pub(crate) parked: Option<Bytes>,
    pub(crate) private: Vec<u8>,
    /// The core was told that the connection is busy: it must be called when that is over.
    pub(crate) owed: bool,
    pub(crate) ended: Option<CloseReason>,
    pub(crate) closed: Option<CloseReason>,
    /// Fails at the next send: the peer reset it.
    pub(crate) reset: bool,
    /// Breaks its feed at so many sends from now.
    pub(crate) bomb: Option<(u64, bomb::Target)>,
}

impl Line {
    fn put(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room);
        self.arrived.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        taken
    }

    /// What it does not take of private bytes is parked; false if there is any.
    fn flush(&mut self) -> bool {
        let private = std::mem::take(&mut self.private);
        let taken = self.put(&private);
        if taken < private.len() {
            self.parked = Some(Bytes::copy_from_slice(&private[taken..]));
            self.owed = true;
        }
        self.parked.is_none()
    }

    /// What the connection's own task does when there is room again; true if the core must be told.
    pub(crate) fn progress(&mut self) -> bool {
        if let Some(rest) = self.parked.take() {
            let taken = self.put(&rest);
            if taken < rest.len() {
                self.parked = Some(rest.slice(taken..));
                return false;
            }
        }
        self.flush() && std::mem::take(&mut self.owed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.closed.is_some() || (self.ended.is_some() && self.parked.is_none() && self.private.is_empty())
    }
}

#[derive(Clone, Default)]
pub(crate) struct SimWire(pub(crate) Rc<RefCell<Line>>);

impl Wire for SimWire {
    fn ready(&self) -> bool {
        let mut line = self.0.borrow_mut();
        let ready = line.closed.is_none() && line.parked.is_none();
        line.owed |= !ready;
        ready
    }

    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<Taken> {
        let mut line = self.0.borrow_mut();
        assert!(line.parked.is_none(), "one-sender: a send while bytes are parked");
        assert!(line.ended.is_none() && line.closed.is_none(), "one-sender: a send after the end");
        assert!(slices.iter().any(|slice| !slice.is_empty()), "a send of nothing");
        if line.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        line.bomb = line.bomb.map(|(sends, target)| (sends - 1, target));
        if let Some((_, target)) = line.bomb.take_if(|(sends, _)| *sends == 0) {
            bomb::go_off(target);
        }
        if !line.flush() {
            return Ok(Taken::Nothing);
        }
        let (mut sent, mut all) = (0, true);
        for slice in slices {
            let taken = line.put(slice);
            sent += taken;
            if taken < slice.len() {
                all = false;
                break;
            }
        }
        Ok(if all { Taken::All } else { Taken::Part(sent) })
    }

    fn park(&self, rest: Bytes) {
        let mut line = self.0.borrow_mut();
        assert!(line.parked.is_none() && !rest.is_empty(), "one-sender: parked twice, or nothing");
        line.parked = Some(rest);
        line.owed = true;
    }

    fn push_private(&self, bytes: &[u8]) {
        let mut line = self.0.borrow_mut();
        line.private.extend_from_slice(bytes);
        assert!(line.private.len() <= PRIVATE_MAX_BYTES, "memory: private bytes of one viewer");
    }

    fn flush(&self) {
        let mut line = self.0.borrow_mut();
        if line.parked.is_none() && line.closed.is_none() {
            line.flush();
        }
    }

    fn bound_unsent(&self, _bytes: u32) {}

    fn end(&self, reason: CloseReason) {
        self.0.borrow_mut().ended = Some(reason);
    }

    fn close(&self, reason: CloseReason) {
        self.0.borrow_mut().closed = Some(reason);
    }
}

impl std::fmt::Debug for SimWire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ok(line) = self.0.try_borrow() else { return f.write_str("busy") };
        let parked = line.parked.as_ref().map_or(0, |rest| rest.len());
        write!(f, "parked {parked}, private {}, room {}", line.private.len(), line.room)
    }
}
