//! Goal: who is refused is told so, in the word that the log has for it.
//! Method: our own client asks for what it may not have.

use crate::support::http::{get, request};
use crate::support::player::try_connect;
use crate::support::server::Setup;
use crate::support::wait_for;
use srs_shard::rtmp::client::Role;

#[test]
fn a_disabled_vhost_refuses_over_rtmp_and_http_alike() {
    let server = Setup::new(2).tables("[vhost.\"off.example\"]\nenabled = false\n").start();
    let url = server.rtmp("s?vhost=OFF.example");
    for role in [Role::Play, Role::PublishFlash, Role::PublishFmle] {
        let refused = try_connect(&url, role).expect_err("refused");
        assert!(refused.contains("vhost_unknown"), "{role:?}: {refused}");
    }
    // The default vhost would have the viewer wait.
    assert_eq!(get(server.http_at(), "/live/s.flv?vhost=off.example").status, 404);
    wait_for("the word in the log", || server.log().contains("vhost_unknown").then_some(()));
}

#[test]
fn security_decides_by_address_over_rtmp_and_http_alike() {
    let tables = "\
        [vhost.\"in.example\"]\nhttp_remux = { enabled = true }\n\
        security = { enabled = true, allow = [\"publish 127.0.0.0/8\", \"play all\"], deny = \"play 127.0.0.1\" }\n\
        [vhost.\"none.example\".security]\nenabled = true\n\
        [vhost.\"off.example\".security]\ndeny = [\"play all\", \"publish all\"]\n";
    let server = Setup::new(2).tables(tables).start();
    let of = |vhost: &str| server.rtmp(&format!("s?vhost={vhost}"));
    let refused =
        |vhost, role| try_connect(&of(vhost), role).err().filter(|why| why.contains("security_denied"));
    assert!(refused("in.example", Role::Play).is_some(), "denied by address");
    assert!(try_connect(&of("in.example"), Role::PublishFmle).is_ok());
    assert!(
        refused("none.example", Role::Play).is_some() && refused("none.example", Role::PublishFmle).is_some()
    );
    assert!(try_connect(&of("off.example"), Role::Play).is_ok(), "its rules are off");
    let answer = get(server.http_at(), "/live/s.flv?vhost=in.example");
    assert_eq!((answer.status, answer.text()), (403, "security_denied"));
    let line = "in.example/live/s: play from 127.0.0.1, denied: play 127.0.0.1";
    wait_for("the rule in the log", || server.log().contains(line).then_some(()));
}

#[test]
fn refer_decides_by_the_page() {
    let tables = "[vhost.\"page.example\"]\nhttp_remux = { enabled = true }\n\
        refer = { enabled = true, all = \"good.example\", play = [\"good.example\", \"www.other.example\"] }\n";
    let server = Setup::new(2).tables(tables).start();
    let status = |page: &str| {
        let headers = [("Referer", page)];
        let path = "/live/s.flv?vhost=page.example";
        request(server.http_at(), "HEAD", path, if page.is_empty() { &[] } else { &headers }).status
    };
    assert_eq!(status(""), 403, "no page is none of these");
    assert_eq!(status("http://evil.example/?good.example"), 403);
    assert_eq!(status("http://www.other.example/"), 403, "not among those for all");
    assert_eq!(status("https://www.good.example:8080/player.html"), 200);
    let refused = try_connect(&server.rtmp("s?vhost=page.example"), Role::PublishFmle).expect_err("no page");
    assert!(refused.contains("refer_denied"), "{refused}");
}
