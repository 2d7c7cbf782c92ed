//! Container and codec formats, read and written without I/O: each takes bytes and gives bytes.

pub mod amf0;
pub mod bits;
pub mod flv;
pub mod flv_file;
pub mod message;
pub mod nalu;
