//! One shard of the server: accepts connections, runs the core's turns, sweeps deadlines four times a second.

use super::api_refusals::ApiRefusals;
use super::conn::{About, Conn, Grant, TUNING, summary};
use super::heartbeat::{self, Heart};
use super::messages::Msg;
use super::plan::{Plan, VhostPlan};
use super::process::Process;
use super::signal::Signal;
use super::totals::{ShardTotals, VhostTotals};
use super::{demo, http_conn, rtmp_conn, snapshot};
use crate::logging::{Client, Repeats, Throttle};
use crate::stats::rates::STEP_MS;
use crate::stats::reason::{CloseReason, Reason};
use crate::stream::cadence::{AutoCadence, SAMPLE_MS};
use crate::stream::encode::Format;
use crate::stream::hub::{Event, Hub};
use crate::stream::post::{self, SourceId};
use crate::stream::viewer::Wanted;
use crate::web::api::ids::ClientId;
use shards::demand::Demand;
use shards::{Awake, Class, Control, Ctx, Listener, Next, Service, ShardId, TcpConn, TcpTuning};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// The names of the ports.
pub const RTMP: &str = "rtmp";
/// `http_server`.
pub const HTTP: &str = "http";
/// `http_api`.
pub const API: &str = "api";

/// A stopping shard waits so often, so long, for its connections to end.
const STOP_TURNS: u32 = 50;
const STOP_TURN: Duration = Duration::from_millis(10);

/// Unfinished messages of a shard's clients may hold this part of the shard's part of `feed_memory`.
const UNFINISHED_PART: u64 = 8;
/// They are counted in steps of this: an encoder's usual messages, a few kilobytes each, never come to one.
const UNFINISHED_STEP_BYTES: u64 = 64 << 10;

/// What one shard holds.
pub struct Shard {
    /// The engine.
    pub ctx: Ctx<Msg>,
    /// What all shards share.
    pub process: Arc<Process>,
    /// What is in force here.
    plan: RefCell<Arc<Plan>>,
    /// The stream core. Never borrowed over an `.await`.
    pub hub: RefCell<Hub<Rc<Conn>>>,
    /// Open connections.
    pub conns: RefCell<HashMap<ClientId, Rc<Conn>, ahash::RandomState>>,
    /// Whom an owner's word about a publish is for.
    pub sources: RefCell<HashMap<SourceId, Publishing, ahash::RandomState>>,
    /// What is counted here.
    pub counters: RefCell<ShardTotals>,
    cadence: RefCell<AutoCadence>,
    /// Thousandths of a core, in the last sample.
    pub busy_permille: Cell<u32>,
    sampled: Cell<(u64, Demand)>,
    /// When a connection came last, and how many more may come at once then, by `accept_rate`.
    may_come: Cell<(u64, f64)>,
    swept_ms: Cell<u64>,
    rates_ms: Cell<u64>,
    next_conn: Cell<u64>,
    awake: RefCell<Option<Awake>>,
    /// For each reason: connections that ended before they were anything's viewer or publisher.
    strays: [Throttle; CloseReason::ALL.len()],
    /// What unfinished messages of all clients hold.
    unfinished_bytes: Cell<u64>,
    /// See [`heartbeat`].
    pub heart: Heart,
    /// Calls of the API that were refused.
    pub api_refusals: ApiRefusals,
    /// Files that are there and cannot be opened.
    unreadable: Throttle,
    listeners: RefCell<Vec<(&'static str, Listener)>>,
    /// Nobody is let in any more.
    draining: Cell<bool>,
    stop: Signal,
}

/// Who publishes.
pub enum Publishing {
    /// A connection.
    Conn(Rc<Conn>),
    /// The built-in stream.
    Demo(Rc<demo::Verdict>),
}

impl Shard {
    /// A shard's state.
    pub fn new(ctx: Ctx<Msg>, process: Arc<Process>) -> Shard {
        let (me, shards) = (ctx.me().0, ctx.shards());
        let owner_of = move |key: &str| shards::owner::owner_of(key, shards).0;
        let mut hub = Hub::new(me, owner_of, ahash::RandomState::new());
        let plan = process.plan();
        hub.set_memory(plan.feed_memory_bytes);
        Shard {
            process,
            plan: RefCell::new(plan),
            hub: RefCell::new(hub),
            conns: RefCell::default(),
            sources: RefCell::default(),
            counters: RefCell::default(),
            cadence: RefCell::default(),
            busy_permille: Cell::new(0),
            sampled: Cell::default(),
            may_come: Cell::new((0, f64::MAX)),
            swept_ms: Cell::new(0),
            rates_ms: Cell::new(0),
            // As in SRS ids begin somewhere above 100.
            next_conn: Cell::new(100),
            awake: RefCell::default(),
            strays: std::array::from_fn(|_| Throttle::new()),
            unfinished_bytes: Cell::new(0),
            heart: Heart::default(),
            api_refusals: ApiRefusals::default(),
            unreadable: Throttle::new(),
            listeners: RefCell::default(),
            draining: Cell::new(false),
            stop: Signal::default(),
            ctx,
        }
    }

    /// What is in force here.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.borrow())
    }

    /// Milliseconds since the process started.
    pub fn now_ms(&self) -> u64 {
        self.process.started.elapsed().as_millis() as u64
    }

    /// The shard's step of cadence, in ms.
    pub fn tick_ms(&self) -> u32 {
        self.cadence.borrow().interval_ms()
    }

    /// Takes a connection in; None if there are too many.
    pub fn admit(self: &Rc<Self>, tcp: TcpConn) -> Option<Rc<Conn>> {
        let plan = self.plan();
        let entered = match self.may_accept(&plan) {
            true => self.process.enter(tcp.peer().ip(), &plan),
            false => Err(CloseReason::AcceptRate),
        };
        let place = match entered {
            Ok(place) => place,
            Err(reason) => {
                self.counters.borrow_mut().closes.add(reason);
                self.tell_stray(module_path!(), reason, || {
                    let most = match reason {
                        CloseReason::MaxConnections => plan.max_connections,
                        CloseReason::MaxConnectionsPerIp => {
                            plan.config.max_connections_per_ip.unwrap_or(0).into()
                        }
                        _ => plan.config.accept_rate.unwrap_or(0).into(),
                    };
                    format!("{} refused: {reason} {most} reached", tcp.peer())
                });
                return None;
            }
        };
        let bits = ClientId::shard_bits(self.ctx.shards());
        let number = self.next_conn.replace(self.next_conn.get() + 1);
        let id = ClientId::new(number, self.ctx.me().0, bits);
        let conn = Conn::new(id, tcp, self, place);
        self.conns.borrow_mut().insert(id, Rc::clone(&conn));
        Some(conn)
    }

    /// Whether `accept_rate` permits one more connection now. Each shard has its part of it, and of a second without
    /// connections what that would have permitted.
    fn may_accept(&self, plan: &Plan) -> bool {
        let Some(rate) = plan.config.accept_rate else { return true };
        let rate = f64::from(rate) / f64::from(self.ctx.shards());
        let (before_ms, left) = self.may_come.get();
        let now_ms = self.now_ms();
        let since = now_ms.saturating_sub(before_ms) as f64 / 1000.0;
        let left = (left + since * rate).min(rate.max(1.0));
        self.may_come.set((now_ms, if left >= 1.0 { left - 1.0 } else { left }));
        left >= 1.0
    }

    /// A connection has ended: it leaves the core, is counted, and gets its line in the log.
    pub fn dismiss(&self, conn: &Rc<Conn>, protocol: &str) {
        self.end_viewer(conn);
        self.end_source(conn);
        self.tell_closed(conn);
        self.note_unfinished(conn, 0);
        self.conns.borrow_mut().remove(&conn.id);
        let reason = conn.reason().unwrap_or(CloseReason::PeerClosed);
        let mut totals = self.counters.borrow_mut();
        totals.recv_bytes += conn.recv_bytes();
        totals.sent_bytes += conn.sent_bytes();
        totals.closes.add(reason);
        if let Some(vhost) = conn.about(|about| about.vhost().to_owned()) {
            let ended = &mut totals.vhosts.entry(vhost).or_default().ended;
            *ended = (ended.0 + conn.recv_bytes(), ended.1 + conn.sent_bytes());
        }
        let target = log_target(protocol);
        let line = || summary(conn, protocol, self.plan.borrow().id_style(), self.now_ms());
        if conn.about(|_| ()).is_some() {
            totals.clients += 1;
            log::info!(target: target, "{}", line());
        } else if reason.is_ordinary() {
            log::debug!(target: target, "{}", line());
        } else {
            self.tell_stray(target, reason, line);
        }
        self.ctx.kick();
    }

    /// A client's unfinished messages hold so much by now. Each has a limit of its own, but a publisher may need
    /// megabytes for a picture, and there may be thousands: where all of them together hold too much, whoever
    /// holds most is closed.
    pub fn note_unfinished(&self, conn: &Conn, bytes: usize) {
        let (before, now) =
            (conn.unfinished_bytes(), bytes as u64 / UNFINISHED_STEP_BYTES * UNFINISHED_STEP_BYTES);
        if now == before {
            return;
        }
        conn.set_unfinished_bytes(now);
        let all = self.unfinished_bytes.get() + now - before;
        self.unfinished_bytes.set(all);
        let most = self.plan.borrow().feed_memory_bytes / UNFINISHED_PART / u64::from(self.ctx.shards());
        if now < before || all <= most {
            return;
        }
        let conns = self.conns.borrow();
        if let Some(heaviest) = conns.values().max_by_key(|conn| conn.unfinished_bytes()) {
            let (held, most) = (heaviest.unfinished_bytes() >> 10, most >> 10);
            heaviest.note_detail(format_args!(
                "unfinished messages: {held} KiB of its own, all of this shard's more than {most} KiB"
            ));
            heaviest.kick(CloseReason::MemoryBudget);
        }
    }

    /// Connections that never played nor published may come by the thousand: one line per reason and second.
    fn tell_stray(&self, target: &str, reason: CloseReason, line: impl FnOnce() -> String) {
        let repeats = self.strays.get(reason.index()).and_then(|strays| strays.admit(Instant::now()));
        if let Some(repeats) = repeats {
            log::log!(target: target, stray_level(reason), "{}{repeats}", line());
        }
    }

    /// A file that is there cannot be opened.
    pub fn tell_unreadable(&self, file: &Path, error: &io::Error) {
        if let Some(repeats) = self.unreadable.admit(Instant::now()) {
            log::warn!("{}: cannot be opened: {error}{repeats}", file.display());
        }
    }

    /// A client views a stream from here on. `opening` (RTMP's answer, HTTP's head) goes out before any media.
    pub fn begin_viewer(
        &self,
        conn: &Rc<Conn>,
        plan: &VhostPlan,
        about: About,
        opening: Vec<u8>,
        format: Format,
        wanted: Wanted,
    ) {
        let key = Arc::clone(&about.key);
        conn.set_about(about);
        conn.tell_begin(self.plan.borrow().id_style());
        conn.tcp().tune(&TcpTuning { nodelay: Some(plan.config.tcp_nodelay), ..TcpTuning::default() });
        conn.set_send_timeout(plan.config.play.send_timeout);
        conn.hold(opening);
        let viewer = self.hub.borrow_mut().join(&key, format, &plan.settings, Rc::clone(conn), wanted);
        conn.set_viewer(Some(viewer));
        self.ctx.kick();
    }

    /// A client views no more.
    pub fn end_viewer(&self, conn: &Conn) {
        if let Some(viewer) = conn.viewer() {
            conn.set_viewer(None);
            if let Some(gone) = self.hub.borrow_mut().leave(viewer) {
                conn.note_view(&gone.counters);
            }
            self.ctx.kick();
        }
        self.tell_stopped(conn);
    }

    /// A client publishes no more.
    pub fn end_source(&self, conn: &Conn) {
        if let Some(source) = conn.source() {
            conn.set_source(None);
            self.sources.borrow_mut().remove(&source);
            self.hub.borrow_mut().unpublish(source);
            self.ctx.kick();
        }
        self.tell_unpublished(conn);
    }

    fn dispatch(&self, event: Event) {
        let (source, grant) = match event {
            Event::Granted(source) => (source, Some(Grant::Granted)),
            Event::Revoked(source, reason) => (source, Some(Grant::Revoked(reason))),
            Event::Room(source) => (source, None),
        };
        let mut sources = self.sources.borrow_mut();
        match (sources.get(&source), grant) {
            (Some(Publishing::Conn(conn)), Some(grant)) => conn.set_grant(grant),
            (Some(Publishing::Conn(conn)), None) => conn.signal(),
            (Some(Publishing::Demo(signal)), Some(grant)) => signal.set(grant),
            (Some(Publishing::Demo(_)) | None, _) => {}
        }
        if matches!(grant, Some(Grant::Revoked(_))) {
            sources.remove(&source); // the core has forgotten it: nothing else will
        }
    }

    fn sweep(&self, now_ms: u64) {
        let (sampled_ms, before) = self.sampled.get();
        let demand = self.ctx.demand();
        self.sampled.set((now_ms, demand));
        let Demand { used, waited } = demand.since(before);
        let share =
            |time: Duration| time.as_secs_f64() * 1000.0 / now_ms.saturating_sub(sampled_ms).max(1) as f64;
        self.busy_permille.set((share(used) * 1000.0) as u32);
        // Shards that share a core are none of them busy for all of it.
        self.cadence.borrow_mut().sample(share(used + waited));
        self.hub.borrow_mut().sweep(now_ms);
        for conn in self.conns.borrow().values() {
            conn.sweep(now_ms);
        }
        if now_ms.saturating_sub(self.rates_ms.get()) >= STEP_MS {
            self.rates_ms.set(now_ms);
            self.take_rates(now_ms);
        }
        for (reason, strays) in CloseReason::ALL.iter().zip(&self.strays) {
            if let Some(Repeats(more)) = strays.leftover(Instant::now()) {
                log::log!(stray_level(*reason), "connections: {reason} ({more} more)");
            }
        }
        self.api_refusals.sweep();
        let live = self.hub.borrow().is_live() || !self.conns.borrow().is_empty();
        let mut awake = self.awake.borrow_mut();
        if live != awake.is_some() {
            *awake = live.then(|| self.ctx.stay_awake());
        }
    }

    fn take_rates(&self, now_ms: u64) {
        let vhosts = &mut self.counters.borrow_mut().vhosts;
        for vhost in vhosts.values_mut() {
            vhost.total = vhost.ended;
        }
        for conn in self.conns.borrow().values() {
            conn.tick_rates(now_ms);
            conn.about(|about| {
                if !vhosts.contains_key(about.vhost()) {
                    vhosts.insert(about.vhost().to_owned(), VhostTotals::default());
                }
                if let Some(VhostTotals { total, .. }) = vhosts.get_mut(about.vhost()) {
                    *total = (total.0 + conn.recv_bytes(), total.1 + conn.sent_bytes());
                }
            });
        }
        for VhostTotals { total, rates, .. } in vhosts.values_mut() {
            rates.0.tick(now_ms, total.0);
            rates.1.tick(now_ms, total.1);
        }
    }

    fn accept_all(self: &Rc<Self>) {
        for (name, listener) in self.ctx.take_listeners() {
            listener.tune(&TUNING);
            self.listeners.borrow_mut().push((name, listener.clone()));
            let shard = Rc::clone(self);
            self.ctx.spawn(Class::Media, "a listener", async move {
                while let Some(tcp) = listener.accept().await {
                    shard.serve_conn(name, tcp);
                }
            });
        }
    }

    fn serve_conn(self: &Rc<Self>, port: &'static str, tcp: TcpConn) {
        let Some(conn) = self.admit(tcp) else { return };
        let client = Client(conn.id.0);
        let target = log_target(port);
        client.scope(|| log::debug!(target: target, "{port} connection from {}", conn.tcp().peer()));
        let leaving = Leaving { shard: Rc::clone(self), conn: Rc::clone(&conn), port };
        let shard = Rc::clone(self);
        if port == RTMP {
            let serve = async move {
                rtmp_conn::serve(&shard, &leaving.conn).await;
                leaving.farewell().await;
            };
            self.ctx.spawn(Class::Media, "an RTMP connection", client.follow(serve));
        } else {
            let serve = async move {
                http_conn::serve(&shard, &leaving.conn, port == API).await;
                leaving.farewell().await;
            };
            self.ctx.spawn(Class::Media, "an HTTP connection", client.follow(serve));
        }
    }

    /// There is another configuration.
    fn reload(self: &Rc<Self>) {
        let plan = self.process.plan();
        {
            let mut hub = self.hub.borrow_mut();
            hub.set_memory(plan.feed_memory_bytes);
            hub.configure(|key| {
                plan.vhost_named(post::names(key).0).map(|vhost| Arc::clone(&vhost.settings))
            });
        }
        for conn in self.conns.borrow().values() {
            let is_served = |about: &About| plan.vhost_named(about.vhost()).is_some();
            if conn.about(is_served) == Some(false) {
                conn.note_detail("removed or disabled by a reload");
                conn.kick(CloseReason::VhostUnknown);
            }
        }
        self.plan.replace(plan);
        let open = self.process.ports.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_open =
            |(name, listener): &mut (&'static str, Listener)| open.contains(&(*name, listener.at()));
        let closed: Vec<_> =
            self.listeners.borrow_mut().extract_if(.., |listener| !is_open(listener)).collect();
        self.stop_listening(closed);
        self.ctx.kick();
    }

    /// Who was accepted by the kernel already is served.
    fn stop_listening(self: &Rc<Self>, listeners: Vec<(&'static str, Listener)>) {
        for (name, listener) in listeners {
            for tcp in listener.stop() {
                self.serve_conn(name, tcp);
            }
        }
    }

    fn drain(self: &Rc<Self>) {
        self.draining.set(true);
        self.stop_listening(self.listeners.take());
    }

    /// Whether a connection that is idle keeps the server from its end.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    fn cut(&self) {
        for conn in self.conns.borrow().values() {
            conn.kick(CloseReason::ServerStopping);
        }
    }
}

/// The module of a port's protocol, whose shell is here: what it logs goes by its name.
fn log_target(port: &str) -> &'static str {
    if port == RTMP { rtmp_conn::LOG_TARGET } else { http_conn::LOG_TARGET }
}

/// Where a limit of ours is reached the operator may have to act; what peers do is their business.
fn stray_level(reason: CloseReason) -> log::Level {
    match reason {
        CloseReason::MaxConnections | CloseReason::AcceptRate | CloseReason::MemoryBudget => log::Level::Warn,
        _ => log::Level::Info,
    }
}

/// Runs [`Shard::dismiss`] however a connection's task ends, a panic included.
struct Leaving {
    shard: Rc<Shard>,
    conn: Rc<Conn>,
    port: &'static str,
}

impl Leaving {
    /// The core is left at once; the peer may still read what was sent last.
    async fn farewell(&self) {
        self.shard.end_viewer(&self.conn);
        self.shard.end_source(&self.conn);
        self.conn.tcp().linger_close().await;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.conn.note_reason(CloseReason::Panic);
        }
        self.shard.dismiss(&self.conn, self.port);
    }
}

/// The shard as the engine drives it.
pub struct ShardService(pub Rc<Shard>);

impl std::ops::Deref for ShardService {
    type Target = Rc<Shard>;
    fn deref(&self) -> &Rc<Shard> {
        &self.0
    }
}

impl Service for ShardService {
    type Msg = Msg;

    fn on_message(&self, from: ShardId, message: Msg) {
        match message {
            Msg::Core(post) => self.hub.borrow_mut().receive(from.0, post, self.now_ms()),
            Msg::IsLive(key, reply) => {
                reply.send(self.hub.borrow().origin(&key).is_some_and(|origin| origin.publisher().is_some()));
            }
            Msg::Snapshot(wanted, reply) => {
                let shard = Rc::clone(self);
                self.ctx.spawn(Class::Api, "a snapshot", async move {
                    reply.send(Box::new(snapshot::of(&shard, wanted).await));
                });
            }
            Msg::Kick(id, reply) => {
                let conn = self.conns.borrow().get(&id).cloned();
                reply.send(conn.is_some());
                if let Some(conn) = conn {
                    conn.kick(CloseReason::Kicked);
                }
            }
        }
    }

    fn on_turn(&self, now: Instant) -> Next {
        let now_ms = now.saturating_duration_since(self.process.started).as_millis() as u64;
        if now_ms.saturating_sub(self.swept_ms.get()) >= SAMPLE_MS {
            self.swept_ms.set(now_ms);
            self.sweep(now_ms);
            heartbeat::beat_if_due(self, now_ms);
        }
        let tick_ms = self.tick_ms();
        let (end, events) = {
            let mut hub = self.hub.borrow_mut();
            let end = hub.turn(now_ms, tick_ms);
            hub.take_posts(|to, post| self.ctx.post(ShardId(to), Msg::Core(post)));
            (end, hub.take_events())
        };
        for event in events {
            self.dispatch(event);
        }
        match end.next_ms {
            _ if end.again => Next::Now,
            Some(at_ms) => Next::At(self.process.started + Duration::from_millis(at_ms)),
            None => Next::Idle,
        }
    }

    fn on_control(&self, control: Control) {
        match control {
            Control::Stop => self.stop.raise(),
            Control::Drain => self.drain(),
            Control::Cut => self.cut(),
            Control::Reload => self.reload(),
        }
    }

    fn on_listeners(&self) {
        self.accept_all();
    }

    async fn serve(self: Rc<Self>) {
        let shard = Rc::clone(&self.0);
        shard.accept_all();
        if shard.plan().config.demo && shard.ctx.me() == ShardId(0) {
            shard.ctx.spawn(Class::Media, "the demo stream", demo::publish(Rc::clone(&shard)));
        }
        shard.stop.raised().await;
        shard.cut();
        // Their tasks end by themselves and write their lines; whoever does not get to it is cut.
        for _ in 0..STOP_TURNS {
            if shard.conns.borrow().is_empty() {
                break;
            }
            shard.ctx.sleep(STOP_TURN).await;
        }
    }
}
