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
        let _ = self.0.try_send(answer);
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
        let answered = async { self.0.recv_async().await.map_err(|_| AskError::Dropped(from)) };
        let late = async {
            glommio::timer::Timer::new(limit).await;
            Err(AskError::Late(from))
        };
        futures_lite::future::or(answered, late).await
    }
}
