//! What is said over HTTP beyond the protocol: the player page.

pub mod page;
