//! openssl, by which keys and JSON Web Tokens are made without any code of ours.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a command of openssl in a folder; what it writes to standard output.
pub fn openssl(folder: &Path, line: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(line.split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().expect("a pipe").write_all(input).expect("openssl reads");
    let said = child.wait_with_output().expect("openssl");
    assert!(said.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&said.stderr));
    said.stdout
}

/// A token signed with the folder's `secret`, `rsa.pem` or `ec.pem`.
pub fn json_web_token(folder: &Path, algorithm: &str, claims: &Value) -> String {
    named_token(folder, &json!({"alg": algorithm, "typ": "JWT"}), claims)
}

/// The same with a header that names the key as well.
pub fn named_token(folder: &Path, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let algorithm = header["alg"].as_str().expect("an algorithm");
    let sign = |line: &str| openssl(folder, line, message.as_bytes());
    let signature = match algorithm {
        "HS256" => {
            let secret = std::fs::read_to_string(folder.join("secret")).expect("a secret");
            sign(&format!("dgst -sha256 -hmac {} -binary", secret.trim()))
        }
        "RS256" => sign("dgst -sha256 -sign rsa.pem"),
        "ES256" => raw_signature(&sign("dgst -sha256 -sign ec.pem")),
        other => panic!("{other}"),
    };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The public half of the folder's `ec.pem` as a JSON Web Key Set.
pub fn key_set(folder: &Path, kid: &str) -> String {
    let der = openssl(folder, "pkey -in ec.pem -pubout -outform DER", b"");
    // It ends with the point: 4, x, y.
    let (x, y) = der[der.len() - 64..].split_at(32);
    let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
    json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "x": x, "y": y}]}).to_string()
}

/// Of openssl's SEQUENCE of two INTEGERs the two numbers, 32 bytes each (RFC 7518 §3.4).
fn raw_signature(der: &[u8]) -> Vec<u8> {
    let (mut numbers, mut raw) = (&der[2..], Vec::new());
    for _ in 0..2 {
        let (number, rest) = numbers[2..].split_at(usize::from(numbers[1]));
        let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        raw.extend(vec![0; 32 - digits.len()]);
        raw.extend(digits);
        numbers = rest;
    }
    raw
}
