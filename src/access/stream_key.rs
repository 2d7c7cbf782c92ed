//! Stream keys: a secret that opens a stream, or all of a vhost.

use super::Asked;
use super::secret::{HIDDEN, MAX_SECRET_BYTES, Secret};
use std::fmt;

/// A stream key is at least so long.
const MIN_KEY_BYTES: usize = 8;
/// Longest `app/stream` of a pattern.
const MAX_PATTERN_BYTES: usize = 511;

/// Streams of a vhost: `app/stream`, or with a `*` at the end all that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Reads `live/cam1`, `live/cam*`, `live/*` or `*`.
    pub fn parse(text: &str) -> Option<Pattern> {
        let stem = text.strip_suffix('*').unwrap_or(text);
        let whole = text == "*"
            || stem.len() < text.len()
            || text.split_once('/').is_some_and(|(_, s)| !s.is_empty());
        let good = !stem.starts_with('/') && !stem.contains(|c: char| c.is_control() || c == '*');
        ((1..=MAX_PATTERN_BYTES).contains(&text.len()) && whole && good).then(|| Pattern(text.to_owned()))
    }

    /// Whether a stream is one of these.
    pub fn matches(&self, app: &str, stream: &str) -> bool {
        let name = format!("{app}/{stream}");
        match self.0.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => name == self.0,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A secret and what it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKey {
    /// The streams; None: all of the vhost.
    pub streams: Option<Pattern>,
    /// The secret.
    pub secret: Secret,
}

impl StreamKey {
    /// Reads `SECRET` or `APP/STREAM=SECRET`. The secret's letters are those that no URL escapes (RFC 3986 §2.3), so
    /// that it looks the same wherever it is written.
    pub fn parse(text: &str) -> Option<StreamKey> {
        // In the environment the items of a list stand between blanks.
        if text.contains(char::is_whitespace) {
            return None;
        }
        let (streams, secret) = match text.rsplit_once('=') {
            Some((streams, secret)) => (Some(Pattern::parse(streams)?), secret),
            None => (None, text),
        };
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let good =
            (MIN_KEY_BYTES..=MAX_SECRET_BYTES).contains(&secret.len()) && secret.bytes().all(unreserved);
        good.then(|| StreamKey { streams, secret: Secret::new(secret) })
    }

    /// Whether it opens a stream, if `given` is the secret.
    pub fn opens(&self, asked: &Asked<'_>, given: &str) -> bool {
        let of_stream = self.streams.as_ref().is_none_or(|streams| streams.matches(asked.app, asked.stream));
        // Both are looked at, whatever the first says.
        self.secret.is(given) & of_stream
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.streams {
            Some(streams) => write!(f, "{streams}={HIDDEN}"),
            None => f.write_str(HIDDEN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Verb;
    use proptest::prelude::*;

    fn opens(key: &str, app: &str, stream: &str, given: &str) -> bool {
        let asked = Asked { verb: Verb::Publish, vhost: "v", app, stream };
        StreamKey::parse(key).expect("a key").opens(&asked, given)
    }

    #[test]
    fn a_key_opens_its_streams_and_no_others() {
        assert!(
            opens("s3cret-._~", "live", "a", "s3cret-._~") && opens("s3cret-._~", "x/y", "b", "s3cret-._~")
        );
        assert!(!opens("s3cret-._~", "live", "a", "s3cret-._") && !opens("s3cret-._~", "live", "a", ""));
        assert!(opens("live/a=12345678", "live", "a", "12345678"));
        for (app, stream) in [("live", "ab"), ("live2", "a"), ("live", "A"), ("live/a", "a"), ("", "live/a")]
        {
            assert!(!opens("live/a=12345678", app, stream, "12345678"), "{app}/{stream}");
        }
        assert!(opens("live/cam*=12345678", "live", "cam-7", "12345678"));
        assert!(!opens("live/cam*=12345678", "live", "dam", "12345678"));
        assert!(
            opens("live/*=12345678", "live", "inst/x", "12345678")
                && !opens("live/*=12345678", "live2", "x", "12345678")
        );
        assert!(
            opens("live/a=b=12345678", "live", "a=b", "12345678"),
            "a name may have '=', a secret may not"
        );
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "short",
            "with space",
            "live/a b=12345678",
            "with/slash",
            "*",
            "***",
            "live=12345678",
            "live/=12345678",
            "/a=12345678",
            "l*/a=12345678",
            "live/a=",
            "live/a=***",
            "=12345678",
        ] {
            assert_eq!(StreamKey::parse(text), None, "{text}");
        }
        assert_eq!(StreamKey::parse(&"x".repeat(256)), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_has_no_secret_in_it(streams in prop::option::of("[a-z]{1,5}/[a-z]{1,5}\\*?"), secret in "[A-Z0-9]{8,20}") {
            let text = streams.map_or(secret.clone(), |streams| format!("{streams}={secret}"));
            let key = StreamKey::parse(&text).expect("a key");
            prop_assert_eq!(key.to_string(), text.replace(&secret, HIDDEN));
            let debug = format!("{:?}", key);
            prop_assert!(!debug.contains(&secret));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = StreamKey::parse(&text).map(|key| key.to_string());
        }
    }
}
