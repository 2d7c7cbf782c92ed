//! What bad peers have in common.

use crate::support::PATIENCE;
use crate::support::player::introduce;
use socket2::{Domain, SockAddr, SockFilter, SockRef, Socket, Type};
use srs_shard::rtmp::client::{ClientSession, Role};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

/// What a peer that does not read lets the kernel keep for it.
const SMALL_WINDOW_BYTES: usize = 4 << 10;

/// Lets this process have as many descriptors as it may: thousands of peers live in it.
pub(super) fn raise_limits() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        let pid = std::process::id().to_string();
        let ask = ["--pid", &pid, "--output", "HARD", "--noheadings", "--nofile"];
        let hard = Command::new("prlimit").args(ask).output().expect("prlimit of util-linux").stdout;
        let hard = String::from_utf8(hard).expect("text").trim().to_owned();
        let raise = format!("--nofile={hard}");
        let done = Command::new("prlimit").args(["--pid", &pid, &raise]).status().expect("prlimit");
        assert!(done.success(), "prlimit {raise}");
    });
}

/// Connects.
pub(super) fn dial(ip: Ipv4Addr, port: u16) -> TcpStream {
    let stream = TcpStream::connect((ip, port)).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream
}

/// Connects with hardly any room for what comes.
pub(super) fn dial_narrow(ip: Ipv4Addr, port: u16) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(SMALL_WINDOW_BYTES).expect("a socket option");
    socket.connect(&SockAddr::from(SocketAddr::from((ip, port)))).expect("the server listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    stream
}

/// A client of a stream, as far as the server's answer to `play` or `publish`.
pub(super) fn client_on(stream: &TcpStream, url: &str, role: Role) -> ClientSession {
    introduce(stream, url, role).unwrap_or_else(|why| panic!("{url}: {why}"))
}

/// Asks for a live stream over HTTP, and reads nothing.
pub(super) fn ask(mut stream: &TcpStream, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server reads");
}

/// From here on nothing that the server says arrives, not even to the kernel, which so acknowledges nothing: the
/// peer is gone without a word. (A filter that drops every packet.)
pub(super) fn vanish(stream: &TcpStream) {
    const BPF_RET_NOTHING: u16 = 0x06;
    let nothing = [SockFilter::new(BPF_RET_NOTHING, 0, 0, 0)];
    SockRef::from(stream).attach_filter(&nothing).expect("a socket option");
}

/// Closes with a reset, as a scanner or a crashed machine does.
pub(super) fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// Sends as much as the server takes before it closes; true if all.
pub(super) fn say(mut stream: &TcpStream, bytes: &[u8]) -> bool {
    let _ = stream.set_write_timeout(Some(Duration::from_millis(500)));
    stream.write_all(bytes).is_ok()
}

/// Whether the server has closed, whatever it said before.
pub(super) fn is_closed(mut stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let mut buffer = [0; 4096];
    let closed = loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            Ok(0) => break true,
            Err(error) => break error.kind() != std::io::ErrorKind::WouldBlock,
        }
    };
    let _ = stream.set_nonblocking(false);
    closed
}

/// C0, C1 and a C2, which our simple handshake takes as it is.
pub(super) fn handshake() -> Vec<u8> {
    [[3].as_slice(), &[0; 8], &noise(42, 1528), &noise(43, 1536)].concat()
}

/// Bytes without sense: the same for the same seed (xorshift).
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(byte).collect()
}
