//! The calls of RTMP (§7.2), typed. AMF0 values end here, except the few that are only passed on.
//!
//! [`Call::read`] takes what either end may say; [`Body`] writes what we say.

use super::chunk::{csid, type_id, writer::write_message};
use super::url::MAX_URL_BYTES;
use crate::formats::amf0::{self, Properties, Value};
use crate::formats::message::WireTime;

/// Entries of `fourCcList` that are remembered.
pub const MAX_FOURCCS: usize = 64;

/// Why a command cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No name.
    #[error("command without a name: {0:?}")]
    Head(Option<amf0::Error>),
    /// An argument that the command cannot do without.
    #[error("command {command}: no {argument}")]
    Missing {
        /// Its name.
        command: &'static str,
        /// What is missing.
        argument: &'static str,
    },
    /// Text longer than [`MAX_URL_BYTES`].
    #[error("command {command}: {argument} of {bytes} bytes, limit {MAX_URL_BYTES}")]
    TooLong {
        /// Its name.
        command: &'static str,
        /// What is too long.
        argument: &'static str,
        /// Its length.
        bytes: usize,
    },
}

/// A command with its transaction id: 0 expects no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Transaction id.
    pub transaction: f64,
    /// What is called.
    pub command: Command,
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// §7.2.1.1.
    Connect(Box<Connect>),
    /// §7.2.1.3.
    CreateStream,
    /// FMLE: the stream may be freed, if this encoder held it.
    ReleaseStream(String),
    /// FMLE: a stream will be published.
    FcPublish(String),
    /// FMLE: the stream ends.
    FcUnpublish(String),
    /// §7.2.2.6: the stream's name with its parameters. What is recorded is ours to say, not the client's.
    Publish(String),
    /// §7.2.2.1 and, with the same meaning on a live server, play2 (§7.2.2.2).
    Play(Box<Play>),
    /// `play(false)`: Flash's way to stop.
    PlayNothing,
    /// §7.2.2.8.
    Pause {
        /// Pause, or go on.
        on: bool,
        /// The player's position in milliseconds.
        ms: f64,
    },
    /// §7.2.2.7, to this position in milliseconds.
    Seek(f64),
    /// §7.2.2.4.
    ReceiveAudio(bool),
    /// §7.2.2.5.
    ReceiveVideo(bool),
    /// Stops playing or publishing.
    CloseStream,
    /// §7.2.2.3.
    DeleteStream,
    /// How long a recording is.
    StreamLength,
    /// `_result` or `_error`.
    Answer(Answer),
    /// `onStatus`.
    Status(Status),
    /// Any other, by its name.
    Other(String),
}

/// What `connect` tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connect {
    /// `tcUrl`.
    pub tc_url: String,
    /// `app` as sent; the one in `tc_url` counts.
    pub app: String,
    /// `pageUrl`: what refer rules look at.
    pub page_url: String,
    /// `swfUrl`.
    pub swf_url: String,
    /// `flashVer`: the client's name.
    pub flash_ver: String,
    /// `objectEncoding`: 0 or 3.
    pub object_encoding: f64,
    /// `fourCcList` of Enhanced RTMP.
    pub fourcc_list: Vec<String>,
    /// Whether the client spoke of Enhanced RTMP in any of its ways.
    pub enhanced: bool,
    /// The second argument, if it is an object: what edges say of themselves, handed on to origins.
    pub args: Option<Properties>,
}

/// What `play` asks for. Where to start and whether to drop earlier plays have no meaning for a live stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Play {
    /// Stream name with its parameters.
    pub stream: String,
    /// How long to play, in milliseconds; not above 0 means without end.
    pub duration_ms: f64,
}

/// An answer to a call of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// `_error` instead of `_result`.
    pub error: bool,
    /// The number behind the command object: the id that createStream gives.
    pub number: Option<f64>,
    /// The information object, if there is one.
    pub status: Status,
}

/// An information object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `status`, `warning` or `error`.
    pub level: String,
    /// For instance `NetStream.Play.Start`.
    pub code: String,
    /// For people.
    pub description: String,
    /// Where an RTMP 302 points to: `redirect2`, the whole URL, else `redirect`.
    pub redirect: Option<String>,
}

impl Call {
    /// Reads the payload of a command message. Arguments that cannot be read count as absent.
    pub fn read(payload: &[u8]) -> Result<Call, CommandError> {
        let (values, error) = amf0::read_some(payload);
        let [Value::String(name), rest @ ..] = &values[..] else { return Err(CommandError::Head(error)) };
        // ffmpeg as a server answers FCPublish with a bare name; such a call expects no answer.
        let transaction = rest.first().and_then(Value::as_number).unwrap_or_default();
        let object = rest.get(1);
        let argument = |n: usize| rest.get(2 + n);
        let text = |n: usize| argument(n).and_then(Value::as_str).map(str::to_owned);
        let name_of = |command: &'static str| {
            let stream = text(0).ok_or(CommandError::Missing { command, argument: "stream name" })?;
            bounded(command, "stream name", stream)
        };
        let flag = |n: usize| argument(n).and_then(Value::as_bool);
        let number = |n: usize| argument(n).and_then(Value::as_number);
        let command = match name.as_str() {
            "connect" => Command::Connect(Box::new(connect(object, argument(0))?)),
            "createStream" => Command::CreateStream,
            "releaseStream" => Command::ReleaseStream(text(0).unwrap_or_default()),
            "FCPublish" => Command::FcPublish(text(0).unwrap_or_default()),
            "FCUnpublish" => Command::FcUnpublish(text(0).unwrap_or_default()),
            "publish" if matches!(argument(0), Some(Value::Boolean(false))) => Command::CloseStream,
            "publish" => Command::Publish(name_of("publish")?),
            "play" if !matches!(argument(0), Some(Value::String(_))) => Command::PlayNothing,
            "play" => Command::Play(Box::new(Play {
                stream: name_of("play")?,
                duration_ms: number(2).unwrap_or(-1.0),
            })),
            "play2" => Command::Play(Box::new(play2(argument(0))?)),
            "pause" | "pauseRaw" => {
                Command::Pause { on: flag(0).unwrap_or(true), ms: number(1).unwrap_or_default() }
            }
            "seek" => Command::Seek(number(0).unwrap_or_default()),
            "receiveAudio" => Command::ReceiveAudio(flag(0).unwrap_or(true)),
            "receiveVideo" => Command::ReceiveVideo(flag(0).unwrap_or(true)),
            "closeStream" => Command::CloseStream,
            "deleteStream" => Command::DeleteStream,
            "getStreamLength" => Command::StreamLength,
            "_result" | "_error" => Command::Answer(Answer {
                error: name == "_error",
                number: number(0),
                status: rest.iter().skip(1).rev().find_map(status).unwrap_or_default(),
            }),
            "onStatus" => Command::Status(rest.iter().rev().find_map(status).unwrap_or_default()),
            _ => Command::Other(name.chars().take(64).collect()),
        };
        Ok(Call { transaction, command })
    }
}

fn bounded(command: &'static str, argument: &'static str, text: String) -> Result<String, CommandError> {
    match text.len() {
        bytes if bytes > MAX_URL_BYTES => Err(CommandError::TooLong { command, argument, bytes }),
        _ => Ok(text),
    }
}

fn connect(object: Option<&Value>, args: Option<&Value>) -> Result<Connect, CommandError> {
    let command = "connect";
    let property = |name: &str| object.and_then(|o| o.property(name));
    let text = |name: &'static str| {
        bounded(command, name, property(name).and_then(Value::as_str).unwrap_or_default().to_owned())
    };
    let tc_url = text("tcUrl")?;
    if tc_url.is_empty() {
        return Err(CommandError::Missing { command, argument: "tcUrl" });
    }
    let fourcc_list = match property("fourCcList") {
        Some(Value::StrictArray(list)) => {
            { list.iter().filter_map(Value::as_str).filter(|s| s.len() <= 4).take(MAX_FOURCCS) }
                .map(str::to_owned)
                .collect()
        }
        _ => Vec::new(),
    };
    let enhanced = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"];
    Ok(Connect {
        tc_url,
        app: text("app")?,
        page_url: text("pageUrl")?,
        swf_url: text("swfUrl")?,
        flash_ver: text("flashVer")?,
        object_encoding: property("objectEncoding").and_then(Value::as_number).unwrap_or_default(),
        fourcc_list,
        enhanced: enhanced.iter().any(|name| property(name).is_some()),
        args: args.filter(|a| matches!(a, Value::Object(_))).and_then(Value::properties).cloned(),
    })
}

fn play2(options: Option<&Value>) -> Result<Play, CommandError> {
    let property = |name: &str| options.and_then(|o| o.property(name));
    let missing = CommandError::Missing { command: "play2", argument: "streamName" };
    let stream = property("streamName").and_then(Value::as_str).ok_or(missing)?.to_owned();
    let number = |name: &str| property(name).and_then(Value::as_number);
    Ok(Play { stream: bounded("play2", "streamName", stream)?, duration_ms: number("len").unwrap_or(-1.0) })
}

fn status(value: &Value) -> Option<Status> {
    let text = |of: &Value, name: &str| of.property(name).and_then(Value::as_str).map(str::to_owned);
    let code = text(value, "code")?;
    let ex = value.property("ex");
    Some(Status {
        level: text(value, "level").unwrap_or_default(),
        code,
        description: text(value, "description").unwrap_or_default(),
        redirect: ex.and_then(|ex| text(ex, "redirect2").or_else(|| text(ex, "redirect"))),
    })
}

/// The payload of a command or data message being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body(Vec<u8>);

impl Body {
    /// A command: its name and transaction id.
    pub fn call(name: &str, transaction: f64) -> Body {
        Body::data(name).number(transaction)
    }

    /// A data message: its name.
    pub fn data(name: &str) -> Body {
        Body::default().text(name)
    }

    /// Adds text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Body {
        amf0::write_string(&mut self.0, text);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, n: f64) -> Body {
        amf0::write_number(&mut self.0, n);
        self
    }

    /// Adds a boolean.
    #[must_use]
    pub fn boolean(mut self, b: bool) -> Body {
        amf0::write_boolean(&mut self.0, b);
        self
    }

    /// Adds null.
    #[must_use]
    pub fn null(mut self) -> Body {
        amf0::write_null(&mut self.0);
        self
    }

    /// Adds any value.
    #[must_use]
    pub fn value(mut self, value: &Value) -> Body {
        value.write(&mut self.0);
        self
    }

    /// Adds an information object: level, code, description, and what more there is.
    #[must_use]
    pub fn status(self, level: &str, code: &str, description: &str, more: &[(&str, &str)]) -> Body {
        let fixed = [("level", level), ("code", code), ("description", description)];
        self.object(&[&fixed, more].concat())
    }

    /// Adds an object of texts.
    #[must_use]
    pub fn object(self, texts: &[(&str, &str)]) -> Body {
        self.value(&Value::Object(texts.iter().map(|(n, v)| ((*n).to_owned(), Value::text(*v))).collect()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends it as a command message. Calls on the connection go out on their own chunk stream, those on a
    /// message stream on another.
    pub fn write_command(&self, out: &mut Vec<u8>, stream_id: u32, chunk_bytes: u32) {
        let csid = if stream_id == 0 { csid::COMMAND } else { csid::STREAM };
        write_message(out, csid, type_id::COMMAND, stream_id, WireTime(0), &[&self.0], chunk_bytes);
    }

    /// Appends it as a data message. Not on the chunk stream of media's data: whole messages of two writers
    /// may follow each other on one, but ours keep away.
    pub fn write_data(&self, out: &mut Vec<u8>, stream_id: u32, chunk_bytes: u32) {
        write_message(out, csid::STREAM, type_id::DATA, stream_id, WireTime(0), &[&self.0], chunk_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Body) -> Command {
        Call::read(body.as_bytes()).unwrap().command
    }

    #[test]
    fn connect_is_read_with_its_extensions() {
        let list = Value::StrictArray(vec![Value::text("av01"), Value::Null, Value::text("hvc1")]);
        let object = Value::Object(vec![
            ("app".into(), Value::text("live")),
            ("tcUrl".into(), Value::text("rtmp://h/live")),
            ("flashVer".into(), Value::text("FMLE/3.0")),
            ("objectEncoding".into(), Value::Number(3.0)),
            ("fourCcList".into(), list),
        ]);
        let args = vec![("srs_id".to_owned(), Value::Number(5.0))];
        let body = Body::call("connect", 1.0).value(&object).value(&Value::Object(args.clone()));
        let Command::Connect(c) = read(&body) else { panic!() };
        assert_eq!((&c.tc_url[..], &c.flash_ver[..], c.object_encoding), ("rtmp://h/live", "FMLE/3.0", 3.0));
        assert_eq!(
            (c.fourcc_list, c.enhanced, c.args),
            (vec!["av01".into(), "hvc1".into()], true, Some(args))
        );
        let bare = Body::call("connect", 1.0).object(&[("app", "live")]);
        let missing = CommandError::Missing { command: "connect", argument: "tcUrl" };
        assert_eq!(Call::read(bare.as_bytes()), Err(missing));
        let long = Body::call("connect", 1.0).object(&[("tcUrl", &"x".repeat(5000))]);
        assert!(matches!(Call::read(long.as_bytes()), Err(CommandError::TooLong { bytes: 5000, .. })));
    }

    #[test]
    fn plays_have_the_defaults_of_the_specification() {
        let play =
            |stream: &str, duration_ms| Command::Play(Box::new(Play { stream: stream.into(), duration_ms }));
        let head = || Body::call("play", 0.0).null();
        assert_eq!(read(&head().text("s")), play("s", -1.0));
        assert_eq!(read(&head().text("s").number(0.0).number(5000.0).boolean(false)), play("s", 5000.0));
        assert_eq!(read(&head().boolean(false)), Command::PlayNothing);
        assert_eq!(read(&head()), Command::PlayNothing);
        let two = Body::call("play2", 0.0).null().object(&[("streamName", "t")]);
        assert_eq!(read(&two), play("t", -1.0));
    }

    #[test]
    fn an_answer_gives_its_number_and_its_status() {
        let Command::Answer(a) = read(&Body::call("_result", 4.0).null().number(1.0)) else { panic!() };
        assert_eq!((a.error, a.number), (false, Some(1.0)));
        let info = [("level", "error"), ("code", "NetConnection.Connect.Rejected")];
        let Command::Answer(a) = read(&Body::call("_error", 1.0).null().object(&info)) else { panic!() };
        assert_eq!((a.error, &a.status.code[..]), (true, "NetConnection.Connect.Rejected"));
    }

    #[test]
    fn a_command_needs_a_name_and_little_more() {
        assert!(matches!(Call::read(b""), Err(CommandError::Head(None))));
        assert!(matches!(Call::read(b"\x05"), Err(CommandError::Head(None))));
        let bare = Call::read(b"\x02\0\x0bonFCPublish").unwrap();
        assert_eq!(bare, Call { transaction: 0.0, command: Command::Other("onFCPublish".into()) });
        assert!(matches!(Call::read(b"\x02\0\x09play"), Err(CommandError::Head(Some(_)))));
        assert_eq!(read(&Body::call("x", 0.0)), Command::Other("x".into()));
        // An AMF3 argument ends what is read, not the connection.
        let mut strange = Body::call("FCPublish", 2.0).null().text("s").as_bytes().to_vec();
        strange.extend_from_slice(b"\x11\x0a\x0b\x01");
        assert_eq!(Call::read(&strange).unwrap().command, Command::FcPublish("s".into()));
    }
}
