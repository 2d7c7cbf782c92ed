//! Which file a path means, and what type it has. Opening it is the shell's work.

use std::path::{Path, PathBuf};

/// A file that may exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath {
    /// Where it would be.
    pub path: PathBuf,
    /// Its `Content-Type`.
    pub content_type: &'static str,
}

/// The file of `http_server.dir` that a clean path means; None if it could lead out of there. A path that ends in `/`
/// means its `index.html`.
pub fn file_at(dir: &Path, path: &str) -> Option<FilePath> {
    // `clean_path` has refused these; a second look costs nothing where a mistake would give away any file.
    if !path.starts_with('/') || path.split('/').any(|s| s == "..") || path.contains(['\0', '\\']) {
        return None;
    }
    // Joining an absolute path would replace the folder.
    let rest = path.trim_start_matches('/');
    let mut path = dir.join(rest);
    if rest.is_empty() || rest.ends_with('/') {
        path.push("index.html");
    }
    let content_type = content_type(&path);
    Some(FilePath { path, content_type })
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

    fn path_at(path: &str) -> Option<String> {
        file_at(Path::new("/srv"), path).map(|file| file.path.display().to_string())
    }

    #[test]
    fn a_path_means_a_file_or_an_index() {
        assert_eq!(path_at("/a.ts").as_deref(), Some("/srv/a.ts"));
        assert_eq!(path_at("/files/b/").as_deref(), Some("/srv/files/b/index.html"));
        assert_eq!(path_at("/").as_deref(), Some("/srv/index.html"));
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        for path in ["", "a", "/../a", "/files/../../etc/passwd", "/a\0", "/..\\a"] {
            assert_eq!(path_at(path), None, "{path:?}");
        }
        assert_eq!(path_at("//etc/passwd").as_deref(), Some("/srv/etc/passwd"));
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
        fn files_stay_below_their_folder(path in "[/.a\\\\]{0,12}") {
            if let Some(file) = file_at(Path::new("/srv"), &path) {
                prop_assert!(file.path.starts_with("/srv"));
                prop_assert!(file.path.components().all(|c| c != std::path::Component::ParentDir));
            }
        }
    }
}
