//! A group of encoders, each sending the film at its pace with continuous timestamps; some leave and come again.
//!
//! All streams share the film; a stream is its connection, its place in the film and what its socket has not
//! taken. A heap tells whose turn is next, and at a turn a stream sends, leaves or comes.

use crate::cli::{Encoders, Leave};
use crate::film::Film;
use crate::net::{self, Moved};
use crate::pace::Pacer;
use crate::stage::{Act, Gauges, Outcome, Stage};
use crate::stamp;
use crate::target::Target;
use crate::wire::rtmp::{Caller, Wish};
use crate::wire::{Event, Wire};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::Socket;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A stream whose server takes nothing is cut when this much waits for it.
const MAX_WAITING_BYTES: usize = 16 << 20;
/// Servers tell publishers little.
const SCRATCH_BYTES: usize = 64 << 10;
/// Acts are noticed within this time.
const LOOK_NS: u64 = 50_000_000;
/// A stream that is not live after this time has failed.
const START_NS: u64 = 10_000_000_000;
/// Connects started in one turn.
const MAX_CONNECTS_PER_TURN: usize = 64;

/// What was counted over all encoders of a group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Now.
    pub(crate) live: usize,
    pub(crate) outcome: Outcome,
    /// Media messages sent, preludes not counted.
    pub(crate) messages: u64,
    /// Their payloads.
    pub(crate) bytes: u64,
    /// By how much the latest message missed its time.
    pub(crate) latest_ns: u64,
}

/// Publishes until the stage is over.
pub(crate) fn run(
    options: &Encoders,
    targets: &[Target],
    film: Film,
    stage: &Stage,
    gauges: &Gauges,
) -> io::Result<Tally> {
    let mut studio = Studio {
        options,
        film,
        poll: Poll::new()?,
        attempts: 0,
        streams: Vec::with_capacity(targets.len()),
        targets,
        due: BinaryHeap::new(),
        scratch: vec![0; SCRATCH_BYTES],
        start_ns: net::now_ns(),
        tally: Tally::default(),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        let now = net::now_ns();
        studio.connect_due(now);
        studio.take_turns(now);
        studio.tell(gauges);
        if stage.act() == Act::Over {
            return Ok(studio.end());
        }
        let wait = studio.next_ns().min(now + LOOK_NS).saturating_sub(net::now_ns());
        match studio.poll.poll(&mut events, Some(Duration::from_nanos(wait))) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            Err(_) => continue,
            Ok(()) => {}
        }
        for event in &events {
            studio.ready(event);
        }
    }
}

/// One place for a stream, whose encoder may be away.
struct Stream {
    /// Changes with each connection and each absence: a turn that was due to an earlier one is void.
    take: u32,
    encoder: Option<Encoder>,
    /// When it leaves, if it does.
    until_ns: u64,
}

impl Stream {
    /// Nobody is there any more, and nothing that was due is.
    fn vacate(&mut self) -> Option<Encoder> {
        self.take += 1;
        self.encoder.take()
    }
}

struct Encoder {
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
}

/// A turn that is due: when, of which stream, and of which of its connections.
type Due = Reverse<(u64, usize, u32)>;

struct Studio<'o> {
    options: &'o Encoders,
    targets: &'o [Target],
    film: Film,
    poll: Poll,
    attempts: usize,
    streams: Vec<Stream>,
    due: BinaryHeap<Due>,
    scratch: Vec<u8>,
    start_ns: u64,
    tally: Tally,
}

impl Studio<'_> {
    fn connect_due(&mut self, now: u64) {
        for _ in 0..MAX_CONNECTS_PER_TURN {
            if self.attempts >= self.targets.len() || self.connect_due_ns() > now {
                return;
            }
            let index = self.attempts;
            self.attempts += 1;
            self.streams.push(Stream { take: 0, encoder: None, until_ns: u64::MAX });
            self.connect(index);
        }
    }

    fn connect_due_ns(&self) -> u64 {
        self.start_ns + (self.attempts as f64 / self.options.ramp * 1e9) as u64
    }

    fn connect(&mut self, index: usize) {
        let target = &self.targets[index];
        let now = net::now_ns();
        let both = Interest::READABLE | Interest::WRITABLE;
        let opened = Caller::new(target, Wish::Publish, now).map_err(io::Error::other).and_then(|caller| {
            let socket = net::connect(target.address, None, None)?;
            self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(index), both)?;
            Ok((socket, caller))
        });
        let stream = &mut self.streams[index];
        stream.take += 1;
        match opened {
            Ok((socket, caller)) => {
                stream.encoder = Some(Encoder {
                    socket,
                    caller,
                    state: State::Connecting,
                    pacer: Pacer::new(0),
                    out: Vec::new(),
                    sent: 0,
                });
                // By then it is live, or has failed.
                self.due.push(Reverse((now + START_NS, index, stream.take)));
            }
            Err(error) => self.lose(index, error.to_string()),
        }
    }

    fn ready(&mut self, event: &mio::event::Event) {
        let Token(index) = event.token();
        let Some(stream) = self.streams.get_mut(index) else { return };
        let Some(encoder) = &mut stream.encoder else { return };
        let mut result = Ok(());
        if encoder.state == State::Connecting && (event.is_writable() || event.is_error()) {
            result = encoder.connected();
        }
        if result.is_ok() && event.is_writable() {
            result = encoder.flush();
        }
        if result.is_ok() && (event.is_readable() || event.is_read_closed()) {
            let was = encoder.state;
            result = encoder.read(&mut self.scratch);
            if was != State::Live && encoder.state == State::Live {
                encoder.begin(&self.film);
                self.tally.outcome.started += 1;
                self.tally.live += 1;
                stream.until_ns = until_ns(self.options, index, self.targets.len(), stream.take);
                let due_ns = encoder.pacer.due_ns(&self.film.pace).min(stream.until_ns);
                self.due.push(Reverse((due_ns, index, stream.take)));
            }
        }
        if let Err(why) = result {
            self.lose(index, why);
        }
    }

    /// Lets each stream do what is due.
    fn take_turns(&mut self, now: u64) {
        while let Some(&Reverse((due_ns, index, take))) = self.due.peek()
            && due_ns <= now
        {
            self.due.pop();
            let stream = &mut self.streams[index];
            if stream.take != take {
                continue;
            }
            match &mut stream.encoder {
                None => self.connect(index),
                Some(encoder) if encoder.state != State::Live => {
                    self.lose(index, "did not start in time".into())
                }
                Some(encoder) if now >= stream.until_ns => {
                    encoder.leave(self.options.leave);
                    stream.vacate();
                    self.tally.live -= 1;
                    self.tally.outcome.left += 1;
                    self.come_again(index);
                }
                Some(encoder) if encoder.pacer.due_ns(&self.film.pace) > now => {}
                Some(_) => self.send(index, now),
            }
        }
    }

    /// Sends a live stream's next message.
    fn send(&mut self, index: usize, now: u64) {
        let stream = &mut self.streams[index];
        let Some(encoder) = &mut stream.encoder else { return };
        let late_ns = now.saturating_sub(encoder.pacer.due_ns(&self.film.pace));
        self.tally.latest_ns = self.tally.latest_ns.max(late_ns);
        self.tally.bytes += encoder.send_next(&mut self.film) as u64;
        self.tally.messages += 1;
        let due_ns = encoder.pacer.due_ns(&self.film.pace).min(stream.until_ns);
        self.due.push(Reverse((due_ns, index, stream.take)));
        let result = match encoder.flush() {
            Ok(()) if encoder.out.len() - encoder.sent > MAX_WAITING_BYTES => {
                Err("the server does not read".into())
            }
            other => other,
        };
        if let Err(why) = result {
            self.lose(index, why);
        }
    }

    /// A stream's connection is gone, against its will.
    fn lose(&mut self, index: usize, why: String) {
        let lost = self.streams[index].vacate();
        if lost.as_ref().is_some_and(|encoder| encoder.state == State::Live) {
            self.tally.live -= 1;
            self.tally.outcome.close(why);
        } else {
            self.tally.outcome.fail(why);
        }
        // One that comes and goes tries again, as an encoder does.
        if self.options.on.is_some() {
            self.come_again(index);
        }
    }

    fn come_again(&mut self, index: usize) {
        let at_ns = net::now_ns() + self.options.off.as_nanos() as u64;
        self.due.push(Reverse((at_ns, index, self.streams[index].take)));
    }

    fn tell(&self, gauges: &Gauges) {
        gauges.tell(self.tally.live, &self.tally.outcome, self.tally.bytes);
        let all = self.targets.len() as u64;
        if self.attempts as u64 == all && self.tally.outcome.started + self.tally.outcome.failed >= all {
            gauges.up.store(true, Ordering::Release);
        }
    }

    fn next_ns(&self) -> u64 {
        let connect = if self.attempts < self.targets.len() { self.connect_due_ns() } else { u64::MAX };
        connect.min(self.due.peek().map_or(u64::MAX, |Reverse((due_ns, ..))| *due_ns))
    }

    fn end(mut self) -> Tally {
        for encoder in self.streams.iter_mut().filter_map(|stream| stream.encoder.as_mut()) {
            encoder.leave(Leave::Close);
        }
        self.tally
    }
}

/// When a stream that is live now leaves. The first time the encoders are spread over the interval, so that they do not all
/// leave at once.
fn until_ns(options: &Encoders, index: usize, of: usize, take: u32) -> u64 {
    let Some(on) = options.on else { return u64::MAX };
    let on_ns = on.as_nanos() as u64;
    let share = if take == 1 { (index as u64 + 1) * on_ns / of.max(1) as u64 } else { on_ns };
    net::now_ns() + share
}

impl Encoder {
    fn connected(&mut self) -> Result<(), String> {
        if let Ok(Some(error)) | Err(error) = self.socket.take_error() {
            return Err(format!("connect: {error}"));
        }
        // An encoder's message must not wait for the last one's acknowledgement.
        let _ = self.socket.set_tcp_nodelay(true);
        self.state = State::Starting;
        self.caller.connected(&mut self.out, &mut |_| {}).map_err(|e| e.to_string())
    }

    fn read(&mut self, scratch: &mut [u8]) -> Result<(), String> {
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

    fn leave(&mut self, how: Leave) {
        match how {
            Leave::Close => {
                self.caller.finish(&mut self.out);
                let _ = self.flush();
            }
            // Closed with nothing to linger for, a socket is reset (socket(7): SO_LINGER).
            Leave::Cut => drop(self.socket.set_linger(Some(Duration::ZERO))),
        }
    }
}
