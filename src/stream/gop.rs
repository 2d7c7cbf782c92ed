//! The current GOP as frames: kept so that a format nobody asked for until now starts with a picture too.

use super::settings::Settings;
use super::wire::Wire;
use crate::formats::message::{Frame, MediaTime};

/// Frames since the newest keyframe, that one included.
#[derive(Debug, Default)]
pub struct CurrentGop {
    frames: Vec<Frame>,
    bytes: usize,
}

impl CurrentGop {
    /// Takes a frame in. A GOP above the limits is let go: the next keyframe starts afresh.
    pub fn push(&mut self, frame: Frame, settings: &Settings) {
        if frame.is_key() {
            self.clear();
        } else if self.frames.is_empty() {
            return;
        }
        self.bytes += frame.payload.len() + size_of::<Frame>();
        let began = self.frames.first().map_or(frame.time, |key| key.time);
        let too_long = frame.time.0 - began.0 > i64::from(settings.gop_cache_max_ms);
        if too_long || self.bytes > settings.feed_max_bytes {
            self.clear();
        } else {
            self.frames.push(frame);
        }
    }

    /// Fetches ahead what the next frame's coming touches.
    pub(super) fn fetch_ends<W: Wire>(&self) {
        self.frames.first().into_iter().chain(self.frames.last()).for_each(W::fetch);
    }

    /// Forgets everything: the publish ended.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// The frames, keyframe first; empty if there is none.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Time of the keyframe.
    pub fn start(&self) -> Option<MediaTime> {
        self.frames.first().map(|key| key.time)
    }
}
