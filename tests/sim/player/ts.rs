//! A reader of transport streams (ISO 13818-1), strict about continuity: a counter goes on, or its break is
//! announced.

use super::read::adts_frame;
use super::{Glance, Player};
use crate::script;
use std::collections::BTreeMap;

const PACKET_BYTES: usize = 188;
const VIDEO_PID: u16 = 0x100;
const AUDIO_PID: u16 = 0x101;
/// Everything is due so much after its time, in 90 kHz.
const LEAD: u64 = 9_000;

/// The packets of the unit that is coming in, and the counters of all before it.
#[derive(Default)]
pub(super) struct Reader {
    counters: BTreeMap<u16, u8>,
    /// The PID of the unit's frame, and its PES packet so far.
    unit: Option<(u16, Vec<u8>)>,
}

impl Player {
    /// One packet.
    pub(super) fn one_packet(&mut self, b: &[u8]) -> Option<usize> {
        let packet = b.get(..PACKET_BYTES)?;
        assert_eq!(packet[0], 0x47, "framing: a packet's sync byte");
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let (starts, control, counter) = (packet[1] & 0x40 != 0, packet[3] >> 4 & 3, packet[3] & 15);
        let adaptation = if control & 2 != 0 { usize::from(packet[4]) + 1 } else { 0 };
        let announced = adaptation > 1 && packet[5] & 0x80 != 0;
        let has_payload = control & 1 != 0;
        let ts = &mut self.ts;
        if let Some(last) = ts.counters.insert(pid, counter) {
            let wanted = (last + u8::from(has_payload)) & 15;
            let who = self.number;
            assert!(
                counter == wanted || announced,
                "continuity: viewer {who} got {counter} after {last} on PID {pid:x}, payload {has_payload}"
            );
        }
        if has_payload && matches!(pid, VIDEO_PID | AUDIO_PID) {
            let payload = &packet[4 + adaptation..];
            match &mut ts.unit {
                None if starts => ts.unit = Some((pid, payload.to_vec())),
                Some((of, pes)) if *of == pid && !starts => pes.extend_from_slice(payload),
                _ => panic!("framing: two frames in one unit, or half of one"),
            }
        }
        Some(PACKET_BYTES)
    }

    /// A unit is one frame, or tables alone.
    pub(super) fn end_of_unit(&mut self, glance: &mut Glance<'_>) {
        let Some((pid, pes)) = self.ts.unit.take() else { return };
        assert_eq!(&pes[..3], b"\0\0\x01", "framing: a PES header");
        let five = &pes[9..14];
        let pts = u64::from(five[0] >> 1 & 7) << 30
            | u64::from(u16::from_be_bytes([five[1], five[2]]) >> 1) << 15
            | u64::from(u16::from_be_bytes([five[3], five[4]]) >> 1);
        let time = ((pts - LEAD) / 90) as u32;
        let body = &pes[9 + usize::from(pes[8])..];
        let (nonce, seq) = if pid == AUDIO_PID {
            self.sound_in_adts(adts_frame(body).expect("framing: a whole ADTS frame"))
        } else {
            self.picture_in_units(body)
        };
        self.frame(nonce, seq, Some(time), glance);
    }

    /// Which picture a byte stream is; a keyframe brings the video header in force.
    fn picture_in_units(&mut self, body: &[u8]) -> (u32, u32) {
        let mut from = 0;
        loop {
            let start = body[from..].windows(3).position(|three| three == b"\0\0\x01");
            let at = from + start.expect("framing: a slice") + 3;
            match body[at] & 31 {
                7 => self.headers[1] = body[at + 1],
                1 | 5 => return script::names(&body[at + 1..]),
                _ => {}
            }
            from = at;
        }
    }
}
