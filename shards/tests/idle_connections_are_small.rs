//! Goal: an idle connection costs little memory.
//! Method: the size of a typical reader's future, and the resident memory of 5000 connections that each have
//! such a reader waiting.

mod support;

use shards::{Class, TcpConn};
use std::cell::Cell;
use std::net::TcpStream;
use std::rc::Rc;

const CLIENTS: usize = 5000;
const FUTURE_BYTES_MAX: usize = 1 << 10;
const RSS_BYTES_MAX: usize = 2 << 10;

async fn count_input(conn: TcpConn, total: Rc<Cell<usize>>) {
    while let Ok(Some(n)) = conn.read(<[u8]>::len).await {
        total.set(total.get() + n);
    }
}

#[test]
fn an_idle_connection_costs_little_memory() {
    support::on_one_shard(|ctx, listener| async move {
        let at = listener.at();
        let total = Rc::new(Cell::new(0));
        // What grows once (the ring, the scratch, the first task) is not a connection's.
        let first = ctx.offload(move || TcpStream::connect(at).unwrap()).await.unwrap();
        let conn = listener.accept().await.unwrap();
        let future = count_input(conn, Rc::clone(&total));
        let size = size_of_val(&future);
        assert!(size < FUTURE_BYTES_MAX, "a reader's future takes {size} bytes");
        ctx.spawn(Class::Media, "a reader", future);

        let dial = move || (0..CLIENTS).map(|_| TcpStream::connect(at).unwrap()).collect::<Vec<TcpStream>>();
        let before = support::rss_bytes();
        let accept = async {
            for _ in 0..CLIENTS {
                let conn = listener.accept().await.unwrap();
                ctx.spawn(Class::Media, "a reader", count_input(conn, Rc::clone(&total)));
            }
        };
        let (clients, ()) = futures_lite::future::zip(ctx.offload(dial), accept).await;
        let each = support::rss_bytes().saturating_sub(before) / CLIENTS;
        assert!(each < RSS_BYTES_MAX, "{each} bytes per idle connection");
        log::info!("a reader's future: {size} bytes; resident per idle connection: {each} bytes");
        drop((first, clients));
    });
}
