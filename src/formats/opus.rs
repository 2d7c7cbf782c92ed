//! Opus: the identification header (RFC 7845 §5.1), its form in MP4 (`dOps`), packet durations (RFC 6716
//! §3.1).

use super::bits::Reader;
use super::codec::HeaderError;

/// Opus always decodes at this rate; times of packets are counted in it.
pub const RATE_HZ: u32 = 48000;

/// What an `OpusHead` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Output channels.
    pub channels: u8,
    /// Samples at 48 kHz to drop at the start.
    pub pre_skip: u16,
    /// Rate before encoding, for information; 0 if unknown.
    pub input_rate_hz: u32,
    /// Output gain in 1/256 dB.
    pub gain_q8_db: i16,
    /// Channel mapping family.
    pub family: u8,
    /// Stream count, coupled count and mapping; empty for family 0.
    pub mapping: Vec<u8>,
}

impl Config {
    /// Reads an `OpusHead`, all of whose numbers are little-endian.
    ///
    /// # Errors
    /// If it is short, has another magic or major version, or no channels.
    pub fn parse(record: &[u8]) -> Result<Config, HeaderError> {
        let short = HeaderError::short_in("OpusHead");
        let invalid =
            |field, value: u8| HeaderError::Invalid { what: "OpusHead", field, value: value.into() };
        let mut r = Reader::new(record);
        let magic = r.take(8).map_err(&short)?;
        if magic != b"OpusHead" {
            return Err(invalid("magic", magic.first().copied().unwrap_or(0)));
        }
        let version = r.u8().map_err(&short)?;
        if version >> 4 != 0 {
            return Err(invalid("version", version));
        }
        let channels = r.u8().map_err(&short)?;
        if channels == 0 {
            return Err(invalid("channel count", 0));
        }
        let pre_skip = r.u16().map_err(&short)?.swap_bytes();
        let input_rate_hz = r.u32().map_err(&short)?.swap_bytes();
        let gain_q8_db = r.u16().map_err(&short)?.swap_bytes() as i16;
        let family = r.u8().map_err(&short)?;
        let mapping = match family {
            0 if channels > 2 => return Err(invalid("channel count of family 0", channels)),
            0 => Vec::new(),
            _ => r.take(2 + usize::from(channels)).map_err(&short)?.to_vec(),
        };
        Ok(Config { channels, pre_skip, input_rate_hz, gain_q8_db, family, mapping })
    }

    /// Body of the `dOps` box (Opus in ISOBMFF §4.3.2): the same in big-endian, version 0.
    pub fn dops(&self) -> Vec<u8> {
        let mut out = vec![0, self.channels];
        out.extend_from_slice(&self.pre_skip.to_be_bytes());
        out.extend_from_slice(&self.input_rate_hz.to_be_bytes());
        out.extend_from_slice(&self.gain_q8_db.to_be_bytes());
        out.push(self.family);
        out.extend_from_slice(&self.mapping);
        out
    }
}

/// Samples at 48 kHz in a packet, from its first bytes; 0 for an empty one.
pub fn packet_samples(packet: &[u8]) -> u32 {
    let Some(toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)], // SILK
        12..=15 => [480, 960][usize::from(config & 1)],            // hybrid
        _ => 120 << (config & 3),                                  // CELT
    };
    let frames = match toc & 3 {
        0 => 1,
        3 => u32::from(packet.get(1).map_or(0, |count| count & 0x3f)),
        _ => 2,
    };
    (frame * frames).min(5760) // 120 ms is the most a packet may hold
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";

    #[test]
    fn the_header_and_its_form_in_mp4() {
        let config = Config::parse(HEAD).unwrap();
        assert_eq!((config.channels, config.pre_skip, config.input_rate_hz), (2, 312, 48000));
        assert_eq!(config.dops(), [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0]);
        for cut in 0..HEAD.len() {
            assert!(Config::parse(&HEAD[..cut]).is_err());
        }
    }

    #[test]
    fn packet_durations() {
        assert_eq!(packet_samples(&[0xfc]), 960, "CELT, 20 ms, one frame");
        assert_eq!(packet_samples(&[0x78]), 960, "hybrid, 20 ms");
        assert_eq!(packet_samples(&[0x19]), 5760, "SILK, twice 60 ms");
        assert_eq!(packet_samples(&[0xe3, 0x03]), 360, "CELT, three times 2.5 ms");
        assert_eq!(packet_samples(&[]), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(config) = Config::parse(&[&HEAD[..8], &bytes].concat()) {
                config.dops();
            }
            prop_assert!(packet_samples(&bytes) <= 5760);
        }
    }
}
