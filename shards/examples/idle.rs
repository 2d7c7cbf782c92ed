//! What an idle server costs: CPU per second and shard, by shards and pace of the heartbeat.
//! `cargo run --release -p shards --example idle [seconds]`
#![allow(clippy::print_stdout)]

use shards::executor::{HEARTBEAT_BUSY, HEARTBEAT_IDLE};
use shards::{Control, Cores, Ctx, Next, Pin, Port, Service, ShardId};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Accepts, and does nothing else.
struct Idle {
    ctx: Ctx<()>,
    awake: bool,
    stop: (flume::Sender<()>, flume::Receiver<()>),
    conns: RefCell<Vec<shards::TcpConn>>,
}

impl Service for Idle {
    type Msg = ();
    fn on_message(&self, _: ShardId, (): ()) {}
    fn on_turn(&self, _: Instant) -> Next {
        Next::Idle
    }
    fn on_control(&self, control: Control) {
        if control == Control::Stop {
            let _ = self.stop.0.try_send(());
        }
    }
    async fn serve(self: Rc<Self>) {
        let _awake = self.awake.then(|| self.ctx.stay_awake());
        let accepting = async {
            for (_, listener) in self.ctx.take_listeners() {
                while let Some(conn) = listener.accept().await {
                    self.conns.borrow_mut().push(conn);
                }
            }
        };
        let stopped = async {
            let _ = self.stop.1.recv_async().await;
        };
        futures_lite::future::or(accepting, stopped).await;
    }
}

/// User and system time of the whole process, from clock ticks of 10 ms up to now: exact enough over seconds.
fn process_cpu() -> Duration {
    let mut usage = libc_rusage();
    // SAFETY: `usage` is a valid rusage for the call to fill.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn libc_rusage() -> libc::rusage {
    // SAFETY: rusage is plain numbers, for which all-zero is valid.
    unsafe { std::mem::zeroed() }
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(10u64);
    println!("shards  heartbeat  CPU per second and shard");
    for (count, awake) in [(2u16, false), (8, false), (2, true), (8, true)] {
        let plan = shards::placement::plan(Cores::Count(count), Pin::No).expect("a plan");
        let port = Port { name: "idle", at: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let running = shards::run(&plan, &[port], move |ctx| Idle {
            ctx,
            awake,
            stop: flume::bounded(1),
            conns: RefCell::default(),
        })
        .expect("a start");
        std::thread::sleep(Duration::from_millis(500)); // what starting costs is not counted
        let before = process_cpu();
        std::thread::sleep(Duration::from_secs(seconds));
        let each = (process_cpu() - before) / u32::from(count) / seconds as u32;
        let pace = if awake { HEARTBEAT_BUSY } else { HEARTBEAT_IDLE };
        println!("{count:6}  {:9}  {each:?}", format!("{pace:?}"));
        running.broadcast(Control::Stop);
        running.join();
    }
}
