//! The timeline: one stream's time made from whatever times its encoder sends.
//!
//! A stream's *output* time is `unwrapped wire time + shift`. Each track (audio, video) has a shift of its
//! own; while the two are equal, which is nearly always, the encoder's A–V offset passes through untouched.
//! All that can go wrong with an encoder's clock is answered by choosing shifts:
//!
//! 1. **A track stays on its shift** while its output goes on in ordinary steps. Small steps back (to
//!    −250 ms) are held at the last output: tracks never run backward, but may stand still, since several
//!    messages of one time are legal (multitrack, slices).
//! 2. **A jump is a step that is 125 ms off the track's usual one.** The first track to jump decides what
//!    becomes of it: a slow or dropped picture (`Track::tolerates`) is let through, anything else is a
//!    *break* and is closed with a new shift, which lands the track one usual step after its last output –
//!    or as near to the other track as it always was, if that went on meanwhile.
//! 3. **The second track follows the first.** A track that jumps tries the other track's shift before it
//!    makes one; if that lands it beside the other track, both are on one shift again and the offset is the
//!    encoder's. Likewise it lets a jump through that the other track let through. If following would take
//!    it back in time, the common shift is raised for both.
//! 4. **A track that does not jump keeps its shift**, whatever the other does: messages of the old clock that
//!    were still under way (1 s of interleave) stay right, and so does a track whose neighbour alone was
//!    restarted.
//! 5. **A track that jumps right back returns** to the shift it left: single bad timestamps leave no trace.
//! 6. **A clock that stands still** for over a second and 16 messages is replaced by the other track's
//!    output, or by arrivals if that stands still too (encoders that send 0 only, or stick at 0xFFFFFF).
//!
//! Wraps at 2^32 and 2^31 are not breaks: they are undone before all this, in every mode. A wrap at 0xFFFFFF
//! (an encoder without extended timestamps, Adobe RTMP §5.3.1.3) is a break like any other.
//!
//! Only coded media takes part. Sequence headers and data ride along, at the latest output if their own time
//! says nothing sensible; a stream starts with its first coded message, so that a header at 0 before media at
//! an hour costs nothing.

use crate::formats::flv::Role;
use crate::formats::message::{Kind, MediaTime, WireTime};

/// What is done to an encoder's times: `time_jitter` and `atc` of a vhost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// The stream starts at 0 and all breaks are closed.
    #[default]
    Full,
    /// The first time is subtracted, jumps forward are the encoder's own business; breaks backward are
    /// closed, because time would stand still until the encoder had caught up.
    Zero,
    /// Passed through, only unwrapped; tracks run backward if the encoder does, even a little below 0.
    /// Modulo 2^32 an output is the wire time, except behind a wrap at 2^31.
    Off,
    /// As [`Jitter::Off`]: the encoder's absolute times.
    Atc,
}

/// Steps back of more than this, and forward at least of more than this, are breaks (as in SRS).
const BREAK_MS: i64 = 250;
/// A step this far off a track's usual one is looked at: half a break.
const JUMP_MS: i64 = BREAK_MS / 2;
/// How far apart in time messages of two tracks may arrive one after the other: 1 s and a break.
const INTERLEAVE_MS: i64 = 1000 + BREAK_MS;
/// How far apart two tracks may begin and still count as on one clock.
const START_SKEW_MS: i64 = 5000;
/// For so long after a jump, plus two steps, the other track is expected to make the same one.
const RECENT_MS: i64 = 2000;
/// A usual step is at most this; slower pictures are judged by their arrival.
const STEP_MAX_MS: i64 = 2500;
/// The step of a track of which no step is known, and the pause between two publishes (as in SRS).
const STEP_UNKNOWN_MS: i64 = 10;
/// A clock that shows one time for longer than this, and for [`STILL_MESSAGES`], stands still.
const STILL_MS: u64 = 1000;
const STILL_MESSAGES: u8 = 16;
/// A wrap at 2^31 is believed within this (plus the time since the last arrival), one at 2^32 within
/// [`WRAP_32_MS`]: what is farther is a jump of the clock.
const WRAP_31_MS: i64 = 10_000;
const WRAP_32_MS: i64 = 3_600_000;
/// Unwrapped times beyond this (35,000 years) begin anew, so that no arithmetic downstream can overflow.
const RAW_MAX: i64 = 1 << 50;
/// [`Track::lead`] looks back one to two windows of so many messages.
const LEAD_WINDOW: u8 = 64;

/// The timeline of one stream, on its owner shard. Costs a few compares per message, allocates nothing.
#[derive(Clone, Debug)]
pub struct Timeline {
    jitter: Jitter,
    audio: Track,
    video: Track,
    /// Latest output of the data track.
    data_out: i64,
    /// Where the next publish starts.
    start: i64,
    last: Option<i64>,
    breaks: u64,
}

impl Timeline {
    /// The timeline of a stream that nobody has published yet.
    pub fn new(jitter: Jitter) -> Timeline {
        let (audio, video) = (Track::default(), Track::default());
        Timeline { jitter, audio, video, data_out: 0, start: 0, last: None, breaks: 0 }
    }

    /// One message's time on the stream's timeline. `role` tells coded media from what rides along;
    /// `arrived_ms` is a monotonic clock in milliseconds, of any origin.
    ///
    /// In [`Jitter::Full`] and [`Jitter::Zero`] the outputs of each kind never decrease, nor are negative.
    pub fn place(&mut self, kind: Kind, role: Role, wire: WireTime, arrived_ms: u64) -> MediaTime {
        let coded = role.is_coded() && kind != Kind::Data;
        let out = match (self.jitter, coded) {
            (Jitter::Off | Jitter::Atc, _) => self.pass(kind, coded, wire, arrived_ms),
            (_, true) => self.coded(kind, wire, arrived_ms),
            (_, false) => self.aside(kind, wire),
        };
        self.last = Some(self.last.map_or(out, |last| last.max(out)));
        MediaTime(out)
    }

    /// A new publish begins: `full` and `zero` go on 10 ms after the last output with a clock of which
    /// nothing is known; `off` and `atc` pass through as before.
    pub fn republish(&mut self, jitter: Jitter) {
        self.jitter = jitter;
        if matches!(self.jitter, Jitter::Off | Jitter::Atc) {
            return;
        }
        self.start = self.last.map_or(0, |last| last + STEP_UNKNOWN_MS);
        self.audio.forget_clock();
        self.video.forget_clock();
    }

    /// How many breaks were closed with a new shift, for statistics. A break of both tracks counts once.
    pub fn breaks(&self) -> u64 {
        self.breaks
    }

    /// Off and atc: unwrap, no more.
    fn pass(&mut self, kind: Kind, coded: bool, wire: WireTime, arrived_ms: u64) -> i64 {
        let near = match kind {
            Kind::Audio if self.audio.live => &self.audio,
            Kind::Video if self.video.live => &self.video,
            _ => self.newest(),
        };
        let raw = near.unwrap(wire, near.gap(arrived_ms));
        if coded {
            let (track, _) = self.tracks(kind);
            let first = !track.live;
            track.see(first, wire, raw, arrived_ms);
            (track.live, track.out) = (true, raw);
        }
        raw
    }

    /// Headers and data: on the clock of the newest media, if that makes sense, never ahead of it and
    /// never the cause of anything.
    fn aside(&mut self, kind: Kind, wire: WireTime) -> i64 {
        let near = self.newest();
        let latest = if near.live { near.out } else { self.start };
        match kind {
            Kind::Data => {
                let landing = if near.live { near.unwrap(wire, 0) + near.shift } else { latest };
                let out = if (latest - INTERLEAVE_MS..latest).contains(&landing) { landing } else { latest };
                self.data_out = self.data_out.max(out);
                self.data_out
            }
            // Between two coded messages a header has no time of its own: it must not push the next one.
            _ => {
                let (track, _) = self.tracks(kind);
                if !track.live {
                    track.out = track.out.max(latest);
                }
                track.out
            }
        }
    }

    /// Coded media: the rules of the module's head.
    fn coded(&mut self, kind: Kind, wire: WireTime, arrived_ms: u64) -> i64 {
        let (jitter, start) = (self.jitter, self.start);
        let (track, other) = self.tracks(kind);
        let gap = track.gap(arrived_ms);
        let raw = if track.live { track.unwrap(wire, gap) } else { other.unwrap(wire, gap) };
        let first = !track.live;
        let leap = raw - track.raw - track.step();
        let behind = track.out - (raw + track.shift);
        let broke = if first {
            track.begin(raw, other, start)
        } else if track.stands_still(wire, arrived_ms) {
            track.run_by(raw, gap, arrived_ms, other)
        } else if leap.abs() > JUMP_MS || behind > 2 * BREAK_MS {
            track.jump(jitter, raw, gap, arrived_ms, other)
        } else {
            false
        };
        let out = (raw + track.shift).max(track.out);
        track.learn(first, out, other);
        track.see(first, wire, raw, arrived_ms);
        self.breaks += u64::from(broke);
        out
    }

    fn tracks(&mut self, kind: Kind) -> (&mut Track, &mut Track) {
        match kind {
            Kind::Audio => (&mut self.audio, &mut self.video),
            _ => (&mut self.video, &mut self.audio),
        }
    }

    /// The track whose clock counts for what has none of its own.
    fn newest(&self) -> &Track {
        let (a, v) = (&self.audio, &self.video);
        if a.live && (!v.live || a.arrived_ms > v.arrived_ms) { a } else { v }
    }
}

/// Audio or video: its clock, and how that maps to output.
#[derive(Clone, Debug, Default)]
struct Track {
    /// Whether a coded message was seen in this publish.
    live: bool,
    /// The last wire time, and what it was unwrapped to.
    wire: WireTime,
    raw: i64,
    /// Output = raw + shift.
    shift: i64,
    /// The shift left last; when the present one was taken, in output and in arrival time.
    left: Option<i64>,
    moved_at: i64,
    moved_ms: u64,
    /// The last output, which is a floor for the next one.
    out: i64,
    /// A jump that was let through: how far off the usual step it was, and the output before it.
    tolerated: Option<(i64, i64)>,
    /// The usual step in 1/16 ms; 0: not known yet.
    step_16: i64,
    arrived_ms: u64,
    /// When the wire time changed last, and how many messages had the same one since.
    ticked_ms: u64,
    still: u8,
    /// Whether [`Track::run_by`] gives this track its time.
    driven: bool,
    lead: Lead,
}

impl Track {
    /// The first coded message of a publish on this track. Returns whether its clock differs from the
    /// other track's.
    fn begin(&mut self, raw: i64, other: &Track, start: i64) -> bool {
        self.live = true;
        if !other.live {
            self.shift = start.max(self.out) - raw;
            return false;
        }
        (self.moved_at, self.moved_ms) = (other.moved_at, other.moved_ms);
        let beside = |shift: &i64| (raw + shift - other.out).abs() <= START_SKEW_MS;
        let known = Some(other.shift).filter(beside).or(other.left.filter(beside));
        self.shift = known.unwrap_or(other.out.max(self.out) - raw);
        known.is_none()
    }

    /// A clock that stands still: time is the other track's if that moves, else that of the arrivals.
    /// Returns whether this begins here.
    fn run_by(&mut self, raw: i64, gap: i64, arrived_ms: u64, other: &Track) -> bool {
        let moves = other.gap(arrived_ms) <= STILL_MS as i64 && !other.stands_still(other.wire, arrived_ms);
        let to = if other.live && moves { other.out } else { self.out + gap };
        let begins = !self.driven;
        self.driven = true;
        self.shift = to.max(self.out) - raw;
        (self.moved_at, self.moved_ms) = (self.out, arrived_ms);
        begins
    }

    /// A step that is not the usual one: which shift is right for it? Returns whether a new one was made.
    fn jump(&mut self, jitter: Jitter, raw: i64, gap: i64, arrived_ms: u64, other: &mut Track) -> bool {
        let expected = self.out + self.step();
        let off = |shift: i64| raw + shift - expected;
        let off_stay = off(self.shift);
        let leap = raw - self.raw - self.step();
        let tolerable = self.tolerates(raw + self.shift - self.out, gap);

        // Rule 5: closely, since two small breaks in a row look much like it.
        let returns = self.left.filter(|&shift| {
            self.out - self.moved_at <= RECENT_MS
                && off(shift).abs() <= JUMP_MS
                && off(shift).abs() * 4 < off_stay.abs()
        });
        // Rule 3: while the other track's jump is fresh, a break may land anywhere within the interleave; a
        // step that could be let through as well, or a late follower, must fit closely.
        let follows = Some(other.shift).filter(|&shift| {
            let since = self.out.max(other.out) - self.moved_at.max(other.moved_at);
            let recent = since <= RECENT_MS + 2 * self.step() || other.moved_ms > self.arrived_ms;
            other.live
                && shift != self.shift
                && off(shift).abs() * 2 < off_stay.abs()
                && match (tolerable, recent) {
                    (true, false) => false,
                    (false, true) => {
                        (raw + shift - other.out).abs() <= INTERLEAVE_MS && off(shift) >= -INTERLEAVE_MS
                    }
                    _ => off(shift).abs() <= BREAK_MS,
                }
        });
        match (follows, returns) {
            (Some(follow), Some(back)) if off(back).abs() < off(follow).abs() => {
                self.move_to(back, arrived_ms)
            }
            (Some(follow), _) => {
                let raise = -off(follow);
                let back = self.left == Some(follow);
                self.move_to(follow, arrived_ms);
                if raise > 0 && !back {
                    // Had the first to jump known, it would have landed so much later.
                    self.shift += raise;
                    other.shift += raise;
                    other.out += raise;
                }
            }
            (None, Some(back)) => self.move_to(back, arrived_ms),
            (None, None) => {
                let as_other = other.tolerated.is_some_and(|(size, at)| {
                    (size - leap).abs() <= JUMP_MS && other.out - at <= RECENT_MS + 2 * other.step()
                });
                if tolerable || as_other || (jitter == Jitter::Zero && off_stay > 0) {
                    self.tolerated = Some((leap, self.out));
                    return false;
                }
                let beside = if other.live { other.out + self.lead.least() } else { expected };
                self.move_to(expected.max(beside) - raw, arrived_ms);
                return true;
            }
        }
        false
    }

    /// Whether a step may be a slow or dropped picture: not far back, and forward not above all of 250 ms,
    /// 4 × the usual step, and what the arrivals explain.
    fn tolerates(&self, step: i64, gap: i64) -> bool {
        step >= -BREAK_MS && step <= BREAK_MS.max(4 * self.step()).max(gap + BREAK_MS)
    }

    fn move_to(&mut self, shift: i64, arrived_ms: u64) {
        self.left = Some(self.shift);
        self.shift = shift;
        (self.moved_at, self.moved_ms) = (self.out, arrived_ms);
    }

    /// Takes note of an output.
    fn learn(&mut self, first: bool, out: i64, other: &Track) {
        let step = out - self.out;
        if step > 0 && !first {
            // An outlier counts as twice the usual step: a mean that one pause cannot carry away.
            let step_16 = step.min(STEP_MAX_MS) * 16;
            self.step_16 = match self.step_16 {
                0 => step_16,
                usual if step_16 < usual => usual - (usual - step_16) / 4,
                usual => usual + (step_16.min(2 * usual) - usual) / 8,
            };
        }
        self.out = out;
        if other.live {
            self.lead.note(out - other.out);
        }
    }

    /// Takes note of a message as it came.
    fn see(&mut self, first: bool, wire: WireTime, raw: i64, arrived_ms: u64) {
        if wire == self.wire && !first {
            self.still = self.still.saturating_add(1);
        } else {
            self.still = 0;
            self.ticked_ms = arrived_ms;
            self.driven = false;
        }
        (self.wire, self.raw, self.arrived_ms) = (wire, raw, arrived_ms);
    }

    fn stands_still(&self, wire: WireTime, arrived_ms: u64) -> bool {
        wire == self.wire
            && self.still >= STILL_MESSAGES
            && arrived_ms.saturating_sub(self.ticked_ms) > STILL_MS
    }

    fn forget_clock(&mut self) {
        *self = Track { out: self.out, ..Track::default() };
    }

    fn step(&self) -> i64 {
        if self.step_16 == 0 { STEP_UNKNOWN_MS } else { (self.step_16 + 8) / 16 }
    }

    /// Milliseconds since this track's last arrival; a day at most.
    fn gap(&self, arrived_ms: u64) -> i64 {
        if self.live { arrived_ms.saturating_sub(self.arrived_ms).min(86_400_000) as i64 } else { 0 }
    }

    /// The wire time next to this track's last one that `wire` stands for.
    fn unwrap(&self, wire: WireTime, gap: i64) -> i64 {
        if !self.live {
            return i64::from(wire.0);
        }
        let step_32 = i64::from(wire.0.wrapping_sub(self.wire.0) as i32);
        // Sign-extended from 31 bits.
        let step_31 = i64::from((wire.0.wrapping_sub(self.wire.0) << 1) as i32 >> 1);
        let masked = (wire.0 | self.wire.0) >> 31 == 0;
        let raw = if step_32.abs() <= WRAP_32_MS + gap {
            self.raw + step_32
        } else if masked && step_31.abs() <= WRAP_31_MS + gap {
            self.raw + step_31
        } else {
            // No wrap but a jump: the same turn of the clock.
            self.raw - i64::from(self.wire.0) + i64::from(wire.0)
        };
        if raw.abs() < RAW_MAX { raw } else { i64::from(wire.0) }
    }
}

/// How far ahead of the other track's outputs a track's are, at least, over the last one to two windows:
/// −1 s for audio that comes a second late, about 0 for a track in step.
#[derive(Clone, Debug, Default)]
struct Lead {
    this: Option<i64>,
    before: Option<i64>,
    count: u8,
}

impl Lead {
    fn note(&mut self, lead: i64) {
        self.this = Some(self.this.map_or(lead, |least| least.min(lead)));
        self.count += 1;
        if self.count == LEAD_WINDOW {
            *self = Lead { before: self.this, ..Lead::default() };
        }
    }

    fn least(&self) -> i64 {
        self.this.into_iter().chain(self.before).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
