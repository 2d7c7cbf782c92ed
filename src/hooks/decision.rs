//! A decision: a backend is asked, one URL after the other, within a deadline.

use super::Hook;
use super::answer::{self, Answer};
use super::desk::{Counters, Errand, HookCounters, Telling, count};
use super::notice::Notice;
use super::spool::{Owed, Record, Spool};
use crate::logging;
use crate::outbound::{self, MAX_ANSWER_BYTES};
use reqwest::Client;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// A question to a backend.
#[derive(Debug)]
pub struct Question {
    /// About what.
    pub notice: Notice,
    /// Whom to ask, one after the other; the first no is one.
    pub urls: Vec<String>,
    /// How long all of it may take.
    pub deadline: Duration,
    /// How often a URL is asked again that did not answer.
    pub retries: u32,
    /// Where, and how, on_unpublish is told if this is on_publish.
    pub unpublish: Option<Telling>,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The question's number.
    pub number: u64,
    /// The answer.
    pub answer: Answer,
    /// Whether the backend may think that it said yes: then it is owed the end of what it permitted.
    pub was_heard: bool,
}

/// Takes a verdict; false if whoever asked has gone.
pub type Reply = Box<dyn FnOnce(Verdict) -> bool + Send>;

/// A decision under way.
pub(super) struct Asking {
    pub(super) number: u64,
    pub(super) until: Instant,
    /// Events that are not told by then are passed.
    pub(super) pass_at: Instant,
    pub(super) pending: Vec<oneshot::Receiver<()>>,
    pub(super) semaphores: Vec<Arc<Semaphore>>,
    pub(super) client: Client,
    pub(super) spool: Option<Spool>,
    pub(super) counters: Arc<Counters>,
    pub(super) back: mpsc::WeakSender<Errand>,
    pub(super) question: Question,
}

impl Asking {
    pub(super) async fn decide(mut self, reply: Reply) {
        let hook = self.question.notice.hook;
        self.wait_for_earlier_events().await;
        let (answer, was_heard) = match self.write_what_is_owed().await {
            true => self.ask_all().await,
            false => (Answer::Failed("not written down".to_owned()), false),
        };
        let counters = self.counters.of(hook);
        count(match &answer {
            Answer::Accepted => &counters.accepted,
            Answer::Refused(_) => &counters.refused,
            Answer::Failed(_) => &counters.failed,
        });
        let Asking { number, spool, back, question, .. } = self;
        if !was_heard
            && let Some(spool) = &spool
            && question.unpublish.is_some()
        {
            spool.write(vec![Record::Settled(number)]);
        }
        let notice = Notice { hook: Hook::OnUnpublish, publish: Some(number), ..question.notice };
        let was_taken = reply(Verdict { number, answer, was_heard });
        if !was_taken
            && was_heard
            && let (Some(telling), Some(back)) = (question.unpublish, back.upgrade())
        {
            let of = logging::Client::current();
            let _ = back.send(Errand::Tell(Box::new((notice, telling)), of)).await;
        }
    }

    /// A backend that still has to hear that this client, or this stream, ended is given half the time for it.
    async fn wait_for_earlier_events(&mut self) {
        let all = async {
            for told in std::mem::take(&mut self.pending) {
                let _ = told.await;
            }
        };
        let _ = tokio::time::timeout_at(self.pass_at.into(), all).await;
    }

    async fn write_what_is_owed(&self) -> bool {
        let (Some(spool), Some(telling)) = (&self.spool, &self.question.unpublish) else { return true };
        let owed = Owed {
            publish: self.number,
            notice: Notice {
                hook: Hook::OnUnpublish,
                publish: Some(self.number),
                ..self.question.notice.clone()
            },
            urls: telling.urls.clone(),
            timeout_ms: telling.timeout.as_millis() as u64,
            retry_for_ms: telling.retry_for.as_millis() as u64,
        };
        let written = spool.write_surely(Record::Owed(Box::new(owed)));
        matches!(tokio::time::timeout_at(self.until.into(), written).await, Ok(Ok(true)))
    }

    /// The answer of all URLs together, and whether one of them may have said yes.
    async fn ask_all(&self) -> (Answer, bool) {
        let body = self.question.notice.body(self.number);
        let mut was_heard = false;
        for (url, semaphore) in self.question.urls.iter().zip(&self.semaphores) {
            let answer = match tokio::time::timeout_at(self.until.into(), semaphore.acquire()).await {
                Ok(Ok(_permit)) => self.ask_one(url, &body, &mut was_heard).await,
                _ => Answer::Failed("too many ask it".to_owned()),
            };
            match answer {
                Answer::Accepted => was_heard = true,
                Answer::Refused(what) => return (Answer::Refused(format!("{url}: {what}")), was_heard),
                Answer::Failed(what) => return (Answer::Failed(format!("{url}: {what}")), was_heard),
            }
        }
        (Answer::Accepted, was_heard)
    }

    async fn ask_one(&self, url: &str, body: &str, was_heard: &mut bool) -> Answer {
        let mut tries = 0;
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            let counters = self.counters.of(self.question.notice.hook);
            let answer = match post(&self.client, url, body.to_owned(), left, counters).await {
                Ok((status, body)) => {
                    let answer = answer::read(status, &body);
                    *was_heard |= matches!(answer, Answer::Failed(_)); // it may have got that far
                    answer
                }
                Err(error) => {
                    // Who could not be connected to has heard nothing.
                    *was_heard |= !error.is_connect();
                    Answer::Failed(outbound::why(&error))
                }
            };
            tries += 1;
            let is_over = tries > self.question.retries || Instant::now() >= self.until;
            if is_over || !matches!(answer, Answer::Failed(_)) {
                return answer;
            }
        }
    }
}

/// One request: the status and what was answered.
pub(super) async fn post(
    client: &Client,
    url: &str,
    body: String,
    limit: Duration,
    counters: &HookCounters,
) -> Result<(u16, Vec<u8>), reqwest::Error> {
    count(&counters.calls);
    let request = client.post(url).header("Content-Type", "application/json").timeout(limit).body(body);
    let mut response = request.send().await?;
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await? {
        answer.extend_from_slice(&piece);
        if answer.len() > MAX_ANSWER_BYTES {
            break; // more than yes or no
        }
    }
    Ok((response.status().as_u16(), answer))
}
