//! RTMP below the sessions: handshake, chunks, commands, control messages, aggregates, URLs.

use super::assert_same_however_cut;
use crate::formats::bits::Reader;
use crate::formats::message::{Kind, WireTime};
use crate::rtmp::aggregate::{Aggregate, data as unwrapped_data};
use crate::rtmp::chunk::reader::{ChunkError, ChunkReader, Limits, RawMessage};
use crate::rtmp::chunk::type_id;
use crate::rtmp::chunk::writer::write_message;
use crate::rtmp::command::{Body, Call, Command, MAX_FOURCCS};
use crate::rtmp::control::{Control, User};
use crate::rtmp::handshake::{
    Agreed, ClientHandshake, Handshake, HandshakeError, PACKET_BYTES, ServerHandshake,
};
use crate::rtmp::url::{ClientUrl, MAX_NAME_BYTES, MAX_URL_BYTES, TcUrl};
use arbitrary::{Result, Unstructured};
use bytes::Bytes;

/// Both ends of the handshake, however their input is cut.
pub fn handshake(data: &[u8]) {
    assert_same_however_cut(data, |pieces| {
        let mut server = ServerHandshake::new(7);
        let shaken = shake(pieces, |input, out| server.feed(input, out));
        if let Ok((sent, agreed, _)) = &shaken {
            assert!(sent.len() == 1 + 2 * PACKET_BYTES || sent.is_empty() && agreed.is_none());
        }
        shaken
    });
    assert_same_however_cut(data, |pieces| {
        let mut hello = Vec::new();
        let mut client = ClientHandshake::new(7, &mut hello);
        assert_eq!(hello.len(), 1 + PACKET_BYTES);
        let shaken = shake(pieces, |input, out| client.feed(input, out));
        if let Ok((sent, agreed, _)) = &shaken {
            assert_eq!(sent.len(), if agreed.is_some() { PACKET_BYTES } else { 0 });
        }
        shaken
    });
}

/// What was sent, agreed on, and left over.
type Shaken = std::result::Result<(Vec<u8>, Option<Agreed>, Vec<u8>), HandshakeError>;

fn shake(
    pieces: &[&[u8]],
    mut feed: impl FnMut(&mut &[u8], &mut Vec<u8>) -> std::result::Result<Option<Agreed>, HandshakeError>,
) -> Shaken {
    let (mut out, mut agreed, mut left) = (Vec::new(), None, Vec::new());
    for mut piece in pieces.iter().copied() {
        if agreed.is_none() {
            agreed = feed(&mut piece, &mut out)?;
            assert!(agreed.is_some() || piece.is_empty(), "all is taken until it is over");
        }
        left.extend_from_slice(piece);
    }
    Ok((out, agreed, left))
}

/// Small enough that inputs of a few kilobytes meet them.
const LIMITS: Limits =
    Limits { max_message_bytes: 6000, max_script_bytes: 3000, max_chunk_streams: 8, max_partial_bytes: 8000 };

/// Chunks mean the same however they are cut; what is held stays within the limits.
pub fn chunk_reader(data: &[u8]) {
    assert_same_however_cut(data, |pieces| Chunks(messages(pieces)));
}

type Read = (Vec<RawMessage>, Option<ChunkError>);

fn messages(pieces: &[&[u8]]) -> Read {
    let mut reader = ChunkReader::new(LIMITS);
    let (mut all, mut given) = (Vec::new(), 0);
    for piece in pieces {
        let mut input = *piece;
        given += input.len() as u64;
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => all.push(message),
                Ok(None) => break,
                Err(error) => return (all, Some(error)),
            }
            assert!(reader.position() <= given);
        }
        assert!(input.is_empty());
        assert_eq!(reader.position(), given);
        // What a chunk stream takes besides its payload is no more than this.
        const STREAM_BYTES: usize = 128;
        let streams = LIMITS.max_chunk_streams.next_power_of_two() * STREAM_BYTES;
        assert!(
            reader.heap_bytes() <= LIMITS.max_partial_bytes + streams,
            "{} bytes held",
            reader.heap_bytes()
        );
    }
    (all, None)
}

/// Equal up to where one of them held too much: buffers grow by what has arrived, so that depends on the cut.
#[derive(Debug)]
struct Chunks(Read);

impl PartialEq for Chunks {
    fn eq(&self, other: &Chunks) -> bool {
        let (Chunks((a, a_error)), Chunks((b, b_error))) = (self, other);
        let full = |error: &Option<ChunkError>| matches!(error, Some(ChunkError::Partial { .. }));
        match (full(a_error), full(b_error)) {
            (false, false) => (a, a_error) == (b, b_error),
            (true, false) => b.starts_with(a),
            (false, true) => a.starts_with(b),
            (true, true) => b.starts_with(a) || a.starts_with(b),
        }
    }
}

/// Messages written in every form that the format has (by a naive writer, and by ours) are read as they were.
pub fn chunk_writer(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut writer = Interleaved::default();
    while !u.is_empty() {
        if writer.step(&mut u).is_err() {
            break;
        }
    }
    while !writer.open.is_empty() {
        writer.chunk(0);
    }
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = &writer.out[..];
    for expected in &writer.expected {
        assert_eq!(reader.read(&mut input).as_ref(), Ok(&Some(expected.clone())));
    }
    assert_eq!((reader.read(&mut input), input.len()), (Ok(None), 0));
}

/// A message of which chunks are still to be written.
struct Open {
    message: RawMessage,
    payload: Bytes,
    written: usize,
    /// What follows the basic header of its later chunks.
    extended: Option<[u8; 4]>,
}

/// The naive writer: several messages under way at a time, headers as short as the fuzzer wants.
struct Interleaved {
    out: Vec<u8>,
    chunk_bytes: usize,
    open: Vec<Open>,
    /// The last message of each chunk stream, and the step that fmt 3 would repeat.
    last: Vec<(RawMessage, usize, u32)>,
    expected: Vec<RawMessage>,
}

impl Default for Interleaved {
    fn default() -> Self {
        Interleaved { out: Vec::new(), chunk_bytes: 128, open: vec![], last: vec![], expected: vec![] }
    }
}

impl Interleaved {
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=7u8)? {
            0..=2 => self.begin(u)?,
            3..=5 if !self.open.is_empty() => self.chunk(u.choose_index(self.open.len())?),
            6 => {
                // Control messages are written whole.
                self.chunk_bytes = usize::from(u.arbitrary::<u16>()?.max(10));
                Control::ChunkSize(self.chunk_bytes as u32).write(&mut self.out);
            }
            // By our own writer, which leaves the other chunk streams alone.
            _ => {
                let csid = 1000 + u.int_in_range(0..=2u32)?;
                let (message, payload) = message(csid, u)?;
                let at = u.choose_index(payload.len() + 1)?;
                let parts = payload.split_at(at);
                let (type_id, stream_id, chunk) =
                    (message.type_id, message.stream_id, self.chunk_bytes as u32);
                let parts = [parts.0, parts.1];
                write_message(&mut self.out, csid, type_id, stream_id, message.time, &parts, chunk);
                self.expected.push(message);
            }
        }
        Ok(())
    }

    /// Begins a message with the shortest header that it may have, or a longer one.
    fn begin(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let csid = *u.choose(&[3, 5, 63, 64, 319, 320, 65_599])?;
        if self.open.iter().any(|open| open.message.csid == csid) {
            return Ok(());
        }
        let (mut message, mut payload) = message(csid, u)?;
        let wish = u.int_in_range(0..=3u8)?;
        let last =
            self.last.iter().position(|(last, ..)| last.csid == csid).map(|at| self.last.swap_remove(at));
        let mut fmt = 0;
        let mut delta = message.time.0;
        // Steps that need an extended field are left out: readers and writers disagree on what stands there.
        if let Some((last, bytes, step)) = last.filter(|_| wish > 0) {
            message.stream_id = last.stream_id;
            delta = message.time.0 % 0x10000;
            fmt = 1;
            if wish > 1 {
                message.type_id = last.type_id;
                payload.resize(bytes, 7);
                fmt = 2;
            }
            if wish == 3 && step < 0xff_ffff {
                (fmt, delta) = (3, step);
            }
            message.time = WireTime(last.time.0.wrapping_add(delta));
        }
        let payload = Bytes::from(payload);
        message.payload = payload.clone();
        let field = if fmt == 0 { message.time.0 } else { delta };
        let extended = (field >= 0xff_ffff).then(|| field.to_be_bytes());
        basic_header(&mut self.out, fmt, csid);
        if fmt <= 2 {
            self.out.extend_from_slice(&field.min(0xff_ffff).to_be_bytes()[1..]);
        }
        if fmt <= 1 {
            self.out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
            self.out.push(message.type_id);
        }
        if fmt == 0 {
            self.out.extend_from_slice(&message.stream_id.to_le_bytes());
        }
        if fmt <= 2 {
            self.out.extend_from_slice(extended.as_ref().map_or(&[][..], |field| &field[..]));
        }
        self.last.push((message.clone(), payload.len(), delta));
        self.open.push(Open { message, payload, written: 0, extended });
        self.payload(self.open.len() - 1);
        Ok(())
    }

    /// Writes the next chunk of a message under way.
    fn chunk(&mut self, at: usize) {
        let open = &self.open[at];
        basic_header(&mut self.out, 3, open.message.csid);
        self.out.extend_from_slice(open.extended.as_ref().map_or(&[][..], |field| &field[..]));
        self.payload(at);
    }

    fn payload(&mut self, at: usize) {
        let open = &mut self.open[at];
        let end = (open.written + self.chunk_bytes).min(open.payload.len());
        self.out.extend_from_slice(&open.payload[open.written..end]);
        open.written = end;
        if end == open.payload.len() {
            let open = self.open.remove(at);
            self.expected.push(open.message);
        }
    }
}

/// A message that is handed out, and its payload.
fn message(csid: u32, u: &mut Unstructured<'_>) -> Result<(RawMessage, Vec<u8>)> {
    let type_id =
        *u.choose(&[type_id::AUDIO, type_id::VIDEO, type_id::DATA, type_id::COMMAND, type_id::AGGREGATE])?;
    let stream_id = *u.choose(&[0, 1, 0x0102_0304])?;
    let time = match u.int_in_range(0..=3u8)? {
        0 => u.arbitrary()?,
        1 => 0xff_fffe + u.int_in_range(0..=2u32)?,
        _ => u.arbitrary::<u16>()?.into(),
    };
    let fill = u.arbitrary()?;
    let payload = vec![fill; usize::from(u.arbitrary::<u16>()?) % 1000];
    let whole = payload.clone().into();
    Ok((RawMessage { csid, type_id, stream_id, time: WireTime(time), payload: whole }, payload))
}

/// §5.3.1.1, written apart from the writer under test.
fn basic_header(out: &mut Vec<u8>, fmt: u8, csid: u32) {
    let fmt = fmt << 6;
    match csid.checked_sub(64) {
        None => out.push(fmt | csid as u8),
        Some(above) if above < 256 => out.extend_from_slice(&[fmt, above as u8]),
        Some(above) => out.extend_from_slice(&[fmt | 1, (above & 255) as u8, (above >> 8) as u8]),
    }
}

/// Commands are bounded, the AMF3 mark means nothing, and those that we write as well read the same again.
pub fn command(data: &[u8]) {
    let read = Call::read(data);
    if let Ok(call) = &read {
        bounded(&call.command);
    }
    let Ok(Call { transaction, command }) = read else { return };
    let body = match &command {
        Command::Publish(stream) => Body::call("publish", transaction).null().text(stream).text("live"),
        Command::Play(play) => {
            Body::call("play", transaction).null().text(&play.stream).number(-2.0).number(play.duration_ms)
        }
        Command::FcPublish(stream) => Body::call("FCPublish", transaction).null().text(stream),
        Command::Pause { on, ms } => Body::call("pause", transaction).null().boolean(*on).number(*ms),
        Command::Seek(ms) => Body::call("seek", transaction).null().number(*ms),
        Command::ReceiveAudio(on) => Body::call("receiveAudio", transaction).null().boolean(*on),
        Command::CreateStream => Body::call("createStream", transaction).null(),
        _ => return,
    };
    let again = Call::read(body.as_bytes()).expect("what we write is a command");
    // As text: NaN is not equal to itself.
    assert_eq!(format!("{again:?}"), format!("{:?}", Call { transaction, command }));
}

fn bounded(command: &Command) {
    let url = |text: &str| assert!(text.len() <= MAX_URL_BYTES);
    match command {
        Command::Connect(connect) => {
            assert!(!connect.tc_url.is_empty());
            let texts =
                [&connect.tc_url, &connect.app, &connect.page_url, &connect.swf_url, &connect.flash_ver];
            texts.into_iter().for_each(|text| url(text));
            assert!(connect.fourcc_list.len() <= MAX_FOURCCS);
            assert!(connect.fourcc_list.iter().all(|fourcc| fourcc.len() <= 4));
        }
        Command::Publish(stream) => url(stream),
        Command::Play(play) => url(&play.stream),
        Command::Other(name) => assert!(name.chars().count() <= 64),
        _ => {}
    }
}

/// Control messages, the type in the first byte: what is read is written and read again through chunks.
pub fn control(data: &[u8]) {
    let Some((&type_id, payload)) = data.split_first() else { return };
    let Ok(Some(control)) = Control::read(type_id, payload) else { return };
    // An event of a known number cannot be written as another one.
    let known = |event: u16| matches!(event, 0..=4 | 6 | 7);
    assert!(!matches!(control, Control::User(User::Other(event)) if known(event)));
    let mut out = Vec::new();
    control.write(&mut out);
    let mut input = &out[..];
    let read = ChunkReader::new(Limits::default()).read(&mut input);
    let Ok(Some(RawMessage { csid: 2, type_id, stream_id: 0, payload, .. })) = read else {
        panic!("{control:?}: {read:?}")
    };
    assert_eq!((Control::read(type_id, &payload), input.len()), (Ok(Some(control)), 0));
}

/// Aggregates and data messages: parts lie within the message, the first one has its time.
pub fn aggregate(data: &[u8]) {
    let mut r = Reader::new(data);
    let Ok(time) = r.u32() else { return };
    let payload = Bytes::copy_from_slice(r.rest());
    if let Some(message) = unwrapped_data(WireTime(time), &payload) {
        assert!(message.kind == Kind::Data && message.time.0 == time && payload.ends_with(&message.payload));
        let again = unwrapped_data(WireTime(time), &message.payload);
        assert!(again.is_none_or(|again| again.payload.len() <= message.payload.len()));
    }
    let mut aggregate = Aggregate::new(payload.clone(), WireTime(time));
    let (mut bytes, mut parts) = (0, 0);
    while let Some(part) = aggregate.next() {
        bytes += part.payload.len();
        parts += 1;
        let first = payload.first().is_some_and(|id| matches!(id, 8 | 9));
        assert!(parts > 1 || !first || part.time.0 == time);
    }
    assert!(bytes + parts * 11 <= payload.len());
    assert!(aggregate.next().is_none(), "it ends once");
}

/// A tcUrl and a stream name, on two lines; the first as a client's URL too.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (url, name) = text.split_once('\n').unwrap_or((&text, "s"));
    let client = ClientUrl::parse(url);
    if let Ok(client) = &client {
        assert!(!client.stream.is_empty() && client.port > 0 && url.starts_with(&client.tc_url));
        if let Ok(tc_url) = TcUrl::parse(&client.tc_url) {
            assert_eq!((&tc_url.host, tc_url.port), (&client.host, client.port));
        }
    }
    let Ok(tc_url) = TcUrl::parse(url) else { return };
    assert!(tc_url.port > 0 && !tc_url.host.is_empty());
    let Ok(stream) = tc_url.stream(name) else { return };
    for part in [&stream.vhost, &stream.app, &stream.stream] {
        assert!(!part.is_empty() && part.len() <= MAX_NAME_BYTES && !part.chars().any(char::is_control));
        assert!(part.split(['/', '\\']).all(|part| !matches!(part, "" | "." | "..")), "{part:?}");
    }
    assert!(!stream.vhost.contains('/') && stream.params.len() <= MAX_URL_BYTES);
}
