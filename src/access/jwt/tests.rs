use super::*;
use crate::access::Verb;
use crate::access::jwk::{KeyError, KeySet, Origin};
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256};
use serde_json::json;
use sha2::Sha256;

const ASKED: Asked<'_> = Asked { verb: Verb::Play, vhost: "Cam.example", app: "live", stream: "a" };
const NOW_S: u64 = 1_000_000;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Made with openssl for this test: what signs, in DER, and the public half in PEM.
const RSA_KEY: &[u8] = include_bytes!("../../../tests/data/keys/rsa.pkcs1.der");
const RSA_PUBLIC: &[u8] = include_bytes!("../../../tests/data/keys/rsa.pub.pem");
const P256_KEY: &[u8] = include_bytes!("../../../tests/data/keys/p256.pkcs8.der");
const P256_PUBLIC: &[u8] = include_bytes!("../../../tests/data/keys/p256.pub.pem");

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A signed token, its header and claims as they are given.
fn token(header: &Value, claims: &Value) -> String {
    signed(
        &base64(header.to_string()),
        &base64(claims.to_string()),
        header["alg"].as_str().unwrap_or_default(),
    )
}

fn signed(header: &str, claims: &str, algorithm: &str) -> String {
    let message = format!("{header}.{claims}");
    let random = SystemRandom::new();
    let signature = match algorithm {
        "RS256" => {
            let key = RsaKeyPair::from_der(RSA_KEY).expect("a key");
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("a signature");
            signature
        }
        "ES256" => {
            let key =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, P256_KEY, &random).expect("a key");
            key.sign(&random, message.as_bytes()).expect("a signature").as_ref().to_vec()
        }
        _ => hs256(SECRET, &message),
    };
    format!("{message}.{}", base64(signature))
}

fn hs256(secret: &[u8], message: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key");
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

fn claims() -> Value {
    json!({"exp": NOW_S + 60, "stream": "live/*", "action": ["play", "publish"]})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn rules(sets: &[KeySet]) -> TokenRules {
    let keys = sets.iter().map(|set| Arc::new(SharedKeys::new(set.clone()))).collect();
    TokenRules { keys, leeway_s: 30, ..TokenRules::default() }
}

fn secret() -> KeySet {
    KeySet::of_secret(SECRET).expect("a secret")
}

fn public(file: &[u8]) -> KeySet {
    KeySet::of_file(file).expect("a public key")
}

/// What becomes of claims signed with HS256.
fn judged(claims: &Value) -> Result<(), TokenError> {
    rules(&[secret()]).check(&token(&json!({"alg": "HS256"}), claims), &ASKED, NOW_S)
}

#[test]
fn each_algorithm_is_verified_with_its_own_kind_of_key() {
    let all = rules(&[secret(), public(RSA_PUBLIC), public(P256_PUBLIC)]);
    for algorithm in ["HS256", "RS256", "ES256"] {
        let token = token(&json!({"alg": algorithm, "typ": "JWT"}), &claims());
        assert_eq!(all.check(&token, &ASKED, NOW_S), Ok(()), "{algorithm}");
        let mut forged = token.clone().into_bytes();
        let at = forged.len() - 10;
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("text");
        assert_eq!(all.check(&forged, &ASKED, NOW_S), Err(TokenError::Signature), "{algorithm}");
    }
}

#[test]
fn the_example_of_the_specification_is_verified() {
    // RFC 7515 §A.1: an HS256 token, its key in base64url, its claims {"iss":"joe","exp":1300819380,…}.
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                 cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let jwks = json!({"keys": [{"kty": "oct", "k": key}]}).to_string();
    let rules = rules(&[KeySet::of_jwks(&jwks, Origin::File).expect("a set")]);
    assert_eq!(
        rules.check(token, &ASKED, 1_300_819_379),
        Err(TokenError::Claim("action")),
        "the rest is good"
    );
    assert_eq!(rules.check(token, &ASKED, 1_300_819_420), Err(TokenError::Expired(40)));
}

#[test]
fn an_algorithm_is_never_verified_with_another_kind_of_key() {
    // The classic: HS256 with the public key as the secret.
    let header = base64(r#"{"alg":"HS256"}"#);
    let message = format!("{header}.{}", base64(claims().to_string()));
    let token_of = |secret: &[u8]| format!("{message}.{}", base64(hs256(secret, &message)));
    let rsa = rules(&[public(RSA_PUBLIC)]);
    assert_eq!(
        rsa.check(&token_of(RSA_PUBLIC), &ASKED, NOW_S),
        Err(TokenError::NoKey(Algorithm::Hs256, None))
    );
    // And the file is none for a secret.
    assert_eq!(KeySet::of_secret(RSA_PUBLIC), Err(KeyError::SecretIsKey));
    let p256 = rules(&[public(P256_PUBLIC)]);
    let rs256 = token(&json!({"alg": "RS256"}), &claims());
    assert_eq!(p256.check(&rs256, &ASKED, NOW_S), Err(TokenError::NoKey(Algorithm::Rs256, None)));
    for alg in ["none", "None", "", "HS384", "hs256", "PS256", "EdDSA"] {
        let unsigned =
            format!("{}.{}.", base64(json!({"alg": alg}).to_string()), base64(claims().to_string()));
        assert_eq!(rsa.check(&unsigned, &ASKED, NOW_S), Err(TokenError::Algorithm(alg.to_owned())));
    }
    let no_alg = token(&json!({"typ": "JWT"}), &claims());
    assert_eq!(rsa.check(&no_alg, &ASKED, NOW_S), Err(TokenError::Algorithm(String::new())));
}

#[test]
fn what_is_no_token_is_said_to_be_none() {
    let rules = rules(&[secret()]);
    let check = |token: &str| rules.check(token, &ASKED, NOW_S);
    for text in ["", ".", "..", "a.b", "a.b.c.d", "!.!.!", "e30.e30.e30="] {
        let found = check(text);
        assert!(matches!(found, Err(TokenError::Form | TokenError::Header)), "{text}: {found:?}");
    }
    assert_eq!(check(&"x".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenError::TooLong));
    assert_eq!(check(&signed(&base64("[]"), &base64("{}"), "")), Err(TokenError::Header));
    assert_eq!(check(&signed(&base64(r#"{"alg":"HS256"}"#), &base64("[]"), "")), Err(TokenError::Claims));
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    assert_eq!(check(&token(&critical, &claims())), Err(TokenError::Critical));
}

#[test]
fn times_are_heeded_with_their_leeway() {
    let exp = |at: Value| judged(&with("exp", at));
    assert_eq!(exp(json!(NOW_S - 29)), Ok(()), "the issuer's clock may be late");
    assert_eq!(exp(json!(NOW_S - 30)), Err(TokenError::Expired(30)));
    assert_eq!(exp(json!(NOW_S as f64 - 29.5)), Ok(()), "a fraction is allowed (RFC 7519 §2)");
    for bad in [json!(null), json!("2000000"), json!([]), json!(true)] {
        assert_eq!(exp(bad), Err(TokenError::Claim("exp")));
    }
    let mut eternal = claims();
    eternal.as_object_mut().expect("an object").remove("exp");
    assert_eq!(judged(&eternal), Err(TokenError::Claim("exp")));
    assert_eq!(judged(&with("nbf", json!(NOW_S + 30))), Ok(()));
    assert_eq!(judged(&with("nbf", json!(NOW_S + 31))), Err(TokenError::NotYet(31)));
    assert_eq!(judged(&with("nbf", json!("soon"))), Err(TokenError::Claim("nbf")));
}

#[test]
fn claims_say_what_a_token_opens() {
    assert_eq!(judged(&claims()), Ok(()));
    for good in [json!("live/a"), json!("*"), json!(["x/y", "live/a*"])] {
        assert_eq!(judged(&with("stream", good)), Ok(()));
    }
    for bad in [json!("live/b"), json!("live"), json!("a"), json!([]), json!("live*/a")] {
        assert_eq!(judged(&with("stream", bad)), Err(TokenError::Others("stream")));
    }
    assert_eq!(judged(&with("action", json!("play"))), Ok(()));
    assert_eq!(judged(&with("action", json!("publish"))), Err(TokenError::Others("action")));
    assert_eq!(judged(&with("vhost", json!("cam.example"))), Ok(()));
    assert_eq!(judged(&with("vhost", json!(["other"]))), Err(TokenError::Others("vhost")));
    // A token for something else that has the same issuer opens nothing.
    for name in ["stream", "action"] {
        assert_eq!(judged(&with(name, Value::Null)), Err(TokenError::Claim(name)));
        assert_eq!(judged(&with(name, json!({"a": 1}))), Err(TokenError::Claim(name)));
        assert_eq!(judged(&with(name, json!(["live/a", 1]))), Err(TokenError::Claim(name)));
    }
}

#[test]
fn issuer_and_audience_are_compared_where_some_are_configured() {
    let mut rules = rules(&[secret()]);
    let check = |rules: &TokenRules, claims: &Value| {
        rules.check(&token(&json!({"alg": "HS256"}), claims), &ASKED, NOW_S)
    };
    assert_eq!(check(&rules, &with("aud", json!("others"))), Ok(()));
    rules.audience = vec!["srs".to_owned(), "live".to_owned()];
    assert_eq!(check(&rules, &claims()), Err(TokenError::Claim("aud")));
    assert_eq!(check(&rules, &with("aud", json!("others"))), Err(TokenError::Others("aud")));
    assert_eq!(check(&rules, &with("aud", json!(["others", "live"]))), Ok(()));
    rules.audience.clear();
    rules.issuer = vec!["https://id.example".to_owned()];
    assert_eq!(check(&rules, &with("iss", json!("https://id.example/"))), Err(TokenError::Others("iss")));
    assert_eq!(check(&rules, &with("iss", json!("https://id.example"))), Ok(()));
}

#[test]
fn a_key_is_found_by_its_name_and_can_be_replaced() {
    let jwk =
        |kid: &str, secret: &[u8]| json!({"kty": "oct", "kid": kid, "alg": "HS256", "k": base64(secret)});
    let other: &[u8] = b"another secret of 32 bytes, or so";
    let set = |keys: Value| KeySet::of_jwks(&json!({"keys": keys}).to_string(), Origin::File).expect("a set");
    let rules = rules(&[set(json!([jwk("old", other), jwk("new", SECRET)]))]);
    let check =
        |kid: Value| rules.check(&token(&json!({"alg": "HS256", "kid": kid}), &claims()), &ASKED, NOW_S);
    assert_eq!(check(json!("new")), Ok(()));
    assert_eq!(check(json!("old")), Err(TokenError::Signature), "that is another key");
    assert_eq!(check(Value::Null), Ok(()), "without a name all are tried");
    assert!(!rules.keys[0].take_missed());
    let unknown = Err(TokenError::NoKey(Algorithm::Hs256, Some("newer".to_owned())));
    assert_eq!(check(json!("newer")), unknown);
    assert!(
        rules.keys[0].take_missed() && !rules.keys[0].take_missed(),
        "whoever fetches keys hears of it once"
    );
    rules.keys[0].replace(set(json!([jwk("newer", SECRET)])));
    assert_eq!(check(json!("newer")), Ok(()));
    assert!(check(json!("new")).is_err(), "it is gone");
}

#[test]
fn sets_of_keys_are_read_and_their_faults_named() {
    let set = |keys: Value, origin| KeySet::of_jwks(&json!({"keys": keys}).to_string(), origin);
    let secret = json!({"kty": "oct", "k": base64(SECRET)});
    assert!(set(json!([secret]), Origin::File).is_ok());
    assert_eq!(set(json!([secret]), Origin::Url), Err(KeyError::Empty), "everybody could read it there");
    // RFC 7517 §A.1, the first key, and what is passed over.
    let p256 = json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": "1",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"});
    let strangers = [
        json!({"kty": "EC", "crv": "P-256", "use": "enc"}),
        json!({"kty": "EC", "crv": "P-384"}),
        json!({"kty": "RSA", "alg": "RS512"}),
        json!({"kty": "RSA", "key_ops": ["encrypt"]}),
        json!({"kty": "OKP"}),
        json!({}),
    ];
    let mut all = strangers.to_vec();
    assert_eq!(set(json!(all), Origin::File), Err(KeyError::Empty));
    all.push(p256.clone());
    let found = set(json!(all), Origin::Url).expect("one key");
    assert_eq!(found.candidates(Algorithm::Es256, Some("1")).count(), 1);
    assert_eq!(found.candidates(Algorithm::Es256, Some("2")).count(), 0);

    let (mut none_of_p256, good) = (p256.clone(), p256.clone());
    none_of_p256["x"] = json!("AAAA");
    let mixed = set(json!([none_of_p256, good]), Origin::Url).expect("the good one");
    assert_eq!(mixed.len(), 1);

    let faulty = |name: &str, value: &str| {
        let mut key = p256.clone();
        key[name] = json!(value);
        set(json!([key]), Origin::File).expect_err("faulty")
    };
    assert_eq!(faulty("x", "a+b"), KeyError::Member(0, "x"));
    assert_eq!(faulty("y", "AAAA"), KeyError::Point);
    assert_eq!(
        set(json!([{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]), Origin::File),
        Err(KeyError::RsaBits(17))
    );
    assert_eq!(set(json!([{"kty": "oct", "k": "AAAA"}]), Origin::File), Err(KeyError::ShortSecret(3)));
    assert_eq!(set(json!(vec![p256; 65]), Origin::File), Err(KeyError::TooMany));
    for (text, fault) in
        [("{", "not JSON"), ("{}", "no array \"keys\""), (r#"{"keys":[1]}"#, "a key that is no object")]
    {
        assert_eq!(KeySet::of_file(text.as_bytes()), Err(KeyError::Jwks(fault)), "{text}");
    }
}

#[test]
fn files_that_hold_no_public_key_are_told_apart() {
    let both = [RSA_PUBLIC, P256_PUBLIC].concat();
    let set = public(&both);
    assert_eq!(
        (set.candidates(Algorithm::Rs256, None).count(), set.candidates(Algorithm::Es256, Some("x")).count()),
        (1, 1)
    );
    let pem = |label: &str, der: &[u8]| {
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("text")).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let of = |text: &str| KeySet::of_file(text.as_bytes()).expect_err("no public key");
    assert_eq!(of(""), KeyError::Unknown);
    assert_eq!(of("secret"), KeyError::Unknown);
    assert_eq!(of(&pem("PRIVATE KEY", P256_KEY)), KeyError::Private);
    assert_eq!(of(&pem("RSA PRIVATE KEY", RSA_KEY)), KeyError::Private);
    assert_eq!(of(&pem("CERTIFICATE", &[0x30, 0])), KeyError::Certificate);
    assert_eq!(of(&pem("PUBLIC KEY", &[0x30, 0])), KeyError::Pem("no SubjectPublicKeyInfo"));
    assert_eq!(of(&pem("RSA PUBLIC KEY", &[0x30, 0])), KeyError::Pem("no RSAPublicKey"));
    assert_eq!(of("-----BEGIN PUBLIC KEY-----\n"), KeyError::Pem("not well-formed"));
    assert_eq!(KeySet::of_file(&[0xff]), Err(KeyError::Unknown));
    assert_eq!(KeySet::of_secret(b"too short\n"), Err(KeyError::ShortSecret(9)));
    let line = [SECRET, b"\r\n"].concat();
    assert_eq!(KeySet::of_secret(&line), KeySet::of_secret(SECRET), "the end of the line is not part of it");
    let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, P256_KEY, &SystemRandom::new())
        .expect("a key");
    let (x, y) = p256.public_key().as_ref()[1..].split_at(32);
    let jwks = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)}]}).to_string();
    assert_eq!(public(P256_PUBLIC), public(jwks.as_bytes()), "PEM and JWK are the same key");
    assert!(!format!("{:?}", secret()).contains("0123456789"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(token in "[a-zA-Z0-9_.-]{0,80}", file in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = rules(&[secret()]).check(&token, &ASKED, NOW_S);
        let _ = (KeySet::of_file(&file), KeySet::of_secret(&file));
    }

    #[test]
    fn no_header_and_no_claims_make_it_panic(header in "\\{(\"(alg|kid|crit)\":(\"HS256\"|null|1|\\[\\]),?){0,3}\\}?", claims in "\\{(\"(exp|nbf|aud|stream|action)\":(\"play\"|1e400|-1|\\[1\\]),?){0,5}\\}?") {
        let token = signed(&base64(header), &base64(claims), "HS256");
        prop_assert!(rules(&[secret()]).check(&token, &ASKED, NOW_S).is_err());
    }

    #[test]
    fn a_token_opens_what_its_claims_say_and_nothing_else(
        publish: bool, for_publish: bool, stream in "[ab]/[ab]", pattern in "[ab]/([ab]|\\*)", expires in -50i64..50,
    ) {
        let verb = if publish { Verb::Publish } else { Verb::Play };
        let (app, name) = stream.split_once('/').expect("two parts");
        let asked = Asked { verb, vhost: "v", app, stream: name };
        let action = if for_publish { "publish" } else { "play" };
        let claims = json!({"exp": NOW_S as i64 + expires, "stream": pattern, "action": action});
        let opens = rules(&[secret()]).check(&token(&json!({"alg": "HS256"}), &claims), &asked, NOW_S).is_ok();
        let fits = pattern.trim_end_matches('*') == &stream[..pattern.trim_end_matches('*').len()];
        prop_assert_eq!(opens, fits && publish == for_publish && expires > -30);
    }
}
