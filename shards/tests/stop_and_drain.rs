//! Goal: eight shards on whatever cores there are share their ports evenly, over IPv4 and IPv6, hear what the
//! master says, and stop accepting without losing a connection that was complete.

mod support;

use shards::{Control, Ctx, Port, Sent};
use std::cell::RefCell;
use std::io::{IoSlice, Read};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Lab, Shared};

const SHARDS: u16 = 8;

/// What the shards report.
#[derive(Default)]
struct Seen {
    controls: Vec<Vec<Control>>,
    /// Connections that each shard got, by the port's name.
    accepted: Vec<(u16, &'static str)>,
    /// Of those, connections that came out of a backlog.
    backlog: usize,
    /// Accept loops that ended.
    ended: usize,
    accept_errors: u64,
}

/// Shards that accept until they are told to drain, and keep their connections until they are told to stop.
fn serve(ports: &[Port]) -> (shards::Running, Arc<Shared<Seen>>) {
    let seen = Arc::new(Shared::<Seen>::default());
    seen.with(|seen| seen.controls = vec![Vec::new(); usize::from(SHARDS)]);
    let shared = Arc::clone(&seen);
    let running = shards::run(&support::unpinned(SHARDS), ports, move |ctx: Ctx<()>| {
        let me = ctx.me();
        let listeners = ctx.take_listeners();
        let conns = Rc::new(RefCell::new(Vec::new()));
        for (name, listener) in listeners.clone() {
            let (ctx, conns, seen) = (ctx.clone(), Rc::clone(&conns), Arc::clone(&shared));
            ctx.clone().spawn(shards::Class::Media, "accepting", async move {
                while let Some(conn) = listener.accept().await {
                    conns.borrow_mut().push(conn);
                    seen.with(|seen| seen.accepted.push((me.0, name)));
                }
                seen.with(|seen| {
                    seen.ended += 1;
                    seen.accept_errors += ctx.counters().accept_errors.get();
                });
            });
        }
        let seen = Arc::clone(&shared);
        Lab::new(ctx).on_control(move |control| {
            seen.with(|seen| seen.controls[me.index()].push(control));
            if control == Control::Drain {
                for (name, listener) in &listeners {
                    let waiting = listener.stop();
                    seen.with(|seen| {
                        seen.backlog += waiting.len();
                        seen.accepted.extend(waiting.iter().map(|_| (me.0, *name)));
                    });
                    conns.borrow_mut().extend(waiting);
                }
            }
        })
    })
    .unwrap();
    (running, seen)
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed().as_secs() < 20, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn every_control_reaches_every_shard_in_order() {
    let (running, seen) = serve(&[support::loopback("t")]);
    let said = [Control::Reload, Control::Drain, Control::Stop];
    for control in said {
        running.controller()(control);
    }
    support::join(running);
    seen.with(|seen| {
        assert!(seen.controls.iter().all(|heard| heard[..] == said), "{:?}", seen.controls);
    });
}

#[test]
fn connections_spread_evenly_and_none_is_lost_by_draining() {
    const CLIENTS: usize = 2000;
    let (running, seen) = serve(&[support::loopback("t")]);
    let at = running.ports()[0].1;
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(at).unwrap()).collect();
    running.broadcast(Control::Drain); // part of them wait in backlogs
    wait_for("every accept loop ends", || seen.with(|seen| seen.ended) == usize::from(SHARDS));
    seen.with(|seen| {
        assert_eq!(seen.accepted.len(), CLIENTS, "{} out of backlogs", seen.backlog);
        assert_eq!(seen.accept_errors, 0, "nobody accepts before the sockets listen");
        let fair = CLIENTS as f64 / f64::from(SHARDS);
        let sigma = (fair * (1.0 - 1.0 / f64::from(SHARDS))).sqrt();
        for shard in 0..SHARDS {
            let share = seen.accepted.iter().filter(|(s, _)| *s == shard).count() as f64;
            assert!((share - fair).abs() < 5.0 * sigma, "shard {shard} got {share} of {CLIENTS}");
        }
    });
    // None was reset, and nobody listens any more.
    for client in &mut clients {
        client.set_nonblocking(true).unwrap();
        let alive = client.peek(&mut [0]).unwrap_err();
        assert_eq!(alive.kind(), std::io::ErrorKind::WouldBlock);
    }
    assert!(TcpStream::connect(at).is_err());
    running.broadcast(Control::Stop);
    support::join(running);
}

#[test]
fn what_waits_in_the_backlog_is_handed_over() {
    support::on_one_shard(|ctx, listener| async move {
        let at = listener.at();
        let dial = move || (0..100).map(|_| TcpStream::connect(at).unwrap()).collect::<Vec<TcpStream>>();
        let clients = ctx.offload(dial).await.unwrap();
        let waiting = listener.stop();
        assert_eq!(waiting.len(), clients.len());
        assert_eq!(ctx.counters().accepted.get(), clients.len() as u64);
        assert!(listener.accept().await.is_none());
        assert!(listener.stop().is_empty());
        for conn in &waiting {
            assert_eq!(conn.try_send(&[IoSlice::new(b"served")]).unwrap(), Sent::All);
        }
        let read = ctx.offload(move || {
            clients.into_iter().all(|mut client| {
                let mut got = [0; 6];
                client.read_exact(&mut got).is_ok() && got == *b"served"
            })
        });
        assert_eq!(read.await, Ok(true));
    });
}

#[test]
fn ipv4_and_ipv6_stand_side_by_side() {
    // A host without IPv6 cannot show this.
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return;
    }
    let v6 = Port { name: "v6", at: SocketAddr::from((Ipv6Addr::LOCALHOST, 0)) };
    let (running, seen) = serve(&[support::loopback("v4"), v6]);
    let clients: Vec<TcpStream> =
        running.ports().iter().cycle().take(200).map(|(_, at)| TcpStream::connect(at).unwrap()).collect();
    wait_for("all are accepted", || seen.with(|seen| seen.accepted.len()) == clients.len());
    for name in ["v4", "v6"] {
        seen.with(|seen| assert_eq!(seen.accepted.iter().filter(|(_, n)| *n == name).count(), 100));
    }
    running.broadcast(Control::Stop);
    support::join(running);
}

#[test]
fn a_shard_that_dies_while_starting_is_an_error_that_names_it() {
    let plan = support::unpinned(3);
    let started = shards::run(&plan, &[support::loopback("t")], |ctx: Ctx<()>| {
        assert!(ctx.me().0 != 1, "shard 1 fails to make its service");
        Lab::new(ctx)
    });
    let error = started.err().expect("it must not run with a shard missing").to_string();
    assert_eq!(error, "cannot start shard 1: it panicked before it could serve");
}
