//! Signed URLs: an HMAC-SHA256 over verb, stream and expiry, which whoever has the secret can make without asking us.
//!
//! What is signed is one line, `VERB VHOST/APP/STREAM EXPIRES`: `play __defaultVhost__/live/cam1 1767225600`. The verb
//! has no blank and the expiry is digits, so no two wishes have the same line. The vhost is the one of the
//! configuration, whatever name the client uses for it.

use super::Asked;
use super::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// An expiry has at most so many digits; more would be a time that never comes.
const MAX_EXPIRES_DIGITS: usize = 12;
const DIGEST_BYTES: usize = 32;

/// Why a signed URL opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It does not say until when it holds.
    #[error("it has no time of expiry")]
    NoExpiry,
    /// The expiry is no number of seconds since 1970.
    #[error("its time of expiry is no number of seconds since 1970")]
    Expiry,
    /// It has expired.
    #[error("expired {0} s ago")]
    Expired(u64),
    /// It is neither 64 hexadecimal digits nor 43 characters of base64url.
    #[error("not a signature: 64 hexadecimal digits, or 43 characters of base64url")]
    Form,
    /// It is signed with another secret, or for something else.
    #[error("it is none of this stream, action and time")]
    Wrong,
}

/// Signs a wish that holds until `expires_s`, seconds since 1970; hexadecimal.
pub fn sign(secret: &Secret, asked: &Asked<'_>, expires_s: u64) -> String {
    let digest = mac(secret, asked, &expires_s.to_string()).finalize().into_bytes();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a wish is signed with one of the secrets, and still holds.
pub fn check(
    secrets: &[Secret],
    asked: &Asked<'_>,
    signature: &str,
    expires: Option<&str>,
    now_s: u64,
) -> Result<(), SignatureError> {
    let expires = expires.ok_or(SignatureError::NoExpiry)?;
    let digits =
        (1..=MAX_EXPIRES_DIGITS).contains(&expires.len()) && expires.bytes().all(|b| b.is_ascii_digit());
    let expires_s: u64 = expires.parse().ok().filter(|_| digits).ok_or(SignatureError::Expiry)?;
    let given = bytes_of(signature).ok_or(SignatureError::Form)?;
    // Compared in constant time; which of the secrets fits is no secret.
    if !secrets.iter().any(|secret| mac(secret, asked, expires).verify_slice(&given).is_ok()) {
        return Err(SignatureError::Wrong);
    }
    // The others learn nothing of when it would have expired.
    if now_s >= expires_s { Err(SignatureError::Expired(now_s - expires_s)) } else { Ok(()) }
}

fn mac(secret: &Secret, asked: &Asked<'_>, expires: &str) -> Hmac<Sha256> {
    let Asked { verb, vhost, app, stream } = asked;
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{} {vhost}/{app}/{stream} {expires}", verb.as_str()).as_bytes());
    mac
}

fn bytes_of(signature: &str) -> Option<[u8; DIGEST_BYTES]> {
    if signature.len() == 2 * DIGEST_BYTES {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = signature.as_bytes().chunks(2).map(pair).collect();
        return bytes?.try_into().ok();
    }
    URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Verb;
    use proptest::prelude::*;

    const ASKED: Asked<'_> =
        Asked { verb: Verb::Play, vhost: "__defaultVhost__", app: "live", stream: "livestream" };

    fn secret() -> Secret {
        Secret::new("0123456789abcdef0123456789abcdef")
    }

    fn checked(asked: &Asked<'_>, signature: &str, expires: &str, now_s: u64) -> Result<(), SignatureError> {
        check(&[secret()], asked, signature, Some(expires), now_s)
    }

    /// What conf/security.toml's command for openssl prints.
    const OPENSSL: &str = "465d9f1f5c55a2a36bb4b1ac176695b0b59c879ab4e83142591e0f8be9794d22";

    #[test]
    fn openssl_makes_the_same() {
        assert_eq!(sign(&secret(), &ASKED, 1_767_225_600), OPENSSL);
        assert_eq!(checked(&ASKED, OPENSSL, "1767225600", 1_767_225_599), Ok(()));
        assert_eq!(checked(&ASKED, &OPENSSL.to_uppercase(), "1767225600", 0), Ok(()));
        assert_eq!(checked(&ASKED, OPENSSL, "1767225600", 1_767_225_600), Err(SignatureError::Expired(0)));
    }

    #[test]
    fn base64url_is_as_good_with_and_without_padding() {
        let bytes = bytes_of(OPENSSL).expect("hexadecimal");
        let text = URL_SAFE_NO_PAD.encode(bytes);
        assert_eq!(checked(&ASKED, &text, "1767225600", 0), Ok(()));
        assert_eq!(checked(&ASKED, &format!("{text}="), "1767225600", 0), Ok(()));
    }

    #[test]
    fn any_of_several_secrets_will_do() {
        let (old, new) = (Secret::new("the old one of them"), Secret::new("the new one of them"));
        let signed = sign(&old, &ASKED, 100);
        let both = [new.clone(), old];
        assert_eq!(check(&both, &ASKED, &signed, Some("100"), 99), Ok(()));
        assert_eq!(check(&[new], &ASKED, &signed, Some("100"), 99), Err(SignatureError::Wrong));
        assert_eq!(check(&[], &ASKED, &signed, Some("100"), 99), Err(SignatureError::Wrong));
    }

    #[test]
    fn nothing_of_it_can_be_changed() {
        let wrong = Err(SignatureError::Wrong);
        let expires = "1767225600";
        assert_eq!(checked(&Asked { verb: Verb::Publish, ..ASKED }, OPENSSL, expires, 0), wrong);
        assert_eq!(checked(&Asked { vhost: "other", ..ASKED }, OPENSSL, expires, 0), wrong);
        assert_eq!(checked(&Asked { app: "live2", ..ASKED }, OPENSSL, expires, 0), wrong);
        assert_eq!(checked(&Asked { stream: "livestream2", ..ASKED }, OPENSSL, expires, 0), wrong);
        assert_eq!(checked(&ASKED, OPENSSL, "1767225601", 0), wrong);
        assert_eq!(checked(&ASKED, OPENSSL, "01767225600", 0), wrong, "the digits are signed as they stand");
        assert_eq!(check(&[secret()], &ASKED, OPENSSL, None, 0), Err(SignatureError::NoExpiry));
        for text in ["", "+1767225600", "1e9", "-1", " 1", "1767225600000000"] {
            assert_eq!(checked(&ASKED, OPENSSL, text, 0), Err(SignatureError::Expiry), "{text}");
        }
        let other = &OPENSSL.replace('f', "g");
        for text in ["", "x", &OPENSSL[1..], &format!("{OPENSSL}0"), other] {
            assert_eq!(checked(&ASKED, text, expires, 0), Err(SignatureError::Form), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_holds_until_it_expires_and_for_nothing_else(
            publish: bool, vhost in "[a-z_.]{1,10}", app in "[a-z/ ]{1,10}", stream in "[a-z/ 0-9]{1,10}",
            expires in 1u64..100_000_000_000, now in 0u64..200_000_000_000, bit in 0usize..256,
        ) {
            let verb = if publish { Verb::Publish } else { Verb::Play };
            let asked = Asked { verb, vhost: &vhost, app: &app, stream: &stream };
            let signed = sign(&secret(), &asked, expires);
            let expected = if now < expires { Ok(()) } else { Err(SignatureError::Expired(now - expires)) };
            prop_assert_eq!(checked(&asked, &signed, &expires.to_string(), now), expected);
            let mut bytes = bytes_of(&signed).expect("hexadecimal");
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(checked(&asked, &flipped, &expires.to_string(), now), Err(SignatureError::Wrong));
        }

        #[test]
        fn no_text_makes_it_panic(signature in "\\PC{0,80}", expires in "\\PC{0,20}") {
            let _ = checked(&ASKED, &signature, &expires, 0);
        }
    }
}
