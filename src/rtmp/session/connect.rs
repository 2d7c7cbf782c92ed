//! `connect`: what the client says of itself, and the answer in SRS's order.

use super::{Event, ServerSession, SessionError, State};
use crate::config::schema::{DEFAULT_CHUNK_SIZE, DEFAULT_OUT_ACK_SIZE};
use crate::formats::amf0::Value;
use crate::rtmp::command::{Body, Call, Command, Connect};
use crate::rtmp::control::{Control, PEER_BANDWIDTH_BYTES};
use crate::rtmp::handshake::Agreed;
use crate::rtmp::url::TcUrl;

/// A client that asks to connect.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectRequest {
    /// What it says of itself.
    pub connect: Connect,
    /// Its `tcUrl`, read.
    pub url: TcUrl,
    /// What the handshake told: its form, and the address that a proxy gave.
    pub handshake: Agreed,
}

/// What the server says of itself in its answer to `connect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `fmsVer`: what Flash clients expect to talk to.
    pub fms_version: String,
    /// `srs_sig`.
    pub signature: String,
    /// `srs_server`: name and version.
    pub server: String,
    /// `srs_license`.
    pub license: String,
    /// `srs_url`.
    pub url: String,
    /// `srs_version`.
    pub version: String,
    /// `srs_pid`.
    pub pid: u32,
}

impl Default for Identity {
    fn default() -> Self {
        Identity {
            fms_version: "FMS/3,5,3,888".to_owned(),
            signature: "SRS".to_owned(),
            server: crate::SIGNATURE.to_owned(),
            license: env!("CARGO_PKG_LICENSE").to_owned(),
            url: env!("CARGO_PKG_REPOSITORY").to_owned(),
            version: crate::VERSION.to_owned(),
            pid: 0,
        }
    }
}

/// `srs_id`: an integer up to SRS 3, text from 4 on.
#[derive(Clone, Debug, PartialEq)]
pub enum ConnectionId {
    /// SRS 3.
    Number(f64),
    /// SRS 4 and later.
    Text(String),
}

/// What the server grants and demands; SRS has them per vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Chunk size of what we send (`chunk_size`); at least 128, since control messages are sent whole.
    pub chunk_bytes: u32,
    /// How often the client is to acknowledge (`out_ack_size`); 0 says nothing.
    pub out_ack_bytes: u32,
    /// How often we acknowledge if the client does not say (`in_ack_size`); 0 never.
    pub in_ack_bytes: u32,
    /// `srs_server_ip`: the address the client reached.
    pub server_ip: String,
    /// `srs_id`.
    pub id: ConnectionId,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            chunk_bytes: DEFAULT_CHUNK_SIZE,
            out_ack_bytes: DEFAULT_OUT_ACK_SIZE,
            in_ack_bytes: 0,
            server_ip: String::new(),
            id: ConnectionId::Number(0.0),
        }
    }
}

impl ServerSession {
    pub(super) fn connect_call(&mut self, call: Call) -> Result<Option<Event>, SessionError> {
        // Anything before connect is passed over, as in SRS.
        let Command::Connect(connect) = call.command else { return Ok(None) };
        self.transaction = call.transaction;
        let url = TcUrl::parse(&connect.tc_url).map_err(|error| {
            self.reject_connect(&error.to_string());
            SessionError::Url { command: "connect", error }
        })?;
        self.url = Some(Box::new(url.clone()));
        self.state = State::ConnectAsked;
        Ok(Some(Event::Connect(Box::new(ConnectRequest { connect: *connect, url, handshake: self.agreed }))))
    }

    /// Answers [`Event::Connect`], given back: connected.
    pub fn accept_connect(&mut self, request: &ConnectRequest, terms: &Terms) {
        if self.state != State::ConnectAsked {
            return;
        }
        self.state = State::Ready;
        if terms.in_ack_bytes > 0 {
            self.link.set_window(terms.in_ack_bytes); // else what the peer asked for, if it did
        }
        if terms.out_ack_bytes > 0 {
            self.link.control(Control::WindowAck(terms.out_ack_bytes));
        }
        self.link.control(Control::PeerBandwidth { bytes: PEER_BANDWIDTH_BYTES, limit: 2 });
        self.link.set_chunk_bytes(terms.chunk_bytes);
        let config = self.config.clone();
        let body = Body::call("_result", self.transaction)
            .value(&Value::Object(properties(&config.identity, &request.connect)))
            .value(&Value::Object(information(&config.identity, &request.connect, terms)));
        self.link.command(0, body);
        self.link.command(0, Body::call("onBWDone", 0.0).null());
    }
}

fn property(name: &str, value: impl Into<Value>) -> (String, Value) {
    (name.to_owned(), value.into())
}

fn properties(identity: &Identity, connect: &Connect) -> Vec<(String, Value)> {
    let mut all = vec![
        property("fmsVer", identity.fms_version.as_str()),
        property("capabilities", 127.0),
        property("mode", 1.0),
    ];
    if connect.enhanced {
        // Enhanced RTMP v2, "Enhancing NetConnection connect Command". Payloads pass through untouched, so
        // every codec can be forwarded (4), multitrack, ModEx and nanosecond offsets (2 + 4 + 8) included.
        let any = || Value::Object(vec![property("*", 4.0)]);
        all.push(property("videoFourCcInfoMap", any()));
        all.push(property("audioFourCcInfoMap", any()));
        all.push(property("capsEx", 14.0));
        if !connect.fourcc_list.is_empty() {
            let list = connect.fourcc_list.iter().map(|f| Value::text(f.as_str())).collect();
            all.push(property("fourCcList", Value::StrictArray(list)));
        }
    }
    all
}

fn information(identity: &Identity, connect: &Connect, terms: &Terms) -> Vec<(String, Value)> {
    let fms = identity.fms_version.as_str();
    let id = match &terms.id {
        ConnectionId::Number(n) => Value::Number(*n),
        ConnectionId::Text(text) => Value::text(text.as_str()),
    };
    let data = vec![
        property("version", fms.strip_prefix("FMS/").unwrap_or(fms)),
        property("srs_sig", identity.signature.as_str()),
        property("srs_server", identity.server.as_str()),
        property("srs_license", identity.license.as_str()),
        property("srs_url", identity.url.as_str()),
        property("srs_version", identity.version.as_str()),
        property("srs_server_ip", terms.server_ip.as_str()),
        property("srs_pid", f64::from(identity.pid)),
        property("srs_id", id),
    ];
    vec![
        property("level", "status"),
        property("code", "NetConnection.Connect.Success"),
        property("description", "Connection succeeded"),
        property("objectEncoding", connect.object_encoding),
        property("data", Value::EcmaArray(data)),
    ]
}
