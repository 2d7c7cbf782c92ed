//! Container and codec formats, read and written without I/O: each takes bytes and gives bytes.

pub mod aac;
pub mod amf0;
pub mod av1;
pub mod bits;
pub mod codec;
pub mod describe;
pub mod flv;
pub mod flv_file;
pub mod h264;
pub mod hevc;
pub mod message;
pub mod mp3;
pub mod mp4;
pub mod nalu;
pub mod opus;
pub mod ts;
pub mod vp9;
