//! The ids of clients, streams and vhosts: as numbers, and as the API writes them.

use std::fmt;

/// A client's number, unique in the process. Its low bits are the shard that has the connection, so that a kick or
/// a look-up goes straight there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// How ids are written: as in SRS 3, or as in SRS 4 and later (`http_api.string_ids`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdStyle {
    /// Clients are decimal numbers, streams and vhosts `vid-<number>-<0..999>`.
    #[default]
    Numeric,
    /// Clients are 8 characters of `[0-9a-z]`, streams and vhosts `vid-` and 7 of them.
    String,
}

/// 36^8: client numbers below have 8 characters.
const EIGHT_CHARS: u64 = 36u64.pow(8);
/// Coprime with 36, so that multiplying modulo 36^8 is a permutation: neighbours look nothing alike.
const SCATTER: u64 = 1_973_318_475_689;
/// The inverse of [`SCATTER`] modulo 36^8.
const GATHER: u64 = inverse(SCATTER, EIGHT_CHARS);
const _: () = assert!((SCATTER as u128 * GATHER as u128) % EIGHT_CHARS as u128 == 1);

impl ClientId {
    /// The `counter`-th client of a shard; `shard_bits` is the same for all of them.
    pub const fn new(counter: u64, shard: u16, shard_bits: u32) -> Self {
        Self((counter << shard_bits) | shard as u64)
    }

    /// Bits that the shard numbers of so many shards need.
    pub const fn shard_bits(shards: u16) -> u32 {
        u16::BITS - shards.saturating_sub(1).leading_zeros()
    }

    /// The shard that has it.
    pub const fn shard(self, shard_bits: u32) -> u16 {
        (self.0 & ((1 << shard_bits) - 1)) as u16
    }

    /// As the API writes it.
    pub fn to_text(self, style: IdStyle) -> String {
        match style {
            IdStyle::Numeric => self.0.to_string(),
            IdStyle::String if self.0 < EIGHT_CHARS => base36(multiply(self.0, SCATTER), 8),
            // Too big to scatter: longer, so it cannot be mistaken for one that is.
            IdStyle::String => base36(self.0, 9),
        }
    }

    /// Reads what [`ClientId::to_text`] wrote, and nothing else.
    pub fn parse(text: &str, style: IdStyle) -> Option<Self> {
        let id = match style {
            IdStyle::Numeric => text.parse().ok()?,
            IdStyle::String => match u64::from_str_radix(text, 36).ok()? {
                n if n < EIGHT_CHARS => multiply(n, GATHER),
                n => n,
            },
        };
        Some(Self(id)).filter(|id| id.to_text(style) == text)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A vhost's id: the same on every shard, and in every run.
pub fn vhost_id(vhost: &str, style: IdStyle) -> String {
    key_id(&[vhost], style)
}

/// A stream's id: the same on every shard, and in every run. Of 10,000 streams two share a string id with a chance
/// of one in 1500; then a look-up by id finds the first.
pub fn stream_id(vhost: &str, app: &str, stream: &str, style: IdStyle) -> String {
    key_id(&[vhost, app, stream], style)
}

/// FNV-1a-64 over the parts, each ended by a NUL (which no name has), then a finalising mix.
fn key_id(parts: &[&str], style: IdStyle) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    match style {
        IdStyle::Numeric => format!("vid-{}-{}", hash / 1000, hash % 1000),
        IdStyle::String => format!("vid-{}", base36(hash % 36u64.pow(7), 7)),
    }
}

fn base36(mut n: u64, width: usize) -> String {
    let mut digits = Vec::with_capacity(13);
    while n > 0 || digits.len() < width {
        digits.push(char::from_digit((n % 36) as u32, 36).unwrap_or('0'));
        n /= 36;
    }
    digits.iter().rev().collect()
}

const fn multiply(a: u64, b: u64) -> u64 {
    (a as u128 * b as u128 % EIGHT_CHARS as u128) as u64
}

/// Extended Euclid.
const fn inverse(a: u64, modulus: u64) -> u64 {
    let (mut r0, mut r1) = (modulus as i128, a as i128);
    let (mut t0, mut t1) = (0i128, 1i128);
    while r1 != 0 {
        let q = r0 / r1;
        (r0, r1) = (r1, r0 - q * r1);
        (t0, t1) = (t1, t0 - q * t1);
    }
    t0.rem_euclid(modulus as i128) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_of_clients_name_their_shard() {
        for (shards, bits) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)] {
            assert_eq!(ClientId::shard_bits(shards), bits, "{shards}");
        }
        let id = ClientId::new(1000, 5, 3);
        assert_eq!((id.0, id.shard(3)), (8005, 5));
        assert_eq!(ClientId::new(7, 0, 0).shard(0), 0);
        assert_eq!(id.to_text(IdStyle::Numeric), "8005");
    }

    #[test]
    fn only_our_own_writing_is_an_id() {
        for text in ["", "+1", "01", "-1", "1 ", "x", "18446744073709551616", "１"] {
            assert_eq!(ClientId::parse(text, IdStyle::Numeric), None, "{text:?}");
        }
        let text = ClientId(8005).to_text(IdStyle::String);
        assert_eq!(text.len(), 8);
        for wrong in [text.to_uppercase() + "z", format!("0{text}"), text[1..].to_owned(), "+1234567".into()]
        {
            assert_eq!(ClientId::parse(&wrong, IdStyle::String), None, "{wrong:?}");
        }
    }

    #[test]
    fn ids_of_streams_never_change() {
        // Clients keep them: a look-up after an update of the server must find what it found before.
        let style = IdStyle::Numeric;
        assert_eq!(stream_id("__defaultVhost__", "live", "livestream", style), "vid-2419829580303045-352");
        assert_eq!(vhost_id("__defaultVhost__", style), "vid-17600212817970023-255");
        assert_eq!(stream_id("__defaultVhost__", "live", "livestream", IdStyle::String), "vid-umk5azs");
        assert_ne!(stream_id("a", "b", "cd", IdStyle::Numeric), stream_id("a", "bc", "d", IdStyle::Numeric));
        assert_ne!(vhost_id("a", IdStyle::Numeric), vhost_id("b", IdStyle::Numeric));
        assert_eq!(vhost_id("a", IdStyle::String).len(), 11);
    }

    proptest! {
        #[test]
        fn ids_of_clients_are_read_back(n in any::<u64>(), small in 0..2 * EIGHT_CHARS) {
            for id in [ClientId(n), ClientId(small), ClientId(small % 5000)] {
                for style in [IdStyle::Numeric, IdStyle::String] {
                    prop_assert_eq!(ClientId::parse(&id.to_text(style), style), Some(id));
                }
            }
        }
    }
}
