//! HTTP/1.0 and 1.1 without I/O (RFC 9110, RFC 9112): requests in, response heads and framing out.
//!
//! What is said over it – the API, live streams, files – is in [`crate::web`]. Left out on purpose: HTTP/2,
//! trailers (read and dropped), transfer codings other than chunked, multipart ranges, `Date` (as SRS).

pub mod authorization;
pub mod request;
pub mod response;
pub mod url;
