//! What must be there before the first executor starts: an io_uring that works, and limits that carry the
//! load. glommio itself prints and exits, or fails in words that name neither cause nor cure.

use std::fs;
use std::io;

/// Something the machine does not give, in plain words: what, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The kernel is older than what glommio's ring operations need.
    #[error("Linux {found} is too old: io_uring as used here needs 5.8 or newer")]
    Kernel {
        /// `uname -r`.
        found: String,
    },
    /// `io_uring_setup` is refused.
    #[error("io_uring is not available: {reason}")]
    IoUring {
        /// Why, and what to do.
        reason: String,
    },
    /// RLIMIT_MEMLOCK is below what an executor needs.
    #[error(
        "locked memory is limited to {have_kib} KiB, at least {need_kib} KiB are needed: raise it with `ulimit -l`, LimitMEMLOCK= (systemd) or --ulimit memlock= (containers)"
    )]
    Memlock {
        /// Hard limit in KiB.
        have_kib: u64,
        /// What is needed, in KiB.
        need_kib: u64,
    },
    /// RLIMIT_NOFILE leaves no room for clients.
    #[error(
        "open files are limited to {have}, at least {need} are needed: raise it with `ulimit -n` or LimitNOFILE= (systemd)"
    )]
    Nofile {
        /// Hard limit.
        have: u64,
        /// What is needed.
        need: u64,
    },
}

/// glommio refuses to make a ring below this (its `MIN_MEMLOCK_LIMIT`).
const MEMLOCK_BYTES: u64 = 512 << 10;
/// Fewer descriptors than this do not make a server.
const NOFILE: u64 = 256;

/// What the process got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open files, after raising the soft limit to the hard one.
    pub nofile: u64,
}

/// Raises soft limits to the hard ones and checks what the executors need. All that is missing is listed.
pub fn preflight() -> Result<Limits, Vec<Missing>> {
    let mut missing = Vec::new();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    if kernel_version(release).is_some_and(|version| version < (5, 8)) {
        missing.push(Missing::Kernel { found: release.to_owned() });
    } else if let Err(error) = probe_ring() {
        missing.push(Missing::IoUring { reason: ring_trouble(&error, &io_uring_disabled()) });
    }
    let memlock = raise(libc::RLIMIT_MEMLOCK);
    if memlock < MEMLOCK_BYTES {
        missing.push(Missing::Memlock { have_kib: memlock >> 10, need_kib: MEMLOCK_BYTES >> 10 });
    }
    let nofile = raise(libc::RLIMIT_NOFILE);
    if nofile < NOFILE {
        missing.push(Missing::Nofile { have: nofile, need: NOFILE });
    }
    if missing.is_empty() { Ok(Limits { nofile }) } else { Err(missing) }
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// Asks the kernel for the smallest ring and closes it again.
fn probe_ring() -> io::Result<()> {
    // struct io_uring_params is 120 bytes (linux/io_uring.h) and must be zeroed.
    let mut params = [0u64; 15];
    // SAFETY: the kernel writes at most sizeof(struct io_uring_params) = 120 bytes to `params`, which is as
    // large and suitably aligned.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just opened by the call above and belongs to nobody else.
    unsafe { libc::close(fd as libc::c_int) };
    Ok(())
}

fn io_uring_disabled() -> String {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default().trim().to_owned()
}

fn ring_trouble(error: &io::Error, sysctl: &str) -> String {
    match (error.raw_os_error(), sysctl) {
        (_, "2") => "switched off by the sysctl kernel.io_uring_disabled=2; set it to 0".to_owned(),
        (_, "1") => "kept to privileged processes by the sysctl kernel.io_uring_disabled=1; set it to 0, or give this process CAP_SYS_ADMIN or the group in kernel.io_uring_group".to_owned(),
        (Some(libc::EPERM), _) => "refused with EPERM, as a container's seccomp profile does (Docker's and containerd's defaults block io_uring): allow io_uring_setup, io_uring_enter and io_uring_register in the profile (deploy/seccomp-io_uring.json is the rule), or run with seccomp=unconfined".to_owned(),
        (Some(libc::ENOSYS), _) => "this kernel was built without it (or a sandbox such as gVisor hides it)".to_owned(),
        (Some(libc::ENOMEM), _) => "not enough locked memory for a ring: raise `ulimit -l`".to_owned(),
        _ => error.to_string(),
    }
}

/// Raises a soft limit to its hard limit; returns what is in force then.
fn raise(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the call to fill.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return 0;
    }
    let before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid rlimit; a failure changes nothing.
    if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 { before } else { limit.rlim_cur }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(kernel_version("5.10.0-28-amd64"), Some((5, 10)));
        assert_eq!(kernel_version("6.18.44+"), Some((6, 18)));
        assert!(kernel_version("5.4.0").unwrap() < (5, 8));
        assert!(kernel_version("5.15.1").unwrap() >= (5, 8));
        assert_eq!(kernel_version(""), None);
    }

    #[test]
    fn each_cause_has_words_of_its_own() {
        let say = |errno, sysctl| ring_trouble(&io::Error::from_raw_os_error(errno), sysctl);
        assert!(say(libc::EPERM, "2").contains("kernel.io_uring_disabled=2"));
        assert!(say(libc::EPERM, "0").contains("seccomp"));
        assert!(say(libc::ENOSYS, "").contains("built without"));
    }

    #[test]
    fn this_machine_passes_and_its_soft_limits_are_raised() {
        let limits = preflight().expect("the test machine has io_uring");
        assert!(limits.nofile >= NOFILE);
    }
}
