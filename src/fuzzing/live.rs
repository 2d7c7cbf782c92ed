//! A stream's frames as every live format, read back from it.

#[path = "../../tests/formats_support/ts_check.rs"]
mod ts_check;

use crate::formats::bits::Reader;
use crate::formats::codec::Codec;
use crate::formats::flv::{Role, inspect};
use crate::formats::flv_file::{Event, FlvReader, MAX_BODY_BYTES, messages};
use crate::formats::message::{Frame, Kind, MediaTime, WireTime};
use crate::formats::ts::mux::LEAD;
use crate::rtmp::chunk::reader::{ChunkReader, Limits};
use crate::rtmp::control::Control;
use crate::stream::encode::tracks::Tracks;
use crate::stream::encode::{
    CHUNK_HEAD, CHUNK_TAIL, Encode, Encoder, Format, OpenBlock, Start, Unit, prelude,
};
use crate::stream::prelude::Prelude;
use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use std::sync::LazyLock;

/// Real sequence headers: H.264, HEVC, AV1, AAC, Opus; and the MP3 that goes without.
static HEADERS: LazyLock<Vec<(Kind, Bytes)>> = LazyLock::new(|| {
    let clips: [&[u8]; 3] = [
        include_bytes!("../../tests/data/h264_aac.flv"),
        include_bytes!("../../tests/data/hevc_aac.flv"),
        include_bytes!("../../tests/data/av1_opus.flv"),
    ];
    let all = clips.into_iter().flat_map(|clip| messages(clip).expect("a clip is FLV"));
    let is_header = |kind, payload: &[u8]| inspect(kind, payload).role == Role::SequenceHeader;
    all.filter(|m| is_header(m.kind, &m.payload)).map(|m| (m.kind, m.payload)).collect()
});

const RTMP: Format = Format::Rtmp { chunk_bytes: 1000 };

/// Frames as an encoder might send them, times mended as the timeline mends them: what each format carries of them
/// is read back from its bytes, frame for frame, by readers that know nothing of the writers.
pub fn live(data: &[u8]) {
    let frames = frames(&mut Unstructured::new(data));
    for format in [RTMP, Format::Flv, Format::Ts, Format::Aac, Format::Mp3, Format::Fmp4] {
        let (mut encoder, mut block) = (Encoder::new(format), OpenBlock::new(format));
        let (mut preludes, mut before) = (Vec::new(), &Prelude::default());
        for (frame, in_force) in &frames {
            if before.version != in_force.version {
                encoder.before_change(&mut block); // as an output does: a block has one prelude
                preludes.resize(block.units.len(), before);
            }
            encoder.frame(frame, in_force, &mut block);
            preludes.resize(block.units.len(), in_force);
            before = in_force;
        }
        if let Some((_, last)) = frames.last() {
            encoder.flush(last, &mut block);
            preludes.resize(block.units.len(), last);
        }
        let units = bare_units(format, &block);
        let Some((first, in_force)) = block.units.first().zip(preludes.first()) else { continue };
        let start = Start { first: true, time: first.time, counters: first.counters };
        let mut body = Vec::new();
        prelude(format, in_force, &start, &mut body);
        units.iter().for_each(|unit| body.extend_from_slice(unit));
        match format {
            Format::Rtmp { chunk_bytes } => rtmp(&units, &frames, chunk_bytes),
            Format::Flv => flv(&units, &body, &frames),
            Format::Ts => ts(&body, &block.units, &frames),
            Format::Aac => bodies(&units, &frames, Codec::Aac, crate::formats::aac::ADTS_HEADER_BYTES),
            Format::Mp3 => bodies(&units, &frames, Codec::Mp3, 0),
            Format::Fmp4 => fmp4(&body, &frames, encoder.ended()),
        }
    }
}

type Frames = [(Frame, Prelude)];

fn frames(u: &mut Unstructured<'_>) -> Vec<(Frame, Prelude)> {
    let mut in_force = Prelude::default();
    let mut frames = Vec::new();
    let (mut now, mut last, mut codecs) = (0i64, [0i64; 2], [Codec::Id(0); 2]);
    while !u.is_empty() && frames.len() < 300 {
        let Ok((kind, payload, step, late)) = payload(u, &mut codecs) else { break };
        now += step;
        let tag = inspect(kind, &payload);
        // Tracks are interleaved, one up to 90 ms behind the other, but neither runs backward.
        let track = &mut last[usize::from(kind == Kind::Video)];
        *track = (now - late).max(*track);
        match tag.role {
            Role::SequenceHeader => _ = in_force.remember(kind, tag, &payload),
            Role::Key | Role::Coded => in_force.saw_frame(kind, &tag, &payload),
            _ => {}
        }
        let time = MediaTime(if kind == Kind::Data { now } else { *track });
        frames.push((Frame { kind, time, tag, payload }, in_force.clone()));
    }
    frames
}

fn payload(u: &mut Unstructured<'_>, codecs: &mut [Codec; 2]) -> Result<(Kind, Bytes, i64, i64)> {
    let op = u.arbitrary::<u8>()?;
    let step = match op >> 6 {
        0 => 0,
        1 => 23,
        2 => i64::from(u.arbitrary::<u8>()?),
        _ => i64::from(u.arbitrary::<u16>()?),
    };
    let late = i64::from(u.arbitrary::<u8>()?) * i64::from(op >> 5 & 1) * 90 / 255;
    let mut body = vec![0xff; usize::from(u.arbitrary::<u16>()?) >> (op & 7)];
    body.iter_mut().zip(u.arbitrary::<[u8; 8]>()?).for_each(|(at, byte)| *at = byte);
    let [audio, video] = codecs;
    let (kind, payload) = match op & 31 {
        0..=3 => {
            let (kind, header) = u.choose(&HEADERS)?.clone();
            codecs[usize::from(kind == Kind::Video)] = inspect(kind, &header).codec;
            return Ok((kind, header, 0, late));
        }
        // A header that the fuzzer makes.
        4 => {
            let head: &[u8] = u.choose(&[&b"\x17\0\0\0\0"[..], b"\x90hvc1", b"\x90av01"])?;
            *video = inspect(Kind::Video, head).codec;
            (Kind::Video, [head, &body].concat())
        }
        5 => {
            let head: &[u8] = u.choose(&[&b"\xaf\0"[..], b"\x90Opus"])?;
            *audio = inspect(Kind::Audio, head).codec;
            (Kind::Audio, [head, &body].concat())
        }
        6 => {
            *audio = Codec::Mp3;
            (Kind::Audio, [b"\x2f\xff\xfb\x90\x64", &body[..]].concat())
        }
        7 => (Kind::Data, [b"\x02\0\x0aonMetaData\x03", &body[..]].concat()),
        8 => (*u.choose(&[Kind::Audio, Kind::Video])?, body),
        9..=17 => match *audio {
            Codec::Mp3 => (Kind::Audio, [b"\x2f\xff\xfb\x90\x64", &body[..]].concat()),
            Codec::Opus => (Kind::Audio, [b"\x91Opus", &body[..]].concat()),
            _ => (Kind::Audio, [b"\xaf\x01", &body[..]].concat()),
        },
        n => {
            let frame_type = if n < 21 { 0x10 } else { 0x20 };
            let [_, high, middle, low] = i32::from(u.arbitrary::<i16>()?).to_be_bytes();
            // One unit, or what the fuzzer takes for units.
            let length = (body.len() as u32).to_be_bytes();
            let units = if n < 30 { [&length[..], &body].concat() } else { body };
            let head = match *video {
                Codec::Hevc => [&[0x81 | frame_type][..], b"hvc1", &[high, middle, low]].concat(),
                Codec::Av1 => [&[0x81 | frame_type][..], b"av01"].concat(),
                _ => vec![7 | frame_type, 1, high, middle, low],
            };
            (Kind::Video, [head, units].concat())
        }
    };
    Ok((kind, payload.into(), step, late))
}

/// The units' bytes, their HTTP framing checked and taken off.
fn bare_units(format: Format, block: &OpenBlock) -> Vec<Vec<u8>> {
    let (mut units, mut start) = (Vec::new(), 0);
    for unit in &block.units {
        let framed = &block.bytes[start..unit.end as usize];
        start = unit.end as usize;
        if !format.is_http() {
            units.push(framed.to_vec());
            continue;
        }
        let bare = &framed[CHUNK_HEAD..framed.len() - CHUNK_TAIL];
        let head = format!("{:08x}\r\n", bare.len());
        assert!(framed.starts_with(head.as_bytes()) && framed.ends_with(b"\r\n"));
        units.push(bare.to_vec());
    }
    assert_eq!(start, block.bytes.len());
    units
}

fn wire(frame: &Frame) -> WireTime {
    let metadata = crate::formats::flv::is_metadata(&frame.payload) && frame.kind == Kind::Data;
    if metadata { WireTime(0) } else { frame.time.wire() }
}

fn rtmp(units: &[Vec<u8>], frames: &Frames, chunk_bytes: u32) {
    assert_eq!(units.len(), frames.len());
    for (unit, (frame, _)) in units.iter().zip(frames) {
        // Each by a reader of its own: a message needs no history.
        let mut size = Vec::new();
        Control::ChunkSize(chunk_bytes).write(&mut size);
        let mut reader = ChunkReader::new(Limits::default());
        assert_eq!(reader.read(&mut &size[..]), Ok(None));
        let mut input = &unit[..];
        let message = reader.read(&mut input).expect("chunks").expect("a whole message");
        assert_eq!((message.type_id, message.time), (frame.kind.type_id(), wire(frame)));
        assert_eq!((message.payload, input.len()), (frame.payload.clone(), 0));
    }
}

fn flv(units: &[Vec<u8>], body: &[u8], frames: &Frames) {
    let mut reader = FlvReader::new(MAX_BODY_BYTES);
    reader.push(body);
    let mut read = Vec::new();
    while let Some(event) = reader.poll().expect("FLV") {
        if let Event::Message(message) = event {
            read.push(message);
        }
    }
    assert!(reader.is_at_boundary() && units.len() == frames.len());
    let private = read.len() - frames.len();
    for (message, (frame, _)) in read.iter().skip(private).zip(frames) {
        assert_eq!((message.kind, message.time, &message.payload), (frame.kind, wire(frame), &frame.payload));
    }
}

/// The coded frames of a kind that a format can carry.
fn carried(frames: &Frames, kind: Kind) -> impl Iterator<Item = (&Frame, Tracks)> {
    let all = frames.iter().filter(move |(frame, _)| frame.kind == kind);
    all.map(|(frame, in_force)| (frame, Tracks::of(in_force))).filter(|(frame, tracks)| tracks.carries(frame))
}

fn bodies(units: &[Vec<u8>], frames: &Frames, codec: Codec, head_bytes: usize) {
    let mut units = units.iter();
    let mut rest =
        frames.iter().map(|(frame, _)| frame).filter(|f| f.kind == Kind::Audio && f.tag.codec == codec);
    // Some frames cannot be carried, but those that are stand in order.
    assert!(units.all(|unit| rest.any(|frame| unit.get(head_bytes..) == Some(frame.body()))));
}

fn ts(body: &[u8], units: &[Unit], frames: &Frames) {
    // After a long silence one track goes on first, and its first frame may be ahead of the clock by as much.
    if units.windows(2).any(|two| two[1].time.0 - two[0].time.0 > 4_000) {
        return;
    }
    // MPEG audio that does not begin with its sync word is passed on; the checker wants to see it.
    if frames.iter().any(|(f, _)| f.tag.codec == Codec::Mp3 && f.body().first() != Some(&0xff)) {
        return;
    }
    let report = ts_check::check(body);
    let wrapped = |ticks: i64| (ticks + LEAD).rem_euclid(1 << 33);
    for (kind, is_mine) in [(Kind::Video, true), (Kind::Audio, false)] {
        let mine = report.pes.iter().filter(|pes| (pes.pid == 0x100) == is_mine);
        // PIDs of AAC and MP3 are sorted one behind the other.
        let mut got: Vec<_> = mine.map(|pes| (pes.dts, pes.pts)).collect();
        let possible = carried(frames, kind).map(|(frame, _)| {
            let dts = frame.time.0 * 90;
            let pts = (dts + i64::from(frame.tag.composition_ms) * 90).max(dts);
            (wrapped(dts), wrapped(pts))
        });
        let mut possible: Vec<_> = possible.collect();
        got.sort_unstable();
        possible.sort_unstable();
        let mut rest = possible.into_iter();
        assert!(got.into_iter().all(|got| rest.any(|it| it == got)), "{kind:?}: every packet is a frame's");
    }
    let bytes: usize = report.pes.iter().map(|pes| pes.payload.len()).sum();
    assert!(report.pes.is_empty() || bytes > 0);
}

/// A box: its type and what is in it.
fn next_box<'a>(r: &mut Reader<'a>) -> ([u8; 4], &'a [u8]) {
    let size = r.u32().expect("a size") as usize;
    let kind = r.fourcc().expect("a type");
    (kind, r.take(size - 8).expect("all of it"))
}

fn boxes(bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut r = Reader::new(bytes);
    let mut all = Vec::new();
    while !r.is_empty() {
        all.push(next_box(&mut r));
    }
    all
}

fn inside<'a>(all: &[([u8; 4], &'a [u8])], kind: &[u8; 4]) -> &'a [u8] {
    all.iter().find(|(k, _)| k == kind).unwrap_or_else(|| panic!("no {}", kind.escape_ascii())).1
}

/// Fragments (ISO 14496-12 §8.8): each names a track, says where its samples are, and those are frames in order.
fn fmp4(body: &[u8], frames: &Frames, ended: bool) {
    let top = boxes(body);
    assert!(top.first().is_none_or(|(kind, _)| kind == b"ftyp"), "viewers start with a segment of their own");
    let mut samples: [Vec<&[u8]>; 2] = [Vec::new(), Vec::new()];
    let (mut sequence, mut ends, mut tracks) = (0, [0u64; 2], 0);
    for (at, (kind, inner)) in top.iter().enumerate() {
        match kind {
            b"ftyp" => assert_eq!(top.get(at + 1).map(|(kind, _)| kind), Some(b"moov")),
            b"moov" => {
                tracks = boxes(inner).iter().filter(|(kind, _)| kind == b"trak").count();
                assert!(matches!(tracks, 1 | 2));
                ends = [0; 2]; // other parameters may bring another timescale
            }
            b"moof" => {
                assert!(tracks > 0, "described before");
                let (_, data) = top.get(at + 1).filter(|(kind, _)| kind == b"mdat").expect("mdat follows");
                let moof = boxes(inner);
                let number = u32::from_be_bytes(*inside(&moof, b"mfhd").last_chunk().expect("a number"));
                assert_eq!(number, sequence + 1);
                sequence = number;
                let traf = boxes(inside(&moof, b"traf"));
                let id = *inside(&traf, b"tfhd").last().expect("a track");
                let track = usize::from(id) - 1;
                let time = u64::from_be_bytes(*inside(&traf, b"tfdt").last_chunk().expect("a time"));
                assert!(time >= ends[track], "track {id} goes back from {} to {time}", ends[track]);
                ends[track] = time;
                samples[track].extend(run(inside(&traf, b"trun"), inner.len() + 16, data));
            }
            b"mdat" => {}
            other => panic!("{}", other.escape_ascii()),
        }
    }
    for (kind, samples) in [Kind::Video, Kind::Audio].into_iter().zip(samples) {
        let mut rest = frames.iter().map(|(frame, _)| frame).filter(|f| f.kind == kind);
        assert!(samples.iter().all(|sample| rest.any(|frame| frame.body() == *sample)), "{ended}: {kind:?}");
    }
}

/// The samples of a run, all of which lie in `data`, one behind the other.
fn run<'a>(run: &[u8], data_at: usize, data: &'a [u8]) -> Vec<&'a [u8]> {
    let mut r = Reader::new(run);
    let mut field = || r.u32().expect("a field");
    assert_eq!(field(), 0x0100_0f01, "version 1, and what each sample has");
    let count = field();
    assert_eq!(field() as usize, data_at);
    let mut data = Reader::new(data);
    let samples: Vec<&[u8]> = (0..count)
        .map(|_| {
            let (duration, bytes, _flags, _composition) = (field(), field(), field(), field());
            assert!(duration < 1 << 24, "no sample of {duration} ticks");
            data.take(bytes as usize).expect("a sample")
        })
        .collect();
    assert!(data.is_empty() && r.is_empty() && count > 0);
    samples
}
