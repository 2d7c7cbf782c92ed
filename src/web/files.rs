//! Which file a path means, and what type it has. Opening it is the shell's work.

use crate::config::schema::DEFAULT_VHOST;
use std::path::{Path, PathBuf};

/// A folder served over HTTP: `http_server.dir`, or a vhost's `http_static`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMount {
    /// Only for requests of this vhost; `None` for all.
    pub vhost: Option<String>,
    /// Paths that begin with this; begins and ends with `/`.
    pub prefix: String,
    /// The folder that stands for the prefix.
    pub dir: PathBuf,
}

impl StaticMount {
    /// From SRS's `mount` (`[vhost]/`, `[vhost]/files`, `/files`, `host/files`) and `dir`.
    pub fn new(vhost: &str, mount: &str, dir: impl Into<PathBuf>) -> Self {
        let (host, path) = mount.split_at(mount.find('/').unwrap_or(mount.len()));
        let vhost = match host {
            "" => None,
            "[vhost]" if vhost == DEFAULT_VHOST => None,
            "[vhost]" => Some(vhost.to_owned()),
            host => Some(host.to_owned()),
        };
        let path = path.trim_matches('/');
        let prefix = if path.is_empty() { "/".to_owned() } else { format!("/{path}/") };
        Self { vhost, prefix, dir: dir.into() }
    }
}

/// A file that may exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// Where it would be.
    pub path: PathBuf,
    /// Its `Content-Type`.
    pub content_type: &'static str,
}

/// The files that a clean path could mean, best first: bound mounts before free ones, longer prefixes before
/// shorter. A path that ends in `/` means its `index.html`.
pub fn candidates(mounts: &[StaticMount], vhost: &str, path: &str) -> Vec<FilePath> {
    // `clean_path` has refused these; a second look costs nothing where a mistake would give away any file.
    if !path.starts_with('/') || path.split('/').any(|s| s == "..") || path.contains(['\0', '\\']) {
        return Vec::new();
    }
    let mut fitting: Vec<(&StaticMount, &str)> = mounts
        .iter()
        .filter(|m| m.vhost.as_deref().is_none_or(|v| v.eq_ignore_ascii_case(vhost)))
        .filter_map(|m| Some((m, path.strip_prefix(m.prefix.as_str())?)))
        .collect();
    fitting.sort_by_key(|(m, rest)| (m.vhost.is_none(), rest.len()));
    let file = |(mount, rest): (&StaticMount, &str)| {
        // Joining an absolute path would replace the folder.
        let rest = rest.trim_start_matches('/');
        let mut path = mount.dir.join(rest);
        if rest.is_empty() || rest.ends_with('/') {
            path.push("index.html");
        }
        let content_type = content_type(&path);
        FilePath { path, content_type }
    };
    fitting.into_iter().map(file).collect()
}

/// `Content-Type` by extension.
pub fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    TYPES.iter().find(|(e, _)| *e == extension).map_or("application/octet-stream", |(_, t)| t)
}

/// SRS's table, and what a web page of today needs besides.
const TYPES: [(&str, &str); 37] = [
    ("ts", "video/MP2T"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("flv", "video/x-flv"),
    ("mp4", "video/mp4"),
    ("mpd", "text/xml"),
    ("m4s", "video/iso.segment"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/x-m4v"),
    ("3gp", "video/3gpp"),
    ("3gpp", "video/3gpp"),
    ("aac", "audio/x-aac"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("webm", "video/webm"),
    ("vtt", "text/vtt"),
    ("json", "application/json"),
    ("xml", "text/xml"),
    ("f4m", "application/f4m"),
    ("abst", "video/abst"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("txt", "text/plain"),
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("wasm", "application/wasm"),
    ("css", "text/css"),
    ("swf", "application/x-shockwave-flash"),
    ("ico", "image/x-icon"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(mounts: &[StaticMount], vhost: &str, path: &str) -> Vec<String> {
        candidates(mounts, vhost, path).into_iter().map(|f| f.path.display().to_string()).collect()
    }

    fn mounts() -> Vec<StaticMount> {
        vec![
            StaticMount::new(DEFAULT_VHOST, "[vhost]/", "/srv/html"),
            StaticMount::new(DEFAULT_VHOST, "/files", "/srv/files"),
            StaticMount::new("v", "[vhost]/", "/srv/v"),
            StaticMount::new("v", "w/sub/", "/srv/w"),
        ]
    }

    #[test]
    fn the_nearest_mount_comes_first() {
        let m = mounts();
        assert_eq!(paths(&m, "x", "/a.ts"), ["/srv/html/a.ts"]);
        assert_eq!(paths(&m, "x", "/files/b/"), ["/srv/files/b/index.html", "/srv/html/files/b/index.html"]);
        assert_eq!(paths(&m, "V", "/"), ["/srv/v/index.html", "/srv/html/index.html"]);
        assert_eq!(paths(&m, "w", "/sub/a"), ["/srv/w/a", "/srv/html/sub/a"]);
        assert_eq!(paths(&m, "x", "/filesystem"), ["/srv/html/filesystem"]);
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        for path in ["", "a", "/../a", "/files/../../etc/passwd", "/a\0", "/..\\a"] {
            assert!(paths(&mounts(), "x", path).is_empty(), "{path:?}");
        }
        assert_eq!(paths(&mounts(), "x", "//etc/passwd"), ["/srv/html/etc/passwd"]);
    }

    #[test]
    fn types_follow_extensions_in_any_case() {
        let of = |path: &str| content_type(Path::new(path));
        assert_eq!(of("/x/a.M3U8"), "application/vnd.apple.mpegurl");
        assert_eq!(of("a.b.ts"), "video/MP2T");
        assert_eq!(of("a"), "application/octet-stream");
        assert_eq!(of(".ts"), "application/octet-stream");
    }

    proptest! {
        #[test]
        fn candidates_stay_below_their_folder(path in "[/.a\\\\]{0,12}") {
            for file in candidates(&mounts(), "v", &path) {
                prop_assert!(file.path.starts_with("/srv"));
                prop_assert!(file.path.components().all(|c| c != std::path::Component::ParentDir));
            }
        }
    }
}
