//! Goal: where many connections send at once they are asked together, nothing is lost or out of order while the shard goes
//! from one way to the other and back, and a connection that is kicked or closes in a crowd ends.

mod support;

use shards::{Class, TcpConn};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::Duration;

const CLIENTS: usize = 50;
const MESSAGES: u32 = 200;
const LEAVERS: usize = 20;
/// Of each client: 50 clients send 10,000 messages a second.
const PACE: Duration = Duration::from_millis(5);

#[test]
fn a_crowd_is_read_whole_and_disperses() {
    support::on_one_shard(|ctx, listener| async move {
        let at = listener.at();
        let clients =
            ctx.offload(move || (0..CLIENTS).map(|_| TcpStream::connect(at).unwrap()).collect::<Vec<_>>());
        let (got, ended) = (Rc::new(RefCell::new(vec![Vec::new(); CLIENTS])), Rc::new(Cell::new(0)));
        let mut conns: Vec<TcpConn> = Vec::new();
        let clients = clients.await.unwrap();
        for n in 0..CLIENTS {
            let conn = listener.accept().await.unwrap();
            conns.push(conn.clone());
            let (ctx2, got, ended) = (ctx.clone(), Rc::clone(&got), Rc::clone(&ended));
            ctx.spawn(Class::Media, "a reader", async move {
                while let Ok(Some(())) = conn.read(|bytes| got.borrow_mut()[n].extend_from_slice(bytes)).await
                {
                    ctx2.kick();
                }
                ended.set(ended.get() + 1);
            });
        }
        for round in 0..2u32 {
            let looks = ctx.counters().crowd_looks.get();
            let mut senders: Vec<TcpStream> = clients.iter().map(|c| c.try_clone().unwrap()).collect();
            let sent = ctx.offload(move || {
                for n in 0..MESSAGES {
                    for sender in &mut senders {
                        sender.write_all(&(round * MESSAGES + n).to_be_bytes()).unwrap();
                    }
                    std::thread::sleep(PACE);
                }
            });
            sent.await.unwrap();
            let all = ((round + 1) * MESSAGES * 4) as usize;
            support::until(&ctx, "all to arrive", || got.borrow().iter().all(|bytes| bytes.len() == all))
                .await;
            assert!(ctx.counters().crowd_looks.get() > looks + 100, "it was a crowd");
            // Quiet: the looks end.
            let still = || {
                let looks = ctx.counters().crowd_looks.get();
                let ctx = ctx.clone();
                async move {
                    ctx.sleep(Duration::from_millis(50)).await;
                    ctx.counters().crowd_looks.get() == looks
                }
            };
            let mut tries = 0;
            while !still().await {
                tries += 1;
                assert!(tries < 40, "the crowd does not disperse");
            }
        }
        let expected: Vec<u8> = (0..2 * MESSAGES).flat_map(u32::to_be_bytes).collect();
        // By connection they may have been accepted in another order; each has the same bytes.
        assert!(got.borrow().iter().all(|bytes| *bytes == expected), "in order, and nothing else");

        // In a crowd again: one is kicked, some say a last word and close in the same breath.
        let mut senders: Vec<TcpStream> =
            clients.iter().skip(1 + LEAVERS).map(|c| c.try_clone().unwrap()).collect();
        let (ctx2, silent) = (ctx.clone(), Rc::new(Cell::new(false)));
        let falls_silent = Rc::clone(&silent);
        ctx.spawn(Class::Api, "noise", async move {
            let noise = ctx2.offload(move || {
                for _ in 0..MESSAGES {
                    senders.iter_mut().for_each(|sender| drop(sender.write_all(b"noise")));
                    std::thread::sleep(PACE);
                }
            });
            noise.await.unwrap();
            falls_silent.set(true);
        });
        let looks = ctx.counters().crowd_looks.get();
        support::until(&ctx, "a crowd", || ctx.counters().crowd_looks.get() > looks + 50).await;
        let kicked = conns.iter().position(|conn| conn.peer() == clients[0].local_addr().unwrap()).unwrap();
        conns[kicked].shutdown(Shutdown::Both);
        for mut leaver in clients.iter().skip(1).take(LEAVERS) {
            leaver.write_all(b"bye").unwrap();
            leaver.shutdown(Shutdown::Write).unwrap();
        }
        support::until(&ctx, "all of them to end", || ended.get() == 1 + LEAVERS).await;
        assert!(!silent.get(), "while it is a crowd");
        let said_bye = got.borrow().iter().filter(|bytes| bytes.ends_with(b"bye")).count();
        assert_eq!(said_bye, LEAVERS);
        support::until(&ctx, "silence", || silent.get()).await;
        let mut first = &clients[0];
        let read = first.read(&mut [0; 1]);
        assert_eq!(read.unwrap(), 0, "a kicked client is closed");
        drop((clients, conns));
        support::until(&ctx, "all to end", || ended.get() == CLIENTS).await;
    });
}
