//! A push for an executor that sleeps before it has run anything.
//!
//! glommio's lost wake-ups (see [`crate::executor`]) can come before the heartbeat's first timer is armed: a
//! new executor whose thread is kept from its CPU for longer than the preemption timer, between its first look
//! at the ring and its first task, parks, and nothing is there to end that. Seen once, on a machine with more
//! busy threads than cores. A signal ends it: the wait for the ring returns EINTR, upon which glommio looks
//! again.

use std::fs;
use std::io;

/// Ignored by default, so one that comes late does no harm, and used by nothing else here.
const SIGNAL: libc::c_int = libc::SIGURG;

extern "C" fn on_signal(_: libc::c_int) {}

/// Lets the signal interrupt system calls. For all threads; children lose it with `exec`.
pub(crate) fn prepare() -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid one: no flags (so no SA_RESTART), an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
    // SAFETY: `action` is valid and its handler does nothing, which is async-signal-safe.
    match unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Interrupts whatever system call the threads wait in whose names begin with `name`.
pub(crate) fn threads(name: &str) {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.starts_with(name)));
    for id in named.filter_map(|task| task.file_name().to_str()?.parse::<libc::pid_t>().ok()) {
        // SAFETY: a system call without memory effects; a thread that has ended meanwhile is an error, ignored.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), id, SIGNAL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_thread_that_waits_is_interrupted() {
        prepare().unwrap();
        let waits = || {
            // SAFETY: no descriptors, so no memory is touched; waits until a signal comes.
            let ready = unsafe { libc::poll(std::ptr::null_mut(), 0, -1) };
            (ready, io::Error::last_os_error().kind())
        };
        let thread = std::thread::Builder::new().name("nudged-0".to_owned()).spawn(waits).unwrap();
        while !thread.is_finished() {
            threads("nudged-");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(thread.join().unwrap(), (-1, io::ErrorKind::Interrupted));
    }
}
