//! Whom a line of the log is about: each has the id of the client on whose behalf the code ran that wrote it.
//!
//! The id belongs to a piece of work, not to a thread: it is in force while a connection's task is polled
//! ([`Client::follow`]) or a function runs ([`Client::scope`]), and what was in force before is so again
//! after that. So no line of another task has it, and work that goes on elsewhere has to be told: take [`Client::current`]
//! along to another task, helper thread or shard (a client's id is the same on all of them), and follow it there.

use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    static CURRENT: Cell<Client> = const { Cell::new(Client::NOBODY) };
}

/// A client, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client(pub u64);

impl Client {
    /// The server itself; no client has this number.
    pub const NOBODY: Client = Client(0);

    /// On whose behalf this runs.
    pub fn current() -> Client {
        CURRENT.get()
    }

    /// Runs `f` on behalf of this client.
    pub fn scope<R>(self, f: impl FnOnce() -> R) -> R {
        let _back = Back(CURRENT.replace(self));
        f()
    }

    /// A future that runs on behalf of this client whenever it is polled, and when it is dropped.
    pub fn follow<F: Future>(self, future: F) -> Followed<F> {
        Followed { client: self, future: Some(future) }
    }
}

/// Puts back who was there before, also if what ran meanwhile panics.
struct Back(Client);

impl Drop for Back {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

pin_project! {
    /// See [`Client::follow`].
    pub struct Followed<F> {
        client: Client,
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Followed<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.client.scope(|| this.future.set(None));
        }
    }
}

impl<F: Future> Future for Followed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        match this.future.as_pin_mut() {
            Some(future) => this.client.scope(|| future.poll(cx)),
            None => Poll::Pending, // only while it is dropped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::future::{pending, poll_fn};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::task::Waker;

    #[test]
    fn scopes_are_left_whatever_happens() {
        assert_eq!(Client::current(), Client::NOBODY);
        Client(1).scope(|| {
            Client(2).scope(|| assert_eq!(Client::current(), Client(2)));
            let panicked = catch_unwind(AssertUnwindSafe(|| Client(3).scope(|| panic!("on purpose"))));
            assert!(panicked.is_err());
            assert_eq!(Client::current(), Client(1));
        });
        assert_eq!(Client::current(), Client::NOBODY);
    }

    /// Two tasks of one thread that take turns.
    #[test]
    fn nothing_leaks_from_one_task_to_another() {
        let seen = RefCell::new(Vec::new());
        let task = |client| {
            let seen = &seen;
            client_task(client, async move {
                for _ in 0..3 {
                    seen.borrow_mut().push(Client::current());
                    let mut first = true;
                    poll_fn(|_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) })
                        .await;
                }
            })
        };
        let (mut one, mut two) = (pin!(task(Client(7))), pin!(task(Client(8))));
        let cx = &mut Context::from_waker(Waker::noop());
        for _ in 0..4 {
            let _ = one.as_mut().poll(cx);
            assert_eq!(Client::current(), Client::NOBODY);
            let _ = two.as_mut().poll(cx);
        }
        assert_eq!(*seen.borrow(), [7, 8, 7, 8, 7, 8].map(Client));
    }

    fn client_task<F: Future>(client: Client, future: F) -> Followed<F> {
        client.follow(future)
    }

    #[test]
    fn what_a_task_holds_is_dropped_in_its_name() {
        struct Held<'a>(&'a Cell<Client>);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                self.0.set(Client::current());
            }
        }
        let at_end = Cell::new(Client::NOBODY);
        let held = Held(&at_end);
        let task = Client(9).follow(async move {
            let _held = held;
            pending::<()>().await;
        });
        drop(task);
        assert_eq!(at_end.get(), Client(9), "never polled");
        let held = Held(&at_end);
        let mut task = Box::pin(Client(10).follow(async move { drop(held) }));
        assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(at_end.get(), Client(10), "polled to its end");
    }

    #[test]
    fn a_task_is_little_larger_for_it() {
        let size = size_of_val(&Client(1).follow(async { pending::<()>().await }));
        assert!(size <= size_of_val(&async { pending::<()>().await }) + 16, "{size} bytes");
    }
}
