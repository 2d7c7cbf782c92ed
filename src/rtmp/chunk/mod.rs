//! Chunks.
use super::EXTENDED_TIME;
pub mod writer;
