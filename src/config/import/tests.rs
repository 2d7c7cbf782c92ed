use super::*;
use crate::config::Config;
use proptest::prelude::*;
use std::time::Duration;

fn imported(text: &str) -> Imported {
    import("srs.conf", text, &mut |path| Err(format!("no {path}"))).unwrap()
}

fn config(text: &str) -> Config {
    let toml = imported(text).toml;
    Config::parse("x.toml", &toml).unwrap_or_else(|errors| panic!("{errors}\n{toml}"))
}

/// The lines without the head.
fn lines(text: &str) -> Vec<String> {
    imported(text).toml.lines().skip(2).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_password_of_srs_6_comes_over_and_closes_reading_as_it_does_there() {
    let text =
        "http_api { enabled on; auth { enabled on; username admin; password \"open:sesame\"; } } vhost v {}";
    assert_eq!(imported(text).left_out, 0, "{}", imported(text).toml);
    let auth = config(text).http_api.auth;
    assert!(auth.enabled && auth.reading && auth.username == "admin" && auth.password.is("open:sesame"));
    // Ours, in SRS's words.
    let auth = config("http_api { auth { tokens 0123456789abcdef fedcba9876543210; } }").http_api.auth;
    assert!(auth.tokens[1].is("fedcba9876543210"));
}

#[test]
fn what_both_have_comes_over() {
    let text = r#"
        listen 1935 127.0.0.1:19350;
        max_connections 1000;
        srs_log_tank console;
        srs_log_level_v2 info;
        daemon off;
        pid ./objs/srs.pid;
        work_dir ./;
        grace_start_wait 2300;
        grace_final_wait 3200;
        force_grace_quit on;
        utc_time on;
        chunk_size 4096;
        http_api { enabled on; listen 1985; }
        http_server { enabled on; listen 8080; dir "./objs/nginx/my html"; }
        vhost __defaultVhost__ {
            tcp_nodelay on;
            min_latency off;
            play { gop_cache off; queue_length 10; mw_latency 350; send_min_interval 10.0; time_jitter zero; }
            publish { firstpkt_timeout 20000; normal_timeout 7000; }
            http_remux { enabled on; mount [vhost]/[app]/[stream].flv; fast_cache 30; }
        }
        vhost cam.example.com { enabled off; }
    "#;
    assert_eq!(imported(text).left_out, 0, "{}", imported(text).toml);
    let config = config(text);
    assert_eq!(config.listen.iter().map(|at| at.port()).collect::<Vec<_>>(), [1935, 19350]);
    assert_eq!((config.max_connections, config.chunk_size), (Some(1000), 4096));
    assert!(config.http_api.enabled && config.http_server.enabled);
    assert!(!config.daemon && config.force_grace_quit && config.utc_time);
    assert_eq!(config.pid_file(false), Some("./objs/srs.pid".into()));
    assert_eq!(config.grace_final_wait, Duration::from_millis(3200));
    assert_eq!(config.http_server.dir.to_str(), Some("./objs/nginx/my html"));
    let vhost = &config.vhosts[crate::config::schema::DEFAULT_VHOST];
    assert!(vhost.tcp_nodelay && !vhost.play.gop_cache && vhost.http_remux.enabled);
    assert_eq!(vhost.play.queue_length, Duration::from_secs(10));
    assert_eq!(vhost.play.mw_latency, Some(Duration::from_millis(350)));
    assert_eq!(vhost.publish.normal_timeout, Duration::from_secs(7));
    assert_eq!(vhost.http_remux.fast_cache, Duration::from_secs(30));
    assert!(config.vhosts.resolve("cam.example.com").is_none());
}

#[test]
fn what_only_srs_has_is_a_comment_where_it_stood() {
    let text = "asprocess off;\nvhost a.b {\n  play { mix_correct on; gop_cache on; }\n  transcode live {\n engine \
                'a b' { vcodec copy; }\n }\n  whatever 1 2;\n}\n";
    assert_eq!(
        lines(text),
        [
            "# srs.conf:1: left out, this version does not act on it:",
            "#     asprocess off;",
            "[vhost.\"a.b\"]",
            "# srs.conf:4: left out, this version does not act on it:",
            "#     transcode live {",
            "#         engine \"a b\" {",
            "#             vcodec copy;",
            "#         }",
            "#     }",
            "# srs.conf:7: left out, no directive of SRS 3:",
            "#     whatever 1 2;",
            "[vhost.\"a.b\".play]",
            "# srs.conf:3: left out, this version does not act on it:",
            "#     mix_correct on;",
            "gop_cache = true",
        ]
    );
    assert_eq!(imported(text).left_out, 4);
    assert_eq!(config(text).vhosts.len(), 1);
}

#[test]
fn older_spellings_are_understood() {
    let text = "http_stream { enabled on; }\nvhost v { gop_cache off; queue_length 10; publish_normal_timeout 7000; \
                mr { enabled on; } play { gop_cache on; mw_latency 100; } mode remote; }";
    let config = config(text);
    let vhost = &config.vhosts["v"];
    assert!(config.http_server.enabled && !vhost.play.gop_cache);
    assert_eq!(vhost.play.mw_latency, Some(Duration::from_millis(100)));
    assert_eq!(vhost.publish.normal_timeout, Duration::from_secs(7));
    assert_eq!(imported(text).left_out, 3, "mr, the second gop_cache, mode: {}", imported(text).toml);
}

#[test]
fn rules_and_pages_come_over() {
    let text = "vhost v { security { enabled on; deny publish 1.2.3.4; allow play all; allow publish 10.0.0.0/8; } \
                refer a.com b.com; refer_play c.com; }";
    let vhost = &config(text).vhosts["v"];
    let shown = |rules: &[crate::access::Rule]| rules.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(vhost.security.enabled);
    assert_eq!(shown(&vhost.security.allow), ["play all", "publish 10.0.0.0/8"]);
    assert_eq!(shown(&vhost.security.deny), ["publish 1.2.3.4"]);
    assert_eq!((vhost.refer.all.len(), &vhost.refer.play[0][..]), (2, "c.com"));
    assert!(vhost.refer.enabled, "the old spelling has no switch");
    assert!(!super::tests::config("vhost v { refer { enabled off; all a.com; } }").vhosts["v"].refer.enabled);
}

#[test]
fn a_switch_is_what_srs_takes_it_for() {
    let vhost = |text: &str| config(&format!("vhost v {{ {text} }}")).vhosts["v"].clone();
    assert!(vhost("enabled yes;").enabled, "on by default: anything but off leaves it on");
    assert!(!vhost("tcp_nodelay yes;").tcp_nodelay, "off by default: nothing but on turns it on");
    assert!(vhost("enabled;").enabled);
}

#[test]
fn what_a_key_does_not_take_says_what_it_does() {
    let text = lines("chunk_size 70000;\nlisten;\nhttp_api on;\nvhost {\n}\nvhost a { }\nvhost a { }");
    assert_eq!(text[0], "# srs.conf:1: left out, allowed: an integer from 128 to 65536:");
    assert!(text[2].starts_with("# srs.conf:2: left out, allowed: 1935, "), "{text:?}");
    assert_eq!(text[4], "# srs.conf:3: left out, it takes no block, or no name:");
    assert_eq!(text[6], "# srs.conf:4: left out, a vhost has one name:");
    assert!(
        text.iter().any(|line| line.starts_with("# srs.conf:7: left out, it is there already")),
        "{text:?}"
    );
}

proptest! {
    /// Whatever is in a file that can be read: what comes of it can be read too.
    #[test]
    fn what_is_imported_is_toml(words in proptest::collection::vec(
        "listen|1935|vhost|a\\.b|play|gop_cache|on|http_remux|mount|/x/\\[stream\\]\\.flv|;|\\{|\\}|'a \n\"b'|queue_length|-1",
        0..40,
    )) {
        if let Ok(imported) = import("a\nb", &words.join(" "), &mut |_| Ok(String::new())) {
            let read = toml::de::DeTable::parse(&imported.toml);
            prop_assert!(read.is_ok(), "{:?}\n{}", read.err(), imported.toml);
        }
    }
}
