//! AAC: AudioSpecificConfig (ISO 14496-3 §1.6.2.1) and the ADTS header (§1.A.2.2) made from it.

use super::bits::{BitReader, Short};
use super::codec::HeaderError;

/// Sampling frequencies by index, ISO 14496-3 table 1.18.
const RATES_HZ: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// Length of an ADTS header without CRC.
pub const ADTS_HEADER_BYTES: usize = 7;
/// The largest ADTS frame, header included: `aac_frame_length` has 13 bits.
pub const ADTS_MAX_BYTES: usize = 0x1fff;

const AOT_SBR: u8 = 5;
const AOT_ER_LD: u8 = 23;
const AOT_PS: u8 = 29;
const AOT_ER_ELD: u8 = 39;

/// What an AudioSpecificConfig says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Audio object type of the core: 1 Main, 2 LC, 3 SSR, 4 LTP …
    pub object_type: u8,
    /// Sampling rate of the core.
    pub rate_hz: u32,
    /// `channelConfiguration`: 1 to 6 are that many channels, 7 is 7.1, 0 is told in the stream.
    pub channel_config: u8,
    /// Samples per frame and channel at `rate_hz`.
    pub frame_samples: u32,
    /// Output rate with spectral band replication, if it is signalled explicitly (HE-AAC).
    pub sbr_rate_hz: Option<u32>,
    /// Whether parametric stereo is signalled explicitly (HE-AAC v2).
    pub parametric_stereo: bool,
}

impl Config {
    /// Reads an AudioSpecificConfig.
    ///
    /// # Errors
    /// If it is short, or its sampling rate is reserved or 0.
    pub fn parse(record: &[u8]) -> Result<Config, HeaderError> {
        let short = HeaderError::short_in("AudioSpecificConfig");
        let invalid = |field, value| HeaderError::Invalid { what: "AudioSpecificConfig", field, value };
        let mut r = BitReader::new(record);
        let mut object_type = object_type(&mut r).map_err(&short)?;
        let rate = sampling_rate(&mut r).map_err(&short)?;
        let rate_hz = rate.ok_or(invalid("samplingFrequencyIndex", 13))?;
        let channel_config = r.bits(4).map_err(&short)? as u8;
        let (mut sbr_rate_hz, mut parametric_stereo) = (None, false);
        if object_type == AOT_SBR || object_type == AOT_PS {
            parametric_stereo = object_type == AOT_PS;
            sbr_rate_hz = sampling_rate(&mut r).map_err(&short)?;
            object_type = self::object_type(&mut r).map_err(&short)?;
        }
        let frame_length_flag = r.bit().unwrap_or(false);
        let frame_samples = match (object_type, frame_length_flag) {
            (AOT_ER_LD | AOT_ER_ELD, false) => 512,
            (AOT_ER_LD | AOT_ER_ELD, true) => 480,
            (_, false) => 1024,
            (_, true) => 960,
        };
        // Plain GASpecificConfig ends after two more flags; then a backward compatible extension may follow.
        if sbr_rate_hz.is_none() && (1..=4).contains(&object_type) && channel_config != 0 {
            let _ = extension(&mut r, &mut sbr_rate_hz, &mut parametric_stereo);
        }
        Ok(Config { object_type, rate_hz, channel_config, frame_samples, sbr_rate_hz, parametric_stereo })
    }

    /// Channels that a decoder puts out; 0 if only the stream tells.
    pub const fn channels(&self) -> u8 {
        match self.channel_config {
            1 if self.parametric_stereo => 2,
            7 | 12 | 14 => 8,
            11 => 7,
            n if n <= 6 => n,
            _ => 0,
        }
    }

    /// The ADTS header of a raw frame of `body_bytes`; `None` if ADTS has no way to say it: object types
    /// beyond 4, rates outside the table, a program config element, or a frame that is too long.
    pub fn adts_header(&self, body_bytes: usize) -> Option<[u8; ADTS_HEADER_BYTES]> {
        let length = body_bytes.checked_add(ADTS_HEADER_BYTES).filter(|n| *n <= ADTS_MAX_BYTES)? as u32;
        let rate_index = RATES_HZ.iter().position(|rate| *rate == self.rate_hz)? as u8;
        if !(1..=4).contains(&self.object_type) || !(1..=7).contains(&self.channel_config) {
            return None;
        }
        let channels = self.channel_config;
        Some([
            0xff,
            0xf1, // MPEG-4, layer 0, no CRC
            (self.object_type - 1) << 6 | rate_index << 2 | channels >> 2,
            (channels & 3) << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f, // buffer fullness 0x7ff: variable rate
            0xfc,
        ])
    }
}

/// `GetAudioObjectType`
fn object_type(r: &mut BitReader<'_>) -> Result<u8, Short> {
    let object_type = r.bits(5)? as u8;
    if object_type == 31 { Ok(32 + r.bits(6)? as u8) } else { Ok(object_type) }
}

/// A sampling frequency, by index or in full; `None` if it is reserved or 0.
fn sampling_rate(r: &mut BitReader<'_>) -> Result<Option<u32>, Short> {
    let index = r.bits(4)?;
    if index == 15 {
        return Ok(Some(r.bits(24)?).filter(|rate| *rate > 0));
    }
    Ok(RATES_HZ.get(index as usize).copied())
}

/// §1.6.2.1: `syncExtensionType` behind a plain configuration.
fn extension(r: &mut BitReader<'_>, sbr: &mut Option<u32>, ps: &mut bool) -> Result<(), Short> {
    if r.bit()? {
        r.skip(14)?; // coreCoderDelay
    }
    r.bit()?; // extensionFlag
    if r.bits(11)? != 0x2b7 || r.bits(5)? != u32::from(AOT_SBR) || !r.bit()? {
        return Ok(());
    }
    *sbr = sampling_rate(r)?;
    if r.bits(11)? == 0x548 {
        *ps = r.bit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn low_complexity_stereo() {
        let config = Config::parse(&[0x12, 0x10]).unwrap();
        assert_eq!((config.object_type, config.rate_hz, config.channels()), (2, 44100, 2));
        assert_eq!((config.frame_samples, config.sbr_rate_hz), (1024, None));
        assert_eq!(config.adts_header(200), Some([0xff, 0xf1, 0x50, 0x80, 0x19, 0xff, 0xfc]));
        assert_eq!(config.adts_header(ADTS_MAX_BYTES), None);
    }

    #[test]
    fn band_replication_and_parametric_stereo_are_seen_either_way() {
        let hierarchical = Config::parse(&[0x2b, 0x92, 0x08, 0x00]).unwrap();
        assert_eq!((hierarchical.object_type, hierarchical.rate_hz), (2, 22050));
        assert_eq!((hierarchical.sbr_rate_hz, hierarchical.parametric_stereo), (Some(44100), false));
        let compatible = Config::parse(&[0x13, 0x88, 0x56, 0xe5, 0xa5, 0x48, 0x80]).unwrap();
        assert_eq!((compatible.object_type, compatible.rate_hz), (2, 22050));
        assert_eq!((compatible.sbr_rate_hz, compatible.parametric_stereo), (Some(44100), true));
        assert_eq!(compatible.channels(), 2);
    }

    #[test]
    fn what_adts_cannot_say_is_not_written() {
        let eld = Config::parse(&[0xf8, 0xe6, 0x30, 0x00]).unwrap();
        assert_eq!(eld.object_type, AOT_ER_ELD);
        assert_eq!(eld.adts_header(100), None);
        assert!(Config::parse(&[0x16, 0x90]).is_err(), "rate index 13 is reserved");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(config) = Config::parse(&bytes) {
                config.adts_header(bytes.len());
                config.channels();
            }
        }
    }
}
