//! `srs-load play`: many players, read in bulk.
//!
//! Prompt players wait in one epoll set, edge-triggered, and are read once per edge; late ones are swept every
//! [`SWEEP_NS`] without being waited for. Only the sample parses what it gets; the others drop their protocol as
//! soon as it has started, and from then on their bytes inside the kernel.

mod tally;

use self::tally::Tally;
use crate::cli::{self, Readers};
use crate::net::{self, Moved};
use crate::procstat::{self, Watch};
use crate::report::{self, PlayReport, Server};
use crate::target::{self, Scheme, Target};
use crate::wire::flv::HttpFlv;
use crate::wire::raw::Raw;
use crate::wire::rtmp::{self, Caller, Wish};
use crate::wire::{self, Event, Wire};
use mio::event::Event as Readiness;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::Socket;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

/// Late players are read this often.
const SWEEP_NS: u64 = 500_000_000;
/// Between two looks at the prompt players: what came meanwhile is read in one go. Without it a thousand players
/// would wake the load generator tens of thousands of times a second, at the measured server's cost too.
const REST_NS: u64 = 1_000_000;
/// One receive takes up to this much; pages that are never written cost nothing.
const SCRATCH_BYTES: usize = 1 << 20;
/// nginx closes RTMP clients from which nothing came for a minute and a half.
const ACKNOWLEDGE_SECONDS: u64 = 20;
/// Connects started in one turn, so that a storm does not starve the players that already read.
const MAX_CONNECTS_PER_TURN: usize = 64;
const SECOND_NS: u64 = 1_000_000_000;

/// Runs the players and reports.
pub(crate) fn run(options: &cli::Play) -> io::Result<ExitCode> {
    net::catch_signals();
    let targets = target::targets(&options.url, options.streams)?;
    let files = net::raise_open_files();
    if files < options.players as u64 + 32 {
        let why = format!(
            "{} players need {} open files, the limit is {files}",
            options.players,
            options.players + 32
        );
        return Err(io::Error::other(why));
    }
    let report = Load::new(options, targets)?.run()?;
    let whole = report.failed + report.closed == 0;
    report::write(&report, options.json.as_deref())?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Player {
    socket: Socket,
    connect_ns: u64,
    /// When its last bytes came; when it started, before that.
    last_ns: u64,
    bytes: u64,
    state: State,
    sampled: bool,
    seen_picture: bool,
    /// `None` once a player that is not sampled has started.
    wire: Option<Box<dyn Wire>>,
    /// What its socket has not taken yet.
    out: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Starting,
    Playing,
    Over,
}

/// Where the whole run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Ramp,
    Settling { until_ns: u64 },
    Window { since_ns: u64, until_ns: u64 },
}

struct Load<'o> {
    options: &'o cli::Play,
    targets: Vec<Target>,
    poll: Poll,
    /// Connects that were tried; those that failed at once have no player.
    attempts: usize,
    players: Vec<Player>,
    scratch: Vec<MaybeUninit<u8>>,
    start_ns: u64,
    sweep_ns: u64,
    phase: Phase,
    tally: Tally,
}

/// Figures at the window's start, which its end is compared with.
struct Mark {
    bytes: u64,
    messages: u64,
    own: Watch,
    machine_busy_seconds: f64,
    server: Option<Watch>,
}

impl Load<'_> {
    fn new(options: &cli::Play, targets: Vec<Target>) -> io::Result<Load<'_>> {
        let start_ns = net::now_ns();
        Ok(Load {
            options,
            targets,
            poll: Poll::new()?,
            attempts: 0,
            players: Vec::with_capacity(options.players),
            scratch: vec![MaybeUninit::uninit(); SCRATCH_BYTES],
            start_ns,
            sweep_ns: start_ns + SWEEP_NS,
            phase: Phase::Ramp,
            tally: Tally::new(),
        })
    }

    fn run(mut self) -> io::Result<PlayReport> {
        let mut events = Events::with_capacity(1024);
        let mut progress_ns = self.start_ns + SECOND_NS;
        let mut told = 0;
        let mut mark = None;
        loop {
            let now = net::now_ns();
            self.connect_due(now);
            if self.options.how.readers == Readers::Late && now >= self.sweep_ns {
                self.sweep_ns += SWEEP_NS.max((now - self.sweep_ns) / SWEEP_NS * SWEEP_NS);
                self.sweep();
            }
            if now >= progress_ns {
                progress_ns += SECOND_NS;
                self.fail_overdue(now);
                self.acknowledge((now - self.start_ns) / SECOND_NS);
                self.progress(now, self.tally.bytes - told);
                told = self.tally.bytes;
            }
            if self.advance(now, &mut mark)? || net::stopped() {
                return Ok(self.report(now, mark));
            }
            let next = self.next_ns().min(progress_ns);
            match self.poll.poll(&mut events, Some(Duration::from_nanos(next.saturating_sub(net::now_ns()))))
            {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                Err(_) => continue,
                Ok(()) => {}
            }
            let now = net::now_ns();
            for event in &events {
                self.ready(event, now);
            }
            if self.phase != Phase::Ramp && !events.is_empty() {
                std::thread::sleep(Duration::from_nanos((now + REST_NS).saturating_sub(net::now_ns())));
            }
        }
    }

    /// When the next connect, sweep or change of phase is due.
    fn next_ns(&self) -> u64 {
        let connect = if self.attempts < self.options.players { self.connect_due_ns() } else { u64::MAX };
        let sweep = if self.options.how.readers == Readers::Late { self.sweep_ns } else { u64::MAX };
        let phase = match self.phase {
            Phase::Ramp => u64::MAX,
            Phase::Settling { until_ns } | Phase::Window { until_ns, .. } => until_ns,
        };
        connect.min(sweep).min(phase)
    }

    /// Moves on through ramp, settling and window; says whether the window is over.
    fn advance(&mut self, now: u64, mark: &mut Option<Mark>) -> io::Result<bool> {
        match self.phase {
            Phase::Ramp => {
                let tally = &self.tally;
                if self.attempts == self.options.players
                    && tally.connected + tally.failed == self.options.players
                {
                    self.tally.ramp_ns = now - self.start_ns;
                    self.phase =
                        Phase::Settling { until_ns: now + self.options.how.settle.as_nanos() as u64 };
                }
            }
            Phase::Settling { until_ns } if now >= until_ns => {
                let pids = &self.options.pid;
                *mark = Some(Mark {
                    bytes: self.tally.bytes,
                    messages: self.tally.messages,
                    own: Watch::start(&[std::process::id()])?,
                    machine_busy_seconds: procstat::machine_busy_seconds(),
                    server: if pids.is_empty() { None } else { Some(Watch::start(pids)?) },
                });
                let since_ns = net::now_ns();
                let until_ns = since_ns + self.options.how.time.as_nanos() as u64;
                self.phase = Phase::Window { since_ns, until_ns };
            }
            Phase::Window { until_ns, .. } if now >= until_ns => return Ok(true),
            _ => {}
        }
        Ok(false)
    }

    fn connect_due_ns(&self) -> u64 {
        self.start_ns + (self.attempts as f64 / self.options.ramp * 1e9) as u64
    }

    fn connect_due(&mut self, now: u64) {
        for _ in 0..MAX_CONNECTS_PER_TURN {
            if self.attempts >= self.options.players || self.connect_due_ns() > now {
                return;
            }
            self.connect(net::now_ns());
        }
    }

    fn connect(&mut self, now: u64) {
        let index = self.attempts;
        let target = &self.targets[index % self.targets.len()];
        let sampled = sampled(index, self.options.players, self.options.how.sample);
        let late = self.options.how.readers == Readers::Late && !sampled;
        let source = match target.address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() && self.options.how.sources > 1 => {
                Some(Ipv4Addr::new(127, 0, 0, 1 + (index % usize::from(self.options.how.sources)) as u8))
            }
            _ => None,
        };
        let both = Interest::READABLE | Interest::WRITABLE;
        let receive_buffer = late.then_some(self.options.how.rcvbuf);
        let opened = net::connect(target.address, source, receive_buffer).and_then(|socket| {
            let token = Token(self.players.len());
            self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, both)?;
            Ok((socket, wire_for(target, now)?))
        });
        self.attempts += 1;
        let (socket, wire) = match opened {
            Ok(opened) => opened,
            Err(e) => return self.tally.fail(format!("connect: {e}")),
        };
        self.players.push(Player {
            socket,
            connect_ns: now,
            last_ns: now,
            bytes: 0,
            state: State::Connecting,
            sampled,
            seen_picture: false,
            wire: Some(wire),
            out: Vec::new(),
        });
    }

    fn ready(&mut self, event: &Readiness, now: u64) {
        let Token(index) = event.token();
        let late = self.options.how.readers == Readers::Late;
        let Some(player) = self.players.get_mut(index) else { return };
        let tally = &mut self.tally;
        let window = matches!(self.phase, Phase::Window { .. });
        if player.state == State::Connecting && (event.is_writable() || event.is_error()) {
            player.connected(now, window, tally);
        }
        if event.is_writable() {
            player.flush(tally);
        }
        if player.state != State::Over && (event.is_readable() || event.is_read_closed()) {
            player.read(&mut self.scratch, event.is_read_closed(), now, window, tally);
        }
        if late && player.wire.is_none() && player.state == State::Playing && player.out.is_empty() {
            player.leave(self.poll.registry());
        }
    }

    /// Reads all late players.
    fn sweep(&mut self) {
        let now = net::now_ns();
        for player in &mut self.players {
            if player.state == State::Playing && !player.sampled {
                player.drain(&mut self.scratch, false, now, &mut self.tally);
            }
        }
    }

    fn fail_overdue(&mut self, now: u64) {
        let limit = self.options.connect_timeout.as_nanos() as u64;
        for player in &mut self.players {
            let waits = matches!(player.state, State::Connecting | State::Starting);
            if waits && now - player.connect_ns.min(now) > limit {
                player.end("did not start in time".into(), &mut self.tally);
            }
        }
    }

    /// Lets the RTMP players whose turn it is acknowledge what they discarded, each every [`ACKNOWLEDGE_SECONDS`].
    fn acknowledge(&mut self, second: u64) {
        if self.targets.iter().all(|t| t.scheme != Scheme::Rtmp) {
            return;
        }
        let turn = (second % ACKNOWLEDGE_SECONDS) as usize;
        for player in self.players.iter_mut().skip(turn).step_by(ACKNOWLEDGE_SECONDS as usize) {
            if player.state == State::Playing && player.wire.is_none() {
                rtmp::acknowledge(player.bytes, &mut player.out);
                player.flush(&mut self.tally);
            }
        }
    }

    fn progress(&self, now: u64, bytes: u64) {
        let phase = match self.phase {
            Phase::Ramp => "ramp",
            Phase::Settling { .. } => "settling",
            Phase::Window { .. } => "window",
        };
        report::progress(format_args!(
            "{:4} s  {phase}: {} playing, {} failed, {} closed, {:.1} Mbit/s, {} gaps; latency {}",
            (now - self.start_ns) / SECOND_NS,
            self.tally.playing,
            self.tally.failed,
            self.tally.closed,
            bytes as f64 / 125_000.0,
            self.tally.gaps,
            self.tally.latency.percentiles()
        ));
    }

    fn report(mut self, now: u64, mark: Option<Mark>) -> PlayReport {
        let since_ns = if let Phase::Window { since_ns, .. } = self.phase { since_ns } else { now };
        // First of all the clocks: what follows costs the server nothing, but takes time.
        let now = net::now_ns().max(now);
        let server = mark.as_ref().and_then(|m| m.server.as_ref()?.read());
        let own = mark.as_ref().and_then(|m| m.own.read());
        let busy = mark.as_ref().map_or(0.0, |m| procstat::machine_busy_seconds() - m.machine_busy_seconds);
        let own_cpu_seconds = own.map_or(0.0, |(cpu, _)| cpu);
        let tcp_memory_bytes = procstat::tcp_memory_bytes();
        let (bytes, messages) = (self.tally.bytes, self.tally.messages);
        for player in self.players.iter().filter(|p| p.state == State::Playing) {
            self.tally.silent(now.saturating_sub(player.last_ns));
        }
        let window_seconds = (now - since_ns) as f64 / 1e9;
        let t = &self.tally;
        PlayReport {
            url: self.options.url.clone(),
            readers: self.options.how.readers.to_string(),
            players: self.options.players,
            sample: self.players.iter().filter(|p| p.sampled).count(),
            connected: t.connected,
            failed: t.failed,
            closed: t.closed,
            broken: t.broken,
            reasons: t.reasons.clone(),
            ramp_seconds: t.ramp_ns as f64 / 1e9,
            window_seconds,
            bytes: mark.as_ref().map_or(0, |m| bytes - m.bytes),
            bytes_total: bytes,
            sample_messages: mark.as_ref().map_or(0, |m| messages - m.messages),
            first_video_frame: t.first_picture.percentiles(),
            latency: t.latency.percentiles(),
            gaps_over_2s: t.gaps,
            longest_gap_seconds: t.longest_gap_ns as f64 / 1e9,
            own_cpu_seconds,
            other_cpu_seconds: (busy - own_cpu_seconds - server.map_or(0.0, |(cpu, _)| cpu)).max(0.0),
            server: server.map(|(cpu_seconds, memory)| Server {
                cpu_seconds,
                cpu_us_per_player_second: cpu_seconds * 1e6
                    / window_seconds.max(1e-9)
                    / t.playing.max(1) as f64,
                memory,
            }),
            tcp_memory_before_bytes: t.tcp_before,
            tcp_memory_bytes,
        }
    }
}

impl Player {
    fn connected(&mut self, now: u64, window: bool, tally: &mut Tally) {
        if let Ok(Some(error)) | Err(error) = self.socket.take_error() {
            return self.end(format!("connect: {error}"), tally);
        }
        // Requests are small and must not wait for acknowledgements; it changes nothing for what is received.
        let _ = self.socket.set_tcp_nodelay(true);
        self.state = State::Starting;
        self.last_ns = now;
        self.speak(now, window, tally, |wire, out, on| wire.connected(out, on));
    }

    /// Lets the protocol speak, and acts on what it tells.
    fn speak(
        &mut self,
        now: u64,
        window: bool,
        tally: &mut Tally,
        say: impl FnOnce(&mut dyn Wire, &mut Vec<u8>, &mut dyn FnMut(Event)) -> Result<(), wire::Error>,
    ) {
        let Some(mut wire) = self.wire.take() else { return };
        let mut out = std::mem::take(&mut self.out);
        let mut on = |event| self.on_event(event, now, window, tally);
        let result = say(wire.as_mut(), &mut out, &mut on);
        self.out = out;
        if self.state != State::Playing || self.sampled {
            self.wire = Some(wire);
        }
        self.flush(tally);
        if let Err(error) = result {
            tally.broken += usize::from(matches!(error, wire::Error::Broken { .. }));
            self.end(error.to_string(), tally);
        }
    }

    fn on_event(&mut self, event: Event, now: u64, window: bool, tally: &mut Tally) {
        match event {
            Event::Started => {
                self.state = State::Playing;
                tally.connected += 1;
                tally.playing += 1;
            }
            Event::Message { picture, sent_ns } => {
                if !self.sampled {
                    return;
                }
                tally.messages += 1;
                if picture && !self.seen_picture {
                    self.seen_picture = true;
                    tally.first_picture.add_ns(now.saturating_sub(self.connect_ns));
                }
                if let (true, Some(sent)) = (window, sent_ns) {
                    tally.latency.add_ns(now.saturating_sub(sent));
                }
            }
        }
    }

    fn flush(&mut self, tally: &mut Tally) {
        while !self.out.is_empty() && self.state != State::Over {
            match net::send(&self.socket, &self.out) {
                Moved::Bytes(n) => drop(self.out.drain(..n)),
                Moved::Nothing => return,
                Moved::Gone => self.end("connection lost".into(), tally),
            }
        }
    }

    fn read(
        &mut self,
        scratch: &mut [MaybeUninit<u8>],
        to_end: bool,
        now: u64,
        window: bool,
        tally: &mut Tally,
    ) {
        while self.wire.is_some() && self.state != State::Over {
            let (moved, bytes) = net::receive(&self.socket, scratch);
            match moved {
                Moved::Bytes(0) => return self.end("closed by the server".into(), tally),
                Moved::Bytes(n) => {
                    self.got(n, now, tally);
                    self.speak(now, window, tally, |wire, out, on| wire.feed(bytes, out, on));
                    if n < SCRATCH_BYTES && !to_end {
                        return;
                    }
                }
                Moved::Nothing => return,
                Moved::Gone => return self.end("connection lost".into(), tally),
            }
        }
        self.drain(scratch, to_end, now, tally);
    }

    /// Discards what is there. With edges one short receive is enough, unless the end is to be seen (`to_end`).
    fn drain(&mut self, scratch: &mut [MaybeUninit<u8>], to_end: bool, now: u64, tally: &mut Tally) {
        while self.state == State::Playing {
            match net::discard(&self.socket, scratch) {
                Moved::Bytes(0) => self.end("closed by the server".into(), tally),
                Moved::Bytes(n) => {
                    self.got(n, now, tally);
                    if n < SCRATCH_BYTES && !to_end {
                        return;
                    }
                }
                Moved::Nothing => return,
                Moved::Gone => self.end("connection lost".into(), tally),
            }
        }
    }

    fn got(&mut self, bytes: usize, now: u64, tally: &mut Tally) {
        self.bytes += bytes as u64;
        tally.bytes += bytes as u64;
        if self.state == State::Playing {
            tally.silent(now.saturating_sub(self.last_ns));
        }
        self.last_ns = now;
    }

    /// No longer waits for readiness: a late player is only swept.
    fn leave(&mut self, registry: &Registry) {
        let _ = registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()));
    }

    fn end(&mut self, reason: String, tally: &mut Tally) {
        match self.state {
            State::Over => return,
            State::Playing => {
                tally.playing -= 1;
                tally.closed += 1;
                tally.reason(reason);
            }
            State::Connecting | State::Starting => tally.fail(reason),
        }
        self.state = State::Over;
        self.wire = None;
        self.out = Vec::new();
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
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
}
