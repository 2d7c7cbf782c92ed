//! Protocol control messages (§5.4), user control messages (§7.1.7), and the bookkeeping of
//! acknowledgements. Set Chunk Size and Abort act inside [`super::chunk::reader`].

use super::chunk::{DEFAULT_CHUNK_BYTES, csid, type_id, writer::write_message};
use crate::formats::bits::{Reader, Short};
use crate::formats::message::WireTime;

/// What we tell every peer by Set Peer Bandwidth, as SRS does.
pub const PEER_BANDWIDTH_BYTES: u32 = 2_500_000;

/// A control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// §5.4.1, in bytes. Written only: the chunk reader takes it.
    ChunkSize(u32),
    /// §5.4.3: bytes received so far, modulo 2^32.
    Acknowledgement(u32),
    /// §5.4.4: acknowledge each time this many bytes were received.
    WindowAck(u32),
    /// §5.4.5: send at most this many unacknowledged bytes.
    PeerBandwidth {
        /// The window.
        bytes: u32,
        /// 0 hard, 1 soft, 2 dynamic.
        limit: u8,
    },
    /// §7.1.7.
    User(User),
}

/// A user control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// 0: a message stream can be used.
    StreamBegin(u32),
    /// 1: playback of a message stream is over.
    StreamEof(u32),
    /// 2: there is nothing to send for now.
    StreamDry(u32),
    /// 3: how much the player buffers.
    SetBufferLength {
        /// Message stream.
        stream_id: u32,
        /// Milliseconds.
        ms: u32,
    },
    /// 4: the stream is a recording.
    StreamIsRecorded(u32),
    /// 6: to be answered by 7 with the same time.
    PingRequest(u32),
    /// 7.
    PingResponse(u32),
    /// Any other, Flash Media Server's 0x1a with its single byte among them.
    Other(u16),
}

impl Control {
    /// Reads the payload of a message of one of the control types; `None` for other types.
    pub fn read(type_id: u8, payload: &[u8]) -> Result<Option<Control>, Short> {
        let mut r = Reader::new(payload);
        Ok(Some(match type_id {
            type_id::ACKNOWLEDGEMENT => Control::Acknowledgement(r.u32()?),
            type_id::WINDOW_ACK => Control::WindowAck(r.u32()?),
            type_id::PEER_BANDWIDTH => Control::PeerBandwidth { bytes: r.u32()?, limit: r.u8().unwrap_or(2) },
            type_id::USER_CONTROL => Control::User(match r.u16()? {
                0 => User::StreamBegin(r.u32()?),
                1 => User::StreamEof(r.u32()?),
                2 => User::StreamDry(r.u32()?),
                3 => User::SetBufferLength { stream_id: r.u32()?, ms: r.u32()? },
                4 => User::StreamIsRecorded(r.u32()?),
                6 => User::PingRequest(r.u32()?),
                7 => User::PingResponse(r.u32()?),
                other => User::Other(other),
            }),
            _ => return Ok(None),
        }))
    }

    /// Appends this message, whole in one chunk: all of them are shorter than the default chunk size.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut body = [0; 10];
        let mut length = 0;
        let mut put = |bytes: &[u8]| {
            body[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        let id = match *self {
            Control::ChunkSize(bytes) => {
                put(&bytes.to_be_bytes());
                type_id::SET_CHUNK_SIZE
            }
            Control::Acknowledgement(sequence) => {
                put(&sequence.to_be_bytes());
                type_id::ACKNOWLEDGEMENT
            }
            Control::WindowAck(bytes) => {
                put(&bytes.to_be_bytes());
                type_id::WINDOW_ACK
            }
            Control::PeerBandwidth { bytes, limit } => {
                put(&bytes.to_be_bytes());
                put(&[limit]);
                type_id::PEER_BANDWIDTH
            }
            Control::User(user) => {
                let (event, a, b) = match user {
                    User::StreamBegin(id) => (0, Some(id), None),
                    User::StreamEof(id) => (1, Some(id), None),
                    User::StreamDry(id) => (2, Some(id), None),
                    User::SetBufferLength { stream_id, ms } => (3, Some(stream_id), Some(ms)),
                    User::StreamIsRecorded(id) => (4, Some(id), None),
                    User::PingRequest(time) => (6, Some(time), None),
                    User::PingResponse(time) => (7, Some(time), None),
                    User::Other(event) => (event, None, None),
                };
                put(&u16::to_be_bytes(event));
                [a, b].into_iter().flatten().for_each(|v| put(&v.to_be_bytes()));
                type_id::USER_CONTROL
            }
        };
        write_message(out, csid::CONTROL, id, 0, WireTime(0), &[&body[..length]], DEFAULT_CHUNK_BYTES);
    }
}

/// When received bytes are to be acknowledged.
///
/// As in SRS that is at half the window, so that a sender which stops at a full one never does. Without a
/// window no acknowledgement is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgements {
    window: u32,
    received: u64,
    acknowledged: u64,
}

impl Acknowledgements {
    /// Sets the window, in bytes; 0 for none.
    pub const fn set_window(&mut self, bytes: u32) {
        self.window = bytes;
    }

    /// Bytes received so far.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Counts received bytes; the sequence number to acknowledge if it is time. It wraps at 2^32.
    pub const fn on_received(&mut self, bytes: usize) -> Option<u32> {
        self.received += bytes as u64;
        if self.window == 0 || self.received - self.acknowledged < (self.window / 2) as u64 {
            return None;
        }
        self.acknowledged = self.received;
        Some(self.received as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::super::chunk::reader::{ChunkReader, Limits};
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            Control::Acknowledgement(7),
            Control::WindowAck(2_500_000),
            Control::PeerBandwidth { bytes: 2_500_000, limit: 2 },
            Control::User(User::StreamBegin(1)),
            Control::User(User::StreamEof(1)),
            Control::User(User::StreamDry(1)),
            Control::User(User::SetBufferLength { stream_id: 1, ms: 3000 }),
            Control::User(User::StreamIsRecorded(1)),
            Control::User(User::PingRequest(99)),
            Control::User(User::PingResponse(99)),
            Control::User(User::Other(0x1a)),
        ];
        for control in all {
            let mut out = Vec::new();
            control.write(&mut out);
            let m = ChunkReader::new(Limits::default()).read(&mut &out[..]).unwrap().unwrap();
            assert_eq!((m.csid, m.stream_id), (2, 0));
            assert_eq!(Control::read(m.type_id, &m.payload), Ok(Some(control)));
        }
        let mut out = Vec::new();
        Control::ChunkSize(60000).write(&mut out);
        assert_eq!(out, b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\xea\x60");
    }

    #[test]
    fn short_messages_are_errors_and_other_types_are_not_control() {
        assert!(Control::read(3, b"\0\0\0").is_err());
        assert!(Control::read(4, b"\0\x03\0\0\0\x01\0").is_err());
        assert_eq!(Control::read(6, b"\0\0\0\x01"), Ok(Some(Control::PeerBandwidth { bytes: 1, limit: 2 })));
        assert_eq!(Control::read(4, b"\0\x1a\x05"), Ok(Some(Control::User(User::Other(0x1a)))));
        assert_eq!(Control::read(20, b""), Ok(None));
    }

    #[test]
    fn half_a_window_is_acknowledged_and_the_number_wraps() {
        let mut acks = Acknowledgements::default();
        assert_eq!(acks.on_received(1_000_000), None, "no window, no acknowledgement");
        acks.set_window(100);
        assert_eq!(acks.on_received(1), Some(1_000_001));
        assert_eq!(acks.on_received(49), None);
        assert_eq!(acks.on_received(1), Some(1_000_051));
        assert_eq!(acks.on_received(1 << 32), Some(1_000_051), "2^32 bytes later");
    }
}
