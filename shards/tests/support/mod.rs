//! What the engine's tests share: a service made of closures, and a look at this process.
#![allow(dead_code, unreachable_pub)] // each test uses its own part of it

use shards::{Cores, Ctx, Ended, Next, Pin as Pinning, Plan, Port, Service, ShardId};
use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Instant;

type Life = Pin<Box<dyn Future<Output = ()>>>;
type OnMessage<M> = Box<dyn Fn(&Ctx<M>, ShardId, M)>;

/// A service whose parts are closures. It ends at [`shards::Control::Stop`], or when its life ends if
/// [`Lab::until_done`] was asked for.
pub struct Lab<M: Send + 'static> {
    ctx: Ctx<M>,
    message: OnMessage<M>,
    turn: Box<dyn Fn(Instant) -> Next>,
    control: Box<dyn Fn(shards::Control)>,
    life: RefCell<Option<Life>>,
    ends_with_life: bool,
    stop: (flume::Sender<()>, flume::Receiver<()>),
}

impl<M: Send + 'static> Lab<M> {
    pub fn new(ctx: Ctx<M>) -> Self {
        Lab {
            ctx,
            message: Box::new(|_, _, _| {}),
            turn: Box::new(|_| Next::Idle),
            control: Box::new(|_| {}),
            life: RefCell::default(),
            ends_with_life: false,
            stop: flume::bounded(1),
        }
    }

    pub fn on_message(mut self, f: impl Fn(&Ctx<M>, ShardId, M) + 'static) -> Self {
        self.message = Box::new(f);
        self
    }

    pub fn on_turn(mut self, f: impl Fn(Instant) -> Next + 'static) -> Self {
        self.turn = Box::new(f);
        self
    }

    pub fn on_control(mut self, f: impl Fn(shards::Control) + 'static) -> Self {
        self.control = Box::new(f);
        self
    }

    /// Runs beside the rest until the shard stops. A panic in it ends the shard, which [`join`] tells.
    pub fn live(self, life: impl Future<Output = ()> + 'static) -> Self {
        *self.life.borrow_mut() = Some(Box::pin(life));
        self
    }

    /// The shard ends when its life does.
    pub fn until_done(mut self) -> Self {
        self.ends_with_life = true;
        self
    }
}

impl<M: Send + 'static> Service for Lab<M> {
    type Msg = M;

    fn on_message(&self, from: ShardId, message: M) {
        (self.message)(&self.ctx, from, message);
    }

    fn on_turn(&self, now: Instant) -> Next {
        (self.turn)(now)
    }

    fn on_control(&self, control: shards::Control) {
        (self.control)(control);
        if control == shards::Control::Stop {
            let _ = self.stop.0.try_send(());
        }
    }

    async fn serve(self: Rc<Self>) {
        let life = self.life.borrow_mut().take();
        let life = async {
            if let Some(life) = life {
                life.await;
            }
            if !self.ends_with_life {
                std::future::pending::<()>().await;
            }
        };
        let stopped = async {
            let _ = self.stop.1.recv_async().await;
        };
        futures_lite::future::or(stopped, life).await;
    }
}

/// So many shards, left to the kernel's scheduler.
pub fn unpinned(shards: u16) -> Plan {
    shards::placement::plan(Cores::Count(shards), Pinning::No).unwrap()
}

/// A loopback port of the kernel's choice.
pub fn loopback(name: &'static str) -> Port {
    Port { name, at: SocketAddr::from(([127, 0, 0, 1], 0)) }
}

/// Runs one shard with one listener: `life` gets both, and the test ends when it does.
pub fn on_one_shard<F: Future<Output = ()> + 'static>(
    life: impl Fn(Ctx<()>, shards::Listener) -> F + Send + Sync + 'static,
) {
    let running = shards::run(&unpinned(1), &[loopback("t")], move |ctx: Ctx<()>| {
        let (_, listener) = ctx.take_listeners().remove(0);
        Lab::new(ctx.clone()).live(life(ctx, listener)).until_done()
    })
    .unwrap();
    join(running);
}

/// Waits for the shards; each must have ended of itself.
pub fn join(running: shards::Running) {
    for (shard, ended) in running.join() {
        assert_eq!(ended, Ended::Done, "shard {shard}");
    }
}

/// Lets turns pass until `done`; the limit is for tests that fail.
pub async fn until<M: Send + 'static>(ctx: &Ctx<M>, what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed().as_secs() < 20, "waited in vain: {what}");
        ctx.sleep(std::time::Duration::from_millis(2)).await;
    }
}

/// Resident memory of this process in bytes.
pub fn rss_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Open descriptors of this process, the one that looks not counted.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Bytes whose every position can be told from its neighbours.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// A cell that threads share, for results.
#[derive(Debug, Default)]
pub struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
