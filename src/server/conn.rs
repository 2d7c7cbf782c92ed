//! A connection: what every protocol's shell needs of it.
//!
//! Bytes to a peer have one way out. *Private* bytes (answers, commands, preludes) gather here and go first;
//! feed bytes come from the pump, which sends only between units and only while nothing private waits. When
//! the socket is full, one parked task owns it until what was begun is finished.

mod told;

use super::census::Counted;
use super::hooks::Known;
use super::process::Place;
use super::shard::Shard;
use super::signal::Signal;
use crate::config::schema::DEFAULT_SEND_TIMEOUT;
use crate::stats::rates::Rate;
use crate::stats::reason::CloseReason;
use crate::stream::encode::Format;
use crate::stream::hub::ViewerId;
use crate::stream::post::{self, SourceId, StreamKey};
use crate::stream::viewer::ViewerCounters;
use crate::stream::wire::{Taken, Wire};
use crate::web::api::ids::ClientId;
use crate::web::api::snapshot::ClientKind;
use bytes::Bytes;
use shards::{Class, Sent, TcpConn, TcpTuning};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
pub use told::summary;

/// Private bytes that may wait for a peer, a single prelude aside: a peer that asks and does not listen is
/// closed above that.
pub const PRIVATE_BYTES: usize = 64 << 10;
/// What a peer has to read the last of it and go, before it is cut.
const FAREWELL_MS: u64 = 1_000;
/// What every connection begins with. A client that takes nothing at all gets no more kernel memory than this for
/// unsent bytes.
pub const TUNING: TcpTuning =
    TcpTuning { nodelay: None, notsent_lowat: Some(64 << 10), user_timeout: Some(DEFAULT_SEND_TIMEOUT) };

/// What the API and the log say of a client.
#[derive(Debug)]
pub struct About {
    /// Its stream: the vhost that serves it, application and name.
    pub key: StreamKey,
    /// Its address: the one that an RTMP proxy before us names, which nobody verifies, else the peer's.
    pub ip: IpAddr,
    /// Page that embeds the player.
    pub page_url: String,
    /// Player.
    pub swf_url: String,
    /// What it connected to.
    pub tc_url: String,
    /// What it does.
    pub kind: ClientKind,
    /// A viewer's format.
    pub format: Option<Format>,
    /// Its place among the clients of its vhost.
    pub seat: Option<Counted<Arc<str>>>,
}

impl About {
    /// The vhost that serves it.
    pub fn vhost(&self) -> &str {
        post::names(&self.key).0
    }
}

/// What the owner said of a publish that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Go ahead.
    Granted,
    /// Not, or no longer.
    Revoked(CloseReason),
}

/// What sending touches of a client: one cache line, fetched ahead ([`Wire::is_next`]). With a thousand viewers
/// every line that a send touches is a miss, and a miss takes 0.2 µs of a send's 2 to 3.
#[repr(align(64))]
struct Outlet {
    tcp: TcpConn,
    private: RefCell<Vec<u8>>,
    /// Private bytes and the feed's.
    sent_bytes: Cell<u64>,
    /// A task of its own finishes what the socket did not take.
    parked: Cell<bool>,
    /// To be ended once private bytes are sent.
    ending: Cell<bool>,
}

const _: () = assert!(size_of::<Outlet>() == 64);

impl Outlet {
    fn count(&self, bytes: usize) {
        self.sent_bytes.set(self.sent_bytes.get() + bytes as u64);
    }

    fn new(tcp: TcpConn) -> Outlet {
        Outlet {
            tcp,
            private: RefCell::default(),
            sent_bytes: Cell::new(0),
            parked: Cell::new(false),
            ending: Cell::new(false),
        }
    }
}

/// One connection of this shard.
pub struct Conn {
    /// Its number.
    pub id: ClientId,
    outlet: Outlet,
    shard: Weak<Shard>,
    parked_since_ms: Cell<u64>,
    send_timeout_ms: Cell<u64>,
    reason: Cell<Option<CloseReason>>,
    /// What was wrong, where the reason alone does not say it.
    detail: RefCell<Option<Box<str>>>,
    deadline: Cell<Option<(u64, CloseReason)>>,
    /// What its unfinished messages hold, as its shard has counted it.
    unfinished_bytes: Cell<u64>,
    viewer: Cell<Option<ViewerId>>,
    source: Cell<Option<SourceId>>,
    /// Worst lag in ms, and jumps, of its views that are over.
    view: Cell<(u32, u32)>,
    grant: Cell<Option<Grant>>,
    signal: Signal,
    recv_bytes: Cell<u64>,
    since_ms: u64,
    about: RefCell<Option<Box<About>>>,
    /// What a backend knows of it.
    known: RefCell<Option<Box<Known>>>,
    rates: RefCell<Option<Box<(Rate, Rate)>>>,
    _place: Place,
}

impl Conn {
    /// A client on a fresh connection.
    pub fn new(id: ClientId, tcp: TcpConn, shard: &Rc<Shard>, place: Place) -> Rc<Conn> {
        let conn = Rc::new(Conn {
            id,
            outlet: Outlet::new(tcp),
            shard: Rc::downgrade(shard),
            parked_since_ms: Cell::new(0),
            send_timeout_ms: Cell::new(DEFAULT_SEND_TIMEOUT.as_millis() as u64),
            reason: Cell::new(None),
            detail: RefCell::default(),
            deadline: Cell::new(None),
            unfinished_bytes: Cell::new(0),
            viewer: Cell::new(None),
            source: Cell::new(None),
            view: Cell::new((0, 0)),
            grant: Cell::new(None),
            signal: Signal::default(),
            recv_bytes: Cell::new(0),
            since_ms: shard.now_ms(),
            about: RefCell::default(),
            known: RefCell::default(),
            rates: RefCell::default(),
            _place: place,
        });
        conn.tcp().reads_into(&*conn);
        conn
    }

    /// Its connection.
    pub fn tcp(&self) -> &TcpConn {
        &self.outlet.tcp
    }

    /// When it connected, on the shard's clock.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Waits for bytes and hands them to `f`; None at the end.
    pub async fn read<R>(&self, f: impl FnOnce(&[u8]) -> R) -> io::Result<Option<R>> {
        let counted = |bytes: &[u8]| {
            self.recv_bytes.set(self.recv_bytes.get() + bytes.len() as u64);
            f(bytes)
        };
        self.outlet.tcp.read(counted).await
    }

    /// The same, but a signal ends the wait: None within.
    pub async fn read_or_signal<R>(&self, f: impl FnOnce(&[u8]) -> R) -> io::Result<Option<Option<R>>> {
        let (mut read, mut signal) = (pin!(self.read(f)), pin!(self.signalled()));
        poll_fn(|cx| match signal.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Ok(Some(None))),
            Poll::Pending => read.as_mut().poll(cx).map_ok(|taken| taken.map(Some)),
        })
        .await
    }

    /// Bytes received.
    pub fn recv_bytes(&self) -> u64 {
        self.recv_bytes.get()
    }

    /// Bytes sent, private and feed.
    pub fn sent_bytes(&self) -> u64 {
        self.outlet.sent_bytes.get()
    }

    // ---- why and when it ends ----

    /// Why it ends, if it does.
    pub fn reason(&self) -> Option<CloseReason> {
        self.reason.get()
    }

    /// Notes why it ends; the first reason stands.
    pub fn note_reason(&self, reason: CloseReason) {
        if self.reason.get().is_none() {
            self.reason.set(Some(reason));
        }
    }

    /// What was wrong, for its line in the log; call it before the reason is noted.
    pub fn note_detail(&self, detail: impl fmt::Display) {
        if self.reason.get().is_none() {
            *self.detail.borrow_mut() = Some(detail.to_string().into());
        }
    }

    /// Whether it is to end.
    pub fn is_closing(&self) -> bool {
        self.reason.get().is_some()
    }

    /// It must do something before then.
    pub fn set_deadline(&self, at_ms: Option<u64>, reason: CloseReason) {
        self.deadline.set(at_ms.map(|at| (at, reason)));
    }

    /// How long one message may take to be sent, and a silent peer to say that it is there.
    pub fn set_send_timeout(&self, limit: Duration) {
        self.send_timeout_ms.set(limit.as_millis() as u64);
        self.outlet.tcp.tune(&TcpTuning { user_timeout: Some(limit), ..TcpTuning::default() });
    }

    /// Closes it if it missed a deadline.
    pub fn sweep(&self, now_ms: u64) {
        if let Some((at, reason)) = self.deadline.get()
            && now_ms >= at
        {
            self.deadline.set(None);
            self.kick(reason);
        }
        if self.outlet.parked.get()
            && now_ms.saturating_sub(self.parked_since_ms.get()) > self.send_timeout_ms.get()
        {
            self.kick(CloseReason::SendTimeout);
        }
    }

    /// Takes the counters' present values for the rates over 30 s.
    pub fn tick_rates(&self, now_ms: u64) {
        if let Some(rates) = self.rates.borrow_mut().as_mut() {
            rates.0.tick(now_ms, self.recv_bytes.get());
            rates.1.tick(now_ms, self.outlet.sent_bytes.get());
        }
    }

    /// Rates over 30 s, received and sent, in kbit/s.
    pub fn kbps_30s(&self) -> (u32, u32) {
        self.rates.borrow().as_ref().map_or((0, 0), |rates| (rates.0.kbps_30s(), rates.1.kbps_30s()))
    }

    /// Ends it now.
    pub fn kick(&self, reason: CloseReason) {
        self.note_reason(reason);
        self.outlet.tcp.shutdown(Shutdown::Both);
        self.signal();
    }

    // ---- who it is ----

    /// Its place among the clients of a vhost, if it has one there.
    pub fn take_seat(&self, vhost: &str) -> Option<Counted<Arc<str>>> {
        self.about.borrow_mut().as_mut().filter(|about| about.vhost() == vhost)?.seat.take()
    }

    /// What it does; counts it as a client from the first time on.
    pub fn set_about(&self, about: About) {
        let before = self.about.replace(Some(Box::new(about)));
        if before.is_none() {
            let now_ms = self.shard.upgrade().map_or(0, |shard| shard.now_ms());
            let rates =
                (Rate::new(now_ms, self.recv_bytes.get()), Rate::new(now_ms, self.outlet.sent_bytes.get()));
            *self.rates.borrow_mut() = Some(Box::new(rates));
        }
    }

    /// What it does, if it does anything yet.
    pub fn about<R>(&self, f: impl FnOnce(&About) -> R) -> Option<R> {
        self.about.borrow().as_deref().map(f)
    }

    /// A backend knows this of it.
    pub fn set_known(&self, known: Known) {
        *self.known.borrow_mut() = Some(Box::new(known));
    }

    /// What a backend knows of it, if it was asked or is told about it.
    pub fn known<R>(&self, f: impl FnOnce(&Known) -> R) -> Option<R> {
        self.known.borrow().as_deref().map(f)
    }

    /// The same, to change it.
    pub fn known_mut<R>(&self, f: impl FnOnce(&mut Known) -> R) -> Option<R> {
        self.known.borrow_mut().as_deref_mut().map(f)
    }

    /// The same, for the last time.
    pub fn take_known(&self) -> Option<Known> {
        self.known.take().map(|known| *known)
    }

    /// What its unfinished messages hold, in bytes, as far as its shard has been told.
    pub fn unfinished_bytes(&self) -> u64 {
        self.unfinished_bytes.get()
    }

    /// Tells what they hold; see [`Shard::note_unfinished`].
    pub fn set_unfinished_bytes(&self, bytes: u64) {
        self.unfinished_bytes.set(bytes);
    }

    /// As a viewer.
    pub fn viewer(&self) -> Option<ViewerId> {
        self.viewer.get()
    }

    /// Makes it a viewer, or no longer one.
    pub fn set_viewer(&self, viewer: Option<ViewerId>) {
        self.viewer.set(viewer);
    }

    /// A view is over.
    pub fn note_view(&self, counters: &ViewerCounters) {
        let (worst_ms, jumps) = self.view.get();
        self.view.set((worst_ms.max(counters.worst_lag_ms), jumps + counters.jumps));
    }

    /// As a publisher.
    pub fn source(&self) -> Option<SourceId> {
        self.source.get()
    }

    /// Makes it a publisher, or no longer one.
    pub fn set_source(&self, source: Option<SourceId>) {
        self.source.set(source);
    }

    // ---- signals to its task ----

    /// Wakes its task if that waits for [`Conn::signalled`].
    pub fn signal(&self) {
        self.signal.raise();
    }

    /// Waits for [`Conn::signal`].
    pub async fn signalled(&self) {
        self.signal.raised().await;
    }

    /// The owner's verdict, once.
    pub fn take_grant(&self) -> Option<Grant> {
        self.grant.take()
    }

    /// The owner's verdict has come.
    pub fn set_grant(&self, grant: Grant) {
        self.grant.set(Some(grant));
        self.signal();
    }

    // ---- sending ----

    /// Private bytes of the client's own shell.
    pub fn send(self: &Rc<Self>, bytes: Vec<u8>) {
        self.hold(bytes);
        self.flush();
    }

    /// The same, to be sent with what the feed has for it.
    pub fn hold(self: &Rc<Self>, bytes: Vec<u8>) {
        let mut private = self.outlet.private.borrow_mut();
        if private.is_empty() {
            *private = bytes;
        } else {
            drop(private);
            self.push_private(&bytes);
        }
    }

    /// Whether its socket is full, so that a task of its own has to finish what was begun.
    pub fn is_parked(&self) -> bool {
        self.outlet.parked.get()
    }

    /// Sends all of `bytes`, waiting for the socket; for answers, while the client is no viewer.
    pub async fn send_all(&self, bytes: Bytes) -> io::Result<()> {
        while self.outlet.parked.get() {
            self.signalled().await; // `100 Continue` may still be on its way
            if self.is_closing() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        self.outlet.count(bytes.len());
        self.outlet.tcp.finish(bytes).await
    }

    /// All is said: the peer has a moment to read it and to close.
    fn farewell(&self) {
        self.outlet.tcp.shutdown(Shutdown::Write);
        if let (Some(shard), Some(reason)) = (self.shard.upgrade(), self.reason.get()) {
            self.set_deadline(Some(shard.now_ms() + FAREWELL_MS), reason);
        }
    }

    fn send_behind_private(self: &Rc<Self>, slices: &[IoSlice<'_>]) -> io::Result<Taken> {
        let mut private = self.outlet.private.take();
        let mut all = Vec::with_capacity(1 + slices.len());
        all.push(IoSlice::new(&private));
        all.extend_from_slice(slices);
        let sent = match self.outlet.tcp.try_send(&all)? {
            Sent::All => private.len() + total_bytes(slices),
            Sent::Part(sent) => sent,
        };
        // What is parked counts as sent already.
        self.outlet.count(sent.max(private.len()));
        Ok(match sent.checked_sub(private.len()) {
            None => {
                self.begin_parked(private.split_off(sent).into());
                Taken::Nothing
            }
            Some(sent) if sent == total_bytes(slices) => Taken::All,
            Some(sent) => Taken::Part(sent),
        })
    }

    fn begin_parked(self: &Rc<Self>, rest: Bytes) {
        let Some(shard) = self.shard.upgrade() else { return };
        self.outlet.parked.set(true);
        self.parked_since_ms.set(shard.now_ms());
        let conn = Rc::clone(self);
        shard.ctx.spawn(Class::Media, "a parked writer", async move { conn.finish(rest).await });
    }

    async fn finish(self: Rc<Self>, mut rest: Bytes) {
        loop {
            if let Err(error) = self.outlet.tcp.finish(rest).await {
                return self.kick(CloseReason::of_io(&error));
            }
            if self.outlet.private.borrow().is_empty() {
                break;
            }
            let private = self.outlet.private.take();
            self.outlet.count(private.len());
            rest = private.into();
            if let Some(shard) = self.shard.upgrade() {
                self.parked_since_ms.set(shard.now_ms());
            }
        }
        self.outlet.parked.set(false);
        if self.outlet.ending.get() {
            self.farewell();
        }
        self.signal();
        if let (Some(shard), Some(viewer)) = (self.shard.upgrade(), self.viewer.get()) {
            shard.hub.borrow_mut().wake(viewer);
            shard.ctx.kick();
        }
    }
}

impl Wire for Rc<Conn> {
    fn fetch<T: ?Sized>(at: &T) {
        shards::prefetch(at);
    }

    fn is_next(&self) {
        shards::prefetch(&self.outlet);
    }

    fn ready(&self) -> bool {
        !self.outlet.parked.get()
    }

    fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<Taken> {
        if !self.outlet.private.borrow().is_empty() {
            return self.send_behind_private(slices);
        }
        let taken = self.outlet.tcp.try_send(slices)?;
        let (taken, sent) = match taken {
            Sent::All => (Taken::All, total_bytes(slices)),
            Sent::Part(sent) => (Taken::Part(sent), sent),
        };
        self.outlet.count(sent);
        Ok(taken)
    }

    fn park(&self, rest: Bytes) {
        self.outlet.count(rest.len());
        self.begin_parked(rest);
    }

    fn push_private(&self, bytes: &[u8]) {
        let mut private = self.outlet.private.borrow_mut();
        // One prelude may be larger than the limit; what is bounded is what gathers behind it.
        if private.len() > PRIVATE_BYTES {
            drop(private);
            self.kick(CloseReason::PrivateOverflow);
            return;
        }
        private.extend_from_slice(bytes);
    }

    fn flush(&self) {
        if self.outlet.parked.get() || self.outlet.private.borrow().is_empty() {
            return;
        }
        if let Err(error) = self.send_behind_private(&[]) {
            return self.kick(CloseReason::of_io(&error));
        }
        if self.outlet.ending.get() && !self.outlet.parked.get() {
            self.farewell();
            self.signal();
        }
    }

    fn push_out(&self) {
        self.outlet.tcp.push_out();
    }

    fn bound_unsent(&self, bytes: u32) {
        self.outlet.tcp.tune(&TcpTuning { notsent_lowat: Some(bytes), ..TcpTuning::default() });
    }

    fn end(&self, reason: CloseReason) {
        self.note_reason(reason);
        self.outlet.ending.set(true);
        if !self.outlet.parked.get() && self.outlet.private.borrow().is_empty() {
            self.farewell();
        } else {
            self.flush();
        }
        self.signal();
    }

    fn close(&self, reason: CloseReason) {
        self.kick(reason);
    }
}

fn total_bytes(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}
