//! Goal: a kicked connection gives back its task, its descriptor and its memory.
//! Method: rounds of 2000 clients, each kicked by a shutdown of its socket while its reader waits. A task that
//! glommio never frees (as it does when one is cancelled) would leave 1.2 kB each.

mod support;

use shards::{Class, TcpConn};
use std::net::{Shutdown, TcpStream};

const CLIENTS: usize = 2000;
const ROUNDS: usize = 6;
/// Of that, rounds in which the allocator may still grow.
const WARM_UP: usize = 2;
const GROWTH_LIMIT: usize = (ROUNDS - WARM_UP) * CLIENTS * 128;

async fn read_on(conn: TcpConn) {
    while let Ok(Some(_)) = conn.read(<[u8]>::len).await {}
}

#[test]
fn kicked_connections_leave_nothing() {
    support::on_one_shard(|ctx, listener| async move {
        let at = listener.at();
        let (tasks, fds) = (ctx.counters().tasks.get(), support::open_fds());
        let mut rss_warm = 0;
        for round in 0..ROUNDS {
            let dialling = ctx.offload(move || {
                (0..CLIENTS).map(|_| TcpStream::connect(at).unwrap()).collect::<Vec<TcpStream>>()
            });
            let accepting = async {
                let mut conns = Vec::new();
                while conns.len() < CLIENTS {
                    let conn = listener.accept().await.unwrap();
                    ctx.spawn(Class::Media, "a reader", read_on(conn.clone()));
                    conns.push(conn);
                }
                conns
            };
            let (clients, conns) = futures_lite::future::zip(dialling, accepting).await;
            assert_eq!(ctx.counters().tasks.get(), tasks + CLIENTS as u64);
            conns.iter().for_each(|conn| conn.shutdown(Shutdown::Both));
            drop(conns);
            support::until(&ctx, "every reader ends", || ctx.counters().tasks.get() == tasks).await;
            drop(clients);
            support::until(&ctx, "every descriptor is closed", || support::open_fds() <= fds).await;
            if round + 1 == WARM_UP {
                rss_warm = support::rss_bytes();
            }
        }
        let growth = support::rss_bytes().saturating_sub(rss_warm);
        assert!(growth < GROWTH_LIMIT, "{growth} bytes are left");
    });
}
