//! Goal: a panic in a helper job is told to its asker; the helpers and the shard live on.
//! Method: more panicking jobs than there are helper threads, then jobs that must still be done.

mod support;

use shards::helper::JobPanicked;

#[test]
fn a_job_that_panics_takes_neither_its_thread_nor_the_shard_along() {
    support::on_one_shard(|ctx, _| async move {
        for n in 0..10 {
            let told = ctx.offload(move || if n < 10 { panic!("job {n}") } else { n }).await;
            assert_eq!(told, Err(JobPanicked));
        }
        for n in 0..10 {
            assert_eq!(ctx.offload(move || n * n).await, Ok(n * n));
        }
        assert_eq!(ctx.counters().panics.get(), 0, "nothing panicked on the shard");
    });
}

/// Panics when it is dropped, as the result of a job whose asker has gone.
struct Spiteful;

impl Drop for Spiteful {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn nor_does_a_result_that_nobody_waits_for_and_that_panics_when_dropped() {
    support::on_one_shard(|ctx, _| async move {
        for _ in 0..10 {
            let (started, has_started) = flume::bounded(1);
            let (go, may_go) = flume::bounded::<()>(1);
            let asked = ctx.offload(move || {
                started.send(()).unwrap();
                may_go.recv().unwrap();
                Spiteful
            });
            let gives_up = async {
                has_started.recv_async().await.unwrap();
                Ok(Spiteful)
            };
            // The asker goes while the job runs. What `gives_up` made must not be dropped here.
            std::mem::forget(futures_lite::future::or(gives_up, asked).await);
            go.send(()).unwrap();
        }
        assert_eq!(ctx.offload(|| 7).await, Ok(7));
    });
}
