//! Fragmented MP4 for Media Source: a moof and mdat per picture or per 100 ms of audio.
//!
//! New parameters of the same tracks bring a new initialisation segment as a unit of its own. Another set of
//! tracks, or another codec, cannot be told within one body: the encoder then writes nothing more, see
//! [`Fmp4::ended`].

use super::tracks::{Audio, Tracks, Video};
use super::{Encode, OpenBlock, Start};
use crate::formats::codec::Codec;
use crate::formats::flv::Role;
use crate::formats::message::{Frame, Kind, MediaTime};
use crate::formats::mp4::boxes::MS_PER_SECOND;
use crate::formats::mp4::fmp4::{AUDIO_TRACK, Sample, VIDEO_TRACK, write_fragment, write_init};
use crate::formats::mp4::{AudioEntry, AudioTrack, VideoEntry, VideoTrack};
use crate::formats::{av1, opus};
use crate::stream::prelude::Prelude;

/// Audio is gathered for this long.
const AUDIO_FRAGMENT_MS: i64 = 100;
/// Frames that are gathered at most, however short they say they are.
const AUDIO_FRAGMENT_FRAMES: usize = 100;
/// Bytes of audio after which a fragment is written, whatever its duration.
const AUDIO_FRAGMENT_BYTES: usize = 256 * 1024;
/// Shortest duration that a picture is given, and that of the first one. A browser takes a step of more than
/// twice the last picture's duration for a break and shows nothing until the next keyframe (Media Source
/// Extensions, coded frame processing, step 6); a camera that drops five pictures of 25 a second froze that way
/// for the rest of each GOP. Pictures follow each other by their times, whatever the duration says.
const MIN_PICTURE_MS: i64 = 250;
/// Longest duration that a picture is given: a pause in the stream is no picture.
const MAX_PICTURE_MS: i64 = 10_000;
/// How long the first frames wait for the other track to show up: MP3, and careless encoders, have no header
/// before the first video frame, and a track that comes later ends the body.
const SETTLE_MS: i64 = 300;
/// Frames that wait at most.
const SETTLE_FRAMES: usize = 100;
/// Bytes of frames that wait at most, the last one apart.
const SETTLE_BYTES: usize = 4 * 1024 * 1024;
/// Millisecond timestamps of equally long audio frames are off the sample grid by rounding. Within this
/// distance the grid is right, beyond it the timestamp.
const GRID_TOLERANCE_MS: i64 = 2;

/// The encoder.
#[derive(Debug, Default)]
pub struct Fmp4 {
    tracks: Tracks,
    described: Option<Described>,
    waiting: Vec<Frame>,
    waiting_since: Option<MediaTime>,
    settled: bool,
    ended: bool,
    sequence: u32,
    last_picture: Option<MediaTime>,
    gathered: Gathered,
}

/// The initialisation segment in force, and what must not change under it.
#[derive(Debug)]
struct Described {
    init: Vec<u8>,
    codecs: (Option<Codec>, Option<Codec>),
    audio_rate_hz: i64,
}

/// Audio frames on their way into a fragment.
#[derive(Debug, Default)]
struct Gathered {
    first: MediaTime,
    first_ticks: i64,
    last_ticks: i64,
    next_ticks: Option<i64>,
    samples: Vec<Sample>,
    data: Vec<u8>,
}

impl Fmp4 {
    /// Whether the set of tracks changed: nothing more will be written, and viewers have to start anew.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// Appends the audio that is gathered: the prelude changes, and a viewer who starts behind that has the new one.
    pub fn before_change(&mut self, out: &mut OpenBlock) {
        self.write_audio(out);
    }
}

impl Encode for Fmp4 {
    fn frame(&mut self, frame: &Frame, prelude: &Prelude, out: &mut OpenBlock) {
        let coded = frame.tag.role.is_coded() && !frame.tag.multitrack;
        if self.ended || !coded || frame.kind == Kind::Data {
            return; // headers are looked at when a frame comes that they matter for
        }
        if self.tracks.follow(prelude) && self.settled {
            self.settled = match (&self.described, Described::of(&self.tracks)) {
                (Some(old), Some(new)) => old.codecs == new.codecs,
                _ => false,
            };
            if self.settled {
                self.describe(frame, out);
            }
        }
        if !self.settled {
            self.wait(frame, out);
        } else if self.tracks.carries(frame) {
            self.write(frame, out);
        }
    }

    fn flush(&mut self, prelude: &Prelude, out: &mut OpenBlock) {
        if !self.ended && !self.settled {
            self.tracks.follow(prelude);
            self.settle(out);
        }
        self.write_audio(out);
    }
}

impl Fmp4 {
    /// Holds the first frames back until both kinds are known or time is up.
    fn wait(&mut self, frame: &Frame, out: &mut OpenBlock) {
        let since = *self.waiting_since.get_or_insert(frame.time);
        if self.tracks.carries(frame) {
            self.waiting.push(frame.clone());
        }
        let waited = frame.time.0.saturating_sub(since.0);
        let complete = self.tracks.video.is_some() && self.tracks.audio.is_some();
        let bytes: usize = self.waiting.iter().map(|frame| frame.payload.len()).sum();
        let full = self.waiting.len() >= SETTLE_FRAMES || bytes >= SETTLE_BYTES;
        if complete || full || !(0..SETTLE_MS).contains(&waited) {
            self.settle(out);
        }
    }

    /// Lets the frames go that waited, with the tracks as they are known now.
    fn settle(&mut self, out: &mut OpenBlock) {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(first) = waiting.iter().find(|frame| self.tracks.carries(frame)) else {
            // Nothing that could be written came in all that time: what the body had is gone.
            self.ended = self.described.is_some();
            self.waiting_since = None;
            return;
        };
        self.settled = self.describe(first, out);
        self.waiting_since = None;
        if self.settled {
            for frame in &waiting {
                if self.tracks.carries(frame) {
                    self.write(frame, out);
                }
            }
        }
    }

    /// Brings the initialisation segment up to the tracks in force. Returns whether frames may follow.
    fn describe(&mut self, frame: &Frame, out: &mut OpenBlock) -> bool {
        let Some(new) = Described::of(&self.tracks) else {
            self.ended = self.described.is_some();
            return false;
        };
        match &self.described {
            // Viewers start with one of their own, see `prelude`.
            None => {}
            Some(old) if old.init == new.init => return true,
            Some(old) if old.codecs != new.codecs => {
                self.write_audio(out);
                self.ended = true;
                return false;
            }
            Some(_) => {
                self.write_audio(out);
                self.gathered.next_ticks = None;
                out.unit(frame.time, frame.kind, false, 0, |out| out.extend_from_slice(&new.init));
            }
        }
        self.described = Some(new);
        true
    }

    fn write(&mut self, frame: &Frame, out: &mut OpenBlock) {
        let (video, audio) = self.described.as_ref().map_or((None, None), |d| d.codecs);
        match frame.kind {
            Kind::Video if video.is_some() => self.write_picture(frame, out),
            Kind::Audio if audio.is_some() => self.gather(frame, out),
            _ => {}
        }
    }

    fn write_picture(&mut self, frame: &Frame, out: &mut OpenBlock) {
        let key = frame.tag.role == Role::Key;
        if key {
            // Audio from before the keyframe is not for those who start at it.
            self.write_audio(out);
        }
        let step = self.last_picture.map(|last| frame.time.0.saturating_sub(last.0));
        let duration = match step {
            Some(step) if step > 0 => step.clamp(MIN_PICTURE_MS, MAX_PICTURE_MS) as u32,
            _ => MIN_PICTURE_MS as u32,
        };
        self.last_picture = Some(frame.time);
        let body = frame.body();
        let sample = Sample {
            duration,
            bytes: body.len() as u32,
            sync: key,
            composition_offset: frame.tag.composition_ms,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let (sequence, time) = (self.sequence, frame.time.0.max(0) as u64);
        out.unit(frame.time, Kind::Video, key, 0, |out| {
            write_fragment(sequence, VIDEO_TRACK, time, &[sample], body, out);
        });
    }

    fn gather(&mut self, frame: &Frame, out: &mut OpenBlock) {
        let Some(rate_hz) = self.described.as_ref().map(|d| d.audio_rate_hz).filter(|rate| *rate > 0) else {
            return;
        };
        let length = frame_samples(self.tracks.audio.as_ref(), frame.body());
        let real = ms_to_ticks(frame.time.0.max(0), rate_hz);
        let tolerance = GRID_TOLERANCE_MS * rate_hz / 1000;
        let on_grid = |next: &i64| (next - real).abs() <= tolerance;
        // The last frame may have been put on the grid a little later than its own time, which this one may share.
        let (last, goes_on) = (self.gathered.last_ticks, self.gathered.next_ticks.is_some());
        let held = if goes_on && (0..=tolerance).contains(&(last - real)) { last } else { real };
        let ticks = self.gathered.next_ticks.filter(on_grid).unwrap_or(held);
        let span = ticks - self.gathered.first_ticks;
        // Never back, and no gap inside a fragment: what is odd begins a new one.
        let next = self.gathered.next_ticks.unwrap_or(ticks);
        let odd = ticks < next || ticks - next > rate_hz / 10;
        let full = self.gathered.samples.len() >= AUDIO_FRAGMENT_FRAMES;
        if odd || full || span > rate_hz {
            self.write_audio(out);
        }
        let g = &mut self.gathered;
        match g.samples.last_mut() {
            Some(before) => before.duration = (ticks - g.last_ticks) as u32,
            None => (g.first, g.first_ticks) = (frame.time, ticks),
        }
        let body = frame.body();
        g.samples.push(Sample {
            duration: length,
            bytes: body.len() as u32,
            sync: true,
            composition_offset: 0,
        });
        g.data.extend_from_slice(body);
        g.last_ticks = ticks;
        let next = ticks + i64::from(length);
        g.next_ticks = Some(next);
        let long = next - g.first_ticks >= ms_to_ticks(AUDIO_FRAGMENT_MS, rate_hz);
        if long || g.data.len() >= AUDIO_FRAGMENT_BYTES {
            self.write_audio(out);
        }
    }

    fn write_audio(&mut self, out: &mut OpenBlock) {
        if self.gathered.samples.is_empty() {
            return;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let (sequence, g) = (self.sequence, &mut self.gathered);
        out.unit(g.first, Kind::Audio, false, 0, |out| {
            write_fragment(sequence, AUDIO_TRACK, g.first_ticks.max(0) as u64, &g.samples, &g.data, out);
        });
        g.samples.clear();
        g.data.clear();
        g.data.shrink_to(AUDIO_FRAGMENT_BYTES);
    }
}

/// The initialisation segment, at first and whenever it changed.
pub fn prelude(prelude: &Prelude, _: &Start, out: &mut Vec<u8>) {
    if let Some(described) = Described::of(&Tracks::of(prelude)) {
        out.extend_from_slice(&described.init);
    }
}

impl Described {
    /// `None` if nothing of the tracks can be carried.
    fn of(tracks: &Tracks) -> Option<Described> {
        let video = tracks.video.as_ref().and_then(video_track);
        let audio = tracks.audio.as_ref().map(audio_track);
        if video.is_none() && audio.is_none() {
            return None;
        }
        let mut init = Vec::with_capacity(1500);
        write_init(video.as_ref(), audio.as_ref(), &mut init);
        let video_codec = video.and(tracks.video.as_ref()).map(Video::codec);
        Some(Described {
            init,
            codecs: (video_codec, tracks.audio.as_ref().map(Audio::codec)),
            audio_rate_hz: audio.map_or(0, |audio| audio.rate_hz.into()),
        })
    }
}

/// `None` if the header does not tell the picture's size.
fn video_track(video: &Video) -> Option<VideoTrack> {
    let (entry, config, (width, height)) = match video {
        Video::H264(config, record) => (VideoEntry::Avc1, record, config.size()?),
        Video::Hevc(config, record) => (VideoEntry::Hvc1, record, config.size()?),
        Video::Av1(av1::Config { size, .. }, record) => (VideoEntry::Av01, record, (*size)?),
    };
    Some(VideoTrack {
        entry,
        config: config.clone(),
        width: u16::try_from(width).ok()?,
        height: u16::try_from(height).ok()?,
    })
}

fn audio_track(audio: &Audio) -> AudioTrack {
    match audio {
        Audio::Aac(config, record) => AudioTrack {
            entry: AudioEntry::Aac(record.clone()),
            rate_hz: config.rate_hz,
            channels: config.channels(),
        },
        Audio::Mp3(header) => AudioTrack {
            entry: AudioEntry::Mp3 { low_rate: header.low_rate },
            rate_hz: header.rate_hz,
            channels: header.channels,
        },
        Audio::Opus(config) => AudioTrack {
            entry: AudioEntry::Opus(config.dops()),
            rate_hz: opus::RATE_HZ,
            channels: config.channels,
        },
    }
}

/// Samples in an audio frame, in the track's timescale.
fn frame_samples(audio: Option<&Audio>, body: &[u8]) -> u32 {
    match audio {
        Some(Audio::Aac(config, _)) => config.frame_samples,
        Some(Audio::Mp3(header)) => header.frame_samples,
        Some(Audio::Opus(_)) => opus::packet_samples(body),
        None => 0,
    }
}

/// Rounded to the nearest tick.
fn ms_to_ticks(ms: i64, rate_hz: i64) -> i64 {
    let per_second = i64::from(MS_PER_SECOND);
    ms.saturating_mul(rate_hz).saturating_add(per_second / 2) / per_second
}
