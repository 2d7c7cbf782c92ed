//! What comes in: chunks, commands, requests, tags.

use crate::{Case, Film};
use bytes::Bytes;
use srs_shard::formats::amf0;
use srs_shard::formats::bits::Reader;
use srs_shard::formats::flv;
use srs_shard::formats::flv_file::{self, FlvReader};
use srs_shard::formats::message::Kind;
use srs_shard::http::request::{Event, Parser};
use srs_shard::rtmp::chunk::csid;
use srs_shard::rtmp::chunk::reader::{ChunkReader, Limits};
use srs_shard::rtmp::chunk::writer::write_message;
use std::hint::black_box;

/// What one read of a socket brings at most.
const READ_BYTES: usize = 64 << 10;

/// Chunks of a whole message each, as ours and ffmpeg's larger settings give.
pub fn chunk_read() -> Case {
    chunks("rtmp/chunk read, 60000 B", 60_000)
}

/// Chunks of 128 bytes, which encoders send unless told otherwise.
pub fn chunk_read_small_chunks() -> Case {
    chunks("rtmp/chunk read, 128 B", 128)
}

fn chunks(name: &'static str, chunk_bytes: u32) -> Case {
    let film = Film::default();
    let mut wire = Vec::new();
    // Set Chunk Size (Adobe RTMP §5.4.1) on chunk stream 2.
    wire.extend_from_slice(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]);
    wire.extend_from_slice(&chunk_bytes.to_be_bytes());
    for m in &film.messages {
        let csid = if m.kind == Kind::Video { csid::VIDEO } else { csid::AUDIO };
        write_message(&mut wire, csid, m.kind.type_id(), 1, m.time, &[&m.payload], chunk_bytes);
    }
    Case {
        name,
        elements: film.messages.len() as u64,
        bytes: wire.len() as u64,
        expected: film.bytes(),
        run: Box::new(move || {
            let mut reader = ChunkReader::new(Limits::default());
            let mut bytes = 0;
            for mut read in wire.chunks(READ_BYTES) {
                while let Some(message) = reader.read(black_box(&mut read)).expect("well-formed chunks") {
                    bytes += message.payload.len() as u64;
                }
            }
            bytes
        }),
    }
}

fn connect() -> Vec<amf0::Value> {
    let text = |name: &str, value: &str| (name.to_owned(), amf0::Value::text(value));
    let object = vec![
        text("app", "live"),
        text("type", "nonprivate"),
        text("flashVer", "FMLE/3.0 (compatible; Lavf59.27.100)"),
        text("tcUrl", "rtmp://127.0.0.1:1935/live"),
        ("capabilities".to_owned(), amf0::Value::Number(239.0)),
        (
            "fourCcList".to_owned(),
            amf0::Value::StrictArray(["av01", "hvc1", "Opus"].map(amf0::Value::text).to_vec()),
        ),
    ];
    vec![amf0::Value::text("connect"), amf0::Value::Number(1.0), amf0::Value::Object(object)]
}

fn written(values: &[amf0::Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| value.write(&mut out));
    out
}

/// An encoder's `connect`.
pub fn amf0_read() -> Case {
    let values = connect();
    let bytes = written(&values);
    Case {
        name: "formats/AMF0 read",
        elements: 1,
        bytes: bytes.len() as u64,
        expected: values.len() as u64,
        run: Box::new(move || {
            let mut reader = Reader::new(black_box(&bytes));
            let mut same = 0;
            for value in &values {
                same += u64::from(amf0::Value::read(&mut reader).as_ref() == Ok(value));
            }
            same
        }),
    }
}

/// The same, written.
pub fn amf0_write() -> Case {
    let values = connect();
    let bytes = written(&values).len() as u64;
    let mut out = Vec::new();
    Case {
        name: "formats/AMF0 write",
        elements: 1,
        bytes,
        expected: bytes,
        run: Box::new(move || {
            out.clear();
            black_box(&values).iter().for_each(|value| value.write(&mut out));
            out.len() as u64
        }),
    }
}

/// A browser's request for a live stream.
pub fn http_request() -> Case {
    let request = b"GET /live/livestream.flv?token=0123456789abcdef HTTP/1.1\r\nHost: live.example.com:8080\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36\r\n\
        Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: en\r\nOrigin: https://example.com\r\n\
        Referer: https://example.com/player.html\r\nConnection: keep-alive\r\n\r\n";
    Case {
        name: "http/request",
        elements: 1,
        bytes: request.len() as u64,
        expected: "/live/livestream.flv".len() as u64,
        run: Box::new(move || {
            let mut parser = Parser::new(0);
            parser.feed(black_box(request));
            match parser.poll() {
                Ok(Some(Event::Request(request))) => request.path.len() as u64,
                _ => 0,
            }
        }),
    }
}

/// One look at each payload: codec, role, keyframe.
pub fn flv_inspect() -> Case {
    let film = Film::default();
    Case {
        name: "formats/FLV tag inspect",
        elements: film.messages.len() as u64,
        bytes: film.bytes(),
        expected: film.messages.len() as u64,
        run: Box::new(move || {
            let coded = |m: &&srs_shard::formats::message::Message| {
                let tag = flv::inspect(m.kind, black_box(&m.payload));
                tag.role.is_coded()
            };
            film.messages.iter().filter(coded).count() as u64
        }),
    }
}

/// An FLV file, as the demo stream is read.
pub fn flv_read() -> Case {
    let film = Film::default();
    let mut file = Vec::new();
    flv_file::write_header(true, true, &mut file);
    film.messages.iter().for_each(|m| flv_file::write_tag(m.kind, m.time, &m.payload, &mut file));
    let file = Bytes::from(file);
    Case {
        name: "formats/FLV file read",
        elements: film.messages.len() as u64,
        bytes: file.len() as u64,
        expected: film.bytes(),
        run: Box::new(move || {
            let mut reader = FlvReader::new(flv_file::MAX_BODY_BYTES);
            let mut bytes = 0;
            for read in file.chunks(READ_BYTES) {
                reader.push(black_box(read));
                while let Some(event) = reader.poll().expect("a good file") {
                    if let flv_file::Event::Message(message) = event {
                        bytes += message.payload.len() as u64;
                    }
                }
            }
            bytes
        }),
    }
}
