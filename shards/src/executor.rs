//! One shard: a glommio executor, its [`Ctx`], its turns and its heartbeat.
//!
//! # The heartbeat
//! glommio 0.9.0 can park with runnable tasks (`run_task_queues` takes a pending preemption at its entry for
//! "nothing to do"), so a task that another shard woke may sleep for ever. The remedy needs no change to the
//! crate: every shard keeps one deadline that each turn pushes on. It fires after [`HEARTBEAT_BUSY`] without
//! a turn while the shard is kept awake (live streams, open questions) and after [`HEARTBEAT_IDLE`]
//! otherwise; any timer ends the park, so it bounds the stall. The same timer carries the service's own next
//! wish ([`Next::At`]): one timer per shard drives everything periodic.
//!
//! The task behind the heartbeat can be left lying like any other: its timer has fired and is gone, the
//! executor parks with it runnable, and no timer is left to end that park. So a second deadline stands one
//! [`HEARTBEAT_BUSY`] or [`HEARTBEAT_IDLE`] behind the first, and a third a second behind, for a thread that is
//! late by more than that. Every turn pushes all on, so they cost no wake-up; they fire only if the one before
//! was lost.

use crate::ask::{self, AskError, Reply};
use crate::counters::{Counters, add};
use crate::demand::{Demand, Gauge};
use crate::helper::{Helpers, JobPanicked};
use crate::mailbox::{Mail, Outboxes};
use crate::master::Control;
use crate::net::Listener;
use crate::{ShardId, crowd, owner};
use glommio::timer::Timer;
use glommio::{Latency, Shares, TaskQueueHandle};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A stall lasts at most this long while the shard has something live. A little more than an audio frame: a live
/// stream's own messages push the deadline on before it fires. At 10 ms it fired between most of them, and a
/// lone stream cost 28 ms of CPU a second instead of 19.
pub const HEARTBEAT_BUSY: Duration = Duration::from_millis(25);
/// A stall lasts at most this long on an idle shard; four wake-ups a second cost it under 0.4 ms of CPU.
pub const HEARTBEAT_IDLE: Duration = Duration::from_millis(250);
/// A turn that takes longer is counted as a loop stall.
pub const TURN_LIMIT: Duration = Duration::from_millis(2);
/// A turn that comes so long after the heartbeat should have brought it is counted as a loop stall, too: the shard's
/// thread stood still, in a task or off its core. Less than that is what the scheduler of a busy machine does.
pub const LATE_LIMIT: Duration = Duration::from_millis(100);
/// From here on that is told in the log as well; so at most once a second.
const LATE_TOLD: Duration = Duration::from_secs(1);
/// glommio's default of 100 ms lets a busy low-share queue delay media by that much.
const PREEMPT: Duration = Duration::from_millis(2);
/// Deep enough that thousands of armed reads are handed to the kernel in few system calls, and that the kernel
/// has 256 buckets for them (it takes an eighth of the ring, 256 at most): glommio cancels something at each
/// sleep, and the kernel looks for it through one bucket of all armed reads. With 64 buckets that was
/// 1.2 µs per viewer and second at 1000 viewers, growing with their square.
const RING_DEPTH: usize = 4096;
/// What the shards' threads are called, before their number.
pub(crate) const THREAD_NAME: &str = "shard-";
/// Registered buffers are only used for O_DIRECT files, which no shard opens; the default is 10 MiB.
const IO_MEMORY: usize = 64 << 10;

/// What a task is for: media outranks recording, recording outranks the API. Acts between turns only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Connections, pumps, mail.
    Media,
    /// Writing files.
    Recording,
    /// Answers that are long to compute.
    Api,
}

const SHARES: [(Class, usize, &str); 3] =
    [(Class::Media, 1000, "media"), (Class::Recording, 200, "recording"), (Class::Api, 100, "api")];

/// When a shard wishes its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// As soon as the tasks that are runnable now have run: the turn ended at its budget.
    Now,
    /// Not later than this.
    At(Instant),
    /// When something happens.
    Idle,
}

/// What runs on each shard.
pub trait Service: 'static {
    /// What shards post to each other.
    type Msg: Send + 'static;
    /// A post from a peer (or from this shard itself). Runs to completion. A panic in it is caught and
    /// counted; what it was about is lost, the shard goes on.
    fn on_message(&self, from: ShardId, message: Self::Msg);
    /// The end of a turn; see the crate's documentation.
    fn on_turn(&self, now: Instant) -> Next;
    /// The master asks for something.
    fn on_control(&self, control: Control);
    /// There are more listeners than at the start; [`Ctx::take_listeners`] gives them out.
    fn on_listeners(&self) {}
    /// The shard's life: it ends when this returns.
    fn serve(self: Rc<Self>) -> impl Future<Output = ()>;
}

/// Something panicked and was caught; the log has the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} panicked")]
pub struct Panicked(pub &'static str);

/// A shard's handle to its engine. Cheap to clone, never leaves its shard.
pub struct Ctx<M: 'static>(Rc<Shard<M>>);

impl<M> Clone for Ctx<M> {
    fn clone(&self) -> Self {
        Ctx(Rc::clone(&self.0))
    }
}

struct Shard<M> {
    me: ShardId,
    outboxes: Outboxes<M>,
    helpers: Helpers,
    queues: [TaskQueueHandle; 3],
    listeners: RefCell<Vec<(&'static str, Listener)>>,
    counters: Rc<Counters>,
    gauge: Gauge,
    kicked: Cell<bool>,
    turn_waker: RefCell<Option<Waker>>,
    awake: Rc<Cell<u32>>,
    heartbeat: RefCell<Heartbeat>,
    /// When the heartbeat brings the next turn, if nothing does before.
    due: Cell<Option<Instant>>,
}

/// The deadline that a turn pushes on, and those behind it: the heartbeat's own task can be left lying, too.
/// The next is a period later. On a busy machine a thread may be late by more than that: then both pass in one
/// go, and only the last, far behind, is still there to wake the shard.
struct Heartbeat([Timer; 3]);

impl Heartbeat {
    /// How far behind the first the last is.
    const LAST: Duration = Duration::from_secs(1);

    fn new(period: Duration) -> Self {
        Heartbeat(Self::deadlines(period, period).map(Timer::new))
    }

    fn deadlines(first: Duration, period: Duration) -> [Duration; 3] {
        [first, first + period, first + Self::LAST]
    }

    fn push_on(&mut self, first: Duration, period: Duration) {
        for (timer, at) in self.0.iter_mut().zip(Self::deadlines(first, period)) {
            timer.reset(at);
        }
    }

    /// Ready when one has passed. All are polled, so that all are armed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut passed = false;
        for timer in &mut self.0 {
            passed |= Pin::new(timer).poll(cx).is_ready();
        }
        if passed { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// While it lives the shard's heartbeat runs at [`HEARTBEAT_BUSY`].
#[derive(Debug)]
pub struct Awake(Rc<Cell<u32>>);

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// All that a shard's thread is given by the master.
pub(crate) struct Seat<M> {
    pub(crate) me: ShardId,
    pub(crate) cpu: Option<usize>,
    pub(crate) inbox: flume::Receiver<Mail<M>>,
    pub(crate) inboxes: Vec<flume::Sender<Mail<M>>>,
    pub(crate) bounds: Vec<crate::listen::Bound>,
    pub(crate) helpers: Helpers,
    /// One item for each shard when the ports are listened on; closed if the start failed.
    pub(crate) go: flume::Receiver<()>,
    /// Held while the shard lives; the master counts.
    pub(crate) alive: std::sync::Arc<()>,
    /// Off only in the test that shows what happens without it.
    pub(crate) heartbeat: bool,
}

/// Starts a shard's thread; `up` hears when its service exists.
pub(crate) fn start<S: Service>(
    seat: Seat<S::Msg>,
    make: impl FnOnce(Ctx<S::Msg>) -> S + Send + 'static,
    up: flume::Sender<ShardId>,
) -> Result<glommio::ExecutorJoinHandle<()>, glommio::GlommioError<()>> {
    // `Placement::Fixed` reads the machine's topology from /sys and panics where that is not mounted; the
    // shard pins itself.
    glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
        .name(&format!("{THREAD_NAME}{}", seat.me))
        .io_memory(IO_MEMORY)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT)
        .spawn(move || live(seat, make, up))
}

async fn live<S: Service>(
    seat: Seat<S::Msg>,
    make: impl FnOnce(Ctx<S::Msg>) -> S,
    up: flume::Sender<ShardId>,
) {
    let _alive = seat.alive;
    if let Some(id) = seat.cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        log::warn!("shard {}: cannot be pinned to CPU {id}; it runs where the kernel puts it", seat.me);
    }
    let queues = SHARES.map(|(_, shares, name)| {
        glommio::executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name)
    });
    let counters = Rc::new(Counters::default());
    let listeners = seat
        .bounds
        .into_iter()
        .map(|bound| (bound.name, Listener::adopt(bound, Rc::clone(&counters))))
        .collect();
    let ctx = Ctx(Rc::new(Shard {
        me: seat.me,
        outboxes: Outboxes::new(seat.me, seat.inboxes),
        helpers: seat.helpers,
        queues,
        listeners: RefCell::new(listeners),
        counters,
        gauge: Gauge::of_this_thread(),
        kicked: Cell::new(false),
        turn_waker: RefCell::default(),
        awake: Rc::default(),
        heartbeat: RefCell::new(Heartbeat::new(HEARTBEAT_IDLE)),
        due: Cell::new(None),
    }));
    if seat.heartbeat {
        // Armed before anything else: from here on no lost wake-up is for ever.
        poll_fn(|cx| Poll::Ready(ctx.0.heartbeat.borrow_mut().poll(cx).is_ready())).await;
    }
    let service = Rc::new(make(ctx.clone()));
    ctx.spawn(Class::Media, "inbox", read_mail(ctx.clone(), seat.inbox, Rc::clone(&service)));
    ctx.spawn(Class::Media, "a crowd", crowd::attend(ctx.clone()));
    ctx.spawn(Class::Media, "turns", run_turns(ctx.clone(), Rc::clone(&service)));
    if seat.heartbeat {
        ctx.spawn(Class::Media, "heartbeat", beat(ctx.clone()));
    }
    let _ = up.send(seat.me);
    drop(up); // the master waits until every sender is gone
    // Accepting on a socket that does not listen yet is an error. Nothing else runs here so far, so this may
    // block the thread.
    if seat.go.recv().is_err() {
        return;
    }
    service.serve().await;
    ctx.flush();
}

async fn read_mail<S: Service>(ctx: Ctx<S::Msg>, inbox: flume::Receiver<Mail<S::Msg>>, service: Rc<S>) {
    while let Ok(mut mail) = inbox.recv_async().await {
        loop {
            let began = Instant::now();
            deliver(&ctx, mail, &service);
            ctx.note_turn_length(began);
            ctx.kick(); // not after the loop: turns must come while peers keep posting, too
            match inbox.try_recv() {
                Ok(next) => mail = next,
                Err(_) => break,
            }
            glommio::executor().yield_if_needed().await;
        }
    }
}

fn deliver<S: Service>(ctx: &Ctx<S::Msg>, mail: Mail<S::Msg>, service: &Rc<S>) {
    match mail {
        Mail::Posts { from, posts } => {
            add(&ctx.0.counters.mail_items, 1);
            for post in posts {
                let _ = ctx.isolate("a message handler", || service.on_message(from, post));
            }
        }
        Mail::Control(control) => {
            let _ = ctx.isolate("a control handler", || service.on_control(control));
        }
        Mail::Listen(bounds) => {
            let counters = &ctx.0.counters;
            let adopted =
                bounds.into_iter().map(|bound| (bound.name, Listener::adopt(bound, Rc::clone(counters))));
            ctx.0.listeners.borrow_mut().extend(adopted);
            let _ = ctx.isolate("a control handler", || service.on_listeners());
        }
    }
}

async fn run_turns<S: Service>(ctx: Ctx<S::Msg>, service: Rc<S>) {
    loop {
        poll_fn(|cx| {
            if ctx.0.kicked.replace(false) {
                return Poll::Ready(());
            }
            let mut waker = ctx.0.turn_waker.borrow_mut();
            if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        let began = Instant::now();
        ctx.note_lateness(began);
        crowd::look_around(began);
        let next = ctx.isolate("a turn", || service.on_turn(began)).unwrap_or(Next::Idle);
        ctx.flush();
        add(&ctx.0.counters.turns, 1);
        ctx.note_turn_length(began);
        ctx.push_heartbeat_on(next);
        if next == Next::Now {
            ctx.kick();
            glommio::executor().yield_now().await; // the tasks that are runnable now go first
        }
    }
}

async fn beat<M: Send + 'static>(ctx: Ctx<M>) {
    loop {
        poll_fn(|cx| ctx.0.heartbeat.borrow_mut().poll(cx)).await;
        add(&ctx.0.counters.heartbeats, 1);
        *ctx.0.heartbeat.borrow_mut() = Heartbeat::new(ctx.heartbeat_period());
        ctx.kick();
    }
}

impl<M: Send + 'static> Ctx<M> {
    /// This shard.
    pub fn me(&self) -> ShardId {
        self.0.me
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        self.0.outboxes.shards()
    }

    /// The shard that owns `key`; see [`owner`].
    pub fn owner_of(&self, key: &str) -> ShardId {
        owner::owner_of(key, self.shards())
    }

    /// CPU time that this shard's thread has used and waited for so far; the difference of two calls over the time
    /// between them says how busy the shard was. A system call: for every 250 ms, not for every turn.
    pub fn demand(&self) -> Demand {
        self.0.gauge.read()
    }

    /// This shard's counters.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// This shard's listeners, by name; each is given out once.
    pub fn take_listeners(&self) -> Vec<(&'static str, Listener)> {
        std::mem::take(&mut *self.0.listeners.borrow_mut())
    }

    /// Asks for a turn once everything that is runnable now has run.
    pub fn kick(&self) {
        if !self.0.kicked.replace(true)
            && let Some(waker) = &*self.0.turn_waker.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Whether a turn is to come.
    pub(crate) fn is_kicked(&self) -> bool {
        self.0.kicked.get()
    }

    /// Posts to a shard (also to this one: it arrives like any other post, later). Never waits.
    pub fn post(&self, to: ShardId, message: M) {
        if self.0.outboxes.put(to, message) {
            self.flush();
        } else {
            self.kick();
        }
    }

    /// Asks one shard; `question` makes the message that carries the reply.
    pub async fn ask<R: Send + 'static>(
        &self,
        to: ShardId,
        question: impl FnOnce(Reply<R>) -> M,
        limit: Duration,
    ) -> Result<R, AskError> {
        let _awake = self.stay_awake();
        let (reply, answer) = ask::question();
        self.post(to, question(reply));
        answer.wait(to, limit).await
    }

    /// Asks every shard, this one included; answers come in the order of the shards.
    pub async fn ask_all<R: Send + 'static>(
        &self,
        question: impl Fn(Reply<R>) -> M,
        limit: Duration,
    ) -> Vec<(ShardId, Result<R, AskError>)> {
        let _awake = self.stay_awake();
        let asked: Vec<_> = (0..self.shards())
            .map(|n| {
                let (reply, answer) = ask::question();
                self.post(ShardId(n), question(reply));
                (ShardId(n), answer)
            })
            .collect();
        let deadline = Instant::now() + limit;
        let mut answers = Vec::with_capacity(asked.len());
        for (shard, answer) in asked {
            let left = deadline.saturating_duration_since(Instant::now());
            answers.push((shard, answer.wait(shard, left).await));
        }
        answers
    }

    /// Asks somebody who is no shard, on whatever thread: `question` takes along the way back. None without an answer.
    pub async fn ask_outside<R: Send + 'static>(
        &self,
        question: impl FnOnce(Reply<R>),
        limit: Duration,
    ) -> Option<R> {
        let _awake = self.stay_awake();
        let (reply, answer) = ask::question();
        question(reply);
        answer.wait_for_any(limit).await.flatten()
    }

    /// Keeps the heartbeat at its busy pace while the guard lives.
    pub fn stay_awake(&self) -> Awake {
        let awake = &self.0.awake;
        awake.set(awake.get() + 1);
        if awake.get() == 1 {
            self.kick(); // the next turn shortens the deadline
        }
        Awake(Rc::clone(awake))
    }

    /// Runs a task. A panic in it ends the task, is logged with `what`, and counted.
    ///
    /// There is no handle: glommio 0.9.0 never frees a task that was cancelled while it waited, so tasks end
    /// by themselves (a reader when its socket is shut down).
    pub fn spawn(&self, class: Class, what: &'static str, task: impl Future<Output = ()> + 'static) {
        let counters = Rc::clone(&self.0.counters);
        let guarded = Caught { task, what, counters: Rc::clone(&counters) };
        add(&counters.tasks, 1);
        match glommio::spawn_local_into(guarded, self.0.queues[class as usize]) {
            Ok(task) => drop(task.detach()),
            Err(error) => log::error!("cannot start {what}: {error}"),
        }
    }

    /// Runs `f`; a panic in it is caught, logged with `what`, and counted.
    pub fn isolate<R>(&self, what: &'static str, f: impl FnOnce() -> R) -> Result<R, Panicked> {
        catch_unwind(AssertUnwindSafe(f)).map_err(|_| self.caught(what))
    }

    fn caught(&self, what: &'static str) -> Panicked {
        add(&self.0.counters.panics, 1);
        log::error!("shard {}: {what} panicked; it was ended, the shard goes on", self.0.me);
        Panicked(what)
    }

    /// Runs a job on a helper thread.
    pub async fn offload<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, JobPanicked> {
        let _awake = self.stay_awake();
        self.0.helpers.run(job).await
    }

    /// Lets others run if this task has used up its time.
    pub async fn yield_if_needed(&self) {
        glommio::executor().yield_if_needed().await;
    }

    /// Waits.
    pub async fn sleep(&self, time: Duration) {
        Timer::new(time).await;
    }

    fn flush(&self) {
        add(&self.0.counters.mail_full, self.0.outboxes.flush());
    }

    fn heartbeat_period(&self) -> Duration {
        let live = self.0.awake.get() > 0 || self.0.outboxes.waiting();
        if live { HEARTBEAT_BUSY } else { HEARTBEAT_IDLE }
    }

    fn push_heartbeat_on(&self, next: Next) {
        let period = self.heartbeat_period();
        let first = match next {
            // From now, not from the turn's beginning: the turn took time, too.
            Next::At(wish) => period.min(wish.saturating_duration_since(Instant::now())),
            Next::Now | Next::Idle => period,
        };
        self.0.heartbeat.borrow_mut().push_on(first, period);
        self.0.due.set(Some(Instant::now() + first));
    }

    fn note_lateness(&self, now: Instant) {
        let late = self.0.due.take().map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        if late < LATE_LIMIT {
            return;
        }
        add(&self.0.counters.loop_stalls, 1);
        self.note_longest(late);
        if late >= LATE_TOLD {
            log::warn!("shard {} stood still for {:.1} s", self.0.me, late.as_secs_f64());
        }
    }

    fn note_turn_length(&self, began: Instant) {
        let took = began.elapsed();
        if took > TURN_LIMIT {
            add(&self.0.counters.loop_stalls, 1);
        }
        self.note_longest(took);
    }

    fn note_longest(&self, took: Duration) {
        let longest = &self.0.counters.longest_turn_us;
        longest.set(longest.get().max(took.as_micros() as u64));
    }
}

/// A task's future whose panics are caught: uncaught, one ends the executor and all its connections.
struct Caught<F> {
    task: F,
    what: &'static str,
    counters: Rc<Counters>,
}

impl<F: Future<Output = ()>> Future for Caught<F> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `task` is pinned with `self` and never moved out; the other fields are only borrowed.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above: structural pinning of `task`.
        let task = unsafe { Pin::new_unchecked(&mut this.task) };
        catch_unwind(AssertUnwindSafe(|| task.poll(cx))).unwrap_or_else(|_| {
            add(&this.counters.panics, 1);
            log::error!("the task of {} panicked; it was ended, its shard goes on", this.what);
            Poll::Ready(())
        })
    }
}

impl<F> Drop for Caught<F> {
    fn drop(&mut self) {
        self.counters.tasks.set(self.counters.tasks.get().saturating_sub(1));
    }
}
