//! Goal: where a vhost asks for keys, signatures or tokens, who has one publishes and plays, and nobody else does; no
//! secret is to be seen anywhere.
//! Method: ffmpeg with and without each; signatures by our own command and by openssl, tokens by openssl.

use crate::support::clip::Recipe;
use crate::support::http::{get, request};
use crate::support::openssl::{json_web_token, key_set, named_token, openssl};
use crate::support::packets::{Form, Seen, watch};
use crate::support::player::{connect, try_connect};
use crate::support::server::{Server, Setup};
use crate::support::tool::{DEBIAN_FFMPEG, Tool, publish};
use crate::support::wait_for;
use serde_json::{Value, json};
use srs_shard::rtmp::client::Role;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PUBLISH_KEY: &str = "publish-Key.123~";
const CAMERA_KEY: &str = "camera-key-456";
const PLAY_KEY: &str = "play-key-789";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

fn with_keys() -> Server {
    let tables = format!(
        "[vhost.__defaultVhost__.auth]\nenabled = true\npublish = \"key\"\nplay = \"key\"\n\
         [vhost.__defaultVhost__.auth.key]\n\
         publish = [\"{PUBLISH_KEY}\", \"live/cam*={CAMERA_KEY}\"]\nplay = \"{PLAY_KEY}\"\n"
    );
    Setup::new(2).tables(&tables).start()
}

/// What ffmpeg says on its way out, which must be for a refusal.
fn refused(tool: Tool) -> String {
    let ended = tool.ended();
    assert!(!ended.status.success(), "{} was let in", ended.line);
    ended.said
}

/// Nothing that anybody can read has any of these in it.
fn assert_hidden(server: &Server, secrets: &[&str]) {
    let told = |path: &str| get(server.api_at(), path).text().to_owned();
    let places = [server.log(), told("/api/v1/clients/"), told("/api/v1/streams/"), told("/metrics")];
    for (place, secret) in places.iter().flat_map(|place| secrets.iter().map(move |secret| (place, secret))) {
        assert!(!place.contains(secret), "{secret} is to be seen in:\n{place}");
    }
}

#[test]
fn a_stream_key_lets_in_over_rtmp_and_http() {
    let clip = Recipe::usual(4).clip();
    let server = with_keys();
    let with = |stream: &str, key: &str| server.rtmp(&format!("{stream}?key={key}"));
    for url in [server.rtmp("s"), with("s", "wrong-key"), with("s", PLAY_KEY), with("s", CAMERA_KEY)] {
        let said = refused(publish(DEBIAN_FFMPEG, &clip.path, &url));
        assert!(said.contains("key_denied"), "{said}");
    }
    for url in [server.rtmp("s"), with("s", PUBLISH_KEY)] {
        refused(watch(DEBIAN_FFMPEG, &url, Form::Whole, clip.has()));
    }
    for (path, status) in
        [("/live/s.flv", 403), ("/live/s.flv?key=wrong-key", 403), ("/live/s.flv?Key=play-key-789", 403)]
    {
        let answer = get(server.http_at(), path);
        assert_eq!((answer.status, answer.text()), (status, "key_denied"), "{path}");
    }

    let rtmp = watch(DEBIAN_FFMPEG, &with("s", PLAY_KEY), Form::Whole, clip.has());
    let http = watch(
        DEBIAN_FFMPEG,
        &server.http(&format!("/live/s.flv?a=b&key={PLAY_KEY}")),
        Form::Whole,
        clip.has(),
    );
    server.wait_viewers("s", 2);
    publish(DEBIAN_FFMPEG, &clip.path, &with("s", PUBLISH_KEY)).finished();
    server.wait_unpublished("s");
    server.release_players("s");
    for (client, player) in [("rtmp", rtmp), ("http", http)] {
        Seen::parse(&player.ended().output).assert_same(&clip.seen(Form::Whole), 0, client);
    }
    assert!(try_connect(&with("cam7", CAMERA_KEY), Role::PublishFmle).is_ok());
    assert!(server.metric("srs_shard_closes_total", "reason=\"key_denied\"") >= 9);
    let line = "__defaultVhost__/live/s: publish from";
    assert!(
        server.log().contains(line) && server.log().contains("key: nothing was shown"),
        "{}",
        server.log()
    );
    assert_hidden(&server, &[PUBLISH_KEY, CAMERA_KEY, PLAY_KEY, "wrong-key"]);
}

#[test]
fn a_key_in_the_tc_url_will_do_and_the_api_hides_it() {
    let server = with_keys();
    let url = |params: &str| server.rtmp(params).replacen("/live/", "/live?", 1);
    let connection = connect(&url(&format!("a=b&key={PUBLISH_KEY}/s")), Role::PublishFmle);
    let clients = server.api("/api/v1/clients/");
    let tc_url = clients["clients"][0]["tcUrl"].as_str().expect("a URL");
    assert!(tc_url.ends_with("/live?a=b&key=***"), "{tc_url}");
    // The stream has parameters of its own.
    let _other = connect(&url(&format!("key={PUBLISH_KEY}/t?x=y")), Role::PublishFlash);
    let refused = try_connect(&url(&format!("key={PUBLISH_KEY}/u?key=wrong-key")), Role::PublishFmle);
    assert!(refused.expect_err("the stream's comes first").contains("key_denied"));
    assert_hidden(&server, &[PUBLISH_KEY, "wrong-key"]);
    drop(connection);
}

#[test]
fn a_reload_changes_keys_for_those_who_come_then() {
    let server = with_keys();
    let with = |key: &str| server.rtmp(&format!("s?key={key}"));
    let _encoder = connect(&with(PUBLISH_KEY), Role::PublishFmle);
    let said = server.reload(&server.configuration().replace(PLAY_KEY, "another-play-key"));
    assert_eq!(said[0], "vhost.__defaultVhost__.auth.key.play: is another now: applies to new clients");
    wait_for("the new key", || try_connect(&with("another-play-key"), Role::Play).ok());
    assert!(try_connect(&with(PLAY_KEY), Role::Play).is_err());
    let said = server.reload(&server.configuration().replace("\"another-play-key\"", "\"short\""));
    assert!(said[0].contains("auth.key.play: found ***; allowed: \"SECRET\" or"), "{said:?}");
    assert_eq!(server.clients_of("s").iter().filter(|client| client.publish).count(), 1, "it goes on");
    assert_hidden(&server, &["another-play-key", "\"short\""]);
}

fn with_signatures() -> Server {
    let tables = format!(
        "[vhost.__defaultVhost__.auth]\nenabled = true\npublish = \"sign\"\nplay = \"sign\"\n\
         [vhost.__defaultVhost__.auth.sign]\nsecrets = [\"{SECRET}\", \"the-one-before-this\"]\n"
    );
    Setup::new(2).tables(&tables).start()
}

/// A URL as our own command signs it.
fn signed(server: &Server, options: &[&str], verb: &str, url: &str) -> String {
    let file = server.folder().join("server.toml");
    let said = Command::new(env!("CARGO_BIN_EXE_srs-shard"))
        .args(["sign", "-c", file.to_str().expect("a plain path")])
        .args(options)
        .args([verb, url])
        .output()
        .expect("our own command");
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).expect("text").trim().to_owned()
}

#[test]
fn a_signed_url_lets_in_for_what_it_is_signed() {
    let clip = Recipe::usual(4).clip();
    let server = with_signatures();
    let (rtmp_url, http_url) = (server.rtmp("s"), server.http("/live/s.flv"));
    let play = signed(&server, &[], "play", &rtmp_url);
    let publishing = signed(&server, &["--for", "10m"], "publish", &rtmp_url);

    // Expired, for the other verb, for another stream, longer than it was signed for, without.
    let expired = signed(&server, &["--until", &(now_s() - 5).to_string()], "publish", &rtmp_url);
    let longer = publishing.replacen("expires=", "expires=9", 1);
    for url in [&expired, &play, &publishing.replacen("/s?", "/t?", 1), &longer, &rtmp_url] {
        let said = refused(publish(DEBIAN_FFMPEG, &clip.path, url));
        assert!(said.contains("sign_denied"), "{url}: {said}");
    }
    refused(watch(DEBIAN_FFMPEG, &publishing, Form::Whole, clip.has()));
    wait_for("the reason in the log", || server.log().contains("sign: expired ").then_some(()));

    let rtmp = watch(DEBIAN_FFMPEG, &play, Form::Whole, clip.has());
    let http = watch(DEBIAN_FFMPEG, &signed(&server, &[], "play", &http_url), Form::Whole, clip.has());
    server.wait_viewers("s", 2);
    publish(DEBIAN_FFMPEG, &clip.path, &publishing).finished();
    server.wait_unpublished("s");
    server.release_players("s");
    for (client, player) in [("rtmp", rtmp), ("http", http)] {
        Seen::parse(&player.ended().output).assert_same(&clip.seen(Form::Whole), 0, client);
    }
    let signature = play.rsplit_once('=').expect("a signature").1;
    assert_hidden(&server, &[SECRET, signature]);
}

#[test]
fn openssl_signs_as_conf_security_toml_says() {
    let text = include_str!("../../conf/security.toml");
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('#')).collect();
    let at = lines.iter().position(|line| line.trim().starts_with("printf ")).expect("a command");
    let command = lines[at..at + 2].join("\n");
    let shell = |command: &str| {
        let said = Command::new("sh").args(["-c", command]).output().expect("a shell");
        let said = String::from_utf8(said.stdout).expect("text");
        said.trim().rsplit(' ').next().expect("a digest").to_owned()
    };
    let digest = shell(&command);
    assert_eq!(digest.len(), 64, "{command}: {digest}");
    assert!(text.contains(&format!("# gives {digest},")), "{digest} is what it gives");
    // The same for a stream of now, and the older of the two secrets.
    let server = with_signatures();
    let until = now_s() + 60;
    let command = command.replace("1767225600", &until.to_string()).replace(SECRET, "the-one-before-this");
    let sign = shell(&command);
    let path = |sign: &str| format!("/live/livestream.flv?expires={until}&sign={sign}");
    let status = |sign: &str| request(server.http_at(), "HEAD", &path(sign), &[]).status;
    assert_eq!(status(&sign), 200, "{command}");
    assert_eq!(status(&digest), 403);
    // As base64url.
    let base64 = command.replace("-hex", "-binary | openssl base64 -A | tr '+/' '-_'");
    assert_eq!(status(&shell(&base64)), 200, "{base64}");
}

#[test]
fn what_conf_security_toml_asks_for_is_asked_for() {
    let text = include_str!("../../conf/security.toml");
    let (_, auth) = text.split_once("[vhost.__defaultVhost__.auth]\n").expect("its table");
    let server = Setup::new(1).tables(&format!("[vhost.__defaultVhost__.auth]\n{auth}")).start();
    let url = |key: &str| server.rtmp(&format!("cam1?key={key}"));
    let published = connect(&url("replace-this-key-for-cameras"), Role::PublishFmle);
    assert!(try_connect(&url("replace-this-key"), Role::PublishFmle).is_err());
    let play = signed(&server, &["--for", "2h"], "play", &server.rtmp("cam1"));
    assert!(try_connect(&play, Role::Play).is_ok() && try_connect(&server.rtmp("cam1"), Role::Play).is_err());
    drop(published);
}

/// Keys of all kinds, made by openssl, and a server that has their public halves.
fn with_tokens() -> Server {
    let tables = |folder: &str| {
        format!(
            "[vhost.__defaultVhost__.auth]\nenabled = true\npublish = \"token\"\nplay = [\"key\", \"token\"]\n\
             key.play = \"{PLAY_KEY}\"\n[vhost.__defaultVhost__.auth.token]\naudience = \"live\"\n\
             secret_files = \"{folder}/secret\"\nkey_files = [\"{folder}/rsa.pub\", \"{folder}/ec.pub\"]\n"
        )
    };
    // The folder of a server is there once it has started.
    let server = Setup::new(2).start();
    let folder = server.folder().to_str().expect("a plain path").to_owned();
    let run = |line: &str| openssl(server.folder(), line, b"");
    run("rand -hex -out secret 32");
    run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem");
    run("pkey -in rsa.pem -pubout -out rsa.pub");
    run("pkey -in ec.pem -pubout -out ec.pub");
    let said = server.reload(&(server.configuration() + &tables(&folder)));
    assert!(said.last().expect("a verdict").contains("is in force"), "{said:?}");
    wait_for("the keys", || try_connect(&server.rtmp("s"), Role::Play).is_err().then_some(()));
    server
}

fn claims(name: &str, value: Value) -> Value {
    let mut claims = json!({
        "aud": "live", "exp": now_s() + 600, "action": ["play", "publish"], "stream": "live/s",
    });
    claims[name] = value;
    claims
}

#[test]
fn a_token_of_each_algorithm_lets_in() {
    let clip = Recipe::usual(4).clip();
    let server = with_tokens();
    let token = |algorithm, claims: &Value| json_web_token(server.folder(), algorithm, claims);
    let url = |token: &str| server.rtmp(&format!("s?token={token}"));
    let good = claims("sub", json!("somebody"));
    let [hs, rs, es] = ["HS256", "RS256", "ES256"].map(|algorithm| token(algorithm, &good));

    let watch = |url: &str| watch(DEBIAN_FFMPEG, url, Form::Whole, clip.has());
    let players =
        [watch(&url(&hs)), watch(&url(&rs)), watch(&server.http(&format!("/live/s.flv?token={es}")))];
    server.wait_viewers("s", 3);
    publish(DEBIAN_FFMPEG, &clip.path, &url(&es)).finished();
    server.wait_unpublished("s");
    server.release_players("s");
    for player in players {
        let ended = player.ended();
        Seen::parse(&ended.output).assert_same(&clip.seen(Form::Whole), 0, &ended.line);
    }
    for token in [&hs, &rs, &es] {
        let field = ("Authorization", format!("Bearer {token}"));
        let head = request(server.http_at(), "HEAD", "/live/s.flv", &[(field.0, &field.1)]);
        assert_eq!(head.status, 200, "{}", field.1);
    }
    assert_eq!(
        request(server.http_at(), "HEAD", &format!("/live/s.flv?key={PLAY_KEY}"), &[]).status,
        200,
        "or a key"
    );

    for (claim, value, why) in [
        ("exp", json!(now_s() - 3600), "token: expired 36"),
        ("nbf", json!(now_s() + 3600), "token: not yet valid for 3"),
        ("action", json!("play"), "token: action is for others"),
        ("stream", json!("live/t*"), "token: stream is for others"),
        ("aud", json!("others"), "token: aud is for others"),
        ("vhost", json!("others"), "token: vhost is for others"),
    ] {
        std::thread::sleep(Duration::from_millis(1100)); // the log has a line per reason and second
        let bad = token("ES256", &claims(claim, value));
        let said = refused(publish(DEBIAN_FFMPEG, &clip.path, &url(&bad)));
        assert!(said.contains("token_denied"), "{said}");
        wait_for(why, || server.log().contains(why).then_some(()));
    }
    let answer = get(server.http_at(), "/live/s.flv?token=x.y.z");
    assert_eq!((answer.status, answer.text()), (401, "token_denied"));
    assert!(answer.field("www-authenticate").is_some_and(|value| value.starts_with("Bearer ")));
    assert_eq!(
        get(server.http_at(), "/live/s.flv").status,
        403,
        "nothing was shown: the first of the ways is named"
    );
    let signature = es.rsplit_once('.').expect("a signature").1;
    assert_hidden(&server, &[&hs, &rs, &es, signature]);
}

#[test]
fn keys_of_tokens_are_read_anew_with_a_reload() {
    let server = with_tokens();
    let good = claims("sub", json!("somebody"));
    let url = |token: &str| server.rtmp(&format!("s?token={token}"));
    let old = json_web_token(server.folder(), "ES256", &good);
    assert!(try_connect(&url(&old), Role::Play).is_ok());
    openssl(server.folder(), "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem", b"");
    openssl(server.folder(), "pkey -in ec.pem -pubout -out ec.pub", b"");
    let new = json_web_token(server.folder(), "ES256", &good);
    assert!(try_connect(&url(&new), Role::Play).is_err() && try_connect(&url(&old), Role::Play).is_ok());
    server.reload(&server.configuration());
    wait_for("the new key", || try_connect(&url(&new), Role::Play).ok());
    assert!(try_connect(&url(&old), Role::Play).is_err());
    // A file that is no key changes nothing.
    std::fs::write(server.folder().join("ec.pub"), "no key").expect("our own file");
    let said = server.reload(&server.configuration());
    assert!(said[0].contains("ec.pub\": neither a public key in PEM nor a JSON Web Key Set"), "{said:?}");
    assert!(said[1].contains("stays in force"), "{said:?}");
    assert!(try_connect(&url(&new), Role::Play).is_ok());
}

#[test]
fn keys_of_tokens_are_fetched_and_kept_when_their_server_is_gone() {
    // Who makes tokens publishes its keys as a file.
    let issuer = Setup::new(1).start();
    let folder = issuer.folder();
    let publish_keys = |kid: &str| {
        openssl(folder, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem", b"");
        std::fs::write(issuer.dir().join("jwks.json"), key_set(folder, kid)).expect("our own file");
    };
    let token = |kid: &str| {
        named_token(folder, &json!({"alg": "ES256", "kid": kid}), &claims("sub", json!("somebody")))
    };
    publish_keys("first");
    let tables = format!(
        "[vhost.__defaultVhost__.auth]\nenabled = true\nplay = \"token\"\n[vhost.__defaultVhost__.auth.token]\n\
         jwks_url = \"{}\"\njwks_refresh = \"1h\"\n",
        issuer.http("/jwks.json?code=hidden-code")
    );
    let server = Setup::new(2).tables(&tables).start();
    let plays = |token: &str| try_connect(&server.rtmp(&format!("s?token={token}")), Role::Play).is_ok();
    let first = token("first");
    wait_for("the first keys", || plays(&first).then_some(()));
    // Another key: a token that names it has the set fetched long before an hour is over.
    publish_keys("second");
    let second = token("second");
    assert!(!plays(&second));
    wait_for("the second keys", || plays(&second).then_some(()));
    assert!(!plays(&first), "the issuer has withdrawn it");
    // A reload keeps what was fetched, and a server of keys that is gone takes none away.
    server.reload(&server.configuration().replace("play = \"token\"", "play = [\"token\"]\npublish = []"));
    assert!(plays(&second));
    std::fs::remove_file(issuer.dir().join("jwks.json")).expect("our own file");
    assert!(!plays(&token("third")));
    let warning = "jwks.json: status 404; the last good ones stay in force, 1";
    wait_for("the warning", || server.log().contains(warning).then_some(()));
    assert!(plays(&second));
    assert_hidden(&server, &["hidden-code", &second]);
}
