//! The keys of a vhost's `auth`: what clients must show.

use super::Reload::NextClient;
use super::{HOUR, MINUTE, SECOND, ZERO};
use crate::access::auth::Way;
use crate::access::secret::Secret;
use crate::access::stream_key::StreamKey;
use crate::config::load::{Reader, Section};
use crate::config::units::{
    MAX_TEXT_BYTES, any_number_of, duration, path, secret, stream_key, switch, text, word,
};
use std::path::PathBuf;
use std::time::Duration;
use url::{Host, Url};

/// `[vhost."name".auth]`: what clients must show, beside what `security` says of their addresses. It is looked at when a
/// client begins; who plays or publishes already goes on. Over RTMP it is shown in the parameters of the stream or
/// the tcUrl, over HTTP in those of the URL, a token also as `Authorization: Bearer`.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// Whether clients must show anything. Default false. Reload: next client.
    pub enabled: bool,
    /// What opens publishing, any one of these: `"key"`, `"sign"`, `"token"`. Default none: everybody may publish.
    /// Reload: next client.
    pub publish: Vec<Way>,
    /// What opens playing. Default none: everybody may play. Reload: next client.
    pub play: Vec<Way>,
    /// `[vhost."name".auth.key]`: stream keys.
    pub key: AuthKey,
    /// `[vhost."name".auth.sign]`: signed URLs.
    pub sign: AuthSign,
    /// `[vhost."name".auth.token]`: JSON Web Tokens.
    pub token: AuthToken,
}

impl Section for Auth {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            enabled: r.key("enabled", NextClient, switch(), false),
            publish: r.key("publish", NextClient, any_number_of(word(Way::WORDS)), Vec::new()),
            play: r.key("play", NextClient, any_number_of(word(Way::WORDS)), Vec::new()),
            key: r.section("key"),
            sign: r.section("sign"),
            token: r.section("token"),
        }
    }
}

/// `[vhost."name".auth.key]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthKey {
    /// The parameter that holds the key. Default `"key"`. Reload: next client.
    pub param: String,
    /// Keys for publishing: `"SECRET"` for every stream of the vhost, `"APP/STREAM=SECRET"` for one, `"live/cam*=SECRET"`
    /// for some. Default none. Reload: next client.
    pub publish: Vec<StreamKey>,
    /// Keys for playing. Default none. Reload: next client.
    pub play: Vec<StreamKey>,
}

impl Section for AuthKey {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            param: r.key("param", NextClient, text(PARAMS, is_param), "key".to_owned()),
            publish: r.key("publish", NextClient, any_number_of(stream_key()), Vec::new()),
            play: r.key("play", NextClient, any_number_of(stream_key()), Vec::new()),
        }
    }
}

/// `[vhost."name".auth.sign]`: see [`crate::access::signature`].
#[derive(Clone, Debug, PartialEq)]
pub struct AuthSign {
    /// The parameter that holds the signature. Default `"sign"`. Reload: next client.
    pub param: String,
    /// The parameter that holds until when it holds, in seconds since 1970. Default `"expires"`. Reload: next client.
    pub expires_param: String,
    /// What URLs are signed with. With any of several; `srs-shard sign` takes the first. Default none.
    /// Reload: next client.
    pub secrets: Vec<Secret>,
}

impl Section for AuthSign {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        Self {
            param: r.key("param", NextClient, text(PARAMS, is_param), "sign".to_owned()),
            expires_param: r.key("expires_param", NextClient, text(PARAMS, is_param), "expires".to_owned()),
            secrets: r.key("secrets", NextClient, any_number_of(secret(MIN_SIGN_SECRET_BYTES)), Vec::new()),
        }
    }
}

/// `[vhost."name".auth.token]`: see [`crate::access::jwt`].
#[derive(Clone, Debug, PartialEq)]
pub struct AuthToken {
    /// The parameter that holds the token. Default `"token"`. Reload: next client.
    pub param: String,
    /// Files with a secret each, 32 bytes at least, for tokens signed with HS256; read at the start and with each
    /// reload. Default none. Reload: next client.
    pub secret_files: Vec<PathBuf>,
    /// Files with public keys, in PEM or as a JSON Web Key Set, for tokens signed with RS256 or ES256; a set may have
    /// secrets for HS256, too. Read at the start and with each reload. Default none. Reload: next client.
    pub key_files: Vec<PathBuf>,
    /// Where a JSON Web Key Set is fetched: https, or http on this machine. Default `""`: nowhere. The last good set stays in
    /// force. Reload: next client.
    pub jwks_url: String,
    /// How often it is fetched; sooner if a token names a key that is not in it. Default `"10m"`. Reload: next client.
    pub jwks_refresh: Duration,
    /// One of these must be in a token's `aud`. Default none: whatever is there will do. Reload: next client.
    pub audience: Vec<String>,
    /// One of these must be a token's `iss`. Default none: whatever is there will do. Reload: next client.
    pub issuer: Vec<String>,
    /// How much the issuer's clock may differ from ours. Default `"30s"`. Reload: next client.
    pub leeway: Duration,
}

impl Section for AuthToken {
    fn read(r: &mut Reader<'_, '_>) -> Self {
        let claims = || any_number_of(text(CLAIMS, is_claim));
        Self {
            param: r.key("param", NextClient, text(PARAMS, is_param), "token".to_owned()),
            secret_files: r.key("secret_files", NextClient, any_number_of(path()), Vec::new()),
            key_files: r.key("key_files", NextClient, any_number_of(path()), Vec::new()),
            jwks_url: r.key("jwks_url", NextClient, text(JWKS_URLS, is_jwks_url), String::new()),
            jwks_refresh: r.key("jwks_refresh", NextClient, duration(10 * SECOND..=24 * HOUR), 10 * MINUTE),
            audience: r.key("audience", NextClient, claims(), Vec::new()),
            issuer: r.key("issuer", NextClient, claims(), Vec::new()),
            leeway: r.key("leeway", NextClient, duration(ZERO..=10 * MINUTE), 30 * SECOND),
        }
    }
}

impl Auth {
    /// Whether a way has anything that it could be judged by.
    pub fn has_any(&self, way: Way, publish: bool) -> bool {
        match way {
            Way::Key if publish => !self.key.publish.is_empty(),
            Way::Key => !self.key.play.is_empty(),
            Way::Sign => !self.sign.secrets.is_empty(),
            Way::Token => {
                let AuthToken { secret_files, key_files, jwks_url, .. } = &self.token;
                !secret_files.is_empty() || !key_files.is_empty() || !jwks_url.is_empty()
            }
        }
    }
}

/// Half of what SHA-256 gives, which nobody can guess.
const MIN_SIGN_SECRET_BYTES: usize = 16;

const PARAMS: &str = "a name of 1 to 32 letters, digits, '-' and '_'";

fn is_param(text: &str) -> bool {
    // The vhost is looked for under these names, and before us.
    let taken = ["vhost", "domain"].contains(&text);
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        && !taken
}

const JWKS_URLS: &str =
    "an https URL, or http on this machine (\"http://127.0.0.1/jwks.json\"); \"\" for none";

/// Whoever could change the keys on their way could let anybody in.
fn is_jwks_url(text: &str) -> bool {
    let is_safe = |url: Url| match (url.scheme(), url.host()) {
        ("https", Some(_)) | ("http", Some(Host::Domain("localhost"))) => true,
        ("http", Some(Host::Ipv4(ip))) => ip.is_loopback(),
        ("http", Some(Host::Ipv6(ip))) => ip.is_loopback(),
        _ => false,
    };
    text.is_empty() || (text.len() <= MAX_TEXT_BYTES && Url::parse(text).is_ok_and(is_safe))
}

const CLAIMS: &str = "a text of 1 to 255 characters";

fn is_claim(text: &str) -> bool {
    (1..=255).contains(&text.chars().count()) && !text.contains(char::is_control)
}
