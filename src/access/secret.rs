//! Texts that nobody is to see.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// What stands for a secret wherever it would be shown.
pub const HIDDEN: &str = "***";
/// Secrets are at most so long.
pub const MAX_SECRET_BYTES: usize = 255;

/// A text that is compared in constant time and shows itself as [`HIDDEN`]. An empty one is none: nothing is it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Any text; what is allowed is for the configuration to say.
    pub fn new(text: &str) -> Secret {
        Secret(text.to_owned())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a peer has given this very one. Digests are compared, so that time tells neither where they differ nor
    /// how long the secret is.
    pub fn is(&self, given: &str) -> bool {
        let same = Sha256::digest(&self.0).ct_eq(&Sha256::digest(given));
        !self.0.is_empty() && bool::from(same)
    }

    /// The secret itself, to be used as a key.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { HIDDEN })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_and_is_never_shown() {
        let secret = Secret::new("open sesame");
        assert!(secret.is("open sesame"));
        for other in ["", "open sesam", "open sesame ", "Open sesame", "***"] {
            assert!(!secret.is(other), "{other}");
        }
        assert_eq!(format!("{secret} {secret:?}"), "*** \"***\"");
        assert_eq!(format!("{:?}", Some(Secret::default())), "Some(\"\")");
        assert!(!Secret::default().is(""), "no secret lets nobody in");
    }
}
