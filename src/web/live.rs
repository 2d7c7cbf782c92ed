//! From a path to a live stream: which of the vhosts' mounts, [`Mount`], a request is for.

use crate::config::mount::{Binding, LiveFormat, Mount};
use crate::config::schema::DEFAULT_VHOST;

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

/// All vhosts and their templates.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    vhosts: Vec<(String, Vec<Mount>)>,
}

impl Mounts {
    /// The mounts of all enabled vhosts. Vhosts without any must be named as well: their hosts are theirs.
    pub fn new<'a>(vhosts: impl IntoIterator<Item = (&'a str, &'a [Mount])>) -> Self {
        let bound = |(name, mounts): (&str, &[Mount])| {
            (name.to_owned(), mounts.iter().map(|mount| mount.of_vhost(name)).collect())
        };
        Self { vhosts: vhosts.into_iter().map(bound).collect() }
    }

    /// The vhost that takes a host: its own, else the default one.
    pub fn vhost_of(&self, host: &str) -> Option<&str> {
        self.entry_of(host).map(|(name, _)| name.as_str())
    }

    /// The stream behind a clean path. `host` is that of the request, or its `?vhost=`.
    pub fn find(&self, host: &str, path: &str) -> Option<LiveRequest> {
        let own = self.entry_of(host);
        let bound = own.into_iter().flat_map(|(name, mounts)| {
            let fits = move |m: &&Mount| match &m.binding {
                Binding::Vhost | Binding::Any => true,
                Binding::Host(literal) => literal.eq_ignore_ascii_case(host),
            };
            mounts.iter().filter(fits).map(move |m| (name, m))
        });
        // Templates that begin with `/` are for every host, behind those of the host's own vhost.
        let free = self.vhosts.iter().flat_map(|(name, mounts)| {
            mounts.iter().filter(|m| m.binding == Binding::Any).map(move |m| (name, m))
        });
        bound.chain(free).find_map(|(vhost, mount)| {
            let (app, stream) = mount.names_in(path)?;
            Some(LiveRequest {
                vhost: vhost.clone(),
                app: app.into(),
                stream: stream.into(),
                format: mount.format,
            })
        })
    }

    fn entry_of(&self, host: &str) -> Option<&(String, Vec<Mount>)> {
        let named = |wanted: &str| self.vhosts.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        named(host).or_else(|| named(DEFAULT_VHOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(vhosts: [(&str, &[&str]); N]) -> Mounts {
        let parse = |text: &&str| Mount::parse(text).expect("a good template");
        let parsed = vhosts.map(|(name, all)| (name, all.iter().map(parse).collect::<Vec<_>>()));
        Mounts::new(parsed.iter().map(|(name, all)| (*name, all.as_slice())))
    }

    fn found(mounts: &Mounts, host: &str, path: &str) -> Option<String> {
        let r = mounts.find(host, path)?;
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
        assert_eq!(found(&mounts, "cam.example", "/x/l/a.flv"), None);
        assert_eq!(found(&mounts, "off.example", "/l/a.flv"), None);
        assert_eq!(mounts.vhost_of("off.example"), Some("off.example"));
        assert_eq!(mounts.vhost_of("nobody"), Some(DEFAULT_VHOST));
        assert_eq!(read([("a", &[])]).vhost_of("b"), None);
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
