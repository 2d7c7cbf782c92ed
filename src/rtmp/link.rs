//! What both ends of a connection have in common: the handshake, then one message after another out of chunks
//! and aggregates. Acknowledgements, pings and the peer's window are dealt with here; what is left is for the
//! ends. What is to be sent gathers here, in whole messages.

use super::aggregate::{Aggregate, data, without_amf3_mark};
use super::chunk::reader::{ChunkError, ChunkReader, Limits, RawMessage};
use super::chunk::{DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES, csid, type_id, writer::write_message};
use super::command::{Body, Call, CommandError};
use super::control::{Acknowledgements, Control, User};
use super::handshake::{Agreed, Handshake, HandshakeError};
use crate::formats::bits::Short;
use crate::formats::message::{Kind, Message, WireTime};

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LinkError {
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
}

/// What came.
#[derive(Debug)]
pub(super) enum Received {
    /// The handshake is over.
    Agreed(Agreed),
    /// Audio, video or data, bare of what was wrapped around it.
    Media(Message),
    /// A call, an answer or a status.
    Call(Call),
    /// Protocol or user control.
    Control(Control),
    /// A message that means nothing to anybody here.
    Other,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    /// Only until it is over.
    handshake: Option<Box<dyn Handshake>>,
    reader: ChunkReader,
    /// What is left of the last message, if that was several in one.
    aggregate: Option<Box<Aggregate>>,
    acks: Acknowledgements,
    messages: u32,
    /// Chunk size of what is sent.
    chunk_bytes: u32,
    out: Vec<u8>,
}

impl Link {
    /// A fresh connection; `opening` is what the handshake sends unasked.
    pub(super) fn new(handshake: Box<dyn Handshake>, limits: Limits, opening: Vec<u8>) -> Link {
        Link {
            handshake: Some(handshake),
            reader: ChunkReader::new(limits),
            aggregate: None,
            acks: Acknowledgements::default(),
            messages: 0,
            chunk_bytes: DEFAULT_CHUNK_BYTES,
            out: opening,
        }
    }

    /// Reads up to the end of one message; `None` when all of `input` was taken before.
    pub(super) fn read(&mut self, input: &mut &[u8]) -> Result<Option<Received>, LinkError> {
        if let Some(message) = self.aggregate.as_mut().and_then(|a| a.next()) {
            return Ok(Some(Received::Media(message)));
        }
        self.aggregate = None;
        let before = input.len();
        if let Some(handshake) = &mut self.handshake {
            let agreed = handshake.feed(input, &mut self.out)?;
            self.acks.on_received(before - input.len());
            if agreed.is_some() {
                self.handshake = None;
            }
            return Ok(agreed.map(Received::Agreed));
        }
        let message = self.reader.read(input)?;
        if let Some(sequence) = self.acks.on_received(before - input.len()) {
            self.control(Control::Acknowledgement(sequence));
        }
        let Some(message) = message else { return Ok(None) };
        self.messages = self.messages.wrapping_add(1);
        self.message(message).map(Some)
    }

    fn message(&mut self, m: RawMessage) -> Result<Received, LinkError> {
        let RawMessage { type_id, time, payload, .. } = m;
        let media = match (type_id, Kind::of_type_id(type_id)) {
            (_, Some(kind @ (Kind::Audio | Kind::Video))) => Some(Message { kind, time, payload }),
            (type_id::DATA | type_id::DATA_AMF3, _) => data(time, &payload),
            (type_id::AGGREGATE, _) => {
                let mut aggregate = Aggregate::new(payload, time);
                let first = aggregate.next();
                self.aggregate = first.is_some().then(|| Box::new(aggregate));
                first
            }
            (type_id::COMMAND | type_id::COMMAND_AMF3, _) => {
                return Ok(Received::Call(Call::read(without_amf3_mark(&payload))?));
            }
            _ => {
                let control = Control::read(type_id, &payload);
                let control = control.map_err(|short| LinkError::Control { type_id, short })?;
                return Ok(control.map_or(Received::Other, |control| self.obey(control)));
            }
        };
        Ok(media.map_or(Received::Other, Received::Media))
    }

    fn obey(&mut self, control: Control) -> Received {
        match control {
            Control::WindowAck(bytes) => self.acks.set_window(bytes),
            Control::User(User::PingRequest(time)) => self.control(Control::User(User::PingResponse(time))),
            _ => {}
        }
        Received::Control(control)
    }

    /// Whether the last message has parts that were not given yet.
    pub(super) const fn has_more(&self) -> bool {
        self.aggregate.is_some()
    }

    /// Lets go of them.
    pub(super) fn drop_rest(&mut self) {
        self.aggregate = None;
    }

    /// What the peer may send from here on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.reader.set_limits(limits);
    }

    /// Acknowledges each time so many bytes came, whatever the peer asked for.
    pub(super) const fn set_window(&mut self, bytes: u32) {
        self.acks.set_window(bytes);
    }

    /// Bytes read so far, the handshake included.
    pub(super) const fn bytes_read(&self) -> u64 {
        self.acks.received()
    }

    /// Messages read so far, modulo 2^32.
    pub(super) const fn messages(&self) -> u32 {
        self.messages
    }

    /// Chunk size of what is sent.
    pub(super) const fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// Says how large chunks are from here on, and keeps to it.
    pub(super) fn set_chunk_bytes(&mut self, bytes: u32) {
        self.chunk_bytes = bytes.clamp(DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES);
        self.control(Control::ChunkSize(self.chunk_bytes));
    }

    /// Sends a control message.
    pub(super) fn control(&mut self, control: Control) {
        control.write(&mut self.out);
    }

    /// Sends a call, an answer or a status.
    pub(super) fn command(&mut self, stream_id: u32, body: Body) {
        body.write_command(&mut self.out, stream_id, self.chunk_bytes);
    }

    /// Sends a data message.
    pub(super) fn data(&mut self, stream_id: u32, body: Body) {
        body.write_data(&mut self.out, stream_id, self.chunk_bytes);
    }

    /// Sends a media message, whose payload comes in parts.
    pub(super) fn media(&mut self, kind: Kind, stream_id: u32, time: WireTime, parts: &[&[u8]]) {
        let (csid, type_id) = (csid::of(kind), kind.type_id());
        write_message(&mut self.out, csid, type_id, stream_id, time, parts, self.chunk_bytes);
    }

    /// What messages hold that are not whole yet, or not given yet.
    pub(super) fn unfinished_bytes(&self) -> usize {
        self.reader.heap_bytes() + self.aggregate.as_ref().map_or(0, |a| a.bytes())
    }

    /// What it holds besides itself, once the handshake is over.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        assert!(self.handshake.is_none());
        self.unfinished_bytes() + self.out.capacity()
    }

    /// Bytes that wait to be sent.
    pub(super) const fn output_bytes(&self) -> usize {
        self.out.len()
    }

    /// What is to be sent, in whole messages. Empty if there is nothing.
    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}
