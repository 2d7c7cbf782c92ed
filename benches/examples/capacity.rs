//! The capacity model: fits what streams, writes and bytes cost a shard to the runs of `benches/capacity.sh`, holds it
//! against runs that it was not fitted to, and says what larger machines carry.
//!
//! CPU seconds per second of one shard: a shard, looks if it reads from a crowd, streams · stream, bytes in · in,
//! blocks · block, writes · write and bytes out · out together, and a crossing for each stream that has one to another shard.
//! Least squares of the relative errors.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the command line")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

/// Of the film that `srs-load` makes up: messages per second. With a cadence of 0 each is a write (`min_latency`).
const MESSAGES_PER_SECOND: f64 = 68.0;
/// From so many reads a second on a shard looks at its connections every 2 ms (`shards/src/crowd.rs`).
const CROWD_READS_PER_SECOND: f64 = 1000.0;
/// A run whose viewers got so much less or more than they were due, as a share, says nothing.
const LOST_OR_LATE: f64 = 0.15;
/// How much of a core may be planned with: the rest is for joins, keyframes and what else runs there.
const USABLE: f64 = 0.8;
/// What Ethernet, IP and TCP add to a full segment of 1448 bytes, gaps and preambles included.
const WIRE_OVERHEAD: f64 = 1538.0 / 1448.0;
/// A network card of 25 Gbit/s, of which so much may be planned with.
const CARD_BYTES_PER_S: f64 = 25e9 / 8.0 * 0.95 / WIRE_OVERHEAD;

/// Streams of a box that is planned for.
const STREAMS: f64 = 100.0;

/// Ticks longer than this find everything acknowledged that went before (Linux delays an acknowledgement by 40 ms).
const DELAYED_ACK_MS: f64 = 40.0;

const TERMS: usize = 8;
/// What a run did, per second: shards, shards with a crowd, streams, bytes in, blocks, writes that the kernel kept back until an
/// acknowledgement came (Nagle), writes that went out, bytes out.
type Load = [f64; TERMS];

struct Run {
    purpose: String,
    name: String,
    load: Load,
    /// CPU seconds per second.
    cpu: f64,
}

fn main() -> ExitCode {
    let Some(folder) = env::args().nth(1) else {
        eprintln!("capacity FOLDER: the reports of benches/capacity.sh");
        return ExitCode::from(2);
    };
    match read_all(Path::new(&folder)).map(|runs| report(&runs)) {
        Ok(Some(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(None) => {
            eprintln!("{folder}: not all runs of benches/capacity.sh are there");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The runs, each the median of its rounds.
fn read_all(folder: &Path) -> io::Result<Vec<Run>> {
    let mut rounds: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let Some((name, _round)) =
            stem.rsplit_once('-').filter(|_| path.extension().is_some_and(|e| e == "json"))
        else {
            continue;
        };
        let report: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let run =
            read(name, &report).map_err(|why| io::Error::other(format!("{}: {why}", path.display())))?;
        rounds.entry(name.to_owned()).or_default().push(run);
    }
    Ok(rounds.into_values().filter_map(median).collect())
}

fn median(mut runs: Vec<Run>) -> Option<Run> {
    runs.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    let at = runs.len() / 2;
    runs.into_iter().nth(at)
}

fn read(name: &str, report: &Value) -> Result<Run, String> {
    let faults = report["faults"].as_array().map_or(&[][..], Vec::as_slice);
    if let Some(fault) = faults.first() {
        return Err(format!("not without faults: {fault}"));
    }
    let (run, due) = figures(name, report).ok_or("lacks a figure")?;
    let [.., out] = run.load;
    if (out / due - 1.0).abs() > LOST_OR_LATE {
        return Err(format!("{out:.0} bytes a second reached viewers, of {due:.0}"));
    }
    Ok(run)
}

/// A run, and how many bytes a second its viewers were due.
fn figures(name: &str, report: &Value) -> Option<(Run, f64)> {
    let mut words = name.splitn(3, '-');
    let (purpose, tick_ms) = (words.next()?, words.next()?.parse::<f64>().ok()?);
    let window = report["window_seconds"].as_f64()?;
    let encoders = report["encoders"].get(0)?;
    let (streams, sent) = (encoders["streams"].as_f64()?, encoders["messages"].as_f64()?.max(1.0));
    let message_bytes = encoders["bytes"].as_f64()? / sent;
    let viewers = report["playing"].as_f64()?;
    let ticks = writes_per_second(tick_ms);
    let load = [
        1.0,
        f64::from(u8::from(streams * MESSAGES_PER_SECOND >= CROWD_READS_PER_SECOND)),
        streams,
        streams * MESSAGES_PER_SECOND * message_bytes,
        if viewers > 0.0 { streams * ticks } else { 0.0 },
        if tick_ms < DELAYED_ACK_MS { viewers * ticks } else { 0.0 },
        if tick_ms < DELAYED_ACK_MS { 0.0 } else { viewers * ticks },
        report["bytes"].as_f64()? / window,
    ];
    let cpu = report["server"]["cpu_seconds"].as_f64()? / window;
    let due = viewers * MESSAGES_PER_SECOND * message_bytes;
    Some((Run { purpose: purpose.to_owned(), name: name.to_owned(), load, cpu }, due))
}

/// Of one viewer; a tick of 0 is each message.
fn writes_per_second(tick_ms: f64) -> f64 {
    if tick_ms > 0.0 { 1000.0 / tick_ms } else { MESSAGES_PER_SECOND }
}

fn cost(load: &Load, prices: &Load) -> f64 {
    load.iter().zip(prices).map(|(n, price)| n * price).sum()
}

/// Least squares of relative errors: the normal equations, solved by elimination. None if the runs do not tell the terms
/// apart.
fn fit<'r>(runs: impl Iterator<Item = &'r Run>) -> Option<Load> {
    let mut rows = [[0.0; TERMS + 1]; TERMS];
    for run in runs {
        let scaled = run.load.map(|n| n / run.cpu);
        for (row, a) in rows.iter_mut().zip(scaled) {
            for (cell, b) in row.iter_mut().zip(scaled.iter().chain([&1.0])) {
                *cell += a * b;
            }
        }
    }
    for at in 0..TERMS {
        let pivot = (at..TERMS).max_by(|a, b| rows[*a][at].abs().total_cmp(&rows[*b][at].abs()))?;
        rows.swap(at, pivot);
        let lead = rows[at];
        if lead[at] == 0.0 {
            return None;
        }
        for (_, row) in rows.iter_mut().enumerate().filter(|(other, _)| *other != at) {
            let factor = row[at] / lead[at];
            row.iter_mut().zip(lead).for_each(|(cell, lead)| *cell -= factor * lead);
        }
    }
    Some(std::array::from_fn(|at| rows[at][TERMS] / rows[at][at]))
}

fn report(runs: &[Run]) -> Option<String> {
    let of = |purpose: &'static str| runs.iter().filter(move |run| run.purpose == purpose);
    let prices = fit(of("fit"))?;
    let [shard, looks, stream, byte_in, block, write_kept, write_out, byte_out] = prices;
    let cross = of("cross").next()?;
    // The same load on one shard is known. Half of the publishers and half of the viewers are elsewhere than their
    // stream's owner: each stream has one crossing.
    let here = of("fit").find(|run| run.name == "fit-0-pairs")?;
    let [_, _, streams, ..] = cross.load;
    let crossing = (cross.cpu - here.cpu - shard) / streams;

    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line("| What | costs |\n|---|--:|".into());
    line(format!("| a shard, with anything live | {:.1} ms/s |", shard * 1e3));
    line(format!("| looking at a crowd's connections, 500 times a second | {:.1} ms/s |", looks * 1e3));
    line(format!("| a stream's messages in ({MESSAGES_PER_SECOND} a second) | {:.0} µs/s |", stream * 1e6));
    line(format!("| a byte in | {:.2} ns |", byte_in * 1e9));
    line(format!("| a block for viewers | {:.2} µs |", block * 1e6));
    line(format!(
        "| a write to a viewer that the kernel keeps back (each message) | {:.2} µs |",
        write_kept * 1e6
    ));
    line(format!(
        "| a write to a viewer that goes out (ticks of 100 ms and more) | {:.2} µs |",
        write_out * 1e6
    ));
    line(format!("| a byte out | {:.2} ns |", byte_out * 1e9));
    line(format!(
        "| a stream's crossing to another shard ({MESSAGES_PER_SECOND} blocks a second) | {:.0} µs/s |",
        crossing * 1e6
    ));
    line(String::new());
    line("| Run | measured, ms/s | model, ms/s | ratio |\n|---|--:|--:|--:|".into());
    for run in of("fit").chain(of("check")) {
        let model = cost(&run.load, &prices);
        line(format!(
            "| {} | {:.1} | {:.1} | {:.2} |",
            run.name,
            run.cpu * 1e3,
            model * 1e3,
            model / run.cpu
        ));
    }
    line(String::new());
    line(
        "| Stream, cadence | per core | 8 cores | 64 cores | 25 Gbit/s card | first with 8 | first with 64 |"
            .into(),
    );
    line("|---|--:|--:|--:|--:|---|---|".into());
    for kbps in [250.0, 1000.0, 2500.0, 5000.0] {
        for tick_ms in [0.0, 100.0, 350.0] {
            let bytes = kbps * 125.0;
            let write = if tick_ms < DELAYED_ACK_MS { write_kept } else { write_out };
            let viewer = writes_per_second(tick_ms) * write + bytes * byte_out;
            let card = CARD_BYTES_PER_S / bytes;
            // Every shard has viewers of each stream.
            let carry = |cores: f64| {
                let blocks = writes_per_second(tick_ms) * block;
                let crossings = (cores - 1.0) * crossing * writes_per_second(tick_ms) / MESSAGES_PER_SECOND;
                let streams = STREAMS * (stream + bytes * byte_in + blocks + crossings);
                ((USABLE - shard - looks) * cores - streams).max(0.0) / viewer
            };
            let first = |cores: f64| if carry(cores) < card { "CPU" } else { "card" };
            let cadence = if tick_ms > 0.0 { format!("{tick_ms} ms") } else { "each message".into() };
            line(format!(
                "| {kbps} kbit/s, {cadence} | {:.0} | {:.0} | {:.0} | {card:.0} | {} | {} |",
                carry(1.0),
                carry(8.0),
                carry(64.0),
                first(8.0),
                first(64.0)
            ));
        }
    }
    Some(text)
}
