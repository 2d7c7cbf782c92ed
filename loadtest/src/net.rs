//! Sockets, the clock that players and publishers share, signals, and limits of the process.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, SysconfVar, sysconf};
use signal_hook::consts::{SIGINT, SIGTERM};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::{io, thread};

/// CLOCK_MONOTONIC in nanoseconds: the same clock in all processes of one host, so a time stamped by a publisher
/// can be compared by a player.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
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
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        socket.bind(&SockAddr::from(SocketAddr::new(IpAddr::V4(ip), 0)))?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => Ok(socket),
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => Ok(socket),
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

/// One send of what the socket takes now; it never waits, and never raises SIGPIPE.
pub(crate) fn send(socket: &Socket, bytes: &[u8]) -> Moved {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    moved(socket.send_with_flags(bytes, flags.bits()))
}

/// One receive of what is there, up to the scratch's length.
pub(crate) fn receive<'s>(socket: &Socket, scratch: &'s mut [u8]) -> (Moved, &'s [u8]) {
    let got = moved(recv(socket.as_raw_fd(), scratch, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from));
    let Moved::Bytes(n) = got else { return (got, &[]) };
    (got, scratch.get(..n).unwrap_or_default())
}

/// One receive of what is there, dropped inside the kernel without a copy (tcp(7): MSG_TRUNC).
pub(crate) fn discard(socket: &Socket, scratch: &mut [u8]) -> Moved {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    moved(recv(socket.as_raw_fd(), scratch, flags).map_err(io::Error::from))
}

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From here on SIGINT and SIGTERM ask the event loop to end and report; see [`stopped`].
pub(crate) fn catch_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&STOP))?;
    }
    Ok(())
}

/// Whether a signal asked to end.
pub(crate) fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Raises the limit of open files to the hard limit, and that one, where this process may, to what is needed; returns
/// what the limit is then.
pub(crate) fn raise_open_files(needed: u64) -> u64 {
    let files = Resource::RLIMIT_NOFILE;
    let limit = || getrlimit(files).unwrap_or((0, 0));
    let (_, hard) = limit();
    let most = hard.max(needed);
    if setrlimit(files, most, most).is_err() {
        let _ = setrlimit(files, hard, hard);
    }
    limit().0
}

/// Lets this thread, and what it starts from now on, run on one CPU only.
pub(crate) fn pin_self(cpu: usize) -> io::Result<()> {
    let mut only = CpuSet::new();
    let pinned = only.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only));
    pinned.map_err(|e| io::Error::other(format!("cannot run on CPU {cpu} alone: {e}")))
}

/// Starts a command, on one CPU only if one is given.
pub(crate) fn spawn(command: &mut Command, cpu: Option<usize>) -> io::Result<Child> {
    let Some(cpu) = cpu else { return command.spawn() };
    // A child runs where the thread that started it may: a thread of its own, so that ours stays free.
    let pinned = || pin_self(cpu).and_then(|()| command.spawn());
    thread::scope(|scope| scope.spawn(pinned).join()).map_err(|_| io::Error::other("a thread panicked"))?
}

/// Asks a process to end (SIGTERM).
pub(crate) fn terminate(pid: u32) {
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
}

/// Clock ticks per second of the times in /proc.
pub(crate) fn clock_ticks_per_second() -> u64 {
    sysconf_or(SysconfVar::CLK_TCK, 100)
}

/// Bytes per page of the counts in /proc.
pub(crate) fn page_bytes() -> u64 {
    sysconf_or(SysconfVar::PAGE_SIZE, 4096)
}

fn sysconf_or(variable: SysconfVar, usual: u64) -> u64 {
    sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(usual)
}
