//! A tiny HTTP client that hides nothing: status, fields, body, and how the body ended.

use super::PATIENCE;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub version: String,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body had its length, or its last chunk.
    pub complete: bool,
}

impl Answer {
    /// A field's value.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// GET, on a connection of its own.
pub fn get(at: (Ipv4Addr, u16), path: &str) -> Answer {
    request(at, "GET", path, &[])
}

/// Any request, on a connection of its own.
pub fn request(at: (Ipv4Addr, u16), method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut connection = Connection::open(at);
    let mut all = vec![("Connection", "close")];
    all.extend(fields);
    connection.send(method, path, &all);
    connection.answer(method)
}

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    host: String,
    read: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn open(at: (Ipv4Addr, u16)) -> Connection {
        let stream = TcpStream::connect(at).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        Connection { stream, host: format!("{}:{}", at.0, at.1), read: Vec::new() }
    }

    /// Sends a request of HTTP/1.1.
    pub fn send(&mut self, method: &str, path: &str, fields: &[(&str, &str)]) {
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        if !fields.iter().any(|(name, _)| *name == "Host") {
            text += &format!("Host: {}\r\n", self.host);
        }
        fields.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        self.send_raw((text + "\r\n").as_bytes());
    }

    /// Sends anything.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends as much as the server takes before it closes.
    pub fn send_what_it_takes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads one answer, whole.
    pub fn answer(&mut self, method: &str) -> Answer {
        let mut answer = self.head();
        if method == "HEAD" || matches!(answer.status, 204 | 304) {
            answer.complete = true;
            return answer;
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            let began = Instant::now();
            while let Some(chunk) = self.chunk() {
                assert!(began.elapsed() < PATIENCE, "a {} whose body does not end", answer.status);
                if chunk.is_empty() {
                    answer.complete = true;
                    break;
                }
                answer.body.extend(chunk);
            }
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().expect("a length");
            while self.read.len() < length && self.more() {}
            answer.complete = self.read.len() >= length;
            answer.body = self.read.drain(..length.min(self.read.len())).collect();
        } else {
            while self.more() {}
            answer.body = std::mem::take(&mut self.read);
        }
        answer
    }

    /// Reads an answer's status line and fields.
    pub fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            assert!(self.more(), "no answer, only {:?}", String::from_utf8_lossy(&self.read));
        };
        let head: Vec<u8> = self.read.drain(..end + 4).collect();
        let text = std::str::from_utf8(&head[..end]).expect("text");
        let mut lines = text.split("\r\n");
        let mut status = lines.next().expect("a status line").splitn(3, ' ');
        let version = status.next().expect("a version").to_owned();
        let status = status.next().expect("a status").parse().expect("a number");
        let field = |line: &str| {
            let (name, value) = line.split_once(':').expect("a field");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        Answer { status, version, fields: lines.map(field).collect(), body: Vec::new(), complete: false }
    }

    /// Whether the server has closed, with nothing left to read.
    pub fn is_over(&mut self) -> bool {
        self.read.is_empty() && !self.more()
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = self.read.windows(2).position(|two| two == b"\r\n") {
                break at;
            }
            if !self.more() {
                return None;
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&self.read[..end]).ok()?.trim(), 16).ok()?;
        while self.read.len() < end + 2 + size + 2 {
            if !self.more() {
                return None;
            }
        }
        let chunk = self.read[end + 2..end + 2 + size].to_vec();
        self.read.drain(..end + 2 + size + 2);
        Some(chunk)
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.read.extend(&buffer[..n]);
                true
            }
        }
    }
}
