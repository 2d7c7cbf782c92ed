//! The engine of srs-shard: a master thread, one pinned executor per core (a *shard*), mailboxes between
//! them. It knows nothing of media.
//!
//! | module | holds |
//! |---|---|
//! | [`placement`] | which CPUs: affinity mask and cgroup quota |
//! | [`cgroup`] | what the process's control groups permit |
//! | [`preflight`] | what must be there before the first executor: io_uring, limits |
//! | [`listen`] | listening sockets, one per shard and port, made by the master |
//! | [`master`] | starts, stops and drains the shards; signals |
//! | [`executor`] | one shard: its [`Ctx`], turns and the heartbeat |
//! | `nudge` | a push for an executor that sleeps before it has run anything |
//! | [`mailbox`] | outboxes, inboxes: at most one channel item per peer and turn |
//! | [`ask`] | questions to one or all shards, with deadlines |
//! | [`owner`] | which shard owns a key |
//! | [`net`] | TCP connections: one reader, a sender that never waits, one parked writer |
//! | [`crowd`] | many connections asked together, where each alone would wake the shard too often |
//! | [`mod@file`] | reading files through the ring |
//! | [`demand`] | how much of a core a shard uses, and would use |
//! | [`helper`] | jobs that would block a shard |
//! | [`daemon`] | into the background, and back to the shell with how that went |
//! | [`pidfile`] | the locked pid file |
//! | [`account`] | another user, once the ports are bound |
//! | [`child`] | child processes that inherit no socket |
//! | [`counters`] | what the engine counts |
//!
//! Only this crate names glommio, and only this crate holds `unsafe`: the reactor can be replaced behind it.
//! What glommio 0.9.0 gets wrong, and the remedy for each, is said where the remedy stands: lost wake-ups in
//! [`executor`], leaked cancelled tasks in [`executor::Ctx::spawn`], inherited sockets in [`child`], the
//! blocking pool in [`helper`].
//!
//! # A turn
//! Reader tasks feed what arrived to the service and call [`Ctx::kick`]. Once every task that was runnable
//! has run, the turn task calls [`Service::on_turn`], then flushes the outboxes: what came in together goes
//! out together.

pub mod account;
pub mod ask;
pub mod cgroup;
pub mod child;
pub mod counters;
pub mod crowd;
pub mod daemon;
pub mod demand;
pub mod executor;
pub mod file;
pub mod helper;
pub mod listen;
pub mod mailbox;
pub mod master;
pub mod memory;
pub mod net;
mod nudge;
pub mod owner;
pub mod pidfile;
pub mod placement;
pub mod preflight;

pub use ask::{AskError, Reply};
pub use executor::{Awake, Class, Ctx, Next, Panicked, Service};
pub use listen::{ListenError, Port};
pub use master::{Control, Ended, Running, StartError, run};
pub use net::{Listener, Sent, TcpConn, TcpTuning};
pub use placement::{Cores, Pin, Plan, PlanError};

/// Starts to fetch what is at `at` from memory, on processors for which Rust has an instruction to say so; for walks
/// over many objects, of which the next is known while this one is worked on.
pub fn prefetch<T: ?Sized>(at: &T) {
    prefetch_bytes(std::ptr::from_ref(at).addr(), size_of_val(at));
}

/// The same by address, which need not be anybody's any more.
pub(crate) fn prefetch_bytes(address: usize, bytes: usize) {
    const LINE_BYTES: usize = 64;
    #[cfg(target_arch = "x86_64")]
    for line in (address & !(LINE_BYTES - 1)..address + bytes).step_by(LINE_BYTES) {
        // SAFETY: a hint; it reads nothing and cannot fault. Every x86_64 processor has it (SSE).
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(line));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, bytes, LINE_BYTES);
}

/// The number of a shard: 0 up to one less than the number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// As an index into a table with one entry per shard.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for ShardId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
