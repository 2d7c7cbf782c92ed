//! Panics and stalls on demand, for the tests that show what they cost. Only in builds with the feature
//! `fault-injection`.

use std::time::Duration;

/// A client that names this stream panics in its connection's task.
const CONNECTION: &str = "__panic_conn__";
/// A stream of this name panics on its owner at its tenth picture.
const STREAM: &str = "__panic_stream__";
const PICTURE: u64 = 10;
/// A client that names this stream, the number of its shard behind it, stalls that shard.
const STALL: &str = "__stall_shard__";
const STALLED: Duration = Duration::from_secs(2);

/// In a connection's task, when it names a stream.
///
/// # Panics
/// If that is the one for it.
pub fn in_connection(stream: &str) {
    assert!(stream != CONNECTION, "injected into a connection");
}

/// Stops a shard as a system call that does not return would, if a client names the stream for it.
pub fn stall(stream: &str, shard: u16) {
    if stream.strip_prefix(STALL).and_then(|number| number.parse().ok()) == Some(shard) {
        log::warn!("shard {shard} stalls for {STALLED:?}");
        std::thread::sleep(STALLED);
    }
}

/// In a stream's handler, at each picture.
///
/// # Panics
/// At the tenth of the stream that is for it.
pub fn in_stream(key: &str, pictures: u64) {
    assert!(pictures != PICTURE || !key.ends_with(STREAM), "injected into a stream");
}
