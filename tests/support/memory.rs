//! What a server costs: its RSS, and what the kernel holds for its sockets, each socket asked for its own.
//!
//! `/proc/net/sockstat` would count other tests' sockets too; `sock_diag(7)` tells the memory of one socket.

use super::server::Server;
use super::wait_for;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Read, Write};
use std::net::Ipv4Addr;

/// `NETLINK_SOCK_DIAG`, `SOCK_DIAG_BY_FAMILY` and friends, from the kernel's `sock_diag.h` and `inet_diag.h`.
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const AF_INET: u8 = 2;
const IPPROTO_TCP: u8 = 6;
const TCP_TIME_WAIT: u8 = 6;
const INET_DIAG_SKMEMINFO: u16 = 7;
/// `nlmsghdr`, `inet_diag_msg`.
const HEADER_BYTES: usize = 16;
const SOCKET_BYTES: usize = 72;

/// What is left to the allocator: it keeps some of what was freed.
pub const ALLOCATOR_KIB: u64 = 16 << 10;
/// A listening server's sockets, a few requests to the API among them.
pub const QUIET_SOCKETS_BYTES: u64 = 256 << 10;

/// What a server costs at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub rss_kib: u64,
    /// What the kernel holds for its sockets.
    pub kernel_bytes: u64,
    /// How many sockets that are.
    pub sockets: usize,
}

impl Memory {
    /// Now.
    pub fn of(server: &Server) -> Memory {
        let (kernel_bytes, sockets) = sockets_of(server.ip());
        Memory { rss_kib: server.status_kib("VmRSS"), kernel_bytes, sockets }
    }

    /// Waits until it is within `before` plus what an allocator keeps and quiet sockets take.
    #[track_caller]
    pub fn wait_back(server: &Server, before: Memory) -> Memory {
        let mut now = Memory::of(server);
        let most = (before.rss_kib + ALLOCATOR_KIB, before.kernel_bytes + QUIET_SOCKETS_BYTES);
        let back = |now: &Memory| now.rss_kib <= most.0 && now.kernel_bytes <= most.1;
        for _ in 0..150 {
            if back(&now) {
                return now;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
            now = Memory::of(server);
        }
        panic!("memory does not come back: {now:?}, {before:?} before");
    }

    /// Asserts that it is within `before` plus so much.
    #[track_caller]
    pub fn assert_within(&self, before: Memory, rss_kib: u64, kernel_bytes: u64) {
        assert!(
            self.rss_kib <= before.rss_kib + rss_kib
                && self.kernel_bytes <= before.kernel_bytes + kernel_bytes,
            "{self:?} is more than {rss_kib} KiB and {kernel_bytes} bytes above {before:?}"
        );
    }
}

/// Waits until the server has no more sockets than before; its clients are gone then, their memory too.
pub fn wait_sockets(server: &Server, most: usize) {
    wait_for("sockets to be gone", || (sockets_of(server.ip()).1 <= most).then_some(()));
}

/// The memory and number of the sockets at an address: bytes queued in either direction and reserved.
fn sockets_of(ip: Ipv4Addr) -> (u64, usize) {
    let mut netlink =
        Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))
            .expect("a netlink socket");
    netlink.write_all(&request()).expect("the kernel takes a question");
    let (mut bytes, mut sockets) = (0, 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = netlink.read(&mut buffer).expect("the kernel answers");
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER_BYTES {
            let size = u32_at(rest, 0) as usize;
            match u16_at(rest, 4) {
                NLMSG_DONE => return (bytes, sockets),
                NLMSG_ERROR => panic!("sock_diag: error {}", u32_at(rest, HEADER_BYTES) as i32),
                _ => {}
            }
            let socket = &rest[HEADER_BYTES..size];
            // Its own address stands behind family, state, timer, retransmissions and two ports. What is left of a
            // closed socket for a minute is none.
            if socket[8..12] == ip.octets() && socket[1] != TCP_TIME_WAIT {
                bytes += memory_of(&socket[SOCKET_BYTES..]);
                sockets += 1;
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// A dump of all TCP sockets of IPv4, in every state, with their memory.
fn request() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(72u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes.extend([0; 8]); // number and port
    bytes.extend([AF_INET, IPPROTO_TCP, 1 << (INET_DIAG_SKMEMINFO - 1), 0]);
    bytes.extend(u32::MAX.to_ne_bytes()); // states
    bytes.extend([0; 48]); // any socket
    bytes
}

/// From a socket's attributes.
fn memory_of(mut attributes: &[u8]) -> u64 {
    while attributes.len() >= 4 {
        let (size, kind) = (usize::from(u16_at(attributes, 0)), u16_at(attributes, 2));
        if kind == INET_DIAG_SKMEMINFO {
            // rmem_alloc rcvbuf wmem_alloc sndbuf fwd_alloc wmem_queued optmem backlog drops
            let value = |n: usize| u64::from(u32_at(attributes, 4 + 4 * n));
            return value(0) + value(4) + value(5).max(value(2)) + value(7);
        }
        attributes = &attributes[size.next_multiple_of(4).clamp(4, attributes.len())..];
    }
    0
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
