//! Formats: AMF0, FLV, codec headers.

use super::assert_same_however_cut;
use crate::formats::amf0::{MAX_VALUES, Value, read_some};
use crate::formats::flv::{Role, inspect, is_metadata};
use crate::formats::flv_file::{Event, FlvError, FlvReader, write_header, write_tag};
use crate::formats::message::Kind;
use crate::formats::nalu::{Nalus, START_CODE};
use crate::formats::{aac, av1, describe, h264, hevc, mp3, opus, vp9};
use crate::stream::metadata::normalise;

/// Values that can be read are written so that they read the same, and keep within the limits.
pub fn amf0(data: &[u8]) {
    let (values, error) = read_some(data);
    assert!(error.is_some() || data.is_empty() || !values.is_empty());
    assert!(values.iter().map(count).sum::<usize>() <= MAX_VALUES);
    let written = written(&values);
    let (again, error) = read_some(&written);
    assert_eq!(error, None);
    // As bytes: NaN is not equal to itself.
    assert_eq!(self::written(&again), written);
    assert_eq!(again.len(), values.len());
}

fn written(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| value.write(&mut out));
    out
}

fn count(value: &Value) -> usize {
    let inner: usize = match value {
        Value::StrictArray(values) => values.iter().map(count).sum(),
        value => value.properties().into_iter().flatten().map(|(_, value)| count(value)).sum(),
    };
    1 + inner
}

/// One look at a payload, and what is said of it: in bounds, and in words that can stand in JSON and in a header.
pub fn flv_tag(data: &[u8]) {
    let Some((&kind, payload)) = data.split_first() else { return };
    let kind = [Kind::Audio, Kind::Video, Kind::Data][usize::from(kind) % 3];
    let tag = inspect(kind, payload);
    assert!(tag.body_at <= payload.len());
    assert!(tag.role != Role::Key || kind == Kind::Video, "only pictures are keyframes");
    assert!((-0x80_0000..0x80_0000).contains(&tag.composition_ms));
    let video = describe::video(&tag, payload);
    assert!(video.is_none_or(|video| video.level.len() <= 5 && video.level.is_ascii()));
    describe::audio(&tag, payload);
    if let Some(codec) = describe::codec_string(&tag, payload) {
        assert!(codec.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'), "{codec}");
    }
    if kind == Kind::Data
        && let Some(once) = normalise(payload)
    {
        assert!(is_metadata(&once.body));
        let twice = normalise(&once.body).expect("what we wrote is metadata");
        assert_eq!((&twice.body, twice.tracks), (&once.body, once.tracks), "it is ours already");
    }
}

/// The reader's limit in these tests.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Files read the same however they are cut, and the same again when written from what was read.
pub fn flv_file(data: &[u8]) {
    assert_same_however_cut(data, read_flv);
    let (events, _) = read_flv(&[data.get(2..).unwrap_or_default()]);
    let mut file = Vec::new();
    for event in &events {
        match event {
            Event::Header { has_audio, has_video } => write_header(*has_audio, *has_video, &mut file),
            Event::Message(message) => write_tag(message.kind, message.time, &message.payload, &mut file),
        }
    }
    assert_eq!(read_flv(&[&file]), (events, None));
}

fn read_flv(pieces: &[&[u8]]) -> (Vec<Event>, Option<FlvError>) {
    let mut reader = FlvReader::new(MAX_BODY_BYTES);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.poll() {
                Ok(Some(Event::Message(message))) => {
                    assert!(message.payload.len() <= MAX_BODY_BYTES);
                    events.push(Event::Message(message));
                }
                Ok(Some(header)) => {
                    assert!(events.is_empty(), "one header, first");
                    events.push(header);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.poll(), Err(error), "an error is final");
                    return (events, Some(error));
                }
            }
        }
    }
    (events, None)
}

/// Decoder configurations, parameter sets and frame headers; and what is made from them.
pub fn codec_headers(data: &[u8]) {
    let Some((&codec, record)) = data.split_first() else { return };
    // What follows a record is taken for a frame of it.
    let (record, frame) = match record.split_first() {
        Some((&length, rest)) if codec & 0x80 != 0 => rest.split_at(usize::from(length).min(rest.len())),
        _ => (record, record),
    };
    match codec & 7 {
        0 => avc(record, frame),
        1 => hevc(record, frame),
        2 => av1(record),
        3 => aac(record, frame),
        4 => mp3(record),
        5 => opus(record, frame),
        6 => _ = vp9::Config::parse(record),
        _ => units(record),
    }
}

fn avc(record: &[u8], body: &[u8]) {
    if let Ok(sps) = h264::Sps::parse(record) {
        assert!(sps.width > 0 && sps.height > 0, "{sps:?}");
    }
    let Ok(config) = h264::Config::parse(record) else { return };
    assert!(!config.sps.is_empty() && !config.pps.is_empty() && matches!(config.length_bytes, 1 | 2 | 4));
    config.sps.iter().for_each(|sps| _ = h264::Sps::parse(sps));
    for key in [false, true] {
        let mut out = Vec::new();
        config.write_annex_b(body, key, &mut out);
        assert_byte_stream(&out, &[9, 0xf0]);
    }
}

fn hevc(record: &[u8], body: &[u8]) {
    if let Ok(sps) = hevc::Sps::parse(record) {
        assert!(sps.width > 0 && sps.height > 0, "{sps:?}");
    }
    let Ok(config) = hevc::Config::parse(record) else { return };
    config.sps().map(hevc::Sps::parse);
    for key in [false, true] {
        let mut out = Vec::new();
        config.write_annex_b(body, key, &mut out);
        assert_byte_stream(&out, &[35 << 1]);
    }
}

/// Nothing, or an access unit that begins with its delimiter.
fn assert_byte_stream(out: &[u8], delimiter: &[u8]) {
    let Some(rest) = out.strip_prefix(&START_CODE) else { return assert!(out.is_empty()) };
    assert!(rest.starts_with(delimiter));
    assert!(rest.windows(4).any(|window| window == START_CODE), "a delimiter delimits something");
}

fn av1(record: &[u8]) {
    let Ok(config) = av1::Config::parse(record) else { return };
    assert!(matches!(config.bit_depth, 8 | 10 | 12));
    assert!(config.size.is_none_or(|(w, h)| (1..=65536).contains(&w) && (1..=65536).contains(&h)));
}

/// ADTS says what the configuration says (ISO 14496-3 §1.A.2.2).
fn aac(record: &[u8], frame: &[u8]) {
    let Ok(config) = aac::Config::parse(record) else { return };
    assert!(config.rate_hz > 0 && config.frame_samples > 0 && config.channels() <= 8);
    assert_ne!(config.sbr_rate_hz, Some(0));
    let Some(header) = config.adts_header(frame.len()) else { return };
    let [_, _, c, d, e, f, _] = header.map(usize::from);
    assert_eq!(header[..2], [0xff, 0xf1]);
    assert_eq!(c >> 6, usize::from(config.object_type) - 1);
    assert_eq!((c & 1) << 2 | d >> 6, usize::from(config.channel_config));
    assert_eq!((d & 3) << 11 | e << 3 | f >> 5, frame.len() + aac::ADTS_HEADER_BYTES);
    // A plain AudioSpecificConfig of the same three fields reads the same.
    let index = c >> 2 & 15;
    let plain =
        [config.object_type << 3 | (index >> 1) as u8, (index as u8) << 7 | config.channel_config << 3];
    let plain = aac::Config::parse(&plain).expect("a plain configuration");
    let of = |c: &aac::Config| (c.object_type, c.rate_hz, c.channel_config);
    assert_eq!(of(&plain), of(&config));
}

fn mp3(frame: &[u8]) {
    let Ok(header) = mp3::Header::parse(frame) else { return };
    assert!(matches!(header.channels, 1 | 2) && (8000..=48000).contains(&header.rate_hz));
    assert!(matches!(header.frame_samples, 576 | 1152));
    assert!(describe::mp3_string(&header).starts_with("mp4a."));
}

fn opus(record: &[u8], packet: &[u8]) {
    assert!(opus::packet_samples(packet) <= 5760, "120 ms, RFC 6716 §3.2.5");
    let Ok(config) = opus::Config::parse(record) else { return };
    assert!(config.channels > 0);
    let dops = config.dops();
    let mapping = if config.family == 0 { 0 } else { 2 + usize::from(config.channels) };
    assert_eq!((dops.len(), dops.get(1).copied()), (11 + mapping, Some(config.channels)));
}

/// Units lie in the body, in order, and none is empty.
fn units(data: &[u8]) {
    let Some((&length_bytes, body)) = data.split_first() else { return };
    let length_bytes = [1, 2, 4][usize::from(length_bytes) % 3];
    let bytes: usize =
        Nalus::new(body, length_bytes).map(|unit| unit.len() + usize::from(length_bytes)).sum();
    assert!(bytes <= body.len());
    assert!(Nalus::new(body, length_bytes).all(|unit| !unit.is_empty()));
    assert!(crate::formats::nalu::rbsp(body, 100).len() <= body.len().min(100));
}
