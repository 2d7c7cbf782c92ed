//! What a request's `Authorization` says (RFC 9110 §11.6.2): the Basic scheme (RFC 7617) and the Bearer scheme (RFC 6750).

use super::request::Headers;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Who calls, as it says itself. Secret, so it cannot be shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Name and password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Bearer(String),
}

impl Authorization {
    /// The one of a request. None if there is none, or several, or one of another scheme or form.
    pub fn of(headers: &Headers) -> Option<Authorization> {
        let mut all = headers.all("authorization");
        match (all.next(), all.next()) {
            (Some(one), None) => Authorization::parse(one),
            _ => None,
        }
    }

    /// Reads the value of the header.
    pub fn parse(value: &str) -> Option<Authorization> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        let rest = rest.trim_start();
        if scheme.eq_ignore_ascii_case("bearer") {
            return (!rest.is_empty()).then(|| Authorization::Bearer(rest.to_owned()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        // A name has no ':', a password may.
        let (user, password) = text.split_once(':')?;
        Some(Authorization::Basic { user: user.to_owned(), password: password.to_owned() })
    }

    /// The token, if it is one.
    pub fn bearer(&self) -> Option<&str> {
        match self {
            Authorization::Bearer(token) => Some(token),
            Authorization::Basic { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn basic(user: &str, password: &str) -> Option<Authorization> {
        Some(Authorization::Basic { user: user.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn both_schemes_are_read() {
        // The examples of RFC 7617 §2 and RFC 6750 §2.1.
        let aladdin = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert!(Authorization::parse(aladdin) == basic("Aladdin", "open sesame"));
        assert!(Authorization::parse("bASIC  dGVzdDoxMjPCow==") == basic("test", "123£"));
        assert!(Authorization::parse(&format!("Basic {}", STANDARD.encode("a::b"))) == basic("a", ":b"));
        let bearer = Authorization::parse("bearer mF_9.B5f-4.1JqM");
        assert_eq!(bearer.as_ref().and_then(Authorization::bearer), Some("mF_9.B5f-4.1JqM"));
        for bad in
            ["", "Basic", "Bearer ", "Basic !", "Basic dGVzdA==", "Basic /w==", "Digest username=x", "token"]
        {
            assert!(Authorization::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn two_of_them_are_none() {
        let headers = |all: &[&str]| all.iter().map(|value| ("Authorization", *value)).collect::<Headers>();
        assert!(Authorization::of(&headers(&["Bearer a"])).is_some());
        assert!(Authorization::of(&headers(&["Bearer a", "Bearer b"])).is_none());
        assert!(Authorization::of(&headers(&[])).is_none());
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(value in "(Basic |Bearer )?\\PC{0,40}") {
            let _ = Authorization::parse(&value);
        }
    }
}
