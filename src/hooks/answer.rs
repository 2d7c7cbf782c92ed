//! What a backend answers, as SRS reads it.

use serde_json::Value;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Accepted,
    /// No, and what it said instead of yes.
    Refused(String),
    /// The backend is not able to say: an error of its own (5xx).
    Failed(String),
}

/// How much of an answer that means no is repeated in the log.
const SHOWN_CHARS: usize = 64;

/// Reads an answer. Yes is status 200 or 201 with the body `0`, or an object whose `code` is the integer 0.
pub fn read(status: u16, body: &[u8]) -> Answer {
    if status >= 500 {
        return Answer::Failed(format!("status {status}"));
    }
    if !matches!(status, 200 | 201) {
        return Answer::Refused(format!("status {status}"));
    }
    if body == b"0" {
        return Answer::Accepted;
    }
    let code = serde_json::from_slice::<Value>(body).ok().and_then(|body| body.get("code").cloned());
    match code {
        // Not 0.0 either: SRS asks for an integer.
        Some(Value::Number(code)) if code.as_i64() == Some(0) => Answer::Accepted,
        Some(code) => Answer::Refused(format!("code {}", shown(&code.to_string()))),
        None => Answer::Refused(format!(
            "neither 0 nor {{\"code\":0}}: {:?}",
            shown(&String::from_utf8_lossy(body))
        )),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_is_what_srs_takes_for_it() {
        let yes =
            ["0", "{\"code\":0}", "{\"code\": 0, \"data\": null}", " {\"data\":{\"code\":1},\"code\":0}\n"];
        for body in yes {
            assert_eq!(read(200, body.as_bytes()), Answer::Accepted, "{body}");
            assert_eq!(read(201, body.as_bytes()), Answer::Accepted, "{body}");
        }
    }

    #[test]
    fn everything_else_is_no() {
        let no = [
            "",
            "0\n",
            " 0",
            "00",
            "1",
            "OK",
            "{}",
            "{\"code\":\"0\"}",
            "{\"code\":0.0}",
            "{\"code\":null}",
            "[0]",
        ];
        for body in no.into_iter().chain(["{\"code\":1}", "{\"code\":0", "null", "{\"Code\":0}", "\u{fffd}"])
        {
            assert!(matches!(read(200, body.as_bytes()), Answer::Refused(_)), "{body}");
        }
        for status in [100, 204, 302, 403, 404] {
            assert_eq!(read(status, b"0"), Answer::Refused(format!("status {status}")));
        }
    }

    #[test]
    fn a_backend_in_trouble_has_not_said_no() {
        assert_eq!(read(503, b"0"), Answer::Failed("status 503".to_owned()));
    }

    #[test]
    fn what_it_said_instead_is_told_and_not_at_length() {
        assert_eq!(read(200, b"{\"code\":403}"), Answer::Refused("code 403".to_owned()));
        let Answer::Refused(why) = read(200, &b"x".repeat(100_000)) else { panic!("that is no yes") };
        assert!(why.len() < 120, "{why}");
    }
}
