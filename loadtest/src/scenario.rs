//! What a run does: groups of encoders and players, and its course; from a TOML file or from the command line.
//!
//! A file's tables hold the very options of `publish`, `play` and `run`: each key becomes `--key=value`, so there is one
//! definition, one help text and one set of error messages for both.

use crate::cli::{Course, Encoders, Players};
use clap::{Args, Parser};
use std::path::Path;
use toml::{Table, Value};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) course: Course,
    pub(crate) encoders: Vec<Encoders>,
    pub(crate) players: Vec<Players>,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{file}: {source}")]
    Read { file: String, source: std::io::Error },
    #[error("{file}: {why}")]
    Toml { file: String, why: String },
    #[error("{file}: {place}: {why}")]
    Value { file: String, place: String, why: String },
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, error.to_string())
    }
}

/// URLs of the server that a scenario runs against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// `{rtmp}`
    pub(crate) rtmp: String,
    /// `{http}`, if it serves HTTP.
    pub(crate) http: Option<String>,
}

impl Scenario {
    /// Reads a scenario file; what `over` says outranks it.
    pub(crate) fn load(path: &Path, over: &Course) -> Result<Scenario, Error> {
        let file = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { file: file.clone(), source })?;
        Scenario::parse(&file, &text, over)
    }

    /// The same of a text that is called `file`.
    pub(crate) fn parse(file: &str, text: &str, over: &Course) -> Result<Scenario, Error> {
        let mut table = read_table(file, text)?;
        let mut groups = |name: &str| -> Result<Vec<Table>, Error> {
            let wrong = || Error::Value {
                file: file.into(),
                place: name.into(),
                why: format!("write each group as a table [[{name}]]"),
            };
            let Some(value) = table.remove(name) else { return Ok(vec![]) };
            let Value::Array(tables) = value else { return Err(wrong()) };
            tables.into_iter().map(|t| if let Value::Table(t) = t { Ok(t) } else { Err(wrong()) }).collect()
        };
        let (encoders, players) = (groups("encoders")?, groups("players")?);
        let numbered = |name: &'static str| move |i: usize| format!("[[{name}]] number {}", i + 1);
        Ok(Scenario {
            course: options::<Course>(file, "at the top", &table)?.under(over),
            encoders: all_options(file, numbered("encoders"), &encoders)?,
            players: all_options(file, numbered("players"), &players)?,
        })
    }

    /// The same scenario against a server, its URLs in the place of `{rtmp}` and `{http}`.
    pub(crate) fn at(&self, addresses: &Addresses) -> std::io::Result<Scenario> {
        let mut here = self.clone();
        let urls =
            here.encoders.iter_mut().map(|e| &mut e.url).chain(here.players.iter_mut().map(|p| &mut p.url));
        for url in urls {
            *url = url.replace("{rtmp}", &addresses.rtmp);
            if url.contains("{http}") {
                let http = addresses.http.as_ref();
                let missing = || std::io::Error::other(format!("'{url}': the server has no http URL"));
                *url = url.replace("{http}", http.ok_or_else(missing)?);
            }
        }
        Ok(here)
    }

    /// The same scenario with so many players in all, each group in its proportion, and at least one.
    pub(crate) fn with_players(&self, few: usize) -> Scenario {
        let mut small = self.clone();
        let all = self.all_players().max(1);
        for group in &mut small.players {
            let sample = (group.sampled() * few).div_ceil(all);
            group.players = (group.players * few).div_ceil(all).max(1);
            group.sample = Some(sample);
        }
        small
    }

    /// Number of players in all groups.
    pub(crate) fn all_players(&self) -> usize {
        self.players.iter().map(|group| group.players).sum()
    }
}

impl Course {
    /// This one, where `over` says nothing else.
    fn under(self, over: &Course) -> Course {
        let over = over.clone();
        Course {
            time: over.time.or(self.time),
            settle: over.settle.or(self.settle),
            lead: over.lead.or(self.lead),
            pin: over.pin.or(self.pin),
            pid: if over.pid.is_empty() { self.pid } else { over.pid },
            max_growth: over.max_growth.or(self.max_growth),
            no_gaps: over.no_gaps || self.no_gaps,
            json: over.json.or(self.json),
            report: over.report.or(self.report),
        }
    }
}

/// A server that `run`, `compare` and `soak` start.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerFile {
    /// Its name in reports.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Command line, run by `sh -c`; it must stay in the foreground.
    #[arg(long)]
    pub(crate) command: String,
    /// Its RTMP URL.
    #[arg(long)]
    pub(crate) rtmp: String,
    /// Its HTTP URL, if it has one.
    #[arg(long)]
    pub(crate) http: Option<String>,
    /// The CPU it is to run on.
    #[arg(long)]
    pub(crate) pin: Option<usize>,
}

impl ServerFile {
    /// Reads a server file.
    pub(crate) fn load(path: &Path) -> Result<ServerFile, Error> {
        let file = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { file: file.clone(), source })?;
        options(&file, "at the top", &read_table(&file, &text)?)
    }
}

fn read_table(file: &str, text: &str) -> Result<Table, Error> {
    text.parse::<Table>().map_err(|e| Error::Toml { file: file.into(), why: e.to_string().trim_end().into() })
}

fn all_options<A: Args>(
    file: &str,
    place: impl Fn(usize) -> String,
    tables: &[Table],
) -> Result<Vec<A>, Error> {
    tables.iter().enumerate().map(|(i, table)| options(file, &place(i), table)).collect()
}

/// Only carries its options.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Carrier<A: Args> {
    #[command(flatten)]
    options: A,
}

/// The options that a table holds.
fn options<A: Args>(file: &str, place: &str, table: &Table) -> Result<A, Error> {
    let wrong = |why: String| Error::Value { file: file.into(), place: place.into(), why };
    let mut arguments = Vec::new();
    for (key, value) in table {
        let flag = format!("--{}", key.replace('_', "-"));
        match value {
            Value::Boolean(true) => arguments.push(flag),
            Value::Boolean(false) => {}
            value => {
                let text = text_of(value)
                    .ok_or_else(|| wrong(format!("{key}: a text, a number or a list of them")))?;
                arguments.push(format!("{flag}={text}"));
            }
        }
    }
    Carrier::<A>::try_parse_from(arguments).map(|c| c.options).map_err(|error| {
        // clap's message without its usage, which speaks of a command line.
        let told = error.to_string();
        let told = told
            .split("\n\nUsage:")
            .next()
            .unwrap_or_default()
            .split("\n\nFor more")
            .next()
            .unwrap_or_default();
        wrong(told.trim_start_matches("error: ").trim().to_owned())
    })
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Array(values) => Some(values.iter().map(text_of).collect::<Option<Vec<_>>>()?.join(",")),
        Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use std::time::Duration;

    const MIXED: &str = "
        time = '1m'
        no_gaps = true
        [[encoders]]
        url = '{rtmp}/live/s'
        streams = 10
        kbps = 500
        on = '5s'
        [[players]]
        url = '{http}/live/s[0-9].flv'
        players = 900
        readers = 'late'
        ramp = 'all'
        [[players]]
        url = '{rtmp}/live/s[0-9]'
        players = 100
        readers = '64kbit/s'
        churn = 5
    ";

    /// Nothing is said on the command line.
    fn nothing() -> Course {
        Carrier::<Course>::try_parse_from(Vec::<String>::new()).expect("all of it may be left out").options
    }

    fn parse(text: &str) -> Result<Scenario, String> {
        Scenario::parse("mixed.toml", text, &nothing()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_holds_the_options_of_the_commands() {
        let mixed = parse(MIXED).expect("a good scenario");
        assert_eq!((mixed.course.time, mixed.course.no_gaps), (Some(Duration::from_secs(60)), true));
        assert_eq!((mixed.encoders.len(), mixed.players.len(), mixed.all_players()), (1, 2, 1000));
        assert_eq!((mixed.encoders[0].source.kbps, mixed.encoders[0].off), (500, Duration::from_secs(1)));
        assert!(mixed.players[0].ramp.is_infinite() && mixed.players[0].readers == cli::Readers::Late);
        assert_eq!(mixed.players[1].churn, Some(5.0));
    }

    #[test]
    fn the_command_line_outranks_the_file() {
        let over = Course { time: Some(Duration::from_secs(5)), ..nothing() };
        let mixed = Scenario::parse("mixed.toml", MIXED, &over).expect("a good scenario");
        assert_eq!((mixed.course.time, mixed.course.no_gaps), (Some(Duration::from_secs(5)), true));
    }

    #[test]
    fn a_servers_urls_take_their_places() {
        let mixed = parse(MIXED).expect("a good scenario");
        let both = Addresses { rtmp: "rtmp://h:1".into(), http: Some("http://h:2".into()) };
        let here = mixed.at(&both).expect("both are there");
        assert_eq!(here.players[0].url, "http://h:2/live/s[0-9].flv");
        assert_eq!(here.encoders[0].url, "rtmp://h:1/live/s");
        let error = mixed.at(&Addresses { http: None, ..both }).expect_err("no HTTP").to_string();
        assert!(error.contains("{http}/live/s[0-9].flv"), "{error}");
    }

    #[test]
    fn fewer_players_keep_their_proportions() {
        let few = parse(MIXED).expect("a good scenario").with_players(100);
        let each: Vec<_> = few.players.iter().map(|p| (p.players, p.sampled())).collect();
        assert_eq!(each, [(90, 1), (10, 0)]);
    }

    #[test]
    fn mistakes_name_file_place_and_key() {
        for (text, parts) in [
            ("time = 'soon'", ["mixed.toml", "at the top", "'soon'"]),
            ("[[players]]\nurl = 'x'\nplayer = 3", ["mixed.toml", "[[players]] number 1", "--player"]),
            ("[[players]]\nplayers = 3", ["mixed.toml", "[[players]] number 1", "--url"]),
            ("[players]\nurl = 'x'", ["mixed.toml", "players", "[[players]]"]),
            ("[[encoders]]\nurl = 'x'\nflv = 'a'\nkbps = 9", ["mixed.toml", "number 1", "--kbps"]),
            ("time = 'x", ["mixed.toml", "line 1", "time"]),
        ] {
            let error = parse(text).expect_err(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
