//! `srs-load limit`: the least a live server can do.
//!
//! One log of the stream's last bytes, and per client an offset into it: a tick is one send per client, of the
//! bytes between its offset and the end. Nothing is allocated, counted atomically or looked up per send.

use crate::cli::{self, Protocol, Switch};
use crate::film::Film;
use crate::net::{self, Moved};
use crate::pace::{Kind, Pacer};
use crate::procstat;
use crate::report::{self, LimitReport};
use crate::stamp;
use crate::wire::raw;
use crate::wire::rtmp::{self, Host};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use socket2::Socket;
use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

/// A client that is further behind is closed.
const KEPT_BYTES: usize = 8 << 20;
/// The report goes by in this many nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;
/// So many clients it takes where it may raise its limit.
const MANY_FILES: u64 = 100_000;
/// Of the listener; those of clients that have not come to play yet are their indices.
const LISTENER: Token = Token(usize::MAX);
/// Requests of players are short.
const SCRATCH_BYTES: usize = 16 << 10;

/// Runs the server until its time is over or a signal comes.
pub(crate) fn run(options: &cli::Limit) -> io::Result<ExitCode> {
    net::catch_signals()?;
    net::raise_open_files(MANY_FILES);
    let listener = net::listen(options.listen)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&listener.as_raw_fd()), LISTENER, Interest::READABLE)?;
    let cadence = options.merge.map_or("each message".into(), |m| format!("merged at {} ms", m.as_millis()));
    let nagle = if options.nagle == Switch::On { "Nagle" } else { "TCP_NODELAY" };
    report::say(format_args!("listening on {}: {cadence}, {nagle}", options.listen));

    let mut server = Server::new(options)?;
    let mut events = Events::with_capacity(64);
    let mut progress_ns = server.start_ns + SECOND_NS;
    let end_ns = options.time.map(|t| server.start_ns + t.as_nanos() as u64);
    while !net::stopped() {
        let now = net::now_ns();
        if end_ns.is_some_and(|end| now >= end) {
            break;
        }
        server.turn(now);
        if now >= progress_ns {
            progress_ns += SECOND_NS;
            server.progress(now);
        }
        let next = server.due_ns().min(progress_ns).min(end_ns.unwrap_or(u64::MAX));
        let wait = Duration::from_nanos(next.saturating_sub(net::now_ns()));
        match poll.poll(&mut events, Some(wait)) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => {
                    while let Some(socket) = net::accept(&listener)? {
                        server.accepted(socket, options, poll.registry())?;
                    }
                }
                Token(index) => server.opening(index, poll.registry()),
            }
        }
    }
    report::write(&server.report(), options.json.as_deref())?;
    Ok(ExitCode::SUCCESS)
}

struct Server {
    film: Film,
    protocol: Protocol,
    /// RTMP clients that do not play yet.
    openings: Vec<Option<Opening>>,
    scratch: Vec<u8>,
    pacer: Pacer,
    start_ns: u64,
    /// The interval between two ticks, 0 for a tick per message.
    merge_ns: u64,
    tick_ns: u64,
    log: Log,
    clients: Vec<Client>,
    done: LimitReport,
}

/// A client that has not come to `play` yet.
struct Opening {
    socket: Socket,
    host: Host,
    /// What its socket has not taken yet.
    out: Vec<u8>,
    playing: bool,
}

struct Client {
    socket: Socket,
    /// Offset in the log of the first byte that its socket has not taken.
    at: u64,
}

impl Server {
    fn new(options: &cli::Limit) -> io::Result<Server> {
        let start_ns = net::now_ns();
        let merge_ns = options.merge.map_or(0, |m| m.as_nanos() as u64);
        let film = Film::from(&options.source)?;
        Ok(Server {
            film,
            protocol: options.protocol,
            openings: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES],
            pacer: Pacer::new(start_ns),
            start_ns,
            merge_ns,
            tick_ns: start_ns + merge_ns,
            log: Log::default(),
            clients: Vec::new(),
            done: LimitReport::default(),
        })
    }

    fn accepted(&mut self, socket: Socket, options: &cli::Limit, registry: &Registry) -> io::Result<()> {
        socket.set_tcp_nodelay(options.nagle == Switch::Off)?;
        if options.notsent_lowat > 0 {
            socket.set_tcp_notsent_lowat(options.notsent_lowat)?;
        }
        self.done.accepted += 1;
        if self.protocol == Protocol::Raw {
            self.clients.push(Client { socket, at: self.log.end() });
            return Ok(());
        }
        let free = self.openings.iter().position(Option::is_none).unwrap_or(self.openings.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&socket.as_raw_fd()), Token(free), both)?;
        let opening = Opening { socket, host: Host::new(net::now_ns()), out: Vec::new(), playing: false };
        match self.openings.get_mut(free) {
            Some(place) => *place = Some(opening),
            None => self.openings.push(Some(opening)),
        }
        Ok(())
    }

    /// A client that does not play yet is ready: lets it speak, and move to the others when it plays and all
    /// that was private to it is sent.
    fn opening(&mut self, index: usize, registry: &Registry) {
        let Some(mut opening) = self.openings.get_mut(index).and_then(Option::take) else { return };
        let goes_on = opening.read(&mut self.scratch, &self.film) && opening.flush();
        if goes_on && opening.playing && opening.out.is_empty() {
            let _ = registry.deregister(&mut SourceFd(&opening.socket.as_raw_fd()));
            self.clients.push(Client { socket: opening.socket, at: self.log.end() });
        } else if goes_on {
            self.openings[index] = Some(opening);
        }
    }

    /// When the next turn has something to do.
    fn due_ns(&self) -> u64 {
        if self.merge_ns > 0 { self.tick_ns } else { self.pacer.due_ns(&self.film.pace) }
    }

    /// Appends every message that is due; sends each, or all of them if the interval is over.
    fn turn(&mut self, now: u64) {
        while self.pacer.due_ns(&self.film.pace) <= now {
            self.append();
            if self.merge_ns == 0 {
                self.send_all();
            }
        }
        if self.merge_ns > 0 && now >= self.tick_ns {
            self.tick_ns += (now - self.tick_ns) / self.merge_ns * self.merge_ns + self.merge_ns;
            self.send_all();
        }
    }

    /// Appends the next message, as sent when it was due: a late turn counts as latency.
    fn append(&mut self) {
        let beat = self.film.pace.beats[self.pacer.index()];
        let due_ns = self.pacer.due_ns(&self.film.pace);
        self.log.make_room();
        match self.protocol {
            Protocol::Raw => {
                let key = beat.kind == Kind::Key;
                raw::write(&mut self.log.bytes, beat.bytes, self.done.messages, due_ns, key);
            }
            Protocol::Rtmp => {
                let ms = (self.pacer.stream_us(&self.film.pace) / 1000) as u32;
                let shot = &mut self.film.shots[self.pacer.index()];
                if let Some(at) = shot.stamp_at {
                    stamp::write(&mut shot.payload, at, due_ns);
                }
                rtmp::write_media(shot.kind, ms, &shot.payload, rtmp::STREAM_ID, &mut self.log.bytes);
            }
        }
        self.done.messages += 1;
        self.pacer.step(&self.film.pace);
    }

    fn send_all(&mut self) {
        let mut i = 0;
        while let Some(client) = self.clients.get_mut(i) {
            let Some(bytes) = self.log.from(client.at) else {
                self.done.overrun += 1;
                self.clients.swap_remove(i);
                continue;
            };
            if !bytes.is_empty() {
                self.done.sends += 1;
                match net::send(&client.socket, bytes) {
                    Moved::Bytes(n) => {
                        client.at += n as u64;
                        self.done.sent_bytes += n as u64;
                        self.done.short_sends += u64::from(n < bytes.len());
                    }
                    Moved::Nothing => self.done.short_sends += 1,
                    Moved::Gone => {
                        self.clients.swap_remove(i);
                        continue;
                    }
                }
            }
            i += 1;
        }
    }

    fn progress(&self, now: u64) {
        let late_ms = now.saturating_sub(self.due_ns()) as f64 / 1e6;
        report::say(format_args!(
            "{:4} s  {} clients, {} messages, {:.1} MiB sent, {} short sends, {late_ms:.1} ms late",
            (now - self.start_ns) / SECOND_NS,
            self.clients.len(),
            self.done.messages,
            self.done.sent_bytes as f64 / f64::from(1 << 20),
            self.done.short_sends,
        ));
    }

    fn report(&self) -> LimitReport {
        LimitReport {
            clients: self.clients.len(),
            stream_bytes: self.log.end(),
            own_cpu_seconds: procstat::cpu_seconds(std::process::id()).unwrap_or(0.0),
            ..self.done.clone()
        }
    }
}

impl Opening {
    /// Reads requests; false if the client is of no more use.
    fn read(&mut self, scratch: &mut [u8], film: &Film) -> bool {
        loop {
            let (moved, bytes) = net::receive(&self.socket, scratch);
            match moved {
                Moved::Nothing => return true,
                Moved::Bytes(0) | Moved::Gone => return false,
                // What a player says after `play` changes nothing here.
                Moved::Bytes(_) if self.playing => {}
                Moved::Bytes(_) => match self.host.feed(bytes, &mut self.out) {
                    Ok(false) => {}
                    Ok(true) => {
                        self.playing = true;
                        for shot in &film.prelude {
                            rtmp::write_media(shot.kind, 0, &shot.payload, rtmp::STREAM_ID, &mut self.out);
                        }
                    }
                    Err(_) => return false,
                },
            }
        }
    }

    /// Sends what waits; false if the client is gone.
    fn flush(&mut self) -> bool {
        while !self.out.is_empty() {
            match net::send(&self.socket, &self.out) {
                Moved::Bytes(n) => drop(self.out.drain(..n)),
                Moved::Nothing => return true,
                Moved::Gone => return false,
            }
        }
        true
    }
}

/// The stream's last bytes, addressed by their offset from its start.
#[derive(Debug, Default)]
struct Log {
    /// Offset of the first byte kept.
    start: u64,
    bytes: Vec<u8>,
}

impl Log {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// All bytes from an offset on; `None` if some of them are gone.
    fn from(&self, at: u64) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(at.checked_sub(self.start)?).ok()?..)
    }

    /// Drops the older half when there are twice as many bytes as are kept: a copy per [`KEPT_BYTES`].
    fn make_room(&mut self) {
        if self.bytes.len() >= 2 * KEPT_BYTES {
            let gone = self.bytes.len() - KEPT_BYTES;
            self.bytes.drain(..gone);
            self.start += gone as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_its_end() {
        let mut log = Log::default();
        for i in 0..40u8 {
            log.make_room();
            log.bytes.extend(std::iter::repeat_n(i, 1 << 20));
            let newest = log.from(log.end() - (1 << 20)).expect("the newest megabyte is kept");
            assert!(newest.len() == 1 << 20 && newest.iter().all(|b| *b == i));
            assert!(log.bytes.len() <= 2 * KEPT_BYTES + (1 << 20));
        }
        assert_eq!(log.end(), 40 << 20);
        assert_eq!(log.from(0), None);
        assert_eq!(log.from(log.end()), Some(&[][..]));
        assert_eq!(log.from(log.end() + 1), None);
    }
}
