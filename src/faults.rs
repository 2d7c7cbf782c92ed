//! Panics on demand, for the tests that show what a panic costs. Only in builds with the feature
//! `fault-injection`.

/// A client that names this stream panics in its connection's task.
const CONNECTION: &str = "__panic_conn__";
/// A stream of this name panics on its owner at its tenth picture.
const STREAM: &str = "__panic_stream__";
const PICTURE: u64 = 10;

/// In a connection's task, when it names a stream.
///
/// # Panics
/// If that is the one for it.
pub fn in_connection(stream: &str) {
    assert!(stream != CONNECTION, "injected into a connection");
}

/// In a stream's handler, at each picture.
///
/// # Panics
/// At the tenth of the stream that is for it.
pub fn in_stream(key: &str, pictures: u64) {
    assert!(pictures != PICTURE || !key.ends_with(STREAM), "injected into a stream");
}
