//! Listening sockets: for every address one per shard, all made by the master before any shard starts.
//!
//! They share their port through SO_REUSEPORT and start to listen only when every shard is up, so that no
//! connection waits in the backlog of a shard that does not accept yet. IPv6 sockets are V6ONLY: `0.0.0.0`
//! and `[::]` stand side by side.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections that may wait for `accept`, per shard and address; the kernel caps it at `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 4096;

/// An address to listen on, and what for: `name` comes back with the listener on each shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// What the service calls it, `"rtmp"` for instance.
    pub name: &'static str,
    /// Where to listen.
    pub at: SocketAddr,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {at} for {name}: {source}{}", advice(*.at, .source))]
pub struct ListenError {
    /// The port's name.
    pub name: &'static str,
    /// Its address.
    pub at: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

/// What the kernel does not say.
fn advice(at: SocketAddr, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied if at.port() < 1024 => {
            "; ports below 1024 take root or CAP_NET_BIND_SERVICE (sysctl net.ipv4.ip_unprivileged_port_start)"
        }
        _ => "",
    }
}

/// A port that is taken is asked for again for so long.
const PREDECESSOR: Duration = Duration::from_secs(1);
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// A bound socket on its way to a shard.
#[derive(Debug)]
pub struct Bound {
    /// What for.
    pub name: &'static str,
    /// Where (the real port, if 0 was asked for).
    pub at: SocketAddr,
    pub(crate) socket: Socket,
}

/// Binds every port once per shard: `result[shard]` are that shard's sockets. On `ours` this process listens already.
pub fn bind(ports: &[Port], shards: u16, ours: &[SocketAddr]) -> Result<Vec<Vec<Bound>>, ListenError> {
    let mut all: Vec<Vec<Bound>> = (0..shards).map(|_| Vec::new()).collect();
    for port in ports {
        let mut at = port.at;
        let failed = |source| ListenError { name: port.name, at: port.at, source };
        // With SO_REUSEPORT a second server of the same user would bind, and take half of the first one's connections.
        // What is ours may be beside the new one for a moment: another address of that port, another service.
        if !ours.iter().any(|our| our.port() == at.port()) {
            probe(at).map_err(failed)?;
        }
        for bounds in &mut all {
            let socket = bind_one(at, true).map_err(failed)?;
            // Port 0: the first socket gets a port from the kernel, the other shards share it.
            at = socket.local_addr().ok().and_then(|a| a.as_socket()).unwrap_or(at);
            bounds.push(Bound { name: port.name, at, socket });
        }
    }
    Ok(all)
}

/// Whether nobody listens there. A server that was killed does for a moment longer: the kernel ends its rings, which hold
/// the sockets, once the process is gone.
fn probe(at: SocketAddr) -> io::Result<()> {
    let end = Instant::now() + PREDECESSOR;
    loop {
        match bind_one(at, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                std::thread::sleep(PROBE_PAUSE);
            }
            probed => return probed.map(drop),
        }
    }
}

fn bind_one(at: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // SO_REUSEADDR: a restart must not wait for connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

impl Bound {
    pub(crate) fn listen(&self) -> Result<(), ListenError> {
        self.socket.listen(BACKLOG).map_err(|source| ListenError { name: self.name, at: self.at, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_a_port_and_v4_and_v6_stand_side_by_side() {
        let port = |at: &str| Port { name: "t", at: at.parse().unwrap() };
        let v4 = bind(&[port("127.0.0.1:0")], 4, &[]).unwrap();
        let shared = v4[0][0].at.port();
        assert!(shared != 0 && v4.iter().all(|b| b[0].at.port() == shared));
        let v6 = Port { name: "t6", at: format!("[::]:{shared}").parse().unwrap() };
        let both = bind(&[v6], 2, &[]).unwrap();
        both.iter().chain(&v4).flatten().for_each(|b| b.listen().unwrap());
    }

    #[test]
    fn two_servers_do_not_share_a_port() {
        let first = bind(&[Port { name: "t", at: "127.0.0.1:0".parse().unwrap() }], 2, &[]).unwrap();
        first.iter().flatten().for_each(|b| b.listen().unwrap());
        let again = Port { name: "t", at: first[0][0].at };
        let error = bind(&[again], 2, &[]).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse, "{error}");
        assert!(bind(&[again], 2, &[again.at]).is_ok(), "but one shares with itself");
        drop(first);
        assert!(bind(&[again], 2, &[]).is_ok());
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let port = Port { name: "rtmp", at: "192.0.2.1:1935".parse().unwrap() };
        let error = bind(&[port], 1, &[]).unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on 192.0.2.1:1935 for rtmp: "), "{error}");
    }
}
