//! SIGQUIT: how the server leaves its clients. Decisions only; the master acts on them.
//!
//! As in SRS: for `grace_start_wait` everything goes on, so that whoever sends clients here learns to send them
//! elsewhere. Then nobody is let in any more, and whoever is there may stay until it leaves by itself, or, which SRS has
//! not, until `grace_max` is over. `grace_final_wait` is for what the last one left to be done.

use crate::config::Config;
use std::time::{Duration, Instant};

/// Who was accepted by the kernel before the ports were closed is counted after that at the latest.
const SETTLES: Duration = Duration::from_millis(250);
/// How often it is looked whether the last client has left.
const LOOKS: Duration = Duration::from_millis(100);
/// How many are left is told after a second, then after twice as long each time, up to this.
const TELLS_AT_MOST: Duration = Duration::from_secs(32);

/// How long each part may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    start_wait: Duration,
    max: Option<Duration>,
    final_wait: Duration,
}

impl From<&Config> for Terms {
    fn from(config: &Config) -> Terms {
        Terms {
            start_wait: config.grace_start_wait,
            max: config.grace_max,
            final_wait: config.grace_final_wait,
        }
    }
}

/// A server on its way out.
#[derive(Debug)]
pub struct Drain {
    terms: Terms,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Clients may still come.
    Open { until: Instant },
    /// Clients may still stay.
    Leaving { since: Instant, tell_at: Instant, tell_every: Duration },
    /// There is none.
    Empty { until: Instant },
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Close the ports.
    StopAccepting,
    /// Say how many are left.
    Tell,
    /// Close those who are left.
    Cut,
    /// The last one has left.
    Empty,
    /// End.
    End,
}

impl Drain {
    /// It begins now.
    pub fn new(terms: Terms, now: Instant) -> Drain {
        Drain { terms, phase: Phase::Open { until: now + terms.start_wait } }
    }

    /// What is to be done now, with so many connections open; ask again until it is nothing.
    pub fn step(&mut self, now: Instant, connections: u64) -> Option<Step> {
        match &mut self.phase {
            Phase::Open { until } => {
                if now < *until {
                    return None;
                }
                let tell_every = Duration::from_secs(1);
                self.phase = Phase::Leaving { since: now, tell_at: now + tell_every, tell_every };
                Some(Step::StopAccepting)
            }
            Phase::Leaving { since, tell_at, tell_every } => {
                let took = now.saturating_duration_since(*since);
                let is_empty = connections == 0 && took >= SETTLES;
                if is_empty || self.terms.max.is_some_and(|max| took >= max) {
                    self.phase = Phase::Empty { until: now + self.terms.final_wait };
                    return Some(if is_empty { Step::Empty } else { Step::Cut });
                }
                if now < *tell_at {
                    return None;
                }
                *tell_every = (*tell_every * 2).min(TELLS_AT_MOST);
                *tell_at = now + *tell_every;
                Some(Step::Tell)
            }
            Phase::Empty { until } => (now >= *until).then_some(Step::End),
        }
    }

    /// After which time to ask at the latest.
    pub fn wait(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Open { until } | Phase::Empty { until } => until.saturating_duration_since(now),
            Phase::Leaving { .. } => LOOKS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of a drain with their times in ms; the last client leaves at `leaves_ms`.
    fn drained(config: &str, leaves_ms: u64) -> Vec<(u64, Step)> {
        let terms = Terms::from(&Config::parse("x", config).expect("good"));
        let start = Instant::now();
        let mut drain = Drain::new(terms, start);
        let mut steps = Vec::new();
        for ms in (0..200_000).step_by(50) {
            let now = start + Duration::from_millis(ms);
            while let Some(step) = drain.step(now, u64::from(ms < leaves_ms)) {
                steps.push((ms, step));
                if step == Step::End {
                    return steps;
                }
            }
        }
        steps
    }

    #[test]
    fn by_default_clients_have_all_the_time_they_want() {
        use Step::{Empty, End, StopAccepting, Tell};
        let steps = drained("", 10_000);
        let expected = [
            (2_300, StopAccepting),
            (3_300, Tell),
            (5_300, Tell),
            (9_300, Tell),
            (10_000, Empty),
            (13_200, End),
        ];
        assert_eq!(steps, expected);
        let told = drained("grace_start_wait = 0", 150_000).iter().filter(|(_, step)| *step == Tell).count();
        assert_eq!(told, 8, "after 1, 3, 7, 15, 31, 63, 95 and 127 s");
    }

    #[test]
    fn after_grace_max_they_are_cut() {
        use Step::{Cut, Empty, End, StopAccepting, Tell};
        let config = "grace_start_wait = 100\ngrace_max = \"2s\"\ngrace_final_wait = 500";
        let expected = [(100, StopAccepting), (1_100, Tell), (2_100, Cut), (2_600, End)];
        assert_eq!(drained(config, u64::MAX), expected);
        let expected = [(100, StopAccepting), (350, Empty), (850, End)];
        assert_eq!(drained(config, 0), expected, "nobody was there");
    }

    #[test]
    fn without_waits_it_only_looks_who_was_about_to_come() {
        use Step::{Empty, End, StopAccepting};
        let none = "grace_start_wait = 0\ngrace_final_wait = 0";
        assert_eq!(drained(none, 0), [(0, StopAccepting), (250, Empty), (250, End)]);
    }

    #[test]
    fn it_is_looked_at_in_time() {
        let now = Instant::now();
        let terms = Terms::from(&Config::default());
        let mut drain = Drain::new(terms, now);
        assert_eq!(drain.wait(now), terms.start_wait);
        drain.step(now + terms.start_wait, 1);
        assert_eq!(drain.wait(now), LOOKS);
    }
}
