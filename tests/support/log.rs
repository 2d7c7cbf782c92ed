//! A server's log, read for what an operator would complain about: floods, and ends without a reason.

use super::server::Server;
use std::collections::HashMap;

/// Lines of one cause are held back for a second; less some time between looking at the clock and writing.
const APART_MS: u64 = 900;

/// A log.
pub struct Log {
    lines: Vec<Line>,
    shards: usize,
}

struct Line {
    /// Of the day.
    ms: u64,
    /// Level.
    head: String,
    /// Whom it is about; 0 is nobody.
    client: String,
    text: String,
}

impl Log {
    /// What a server has logged.
    pub fn of(server: &Server) -> Log {
        let text = server.log();
        Log { lines: text.lines().filter_map(Line::parse).collect(), shards: usize::from(server.shards()) }
    }

    /// Texts of lines that contain something.
    pub fn with<'a>(&'a self, part: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().map(|line| line.text.as_str()).filter(move |text| text.contains(part))
    }

    /// How often something happened that a line of which contains `part`: held back ones count too.
    pub fn times(&self, part: &str) -> u64 {
        let number = |text: &str, before| {
            text.rsplit_once(before).and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok())
        };
        let count = |text: &str| match number(text, " (and ") {
            Some(more) => 1 + more,
            None if text.ends_with(" more)") => number(text, " (").unwrap_or(1),
            None => 1,
        };
        self.with(part).map(count).sum()
    }

    /// Asserts that whoever named a stream has one line for its end, and that everything else, but what it did
    /// with that stream, is told once per cause, shard and second.
    #[track_caller]
    pub fn assert_terse(&self) {
        let mut sessions: HashMap<&str, usize> = HashMap::new();
        let mut causes: HashMap<String, Vec<&Line>> = HashMap::new();
        for line in self.lines.iter().filter(|line| !line.is_step()) {
            match line.session() {
                Some(client) => *sessions.entry(client).or_default() += 1,
                None => causes.entry(line.cause()).or_default().push(line),
            }
        }
        let twice = sessions.iter().find(|(_, lines)| **lines > 1);
        assert!(twice.is_none(), "more than one line for the client {twice:?}");
        for (cause, lines) in causes {
            for some in lines.windows(self.shards + 1) {
                let apart = some[self.shards].ms.saturating_sub(some[0].ms);
                let texts: Vec<&str> = some.iter().map(|line| line.text.as_str()).collect();
                assert!(
                    apart >= APART_MS,
                    "{cause}: {} lines in {apart} ms:\n{}",
                    some.len(),
                    texts.join("\n")
                );
            }
        }
    }
}

impl Line {
    /// `[2026-01-31 13:00:00.123][Trace][PID][CLIENT] text`, of warnings also `[ERRNO]`.
    fn parse(line: &str) -> Option<Line> {
        let (head, text) = line.strip_prefix('[')?.split_once("] ")?;
        let mut parts = head.split("][");
        let mut numbers = parts.next()?.split_once(' ')?.1.split([':', '.']);
        let mut number = || numbers.next()?.parse::<u64>().ok();
        let ms = ((number()? * 60 + number()?) * 60 + number()?) * 1000 + number()?;
        let (level, _pid, client) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Line { ms, head: level.to_owned(), client: client.to_owned(), text: text.to_owned() })
    }

    /// Whether its client begins to play or publish, or its publish begins or ends on the stream's owner.
    fn is_step(&self) -> bool {
        let of_stream = self.text.starts_with("stream ") && self.client != "0";
        of_stream || (self.text.starts_with("client ") && self.text.contains(" begins "))
    }

    /// The client whose summary this is, if it ever named a stream.
    fn session(&self) -> Option<&str> {
        let mut words = self.text.strip_prefix("client ")?.split(' ');
        let (client, _protocol, _peer) = (words.next()?, words.next()?, words.next()?);
        let is_named = self.text.contains(" sent ") && words.next()? != "-:";
        is_named.then_some(client)
    }

    /// Without what differs from time to time: words with digits, and all behind a colon but a reason.
    fn cause(&self) -> String {
        let words = self.text.split(' ').filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        let words: Vec<&str> = words.take(6).collect();
        format!("{} {}", self.head, words.join(" "))
    }
}
