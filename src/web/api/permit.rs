//! Who may call the API.
//!
//! While `http_api.auth` is on: whoever has the password or a token, for what changes anything, and for reading if so
//! configured. While it is off reading is open, as in SRS, and only who sits at the machine may change something: no page
//! in a browser there, and nobody behind a proxy there.

use super::json::Object;
use super::{code, respond};
use crate::access::secret::Secret;
use crate::config::schema::ApiAuth;
use crate::http::authorization::Authorization;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::url::split_host_port;
use crate::stats::reason::{ApiRefusal, Reason};
use std::fmt;
use std::net::IpAddr;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// It reads.
    Read,
    /// It changes something.
    Change,
    /// The same by JSONP, from within a page.
    ChangeByScript,
}

/// A call that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: ApiRefusal,
    /// The header that tells of a page or proxy.
    header: Option<&'static str>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.header {
            Some(header) => write!(f, "{} ({header})", self.reason),
            None => write!(f, "{}", self.reason),
        }
    }
}

impl From<ApiRefusal> for Refused {
    fn from(reason: ApiRefusal) -> Self {
        Refused { reason, header: None }
    }
}

/// A page in a browser sends Origin or Referer, or at least Sec-Fetch-Site (Fetch Metadata; a script tag with
/// `referrerpolicy=no-referrer` sends only that). A proxy on this machine gives itself away by the others.
const TELLTALES: [&str; 8] = [
    "Origin",
    "Referer",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Real-IP",
    "Via",
    "Sec-Fetch-Site",
];

/// Whether a call from `peer` may do what it does.
pub(super) fn judge(request: &Request, peer: IpAddr, auth: &ApiAuth, does: Does) -> Result<(), Refused> {
    if !auth.enabled {
        return if does == Does::Read { Ok(()) } else { sits_here(request, peer) };
    }
    if does == Does::Read && !auth.reading {
        return Ok(());
    }
    let named = request.headers.value("authorization").is_some();
    let wrong = if named { ApiRefusal::AuthWrong } else { ApiRefusal::AuthMissing };
    match Authorization::of(&request.headers).ok_or(wrong)? {
        // All are looked at, whichever fits.
        Authorization::Bearer(token) if auth.tokens.iter().fold(false, |fits, own| fits | own.is(&token)) => {
            Ok(())
        }
        Authorization::Basic { user, password }
            if auth.password.is(&password) & Secret::new(&auth.username).is(&user) =>
        {
            // A browser sends a password by itself, whichever page makes it ask.
            match does {
                Does::Read => Ok(()),
                Does::Change => own_page(request),
                Does::ChangeByScript => Err(ApiRefusal::PageOrProxy.into()),
            }
        }
        _ => Err(ApiRefusal::AuthWrong.into()),
    }
}

/// Whether who asks sits at this machine. Under a rebound name its Host is not loopback.
fn sits_here(request: &Request, peer: IpAddr) -> Result<(), Refused> {
    if !is_loopback(peer) {
        return Err(ApiRefusal::NotLoopback.into());
    }
    if let Some(header) = TELLTALES.into_iter().find(|name| request.headers.value(name).is_some()) {
        return Err(Refused { reason: ApiRefusal::PageOrProxy, header: Some(header) });
    }
    let loopback_host = request.host == "localhost" || request.host.parse().is_ok_and(is_loopback);
    if loopback_host { Ok(()) } else { Err(ApiRefusal::NotLoopbackHost.into()) }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Whether no page stands behind a request, or one of this very origin.
fn own_page(request: &Request) -> Result<(), Refused> {
    let is_own = |url: &str| {
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let origin = split_host_port(authority);
        origin.is_some_and(|(host, port)| host.eq_ignore_ascii_case(&request.host) && port == request.port)
    };
    let is_good = |name: &str, value: &str| match name {
        "Sec-Fetch-Site" => ["same-origin", "none"].contains(&value),
        _ => is_own(value),
    };
    let said = ["Sec-Fetch-Site", "Origin", "Referer"];
    let foreign = said.into_iter().find(|name| request.headers.all(name).any(|value| !is_good(name, value)));
    match foreign {
        Some(header) => Err(Refused { reason: ApiRefusal::PageOrProxy, header: Some(header) }),
        None => Ok(()),
    }
}

/// The answer to a call that is refused.
pub(super) fn answer(refused: Refused, auth: &ApiAuth, callback: Option<&str>) -> Response {
    let asks = matches!(refused.reason, ApiRefusal::AuthMissing | ApiRefusal::AuthWrong);
    let (status, code) = if asks { (401, code::UNAUTHORIZED) } else { (403, code::FORBIDDEN) };
    let object = Object::new().with("code", code).with("reason", refused.reason.as_str());
    let mut response = Response { status, ..respond(&object, callback) };
    if asks && !auth.username.is_empty() {
        response = response.with("WWW-Authenticate", "Basic realm=\"srs-shard\", charset=\"UTF-8\"");
    }
    if asks && !auth.tokens.is_empty() {
        response = response.with("WWW-Authenticate", "Bearer realm=\"srs-shard\"");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Event, Parser};
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn request(headers: &str) -> Request {
        let mut parser = Parser::default();
        parser.feed(
            format!("DELETE /api/v1/clients/1 HTTP/1.1\r\nHost: api.example:1985\r\n{headers}\r\n")
                .as_bytes(),
        );
        match parser.poll() {
            Ok(Some(Event::Request(request))) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn auth() -> ApiAuth {
        ApiAuth {
            enabled: true,
            username: "admin".to_owned(),
            password: Secret::new("open:sesame"),
            tokens: ["first-token-of-them", "other-token-of-them"].map(Secret::new).to_vec(),
            reading: false,
        }
    }

    fn judged(auth: &ApiAuth, headers: &str, does: Does) -> &'static str {
        judge(&request(headers), AWAY, auth, does).map_or_else(|refused| refused.reason.as_str(), |()| "")
    }

    fn basic(user: &str, password: &str) -> String {
        format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
    }

    fn bearer(token: &str) -> String {
        format!("Authorization: Bearer {token}\r\n")
    }

    #[test]
    fn a_password_or_any_of_the_tokens_lets_in() {
        let changed = |headers: &str| judged(&auth(), headers, Does::Change);
        assert_eq!(changed(&basic("admin", "open:sesame")), "");
        assert_eq!(changed(&bearer("first-token-of-them")), "");
        assert_eq!(changed(&bearer("other-token-of-them")), "");
        assert_eq!(changed(""), "auth_missing");
        for wrong in [
            basic("admin", "open"),
            basic("root", "open:sesame"),
            basic("", ""),
            bearer("first-token-of-the"),
            bearer("***"),
            "Authorization: Digest x\r\n".to_owned(),
            bearer("first-token-of-them") + &bearer("first-token-of-them"),
        ] {
            assert_eq!(changed(&wrong), "auth_wrong", "{wrong}");
        }
        let no_password = ApiAuth { username: String::new(), password: Secret::default(), ..auth() };
        assert_eq!(judged(&no_password, &basic("", ""), Does::Change), "auth_wrong");
        // Nobody passes for sitting at the machine.
        let here = judge(&request(""), [127, 0, 0, 1].into(), &auth(), Does::Change);
        assert_eq!(here, Err(ApiRefusal::AuthMissing.into()));
    }

    #[test]
    fn reading_is_open_unless_it_is_not_to_be() {
        assert_eq!(judged(&auth(), "", Does::Read), "");
        assert_eq!(judged(&ApiAuth { enabled: false, reading: true, ..auth() }, "", Does::Read), "");
        let closed = ApiAuth { reading: true, ..auth() };
        assert_eq!(judged(&closed, "", Does::Read), "auth_missing");
        assert_eq!(judged(&closed, &bearer("other-token-of-them"), Does::Read), "");
        assert_eq!(judged(&closed, &basic("admin", "open:sesame"), Does::Read), "");
    }

    #[test]
    fn a_password_that_a_browser_sends_by_itself_changes_nothing_for_other_pages() {
        let changed = |header: &str| judged(&auth(), &(basic("admin", "open:sesame") + header), Does::Change);
        for own in [
            "Origin: http://API.example:1985\r\n",
            "Referer: http://api.example:1985/console/?a=b\r\n",
            "Sec-Fetch-Site: same-origin\r\nOrigin: http://api.example:1985\r\n",
            "Sec-Fetch-Site: none\r\n",
        ] {
            assert_eq!(changed(own), "", "{own}");
        }
        for foreign in [
            "Origin: http://evil.example\r\n",
            "Origin: null\r\n",
            "Origin: http://api.example\r\n",
            "Referer: http://evil.example/api.example:1985\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Sec-Fetch-Site: same-site\r\n",
        ] {
            assert_eq!(changed(foreign), "page_or_proxy", "{foreign}");
            let with_token = bearer("other-token-of-them") + foreign;
            assert_eq!(
                judged(&auth(), &with_token, Does::Change),
                "",
                "a token comes by nobody's chance: {foreign}"
            );
        }
        assert_eq!(judged(&auth(), &basic("admin", "open:sesame"), Does::ChangeByScript), "page_or_proxy");
        assert_eq!(judged(&auth(), &bearer("other-token-of-them"), Does::ChangeByScript), "");
    }

    #[test]
    fn the_answer_says_how_to_authenticate() {
        let fields = |auth: &ApiAuth, reason: ApiRefusal| {
            let response = answer(reason.into(), auth, None);
            let schemes: Vec<&str> = response
                .fields
                .iter()
                .map(|(_, value)| value.split(' ').next().unwrap_or_default())
                .collect();
            assert!(response.fields.iter().all(|(name, _)| *name == "WWW-Authenticate"));
            (response.status, schemes.join(" "))
        };
        assert_eq!(fields(&auth(), ApiRefusal::AuthMissing), (401, "Basic Bearer".to_owned()));
        assert_eq!(
            fields(&ApiAuth { tokens: Vec::new(), ..auth() }, ApiRefusal::AuthWrong),
            (401, "Basic".to_owned())
        );
        assert_eq!(fields(&auth(), ApiRefusal::PageOrProxy), (403, String::new()));
        let jsonp = answer(ApiRefusal::AuthMissing.into(), &auth(), Some("f"));
        assert_eq!(&jsonp.body[..], br#"f({"code":401,"reason":"auth_missing"})"#);
    }
}
