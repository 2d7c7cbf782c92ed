//! MPEG audio frame headers (ISO 11172-3 §2.4.1.3, ISO 13818-3 §2.4.1.3). MP3 has no sequence header: each
//! frame says it all.

use super::codec::HeaderError;

/// What a frame header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// MPEG-2 or the unofficial MPEG-2.5 (low sampling rates), not MPEG-1.
    pub low_rate: bool,
    /// Sampling rate.
    pub rate_hz: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples per frame and channel.
    pub frame_samples: u32,
}

impl Header {
    /// Reads the four bytes that begin a layer 3 frame.
    ///
    /// # Errors
    /// If there is no sync word, the layer is another, or the rate is reserved.
    pub fn parse(frame: &[u8]) -> Result<Header, HeaderError> {
        let invalid =
            |field, value: u8| HeaderError::Invalid { what: "MP3 header", field, value: value.into() };
        let Some(&[sync, b, c, d]) = frame.first_chunk() else {
            let short = super::bits::Short { at: frame.len(), need: 4 - frame.len() };
            return Err(HeaderError::Short { what: "MP3 header", short });
        };
        if sync != 0xff || b & 0xe0 != 0xe0 {
            return Err(invalid("sync word", sync));
        }
        if b >> 1 & 3 != 1 {
            return Err(invalid("layer", b >> 1 & 3));
        }
        let (low_rate, divisor) = match b >> 3 & 3 {
            3 => (false, 1),
            2 => (true, 2),
            0 => (true, 4),
            id => return Err(invalid("ID", id)),
        };
        let rate_hz = match c >> 2 & 3 {
            0 => 44100 / divisor,
            1 => 48000 / divisor,
            2 => 32000 / divisor,
            reserved => return Err(invalid("sampling_frequency", reserved)),
        };
        Ok(Header {
            low_rate,
            rate_hz,
            channels: if d >> 6 == 3 { 1 } else { 2 },
            frame_samples: if low_rate { 576 } else { 1152 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_headers() {
        let mpeg1 = Header { low_rate: false, rate_hz: 44100, channels: 2, frame_samples: 1152 };
        assert_eq!(Header::parse(&[0xff, 0xfb, 0x90, 0x64]), Ok(mpeg1));
        let mpeg2 = Header { low_rate: true, rate_hz: 22050, channels: 1, frame_samples: 576 };
        assert_eq!(Header::parse(&[0xff, 0xf3, 0x40, 0xc4, 1]), Ok(mpeg2));
        assert!(Header::parse(&[0xff, 0xfd, 0x90, 0x64]).is_err(), "layer 2");
        assert!(Header::parse(&[0xff, 0xfb, 0x9c, 0x64]).is_err(), "a reserved rate");
        assert!(Header::parse(b"ID3").is_err());
    }
}
