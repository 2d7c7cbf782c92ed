//! Helper threads for work that would block a shard: name look-ups, process spawn, compression, and the file
//! calls that change directories (rename, unlink, mkdir, truncate, fsync of a directory).
//!
//! glommio's own blocking pool is not used: a panic in it ends its thread and with it the shard. These
//! threads catch panics per job, and run on every CPU the process may use, not on the core of the shard that
//! asked.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Threads for the whole process.
const HELPERS: usize = 3;
/// Jobs that may wait; beyond that [`crate::Ctx::offload`] waits for room.
const QUEUED_JOBS: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// The job panicked on its helper thread; the thread lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a helper job panicked")]
pub struct JobPanicked;

/// The queue to the helpers.
#[derive(Clone)]
pub(crate) struct Helpers(flume::Sender<Job>);

impl Helpers {
    /// Starts the helpers. Call it before any thread is pinned: threads inherit their creator's mask.
    pub(crate) fn start() -> std::io::Result<Helpers> {
        let (jobs, queue) = flume::bounded::<Job>(QUEUED_JOBS);
        for n in 0..HELPERS {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("helper-{n}")).spawn(move || {
                for job in queue {
                    // The job catches its own panic, so that its asker is told. What is left is a result
                    // that nobody waits for any more and whose destructor panics.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            })?;
        }
        Ok(Helpers(jobs))
    }

    pub(crate) async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, JobPanicked> {
        let (done, result) = flume::bounded(1);
        let job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(job)).map_err(|_| JobPanicked);
            let _ = done.try_send(outcome);
        });
        self.0.send_async(job).await.map_err(|_| JobPanicked)?;
        result.recv_async().await.unwrap_or(Err(JobPanicked))
    }
}
