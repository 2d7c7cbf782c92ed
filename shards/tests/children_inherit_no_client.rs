//! Goal: the child of a server with ten clients holds none of their sockets.
//! Method: a burst of ten connections through the engine's listener (glommio marks only the first of a burst
//! close-on-exec), then a child that lists its own descriptors: once bare, which shows that the engine marked
//! every accepted socket, once prepared by `inherit_nothing`, in both its ways.

mod support;

use shards::child::{Closing, inherit_nothing};
use std::net::TcpStream;
use std::process::Command;

fn sockets_of_child(closing: Option<Closing>) -> usize {
    let mut command = Command::new("ls");
    command.args(["-l", "/proc/self/fd"]);
    if let Some(closing) = closing {
        inherit_nothing(&mut command, closing);
    }
    String::from_utf8_lossy(&command.output().unwrap().stdout).matches("socket:").count()
}

#[test]
fn the_child_of_a_server_with_ten_clients_holds_none_of_their_sockets() {
    support::on_one_shard(|ctx, listener| async move {
        let at = listener.at();
        let dial = move || (0..10).map(|_| TcpStream::connect(at).unwrap()).collect::<Vec<_>>();
        let clients = ctx.offload(dial).await.unwrap(); // all ten wait before the first accept
        let mut conns = Vec::new();
        while conns.len() < clients.len() {
            conns.push(listener.accept().await.unwrap());
        }
        for closing in [None, Some(Closing::Range), Some(Closing::Loop)] {
            let sockets = ctx.offload(move || sockets_of_child(closing)).await.unwrap();
            assert_eq!(sockets, 0, "{closing:?}");
        }
    });
}
