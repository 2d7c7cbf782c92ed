//! Scenarios against the real server: what comes and goes, what reads slowly or not at all, and what is told of it.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::{env, fs};

/// A folder, and an address that nobody else uses, with the files of a server that would listen there.
struct Place {
    folder: PathBuf,
    server: PathBuf,
}

impl Place {
    fn new(shards: u16) -> Place {
        static TAKEN: AtomicU8 = AtomicU8::new(1);
        let (pid, number) = (std::process::id(), TAKEN.fetch_add(1, Ordering::Relaxed));
        let ip = Ipv4Addr::new(127, 192 + (pid >> 8 & 31) as u8, pid as u8, number);
        let folder = env::temp_dir().join(format!("srs-load-test-{pid}-{number}"));
        fs::create_dir_all(&folder).expect("a temporary folder");
        let conf = format!(
            "listen = [\"{ip}:21935\"]\n[http_server]\nenabled = true\nlisten = [\"{ip}:28080\"]\n\
             [vhost.__defaultVhost__.http_remux]\nenabled = true\nmount = [\"[vhost]/[app]/[stream].flv\"]\n"
        );
        let place = Place { server: folder.join("server.toml"), folder };
        let conf = place.file("conf.toml", &conf);
        let program = srs_shard();
        let command = format!("{} --no-pin --cores {shards} -c {}", program.display(), conf.display());
        place.file(
            "server.toml",
            &format!("name = 'ours'\ncommand = '{command}'\nrtmp = 'rtmp://{ip}:21935'\nhttp = 'http://{ip}:28080'\n"),
        );
        place
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The server's binary: built with the workspace, and here if it was not.
fn srs_shard() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_srs-load")).with_file_name("srs-shard");
    if !beside.exists() {
        let mut build = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        build.args(["build", "--quiet", "--package", "srs-shard", "--bin", "srs-shard"]);
        assert!(build.status().expect("cargo is there").success(), "the server is built");
    }
    beside
}

fn srs_load(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srs-load"));
    command.args(arguments).stdin(Stdio::null()).output().expect("srs-load runs")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain letters")
}

fn number(of: &serde_json::Value, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_else(|| panic!("{key}: {of}"))
}

#[test]
fn a_mixed_load_and_what_is_told_of_it() {
    let place = Place::new(2);
    let scenario = place.file(
        "mixed.toml",
        "settle = '500ms'\nlead = '2s'\nno_gaps = true\n\
         [[encoders]]\nurl = '{rtmp}/live/steady'\nstreams = 2\nkbps = 300\n\
         [[encoders]]\nurl = '{rtmp}/live/moody'\nstreams = 2\non = '2s'\noff = '300ms'\nleave = 'cut'\n\
         [[players]]\nurl = '{rtmp}/live/steady[0-1]'\nplayers = 20\nramp = 'all'\n\
         [[players]]\nurl = '{http}/live/steady[0-1].flv'\nplayers = 20\nreaders = 'late'\nchurn = '20/s'\n\
         [[players]]\nurl = '{rtmp}/live/moody[0-1]'\nplayers = 6\nexpendable = true\n\
         [[players]]\nurl = '{http}/live/steady0.flv'\nplayers = 3\nreaders = '40kbit/s'\nsample = 0\n\
         [[players]]\nurl = '{rtmp}/live/steady0'\nplayers = 3\nreaders = 'stuck'\n",
    );
    let out = place.folder.join("out");
    let told = srs_load(&[
        "run",
        text(&scenario),
        "--server",
        text(&place.server),
        "--time=5s",
        "--json=-",
        "--report",
        text(&out),
    ]);
    let log = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{}\n{log}", told.status);
    let report: serde_json::Value = serde_json::from_slice(&told.stdout).expect("the report is JSON");

    let [steady, moody] = &report["encoders"].as_array().expect("groups")[..] else { panic!("{report}") };
    assert_eq!(
        [number(steady, "started"), number(steady, "failed") + number(steady, "closed")],
        [2, 0],
        "{log}"
    );
    // Two encoders that leave every two seconds or so, for eight seconds.
    assert!(number(moody, "left") >= 4 && number(moody, "started") > number(moody, "left"), "{log}");
    assert_eq!(
        number(moody, "failed") + number(moody, "closed"),
        0,
        "a crashed encoder comes back at once: {log}"
    );

    let players = report["players"].as_array().expect("groups");
    let [prompt, churning, followers, slow, stuck] = &players[..] else { panic!("{report}") };
    for group in [prompt, churning, followers] {
        assert_eq!(
            number(group, "failed") + number(group, "broken") + number(group, "gaps_over_2s"),
            0,
            "{log}"
        );
    }
    assert_eq!(number(prompt, "started"), 20);
    assert_eq!(number(&prompt["first_picture"], "count"), 20, "{log}");
    assert!(prompt["all_pictures_seconds"].as_f64().is_some_and(|s| s < 3.0), "{log}");
    let (left, later) = (number(churning, "left"), number(&churning["later_first_picture"], "count"));
    assert!((60..=120).contains(&left) && later + 5 >= left, "{left} left, {later} saw a picture: {log}");
    // 40 kbit/s of a stream of 300, and what fits into the receive buffer of one that takes nothing.
    let seconds = number(slow, "bytes") as f64 / 3.0 / 5000.0;
    assert!((3.0..10.0).contains(&seconds), "slow readers took {seconds} s of their rate: {log}");
    assert!(number(stuck, "bytes") < 3 * 100_000 && number(stuck, "started") == 3, "{log}");
    assert!(slow["gaps_over_2s"].is_null() && stuck["gaps_over_2s"].is_null());
    // What was sent before a player came is no latency.
    let worst = churning["latency"]["max_ms"].as_f64().expect("samples were there");
    assert!(worst < 1500.0, "{worst} ms: {log}");
    assert!(report["seconds"].as_array().is_some_and(|seconds| seconds.len() >= 5), "{log}");

    let markdown = fs::read_to_string(out.join("report.md")).expect("a report");
    assert!(markdown.contains("| 20 | late | `http://"), "{markdown}");
    for plot in ["seconds.svg", "latency.svg", "first-picture.svg"] {
        let svg = fs::read_to_string(out.join(plot)).expect("a plot");
        assert!(
            markdown.contains(plot) && svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
            "{plot}"
        );
    }
}

#[test]
fn a_server_against_the_lower_bound() {
    let place = Place::new(1);
    let scenario = place.file(
        "each.toml",
        "time = '2s'\nsettle = '500ms'\nlead = '500ms'\n[[encoders]]\nurl = '{rtmp}/live/s'\n\
         [[players]]\nurl = '{rtmp}/live/s'\nplayers = 60\nramp = 'all'\n",
    );
    let out = place.folder.join("out");
    let told = srs_load(&[
        "compare",
        text(&scenario),
        text(&place.server),
        "limit:100ms",
        "--rounds=2",
        "--few=10",
        "--json=-",
        "--report",
        text(&out),
    ]);
    let log = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{}\n{log}", told.status);
    let report: serde_json::Value = serde_json::from_slice(&told.stdout).expect("the report is JSON");
    assert_eq!(report["names"][1], "limit (merged at 100ms, Nagle)");
    let row = |figure: &str| {
        let rows = report["rows"].as_array().expect("rows").iter();
        rows.clone().find(|row| row["figure"] == figure).unwrap_or_else(|| panic!("{figure}: {log}"))
    };
    // The lower bound sends every 100 ms, and begins anywhere in a group of pictures of 2 s.
    let latency = row("latency p50, ms");
    assert!(latency["other"].as_f64().is_some_and(|ms| (30.0..120.0).contains(&ms)), "{log}");
    assert!(latency["rounds"].as_array().is_some_and(|rounds| rounds.len() == 2));
    assert!(row("first picture p50, ms")["ratio"][0].as_f64().is_some_and(|ratio| ratio < 0.9), "{log}");
    assert!(row("CPU per player and second, µs")["rounds"][0][0].is_number(), "{log}");
    let markdown = fs::read_to_string(out.join("report.md")).expect("a report");
    assert!(markdown.contains("| ours | limit (merged at 100ms, Nagle) |"), "{markdown}");
    assert!(out.join("ratios.svg").exists() && out.join("seconds-2.svg").exists());
}

#[test]
fn what_goes_wrong_is_told_and_ends_with_its_status() {
    let place = Place::new(1);
    // A stream that is published already is refused to the second encoder.
    let twice = "time = '500ms'\nsettle = '0s'\nlead = '0s'\n\
                 [[encoders]]\nurl = '{rtmp}/live/s'\n[[encoders]]\nurl = '{rtmp}/live/s'\n";
    let scenario = place.file("twice.toml", twice);
    let told = srs_load(&["run", text(&scenario), "--server", text(&place.server)]);
    let (out, log) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!(told.status.code(), Some(1), "{log}");
    assert!(out.contains("FAULT") && out.contains("1 streams failed"), "{out}");

    let scenario = place.file("wrong.toml", "[[players]]\nurl = '{rtmp}/live/s'\nreaders = 'quick'\n");
    let told = srs_load(&["run", text(&scenario), "--server", text(&place.server)]);
    let log = String::from_utf8_lossy(&told.stderr);
    assert_eq!(told.status.code(), Some(2), "{log}");
    assert!(log.contains("wrong.toml: [[players]] number 1") && log.contains("'quick'"), "{log}");
}
