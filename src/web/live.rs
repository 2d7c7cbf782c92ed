//! From a path to a live stream: the mount templates of `http_remux`.
//!
//! A template is a host and a path, such as `[vhost]/[app]/[stream].flv`. Its extension selects the format. What
//! stands before the first `/` binds it: `[vhost]` to requests for its vhost, nothing to no host at all, other text
//! to that host. The default vhost takes any host that is not a vhost of its own, so for it `[vhost]` binds nothing.

use thiserror::Error;

/// SRS's name for the vhost that takes what no other does.
pub const DEFAULT_VHOST: &str = "__defaultVhost__";

/// A live format over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LiveFormat {
    Flv,
    Ts,
    Aac,
    Mp3,
    /// Fragmented MP4 without end, for Media Source.
    Mp4,
}

impl LiveFormat {
    /// All formats.
    pub const ALL: [LiveFormat; 5] =
        [LiveFormat::Flv, LiveFormat::Ts, LiveFormat::Aac, LiveFormat::Mp3, LiveFormat::Mp4];

    /// What a path for it ends in.
    pub const fn extension(self) -> &'static str {
        match self {
            LiveFormat::Flv => ".flv",
            LiveFormat::Ts => ".ts",
            LiveFormat::Aac => ".aac",
            LiveFormat::Mp3 => ".mp3",
            LiveFormat::Mp4 => ".live.mp4",
        }
    }

    /// `Content-Type`, as SRS sends it.
    pub const fn content_type(self) -> &'static str {
        match self {
            LiveFormat::Flv => "video/x-flv",
            LiveFormat::Ts => "video/MP2T",
            LiveFormat::Aac => "audio/x-aac",
            LiveFormat::Mp3 => "audio/mpeg",
            LiveFormat::Mp4 => "video/mp4",
        }
    }
}

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

/// Why a mount template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum MountError {
    #[error("mount \"{0}\": has no path (\"[vhost]/[app]/[stream].flv\" is the usual one)")]
    NoPath(String),
    #[error("mount \"{0}\": does not end in .flv, .ts, .aac, .mp3 or .live.mp4")]
    Extension(String),
    #[error("mount \"{0}\": [stream] must be there exactly once, and in its last part")]
    Stream(String),
    #[error("mount \"{0}\": [app] may be there once, as a part of its own before the last one")]
    App(String),
    #[error("mount \"{0}\": without [app] it needs a folder, which is then the app")]
    NoApp(String),
}

/// All vhosts and their templates.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    vhosts: Vec<(String, Vec<Mount>)>,
}

#[derive(Clone, Debug)]
struct Mount {
    binding: Binding,
    app: App,
    /// Before and behind the stream's name in the last part of the path; the latter with the extension.
    before_stream: String,
    behind_stream: String,
    format: LiveFormat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Binding {
    Vhost,
    Any,
    Host(String),
}

#[derive(Clone, Debug)]
enum App {
    /// What stands between these; both begin and end with `/`.
    Between(String, String),
    /// A fixed folder.
    Folder(String),
}

impl Mounts {
    /// Reads the templates of all enabled vhosts. Vhosts without any must be named as well: their hosts are theirs.
    pub fn new<'a, V, T>(vhosts: V) -> Result<Self, MountError>
    where
        V: IntoIterator<Item = (&'a str, T)>,
        T: IntoIterator<Item = &'a str>,
    {
        let read = |(name, templates): (&str, T)| {
            let mounts: Result<Vec<Mount>, MountError> = templates.into_iter().map(Mount::parse).collect();
            Ok((name.to_owned(), mounts?))
        };
        Ok(Self { vhosts: vhosts.into_iter().map(read).collect::<Result<_, MountError>>()? })
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
            let (app, stream) = mount.matches(path)?;
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

impl Mount {
    fn parse(template: &str) -> Result<Self, MountError> {
        let error = |kind: fn(String) -> MountError| kind(template.to_owned());
        let path_at = template.find('/').ok_or_else(|| error(MountError::NoPath))?;
        let (host, path) = template.split_at(path_at);
        let binding = match host {
            "" => Binding::Any,
            "[vhost]" => Binding::Vhost,
            host => Binding::Host(host.to_owned()),
        };
        let formats = LiveFormat::ALL.into_iter();
        let format = formats
            .filter(|f| path.ends_with(f.extension()))
            .max_by_key(|f| f.extension().len())
            .ok_or_else(|| error(MountError::Extension))?;
        let (folder, file) = path.rsplit_once('/').ok_or_else(|| error(MountError::NoPath))?;
        let (before, behind) = file.split_once("[stream]").ok_or_else(|| error(MountError::Stream))?;
        if [folder, behind].iter().any(|part| part.contains("[stream]")) {
            return Err(error(MountError::Stream));
        }
        if file.contains("[app]") {
            return Err(error(MountError::App));
        }
        let folder = format!("{folder}/");
        let app = match folder.split_once("/[app]/") {
            Some((head, tail)) if !head.contains("[app]") && !tail.contains("[app]") => {
                App::Between(format!("{head}/"), format!("/{tail}"))
            }
            None if !folder.contains("[app]") => match folder.trim_matches('/') {
                "" => return Err(error(MountError::NoApp)),
                app => App::Folder(app.to_owned()),
            },
            _ => return Err(error(MountError::App)),
        };
        Ok(Self { binding, app, before_stream: before.to_owned(), behind_stream: behind.to_owned(), format })
    }

    /// App and stream of a clean path. A stream's name has no `/`, so only the app can have several parts.
    fn matches<'a>(&'a self, path: &'a str) -> Option<(&'a str, &'a str)> {
        let file_at = path.rfind('/')? + 1;
        let (folder, file) = path.split_at_checked(file_at)?;
        let stream =
            file.strip_prefix(self.before_stream.as_str())?.strip_suffix(self.behind_stream.as_str())?;
        let app = match &self.app {
            App::Between(head, tail) => folder.strip_prefix(head.as_str())?.strip_suffix(tail.as_str())?,
            App::Folder(app) => Some(app.as_str()).filter(|app| folder.trim_matches('/') == *app)?,
        };
        (!app.is_empty() && !stream.is_empty()).then_some((app, stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(mounts: &Mounts, host: &str, path: &str) -> Option<String> {
        let r = mounts.find(host, path)?;
        Some(format!("{} {} {} {:?}", r.vhost, r.app, r.stream, r.format))
    }

    #[test]
    fn a_vhost_s_templates_select_app_stream_and_format() {
        let all =
            ["[vhost]/[app]/[stream].flv", "[vhost]/[app]/[stream].ts", "[vhost]/[app]/[stream].live.mp4"];
        let mounts = Mounts::new([(DEFAULT_VHOST, all.to_vec())]).unwrap();
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
        let mounts = Mounts::new([
            (DEFAULT_VHOST, vec!["[vhost]/[app]/[stream].flv"]),
            ("cam.example", vec!["[vhost]/[app]/[stream].ts", "cdn.example/x/[app]/[stream].flv"]),
            ("off.example", vec![]),
        ])
        .unwrap();
        assert_eq!(found(&mounts, "nobody", "/l/a.flv").as_deref(), Some("__defaultVhost__ l a Flv"));
        assert_eq!(found(&mounts, "CAM.example", "/l/a.ts").as_deref(), Some("cam.example l a Ts"));
        assert_eq!(found(&mounts, "cam.example", "/l/a.flv"), None);
        assert_eq!(found(&mounts, "cam.example", "/x/l/a.flv"), None);
        assert_eq!(found(&mounts, "off.example", "/l/a.flv"), None);
        assert_eq!(mounts.vhost_of("off.example"), Some("off.example"));
        assert_eq!(mounts.vhost_of("nobody"), Some(DEFAULT_VHOST));
        assert_eq!(Mounts::new([("a", vec![])]).unwrap().vhost_of("b"), None);
    }

    #[test]
    fn a_template_without_host_serves_every_host() {
        let mounts = Mounts::new([
            (DEFAULT_VHOST, vec!["/[app]/[stream].flv"]),
            ("v", vec!["/v/[app]/hd/cam-[stream]_x.flv", "/fixed/app/[stream].mp3"]),
        ])
        .unwrap();
        assert_eq!(found(&mounts, "v", "/v/l/hd/cam-1_x.flv").as_deref(), Some("v l 1 Flv"));
        assert_eq!(found(&mounts, "v", "/v/l/m/hd/cam-1_x.flv").as_deref(), Some("v l/m 1 Flv"));
        assert_eq!(found(&mounts, "v", "/l/a.flv").as_deref(), Some("__defaultVhost__ l a Flv"));
        assert_eq!(found(&mounts, "w", "/fixed/app/a.mp3").as_deref(), Some("v fixed/app a Mp3"));
        assert_eq!(found(&mounts, "w", "/other/app/a.mp3"), None);
        // The prefix and the suffix of a template must not share bytes of the path.
        let mounts = Mounts::new([("v", vec!["/aa/[app]/aa/[stream].flv"])]).unwrap();
        assert_eq!(found(&mounts, "v", "/aa/aa/x.flv"), None);
    }

    #[test]
    fn templates_that_cannot_work_are_refused() {
        type Kind = fn(String) -> MountError;
        let cases: [(&str, Kind); 9] = [
            ("[stream].flv", MountError::NoPath),
            ("[vhost]/[app]/[stream].mkv", MountError::Extension),
            ("[vhost]/[app]/[stream].mp4", MountError::Extension),
            ("[vhost]/[app]/live.flv", MountError::Stream),
            ("[vhost]/[app]/[stream]/[stream].flv", MountError::Stream),
            ("[vhost]/[app]-[stream].flv", MountError::App),
            ("[vhost]/x[app]/[stream].flv", MountError::App),
            ("[vhost]/[app]/[app]/[stream].flv", MountError::App),
            ("[vhost]/[stream].flv", MountError::NoApp),
        ];
        for (template, kind) in cases {
            assert_eq!(Mounts::new([("v", [template])]).err(), Some(kind(template.into())));
        }
    }

    proptest! {
        #[test]
        fn what_a_template_makes_of_names_it_finds_again(
            app in "[a-z.]{1,4}(/[a-z.]{1,4}){0,2}",
            stream in "[a-z0-9._-]{1,8}",
            template in prop::sample::select(vec![
                "/[app]/[stream].flv", "/x/[app]/[stream].ts", "/[app]/y/p-[stream].live.mp4",
            ]),
        ) {
            let mounts = Mounts::new([(DEFAULT_VHOST, [template])]).unwrap();
            let path = template.replace("[app]", &app).replace("[stream]", &stream);
            let found = mounts.find("h", &path).unwrap();
            prop_assert_eq!((found.app, found.stream), (app, stream));
        }
    }
}
