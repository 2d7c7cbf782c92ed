//! RTMP's shell: reads into the session, does what its events ask for, sends what it answers.

use super::conn::{About, Conn, Grant};
use super::hooks;
use super::plan::{Asking, VhostPlan};
use super::process::unix_time;
use super::shard::{Publishing, Shard};
use crate::access::Verb;
use crate::hooks::Hook;
use crate::hooks::notice::Client;
use crate::rtmp::command::Connect;
use crate::rtmp::session::{
    ConnectRequest, ConnectionId, Event, PlayRequest, PublishKind, PublishLimits, PublishRequest, Refusal,
    ServerSession, SessionError, State, Terms, Timeout,
};
use crate::rtmp::url::{self, StreamName, TcUrl};
use crate::stats::reason::{CloseReason, Reason};
use crate::stream::encode::Format;
use crate::stream::post::{self, Batch};
use crate::stream::viewer::Wanted;
use crate::stream::wire::Wire;
use crate::web::api::snapshot::ClientKind;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// RTMP's lines in the log go by its own name.
pub const LOG_TARGET: &str = "srs_shard::rtmp";

/// Serves one connection until it ends.
pub async fn serve(shard: &Rc<Shard>, conn: &Rc<Conn>) {
    let seed = shard.now_ms() ^ conn.id.0.rotate_left(32) ^ u64::from(shard.process.about.pid) << 20;
    let mut rtmp = RtmpConn {
        shard,
        conn,
        session: ServerSession::new(Arc::clone(&shard.process.session), seed),
        caller: Box::default(),
        vhost: None,
        wish: None,
        batch: Batch::new(),
        stalled: false,
        watched: (State::Closed, 0),
    };
    rtmp.watch();
    loop {
        let read = if rtmp.stalled || (!rtmp.session.wants_read() && !conn.is_closing()) {
            conn.signalled().await;
            rtmp.resume()
        } else {
            // A signal: the owner has ended its publish, maybe because nothing comes from it any more.
            let read = conn.read_or_signal(|bytes| rtmp.take(bytes)).await;
            match read {
                Ok(Some(Some(taken))) => taken,
                Ok(Some(None)) => rtmp.resume(),
                Ok(None) => return conn.note_reason(CloseReason::PeerClosed),
                Err(error) => return conn.note_reason(CloseReason::of_io(&error)),
            }
        };
        let mut read = read;
        while let (Ok(()), Some(wish)) = (&read, rtmp.wish.take()) {
            rtmp.ask_backend(wish).await;
            read = rtmp.take(&[]); // what it held back meanwhile
        }
        if let Err(end) = read {
            rtmp.leave_with(&end);
        }
        shard.ctx.yield_if_needed().await; // a peer that always has more must not keep the shard
    }
}

struct RtmpConn<'a> {
    shard: &'a Rc<Shard>,
    conn: &'a Rc<Conn>,
    session: ServerSession,
    caller: Box<Caller>,
    vhost: Option<Arc<VhostPlan>>,
    /// What its vhost's backend is to be asked about.
    wish: Option<Wish>,
    /// Messages of one read, on their way to the owner together.
    batch: Batch,
    /// The owner has enough for now.
    stalled: bool,
    /// State and message count when the deadline was last set.
    watched: (State, u32),
}

/// What a client wants and may have if a backend permits it.
struct Wish {
    vhost: Arc<VhostPlan>,
    what: Wanting,
}

enum Wanting {
    Publish(Box<PublishRequest>),
    Play(Box<PlayRequest>),
}

/// What is kept of `connect`, for the API: a viewer has it as long as it plays.
#[derive(Default)]
struct Caller {
    tc_url: String,
    /// Those of the tcUrl.
    params: String,
    page_url: String,
    swf_url: String,
    /// The address that a proxy before us named.
    proxied_ip: Option<Ipv4Addr>,
}

impl RtmpConn<'_> {
    fn take(&mut self, mut input: &[u8]) -> Result<(), SessionError> {
        if self.conn.is_closing() {
            return Ok(()); // what a refused client still says is of no interest
        }
        let taken = loop {
            let read = self.take_some(&mut input);
            self.publish_batch();
            self.send_output();
            // Where answers filled its output the session held input back, which nobody would give it again.
            let goes_on = read.is_ok() && self.session.has_held_input();
            if !goes_on || self.stalled || self.conn.is_closing() || self.conn.is_parked() {
                break read;
            }
        };
        self.shard.note_unfinished(self.conn, self.session.unfinished_bytes());
        self.watch();
        self.shard.ctx.kick();
        taken
    }

    fn take_some(&mut self, input: &mut &[u8]) -> Result<(), SessionError> {
        while let Some(event) = self.session.read(input)? {
            self.on_event(event);
        }
        Ok(())
    }

    /// After a signal: the owner's verdict, room again, or the end.
    fn resume(&mut self) -> Result<(), SessionError> {
        self.stalled = false;
        match self.conn.take_grant() {
            Some(Grant::Granted) => self.accept_publish(),
            Some(Grant::Revoked(reason)) => self.revoked(reason),
            None => {}
        }
        self.take(&[])
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Media(message) => self.batch.push(message),
            Event::Connect(request) => self.connect(*request),
            Event::Publish(request) => self.publish(request),
            Event::Unpublish => {
                self.publish_batch();
                self.shard.end_source(self.conn);
                self.stalled = false; // nobody will say that there is room again
            }
            Event::Play(request) => self.play(request),
            Event::StopPlay => self.shard.end_viewer(self.conn),
            Event::Pause { on, ms: _ } => {
                if let Some(viewer) = self.conn.viewer() {
                    self.shard.hub.borrow_mut().pause(viewer, on);
                }
                self.session.pause_done(on);
            }
        }
    }

    fn connect(&mut self, request: ConnectRequest) {
        // As in SRS the vhost is not refused here, only when the stream is named.
        let plan = self.shard.plan();
        let vhost = plan.vhost(&request.url.vhost);
        let config = vhost.map(|vhost| &vhost.config);
        let defaults = Terms::default();
        let terms = Terms {
            chunk_bytes: vhost.map_or(plan.config.chunk_size, |vhost| vhost.chunk_bytes),
            out_ack_bytes: config.map_or(defaults.out_ack_bytes, |vhost| vhost.out_ack_size),
            in_ack_bytes: config.map_or(defaults.in_ack_bytes, |vhost| vhost.in_ack_size),
            server_ip: self.conn.tcp().local().ip().to_string(),
            id: match plan.config.http_api.string_ids {
                true => ConnectionId::Text(self.conn.id.to_text(plan.id_style())),
                false => ConnectionId::Number(self.conn.id.0 as f64),
            },
        };
        self.session.accept_connect(&request, &terms);
        let Connect { tc_url, page_url, swf_url, .. } = request.connect;
        // Behind the question mark may be what opens a stream.
        let bare = |url: &str| url.split('?').next().unwrap_or_default().to_owned();
        log::debug!(target: LOG_TARGET, "connect to {:?}, page {:?}", bare(&tc_url), bare(&page_url));
        let (params, proxied_ip) = (request.url.params.clone(), request.handshake.proxied_ip);
        *self.caller = Caller { tc_url, params, page_url, swf_url, proxied_ip };
        if let Some(vhost) = vhost.filter(|vhost| vhost.config.http_hooks.has_any()) {
            let TcUrl { vhost: named, app, params, .. } = request.url;
            let name = StreamName { vhost: named, app, stream: String::new(), params };
            self.shard.note_connected(self.conn, vhost, self.hooked(vhost, &name));
        }
    }

    fn publish(&mut self, request: Box<PublishRequest>) {
        let Some(vhost) = self.resolve(&request.name, Verb::Publish) else { return };
        self.wish_for(vhost, Wanting::Publish(request));
    }

    fn play(&mut self, request: Box<PlayRequest>) {
        let Some(vhost) = self.resolve(&request.name, Verb::Play) else { return };
        self.wish_for(vhost, Wanting::Play(request));
    }

    /// Does what a client wants, at once unless a backend has to be asked.
    fn wish_for(&mut self, vhost: Arc<VhostPlan>, what: Wanting) {
        if vhost.config.http_hooks.has_any() {
            self.wish = Some(Wish { vhost, what });
        } else {
            self.grant(vhost, &what);
        }
    }

    fn grant(&mut self, vhost: Arc<VhostPlan>, what: &Wanting) {
        match what {
            Wanting::Publish(request) => self.begin_publish(vhost, request),
            Wanting::Play(request) => self.begin_play(vhost, request),
        }
    }

    async fn ask_backend(&mut self, Wish { vhost, what }: Wish) {
        let (hook, name) = match &what {
            Wanting::Publish(request) => (Hook::OnPublish, &request.name),
            Wanting::Play(request) => (Hook::OnPlay, &request.name),
        };
        let client = self.hooked(&vhost, name);
        match self.shard.ask_backend(self.conn, &vhost, hook, client, true).await {
            Ok(_) if self.conn.is_closing() => {}
            Ok(vhost) => self.grant(vhost, &what),
            Err((reason, why)) => {
                self.conn.note_detail(why);
                self.refuse(reason);
            }
        }
    }

    /// This client, as a backend knows it.
    fn hooked(&self, vhost: &VhostPlan, name: &StreamName) -> Client {
        Client {
            id: hooks::id_of(self.conn.id, self.shard.plan().id_style()),
            ip: self.ip(),
            vhost: vhost.name.to_string(),
            app: name.app.clone(),
            tc_url: self.caller.tc_url.clone(),
            page_url: hooks::page_url(&self.caller.page_url),
            stream: name.stream.clone(),
            params: name.params.clone(),
            server: self.shard.process.hook_server(),
        }
    }

    fn begin_publish(&mut self, vhost: Arc<VhostPlan>, request: &PublishRequest) {
        let kind = match request.kind {
            PublishKind::Flash => ClientKind::FlashPublish,
            PublishKind::Fmle => ClientKind::FmlePublish,
            PublishKind::Haivision => ClientKind::HaivisionPublish,
        };
        let Some(about) = self.about(&vhost, &request.name, kind, None) else { return };
        let key = Arc::clone(&about.key);
        self.conn.set_about(about);
        self.conn.tell_begin(self.shard.plan().id_style());
        let source = self.shard.hub.borrow_mut().publish(&key, self.conn.id.0, &vhost.settings);
        self.conn.set_source(Some(source));
        self.shard.sources.borrow_mut().insert(source, Publishing::Conn(Rc::clone(self.conn)));
        self.vhost = Some(vhost);
    }

    fn accept_publish(&mut self) {
        let Some(vhost) = &self.vhost else { return }; // it asked for one
        let publish = &vhost.config.publish;
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let limits =
            PublishLimits { first_ms: ms(publish.firstpkt_timeout), next_ms: ms(publish.normal_timeout) };
        self.session.accept_publish(limits);
    }

    /// The owner refused the publish, or has ended it.
    fn revoked(&mut self, reason: CloseReason) {
        self.conn.set_source(None); // the core has forgotten it already
        self.shard.tell_unpublished(self.conn);
        self.refuse(reason);
    }

    fn begin_play(&mut self, vhost: Arc<VhostPlan>, request: &PlayRequest) {
        if self.shard.hub.borrow().is_full() {
            self.conn.note_detail(self.shard.plan().feed_memory_reached());
            return self.refuse(CloseReason::MemoryBudget);
        }
        let format = Format::Rtmp { chunk_bytes: self.session.chunk_bytes() };
        let Some(about) = self.about(&vhost, &request.name, ClientKind::Play, Some(format)) else { return };
        self.session.accept_play();
        let opening = self.session.take_output();
        let wanted = Wanted { bare: false, duration_ms: request.duration_ms };
        self.shard.begin_viewer(self.conn, &vhost, about, opening, format, wanted);
        self.vhost = Some(vhost);
    }

    /// The vhost of a stream that the client wants something of; None if it was refused.
    fn resolve(&mut self, name: &StreamName, verb: Verb) -> Option<Arc<VhostPlan>> {
        #[cfg(feature = "fault-injection")]
        {
            crate::faults::in_connection(&name.stream);
            crate::faults::stall(&name.stream, self.shard.ctx.me().0);
        }
        let Some(vhost) = self.shard.plan().vhost(&name.vhost).cloned() else {
            self.conn.note_detail(&name.vhost);
            self.refuse(CloseReason::VhostUnknown);
            return None;
        };
        // The stream's parameters come before those of the tcUrl, but need not repeat them.
        let value_of =
            |key: &str| url::param(&name.params, key).or_else(|| url::param(&self.caller.params, key));
        let asking = Asking {
            verb,
            app: &name.app,
            stream: &name.stream,
            ip: self.ip(),
            page_url: &self.caller.page_url,
            shown: vhost.shown(|key| value_of(key).map(str::to_owned), None),
        };
        if let Err((reason, why)) = vhost.admits(&asking, unix_time().as_secs()) {
            self.conn.note_detail(format_args!("{}/{}/{}: {why}", vhost.name, name.app, name.stream));
            self.refuse(reason);
            return None;
        }
        Some(vhost)
    }

    /// Its address, or the one that a proxy before us named.
    fn ip(&self) -> IpAddr {
        self.caller.proxied_ip.map_or_else(|| self.conn.tcp().peer().ip(), IpAddr::from)
    }

    /// Says no, in the word that log and metrics have for it.
    fn refuse(&mut self, reason: CloseReason) {
        self.session.refuse(match reason {
            CloseReason::StreamBusy => Refusal::Busy,
            _ => Refusal::Denied(reason.as_str()),
        });
        self.send_output();
        self.conn.end(reason);
    }

    /// What the API will say of this client; None if its vhost has as many as it may, and it was refused.
    fn about(
        &mut self,
        vhost: &VhostPlan,
        name: &StreamName,
        kind: ClientKind,
        format: Option<Format>,
    ) -> Option<About> {
        let (all, most) = (&self.shard.process.per_vhost, vhost.config.max_clients);
        let had = self.conn.take_seat(&vhost.name); // it published or played before
        let Some(seat) = had.or_else(|| all.enter(Arc::clone(&vhost.name), most)) else {
            self.conn.note_detail(&vhost.name);
            self.refuse(CloseReason::MaxClients);
            return None;
        };
        let Caller { tc_url, page_url, swf_url, .. } = &*self.caller;
        Some(About {
            key: post::key(&vhost.name, &name.app, &name.stream),
            ip: self.ip(),
            page_url: vhost.without_secrets(page_url),
            swf_url: vhost.without_secrets(swf_url),
            tc_url: vhost.without_secrets(tc_url),
            kind,
            format,
            seat: Some(seat),
        })
    }

    /// Sends the messages of this read to the owner.
    fn publish_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        self.shard.counters.borrow_mut().recv_messages += batch.len() as u64;
        if let Some(source) = self.conn.source() {
            self.stalled = !self.shard.hub.borrow_mut().media(source, batch);
        }
    }

    fn send_output(&mut self) {
        self.conn.send(self.session.take_output());
    }

    /// Sets the deadline of the state the session is in.
    fn watch(&mut self) {
        if self.conn.is_closing() {
            return;
        }
        let (state, messages) = (self.session.state(), self.session.messages());
        let (state_before, messages_before) = self.watched;
        let reason = match state {
            State::Handshake => CloseReason::HandshakeTimeout,
            State::Connecting | State::Ready => CloseReason::ConnectTimeout,
            State::PublishStart => CloseReason::FirstPacketTimeout,
            State::Publishing => CloseReason::PublishTimeout,
            _ => CloseReason::IdleTimeout,
        };
        let (limit_ms, renewed) = match self.session.timeout() {
            Some(Timeout::SinceEntered(limit_ms)) => (limit_ms, false),
            Some(Timeout::SinceMessage(limit_ms)) => (limit_ms, messages != messages_before),
            None => {
                self.conn.set_deadline(None, reason);
                self.watched = (state, messages);
                return;
            }
        };
        if state != state_before || renewed {
            self.conn.set_deadline(Some(self.shard.now_ms() + u64::from(limit_ms)), reason);
        }
        self.watched = (state, messages);
    }

    fn leave_with(&mut self, error: &SessionError) {
        self.conn.note_detail(format_args!("{error}, state {}", self.session.state().name()));
        self.conn.kick(CloseReason::ProtocolError);
    }
}
