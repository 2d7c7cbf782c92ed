//! Foreign input that becomes a publisher: the built-in demo stream.

pub mod demo;
