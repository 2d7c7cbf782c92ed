//! Child processes that inherit nothing but their standard streams, and no signal mask.
//!
//! glommio's accept sets FD_CLOEXEC only on the first connection of a burst; an ffmpeg started then would
//! keep clients' sockets open after the server closed them. So every descriptor above 2 is marked
//! close-on-exec in the child, between fork and exec. The server blocks the signals it waits for
//! ([`crate::master::Signals`]), and children inherit that mask: without a reset SIGTERM would not end them.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// How the child closes what it must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// `close_range` with CLOSE_RANGE_CLOEXEC (Linux 5.11), falling back to the loop if it is not there.
    Range,
    /// `fcntl` on every descriptor up to [`OPENED_MEANWHILE`] above the highest that was open when the
    /// command was prepared.
    Loop,
}

/// Descriptors that other threads may open between [`inherit_nothing`] and the fork, if they are to be caught
/// by [`Closing::Loop`]. The child must not allocate, so it cannot look for itself.
pub const OPENED_MEANWHILE: i32 = 1024;

/// Makes `command`'s child inherit no descriptor but 0, 1 and 2, and no blocked signal. Call it right before
/// the spawn.
pub fn inherit_nothing(command: &mut Command, closing: Closing) -> &mut Command {
    let highest = highest_fd().saturating_add(OPENED_MEANWHILE);
    let no_signals = empty_set();
    let mark = move || {
        // SAFETY: a plain system call on numbers; async-signal-safe, allocates nothing.
        let ranged = closing == Closing::Range
            && unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }
                == 0;
        if !ranged {
            for fd in 3..=highest {
                // SAFETY: F_SETFD on a number; EBADF for those not open is of no interest.
                unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
            }
        }
        // SAFETY: the set is valid and initialised; async-signal-safe. It cannot fail with these arguments.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const no_signals, std::ptr::null_mut()) };
        Ok(())
    };
    // SAFETY: `mark` runs between fork and exec and does only async-signal-safe system calls: it neither
    // allocates nor locks.
    unsafe { command.pre_exec(mark) }
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: an all-zero sigset_t is a valid object for sigemptyset to initialise.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is valid.
    unsafe { libc::sigemptyset(&raw mut set) };
    set
}

/// The highest descriptor open now; the hard limit if that cannot be read.
fn highest_fd() -> i32 {
    std::fs::read_dir("/proc/self/fd")
        .ok()
        .and_then(|fds| fds.flatten().filter_map(|fd| fd.file_name().to_str()?.parse().ok()).max())
        .unwrap_or(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    fn sockets_of_child(closing: Option<Closing>) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let clients: Vec<_> =
            (0..10).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
        for client in &clients {
            // SAFETY: clears FD_CLOEXEC on a socket this test owns, as glommio's accept leaves it.
            unsafe { libc::fcntl(client.as_raw_fd(), libc::F_SETFD, 0) };
        }
        let mut command = Command::new("ls");
        command.args(["-l", "/proc/self/fd"]);
        if let Some(closing) = closing {
            inherit_nothing(&mut command, closing);
        }
        let listing = command.output().unwrap();
        String::from_utf8_lossy(&listing.stdout).matches("socket:").count()
    }

    #[test]
    fn a_child_of_a_server_with_ten_clients_holds_none_of_their_sockets() {
        assert!(sockets_of_child(None) >= 10, "without the remedy they are inherited");
        assert_eq!(sockets_of_child(Some(Closing::Range)), 0);
        assert_eq!(sockets_of_child(Some(Closing::Loop)), 0);
    }

    #[test]
    fn a_child_can_be_ended_although_its_server_blocks_the_signals() {
        let blocked = |prepare: bool| {
            // The mask belongs to the thread, so this test's own thread takes it, as the server's do.
            std::thread::spawn(move || {
                crate::master::Signals::block().unwrap();
                let mut command = Command::new("grep");
                command.args(["SigBlk", "/proc/self/status"]);
                if prepare {
                    inherit_nothing(&mut command, Closing::Range);
                }
                String::from_utf8(command.output().unwrap().stdout).unwrap()
            })
            .join()
            .unwrap()
        };
        let mask = |line: String| u64::from_str_radix(line.trim_start_matches("SigBlk:").trim(), 16).unwrap();
        assert_ne!(mask(blocked(false)), 0, "without the remedy the mask is inherited");
        assert_eq!(mask(blocked(true)), 0);
    }
}
