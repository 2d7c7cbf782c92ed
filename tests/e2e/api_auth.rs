//! Goal: what changes anything through the API needs a token or a password or, while neither is configured, somebody who
//! sits at the machine; each refusal is told.
//! Method: curl, with every header that gives a page or a proxy away.

use crate::support::http::get;
use crate::support::player::connect;
use crate::support::server::{Server, Setup};
use crate::support::tool::Tool;
use crate::support::wait_for;
use srs_shard::rtmp::client::Role;

const RAW: &str = "[http_api.raw_api]\nenabled = true\nallow_reload = true\n";
const PASSWORD: &str = "open:sesame-1";
const TOKEN: &str = "token-of-an-operator";
const JSONP: &str = "callback=f&method=DELETE";

/// What curl gets: the status and the body.
fn curl(server: &Server, path: &str, options: &[&str]) -> (u16, String) {
    let (ip, port) = server.api_at();
    let url = format!("http://{ip}:{port}{path}");
    let mut line = vec!["-s", "-w", "\n%{http_code}"];
    line.extend(options);
    line.push(&url);
    let said = String::from_utf8(Tool::start("curl", &line).finished()).expect("text");
    let (body, status) = said.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), body.to_owned())
}

/// Everything that changes something: options for curl, and the path.
fn changes(client: u64) -> [(Vec<&'static str>, String); 4] {
    let path = format!("/api/v1/clients/{client}");
    let reload = "/api/v1/raw?rpc=reload".to_owned();
    [
        (vec!["-X", "DELETE"], path.clone()),
        (vec![], format!("{path}?{JSONP}")),
        (vec![], reload.clone()),
        (vec!["-X", "POST"], reload + "&callback=f"),
    ]
}

#[test]
fn without_a_password_only_who_sits_at_the_machine_changes_anything() {
    let server = Setup::new(2).tables(RAW).start();
    let _player = connect(&server.rtmp("s"), Role::Play);
    let id = wait_for("the player", || server.clients_of("s").first().map(|client| client.id));
    for (header, reason) in [
        ("Origin: http://localhost", "page_or_proxy"),
        ("Referer: http://localhost/", "page_or_proxy"),
        ("Forwarded: for=10.0.0.1", "page_or_proxy"),
        ("X-Forwarded-For: 127.0.0.1", "page_or_proxy"),
        ("X-Forwarded-Host: localhost", "page_or_proxy"),
        ("X-Real-IP: 127.0.0.1", "page_or_proxy"),
        ("Via: 1.1 proxy", "page_or_proxy"),
        ("Sec-Fetch-Site: cross-site", "page_or_proxy"),
        ("Host: rebound.example", "not_loopback_host"),
        ("Host: localhost.rebound.example:21985", "not_loopback_host"),
    ] {
        for (mut options, path) in changes(id) {
            options.extend(["-H", header]);
            let (status, body) = curl(&server, &path, &options);
            let refused = format!("{{\"code\":403,\"reason\":\"{reason}\"}}");
            assert!(status == 403 && body.contains(&refused), "{header}: {path}: {status} {body}");
        }
        let read = curl(&server, "/api/v1/clients/?method=DELETE", &["-H", header]);
        assert_eq!(read.0, 200, "reading is open: {header}");
    }
    assert!(server.clients_of("s").iter().any(|client| client.id == id), "still there");
    assert_eq!(get(server.api_at(), "/api/v1/summaries").status, 200);
    assert!(server.metric("srs_shard_api_refusals_total", "reason=\"page_or_proxy\"") >= 32);
    for part in ["refused: page_or_proxy (", "refused: not_loopback_host", "api: DELETE \"/api/v1/clients/"] {
        wait_for(part, || server.log().contains(part).then_some(()));
    }
    // A password is of no use where none is configured, and no harm.
    let reloaded = curl(&server, "/api/v1/raw?rpc=reload", &["-u", "admin:admin"]);
    assert!(reloaded.1.starts_with("{\"code\":0,"), "{reloaded:?}");
    assert_eq!(curl(&server, &format!("/api/v1/clients/{id}?{JSONP}"), &[]).0, 200);
    wait_for("the kicked one to be gone", || server.clients_of("s").is_empty().then_some(()));
}

fn with_auth(more: &str) -> Server {
    let auth =
        format!("[http_api.auth]\nenabled = true\nusername = \"admin\"\ntokens = [\"{TOKEN}\"]\n{more}");
    // The password comes as it does into a container.
    Setup::new(2).env("SRS_HTTP_API_AUTH_PASSWORD", PASSWORD).tables(&(auth + RAW)).start()
}

#[test]
fn with_a_password_who_has_it_changes_things_and_nobody_else() {
    let server = with_auth("");
    let _player = connect(&server.rtmp("s"), Role::Play);
    let id = wait_for("the player", || server.clients_of("s").first().map(|client| client.id));
    let (good, bearer) = (format!("admin:{PASSWORD}"), format!("Authorization: Bearer {TOKEN}"));
    for (credentials, reason) in [
        (vec![], "auth_missing"),
        (vec!["-u", "admin:open"], "auth_wrong"),
        (vec!["-u", "root:open:sesame-1"], "auth_wrong"),
        (vec!["-H", "Authorization: Bearer token-of-an-operato"], "auth_wrong"),
        (vec!["-H", "Authorization: Bearer ***"], "auth_wrong"),
    ] {
        for (mut options, path) in changes(id) {
            options.extend(&credentials);
            let (status, body) = curl(&server, &path, &options);
            let refused = format!("{{\"code\":401,\"reason\":\"{reason}\"}}");
            assert!(status == 401 && body.contains(&refused), "{credentials:?}: {path}: {status} {body}");
        }
    }
    let head = curl(&server, "/api/v1/raw?rpc=reload", &["-i"]).1;
    assert!(
        head.contains("\r\nWWW-Authenticate: Basic realm=") && head.contains("\r\nWWW-Authenticate: Bearer ")
    );
    assert_eq!(curl(&server, "/api/v1/clients/", &[]).0, 200, "reading is open");
    // A browser would send the password by itself, whichever page asks.
    for foreign in
        ["Origin: http://evil.example", "Referer: http://evil.example/", "Sec-Fetch-Site: cross-site"]
    {
        let (status, _) = curl(&server, "/api/v1/raw?rpc=reload", &["-u", &good, "-H", foreign]);
        assert_eq!(status, 403, "{foreign}");
    }
    assert_eq!(curl(&server, &format!("/api/v1/clients/{id}?{JSONP}"), &["-u", &good]).0, 403);
    assert!(server.clients_of("s").iter().any(|client| client.id == id), "still there");

    let reload = |options: &[&str]| curl(&server, "/api/v1/raw?rpc=reload", options).1;
    assert!(reload(&["-u", &good]).starts_with("{\"code\":0,"));
    let proxied = ["-H", &bearer, "-H", "Origin: http://console.example", "-H", "X-Forwarded-For: 10.0.0.1"];
    assert!(reload(&proxied).starts_with("{\"code\":0,"), "a token is good from wherever");
    assert_eq!(curl(&server, &format!("/api/v1/clients/{id}"), &["-X", "DELETE", "-H", &bearer]).0, 200);
    wait_for("the kicked one to be gone", || server.clients_of("s").is_empty().then_some(()));

    assert!(server.metric("srs_shard_api_refusals_total", "reason=\"auth_wrong\"") >= 16);
    wait_for("the reason", || server.log().contains("refused: auth_wrong").then_some(()));
    let echo = curl(&server, "/api/v1/tests/requests", &["-u", &good, "-H", &bearer]).1;
    for secret in [PASSWORD, TOKEN, "token-of-an-operato"] {
        assert!(!server.log().contains(secret) && !echo.contains(secret), "{secret}");
    }
}

#[test]
fn reading_can_be_closed_too() {
    let server = with_auth("reading = true\n");
    let good = format!("admin:{PASSWORD}");
    for path in ["/api/v1/versions", "/api/v1/clients/", "/api/v1/summaries?callback=f", "/metrics"] {
        assert_eq!(curl(&server, path, &[]).0, 401, "{path}");
        assert_eq!(curl(&server, path, &["-u", &good]).0, 200, "{path}");
    }
    assert_eq!(
        curl(&server, "/api/v1/clients/", &["-X", "OPTIONS"]).0,
        200,
        "browsers ask first, without a password"
    );
    let cors =
        curl(&server, "/api/v1/clients/", &["-X", "OPTIONS", "-i", "-H", "Origin: http://x.example"]).1;
    assert!(cors.contains("Content-Type,Authorization\r\n"), "{cors}");
}
