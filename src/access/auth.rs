//! What clients must show to publish and play: a stream key, a signed URL, or a token. Any one that the vhost accepts
//! for what they want will do.

use super::jwt::{TokenError, TokenRules};
use super::secret::Secret;
use super::signature::{self, SignatureError};
use super::stream_key::StreamKey;
use super::{Asked, Verb};
use std::fmt;

/// What a client may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A stream key.
    Key,
    /// A signed URL.
    Sign,
    /// A JSON Web Token.
    Token,
}

impl Way {
    /// The words in the configuration.
    pub const WORDS: &'static [(&'static str, Way)] =
        &[("key", Way::Key), ("sign", Way::Sign), ("token", Way::Token)];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Key => "key",
            Way::Sign => "sign",
            Way::Token => "token",
        })
    }
}

/// The parameters of a URL that clients show something in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// The stream key.
    pub key: String,
    /// The signature.
    pub sign: String,
    /// Until when the signature holds.
    pub expires: String,
    /// The token.
    pub token: String,
}

/// What a vhost's clients must show.
#[derive(Clone, Debug)]
pub struct Auth {
    /// What opens publishing; empty: everybody may.
    pub publish: Vec<Way>,
    /// What opens playing; empty: everybody may.
    pub play: Vec<Way>,
    /// Where it is shown.
    pub params: Params,
    /// Keys of publishers.
    pub publish_keys: Vec<StreamKey>,
    /// Keys of players.
    pub play_keys: Vec<StreamKey>,
    /// Secrets of signed URLs.
    pub sign_secrets: Vec<Secret>,
    /// What tokens are judged by.
    pub tokens: TokenRules,
}

/// What a client has shown. Secret, all of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Shown {
    key: Option<String>,
    sign: Option<String>,
    expires: Option<String>,
    token: Option<String>,
}

/// Why a client is refused, and which of the ways it went, or should have gone, is the one to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The way.
    pub way: Way,
    /// What was wrong with what it showed.
    pub why: Why,
}

/// What was wrong with what a client showed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Nothing of what opens this.
    #[error("nothing was shown")]
    Missing,
    /// It is no key of this stream.
    #[error("no key of this stream")]
    Key,
    /// See [`SignatureError`].
    #[error(transparent)]
    Sign(#[from] SignatureError),
    /// See [`TokenError`].
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way, self.why)
    }
}

impl Auth {
    /// What a client shows, in parameters of its URL, of which `value_of` gives the value, or as the token of HTTP's
    /// `Authorization`.
    pub fn shown(&self, value_of: impl Fn(&str) -> Option<String>, bearer: Option<&str>) -> Shown {
        let Params { key, sign, expires, token } = &self.params;
        Shown {
            key: value_of(key),
            sign: value_of(sign),
            expires: value_of(expires),
            token: bearer.map(str::to_owned).or_else(|| value_of(token)),
        }
    }

    /// Whether what a client shows opens what it asks for, at a time in seconds since 1970.
    pub fn judge(&self, asked: &Asked<'_>, shown: &Shown, now_s: u64) -> Result<(), Refused> {
        let ways = match asked.verb {
            Verb::Publish => &self.publish,
            Verb::Play => &self.play,
        };
        let mut refused = None;
        for way in ways.iter().copied() {
            match self.try_way(way, asked, shown, now_s) {
                Ok(()) => return Ok(()),
                // What was shown and is wrong says more than that something else was not shown.
                Err(why) if refused.is_none() || why != Why::Missing => refused = Some(Refused { way, why }),
                Err(_) => {}
            }
        }
        refused.map_or(Ok(()), Err)
    }

    fn try_way(&self, way: Way, asked: &Asked<'_>, shown: &Shown, now_s: u64) -> Result<(), Why> {
        match way {
            Way::Key => {
                let given = shown.key.as_deref().ok_or(Why::Missing)?;
                let keys = if asked.verb == Verb::Publish { &self.publish_keys } else { &self.play_keys };
                // All are looked at, whichever fits.
                let fits = keys.iter().fold(false, |fits, key| fits | key.opens(asked, given));
                if fits { Ok(()) } else { Err(Why::Key) }
            }
            Way::Sign => {
                let sign = shown.sign.as_deref().ok_or(Why::Missing)?;
                let expires = shown.expires.as_deref();
                Ok(signature::check(&self.sign_secrets, asked, sign, expires, now_s)?)
            }
            Way::Token => {
                let token = shown.token.as_deref().ok_or(Why::Missing)?;
                Ok(self.tokens.check(token, asked, now_s)?)
            }
        }
    }

    /// A URL as others may see it: what it shows in its parameters is hidden.
    pub fn hide_in(&self, url: &str) -> String {
        let Params { key, sign, expires: _, token } = &self.params;
        let mut seen = String::with_capacity(url.len());
        for (at, part) in url.split_inclusive(['?', '&', '#']).enumerate() {
            match part.split_once('=') {
                // Before the first '?' stands no parameter.
                Some((name, value)) if at > 0 && [key, sign, token].iter().any(|secret| *secret == name) => {
                    let end = value.find(['/', '?', '&', '#']).unwrap_or(value.len());
                    seen.extend([name, "=", super::secret::HIDDEN, value.get(end..).unwrap_or_default()]);
                }
                _ => seen.push_str(part),
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ASKED: Asked<'_> = Asked { verb: Verb::Publish, vhost: "v", app: "live", stream: "a" };

    fn auth(publish: &[Way], play: &[Way]) -> Auth {
        let key = |text| StreamKey::parse(text).expect("a key");
        Auth {
            publish: publish.to_vec(),
            play: play.to_vec(),
            params: Params {
                key: "key".to_owned(),
                sign: "sign".to_owned(),
                expires: "expires".to_owned(),
                token: "token".to_owned(),
            },
            publish_keys: vec![key("live/a=publish-a"), key("publish-all")],
            play_keys: vec![key("play-all")],
            sign_secrets: vec![Secret::new("0123456789abcdef")],
            tokens: TokenRules::default(),
        }
    }

    fn shown(query: &str) -> Shown {
        let value_of = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        auth(&[], &[]).shown(value_of, None)
    }

    fn judged(auth: &Auth, asked: &Asked<'_>, query: &str) -> Result<(), String> {
        auth.judge(asked, &shown(query), 1000).map_err(|refused| refused.to_string())
    }

    #[test]
    fn keys_open_what_they_are_for() {
        let auth = auth(&[Way::Key], &[Way::Key]);
        let play = Asked { verb: Verb::Play, ..ASKED };
        let no_key = Err("key: no key of this stream".to_owned());
        assert_eq!(judged(&auth, &ASKED, "key=publish-a"), Ok(()));
        assert_eq!(judged(&auth, &ASKED, "x=y&key=publish-all"), Ok(()));
        assert_eq!(judged(&auth, &Asked { stream: "b", ..ASKED }, "key=publish-a"), no_key);
        assert_eq!(judged(&auth, &ASKED, "key=play-all"), no_key);
        assert_eq!(judged(&auth, &play, "key=play-all"), Ok(()));
        assert_eq!(judged(&auth, &play, "key=publish-all"), no_key);
        assert_eq!(judged(&auth, &play, ""), Err("key: nothing was shown".to_owned()));
    }

    #[test]
    fn each_verb_has_its_own_ways_and_none_is_open() {
        let auth = auth(&[Way::Key], &[]);
        assert_eq!(judged(&auth, &Asked { verb: Verb::Play, ..ASKED }, ""), Ok(()));
        assert!(judged(&auth, &ASKED, "").is_err());
    }

    #[test]
    fn any_of_several_ways_will_do_and_what_was_tried_is_named() {
        let auth = auth(&[Way::Key, Way::Sign, Way::Token], &[]);
        let signed = signature::sign(&Secret::new("0123456789abcdef"), &ASKED, 1001);
        assert_eq!(judged(&auth, &ASKED, "key=publish-a"), Ok(()));
        assert_eq!(judged(&auth, &ASKED, &format!("key=wrong&sign={signed}&expires=1001")), Ok(()));
        let refused = |query: &str| judged(&auth, &ASKED, query).expect_err("refused");
        assert_eq!(refused(""), "key: nothing was shown");
        assert_eq!(refused("token=x"), "token: not three parts in base64url");
        let signed = signature::sign(&Secret::new("0123456789abcdef"), &ASKED, 990);
        assert_eq!(refused(&format!("sign={signed}&expires=990")), "sign: expired 10 s ago");
        assert_eq!(refused(&format!("sign={signed}")), "sign: it has no time of expiry");
    }

    #[test]
    fn what_is_shown_in_a_url_is_hidden() {
        let hidden = |url| auth(&[], &[]).hide_in(url);
        assert_eq!(hidden("rtmp://h/live?key=s3cret"), "rtmp://h/live?key=***");
        assert_eq!(
            hidden("rtmp://h/live?a=b&token=x.y.z&sign=00&expires=7/s"),
            "rtmp://h/live?a=b&token=***&sign=***&expires=7/s"
        );
        assert_eq!(hidden("rtmp://h/live?key=x/s?key=y#key=z"), "rtmp://h/live?key=***/s?key=***#key=***");
        assert_eq!(hidden("rtmp://h/key=live"), "rtmp://h/key=live");
        assert_eq!(hidden("rtmp://h/live?monkey=x&key"), "rtmp://h/live?monkey=x&key");
    }

    proptest! {
        #[test]
        fn no_url_shows_a_secret(before in "[a-z?&=/:]{0,20}", name in "key|sign|token", after in "[&?/#][a-z?&=/]{0,10}") {
            let seen = auth(&[], &[]).hide_in(&format!("rtmp://h/a?{before}&{name}=S3CRET{after}"));
            prop_assert!(!seen.contains("S3CRET") && seen.ends_with(&after), "{}", seen);
        }
    }
}
