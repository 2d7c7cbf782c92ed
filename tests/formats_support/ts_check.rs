//! A strict reader of transport streams: anything that ISO 13818-1 or TR 101 290 would object to is a panic.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part of it

use srs_shard::formats::ts::psi::crc32;
use std::collections::BTreeMap;

const WRAP: i64 = 1 << 33;

#[derive(Debug, PartialEq, Eq)]
pub struct Pes {
    pub pid: u16,
    pub pts: i64,
    pub dts: i64,
    pub random_access: bool,
    pub payload: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Report {
    pub pes: Vec<Pes>,
    /// Stream type by PID, as announced last.
    pub streams: BTreeMap<u16, u8>,
    /// PMT versions in order of appearance.
    pub versions: Vec<u8>,
    pub pcr_pid: u16,
    pub pcrs: usize,
    pub discontinuities: usize,
}

#[derive(Default)]
struct Pid {
    counter: Option<u8>,
    broken: bool,
    random_access: bool,
    stream_type: u8,
    pes: Vec<u8>,
}

/// Reads a whole stream.
pub fn check(bytes: &[u8]) -> Report {
    assert_eq!(bytes.len() % 188, 0, "whole packets");
    let mut report = Report::default();
    let mut pids: BTreeMap<u16, Pid> = BTreeMap::new();
    let (mut pcr, mut pmt_pid, mut tables_at): (Option<i64>, Option<u16>, Option<i64>) = (None, None, None);
    for (n, packet) in bytes.chunks(188).enumerate() {
        assert_eq!(packet[0], 0x47, "packet {n}: sync");
        assert_eq!(packet[1] & 0x80, 0, "packet {n}: transport error");
        let (start, pid) = (packet[1] & 0x40 != 0, u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]));
        let (control, counter) = (packet[3] >> 4 & 3, packet[3] & 15);
        assert_eq!(packet[3] >> 6, 0, "packet {n}: not scrambled");
        assert_ne!(control, 0, "packet {n}: reserved");
        let state = pids.entry(pid).or_default();
        let (mut at, mut random_access, mut discontinuity) = (4, false, false);
        if control & 2 != 0 {
            let length = usize::from(packet[4]);
            assert!(
                if control == 2 { length == 183 } else { length <= 182 },
                "packet {n}: adaptation {length}"
            );
            at = 5 + length;
            if length > 0 {
                let flags = packet[5];
                (discontinuity, random_access) = (flags & 0x80 != 0, flags & 0x40 != 0);
                let mut used = 6;
                if flags & 0x10 != 0 {
                    assert_eq!(pid, report.pcr_pid, "packet {n}: a clock on another PID");
                    let base = packet[6..10].iter().fold(0i64, |v, b| v << 8 | i64::from(*b)) << 1
                        | i64::from(packet[10] >> 7);
                    assert_eq!((packet[10] & 0x7f, packet[11]), (0x7e, 0), "packet {n}: no 27 MHz rest");
                    used = 12;
                    if let Some(last) = pcr.filter(|_| !(discontinuity || state.broken)) {
                        let step = (base - last).rem_euclid(WRAP);
                        assert!((1..=9000).contains(&step), "packet {n}: the clock moves by {step}");
                    }
                    pcr = Some(base);
                    report.pcrs += 1;
                }
                assert_eq!(flags & 0x0f, 0, "packet {n}: nothing else in the adaptation field");
                assert!(packet[used..at].iter().all(|b| *b == 0xff), "packet {n}: stuffing");
            }
        }
        report.discontinuities += usize::from(discontinuity);
        let payload = &packet[at..];
        let has_payload = control & 1 != 0;
        if let Some(last) = state.counter {
            let expected = if has_payload { (last + 1) & 15 } else { last };
            assert!(
                counter == expected || discontinuity,
                "packet {n}, PID {pid:#x}: counter {counter}, not {expected}"
            );
        }
        state.counter = Some(counter);
        state.broken = discontinuity || state.broken && !(has_payload && pcr.is_some());
        if !has_payload {
            assert!(!start && !random_access, "packet {n}");
            if discontinuity {
                // What was under way before the jump was finished: units are whole.
                finish(pid, state, &mut report);
            }
            continue;
        }
        assert!(!payload.is_empty(), "packet {n}: payload announced");
        if pid == 0 || Some(pid) == pmt_pid {
            let section = section(n, start, payload);
            if pid == 0 {
                assert_eq!(section[0], 0);
                pmt_pid = Some(u16::from(section[10] & 0x1f) << 8 | u16::from(section[11]));
                if let (Some(last), Some(now)) = (tables_at, pcr) {
                    let step = (now - last).rem_euclid(WRAP);
                    assert!(step <= 45_000 || report.discontinuities > 0, "packet {n}: tables after {step}");
                }
                tables_at = pcr;
            } else {
                pmt(section, &mut report);
            }
            continue;
        }
        assert!(report.streams.contains_key(&pid), "packet {n}: PID {pid:#x} is announced");
        if start {
            finish(pid, state, &mut report);
            state.random_access = random_access;
            state.stream_type = report.streams[&pid];
            if random_access && pid == report.pcr_pid {
                assert_ne!(packet[5] & 0x10, 0, "packet {n}: random access without clock");
            }
            let (dts, now) = (times(payload).1, pcr.expect("a clock before the first frame"));
            let lead = (dts - now).rem_euclid(WRAP);
            assert!(lead < 450_000, "packet {n}: due {lead} after the clock");
        } else {
            assert!(!state.pes.is_empty(), "packet {n}: begins inside a PES");
        }
        state.pes.extend_from_slice(payload);
    }
    for (pid, state) in &mut pids {
        finish(*pid, state, &mut report);
    }
    report.pes.sort_by_key(|pes| pes.pid);
    report
}

fn section(n: usize, start: bool, payload: &[u8]) -> &[u8] {
    assert!(start && payload[0] == 0, "packet {n}: one section per packet");
    let length = usize::from(payload[2] & 0x0f) << 8 | usize::from(payload[3]);
    let section = &payload[1..4 + length];
    assert_eq!(crc32(section), 0, "packet {n}: CRC");
    assert!(payload[4 + length..].iter().all(|b| *b == 0xff), "packet {n}: stuffing");
    assert_eq!(section[1] & 0xf0, 0xb0);
    section
}

fn pmt(section: &[u8], report: &mut Report) {
    assert_eq!(section[0], 2);
    let version = section[5] >> 1 & 31;
    let changed = report.versions.last() != Some(&version);
    if changed {
        report.versions.push(version);
    }
    report.pcr_pid = u16::from(section[8] & 0x1f) << 8 | u16::from(section[9]);
    let mut streams = BTreeMap::new();
    let mut rest = &section[12..section.len() - 4];
    while let [stream_type, high, low, _, info, more @ ..] = rest {
        streams.insert(u16::from(high & 0x1f) << 8 | u16::from(*low), *stream_type);
        rest = &more[usize::from(*info)..];
    }
    assert!(rest.is_empty() && streams.contains_key(&report.pcr_pid));
    assert!(changed || streams == report.streams, "a change needs another version");
    report.streams = streams;
}

/// PTS and DTS of a PES header.
fn times(pes: &[u8]) -> (i64, i64) {
    assert_eq!(pes[..3], [0, 0, 1], "start code");
    assert_eq!(pes[6] >> 6, 2);
    let time = |at: usize, prefix: u8| {
        assert_eq!(pes[at] >> 4, prefix, "prefix");
        assert!(pes[at] & 1 == 1 && pes[at + 2] & 1 == 1 && pes[at + 4] & 1 == 1, "marker bits");
        i64::from(pes[at] >> 1 & 7) << 30
            | i64::from(pes[at + 1]) << 22
            | i64::from(pes[at + 2] >> 1) << 15
            | i64::from(pes[at + 3]) << 7
            | i64::from(pes[at + 4] >> 1)
    };
    match pes[7] >> 6 {
        2 => (time(9, 2), time(9, 2)),
        3 => (time(9, 3), time(14, 1)),
        flags => panic!("PTS_DTS_flags {flags}"),
    }
}

fn finish(pid: u16, state: &mut Pid, report: &mut Report) {
    let pes = std::mem::take(&mut state.pes);
    if pes.is_empty() {
        return;
    }
    let (pts, dts) = times(&pes);
    assert!((pts - dts).rem_euclid(WRAP) < WRAP / 2, "PTS {pts} before DTS {dts}");
    let length = usize::from(pes[4]) << 8 | usize::from(pes[5]);
    assert!(length == 0 && pes.len() > 0xffff || length == pes.len() - 6, "PES length {length}");
    let payload = pes[9 + usize::from(pes[8])..].to_vec();
    match state.stream_type {
        0x1b => assert!(payload.starts_with(&[0, 0, 0, 1, 9]), "delimiter first"),
        0x24 => assert!(payload.starts_with(&[0, 0, 0, 1, 35 << 1]), "delimiter first"),
        0x0f => assert_eq!(payload[..2], [0xff, 0xf1], "ADTS"),
        0x03 | 0x04 => assert_eq!(payload[0], 0xff, "MPEG audio"),
        other => panic!("stream type {other:#x}"),
    }
    let random_access = state.random_access;
    report.pes.push(Pes { pid, pts, dts, random_access, payload });
}
