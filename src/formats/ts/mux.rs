//! From access units to transport packets: tables, PES, the program clock, continuity.
//!
//! **Clock.** The program clock reference is the decoding time of whichever track is behind, and every PTS and
//! DTS is later by the fixed [`LEAD`]: so data always arrives before it is due, however the tracks are
//! interleaved, and a stream that starts at 0 needs no clock before 0. The reference is carried at least each
//! 100 ms (§2.7.2): where pictures are further apart, packets with nothing but the clock fill in.

use super::pes::{self, Stream};
use super::{CLOCK_WRAP, Counters, PACKET_BYTES, Program, SYNC, psi};

/// How much later than the clock everything is due, in 90 kHz: 100 ms.
pub const LEAD: i64 = 9_000;
/// Tables are repeated after this time at the latest (and before every keyframe), in 90 kHz: 400 ms, with a
/// frame's length to spare to the 500 ms at which analysers complain (ETSI TR 101 290 §5.2.1).
const TABLE_INTERVAL: i64 = 36_000;
/// The clock is carried at least this often, in 90 kHz: 100 ms.
const PCR_INTERVAL: i64 = 9_000;
/// A larger step of the clock, or any back, is a discontinuity, in 90 kHz: 5 s.
const PCR_MAX_STEP: i64 = 450_000;
/// A track that is further behind than this has stopped and holds the clock no more, in 90 kHz: 1 s.
const STALLED: i64 = 90_000;

/// A frame of a track: one access unit of video, one or more frames of audio.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Which track.
    pub stream: Stream,
    /// Decoding starts here.
    pub key: bool,
    /// Presentation time in 90 kHz, unwrapped.
    pub pts: i64,
    /// Decoding time in 90 kHz, unwrapped.
    pub dts: i64,
    /// Byte stream, ADTS or MP3 frames.
    pub payload: &'a [u8],
}

/// Multiplexes one program.
#[derive(Clone, Debug)]
pub struct Mux {
    program: Program,
    counters: Counters,
    /// Tables have to go out before the next frame.
    tables_due: bool,
    /// Where each track and the clock stood at the last tables. Tracks may be interleaved far apart, so that
    /// each measures by its own time.
    tables_video: Option<i64>,
    tables_audio: Option<i64>,
    tables_clock: i64,
    clock: Option<i64>,
    last_video: Option<i64>,
    last_audio: Option<i64>,
    /// Where each track stood when the other last brought a frame.
    video_at_audio: Option<i64>,
    audio_at_video: Option<i64>,
    /// Where the last audio packet went. AAC and MP3 share a counter: on another PID it stands elsewhere.
    audio_pid: Option<u16>,
    pes_header: Vec<u8>,
}

impl Default for Mux {
    fn default() -> Self {
        Mux {
            program: Program::default(),
            counters: Counters::START,
            tables_due: true,
            tables_video: None,
            tables_audio: None,
            tables_clock: 0,
            clock: None,
            last_video: None,
            last_audio: None,
            video_at_audio: None,
            audio_at_video: None,
            audio_pid: None,
            pes_header: Vec::with_capacity(19),
        }
    }
}

impl Mux {
    /// Sets the tracks. New tables go out before the next frame if they changed.
    pub fn set_program(&mut self, program: Program) {
        if self.program == program {
            return;
        }
        if program.video.is_none() {
            self.last_video = None;
        }
        if program.audio.is_none() {
            self.last_audio = None;
        }
        self.program = program;
        self.tables_due = true;
    }

    /// The tracks.
    pub const fn program(&self) -> Program {
        self.program
    }

    /// The continuity counters of the last packets.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Appends a frame, before it tables and clock if they are due. A frame of a track that the program does
    /// not have is left out.
    pub fn write(&mut self, access: &Access<'_>, out: &mut Vec<u8>) {
        let pid = match access.stream {
            Stream::Video if self.program.video.is_some() => Program::VIDEO_PID,
            Stream::Audio if access.payload.len() > pes::MAX_AUDIO_BYTES => return,
            Stream::Audio if self.program.audio.is_some() => self.program.audio_pid(),
            _ => return,
        };
        let (seen, mark) = match access.stream {
            Stream::Video => (&mut self.last_video, &mut self.tables_video),
            Stream::Audio => (&mut self.last_audio, &mut self.tables_audio),
        };
        *seen = Some(access.dts);
        match access.stream {
            Stream::Video => {
                self.audio_at_video = self.last_audio;
                self.video_at_audio.get_or_insert(access.dts);
            }
            Stream::Audio => {
                self.video_at_audio = self.last_video;
                self.audio_at_video.get_or_insert(access.dts);
            }
        }
        let since = access.dts.saturating_sub(*mark.get_or_insert(access.dts));
        // While one track catches up with the other the clock is faster than both.
        let by_clock = self.clock.is_some_and(|now| now.saturating_sub(self.tables_clock) >= TABLE_INTERVAL);
        if access.key || self.tables_due || by_clock || !(0..TABLE_INTERVAL).contains(&since) {
            self.write_tables(out);
        }
        let clock = self.advance_clock(access, pid, out);
        let moved =
            access.stream == Stream::Audio && self.audio_pid.replace(pid).is_some_and(|last| last != pid);
        // §2.4.3.5: on the clock's PID only a packet with the clock may be marked.
        let marked = clock.is_some() || pid != self.program.pcr_pid();
        let first = Adaptation {
            clock: clock.map(|(at, _)| at),
            random_access: access.key && marked,
            discontinuity: moved || clock.is_some_and(|(_, broken)| broken),
        };
        let mut header = std::mem::take(&mut self.pes_header);
        header.clear();
        let pts = access.pts.max(access.dts).saturating_add(LEAD);
        pes::write_header(
            access.stream,
            pts,
            access.dts.saturating_add(LEAD),
            access.payload.len(),
            &mut header,
        );
        let counter = match access.stream {
            Stream::Video => &mut self.counters.video,
            Stream::Audio => &mut self.counters.audio,
        };
        packetize(pid, counter, first, &header, access.payload, out);
        self.pes_header = header;
    }

    /// Appends PAT and PMT.
    fn write_tables(&mut self, out: &mut Vec<u8>) {
        self.tables_due = false;
        (self.tables_video, self.tables_audio) = (self.last_video, self.last_audio);
        self.tables_clock = self.clock.unwrap_or(0);
        self.counters.pat = (self.counters.pat + 1) & 15;
        self.counters.pmt = (self.counters.pmt + 1) & 15;
        psi::write_pat(self.counters.pat, out);
        psi::write_pmt(&self.program, self.counters.pmt, out);
    }

    /// Moves the clock on: writes packets of its own where the step is too long or the frame is not on the
    /// clock's PID, and returns the value that the frame itself is to carry, and whether it breaks with those
    /// before.
    fn advance_clock(&mut self, access: &Access<'_>, pid: u16, out: &mut Vec<u8>) -> Option<(i64, bool)> {
        let on_pid = pid == self.program.pcr_pid();
        // The clock is that of the track behind – unless that brought nothing while this one went on.
        let (other, then) = match access.stream {
            Stream::Video => (self.last_audio, self.video_at_audio),
            Stream::Audio => (self.last_video, self.audio_at_video),
        };
        let stopped = then.is_some_and(|then| access.dts.saturating_sub(then) > STALLED);
        let now = other.filter(|_| !stopped).map_or(access.dts, |other| other.min(access.dts));
        let Some(last) = self.clock else {
            self.clock = Some(now);
            if on_pid {
                return Some((now, false));
            }
            self.write_clock(now, false, out);
            return None;
        };
        let step = now.saturating_sub(last);
        if !(-STALLED..=PCR_MAX_STEP).contains(&step) {
            if !on_pid && step < 0 {
                return None; // the clock's own track will take it back
            }
            self.clock = Some(now);
            if on_pid {
                return Some((now, true));
            }
            // The clock's own track may never come again.
            self.write_clock(now, true, out);
            return None;
        }
        let mut at = last;
        while now - at > PCR_INTERVAL {
            if (at + PCR_INTERVAL).saturating_sub(self.tables_clock) >= TABLE_INTERVAL {
                self.write_tables(out);
                self.tables_clock = at; // the clock that they stand behind
            }
            at += PCR_INTERVAL;
            self.write_clock(at, false, out);
        }
        if on_pid && (now > at || access.key) {
            // A keyframe has to carry the clock even if that stands; it may run ahead of `now` by ticks only.
            at = now.max(at + 1);
            self.clock = Some(at);
            return Some((at, false));
        }
        self.clock = Some(at);
        None
    }

    /// Appends a packet with nothing but the clock, and whether that breaks. It has no payload, so it does not count.
    fn write_clock(&self, clock: i64, discontinuity: bool, out: &mut Vec<u8>) {
        let counter = if self.program.video.is_some() { self.counters.video } else { self.counters.audio };
        let adaptation = Adaptation { clock: Some(clock), discontinuity, ..Adaptation::default() };
        write_adaptation_only(self.program.pcr_pid(), counter, adaptation, out);
    }
}

/// Appends PAT and PMT for a viewer who starts, or goes on after a jump, at a point of the stream where
/// `counters` are those of the last packets before it.
///
/// After a jump each PID's counter breaks; an adaptation field alone says so and does not count (§2.4.3.3), so
/// that the stream's next packet follows on. That goes for a track that the program lacks just now, too: it may
/// have been there before the jump, and come again.
pub fn write_start(program: &Program, counters: Counters, jump: bool, out: &mut Vec<u8>) {
    let broken = Adaptation { discontinuity: true, ..Adaptation::default() };
    if jump {
        write_adaptation_only(psi::PAT_PID, counters.pat.wrapping_sub(1) & 15, broken, out);
        write_adaptation_only(Program::PMT_PID, counters.pmt.wrapping_sub(1) & 15, broken, out);
    }
    psi::write_pat(counters.pat, out);
    psi::write_pmt(program, counters.pmt, out);
    if jump {
        write_adaptation_only(Program::VIDEO_PID, counters.video, broken, out);
        write_adaptation_only(program.audio_pid(), counters.audio, broken, out);
    }
}

/// What an adaptation field says (§2.4.3.4).
#[derive(Clone, Copy, Debug, Default)]
struct Adaptation {
    clock: Option<i64>,
    random_access: bool,
    discontinuity: bool,
}

impl Adaptation {
    fn is_needed(&self) -> bool {
        self.clock.is_some() || self.random_access || self.discontinuity
    }

    /// Bytes of the field with its length byte, before stuffing.
    fn bytes(&self) -> usize {
        match (self.is_needed(), self.clock) {
            (false, _) => 0,
            (true, None) => 2,
            (true, Some(_)) => 8,
        }
    }

    /// Appends the field, stuffed to `bytes` in all.
    fn write(&self, bytes: usize, out: &mut Vec<u8>) {
        let end = out.len() + bytes;
        if bytes > 0 {
            out.push((bytes - 1) as u8);
        }
        if bytes > 1 {
            let flag = |set: bool, bit: u8| u8::from(set) << bit;
            out.push(
                flag(self.discontinuity, 7) | flag(self.random_access, 6) | flag(self.clock.is_some(), 4),
            );
            if let Some(clock) = self.clock {
                // 33 bits of 90 kHz, 6 reserved, 9 of the 27 MHz rest, which milliseconds never have.
                let base = clock.rem_euclid(CLOCK_WRAP) as u64;
                out.extend_from_slice(&((base << 15 | 0x7e00) << 16).to_be_bytes()[..6]);
            }
            out.resize(end, 0xff);
        }
    }
}

fn packetize(pid: u16, counter: &mut u8, first: Adaptation, head: &[u8], body: &[u8], out: &mut Vec<u8>) {
    let (mut head, mut body) = (head, body);
    let (mut adaptation, mut start) = (first, 0x40);
    let [pid_high, pid_low] = pid.to_be_bytes();
    out.reserve((head.len() + body.len()).div_ceil(PACKET_BYTES - 4) * PACKET_BYTES + PACKET_BYTES);
    while !(head.is_empty() && body.is_empty()) {
        *counter = (*counter + 1) & 15;
        let room = PACKET_BYTES - 4 - adaptation.bytes();
        let from_head = head.len().min(room);
        let from_body = body.len().min(room - from_head);
        let field = PACKET_BYTES - 4 - from_head - from_body;
        let control = if field > 0 { 0x30 } else { 0x10 };
        out.extend_from_slice(&[SYNC, start | pid_high, pid_low, control | *counter]);
        adaptation.write(field, out);
        let (now, later) = head.split_at(from_head);
        out.extend_from_slice(now);
        head = later;
        let (now, later) = body.split_at(from_body);
        out.extend_from_slice(now);
        body = later;
        (adaptation, start) = (Adaptation::default(), 0);
    }
}

fn write_adaptation_only(pid: u16, counter: u8, adaptation: Adaptation, out: &mut Vec<u8>) {
    let [pid_high, pid_low] = pid.to_be_bytes();
    out.extend_from_slice(&[SYNC, pid_high, pid_low, 0x20 | counter & 15]);
    adaptation.write(PACKET_BYTES - 4, out);
}
