//! RTMP
pub mod chunk;
/// A 24-bit timestamp field with this value is followed by an extended timestamp.
pub const EXTENDED_TIME: u32 = 0xff_ffff;
