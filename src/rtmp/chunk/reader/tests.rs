use super::*;
use crate::rtmp::chunk::writer::{basic_header, write_message};
use proptest::prelude::*;

fn reader() -> ChunkReader {
    ChunkReader::new(Limits::default())
}

fn read_all(r: &mut ChunkReader, mut input: &[u8]) -> Result<Vec<RawMessage>, ChunkError> {
    let mut messages = Vec::new();
    while let Some(m) = r.read(&mut input)? {
        messages.push(m);
    }
    assert!(input.is_empty());
    Ok(messages)
}

fn brief(messages: &[RawMessage]) -> Vec<(u32, u32, String)> {
    let text = |payload: &Bytes| String::from_utf8_lossy(payload).into_owned();
    messages.iter().map(|m| (m.csid, m.time.0, text(&m.payload))).collect()
}

fn read(input: &[u8]) -> Result<Vec<(u32, u32, String)>, ChunkError> {
    read_all(&mut reader(), input).map(|m| brief(&m))
}

/// A message as the test below writes it: one of the four headers where they say the same.
#[derive(Clone, Debug)]
struct Sent {
    csid: u32,
    time: u32,
    payload: Vec<u8>,
    type_id: u8,
}

/// What the writing end remembers of a chunk stream.
#[derive(Clone, Debug, Default)]
struct Past {
    csid: u32,
    time: u32,
    delta: u32,
    length: usize,
    type_id: u8,
}

/// Writes messages with the shortest header that `fmt` allows, their chunks taking turns.
fn write_interleaved(batch: &[(Sent, u8)], chunk: usize, repeat: bool, past: &mut Vec<Past>) -> Vec<u8> {
    let mut chunks: Vec<std::collections::VecDeque<Vec<u8>>> = Vec::new();
    for (m, shortest) in batch {
        let known = past.iter().position(|p| p.csid == m.csid);
        let p = known.map(|i| past[i].clone()).unwrap_or_default();
        let delta = m.time.wrapping_sub(p.time);
        let same = p.length == m.payload.len() && p.type_id == m.type_id;
        let mut fmt = match known {
            None => 0,
            Some(_) if same && delta == p.delta && delta < EXTENDED_TIME => 3,
            Some(_) if same => 2,
            Some(_) => 1,
        };
        fmt = fmt.min(*shortest);
        // What would be read as the time itself is written as one.
        if delta >= EXTENDED_TIME && delta.wrapping_sub(p.time) < super::NEAR_MS {
            fmt = 0;
        }
        let field = match fmt {
            0 => m.time,
            _ => delta,
        };
        let extended = field >= EXTENDED_TIME;
        let mut queue = std::collections::VecDeque::new();
        for (i, part) in if m.payload.is_empty() { vec![&[][..]] } else { m.payload.chunks(chunk).collect() }
            .into_iter()
            .enumerate()
        {
            let mut out = Vec::new();
            basic_header(&mut out, if i == 0 { fmt } else { 3 }, m.csid);
            if i == 0 && fmt < 3 {
                out.extend_from_slice(&field.min(EXTENDED_TIME).to_be_bytes()[1..]);
                if fmt < 2 {
                    out.extend_from_slice(&(m.payload.len() as u32).to_be_bytes()[1..]);
                    out.push(m.type_id);
                }
                if fmt == 0 {
                    out.extend_from_slice(&1u32.to_le_bytes());
                }
            }
            if extended && (i == 0 || repeat) {
                out.extend_from_slice(&field.to_be_bytes());
            }
            out.extend_from_slice(part);
            queue.push_back(out);
        }
        chunks.push(queue);
        let new =
            Past { csid: m.csid, time: m.time, delta: field, length: m.payload.len(), type_id: m.type_id };
        match known {
            Some(i) => past[i] = new,
            None => past.push(new),
        }
    }
    let mut out = Vec::new();
    while chunks.iter().any(|q| !q.is_empty()) {
        chunks.iter_mut().for_each(|q| out.extend(q.pop_front().unwrap_or_default()));
    }
    out
}

fn any_batches() -> impl Strategy<Value = Vec<Vec<(Sent, u8)>>> {
    // Deltas repeat, wrap and cross the extended limit; payloads never look like a timestamp.
    let times = prop::sample::select(vec![0u32, 40, 40, 40, 0xff_fffe, 0xff_ffff, 0x0100_0000, 0xffff_fff0]);
    let sent = (times, prop::sample::select(vec![0usize, 1, 5, 5, 5, 200, 300]), 8u8..10, 0u8..4);
    let csids = prop::sample::subsequence(vec![2u32, 6, 63, 64, 319, 320, 65599], 1..5);
    let batch = csids.prop_flat_map(move |csids| {
        let n = csids.len();
        prop::collection::vec(sent.clone(), n).prop_map(move |sent| {
            let of = |(i, (time, length, type_id, fmt)): (usize, (u32, usize, u8, u8))| {
                (Sent { csid: csids[i], time, payload: vec![0xee; length], type_id }, fmt)
            };
            sent.into_iter().enumerate().map(of).collect::<Vec<_>>()
        })
    });
    prop::collection::vec(batch, 1..8)
}

proptest! {
    #[test]
    fn any_headers_interleaving_and_cutting_give_the_same_messages(
        mut batches in any_batches(), chunk in 1usize..200, repeat: bool, cut in 1usize..40,
    ) {
        let (mut past, mut clocks) = (Vec::new(), std::collections::HashMap::new());
        let (mut stream, mut sent) = (Vec::new(), Vec::new());
        stream.extend_from_slice(b"\x02\0\0\0\0\0\x04\x01\0\0\0\0");
        stream.extend_from_slice(&(chunk as u32).to_be_bytes());
        for batch in &mut batches {
            for (m, _) in batch.iter_mut() {
                // The times drawn are steps of each chunk stream's clock.
                let clock = clocks.entry(m.csid).or_insert(0u32);
                *clock = clock.wrapping_add(m.time);
                m.time = *clock;
            }
            stream.extend(write_interleaved(batch, chunk, repeat, &mut past));
            sent.extend(batch.iter().map(|(m, _)| m.clone()));
        }
        let whole = read_all(&mut reader(), &stream).unwrap();
        let mut pieces = Vec::new();
        let mut r = reader();
        for piece in stream.chunks(cut) {
            pieces.extend(read_all(&mut r, piece).unwrap());
        }
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(r.position(), stream.len() as u64);
        // Messages end in another order than they began; compare per chunk stream.
        for csid in [2u32, 6, 63, 64, 319, 320, 65599] {
            let got: Vec<_> = whole.iter().filter(|m| m.csid == csid)
                .map(|m| (m.time.0, m.type_id, m.payload.clone())).collect();
            let want: Vec<_> = sent.iter().filter(|m| m.csid == csid)
                .map(|m| (m.time, m.type_id, Bytes::from(m.payload.clone()))).collect();
            prop_assert_eq!(got, want, "csid {}", csid);
        }
    }

    #[test]
    fn what_the_writer_writes_is_read(
        csid in prop::sample::select(vec![2u32, 7, 63, 64, 319, 320, 65599]), time: u32,
        payload in prop::collection::vec(any::<u8>(), 0..600), chunk_bytes in 1u32..300, at in 0usize..600,
    ) {
        let mut out = b"\x02\0\0\0\0\0\x04\x01\0\0\0\0".to_vec();
        out.extend_from_slice(&chunk_bytes.to_be_bytes());
        let (a, b) = payload.split_at(at.min(payload.len()));
        write_message(&mut out, csid, 9, 1, WireTime(time), &[a, b], chunk_bytes);
        let read = read_all(&mut reader(), &out).unwrap();
        let payload = payload.clone().into();
        prop_assert_eq!(read, [RawMessage { csid, type_id: 9, stream_id: 1, time: WireTime(time), payload }]);
    }

    #[test]
    fn garbage_never_panics_and_stays_within_the_limits(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..8, 0xc0u8..0xc8], 0..2000), cut in 1usize..50,
    ) {
        let limits = Limits { max_partial_bytes: 1000, ..Limits::default() };
        let mut r = ChunkReader::new(limits);
        for piece in bytes.chunks(cut) {
            if read_all(&mut r, piece).is_err() {
                break;
            }
            prop_assert!(r.partial_bytes <= 1000);
            prop_assert_eq!(r.partial_bytes, r.streams.iter().map(|s| s.payload.capacity()).sum::<usize>());
        }
    }
}

#[test]
fn fmt_3_starts_messages_with_the_last_delta() {
    let first = b"\x04\0\0\x0a\0\0\x01\x08\x01\0\0\0A";
    let expect = |times: [u32; 4]| {
        let texts = ["A", "B", "C", "D"];
        Ok(times.iter().zip(texts).map(|(t, s)| (4, *t, s.to_owned())).collect::<Vec<_>>())
    };
    // fmt 0 at 10, then fmt 3 twice: 10 is the delta as well. Then fmt 2 sets another.
    assert_eq!(read(&[&first[..], b"\xc4B\xc4C\x84\0\0\x05D"].concat()), expect([10, 20, 30, 35]));
    assert_eq!(read(&[&first[..], b"\x84\0\0\x05B\xc4C\xc4D"].concat()), expect([10, 15, 20, 25]));
    assert_eq!(
        read(&[&first[..], b"\x44\0\0\x07\0\0\x01\x08B\xc4C\x04\0\0\x01\0\0\x01\x08\x01\0\0\0D"].concat()),
        expect([10, 17, 24, 1])
    );
}

#[test]
fn an_extended_time_may_be_repeated_or_not() {
    let set = b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x04";
    let head = b"\x06\xff\xff\xff\0\0\x06\x09\x01\0\0\0\x01\0\0\x05abcd";
    let want = Ok(vec![(6, 0x0100_0005, "abcdef".to_owned())]);
    assert_eq!(read(&[&set[..], head, b"\xc6\x01\0\0\x05ef"].concat()), want);
    assert_eq!(read(&[&set[..], head, b"\xc6ef"].concat()), want, "payload shorter than the field");
    // A payload that begins like the field is not taken for it, in one piece or in two.
    let mut r = reader();
    let parts = [&set[..], head, b"\xc6\x01"].concat();
    assert_eq!(read_all(&mut r, &parts), Ok(vec![]));
    assert_eq!(brief(&read_all(&mut r, b"z\xc6\x01\0\0\x0aA").unwrap()).len(), 1);
    let got = read(&[&set[..], head, b"\xc6\x01z"].concat()).unwrap();
    assert_eq!(got[0].2, "abcd\x01z");
    // A delta may be extended, and is one.
    let delta = b"\x46\xff\xff\xff\0\0\x01\x09\x01\0\0\0X\xc6\x01\0\0\0Y";
    let got = read(&[&b"\x06\0\0\x05\0\0\x01\x09\x01\0\0\0W"[..], delta].concat()).unwrap();
    let times: Vec<u32> = got.iter().map(|m| m.1).collect();
    assert_eq!(times, [5, 0x0100_0005, 0x0200_0005]);
    // Or the time itself, as some senders have it once that does not fit.
    let times = b"\x46\xff\xff\xff\0\0\x01\x09\x01\0\0\x28X\xc6\x01\0\0\x50Y";
    let got = read(&[&b"\x06\xff\xff\xff\0\0\x01\x09\x01\0\0\0\x01\0\0\0W"[..], times].concat()).unwrap();
    let times: Vec<u32> = got.iter().map(|m| m.1).collect();
    assert_eq!(times, [0x0100_0000, 0x0100_0028, 0x0100_0050]);
}

#[test]
fn times_wrap_at_32_bits() {
    let bytes = b"\x06\xff\xff\xff\0\0\x01\x09\x01\0\0\0\xff\xff\xff\xf0A\x86\0\0\x28B\xc6C";
    let times: Vec<u32> = read(bytes).unwrap().iter().map(|m| m.1).collect();
    assert_eq!(times, [0xffff_fff0, 0x18, 0x40]);
}

#[test]
fn a_first_chunk_may_have_fmt_1_but_not_less() {
    // librtmp's ping on chunk stream 2.
    assert_eq!(read(b"\x42\0\0\x01\0\0\x01\x04P").unwrap(), [(2, 1, "P".to_owned())]);
    assert_eq!(read(b"\x86\0\0\0"), Err(ChunkError::NoHeader { csid: 6, fmt: 2, at: 4 }));
    assert_eq!(read(b"\xc6x"), Err(ChunkError::NoHeader { csid: 6, fmt: 3, at: 1 }));
}

#[test]
fn a_message_cannot_be_interrupted_in_its_own_chunk_stream() {
    let set = b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x02";
    let head = b"\x06\0\0\0\0\0\x05\x09\x01\0\0\0ab";
    let error = |fmt, at| Err(ChunkError::Interrupted { csid: 6, fmt, missing_bytes: 3, at });
    assert_eq!(read(&[&set[..], head, head].concat()), error(0, 42));
    assert_eq!(read(&[&set[..], head, b"\x46\0\0\0\0\0\x04\x09cd"].concat()), error(1, 38));
    let ok = Ok(vec![(6, 0, "abcde".to_owned())]);
    assert_eq!(read(&[&set[..], head, b"\x46\0\0\x09\0\0\x05\x09cd\xc6e"].concat()), ok);
}

#[test]
fn abort_forgets_the_message_under_way() {
    let set = b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\x04";
    let head = b"\x06\0\0\0\0\0\x06\x09\x01\0\0\0abcd";
    let abort = b"\x02\0\0\0\0\0\x04\x02\0\0\0\0\0\0\0\x06";
    let next = b"\x06\0\0\x07\0\0\x02\x09\x01\0\0\0xy";
    let mut r = reader();
    let got = read_all(&mut r, &[&set[..], head, abort, next].concat()).unwrap();
    assert_eq!((brief(&got), r.partial_bytes), (vec![(6, 7, "xy".to_owned())], 0));
}

#[test]
fn lengths_streams_and_chunk_sizes_are_bounded() {
    let at = 12;
    let long = b"\x03\0\0\0\xff\xff\xff\x14\0\0\0\0";
    let limit = Limits::default().max_script_bytes;
    assert_eq!(read(long), Err(ChunkError::TooLong { csid: 3, type_id: 20, bytes: 0xff_ffff, limit, at }));
    let mut r = reader();
    assert_eq!(read_all(&mut r, b"\x06\0\0\0\xff\xff\xff\x09\0\0\0\0abc"), Ok(vec![]));
    assert!(r.partial_bytes < 10, "{} bytes for 3 that arrived", r.partial_bytes);
    assert_eq!(read(b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\0"), Err(ChunkError::ChunkSize { at: 16 }));
    assert_eq!(read(b"\x02\0\0\0\0\0\x02\x01\0\0\0\0\0\0"), Err(ChunkError::ChunkSize { at: 14 }));
    let many: Vec<u8> = (0..65u8).flat_map(|i| [0, i, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]).collect();
    assert!(matches!(read(&many), Err(ChunkError::Streams { csid: 128, limit: 64, .. })));
}
