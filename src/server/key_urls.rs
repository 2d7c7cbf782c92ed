//! Keys of tokens from URLs (JWKS): fetched on the thread for requests of our own, again and again. The last good set
//! stays in force, on all shards; a set that no configuration in force names any more is no longer fetched.

use crate::access::jwk::{KeySet, Origin, SharedKeys};
use crate::config::{Config, KeyUrl, Keys};
use crate::outbound::Fetcher;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use url::Url;

/// A fetch may take so long.
const LIMIT: Duration = Duration::from_secs(10);
/// One that failed is tried again after this, then after twice that, and so on up to `jwks_refresh`.
const RETRY: Duration = Duration::from_secs(2);
/// Tokens with keys that are not known bring a fetch forward, but not more often than this: anybody can make such.
const MISSED: Duration = Duration::from_secs(10);
/// So often it is looked whether one was missed, and whether anybody needs the set.
const LOOK: Duration = Duration::from_millis(500);

/// The sets that are being fetched.
pub struct KeyUrls {
    fetcher: Fetcher,
    known: Mutex<BTreeMap<KeyUrl, Weak<SharedKeys>>>,
}

impl KeyUrls {
    /// Nothing is fetched yet.
    pub fn new(fetcher: Fetcher) -> KeyUrls {
        KeyUrls { fetcher, known: Mutex::default() }
    }

    /// The keys of a configuration, those behind its URLs as far as they are there: a set that is new is empty until its
    /// first fetch is done.
    pub fn complete(&self, keys: &Keys, config: &Config) -> Keys {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, set| set.strong_count() > 0);
        let mut keys = keys.clone();
        keys.add_fetched(config, |of| {
            let shared = known.get(of).and_then(Weak::upgrade);
            shared.unwrap_or_else(|| {
                let shared = Arc::new(SharedKeys::default());
                let weak = Arc::downgrade(&shared);
                known.insert(of.clone(), weak.clone());
                self.fetcher.spawn(keep_fresh(self.fetcher.clone(), of.clone(), weak));
                shared
            })
        });
        keys
    }
}

async fn keep_fresh(fetcher: Fetcher, KeyUrl { url, refresh }: KeyUrl, shared: Weak<SharedKeys>) {
    let name = shown(&url);
    let mut failures: u32 = 0;
    loop {
        let fetched = fetcher.text(&url, LIMIT).await;
        let read =
            fetched.and_then(|text| KeySet::of_jwks(&text, Origin::Url).map_err(|error| error.to_string()));
        let Some(keys) = shared.upgrade() else { return };
        match read {
            Ok(set) => {
                if failures > 0 || *keys.current() != set {
                    log::info!("keys of tokens: {name}: {} in force", set.len());
                }
                keys.replace(set);
                failures = 0;
            }
            Err(why) => {
                failures = failures.saturating_add(1);
                let left = keys.current().len();
                log::warn!("keys of tokens: {name}: {why}; the last good ones stay in force, {left}");
            }
        }
        drop(keys);
        let pause = if failures == 0 { refresh } else { pause_after(failures).min(refresh) };
        let fetched = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(keys) = shared.upgrade() else { return };
            let since = fetched.elapsed();
            if since >= pause || (since >= MISSED.min(pause) && keys.take_missed()) {
                break;
            }
        }
    }
}

fn pause_after(failures: u32) -> Duration {
    RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16))
}

/// A URL without what may be secret in it.
fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return String::new() };
    url.set_query(None);
    url.set_fragment(None);
    // A URL of HTTP's has room for both.
    let _ = (url.set_username(""), url.set_password(None));
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_failed_is_tried_ever_more_rarely() {
        assert_eq!([1, 2, 3, 4].map(|failures| pause_after(failures).as_secs()), [2, 4, 8, 16]);
        assert!(pause_after(u32::MAX) > Duration::from_secs(24 * 3600));
    }

    #[test]
    fn what_may_be_secret_in_a_url_is_not_told() {
        assert_eq!(shown("https://user:pw@id.example:8443/keys?code=1#x"), "https://id.example:8443/keys");
    }
}
