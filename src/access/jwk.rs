//! Keys that tokens are verified with: a shared secret, public keys in PEM (RFC 7468), or a set of JSON Web Keys
//! (RFC 7517).
//!
//! A key verifies one algorithm, that of its kind: whatever a token says of itself, a public key is never taken for a
//! secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde_json::{Map, Value};
use sha2::Sha256;
use spki::der::asn1::UintRef;
use spki::der::{Decode, Document, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A set has at most so many keys; more than an issuer ever rotates through.
pub const MAX_KEYS: usize = 64;
/// HS256 wants a key as long as its hash at least (RFC 7518 §3.2).
const MIN_SECRET_BYTES: usize = 32;
/// What RS256 is verified with (RFC 7518 §3.3: 2048 at least).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// An uncompressed point of P-256 (SEC 1 §2.3.3): 4, x, y.
const P256_POINT_BYTES: usize = 65;
const P256_COORDINATE_BYTES: usize = 32;

/// rsaEncryption (RFC 8017 §A.1), id-ecPublicKey and prime256v1 (RFC 5480 §2.1.1).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// An algorithm of RFC 7518 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    const ALL: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256];

    /// As `alg` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// Why a file holds no keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum KeyError {
    #[error("neither a public key in PEM nor a JSON Web Key Set")]
    Unknown,
    #[error("a secret for HS256 has {MIN_SECRET_BYTES} bytes at least, this one {0}")]
    ShortSecret(usize),
    #[error("a secret that is a key in PEM or JSON: such a one belongs in key_files")]
    SecretIsKey,
    #[error("PEM: {0}")]
    Pem(&'static str),
    #[error("a private key: the public one belongs here (openssl pkey -pubout)")]
    Private,
    #[error("a certificate: its public key belongs here (openssl x509 -pubkey -noout)")]
    Certificate,
    #[error("a key that is neither RSA nor of the curve P-256")]
    Kind,
    #[error("an RSA key of {0} bits: {min} to {max} are allowed", min = RSA_BITS.start(), max = RSA_BITS.end())]
    RsaBits(usize),
    #[error("a point that is none of P-256, or is compressed")]
    Point,
    #[error("JSON Web Key Set: {0}")]
    Jwks(&'static str),
    #[error("JSON Web Key {0}: \"{1}\" is missing or no base64url")]
    Member(usize, &'static str),
    #[error("no key for HS256, RS256 or ES256 signatures")]
    Empty,
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

/// A key, and the name by which tokens ask for it.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    /// `kid`; None: it is tried for every token of its algorithm.
    pub kid: Option<String>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    /// Of HS256.
    Secret(Vec<u8>),
    /// Modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// Uncompressed.
    P256(Vec<u8>),
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {:?}", self.algorithm().as_str(), self.kid)
    }
}

impl VerifyingKey {
    /// The one algorithm that it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match &self.material {
            Material::Secret(_) => Algorithm::Hs256,
            Material::Rsa(..) => Algorithm::Rs256,
            Material::P256(_) => Algorithm::Es256,
        }
    }

    /// Whether a message is signed with it.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(secret) => Hmac::<Sha256>::new_from_slice(secret)
                .is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok()),
            Material::Rsa(n, e) => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
        }
    }

    fn new(material: Material) -> VerifyingKey {
        VerifyingKey { kid: None, material }
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<VerifyingKey, KeyError> {
        let n: Vec<u8> = n.iter().copied().skip_while(|byte| *byte == 0).collect();
        let e: Vec<u8> = e.iter().copied().skip_while(|byte| *byte == 0).collect();
        let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) || e.is_empty() {
            return Err(KeyError::RsaBits(bits));
        }
        Ok(VerifyingKey::new(Material::Rsa(n, e)))
    }

    fn p256(point: Vec<u8>) -> Result<VerifyingKey, KeyError> {
        let good = point.len() == P256_POINT_BYTES && point.first() == Some(&4);
        good.then_some(VerifyingKey::new(Material::P256(point))).ok_or(KeyError::Point)
    }
}

/// Who may have made a set of keys: a secret that came over the network is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the operator's.
    File,
    /// An address that anyone can ask.
    Url,
}

/// Keys, as one file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<VerifyingKey>);

impl KeySet {
    /// A secret for HS256: what a file holds, without the end of its line.
    pub fn of_secret(file: &[u8]) -> Result<KeySet, KeyError> {
        let secret = file.strip_suffix(b"\n").unwrap_or(file);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        let text = secret.trim_ascii_start();
        // Whoever knows a public key could sign with it, were it taken for a secret.
        let is_der = SubjectPublicKeyInfoRef::from_der(file).is_ok();
        if is_der || text.starts_with(b"-----BEGIN ") || text.starts_with(b"{") {
            return Err(KeyError::SecretIsKey);
        }
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::ShortSecret(secret.len()));
        }
        Ok(KeySet(vec![VerifyingKey::new(Material::Secret(secret.into()))]))
    }

    /// Public keys in PEM, or a JSON Web Key Set.
    pub fn of_file(file: &[u8]) -> Result<KeySet, KeyError> {
        let text = std::str::from_utf8(file).map_err(|_| KeyError::Unknown)?;
        if text.trim_start().starts_with('{') {
            return KeySet::of_jwks(text, Origin::File);
        }
        KeySet::of_pem(text)
    }

    fn of_pem(text: &str) -> Result<KeySet, KeyError> {
        const BEGIN: &str = "-----BEGIN ";
        let blocks: Vec<usize> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
        if blocks.is_empty() {
            return Err(KeyError::Unknown);
        }
        if blocks.len() > MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        let ends = blocks.iter().skip(1).copied().chain([text.len()]);
        let keys = blocks
            .iter()
            .zip(ends)
            .map(|(from, to)| pem_key(text.get(*from..to).unwrap_or_default().trim_end()));
        Ok(KeySet(keys.collect::<Result<_, _>>()?))
    }

    /// A JSON Web Key Set. Keys of other kinds, uses and algorithms are passed over (RFC 7517 §5).
    pub fn of_jwks(text: &str, origin: Origin) -> Result<KeySet, KeyError> {
        let value: Value = serde_json::from_str(text).map_err(|_| KeyError::Jwks("not JSON"))?;
        let all = value.get("keys").and_then(Value::as_array).ok_or(KeyError::Jwks("no array \"keys\""))?;
        if all.len() > MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        let mut keys = Vec::new();
        for (at, value) in all.iter().enumerate() {
            let object = value.as_object().ok_or(KeyError::Jwks("a key that is no object"))?;
            match jwk(at, object, origin) {
                Ok(key) => keys.extend(key),
                // One key that an issuer got wrong does not take the others along.
                Err(_) if origin == Origin::Url => {}
                Err(error) => return Err(error),
            }
        }
        if keys.is_empty() { Err(KeyError::Empty) } else { Ok(KeySet(keys)) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that a token of this algorithm may be signed with: those of its `kid`, and those without one.
    pub fn candidates<'k>(
        &'k self,
        algorithm: Algorithm,
        kid: Option<&'k str>,
    ) -> impl Iterator<Item = &'k VerifyingKey> {
        self.0.iter().filter(move |key| {
            let named = kid.zip(key.kid.as_deref()).is_none_or(|(wanted, own)| wanted == own);
            named && key.algorithm() == algorithm
        })
    }
}

/// A set of keys that may be replaced while shards use it.
#[derive(Debug, Default)]
pub struct SharedKeys {
    set: RwLock<Arc<KeySet>>,
    missed: AtomicBool,
}

impl SharedKeys {
    /// Begins with a set.
    pub fn new(keys: KeySet) -> SharedKeys {
        SharedKeys { set: RwLock::new(Arc::new(keys)), missed: AtomicBool::new(false) }
    }

    /// The set in force.
    pub fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in force, for tokens that come from now on.
    pub fn replace(&self, keys: KeySet) {
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// A token names a key that is not here: the issuer may have a new one.
    pub fn note_missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    /// Whether one was missed since the last time this was asked.
    pub fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::Relaxed)
    }
}

fn pem_key(pem: &str) -> Result<VerifyingKey, KeyError> {
    let (label, document) = Document::from_pem(pem).map_err(|_| KeyError::Pem("not well-formed"))?;
    let der = document.as_bytes();
    match label {
        "PUBLIC KEY" => {
            let info = SubjectPublicKeyInfoRef::from_der(der)
                .map_err(|_| KeyError::Pem("no SubjectPublicKeyInfo"))?;
            let bits = info.subject_public_key.as_bytes().ok_or(KeyError::Pem("a key of odd bits"))?;
            match info.algorithm.oid {
                RSA => pkcs1_key(bits),
                EC if info.algorithm.parameters_oid() == Ok(P256) => VerifyingKey::p256(bits.to_vec()),
                _ => Err(KeyError::Kind),
            }
        }
        "RSA PUBLIC KEY" => pkcs1_key(der),
        "CERTIFICATE" => Err(KeyError::Certificate),
        label if label.ends_with("PRIVATE KEY") => Err(KeyError::Private),
        _ => Err(KeyError::Kind),
    }
}

/// RSAPublicKey (RFC 8017 §A.1.1): modulus and exponent.
fn pkcs1_key(der: &[u8]) -> Result<VerifyingKey, KeyError> {
    let read = || -> spki::der::Result<(&[u8], &[u8])> {
        let mut reader = SliceReader::new(der)?;
        let key = reader.sequence(|inner| -> spki::der::Result<_> {
            Ok((UintRef::decode(inner)?.as_bytes(), UintRef::decode(inner)?.as_bytes()))
        })?;
        reader.finish()?;
        Ok(key)
    };
    let (n, e) = read().map_err(|_| KeyError::Pem("no RSAPublicKey"))?;
    VerifyingKey::rsa(n, e)
}

/// A key of a set; None if it is not for verifying what we verify.
fn jwk(at: usize, object: &Map<String, Value>, origin: Origin) -> Result<Option<VerifyingKey>, KeyError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let bytes = |name: &'static str| {
        let decoded = text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        decoded.ok_or(KeyError::Member(at, name))
    };
    let verifies = |ops: &Vec<Value>| ops.iter().any(|op| op.as_str() == Some("verify"));
    let for_signatures = text("use").is_none_or(|of| of == "sig")
        && object.get("key_ops").and_then(Value::as_array).is_none_or(verifies);
    if !for_signatures {
        return Ok(None);
    }
    let of = |algorithm: Algorithm| text("alg").is_none_or(|alg| alg == algorithm.as_str());
    let key = match text("kty") {
        Some("RSA") if of(Algorithm::Rs256) => VerifyingKey::rsa(&bytes("n")?, &bytes("e")?)?,
        Some("EC") if of(Algorithm::Es256) && text("crv") == Some("P-256") => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            if x.len() != P256_COORDINATE_BYTES || y.len() != P256_COORDINATE_BYTES {
                return Err(KeyError::Point);
            }
            VerifyingKey::p256([&[4], &x[..], &y[..]].concat())?
        }
        Some("oct") if of(Algorithm::Hs256) && origin == Origin::File => {
            let secret = bytes("k")?;
            if secret.len() < MIN_SECRET_BYTES {
                return Err(KeyError::ShortSecret(secret.len()));
            }
            VerifyingKey::new(Material::Secret(secret))
        }
        _ => return Ok(None),
    };
    Ok(Some(VerifyingKey { kid: text("kid").map(str::to_owned), ..key }))
}
