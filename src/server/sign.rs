//! `srs-shard sign`: a URL that carries its own permission, for an operator without any backend.

use crate::access::signature::sign;
use crate::access::{Asked, Verb};
use crate::config::Config;
use crate::http::url::{PathError, Query, clean_path, split_host_port};
use crate::rtmp::url::{ClientUrl, TcUrl, UrlError};
use crate::web::live::Mounts;

/// Why a URL cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Its scheme is neither RTMP's nor HTTP's.
    #[error("{0:?}: rtmp://HOST/APP/STREAM or http://HOST/PATH is wanted")]
    NoUrl(String),
    /// As the server would say.
    #[error(transparent)]
    Rtmp(#[from] UrlError),
    /// As the server would say.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Over HTTP streams are only played.
    #[error("nobody publishes over HTTP")]
    PublishOverHttp,
    /// No template of http_remux fits.
    #[error("{0}: no http_remux.mount of this configuration serves it")]
    NoStream(String),
    /// It would be refused.
    #[error("no vhost of this configuration serves {0:?}")]
    NoVhost(String),
    /// There is nothing to sign with.
    #[error("vhost {0} has no auth.sign.secrets: name the configuration that has them with -c")]
    NoSecret(String),
}

/// A URL, signed.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed {
    /// With its permission.
    pub url: String,
    /// What is hardly meant.
    pub warning: Option<String>,
}

/// Signs a URL for a verb until a time in seconds since 1970, with the first secret of the vhost that serves it.
pub fn signed_url(config: &Config, verb: Verb, url: &str, until_s: u64) -> Result<Signed, SignError> {
    let (vhost, app, stream) = stream_of(config, verb, url)?;
    let Some((name, vhost)) = config.vhosts.resolve(&vhost) else { return Err(SignError::NoVhost(vhost)) };
    let auth = &vhost.auth;
    let secret = auth.sign.secrets.first().ok_or_else(|| SignError::NoSecret(name.to_owned()))?;
    let asked = Asked { verb, vhost: name, app: &app, stream: &stream };
    let (separator, expires) = (if url.contains('?') { '&' } else { '?' }, &auth.sign.expires_param);
    let signed =
        format!("{url}{separator}{expires}={until_s}&{}={}", auth.sign.param, sign(secret, &asked, until_s));
    let ways = if verb == Verb::Publish { &auth.publish } else { &auth.play };
    let is_asked = auth.enabled && ways.contains(&crate::access::auth::Way::Sign);
    let warning = (!is_asked).then(|| {
        format!(
            "vhost {name} does not ask for it: auth is off, or auth.{} does not name \"sign\"",
            verb.as_str()
        )
    });
    Ok(Signed { url: signed, warning })
}

/// Vhost, as the URL names it, application and stream.
fn stream_of(config: &Config, verb: Verb, url: &str) -> Result<(String, String, String), SignError> {
    let no_url = || SignError::NoUrl(url.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(no_url)?;
    match scheme {
        "rtmp" | "rtmps" => {
            let parts = ClientUrl::parse(url)?;
            let name = TcUrl::parse(&parts.tc_url)?.stream(&parts.stream)?;
            Ok((name.vhost, name.app, name.stream))
        }
        "http" | "https" if verb == Verb::Publish => Err(SignError::PublishOverHttp),
        "http" | "https" => {
            let (authority, path) = rest.split_at(rest.find('/').ok_or_else(no_url)?);
            let (host, _) = split_host_port(authority).ok_or_else(no_url)?;
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let query = Query::parse(query);
            let found =
                Mounts::new(config).find(config, query.value("vhost").unwrap_or(host), &clean_path(path)?);
            let live = found.ok_or_else(|| SignError::NoStream(url.to_owned()))?;
            Ok((live.vhost, live.app, live.stream))
        }
        _ => Err(no_url()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
[vhost_defaults]\n\
http_remux.enabled = true\n\
auth = { enabled = true, play = \"sign\", sign.secrets = [\"the-first-of-secrets\", \"the-other-of-secrets\"] }\n\
[vhost.__defaultVhost__]\n\
[vhost.\"cam.example\"]\n\
aliases = \"www.example\"\n\
auth.sign = { param = \"s\", expires_param = \"e\" }\n\
[vhost.\"off.example\"]\n\
enabled = false\n\
[vhost.\"bare.example\"]\n\
auth.sign.secrets = []\n\
auth.play = []\n";

    fn signed(verb: Verb, url: &str) -> Result<Signed, String> {
        let config = Config::parse("x.toml", CONFIG).unwrap_or_else(|errors| panic!("{errors}"));
        signed_url(&config, verb, url, 1000).map_err(|error| error.to_string())
    }

    fn permission(verb: Verb, vhost: &str, app: &str, stream: &str) -> String {
        let secret = crate::access::secret::Secret::new("the-first-of-secrets");
        sign(&secret, &Asked { verb, vhost, app, stream }, 1000)
    }

    #[test]
    fn a_url_is_signed_for_the_stream_that_it_names() {
        use Verb::{Play, Publish};
        for (verb, url, vhost, app, stream) in [
            (Play, "rtmp://h/live/a", "__defaultVhost__", "live", "a"),
            (Play, "rtmp://h/live/hall/a", "__defaultVhost__", "live/hall", "a"),
            (Publish, "rtmp://1.2.3.4:19350/live/a", "__defaultVhost__", "live", "a"),
            (Play, "http://h:8080/live/a.flv", "__defaultVhost__", "live", "a"),
            (Play, "https://h/live/a%20b.flv", "__defaultVhost__", "live", "a b"),
        ] {
            let expected = format!("{url}?expires=1000&sign={}", permission(verb, vhost, app, stream));
            assert_eq!(signed(verb, url).expect("signed").url, expected);
        }
        // As the vhost has it, whatever name is used; behind the parameters that are there.
        let expected = permission(Play, "cam.example", "live", "a");
        for url in ["rtmp://h/live/a?vhost=WWW.example", "http://h/live/a.flv?vhost=cam.example"] {
            let signed = signed(Play, url).expect("signed");
            assert_eq!(signed, Signed { url: format!("{url}&e=1000&s={expected}"), warning: None });
        }
        assert!(signed(Play, "http://www.example/live/a.flv").expect("signed").url.ends_with(&expected));
    }

    #[test]
    fn what_is_not_asked_for_is_a_warning() {
        assert_eq!(signed(Verb::Play, "rtmp://h/live/a").expect("signed").warning, None);
        let warning = signed(Verb::Publish, "rtmp://h/live/a").expect("signed").warning.expect("a warning");
        assert!(warning.contains("auth.publish does not name \"sign\""), "{warning}");
    }

    #[test]
    fn what_cannot_be_signed_says_why() {
        let error = |verb, url| signed(verb, url).expect_err(url);
        assert!(error(Verb::Play, "live/a").contains("rtmp://HOST/APP/STREAM"));
        assert!(error(Verb::Play, "srt://h/live/a").contains("rtmp://HOST/APP/STREAM"));
        assert_eq!(error(Verb::Play, "rtmp://h/live/"), "empty stream name");
        assert_eq!(error(Verb::Publish, "http://h/live/a.flv"), "nobody publishes over HTTP");
        assert!(error(Verb::Play, "http://h/live/a.ts").contains("no http_remux.mount"));
        assert!(error(Verb::Play, "http://h/../a.flv").contains("'..'"));
        assert!(error(Verb::Play, "rtmp://off.example/live/a").contains("no vhost"));
        assert!(
            error(Verb::Play, "rtmp://bare.example/live/a")
                .contains("vhost bare.example has no auth.sign.secrets")
        );
    }
}
