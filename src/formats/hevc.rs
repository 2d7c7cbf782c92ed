//! HEVC: decoder configuration record (ISO 14496-15 §8.3.3), sequence parameter set (ISO 23008-2
//! §7.3.2.2.1) as far as the picture's size, and access units as a byte stream.

use super::bits::{BitReader, Reader, Short};
use super::codec::HeaderError;
use super::nalu::{Nalus, cropped, rbsp, write_access_unit};

/// NAL unit types, ISO 23008-2 table 7-1.
mod unit_type {
    pub(super) const VPS: u8 = 32;
    pub(super) const SPS: u8 = 33;
    pub(super) const PPS: u8 = 34;
    pub(super) const ACCESS_UNIT_DELIMITER: u8 = 35;
}

/// An access unit delimiter that allows any slice type.
const DELIMITER: [u8; 3] = [unit_type::ACCESS_UNIT_DELIMITER << 1, 1, 0x50];

/// Bytes of an SPS that are looked at: the size stands before anything long.
const SPS_LOOK_BYTES: usize = 256;

/// The type of a NAL unit; 63, which is unspecified, for an empty one.
pub fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(63, |head| head >> 1 & 0x3f)
}

/// `profile_tier_level` without sub-layers, as the hvcC repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// `general_profile_space`: 0 in practice.
    pub space: u8,
    /// High tier.
    pub high_tier: bool,
    /// `general_profile_idc`: 1 Main, 2 Main 10, 3 Main Still Picture, 4 range extensions.
    pub idc: u8,
    /// `general_profile_compatibility_flags`.
    pub compatibility: u32,
    /// `general_constraint_indicator_flags`.
    pub constraints: [u8; 6],
    /// `general_level_idc`: thirty times the level.
    pub level: u8,
}

/// An hvcC: what a decoder must know before the first picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Profile, tier and level.
    pub profile: Profile,
    /// Bytes of a NAL unit's length: 1, 2 or 4.
    pub length_bytes: u8,
    /// All NAL units of the record, in its order: VPS, SPS, PPS, perhaps SEI.
    pub sets: Vec<Vec<u8>>,
}

impl Config {
    /// Reads an `HEVCDecoderConfigurationRecord`.
    ///
    /// # Errors
    /// If it is short, has lengths of 3 bytes, or lacks a VPS, SPS or PPS.
    pub fn parse(record: &[u8]) -> Result<Config, HeaderError> {
        let short = HeaderError::short_in("hvcC");
        let invalid = |field, value| HeaderError::Invalid { what: "hvcC", field, value };
        let mut r = Reader::new(record);
        r.u8().map_err(&short)?; // configurationVersion: 1, and 0 in files from before the standard
        let profile = profile(r.take(12).map_err(&short)?).map_err(&short)?;
        r.take(8).map_err(&short)?; // segmentation, parallelism, chroma format, bit depths, frame rate
        let length_bytes = (r.u8().map_err(&short)? & 3) + 1;
        if length_bytes == 3 {
            return Err(invalid("lengthSizeMinusOne", 2));
        }
        let mut sets = Vec::new();
        for _ in 0..r.u8().map_err(&short)? {
            r.u8().map_err(&short)?; // array_completeness, NAL_unit_type
            for _ in 0..r.u16().map_err(&short)? {
                let length = r.u16().map_err(&short)?;
                sets.push(r.take(length.into()).map_err(&short)?.to_vec());
            }
        }
        for kind in [unit_type::VPS, unit_type::SPS, unit_type::PPS] {
            if !sets.iter().any(|set: &Vec<u8>| unit_type(set) == kind) {
                return Err(invalid("number of units of a type", kind.into()));
            }
        }
        Ok(Config { profile, length_bytes, sets })
    }

    /// The first sequence parameter set.
    pub fn sps(&self) -> Option<&[u8]> {
        self.sets.iter().find(|set| unit_type(set) == unit_type::SPS).map(Vec::as_slice)
    }

    /// Width and height in pixels, if the sequence parameter set tells.
    pub fn size(&self) -> Option<(u32, u32)> {
        let sps = Sps::parse(self.sps()?).ok()?;
        Some((sps.width, sps.height))
    }

    /// Appends an access unit as a byte stream: delimiter, parameter sets before a keyframe that does not
    /// bring its own, then the units of `body`. Appends nothing if there is no unit in it.
    pub fn write_annex_b(&self, body: &[u8], key: bool, out: &mut Vec<u8>) {
        let units = Nalus::new(body, self.length_bytes)
            .filter(|unit| unit_type(unit) != unit_type::ACCESS_UNIT_DELIMITER);
        let own = [unit_type::VPS, unit_type::SPS, unit_type::PPS];
        let brings = |kind: &u8| units.clone().any(|unit| unit_type(unit) == *kind);
        let lacks = key && !own.iter().all(brings);
        let sets = self.sets.iter().filter(|set| lacks && own.contains(&unit_type(set))).map(Vec::as_slice);
        write_access_unit(&DELIMITER, sets, units.clone(), out);
    }
}

/// What a sequence parameter set says of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// Profile, tier and level.
    pub profile: Profile,
    /// Width in pixels, cropped by the conformance window.
    pub width: u32,
    /// Height in pixels, cropped by the conformance window.
    pub height: u32,
}

impl Sps {
    /// Reads a sequence parameter set, a whole NAL unit.
    ///
    /// # Errors
    /// If it is no SPS, is short, or describes a picture of no or absurd size.
    pub fn parse(unit: &[u8]) -> Result<Sps, HeaderError> {
        let short = HeaderError::short_in("HEVC SPS");
        let invalid = |field, value| HeaderError::Invalid { what: "HEVC SPS", field, value };
        if unit_type(unit) != unit_type::SPS {
            return Err(invalid("nal_unit_type", unit_type(unit).into()));
        }
        let payload = rbsp(unit.get(2..).unwrap_or_default(), SPS_LOOK_BYTES);
        let mut r = BitReader::new(&payload);
        r.bits(4).map_err(&short)?; // sps_video_parameter_set_id
        let sub_layers = r.bits(3).map_err(&short)?; // sps_max_sub_layers_minus1
        r.bit().map_err(&short)?; // sps_temporal_id_nesting_flag
        let profile = profile(payload.get(1..).unwrap_or_default()).map_err(&short)?;
        r.skip(12 * 8).map_err(&short)?;
        skip_sub_layers(&mut r, sub_layers).map_err(&short)?;
        r.ue().map_err(&short)?; // sps_seq_parameter_set_id
        let mut chroma_format = r.ue().map_err(&short)?;
        if chroma_format == 3 && r.bit().map_err(&short)? {
            chroma_format = 0; // separate_colour_plane_flag
        }
        let width = u64::from(r.ue().map_err(&short)?);
        let height = u64::from(r.ue().map_err(&short)?);
        let mut window = [0; 4];
        if r.bit().map_err(&short)? {
            for side in &mut window {
                *side = u64::from(r.ue().map_err(&short)?);
            }
        }
        // Table 6-1: SubWidthC and SubHeightC.
        let (unit_x, unit_y) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let [left, right, top, bottom] = window;
        let width = cropped(width, (left + right) * unit_x).ok_or(invalid("width", 0))?;
        let height = cropped(height, (top + bottom) * unit_y).ok_or(invalid("height", 0))?;
        Ok(Sps { profile, width, height })
    }
}

/// §7.3.3, the general part: 12 bytes.
fn profile(bytes: &[u8]) -> Result<Profile, Short> {
    let mut r = Reader::new(bytes);
    let first = r.u8()?;
    let compatibility = r.u32()?;
    let mut constraints = [0; 6];
    constraints.copy_from_slice(r.take(6)?);
    Ok(Profile {
        space: first >> 6,
        high_tier: first & 0x20 != 0,
        idc: first & 0x1f,
        compatibility,
        constraints,
        level: r.u8()?,
    })
}

/// §7.3.3, the rest.
fn skip_sub_layers(r: &mut BitReader<'_>, sub_layers: u32) -> Result<(), Short> {
    if sub_layers == 0 {
        return Ok(());
    }
    let mut bits = 0;
    for _ in 0..sub_layers {
        bits += if r.bit()? { 88 } else { 0 }; // sub_layer_profile_present_flag
        bits += if r.bit()? { 8 } else { 0 }; // sub_layer_level_present_flag
    }
    r.skip(2 * (8 - sub_layers as usize))?; // reserved_zero_2bits
    r.skip(bits)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x265's hvcC for 1920×1080 (1088 lines, 8 cropped), Main, level 4.0.
    pub(crate) fn hvcc() -> Vec<u8> {
        let vps: &[u8] = &[
            0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0, 0, 0x03, 0, 0x90, 0, 0, 0x03, 0, 0, 0x03, 0,
            0x78, 0x95, 0x98, 0x09,
        ];
        let sps: &[u8] = &[
            0x42, 0x01, 0x01, 0x01, 0x60, 0, 0, 0x03, 0, 0x90, 0, 0, 0x03, 0, 0, 0x03, 0, 0x78, 0xa0, 0x03,
            0xc0, 0x80, 0x10, 0xe5, 0x96, 0x56, 0x69, 0x24, 0xca, 0xe0, 0x10, 0, 0, 0x03, 0, 0x10, 0, 0,
            0x03, 0x01, 0xe0, 0x80,
        ];
        let pps: &[u8] = &[0x44, 0x01, 0xc1, 0x72, 0xb4, 0x62, 0x40];
        let mut record = vec![1, 1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 120];
        record.extend_from_slice(&[0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0x0f, 3]);
        for (kind, unit) in [(32, vps), (33, sps), (34, pps)] {
            record.extend_from_slice(&[0x80 | kind, 0, 1, 0, unit.len() as u8]);
            record.extend_from_slice(unit);
        }
        record
    }

    #[test]
    fn a_configuration_record_and_its_picture_size() {
        let config = Config::parse(&hvcc()).unwrap();
        assert_eq!((config.length_bytes, config.sets.len(), config.profile.level), (4, 3, 120));
        let sps = Sps::parse(config.sps().unwrap()).unwrap();
        assert_eq!((sps.width, sps.height), (1920, 1080));
        assert_eq!(sps.profile, config.profile);
        for cut in 0..hvcc().len() {
            assert!(Config::parse(&hvcc()[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_keyframe_gets_the_parameter_sets_it_lacks() {
        let config = Config::parse(&hvcc()).unwrap();
        let types = |body: &[u8], key| {
            let mut out = Vec::new();
            config.write_annex_b(body, key, &mut out);
            let starts = out.windows(4).enumerate().filter(|(_, w)| *w == [0, 0, 0, 1]);
            starts.map(|(at, _)| out[at + 4] >> 1).collect::<Vec<_>>()
        };
        assert_eq!(types(&[0, 0, 0, 2, 0x26, 1], true), [35, 32, 33, 34, 19]);
        assert_eq!(types(&[0, 0, 0, 2, 0x02, 1], false), [35, 1]);
        assert!(types(&[], true).is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), key: bool) {
            let _ = Sps::parse(&bytes);
            let _ = Sps::parse(&[&[0x42, 1][..], &bytes].concat());
            let _ = Config::parse(&bytes);
            Config::parse(&hvcc()).unwrap().write_annex_b(&bytes, key, &mut Vec::new());
        }
    }
}
