//! Sockets, the clock that players and publishers share, signals, and limits of the process.

#![allow(unsafe_code)]

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Flags of every send: never wait, never raise SIGPIPE.
const SEND: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// CLOCK_MONOTONIC in nanoseconds: the same clock in all processes of one host, so a time stamped by a publisher
/// can be compared by a player.
pub(crate) fn now_ns() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut t) };
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// A non-blocking listener with SO_REUSEADDR and a long queue.
pub(crate) fn listen(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(4096)?;
    Ok(socket)
}

/// Accepts one connection, non-blocking; `None` when there is none waiting.
pub(crate) fn accept(listener: &Socket) -> io::Result<Option<Socket>> {
    match listener.accept() {
        Ok((socket, _)) => {
            socket.set_nonblocking(true)?;
            Ok(Some(socket))
        }
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(e) => Err(e),
    }
}

/// Starts to connect; writable or failed when done. `source` is the local address, whose port is chosen only at
/// connect (IP_BIND_ADDRESS_NO_PORT), so that every source has all ports for every target.
pub(crate) fn connect(
    to: SocketAddr,
    source: Option<Ipv4Addr>,
    receive_buffer: Option<usize>,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(bytes) = receive_buffer {
        // Before connect: the window scale is settled in the SYN.
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(ip) = source {
        let on: libc::c_int = 1;
        // SAFETY: the fd is open, and the option's value is an int that lives through the call.
        let set = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_BIND_ADDRESS_NO_PORT,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        socket.bind(&SockAddr::from(SocketAddr::new(IpAddr::V4(ip), 0)))?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => Ok(socket),
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(e) => Err(e),
    }
}

/// What a send or a receive came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// This many bytes; 0 received means that the peer has closed.
    Bytes(usize),
    /// The socket's buffer is full, or empty.
    Nothing,
    /// The connection is gone.
    Gone,
}

fn moved(result: io::Result<usize>) -> Moved {
    match result {
        Ok(n) => Moved::Bytes(n),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            Moved::Nothing
        }
        Err(_) => Moved::Gone,
    }
}

/// One send of what the socket takes now.
pub(crate) fn send(socket: &Socket, bytes: &[u8]) -> Moved {
    moved(socket.send_with_flags(bytes, SEND))
}

/// One receive of what is there, up to the scratch's length.
pub(crate) fn receive<'s>(socket: &Socket, scratch: &'s mut [MaybeUninit<u8>]) -> (Moved, &'s [u8]) {
    let got = moved(socket.recv_with_flags(scratch, libc::MSG_DONTWAIT));
    let Moved::Bytes(n) = got else { return (got, &[]) };
    // SAFETY: the kernel has written the first `n` bytes, and `n` is at most the scratch's length.
    (got, unsafe { std::slice::from_raw_parts(scratch.as_ptr().cast(), n.min(scratch.len())) })
}

/// One receive of what is there, dropped inside the kernel without a copy (tcp(7): MSG_TRUNC).
pub(crate) fn discard(socket: &Socket, scratch: &mut [MaybeUninit<u8>]) -> Moved {
    moved(socket.recv_with_flags(scratch, libc::MSG_DONTWAIT | libc::MSG_TRUNC))
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// From here on SIGINT and SIGTERM ask the event loop to end and report; see [`stopped`].
pub(crate) fn catch_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, on_signal as *const () as libc::sighandler_t) };
    }
}

/// Whether a signal asked to end.
pub(crate) fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Raises the limit of open files to the hard limit, and that one, where this process may, to what is needed; returns
/// what the limit is then.
pub(crate) fn raise_open_files(needed: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that lives through all calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return 0;
        }
        let most = limit.rlim_max.max(needed);
        let raised = libc::rlimit { rlim_cur: most, rlim_max: most };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raised) != 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur
}

/// The set of this one CPU.
fn only(cpu: usize) -> libc::cpu_set_t {
    // SAFETY: an all-zero cpu_set_t is an empty one; CPU_SET is bounded by the minimum.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu.min(libc::CPU_SETSIZE as usize - 1), &mut set);
        set
    }
}

/// Lets the calling thread, and those it starts from now on, run on one CPU only.
fn run_on(set: &libc::cpu_set_t) -> io::Result<()> {
    // SAFETY: `set` is a valid cpu_set_t of the size given; the call is async-signal-safe.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets this thread and those it starts run on one CPU only.
pub(crate) fn pin_self(cpu: usize) -> io::Result<()> {
    run_on(&only(cpu)).map_err(|e| io::Error::new(e.kind(), format!("cannot run on CPU {cpu} alone: {e}")))
}

/// Lets a command run on one CPU only.
pub(crate) fn pin(command: &mut Command, cpu: usize) {
    let set = only(cpu);
    // SAFETY: between fork and exec the closure only makes one async-signal-safe system call on memory of its own.
    unsafe { command.pre_exec(move || run_on(&set)) };
}

/// Asks a process to end (SIGTERM).
pub(crate) fn terminate(pid: u32) {
    // SAFETY: kill has no memory effects. The caller has not reaped the process, so the id is still its.
    unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
}

/// Clock ticks per second of the times in /proc.
pub(crate) fn clock_ticks_per_second() -> u64 {
    // SAFETY: sysconf has no memory effects.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64
}

/// Bytes per page of the counts in /proc.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: sysconf has no memory effects.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64
}
