//! Why a codec's header cannot be read: the one error of all codec modules.

use super::bits::Short;

/// A decoder configuration, parameter set or frame header that is no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It ends before a field does.
    #[error("{what} ends early: {short}")]
    Short {
        /// The record that was being read.
        what: &'static str,
        /// Where in it.
        short: Short,
    },
    /// A field has a value that the specification does not allow, or that nothing can be made of.
    #[error("{what}: {field} cannot be {value}")]
    Invalid {
        /// The record that was being read.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
}

impl HeaderError {
    /// For `map_err`: names the record in which a read came up short.
    pub fn short_in(what: &'static str) -> impl Fn(Short) -> HeaderError {
        move |short| HeaderError::Short { what, short }
    }
}
