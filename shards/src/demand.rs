//! How much of a core a thread uses, and how much more it would if it had it for itself.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// What the scheduler counts of the calling thread (`proc_pid_schedstat(5)`: ns run, ns waited, times run).
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";
/// Three numbers of 20 digits fit.
const LINE_BYTES: usize = 80;

/// Of a thread, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// CPU time that it used.
    pub used: Duration,
    /// Time in which it was ready to run and others had the core.
    pub waited: Duration,
}

impl Demand {
    /// What came since `before`.
    pub fn since(self, before: Demand) -> Demand {
        Demand {
            used: self.used.saturating_sub(before.used),
            waited: self.waited.saturating_sub(before.waited),
        }
    }
}

/// Knows the demand of the thread that made it, on that thread only.
#[derive(Debug)]
pub(crate) struct Gauge(Option<File>);

impl Gauge {
    /// For the calling thread. A kernel without `CONFIG_SCHED_INFO` tells nothing of waiting.
    pub(crate) fn of_this_thread() -> Gauge {
        Gauge(File::open(SCHEDSTAT).ok())
    }

    /// Its demand so far.
    pub(crate) fn read(&self) -> Demand {
        self.schedstat().unwrap_or_else(|| Demand { used: thread_cpu(), waited: Duration::ZERO })
    }

    fn schedstat(&self) -> Option<Demand> {
        let mut line = [0; LINE_BYTES];
        let length = self.0.as_ref()?.read_at(&mut line, 0).ok()?;
        parse(std::str::from_utf8(line.get(..length)?).ok()?)
    }
}

fn parse(line: &str) -> Option<Demand> {
    let mut nanos = line.split_whitespace().map(|number| number.parse().ok().map(Duration::from_nanos));
    Some(Demand { used: nanos.next()??, waited: nanos.next()?? }).filter(|demand| !demand.used.is_zero())
}

/// CPU time that the calling thread has used so far.
fn thread_cpu() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec for the call to fill.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut t) };
    if done != 0 {
        return Duration::ZERO;
    }
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn what_the_scheduler_tells_is_read() {
        let demand = parse("1500000000 20000000 42\n").unwrap();
        assert_eq!((demand.used.as_millis(), demand.waited.as_millis()), (1500, 20));
        assert_eq!(parse("0 0 0\n"), None, "it is not counted");
        assert_eq!(parse("1 x"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_thread_s_work_is_counted() {
        let gauge = Gauge::of_this_thread();
        let (before, began) = (gauge.read(), thread_cpu());
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {}
        let (grown, cpu) = (gauge.read().since(before), thread_cpu() - began);
        assert!(
            grown.used <= cpu + Duration::from_millis(20) && cpu <= grown.used + Duration::from_millis(20)
        );
        assert!(!grown.used.is_zero());
    }

    #[test]
    fn threads_that_share_a_core_wait_for_it() {
        let core = core_affinity::get_core_ids().expect("cores")[0];
        let work = move || {
            core_affinity::set_for_current(core);
            let gauge = Gauge::of_this_thread();
            let (before, until) = (gauge.read(), Instant::now() + Duration::from_millis(300));
            while Instant::now() < until {}
            gauge.read().since(before)
        };
        let both = [std::thread::spawn(work), std::thread::spawn(work)]
            .map(|thread| thread.join().expect("no panic"));
        let waited: Duration = both.iter().map(|demand| demand.waited).sum();
        assert!(waited > Duration::from_millis(50), "{both:?}");
    }
}
