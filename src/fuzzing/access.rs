//! What strangers show to be let in, and the files that hold keys.

use crate::access::auth::{Auth, Params, Shown, Way};
use crate::access::jwk::{Algorithm, KeySet, MAX_KEYS, SharedKeys};
use crate::access::jwt::TokenRules;
use crate::access::secret::{HIDDEN, Secret};
use crate::access::signature;
use crate::access::stream_key::StreamKey;
use crate::access::{Asked, Verb};
use crate::http::authorization::Authorization;
use crate::rtmp::url::param;
use std::sync::Arc;

const SECRET: &str = "a secret that no input knows of: 7d2f1c";
const ASKED: Asked<'_> = Asked { verb: Verb::Publish, vhost: "v", app: "live", stream: "a" };

/// No text that does not know the secret opens anything, be it taken for a token, a signature, a key or a URL's
/// parameters; none shows what it hides; and a file of keys holds no more of them than it may.
pub fn credentials(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let auth = auth();
    assert!(auth.tokens.check(&text, &ASKED, 0).is_err());
    let (front, back) = text.split_once('\n').unwrap_or((&text, "1"));
    assert!(signature::check(&auth.sign_secrets, &ASKED, front, Some(back), 0).is_err());
    let authorization = Authorization::parse(&text);
    let bearer = authorization.as_ref().and_then(Authorization::bearer);
    let shown: Shown = auth.shown(|name| param(&text, name).map(str::to_owned), bearer);
    assert!(auth.judge(&ASKED, &shown, 0).is_err());

    let seen = auth.hide_in(&format!("rtmp://h/a?{text}&key={SECRET}"));
    assert!(seen.ends_with("&key=***"), "{seen}");
    assert_eq!(auth.hide_in(&seen), seen, "what is hidden is hidden");
    if let Some(key) = StreamKey::parse(&text) {
        let expected =
            text.rsplit_once('=').map_or(HIDDEN.to_owned(), |(streams, _)| format!("{streams}={HIDDEN}"));
        assert_eq!(key.to_string(), expected);
    }
    for set in [KeySet::of_file(data), KeySet::of_secret(data)].into_iter().flatten() {
        let of = |algorithm| set.candidates(algorithm, None).count();
        let all = of(Algorithm::Hs256) + of(Algorithm::Rs256) + of(Algorithm::Es256);
        assert!((1..=MAX_KEYS).contains(&all), "{all} keys");
        for algorithm in [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256] {
            for key in set.candidates(algorithm, None).take(2) {
                assert_eq!(key.algorithm(), algorithm);
                assert!(!key.verifies(data, &[]), "no signature at all");
            }
        }
    }
}

fn auth() -> Auth {
    let keys = KeySet::of_secret(SECRET.as_bytes()).map(|set| Arc::new(SharedKeys::new(set)));
    let param = |name: &str| name.to_owned();
    Auth {
        publish: vec![Way::Key, Way::Sign, Way::Token],
        play: Vec::new(),
        params: Params {
            key: param("key"),
            sign: param("sign"),
            expires: param("expires"),
            token: param("token"),
        },
        publish_keys: StreamKey::parse("a.key.that.no.input.knows.of").into_iter().collect(),
        play_keys: Vec::new(),
        sign_secrets: vec![Secret::new(SECRET)],
        tokens: TokenRules { keys: keys.into_iter().collect(), ..TokenRules::default() },
    }
}
