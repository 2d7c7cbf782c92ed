//! What either end takes off the messages that it gets: AMF3's mark, the command around metadata, and the
//! aggregate around several messages.

use crate::formats::amf0::Value;
use crate::formats::bits::{Reader, Short};
use crate::formats::flv_file::TagHead;
use crate::formats::message::{Kind, Message, WireTime};
use bytes::Bytes;

/// Messages of the AMF3 types carry AMF0 behind one byte that says so; some senders leave it out, but no
/// command or data begins with a number, which that byte would mean.
pub(crate) fn without_amf3_mark(payload: &[u8]) -> &[u8] {
    payload.strip_prefix(&[0]).unwrap_or(payload)
}

/// Takes a data message's wrapping off: AMF3's mark and the command to set metadata. What is meant for the
/// server alone is dropped.
pub(crate) fn data(time: WireTime, payload: &Bytes) -> Option<Message> {
    let bare = without_amf3_mark(payload);
    let mut r = Reader::new(bare);
    let name = Value::read(&mut r).ok()?;
    let body = match name.as_str()? {
        "@setDataFrame" => {
            let body = r.rest();
            Value::read(&mut Reader::new(body)).ok()?.as_str()?;
            body
        }
        "@clearDataFrame" | "|RtmpSampleAccess" => return None,
        _ => bare,
    };
    Some(Message { kind: Kind::Data, time, payload: payload.slice_ref(body) })
}

/// Several messages in one (§7.1.6): each an FLV tag with its back pointer.
#[derive(Debug)]
pub(crate) struct Aggregate {
    payload: Bytes,
    at: usize,
    time: WireTime,
    /// From a part's own time to that of the message: the first part has the message's time.
    shift: Option<u32>,
}

impl Aggregate {
    pub(crate) const fn new(payload: Bytes, time: WireTime) -> Aggregate {
        Aggregate { payload, at: 0, time, shift: None }
    }

    /// What it holds.
    pub(crate) const fn bytes(&self) -> usize {
        self.payload.len()
    }

    /// The next audio, video or data message. A part that is cut short ends the aggregate.
    pub(crate) fn next(&mut self) -> Option<Message> {
        loop {
            let (head, body) = self.part().ok()?;
            let own_time = head.time.0;
            let shift = *self.shift.get_or_insert(self.time.0.wrapping_sub(own_time));
            let time = WireTime(own_time.wrapping_add(shift));
            let message = match Kind::of_type_id(head.type_id) {
                Some(Kind::Data) => data(time, &body),
                kind => kind.map(|kind| Message { kind, time, payload: body }),
            };
            if message.is_some() {
                return message;
            }
        }
    }

    fn part(&mut self) -> Result<(TagHead, Bytes), Short> {
        let mut r = Reader::new(self.payload.get(self.at..).unwrap_or_default());
        let head = TagHead::read(&mut r)?;
        // A copy: one byte that is kept would keep the whole aggregate.
        let body = Bytes::copy_from_slice(r.take(head.body_bytes)?);
        self.at += r.position();
        // The back pointer of the last part may be missing.
        self.at = (self.at + 4).min(self.payload.len());
        Ok((head, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_take_the_time_of_the_aggregate() {
        let part = |id: u8, time: u32, body: &[u8]| {
            let t = time.to_be_bytes();
            let head = [id, 0, 0, body.len() as u8, t[1], t[2], t[3], t[0], 0, 0, 0];
            [&head[..], body, &(body.len() as u32 + 11).to_be_bytes()].concat()
        };
        let bytes = [part(8, 0x0100_0000, b"a"), part(3, 0, b"x"), part(9, 0x0100_0028, b"vv")].concat();
        for end in [bytes.len(), bytes.len() - 4] {
            let mut a = Aggregate::new(Bytes::copy_from_slice(&bytes[..end]), WireTime(50));
            let mut next = || a.next().map(|m| (m.kind, m.time.0, m.payload.len()));
            assert_eq!(next(), Some((Kind::Audio, 50, 1)));
            assert_eq!(next(), Some((Kind::Video, 90, 2)));
            assert_eq!(next(), None);
        }
        let mut cut = Aggregate::new(Bytes::copy_from_slice(&bytes[..20]), WireTime(0));
        assert!(cut.next().is_some());
        assert_eq!(cut.next(), None);
    }

    #[test]
    fn data_loses_its_wrapping() {
        let bare = |bytes: &[u8]| data(WireTime(0), &Bytes::copy_from_slice(bytes)).map(|m| m.payload);
        let meta = b"\x02\0\x0aonMetaData\x05";
        assert_eq!(bare(&[&b"\x02\0\x0d@setDataFrame"[..], meta].concat()), Some(Bytes::from_static(meta)));
        assert_eq!(bare(&[&b"\0\x02\0\x0d@setDataFrame"[..], meta].concat()), Some(Bytes::from_static(meta)));
        assert_eq!(bare(meta), Some(Bytes::from_static(meta)));
        assert_eq!(bare(b"\x02\0\x0d@setDataFrame\x05"), None, "a frame without a name");
        assert_eq!(bare(b"\x02\0\x0f@clearDataFrame\x02\0\0"), None);
        assert_eq!(bare(b"\x05"), None);
        assert_eq!(bare(b""), None);
    }
}
