//! Bodies of the fuzz targets: each takes any bytes and fails, by a panic, if something that is promised for every
//! input does not hold. No panic is the least of it: what is read and written again must read the same, what is cut
//! anywhere must mean the same, what has a limit must stay below it.
//!
//! `fuzz/` holds one program per target, each of them a call from here, and the inputs: `fuzz/corpus/NAME` is what
//! libFuzzer found worth keeping, `fuzz/regressions/NAME` what once failed. The tests below replay both without it.
//!
//! Compiled for tests and with the feature `fuzzing` only.

pub mod access;
pub mod config;
pub mod formats;
pub mod http;
pub mod hub;
pub mod live;
pub mod rtmp;
pub mod session;
pub mod timeline;

#[cfg(test)]
mod tests;

use std::fmt::Debug;

/// A target: its name, which is that of its program and of its folders of inputs, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 22] = [
    ("aggregate", rtmp::aggregate),
    ("amf0", formats::amf0),
    ("chunk_reader", rtmp::chunk_reader),
    ("chunk_writer", rtmp::chunk_writer),
    ("client", session::client),
    ("codec_headers", formats::codec_headers),
    ("command", rtmp::command),
    ("config", config::config),
    ("control", rtmp::control),
    ("credentials", access::credentials),
    ("flv_file", formats::flv_file),
    ("flv_tag", formats::flv_tag),
    ("handshake", rtmp::handshake),
    ("http_request", http::request),
    ("http_url", http::url),
    ("hub", hub::hub),
    ("live", live::live),
    ("mount", http::mount),
    ("rtmp_url", rtmp::url),
    ("session", session::session),
    ("srs_conf", config::srs_conf),
    ("timeline", timeline::timeline),
];

/// Longer inputs than this are not read byte by byte as well: each byte costs a call.
const BYTE_BY_BYTE: usize = 8 * 1024;

/// Reads bytes in one piece, in two and one by one; whatever comes out must be the same. Where it is cut in two
/// stands in the first two bytes of `data`, the others are what is read.
fn assert_same_however_cut<T: PartialEq + Debug>(data: &[u8], read: impl Fn(&[&[u8]]) -> T) {
    let Some((cut, bytes)) = data.split_first_chunk() else { return };
    let whole = read(&[bytes]);
    let at = usize::from(u16::from_be_bytes(*cut)) % (bytes.len() + 1);
    let (front, back) = bytes.split_at(at);
    assert_eq!(read(&[front, back]), whole, "cut at {at}");
    if bytes.len() <= BYTE_BY_BYTE {
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&single), whole, "byte by byte");
    }
}
