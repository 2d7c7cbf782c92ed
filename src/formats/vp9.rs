//! VP9: the codec configuration record (VP Codec ISO Media File Format Binding §2.2).

use super::bits::Reader;
use super::codec::HeaderError;

/// What a vpcC says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// 0 to 3.
    pub profile: u8,
    /// Ten times the level.
    pub level: u8,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
}

impl Config {
    /// Reads a `VPCodecConfigurationRecord`, or the whole body of a `vpcC` box, which has version and flags
    /// (1, 0) before it: encoders send either.
    ///
    /// # Errors
    /// If it is short.
    pub fn parse(record: &[u8]) -> Result<Config, HeaderError> {
        let short = HeaderError::short_in("vpcC");
        // As a record this would be profile 1 at level 0, which does not exist.
        let mut r = Reader::new(record.strip_prefix(&[1, 0, 0, 0]).unwrap_or(record));
        let (profile, level, depth) =
            (r.u8().map_err(&short)?, r.u8().map_err(&short)?, r.u8().map_err(&short)?);
        Ok(Config { profile, level, bit_depth: depth >> 4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_the_box_version() {
        let config = Config { profile: 0, level: 31, bit_depth: 8 };
        assert_eq!(Config::parse(&[0, 31, 0x82, 1, 1, 1, 0, 0]), Ok(config));
        assert_eq!(Config::parse(&[1, 0, 0, 0, 0, 31, 0x82, 1, 1, 1, 0, 0]), Ok(config));
        assert!(Config::parse(&[0, 31]).is_err());
    }
}
