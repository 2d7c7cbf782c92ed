//! The log: the `log` facade, written by one thread, so that a shard never waits for a disk or a terminal.
//!
//! A line is formatted where it arises and put into a bounded queue; when the queue is full the line is
//! dropped and counted, and the count is logged as soon as there is room. The form is SRS's:
//! `[2026-01-31 13:00:00.123][Trace][PID][CLIENT] text`. Text that peers chose can neither forge a line
//! nor drive a terminal: control characters are escaped.
//!
//! What is logged: `RUST_LOG` in Rust's words if it is set, else what [`Settings`] say for our own crates,
//! and warnings of the others. Whom a line is about is said by [`Client`]. [`Throttle`] is for trouble that repeats.

mod client;
mod line;
mod settings;

pub use client::{Client, Followed};
pub use line::MAX_LINE_BYTES;
pub use settings::{Levels, Settings};

use jiff::tz::TimeZone;
use line::Head;
use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Lines that may wait for the writer; with [`MAX_LINE_BYTES`] this bounds the queue to 16 MiB.
pub const MAX_QUEUED_LINES: usize = 4096;

/// How much the writer gathers for one write.
const MAX_WRITE_BYTES: usize = 64 << 10;

/// Nobody waits longer than this for the log when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How often [`Throttle`] lets the same trouble through.
const THROTTLE_INTERVAL: Duration = Duration::from_secs(1);

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Standard error, in colour if it is a terminal.
    Console,
    /// A file, appended to; its directory is made if it is missing.
    File(PathBuf),
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("log file {file}: cannot be opened: {source}")]
    Open {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The writer's thread cannot be started.
    #[error("log writer: cannot be started: {0}")]
    Thread(io::Error),
    /// A process has one log.
    #[error("log: there is one already")]
    Twice,
}

/// The running log; dropping it waits (at most a second) until what was logged is written.
#[derive(Debug)]
pub struct LogHandle {
    queue: Queue,
    /// `RUST_LOG` says what is logged, whatever the configuration does.
    is_overridden: bool,
}

impl LogHandle {
    /// Starts the log of the process. Call it before threads are pinned: the writer keeps the mask of its
    /// maker.
    pub fn install(settings: Settings, sink: Sink) -> Result<Self, LogError> {
        let to_file = sink != Sink::Console;
        let log = Self::install_with(std::env::var("RUST_LOG").ok().as_deref(), settings, sink)?;
        // In the form of every other line, and in the name of the client whose task it was.
        let standard = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            log::error!("{panic}");
            if to_file {
                standard(panic);
            }
        }));
        Ok(log)
    }

    /// [`LogHandle::install`], told what `RUST_LOG` says.
    fn install_with(rust_log: Option<&str>, settings: Settings, sink: Sink) -> Result<Self, LogError> {
        let mut builder = env_filter::Builder::new();
        let wanted = rust_log.filter(|text| !text.trim().is_empty());
        let parsed = wanted.map(|text| builder.try_parse(text).map(|b| b.build()));
        let (filter, trouble) = match parsed {
            Some(Ok(filter)) => (Some(filter), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let colour = sink == Sink::Console && io::stderr().is_terminal();
        let queue = start_writer(Output::open(sink)?)?;
        let max = filter.as_ref().map_or(settings.levels.max(), env_filter::Filter::filter);
        queue.shared.set(settings);
        let is_overridden = filter.is_some();
        let logger = Logger { queue: queue.clone(), filter, colour };
        log::set_boxed_logger(Box::new(logger)).map_err(|_| LogError::Twice)?;
        log::set_max_level(max);
        if let Some(error) = trouble {
            log::warn!("RUST_LOG is ignored: {error}");
        }
        Ok(Self { queue, is_overridden })
    }

    /// Other settings from now on; where `RUST_LOG` is set it still says what is logged.
    pub fn set(&self, settings: Settings) {
        let max = settings.levels.max();
        self.queue.shared.set(settings);
        if !self.is_overridden {
            log::set_max_level(max);
        }
    }

    /// Opens the file anew, after it was moved away by a log rotation.
    pub fn reopen(&self) {
        self.queue.shared.reopen.store(true, Ordering::SeqCst);
        self.queue.wake();
    }

    /// A count of lines dropped, that goes on with the log.
    pub fn drops(&self) -> Drops {
        Drops(Arc::clone(&self.queue.shared))
    }

    /// Waits until what was logged is written, at most a second.
    pub fn flush(&self) {
        self.queue.flush();
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Lines that were dropped so far because the writer could not keep up or could not write.
#[derive(Clone, Debug, Default)]
pub struct Drops(Arc<Shared>);

impl Drops {
    /// How many.
    pub fn count(&self) -> u64 {
        self.0.dropped_ever.load(Ordering::Relaxed)
    }
}

/// Lets trouble that repeats through once a second, with the number of those held back.
///
/// One per kind of trouble, and per shard or object; not shared between threads. `None` from
/// [`Throttle::admit`] means: say nothing now.
#[derive(Debug, Default)]
pub struct Throttle {
    last: Cell<Option<Instant>>,
    held_back: Cell<u64>,
}

/// How often something happened that was not logged; prints as nothing for 0, so it can end any line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats(pub u64);

impl Throttle {
    /// A throttle that has seen nothing.
    pub const fn new() -> Self {
        Self { last: Cell::new(None), held_back: Cell::new(0) }
    }

    /// The trouble happened: whether to log it now, and how many of its kind were held back before.
    pub fn admit(&self, now: Instant) -> Option<Repeats> {
        if self.is_closed(now) {
            self.held_back.set(self.held_back.get().saturating_add(1));
            return None;
        }
        self.last.set(Some(now));
        Some(Repeats(self.held_back.take()))
    }

    /// What was held back and should be told now that a second has passed, though the trouble is over;
    /// for a sweep.
    pub fn leftover(&self, now: Instant) -> Option<Repeats> {
        if self.held_back.get() == 0 || self.is_closed(now) {
            return None;
        }
        self.last.set(Some(now));
        Some(Repeats(self.held_back.take()))
    }

    fn is_closed(&self, now: Instant) -> bool {
        self.last.get().is_some_and(|last| now.saturating_duration_since(last) < THROTTLE_INTERVAL)
    }
}

impl fmt::Display for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            n => write!(f, " (and {n} more like it)"),
        }
    }
}

/// What the `log` macros call.
struct Logger {
    queue: Queue,
    /// From `RUST_LOG`.
    filter: Option<env_filter::Filter>,
    colour: bool,
}

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        match &self.filter {
            Some(filter) => filter.enabled(metadata),
            None => metadata.level() <= self.queue.shared.style().settings.levels.of(metadata.target()),
        }
    }

    fn log(&self, record: &log::Record<'_>) {
        let wanted = match &self.filter {
            Some(filter) => filter.matches(record),
            None => self.enabled(record.metadata()),
        };
        if wanted {
            let style = self.queue.shared.style();
            self.queue.push(style.line(record.level(), record.target(), record.args(), self.colour));
        }
    }

    fn flush(&self) {
        self.queue.flush();
    }
}

/// How lines look, and which there are: what a reload may change, and what comes of it.
#[derive(Debug)]
struct Style {
    settings: Settings,
    zone: TimeZone,
    pid: u32,
}

impl Style {
    fn new(settings: Settings) -> Style {
        let zone = if settings.utc { TimeZone::UTC } else { TimeZone::system() };
        Style { settings, zone, pid: std::process::id() }
    }

    fn line(&self, level: log::Level, target: &str, text: &fmt::Arguments<'_>, colour: bool) -> String {
        let client = match Client::current() {
            Client::NOBODY => "0".to_owned(),
            Client(number) => (self.settings.name_client)(number),
        };
        let head =
            Head { now: SystemTime::now(), zone: &self.zone, level, pid: self.pid, client: &client, colour };
        head.line((!settings::is_ours(target)).then_some(target), text)
    }
}

/// The way to the writer.
#[derive(Clone, Debug)]
struct Queue {
    /// An empty line wakes the writer and nothing else.
    lines: SyncSender<String>,
    shared: Arc<Shared>,
}

/// What the writer and the others both see.
#[derive(Debug)]
struct Shared {
    style: RwLock<Arc<Style>>,
    queued: AtomicU64,
    written: AtomicU64,
    /// Dropped and not yet told.
    dropped: AtomicU64,
    dropped_ever: AtomicU64,
    reopen: AtomicBool,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            style: RwLock::new(Arc::new(Style::new(Settings::new(log::LevelFilter::Info)))),
            queued: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            dropped_ever: AtomicU64::new(0),
            reopen: AtomicBool::new(false),
        }
    }
}

impl Shared {
    /// Nobody holds the lock for longer than this or [`Shared::set`] take.
    fn style(&self) -> Arc<Style> {
        Arc::clone(&self.style.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, settings: Settings) {
        let style = Arc::new(Style::new(settings));
        *self.style.write().unwrap_or_else(PoisonError::into_inner) = style;
    }

    fn drop_lines(&self, count: u64) -> u64 {
        self.dropped_ever.fetch_add(count, Ordering::Relaxed);
        self.dropped.fetch_add(count, Ordering::SeqCst)
    }
}

impl Queue {
    fn push(&self, line: String) {
        // Counted first: `flush` must not see more written than queued.
        self.shared.queued.fetch_add(1, Ordering::SeqCst);
        if self.lines.try_send(line).is_err() {
            self.shared.written.fetch_add(1, Ordering::SeqCst);
            if self.shared.drop_lines(1) == 0 {
                // The writer may have emptied the queue in between and would sleep on the count.
                self.wake();
            }
        }
    }

    fn wake(&self) {
        // A full queue means that the writer is awake.
        let _ = self.lines.try_send(String::new());
    }

    fn flush(&self) {
        let target = self.shared.queued.load(Ordering::SeqCst);
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        while self.shared.written.load(Ordering::SeqCst) < target && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn start_writer(output: Output) -> Result<Queue, LogError> {
    let (sender, lines) = sync_channel(MAX_QUEUED_LINES);
    let queue = Queue { lines: sender, shared: Arc::default() };
    let shared = queue.shared.clone();
    thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || write_lines(&lines, &shared, output))
        .map_err(LogError::Thread)?;
    Ok(queue)
}

/// The writer: until the last sender is gone, takes what there is and writes it in one piece.
fn write_lines(lines: &Receiver<String>, shared: &Shared, mut output: Output) {
    let mut batch = String::new();
    while let Ok(first) = lines.recv() {
        batch.clear();
        let mut count = 0;
        for text in std::iter::once(first).chain(std::iter::from_fn(|| lines.try_recv().ok())) {
            count += u64::from(!text.is_empty());
            batch.push_str(&text);
            if batch.len() >= MAX_WRITE_BYTES {
                break;
            }
        }
        if shared.reopen.swap(false, Ordering::SeqCst)
            && let Err(error) = output.reopen()
        {
            report(shared, &mut batch, &format_args!("{error}; going on with the old file"));
        }
        let dropped = shared.dropped.swap(0, Ordering::SeqCst);
        if dropped > 0 {
            report(
                shared,
                &mut batch,
                &format_args!("{dropped} lines dropped: the log could not be written in time"),
            );
        }
        if output.writer.write_all(batch.as_bytes()).is_err() {
            // A full disk: what is lost is told when there is room again.
            shared.dropped.fetch_add(dropped, Ordering::SeqCst);
            shared.drop_lines(count);
        }
        shared.written.fetch_add(count, Ordering::SeqCst);
    }
}

/// A line of the writer's own.
fn report(shared: &Shared, batch: &mut String, text: &fmt::Arguments<'_>) {
    batch.push_str(&shared.style().line(log::Level::Warn, module_path!(), text, false));
}

/// Where the writer writes.
struct Output {
    writer: Box<dyn Write + Send>,
    /// The file to open anew, if it is one.
    path: Option<PathBuf>,
}

impl Output {
    fn open(sink: Sink) -> Result<Self, LogError> {
        match sink {
            Sink::Console => Ok(Self { writer: Box::new(io::stderr()), path: None }),
            Sink::File(path) => Ok(Self { writer: Box::new(open_file(&path)?), path: Some(path) }),
        }
    }

    fn reopen(&mut self) -> Result<(), LogError> {
        if let Some(path) = &self.path {
            self.writer = Box::new(open_file(path)?);
        }
        Ok(())
    }
}

fn open_file(path: &Path) -> Result<File, LogError> {
    let open = || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        File::options().create(true).append(true).open(path)
    };
    open().map_err(|source| LogError::Open { file: path.display().to_string(), source })
}

#[cfg(test)]
mod tests;
