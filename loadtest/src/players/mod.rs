//! A group of players, read in bulk by one thread.
//!
//! Prompt players wait in one epoll set, edge-triggered, and are read once per edge; late ones are swept every
//! [`LATE_SWEEP_NS`] without being waited for, slow ones every [`SLOW_SWEEP_NS`]. Every player parses what it gets until its
//! first key picture; then only the sample goes on, and the others drop their protocol and from then on their bytes
//! inside the kernel.

mod player;
mod tally;

pub(crate) use self::tally::Tally;

use self::player::{Habit, Player, SCRATCH_BYTES, Turn};
use crate::cli::{Players, Readers};
use crate::net;
use crate::stage::{Act, Gauges, Stage};
use crate::target::{Scheme, Target};
use crate::times::Times;
use crate::wire::Wire;
use crate::wire::flv::HttpFlv;
use crate::wire::raw::Raw;
use crate::wire::rtmp::{Caller, Wish};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Late players are read this often.
const LATE_SWEEP_NS: u64 = 500_000_000;
/// Slow players are read this often.
const SLOW_SWEEP_NS: u64 = 100_000_000;
/// Between two looks at the prompt players: what came meanwhile is read in one go. Without it a thousand players
/// would wake the load generator tens of thousands of times a second, at the measured server's cost too.
const REST_NS: u64 = 1_000_000;
/// Acts are noticed within this time.
const LOOK_NS: u64 = 50_000_000;
/// nginx closes RTMP clients from which nothing came for a minute and a half.
const ACKNOWLEDGE_SECONDS: usize = 20;
/// Connects started in one turn, so that a storm does not starve the players that already read.
const MAX_CONNECTS_PER_TURN: usize = 64;
/// Late readers' receive buffer, unless told.
const LATE_RCVBUF_BYTES: usize = 262_144;
/// Of the 28,000 or so ports of a source address, this many are used; a connection that was left keeps its own for a minute.
const PORTS_PER_SOURCE: usize = 20_000;
const SECOND_NS: u64 = 1_000_000_000;

/// Lets them play until they are to leave.
pub(crate) fn run(
    options: &Players,
    targets: &[Target],
    stage: &Stage,
    gauges: &Gauges,
) -> io::Result<Tally> {
    let mut crowd = Crowd::new(options, targets)?;
    let mut events = Events::with_capacity(1024);
    loop {
        let now = net::now_ns();
        let act = stage.act();
        crowd.connect_due(now);
        crowd.churn(now, act);
        crowd.sweep(now, act);
        if now >= crowd.second_ns {
            crowd.second(now, stage);
        }
        crowd.tell(gauges, now);
        if act >= Act::Leaving || net::stopped() {
            return Ok(crowd.end(now));
        }
        let wait = crowd.next_ns().min(now + LOOK_NS).saturating_sub(net::now_ns());
        match crowd.poll.poll(&mut events, Some(Duration::from_nanos(wait))) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            Err(_) => continue,
            Ok(()) => {}
        }
        let now = net::now_ns();
        crowd.ready(&events, now, act);
        // A ramp is not held up; and what is measured is all that comes.
        if crowd.is_up() && !events.is_empty() {
            std::thread::sleep(Duration::from_nanos((now + REST_NS).saturating_sub(net::now_ns())));
        }
    }
}

struct Crowd<'o> {
    options: &'o Players,
    targets: &'o [Target],
    sources: u8,
    poll: Poll,
    /// One place for each; `None` if its connect failed at once.
    players: Vec<Option<Player>>,
    scratch: Vec<u8>,
    start_ns: u64,
    sweep_ns: u64,
    second_ns: u64,
    /// Since when players leave and come, and how many have.
    churn_since_ns: Option<u64>,
    churned: u64,
    tally: Tally,
    /// Latencies of this second.
    second: Times,
}

impl<'o> Crowd<'o> {
    fn new(options: &'o Players, targets: &'o [Target]) -> io::Result<Crowd<'o>> {
        let start_ns = net::now_ns();
        Ok(Crowd {
            options,
            targets,
            sources: options.sources.unwrap_or_else(|| sources(options.players, options.churn)),
            poll: Poll::new()?,
            players: Vec::with_capacity(options.players),
            scratch: vec![0; SCRATCH_BYTES],
            start_ns,
            sweep_ns: start_ns,
            second_ns: start_ns + SECOND_NS,
            churn_since_ns: None,
            churned: 0,
            tally: Tally::default(),
            second: Times::default(),
        })
    }

    /// Whether all have started, or failed to.
    fn is_up(&self) -> bool {
        self.tally.ramp_ns > 0
    }

    fn connect_due(&mut self, now: u64) {
        for _ in 0..MAX_CONNECTS_PER_TURN {
            if self.players.len() >= self.options.players || self.connect_due_ns() > now {
                break;
            }
            let player = self.connect(self.players.len(), false);
            self.players.push(player);
        }
        let all = self.options.players as u64;
        if !self.is_up()
            && self.players.len() as u64 == all
            && self.tally.outcome.started + self.tally.outcome.failed >= all
        {
            self.tally.ramp_ns = (now - self.start_ns).max(1);
        }
    }

    fn connect_due_ns(&self) -> u64 {
        self.start_ns + (self.players.len() as f64 / self.options.ramp * 1e9) as u64
    }

    fn connect(&mut self, index: usize, late_comer: bool) -> Option<Player> {
        let target = &self.targets[index % self.targets.len()];
        let source = match target.address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() && self.sources > 1 => {
                Some(Ipv4Addr::new(127, 0, 0, 1 + (index % usize::from(self.sources)) as u8))
            }
            _ => None,
        };
        let habit = match self.options.readers {
            _ if sampled(index, self.options.players, self.options.sampled()) => Habit::Sampled,
            Readers::Prompt => Habit::Prompt,
            Readers::Late => Habit::Swept,
            Readers::Slow { .. } => Habit::Slow,
            Readers::Stuck => Habit::Stuck,
        };
        let receive_buffer = match habit {
            Habit::Sampled => None,
            Habit::Swept => Some(self.options.rcvbuf.unwrap_or(LATE_RCVBUF_BYTES)),
            Habit::Prompt | Habit::Slow | Habit::Stuck => self.options.rcvbuf,
        };
        let now = net::now_ns();
        let opened = net::connect(target.address, source, receive_buffer).and_then(|socket| {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(index), both)?;
            Ok((socket, wire_for(target, now)?))
        });
        let player: io::Result<(Socket, Box<dyn Wire>)> = opened;
        match player {
            Ok((socket, wire)) => Some(Player::new(socket, wire, habit, late_comer, now)),
            Err(error) => {
                self.tally.outcome.fail(format!("connect: {error}"));
                None
            }
        }
    }

    /// Replaces those whose turn it is to leave, in the order of their places.
    ///
    /// Between two polls, so that no event of the one who left is taken for one of the next in the place.
    fn churn(&mut self, now: u64, act: Act) {
        let Some(rate) = self.options.churn else { return };
        if !self.is_up() || act < Act::Settling || self.players.is_empty() {
            return;
        }
        let since_ns = *self.churn_since_ns.get_or_insert(now);
        let due = ((now - since_ns) as f64 / 1e9 * rate) as u64;
        for _ in 0..MAX_CONNECTS_PER_TURN.min(due.saturating_sub(self.churned) as usize) {
            let index = (self.churned % self.players.len() as u64) as usize;
            self.churned += 1;
            match &mut self.players[index] {
                // It has not even started: its place is left to it.
                Some(player) if !player.is_playing() && !player.is_over() => continue,
                Some(player) => player.leave(&mut self.tally),
                None => {}
            }
            self.players[index] = None;
            self.players[index] = self.connect(index, true);
        }
    }

    /// Reads those that are not waited for.
    fn sweep(&mut self, now: u64, act: Act) {
        let (every_ns, most) = match self.options.readers {
            Readers::Late => (LATE_SWEEP_NS, usize::MAX),
            Readers::Slow { bytes_per_second } => {
                (SLOW_SWEEP_NS, (bytes_per_second * SLOW_SWEEP_NS / SECOND_NS).max(1) as usize)
            }
            Readers::Prompt | Readers::Stuck => return,
        };
        if now < self.sweep_ns {
            return;
        }
        self.sweep_ns += every_ns.max((now - self.sweep_ns) / every_ns * every_ns);
        let mut turn =
            Turn { now, window: act == Act::Window, tally: &mut self.tally, second: &mut self.second };
        for player in self.players.iter_mut().flatten() {
            player.sweep(most, &mut self.scratch, &mut turn);
        }
    }

    /// What is done once a second.
    fn second(&mut self, now: u64, stage: &Stage) {
        self.second_ns += SECOND_NS.max((now - self.second_ns) / SECOND_NS * SECOND_NS);
        let limit_ns = self.options.connect_timeout.as_nanos() as u64;
        for player in self.players.iter_mut().flatten().filter(|p| p.is_overdue(now, limit_ns)) {
            player.end("did not start in time".into(), &mut self.tally);
        }
        if self.targets.iter().any(|t| t.scheme == Scheme::Rtmp) {
            let turn = ((now - self.start_ns) / SECOND_NS) as usize % ACKNOWLEDGE_SECONDS;
            for player in self.players.iter_mut().skip(turn).step_by(ACKNOWLEDGE_SECONDS).flatten() {
                player.acknowledge(&mut self.tally);
            }
        }
        stage.latency().add_all(&self.second);
        self.second.clear();
    }

    fn ready(&mut self, events: &Events, now: u64, act: Act) {
        let mut turn =
            Turn { now, window: act == Act::Window, tally: &mut self.tally, second: &mut self.second };
        for event in events {
            let Token(index) = event.token();
            if let Some(Some(player)) = self.players.get_mut(index) {
                player.ready(event, self.poll.registry(), &mut self.scratch, &mut turn);
            }
        }
    }

    fn tell(&self, gauges: &Gauges, now: u64) {
        gauges.tell(self.tally.playing, &self.tally.outcome, self.tally.bytes);
        Gauges::set(&gauges.gaps, self.tally.gaps);
        if self.is_up() && now > self.start_ns {
            gauges.up.store(true, Ordering::Release);
        }
    }

    /// When the next connect, sweep, departure or second is due.
    fn next_ns(&self) -> u64 {
        let connect =
            if self.players.len() < self.options.players { self.connect_due_ns() } else { u64::MAX };
        let sweep = match self.options.readers {
            Readers::Late | Readers::Slow { .. } => self.sweep_ns,
            Readers::Prompt | Readers::Stuck => u64::MAX,
        };
        let churn = match (self.options.churn, self.churn_since_ns) {
            (Some(rate), Some(since_ns)) => since_ns + ((self.churned + 1) as f64 / rate * 1e9) as u64,
            _ => u64::MAX,
        };
        connect.min(sweep).min(churn).min(self.second_ns)
    }

    fn end(mut self, now: u64) -> Tally {
        for player in self.players.iter().flatten().filter(|p| p.is_playing()) {
            self.tally.silent(player.silence_ns(now));
        }
        self.tally.last_saw_ns = self.tally.last_saw_ns.saturating_sub(self.start_ns);
        self.tally
    }
}

/// How many source addresses so many players need.
fn sources(players: usize, churn: Option<f64>) -> u8 {
    // TCP's TIME-WAIT is a minute.
    let resting = churn.map_or(0, |rate| (rate * 60.0) as usize);
    (players + resting).div_ceil(PORTS_PER_SOURCE).clamp(1, 250) as u8
}

/// Whether player `index` of `players` is one of the `sample`, which are spread evenly.
fn sampled(index: usize, players: usize, sample: usize) -> bool {
    let upto = |i: usize| i * sample.min(players) / players.max(1);
    upto(index + 1) > upto(index)
}

fn wire_for(target: &Target, seed: u64) -> io::Result<Box<dyn Wire>> {
    Ok(match target.scheme {
        Scheme::Raw => Box::new(Raw::default()),
        Scheme::Http => Box::new(HttpFlv::new(target)),
        Scheme::Rtmp => Box::new(Caller::new(target, Wish::Play, seed).map_err(io::Error::other)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_spread_and_complete() {
        let of = |players, sample| (0..players).filter(|i| sampled(*i, players, sample)).collect::<Vec<_>>();
        assert_eq!(of(10, 2), [4, 9]);
        assert_eq!(of(1, 10), [0]);
        assert_eq!(of(3, 0), [0usize; 0]);
        assert_eq!(of(1000, 10).len(), 10);
    }

    #[test]
    fn ports_suffice_for_those_who_play_and_those_who_left() {
        assert_eq!((sources(1, None), sources(20_000, None), sources(20_001, None)), (1, 1, 2));
        assert_eq!(sources(1000, Some(1000.0)), 4);
    }
}
