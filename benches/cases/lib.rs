//! Steps of a packet's way, each as a case that can be run over and over and checks what it did.
//!
//! `packet.rs` times them (criterion), `instructions.rs` counts their instructions (callgrind), where noise would hide a
//! change; the tests run each once.

pub mod film;
pub mod formats;
pub mod protocol;
pub mod viewers;

use film::Film;

/// One case.
pub struct Case {
    /// `room/step`.
    pub name: &'static str,
    /// Messages, frames, or viewers served, in one run.
    pub elements: u64,
    /// Bytes read or written in one run.
    pub bytes: u64,
    /// Runs it; returns what is checked against `expected`.
    pub run: Box<dyn FnMut() -> u64>,
    /// What each run must return.
    pub expected: u64,
}

impl Case {
    /// Runs it once and checks the answer.
    ///
    /// # Panics
    /// If the answer is wrong: a fast wrong answer is no figure.
    pub fn check(&mut self) {
        let found = (self.run)();
        assert_eq!(found, self.expected, "{}", self.name);
    }
}

/// Makes a case.
pub type Make = fn() -> Case;

/// All cases, in the order of a packet's way.
pub const ALL: &[Make] = &[
    protocol::chunk_read,
    protocol::chunk_read_small_chunks,
    protocol::amf0_read,
    protocol::amf0_write,
    protocol::http_request,
    protocol::flv_inspect,
    formats::rtmp,
    formats::flv,
    formats::ts,
    formats::fmp4,
    protocol::flv_read,
    viewers::own,
    viewers::in_step,
    viewers::merged,
    viewers::catch_up,
];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_case_is_right_more_than_once() {
        for make in ALL {
            let mut case = make();
            assert!(case.elements > 0 && case.bytes > 0 && case.expected > 0, "{}", case.name);
            (0..3).for_each(|_| case.check());
        }
    }
}
