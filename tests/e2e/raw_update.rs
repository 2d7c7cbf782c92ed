//! Goal: an update over the API is a reload that also keeps itself in the file, with every comment; what somebody else
//! wrote there is never lost.
//! Method: a neighbour's frames are compared while the server is told of one change after another; the file is compared
//! byte by byte.

use crate::support::http::request;
use crate::support::neighbour::Neighbour;
use crate::support::player::try_connect;
use crate::support::server::{Server, Setup};
use crate::support::tool::signal;
use crate::support::wait_for;
use serde_json::{Value, json};
use srs_shard::rtmp::client::Role;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

const OTHER_PORT: u16 = 21937;
const RAW: &str =
    "[http_api.raw_api]\nenabled = true\nallow_reload = true\nallow_query = true\nallow_update = true\n";

fn call(server: &Server, query: &str) -> Value {
    let answer = request(server.api_at(), "POST", &format!("/api/v1/raw?rpc={query}"), &[]);
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// A change that is made.
fn update(server: &Server, query: &str) -> Value {
    let said = call(server, &format!("update&{query}"));
    assert_eq!(said["code"], 0, "{query}: {said}");
    said
}

/// The code and the first line of why it is not made.
fn refused(server: &Server, query: &str) -> (u64, String) {
    let said = call(server, &format!("update&{query}"));
    let why = said["errors"][0].as_str().unwrap_or_default().to_owned();
    (said["code"].as_u64().expect("a code"), why)
}

fn commented() -> Server {
    let top = "# The head.\nchunk_size  =  60000   # as SRS\n\n# The level.\nsrs_log_level = \"trace\"";
    Setup::new(2).top(top).tables(RAW).tables("# The end.").start()
}

#[test]
fn what_is_updated_is_in_force_and_in_the_file() {
    let server = commented();
    let neighbour = Neighbour::start(&server);
    let file = server.folder().join("server.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("our own file");
    let mut expected = server.configuration();

    let said = update(&server, "scope=chunk_size&value=4096");
    let change = json!({"key": "chunk_size", "what": "changed", "from": "60000", "to": "4096",
        "verdict": "applies to new clients"});
    assert_eq!(said, json!({"code": 0, "version": 2, "changes": [change]}));
    expected = expected.replace("=  60000   # as SRS", "=  4096   # as SRS");
    assert_eq!(server.configuration(), expected);
    assert_eq!(
        update(&server, "scope=chunk_size&value=4096"),
        json!({"code": 0, "version": 2, "changes": []})
    );
    assert_eq!(call(&server, "query&scope=global")["global"]["chunk_size"], 4096);

    let ip = server.ip();
    let listens = || TcpStream::connect((ip, OTHER_PORT)).is_ok();
    let taken = TcpListener::bind((ip, OTHER_PORT)).expect("a free port");
    let two = format!("scope=listen&value={ip}:21935,{ip}:{OTHER_PORT}");
    let (code, why) = refused(&server, &two);
    assert!(code == 1023 && why.starts_with(&format!("cannot listen on {ip}:{OTHER_PORT}")), "{code} {why}");
    drop(taken);
    assert_eq!(server.configuration(), expected, "nothing is kept of it");
    update(&server, &two);
    wait_for("the port", || listens().then_some(()));
    let (one, two) = (format!("[\"{ip}:21935\"]"), format!("[\"{ip}:21935\", \"{ip}:{OTHER_PORT}\"]"));
    expected = expected.replacen(&one, &two, 1);
    assert_eq!(server.configuration(), expected);

    let plays = |vhost: &str| try_connect(&server.rtmp(&format!("x?vhost={vhost}")), Role::Play).is_ok();
    let vhost = |name: &str, param: &str| format!("scope=vhost&value={name}&param={param}");
    update(&server, &vhost("n.example", "create"));
    // It stands behind the other vhosts.
    let behind = "\n\n[vhost.\"n.example\"]\nenabled = true\n[http_api.raw_api]";
    expected = expected.replace("\n[http_api.raw_api]", behind);
    assert_eq!(server.configuration(), expected);
    assert!(plays("n.example"));
    assert_eq!(refused(&server, &vhost("n.example", "create")).0, 1063);
    assert_eq!(refused(&server, &vhost("n.example", "delete")).0, 1063, "it is enabled");
    update(&server, &vhost("n.example", "disable"));
    wait_for("every shard to refuse", || (0..8).all(|_| !plays("n.example")).then_some(()));
    update(&server, &vhost("n.example", "update&data=m.example"));
    update(&server, &vhost("m.example", "enable"));
    wait_for("every shard to serve", || (0..8).all(|_| plays("m.example")).then_some(()));
    assert_eq!(server.configuration(), expected.replace("n.example", "m.example"));
    update(&server, &vhost("m.example", "disable"));
    let without = update(&server, &vhost("m.example", "delete"));
    assert_eq!(
        without["changes"],
        json!([{"key": "vhost.\"m.example\"", "what": "removed", "verdict": "applied"}])
    );

    let mode = fs::metadata(&file).expect("our own file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let left: Vec<_> =
        fs::read_dir(server.folder()).expect("our own").map(|e| e.expect("one").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
    // The file and what is in force are one.
    assert_eq!(call(&server, "reload")["changes"], json!([]));
    neighbour.verdict(&server);
}

#[test]
fn what_others_wrote_is_not_lost() {
    let server = commented();
    let changed = server.configuration() + "# Somebody was here.\n";
    fs::write(server.folder().join("server.toml"), &changed).expect("our own file");
    let (code, why) = refused(&server, "scope=chunk_size&value=4096");
    assert!(code == 1059 && why.contains("has changed since it was read"), "{code} {why}");
    signal(server.pid(), "USR2");
    wait_for("its word", || server.log().contains("save: ").then_some(()));
    assert!(server.log().contains("server.toml has changed since it was read"));
    assert_eq!(server.configuration(), changed);
    assert_eq!(call(&server, "reload")["code"], 0);
    update(&server, "scope=chunk_size&value=4096");
    assert!(server.configuration().ends_with("# Somebody was here.\n"));
}

#[test]
fn sigusr2_writes_what_is_in_force() {
    let server = commented();
    let file = server.folder().join("server.toml");
    update(&server, "scope=max_connections&value=500");
    let in_force = server.configuration();
    signal(server.pid(), "USR2");
    wait_for("its word", || server.log().contains("save: the file has what is in force").then_some(()));
    fs::remove_file(&file).expect("our own file");
    signal(server.pid(), "USR2");
    wait_for("the file", || fs::read_to_string(&file).ok().filter(|text| *text == in_force));
    // A folder that cannot be written to: nothing changes, and it is told.
    fs::remove_file(&file).expect("our own file");
    fs::create_dir(&file).expect("a folder in its place");
    assert_eq!(refused(&server, "scope=max_connections&value=600").0, 1059);
    assert_eq!(call(&server, "query&scope=global")["global"]["max_connections"], 500);
    fs::remove_dir(&file).expect("our own folder");
}

#[test]
fn what_makes_no_sense_or_is_not_for_everyone_is_refused() {
    let server = Setup::new(2).env("SRS_MAX_CONNECTIONS", "1000").tables(RAW).start();
    let before = server.configuration();
    let (code, why) = refused(&server, "scope=max_connections&value=500");
    assert_eq!((code, &*why), (1063, "max_connections is set by SRS_MAX_CONNECTIONS, which no file changes"));
    let (code, why) = refused(&server, "scope=vhost&param=create&value=a/b");
    assert!(code == 1023 && why.contains("server.toml:"), "{code} {why}");
    assert_eq!(refused(&server, "scope=chunk_size&value=1").0, 1063);
    assert_eq!(refused(&server, "scope=dvr&value=a&param=enable&data=live/x").0, 1062);
    assert_eq!(refused(&server, "scope=everything").0, 1062);
    let path = "/api/v1/raw?rpc=update&scope=chunk_size&value=4096";
    let page = request(server.api_at(), "POST", path, &[("Origin", "http://localhost")]);
    assert_eq!((page.status, page.text()), (403, "{\"code\":403,\"reason\":\"page_or_proxy\"}"));
    assert_eq!(server.configuration(), before);
    assert_eq!(server.api("/api/v1/summaries")["data"]["self"]["config_version"], 1);
}
