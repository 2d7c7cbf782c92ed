//! The current GOP as frames, so that a format nobody asked for until now starts with a picture too.
//!
//! Frames are kept here only while no format in demand holds messages as they came: where one does, they are read back
//! from its log ([`super::output::Output::gop`]). A stream's bytes are kept once.

use super::settings::Settings;
use crate::formats::message::{Frame, MediaTime};

/// What came since the newest keyframe, that one included.
#[derive(Debug, Default)]
pub struct CurrentGop {
    /// Time of the keyframe.
    began: Option<MediaTime>,
    bytes: usize,
    frames: Vec<Frame>,
}

impl CurrentGop {
    /// Takes a frame in; does not keep it if it is in a log. A GOP above the limits is let go: the next keyframe starts
    /// afresh.
    pub fn push(&mut self, frame: Frame, in_log: bool, settings: &Settings) {
        if frame.is_key() {
            self.clear();
            self.began = Some(frame.time);
        }
        let Some(began) = self.began else { return };
        self.bytes += frame.payload.len() + size_of::<Frame>();
        let too_long = frame.time.0 - began.0 > i64::from(settings.gop_cache_max_ms);
        if too_long || self.bytes > settings.feed_max_bytes {
            self.clear();
        } else if !in_log {
            self.frames.push(frame);
        }
    }

    /// Forgets everything: nobody may start in it any more.
    pub fn clear(&mut self) {
        self.began = None;
        self.bytes = 0;
        self.frames.clear();
    }

    /// The frames kept, keyframe first; empty if there is none, or if a log has them.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// Time of the keyframe.
    pub fn start(&self) -> Option<MediaTime> {
        self.began
    }

    /// A log has them from now on.
    pub fn hand_over(&mut self) {
        self.frames = Vec::new();
    }

    /// No log has them any more: these are what the last one had. If it had none, nobody may start before the next
    /// keyframe.
    pub fn take_back(&mut self, frames: Vec<Frame>) {
        if frames.is_empty() {
            self.clear();
        }
        self.frames = frames;
    }
}

#[cfg(test)]
mod tests {
    use crate::stream::encode::Format;
    use crate::stream::origin::{FeedPosts, Origin};
    use crate::stream::post::{FeedItem, Sub};
    use crate::stream::settings::Settings;
    use crate::stream::testing::{AUDIO_HEADER, Bench, KEY, PICTURE, SOUND, VIDEO_HEADER, VIDEO_HEADER_2};

    const OTHER: Sub = Sub { feed: 7, serial: 7 };

    /// What a format begins with that is asked for now, for the first time.
    fn begin(origin: &mut Origin, format: Format) -> Vec<u8> {
        let mut out = FeedPosts::new();
        origin.subscribe(format, 7, OTHER, 0, 0, &mut out);
        origin.unsubscribe(format, 7, OTHER, 0);
        let Some((.., FeedItem::Start { blocks, .. })) = out.pop() else { panic!("no start") };
        blocks.iter().flat_map(|block| block.bytes.to_vec()).collect()
    }

    fn film(viewed_as: Format) -> Bench {
        let mut bench = Bench::new(viewed_as, Settings::default());
        bench.publish();
        bench.send(0, &[VIDEO_HEADER, AUDIO_HEADER, KEY, SOUND]);
        bench.send(40, &[PICTURE, KEY]);
        bench.send(80, &[PICTURE, SOUND]);
        bench
    }

    #[test]
    fn a_new_format_begins_with_the_same_wherever_the_gop_is_kept() {
        let chunks = |chunk_bytes| Format::Rtmp { chunk_bytes };
        for asked in [Format::Flv, chunks(50)] {
            let mut kept = film(Format::Aac); // holds no messages
            let expected = begin(&mut kept.origin, asked);
            assert_eq!(kept.origin.gop.frames().len(), 3, "kept as frames again");
            assert!(!expected.is_empty());
            let holders = [Format::Flv, chunks(128), chunks(1), chunks(60_000)];
            for viewed_as in holders.into_iter().filter(|format| *format != asked) {
                let mut read_back = film(viewed_as);
                assert!(read_back.origin.gop.frames().is_empty(), "the log has them");
                assert_eq!(begin(&mut read_back.origin, asked), expected, "{asked:?} from {viewed_as:?}");
                // The last viewer of that format leaves, and the next asks for another.
                read_back.origin.unsubscribe(viewed_as, 0, read_back.feed.sub, 0);
                assert_eq!(begin(&mut read_back.origin, asked), expected, "{asked:?} after {viewed_as:?}");
            }
        }
    }

    #[test]
    fn what_a_log_had_lost_is_not_begun_with_after_it() {
        // In chunks of one byte the log is over the limit and lets the keyframe go; the frames themselves are not.
        static BIG_PICTURE: [u8; 4_000] = {
            let mut picture = [0; 4_000];
            (picture[0], picture[1]) = (0x27, 1);
            picture
        };
        let (bytewise, other) = (Format::Rtmp { chunk_bytes: 1 }, Format::Rtmp { chunk_bytes: 50 });
        let mut bench = Bench::new(bytewise, Settings { feed_max_bytes: 12 << 10, ..Settings::default() });
        bench.publish();
        bench.send(0, &[VIDEO_HEADER, KEY]);
        assert!(!begin(&mut bench.origin, other).is_empty());
        bench.send_at(&[40, 80], &BIG_PICTURE);
        bench.send(120, &[PICTURE]);
        assert!(bench.origin.gop.start().is_some());
        assert!(begin(&mut bench.origin, other).is_empty(), "no keyframe");
        bench.origin.unsubscribe(bytewise, 0, bench.feed.sub, 0);
        bench.send(160, &[PICTURE]);
        assert!(begin(&mut bench.origin, other).is_empty(), "nor a picture without one");
        bench.send(200, &[KEY]);
        assert!(!begin(&mut bench.origin, other).is_empty());
    }

    #[test]
    fn nobody_starts_in_a_gop_that_was_let_go() {
        for viewed_as in [Format::Flv, Format::Aac] {
            let mut bench = film(viewed_as);
            bench.send(120, &[VIDEO_HEADER_2, PICTURE]);
            assert!(
                begin(&mut bench.origin, Format::Rtmp { chunk_bytes: 50 }).is_empty(),
                "its frames are for another header"
            );
            bench.send(160, &[KEY]);
            assert!(!begin(&mut bench.origin, Format::Rtmp { chunk_bytes: 50 }).is_empty());
            bench.unpublish();
            assert!(begin(&mut bench.origin, Format::Rtmp { chunk_bytes: 50 }).is_empty());
        }
    }
}
