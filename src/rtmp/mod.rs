//! RTMP without I/O: bytes in, events and bytes out (Adobe RTMP 1.0; Enhanced RTMP v2 where it touches the
//! protocol and not only the payload).
//!
//! Bottom up: [`handshake`], [`chunk`] (messages in chunks), [`control`] (protocol control and user control
//! messages), [`command`] (the AMF0 calls, typed), [`link`] (what both ends of a connection do), and on top of
//! them the two ends, [`session`] (server) and [`client`]. [`url`] reads vhost, app, stream and parameters.
//!
//! Media towards players does not pass through a session: the stream core encodes it once for all of them,
//! on fixed chunk streams, every message starting with a full header. What a session itself sends are whole
//! messages that start with a full header too, on chunk streams of their own, so the two mix at message
//! boundaries without knowing of each other.
//!
//! Left out: RTMPE, RTMPT, shared objects, AMF3 values (messages of the AMF3 types are read, their AMF0
//! content taken), and several message streams per connection: as in SRS every stream has id 1.

pub(crate) mod aggregate;
pub mod chunk;
pub mod client;
pub mod command;
pub mod control;
pub mod handshake;
pub mod link;
pub mod session;
pub mod url;
