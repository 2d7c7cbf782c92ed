//! The events on disk: what a backend is still to be told survives the process.
//!
//! A file of lines, one record of JSON each, only ever appended to. Before a backend is asked whether a client may publish,
//! the on_unpublish that it is owed from then on is written down; whoever is killed in between finds it at the next
//! start. What is over makes the file longer, too; when that is most of it, the rest is written anew beside it and put
//! in its place.
//!
//! Written is what the kernel has: a killed process loses nothing, a machine without power the last seconds.

use super::backlog::Event;
use super::notice::Notice;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::oneshot;

/// In the folder of the configuration.
const FILE: &str = "hooks.jsonl";
/// What is over may take this much, and as much as the rest, before the file is written anew.
const SLACK_BYTES: usize = 1 << 20;
/// Calls for writing that may wait; beyond that the disk is too slow, and what is not written is told.
const QUEUED: usize = 4096;
/// A line longer than this is none of ours.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// Why there is no spool.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It is in use.
    #[error("hooks.spool {0}: another server has it")]
    Locked(PathBuf),
    /// It cannot be read or written.
    #[error("hooks.spool {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
}

/// An on_unpublish that a backend is owed once it was asked whether a client may publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// The number of the on_publish.
    pub publish: u64,
    /// What to tell.
    pub notice: Notice,
    /// Where.
    pub urls: Vec<String>,
    /// How long one attempt may take.
    pub timeout_ms: u64,
    /// How long it is tried.
    pub retry_for_ms: u64,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// Numbers up to this one are taken.
    Numbers(u64),
    /// A publish is about to be asked for.
    Owed(Box<Owed>),
    /// It was not permitted: nothing is owed.
    Settled(u64),
    /// An event; one that ends a publish pays what was owed.
    Event {
        /// It.
        event: Box<Event>,
        /// The publish that it ends.
        publish: Option<u64>,
    },
    /// All have it, or it was given up.
    Done(u64),
}

/// What is left of all records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The highest number.
    pub last_number: u64,
    /// By the number of the publish.
    pub owed: BTreeMap<u64, Owed>,
    /// By number.
    pub events: BTreeMap<u64, Event>,
}

impl Ledger {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Numbers(number) => self.last_number = self.last_number.max(number),
            Record::Owed(owed) => {
                self.last_number = self.last_number.max(owed.publish);
                self.owed.insert(owed.publish, *owed);
            }
            Record::Settled(publish) => _ = self.owed.remove(&publish),
            Record::Event { event, publish } => {
                self.last_number = self.last_number.max(event.number);
                publish.and_then(|publish| self.owed.remove(&publish));
                self.events.insert(event.number, *event);
            }
            Record::Done(number) => _ = self.events.remove(&number),
        }
    }

    /// Reads lines; how many are none of ours. The last one may be torn: the process was killed while it wrote.
    pub fn read(lines: impl BufRead) -> io::Result<(Ledger, usize)> {
        let mut ledger = Ledger::default();
        let mut bad = 0;
        let mut lines = lines;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = io::Read::take(&mut lines, MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok((ledger, bad));
            }
            match serde_json::from_slice(&line) {
                Ok(record) if line.ends_with(b"\n") => ledger.apply(record),
                _ => bad += 1,
            }
        }
    }

    fn records(&self) -> impl Iterator<Item = Record> {
        let owed = self.owed.values().map(|owed| Record::Owed(Box::new(owed.clone())));
        let event = |event: &Event| Record::Event { event: Box::new(event.clone()), publish: None };
        [Record::Numbers(self.last_number)].into_iter().chain(owed).chain(self.events.values().map(event))
    }
}

fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

struct Job {
    records: Vec<Record>,
    written: Option<oneshot::Sender<bool>>,
}

/// The file, with a thread that writes it.
#[derive(Clone)]
pub struct Spool(SyncSender<Job>);

impl Spool {
    /// Opens the file in a folder, which is made if it is not there; what it holds.
    pub fn open(dir: &Path) -> Result<(Spool, Ledger), SpoolError> {
        let path = dir.join(FILE);
        let failed = |error| SpoolError::Io(path.clone(), error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        // Locked is a file that stays, not the one that is written anew.
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::Locked(path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let (ledger, bad) = match File::open(&path) {
            Ok(file) => Ledger::read(BufReader::new(file)).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Ledger::default(), 0),
            Err(error) => return Err(failed(error)),
        };
        if bad > 0 {
            log::warn!(
                "hooks.spool {}: {bad} line(s) passed over; the last one of a killed process may be torn",
                path.display()
            );
        }
        let journal = Journal::anew(path.clone(), ledger.clone(), lock).map_err(failed)?;
        let (jobs, queue) = sync_channel(QUEUED);
        let thread = std::thread::Builder::new().name("hooks-spool".to_owned());
        thread.spawn(move || journal.write_all(&queue)).map_err(failed)?;
        Ok((Spool(jobs), ledger))
    }

    /// Appends records, without waiting for it; false if there is no room to.
    pub fn write(&self, records: Vec<Record>) -> bool {
        self.0.try_send(Job { records, written: None }).is_ok()
    }

    /// Appends a record; the receiver says whether that is done, or that nobody will.
    pub fn write_surely(&self, record: Record) -> oneshot::Receiver<bool> {
        let (written, done) = oneshot::channel();
        let _ = self.0.try_send(Job { records: vec![record], written: Some(written) });
        done
    }
}

struct Journal {
    path: PathBuf,
    file: File,
    ledger: Ledger,
    bytes: usize,
    /// What the file had when it was written anew.
    bytes_anew: usize,
    _lock: File,
}

impl Journal {
    fn anew(path: PathBuf, ledger: Ledger, lock: File) -> io::Result<Journal> {
        let (file, bytes) = write_anew(&path, &ledger)?;
        Ok(Journal { path, file, ledger, bytes, bytes_anew: bytes, _lock: lock })
    }

    fn write_all(mut self, queue: &Receiver<Job>) {
        let mut is_failing = false;
        while let Ok(Job { records, written }) = queue.recv() {
            let done = self.append(records);
            if let Err(error) = &done
                && !is_failing
            {
                log::error!("hooks.spool {}: {error}", self.path.display());
            }
            is_failing = done.is_err();
            if let Some(written) = written {
                let _ = written.send(done.is_ok());
            }
        }
    }

    fn append(&mut self, records: Vec<Record>) -> io::Result<()> {
        let lines: Vec<u8> = records.iter().map(line).collect::<io::Result<Vec<_>>>()?.concat();
        records.into_iter().for_each(|record| self.ledger.apply(record));
        if self.bytes + lines.len() > 2 * self.bytes_anew + SLACK_BYTES {
            (self.file, self.bytes) = write_anew(&self.path, &self.ledger)?;
            self.bytes_anew = self.bytes;
            return Ok(());
        }
        let written = self.file.write_all(&lines);
        if written.is_err() {
            // Half a line would spoil the next one.
            self.file.set_len(self.bytes as u64)?;
            self.file.seek(io::SeekFrom::Start(self.bytes as u64))?;
        }
        written?;
        self.bytes += lines.len();
        Ok(())
    }
}

fn write_anew(path: &Path, ledger: &Ledger) -> io::Result<(File, usize)> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&beside)?;
    let lines = ledger.records().map(|record| line(&record)).collect::<io::Result<Vec<_>>>()?.concat();
    file.write_all(&lines)?;
    file.sync_data()?;
    std::fs::rename(&beside, path)?;
    Ok((file, lines.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Hook;
    use crate::hooks::notice::tests::client;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("srs-shard-spool-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            Folder(std::env::temp_dir().join(name))
        }

        fn open(&self) -> (Spool, Ledger) {
            Spool::open(&self.0).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn owed(publish: u64) -> Owed {
        Owed {
            publish,
            notice: Notice {
                hook: Hook::OnUnpublish,
                client: client(publish, "s"),
                bytes: None,
                publish: Some(publish),
            },
            urls: vec!["http://backend/".to_owned()],
            timeout_ms: 1_000,
            retry_for_ms: 60_000,
        }
    }

    fn event(number: u64, publish: Option<u64>) -> Record {
        let event = Event {
            number,
            hook: Hook::OnUnpublish,
            urls: vec!["http://backend/".to_owned()],
            body: "{\"a\":\"\n\"}".to_owned(),
            client: "c".to_owned(),
            stream: Some("s".to_owned()),
            timeout_ms: 1_000,
            expires_ms: 5,
        };
        Record::Event { event: Box::new(event), publish }
    }

    /// The folder's lock goes with the thread, a moment after the last handle.
    fn reopen(folder: &Folder, spool: Spool) -> (Spool, Ledger) {
        drop(spool);
        for _ in 0..1_000 {
            if let Ok(opened) = Spool::open(&folder.0) {
                return opened;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        panic!("the lock stays");
    }

    #[test]
    fn what_is_owed_or_not_told_is_there_after_the_next_start() {
        let folder = Folder::new();
        let (spool, before) = folder.open();
        assert_eq!(before, Ledger::default());
        for publish in 1..=3 {
            assert!(spool.write_surely(Record::Owed(Box::new(owed(publish)))).blocking_recv().unwrap());
        }
        assert!(spool.write(vec![Record::Settled(1), event(4, Some(2)), event(5, None), Record::Done(5)]));
        let (spool, ledger) = reopen(&folder, spool);
        assert_eq!(ledger.last_number, 5);
        assert_eq!(ledger.owed.into_values().collect::<Vec<_>>(), [owed(3)]);
        assert_eq!(ledger.events.keys().collect::<Vec<_>>(), [&4]);
        assert!(spool.write(vec![Record::Settled(3), Record::Done(4)]));
        let (_spool, ledger) = reopen(&folder, spool);
        assert_eq!(ledger, Ledger { last_number: 5, ..Ledger::default() }, "numbers are not given twice");
    }

    #[test]
    fn two_servers_do_not_share_one() {
        let folder = Folder::new();
        let (_spool, _) = folder.open();
        let again = Spool::open(&folder.0).err().unwrap();
        assert!(matches!(again, SpoolError::Locked(_)), "{again}");
    }

    #[test]
    fn a_torn_line_is_passed_over_and_the_rest_holds() {
        let mut lines =
            [event(1, None), event(2, None)].iter().flat_map(|r| line(r).unwrap()).collect::<Vec<_>>();
        lines.extend(b"{\"done\":1");
        let (ledger, bad) = Ledger::read(&lines[..]).unwrap();
        assert_eq!((ledger.events.len(), bad), (2, 1));
        let (ledger, bad) = Ledger::read(&b"\xff\n{\"nothing\":1}\n{\"done\":7}\n"[..]).unwrap();
        assert_eq!((ledger, bad), (Ledger::default(), 2));
    }

    #[test]
    fn a_file_of_what_is_over_is_written_anew() {
        let folder = Folder::new();
        let (spool, _) = folder.open();
        for number in 1..=20_000 {
            while !spool.write(vec![event(number, None), Record::Done(number)]) {
                std::thread::yield_now();
            }
        }
        while !spool.write_surely(event(20_001, None)).blocking_recv().unwrap_or(false) {
            std::thread::yield_now(); // no room yet
        }
        let bytes = std::fs::metadata(folder.0.join(FILE)).unwrap().len();
        assert!(bytes < 2 * SLACK_BYTES as u64, "{bytes}");
        assert_eq!(reopen(&folder, spool).1.events.keys().collect::<Vec<_>>(), [&20_001]);
    }

    proptest! {
        #[test]
        fn what_is_written_anew_means_the_same(records in proptest::collection::vec((0..5u8, 1..20u64), 0..50)) {
            let record = |(kind, number): (u8, u64)| match kind {
                0 => Record::Owed(Box::new(owed(number))),
                1 => Record::Settled(number),
                2 => event(number, None),
                3 => event(number, Some(number)),
                _ => Record::Done(number),
            };
            let mut ledger = Ledger::default();
            records.into_iter().for_each(|r| ledger.apply(record(r)));
            let lines: Vec<u8> = ledger.records().flat_map(|r| line(&r).unwrap()).collect();
            prop_assert_eq!(Ledger::read(&lines[..]).unwrap(), (ledger, 0));
        }

        #[test]
        fn no_file_is_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Ledger::read(&bytes[..]).is_ok());
        }
    }
}
