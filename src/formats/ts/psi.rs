//! Program specific information: PAT (ISO 13818-1 §2.4.4.3) and PMT (§2.4.4.8), one section and one packet
//! each.

use super::{AudioType, PACKET_BYTES, Program, SYNC, VideoType};

/// PID of the PAT.
pub const PAT_PID: u16 = 0;
/// The only program's number.
const PROGRAM_NUMBER: u16 = 1;

/// Appends the PAT packet.
pub fn write_pat(counter: u8, out: &mut Vec<u8>) {
    let [program_high, program_low] = PROGRAM_NUMBER.to_be_bytes();
    let [pid_high, pid_low] = Program::PMT_PID.to_be_bytes();
    let body = [program_high, program_low, 0xe0 | pid_high, pid_low];
    const TRANSPORT_STREAM_ID: u16 = 1;
    write_section(PAT_PID, counter, &section(0, TRANSPORT_STREAM_ID, 0, &body), out);
}

/// Appends the PMT packet.
pub fn write_pmt(program: &Program, counter: u8, out: &mut Vec<u8>) {
    let [pcr_high, pcr_low] = program.pcr_pid().to_be_bytes();
    let mut body = vec![0xe0 | pcr_high, pcr_low, 0xf0, 0];
    let mut stream = |stream_type: u8, pid: u16, descriptors: &[u8]| {
        let [high, low] = pid.to_be_bytes();
        body.extend_from_slice(&[stream_type, 0xe0 | high, low, 0xf0, descriptors.len() as u8]);
        body.extend_from_slice(descriptors);
    };
    match program.video {
        Some(VideoType::H264) => stream(0x1b, Program::VIDEO_PID, &[]),
        // A registration descriptor (§2.6.8): some receivers know HEVC by it only.
        Some(VideoType::Hevc) => stream(0x24, Program::VIDEO_PID, b"\x05\x04HEVC"),
        None => {}
    }
    match program.audio {
        Some(AudioType::Aac) => stream(0x0f, program.audio_pid(), &[]),
        Some(AudioType::Mp3 { low_rate: false }) => stream(0x03, program.audio_pid(), &[]),
        Some(AudioType::Mp3 { low_rate: true }) => stream(0x04, program.audio_pid(), &[]),
        None => {}
    }
    let section = section(2, PROGRAM_NUMBER, program.version(), &body);
    write_section(Program::PMT_PID, counter, &section, out);
}

/// A long section (§2.4.4.11) with its CRC.
fn section(table_id: u8, id: u16, version: u8, body: &[u8]) -> Vec<u8> {
    let length = (5 + body.len() + 4) as u16;
    let [length_high, length_low] = length.to_be_bytes();
    let [id_high, id_low] = id.to_be_bytes();
    let mut out = vec![table_id, 0xb0 | length_high, length_low, id_high, id_low];
    out.extend_from_slice(&[0xc1 | (version & 31) << 1, 0, 0]);
    out.extend_from_slice(body);
    let crc = crc32(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    out
}

fn write_section(pid: u16, counter: u8, section: &[u8], out: &mut Vec<u8>) {
    let end = out.len() + PACKET_BYTES;
    let [pid_high, pid_low] = pid.to_be_bytes();
    const POINTER_FIELD: u8 = 0;
    out.extend_from_slice(&[SYNC, 0x40 | pid_high, pid_low, 0x10 | counter & 15, POINTER_FIELD]);
    out.extend_from_slice(section);
    debug_assert!(out.len() <= end, "a section of at most two streams fits one packet");
    out.resize(end, 0xff);
}

/// The CRC of Annex A: polynomial 0x04c11db7, all ones at the start, not reflected. A few dozen bytes a few
/// times a second need no table.
pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_the_published_one() {
        assert_eq!(crc32(b"123456789"), 0x0376_e6e7, "check value of CRC-32/MPEG-2");
    }

    #[test]
    fn tables_are_whole_packets_and_announce_only_what_there_is() {
        let mut out = Vec::new();
        write_pat(3, &mut out);
        assert_eq!(out.len(), PACKET_BYTES);
        assert_eq!(out[..17], [0x47, 0x40, 0, 0x13, 0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0x01]);
        assert_eq!(crc32(&out[5..21]), 0, "a section with its CRC leaves nothing");

        out.clear();
        let program = Program { video: None, audio: Some(AudioType::Aac) };
        write_pmt(&program, 0, &mut out);
        assert_eq!(out.len(), PACKET_BYTES);
        assert_eq!(out[5 + 8..5 + 12], [0xe1, 0x01, 0xf0, 0], "the clock is on the audio PID");
        assert_eq!(out[5 + 12..5 + 17], [0x0f, 0xe1, 0x01, 0xf0, 0]);
        assert_eq!(usize::from(out[7]), 5 + 4 + 5 + 4, "nothing else is announced");
        assert_eq!(crc32(&out[5..5 + 21]), 0);
    }

    #[test]
    fn every_set_of_tracks_has_its_own_version() {
        let audios = [
            None,
            Some(AudioType::Aac),
            Some(AudioType::Mp3 { low_rate: false }),
            Some(AudioType::Mp3 { low_rate: true }),
        ];
        let mut versions = std::collections::HashSet::new();
        for video in [None, Some(VideoType::H264), Some(VideoType::Hevc)] {
            for audio in audios {
                let version = Program { video, audio }.version();
                assert!(version < 32 && versions.insert(version));
            }
        }
    }
}
