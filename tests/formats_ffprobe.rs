//! Goal: other people's readers find in our TS and fMP4 exactly what was published. Method: clips through the
//! encoders into files; ffprobe's packets (times, CRC of the data) against the clip's frames, and the decoded
//! pictures and samples against those decoded from the clip. Needs ffmpeg and ffprobe in PATH.

mod formats_support;

use formats_support::*;
use srs_shard::formats::flv::Role;
use srs_shard::formats::message::{Frame, Kind};
use srs_shard::formats::nalu::Nalus;
use srs_shard::formats::{h264, hevc};
use srs_shard::stream::encode::Format;
use srs_shard::stream::prelude::Prelude;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file that goes when the test is done.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Scratch {
        let path = std::env::temp_dir().join(format!("srs-shard-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).expect("a scratch file");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs a command; it has to succeed and to complain of nothing.
fn run(program: &str, args: &[&str], file: &Path) -> String {
    let mut command = Command::new(program);
    for arg in args {
        command.arg(if *arg == "FILE" { file.as_os_str() } else { arg.as_ref() });
    }
    let output = command.output().unwrap_or_else(|e| panic!("this test needs {program}: {e}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{program} {args:?}: {complaints}");
    String::from_utf8(output.stdout).expect("text")
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Packet {
    pts_ms: i64,
    dts_ms: i64,
    key: bool,
    crc: u32,
}

/// ffprobe's packets of a kind, in file order.
fn packets(file: &Path, kind: Kind) -> Vec<Packet> {
    let select = if kind == Kind::Video { "v:0" } else { "a:0" };
    let args = [
        "-v",
        "warning",
        "-select_streams",
        select,
        "-show_packets",
        "-show_data_hash",
        "crc32",
        "-of",
        "json",
        "FILE",
    ];
    let json: serde_json::Value = serde_json::from_str(&run("ffprobe", &args, file)).expect("JSON");
    let ms = |v: &serde_json::Value| (v.as_str().unwrap().parse::<f64>().unwrap() * 1000.0).round() as i64;
    let packets = json["packets"].as_array().expect("packets").iter();
    packets
        .map(|p| Packet {
            pts_ms: ms(&p["pts_time"]),
            dts_ms: ms(&p["dts_time"]),
            key: p["flags"].as_str().unwrap().starts_with('K'),
            crc: u32::from_str_radix(p["data_hash"].as_str().unwrap().strip_prefix("CRC32:").unwrap(), 16)
                .unwrap(),
        })
        .collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

fn expected(
    frames: &[(Frame, Prelude)],
    kind: Kind,
    lead_ms: i64,
    data: impl Fn(&Frame) -> Vec<u8>,
) -> Vec<Packet> {
    coded(frames, kind)
        .map(|f| Packet {
            pts_ms: f.time.0 + i64::from(f.tag.composition_ms) + lead_ms,
            dts_ms: f.time.0 + lead_ms,
            key: kind == Kind::Audio || f.tag.role == Role::Key,
            crc: crc32(&data(f)),
        })
        .collect()
}

/// Pictures or samples, decoded, one CRC per line.
fn decoded(file: &Path, select: &str) -> Vec<String> {
    let args =
        ["-v", "error", "-i", "FILE", "-map", select, "-f", "framecrc", "-fps_mode", "passthrough", "-"];
    let lines = run("ffmpeg", &args, file);
    let data = lines.lines().filter(|line| !line.starts_with('#'));
    data.map(|line| line.rsplit(',').next().expect("a CRC").trim().to_owned()).collect()
}

/// An access unit as it should stand in the transport stream, put together by hand.
fn access_unit(clip: &[u8], frame: &Frame) -> Vec<u8> {
    let frames = frames(clip, 0);
    let (_, prelude) = frames.last().expect("frames");
    let header = prelude.header(Kind::Video).expect("a header");
    let record = &header.payload[header.tag.body_at..];
    let (delimiter, sets): (&[u8], Vec<Vec<u8>>) = if let Ok(config) = h264::Config::parse(record) {
        (&[9, 0xf0], [config.sps, config.pps].concat())
    } else {
        (&[0x46, 1, 0x50], hevc::Config::parse(record).expect("an hvcC").sets)
    };
    let mut units = vec![delimiter.to_vec()];
    if frame.tag.role == Role::Key {
        units.extend(sets);
    }
    units.extend(Nalus::new(frame.body(), 4).map(<[u8]>::to_vec));
    units.iter().flat_map(|unit| [&[0, 0, 0, 1], &unit[..]].concat()).collect()
}

/// ffmpeg's HEVC parser counts the zero byte before a delimiter's start code as the end of the access unit
/// before (a trailing zero, which Annex B allows too).
fn as_ffmpeg_splits_hevc(packets: &mut [Packet], frames: &[(Frame, Prelude)], clip: &[u8]) {
    let last = packets.len() - 1;
    for (n, (packet, frame)) in packets.iter_mut().zip(coded(frames, Kind::Video)).enumerate() {
        let mut data = access_unit(clip, frame);
        if n < last {
            data.push(0);
        }
        packet.crc = crc32(&data[usize::from(n > 0)..]);
    }
}

/// ADTS by hand: LC, 44.1 kHz, mono.
fn adts(frame: &Frame) -> Vec<u8> {
    let length = frame.body().len() + 7;
    let header = [
        0xff,
        0xf1,
        0x50,
        0x40 | (length >> 11) as u8,
        (length >> 3) as u8,
        (length << 5) as u8 | 0x1f,
        0xfc,
    ];
    [&header, frame.body()].concat()
}

#[test]
fn ffprobe_reads_from_ts_what_was_published() {
    const LEAD_MS: i64 = 100;
    for (name, clip, has_video) in [
        ("h264.ts", H264_AAC, true),
        ("h264b.ts", H264B_MP3, true),
        ("hevc.ts", HEVC_AAC, true),
        ("aac.ts", AAC, false),
    ] {
        let frames = frames(clip, 0);
        let file = Scratch::new(name, &Encoded::new(Format::Ts, &frames).body());
        if has_video {
            let mut expected = expected(&frames, Kind::Video, LEAD_MS, |f| access_unit(clip, f));
            if clip == HEVC_AAC {
                as_ffmpeg_splits_hevc(&mut expected, &frames, clip);
            }
            assert_eq!(packets(&file.0, Kind::Video), expected, "{name}");
        }
        let mp3 = clip == H264B_MP3;
        let data = |f: &Frame| if mp3 { f.body().to_vec() } else { adts(f) };
        assert_eq!(packets(&file.0, Kind::Audio), expected(&frames, Kind::Audio, LEAD_MS, data), "{name}");
    }
}

#[test]
fn ffprobe_reads_from_fmp4_what_was_published() {
    for (name, clip, has_video) in [
        ("h264.mp4", H264_AAC, true),
        ("h264b.mp4", H264B_MP3, true),
        ("hevc.mp4", HEVC_AAC, true),
        ("av1.mp4", AV1_OPUS, true),
        ("aac.mp4", AAC, false),
    ] {
        // An hour into the stream: the times are the real ones.
        for shift_ms in [0, 3_600_000] {
            let frames = frames(clip, shift_ms);
            let file =
                Scratch::new(&format!("{shift_ms}-{name}"), &Encoded::new(Format::Fmp4, &frames).body());
            if has_video {
                let expected = expected(&frames, Kind::Video, 0, |f| f.body().to_vec());
                assert_eq!(packets(&file.0, Kind::Video), expected, "{name}");
            }
            let expected = expected(&frames, Kind::Audio, 0, |f| f.body().to_vec());
            let got = packets(&file.0, Kind::Audio);
            assert_eq!(got.len(), expected.len(), "{name}");
            for (got, expected) in got.iter().zip(&expected) {
                // Audio keeps to the sample grid, which milliseconds only round to.
                assert!((got.pts_ms - expected.pts_ms).abs() <= 2, "{name}: {got:?} {expected:?}");
                assert_eq!((got.crc, got.key), (expected.crc, true), "{name}");
            }
        }
    }
}

#[test]
fn all_formats_decode_to_the_same_pictures_and_samples() {
    for (name, clip) in [("h264", H264_AAC), ("h264b", H264B_MP3), ("hevc", HEVC_AAC)] {
        let frames = frames(clip, 0);
        let file = |format, end: &str| {
            Scratch::new(&format!("same-{name}.{end}"), &Encoded::new(format, &frames).body())
        };
        let (ts, mp4) = (file(Format::Ts, "ts"), file(Format::Fmp4, "mp4"));
        let pictures = decoded(&ts.0, "0:v");
        assert_eq!(pictures.len(), 50, "{name}");
        assert_eq!(decoded(&mp4.0, "0:v"), pictures, "{name}");
        assert_eq!(decoded(&mp4.0, "0:a"), decoded(&ts.0, "0:a"), "{name}");
        // ffmpeg 5 cannot read HEVC from FLV.
        if clip != HEVC_AAC {
            let flv = file(Format::Flv, "flv");
            let original = Scratch::new(&format!("original-{name}.flv"), clip);
            for select in ["0:v", "0:a"] {
                assert_eq!(decoded(&flv.0, select), decoded(&original.0, select), "{name}");
            }
            assert_eq!(decoded(&original.0, "0:v"), pictures, "{name}");
        }
    }
}

#[test]
fn bare_audio_is_a_stream_of_frames() {
    let original = Scratch::new("bare-original.flv", AAC);
    let aac = Scratch::new("bare.aac", &Encoded::new(Format::Aac, &frames(AAC, 0)).body());
    assert_eq!(decoded(&aac.0, "0:a"), decoded(&original.0, "0:a"));
    let original = Scratch::new("bare-original-mp3.flv", H264B_MP3);
    let mp3 = Scratch::new("bare.mp3", &Encoded::new(Format::Mp3, &frames(H264B_MP3, 0)).body());
    let (from_mp3, from_flv) = (decoded(&mp3.0, "0:a"), decoded(&original.0, "0:a"));
    assert_eq!(from_mp3.len(), from_flv.len());
}
