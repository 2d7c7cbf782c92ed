//! The corpus of broken timelines, and what holds for any input.
//!
//! A case is a line of messages and a line of outputs. `v40` is a picture, `a23` an audio frame, `d0` data,
//! `V0`/`A0` a sequence header, each with its wire time; `~3000` is a silence of so many milliseconds, `R` a
//! republish. Messages arrive 10 ms apart, which no jump of 250 ms can be explained with.

use super::*;
use proptest::prelude::*;

const CORPUS: &str = include_str!("corpus.txt");

struct Case<'a> {
    name: &'a str,
    jitter: Jitter,
    input: String,
    expected: Vec<i64>,
}

/// `== name [mode]`, then `in` and `out` lines, which may repeat.
fn cases() -> Vec<Case<'static>> {
    let mut cases: Vec<Case> = Vec::new();
    for line in CORPUS.lines() {
        if let Some(head) = line.strip_prefix("== ") {
            let (name, mode) = head.split_once(" [").unwrap_or((head, "full]"));
            let jitter = match mode {
                "full]" => Jitter::Full,
                "zero]" => Jitter::Zero,
                "off]" => Jitter::Off,
                other => panic!("{name}: mode {other}"),
            };
            cases.push(Case { name, jitter, input: String::new(), expected: Vec::new() });
        } else if let Some(rest) = line.strip_prefix("in ") {
            cases.last_mut().unwrap().input += rest;
        } else if let Some(rest) = line.strip_prefix("out ") {
            let times = rest.split_whitespace().map(|t| t.parse::<i64>().expect("a time"));
            cases.last_mut().unwrap().expected.extend(times);
        }
    }
    cases
}

fn run(jitter: Jitter, input: &str) -> Vec<(Kind, i64)> {
    let mut timeline = Timeline::new(jitter);
    let (mut now, mut out) = (1_000_000, Vec::new());
    for token in input.split_whitespace() {
        let (what, time) = token.split_at(1);
        let (kind, role) = match what {
            "~" => {
                now += time.parse::<u64>().unwrap();
                continue;
            }
            "R" => {
                timeline.republish(jitter);
                continue;
            }
            "v" => (Kind::Video, Role::Coded),
            "a" => (Kind::Audio, Role::Coded),
            "V" => (Kind::Video, Role::SequenceHeader),
            "A" => (Kind::Audio, Role::SequenceHeader),
            "d" => (Kind::Data, Role::Other),
            _ => panic!("{token}"),
        };
        now += 10;
        out.push((kind, timeline.place(kind, role, WireTime(time.parse().unwrap()), now).0));
    }
    out
}

#[test]
fn every_broken_timeline_of_the_corpus_comes_out_as_written_there() {
    let cases = cases();
    assert!(cases.len() >= 20);
    let mut wrong = String::new();
    for case in &cases {
        let out: Vec<i64> = run(case.jitter, &case.input).into_iter().map(|(_, t)| t).collect();
        if out != case.expected {
            wrong += &format!(
                "== {}\nin  {}\ngot {}\nnot {}\n",
                case.name,
                case.input,
                list(&out),
                list(&case.expected)
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn list(times: &[i64]) -> String {
    times.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn in_the_corpus_tracks_are_monotonic() {
    for case in cases() {
        let mut floor = [0; 3];
        if case.jitter == Jitter::Off {
            continue;
        }
        for (kind, time) in run(case.jitter, &case.input) {
            let floor = &mut floor[kind as usize];
            assert!(time >= *floor, "{}: {kind:?} {time} after {floor}", case.name);
            *floor = time;
        }
    }
}

/// An encoder with pictures each 40 ms and audio each 23 ms, as messages in the order of sending.
/// `batch` > 0 sends a batch of pictures, then the audio beside them.
fn encoder(messages_ms: i64, batch: i64) -> Vec<(Kind, i64)> {
    let mut all: Vec<(Kind, i64)> = (0..messages_ms / 40).map(|n| (Kind::Video, n * 40)).collect();
    all.extend((0..messages_ms / 23).map(|n| (Kind::Audio, n * 23)));
    all.sort_by_key(|&(kind, t)| (if batch > 0 { t / batch } else { t }, kind == Kind::Audio, t));
    all
}

#[test]
fn a_clean_stream_passes_with_exact_steps_through_both_wraps() {
    for (origin, mask) in [(u32::MAX - 60_000, u32::MAX), ((1 << 31) - 60_000, u32::MAX >> 1), (0, u32::MAX)]
    {
        for jitter in [Jitter::Full, Jitter::Zero, Jitter::Off] {
            let mut timeline = Timeline::new(jitter);
            let base = if jitter == Jitter::Off { i64::from(origin) } else { 0 };
            for (kind, time) in encoder(3 * 3_600_000, 1000) {
                let wire = WireTime((i64::from(origin) + time) as u32 & mask);
                let out = timeline.place(kind, Role::Coded, wire, time as u64);
                assert_eq!(out.0, base + time, "{jitter:?} {origin}");
            }
            assert_eq!(timeline.breaks(), 0);
        }
    }
}

#[test]
fn off_forgets_nothing_at_a_republish_and_atc_is_off() {
    for jitter in [Jitter::Off, Jitter::Atc] {
        let mut timeline = Timeline::new(jitter);
        let mut place = |wire: u32| timeline.place(Kind::Video, Role::Coded, WireTime(wire), 0).0;
        assert_eq!(place(u32::MAX), i64::from(u32::MAX));
        assert_eq!(place(39), (1 << 32) + 39);
        assert_eq!(place(5), (1 << 32) + 5);
        timeline.republish(jitter);
        assert_eq!(timeline.place(Kind::Video, Role::Coded, WireTime(7), 0).0, (1 << 32) + 7);
    }
}

fn any_message() -> impl Strategy<Value = (u8, u32, u64)> {
    let wire = prop_oneof![
        any::<u32>(),
        0..3000u32,
        (1u32 << 24) - 500..(1 << 24) + 500,
        (1u32 << 31) - 500..(1 << 31) + 500,
        u32::MAX - 500..=u32::MAX,
        Just(0),
    ];
    (0..13u8, wire, 0..2000u64)
}

fn what(code: u8) -> (Kind, Role) {
    match code {
        0..5 => (Kind::Audio, Role::Coded),
        5..10 => (Kind::Video, Role::Key),
        10 => (Kind::Data, Role::Other),
        11 => (Kind::Audio, Role::SequenceHeader),
        _ => (Kind::Video, Role::SequenceHeader),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_tracks_are_monotonic_and_full_never_leaps(
        messages in prop::collection::vec(any_message(), 0..400),
        full in any::<bool>(),
        republish in prop::option::of(0..400usize),
    ) {
        let jitter = if full { Jitter::Full } else { Jitter::Zero };
        let mut timeline = Timeline::new(jitter);
        let (mut now, mut floor, mut heard, mut longest_gap) = (0, [0; 3], [0; 3], 0);
        for (n, &(code, wire, gap)) in messages.iter().enumerate() {
            now += gap;
            if republish == Some(n) {
                timeline.republish(jitter);
            }
            let before = timeline.last.unwrap_or(0);
            let (kind, role) = what(code);
            let out = timeline.place(kind, role, WireTime(wire), now).0;
            prop_assert!(out >= floor[kind as usize]);
            floor[kind as usize] = out;
            if role == Role::Coded || role == Role::Key {
                longest_gap = longest_gap.max((now - heard[kind as usize]) as i64);
                heard[kind as usize] = now;
            }
            if full {
                // What a track may do in one step: 4 × the largest usual step, or what the longest silence
                // explains (the other track's too: its jumps are let through on both), and a skew.
                let bound = before + 4 * STEP_MAX_MS + longest_gap + START_SKEW_MS;
                prop_assert!(out <= bound, "{out} after {before}");
            }
        }
    }

    /// Both clocks jump at once, anywhere, by anything, several times: the A–V offset is the encoder's.
    /// Small jumps come 2.5 s apart: two of about one size, there and back within 2 s, count as a return.
    #[test]
    fn after_whole_breaks_the_offset_is_right_to_a_frame(
        jumps in prop::collection::vec((500..6000i64, -5_000_000..5_000_000i64), 1..5),
        small in prop::collection::vec(-1000..1000i64, 4),
        use_small in any::<bool>(),
        batch in prop_oneof![Just(0i64), Just(200), Just(1000)],
    ) {
        let mut timeline = Timeline::new(Jitter::Full);
        let mut base = 3_000_000_000i64;
        let mut now = 0;
        let mut floor = [0; 2];
        for (n, &(length, jump)) in jumps.iter().enumerate() {
            let length = if use_small { length + 2500 } else { length };
            let mut mapping = [None; 2];
            for (kind, time) in encoder(length, batch) {
                now += 10;
                let out = timeline.place(kind, Role::Coded, WireTime((base + time) as u32), now).0;
                prop_assert!(out >= floor[kind as usize]);
                let held = out == floor[kind as usize];
                floor[kind as usize] = out;
                if !held {
                    mapping[kind as usize] = Some(out - time);
                }
            }
            let [Some(audio), Some(video)] = mapping else { continue };
            prop_assert!((audio - video).abs() <= 40, "publish {n}: audio {audio} video {video}");
            base += length + if use_small { small[n % small.len()] } else { jump };
        }
    }

    /// One track is restarted with a clock of its own after a silence: the offset stays within a frame.
    #[test]
    fn a_track_restarted_apart_stays_beside_the_other(
        from in 2000..4000i64, silence in 0..5000i64, clock in 20_000..4_000_000_000i64, audio in any::<bool>(),
    ) {
        let restarted = if audio { Kind::Audio } else { Kind::Video };
        let mut timeline = Timeline::new(Jitter::Full);
        for (kind, time) in encoder(12_000, 0) {
            let gone = kind == restarted && (from..from + silence).contains(&time);
            if gone {
                continue;
            }
            let wire = if kind == restarted && time >= from { clock + time } else { time };
            let out = timeline.place(kind, Role::Coded, WireTime(wire as u32), time as u64).0;
            prop_assert!((out - time).abs() <= 46, "{kind:?} {time} became {out}");
        }
    }
}

#[test]
fn a_break_of_both_tracks_counts_once() {
    let mut timeline = Timeline::new(Jitter::Full);
    for (n, base) in [0u32, 7_000_000, 50].into_iter().enumerate() {
        for (kind, time) in encoder(1000, 0) {
            timeline.place(kind, Role::Coded, WireTime(base + time as u32), 0);
        }
        assert_eq!(timeline.breaks(), n as u64);
    }
}

#[test]
fn two_still_tracks_are_run_by_arrivals_and_one_by_the_other() {
    for still in [&[Kind::Audio, Kind::Video][..], &[Kind::Video]] {
        let mut timeline = Timeline::new(Jitter::Full);
        for (kind, time) in encoder(60_000, 0) {
            let wire = if still.contains(&kind) { 0 } else { time as u32 };
            let out = timeline.place(kind, Role::Coded, WireTime(wire), time as u64).0;
            // Two still clocks were a second late to be found out.
            let late = if still.len() == 2 { 1000 } else { 0 };
            assert!(time < 1100 || (time - out - late).abs() <= 46, "{kind:?} {time} became {out}");
        }
    }
}

#[test]
fn a_publish_after_one_with_absolute_times_goes_on_from_there() {
    let mut timeline = Timeline::new(Jitter::Atc);
    assert_eq!(timeline.place(Kind::Video, Role::Coded, WireTime(3_600_000), 0).0, 3_600_000);
    timeline.republish(Jitter::Full);
    assert_eq!(timeline.place(Kind::Video, Role::Coded, WireTime(0), 10).0, 3_600_010);
}
