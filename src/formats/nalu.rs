//! NAL units as FLV and MP4 carry them, each behind its length, and as MPEG-TS carries them, each behind a
//! start code (ISO 14496-10 Annex B; the same in HEVC).

use super::bits::Reader;

/// What stands before every NAL unit of a byte stream: `zero_byte` and the start code prefix.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Iterates over length-prefixed NAL units (ISO 14496-15 §5.3.4.2).
///
/// Ends at the first length that reaches past the payload; empty units are left out.
#[derive(Clone, Debug)]
pub struct Nalus<'a> {
    rest: Reader<'a>,
    length_bytes: usize,
}

impl<'a> Nalus<'a> {
    /// Over `body`, whose units have lengths of `length_bytes` bytes: 1, 2 or 4.
    pub const fn new(body: &'a [u8], length_bytes: u8) -> Self {
        Nalus { rest: Reader::new(body), length_bytes: length_bytes as usize }
    }
}

impl<'a> Iterator for Nalus<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let length = self.rest.take(self.length_bytes).ok()?;
            let length = length.iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
            if self.length_bytes == 0 || length > self.rest.left() {
                self.rest.rest();
                return None;
            }
            match self.rest.take(length).ok()? {
                [] => {}
                unit => return Some(unit),
            }
        }
    }
}

/// Appends a NAL unit behind a start code.
pub fn write_annex_b(unit: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&START_CODE);
    out.extend_from_slice(unit);
}

/// Appends an access unit as a byte stream: its delimiter, parameter sets, its units. Nothing if there is no unit.
pub fn write_access_unit<'a>(
    delimiter: &'a [u8],
    sets: impl Iterator<Item = &'a [u8]>,
    units: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) {
    let mut units = units.peekable();
    if units.peek().is_some() {
        std::iter::once(delimiter).chain(sets).chain(units).for_each(|unit| write_annex_b(unit, out));
    }
}

/// A side of a picture after cropping, if it is one that ISO base media files can name (16 bits).
pub(super) fn cropped(side: u64, crop: u64) -> Option<u32> {
    let side = side.checked_sub(crop).filter(|side| (1..=0xffff).contains(side))?;
    u32::try_from(side).ok()
}

/// A NAL unit's payload without its emulation prevention bytes (ISO 14496-10 §7.4.1), at most `limit` bytes
/// of it: parameter sets are read from their first few bytes.
pub fn rbsp(unit: &[u8], limit: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len().min(limit));
    let mut zeros = 0;
    for &byte in unit {
        if out.len() == limit {
            break;
        }
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_of_one_two_and_four_bytes() {
        let units = |body: &[u8], n| Nalus::new(body, n).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(units(&[1, 0xaa, 2, 0xbb, 0xcc], 1), [vec![0xaa], vec![0xbb, 0xcc]]);
        assert_eq!(units(&[0, 1, 0xaa, 0, 0, 0, 1, 0xbb], 2), [[0xaa], [0xbb]], "an empty unit is none");
        assert_eq!(units(&[0, 0, 0, 1, 0xaa], 4), [[0xaa]]);
    }

    #[test]
    fn a_length_past_the_end_ends_it() {
        assert_eq!(Nalus::new(&[0, 0, 0, 1, 0xaa, 0xff, 0xff, 0xff, 0xff, 1], 4).count(), 1);
        assert_eq!(Nalus::new(&[0, 0, 0], 4).count(), 0);
        assert_eq!(Nalus::new(&[1, 2, 3], 0).count(), 0, "a length of no bytes would never end");
    }

    #[test]
    fn emulation_prevention_bytes_go() {
        assert_eq!(rbsp(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3], 100), [1, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(rbsp(&[0, 0, 0, 3, 3], 100), [0, 0, 0, 3]);
        assert_eq!(rbsp(&[1, 2, 3], 2), [1, 2]);
    }

    proptest! {
        #[test]
        fn what_is_written_with_lengths_is_read_back(
            units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..20)
        ) {
            let mut body = Vec::new();
            for unit in &units {
                body.extend_from_slice(&(unit.len() as u32).to_be_bytes());
                body.extend_from_slice(unit);
            }
            prop_assert_eq!(Nalus::new(&body, 4).map(<[u8]>::to_vec).collect::<Vec<_>>(), units);
        }
    }
}
