//! Messages in chunks (Adobe RTMP §5.3): [`reader`] takes them apart, [`writer`] makes them.

pub mod reader;
pub mod writer;

/// Chunk size before a Set Chunk Size message, in bytes (§5.4.1).
pub const DEFAULT_CHUNK_BYTES: u32 = 128;
/// The largest chunk size that makes a difference: a message's length has 24 bits (§5.4.1).
pub const MAX_CHUNK_BYTES: u32 = 0xff_ffff;
/// Timestamps from here on stand in the extended timestamp field (§5.3.1.3).
pub const EXTENDED_TIME: u32 = 0xff_ffff;

/// The id of every message stream, as in SRS: the bytes of a stream are shared by all its players.
pub const STREAM_ID: u32 = 1;

/// Chunk streams of what the server sends, the same for all connections: the ids SRS uses.
pub mod csid {
    use crate::formats::message::Kind;

    /// Protocol control and user control messages (§5.4 demands 2).
    pub const CONTROL: u32 = 2;
    /// Answers to calls on the connection.
    pub const COMMAND: u32 = 3;
    /// Data messages: metadata.
    pub const DATA: u32 = 4;
    /// onStatus and other calls on a message stream.
    pub const STREAM: u32 = 5;
    /// Video.
    pub const VIDEO: u32 = 6;
    /// Audio.
    pub const AUDIO: u32 = 7;

    /// That of a kind of media.
    pub const fn of(kind: Kind) -> u32 {
        match kind {
            Kind::Audio => AUDIO,
            Kind::Video => VIDEO,
            Kind::Data => DATA,
        }
    }
}

/// Message type ids (§5.4, §6.2, §7.1).
pub mod type_id {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control Message.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK: u8 = 5;
    /// Set Peer Bandwidth.
    pub const PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data in AMF3.
    pub const DATA_AMF3: u8 = 15;
    /// Command in AMF3.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data in AMF0.
    pub const DATA: u8 = 18;
    /// Command in AMF0.
    pub const COMMAND: u8 = 20;
    /// Aggregate.
    pub const AGGREGATE: u8 = 22;
}
