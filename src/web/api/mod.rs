//! The HTTP API, as SRS's: `/api/v1/…` and `/metrics`. Decisions only.
//!
//! [`route`] answers at once what needs no streams, else says what to ask the shards for: a [`Query`] for
//! [`finish`], a [`Locate`] for [`located`], a [`Kick`] for [`kicked`], or a [`Reload`] for [`reloaded`]. Answers carry
//! HTTP 200 and a `code`, as SRS's do. [`openapi`] describes all of it. Who may call stands in `permit`.

pub mod cluster;
pub mod ids;
pub mod json;
pub(crate) mod merge;
mod metrics;
mod mux;
mod objects;
pub mod openapi;
mod pages;
mod permit;
pub mod raw;
pub mod snapshot;

pub use pages::heartbeat;

use crate::config::schema::ApiAuth;
use crate::config::{Config, Said};
use crate::hooks::desk::Counters;
use crate::http::request::{Method, Request};
use crate::http::response::Response;
use crate::stats::prometheus;
use crate::stats::system::Report;
pub use cluster::{Locate, located};
use ids::{ClientId, IdStyle};
use json::Object;
use mux::{Found, Mux};
use permit::Does;
pub use permit::Refused;
pub use raw::{RawApi, Refusal, Reload, ReloadOutcome, reloaded};
use snapshot::{ShardSnapshot, Wanted, WantedClients};
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

/// A JSONP callback's name is no longer than this.
const MAX_CALLBACK_BYTES: usize = 128;
/// Lists give at least so many entries, whatever `count` says.
const MIN_COUNT: usize = 10;

/// SRS's codes that we answer with.
mod code {
    pub(super) const TEST: u32 = 100;
    pub(super) const UNAUTHORIZED: u32 = 401;
    pub(super) const FORBIDDEN: u32 = 403;
    pub(super) const CONFIG_INVALID: u32 = 1023;
    pub(super) const CONFIG_NOT_SAVED: u32 = 1059;
    pub(super) const RAW_RPC: u32 = 1060;
    pub(super) const RAW_DISABLED: u32 = 1061;
    pub(super) const RAW_NOT_ALLOWED: u32 = 1062;
    pub(super) const RAW_PARAMS: u32 = 1063;
    pub(super) const UNANSWERED: u32 = 503;
    pub(super) const VHOST_NOT_FOUND: u32 = 2014;
    pub(super) const STREAM_NOT_FOUND: u32 = 2048;
    pub(super) const CLIENT_NOT_FOUND: u32 = 2049;
}

/// What the API knows without asking: configuration, this process, the machine.
#[derive(Clone, Copy, Debug)]
pub struct ApiContext<'a> {
    /// Made at start, or kept in a file: `vid-…`.
    pub server_id: &'a str,
    /// Made at each start.
    pub service_id: &'a str,
    /// `http_api.crossdomain`.
    pub crossdomain: bool,
    /// `http_api.string_ids`.
    pub id_style: IdStyle,
    /// `http_api.raw_api`.
    pub raw_api: RawApi,
    /// `http_api.auth`.
    pub auth: &'a ApiAuth,
    /// The configuration in force.
    pub config: &'a Config,
    /// Which of its keys somebody has said.
    pub said: &'a Said,
    /// Where RTMP is served, the first of its addresses, as bound.
    pub rtmp_at: Option<SocketAddr>,
    /// Where the API is, likewise.
    pub api_at: Option<SocketAddr>,
    /// How many configurations were in force so far.
    pub config_version: u64,
    /// What hooks have done so far.
    pub hooks: &'a Counters,
    /// Whether the server is on its way out.
    pub is_draining: bool,
    /// Lines that the log has lost.
    pub log_lines_dropped: u64,
    /// Configured vhosts.
    pub vhosts: &'a [VhostInfo],
    /// This process.
    pub process: &'a ProcessInfo,
    /// The machine, sampled every few seconds.
    pub system: &'a Report,
    /// Wall clock, ms since 1970.
    pub now_ms: u64,
}

/// A vhost's configuration, as far as the API shows it.
#[derive(Clone, Debug)]
pub struct VhostInfo {
    /// Its name.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// What does not change while the process runs.
#[derive(Clone, Debug, Default)]
pub struct ProcessInfo {
    /// Process id.
    pub pid: u32,
    /// The parent's.
    pub ppid: u32,
    /// The command line.
    pub argv: String,
    /// Working directory at start.
    pub cwd: String,
    /// Wall clock at start, ms since 1970.
    pub started_ms: u64,
    /// Labels `sysname`, `nodename`, `release`, `version`, `machine`.
    pub uname: Vec<(&'static str, String)>,
}

/// What is to be done with a request.
#[derive(Clone, Debug)]
pub enum ApiCall {
    /// Send this.
    Answer(Response),
    /// Send this to who may not do what it asks for.
    Refuse(Refused, Response),
    /// Send this file of `http_server.dir`, or 404.
    File(String),
    /// Ask shards for [`Query::wanted`] and [`finish`].
    Snapshot(Query),
    /// Ask the stream's owner whether it is published, and say [`located`].
    Locate(Locate),
    /// Ask the client's shard to close it, and say [`kicked`].
    Kick(Kick),
    /// Read the configuration again, or change it, and say [`reloaded`].
    Reload(Reload),
}

/// A question that takes snapshots to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    what: What,
    page: Page,
    callback: Option<String>,
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    start: usize,
    count: usize,
}

impl Page {
    const ALL: Page = Page { start: 0, count: usize::MAX };

    /// The page that a request names, if it does.
    fn of(request: &Request) -> Option<Page> {
        let number = |name| request.query.value(name).map(leading_number);
        let (start, count) = (number("start"), number("count"));
        let named = start.is_some() || count.is_some();
        named.then(|| Page { start: start.unwrap_or(0), count: count.unwrap_or(0).max(MIN_COUNT) })
    }
}

/// The number that a text begins with, as SRS reads them; 0 if it begins with none, or with a negative one.
fn leading_number(text: &str) -> usize {
    let text = text.trim_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let digits = text.get(..end).unwrap_or_default();
    // Only too many digits can fail.
    if digits.is_empty() { 0 } else { digits.parse().unwrap_or(usize::MAX) }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Summaries,
    Vhosts,
    Vhost(String),
    Streams,
    Stream(String),
    Clients,
    Client(ClientId),
    Metrics,
}

impl Query {
    /// What shards must tell.
    pub fn wanted(&self) -> Wanted {
        let clients = match self.what {
            What::Clients => WantedClients::All,
            What::Client(id) => WantedClients::One(id),
            _ => WantedClients::None,
        };
        let streams = !matches!(self.what, What::Summaries | What::Clients | What::Client(_));
        Wanted { streams, clients }
    }
}

/// A client to be closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kick {
    /// Which.
    pub client: ClientId,
    callback: Option<String>,
}

/// What became of a [`Kick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickOutcome {
    /// It is being closed.
    Closed,
    /// There is no such client.
    Unknown,
    /// Its shard, named here, did not answer in time.
    Unanswered(u16),
}

/// Decides what to do with a request from `peer`.
pub fn route(request: &Request, peer: IpAddr, context: &ApiContext<'_>) -> ApiCall {
    if request.method == Method::Options {
        return ApiCall::Answer(if context.crossdomain { Response::empty(200) } else { Response::text(405) });
    }
    // SRS lets any method do that it knows.
    if request.method == Method::Other {
        return ApiCall::Answer(Response::text(405));
    }
    let (endpoint, rest) = match ENDPOINTS.find(&request.path) {
        Found::Handler(endpoint, rest) => (*endpoint, rest),
        Found::Redirect(path) => {
            return ApiCall::Answer(Response::redirect(302, request.query.after(&path)));
        }
        Found::Nothing => return ApiCall::Answer(Response::text(404)),
    };
    let callback = request.query.value("callback").filter(|name| !name.is_empty()).map(str::to_owned);
    if callback.as_deref().is_some_and(|name| !is_callback_name(name)) {
        return ApiCall::Answer(Response::text(400));
    }
    // In JSONP a page can only GET, so SRS lets it name another method.
    let named = callback.as_ref().and_then(|_| request.query.value("method"));
    let method = match named.map(|name| Method::parse(&name.to_ascii_uppercase())) {
        None => request.method,
        Some(Some(method)) => method,
        Some(None) => return ApiCall::Answer(Response::text(405)),
    };
    let reads = |method| matches!(method, Method::Get | Method::Head);
    let changes = match endpoint {
        Endpoint::Raw => raw::changes(request, context.raw_api),
        Endpoint::Clients => method == Method::Delete,
        _ => false,
    };
    let does = match &callback {
        Some(_) if changes || (named.is_some() && !reads(method)) => Does::ChangeByScript,
        None if changes => Does::Change,
        _ => Does::Read,
    };
    if let Err(refused) = permit::judge(request, peer, context.auth, does) {
        return ApiCall::Refuse(refused, permit::answer(refused, context.auth, callback.as_deref()));
    }
    let answer = |object: Object| ApiCall::Answer(respond(&object, callback.as_deref()));
    let query = |what| {
        let page = match (Page::of(request), &what) {
            (Some(page), _) => page,
            // SRS 3 has no pages of streams, so whoever asks for none wants all.
            (None, What::Streams) => Page::ALL,
            (None, _) => Page { start: 0, count: MIN_COUNT },
        };
        ApiCall::Snapshot(Query { what, page, callback: callback.clone() })
    };
    match endpoint {
        Endpoint::About(page) => answer(page(context)),
        Endpoint::Requests => answer(pages::test_request(context, request, method)),
        Endpoint::OpenApi => ApiCall::Answer(respond_text(openapi::DOCUMENT.to_owned(), callback.as_deref())),
        Endpoint::Clusters => cluster::call(request, context, callback.as_deref()),
        Endpoint::Raw => raw::call(request, context, callback.as_deref()),
        Endpoint::Console if reads(method) => ApiCall::File(request.path.clone()),
        Endpoint::Console => ApiCall::Answer(Response::text(405)),
        Endpoint::Errors => answer(Object::new().with("code", code::TEST)),
        Endpoint::Redirects => {
            ApiCall::Answer(Response::redirect(301, request.query.after("/api/v1/tests/errors")))
        }
        Endpoint::Summaries => query(What::Summaries),
        Endpoint::Metrics => query(What::Metrics),
        Endpoint::Vhosts | Endpoint::Streams if !reads(method) => ApiCall::Answer(Response::text(405)),
        Endpoint::Vhosts if rest.is_empty() => query(What::Vhosts),
        Endpoint::Vhosts => query(What::Vhost(rest.to_owned())),
        Endpoint::Streams if rest.is_empty() => query(What::Streams),
        Endpoint::Streams => query(What::Stream(rest.to_owned())),
        Endpoint::Clients => match (method, ClientId::parse(rest, context.id_style)) {
            (Method::Get | Method::Head, _) if rest.is_empty() => query(What::Clients),
            (Method::Get | Method::Head, Some(id)) => query(What::Client(id)),
            (Method::Delete, Some(client)) => ApiCall::Kick(Kick { client, callback: callback.clone() }),
            (Method::Get | Method::Head | Method::Delete, None) => {
                answer(Object::new().with("code", code::CLIENT_NOT_FOUND))
            }
            _ => ApiCall::Answer(Response::text(405)),
        },
    }
}

/// Answers a query from what the shards said, each `Err` standing for one that did not.
pub fn finish<E>(
    query: &Query,
    context: &ApiContext<'_>,
    answers: Vec<(u16, Result<ShardSnapshot, E>)>,
) -> Response {
    let mut shards = Vec::with_capacity(answers.len());
    let mut unanswered = Vec::new();
    for (shard, answer) in answers {
        match answer {
            Ok(snapshot) => shards.push(snapshot),
            Err(_) => unanswered.push(shard),
        }
    }
    shards.sort_by_key(|s| s.shard);
    unanswered.sort_unstable();
    let one = |name: &'static str, found: Option<Object>, missing: u32| match found {
        Some(object) => pages::envelope(context).with(name, object),
        None => Object::new().with("code", missing),
    };
    let mut object = match &query.what {
        What::Metrics => {
            let text = metrics::render(context, &shards, &unanswered);
            return Response::new(200, prometheus::CONTENT_TYPE, text);
        }
        What::Summaries => pages::summaries(context, &shards),
        What::Vhosts => pages::envelope(context).with("vhosts", objects::vhosts(context, &shards, None)),
        What::Vhost(id) => {
            let found = objects::vhosts(context, &shards, Some(id)).pop();
            one("vhost", found, code::VHOST_NOT_FOUND)
        }
        What::Streams => {
            let all = merge::streams(&shards);
            list(query, context, "streams", all, |stream| objects::stream(context, &stream))
        }
        What::Stream(id) => {
            let found = merge::streams(&shards).into_iter().find(|s| s.id(context.id_style) == *id);
            one("stream", found.map(|s| objects::stream(context, &s)), code::STREAM_NOT_FOUND)
        }
        What::Clients => {
            let all = merge::clients(&shards);
            list(query, context, "clients", all, |(shard, client)| objects::client(context, shard, client))
        }
        What::Client(id) => {
            let found = merge::clients(&shards).into_iter().find(|(_, client)| client.id == *id);
            let found = found.map(|(shard, client)| objects::client(context, shard, client));
            one("client", found, code::CLIENT_NOT_FOUND)
        }
    };
    if !unanswered.is_empty() {
        object.push("unanswered", unanswered);
    }
    respond(&object, query.callback.as_deref())
}

/// The page of `all` that was asked for; objects are made for it alone.
fn list<T>(
    query: &Query,
    context: &ApiContext<'_>,
    name: &'static str,
    all: Vec<T>,
    object: impl FnMut(T) -> Object,
) -> Object {
    let total = all.len();
    let page: Vec<Object> =
        all.into_iter().skip(query.page.start).take(query.page.count).map(object).collect();
    pages::envelope(context).with(name, page).with("total", total)
}

/// Says what became of a kick.
pub fn kicked(kick: &Kick, context: &ApiContext<'_>, outcome: KickOutcome) -> Response {
    let callback = kick.callback.as_deref();
    match outcome {
        KickOutcome::Closed => respond(&pages::envelope(context), callback),
        KickOutcome::Unknown => respond(&Object::new().with("code", code::CLIENT_NOT_FOUND), callback),
        KickOutcome::Unanswered(shard) => {
            let object = Object::new().with("code", code::UNANSWERED).with("unanswered", vec![shard]);
            Response { status: 503, ..respond(&object, callback) }
        }
    }
}

/// An answer that the context alone gives.
type About = fn(&ApiContext<'_>) -> Object;

#[derive(Clone, Copy, Debug)]
enum Endpoint {
    About(About),
    Requests,
    OpenApi,
    Clusters,
    Raw,
    Console,
    Errors,
    Redirects,
    Summaries,
    Vhosts,
    Streams,
    Clients,
    Metrics,
}

static ENDPOINTS: LazyLock<Mux<Endpoint>> = LazyLock::new(|| Mux::new(ROUTES));

/// Every path of the API; [`openapi`] has the same.
const ROUTES: [(&str, Endpoint); 21] = [
    ("/api/", Endpoint::About(pages::api_index)),
    ("/api/v1/", Endpoint::About(pages::v1_index)),
    ("/api/v1/openapi.json", Endpoint::OpenApi),
    ("/api/v1/versions", Endpoint::About(pages::versions)),
    ("/api/v1/summaries", Endpoint::Summaries),
    ("/api/v1/rusages", Endpoint::About(pages::rusages)),
    ("/api/v1/self_proc_stats", Endpoint::About(pages::self_proc_stats)),
    ("/api/v1/system_proc_stats", Endpoint::About(pages::system_proc_stats)),
    ("/api/v1/meminfos", Endpoint::About(pages::meminfos)),
    ("/api/v1/authors", Endpoint::About(pages::authors)),
    ("/api/v1/features", Endpoint::About(pages::features)),
    ("/api/v1/vhosts/", Endpoint::Vhosts),
    ("/api/v1/streams/", Endpoint::Streams),
    ("/api/v1/clients/", Endpoint::Clients),
    ("/api/v1/raw", Endpoint::Raw),
    ("/api/v1/clusters", Endpoint::Clusters),
    ("/api/v1/tests/requests", Endpoint::Requests),
    ("/api/v1/tests/errors", Endpoint::Errors),
    ("/api/v1/tests/redirects", Endpoint::Redirects),
    ("/metrics", Endpoint::Metrics),
    ("/console/", Endpoint::Console),
];

/// JSON, or a call of the callback with it.
fn respond(object: &Object, callback: Option<&str>) -> Response {
    respond_text(object.to_text(), callback)
}

fn respond_text(text: String, callback: Option<&str>) -> Response {
    match callback {
        None => Response::new(200, "application/json", text),
        Some(name) => Response::new(200, "text/javascript", format!("{name}({text})"))
            .with("X-Content-Type-Options", "nosniff"),
    }
}

/// A JavaScript name, dots allowed; anything else would be script of the asker's choice on our origin.
fn is_callback_name(name: &str) -> bool {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_' || b == b'$';
    name.len() <= MAX_CALLBACK_BYTES
        && name.split('.').all(|part| {
            part.bytes().next().is_some_and(first) && part.bytes().all(|b| first(b) || b.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests;
