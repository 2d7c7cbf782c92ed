//! When each message of a stream is due, and how long it is: one loop of a stream, repeated without end.

/// What a message is, as far as its size and cadence go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A picture that needs no other.
    Key,
    /// Any other picture.
    Video,
    /// Audio.
    Audio,
}

/// A message of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Microseconds after the loop's start.
    pub(crate) at_us: u64,
    /// Key, video or audio.
    pub(crate) kind: Kind,
    /// Length in bytes.
    pub(crate) bytes: usize,
}

/// One loop of a stream: its messages in the order in which they are due.
#[derive(Clone, Debug)]
pub(crate) struct Loop {
    /// In order of `at_us`, never empty, all below `length_us`.
    pub(crate) beats: Vec<Beat>,
    /// How long a loop lasts.
    pub(crate) length_us: u64,
}

/// Seconds of a made-up loop: one group of pictures.
const GOP_SECONDS: u64 = 2;
/// Of 68 messages a second 25 are pictures, and 43 frames of AAC at 44.1 kHz.
const VIDEO_SHARE: (u64, u64) = (25, 68);
/// A key picture is this many times as long as another: what x264 makes of ordinary scenes.
const KEY_WEIGHT: u64 = 8;
/// The share of the bytes that is audio: 64 of 250 kbit/s.
const AUDIO_SHARE: (u64, u64) = (64, 250);

impl Loop {
    /// A made-up group of pictures of this rate. No message is shorter than `least_bytes`.
    pub(crate) fn made_up(kbps: u32, messages_per_second: u32, least_bytes: usize) -> Loop {
        let length_us = GOP_SECONDS * 1_000_000;
        let messages = u64::from(messages_per_second) * GOP_SECONDS;
        let pictures = (messages * VIDEO_SHARE.0 / VIDEO_SHARE.1).max(1);
        let sounds = messages - pictures;
        let bytes = u64::from(kbps) * 125 * GOP_SECONDS;
        let sound_bytes = if sounds == 0 { 0 } else { bytes * AUDIO_SHARE.0 / AUDIO_SHARE.1 };
        let picture_bytes = (bytes - sound_bytes) / (pictures - 1 + KEY_WEIGHT);
        let spread = |count: u64, kind: Kind, bytes: u64| {
            let beat = move |i| Beat {
                at_us: i * length_us / count,
                kind: if kind == Kind::Video && i == 0 { Kind::Key } else { kind },
                bytes: (bytes * if kind == Kind::Video && i == 0 { KEY_WEIGHT } else { 1 }) as usize,
            };
            (0..count).map(beat)
        };
        let mut beats: Vec<Beat> = spread(pictures, Kind::Video, picture_bytes)
            .chain(spread(sounds, Kind::Audio, sound_bytes / sounds.max(1)))
            .map(|b| Beat { bytes: b.bytes.max(least_bytes), ..b })
            .collect();
        beats.sort_by_key(|b| b.at_us);
        Loop { beats, length_us }
    }
}

/// Steps through a [`Loop`] for ever: `start_ns + laps × length + at`, so no error adds up.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    start_ns: u64,
    lap: u64,
    next: usize,
}

impl Pacer {
    /// The first message of the loop is due at `start_ns`.
    pub(crate) fn new(start_ns: u64) -> Pacer {
        Pacer { start_ns, lap: 0, next: 0 }
    }

    /// When the next message is due.
    pub(crate) fn due_ns(&self, of: &Loop) -> u64 {
        self.start_ns + self.stream_us(of) * 1000
    }

    /// The next message's time on the stream's own timeline, which goes on through all loops.
    pub(crate) fn stream_us(&self, of: &Loop) -> u64 {
        self.lap * of.length_us + of.beats[self.next].at_us
    }

    /// Index of the next message in the loop.
    pub(crate) fn index(&self) -> usize {
        self.next
    }

    /// Goes on to the message after the next one.
    pub(crate) fn step(&mut self, of: &Loop) {
        self.next += 1;
        if self.next == of.beats.len() {
            self.next = 0;
            self.lap += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_stream_has_25_pictures_and_43_sounds_a_second() {
        let made = Loop::made_up(250, 68, 1);
        let of = |k: Kind| made.beats.iter().filter(|b| b.kind == k).count();
        assert_eq!((of(Kind::Key), of(Kind::Video), of(Kind::Audio)), (1, 49, 86));
        assert_eq!(made.beats[0].kind, Kind::Key);
        let bytes: usize = made.beats.iter().map(|b| b.bytes).sum();
        assert!((62_300..=62_500).contains(&bytes), "250 kbit/s for 2 s are 62,500 bytes, not {bytes}");
    }

    #[test]
    fn a_pacer_goes_round_without_drift() {
        let made = Loop::made_up(250, 68, 1);
        let mut pacer = Pacer::new(5_000);
        for _ in 0..1000 * made.beats.len() {
            pacer.step(&made);
        }
        assert_eq!(pacer.due_ns(&made), 5_000 + 1000 * 2_000_000_000);
        assert_eq!(pacer.index(), 0);
    }

    proptest! {
        #[test]
        fn any_rate_gives_a_loop_in_order(kbps in 8u32..100_000, rate in 1u32..10_000) {
            let made = Loop::made_up(kbps, rate, 21);
            prop_assert_eq!(made.beats.len() as u64, u64::from(rate) * GOP_SECONDS);
            prop_assert!(made.beats.windows(2).all(|w| w[0].at_us <= w[1].at_us));
            prop_assert!(made.beats.iter().all(|b| b.at_us < made.length_us && b.bytes >= 21));
        }
    }
}
