//! In a crowd connections are asked, instead of telling.
//!
//! A message that arrives alone costs a shard a wake-up: its poll completes in the ring, which ends the thread's sleep,
//! and to fall asleep again takes ten system calls. That is 20 µs and more, three times what reading the message and
//! passing it on takes, and with hundreds of publishers most of what the shard does. So where messages come fast, a
//! connection that has read all there was waits in an epoll set instead of the ring, and the shard looks into the set
//! once in a [`LOOK_EVERY`]. In between its thread sleeps, in one system call that no arrival interrupts. When it grows
//! quiet all go back to the ring.

use crate::counters::add;
use crate::executor::Ctx;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A message waits so long at most, as it would behind another one's turn.
pub const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Reads are counted for so long.
const WINDOW: Duration = Duration::from_millis(100);
/// From so many in a window on it is a crowd: one in each look.
const GATHERS: u32 = 100;
/// Below so many it is none any more.
const DISPERSES: u32 = 50;
/// Connections that one look tells of; the others follow in the next.
const EVENTS: usize = 512;

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
    waker: Option<Waker>,
    /// Something came while it did not wait.
    missed: bool,
}

/// A connection's place in the set, once it has one.
#[derive(Default)]
pub(crate) struct Place(Cell<Option<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(at) = self.0.get() {
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

/// Waits until there may be something to read; `fd` had nothing when it was asked. Ready: ask again.
pub(crate) fn wait(place: &Place, fd: RawFd, cx: &Context<'_>) -> Poll<()> {
    CROWD.with_borrow_mut(|crowd| {
        let at = match place.0.get() {
            Some(at) => at,
            None => match crowd.enter(fd) {
                Some(at) => {
                    place.0.set(Some(at));
                    at
                }
                // Out of memory for it: it tries again at the next look.
                None => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            },
        };
        let Some(member) = crowd.members.get_mut(at) else { return Poll::Pending };
        if std::mem::take(&mut member.missed) {
            return Poll::Ready(());
        }
        member.waker = Some(cx.waker().clone());
        Poll::Pending
    })
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
    let mut woken = Vec::new();
    loop {
        poll_fn(|cx| {
            if ON.get() {
                return Poll::Ready(());
            }
            CROWD.with_borrow_mut(|crowd| crowd.attendant = Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        let mut looked = Instant::now();
        while ON.get() {
            // Who has work to do does it first.
            if !ctx.is_kicked() {
                std::thread::sleep((looked + LOOK_EVERY).saturating_duration_since(Instant::now()));
            }
            looked = Instant::now();
            CROWD.with_borrow_mut(|crowd| crowd.look(looked, &mut woken));
            add(&ctx.counters().crowd_looks, 1);
            woken.drain(..).for_each(Waker::wake); // not while it is borrowed: a task may end and leave
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

    /// Adds a descriptor. Told are edges: each read before a wait takes all there is, so that none is lost.
    fn enter(&mut self, fd: RawFd) -> Option<usize> {
        let epoll = self.epoll.as_ref()?.as_raw_fd();
        let at = self.members.insert(Member::default());
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

    /// Collects who has something to read, or everybody when the crowd is over.
    fn look(&mut self, now: Instant, woken: &mut Vec<Waker>) {
        let Some(epoll) = &self.epoll else { return };
        // SAFETY: the kernel writes at most EVENTS events into the buffer, which has room for them.
        let count = unsafe {
            libc::epoll_wait(epoll.as_raw_fd(), self.events.as_mut_ptr(), EVENTS as libc::c_int, 0)
        };
        for event in self.events.iter().take(usize::try_from(count).unwrap_or(0)) {
            let Some(member) = self.members.get_mut(event.u64 as usize) else { continue };
            match member.waker.take() {
                Some(waker) => woken.push(waker),
                None => member.missed = true,
            }
        }
        if self.reads_in_window(now).is_some_and(|reads| reads < DISPERSES) {
            ON.set(false);
            woken.extend(self.members.iter_mut().filter_map(|(_, member)| member.waker.take()));
        }
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
