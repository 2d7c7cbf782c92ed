//! Values that say who may do what: rules, secrets, stream keys. Secrets are hidden wherever a value is shown.

use super::{Unit, quoted};
use crate::access::Rule;
use crate::access::secret::{HIDDEN, MAX_SECRET_BYTES, Secret};
use crate::access::stream_key::StreamKey;
use toml::de::DeValue;

/// A rule of `security`.
pub(in crate::config) fn rule() -> impl Unit<Value = Rule> {
    SecurityRule
}

struct SecurityRule;

impl Unit for SecurityRule {
    type Value = Rule;

    fn show(&self, value: &Rule) -> String {
        quoted(&value.to_string())
    }

    fn allowed(&self) -> String {
        "\"play all\", \"publish 10.0.0.1\", \"play 192.168.0.0/16\"".to_owned()
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Rule> {
        Rule::parse(value.as_str()?)
    }
}

/// A text that nobody is to see, of so many bytes at least; with 0 the empty one means that there is none.
pub(in crate::config) fn secret(least_bytes: usize) -> impl Unit<Value = Secret> {
    SecretText { least_bytes }
}

struct SecretText {
    least_bytes: usize,
}

impl Unit for SecretText {
    type Value = Secret;

    fn show(&self, value: &Secret) -> String {
        quoted(&value.to_string())
    }

    fn allowed(&self) -> String {
        let least = self.least_bytes;
        format!(
            "a secret of {least} to {MAX_SECRET_BYTES} printable characters of ASCII, no blanks, other than {HIDDEN:?}"
        )
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Secret> {
        let text = value.as_str()?;
        let good = (self.least_bytes..=MAX_SECRET_BYTES).contains(&text.len());
        // What is printed of a configuration must not come back as its secret.
        (good && text != HIDDEN && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Secret::new(text))
    }

    fn hidden(&self, value: &Secret) -> Option<Secret> {
        Some(value.clone())
    }

    fn hides(&self) -> bool {
        true
    }
}

/// A stream key.
pub(in crate::config) fn stream_key() -> impl Unit<Value = StreamKey> {
    StreamKeys
}

struct StreamKeys;

impl Unit for StreamKeys {
    type Value = StreamKey;

    fn show(&self, value: &StreamKey) -> String {
        quoted(&value.to_string())
    }

    fn allowed(&self) -> String {
        format!(
            "\"SECRET\" or \"APP/STREAM=SECRET\", the secret of 8 to {MAX_SECRET_BYTES} letters, digits and \"-._~\"; \
             \"live/cam*=SECRET\" is for all that begin so"
        )
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<StreamKey> {
        StreamKey::parse(value.as_str()?)
    }

    fn hidden(&self, value: &StreamKey) -> Option<Secret> {
        Some(value.secret.clone())
    }

    fn hides(&self) -> bool {
        true
    }
}
