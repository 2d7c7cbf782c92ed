//! Which stream a client means: vhost, app, stream and parameters from `tcUrl` and stream name.
//!
//! All of SRS 3.0's ways to name a vhost are read (`app?vhost=h`, `app...vhost...h`, `app,vhost,h`, the same
//! behind the stream name), and `domain=` and FMLE's `app?key=value/stream` as of later versions. Names end
//! up in file paths, so whatever could leave a folder is refused here, for good.

use std::fmt;

/// Longest `tcUrl`, page URL, stream name with its parameters, in bytes.
pub const MAX_URL_BYTES: usize = 4096;
/// Longest vhost, app and stream, in bytes each.
pub const MAX_NAME_BYTES: usize = 255;
/// RTMP's port.
pub const DEFAULT_PORT: u16 = 1935;
/// The app of a tcUrl that names none.
pub const DEFAULT_APP: &str = "__defaultApp__";

/// Why a URL or name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `scheme://host`.
    #[error("not a URL with scheme and host: {0:.200}")]
    NotUrl(String),
    /// A port that is no number from 1 to 65535.
    #[error("not a port: {0:.20}")]
    Port(String),
    /// More than [`MAX_URL_BYTES`] or [`MAX_NAME_BYTES`].
    #[error("{what} of {bytes} bytes, limit {limit}")]
    TooLong {
        /// URL, vhost, app or stream.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The stream has no name (SRS: error 2051).
    #[error("empty {0}")]
    Empty(&'static str),
    /// A control character, or a path part that is empty, `.` or `..`.
    #[error("{what} may not be {name:?}")]
    Name {
        /// vhost, app or stream.
        what: &'static str,
        /// The name.
        name: String,
    },
}

/// What `connect` names: everything but the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcUrl {
    /// Host as it stands in the URL, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Named vhost, else the host.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// What stands behind the app's `?`, without it.
    pub params: String,
}

/// A stream, fully named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamName {
    /// Vhost as the client named it; whether it exists is for the server to say.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream.
    pub stream: String,
    /// Parameters, without the leading `?`; those of the stream before those of the app.
    pub params: String,
}

impl TcUrl {
    /// Reads a `tcUrl`, for instance `rtmp://host:1935/app?vhost=example.com`.
    pub fn parse(tc_url: &str) -> Result<TcUrl, UrlError> {
        let (host, port, path) = split(tc_url)?;
        let mut vhost = host.to_owned();
        let (app, params) = resolve(path, &mut vhost);
        let app = if app.is_empty() { DEFAULT_APP.to_owned() } else { app };
        check("app", &app)?;
        check("vhost", &vhost)?;
        Ok(TcUrl { host: host.to_owned(), port, vhost, app, params: params.unwrap_or_default() })
    }

    /// The stream that `publish` or `play` names on this connection.
    pub fn stream(&self, name: &str) -> Result<StreamName, UrlError> {
        bounded("stream name", name, MAX_URL_BYTES)?;
        let mut vhost = self.vhost.clone();
        let (stream, params) = resolve(name, &mut vhost);
        if stream.is_empty() {
            return Err(UrlError::Empty("stream name"));
        }
        check("stream", &stream)?;
        check("vhost", &vhost)?;
        let params = params.unwrap_or_else(|| self.params.clone());
        Ok(StreamName { vhost, app: self.app.clone(), stream, params })
    }
}

/// `vhost/app/stream`, as the client named it.
impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.vhost, self.app, self.stream)
    }
}

/// A whole URL taken apart for a client: where to connect, and what to say in `connect` and `play`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientUrl {
    /// Host to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// `tcUrl`: the URL without the stream.
    pub tc_url: String,
    /// `app` of `connect`, with its parameters.
    pub app: String,
    /// Stream name with its parameters.
    pub stream: String,
}

impl ClientUrl {
    /// Reads `rtmp://host[:port]/app[/instance]/stream[?key=value…]` or `rtmp://host/app?key=value/stream`.
    pub fn parse(url: &str) -> Result<ClientUrl, UrlError> {
        let (host, port, path) = split(url)?;
        let before_params = path.find('?').unwrap_or(path.len());
        let named = path.get(..before_params).and_then(|p| p.rfind('/'));
        let at = named.or_else(|| path.rfind('/')).ok_or(UrlError::Empty("stream name"))?;
        let (app, stream) = (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default());
        if stream.is_empty() || stream.starts_with('?') {
            return Err(UrlError::Empty("stream name"));
        }
        let base = url.strip_suffix(path).unwrap_or(url);
        Ok(ClientUrl {
            host: host.to_owned(),
            port,
            tc_url: format!("{base}{app}"),
            app: app.to_owned(),
            stream: stream.to_owned(),
        })
    }
}

/// The value of a parameter among those of a [`TcUrl`] or a [`StreamName`], as it stands there. It ends at a slash: FMLE
/// puts the stream behind the parameters.
pub fn param<'p>(params: &'p str, name: &str) -> Option<&'p str> {
    let mut pairs = params.split(['&', '?']).filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.split('/').next().unwrap_or_default().trim())
}

/// Host, port and what follows the first slash.
fn split(url: &str) -> Result<(&str, u16, &str), UrlError> {
    bounded("URL", url, MAX_URL_BYTES)?;
    // What stands behind the '?' may be secret.
    let not_url = || UrlError::NotUrl(url.split('?').next().unwrap_or_default().to_owned());
    let (_, rest) = url.split_once("://").ok_or_else(not_url)?;
    let (authority, path) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']').ok_or_else(not_url)?;
            (host, after.strip_prefix(':'))
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(text) => match text.trim().parse() {
            Ok(0) | Err(_) => return Err(UrlError::Port(text.to_owned())),
            Ok(port) => port,
        },
    };
    if host.trim().is_empty() {
        return Err(not_url());
    }
    Ok((host.trim(), port, path.strip_prefix('/').unwrap_or(path)))
}

/// The bare name at the front of `text` and the parameters behind its `?`, if it has one. A vhost named
/// anywhere behind the name replaces `vhost`.
fn resolve(text: &str, vhost: &mut String) -> (String, Option<String>) {
    let params = text.split_once('?').map(|(_, params)| params.to_owned());
    let text: String = text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')).collect();
    let (front, query) = text.split_once('?').unwrap_or((&text, ""));
    // The old ways stand before any `?`: `live...vhost...v.com`, `live,vhost,v.com`, `live&vhost=v.com`.
    let plain = front.replace("...", "?").replace([',', '&', '='], "?");
    let mut parts = plain.split('?');
    let name = parts.next().unwrap_or_default();
    let words: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let old = words.windows(2).map(|two| (two[0], two[1]));
    let pairs = query.split(['&', '?']).filter_map(|pair| pair.split_once('='));
    for (key, value) in old.chain(pairs) {
        // FMLE puts the stream behind the parameters: a vhost ends at a slash.
        if matches!(key, "vhost" | "domain")
            && let Some(named) = value.split('/').find(|part| !part.is_empty())
        {
            *vhost = named.to_owned();
            break;
        }
    }
    let name = name.trim_matches('/');
    let name = name.strip_suffix("/_definst_").unwrap_or(name).trim_matches('/');
    let params = params.filter(|p| p != "vhost=__defaultVhost__").map(|p| p.trim().to_owned());
    (name.to_owned(), params)
}

fn bounded(what: &'static str, text: &str, limit: usize) -> Result<(), UrlError> {
    match text.len() {
        bytes if bytes > limit => Err(UrlError::TooLong { what, bytes, limit }),
        _ => Ok(()),
    }
}

fn check(what: &'static str, name: &str) -> Result<(), UrlError> {
    bounded(what, name, MAX_NAME_BYTES)?;
    let bad_part = |part: &str| matches!(part, "" | "." | "..");
    let slash_in_vhost = what == "vhost" && name.contains('/');
    if name.chars().any(char::is_control) || name.split(['/', '\\']).any(bad_part) || slash_in_vhost {
        return Err(UrlError::Name { what, name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(tc_url: &str, stream: &str) -> (String, String) {
        let s = TcUrl::parse(tc_url).and_then(|t| t.stream(stream)).unwrap();
        (s.to_string(), s.params)
    }

    #[test]
    fn every_way_to_name_a_vhost() {
        for (tc_url, stream) in [
            ("rtmp://v.com/live", "s"),
            ("rtmp://v.com:19350/live/", "/s/"),
            ("rtmp://v.com/live/_definst_", "s"),
            ("rtmp://1.2.3.4/live?vhost=v.com", "s"),
            ("rtmp://1.2.3.4/live?domain=v.com", "s"),
            ("rtmp://1.2.3.4/live?a=b&vhost=v.com&c=d", "s"),
            ("rtmp://1.2.3.4/live?vhost=v.com/", "s"),
            ("rtmp://1.2.3.4/live...vhost...v.com", "s"),
            ("rtmp://1.2.3.4/live,vhost,v.com", "s"),
            ("rtmp://1.2.3.4/live?vhost=other", "s?vhost=v.com"),
            ("rtmp://1.2.3.4/live", "s?token=x&vhost=v.com"),
            ("rtmp://1.2.3.4/live", "s...vhost...v.com"),
            ("rtmp://[::1]:1935/live", "s,vhost,v.com"),
            (" rtmp://1.2.3.4/ live?vhost=v.com\r\n", " s\n"),
        ] {
            assert_eq!(named(tc_url, stream).0, "v.com/live/s", "{tc_url} {stream}");
        }
        assert_eq!(named("rtmp://[::1]/live", "s").0, "::1/live/s");
        assert_eq!(named("rtmp://h", "s").0, "h/__defaultApp__/s");
        assert_eq!(named("rtmp://h/live?vhost=&token=abc", "s").0, "h/live/s", "an empty one is none");
        assert_eq!(named("rtmp://h/live", "s?type=domain&id=7").0, "h/live/s", "a value is no key");
        assert_eq!(named("rtmp://h/a/b", "c/d").0, "h/a/b/c/d");
    }

    #[test]
    fn the_streams_parameters_win_over_the_apps() {
        assert_eq!(named("rtmp://h/live?a=1", "s").1, "a=1");
        assert_eq!(named("rtmp://h/live?a=1", "s?b=2&c=3").1, "b=2&c=3");
        assert_eq!(named("rtmp://h/live?vhost=__defaultVhost__", "s").1, "");
        assert_eq!(named("rtmp://h/live?vhost=v&t=1", "s").1, "vhost=v&t=1");
    }

    #[test]
    fn parameters_are_found_by_name() {
        let params = "a=1&key=x.y-z?token=t=t/stream&key=other&b";
        let value = |name| param(params, name);
        assert_eq!((value("a"), value("key"), value("token")), (Some("1"), Some("x.y-z"), Some("t=t")));
        assert_eq!((value("b"), value("ey"), value(""), param("", "a")), (None, None, None, None));
        assert_eq!(param("key= x\r\n", "key"), Some("x"));
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        let t = TcUrl::parse("rtmp://h/live").unwrap();
        for bad in ["..", "../x", "a/../b", "a/./b", "a//b", "a\\..\\b", "a\0b", "a\x7fb", "s?vhost=.."] {
            assert!(matches!(t.stream(bad), Err(UrlError::Name { .. })), "{bad:?}");
        }
        for bad in
            ["rtmp://h/../live", "rtmp://h/a/..", "rtmp://../a", "rtmp://h/a\x01", "rtmp://h/a?vhost=.."]
        {
            assert!(matches!(TcUrl::parse(bad), Err(UrlError::Name { .. })), "{bad:?}");
        }
        assert_eq!(t.stream(""), Err(UrlError::Empty("stream name")));
        assert_eq!(t.stream("?token=1"), Err(UrlError::Empty("stream name")));
        assert!(matches!(t.stream(&"x".repeat(256)), Err(UrlError::TooLong { what: "stream", .. })));
        assert!(matches!(t.stream(&"x".repeat(5000)), Err(UrlError::TooLong { what: "stream name", .. })));
        assert!(t.stream("a..b/c.d").is_ok(), "dots inside a name are no path");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in ["", "live", "rtmp://", "rtmp:///live", "rtmp://[::1/live"] {
            assert!(matches!(TcUrl::parse(bad), Err(UrlError::NotUrl(_))), "{bad:?}");
        }
        for bad in ["rtmp://h:0/a", "rtmp://h:x/a", "rtmp://h:70000/a"] {
            assert!(matches!(TcUrl::parse(bad), Err(UrlError::Port(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_client_splits_a_url_as_others_do() {
        let split = |url| ClientUrl::parse(url).map(|u| (u.tc_url, u.app, u.stream)).unwrap();
        let of = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(split("rtmp://h:19/live/s?k=v/w"), of("rtmp://h:19/live", "live", "s?k=v/w"));
        assert_eq!(split("rtmp://h/live/inst/s"), of("rtmp://h/live/inst", "live/inst", "s"));
        assert_eq!(split("rtmp://h/live?k=v/s"), of("rtmp://h/live?k=v", "live?k=v", "s"));
        assert!(ClientUrl::parse("rtmp://h/live").is_err());
        assert!(ClientUrl::parse("rtmp://h/live/").is_err());
    }

    proptest! {
        #[test]
        fn no_name_that_passes_can_leave_its_folder(url in "rtmp://[a-z./]{1,6}/[a-z./?=&,\\\\]{0,12}", name in ".{0,20}") {
            if let Ok(s) = TcUrl::parse(&url).and_then(|t| t.stream(&name)) {
                let key = s.to_string();
                prop_assert!(key.split(['/', '\\']).all(|p| !matches!(p, "" | "." | "..")), "{}", key);
            }
        }
    }
}
