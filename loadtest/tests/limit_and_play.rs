//! `limit` and `play` against each other over loopback: every player gets a whole stretch of the stream.
//!
//! The raw stream numbers its messages and derives every byte from the number, and the sampled players check all
//! of it; here every player is sampled, and a reader of the test's own checks the bytes up to the very end.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

fn srs_load(arguments: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_srs-load"))
        .args(arguments.split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("srs-load starts")
}

fn report(child: Child) -> serde_json::Value {
    let output = child.wait_with_output().expect("srs-load ends");
    serde_json::from_slice(&output.stdout).expect("the report is JSON")
}

/// An address that nobody else uses, with a port below those of outgoing connections.
///
/// A port that the system chooses for a listener of ours would not do: another test's child holds that listener until
/// it calls exec, so connecting works while `limit` cannot bind.
fn free_address() -> SocketAddrV4 {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let ip =
        Ipv4Addr::new(127, 128 + (pid >> 8 & 63) as u8, pid as u8, TAKEN.fetch_add(1, Ordering::Relaxed));
    SocketAddrV4::new(ip, 21935)
}

fn connect(at: SocketAddrV4) -> TcpStream {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(at) {
            Ok(stream) => return stream,
            Err(e) if Instant::now() > until => panic!("limit does not listen: {e}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Checks numbers and lengths; returns how many messages there are, and the bytes behind the last whole one.
fn messages(bytes: &[u8]) -> (u64, usize) {
    let (mut at, mut first, mut count) = (0, None, 0);
    while let Some(head) = bytes.get(at..at + 12) {
        let length = u32::from_be_bytes(head[..4].try_into().expect("4 bytes")) as usize;
        let number = u64::from_be_bytes(head[4..].try_into().expect("8 bytes"));
        assert_eq!(number, *first.get_or_insert(number) + count, "at byte {at}");
        if bytes.len() < at + length {
            break;
        }
        (at, count) = (at + length, count + 1);
    }
    (count, bytes.len() - at)
}

/// Three seconds of the raw stream.
fn run(cadence: &str, readers: &str, sample: usize) {
    let at = free_address();
    let limit = srs_load(&format!("limit --listen {at} {cadence} --time 6s --json -"));
    let mut own = connect(at);
    let pid = limit.id();
    let play = srs_load(&format!(
        "play --url raw://{at} --players 40 --sample {sample} --readers {readers} --sources 4 \
         --settle 500ms --time 3s --pid {pid} --json -"
    ));
    let play = report(play);
    let mut bytes = Vec::new();
    own.read_to_end(&mut bytes).expect("limit closes in order");
    let limit = report(limit);

    let number =
        |report: &serde_json::Value, key: &str| report[key].as_u64().unwrap_or_else(|| panic!("{key}"));
    let group = &play["players"][0];
    assert_eq!(number(group, "started"), 40, "{play}");
    for none in ["failed", "closed", "broken", "gaps_over_2s"] {
        assert_eq!(number(group, none), 0, "{none}: {play}");
    }
    assert_eq!(number(&group["first_picture"], "count"), 40, "{play}");
    // Three seconds of 68 messages a second, give or take what a busy machine delays.
    let per_player = number(group, "sample_messages") / sample as u64;
    assert!((150..=260).contains(&per_player), "{per_player} messages: {play}");
    assert_eq!(group["readers"], readers);
    assert!(number(&play["latency"], "count") > 0, "{play}");
    assert!(play["server"]["memory"]["rss_bytes"].as_u64() > Some(0), "{play}");

    let (count, rest) = messages(&bytes);
    assert!(count > 0 && rest == 0, "{count} messages and {rest} bytes");
    assert!(count <= number(&limit, "messages"));
    assert_eq!(number(&limit, "accepted"), 41);
    let received = number(group, "bytes") + bytes.len() as u64;
    assert!(received <= number(&limit, "sent_bytes"), "{received}: {limit}");
}

#[test]
fn prompt_players_of_each_message() {
    run("--each", "prompt", 40);
}

#[test]
fn late_players_of_merged_messages() {
    run("--merge 100ms --nagle off", "late", 10);
}

#[test]
fn rtmp_players_get_pictures_with_their_send_time() {
    let at = free_address();
    let limit = srs_load(&format!("limit --listen {at} --protocol rtmp --time 6s --json -"));
    drop(connect(at));
    let play = report(srs_load(&format!(
        "play --url rtmp://{at}/live/s --players 30 --sample 10 --settle 500ms --time 3s --json -"
    )));
    let limit = report(limit);
    let group = &play["players"][0];
    assert_eq!(
        (&group["started"], &group["failed"], &group["closed"]),
        (&30.into(), &0.into(), &0.into()),
        "{play}"
    );
    assert_eq!(
        group["first_picture"]["count"], 30,
        "every player parses until its first key picture: {play}"
    );
    // 25 of 68 messages are pictures, and each is stamped.
    let (messages, stamps) = (group["sample_messages"].as_u64(), play["latency"]["count"].as_u64());
    let (Some(messages), Some(stamps)) = (messages, stamps) else { panic!("{play}") };
    assert!((1500..=2600).contains(&messages), "{play}");
    assert!(stamps * 68 > messages * 20 && stamps * 68 < messages * 30, "{play}");
    assert_eq!(limit["accepted"], 31, "{limit}");
}
