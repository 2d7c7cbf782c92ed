//! Goal: a manager of servers is told that this one is there.
//! Method: a real web server keeps what it is sent.

use crate::support::backend::Backend;
use crate::support::server::{Server, Setup};
use crate::support::wait_for;
use std::net::Ipv4Addr;
use std::time::Duration;

#[test]
fn a_manager_hears_of_the_server_again_and_again_and_as_much_as_it_wants() {
    let manager = Backend::start();
    let table = |more: &str| {
        format!(
            "[heartbeat]\nenabled = true\ninterval = 1\nurl = \"{}\"\ndevice_id = \"my \\\"srs\\\"\"\n{more}",
            manager.url("/api/v1/servers")
        )
    };
    let server = Setup::new(2).tables(&table("")).start();
    let beats = wait_for("three beats", || Some(manager.requests()).filter(|beats| beats.len() >= 3));
    for pair in beats.windows(2) {
        let since = pair[1].at.duration_since(pair[0].at);
        assert!(since >= Duration::from_millis(900), "{since:?}");
    }
    let beat = &beats[0];
    assert_eq!((beat.path.as_str(), beat.method.as_str()), ("/api/v1/servers", "POST"));
    let members: Vec<&String> = beat.body.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["device_id", "ip", "server", "service", "pid"]);
    assert_eq!(beat.body["device_id"], "my \"srs\"");
    assert_eq!(beat.body["pid"], server.pid().to_string());
    let ip = beat.body["ip"].as_str().expect("text");
    assert!(
        ip.is_empty() || ip.parse::<Ipv4Addr>().is_ok_and(|ip| !ip.is_loopback()) || ip.contains(':'),
        "{ip}"
    );
    assert_eq!(beat.body["server"], server.api("/api/v1/summaries")["server"]);

    let with =
        |more: &str| server.configuration().replace("interval = 1\n", &format!("interval = 1\n{more}"));
    server.reload(&with("summaries = true\n"));
    let full = wait_for("a beat with summaries", || {
        manager.requests().into_iter().find(|beat| beat.body.get("summaries").is_some())
    });
    let data = &full.body["summaries"]["data"];
    let same: Vec<String> = keys(&server, "self");
    assert_eq!(data["self"].as_object().expect("an object").keys().cloned().collect::<Vec<_>>(), same);
    assert_eq!(data["system"]["conn_srs"].as_u64(), Some(0), "{data}");
    server.reload(
        &server.configuration().replace("[heartbeat]\nenabled = true", "[heartbeat]\nenabled = false"),
    );
    std::thread::sleep(Duration::from_millis(500));
    let so_far = manager.requests().len();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(manager.requests().len(), so_far, "it is off");
}

fn keys(server: &Server, of: &str) -> Vec<String> {
    let summaries = server.api("/api/v1/summaries");
    summaries["data"][of].as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn a_manager_that_is_gone_is_a_line_in_the_log() {
    let mut manager = Backend::start();
    manager.go_down();
    let table = format!("[heartbeat]\nenabled = true\ninterval = 1\nurl = \"{}\"\n", manager.url("/"));
    let server = Setup::new(1).tables(&table).start();
    let line = format!("heartbeat: {}: cannot connect", manager.url("/"));
    wait_for("the line", || server.log().contains(&line).then_some(()));
    manager.come_up();
    wait_for("a beat", || (!manager.requests().is_empty()).then_some(()));
    manager.answers("/", 503, "");
    wait_for("the answer", || server.log().contains("status 503").then_some(()));
}
