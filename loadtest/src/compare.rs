//! `srs-load compare`: two servers in turn, round by round, and the ratios of what they deliver and cost.

use crate::cli::{self, Readers};
use crate::conductor;
use crate::net;
use crate::report::markdown;
use crate::report::plot::Ratio;
use crate::report::{self, RunReport};
use crate::scenario::Scenario;
use crate::subject::Subject;
use serde::Serialize;
use std::fmt;
use std::io;
use std::process::ExitCode;

/// Compares and reports.
pub(crate) fn run(options: &cli::Compare) -> io::Result<ExitCode> {
    net::catch_signals()?;
    let scenario = Scenario::load(&options.scenario, &options.course)?;
    let other_scenario = match &options.other_scenario {
        Some(path) => Scenario::load(path, &options.course)?,
        None => scenario.clone(),
    };
    let server = Subject::parse(&options.server)?;
    let other = Subject::parse(&options.other)?.beside(&server);
    let server = server.beside(&other);
    let fewest = scenario.all_players().min(other_scenario.all_players());
    if options.few.is_some_and(|few| few >= fewest) {
        return Err(io::Error::other("--few: must be fewer players than the scenario has"));
    }
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        let measure = |subject: &Subject, scenario: &Scenario| -> io::Result<Runs> {
            let one = |scenario: &Scenario| {
                let players = scenario.all_players();
                report::say(format_args!(
                    "round {round} of {}: {}, {players} players",
                    options.rounds,
                    subject.name()
                ));
                run_once(subject, scenario)
            };
            let few = options.few.map(|few| one(&scenario.with_players(few))).transpose()?;
            Ok(Runs { few, many: one(scenario)? })
        };
        // Who goes first alternates.
        let (a, b) = if round % 2 == 1 {
            let a = measure(&server, &scenario)?;
            (a, measure(&other, &other_scenario)?)
        } else {
            let b = measure(&other, &other_scenario)?;
            (measure(&server, &scenario)?, b)
        };
        rounds.push((a, b));
    }
    let groups = scenario.players.iter().chain(&other_scenario.players);
    let readers: Vec<Readers> = groups.map(|group| group.readers).collect();
    let mut names = [server.name(), other.name()];
    if let Some(path) = &options.other_scenario {
        names =
            [(0, &options.scenario), (1, path)].map(|(i, path)| format!("{} ({})", names[i], path.display()));
    }
    let comparison = Comparison::new(names, &readers, rounds);
    report::write(&comparison, scenario.course.json.as_deref())?;
    if let Some(folder) = &scenario.course.report {
        comparison.write_markdown(folder, &options.scenario.display().to_string())?;
    }
    Ok(if comparison.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts a server, loads it, and ends it.
pub(crate) fn run_once(subject: &Subject, scenario: &Scenario) -> io::Result<RunReport> {
    let (mut running, here) = subject.start(scenario)?;
    let report = conductor::conduct(&here, &running.pids())?;
    if net::stopped() {
        return Err(io::Error::from(io::ErrorKind::Interrupted));
    }
    running.check(&subject.name())?;
    Ok(report)
}

/// One server in one round.
struct Runs {
    /// With fewer players, if slopes are wanted.
    few: Option<RunReport>,
    many: RunReport,
}

/// What is compared: its name, how it is told, and how it is read.
struct Figure {
    name: &'static str,
    digits: usize,
    read: fn(&Runs) -> Option<f64>,
}

const FIGURES: &[Figure] = &[
    Figure { name: "CPU per player and second, µs", digits: 1, read: cpu_us },
    Figure { name: "CPU of the server, % of a core", digits: 1, read: cpu_percent },
    Figure { name: "user memory per player, B", digits: 0, read: user_bytes },
    Figure { name: "kernel memory per player, B", digits: 0, read: kernel_bytes },
    Figure { name: "resident memory, MiB", digits: 1, read: resident_mib },
    Figure { name: "first picture p50, ms", digits: 1, read: |r| r.many.first_picture.p50_ms },
    Figure { name: "first picture p99, ms", digits: 1, read: |r| r.many.first_picture.p99_ms },
    Figure { name: "all have a picture, s", digits: 2, read: all_pictures },
    Figure { name: "newcomers' first picture p99, ms", digits: 1, read: newcomers },
    Figure { name: "latency p50, ms", digits: 1, read: |r| r.many.latency.p50_ms },
    Figure { name: "latency p99, ms", digits: 1, read: |r| r.many.latency.p99_ms },
    Figure { name: "gaps over 2 s", digits: 0, read: |r| Some(r.many.gaps() as f64) },
    Figure { name: "load generator's CPU, % of a core", digits: 1, read: own_percent },
    Figure { name: "others' CPU, % of a core", digits: 1, read: others_percent },
];

fn per_second(cpu_seconds: f64, run: &RunReport) -> f64 {
    cpu_seconds / run.window_seconds.max(1e-9)
}

/// The slope between few and many players, or what many cost divided by their number.
fn cpu_us(runs: &Runs) -> Option<f64> {
    let of = |run: &RunReport| Some(per_second(run.server?.cpu_seconds, run) * 1e6);
    let many = of(&runs.many)?;
    match &runs.few {
        Some(few) => Some((many - of(few)?) / (runs.many.playing as f64 - few.playing as f64)),
        None if runs.many.playing > 0 => Some(many / runs.many.playing as f64),
        None => None,
    }
}

fn cpu_percent(runs: &Runs) -> Option<f64> {
    Some(per_second(runs.many.server?.cpu_seconds, &runs.many) * 100.0)
}

fn user_bytes(runs: &Runs) -> Option<f64> {
    let server = runs.many.server?;
    match &runs.few {
        Some(few) => {
            let more = server.memory.anonymous_bytes as f64 - few.server?.memory.anonymous_bytes as f64;
            Some(more / (runs.many.playing as f64 - few.playing as f64))
        }
        None if runs.many.playing > 0 => server.anonymous_bytes_per_player,
        None => None,
    }
}

fn kernel_bytes(runs: &Runs) -> Option<f64> {
    (runs.many.playing > 0).then_some(runs.many.tcp_memory_bytes_per_player)
}

fn resident_mib(runs: &Runs) -> Option<f64> {
    Some(runs.many.server?.memory.rss_bytes as f64 / f64::from(1 << 20))
}

/// When the last group's last player had one.
fn all_pictures(runs: &Runs) -> Option<f64> {
    let each = runs.many.players.iter().map(|group| group.all_pictures_seconds);
    each.reduce(|a, b| Some(a?.max(b?))).flatten()
}

fn newcomers(runs: &Runs) -> Option<f64> {
    runs.many.players.iter().filter_map(|group| group.later_first_picture.p99_ms).reduce(f64::max)
}

fn own_percent(runs: &Runs) -> Option<f64> {
    Some(per_second(runs.many.own_cpu_seconds, &runs.many) * 100.0)
}

fn others_percent(runs: &Runs) -> Option<f64> {
    Some(per_second(runs.many.other_cpu_seconds, &runs.many) * 100.0)
}

/// A figure of both servers over all rounds.
#[derive(Clone, Debug, Serialize)]
struct Row {
    figure: &'static str,
    #[serde(skip)]
    digits: usize,
    /// Of each round, the server's and the other's.
    rounds: Vec<[Option<f64>; 2]>,
    /// Medians.
    server: Option<f64>,
    other: Option<f64>,
    /// Median, least and greatest of the rounds' ratios; `None` if a round has none.
    ratio: Option<[f64; 3]>,
}

impl Row {
    fn new(figure: &Figure, rounds: &[(Runs, Runs)]) -> Row {
        let rounds: Vec<_> = rounds.iter().map(|(a, b)| [(figure.read)(a), (figure.read)(b)]).collect();
        let side = |i: usize| median(rounds.iter().filter_map(|pair| pair[i]).collect());
        let ratios: Option<Vec<f64>> = rounds
            .iter()
            .map(|pair| match pair {
                [Some(a), Some(b)] if *b > 0.0 => Some(a / b),
                _ => None,
            })
            .collect();
        let ratio = ratios.and_then(|ratios| {
            let least = ratios.iter().copied().reduce(f64::min)?;
            let greatest = ratios.iter().copied().reduce(f64::max)?;
            Some([median(ratios)?, least, greatest])
        });
        Row { figure: figure.name, digits: figure.digits, server: side(0), other: side(1), ratio, rounds }
    }

    fn is_told(&self) -> bool {
        self.server.is_some() || self.other.is_some()
    }
}

/// Two servers, compared.
#[derive(Clone, Debug, Serialize)]
struct Comparison {
    names: [String; 2],
    readers: Vec<String>,
    rows: Vec<Row>,
    /// What should not have been, in any run.
    faults: Vec<String>,
    #[serde(skip)]
    last: Option<[RunReport; 2]>,
}

impl Comparison {
    fn new(names: [String; 2], readers: &[Readers], mut rounds: Vec<(Runs, Runs)>) -> Comparison {
        let rows = FIGURES.iter().map(|figure| Row::new(figure, &rounds)).filter(Row::is_told).collect();
        let mut faults = Vec::new();
        for (i, (a, b)) in rounds.iter().enumerate() {
            for (name, runs) in [(&names[0], a), (&names[1], b)] {
                let all = runs.few.iter().chain([&runs.many]).flat_map(|run| &run.faults);
                faults.extend(all.map(|fault| format!("round {}, {name}: {fault}", i + 1)));
            }
        }
        let last = rounds.pop().map(|(a, b)| [a.many, b.many]);
        let mut told: Vec<String> = readers.iter().map(Readers::to_string).collect();
        told.dedup();
        Comparison { names, readers: told, rows, faults, last }
    }

    fn table(&self) -> String {
        let [server, other] = &self.names;
        let mut text = format!("| | {server} | {other} | ratio (range) |\n|---|--:|--:|--:|");
        for row in &self.rows {
            let number = |n: Option<f64>| n.map_or("–".into(), |n| format!("{n:.*}", row.digits));
            let ratio = row.ratio.map_or("–".into(), |[median, least, greatest]| {
                format!("**{median:.2}** ({least:.2}–{greatest:.2})")
            });
            text +=
                &format!("\n| {} | {} | {} | {ratio} |", row.figure, number(row.server), number(row.other));
        }
        text
    }

    fn write_markdown(&self, folder: &std::path::Path, title: &str) -> io::Result<()> {
        let ratios: Vec<Ratio> = self
            .rows
            .iter()
            .filter_map(|row| {
                let [median, least, greatest] = row.ratio?;
                Some(Ratio { name: row.figure.into(), median, least, greatest })
            })
            .collect();
        let [server, other] = &self.names;
        let runs: Vec<_> =
            self.last.iter().flat_map(|[a, b]| [(server.clone(), a), (other.clone(), b)]).collect();
        let title = format!("{title}: {server} against {other}");
        markdown::write_comparison(folder, &title, &self.to_string(), &ratios, &runs)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.rows.first().map_or(0, |row| row.rounds.len());
        writeln!(f, "Medians of {rounds} rounds, {} readers.\n", self.readers.join(", "))?;
        f.write_str(&self.table())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n\nFAULT: {fault}"))
    }
}

/// The middle value, or the mean of the two in the middle; `None` of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procstat::Memory;
    use crate::report::Server;
    use crate::times::Percentiles;

    fn run(playing: u64, window_seconds: f64, cpu_seconds: f64, anonymous_bytes: u64) -> RunReport {
        let memory = Memory { anonymous_bytes, ..Memory::default() };
        RunReport {
            playing,
            window_seconds,
            server: Some(Server {
                cpu_seconds,
                cpu_us_per_player_second: 0.0,
                memory,
                anonymous_bytes_per_player: Some(5000.0),
                rss_at_tenth_bytes: None,
            }),
            latency: Percentiles { p99_ms: Some(7.0), ..Percentiles::default() },
            ..RunReport::default()
        }
    }

    #[test]
    fn a_slope_leaves_out_what_is_spent_without_players() {
        // 0.1 s of CPU a second idle, and 100 µs per player and second; windows of different length.
        let few = run(100, 10.0, (0.1 + 100.0 * 100e-6) * 10.0, 1_000_000 + 100 * 4096);
        let many = run(1000, 20.0, (0.1 + 1000.0 * 100e-6) * 20.0, 1_000_000 + 1000 * 4096);
        let without = Runs { few: None, many: many.clone() };
        assert!(cpu_us(&without).is_some_and(|us| (us - 200.0).abs() < 1e-6));
        assert_eq!(user_bytes(&without), Some(5000.0));
        let slope = Runs { few: Some(few), many };
        assert!(cpu_us(&slope).is_some_and(|us| (us - 100.0).abs() < 1e-6));
        assert_eq!(user_bytes(&slope), Some(4096.0));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was half as fast in the second round, for both.
        let rounds = [(1.0, 2.0), (2.0, 4.0), (1.2, 2.0)]
            .map(|(a, b)| [a, b].map(|cpu| Runs { few: None, many: run(1000, 10.0, cpu, 0) }))
            .map(|[a, b]| (a, b));
        let comparison = Comparison::new(["ours".into(), "theirs".into()], &[Readers::Late], rounds.into());
        let cpu = &comparison.rows[0];
        let [median, least, greatest] = cpu.ratio.expect("all rounds have both");
        assert!((median - 0.5).abs() < 1e-9 && (least - 0.5).abs() < 1e-9 && (greatest - 0.6).abs() < 1e-9);
        let told = comparison.to_string();
        assert!(told.contains("3 rounds, late readers") && told.contains("**0.50** (0.50–0.60)"), "{told}");
        assert!(told.contains("| ours | theirs |") && !told.contains("newcomers"), "{told}");
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
