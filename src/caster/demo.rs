//! The built-in demo stream: an embedded clip, looped without a seam.
//!
//! Sans-IO: [`DemoStream::poll`] is told the time and gives what is due. Its caller publishes the messages
//! like any publisher's and sleeps until [`DemoStream::next_due`].
//!
//! The clip is 8 s of H.264 (Main, 640x360, 25 fps, no B-frames, a keyframe every 2 s) and AAC-LC (48 kHz,
//! stereo), 350 kbit/s together. 8 s are exactly 200 pictures and 375 AAC frames, so neither track has a gap
//! or a drift where the loop closes; at 44.1 kHz the shortest such clip would be 10.24 s. Everything in it
//! has a period of 8 s, and it is cut from the middle of three rounds, so the sound runs through the encoder's
//! overlapping windows and the seam is not heard. Each second begins with a soft tone, the picture shows the
//! time: that is enough to see latency and hear whether sound and picture agree. Made by ffmpeg 5.1 (lines that end
//! inside quotes are one line):
//!
//! ```text
//! ffmpeg -f lavfi -i "color=black:s=160x90:r=25,format=yuv444p,geq=
//!     lum='78+34*sin(X/34+2*PI*T/8)*cos(Y/27-2*PI*T/8)+14*sin((X+Y)/40+4*PI*T/8)':
//!     cb='138+16*sin(X/50-2*PI*T/8)':cr='118+18*cos(Y/35+X/90+2*PI*T/8)',scale=640:360:flags=bicubic" \
//!   -f lavfi -i "color=white:s=32x32:r=25,format=rgba,geq=
//!     r=250:g=236:b=214:a='255*clip(15.5-hypot(X-15.5,Y-15.5),0,1)'" \
//!   -f lavfi -i "aevalsrc='0.09*exp(-5*mod(t,1))*min(1,200*mod(t,1))*sin(2*PI*t*
//!     (330+110*gte(mod(t,8),4)+55*gte(mod(t,4),2)+110*mod(floor(t),2)))':s=48000:c=mono" \
//!   -filter_complex "[0][1]overlay=x='304+250*sin(2*PI*t/8)':y='164-120*cos(2*PI*t/8)',
//!     drawtext=font='DejaVu Sans':fontsize=84:fontcolor=white@0.92:x=228:y=138:
//!     text='%{eif\:mod(t,8)\:d}.%{eif\:floor(mod(t*25+0.01,25))*4\:d\:2}',
//!     drawtext=font='DejaVu Sans':fontsize=18:fontcolor=white@0.7:x=(w-tw)/2:y=232:
//!     text='srs-shard demo stream',format=yuv420p[v]" -map "[v]" -map 2:a -ac 2 -t 24 \
//!   -c:v libx264 -preset veryslow -profile:v main -bf 0 -g 50 -keyint_min 50 -sc_threshold 0 \
//!   -b:v 280k -maxrate 300k -bufsize 300k -c:a aac -b:a 64k long.mp4
//! ffmpeg -copyts -i long.mp4 -ss 8 -t 8 -output_ts_offset -8 -c copy -metadata title="srs-shard demo" \
//!   -flvflags no_duration_filesize+no_sequence_end demo.flv
//! ```

use crate::formats::flv;
use crate::formats::flv_file;
use crate::formats::message::{Kind, Message, WireTime};
use std::time::Duration;

static CLIP: &[u8] = include_bytes!("demo.flv");
const _: () = assert!(CLIP.len() <= 400_000, "the demo must not weigh on the binary");

/// If a poll comes later than this, the stream goes on from there: it never sends more than this at once, and
/// never leaves anything out.
pub const MAX_CATCH_UP: Duration = Duration::from_secs(1);

/// The demo stream: metadata and sequence headers once, then the clip for ever.
#[derive(Debug)]
pub struct DemoStream {
    /// Metadata and sequence headers, until they were given.
    opening: Vec<Message>,
    clip: Vec<Message>,
    clip_ms: u64,
    rounds: u64,
    /// Index into `clip` of the next message.
    next: usize,
    /// Clock minus media time: grows when polls come too late.
    shift: Duration,
}

impl Default for DemoStream {
    fn default() -> Self {
        DemoStream::new()
    }
}

impl DemoStream {
    /// The stream at its start.
    pub fn new() -> DemoStream {
        let all = flv_file::messages(CLIP).expect("the embedded clip is whole FLV, which a test reads");
        let coded = |m: &Message| flv::inspect(m.kind, &m.payload).role.is_coded();
        let (clip, opening): (Vec<_>, Vec<_>) = all.into_iter().partition(coded);
        let clip_ms = length_ms(&clip);
        DemoStream { opening, clip, clip_ms, rounds: 0, next: 0, shift: Duration::ZERO }
    }

    /// When the next message is due, since the start of the stream.
    pub fn next_due(&self) -> Duration {
        self.shift + Duration::from_millis(self.next_ms())
    }

    /// Appends every message that is due at `now`, the time since the start of the stream. Timestamps go on
    /// from loop to loop, modulo 2^32.
    pub fn poll(&mut self, now: Duration, out: &mut Vec<Message>) {
        let late = now.saturating_sub(self.next_due());
        if late > MAX_CATCH_UP {
            self.shift += late;
        }
        if self.next_due() <= now {
            out.append(&mut self.opening);
        }
        while self.next_due() <= now {
            let time = WireTime(self.next_ms() as u32);
            out.push(Message { time, ..self.clip[self.next].clone() });
            self.next += 1;
            if self.next == self.clip.len() {
                (self.next, self.rounds) = (0, self.rounds + 1);
            }
        }
    }

    fn next_ms(&self) -> u64 {
        self.rounds * self.clip_ms + u64::from(self.clip[self.next].time.0)
    }
}

/// How long the clip is: the longest track's last timestamp and one more step of that track.
fn length_ms(clip: &[Message]) -> u64 {
    let track = |kind| {
        let times = || clip.iter().filter(move |m| m.kind == kind).map(|m| u64::from(m.time.0));
        let (first, last, steps) = (times().next()?, times().last()?, times().count() as u64 - 1);
        Some(last + ((last - first) as f64 / steps.max(1) as f64).round() as u64)
    };
    track(Kind::Video).max(track(Kind::Audio)).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::codec::Codec;
    use crate::formats::flv::Role;
    use proptest::prelude::*;

    fn run(until_ms: u64, mut step_ms: impl FnMut() -> u64) -> Vec<Message> {
        let (mut demo, mut out, mut now) = (DemoStream::new(), Vec::new(), 0);
        loop {
            demo.poll(Duration::from_millis(now), &mut out);
            if now == until_ms {
                return out;
            }
            now = (now + step_ms()).min(until_ms);
        }
    }

    fn of(messages: &[Message], kind: Kind) -> Vec<Message> {
        let coded =
            |m: &&Message| m.kind == kind && flv::inspect(kind, &m.payload).role != Role::SequenceHeader;
        messages.iter().filter(coded).cloned().collect()
    }

    #[test]
    fn the_clip_is_what_it_says() {
        let all = run(7_999, || 40);
        let look = |m: &Message| (m.kind, flv::inspect(m.kind, &m.payload));
        let opening: Vec<_> = all.iter().take(3).map(look).map(|(k, t)| (k, t.codec, t.role)).collect();
        assert_eq!(opening[0].0, Kind::Data);
        assert!(all[0].payload.starts_with(b"\x02\x00\x0aonMetaData"));
        assert!(opening.contains(&(Kind::Video, Codec::H264, Role::SequenceHeader)));
        assert!(opening.contains(&(Kind::Audio, Codec::Aac, Role::SequenceHeader)));
        let (video, audio) = (of(&all, Kind::Video), of(&all, Kind::Audio));
        assert_eq!((video.len(), audio.len()), (200, 375));
        assert_eq!(all.len(), 3 + 575);
        let keys = video.iter().filter(|m| look(m).1.role == Role::Key).map(|m| m.time.0);
        assert_eq!(keys.collect::<Vec<_>>(), [0, 2000, 4000, 6000]);
        assert!(video.iter().all(|m| look(m).1.composition_ms == 0), "no B-frames");
        assert!(all.is_sorted_by_key(|m| m.time));
    }

    #[test]
    fn both_tracks_run_through_the_seam_and_headers_come_once() {
        let all = run(40_000, || 100);
        let (video, audio) = (of(&all, Kind::Video), of(&all, Kind::Audio));
        assert_eq!(all.len() - video.len() - audio.len(), 3);
        for (i, m) in video.iter().enumerate() {
            assert_eq!(m.time.0 as usize, i * 40);
        }
        for (i, m) in audio.iter().enumerate() {
            let exact_ms = i as f64 * 1024.0 / 48.0;
            assert!((f64::from(m.time.0) - exact_ms).abs() <= 1.0, "AAC frame {i} at {} ms", m.time.0);
        }
        assert_eq!((video.len(), audio.len()), (1001, 1876));
        assert_eq!(video[200].payload, video[0].payload);
    }

    #[test]
    fn nothing_comes_before_it_is_due() {
        let mut demo = DemoStream::new();
        let mut out = Vec::new();
        for _ in 0..2000 {
            let due = demo.next_due();
            out.clear();
            if let Some(before) = due.checked_sub(Duration::from_nanos(1)) {
                demo.poll(before, &mut out);
                assert!(out.is_empty(), "at {due:?}");
            }
            demo.poll(due, &mut out);
            assert!(out.iter().all(|m| u128::from(m.time.0) == due.as_millis()));
            assert!(!out.is_empty() && demo.next_due() > due);
        }
    }

    #[test]
    fn a_clock_that_jumps_gets_a_bounded_burst_and_no_hole() {
        let mut demo = DemoStream::new();
        let mut out = Vec::new();
        let mut now = Duration::ZERO;
        for jump_s in [0, 3, 3600, 1, 86_400 * 60] {
            now += Duration::from_secs(jump_s);
            let before = out.len();
            demo.poll(now, &mut out);
            assert!(out.len() - before <= 3 + 75, "{} messages at once", out.len() - before);
            assert!(demo.next_due() > now);
        }
        let video = of(&out, Kind::Video);
        assert!(video.windows(2).all(|w| w[1].time.0 - w[0].time.0 == 40));
    }

    #[test]
    fn timestamps_wrap_at_32_bits() {
        let mut demo = DemoStream::new();
        demo.rounds = (1 << 32) / demo.clip_ms;
        let (mut out, mut now) = (Vec::new(), demo.next_due());
        for _ in 0..10 {
            demo.poll(now, &mut out);
            now += Duration::from_millis(900);
        }
        let video = of(&out, Kind::Video);
        assert!(video.windows(2).all(|w| w[1].time.0.wrapping_sub(w[0].time.0) == 40));
        assert!(video.windows(2).any(|w| w[1].time < w[0].time));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_pace_of_polling_changes_nothing(steps in prop::collection::vec(1u64..1000, 1..50)) {
            let mut steps = steps.iter().cycle();
            prop_assert_eq!(run(20_000, || *steps.next().unwrap()), run(20_000, || 20));
        }
    }
}
