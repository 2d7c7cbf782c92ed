//! What is published: an FLV file in memory, or a made-up stream, looped with continuous timestamps.

use crate::cli::Source;
use crate::pace::{Beat, Kind as Pace, Loop};
use crate::stamp::Stamper;
use bytes::Bytes;
use srs_shard::formats::flv::{self, Role};
use srs_shard::formats::flv_file;
use srs_shard::formats::message::{Kind, Message, WireTime};
use std::io;
use std::path::Path;

/// A picture's length when a file holds only one.
const USUAL_STEP_MS: i64 = 40;

/// Length of an SEI with a stamp, its length field included.
const STAMP_BYTES: usize = 40;
/// No made-up message is shorter: a picture's header, its stamp, and a slice of two bytes.
const MADE_UP_HEAD_BYTES: usize = 5 + STAMP_BYTES + 4 + 2;
/// FLV tag body with the parameter sets of a baseline stream.
const AVC_HEADER: &[u8] = b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x0a\x67\x42\xc0\x1e\xd9\0\xa0\x47\xfe\xc8\x01\0\x04\x68\xce\x3c\x80";

/// A message of a film.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    pub(crate) kind: Kind,
    /// FLV tag body, with room for a stamp if `stamp_at` says where.
    pub(crate) payload: Vec<u8>,
    pub(crate) stamp_at: Option<usize>,
}

/// A film: what is sent once at the start, and what is looped.
#[derive(Clone, Debug)]
pub(crate) struct Film {
    /// Metadata and sequence headers.
    pub(crate) prelude: Vec<Shot>,
    /// One for each beat of `pace`.
    pub(crate) shots: Vec<Shot>,
    pub(crate) pace: Loop,
}

impl Film {
    /// The film that the options name.
    pub(crate) fn from(source: &Source) -> io::Result<Film> {
        match &source.flv {
            Some(path) => Film::load(path),
            None => Ok(Film::made_up(source.kbps, source.rate)),
        }
    }

    /// Reads an FLV file.
    fn load(path: &Path) -> io::Result<Film> {
        let of_file = |e: String| io::Error::other(format!("{}: {e}", path.display()));
        let bytes = std::fs::read(path).map_err(|e| of_file(e.to_string()))?;
        let messages = flv_file::messages(&bytes).map_err(|e| of_file(e.to_string()))?;
        Film::new(&messages).ok_or_else(|| of_file("holds no audio or video".into()))
    }

    /// A made-up film of this rate: sizes and pace of real H.264 and AAC, with nothing to decode in it.
    fn made_up(kbps: u32, messages_per_second: u32) -> Film {
        let pace = Loop::made_up(kbps, messages_per_second, MADE_UP_HEAD_BYTES);
        let header = |kind, body: &'static [u8]| Message {
            kind,
            time: WireTime(0),
            payload: Bytes::from_static(body),
        };
        let headers = [header(Kind::Video, AVC_HEADER), header(Kind::Audio, b"\xaf\0\x12\x10")];
        let coded = pace.beats.iter().map(|beat| {
            let (kind, mut payload) = match beat.kind {
                Pace::Audio => (Kind::Audio, b"\xaf\x01".to_vec()),
                Pace::Key => (Kind::Video, b"\x17\x01\0\0\0".to_vec()),
                Pace::Video => (Kind::Video, b"\x27\x01\0\0\0".to_vec()),
            };
            if kind == Kind::Video {
                // The stamp is part of the picture's length.
                let unit = beat.bytes.saturating_sub(payload.len() + 4 + STAMP_BYTES).max(2);
                payload.extend_from_slice(&(unit as u32).to_be_bytes());
                payload.push(if beat.kind == Pace::Key { 0x65 } else { 0x41 });
                payload.resize(payload.len() + unit - 1, 0x88);
            } else {
                payload.resize(beat.bytes, 0x21);
            }
            Message { kind, time: WireTime((beat.at_us / 1000) as u32), payload: payload.into() }
        });
        let messages: Vec<Message> = headers.into_iter().chain(coded).collect();
        let film = Film::new(&messages).expect("a made-up loop has at least one picture");
        Film { pace, ..film }
    }

    /// A film of these messages; `None` if none of them is coded audio or video.
    ///
    /// Metadata and sequence headers before the first coded message are the prelude, sent once. Later ones stay
    /// where they are; if there are any, a loop begins with the prelude again.
    fn new(messages: &[Message]) -> Option<Film> {
        let coded = |m: &&Message| m.kind != Kind::Data && is_coded(m);
        let first_ms = i64::from(messages.iter().find(coded)?.time.0);
        let mut stamper = Stamper::default();
        let mut film = Film { prelude: vec![], shots: vec![], pace: Loop { beats: vec![], length_us: 0 } };
        let mut at_ms = 0;
        for message in messages {
            let role = flv::inspect(message.kind, &message.payload).role;
            let shot = shot(message, &mut stamper);
            if film.shots.is_empty() && !is_coded(message) {
                film.prelude.push(shot);
                continue;
            }
            // A file whose times step back is sent in its own order.
            at_ms = (i64::from(message.time.0) - first_ms).max(at_ms);
            let kind = match (message.kind, role) {
                (Kind::Video, Role::Key) => Pace::Key,
                (Kind::Video, _) => Pace::Video,
                _ => Pace::Audio,
            };
            film.pace.beats.push(Beat { at_us: at_ms as u64 * 1000, kind, bytes: shot.payload.len() });
            film.shots.push(shot);
        }
        film.pace.length_us = (at_ms + last_step_ms(messages)) as u64 * 1000;
        if messages.iter().skip(film.prelude.len()).any(|m| m.kind != Kind::Data && !is_coded(m)) {
            let again =
                film.prelude.iter().map(|s| Beat { at_us: 0, kind: Pace::Audio, bytes: s.payload.len() });
            film.pace.beats.splice(0..0, again.collect::<Vec<_>>());
            film.shots.splice(0..0, film.prelude.drain(..));
        }
        Some(film)
    }
}

fn is_coded(message: &Message) -> bool {
    matches!(flv::inspect(message.kind, &message.payload).role, Role::Key | Role::Coded)
}

fn shot(message: &Message, stamper: &mut Stamper) -> Shot {
    let (kind, payload) = (message.kind, message.payload.to_vec());
    match kind {
        Kind::Video => match stamper.make_room(&payload) {
            Some((payload, at)) => Shot { kind, payload, stamp_at: Some(at) },
            None => Shot { kind, payload, stamp_at: None },
        },
        Kind::Audio | Kind::Data => Shot { kind, payload, stamp_at: None },
    }
}

/// How long the last message of the track with the most steps lasts: video's, if there is video.
fn last_step_ms(messages: &[Message]) -> i64 {
    let kind =
        if messages.iter().any(|m| m.kind == Kind::Video && is_coded(m)) { Kind::Video } else { Kind::Audio };
    let times: Vec<i64> =
        messages.iter().filter(|m| m.kind == kind && is_coded(m)).map(|m| i64::from(m.time.0)).collect();
    match (times.first(), times.last()) {
        (Some(first), Some(last)) if last > first => ((last - first) / (times.len() as i64 - 1)).max(1),
        _ => USUAL_STEP_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind, ms: u32, payload: &'static [u8]) -> Message {
        Message { kind, time: WireTime(ms), payload: Bytes::from_static(payload) }
    }

    const HEADER: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1";
    const KEY: &[u8] = b"\x17\x01\0\0\0\0\0\0\x02\x65\x88";
    const INTER: &[u8] = b"\x27\x01\0\0\0\0\0\0\x02\x41\x88";

    #[test]
    fn a_loop_is_one_step_longer_than_its_last_time_and_starts_at_zero() {
        let film = Film::new(&[
            message(Kind::Data, 0, b"\x02\0\x0aonMetaData\x05"),
            message(Kind::Video, 0, HEADER),
            message(Kind::Video, 500, KEY),
            message(Kind::Audio, 510, b"\xaf\x01a"),
            message(Kind::Video, 540, INTER),
            message(Kind::Video, 580, INTER),
        ])
        .expect("there is video");
        assert_eq!(film.prelude.len(), 2);
        let at: Vec<u64> = film.pace.beats.iter().map(|b| b.at_us).collect();
        assert_eq!((at, film.pace.length_us), (vec![0, 10_000, 40_000, 80_000], 120_000));
        let stamped: Vec<bool> = film.shots.iter().map(|s| s.stamp_at.is_some()).collect();
        assert_eq!(stamped, [true, false, true, true]);
    }

    #[test]
    fn a_film_with_new_parameters_begins_each_loop_with_its_first_ones() {
        let film = Film::new(&[
            message(Kind::Video, 0, HEADER),
            message(Kind::Video, 0, KEY),
            message(Kind::Video, 40, b"\x17\0\0\0\0\x01\x4d\0\x1f\xff\xe1"),
            message(Kind::Video, 40, KEY),
        ])
        .expect("there is video");
        assert!(film.prelude.is_empty());
        assert_eq!((film.shots.len(), film.pace.beats.len()), (4, 4));
        assert_eq!(film.shots[0].payload, HEADER);
    }

    #[test]
    fn a_made_up_film_has_the_sizes_of_its_pace_and_a_stamp_in_each_picture() {
        let film = Film::made_up(250, 68);
        assert_eq!((film.prelude.len(), film.shots.len()), (2, 136));
        for (shot, beat) in film.shots.iter().zip(&film.pace.beats) {
            assert_eq!(shot.payload.len(), beat.bytes);
            assert_eq!(shot.stamp_at.is_some(), beat.kind != Pace::Audio);
        }
        let bytes: usize = film.shots.iter().map(|s| s.payload.len()).sum();
        assert!((62_000..=62_500).contains(&bytes), "{bytes}");
    }

    #[test]
    fn times_that_step_back_keep_their_order() {
        let times = [0, 80, 40, 120].map(|ms| message(Kind::Video, ms, KEY));
        let film = Film::new(&times).expect("there is video");
        let at: Vec<u64> = film.pace.beats.iter().map(|b| b.at_us).collect();
        assert_eq!(at, [0, 80_000, 80_000, 120_000]);
        assert!(Film::new(&[message(Kind::Data, 0, b"\x02")]).is_none());
    }
}
