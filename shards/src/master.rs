//! The master: starts the shards, passes control on to them, hears their end and the signals.

use crate::ShardId;
use crate::executor::{self, Ctx, Seat, Service};
use crate::helper::Helpers;
use crate::listen::{self, Bound, ListenError, Port};
use crate::mailbox::{INBOX_ITEMS, Mail};
use crate::nudge;
use crate::placement::Plan;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A shard that has not said so by then that it is up may need a push.
const NUDGE_AFTER: Duration = Duration::from_millis(200);

/// What the master tells every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// End now: connections are cut.
    Stop,
    /// Accept no more, let clients finish until [`Control::Stop`].
    Drain,
    /// Close the clients that are left, and live on until [`Control::Stop`].
    Cut,
    /// Read the configuration again.
    Reload,
}

/// Why the shards did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken or not ours.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A helper thread.
    #[error("cannot start a helper thread: {0}")]
    Helper(io::Error),
    /// An executor.
    #[error("cannot start shard {shard}: {reason}")]
    Executor {
        /// Which.
        shard: ShardId,
        /// What glommio said.
        reason: String,
    },
    /// Signals could not be blocked.
    #[error("cannot take over the signals: {0}")]
    Signals(io::Error),
}

/// How a shard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its service returned.
    Done,
    /// It panicked where nothing could catch it.
    Panicked,
}

/// The running shards.
pub struct Running {
    shards: Vec<(ShardId, glommio::ExecutorJoinHandle<()>)>,
    control: Arc<dyn Fn(Control) + Send + Sync>,
    /// Gives each shard its sockets.
    hand_out: Box<dyn Fn(Vec<Vec<Bound>>) + Send + Sync>,
    alive: Arc<()>,
    ports: Vec<(&'static str, SocketAddr)>,
}

/// The ports' sockets, one per shard, bound and not yet listened on.
#[derive(Debug)]
pub struct Sockets(Vec<Vec<Bound>>);

/// Binds the ports: what may take root, and comes before threads.
pub fn bind(plan: &Plan, ports: &[Port]) -> Result<Sockets, ListenError> {
    listen::bind(ports, plan.shards(), &[]).map(Sockets)
}

/// Starts a shard for each place of the plan, and listens once all are up.
pub fn start<S, F>(plan: &Plan, sockets: Sockets, make: F) -> Result<Running, StartError>
where
    S: Service,
    F: Fn(Ctx<S::Msg>) -> S + Send + Sync + 'static,
{
    start_with(plan, sockets, make, true)
}

/// [`bind`] and [`start`].
pub fn run<S, F>(plan: &Plan, ports: &[Port], make: F) -> Result<Running, StartError>
where
    S: Service,
    F: Fn(Ctx<S::Msg>) -> S + Send + Sync + 'static,
{
    run_with(plan, ports, make, true)
}

/// As [`run`]; without the heartbeat lost wake-ups are not bounded, which is only of use to show that.
#[doc(hidden)]
pub fn run_with<S, F>(plan: &Plan, ports: &[Port], make: F, heartbeat: bool) -> Result<Running, StartError>
where
    S: Service,
    F: Fn(Ctx<S::Msg>) -> S + Send + Sync + 'static,
{
    start_with(plan, bind(plan, ports)?, make, heartbeat)
}

fn start_with<S, F>(plan: &Plan, sockets: Sockets, make: F, heartbeat: bool) -> Result<Running, StartError>
where
    S: Service,
    F: Fn(Ctx<S::Msg>) -> S + Send + Sync + 'static,
{
    let Sockets(bounds) = sockets;
    let bound_ports = bounds.first().map(|b| b.iter().map(|b| (b.name, b.at)).collect()).unwrap_or_default();
    let helpers = Helpers::start().map_err(StartError::Helper)?;
    nudge::prepare().map_err(StartError::Signals)?;
    let (inboxes, mut receivers): (Vec<_>, Vec<_>) =
        plan.cpus.iter().map(|_| flume::bounded::<Mail<S::Msg>>(INBOX_ITEMS)).unzip();
    receivers.reverse();
    let make = Arc::new(make);
    let alive = Arc::new(());
    let (up, ups) = flume::bounded(usize::from(plan.shards()));
    // Whatever fails below drops `go`, and the shards that are up already end.
    let (go, gone) = flume::bounded(usize::from(plan.shards()));
    let mut shards = Vec::new();
    // The sockets stay with the master too until all shards are up, only to be told to listen.
    let mut sockets = Vec::new();
    for (n, (cpu, bounds)) in plan.cpus.iter().zip(bounds).enumerate() {
        let me = ShardId(n as u16);
        let failed = |reason: String| StartError::Executor { shard: me, reason };
        let Some(inbox) = receivers.pop() else { break };
        for bound in &bounds {
            let socket = bound.socket.try_clone().map_err(|e| failed(e.to_string()))?;
            sockets.push(Bound { name: bound.name, at: bound.at, socket });
        }
        let seat = Seat {
            me,
            cpu: *cpu,
            inbox,
            inboxes: inboxes.clone(),
            bounds,
            helpers: helpers.clone(),
            go: gone.clone(),
            alive: Arc::clone(&alive),
            heartbeat,
        };
        let make = Arc::clone(&make);
        let shard = executor::start::<S>(seat, move |ctx| make(ctx), up.clone())
            .map_err(|error| failed(error.to_string()))?;
        shards.push((me, shard));
    }
    drop(up);
    let came_up = await_all(&ups);
    if let Some((dead, _)) = shards.iter().find(|(shard, _)| !came_up.contains(shard)) {
        let reason = "it panicked before it could serve".to_owned();
        return Err(StartError::Executor { shard: *dead, reason });
    }
    sockets.iter().try_for_each(Bound::listen)?;
    drop(sockets);
    for _ in &shards {
        let _ = go.send(());
    }
    let peers = inboxes.clone();
    let control = Arc::new(move |control| {
        for inbox in &peers {
            // A shard that stands still with a full inbox must not hold up the others' control.
            let _ = inbox.send_timeout(Mail::Control(control), Duration::from_secs(1));
        }
    });
    let hand_out = Box::new(move |bounds: Vec<Vec<Bound>>| {
        for (inbox, bounds) in inboxes.iter().zip(bounds) {
            let _ = inbox.send_timeout(Mail::Listen(bounds), Duration::from_secs(1));
        }
    });
    Ok(Running { shards, control, hand_out, alive, ports: bound_ports })
}

/// Who has come up: ends when every shard has said so, or has died.
fn await_all(ups: &flume::Receiver<ShardId>) -> Vec<ShardId> {
    let mut came_up = Vec::new();
    loop {
        match ups.recv_timeout(NUDGE_AFTER) {
            Ok(shard) => came_up.push(shard),
            Err(flume::RecvTimeoutError::Timeout) => nudge::threads(executor::THREAD_NAME),
            Err(flume::RecvTimeoutError::Disconnected) => return came_up,
        }
    }
}

impl Running {
    /// Tells every shard.
    pub fn broadcast(&self, control: Control) {
        (self.control)(control);
    }

    /// Listens on more ports than `ours`; all of them, or none. The addresses, as bound.
    pub fn listen(
        &self,
        ports: &[Port],
        ours: &[SocketAddr],
    ) -> Result<Vec<(&'static str, SocketAddr)>, ListenError> {
        let bounds = listen::bind(ports, self.shards.len() as u16, ours)?;
        bounds.iter().flatten().try_for_each(Bound::listen)?;
        let at = bounds.first().map(|bounds| bounds.iter().map(|bound| (bound.name, bound.at)).collect());
        (self.hand_out)(bounds);
        Ok(at.unwrap_or_default())
    }

    /// A handle that other threads may use to tell every shard.
    pub fn controller(&self) -> impl Fn(Control) + Send + Sync + use<> {
        let control = Arc::clone(&self.control);
        move |c| control(c)
    }

    /// The ports listened on, with the numbers the kernel chose.
    pub fn ports(&self) -> &[(&'static str, SocketAddr)] {
        &self.ports
    }

    /// Whether a shard has ended, by panic or because it was told to.
    pub fn any_ended(&self) -> bool {
        Arc::strong_count(&self.alive) <= self.shards.len()
    }

    /// Waits for every shard to end.
    pub fn join(self) -> Vec<(ShardId, Ended)> {
        let end = |handle: glommio::ExecutorJoinHandle<()>| match handle.join() {
            Ok(()) => Ended::Done,
            Err(_) => Ended::Panicked,
        };
        self.shards.into_iter().map(|(shard, handle)| (shard, end(handle))).collect()
    }
}

/// A signal the server acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: stop fast.
    Stop,
    /// SIGTERM: the same, or drain.
    Terminate,
    /// SIGQUIT: drain.
    Drain,
    /// SIGHUP: reload.
    Reload,
    /// SIGUSR1: reopen the log.
    Reopen,
    /// SIGUSR2: keep what is in force.
    Save,
    /// SIGURG: a thread of this process has something for who waits.
    Woken,
}

const SIGNALS: [(libc::c_int, Signal); 7] = [
    (libc::SIGINT, Signal::Stop),
    (libc::SIGTERM, Signal::Terminate),
    (libc::SIGQUIT, Signal::Drain),
    (libc::SIGHUP, Signal::Reload),
    (libc::SIGUSR1, Signal::Reopen),
    (libc::SIGUSR2, Signal::Save),
    (libc::SIGURG, Signal::Woken),
];

/// Ends the wait of [`Signals::wait`], from any thread. Without such a wait it has no effect.
pub fn wake_waiting_signals() {
    // SAFETY: it takes two numbers; SIGURG is blocked or, by default, ignored.
    unsafe { libc::kill(libc::getpid(), libc::SIGURG) };
}

/// The signals, blocked in every thread and waited for in one place.
pub struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks them. Call it before any thread is started: threads inherit the mask.
    pub fn block() -> Result<Signals, StartError> {
        // SAFETY: an all-zero sigset_t is a valid object for sigemptyset to initialise.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is valid; the signal numbers are constants of this platform.
        unsafe { libc::sigemptyset(&raw mut set) };
        for (number, _) in SIGNALS {
            // SAFETY: as above.
            unsafe { libc::sigaddset(&raw mut set, number) };
        }
        // SAFETY: `set` was initialised above; the old mask is not asked for.
        match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) } {
            0 => Ok(Signals(set)),
            error => Err(StartError::Signals(io::Error::from_raw_os_error(error))),
        }
    }

    /// Waits for the next one, at most `limit`.
    pub fn wait(&self, limit: Duration) -> Option<Signal> {
        let limit = libc::timespec {
            tv_sec: limit.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(limit.subsec_nanos() as i32),
        };
        // SAFETY: set and timespec are valid; no siginfo is asked for.
        let number = unsafe { libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), &raw const limit) };
        SIGNALS.iter().find(|(n, _)| *n == number).map(|(_, signal)| *signal)
    }
}
