//! JSON Web Tokens: RFC 7519 in the compact form of RFC 7515 §7.1, signed with HS256, RS256 or ES256.
//!
//! A token must say until when it holds (`exp`), for which streams (`stream`: `app/stream`, `*` at its end) and for what
//! (`action`: `publish`, `play`), each of the latter one or a list; so a token that the same issuer made for something
//! else opens nothing here. `nbf`, and `vhost` (one or a list) where it is there, are heeded; `aud` and `iss` are
//! compared where the configuration names some. Left out: encryption (RFC 7516), `crit` (a token with it is refused, as
//! §4.1.11 wants), keys that a token brings along.

use super::Asked;
use super::jwk::{Algorithm, SharedKeys};
use super::stream_key::Pattern;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A longer token is refused.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;
/// A token that names no key is tried with so many: each costs a verification.
const MAX_TRIES: usize = 8;
/// `kid`s are told up to here.
const MAX_TOLD_CHARS: usize = 64;

/// What tokens are judged by.
#[derive(Clone, Debug, Default)]
pub struct TokenRules {
    /// Any key of any of these sets.
    pub keys: Vec<Arc<SharedKeys>>,
    /// One of these must be in `aud`, if there are any.
    pub audience: Vec<String>,
    /// One of these must be `iss`, if there are any.
    pub issuer: Vec<String>,
    /// How much the issuer's clock may differ from ours, in seconds.
    pub leeway_s: u64,
}

/// Why a token opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TokenError {
    #[error("longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    #[error("not three parts in base64url")]
    Form,
    #[error("its header is no JSON object")]
    Header,
    #[error("alg {0:?} is none of HS256, RS256, ES256")]
    Algorithm(String),
    #[error("its header has crit, of which nothing is known here")]
    Critical,
    #[error("there is no key for {}{}", .0.as_str(), .1.as_ref().map_or(String::new(), |kid| format!(" by the name {kid:?}")))]
    NoKey(Algorithm, Option<String>),
    #[error("it is not signed with a key that is known here")]
    Signature,
    #[error("its claims are no JSON object")]
    Claims,
    #[error("{0} is missing, or not of its type")]
    Claim(&'static str),
    #[error("expired {0} s ago")]
    Expired(u64),
    #[error("not yet valid for {0} s")]
    NotYet(u64),
    #[error("{0} is for others")]
    Others(&'static str),
}

impl TokenRules {
    /// Whether a token permits what is asked for.
    pub fn check(&self, token: &str, asked: &Asked<'_>, now_s: u64) -> Result<(), TokenError> {
        let claims = self.verified(token)?;
        self.check_times(&claims, now_s)?;
        let one_of = |name: &'static str, wanted: &[String]| match words(&claims, name) {
            _ if wanted.is_empty() => Ok(()),
            None => Err(TokenError::Claim(name)),
            Some(words) if words.iter().any(|word| wanted.iter().any(|w| w == word)) => Ok(()),
            Some(_) => Err(TokenError::Others(name)),
        };
        one_of("iss", &self.issuer)?;
        one_of("aud", &self.audience)?;
        let is_asked = |name: &'static str, good: &dyn Fn(&str) -> bool| match words(&claims, name) {
            None => Err(TokenError::Claim(name)),
            Some(words) if words.iter().any(|word| good(word)) => Ok(()),
            Some(_) => Err(TokenError::Others(name)),
        };
        is_asked("action", &|word| word == asked.verb.as_str())?;
        if claims.contains_key("vhost") {
            is_asked("vhost", &|word| word.eq_ignore_ascii_case(asked.vhost))?;
        }
        let names =
            |word: &str| Pattern::parse(word).is_some_and(|streams| streams.matches(asked.app, asked.stream));
        is_asked("stream", &names)
    }

    /// The claims of a token, once its signature is found good. None of it is looked at before.
    fn verified(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form);
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let header = object(&header).ok_or(TokenError::Header)?;
        let name = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = Algorithm::parse(name).ok_or_else(|| TokenError::Algorithm(shorten(name)))?;
        if header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        let kid = header.get("kid").and_then(Value::as_str);
        let sets: Vec<_> = self.keys.iter().map(|keys| keys.current()).collect();
        let mut candidates =
            sets.iter().flat_map(|set| set.candidates(algorithm, kid)).take(MAX_TRIES).peekable();
        if candidates.peek().is_none() {
            self.keys.iter().filter(|_| kid.is_some()).for_each(|keys| keys.note_missed());
            return Err(TokenError::NoKey(algorithm, kid.map(shorten)));
        }
        if !candidates.any(|key| key.verifies(message.as_bytes(), &signature)) {
            return Err(TokenError::Signature);
        }
        object(&claims).ok_or(TokenError::Claims)
    }

    /// RFC 7519 §4.1.4 and §4.1.5.
    fn check_times(&self, claims: &Map<String, Value>, now_s: u64) -> Result<(), TokenError> {
        let time = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(TokenError::Claim(name)),
        };
        let (now, leeway) = (now_s as f64, self.leeway_s as f64);
        let expires = time("exp")?.ok_or(TokenError::Claim("exp"))?;
        if now >= expires + leeway {
            return Err(TokenError::Expired((now - expires) as u64));
        }
        match time("nbf")? {
            Some(begins) if now + leeway < begins => Err(TokenError::NotYet((begins - now).ceil() as u64)),
            _ => Ok(()),
        }
    }
}

fn object(json: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// A claim that is a text or a list of texts.
fn words<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<Vec<&'c str>> {
    match claims.get(name)? {
        Value::String(word) => Some(vec![word]),
        Value::Array(all) => all.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// What a token says, as far as a line of the log has room for it.
fn shorten(text: &str) -> String {
    text.chars().take(MAX_TOLD_CHARS).collect()
}

#[cfg(test)]
mod tests;
