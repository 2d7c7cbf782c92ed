//! H.264: decoder configuration record (ISO 14496-15 §5.3.3), sequence parameter set (ISO 14496-10
//! §7.3.2.1.1) as far as the picture's size, and access units as a byte stream.

use super::bits::{BitReader, Reader};
use super::codec::HeaderError;
use super::nalu::{Nalus, cropped, rbsp, write_access_unit};

/// NAL unit types, ISO 14496-10 table 7-1.
mod unit_type {
    pub(super) const SPS: u8 = 7;
    pub(super) const PPS: u8 = 8;
    pub(super) const ACCESS_UNIT_DELIMITER: u8 = 9;
}

/// An access unit delimiter that allows any slice type.
const DELIMITER: [u8; 2] = [unit_type::ACCESS_UNIT_DELIMITER, 0xf0];

/// Bytes of an SPS that are looked at. Scaling matrices are the longest part before the size: about 500.
const SPS_LOOK_BYTES: usize = 1024;

/// The type of a NAL unit; 0, which is unspecified, for an empty one.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |head| head & 0x1f)
}

/// An avcC: what a decoder must know before the first picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `AVCProfileIndication`.
    pub profile: u8,
    /// `profile_compatibility`: the constraint_set flags.
    pub constraints: u8,
    /// `AVCLevelIndication`: ten times the level.
    pub level: u8,
    /// Bytes of a NAL unit's length: 1, 2 or 4.
    pub length_bytes: u8,
    /// Sequence parameter sets.
    pub sps: Vec<Vec<u8>>,
    /// Picture parameter sets.
    pub pps: Vec<Vec<u8>>,
}

impl Config {
    /// Reads an `AVCDecoderConfigurationRecord`.
    ///
    /// # Errors
    /// If it is short, of another version, has lengths of 3 bytes or no parameter sets.
    pub fn parse(record: &[u8]) -> Result<Config, HeaderError> {
        let short = HeaderError::short_in("avcC");
        let invalid = |field, value| HeaderError::Invalid { what: "avcC", field, value };
        let mut r = Reader::new(record);
        let version = r.u8().map_err(&short)?;
        if version != 1 {
            return Err(invalid("configurationVersion", version.into()));
        }
        let (profile, constraints, level) =
            (r.u8().map_err(&short)?, r.u8().map_err(&short)?, r.u8().map_err(&short)?);
        let length_bytes = (r.u8().map_err(&short)? & 3) + 1;
        if length_bytes == 3 {
            return Err(invalid("lengthSizeMinusOne", 2));
        }
        let mut sets = |count_mask: u8| {
            let count = r.u8().map_err(&short)? & count_mask;
            let mut sets = Vec::new();
            for _ in 0..count {
                let length = r.u16().map_err(&short)?;
                sets.push(r.take(length.into()).map_err(&short)?.to_vec());
            }
            Ok(sets)
        };
        let (sps, pps) = (sets(0x1f)?, sets(0xff)?);
        if sps.is_empty() || pps.is_empty() {
            return Err(invalid("number of parameter sets", 0));
        }
        Ok(Config { profile, constraints, level, length_bytes, sps, pps })
    }

    /// Width and height in pixels, if the sequence parameter set tells.
    pub fn size(&self) -> Option<(u32, u32)> {
        let sps = Sps::parse(self.sps.first()?).ok()?;
        Some((sps.width, sps.height))
    }

    /// Appends an access unit as a byte stream: delimiter, parameter sets before a keyframe that does not
    /// bring its own, then the units of `body`. Appends nothing if there is no unit in it.
    pub fn write_annex_b(&self, body: &[u8], key: bool, out: &mut Vec<u8>) {
        let units = Nalus::new(body, self.length_bytes)
            .filter(|unit| unit_type(unit) != unit_type::ACCESS_UNIT_DELIMITER);
        let brings = |kind: &u8| units.clone().any(|unit| unit_type(unit) == *kind);
        let lacks = key && ![unit_type::SPS, unit_type::PPS].iter().all(brings);
        let sets = self.sps.iter().chain(&self.pps).filter(|_| lacks).map(Vec::as_slice);
        write_access_unit(&DELIMITER, sets, units.clone(), out);
    }
}

/// What a sequence parameter set says of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// The constraint_set flags, set 0 in the highest bit.
    pub constraints: u8,
    /// `level_idc`.
    pub level: u8,
    /// Width in pixels, cropped.
    pub width: u32,
    /// Height in pixels, cropped.
    pub height: u32,
}

impl Sps {
    /// Reads a sequence parameter set, a whole NAL unit.
    ///
    /// # Errors
    /// If it is no SPS, is short, or describes a picture of no or absurd size.
    pub fn parse(unit: &[u8]) -> Result<Sps, HeaderError> {
        let short = HeaderError::short_in("H.264 SPS");
        let invalid = |field, value| HeaderError::Invalid { what: "H.264 SPS", field, value };
        if unit_type(unit) != unit_type::SPS {
            return Err(invalid("nal_unit_type", unit_type(unit).into()));
        }
        let payload = rbsp(unit.get(1..).unwrap_or_default(), SPS_LOOK_BYTES);
        let mut r = BitReader::new(&payload);
        let mut byte = || r.bits(8).map(|v| v as u8);
        let (profile, constraints, level) =
            (byte().map_err(&short)?, byte().map_err(&short)?, byte().map_err(&short)?);
        let (mut chroma_format, mut separate_planes) = (1, false);
        r.ue().map_err(&short)?; // seq_parameter_set_id
        if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
            chroma_format = r.ue().map_err(&short)?;
            if chroma_format == 3 {
                separate_planes = r.bit().map_err(&short)?;
            }
            r.ue().map_err(&short)?; // bit_depth_luma_minus8
            r.ue().map_err(&short)?; // bit_depth_chroma_minus8
            r.bit().map_err(&short)?; // qpprime_y_zero_transform_bypass_flag
            if r.bit().map_err(&short)? {
                let lists = if chroma_format == 3 { 12 } else { 8 };
                for list in 0..lists {
                    if r.bit().map_err(&short)? {
                        skip_scaling_list(&mut r, if list < 6 { 16 } else { 64 }).map_err(&short)?;
                    }
                }
            }
        }
        r.ue().map_err(&short)?; // log2_max_frame_num_minus4
        match r.ue().map_err(&short)? {
            0 => {
                r.ue().map_err(&short)?; // log2_max_pic_order_cnt_lsb_minus4
            }
            1 => {
                r.bit().map_err(&short)?; // delta_pic_order_always_zero_flag
                r.se().map_err(&short)?; // offset_for_non_ref_pic
                r.se().map_err(&short)?; // offset_for_top_to_bottom_field
                let frames = r.ue().map_err(&short)?;
                if frames > 255 {
                    return Err(invalid("num_ref_frames_in_pic_order_cnt_cycle", frames));
                }
                for _ in 0..frames {
                    r.se().map_err(&short)?;
                }
            }
            _ => {}
        }
        r.ue().map_err(&short)?; // max_num_ref_frames
        r.bit().map_err(&short)?; // gaps_in_frame_num_value_allowed_flag
        let width_mbs = u64::from(r.ue().map_err(&short)?) + 1;
        let height_units = u64::from(r.ue().map_err(&short)?) + 1;
        let frames_only = r.bit().map_err(&short)?;
        if !frames_only {
            r.bit().map_err(&short)?; // mb_adaptive_frame_field_flag
        }
        r.bit().map_err(&short)?; // direct_8x8_inference_flag
        let mut crop = [0; 4];
        if r.bit().map_err(&short)? {
            for side in &mut crop {
                *side = u64::from(r.ue().map_err(&short)?);
            }
        }
        // §7.4.2.1.1: crop units depend on chroma subsampling and on field coding.
        let fields = if frames_only { 1 } else { 2 };
        let chroma = if separate_planes { 0 } else { chroma_format };
        let (unit_x, unit_y) = match chroma {
            1 => (2, 2 * fields),
            2 => (2, fields),
            _ => (1, fields),
        };
        let [left, right, top, bottom] = crop;
        let width = cropped(width_mbs * 16, (left + right) * unit_x).ok_or(invalid("width", 0))?;
        let height =
            cropped(height_units * 16 * fields, (top + bottom) * unit_y).ok_or(invalid("height", 0))?;
        Ok(Sps { profile, constraints, level, width, height })
    }
}

/// §7.3.2.1.1.1
fn skip_scaling_list(r: &mut BitReader<'_>, size: usize) -> Result<(), super::bits::Short> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(r.se()?)).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x264's SPS for 1920×1080 (1088 lines, 8 of them cropped), High, level 4.0.
    const SPS_1080: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00,
        0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];

    /// An avcC around [`SPS_1080`], lengths of 4 bytes.
    pub(crate) fn avcc_1080() -> Vec<u8> {
        let mut record = vec![1, 0x64, 0, 0x28, 0xff, 0xe1, 0, SPS_1080.len() as u8];
        record.extend_from_slice(SPS_1080);
        record.extend_from_slice(&[1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
        record
    }

    #[test]
    fn cropping_makes_1088_lines_1080() {
        let sps = Sps::parse(SPS_1080).unwrap();
        assert_eq!(sps, Sps { profile: 100, constraints: 0, level: 40, width: 1920, height: 1080 });
    }

    #[test]
    fn a_configuration_record() {
        let config = Config::parse(&avcc_1080()).unwrap();
        assert_eq!((config.profile, config.level, config.length_bytes), (100, 40, 4));
        assert_eq!(config.sps, [SPS_1080]);
        assert_eq!(config.pps, [[0x68, 0xeb, 0xe3, 0xcb]]);
        for cut in 0..avcc_1080().len() {
            assert!(Config::parse(&avcc_1080()[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_keyframe_gets_the_parameter_sets_it_lacks() {
        let config = Config::parse(&avcc_1080()).unwrap();
        let types = |body: &[u8], key| {
            let mut out = Vec::new();
            config.write_annex_b(body, key, &mut out);
            let starts = out.windows(4).enumerate().filter(|(_, w)| *w == [0, 0, 0, 1]);
            starts.map(|(at, _)| out[at + 4] & 0x1f).collect::<Vec<_>>()
        };
        assert_eq!(types(&[0, 0, 0, 2, 0x65, 1], true), [9, 7, 8, 5]);
        assert_eq!(types(&[0, 0, 0, 2, 0x41, 1], false), [9, 1]);
        assert_eq!(types(&[0, 0, 0, 2, 9, 0xf0, 0, 0, 0, 2, 0x41, 1], false), [9, 1], "one delimiter, ours");
        let own = [0, 0, 0, 1, 0x67, 0, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65];
        assert_eq!(types(&own, true), [9, 7, 8, 5], "its own sets are in force");
        assert!(types(&[0, 0, 0, 9, 1], true).is_empty(), "a broken length leaves nothing to send");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), key: bool) {
            let _ = Sps::parse(&bytes);
            let _ = Config::parse(&bytes);
            let _ = Sps::parse(&[&[0x67, 100, 0, 40][..], &bytes].concat());
            Config::parse(&avcc_1080()).unwrap().write_annex_b(&bytes, key, &mut Vec::new());
        }
    }
}
