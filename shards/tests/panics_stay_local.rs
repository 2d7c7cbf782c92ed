//! Goal: a panic costs the connection, message or turn it happens in, never the shard.
//! Method: an echo server that panics on demand in each of these places, and a neighbour connection that must
//! keep being served.

mod support;

use bytes::Bytes;
use shards::{Class, Control, Ctx, Next, TcpConn};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Echoes; the byte `!` panics in the connection's task, `m` in the message handler, `t` in the turn.
async fn echo(ctx: Ctx<u8>, conn: TcpConn, turn_panics: Rc<Cell<bool>>) {
    while let Ok(Some(input)) = conn.read(Bytes::copy_from_slice).await {
        match input.first() {
            Some(b'!') => panic!("the connection's task"),
            Some(b'm') => ctx.post(ctx.me(), 0),
            Some(b't') => turn_panics.set(true),
            _ => {}
        }
        ctx.kick();
        if conn.finish(input).await.is_err() {
            return;
        }
    }
}

fn say(client: &mut TcpStream, what: u8) -> Option<u8> {
    client.write_all(&[what]).ok()?;
    let mut answer = [0];
    client.read_exact(&mut answer).ok()?;
    Some(answer[0])
}

#[test]
fn a_panic_costs_what_it_happens_in_and_nothing_else() {
    let panics = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&panics);
    let running = shards::run(&support::unpinned(1), &[support::loopback("echo")], move |ctx: Ctx<u8>| {
        let (_, listener) = ctx.take_listeners().remove(0);
        let turn_panics = Rc::new(Cell::new(false));
        let (turns, server, counted) = (Rc::clone(&turn_panics), ctx.clone(), Arc::clone(&counted));
        support::Lab::new(ctx.clone())
            .on_message(|_, _, divisor| assert!(divisor != 0, "the message handler"))
            .on_turn(move |_| {
                counted.store(ctx.counters().panics.get(), Ordering::SeqCst);
                assert!(!turns.take(), "the turn");
                Next::Idle
            })
            .live(async move {
                while let Some(conn) = listener.accept().await {
                    let task = echo(server.clone(), conn, Rc::clone(&turn_panics));
                    server.spawn(Class::Media, "an echo", task);
                }
            })
    })
    .unwrap();
    let at = running.ports()[0].1;
    let mut neighbour = TcpStream::connect(at).unwrap();
    let mut dial_and = |what: u8, answer: Option<u8>, panics_then: u64| {
        let mut client = TcpStream::connect(at).unwrap();
        assert_eq!(say(&mut client, what), answer);
        // The counter is copied out by a later turn, which the neighbour's talk brings about.
        let began = std::time::Instant::now();
        while panics.load(Ordering::SeqCst) != panics_then {
            assert!(began.elapsed().as_secs() < 10, "{} panics", panics.load(Ordering::SeqCst));
            assert_eq!(say(&mut neighbour, b'n'), Some(b'n'));
        }
        assert_eq!(say(&mut neighbour, b'n'), Some(b'n'));
    };
    dial_and(b'x', Some(b'x'), 0);
    dial_and(b'!', None, 1); // its connection ends
    dial_and(b'm', Some(b'm'), 2);
    dial_and(b't', Some(b't'), 3);
    dial_and(b'x', Some(b'x'), 3);
    running.broadcast(Control::Stop);
    support::join(running);
}
