//! Mount templates: where a live stream is served over HTTP, and in which format.
//!
//! A template is a host and a path, such as `[vhost]/[app]/[stream].flv`. Its extension selects the format. What
//! stands before the first `/` binds it: `[vhost]` to requests for its vhost, nothing to no host at all, other text
//! to that host. The default vhost takes any host that is not a vhost of its own, so for it `[vhost]` binds nothing.

use super::schema::DEFAULT_VHOST;
use super::units::{MAX_TEXT_BYTES, Unit, quoted};
use std::fmt;
use toml::de::DeValue;

/// A live format over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LiveFormat {
    /// HTTP-FLV.
    Flv,
    /// MPEG-TS.
    Ts,
    /// ADTS frames, audio only.
    Aac,
    /// MPEG audio frames, audio only.
    Mp3,
    /// Fragmented MP4 without end, for a browser's Media Source.
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

/// To which requests a mount is tied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// `[vhost]`: to those for the vhost it belongs to.
    Vhost,
    /// Nothing: to those for any host.
    Any,
    /// To those for this host, whatever vhost would have it otherwise.
    Host(String),
}

/// Where a live stream is served over HTTP: a template such as `[vhost]/[app]/[stream].flv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The part before the first `/`.
    pub binding: Binding,
    /// What the extension asks for.
    pub format: LiveFormat,
    path: String,
    app: App,
    /// Before and behind the stream's name in the last part of the path; the latter with the extension.
    before_stream: String,
    behind_stream: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum App {
    /// What stands between these; both begin and end with `/`.
    Between(String, String),
    /// A fixed folder.
    Folder(String),
}

/// Why a text is no mount template: what a message says behind the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum MountError {
    #[error("has no path (\"[vhost]/[app]/[stream].flv\" is the usual one)")]
    NoPath,
    #[error("is longer than {MAX_TEXT_BYTES} bytes")]
    TooLong,
    #[error("holds white space, a control character or one of ? # \\")]
    Character,
    #[error("does not end in .flv, .ts, .aac, .mp3 or .live.mp4")]
    Extension,
    #[error("brackets are for [vhost], [app] and [stream] only, before the path for [vhost] only")]
    Bracket,
    #[error("[stream] must be there exactly once, and in its last part")]
    Stream,
    #[error("[app] may be there once, as a part of its own before the last one")]
    App,
    #[error("without [app] it needs a folder, which is then the app")]
    NoApp,
}

impl Mount {
    /// Reads a template.
    ///
    /// # Errors
    /// If no request could ever reach it, or not all of its streams.
    pub fn parse(template: &str) -> Result<Self, MountError> {
        let path_at = template.find('/').ok_or(MountError::NoPath)?;
        let (host, path) = template.split_at(path_at);
        if template.len() > MAX_TEXT_BYTES {
            return Err(MountError::TooLong);
        }
        if template.contains(|c: char| c.is_whitespace() || c.is_control() || "?#\\".contains(c)) {
            return Err(MountError::Character);
        }
        let format = LiveFormat::ALL.into_iter().find(|format| path.ends_with(format.extension()));
        let format = format.ok_or(MountError::Extension)?;
        let literal = ["[vhost]", "[app]", "[stream]"].iter().fold(path.to_owned(), |t, n| t.replace(n, ""));
        let binding = match host {
            "" => Binding::Any,
            "[vhost]" => Binding::Vhost,
            host => Binding::Host(host.to_owned()),
        };
        let host_brackets = matches!(&binding, Binding::Host(host) if host.contains(['[', ']']));
        if host_brackets || literal.contains(['[', ']']) {
            return Err(MountError::Bracket);
        }
        let (folder, file) = path.rsplit_once('/').ok_or(MountError::NoPath)?;
        let (before, behind) = file.split_once("[stream]").ok_or(MountError::Stream)?;
        if [folder, behind].iter().any(|part| part.contains("[stream]")) {
            return Err(MountError::Stream);
        }
        if file.contains("[app]") {
            return Err(MountError::App);
        }
        let (path, before_stream, behind_stream) = (path.to_owned(), before.to_owned(), behind.to_owned());
        Ok(Self {
            binding,
            format,
            app: App::parse(&format!("{folder}/"))?,
            path,
            before_stream,
            behind_stream,
        })
    }

    /// The part from the first `/` on, extension included.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The template as a vhost has it: `[vhost]` in the path becomes the vhost's name.
    pub fn of_vhost(&self, vhost: &str) -> Self {
        let named = |text: &str| text.replace("[vhost]", vhost);
        let app = match &self.app {
            App::Between(head, tail) => App::Between(named(head), named(tail)),
            App::Folder(app) => App::Folder(named(app)),
        };
        let (before_stream, behind_stream) = (named(&self.before_stream), named(&self.behind_stream));
        Self { path: named(&self.path), app, before_stream, behind_stream, ..self.clone() }
    }

    /// Where a stream of a vhost is found, as a path that a page on any host can ask for.
    pub fn path_of(&self, vhost: &str, app: &str, stream: &str) -> String {
        let mut path = String::with_capacity(self.path.len() + vhost.len() + app.len() + stream.len());
        let mut rest = self.path.as_str();
        // In one walk: a name may look like a placeholder.
        while let Some((before, bracket)) = rest.find('[').and_then(|at| rest.split_at_checked(at)) {
            let placeholders = [("[vhost]", vhost), ("[app]", app), ("[stream]", stream)];
            let found = placeholders.into_iter().find_map(|(p, name)| Some((name, bracket.strip_prefix(p)?)));
            // A template has no other brackets, but a vhost put into it may.
            let (name, behind) = found.unwrap_or_else(|| bracket.split_at(1));
            path.extend([before, name]);
            rest = behind;
        }
        path += rest;
        let host = match &self.binding {
            Binding::Host(host) => host,
            Binding::Vhost | Binding::Any => vhost,
        };
        let query =
            if host == DEFAULT_VHOST { String::new() } else { format!("?vhost={}", encode_path(host)) };
        encode_path(&path) + &query
    }

    /// App and stream of a clean path, if it is one of this mount's. A stream's name has no `/`, so only the app can
    /// have several parts.
    pub fn names_in<'a>(&'a self, path: &'a str) -> Option<(&'a str, &'a str)> {
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

impl App {
    /// Reads the path up to its last part; it begins and ends with `/`.
    fn parse(folder: &str) -> Result<Self, MountError> {
        match folder.split_once("/[app]/") {
            Some((head, tail)) if !head.contains("[app]") && !tail.contains("[app]") => {
                Ok(Self::Between(format!("{head}/"), format!("/{tail}")))
            }
            None if !folder.contains("[app]") => match folder.trim_matches('/') {
                "" => Err(MountError::NoApp),
                app => Ok(Self::Folder(app.to_owned())),
            },
            _ => Err(MountError::App),
        }
    }
}

/// The template.
impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.binding {
            Binding::Vhost => "[vhost]",
            Binding::Any => "",
            Binding::Host(host) => host,
        };
        write!(f, "{host}{}", self.path)
    }
}

/// Percent-encodes what may not stand in a path (RFC 3986 §3.3).
fn encode_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(byte as char)
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A mount template.
pub(super) fn mount() -> impl Unit<Value = Mount> {
    MountTemplate
}

struct MountTemplate;

impl Unit for MountTemplate {
    type Value = Mount;

    fn show(&self, value: &Mount) -> String {
        quoted(&value.to_string())
    }

    fn allowed(&self) -> String {
        "a template like \"[vhost]/[app]/[stream].flv\"".to_owned()
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Mount> {
        Mount::parse(value.as_str()?).ok()
    }

    fn fault(&self, value: &DeValue<'_>) -> Option<String> {
        Mount::parse(value.as_str()?).err().map(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_template_has_a_binding_and_a_format() {
        let parse = |template: &str| Mount::parse(template).map(|mount| (mount.binding, mount.format));
        assert_eq!(parse("[vhost]/[app]/[stream].live.mp4"), Ok((Binding::Vhost, LiveFormat::Mp4)));
        assert_eq!(parse("/live/[stream].flv"), Ok((Binding::Any, LiveFormat::Flv)));
        assert_eq!(parse("a.b/[app]/[stream].ts"), Ok((Binding::Host("a.b".into()), LiveFormat::Ts)));
        for format in LiveFormat::ALL {
            let template = format!("/[app]/[stream]{}", format.extension());
            assert_eq!(parse(&template), Ok((Binding::Any, format)));
            assert!(MountError::Extension.to_string().contains(format.extension()));
        }
    }

    #[test]
    fn templates_that_cannot_work_are_refused() {
        for (template, error) in [
            ("", MountError::NoPath),
            ("[stream].flv", MountError::NoPath),
            ("/", MountError::Extension),
            ("[vhost]/[app]/[stream].mkv", MountError::Extension),
            ("[vhost]/[app]/[stream].mp4", MountError::Extension),
            ("/[app]/[stream]", MountError::Extension),
            ("/a b/[stream].ts", MountError::Character),
            ("/a?/[stream].ts", MountError::Character),
            ("/[foo]/[stream].flv", MountError::Bracket),
            ("[app]/x/[stream].flv", MountError::Bracket),
            ("/[app/[stream].flv", MountError::Bracket),
            ("/[a[app]pp]/[stream].flv", MountError::Bracket),
            ("[vhost]/[app]/live.flv", MountError::Stream),
            ("[vhost]/[app]/[stream]/[stream].flv", MountError::Stream),
            ("[vhost]/[app]-[stream].flv", MountError::App),
            ("[vhost]/x[app]/[stream].flv", MountError::App),
            ("[vhost]/[app]/[app]/[stream].flv", MountError::App),
            ("[vhost]/[stream].flv", MountError::NoApp),
        ] {
            assert_eq!(Mount::parse(template), Err(error), "{template}");
        }
        let long = |bytes: usize| format!("/{}/[stream].ts", "x".repeat(bytes - "//[stream].ts".len()));
        assert_eq!(Mount::parse(&long(MAX_TEXT_BYTES + 1)), Err(MountError::TooLong));
        assert!(Mount::parse(&long(MAX_TEXT_BYTES)).is_ok());
    }

    #[test]
    fn paths_for_a_page_are_encoded_and_name_the_vhost() {
        let mount = Mount::parse("[vhost]/x/[app]/[stream].flv").expect("a good template");
        assert_eq!(mount.path_of(DEFAULT_VHOST, "live", "a b"), "/x/live/a%20b.flv");
        assert_eq!(mount.path_of("v&w", "a/b", "ü"), "/x/a/b/%C3%BC.flv?vhost=v%26w");
        let named = Mount::parse("/[vhost]/[app]/[stream].flv").expect("a good template");
        assert_eq!(named.path_of("v", "l", "a"), "/v/l/a.flv?vhost=v");
        assert_eq!(named.of_vhost("v").names_in("/v/l/a.flv"), Some(("l", "a")));
        assert_eq!(named.of_vhost("v").names_in("/w/l/a.flv"), None);
        let odd = mount.path_of(DEFAULT_VHOST, "[stream]", "[app]");
        assert_eq!(odd, "/x/%5Bstream%5D/%5Bapp%5D.flv", "names that look like placeholders are names");
    }

    proptest! {
        #[test]
        fn a_mount_shows_its_template(text in "(\\[vhost\\]|a|\\PC{0,3})/(\\[app\\]/)?\\PC{0,4}\\[stream\\]\\.(ts|flv|mp4)") {
            if let Ok(mount) = Mount::parse(&text) {
                prop_assert_eq!(mount.to_string(), text);
            }
        }

        #[test]
        fn what_a_template_makes_of_names_it_finds_again(
            app in "[a-z.]{1,4}(/[a-z.]{1,4}){0,2}",
            stream in "[a-z0-9._-]{1,8}",
            template in prop::sample::select(vec![
                "/[app]/[stream].flv", "/x/[app]/[stream].ts", "/[app]/y/p-[stream].live.mp4",
                "/[vhost]/[app]/[stream].aac",
            ]),
        ) {
            let mount = Mount::parse(template).expect("a good template").of_vhost(DEFAULT_VHOST);
            let path = mount.path_of(DEFAULT_VHOST, &app, &stream);
            prop_assert_eq!(mount.names_in(&path), Some((app.as_str(), stream.as_str())));
        }
    }
}
