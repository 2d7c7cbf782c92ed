//! Who asks and tells: a task beside the shards, which they send what is to be asked and told.

use super::Hook;
use super::answer::{self, Answer};
use super::backlog::{Backlog, Call, Event, Outcome};
use super::decision::{Asking, Question, Reply, post};
use super::notice::Notice;
use super::spool::{Ledger, Owed, Record, Spool, SpoolError};
use crate::logging::{self, Throttle};
use crate::outbound::{self, Outbound};
use reqwest::Client;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

/// What shards may have sent that is not looked at yet; beyond that decisions fail and events are lost, and counted.
const QUEUED: usize = 65_536;
/// Decisions that one URL is asked at once; the others wait, within their deadlines.
const ASKED_AT_ONCE: usize = 64;
/// How often events are looked through for those that are too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(10);

/// How an event is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Where.
    pub urls: Vec<String>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long it is tried.
    pub retry_for: Duration,
}

pub(super) enum Errand {
    Ask(Box<Question>, Reply, logging::Client),
    Tell(Box<(Notice, Telling)>, logging::Client),
    Finish(oneshot::Sender<usize>, Instant),
}

/// What hooks have done so far.
#[derive(Debug, Default)]
pub struct Counters {
    hooks: [HookCounters; Hook::ALL.len()],
    /// Events that some backend does not have yet.
    pub pending: AtomicU64,
    /// Events that were lost: no room, or given up.
    pub lost: AtomicU64,
}

/// Of one hook.
#[derive(Debug, Default)]
pub struct HookCounters {
    /// Requests.
    pub calls: AtomicU64,
    /// Yes, or told.
    pub accepted: AtomicU64,
    /// No.
    pub refused: AtomicU64,
    /// No answer, or a backend in trouble.
    pub failed: AtomicU64,
}

impl Counters {
    /// Those of a hook.
    pub fn of(&self, hook: Hook) -> &HookCounters {
        &self.hooks[hook.index()]
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The way to the desk, for all shards.
#[derive(Debug)]
pub struct Desk {
    errands: mpsc::Sender<Errand>,
    counters: Arc<Counters>,
    lost: Mutex<Throttle>,
}

impl std::fmt::Debug for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Errand::Ask(..) => "Ask",
            Errand::Tell(..) => "Tell",
            Errand::Finish(..) => "Finish",
        })
    }
}

impl Desk {
    /// Opens the desk. Events may hold `most_bytes`; those of the last run are in the folder `spool`, if there is one.
    pub fn open(outbound: &Outbound, spool: Option<&Path>, most_bytes: u64) -> Result<Desk, SpoolError> {
        let (spool, ledger) = match spool.map(Spool::open).transpose()? {
            Some((spool, ledger)) => (Some(spool), ledger),
            None => (None, Ledger::default()),
        };
        let (errands, queue) = mpsc::channel(QUEUED);
        let counters = Arc::new(Counters::default());
        let mut clerk = Clerk {
            client: outbound.client(),
            clock: Clock::new(),
            spool,
            number: ledger.last_number,
            backlog: Backlog::new(most_bytes),
            counters: Arc::clone(&counters),
            waiting: HashMap::new(),
            asked: HashMap::new(),
            told_of: HashMap::new(),
            deliveries: JoinSet::new(),
            back: errands.downgrade(),
            told_lost: Throttle::new(),
            told_failed: Throttle::new(),
        };
        clerk.take_over(ledger);
        outbound.spawn(clerk.work(queue));
        Ok(Desk { errands, counters, lost: Mutex::default() })
    }

    /// Asks a backend. `reply` gets the verdict when it is there, at the deadline at the latest; not at all if the desk
    /// has too much to do, then this is false.
    pub fn ask(&self, question: Question, reply: Reply) -> bool {
        self.errands.try_send(Errand::Ask(Box::new(question), reply, logging::Client::current())).is_ok()
    }

    /// Tells a backend what happened.
    pub fn tell(&self, notice: Notice, telling: Telling) {
        let hook = notice.hook;
        if telling.urls.is_empty() && notice.publish.is_none() {
            return;
        }
        let of = logging::Client::current();
        if self.errands.try_send(Errand::Tell(Box::new((notice, telling)), of)).is_err() {
            count(&self.counters.lost);
            let told = self.lost.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
            if let Some(repeats) = told {
                log::error!("hooks: {} lost: {QUEUED} are waiting already{repeats}", hook.as_str());
            }
        }
    }

    /// Waits until all events are told, so long; how many are not.
    pub fn finish(&self, limit: Duration) -> usize {
        let (done, left) = oneshot::channel();
        match self.errands.blocking_send(Errand::Finish(done, Instant::now() + limit)) {
            Ok(()) => left.blocking_recv().unwrap_or(0),
            Err(_) => 0,
        }
    }

    /// What was done so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Milliseconds since 1970 as of the start: they go on steadily, whatever is done to the machine's clock.
#[derive(Clone, Copy)]
struct Clock {
    start_unix_ms: u64,
    start: Instant,
}

impl Clock {
    fn new() -> Clock {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start_unix_ms: since.as_millis() as u64, start: Instant::now() }
    }

    fn now_ms(&self) -> u64 {
        self.start_unix_ms + self.start.elapsed().as_millis() as u64
    }
}

struct Clerk {
    client: Client,
    clock: Clock,
    spool: Option<Spool>,
    /// The last one given.
    number: u64,
    backlog: Backlog,
    counters: Arc<Counters>,
    /// Who waits until an event is told.
    waiting: HashMap<u64, Vec<oneshot::Sender<()>>>,
    /// Of each URL: how many more decisions it may be asked.
    asked: HashMap<String, Arc<Semaphore>>,
    /// On whose behalf events are told: the log's lines have its id. Of the last run's nobody knows.
    told_of: HashMap<u64, logging::Client>,
    deliveries: JoinSet<(Call, Outcome, Option<String>)>,
    /// For decisions that nobody waits for any more: weak, for the desk closes with the last shard.
    back: mpsc::WeakSender<Errand>,
    told_lost: Throttle,
    told_failed: Throttle,
}

impl Clerk {
    async fn work(mut self, mut queue: mpsc::Receiver<Errand>) {
        let mut expire = tokio::time::interval(EXPIRE_EVERY);
        let mut finishing: Option<(oneshot::Sender<usize>, Instant)> = None;
        loop {
            self.deliver();
            if finishing.as_ref().is_some_and(|(_, at)| self.backlog.is_empty() || Instant::now() >= *at)
                && let Some((done, _)) = finishing.take()
            {
                let _ = done.send(self.backlog.len());
            }
            let due = self.backlog.due_ms().map(|at_ms| at_ms.saturating_sub(self.clock.now_ms()));
            let due = due.map(|after_ms| Instant::now() + Duration::from_millis(after_ms));
            let finish_at = finishing.as_ref().map(|(_, at)| *at);
            let next = [due, finish_at].into_iter().flatten().min();
            tokio::select! {
                errand = queue.recv() => match errand {
                    Some(Errand::Ask(question, reply, of)) => of.scope(|| self.ask(*question, reply)),
                    Some(Errand::Tell(event, of)) => of.scope(|| self.tell(event.0, &event.1)),
                    Some(Errand::Finish(done, at)) => finishing = Some((done, at)),
                    None => return,
                },
                Some(done) = self.deliveries.join_next() => {
                    if let Ok((call, outcome, said)) = done {
                        self.of(call.delivery.0).scope(|| self.delivered(&call, outcome, said));
                    }
                }
                () = sleep_until(next), if next.is_some() => {}
                _ = expire.tick() => self.expire(),
            }
            self.counters.pending.store(self.backlog.len() as u64, Ordering::Relaxed);
        }
    }

    /// What the last run left undone.
    fn take_over(&mut self, ledger: Ledger) {
        let (events, owed) = (ledger.events.len(), ledger.owed.len());
        if events + owed > 0 {
            log::info!(
                "hooks: {events} event(s) of the last run are still to be told, {owed} publish(es) ended with it"
            );
        }
        for event in ledger.events.into_values() {
            let number = event.number;
            if self.backlog.push(event).is_err() {
                self.lose(number, "no room");
            }
        }
        for Owed { publish, notice, urls, timeout_ms, retry_for_ms } in ledger.owed.into_values() {
            let (timeout, retry_for) =
                (Duration::from_millis(timeout_ms), Duration::from_millis(retry_for_ms));
            self.tell(Notice { publish: Some(publish), ..notice }, &Telling { urls, timeout, retry_for });
        }
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    // ---- events ----

    fn tell(&mut self, notice: Notice, telling: &Telling) {
        let number = self.next_number();
        let is_of_stream = matches!(notice.hook, Hook::OnPublish | Hook::OnUnpublish);
        let event = Event {
            number,
            hook: notice.hook,
            urls: telling.urls.clone(),
            body: notice.body(number),
            client: notice.client.lane(),
            stream: is_of_stream.then(|| notice.client.stream_key()),
            timeout_ms: telling.timeout.as_millis() as u64,
            expires_ms: self.clock.now_ms() + telling.retry_for.as_millis() as u64,
        };
        if let Some(spool) = &self.spool {
            let record = Record::Event { event: Box::new(event.clone()), publish: notice.publish };
            let over = event.urls.is_empty().then_some(Record::Done(number));
            if !spool.write([record].into_iter().chain(over).collect()) {
                self.lose(number, "not written down: the disk of hooks.spool is too slow");
            }
        }
        if let Err(full) = self.backlog.push(event) {
            self.lose(number, &full.to_string());
            self.write(Record::Done(number));
        } else if self.backlog.has(number) && logging::Client::current() != logging::Client::NOBODY {
            self.told_of.insert(number, logging::Client::current());
        }
    }

    /// On whose behalf an event is told.
    fn of(&self, number: u64) -> logging::Client {
        self.told_of.get(&number).copied().unwrap_or(logging::Client::NOBODY)
    }

    fn lose(&self, number: u64, why: &str) {
        count(&self.counters.lost);
        if let Some(repeats) = self.told_lost.admit(Instant::now()) {
            log::error!("hooks: event {number} is lost: {why}{repeats}");
        }
    }

    fn write(&self, record: Record) {
        if let Some(spool) = &self.spool {
            spool.write(vec![record]);
        }
    }

    fn deliver(&mut self) {
        while let Some(call) = self.backlog.next(self.clock.now_ms()) {
            let (client, counters) = (self.client.clone(), Arc::clone(&self.counters));
            let of = self.of(call.delivery.0);
            self.deliveries.spawn(of.follow(async move {
                let limit = Duration::from_millis(call.timeout_ms);
                let counters = counters.of(call.hook);
                let answered = post(&client, &call.url, call.body.clone(), limit, counters).await;
                let (counter, outcome, said) = match answered {
                    Ok((status @ (200 | 201), body)) => match answer::read(status, &body) {
                        Answer::Accepted => (&counters.accepted, Outcome::Told, None),
                        // It has the event, and there is nothing to refuse.
                        Answer::Refused(what) | Answer::Failed(what) => {
                            (&counters.refused, Outcome::Told, Some(what))
                        }
                    },
                    Ok((status, _)) => (&counters.failed, Outcome::Failed, Some(format!("status {status}"))),
                    Err(error) => (&counters.failed, Outcome::Unreached, Some(outbound::why(&error))),
                };
                count(counter);
                (call, outcome, said)
            }));
        }
    }

    /// What came of telling an event, and what was said instead of yes.
    fn delivered(&mut self, call: &Call, outcome: Outcome, said: Option<String>) {
        let is_over = self.backlog.done(call, outcome, self.clock.now_ms());
        if let Some(said) = said
            && let Some(repeats) = self.told_failed.admit(Instant::now())
        {
            let (hook, number, url) = (call.hook.as_str(), call.delivery.0, &call.url);
            match outcome {
                Outcome::Told => {
                    log::warn!("hooks: {url} answers {hook}, event {number}, with {said}{repeats}")
                }
                Outcome::Failed | Outcome::Unreached => {
                    let how = if outcome == Outcome::Failed { "does not take" } else { "cannot be told" };
                    let wait = self.backlog.len();
                    log::warn!(
                        "hooks: {url} {how} {hook}, event {number}: {said}; it is tried again, {wait} wait{repeats}"
                    );
                }
            }
        }
        if is_over {
            self.is_told(call.delivery.0);
        }
    }

    fn expire(&mut self) {
        for number in self.backlog.expire(self.clock.now_ms()) {
            self.of(number).scope(|| self.lose(number, "given up after retry_for"));
            self.is_told(number);
        }
        self.asked.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
    }

    /// Nobody need wait for it any more.
    fn is_told(&mut self, number: u64) {
        self.write(Record::Done(number));
        self.told_of.remove(&number);
        self.waiting.remove(&number).into_iter().flatten().for_each(|waiting| _ = waiting.send(()));
    }

    // ---- decisions ----

    fn ask(&mut self, question: Question, reply: Reply) {
        let number = self.next_number();
        let begun = Instant::now();
        let is_publish = question.notice.hook == Hook::OnPublish;
        let (client, stream) = (question.notice.client.lane(), question.notice.client.stream_key());
        let pending = self.backlog.pending_of(&client, is_publish.then_some(stream.as_str()));
        let told = pending.into_iter().map(|number| {
            let (tell, told) = oneshot::channel();
            self.waiting.entry(number).or_default().push(tell);
            told
        });
        let asking = Asking {
            number,
            until: begun + question.deadline,
            pass_at: begun + question.deadline / 2,
            pending: told.collect(),
            semaphores: question.urls.iter().map(|url| self.semaphore(url)).collect(),
            client: self.client.clone(),
            spool: self.spool.clone(),
            counters: Arc::clone(&self.counters),
            back: self.back.clone(),
            question,
        };
        tokio::spawn(logging::Client::current().follow(asking.decide(reply)));
    }

    fn semaphore(&mut self, url: &str) -> Arc<Semaphore> {
        let semaphore = || Arc::new(Semaphore::new(ASKED_AT_ONCE));
        Arc::clone(self.asked.entry(url.to_owned()).or_insert_with(semaphore))
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}
