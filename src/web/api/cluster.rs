//! `/api/v1/clusters`: where a stream is published, for edges and for the other origins of a cluster.
//!
//! As in SRS 3 the answer is this server, if the stream is published here, else null: whoever asks goes on with the
//! next one.

use super::json::{Json, Object};
use super::{ApiCall, ApiContext, code, respond};
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::url::split_host_port;
use std::net::SocketAddr;

/// Where RTMP is, if nothing says so.
const RTMP_PORT: u16 = 1935;
/// Where the API is, if nothing says so.
const API_PORT: u16 = 1985;

/// A stream that somebody looks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Locate {
    /// The vhost that serves it.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub stream: String,
    /// What was asked, to be repeated.
    query: Object,
    /// What to say if it is published here.
    origin: Object,
    callback: Option<String>,
}

/// Answers at once if there is no such vhost, else says whose owner is to be asked.
pub(super) fn call(request: &Request, context: &ApiContext<'_>, callback: Option<&str>) -> ApiCall {
    let asked = |name| request.query.value(name).unwrap_or_default();
    let query = ["ip", "vhost", "app", "stream"];
    let query = query.into_iter().fold(Object::new(), |object, name| object.with(name, asked(name)));
    let Some((vhost, _)) = context.config.vhosts.resolve(asked("vhost")) else {
        return ApiCall::Answer(respond(&found(query, Json::Null), callback));
    };
    ApiCall::Locate(Locate {
        vhost: vhost.to_owned(),
        app: asked("app").to_owned(),
        stream: asked("stream").to_owned(),
        query,
        origin: here(context, vhost, asked("coworker"), &request.host),
        callback: callback.map(str::to_owned),
    })
}

/// Says where the stream is. `is_live`: whether it is published here, or the shard that did not say.
pub fn located(asked: &Locate, is_live: Result<bool, u16>) -> Response {
    let callback = asked.callback.as_deref();
    match is_live {
        Ok(true) => respond(&found(asked.query.clone(), asked.origin.clone().into()), callback),
        Ok(false) => respond(&found(asked.query.clone(), Json::Null), callback),
        Err(shard) => {
            let object = Object::new().with("code", code::UNANSWERED).with("unanswered", vec![shard]);
            Response { status: 503, ..respond(&object, callback) }
        }
    }
}

fn found(query: Object, origin: Json) -> Object {
    Object::new().with("code", 0u32).with("data", Object::new().with("query", query).with("origin", origin))
}

/// This server, as others reach it.
fn here(context: &ApiContext<'_>, vhost: &str, coworker: &str, host: &str) -> Object {
    let ip = reached_at(context, coworker, host);
    let port = context.rtmp_at.map_or(RTMP_PORT, |at| at.port());
    let api = match context.api_at {
        Some(at) if is_told(at) => at.to_string(),
        at => authority(&ip, at.map_or(API_PORT, |at| at.port())),
    };
    Object::new()
        .with("ip", ip)
        .with("port", port)
        .with("vhost", vhost)
        .with("api", api.as_str())
        .with("routers", vec![api])
}

/// The address that RTMP is served on, if that is one for others. Else the one by which whoever asks knows us as its
/// coworker, which matters behind NAT; else the one that the request was sent to.
fn reached_at(context: &ApiContext<'_>, coworker: &str, host: &str) -> String {
    let coworker = split_host_port(coworker).map_or("", |(host, _)| host);
    match context.rtmp_at {
        Some(at) if is_told(at) => at.ip().to_string(),
        _ if !coworker.is_empty() => coworker.to_owned(),
        _ if !host.is_empty() => host.to_owned(),
        _ => {
            let named = context.process.uname.iter().find(|(label, _)| *label == "nodename");
            named.map(|(_, name)| name.clone()).unwrap_or_default()
        }
    }
}

/// Whether an address means the same to others.
fn is_told(at: SocketAddr) -> bool {
    !at.ip().is_unspecified() && !at.ip().is_loopback()
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
