//! Runs a scenario: lets its groups come, measures, and lets them go.
//!
//! Each group is a thread with one event loop. The conductor only waits, reads clocks, and tells a line each second.

use crate::cli::{Encoders, Players};
use crate::encoders;
use crate::film::Film;
use crate::net;
use crate::players;
use crate::procstat::{self, Memory, Watch};
use crate::report::{self, EncodersReport, PlayersReport, RunReport, Second, Server};
use crate::scenario::Scenario;
use crate::stage::{Act, Gauges, Stage};
use crate::target::{self, Scheme, Target};
use crate::times::Times;
use std::io;
use std::sync::atomic::Ordering;
use std::thread::{self, ScopedJoinHandle, sleep};
use std::time::Duration;

/// Window, if a scenario names none.
const TIME: Duration = Duration::from_secs(30);
/// From the last player's start to the window.
const SETTLE: Duration = Duration::from_secs(3);
/// From the last stream's start to the first player.
const LEAD: Duration = Duration::from_secs(3);
/// Signals and gauges are looked at this often.
const LOOK: Duration = Duration::from_millis(20);
const SECOND_NS: u64 = 1_000_000_000;
/// Files that are open beside the sockets of players and encoders.
const OTHER_FILES: usize = 64;

/// Runs it against a server of these processes. Without a window's length, publishing alone goes on until a signal comes.
pub(crate) fn conduct(scenario: &Scenario, pids: &[u32]) -> io::Result<RunReport> {
    let crowds = scenario.players.iter().map(Crowd::new).collect::<io::Result<Vec<_>>>()?;
    let studios = scenario.encoders.iter().map(Studio::new).collect::<io::Result<Vec<_>>>()?;
    let streams: usize = studios.iter().map(|studio| studio.targets.len()).sum();
    open_files(scenario.all_players() + streams + OTHER_FILES)?;
    let settle_down = || scenario.course.pin.map_or(Ok(()), net::pin_self);
    let stage = &Stage::new();
    let mut conductor = Conductor {
        scenario,
        stage,
        crowds: &crowds,
        studios: &studios,
        pids,
        start_ns: net::now_ns(),
        told: Told { at_ns: net::now_ns(), bytes: 0, server_cpu_seconds: None },
        seconds: Vec::new(),
        tcp: TcpMemory::default(),
    };
    thread::scope(|scope| {
        let publish = |s: &Studio<'_>| {
            settle_down()?;
            encoders::run(s.options, &s.targets, s.film.clone(), stage, &s.gauges)
        };
        let play = |c: &Crowd<'_>| {
            settle_down()?;
            players::run(c.options, &c.targets, stage, &c.gauges)
        };
        let encoders: Vec<_> = studios.iter().map(|studio| scope.spawn(move || publish(studio))).collect();
        let mut players = Vec::new();
        let measured = conductor.measure(|| {
            players.extend(crowds.iter().map(|crowd| scope.spawn(move || play(crowd))));
        });
        // Whatever came of it: players first, so that none of them sees its stream end.
        stage.enter(Act::Leaving);
        let players = players.into_iter().map(joined).collect::<Vec<_>>();
        stage.enter(Act::Over);
        let encoders = encoders.into_iter().map(joined).collect::<Vec<_>>();
        let players = players.into_iter().collect::<io::Result<Vec<_>>>()?;
        let encoders = encoders.into_iter().collect::<io::Result<Vec<_>>>()?;
        Ok(conductor.report(&measured?, players, encoders))
    })
}

/// A group of players and how it fares.
struct Crowd<'s> {
    options: &'s Players,
    targets: Vec<Target>,
    gauges: Gauges,
}

impl Crowd<'_> {
    fn new(options: &Players) -> io::Result<Crowd<'_>> {
        let targets = target::targets(&options.url, options.streams)?;
        Ok(Crowd { options, targets, gauges: Gauges::default() })
    }
}

/// A group of encoders and how it fares.
struct Studio<'s> {
    options: &'s Encoders,
    targets: Vec<Target>,
    film: Film,
    gauges: Gauges,
}

impl Studio<'_> {
    fn new(options: &Encoders) -> io::Result<Studio<'_>> {
        let targets = target::targets(&options.url, options.streams)?;
        if targets.iter().any(|t| t.scheme != Scheme::Rtmp) {
            return Err(io::Error::other(format!("'{}': only rtmp:// can be published to", options.url)));
        }
        Ok(Studio { options, targets, film: Film::from(&options.source)?, gauges: Gauges::default() })
    }
}

fn open_files(needed: usize) -> io::Result<()> {
    let limit = net::raise_open_files(needed as u64);
    if limit >= needed as u64 {
        return Ok(());
    }
    Err(io::Error::other(format!("{needed} open files are needed, the limit is {limit}: ulimit -n {needed}")))
}

/// What a group counted.
fn joined<T>(handle: ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    handle.join().map_err(|_| io::Error::other("a group of players or encoders panicked"))?
}

struct Conductor<'s> {
    scenario: &'s Scenario,
    stage: &'s Stage,
    crowds: &'s [Crowd<'s>],
    studios: &'s [Studio<'s>],
    pids: &'s [u32],
    start_ns: u64,
    told: Told,
    seconds: Vec<Second>,
    tcp: TcpMemory,
}

/// Kernel memory of TCP over the window: it comes and goes with each look of late readers, so one look at it says nothing.
#[derive(Default)]
struct TcpMemory {
    looks: u64,
    sum_bytes: u64,
    greatest_bytes: u64,
}

impl TcpMemory {
    fn look(&mut self) {
        let bytes = procstat::tcp_memory_bytes();
        self.looks += 1;
        self.sum_bytes += bytes;
        self.greatest_bytes = self.greatest_bytes.max(bytes);
    }

    fn mean_bytes(&self) -> u64 {
        self.sum_bytes / self.looks.max(1)
    }
}

/// What the last progress line said, which the next one is compared with.
struct Told {
    at_ns: u64,
    bytes: u64,
    server_cpu_seconds: Option<f64>,
}

/// Figures of the server's that are read at one moment.
struct Measured {
    /// Before the first player came.
    memory_before: Option<Memory>,
    tcp_before_bytes: u64,
    window_seconds: f64,
    bytes: u64,
    /// Players that play, at the window's end.
    playing: u64,
    own_cpu_seconds: f64,
    other_cpu_seconds: f64,
    server: Option<(f64, Memory)>,
    /// The server's resident memory after the window's first tenth.
    rss_at_tenth_bytes: Option<u64>,
}

impl Conductor<'_> {
    /// From the first encoder to the window's end.
    fn measure(&mut self, let_players_come: impl FnOnce()) -> io::Result<Measured> {
        let course = &self.scenario.course;
        self.wait_for(|c| c.studios.iter().all(|s| s.gauges.up.load(Ordering::Acquire)));
        if !self.studios.is_empty() && !self.crowds.is_empty() {
            self.wait(course.lead.unwrap_or(LEAD));
        }
        let memory_before = self.server_memory();
        let tcp_before_bytes = procstat::tcp_memory_bytes();
        let_players_come();
        self.wait_for(|c| c.crowds.iter().all(|crowd| crowd.gauges.up.load(Ordering::Acquire)));
        self.stage.enter(Act::Settling);
        self.wait(course.settle.unwrap_or(SETTLE));

        self.stage.enter(Act::Window);
        let bytes = self.received_bytes();
        let own = Watch::start(&[std::process::id()])?;
        let busy = procstat::machine_busy_seconds();
        let server = if self.pids.is_empty() { None } else { Some(Watch::start(self.pids)?) };
        let since_ns = net::now_ns();
        let endless = course.time.is_none() && self.crowds.is_empty();
        let time = if endless { Duration::MAX } else { course.time.unwrap_or(TIME) };
        self.wait(time / 10);
        let rss_at_tenth_bytes = procstat::rss_bytes(self.pids);
        self.wait(time - time / 10);
        // First of all the clocks: what follows costs the server nothing, but takes time.
        let window_seconds = (net::now_ns() - since_ns) as f64 / 1e9;
        let server = server.as_ref().and_then(Watch::read);
        let own_cpu_seconds = own.read().map_or(0.0, |(cpu, _)| cpu);
        let others =
            procstat::machine_busy_seconds() - busy - own_cpu_seconds - server.map_or(0.0, |(cpu, _)| cpu);
        Ok(Measured {
            memory_before,
            tcp_before_bytes,
            window_seconds,
            bytes: self.received_bytes() - bytes,
            playing: self.crowds.iter().map(|crowd| Gauges::get(&crowd.gauges.there)).sum(),
            own_cpu_seconds,
            other_cpu_seconds: others.max(0.0),
            server,
            rss_at_tenth_bytes,
        })
    }

    fn server_memory(&self) -> Option<Memory> {
        if self.pids.is_empty() {
            None
        } else {
            Watch::start(self.pids).ok()?.read().map(|(_, memory)| memory)
        }
    }

    fn received_bytes(&self) -> u64 {
        self.crowds.iter().map(|crowd| Gauges::get(&crowd.gauges.bytes)).sum()
    }

    fn wait(&mut self, time: Duration) {
        let until_ns = net::now_ns().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.wait_for(|_| net::now_ns() >= until_ns);
    }

    /// Waits, telling a line each second; a signal ends every wait.
    fn wait_for(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) && !net::stopped() {
            sleep(LOOK);
            if self.stage.act() == Act::Window {
                self.tcp.look();
            }
            let now = net::now_ns();
            if now >= self.told.at_ns + SECOND_NS {
                self.second(now);
            }
        }
    }

    /// A second has passed: what was in it.
    fn second(&mut self, now: u64) {
        let seconds = (now - self.told.at_ns) as f64 / 1e9;
        let bytes = self.received_bytes();
        let cpu = procstat::cpu_seconds_of(self.pids);
        let latency = std::mem::take(&mut *self.stage.latency()).percentiles();
        let sum = |gauge: fn(&Gauges) -> u64| self.crowds.iter().map(|c| gauge(&c.gauges)).sum::<u64>();
        let second = Second {
            at_s: (now - self.start_ns) as f64 / 1e9,
            window: self.stage.act() == Act::Window,
            playing: sum(|g| Gauges::get(&g.there)),
            live: self.studios.iter().map(|s| Gauges::get(&s.gauges.there)).sum(),
            mbit_per_s: (bytes - self.told.bytes) as f64 * 8e-6 / seconds,
            gaps: sum(|g| Gauges::get(&g.gaps)),
            latency_p50_ms: latency.p50_ms,
            latency_p99_ms: latency.p99_ms,
            server_cpu_percent: cpu.zip(self.told.server_cpu_seconds).map(|(b, a)| (b - a) / seconds * 100.0),
            server_rss_bytes: procstat::rss_bytes(self.pids),
        };
        let (failed, closed) = (sum(|g| Gauges::get(&g.failed)), sum(|g| Gauges::get(&g.closed)));
        let lost: u64 =
            self.studios.iter().map(|s| Gauges::get(&s.gauges.failed) + Gauges::get(&s.gauges.closed)).sum();
        report::progress(&second, self.stage.act(), failed, closed, lost);
        self.told = Told { at_ns: now, bytes, server_cpu_seconds: cpu };
        self.seconds.push(second);
    }

    fn report(self, m: &Measured, players: Vec<players::Tally>, encoders: Vec<encoders::Tally>) -> RunReport {
        let (mut first_picture, mut latency) = (Times::default(), Times::default());
        for tally in &players {
            first_picture.add_all(&tally.first_picture);
            latency.add_all(&tally.latency);
        }
        let each = m.playing.max(1) as f64;
        let grown = |before: u64, after: u64| (after as f64 - before as f64) / each;
        let players: Vec<_> = self
            .crowds
            .iter()
            .zip(&players)
            .map(|(crowd, tally)| PlayersReport::new(crowd.options, tally))
            .collect();
        let encoders: Vec<_> = (self.studios.iter().zip(&encoders))
            .map(|(studio, tally)| EncodersReport::new(studio.options, studio.targets.len(), tally))
            .collect();
        let server = m.server.map(|(cpu_seconds, memory)| Server {
            cpu_seconds,
            cpu_us_per_player_second: cpu_seconds * 1e6 / m.window_seconds.max(1e-9) / each,
            memory,
            anonymous_bytes_per_player: m
                .memory_before
                .map(|b| grown(b.anonymous_bytes, memory.anonymous_bytes)),
            rss_at_tenth_bytes: m.rss_at_tenth_bytes,
        });
        let mut report = RunReport {
            window_seconds: m.window_seconds,
            players,
            encoders,
            playing: m.playing,
            bytes: m.bytes,
            first_picture: first_picture.percentiles(),
            first_picture_curve: first_picture.curve(),
            latency: latency.percentiles(),
            latency_curve: latency.curve(),
            server,
            own_cpu_seconds: m.own_cpu_seconds,
            other_cpu_seconds: m.other_cpu_seconds,
            tcp_memory_before_bytes: m.tcp_before_bytes,
            tcp_memory_bytes: self.tcp.mean_bytes(),
            tcp_memory_greatest_bytes: self.tcp.greatest_bytes,
            tcp_memory_bytes_per_player: grown(m.tcp_before_bytes, self.tcp.mean_bytes()),
            seconds: self.seconds,
            faults: Vec::new(),
        };
        report.find_faults(&self.scenario.course);
        report
    }
}
