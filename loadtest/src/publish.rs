//! `srs-load publish`: many encoders, each sending the film at its pace with continuous timestamps.
//!
//! All streams share the film; a stream is its connection, its place in the film and what its socket has not
//! taken. A heap tells whose message is due next.

use crate::cli;
use crate::film::Film;
use crate::net::{self, Moved};
use crate::pace::Pacer;
use crate::procstat;
use crate::report::{self, PublishReport};
use crate::stamp;
use crate::target::{self, Scheme, Target};
use crate::wire::rtmp::{Caller, Wish};
use crate::wire::{Event, Wire};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

/// A stream whose server takes nothing is cut when this much waits for it.
const MAX_WAITING_BYTES: usize = 16 << 20;
/// Servers tell publishers little.
const SCRATCH_BYTES: usize = 64 << 10;
const SECOND_NS: u64 = 1_000_000_000;
const MAX_REASONS: usize = 5;

/// Publishes until the time is over, all streams have ended, or a signal comes.
pub(crate) fn run(options: &cli::Publish) -> io::Result<ExitCode> {
    net::catch_signals();
    net::raise_open_files();
    let targets = target::targets(&options.url, options.streams)?;
    if targets.iter().any(|t| t.scheme != Scheme::Rtmp) {
        return Err(io::Error::other("only rtmp:// can be published to"));
    }
    let film = Film::load(&options.flv)?;
    let report = Load::new(options, targets, film)?.run()?;
    let whole = report.failed + report.closed == 0;
    report::write(&report, options.json.as_deref())?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Stream {
    socket: Socket,
    caller: Caller,
    state: State,
    pacer: Pacer,
    out: Vec<u8>,
    /// Bytes of `out` that the socket has taken.
    sent: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    Starting,
    Live,
    Over,
}

struct Load<'o> {
    options: &'o cli::Publish,
    targets: Vec<Target>,
    film: Film,
    poll: Poll,
    attempts: usize,
    streams: Vec<Stream>,
    /// Due time and index of each live stream.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    scratch: Vec<MaybeUninit<u8>>,
    start_ns: u64,
    report: PublishReport,
}

impl Load<'_> {
    fn new(options: &cli::Publish, targets: Vec<Target>, film: Film) -> io::Result<Load<'_>> {
        Ok(Load {
            options,
            film,
            poll: Poll::new()?,
            attempts: 0,
            streams: Vec::with_capacity(targets.len()),
            due: BinaryHeap::new(),
            scratch: vec![MaybeUninit::uninit(); SCRATCH_BYTES],
            start_ns: net::now_ns(),
            report: PublishReport {
                url: options.url.clone(),
                streams: targets.len(),
                ..PublishReport::default()
            },
            targets,
        })
    }

    fn run(mut self) -> io::Result<PublishReport> {
        let mut events = Events::with_capacity(1024);
        let mut progress_ns = self.start_ns + SECOND_NS;
        let end_ns = self.options.time.map(|t| self.start_ns + t.as_nanos() as u64);
        loop {
            let now = net::now_ns();
            while self.attempts < self.targets.len() && self.connect_due_ns() <= now {
                self.connect();
            }
            self.send_due(now);
            if now >= progress_ns {
                progress_ns += SECOND_NS;
                self.progress(now);
            }
            let over = self.report.failed + self.report.closed == self.targets.len();
            if over || net::stopped() || end_ns.is_some_and(|end| now >= end) {
                self.report.own_cpu_seconds = procstat::cpu_seconds(std::process::id())?;
                self.report.seconds = (now - self.start_ns) as f64 / 1e9;
                return Ok(self.report);
            }
            let connect = if self.attempts < self.targets.len() { self.connect_due_ns() } else { u64::MAX };
            let media = self.due.peek().map_or(u64::MAX, |Reverse((due, _))| *due);
            let next = connect.min(media).min(progress_ns).min(end_ns.unwrap_or(u64::MAX));
            match self.poll.poll(&mut events, Some(Duration::from_nanos(next.saturating_sub(net::now_ns()))))
            {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                Err(_) => continue,
                Ok(()) => {}
            }
            for event in &events {
                self.ready(event);
            }
        }
    }

    fn connect_due_ns(&self) -> u64 {
        self.start_ns + (self.attempts as f64 / self.options.ramp * 1e9) as u64
    }

    fn connect(&mut self) {
        let target = &self.targets[self.attempts];
        let seed = net::now_ns();
        self.attempts += 1;
        let both = Interest::READABLE | Interest::WRITABLE;
        let opened = Caller::new(target, Wish::Publish, seed).map_err(io::Error::other).and_then(|caller| {
            let socket = net::connect(target.address, None, None)?;
            let token = Token(self.streams.len());
            self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, both)?;
            Ok((socket, caller))
        });
        match opened {
            Ok((socket, caller)) => self.streams.push(Stream {
                socket,
                caller,
                state: State::Connecting,
                pacer: Pacer::new(0),
                out: Vec::new(),
                sent: 0,
            }),
            Err(e) => {
                self.report.failed += 1;
                self.reason(e.to_string());
            }
        }
    }

    fn ready(&mut self, event: &mio::event::Event) {
        let Token(index) = event.token();
        let Some(stream) = self.streams.get_mut(index) else { return };
        let mut result = Ok(());
        if stream.state == State::Connecting && (event.is_writable() || event.is_error()) {
            result = stream.connected();
        }
        if result.is_ok() && event.is_writable() {
            result = stream.flush();
        }
        if result.is_ok() && (event.is_readable() || event.is_read_closed()) {
            let was = stream.state;
            result = stream.read(&mut self.scratch);
            if was != State::Live && stream.state == State::Live {
                self.report.connected += 1;
                stream.begin(&self.film);
                self.due.push(Reverse((stream.pacer.due_ns(&self.film.pace), index)));
            }
        }
        if let Err(why) = result {
            self.end(index, why);
        }
    }

    fn send_due(&mut self, now: u64) {
        while let Some(&Reverse((due, index))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            let stream = &mut self.streams[index];
            if stream.state != State::Live {
                continue;
            }
            let bytes = stream.send_next(&mut self.film);
            self.report.messages += 1;
            self.report.bytes += bytes as u64;
            self.report.latest_ms = self.report.latest_ms.max((now - due) as f64 / 1e6);
            self.due.push(Reverse((stream.pacer.due_ns(&self.film.pace), index)));
            let result = match stream.flush() {
                Ok(()) if stream.out.len() - stream.sent > MAX_WAITING_BYTES => {
                    Err("the server does not read".into())
                }
                other => other,
            };
            if let Err(why) = result {
                self.end(index, why);
            }
        }
    }

    fn end(&mut self, index: usize, why: String) {
        let stream = &mut self.streams[index];
        match stream.state {
            State::Over => return,
            State::Live => self.report.closed += 1,
            State::Connecting | State::Starting => self.report.failed += 1,
        }
        stream.state = State::Over;
        stream.out = Vec::new();
        let _ = stream.socket.shutdown(std::net::Shutdown::Both);
        self.reason(why);
    }

    fn reason(&mut self, reason: String) {
        if self.report.reasons.len() < MAX_REASONS && !self.report.reasons.contains(&reason) {
            self.report.reasons.push(reason);
        }
    }

    fn progress(&self, now: u64) {
        let r = &self.report;
        report::progress(format_args!(
            "{:4} s  {} of {} streams live, {} failed, {} closed, {} messages, {:.1} MiB, at most {:.1} ms late",
            (now - self.start_ns) / SECOND_NS,
            r.connected - r.closed,
            r.streams,
            r.failed,
            r.closed,
            r.messages,
            r.bytes as f64 / f64::from(1 << 20),
            r.latest_ms
        ));
    }
}

impl Stream {
    fn connected(&mut self) -> Result<(), String> {
        if let Ok(Some(error)) | Err(error) = self.socket.take_error() {
            return Err(format!("connect: {error}"));
        }
        // An encoder's message must not wait for the last one's acknowledgement.
        let _ = self.socket.set_tcp_nodelay(true);
        self.state = State::Starting;
        self.caller.connected(&mut self.out, &mut |_| {}).map_err(|e| e.to_string())
    }

    fn read(&mut self, scratch: &mut [MaybeUninit<u8>]) -> Result<(), String> {
        loop {
            let (moved, bytes) = net::receive(&self.socket, scratch);
            match moved {
                Moved::Bytes(0) => return Err("closed by the server".into()),
                Moved::Bytes(_) => {
                    let mut live = false;
                    let mut on = |event| live |= event == Event::Started;
                    self.caller.feed(bytes, &mut self.out, &mut on).map_err(|e| e.to_string())?;
                    if live {
                        self.state = State::Live;
                    }
                    self.flush()?;
                }
                Moved::Nothing => return Ok(()),
                Moved::Gone => return Err("connection lost".into()),
            }
        }
    }

    /// Sends the prelude; the film begins now.
    fn begin(&mut self, film: &Film) {
        for shot in &film.prelude {
            self.caller.publish(shot.kind, 0, &shot.payload, &mut self.out);
        }
        self.pacer = Pacer::new(net::now_ns());
    }

    /// Appends the next message, stamped with the time of now; returns its length.
    fn send_next(&mut self, film: &mut Film) -> usize {
        let ms = (self.pacer.stream_us(&film.pace) / 1000) as u32;
        let shot = &mut film.shots[self.pacer.index()];
        if let Some(at) = shot.stamp_at {
            stamp::write(&mut shot.payload, at, net::now_ns());
        }
        self.caller.publish(shot.kind, ms, &shot.payload, &mut self.out);
        let bytes = shot.payload.len();
        self.pacer.step(&film.pace);
        bytes
    }

    fn flush(&mut self) -> Result<(), String> {
        while self.sent < self.out.len() {
            match net::send(&self.socket, &self.out[self.sent..]) {
                Moved::Bytes(n) => self.sent += n,
                Moved::Nothing => return Ok(()),
                Moved::Gone => return Err("connection lost".into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }
}
