//! TCP connections as a shard uses them.
//!
//! I/O is readiness-based: a call is tried first and only then waited for, so nothing owns a buffer while it
//! waits. One scratch buffer per shard serves all readers. Sending never waits ([`TcpConn::try_send`]); when
//! a socket is full, exactly one parked task per connection finishes the message in flight
//! ([`TcpConn::finish`]).

use crate::counters::{Counters, add};
use crate::crowd;
use crate::listen::{BACKLOG, Bound};
use bytes::Bytes;
use futures_lite::io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use socket2::{SockRef, TcpKeepalive};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Size of the shard's one read buffer.
pub const SCRATCH_BYTES: usize = 64 << 10;
/// The first pause after a failed `accept`; it doubles up to [`ACCEPT_PAUSE_MAX`].
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// A shard tells that it cannot accept this often, all its listeners together.
const ACCEPT_TOLD_EVERY: Duration = Duration::from_secs(1);
/// A peer that is asked whether it is there has at least this before it is asked again (the kernel's least).
const KEEPALIVE_MIN: Duration = Duration::from_secs(1);
/// The kernel refuses a `sendmsg` with more slices than this (UIO_MAXIOV) with EMSGSIZE.
const SLICES_MAX: usize = 1024;
/// How long [`TcpConn::linger_close`] waits for the peer to close.
pub const LINGER: Duration = Duration::from_secs(1);
/// How much of the peer's input it discards meanwhile.
pub const LINGER_BYTES: usize = 64 << 10;

thread_local! {
    /// When this shard last told that it cannot accept, and its count of failures then.
    static ACCEPT_TOLD: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// A listening socket of this shard.
pub struct Listener {
    inner: Rc<Listening>,
}

struct Listening {
    listener: TcpListener,
    fd: RawFd,
    at: SocketAddr,
    tuning: Cell<TcpTuning>,
    stopped: Cell<bool>,
    counters: Rc<Counters>,
}

impl Clone for Listener {
    fn clone(&self) -> Self {
        Listener { inner: Rc::clone(&self.inner) }
    }
}

impl Listener {
    pub(crate) fn adopt(bound: Bound, counters: Rc<Counters>) -> Listener {
        let fd = bound.socket.into_raw_fd();
        // SAFETY: the descriptor was just taken out of its owner; the glommio listener owns it from here on.
        let listener = unsafe { TcpListener::from_raw_fd(fd) };
        let _ = SockRef::from(&borrowed(fd)).set_keepalive(true);
        let (tuning, stopped) = (Cell::default(), Cell::new(false));
        let inner = Listening { listener, fd, at: bound.at, tuning, stopped, counters };
        Listener { inner: Rc::new(inner) }
    }

    /// Sets socket options of the connections to come: they have them from their first packet on, for nothing.
    pub fn tune(&self, tuning: &TcpTuning) {
        self.inner.tuning.set(apply(self.inner.fd, tuning, self.inner.tuning.get()));
    }

    /// The address listened on.
    pub fn at(&self) -> SocketAddr {
        self.inner.at
    }

    /// The next connection; None after [`Listener::stop`]. Failures (out of descriptors) are counted and
    /// waited out here.
    pub async fn accept(&self) -> Option<TcpConn> {
        let mut pause = ACCEPT_PAUSE;
        loop {
            if self.inner.stopped.get() {
                return None;
            }
            match self.inner.listener.accept().await {
                Ok(stream) => match TcpConn::adopt(stream, self.inner.tuning.get()) {
                    Ok(conn) => {
                        add(&self.inner.counters.accepted, 1);
                        return Some(conn);
                    }
                    Err(_) => continue, // the peer was gone before it was accepted
                },
                Err(_) if self.inner.stopped.get() => return None,
                Err(error) => {
                    add(&self.inner.counters.accept_errors, 1);
                    self.tell(&error.into(), pause);
                    glommio::timer::Timer::new(pause).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }

    /// Once a second, however many addresses and attempts: all fail for the same reason.
    fn tell(&self, error: &io::Error, pause: Duration) {
        let (now, failures) = (Instant::now(), self.inner.counters.accept_errors.get());
        let told = ACCEPT_TOLD.get();
        if told.is_some_and(|(at, _)| now.saturating_duration_since(at) < ACCEPT_TOLD_EVERY) {
            return;
        }
        ACCEPT_TOLD.set(Some((now, failures)));
        let more = failures.wrapping_sub(told.map_or(0, |(_, before)| before)).saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more like it)") } else { String::new() };
        log::warn!("accept on {} failed: {error}; trying again in {pause:?}{more}", self.inner.at);
    }

    /// Stops listening: the accept that waits ends. Connections that were complete but not yet accepted are
    /// returned: the kernel would reset them. (A handshake that is half done is still lost, unless
    /// `net.ipv4.tcp_migrate_req` is 1.)
    pub fn stop(&self) -> Vec<TcpConn> {
        if self.inner.stopped.replace(true) {
            return Vec::new();
        }
        let waiting = self.empty_backlog();
        let _ = SockRef::from(&borrowed(self.inner.fd)).shutdown(Shutdown::Both);
        add(&self.inner.counters.accepted, waiting.len() as u64);
        waiting
    }

    fn empty_backlog(&self) -> Vec<TcpConn> {
        let fd = borrowed(self.inner.fd);
        let socket = SockRef::from(&fd);
        if socket.set_nonblocking(true).is_err() {
            return Vec::new();
        }
        // Bounded: under a flood the backlog would never be seen empty.
        (0..=BACKLOG)
            .map_while(|_| socket.accept().ok())
            // SAFETY: the descriptor was just taken out of its owner; the glommio stream owns it from here on.
            .map(|(accepted, _)| unsafe { TcpStream::from_raw_fd(accepted.into_raw_fd()) })
            .filter_map(|stream| TcpConn::adopt(stream, self.inner.tuning.get()).ok())
            .collect()
    }
}

/// How much of it a socket took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Everything.
    All,
    /// So many bytes, 0 included: the socket is full.
    Part(usize),
}

/// Socket options of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpTuning {
    /// TCP_NODELAY.
    pub nodelay: Option<bool>,
    /// TCP_NOTSENT_LOWAT in bytes: bounds what the kernel keeps for a client that stops reading.
    pub notsent_lowat: Option<u32>,
    /// TCP_USER_TIMEOUT: unacknowledged data older than this ends the connection. A peer to whom nothing is sent
    /// is asked from a third of it on, every sixth, whether it is there, and ended when it does not say so.
    pub user_timeout: Option<Duration>,
}

/// A TCP connection: one reader, any number of handles, one sender at a time. Clones share the connection;
/// it closes when the last is dropped.
pub struct TcpConn {
    conn: Rc<Conn>,
    /// The connection's, in each handle: a send then touches nothing else of it.
    fd: RawFd,
}

struct Conn {
    stream: RefCell<TcpStream>,
    peer: SocketAddr,
    local: SocketAddr,
    /// What is set: nothing is set twice.
    tuning: Cell<TcpTuning>,
    parked: Cell<bool>,
    place: crowd::Place,
}

impl Clone for TcpConn {
    fn clone(&self) -> Self {
        TcpConn { conn: Rc::clone(&self.conn), fd: self.fd }
    }
}

impl std::fmt::Debug for TcpConn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} from {}", self.conn.local, self.conn.peer)
    }
}

impl TcpConn {
    /// `tuning` is what its socket has inherited.
    fn adopt(stream: TcpStream, tuning: TcpTuning) -> io::Result<TcpConn> {
        let fd = stream.as_raw_fd();
        // SAFETY: sets a flag on a descriptor that `stream` owns. glommio's accept sets it only for the first
        // of a burst, see `child`.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        let address = |a: io::Result<socket2::SockAddr>| {
            a.and_then(|a| a.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable)))
        };
        let peer = address(SockRef::from(&borrowed(fd)).peer_addr())?;
        let local = address(SockRef::from(&borrowed(fd)).local_addr())?;
        let conn = Conn {
            stream: RefCell::new(stream),
            peer,
            local,
            tuning: Cell::new(tuning),
            parked: Cell::new(false),
            place: crowd::Place::default(),
        };
        Ok(TcpConn { conn: Rc::new(conn), fd })
    }

    /// Connects, within `limit`. Addresses only: resolving a name would block the shard.
    pub async fn connect(to: SocketAddr, limit: Duration) -> io::Result<TcpConn> {
        let stream = TcpStream::connect_timeout(to, limit).await.map_err(io::Error::from)?;
        SockRef::from(&borrowed(stream.as_raw_fd())).set_keepalive(true)?;
        TcpConn::adopt(stream, TcpTuning::default())
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.conn.peer
    }

    /// The address the peer connected to.
    pub fn local(&self) -> SocketAddr {
        self.conn.local
    }

    /// Tells what its reader touches whenever something comes, so that it can be fetched from memory ahead of that. To
    /// be told before the first read.
    pub fn reads_into<T>(&self, state: &T) {
        self.conn.place.reads_into(state);
    }

    /// Waits for bytes and hands them to `f`; None when the peer has closed (or [`TcpConn::shutdown`] was
    /// called). `f` runs while the shard's scratch buffer is lent out: it must not read again.
    pub async fn read<R>(&self, f: impl FnOnce(&[u8]) -> R) -> io::Result<Option<R>> {
        let mut f = Some(f);
        poll_fn(move |cx| {
            SCRATCH.with_borrow_mut(|scratch| {
                let n = ready!(self.poll_read(cx, scratch))?;
                crowd::note_read();
                let bytes = scratch.get(..n).filter(|bytes| !bytes.is_empty());
                Poll::Ready(Ok(bytes.and_then(|bytes| f.take().map(|f| f(bytes)))))
            })
        })
        .await
    }

    fn poll_read(&self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let place = &self.conn.place;
        while crowd::is_on() {
            if !crowd::may_read(place) {
                crowd::wait(place, self.fd, cx);
                return Poll::Pending;
            }
            match receive(self.fd, scratch) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    crowd::note_empty(place);
                    crowd::wait(place, self.fd, cx);
                    return Poll::Pending;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) if n > 0 && n < scratch.len() => {
                    crowd::note_empty(place);
                    return Poll::Ready(Ok(n));
                }
                done => return Poll::Ready(done),
            }
        }
        Pin::new(&mut *self.conn.stream.borrow_mut()).poll_read(cx, scratch)
    }

    /// Sends what the socket takes now, without waiting. Not while a writer is parked.
    pub fn try_send(&self, slices: &[IoSlice<'_>]) -> io::Result<Sent> {
        debug_assert!(!self.conn.parked.get(), "a parked writer owns the socket");
        const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let total: usize = slices.iter().map(|s| s.len()).sum();
        let sent = match slices {
            [one] => SockRef::from(&borrowed(self.fd)).send_with_flags(one, FLAGS),
            many => {
                let some = many.get(..SLICES_MAX).unwrap_or(many);
                SockRef::from(&borrowed(self.fd)).send_vectored_with_flags(some, FLAGS)
            }
        };
        match sent {
            Ok(n) if n == total => Ok(Sent::All),
            Ok(n) => Ok(Sent::Part(n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Sent::Part(0)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Sent::Part(0)),
            Err(e) => Err(e),
        }
    }

    /// Sends all of `rest`, waiting for the socket: the parked writer. There is at most one at a time
    /// (glommio keeps one waiter per direction); nobody else may send until it is done.
    pub async fn finish(&self, mut rest: Bytes) -> io::Result<()> {
        debug_assert!(!self.conn.parked.get(), "one parked writer per connection");
        let _parked = Parked::new(&self.conn.parked);
        while !rest.is_empty() {
            let n = poll_fn(|cx| Pin::new(&mut *self.conn.stream.borrow_mut()).poll_write(cx, &rest)).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes::Buf::advance(&mut rest, n);
        }
        Ok(())
    }

    /// Whether a writer is parked.
    pub fn is_parked(&self) -> bool {
        self.conn.parked.get()
    }

    /// Ends one or both directions. `Both` is a kick: the reader sees the end and leaves.
    pub fn shutdown(&self, how: Shutdown) {
        let _ = SockRef::from(&borrowed(self.fd)).shutdown(how);
    }

    /// The polite end: says that nothing more comes, then reads and discards until the peer closes too, at
    /// most for [`LINGER`] and [`LINGER_BYTES`]. Closing with unread input makes the kernel send a reset,
    /// which can eat the tail of a reply that the peer has not read yet. For the connection's reader, in
    /// place of its next read, once everything is sent; then drop the connection.
    pub async fn linger_close(&self) {
        self.shutdown(Shutdown::Write);
        let discard = async {
            let mut discarded = 0;
            while let Ok(Some(n)) = self.read(<[u8]>::len).await {
                discarded += n;
                if discarded >= LINGER_BYTES {
                    return;
                }
            }
        };
        let enough = async {
            glommio::timer::Timer::new(LINGER).await;
        };
        futures_lite::future::or(discard, enough).await;
    }

    /// Bytes sent that the peer has not acknowledged yet (SIOCOUTQ), unsent ones included.
    pub fn unacked_bytes(&self) -> usize {
        let mut bytes: libc::c_int = 0;
        // SAFETY: TIOCOUTQ (= SIOCOUTQ) writes one int to `bytes`; the descriptor lives as long as `self`.
        let done = unsafe { libc::ioctl(self.fd, libc::TIOCOUTQ, &raw mut bytes) };
        if done == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
    }

    /// Sends what the kernel holds back until more comes or the peer has acknowledged (Nagle's algorithm, RFC 9293 §3.7.4),
    /// and lets it go on holding back after that.
    pub fn push_out(&self) {
        if self.conn.tuning.get().nodelay != Some(true) {
            let fd = borrowed(self.fd);
            let socket = SockRef::from(&fd);
            // tcp(7): setting it sends what is pending.
            let _ = socket.set_tcp_nodelay(true).and_then(|()| socket.set_tcp_nodelay(false));
        }
    }

    /// Sets socket options that are not set already.
    pub fn tune(&self, tuning: &TcpTuning) {
        self.conn.tuning.set(apply(self.fd, tuning, self.conn.tuning.get()));
    }
}

/// Sets what differs from what is set, and returns what is set then. Failures are of no consequence (the peer has
/// gone) and ignored.
fn apply(fd: RawFd, wished: &TcpTuning, set: TcpTuning) -> TcpTuning {
    let fd = borrowed(fd);
    let socket = SockRef::from(&fd);
    // The kernel begins with off.
    if let Some(on) = wished.nodelay.filter(|on| *on != set.nodelay.unwrap_or(false)) {
        let _ = socket.set_tcp_nodelay(on);
    }
    if let Some(bytes) = wished.notsent_lowat.filter(|_| wished.notsent_lowat != set.notsent_lowat) {
        let _ = socket.set_tcp_notsent_lowat(bytes);
    }
    if let Some(limit) = wished.user_timeout.filter(|_| wished.user_timeout != set.user_timeout) {
        let (idle, again) = ((limit / 3).max(KEEPALIVE_MIN), (limit / 6).max(KEEPALIVE_MIN));
        let _ = socket.set_tcp_user_timeout(Some(limit));
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(again));
    }
    TcpTuning {
        nodelay: wished.nodelay.or(set.nodelay),
        notsent_lowat: wished.notsent_lowat.or(set.notsent_lowat),
        user_timeout: wished.user_timeout.or(set.user_timeout),
    }
}

fn receive(fd: RawFd, scratch: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `scratch.len()` bytes into `scratch`.
    let n = unsafe { libc::recv(fd, scratch.as_mut_ptr().cast(), scratch.len(), libc::MSG_DONTWAIT) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

struct Parked<'a>(&'a Cell<bool>);

impl<'a> Parked<'a> {
    fn new(cell: &'a Cell<bool>) -> Self {
        cell.set(true);
        Parked(cell)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

fn borrowed(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: every caller holds the owner of `fd` (a Conn or Listening) and lets go of the borrow within the
    // calling function.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
