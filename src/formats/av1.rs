//! AV1: the codec configuration record (AV1 in ISOBMFF §2.3) and the sequence header (AV1 specification
//! §5.5.1) as far as the picture's size.

use super::bits::{BitReader, Reader, Short};
use super::codec::HeaderError;

const OBU_SEQUENCE_HEADER: u8 = 1;

/// What an av1C says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// `seq_profile`: 0 Main, 1 High, 2 Professional.
    pub profile: u8,
    /// `seq_level_idx_0`.
    pub level_index: u8,
    /// High tier.
    pub high_tier: bool,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Largest width and height in pixels, if the record brings its sequence header.
    pub size: Option<(u32, u32)>,
}

impl Config {
    /// Reads an `AV1CodecConfigurationRecord`.
    ///
    /// # Errors
    /// If it is short or of another version.
    pub fn parse(record: &[u8]) -> Result<Config, HeaderError> {
        let short = HeaderError::short_in("av1C");
        let mut r = Reader::new(record);
        let version = r.u8().map_err(&short)?;
        if version != 0x81 {
            return Err(HeaderError::Invalid { what: "av1C", field: "version", value: version.into() });
        }
        let (b, c) = (r.u8().map_err(&short)?, r.u8().map_err(&short)?);
        r.u8().map_err(&short)?; // initial_presentation_delay
        let bit_depth = match (c & 0x40 != 0, c & 0x20 != 0) {
            (false, _) => 8,
            (true, false) => 10,
            (true, true) => 12,
        };
        Ok(Config {
            profile: b >> 5,
            level_index: b & 0x1f,
            high_tier: c & 0x80 != 0,
            bit_depth,
            size: sequence_header(r).and_then(|body| picture_size(body).ok()),
        })
    }
}

/// The payload of the first sequence header OBU (§5.3).
fn sequence_header(mut r: Reader<'_>) -> Option<&[u8]> {
    loop {
        let head = r.u8().ok()?;
        if head & 4 != 0 {
            r.u8().ok()?; // obu_extension_header
        }
        let length = if head & 2 != 0 { leb128(&mut r).ok()? } else { r.left() };
        let body = r.take(length).ok()?;
        if head >> 3 & 15 == OBU_SEQUENCE_HEADER {
            return Some(body);
        }
    }
}

fn leb128(r: &mut Reader<'_>) -> Result<usize, Short> {
    let mut value = 0u64;
    for i in 0..8 {
        let byte = r.u8()?;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Ok(usize::try_from(value).unwrap_or(usize::MAX))
}

/// §5.5.1 up to `max_frame_height_minus_1`.
fn picture_size(body: &[u8]) -> Result<(u32, u32), Short> {
    let mut r = BitReader::new(body);
    r.bits(3)?; // seq_profile
    r.bit()?; // still_picture
    if r.bit()? {
        r.bits(5)?; // reduced_still_picture_header: only a level
    } else {
        operating_points(&mut r)?;
    }
    let (width_bits, height_bits) = (r.bits(4)? + 1, r.bits(4)? + 1);
    Ok((r.bits(width_bits)? + 1, r.bits(height_bits)? + 1))
}

fn operating_points(r: &mut BitReader<'_>) -> Result<(), Short> {
    let mut delay_bits = None;
    if r.bit()? {
        r.skip(64)?; // num_units_in_display_tick, time_scale
        if r.bit()? {
            r.ue()?; // num_ticks_per_picture_minus_1, uvlc(): the same code
        }
        if r.bit()? {
            delay_bits = Some(r.bits(5)? + 1);
            r.skip(32 + 5 + 5)?;
        }
    }
    let initial_delay = r.bit()?;
    for _ in 0..=r.bits(5)? {
        r.bits(12)?; // operating_point_idc
        if r.bits(5)? > 7 {
            r.bit()?; // seq_tier
        }
        if let Some(n) = delay_bits
            && r.bit()?
        {
            r.skip(2 * n as usize + 1)?;
        }
        if initial_delay && r.bit()? {
            r.bits(4)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_configuration_record() {
        // From SVT-AV1, 160×90, Main, 8 bits; see tests/data/README.md.
        let flv = include_bytes!("../../tests/data/av1_opus.flv");
        let at = flv.windows(5).position(|w| w == b"\x90av01").expect("a sequence start") + 5;
        let config = Config::parse(&flv[at..at + 20]).unwrap();
        assert_eq!((config.profile, config.bit_depth, config.high_tier), (0, 8, false));
        assert_eq!(config.size, Some((160, 90)));
        assert!(Config::parse(&flv[at..at + 3]).is_err());
        assert_eq!(Config::parse(&flv[at..at + 4]).unwrap().size, None, "the OBUs are optional");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Config::parse(&bytes);
            let _ = Config::parse(&[&[0x81, 0, 0, 0][..], &bytes].concat());
        }
    }
}
