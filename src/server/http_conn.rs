//! HTTP's shell: requests one after another, each answered by the API, a page, a file or a live body.

use super::conn::{About, Conn};
use super::hooks;
use super::messages::Msg;
use super::plan::{Asking, Plan, VhostPlan};
use super::process::{Order, Process, unix_time};
use super::shard::{API, HTTP, RTMP, Shard};
use crate::access::Verb;
use crate::hooks::Hook;
use crate::hooks::notice::Client;
use crate::http::authorization::Authorization;
use crate::http::request::{CONTINUE, Error, Event, Method, Parser, Request};
use crate::http::response::{
    Exchange, LiveFraming, Range, Response, range, write_file_head, write_live_head,
};
use crate::stats::reason::{CloseReason, Reason};
use crate::stream::encode::Format;
use crate::stream::post;
use crate::stream::viewer::Wanted as ViewerWanted;
use crate::web::api::ids::ClientId;
use crate::web::api::snapshot::{ClientKind, Wanted, WantedClients};
use crate::web::api::{self, ApiCall, ApiContext, KickOutcome, Query, RawApi, ReloadOutcome};
use crate::web::files;
use crate::web::live::LiveRequest;
use crate::web::page::{self, Asset};
use crate::web::router::{MediaRoute, is_api_path, route_media};
use bytes::Bytes;
use shards::ShardId;
use shards::ask::ASK_LIMIT;
use shards::file::ReadFile;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::UNIX_EPOCH;

/// A request must be complete, and the next one must have begun, within this (SRS: 15 s).
const REQUEST_MS: u64 = 15_000;
/// Pieces in which files are read and sent.
const FILE_PIECE_BYTES: usize = 64 << 10;
/// How long a piece may take to be taken.
const SEND_MS: u64 = 30_000;

/// HTTP's lines in the log go by its own name.
pub const LOG_TARGET: &str = "srs_shard::http";

/// Serves one connection until it ends.
pub async fn serve(shard: &Rc<Shard>, conn: &Rc<Conn>, api_port: bool) {
    let mut http = HttpConn { shard, conn, parser: Parser::default(), api_port };
    loop {
        // Where requests and answers are always ready none of the waits below would let others run.
        shard.ctx.yield_if_needed().await;
        let request = match http.next_request().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(error) => {
                let mut out = Vec::new();
                Response::text(error.status()).write(Exchange::BROKEN, &mut out);
                http.send(out.into()).await;
                conn.note_detail(error);
                return conn.note_reason(CloseReason::BadRequest);
            }
        };
        // On the heap while it lasts: a viewer waits for hours, and its task is to hold little meanwhile.
        let answered = Box::pin(http.answer(&request)).await;
        drop(request);
        match answered {
            Answered::Views => break,
            Answered::Whole { keep_alive: true } if !conn.is_closing() => {}
            Answered::Whole { .. } => return conn.note_reason(CloseReason::Finished),
        }
    }
    drop(http);
    until_gone(shard, conn).await;
    conn.note_reason(CloseReason::Finished);
}

/// What a viewer still says is of no interest; that it leaves is.
async fn until_gone(shard: &Shard, conn: &Conn) {
    while !conn.is_closing() {
        match conn.read(|_| ()).await {
            Ok(Some(())) => {}
            Ok(None) => conn.note_reason(CloseReason::PeerClosed),
            Err(error) => conn.note_reason(CloseReason::of_io(&error)),
        }
        shard.ctx.yield_if_needed().await;
    }
}

/// What a request has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// It has its answer.
    Whole {
        /// Another request may follow.
        keep_alive: bool,
    },
    /// Its answer is a live body, which the core sends from here on.
    Views,
}

impl From<bool> for Answered {
    fn from(keep_alive: bool) -> Answered {
        Answered::Whole { keep_alive }
    }
}

struct HttpConn<'a> {
    shard: &'a Rc<Shard>,
    conn: &'a Rc<Conn>,
    parser: Parser,
    api_port: bool,
}

impl HttpConn<'_> {
    /// The next whole request, its body read and dropped; None when the connection ended.
    async fn next_request(&mut self) -> Result<Option<Box<Request>>, Error> {
        let mut request: Option<Box<Request>> = None;
        let until_ms = self.shard.now_ms() + REQUEST_MS;
        loop {
            match self.parser.poll()? {
                Some(Event::Request(head)) => {
                    if head.expects_continue {
                        self.conn.send(CONTINUE.to_vec());
                    }
                    request = Some(head);
                }
                Some(Event::Body(_)) => {}
                Some(Event::End) => {
                    self.conn.set_deadline(None, CloseReason::IdleTimeout);
                    return Ok(request);
                }
                None => {
                    let begun = self.parser.is_mid_request();
                    let reason = if begun { CloseReason::ConnectTimeout } else { CloseReason::IdleTimeout };
                    self.conn.set_deadline(Some(until_ms), reason);
                    let parser = &mut self.parser;
                    match self.conn.read(|bytes| parser.feed(bytes)).await {
                        Ok(Some(())) => {}
                        Ok(None) => {
                            self.conn.note_reason(CloseReason::PeerClosed);
                            return Ok(None);
                        }
                        Err(error) => {
                            self.conn.note_reason(CloseReason::of_io(&error));
                            return Ok(None);
                        }
                    }
                }
            }
        }
    }

    /// A server on its way out waits for the end of each connection: this is the last answer of this one then.
    fn exchange(&self, request: &Request, crossdomain: bool) -> Exchange {
        let exchange = Exchange::of(request, crossdomain);
        Exchange { keep_alive: exchange.keep_alive && !self.shard.is_draining(), ..exchange }
    }

    /// Answers a request.
    async fn answer(&mut self, request: &Request) -> Answered {
        let plan = self.shard.plan();
        let config = &plan.config;
        if self.api_port || (plan.shares_http_port && is_api_path(&request.path)) {
            let exchange = self.exchange(request, config.http_api.crossdomain);
            return self.answer_api(request, exchange).await.into();
        }
        let exchange = self.exchange(request, config.http_server.crossdomain);
        let keep_alive = match route_media(request, config, &plan.mounts) {
            MediaRoute::Api => self.answer_api(request, exchange).await,
            _ if request.method == Method::Options && config.http_server.crossdomain => {
                self.respond(&Response::empty(200), exchange).await
            }
            _ if !matches!(request.method, Method::Get | Method::Head) => {
                self.respond(&Response::text(405), exchange).await
            }
            MediaRoute::Redirect(path) => {
                self.respond(&Response::redirect(302, request.query.after(&path)), exchange).await
            }
            MediaRoute::PlayerPage if request.path == page::STREAMS_PATH => {
                self.answer_streams(exchange).await
            }
            MediaRoute::PlayerPage => match page::at(&request.path) {
                Some(asset) => self.answer_asset(asset, request, exchange).await,
                None => self.respond(&Response::text(404), exchange).await,
            },
            MediaRoute::Media { live } => return self.answer_media(request, live, exchange).await,
        };
        keep_alive.into()
    }

    // ---- live streams and files ----

    /// A published stream, else a file, else the stream that may come, or 404.
    async fn answer_media(
        &mut self,
        request: &Request,
        live: Option<LiveRequest>,
        exchange: Exchange,
    ) -> Answered {
        let plan = self.shard.plan();
        let live = live.filter(|live| {
            plan.vhost_named(&live.vhost).is_some_and(|vhost| vhost.config.http_remux.enabled)
        });
        if let Some(live) = &live
            && self.is_published(live).await
        {
            return self.play(request, live, exchange).await;
        }
        let file = files::file_at(&plan.config.http_server.dir, &request.path);
        if let Some(file) = file
            && let Some(kept) = self.answer_file(request, &file, exchange).await
        {
            return kept.into();
        }
        if request.path == "/" {
            return self.answer_asset(page::index(), request, exchange).await.into();
        }
        let waits = |live: &&LiveRequest| {
            plan.vhost_named(&live.vhost).is_some_and(|vhost| vhost.config.http_remux.wait)
        };
        match live.as_ref().filter(waits) {
            Some(live) => self.play(request, live, exchange).await,
            None => self.respond(&Response::text(404), exchange).await.into(),
        }
    }

    async fn is_published(&self, live: &LiveRequest) -> bool {
        self.is_live(&live.vhost, &live.app, &live.stream).await.unwrap_or(false)
    }

    /// Whether a stream is published; its owner, if that does not say in time.
    async fn is_live(&self, vhost: &str, app: &str, stream: &str) -> Result<bool, ShardId> {
        let key = post::key(vhost, app, stream);
        if self.shard.hub.borrow().is_live_here(&key) {
            return Ok(true);
        }
        let owner = self.shard.ctx.owner_of(&key);
        self.shard.ctx.ask(owner, |reply| Msg::IsLive(key, reply), ASK_LIMIT).await.map_err(|_| owner)
    }

    /// Makes the client a viewer of a live stream.
    async fn play(&mut self, request: &Request, live: &LiveRequest, exchange: Exchange) -> Answered {
        // Asked again: a reload may have come while others were waited for.
        let Some(mut plan) = self.shard.plan().vhost_named(&live.vhost).cloned() else {
            return self.respond(&Response::text(404), exchange).await.into();
        };
        let header = |name| request.headers.value(name).unwrap_or_default();
        let ip = self.conn.tcp().peer().ip();
        let authorization = Authorization::of(&request.headers);
        let bearer = authorization.as_ref().and_then(Authorization::bearer);
        let asking = Asking {
            verb: Verb::Play,
            app: &live.app,
            stream: &live.stream,
            ip,
            page_url: header("referer"),
            shown: plan.shown(|name| request.query.value(name).map(str::to_owned), bearer),
        };
        if let Err((reason, why)) = plan.admits(&asking, unix_time().as_secs()) {
            self.conn.note_detail(format_args!("{}/{}/{}: {why}", plan.name, live.app, live.stream));
            return self.refuse(403, reason, exchange).await;
        }
        let mut head = Vec::new();
        let framing = write_live_head(exchange, live.format.content_type(), &mut head);
        if framing == LiveFraming::HeadOnly {
            self.send(head.into()).await;
            return exchange.keep_alive.into();
        }
        if self.shard.hub.borrow().is_full() {
            self.conn.note_detail(self.shard.plan().feed_memory_reached());
            return self.refuse(503, CloseReason::MemoryBudget, exchange).await;
        }
        let vhost = Arc::clone(&plan.name);
        let Some(seat) = self.shard.process.per_vhost.enter(vhost, plan.config.max_clients) else {
            self.conn.note_detail(&plan.name);
            return self.refuse(503, CloseReason::MaxClients, exchange).await;
        };
        if plan.config.http_hooks.has_any() {
            let client = self.hooked(request, live, &plan);
            match self.shard.ask_backend(self.conn, &plan, Hook::OnPlay, client, false).await {
                Ok(_) if self.conn.is_closing() => return false.into(),
                Ok(by_now) => plan = by_now,
                Err((reason, why)) => {
                    self.conn.note_detail(why);
                    return self.refuse(403, reason, exchange).await;
                }
            }
        }
        let format = Format::from(live.format);
        let about = About {
            key: post::key(&plan.name, &live.app, &live.stream),
            ip,
            page_url: plan.without_secrets(header("referer")),
            swf_url: String::new(),
            tc_url: format!("http://{}/{}", request.host, live.app),
            kind: ClientKind::Play,
            format: Some(format),
            seat: Some(seat),
        };
        let wanted = ViewerWanted { bare: framing == LiveFraming::UntilClose, duration_ms: None };
        self.shard.begin_viewer(self.conn, &plan, about, head, format, wanted);
        Answered::Views
    }

    /// This viewer, as a backend knows it.
    fn hooked(&self, request: &Request, live: &LiveRequest, vhost: &VhostPlan) -> Client {
        let header = |name| request.headers.value(name).unwrap_or_default();
        Client {
            id: hooks::id_of(self.conn.id, self.shard.plan().id_style()),
            ip: self.conn.tcp().peer().ip(),
            vhost: vhost.name.to_string(),
            app: live.app.clone(),
            tc_url: format!("rtmp://{}/{}", vhost.name, live.app),
            page_url: hooks::page_url(header("referer")),
            stream: live.stream.clone(),
            params: request.query.raw.clone(),
            server: self.shard.process.hook_server(),
        }
    }

    /// Says no to a viewer, in the word that log and metrics have for it.
    async fn refuse(&mut self, status: u16, reason: CloseReason, exchange: Exchange) -> Answered {
        self.conn.note_reason(reason);
        let last = Exchange { keep_alive: false, ..exchange };
        // RFC 6750 §3; the other ways have no scheme of HTTP's.
        let by_token = reason == CloseReason::TokenDenied;
        let status = if by_token { 401 } else { status };
        let mut refused = Response::new(status, "text/plain; charset=utf-8", reason.as_str());
        if by_token {
            refused = refused.with("WWW-Authenticate", "Bearer realm=\"srs-shard\"");
        }
        self.respond(&refused, last).await.into()
    }

    /// None if there is no such file.
    async fn answer_file(
        &mut self,
        request: &Request,
        file: &files::FilePath,
        exchange: Exchange,
    ) -> Option<bool> {
        let path = file.path.clone();
        // Opening a directory or a pipe would succeed, or block.
        let found = self.shard.ctx.offload(move || std::fs::metadata(path)).await.ok()?.ok()?;
        if !found.is_file() {
            return None;
        }
        let open = match ReadFile::open(&file.path).await {
            Ok(open) => open,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                return None;
            }
            Err(error) => {
                // It is there: out of descriptors, most likely. The client may try again.
                self.shard.tell_unreadable(&file.path, &error);
                return Some(self.respond(&Response::text(503), exchange).await);
            }
        };
        let length = open.length().await.ok()?;
        let modified =
            found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let etag = format!("\"{:x}-{length:x}\"", modified.as_nanos());
        if request.headers.value("if-none-match") == Some(&etag) {
            return Some(self.respond(&Response::empty(304).with("ETag", etag), exchange).await);
        }
        // A range of what the client has: of another version it would be of no use (RFC 9110 §13.1.5).
        let same = request.headers.value("if-range").is_none_or(|of| of == etag);
        let asked = request.headers.value("range").filter(|_| same);
        let asked = asked.map_or(Range::Whole, |value| range(value, length));
        let mut fields = vec![("Accept-Ranges", "bytes".to_owned()), ("ETag", etag)];
        let (status, from, to) = match asked {
            Range::Whole => (200, 0, length),
            Range::Part(part) => {
                fields.push(("Content-Range", format!("bytes {}-{}/{length}", part.start(), part.end())));
                (206, *part.start(), part.end() + 1)
            }
            Range::Unsatisfiable => {
                let refused = Response::text(416).with("Content-Range", format!("bytes */{length}"));
                return Some(self.respond(&refused, exchange).await);
            }
        };
        let mut head = Vec::new();
        write_file_head(exchange, status, file.content_type, to - from, &fields, &mut head);
        if !self.send(head.into()).await || exchange.head_only {
            return Some(exchange.keep_alive);
        }
        let mut at = from;
        while at < to {
            let piece = FILE_PIECE_BYTES.min((to - at) as usize);
            let bytes = match open.read_at(at, piece).await {
                Ok(bytes) if !bytes.is_empty() => bytes,
                _ => return Some(false), // cut short meanwhile: the length was promised, so the connection goes
            };
            at += bytes.len() as u64;
            if !self.send(bytes.into()).await {
                return Some(false);
            }
        }
        Some(exchange.keep_alive)
    }

    // ---- the page ----

    async fn answer_asset(&mut self, asset: &Asset, request: &Request, exchange: Exchange) -> bool {
        let fresh = request.headers.value("if-none-match") == Some(asset.etag());
        let response = if fresh { Response::empty(304) } else { Response::new(200, asset.mime, asset.body) };
        let response = response.with("ETag", asset.etag()).with("Cache-Control", "no-cache");
        self.respond(&response, exchange).await
    }

    async fn answer_streams(&mut self, exchange: Exchange) -> bool {
        let wanted = Wanted { streams: true, clients: WantedClients::None };
        let answers = self.shard.ctx.ask_all(|reply| Msg::Snapshot(wanted, reply), ASK_LIMIT).await;
        let plan = self.shard.plan();
        let list = move || {
            let shards: Vec<_> = answers.into_iter().filter_map(|(_, answer)| Some(*answer.ok()?)).collect();
            serde_json::to_vec(&page::live_streams(&plan.config, &shards)).unwrap_or_default()
        };
        let Ok(body) = self.shard.ctx.offload(list).await else {
            return self.respond(&Response::text(500), exchange).await;
        };
        let ports = self.shard.process.ports.read().unwrap_or_else(PoisonError::into_inner).clone();
        let rtmp =
            ports.iter().find(|(name, _)| *name == super::shard::RTMP).map_or(1935, |(_, at)| at.port());
        let response = Response::new(200, "application/json", body)
            .with("Cache-Control", "no-store")
            .with(page::RTMP_PORT_HEADER, rtmp.to_string());
        self.respond(&response, exchange).await
    }

    // ---- the API ----

    async fn answer_api(&mut self, request: &Request, exchange: Exchange) -> bool {
        let (process, plan) = (&self.shard.process, self.shard.plan());
        let call =
            with_context(process, &plan, |context| api::route(request, self.conn.tcp().peer().ip(), context));
        let response = match call {
            ApiCall::Answer(response) => response,
            ApiCall::Refuse(refused, response) => {
                self.shard.api_refusals.tell(self.conn.tcp().peer(), request, refused);
                response
            }
            ApiCall::File(path) => {
                let file = files::file_at(&plan.config.http_server.dir, &path);
                if let Some(file) = file
                    && let Some(kept) = self.answer_file(request, &file, exchange).await
                {
                    return kept;
                }
                Response::text(404)
            }
            ApiCall::Locate(asked) => {
                let is_live = self.is_live(&asked.vhost, &asked.app, &asked.stream).await;
                api::located(&asked, is_live.map_err(|silent| silent.0))
            }
            ApiCall::Snapshot(query) => self.ask(query).await,
            ApiCall::Reload(reload) => {
                let (process, order) = (Arc::clone(process), reload.edit.clone());
                let order = order.map_or(Order::Reload, Order::Update);
                // On a helper thread: the master takes its time.
                let outcome = self.shard.ctx.offload(move || process.ask_master(order)).await;
                api::reloaded(&reload, &outcome.unwrap_or(ReloadOutcome::Unanswered))
            }
            ApiCall::Kick(kick) => {
                let to = self.shard_of(kick.client);
                let asked = self.shard.ctx.ask(to, |reply| Msg::Kick(kick.client, reply), ASK_LIMIT).await;
                let outcome = match asked {
                    Ok(true) => KickOutcome::Closed,
                    Ok(false) => KickOutcome::Unknown,
                    Err(_) => KickOutcome::Unanswered(to.0),
                };
                with_context(process, &plan, |context| api::kicked(&kick, context, outcome))
            }
        };
        self.respond(&response, exchange).await
    }

    async fn ask(&self, query: Query) -> Response {
        let wanted = query.wanted();
        let ctx = &self.shard.ctx;
        let answers = match wanted.clients {
            WantedClients::One(id) => {
                let to = self.shard_of(id);
                vec![(to, ctx.ask(to, |reply| Msg::Snapshot(wanted, reply), ASK_LIMIT).await)]
            }
            _ => ctx.ask_all(|reply| Msg::Snapshot(wanted, reply), ASK_LIMIT).await,
        };
        let (process, plan) = (Arc::clone(&self.shard.process), self.shard.plan());
        // On a helper thread: a page of 10,000 clients takes longer than a turn may.
        let finish = move || {
            let answers = answers.into_iter().map(|(shard, answer)| (shard.0, answer.map(|boxed| *boxed)));
            let answers = answers.collect();
            with_context(&process, &plan, |context| api::finish(&query, context, answers))
        };
        let finished = ctx.offload(finish).await;
        finished.unwrap_or_else(|_| Response::text(500))
    }

    /// The shard that a client's id names; an id that names none goes to shard 0, which does not know it.
    fn shard_of(&self, conn: ClientId) -> ShardId {
        let shards = self.shard.ctx.shards();
        let shard = conn.shard(ClientId::shard_bits(shards));
        ShardId(if shard < shards { shard } else { 0 })
    }

    // ---- sending ----

    async fn respond(&mut self, response: &Response, exchange: Exchange) -> bool {
        let mut out = Vec::new();
        response.write(exchange, &mut out);
        self.send(out.into()).await && exchange.keep_alive
    }

    /// Sends all of it; false if the connection is gone.
    async fn send(&mut self, bytes: Bytes) -> bool {
        self.conn.set_deadline(Some(self.shard.now_ms() + SEND_MS), CloseReason::SendTimeout);
        let sent = self.conn.send_all(bytes).await;
        self.conn.set_deadline(None, CloseReason::SendTimeout);
        if let Err(error) = sent {
            let reason = CloseReason::of_io(&error);
            log::debug!(target: LOG_TARGET, "{}: {error}", reason.as_str());
            self.conn.note_reason(reason);
            return false;
        }
        true
    }
}

/// Gives `f` what the API knows without asking.
pub(super) fn with_context<R>(process: &Process, plan: &Plan, f: impl FnOnce(&ApiContext<'_>) -> R) -> R {
    let system = process.system.read().unwrap_or_else(PoisonError::into_inner);
    let ports = process.ports.read().unwrap_or_else(PoisonError::into_inner).clone();
    // The API may have its port of the HTTP server.
    let at = |names: &[&str]| {
        names.iter().find_map(|of| ports.iter().find(|(name, _)| name == of)).map(|(_, at)| *at)
    };
    f(&ApiContext {
        server_id: &process.server_id,
        service_id: &process.service_id,
        crossdomain: plan.config.http_api.crossdomain,
        id_style: plan.id_style(),
        raw_api: RawApi {
            enabled: plan.config.http_api.raw_api.enabled,
            allow_reload: plan.config.http_api.raw_api.allow_reload,
            allow_query: plan.config.http_api.raw_api.allow_query,
            allow_update: plan.config.http_api.raw_api.allow_update,
        },
        auth: &plan.config.http_api.auth,
        config_version: plan.version,
        hooks: process.desk.counters(),
        is_draining: process.is_draining(),
        log_lines_dropped: process.log_drops.count(),
        config: &plan.config,
        said: &plan.said,
        rtmp_at: at(&[RTMP]),
        api_at: at(&[API, HTTP]),
        vhosts: &plan.vhost_infos,
        process: &process.about,
        system: &system,
        now_ms: super::process::unix_time().as_millis() as u64,
    })
}
