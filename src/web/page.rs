//! The player page, embedded: a list of live streams, and a player for them that needs no library.
//!
//! The page and its parts are constants under [`ROOT`]; `index.html` is what `/` answers too, unless the
//! user's directory has an `index.html` of its own. It asks [`STREAMS_PATH`] of its own port every two
//! seconds for an array of [`LiveStream`]s.

use super::api::merge;
use super::api::snapshot::ShardSnapshot;
use crate::config::Config;
use crate::config::mount::LiveFormat;
use serde::Serialize;

/// Where the page is always found. Its own links are absolute, so it can be served at `/` as well.
pub const ROOT: &str = "/_live/";

/// The list of live streams: a JSON array of [`LiveStream`], not to be cached.
pub const STREAMS_PATH: &str = "/_live/streams.json";

/// Header of the answer at [`STREAMS_PATH`] that names the port RTMP listens on; the page takes 1935 if it
/// is missing.
pub const RTMP_PORT_HEADER: &str = "X-RTMP-Port";

/// A part of the page.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    /// Name under [`ROOT`]; empty for the page itself.
    pub name: &'static str,
    /// `Content-Type`.
    pub mime: &'static str,
    /// The bytes.
    pub body: &'static [u8],
    etag: [u8; ETAG_BYTES],
}

const ETAG_BYTES: usize = 18;

static ASSETS: [Asset; 5] = [
    asset("", "text/html; charset=utf-8", include_bytes!("page/index.html")),
    asset("mp4.js", "text/javascript; charset=utf-8", include_bytes!("page/mp4.js")),
    asset("page.js", "text/javascript; charset=utf-8", include_bytes!("page/page.js")),
    asset("player.js", "text/javascript; charset=utf-8", include_bytes!("page/player.js")),
    asset("style.css", "text/css; charset=utf-8", include_bytes!("page/style.css")),
];

/// The page itself, for `/`.
pub fn index() -> &'static Asset {
    &ASSETS[0]
}

/// The part of the page at a path (without query), if it is one: `/_live/`, `/_live/player.js` …
pub fn at(path: &str) -> Option<&'static Asset> {
    let name = path.strip_prefix(ROOT)?;
    ASSETS.iter().find(|asset| asset.name == name || asset.name.is_empty() && name == "index.html")
}

impl Asset {
    /// The `ETag`, quotes included (RFC 9110 §8.8.3); it changes with the bytes. Parts should be sent with
    /// `Cache-Control: no-cache`, so that a page never runs with the script of an older server.
    pub fn etag(&self) -> &str {
        str::from_utf8(&self.etag).unwrap_or_default()
    }
}

/// A stream as the page's list wants it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveStream {
    /// Virtual host.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub name: String,
    /// Path of the fragmented MP4 on this port, `/live/demo.live.mp4`: percent-encoded, with a query if the
    /// vhost needs one; empty if it has none.
    pub url: String,
    /// Path of the FLV on this port, likewise; empty if it has none.
    pub flv: String,
    /// Codecs as RFC 6381 writes them, `avc1.64001f,mp4a.40.2`; empty until the sequence headers are there.
    pub codecs: String,
    /// Width in pixels; 0 without video.
    pub width: u32,
    /// Height in pixels; 0 without video.
    pub height: u32,
    /// Bitrate from the publisher, kbit/s.
    pub kbps: u32,
    /// Viewers of all protocols on all shards.
    pub viewers: u64,
    /// For how long it has been published, in milliseconds.
    pub since_ms: u64,
}

/// The list: what is published now, in order of its name.
pub fn live_streams(config: &Config, shards: &[ShardSnapshot]) -> Vec<LiveStream> {
    let all = merge::streams(shards).into_iter().filter(|merged| merged.stream.publisher.is_some());
    all.map(|merged| {
        let of = merged.stream;
        let path = |format| {
            let vhost = config.vhosts.get(&of.vhost).filter(|vhost| vhost.enabled)?;
            Some(vhost.http_remux.mount_of(format)?.path_of(&of.vhost, &of.app, &of.name))
        };
        LiveStream {
            url: path(LiveFormat::Mp4).unwrap_or_default(),
            flv: path(LiveFormat::Flv).unwrap_or_default(),
            vhost: of.vhost.clone(),
            app: of.app.clone(),
            name: of.name.clone(),
            codecs: of.codecs.clone(),
            width: of.video.as_ref().map_or(0, |video| video.width),
            height: of.video.as_ref().map_or(0, |video| video.height),
            kbps: of.bitrate_kbps,
            viewers: merged.viewers(),
            since_ms: of.since_ms,
        }
    })
    .collect()
}

const fn asset(name: &'static str, mime: &'static str, body: &'static [u8]) -> Asset {
    Asset { name, mime, body, etag: etag_of(body) }
}

/// FNV-1a-64 as 16 hexadecimal digits in quotes.
const fn etag_of(body: &[u8]) -> [u8; ETAG_BYTES] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < body.len() {
        hash = (hash ^ body[i] as u64).wrapping_mul(0x100_0000_01b3);
        i += 1;
    }
    let mut etag = [b'"'; ETAG_BYTES];
    let mut digit = 0;
    while digit < 16 {
        etag[digit + 1] = b"0123456789abcdef"[(hash >> (60 - 4 * digit) & 15) as usize];
        digit += 1;
    }
    etag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_at_its_root_and_under_its_name() {
        assert!(at("/_live/").is_some_and(|a| a.mime.starts_with("text/html") && a.body == index().body));
        assert!(at("/_live/index.html").is_some());
        assert!(at("/_live/player.js").is_some_and(|a| a.mime.starts_with("text/javascript")));
        for other in ["/", "/_live", "/_live/streams.json", "/_live/../page.rs", "/_live//player.js", ""] {
            assert!(at(other).is_none(), "{other}");
        }
    }

    #[test]
    fn every_part_the_page_names_is_there() {
        let mut named = 0;
        for asset in &ASSETS {
            let text = str::from_utf8(asset.body).unwrap();
            for (start, _) in text.match_indices(ROOT) {
                let path = text[start..].split(['"', '\'']).next().unwrap();
                assert!(path == STREAMS_PATH || at(path).is_some(), "{} names {path}", asset.name);
                named += 1;
            }
        }
        assert!(named >= 4);
    }

    #[test]
    fn the_page_and_its_script_agree_on_ids() {
        let script = str::from_utf8(at("/_live/page.js").unwrap().body).unwrap();
        let page = str::from_utf8(index().body).unwrap();
        let mut ids: Vec<&str> =
            script.split("$('").skip(1).map(|rest| rest.split('\'').next().unwrap()).collect();
        ids.extend(script.split("show('").skip(1).map(|rest| rest.split('\'').next().unwrap()));
        assert!(ids.len() > 20);
        for id in ids {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for asset in &ASSETS {
            let text = str::from_utf8(asset.body).unwrap().replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{}", asset.name);
        }
    }

    #[test]
    fn an_etag_is_the_hash_in_quotes() {
        // FNV-1a test vectors: "" and "foobar".
        assert_eq!(&etag_of(b""), b"\"cbf29ce484222325\"");
        assert_eq!(&etag_of(b"foobar"), b"\"85944171f73967e8\"");
        assert_ne!(ASSETS[0].etag(), ASSETS[1].etag());
        assert_eq!(index().etag().len(), ETAG_BYTES);
    }

    #[test]
    fn the_list_has_the_keys_that_the_script_reads() {
        let stream = LiveStream {
            vhost: "v".into(),
            app: "live".into(),
            name: "demo".into(),
            url: "/live/demo.live.mp4".into(),
            flv: "/live/demo.flv".into(),
            codecs: "mp4a.40.2".into(),
            width: 640,
            height: 360,
            kbps: 350,
            viewers: 1,
            since_ms: 5,
        };
        let keys: Vec<String> = match serde_json::to_value(stream) {
            Ok(serde_json::Value::Object(map)) => map.into_iter().map(|(key, _)| key).collect(),
            other => panic!("{other:?}"),
        };
        let script = str::from_utf8(at("/_live/page.js").unwrap().body).unwrap();
        for key in keys {
            assert!(script.contains(&format!(".{key}")), "nobody reads {key}");
        }
    }
}
