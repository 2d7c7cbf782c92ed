//! Goal: a peer that does not read costs nobody else anything, gets every byte once it reads, and can be
//! kicked while a writer is parked.
//! Method: fill a socket by `try_send` until it takes only a part, hand the rest to the parked writer, and
//! compare what the peer reads later with what was sent.

mod support;

use bytes::Bytes;
use shards::{Class, Ctx, Listener, Sent, TcpConn, TcpTuning};
use std::cell::Cell;
use std::io::{IoSlice, Read};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;

/// More than the kernel keeps for a connection whose peer stands still.
const MESSAGE_BYTES: usize = 1 << 20;
const MESSAGES_MAX: usize = 64;

async fn connected(ctx: &Ctx<()>, listener: &Listener) -> (TcpConn, TcpStream) {
    let at = listener.at();
    let client = ctx.offload(move || TcpStream::connect(at).unwrap()).await.unwrap();
    (listener.accept().await.unwrap(), client)
}

/// Sends messages until one goes only in part; returns all that was sent or is to be sent, and the rest.
fn fill(conn: &TcpConn, message: &Bytes) -> (usize, Bytes) {
    for sent_before in 0..MESSAGES_MAX {
        match conn.try_send(&[IoSlice::new(message)]).unwrap() {
            Sent::All => {}
            Sent::Part(n) => return ((sent_before + 1) * message.len(), message.slice(n..)),
        }
    }
    panic!("the socket never got full");
}

/// The parked writer as a task; the cell gets its outcome.
fn park(ctx: &Ctx<()>, conn: &TcpConn, rest: Bytes) -> Rc<Cell<Option<bool>>> {
    let outcome = Rc::new(Cell::new(None));
    let (conn, told) = (conn.clone(), Rc::clone(&outcome));
    ctx.spawn(Class::Media, "a parked writer", async move {
        told.set(Some(conn.finish(rest).await.is_ok()));
    });
    outcome
}

#[test]
fn a_peer_that_reads_late_gets_every_byte() {
    support::on_one_shard(|ctx, listener| async move {
        let (conn, mut client) = connected(&ctx, &listener).await;
        let message = Bytes::from(support::pattern(MESSAGE_BYTES));
        assert_eq!(conn.unacked_bytes(), 0);
        let (total, rest) = fill(&conn, &message);
        assert!(conn.unacked_bytes() > 0, "the kernel holds what the peer has not taken");
        let outcome = park(&ctx, &conn, rest);
        support::until(&ctx, "the writer parks", || conn.is_parked()).await;
        let read = ctx.offload(move || {
            let mut got = vec![0; total];
            client.read_exact(&mut got).unwrap();
            (got, client)
        });
        let (got, _client) = read.await.unwrap();
        support::until(&ctx, "the writer ends", || outcome.get() == Some(true)).await;
        assert!(got.chunks(MESSAGE_BYTES).all(|piece| piece == message), "{total} bytes differ");
        assert!(!conn.is_parked());
        support::until(&ctx, "everything is acknowledged", || conn.unacked_bytes() == 0).await;
        assert_eq!(conn.try_send(&[IoSlice::new(b"on")]).unwrap(), Sent::All);
    });
}

#[test]
fn a_kick_ends_the_parked_writer_and_frees_its_message() {
    support::on_one_shard(|ctx, listener| async move {
        let tasks = ctx.counters().tasks.get();
        let (conn, _client) = connected(&ctx, &listener).await;
        let message = Bytes::from(support::pattern(MESSAGE_BYTES));
        let (_, rest) = fill(&conn, &message);
        let outcome = park(&ctx, &conn, rest);
        support::until(&ctx, "the writer parks", || conn.is_parked()).await;
        conn.shutdown(Shutdown::Both);
        support::until(&ctx, "the writer ends", || outcome.get() == Some(false)).await;
        support::until(&ctx, "its task is gone", || ctx.counters().tasks.get() == tasks).await;
        assert!(!conn.is_parked());
        assert!(message.is_unique(), "nobody holds the message any more");
    });
}

#[test]
fn notsent_lowat_bounds_what_the_kernel_takes() {
    support::on_one_shard(|ctx, listener| async move {
        let taken = |conn: &TcpConn| {
            let message = Bytes::from(vec![0; MESSAGE_BYTES]);
            let (total, rest) = fill(conn, &message);
            total - rest.len()
        };
        let (plain, _reads_nothing) = connected(&ctx, &listener).await;
        let (bounded, _neither) = connected(&ctx, &listener).await;
        let tuning = TcpTuning { notsent_lowat: Some(64 << 10), ..TcpTuning::default() };
        bounded.tune(&tuning);
        listener.tune(&tuning);
        let (inherits, _nor_this) = connected(&ctx, &listener).await;
        let (plain, bounded, inherits) = (taken(&plain), taken(&bounded), taken(&inherits));
        assert!(bounded < plain, "{bounded} with, {plain} without");
        assert!(inherits < plain, "{inherits} with, {plain} without");
    });
}

#[test]
fn more_slices_than_the_kernel_takes_at_once_go_in_parts() {
    support::on_one_shard(|ctx, listener| async move {
        let (conn, mut client) = connected(&ctx, &listener).await;
        let bytes = support::pattern(3000);
        let slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();
        let mut sent = 0;
        while let Sent::Part(n) = conn.try_send(&slices[sent..]).unwrap() {
            assert!(n > 0, "an empty socket has room");
            sent += n; // slices of one byte each
        }
        let read = ctx.offload(move || {
            let mut got = vec![0; 3000];
            client.read_exact(&mut got).unwrap();
            got
        });
        assert_eq!(read.await.unwrap(), bytes);
    });
}
