use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const NEVER: u64 = u64::MAX;

fn event(number: u64, client: &str, stream: Option<&str>, urls: &[&str]) -> Event {
    Event {
        number,
        hook: Hook::OnUnpublish,
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        body: format!("body of {number}"),
        client: client.to_owned(),
        stream: stream.map(str::to_owned),
        timeout_ms: 10_000,
        expires_ms: NEVER,
    }
}

fn backlog(events: &[Event]) -> Backlog {
    let mut backlog = Backlog::new(1 << 20);
    events.iter().for_each(|event| backlog.push(event.clone()).unwrap());
    backlog
}

const U: &str = "http://u/a";
const V: &str = "http://v/a";

fn calls(backlog: &mut Backlog, now_ms: u64) -> Vec<(u64, String)> {
    std::iter::from_fn(|| backlog.next(now_ms)).map(|call| (call.delivery.0, call.url)).collect()
}

/// What came of telling an event to one of [`event`]'s URLs.
fn done(backlog: &mut Backlog, number: u64, url: &str, outcome: Outcome, now_ms: u64) -> bool {
    let at =
        backlog.events.get(&number).and_then(|pending| pending.event.urls.iter().position(|its| its == url));
    let (hook, body) = (Hook::OnUnpublish, String::new());
    let delivery = (number, at.unwrap_or(0));
    backlog.done(&Call { delivery, hook, url: url.to_owned(), body, timeout_ms: 0 }, outcome, now_ms)
}

fn numbers(backlog: &mut Backlog, now_ms: u64) -> Vec<u64> {
    calls(backlog, now_ms).into_iter().map(|(number, _)| number).collect()
}

#[test]
fn a_client_s_events_go_one_after_the_other_and_others_overtake() {
    let mut all = backlog(&[event(1, "a", None, &[U]), event(2, "a", None, &[U]), event(3, "b", None, &[U])]);
    assert_eq!(numbers(&mut all, 0), [1, 3]);
    assert!(done(&mut all, 3, U, Outcome::Told, 0));
    assert_eq!(numbers(&mut all, 0), [0; 0], "2 waits for 1");
    assert!(done(&mut all, 1, U, Outcome::Told, 0));
    assert_eq!(numbers(&mut all, 0), [2]);
    assert!(done(&mut all, 2, U, Outcome::Told, 0));
    assert!(all.is_empty() && all.due_ms().is_none());
}

#[test]
fn a_stream_s_events_go_one_after_the_other_whoever_they_are_of() {
    let mut all = backlog(&[event(1, "a", Some("s"), &[U]), event(2, "b", Some("s"), &[U])]);
    assert_eq!(numbers(&mut all, 0), [1]);
    assert_eq!(all.pending_of("c", Some("s")), [2]);
    assert_eq!(all.pending_of("a", None), [1]);
    assert!(done(&mut all, 1, U, Outcome::Told, 0));
    assert_eq!(numbers(&mut all, 0), [2]);
}

#[test]
fn each_url_has_its_own_order_and_an_event_is_over_when_all_have_it() {
    let mut all = backlog(&[event(1, "a", None, &[U, V, U]), event(2, "a", None, &[V])]);
    assert_eq!(calls(&mut all, 0), [(1, U.to_owned()), (1, V.to_owned())]);
    assert!(!done(&mut all, 1, V, Outcome::Told, 0), "u does not have it yet");
    assert_eq!(calls(&mut all, 0), [(2, V.to_owned())]);
    assert!(all.has(1));
    assert!(done(&mut all, 1, U, Outcome::Told, 0));
    assert!(!all.has(1) && all.has(2));
}

#[test]
fn a_client_s_events_are_in_order_for_a_backend_whatever_its_urls_are() {
    let mut all =
        backlog(&[event(1, "a", None, &["http://u/streams"]), event(2, "a", None, &["http://u/clients?x"])]);
    assert_eq!(numbers(&mut all, 0), [1]);
    assert!(done(&mut all, 1, "http://u/streams", Outcome::Told, 0));
    assert_eq!(numbers(&mut all, 0), [2]);
    let mut all = backlog(&[event(1, "a", None, &["http://u/1", "http://u/2"])]);
    assert_eq!(calls(&mut all, 0), [(1, "http://u/1".to_owned())]);
    assert!(!done(&mut all, 1, "http://u/1", Outcome::Told, 0));
    assert_eq!(calls(&mut all, 0), [(1, "http://u/2".to_owned())]);
    assert!(done(&mut all, 1, "http://u/2", Outcome::Told, 0));
    assert_eq!(all.backends.len(), 0);
}

#[test]
fn what_the_backend_could_not_take_is_tried_again_and_only_its_client_waits() {
    let mut all = backlog(&[event(1, "a", None, &[U]), event(2, "a", None, &[U]), event(3, "b", None, &[U])]);
    assert_eq!(numbers(&mut all, 0), [1, 3]);
    assert!(!done(&mut all, 1, U, Outcome::Failed, 100));
    assert!(done(&mut all, 3, U, Outcome::Told, 100));
    assert_eq!((numbers(&mut all, 1_099), all.due_ms()), (vec![], Some(1_100)));
    assert_eq!(numbers(&mut all, 1_100), [1]);
    assert!(!done(&mut all, 1, U, Outcome::Failed, 1_200));
    assert_eq!(all.due_ms(), Some(3_200), "the pause doubles");
    assert_eq!(numbers(&mut all, 3_200), [1]);
    assert!(done(&mut all, 1, U, Outcome::Told, 3_300));
    assert_eq!(numbers(&mut all, 3_300), [2]);
}

#[test]
fn a_backend_that_is_down_is_tried_with_one_event_ever_more_rarely_and_then_gets_all() {
    let events: Vec<Event> = (1..=40).map(|n| event(n, &n.to_string(), None, &[U])).collect();
    let mut all = backlog(&events);
    let first = numbers(&mut all, 0);
    assert_eq!(first.len(), AT_ONCE);
    first.iter().for_each(|number| assert!(!done(&mut all, *number, U, Outcome::Unreached, 10)));
    let mut now_ms = 10;
    for pause_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        assert_eq!(
            (all.due_ms(), numbers(&mut all, now_ms + pause_ms - 1)),
            (Some(now_ms + pause_ms), vec![])
        );
        now_ms += pause_ms;
        assert_eq!(numbers(&mut all, now_ms), [1]);
        assert_eq!(all.due_ms(), None, "one is under way");
        assert!(!done(&mut all, 1, U, Outcome::Unreached, now_ms));
    }
    now_ms += 30_000;
    assert_eq!(numbers(&mut all, now_ms), [1]);
    assert!(done(&mut all, 1, U, Outcome::Told, now_ms));
    assert_eq!(numbers(&mut all, now_ms).len(), AT_ONCE, "it is back");
}

#[test]
fn one_backend_that_is_down_holds_nobody_else_up() {
    let mut all = backlog(&[event(1, "a", Some("s"), &[U]), event(2, "a", Some("s"), &[V])]);
    assert_eq!(calls(&mut all, 0), [(1, U.to_owned()), (2, V.to_owned())]);
    assert!(!done(&mut all, 1, U, Outcome::Unreached, 0));
    assert!(done(&mut all, 2, V, Outcome::Told, 0));
}

#[test]
fn what_is_too_old_is_given_up_also_while_it_is_under_way() {
    let old = |number| Event { expires_ms: 500, ..event(number, "a", Some("s"), &[U, V]) };
    let mut all = backlog(&[old(1), old(2), event(3, "a", Some("s"), &[U])]);
    assert_eq!(numbers(&mut all, 0), [1, 1]);
    assert_eq!(all.expire(499), [0; 0]);
    assert_eq!(all.expire(500), [1, 2]);
    assert_eq!(numbers(&mut all, 500), [3]);
    assert!(!done(&mut all, 1, U, Outcome::Told, 501), "too late: it was given up");
    assert!(!done(&mut all, 1, V, Outcome::Unreached, 501));
    assert!(done(&mut all, 3, U, Outcome::Told, 502));
    assert!(all.is_empty() && all.bytes == 0 && all.backends.is_empty());
}

#[test]
fn it_holds_no_more_than_it_may() {
    let mut all = Backlog::new(2_000);
    let pushed: Vec<bool> = (1..=10).map(|n| all.push(event(n, "a", None, &[U])).is_ok()).collect();
    assert_eq!(pushed.iter().filter(|pushed| **pushed).count(), 3);
    assert_eq!(numbers(&mut all, 0), [1]);
    assert!(done(&mut all, 1, U, Outcome::Told, 0));
    assert!(all.push(event(11, "b", None, &[U])).is_ok());
}

#[test]
fn an_event_for_nobody_is_over_at_once() {
    let all = backlog(&[event(1, "a", None, &[])]);
    assert!(all.is_empty() && all.backends.is_empty());
}

proptest! {
    /// Whatever fails, however often: every URL gets every event, in the order of each client and each stream, and
    /// nothing is left behind.
    #[test]
    fn all_are_told_in_order(
        events in proptest::collection::vec((0..4u8, proptest::option::of(0..3u8), 1..4u8), 1..40),
        outcomes in proptest::collection::vec((0..6u8, any::<u8>(), 0..3_000u64), 0..400),
    ) {
        let urls = |bits: u8| [U, V].into_iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1);
        let made = |(at, (client, stream, bits)): (usize, &(u8, Option<u8>, u8))| {
            let urls: Vec<&str> = urls(*bits).map(|(_, url)| url).collect();
            event(at as u64 + 1, &client.to_string(), stream.map(|s| s.to_string()).as_deref(), &urls)
        };
        let events: Vec<Event> = events.iter().enumerate().map(made).collect();
        let mut all = backlog(&events);
        let mut told: Vec<(String, u64)> = Vec::new();
        let mut under_way: Vec<(u64, String)> = Vec::new();
        let mut now_ms = 0;
        let mut outcomes = outcomes.into_iter();
        for _ in 0..100_000 {
            under_way.extend(calls(&mut all, now_ms));
            if all.is_empty() {
                break;
            }
            let (what, which, later_ms) = outcomes.next().unwrap_or((5, 0, 1));
            now_ms += later_ms;
            if under_way.is_empty() {
                now_ms = now_ms.max(all.due_ms().expect("something is to come"));
                continue;
            }
            let (number, url) = under_way.swap_remove(usize::from(which) % under_way.len());
            let outcome = match what {
                0 | 1 => Outcome::Unreached,
                2 => Outcome::Failed,
                _ => Outcome::Told,
            };
            done(&mut all, number, &url, outcome, now_ms);
            if outcome == Outcome::Told {
                told.push((url, number));
            }
        }
        prop_assert!(all.is_empty() && all.bytes == 0 && under_way.is_empty());
        prop_assert!(all.backends.is_empty());
        let wanted: usize = events.iter().map(|event| event.urls.len()).sum();
        prop_assert_eq!(told.iter().collect::<HashSet<_>>().len(), wanted);
        prop_assert_eq!(told.len(), wanted);
        for url in [U, V] {
            let order: Vec<&Event> =
                told.iter().filter(|(to, _)| to == url).map(|(_, number)| &events[*number as usize - 1]).collect();
            for (at, event) in order.iter().enumerate() {
                let before = order[at..].iter().find(|later| {
                    let same = later.client == event.client || (event.stream.is_some() && later.stream == event.stream);
                    same && later.number < event.number
                });
                prop_assert!(before.is_none(), "{} before {:?}", event.number, before.map(|e| e.number));
            }
        }
    }
}
