//! Goal: what a task of another class makes comes back to who waits for it, and so does the news of its panic.
//! Method: a media task has the API's class compute, in one piece, in several, and in vain.

mod support;

use shards::{Class, Panicked};

#[test]
fn what_a_task_of_another_class_makes_comes_back_and_so_does_its_panic() {
    support::on_one_shard(|ctx, _| async move {
        assert_eq!(ctx.run(Class::Api, "a sum", async { 1 + 2 }).await, Ok(3));
        let others = ctx.clone();
        let steps = async move {
            let mut sum = 0;
            for n in 0..100 {
                sum += n;
                others.yield_if_needed().await;
            }
            sum
        };
        assert_eq!(ctx.run(Class::Api, "a sum in steps", steps).await, Ok(4950));
        let broken: Result<(), Panicked> = ctx.run(Class::Api, "a task", async { panic!("no") }).await;
        assert_eq!(broken, Err(Panicked("a task")));
        assert_eq!(ctx.counters().panics.get(), 1);
    });
}
