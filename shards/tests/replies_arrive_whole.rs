//! Goal: the polite end loses nothing of a reply although the peer has sent input that nobody read.
//! Method: a client sends much, the server answers without reading it and lingers; the client must read the
//! whole reply and then an orderly end. A peer that never closes, or never stops sending, is left in bounded
//! time and bytes.

mod support;

use bytes::Bytes;
use shards::net::{LINGER, LINGER_BYTES};
use shards::{Ctx, Listener, TcpConn};
use std::io::{Read, Write};
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
        // More than the client's window: a part is still in the server's hands when it closes.
        let reply = Bytes::from(support::pattern(4 << 20));
        for _ in 0..5 {
            let (conn, mut client) = connected(&ctx, &listener).await;
            ctx.offload({
                let mut client = client.try_clone().unwrap();
                move || client.write_all(&[1; 30_000]).unwrap()
            })
            .await
            .unwrap();
            let reads = ctx.offload(move || {
                let mut got = Vec::new();
                // Late enough for a reset to come first, had the server just closed.
                std::thread::sleep(std::time::Duration::from_millis(20));
                client.read_to_end(&mut got).map(|_| got)
            });
            let answer = reply.clone();
            let answers = async move {
                conn.finish(answer).await.unwrap();
                conn.linger_close().await;
            };
            let (got, ()) = futures_lite::future::zip(reads, answers).await;
            assert!(got.unwrap().unwrap() == reply);
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
