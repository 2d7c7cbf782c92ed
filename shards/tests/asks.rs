//! Goal: a question to one or all shards is answered, or the shard that did not answer is named, within its
//! deadline.
//! Method: four shards, of which some answer, drop the question, hold it for good, or panic over it.

mod support;

use shards::{AskError, Control, Ctx, Reply, ShardId};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Lab, Shared};

const SHARDS: u16 = 4;
const LIMIT: Duration = Duration::from_millis(400);

enum Question {
    /// Everybody answers with his number.
    WhoAreYou(Reply<u16>),
    /// Shard 1 drops it, shard 2 holds it, shard 3 panics over it.
    Difficult(Reply<u16>),
    /// Counted, in order.
    Number(u64),
    /// The numbers that came, to be answered.
    Numbers(Reply<Vec<u64>>),
}

/// Runs `life` on shard 0 of four.
fn asking<F: Future<Output = ()> + 'static>(life: impl Fn(Ctx<Question>) -> F + Send + Sync + 'static) {
    let done = Arc::new(Shared::<bool>::default());
    let told = Arc::clone(&done);
    let running = shards::run(&support::unpinned(SHARDS), &[], move |ctx: Ctx<Question>| {
        let held = RefCell::new(Vec::new());
        let numbers = RefCell::new(Vec::new());
        let lab = Lab::new(ctx.clone()).on_message(move |ctx, _, question| match question {
            Question::WhoAreYou(reply) => reply.send(ctx.me().0),
            Question::Difficult(reply) => match ctx.me().0 {
                1 => drop(reply),
                2 => held.borrow_mut().push(reply),
                3 => panic!("over a question"),
                me => reply.send(me),
            },
            Question::Number(n) => numbers.borrow_mut().push(n),
            Question::Numbers(reply) => reply.send(numbers.borrow().clone()),
        });
        if ctx.me() != ShardId(0) {
            return lab;
        }
        let (life, told) = (life(ctx), Arc::clone(&told));
        lab.live(async move {
            life.await;
            told.with(|done| *done = true);
        })
        .until_done()
    })
    .unwrap();
    let began = Instant::now();
    while !done.with(|done| *done) && began.elapsed().as_secs() < 20 {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.broadcast(Control::Stop);
    support::join(running);
    assert!(done.with(|done| *done), "waited in vain for the asking shard");
}

#[test]
fn every_shard_answers_in_the_order_of_the_shards() {
    asking(|ctx| async move {
        for n in 0..SHARDS {
            assert_eq!(ctx.ask(ShardId(n), Question::WhoAreYou, LIMIT).await, Ok(n));
        }
        let answers = ctx.ask_all(Question::WhoAreYou, LIMIT).await;
        let expected: Vec<_> = (0..SHARDS).map(|n| (ShardId(n), Ok(n))).collect();
        assert_eq!(answers, expected);
    });
}

#[test]
fn the_shards_that_do_not_answer_are_named() {
    asking(|ctx| async move {
        let began = Instant::now();
        let answers = ctx.ask_all(Question::Difficult, LIMIT).await;
        assert_eq!(
            answers,
            [
                (ShardId(0), Ok(0)),
                (ShardId(1), Err(AskError::Dropped(ShardId(1)))),
                (ShardId(2), Err(AskError::Late(ShardId(2)))),
                (ShardId(3), Err(AskError::Dropped(ShardId(3)))),
            ]
        );
        assert!(began.elapsed() >= LIMIT, "the silent shard was given its time");
        let none = ctx.ask(ShardId(2), Question::Difficult, LIMIT).await;
        assert_eq!(none.unwrap_err().to_string(), "shard 2 did not answer in time");
        let panicked = ctx.ask(ShardId(3), Question::Difficult, LIMIT).await;
        assert_eq!(panicked.unwrap_err().to_string(), "shard 3 dropped the question");
        // And the shard that panicked goes on.
        assert_eq!(ctx.ask(ShardId(3), Question::WhoAreYou, LIMIT).await, Ok(3));
    });
}

#[test]
fn one_deadline_holds_for_all_shards_together() {
    asking(|ctx| async move {
        let held = Rc::new(RefCell::new(Vec::new()));
        // Nobody answers: the replies never leave this shard.
        let ask = |reply: Reply<u16>| {
            held.borrow_mut().push(reply);
            Question::Number(0)
        };
        let began = Instant::now();
        let answers = ctx.ask_all(ask, LIMIT).await;
        let took = began.elapsed();
        assert!(answers.iter().all(|(shard, answer)| *answer == Err(AskError::Late(*shard))));
        assert!(took < LIMIT * u32::from(SHARDS - 1), "one after the other: {took:?}");
    });
}

#[test]
fn posts_arrive_in_order_and_before_a_later_question() {
    asking(|ctx| async move {
        let to = ShardId(3);
        for n in 0..10_000 {
            ctx.post(to, Question::Number(n));
            if n % 97 == 0 {
                ctx.sleep(Duration::from_micros(50)).await; // some leave by turns, some by number
            }
        }
        let got = ctx.ask(to, Question::Numbers, Duration::from_secs(5)).await.unwrap();
        assert_eq!(got, (0..10_000).collect::<Vec<u64>>());
        assert_eq!(ctx.counters().mail_full.get(), 0);
    });
}
