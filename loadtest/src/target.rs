//! What a player plays or a publisher publishes: a URL, in which `[A-B]` stands for a number.

use std::net::{SocketAddr, ToSocketAddrs};

/// More streams than this in one URL are a mistake.
const MAX_STREAMS: u64 = 1_000_000;

/// How a target is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `raw://HOST:PORT`
    Raw,
    /// `rtmp://HOST[:1935]/APP/STREAM`
    Rtmp,
    /// `http://HOST[:80]/PATH.flv`
    Http,
}

/// One stream at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: Scheme,
    pub(crate) address: SocketAddr,
    /// As written in the URL.
    pub(crate) authority: String,
    /// From the slash on; empty if there is none.
    pub(crate) path: String,
}

/// Why a URL is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("'{0}': begin with rtmp://, http:// or raw://")]
    Scheme(String),
    #[error("'{0}': [A-B] needs two numbers, A not above B and at most 1000000 of them")]
    Range(String),
    #[error("'{0}': give either [A-B] or --streams, and --streams of 1 to 1000000")]
    Streams(String),
    #[error("'{0}': {1}")]
    Resolve(String, String),
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, error.to_string())
    }
}

/// The targets that a URL and `--streams` name.
pub(crate) fn targets(url: &str, streams: Option<u32>) -> Result<Vec<Target>, Error> {
    let (scheme, rest) = split_scheme(url)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let default_port = match scheme {
        Scheme::Rtmp => ":1935",
        Scheme::Http => ":80",
        Scheme::Raw => "",
    };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let host_port = format!("{authority}{}", if has_port { "" } else { default_port });
    let resolve = |why: String| Error::Resolve(url.into(), why);
    let address = host_port
        .to_socket_addrs()
        .map_err(|e| resolve(e.to_string()))?
        .next()
        .ok_or_else(|| resolve("no address".into()))?;
    let paths = paths(url, path, streams)?;
    let target = |path| Target { scheme, address, authority: authority.into(), path };
    Ok(paths.into_iter().map(target).collect())
}

fn split_scheme(url: &str) -> Result<(Scheme, &str), Error> {
    [("raw://", Scheme::Raw), ("rtmp://", Scheme::Rtmp), ("http://", Scheme::Http)]
        .into_iter()
        .find_map(|(prefix, scheme)| Some((scheme, url.strip_prefix(prefix)?)))
        .ok_or_else(|| Error::Scheme(url.into()))
}

fn paths(url: &str, path: &str, streams: Option<u32>) -> Result<Vec<String>, Error> {
    let range = || -> Option<(&str, u64, u64, &str)> {
        let (head, rest) = path.split_once('[')?;
        let (range, tail) = rest.split_once(']')?;
        let (first, last) = range.split_once('-')?;
        Some((head, first.parse().ok()?, last.parse().ok()?, tail))
    };
    match (path.contains('['), streams) {
        (true, Some(_)) => Err(Error::Streams(url.into())),
        (true, None) => match range() {
            Some((head, first, last, tail)) if first <= last && last - first < MAX_STREAMS => {
                Ok((first..=last).map(|n| format!("{head}{n}{tail}")).collect())
            }
            _ => Err(Error::Range(url.into())),
        },
        (false, Some(streams)) if (1..=MAX_STREAMS).contains(&u64::from(streams)) => {
            let name = &path[..path.find('?').unwrap_or(path.len())];
            let end = name.strip_suffix(".flv").unwrap_or(name).len();
            Ok((0..streams).map(|n| format!("{}{n}{}", &path[..end], &path[end..])).collect())
        }
        (false, Some(_)) => Err(Error::Streams(url.into())),
        (false, None) => Ok(vec![path.into()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str, streams: Option<u32>) -> Result<Vec<String>, String> {
        let all = targets(url, streams).map_err(|e| e.to_string())?;
        Ok(all.into_iter().map(|t| format!("{} {}", t.address, t.path)).collect())
    }

    #[test]
    fn patterns_and_counts() {
        assert_eq!(
            names("rtmp://127.0.0.1/live/s[8-10]?k=1", None),
            Ok(vec![
                "127.0.0.1:1935 /live/s8?k=1".into(),
                "127.0.0.1:1935 /live/s9?k=1".into(),
                "127.0.0.1:1935 /live/s10?k=1".into()
            ])
        );
        assert_eq!(
            names("http://127.0.0.1:8080/live/s.flv?a=.flv", Some(2)),
            Ok(vec![
                "127.0.0.1:8080 /live/s0.flv?a=.flv".into(),
                "127.0.0.1:8080 /live/s1.flv?a=.flv".into()
            ])
        );
        assert_eq!(names("raw://127.0.0.1:19350", None), Ok(vec!["127.0.0.1:19350 ".into()]));
    }

    #[test]
    fn mistakes_are_named() {
        for (url, streams) in [
            ("ftp://127.0.0.1/a", None),
            ("rtmp://127.0.0.1/live/s[9-1]", None),
            ("rtmp://127.0.0.1/live/s[0-9999999]", None),
            ("rtmp://127.0.0.1/live/s[0-9]", Some(3)),
            ("rtmp://127.0.0.1/live/s", Some(0)),
            ("raw://127.0.0.1", None),
        ] {
            assert!(names(url, streams).is_err_and(|e| e.contains(url)), "{url}");
        }
    }
}
