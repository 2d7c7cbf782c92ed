//! In a crowd connections are asked, instead of telling.
//!
//! A message that arrives alone costs a shard a wake-up: its poll completes in the ring, which ends the thread's sleep,
//! and to fall asleep again takes ten system calls. That is 20 µs and more, three times what reading the message and
//! passing it on takes, and with hundreds of publishers most of what the shard does. So where messages come fast, a
//! connection that has read all there was waits in an epoll set instead of the ring, and the shard looks into the set
//! once in a [`LOOK_EVERY`]. In between its thread sleeps, in one system call that no arrival interrupts. When it grows
//! quiet all go back to the ring.
//!
//! A look knows all who will read in the turn that it begins, so that their state is fetched from memory at once, before
//! the first of them runs.

use crate::counters::add;
use crate::executor::Ctx;
use crate::prefetch_bytes;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A message waits so long at most, as it would behind another one's turn.
pub const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Reads are counted for so long.
const WINDOW: Duration = Duration::from_millis(100);
/// From so many in a window on it is a crowd: two in each look.
const GATHERS: u32 = 100;
/// Below so many it is none any more.
const DISPERSES: u32 = 50;
/// What is fetched ahead of a task: most of what a protocol's session touches is in it.
const TASK_BYTES: usize = 2560;
/// And of a connection.
const CONN_BYTES: usize = 128;
/// Connections that one look tells of; the next look, for the others, comes as soon as these have run. What is fetched
/// ahead for so many fits in a core's own caches: 64 of them are 200 KiB.
const EVENTS: usize = 64;

thread_local! {
    static CROWD: RefCell<Crowd> = RefCell::new(Crowd::new());
    static ON: Cell<bool> = const { Cell::new(false) };
    static READS: Cell<u32> = const { Cell::new(0) };
}

struct Crowd {
    /// None if the kernel gave none: then there is never a crowd.
    epoll: Option<OwnedFd>,
    members: Slab<Member>,
    events: Vec<libc::epoll_event>,
    /// When the window began.
    since: Option<Instant>,
    attendant: Option<Waker>,
}

/// A connection that has waited here once.
#[derive(Default)]
struct Member {
    /// Where its connection is.
    conn: usize,
    /// What its reader touches beside it, from where and how many bytes.
    near: (usize, usize),
    waker: Option<Waker>,
    waits: bool,
    /// It has read all there was, and was told of nothing since.
    empty: bool,
    /// Its peer sends no more: there is an end to be read.
    ended: bool,
}

impl Member {
    /// If it waits. The waker stays: the next wait is mostly the same task's.
    fn wake(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.waker.iter().for_each(Waker::wake_by_ref);
        }
    }
}

/// A connection's place in the set, once it has one.
#[derive(Default)]
pub(crate) struct Place {
    at: Cell<Option<usize>>,
    near: Cell<(usize, usize)>,
}

impl Place {
    /// Its reader touches `state` whenever something comes: it is fetched from memory ahead of that.
    pub(crate) fn reads_into<T>(&self, state: &T) {
        self.near.set((ptr::from_ref(state).addr(), size_of::<T>()));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(at) = self.at.get() {
            // Its descriptor leaves the set when it is closed. At the thread's end the set may be gone already.
            let _ = CROWD.try_with(|crowd| crowd.borrow_mut().members.try_remove(at));
        }
    }
}

/// Whether connections are to wait here.
pub(crate) fn is_on() -> bool {
    ON.get()
}

/// A connection has read something.
pub(crate) fn note_read() {
    READS.set(READS.get() + 1);
}

/// Whether there may be something to read; asking the socket itself costs a system call.
pub(crate) fn may_read(place: &Place) -> bool {
    let Some(at) = place.at.get() else { return true };
    CROWD.with_borrow(|crowd| crowd.members.get(at).is_none_or(|member| member.ended || !member.empty))
}

/// A read found nothing, or took less than it had room for: that was all. What comes from now on will be told of.
pub(crate) fn note_empty(place: &Place) {
    let Some(at) = place.at.get() else { return };
    CROWD.with_borrow_mut(|crowd| {
        if let Some(member) = crowd.members.get_mut(at) {
            member.empty = true;
        }
    });
}

/// Waits until there may be something to read; `fd` had nothing when it was asked.
pub(crate) fn wait(place: &Place, fd: RawFd, cx: &Context<'_>) {
    CROWD.with_borrow_mut(|crowd| {
        if place.at.get().is_none() {
            place.at.set(crowd.enter(place, fd));
        }
        let member = place.at.get().and_then(|at| crowd.members.get_mut(at));
        // Out of memory for it: it tries again at the next look.
        let Some(member) = member else { return cx.waker().wake_by_ref() };
        member.waits = true;
        if !member.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            member.waker = Some(cx.waker().clone());
        }
    });
}

/// A turn begins: the moment to see whether it has become a crowd.
pub(crate) fn look_around(now: Instant) {
    if ON.get() {
        return;
    }
    CROWD.with_borrow_mut(|crowd| {
        if crowd.reads_in_window(now).is_some_and(|reads| reads >= GATHERS) && crowd.epoll.is_some() {
            ON.set(true);
            crowd.attendant.take().into_iter().for_each(Waker::wake);
        }
    });
}

/// Makes the set, and looks after the crowd while there is one.
pub(crate) fn attend<M: Send + 'static>(ctx: Ctx<M>) -> impl Future<Output = ()> {
    CROWD.with(|_| ());
    attendance(ctx)
}

async fn attendance<M: Send + 'static>(ctx: Ctx<M>) {
    loop {
        poll_fn(|cx| {
            if ON.get() {
                return Poll::Ready(());
            }
            CROWD.with_borrow_mut(|crowd| crowd.attendant = Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        let (mut looked, mut told) = (Instant::now(), 0);
        while ON.get() {
            // Who has work to do does it first, and who was not told of yet does not wait.
            if !ctx.is_kicked() && told < EVENTS {
                std::thread::sleep((looked + LOOK_EVERY).saturating_duration_since(Instant::now()));
            }
            looked = Instant::now();
            told = CROWD.with_borrow_mut(|crowd| crowd.look(looked));
            add(&ctx.counters().crowd_looks, 1);
            glommio::executor().yield_now().await;
        }
    }
}

impl Crowd {
    fn new() -> Crowd {
        // SAFETY: makes a descriptor, which is nobody's yet.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        // SAFETY: as above; a negative number is none.
        let epoll = (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        Crowd { epoll, members: Slab::new(), events, since: None, attendant: None }
    }

    /// Adds a descriptor. Told are edges, of what is there already too: each read before a wait takes all there is,
    /// so that none is lost.
    fn enter(&mut self, place: &Place, fd: RawFd) -> Option<usize> {
        let epoll = self.epoll.as_ref()?.as_raw_fd();
        let conn = ptr::from_ref(place).addr();
        let at =
            self.members.insert(Member { conn, near: place.near.get(), empty: true, ..Member::default() });
        let events = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: at as u64 };
        // SAFETY: `event` lives over the call, which copies it; both descriptors are open.
        let done = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if done != 0 {
            self.members.remove(at);
            return None;
        }
        Some(at)
    }

    /// Wakes who has something to read, or everybody when the crowd is over. Returns how many had.
    fn look(&mut self, now: Instant) -> usize {
        let Some(epoll) = &self.epoll else { return 0 };
        // SAFETY: the kernel writes at most EVENTS events into the buffer, which has room for them.
        let count = unsafe {
            libc::epoll_wait(epoll.as_raw_fd(), self.events.as_mut_ptr(), EVENTS as libc::c_int, 0)
        };
        let events = self.events.get(..usize::try_from(count).unwrap_or(0)).unwrap_or_default();
        // With hundreds of connections nothing of one is in the caches any more when something comes for it again, and
        // its reader would wait for memory at every step. Fetched ahead, all of these wait at the same time.
        let members = events.iter().filter_map(|event| self.members.get(event.u64 as usize));
        members.clone().for_each(|member| prefetch_bytes(ptr::from_ref(member).addr(), size_of::<Member>()));
        for member in members {
            if let Some(waker) = &member.waker {
                prefetch_bytes(waker.data().addr(), TASK_BYTES);
            }
            prefetch_bytes(member.conn, CONN_BYTES);
            prefetch_bytes(member.near.0, member.near.1);
        }
        let told = events.len();
        for event in events {
            let Some(member) = self.members.get_mut(event.u64 as usize) else { continue };
            member.empty = false;
            // An end that came together with the last bytes is not told of again.
            const ENDS: i32 = libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR;
            member.ended |= event.events & ENDS as u32 != 0;
            member.wake();
        }
        if self.reads_in_window(now).is_some_and(|reads| reads < DISPERSES) {
            ON.set(false);
            self.members.iter_mut().for_each(|(_, member)| member.wake());
        }
        told
    }

    /// Reads in a window's time, if one is over.
    fn reads_in_window(&mut self, now: Instant) -> Option<u32> {
        let since = *self.since.get_or_insert(now);
        let length = now.saturating_duration_since(since);
        if length < WINDOW {
            return None;
        }
        self.since = Some(now);
        Some((f64::from(READS.replace(0)) * WINDOW.as_secs_f64() / length.as_secs_f64()) as u32)
    }
}
