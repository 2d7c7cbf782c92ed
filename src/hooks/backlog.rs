//! Events that a backend is still to be told. To each (scheme, host and port) they go out in the order of each client,
//! and in the order of each stream; what is about another client and another stream overtakes. An event that did not get through is tried
//! again; a backend that cannot be reached is tried with one event at a time, ever more rarely.
//!
//! No I/O, and no clock: milliseconds are arguments.

use super::Hook;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use url::Url;

/// So many events are told to one backend at once.
pub const AT_ONCE: usize = 16;
/// The pause after a first failure; it doubles up to [`PAUSE_MAX_MS`].
const PAUSE_MS: u64 = 1_000;
/// Pauses are no longer than this.
const PAUSE_MAX_MS: u64 = 30_000;
/// What an event takes beside its texts, about.
const ENTRY_BYTES: u64 = 512;

/// An event, ready to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number; later ones have higher ones.
    pub number: u64,
    /// What it is.
    pub hook: Hook,
    /// Where it is told.
    pub urls: Vec<String>,
    /// What is told.
    pub body: String,
    /// The client that it is about.
    pub client: String,
    /// The stream, where its order is one of the stream's.
    pub stream: Option<String>,
    /// How long one attempt may take.
    pub timeout_ms: u64,
    /// When there is no use in telling it any more.
    pub expires_ms: u64,
}

impl Event {
    fn bytes(&self) -> u64 {
        let urls: usize = self.urls.iter().map(String::len).sum();
        (urls + self.body.len() + self.client.len()) as u64 + ENTRY_BYTES
    }
}

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which event, and to which of its URLs.
    pub delivery: Delivery,
    /// What it is.
    pub hook: Hook,
    /// Where to.
    pub url: String,
    /// What to say.
    pub body: String,
    /// How long it may take.
    pub timeout_ms: u64,
}

/// An event's number, and the place of a URL in its list.
pub type Delivery = (u64, usize);

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has it.
    Told,
    /// It answered that it could not take it.
    Failed,
    /// It could not be reached, or did not answer.
    Unreached,
}

/// There is no room for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("events that wait for a backend hold {0} bytes")]
pub struct Full(pub u64);

/// See the module.
#[derive(Debug)]
pub struct Backlog {
    /// What all events together may hold.
    most_bytes: u64,
    bytes: u64,
    events: BTreeMap<u64, Pending>,
    backends: BTreeMap<Arc<str>, Backend>,
}

#[derive(Debug)]
struct Pending {
    event: Event,
    /// URLs that do not have it yet.
    left: Vec<Left>,
}

#[derive(Debug)]
struct Left {
    delivery: Delivery,
    backend: Arc<str>,
    failures: u32,
}

/// A backend: scheme, host and port of URLs.
#[derive(Debug, Default)]
struct Backend {
    /// What is for it of each client and of each stream, in order; the first of a lane may go.
    lanes: HashMap<Lane, VecDeque<Delivery>>,
    /// What may go now.
    ready: BTreeSet<Delivery>,
    /// What may go again at a time.
    paused: BTreeSet<(u64, Delivery)>,
    under_way: usize,
    /// It could not be reached: how often, and when it is tried again.
    down: Option<(u32, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Client(String),
    Stream(String),
}

fn lanes(event: &Event) -> impl Iterator<Item = Lane> {
    let stream = event.stream.clone().map(Lane::Stream);
    stream.into_iter().chain([Lane::Client(event.client.clone())])
}

impl Backend {
    fn is_free(&self, event: &Event, delivery: Delivery) -> bool {
        lanes(event).all(|lane| self.lanes.get(&lane).and_then(VecDeque::front) == Some(&delivery))
    }

    fn add(&mut self, event: &Event, delivery: Delivery) {
        lanes(event).for_each(|lane| self.lanes.entry(lane).or_default().push_back(delivery));
        if self.is_free(event, delivery) {
            self.ready.insert(delivery);
        }
    }

    /// Takes a delivery out of its lanes; what is the first of one in its place.
    fn remove(&mut self, event: &Event, delivery: Delivery) -> Vec<Delivery> {
        self.ready.remove(&delivery);
        self.paused.retain(|(_, paused)| *paused != delivery);
        let mut next = Vec::new();
        for lane in lanes(event) {
            let Some(queue) = self.lanes.get_mut(&lane) else { continue };
            let was_first = queue.front() == Some(&delivery);
            queue.retain(|queued| *queued != delivery);
            match queue.front() {
                Some(first) if was_first => next.push(*first),
                Some(_) => {}
                None => _ = self.lanes.remove(&lane),
            }
        }
        next
    }

    /// Takes what is to be told next, if something may go now.
    fn take(&mut self, now_ms: u64) -> Option<Delivery> {
        while let Some(&(at_ms, delivery)) = self.paused.first().filter(|(at_ms, _)| *at_ms <= now_ms) {
            self.paused.remove(&(at_ms, delivery));
            self.ready.insert(delivery);
        }
        let most = match self.down {
            Some((_, at_ms)) if at_ms > now_ms => 0,
            Some(_) => 1,
            None => AT_ONCE,
        };
        if self.under_way >= most {
            return None;
        }
        let delivery = self.ready.pop_first()?;
        self.under_way += 1;
        Some(delivery)
    }

    fn note(&mut self, outcome: Outcome, now_ms: u64) {
        self.under_way = self.under_way.saturating_sub(1);
        self.down = match (outcome, self.down) {
            (Outcome::Unreached, None) => Some((0, now_ms + pause_ms(0))),
            // Several were under way when it went down: they failed together.
            (Outcome::Unreached, Some((failures, at_ms))) if at_ms > now_ms => Some((failures, at_ms)),
            (Outcome::Unreached, Some((failures, _))) => {
                Some((failures + 1, now_ms + pause_ms(failures + 1)))
            }
            _ => None,
        };
    }

    fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.under_way == 0
    }
}

fn pause_ms(failures: u32) -> u64 {
    PAUSE_MS.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX_MS)
}

/// Scheme, host and port.
fn backend_of(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

impl Backlog {
    /// An empty one, for so many bytes.
    pub fn new(most_bytes: u64) -> Backlog {
        Backlog { most_bytes, bytes: 0, events: BTreeMap::new(), backends: BTreeMap::new() }
    }

    /// Events that some URL does not have yet.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds an event, whose number is higher than all before it.
    pub fn push(&mut self, event: Event) -> Result<(), Full> {
        let bytes = event.bytes();
        if self.bytes + bytes > self.most_bytes {
            return Err(Full(self.bytes));
        }
        let mut left = Vec::new();
        for (at, url) in event.urls.iter().enumerate() {
            if event.urls.iter().take(at).any(|before| before == url) {
                continue; // one URL twice is one
            }
            let name = backend_of(url);
            let backend: Arc<str> = match self.backends.get_key_value(name.as_str()) {
                Some((known, _)) => Arc::clone(known),
                None => name.into(),
            };
            let delivery = (event.number, at);
            self.backends.entry(Arc::clone(&backend)).or_default().add(&event, delivery);
            left.push(Left { delivery, backend, failures: 0 });
        }
        if !left.is_empty() {
            self.bytes += bytes;
            self.events.insert(event.number, Pending { event, left });
        }
        Ok(())
    }

    /// The next request to make now, if there is one: then ask again.
    pub fn next(&mut self, now_ms: u64) -> Option<Call> {
        let delivery = self.backends.values_mut().find_map(|backend| backend.take(now_ms))?;
        let Event { hook, urls, body, timeout_ms, .. } = &self.events.get(&delivery.0)?.event;
        let url = urls.get(delivery.1)?.clone();
        Some(Call { delivery, hook: *hook, url, body: body.clone(), timeout_ms: *timeout_ms })
    }

    /// What came of a request that [`Backlog::next`] gave. True if all have the event now.
    pub fn done(&mut self, call: &Call, outcome: Outcome, now_ms: u64) -> bool {
        let name = backend_of(&call.url);
        let Some(backend) = self.backends.get_mut(name.as_str()) else { return false };
        backend.note(outcome, now_ms);
        let delivery = call.delivery;
        let left = self
            .events
            .get_mut(&delivery.0)
            .and_then(|pending| pending.left.iter_mut().find(|left| left.delivery == delivery));
        match (outcome, left) {
            // It has expired meanwhile.
            (_, None) => self.forget_if_idle(&name),
            (Outcome::Told, Some(_)) => return self.settle(delivery),
            (Outcome::Unreached, Some(_)) => _ = backend.ready.insert(delivery),
            (Outcome::Failed, Some(left)) => {
                backend.paused.insert((now_ms + pause_ms(left.failures), delivery));
                left.failures += 1;
            }
        }
        false
    }

    /// A URL has an event, or never will. True if that was the last.
    fn settle(&mut self, delivery: Delivery) -> bool {
        let Some(pending) = self.events.get_mut(&delivery.0) else { return false };
        let Some(at) = pending.left.iter().position(|left| left.delivery == delivery) else { return false };
        let name = pending.left.swap_remove(at).backend;
        let is_last = pending.left.is_empty();
        if let Some(backend) = self.backends.get_mut(&name) {
            for next in backend.remove(&pending.event, delivery) {
                if self.events.get(&next.0).is_some_and(|pending| backend.is_free(&pending.event, next)) {
                    backend.ready.insert(next);
                }
            }
        }
        self.forget_if_idle(&name);
        if is_last && let Some(gone) = self.events.remove(&delivery.0) {
            self.bytes -= gone.event.bytes();
        }
        is_last
    }

    fn forget_if_idle(&mut self, name: &str) {
        // One that is down is remembered as long as there is something to tell it.
        if self.backends.get(name).is_some_and(Backend::is_idle) {
            self.backends.remove(name);
        }
    }

    /// Gives up what is too old: the numbers of those events.
    pub fn expire(&mut self, now_ms: u64) -> Vec<u64> {
        let old =
            |(number, pending): (&u64, &Pending)| (pending.event.expires_ms <= now_ms).then_some(*number);
        let numbers: Vec<u64> = self.events.iter().filter_map(old).collect();
        for number in &numbers {
            let left = |pending: &Pending| -> Vec<Delivery> {
                pending.left.iter().map(|left| left.delivery).collect()
            };
            let left = self.events.get(number).map(left).unwrap_or_default();
            left.into_iter().for_each(|delivery| _ = self.settle(delivery));
        }
        numbers
    }

    /// The last events of a client and of a stream that some backend does not have yet.
    pub fn pending_of(&self, client: &str, stream: Option<&str>) -> Vec<u64> {
        let wanted = stream.map(|stream| Lane::Stream(stream.to_owned()));
        let wanted: Vec<Lane> = wanted.into_iter().chain([Lane::Client(client.to_owned())]).collect();
        let last = |backend: &Backend| -> Vec<u64> {
            wanted.iter().filter_map(|lane| Some(backend.lanes.get(lane)?.back()?.0)).collect()
        };
        let mut numbers: Vec<u64> = self.backends.values().flat_map(last).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Whether some URL does not have an event yet.
    pub fn has(&self, number: u64) -> bool {
        self.events.contains_key(&number)
    }

    /// When there is something to do next, beyond what [`Backlog::done`] brings.
    pub fn due_ms(&self) -> Option<u64> {
        let due = |backend: &Backend| match backend.down {
            Some((_, at_ms)) if backend.under_way == 0 && !backend.lanes.is_empty() => Some(at_ms),
            Some(_) => None,
            None => backend.paused.first().map(|(at_ms, _)| *at_ms),
        };
        self.backends.values().filter_map(due).min()
    }
}

#[cfg(test)]
mod tests;
