//! Questions between shards: a post that carries the way back for its answer.

use crate::ShardId;
use std::time::Duration;

/// How long a question waits unless its asker says otherwise.
pub const ASK_LIMIT: Duration = Duration::from_secs(1);

/// The way back for one answer. Dropping it unused tells the asker at once that nobody will answer.
#[derive(Debug)]
pub struct Reply<R>(flume::Sender<R>);

impl<R> Reply<R> {
    /// Answers. An asker who has given up meanwhile is no error.
    pub fn send(self, answer: R) {
        let _ = self.reach(answer);
    }

    /// Answers; false if the asker has given up meanwhile.
    #[must_use]
    pub fn reach(self, answer: R) -> bool {
        self.0.try_send(answer).is_ok()
    }
}

/// The asker's end.
pub(crate) struct Answer<R>(flume::Receiver<R>);

pub(crate) fn question<R>() -> (Reply<R>, Answer<R>) {
    let (tx, rx) = flume::bounded(1);
    (Reply(tx), Answer(rx))
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The deadline passed.
    #[error("shard {0} did not answer in time")]
    Late(ShardId),
    /// The asked shard dropped the question: it is stopping, or its handler panicked.
    #[error("shard {0} dropped the question")]
    Dropped(ShardId),
}

impl<R> Answer<R> {
    pub(crate) async fn wait(self, from: ShardId, limit: Duration) -> Result<R, AskError> {
        let answered = self.wait_for_any(limit).await.ok_or(AskError::Late(from))?;
        answered.ok_or(AskError::Dropped(from))
    }

    /// None if the deadline passed; None within if nobody will answer.
    pub(crate) async fn wait_for_any(self, limit: Duration) -> Option<Option<R>> {
        let answered = async { Some(self.0.recv_async().await.ok()) };
        let late = async {
            glommio::timer::Timer::new(limit).await;
            None
        };
        futures_lite::future::or(answered, late).await
    }
}
