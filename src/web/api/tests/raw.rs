//! `/api/v1/raw`.

use super::*;
use crate::config::edit::{Edit, Setting};
use crate::config::reload::{Change, What};
use crate::config::schema;
use crate::config::{Overrides, Source};

const FILE: &str = "\
listen = [1935, \"127.0.0.1:1936\"]
chunk_size = 4096
[heartbeat]
interval = 9.9
[stats]
disk = \"sda\"
[http_api]
listen = 1985
[http_api.raw_api]
enabled = true
[vhost_defaults]
play.queue_length = 10
[vhost.__defaultVhost__]
[vhost.\"a.example\"]
min_latency = true
play = { mw_latency = \"1s\", atc = true }
[vhost.\"a.example\".security]
allow = [\"play all\", \"publish 10.0.0.0/8\"]
[vhost.\"a.example\".http_hooks]
on_play = \"http://localhost/play\"
[vhost.\"a.example\".http_remux]
enabled = true
mount = [\"/[app]/[stream].flv\", \"/[app]/[stream].ts\"]
";

fn permissive(file: &str) -> Fixture {
    let mut f = Fixture::new();
    let (config, values) = Source::new("x.toml", file).load(&Overrides::default()).expect("good");
    (f.config, f.said) = (config, values.said());
    f.raw_api = RawApi { enabled: true, allow_reload: true, allow_query: true, allow_update: true };
    f
}

fn called(f: &Fixture, query: &str) -> String {
    text(&f.answer(&get(&format!("/api/v1/raw?{query}"))))
}

#[test]
fn a_query_tells_what_is_said_in_srs_s_names() {
    let f = permissive(FILE);
    let ids = [DEFAULT_VHOST, "a.example"].map(|name| vhost_id(name, IdStyle::Numeric));
    assert_eq!(
        called(&f, "rpc=query&scope=global"),
        format!(
            "{{\"code\":0,\"global\":{{\"listen\":[\"1935\",\"127.0.0.1:1936\"],\"chunk_size\":4096,\
             \"heartbeat\":{{\"interval\":9}},\"stats\":{{\"disk\":[\"sda\"]}},\
             \"http_api\":{{\"listen\":\"1985\",\"raw_api\":{{\"enabled\":true}}}},\"nb_vhosts\":2,\"vhosts\":{{\
             \"__defaultVhost__\":{{\"id\":\"{}\",\"name\":\"__defaultVhost__\",\"enabled\":true,\"origin\":true,\
             \"gop_cache\":true,\"time_jitter\":true}},\
             \"a.example\":{{\"id\":\"{}\",\"name\":\"a.example\",\"enabled\":true,\"http_remux\":true,\"origin\":true,\
             \"min_latency\":true,\"gop_cache\":true,\"time_jitter\":true,\"atc\":true}}}}}}}}",
            ids[0], ids[1]
        )
    );
    let minimal = r#"{"code":0,"minimal":{"listen":["1935","127.0.0.1:1936"]}}"#;
    assert_eq!(called(&f, "rpc=query&scope=minimal"), minimal);
    assert_eq!(
        called(&f, "rpc=query&scope=vhost&vhost=a.example"),
        format!(
            "{{\"code\":0,\"vhost\":{{\"id\":\"{}\",\"name\":\"a.example\",\"enabled\":true,\"min_latency\":true,\
             \"play\":{{\"atc\":true,\"mw_latency\":1000,\"queue_length\":10}},\
             \"security\":{{\"enabled\":false,\"allows\":[\
             {{\"action\":\"allow\",\"method\":\"play\",\"entry\":\"all\"}},\
             {{\"action\":\"allow\",\"method\":\"publish\",\"entry\":\"10.0.0.0/8\"}}],\"denies\":[]}},\
             \"http_remux\":{{\"enabled\":true,\"mount\":[\"/[app]/[stream].flv\",\"/[app]/[stream].ts\"]}},\
             \"http_hooks\":{{\"enabled\":false,\"on_play\":[\"http://localhost/play\"]}}}}}}",
            ids[1]
        )
    );
    // The default vhost serves other names, but is none of them.
    assert_eq!(called(&f, "rpc=query&scope=vhost&vhost=b.example"), r#"{"code":1063}"#);
    assert_eq!(called(&f, "rpc=query&scope=vhost"), r#"{"code":1063}"#);
    assert_eq!(called(&f, "rpc=query&scope=all"), r#"{"code":1062}"#);
    assert_eq!(called(&f, "rpc=query"), r#"{"code":1062}"#);
}

#[test]
fn what_is_not_allowed_is_a_1061() {
    let mut f = permissive(FILE);
    for (rpc, forbid) in [
        ("reload", RawApi { allow_reload: false, ..f.raw_api }),
        ("query&scope=minimal", RawApi { allow_query: false, ..f.raw_api }),
        ("update&scope=chunk_size&value=128", RawApi { allow_update: false, ..f.raw_api }),
    ] {
        f.raw_api = forbid;
        assert_eq!(called(&f, &format!("rpc={rpc}")), r#"{"code":1061}"#, "{rpc}");
        f.raw_api = RawApi { allow_reload: true, allow_query: true, allow_update: true, enabled: true };
    }
}

#[test]
fn an_update_is_for_who_may_change_something() {
    let f = permissive(FILE);
    let target = "/api/v1/raw?rpc=update&scope=chunk_size&value=128&callback=f";
    let ApiCall::Reload(update) = f.route(&get(target)) else { panic!("an update") };
    let edit = Edit::Set { key: "chunk_size".to_owned(), to: Setting::Integer(128) };
    assert_eq!(update.edit, Some(edit));
    let away = route(&get(target), [10, 0, 0, 1].into(), &f.context());
    assert!(matches!(away, ApiCall::Refuse(_, Response { status: 403, .. })));
    let wrong = called(&f, "rpc=update&scope=chunk_size&value=1");
    let expected = "chunk_size: found \\\"1\\\"; allowed: a number from 128 to 65535";
    assert_eq!(wrong, format!(r#"{{"code":1063,"errors":["{expected}"]}}"#));
    let wrong = called(&f, "rpc=update&scope=dvr&value=a&param=enable");
    assert_eq!(wrong, r#"{"code":1062,"errors":["dvr: nothing is recorded by this version"]}"#);
    for (why, code) in [(Refusal::Params, 1063), (Refusal::Save, 1059), (Refusal::Config, 1023)] {
        let refused = ReloadOutcome::Refused { version: 3, why, errors: vec!["so".to_owned()] };
        let said = text(&reloaded(&update, &refused));
        assert_eq!(said, format!(r#"f({{"code":{code},"version":3,"errors":["so"]}})"#));
    }
}

#[test]
fn the_raw_api_reloads_for_who_may() {
    let mut f = Fixture::new();
    for off in ["rpc=reload", "rpc=explode", ""] {
        assert_eq!(called(&f, off), r#"{"code":1061}"#, "{off}: it is off");
    }
    let start = r#"{"code":0,"http_api":{"enabled":true,"listen":"1985","crossdomain":true,"raw_api":{"#;
    assert!(called(&f, "rpc=raw").starts_with(start));
    let raw = |enabled| format!(r#""raw_api":{{"enabled":{enabled},"allow_reload":{enabled},"#);
    assert!(called(&f, "rpc=raw").contains(&raw(false)));
    f.raw_api = RawApi { enabled: true, allow_reload: true, ..RawApi::default() };
    assert!(called(&f, "rpc=raw").contains(&raw(true)));
    assert_eq!(called(&f, ""), r#"{"code":1060}"#);
    assert_eq!(called(&f, "rpc=explode"), r#"{"code":1060}"#);
    assert_eq!(called(&f, "rpc=update"), r#"{"code":1061}"#);
    let ApiCall::Reload(reload) = f.route(&get("/api/v1/raw?rpc=reload&callback=f")) else {
        panic!("a reload")
    };
    let away = route(&get("/api/v1/raw?rpc=reload"), [10, 0, 0, 1].into(), &f.context());
    assert!(matches!(away, ApiCall::Refuse(_, Response { status: 403, .. })));

    let (from, to) = ("1".to_owned(), "\"2\"".to_owned());
    let changed = What::Changed { from, to, reload: schema::Reload::Restart };
    let changes = vec![
        Change { key: "vhost.a".to_owned(), what: What::Added },
        Change { key: "cores".to_owned(), what: changed },
    ];
    assert_eq!(
        text(&reloaded(&reload, &ReloadOutcome::Applied { version: 2, changes })),
        "f({\"code\":0,\"version\":2,\"changes\":[\
         {\"key\":\"vhost.a\",\"what\":\"added\",\"verdict\":\"applied\"},\
         {\"key\":\"cores\",\"what\":\"changed\",\"from\":\"1\",\"to\":\"\\\"2\\\"\",\
         \"verdict\":\"needs restart\"}]})"
    );
    let refused =
        ReloadOutcome::Refused { version: 2, why: Refusal::Config, errors: vec!["x.toml:1: bad".to_owned()] };
    let refused = text(&reloaded(&reload, &refused));
    assert_eq!(refused, r#"f({"code":1023,"version":2,"errors":["x.toml:1: bad"]})"#);
    assert_eq!(reloaded(&reload, &ReloadOutcome::Unanswered).status, 503);
}
