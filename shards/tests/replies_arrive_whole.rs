//! Goal: the polite end loses nothing of a reply although the peer has sent input that nobody read.
//! Method: a client sends much, the server answers without reading it and lingers; the client must read the
//! whole reply and then an orderly end. A peer that never closes, or never stops sending, is left in bounded
//! time and bytes.

mod support;

use shards::net::{LINGER, LINGER_BYTES};
use shards::{Ctx, Listener, Sent, TcpConn};
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

async fn connected(ctx: &Ctx<()>, listener: &Listener) -> (TcpConn, TcpStream) {
    let at = listener.at();
    let client = ctx.offload(move || TcpStream::connect(at).unwrap()).await.unwrap();
    (listener.accept().await.unwrap(), client)
}

#[test]
fn unread_input_does_not_eat_the_reply() {
    support::on_one_shard(|ctx, listener| async move {
        for _ in 0..50 {
            let (conn, mut client) = connected(&ctx, &listener).await;
            ctx.offload({
                let mut client = client.try_clone().unwrap();
                move || client.write_all(&[1; 30_000]).unwrap()
            })
            .await
            .unwrap();
            let reply = support::pattern(20_000);
            assert_eq!(conn.try_send(&[IoSlice::new(&reply)]).unwrap(), Sent::All);
            let reads = ctx.offload(move || {
                let mut got = Vec::new();
                // Late enough for a reset to come first, had the server just closed.
                std::thread::sleep(std::time::Duration::from_millis(5));
                client.read_to_end(&mut got).map(|_| got)
            });
            let lingers = async move { conn.linger_close().await };
            let (got, ()) = futures_lite::future::zip(reads, lingers).await;
            assert_eq!(got.unwrap().unwrap(), reply);
        }
    });
}

#[test]
fn a_peer_that_stays_is_left_after_the_limit() {
    support::on_one_shard(|ctx, listener| async move {
        let (silent, _client) = connected(&ctx, &listener).await;
        let began = Instant::now();
        silent.linger_close().await;
        assert!(began.elapsed() >= LINGER, "it was given its time");

        let (chatty, mut client) = connected(&ctx, &listener).await;
        let sends = ctx.offload(move || {
            let mut sent = 0;
            while client.write_all(&[1; 4096]).is_ok() {
                sent += 4096;
            }
            sent
        });
        let leaves = async move { chatty.linger_close().await };
        let (sent, ()) = futures_lite::future::zip(sends, leaves).await;
        assert!(sent.unwrap() >= LINGER_BYTES, "it was cut off, but not before the limit");
    });
}
