use super::*;
use log::Log;
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// Keeps what is written, once the gate lets it; the gate opens for good when its sender is gone.
struct Slow {
    gate: Receiver<()>,
    entered: std::sync::mpsc::Sender<()>,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.entered.send(());
        let _ = self.gate.recv();
        self.kept.lock().expect("no panic in here").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writer_to(writer: impl Write + Send + 'static) -> Queue {
    start_writer(Output { writer: Box::new(writer), path: None }).expect("a thread")
}

/// A flush that waits as long as it takes on a busy machine.
fn drain(queue: &Queue) {
    let target = queue.shared.queued.load(Ordering::SeqCst);
    while queue.shared.written.load(Ordering::SeqCst) < target {
        queue.flush();
    }
}

#[test]
fn the_macros_reach_the_file_at_the_level_in_force() {
    let path = std::env::temp_dir().join(format!("srs-shard-install-{}.log", std::process::id()));
    let settings = |level| Settings::new(level);
    let install = |rust_log, sink| LogHandle::install_with(rust_log, settings(log::LevelFilter::Info), sink);
    let handle = install(Some("srs_shard=loud"), Sink::File(path.clone())).expect("the first log");
    log::info!("an event");
    log::debug!("a detail");
    handle.set(settings(log::LevelFilter::Warn));
    log::info!("another event");
    Client(77).scope(|| log::warn!("a trouble"));
    let mut other = settings(log::LevelFilter::Warn);
    other.levels = other.levels.with("rtmp", log::LevelFilter::Debug);
    other.name_client = |number| format!("<{number}>");
    handle.set(other);
    Client(78).scope(|| log::debug!(target: "srs_shard::rtmp", "an RTMP detail"));
    log::debug!(target: "srs_shard::web", "another detail");
    drain(&handle.queue);
    let text = std::fs::read_to_string(&path).expect("the log");
    std::fs::remove_file(&path).expect("our own file");
    let expected = [
        ("RUST_LOG is ignored", 1),
        ("an event", 1),
        ("a detail", 0),
        ("another", 0),
        ("[77][0] a trouble", 1),
        ("[<78>] an RTMP detail", 1),
    ];
    for (part, times) in expected {
        assert_eq!(text.matches(part).count(), times, "{part} in {text}");
    }
    assert!(matches!(install(None, Sink::Console), Err(LogError::Twice)));
    assert_eq!(handle.drops().count(), 0);
}

#[test]
fn other_crates_are_heard_from_warnings_up() {
    let queue = writer_to(io::sink());
    let logger = Logger { queue, filter: None, colour: false };
    let hears = |target, level| logger.enabled(&log::Metadata::builder().target(target).level(level).build());
    assert!(hears("srs_shard::rtmp", log::Level::Info) && hears("shards", log::Level::Info));
    assert!(!hears("srs_shard::rtmp", log::Level::Debug));
    assert!(hears("glommio::sys", log::Level::Warn));
    assert!(!hears("glommio::sys", log::Level::Info));
    assert!(!hears("shards_of_others", log::Level::Info));
}

#[test]
fn a_filter_of_rust_log_decides_alone() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (open, gate) = channel();
    drop(open);
    let output = Slow { gate, entered: channel().0, kept: kept.clone() };
    let queue = writer_to(output);
    let filter = env_filter::Builder::new().parse("warn,srs_shard::rtmp=debug").build();
    let logger = Logger { queue, filter: Some(filter), colour: false };
    for target in ["srs_shard::rtmp", "srs_shard::web"] {
        let args = format_args!("from {target}");
        logger.log(&log::Record::builder().level(log::Level::Debug).target(target).args(args).build());
    }
    drain(&logger.queue);
    let text = String::from_utf8(kept.lock().expect("kept").clone()).expect("UTF-8");
    assert!(text.contains("from srs_shard::rtmp") && !text.contains("srs_shard::web"), "{text}");
}

#[test]
fn a_stuck_writer_costs_lines_and_tells_how_many() {
    const DROPPED: usize = 100;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let ((open, gate), (entered, in_write)) = (channel(), channel());
    let output = Slow { gate, entered, kept: kept.clone() };
    let queue = writer_to(output);
    queue.push("first\n".to_owned());
    in_write.recv().expect("the writer is at its first line");
    // It is stuck there; none of these calls waits, or this test would not end.
    for n in 0..MAX_QUEUED_LINES + DROPPED {
        queue.push(format!("line {n}\n"));
    }
    assert_eq!(queue.shared.dropped_ever.load(Ordering::SeqCst), DROPPED as u64);
    drop(open);
    drain(&queue);
    let text = String::from_utf8(kept.lock().expect("kept").clone()).expect("UTF-8");
    let told = format!("{DROPPED} lines dropped: the log could not be written in time");
    assert_eq!(text.matches(&told).count(), 1);
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("dropped")).collect();
    assert_eq!(lines.len(), MAX_QUEUED_LINES + 1);
    let last = format!("line {}", MAX_QUEUED_LINES - 1);
    assert_eq!((lines[0], lines[1], lines[MAX_QUEUED_LINES]), ("first", "line 0", last.as_str()));
}

/// Fails as often as it is told to, then keeps.
struct Broken {
    failures: u32,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.kept.lock().expect("no panic in here").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_lost_to_a_full_disk_are_told_later() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let output = Broken { failures: 2, kept: kept.clone() };
    let queue = writer_to(output);
    for text in ["one\n", "two\n", "three\n"] {
        queue.push(text.to_owned());
        drain(&queue);
    }
    let text = String::from_utf8(kept.lock().expect("kept").clone()).expect("UTF-8");
    assert!(text.starts_with("three\n") && text.contains("] 2 lines dropped"), "{text}");
}

#[test]
fn a_file_is_appended_to_and_opened_anew() {
    let directory = std::env::temp_dir().join(format!("srs-shard-log-{}", std::process::id()));
    let (path, moved) = (directory.join("deep/srs.log"), directory.join("old.log"));
    let output = Output::open(Sink::File(path.clone())).expect("a file");
    let queue = start_writer(output).expect("a thread");
    let handle = LogHandle { queue, is_overridden: false };
    handle.queue.push("before\n".to_owned());
    drain(&handle.queue);
    std::fs::rename(&path, &moved).expect("rename");
    handle.reopen();
    handle.queue.push("after\n".to_owned());
    drain(&handle.queue);
    let read = |path| std::fs::read_to_string(path).expect("a file");
    let contents = (read(&moved), read(&path));
    std::fs::remove_dir_all(&directory).expect("our own directory");
    assert_eq!(contents, ("before\n".to_owned(), "after\n".to_owned()));
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let error = Output::open(Sink::File("/proc/none/x.log".into())).err().expect("no such place");
    assert!(error.to_string().starts_with("log file /proc/none/x.log: cannot be opened: "), "{error}");
}

#[test]
fn repeated_trouble_is_told_once_a_second_with_a_count() {
    let throttle = Throttle::new();
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(throttle.admit(at(0)), Some(Repeats(0)));
    assert_eq!(throttle.admit(at(1)), None);
    assert_eq!(throttle.admit(at(999)), None);
    assert_eq!(throttle.leftover(at(999)), None);
    assert_eq!(throttle.admit(at(1000)), Some(Repeats(2)));
    assert_eq!(throttle.leftover(at(5000)), None, "nothing was held back");
    assert_eq!(throttle.admit(at(1500)), None);
    assert_eq!(throttle.leftover(at(2000)), Some(Repeats(1)));
    assert_eq!(throttle.admit(at(2500)), None, "the leftover was a line too");
    assert_eq!(format!("bad chunk{}", Repeats(0)), "bad chunk");
    assert_eq!(format!("bad chunk{}", Repeats(2)), "bad chunk (and 2 more like it)");
}
