//! From a path to a live stream: which of the vhosts' mounts, [`Mount`], a request is for.

use crate::config::Config;
use crate::config::mount::{Binding, LiveFormat, Mount};
use std::collections::BTreeMap;

/// A live stream that someone asks for over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveRequest {
    /// The configured vhost it belongs to, not the host of the request.
    pub vhost: String,
    /// Application; may have several parts (`live/hall`).
    pub app: String,
    /// Stream name.
    pub stream: String,
    /// Format.
    pub format: LiveFormat,
}

/// The templates of all vhosts that are served over HTTP.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    /// Those of one host alone, with the vhosts that have them, by that host in lower case.
    of_host: BTreeMap<String, Vec<(String, Mount)>>,
    /// The others, by vhost.
    own: BTreeMap<String, Vec<Mount>>,
    /// Those for every host.
    free: Vec<(String, Mount)>,
}

impl Mounts {
    /// The mounts of a configuration.
    pub fn new(config: &Config) -> Self {
        let mut mounts = Mounts::default();
        for (name, vhost) in config.vhosts.iter().filter(|(_, v)| v.enabled && v.http_remux.enabled) {
            for mount in vhost.http_remux.mount.iter().map(|mount| mount.of_vhost(name)) {
                let of = (name.clone(), mount.clone());
                if let Binding::Host(host) = &mount.binding {
                    mounts.of_host.entry(host.to_ascii_lowercase()).or_default().push(of);
                    continue;
                }
                if mount.binding == Binding::Any {
                    mounts.free.push(of);
                }
                mounts.own.entry(name.clone()).or_default().push(mount);
            }
        }
        mounts
    }

    /// The stream behind a clean path. `host` is that of the request, or its `?vhost=`; `config` is the one
    /// whose mounts these are.
    pub fn find(&self, config: &Config, host: &str, path: &str) -> Option<LiveRequest> {
        if config.vhosts.named(host).is_some_and(|(_, vhost)| !vhost.enabled) {
            return None; // it refuses, whatever others would do with the path
        }
        let of = |(vhost, mount): &(String, Mount)| live_request(vhost, mount, path);
        let of_host = self.of_host.get(&host.to_ascii_lowercase()).into_iter().flatten().find_map(of);
        let of_vhost = || {
            let (vhost, _) = config.vhosts.resolve(host)?;
            self.own.get(vhost)?.iter().find_map(|mount| live_request(vhost, mount, path))
        };
        // What is for this host alone comes first, whichever vhost has it; what is for every host comes last.
        of_host.or_else(of_vhost).or_else(|| self.free.iter().find_map(of))
    }
}

fn live_request(vhost: &str, mount: &Mount, path: &str) -> Option<LiveRequest> {
    let (app, stream) = mount.names_in(path)?;
    Some(LiveRequest {
        vhost: vhost.to_owned(),
        app: app.into(),
        stream: stream.into(),
        format: mount.format,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{DEFAULT_VHOST, HttpRemux, Vhost};

    /// A configuration with these vhosts, and its mounts. A name behind `-` is that of a disabled one.
    struct Served(Config, Mounts);

    fn read<const N: usize>(vhosts: [(&str, &[&str]); N]) -> Served {
        let parse = |text: &&str| Mount::parse(text).expect("a good template");
        let vhosts = vhosts.map(|(name, all)| {
            let http_remux = HttpRemux {
                enabled: !all.is_empty(),
                mount: all.iter().map(parse).collect(),
                ..HttpRemux::default()
            };
            let vhost = Vhost { enabled: !name.starts_with('-'), http_remux, ..Vhost::default() };
            (name.trim_start_matches('-').to_owned(), vhost)
        });
        let config = Config { vhosts: vhosts.into(), ..Config::default() };
        let mounts = Mounts::new(&config);
        Served(config, mounts)
    }

    fn found(Served(config, mounts): &Served, host: &str, path: &str) -> Option<String> {
        let r = mounts.find(config, host, path)?;
        Some(format!("{} {} {} {:?}", r.vhost, r.app, r.stream, r.format))
    }

    #[test]
    fn a_vhost_s_templates_select_app_stream_and_format() {
        let all =
            ["[vhost]/[app]/[stream].flv", "[vhost]/[app]/[stream].ts", "[vhost]/[app]/[stream].live.mp4"];
        let mounts = read([(DEFAULT_VHOST, &all)]);
        for (path, expected) in [
            ("/live/a.flv", Some("__defaultVhost__ live a Flv")),
            ("/live/hall/2/a.b.ts", Some("__defaultVhost__ live/hall/2 a.b Ts")),
            ("/live/a.live.mp4", Some("__defaultVhost__ live a Mp4")),
            ("/live/a.mp4", None),
            ("/live/a.aac", None),
            ("/a.flv", None),
            ("/live/.flv", None),
            ("/live/a.flv/", None),
            ("/", None),
            ("*", None),
        ] {
            assert_eq!(found(&mounts, "any.host", path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_host_belongs_to_its_vhost_even_if_that_has_no_templates() {
        let mounts = read([
            (DEFAULT_VHOST, &["[vhost]/[app]/[stream].flv"]),
            ("cam.example", &["[vhost]/[app]/[stream].ts", "cdn.example/x/[app]/[stream].flv"]),
            ("off.example", &[]),
        ]);
        assert_eq!(found(&mounts, "nobody", "/l/a.flv").as_deref(), Some("__defaultVhost__ l a Flv"));
        assert_eq!(found(&mounts, "CAM.example", "/l/a.ts").as_deref(), Some("cam.example l a Ts"));
        assert_eq!(found(&mounts, "cam.example", "/l/a.flv"), None);
        assert_eq!(found(&mounts, "cam.example", "/x/l/a.flv"), None, "that is for cdn.example");
        assert_eq!(found(&mounts, "off.example", "/l/a.flv"), None);
    }

    #[test]
    fn a_template_with_a_host_serves_that_host_whatever_vhost_it_is_of() {
        let mounts = read([
            (DEFAULT_VHOST, &["[vhost]/[app]/[stream].flv", "www.example/[app]/[stream].ts"]),
            ("cam.example", &["cdn.example/x/[app]/[stream].flv"]),
            ("-off.example", &["cdn.example/off/[app]/[stream].ts"]),
        ]);
        // The default vhost would take these paths, too.
        assert_eq!(found(&mounts, "cdn.example", "/x/l/a.flv").as_deref(), Some("cam.example l a Flv"));
        assert_eq!(found(&mounts, "CDN.example", "/x/l/a.flv").as_deref(), Some("cam.example l a Flv"));
        assert_eq!(found(&mounts, "cdn.example", "/l/a.flv").as_deref(), Some("__defaultVhost__ l a Flv"));
        assert_eq!(found(&mounts, "cdn.example", "/off/l/a.ts"), None);
        assert_eq!(found(&mounts, "www.example", "/l/a.ts").as_deref(), Some("__defaultVhost__ l a Ts"));
        assert_eq!(found(&mounts, "nobody", "/l/a.ts"), None);
    }

    #[test]
    fn what_a_mount_says_of_a_stream_s_path_is_found() {
        let templates =
            ["[vhost]/[app]/[stream].flv", "/v/[app]/[stream].ts", "cdn.example/[app]/[stream].aac"];
        for vhost in [DEFAULT_VHOST, "cam.example"] {
            let served = read([(vhost, &templates)]);
            for template in templates {
                let mount = Mount::parse(template).expect("a good template");
                let link = mount.path_of(vhost, "l", "a");
                let (path, query) = link.split_once('?').unwrap_or((&link, "vhost=nobody"));
                let host = query.strip_prefix("vhost=").expect("nothing else");
                let expected = format!("{vhost} l a {:?}", mount.format);
                assert_eq!(found(&served, host, path), Some(expected), "{link}");
            }
        }
    }

    #[test]
    fn a_disabled_vhost_s_clients_are_nobody_else_s() {
        let mounts = read([
            (DEFAULT_VHOST, &["[vhost]/[app]/[stream].flv"]),
            ("-off.example", &["[vhost]/[app]/[stream].flv", "/off/[app]/[stream].ts"]),
            ("free.example", &["/free/[app]/[stream].ts"]),
        ]);
        for path in ["/l/a.flv", "/off/l/a.ts", "/free/l/a.ts"] {
            assert_eq!(found(&mounts, "off.example", path), None, "{path}");
            assert_eq!(found(&mounts, "OFF.example", path), None, "{path}");
        }
        assert_eq!(found(&mounts, "nobody", "/off/l/a.ts"), None);
        assert_eq!(found(&mounts, "nobody", "/free/l/a.ts").as_deref(), Some("free.example l a Ts"));
        // A disabled default vhost is no name that anybody asked for.
        let mounts = read([("-__defaultVhost__", &[]), ("v", &["/free/[app]/[stream].ts"])]);
        assert_eq!(found(&mounts, "nobody", "/free/l/a.ts").as_deref(), Some("v l a Ts"));
    }

    #[test]
    fn a_template_without_host_serves_every_host() {
        let mounts = read([
            (DEFAULT_VHOST, &["/[app]/[stream].flv"]),
            ("v", &["/v/[app]/hd/cam-[stream]_x.flv", "/fixed/app/[stream].mp3"]),
        ]);
        assert_eq!(found(&mounts, "v", "/v/l/hd/cam-1_x.flv").as_deref(), Some("v l 1 Flv"));
        assert_eq!(found(&mounts, "v", "/v/l/m/hd/cam-1_x.flv").as_deref(), Some("v l/m 1 Flv"));
        assert_eq!(found(&mounts, "v", "/l/a.flv").as_deref(), Some("__defaultVhost__ l a Flv"));
        assert_eq!(found(&mounts, "w", "/fixed/app/a.mp3").as_deref(), Some("v fixed/app a Mp3"));
        assert_eq!(found(&mounts, "w", "/other/app/a.mp3"), None);
        // The prefix and the suffix of a template must not share bytes of the path.
        let mounts = read([("v", &["/aa/[app]/aa/[stream].flv"])]);
        assert_eq!(found(&mounts, "v", "/aa/aa/x.flv"), None);
    }
}
