//! Paths and queries of request targets (RFC 3986 §2.1, §3.3, §3.4).

use thiserror::Error;

/// A query with more pairs than this loses the later ones.
pub const MAX_QUERY_PAIRS: usize = 128;

/// Why a path is refused. All of them are answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// It does not begin with `/`.
    #[error("path: does not begin with '/'")]
    Relative,
    /// `%` without two hexadecimal digits behind it.
    #[error("path: '%' without two hexadecimal digits at byte {0}")]
    BadEscape(usize),
    /// The decoded bytes are no UTF-8.
    #[error("path: not UTF-8 once decoded")]
    NotUtf8,
    /// A segment is `..`: nothing that we serve needs it, and it leaves folders.
    #[error("path: has a '..' segment")]
    Parent,
    /// NUL, another control character or a backslash, plain or escaped.
    #[error("path: has a control character or backslash")]
    Forbidden,
}

/// Decodes a raw path once and cleans it: `.` and empty segments vanish, a trailing `/` stays.
///
/// The checks look at the decoded text, so `%2e%2e%2f` is refused like `../`.
pub fn clean_path(raw: &str) -> Result<String, PathError> {
    if !raw.starts_with('/') {
        return Err(PathError::Relative);
    }
    let decoded = decode_strict(raw)?;
    if decoded.chars().any(|c| c.is_control() || c == '\\') {
        return Err(PathError::Forbidden);
    }
    let mut clean = String::with_capacity(decoded.len());
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => return Err(PathError::Parent),
            name => {
                clean.push('/');
                clean.push_str(name);
            }
        }
    }
    if clean.is_empty() || decoded.ends_with('/') || decoded.ends_with("/.") {
        clean.push('/');
    }
    Ok(clean)
}

/// A query: the raw text for those who pass it on (hooks, redirects), and its decoded pairs in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// What stood behind the `?`, undecoded.
    pub raw: String,
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Splits at `&` and the first `=`. A broken escape stays as it is written, bytes that are no UTF-8 become
    /// U+FFFD: a query never makes a request fail. `+` stays `+`, because tokens in base64 are more common in
    /// stream addresses than form-encoded spaces.
    pub fn parse(raw: &str) -> Self {
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(MAX_QUERY_PAIRS)
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decode_lenient(name), decode_lenient(value)))
            .collect();
        Self { raw: raw.to_owned(), pairs }
    }

    /// `path` with this query behind it, as it came.
    pub fn after(&self, path: &str) -> String {
        if self.raw.is_empty() { path.to_owned() } else { format!("{path}?{}", self.raw) }
    }

    /// The first value of a name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// All pairs, in the order sent.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the host comes without brackets. `None` if it has other
/// characters than a host may have (RFC 3986 §3.2.2) or a port that is no number up to 65535.
pub fn split_host_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        if !host.bytes().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')) {
            return None;
        }
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':')?)),
        }
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(&b);
    if !host.bytes().all(allowed) {
        return None;
    }
    match port {
        None | Some("") => Some((host, None)),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some((host, Some(port.parse().ok()?))),
        Some(_) => None,
    }
}

fn decode_strict(raw: &str) -> Result<String, PathError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = bytes.next().and_then(|(_, b)| hex_digit(b));
        let low = bytes.next().and_then(|(_, b)| hex_digit(b));
        match (high, low) {
            (Some(high), Some(low)) => out.push(high << 4 | low),
            _ => return Err(PathError::BadEscape(at)),
        }
    }
    String::from_utf8(out).map_err(|_| PathError::NotUtf8)
}

fn decode_lenient(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|&b| hex_digit(b));
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|d| d as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_are_decoded_once_and_cleaned() {
        for (raw, clean) in [
            ("/", "/"),
            ("/live/a.flv", "/live/a.flv"),
            ("//live///a.flv", "/live/a.flv"),
            ("/./live/./", "/live/"),
            ("/live/.", "/live/"),
            ("/a%20b/%C3%BC.ts", "/a b/ü.ts"),
            ("/a%2fb", "/a/b"),
            ("/100%25%32%30", "/100%20"),
            ("/a..b/...", "/a..b/..."),
        ] {
            assert_eq!(clean_path(raw).as_deref(), Ok(clean), "{raw}");
        }
    }

    #[test]
    fn paths_that_leave_or_deceive_are_refused() {
        for (raw, why) in [
            ("live", PathError::Relative),
            ("", PathError::Relative),
            ("/..", PathError::Parent),
            ("/a/../b", PathError::Parent),
            ("/a/%2e%2E%2fetc", PathError::Parent),
            ("/a%00", PathError::Forbidden),
            ("/a%0d%0ab", PathError::Forbidden),
            ("/a\\..\\b", PathError::Forbidden),
            ("/a%5cb", PathError::Forbidden),
            ("/a%f", PathError::BadEscape(2)),
            ("/a%", PathError::BadEscape(2)),
            ("/%+1", PathError::BadEscape(1)),
            ("/%ff", PathError::NotUtf8),
        ] {
            assert_eq!(clean_path(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn queries_keep_order_duplicates_and_plus() {
        let q = Query::parse("b=1&a=x%3Dy&&b=2&flag&t=a+b&=z&bad=%zz");
        let pairs: Vec<(&str, &str)> = q.pairs().iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let expected =
            [("b", "1"), ("a", "x=y"), ("b", "2"), ("flag", ""), ("t", "a+b"), ("", "z"), ("bad", "%zz")];
        assert_eq!(pairs, expected);
        assert_eq!(q.value("b"), Some("1"));
        assert_eq!(q.value("c"), None);
        assert_eq!(Query::parse(&"a&".repeat(1000)).pairs().len(), MAX_QUERY_PAIRS);
    }

    #[test]
    fn authorities_split_into_host_and_port() {
        assert_eq!(split_host_port("a.example:8080"), Some(("a.example", Some(8080))));
        assert_eq!(split_host_port("a.example:"), Some(("a.example", None)));
        assert_eq!(split_host_port("[::1]:80"), Some(("::1", Some(80))));
        assert_eq!(split_host_port("[::1]"), Some(("::1", None)));
        for bad in ["a b", "a:b", "a:99999", "a:+1", "[::1", "[::1]x", "u@h", "a/b", "::1", "[<]"] {
            assert_eq!(split_host_port(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_clean_path_has_no_way_up_and_cleaning_it_again_changes_nothing(raw in "/[a-c%./2eEfF\\\\]{0,40}") {
            if let Ok(clean) = clean_path(&raw) {
                prop_assert!(clean.starts_with('/'));
                prop_assert!(clean.split('/').all(|s| s != ".." && s != "."));
                prop_assert!(!clean.contains("//"));
                let escaped = clean.replace('%', "%25");
                prop_assert_eq!(clean_path(&escaped), Ok(clean));
            }
        }

        #[test]
        fn no_query_panics(raw in "\\PC{0,80}") {
            let _ = Query::parse(&raw);
            let _ = split_host_port(&raw);
        }
    }
}
