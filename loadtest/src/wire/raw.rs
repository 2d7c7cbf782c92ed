//! The raw stream of `srs-load limit`: messages that carry their length, number and send time, so that a reader
//! knows of every byte whether it is the right one.
//!
//! A message is `length: u32, number: u64, sent_ns: u64, key: u8`, big endian, and a body whose bytes follow
//! from the number ([`body_byte`]). `length` counts all of it. A client gets whole messages without a gap, from
//! the one that came first after it was accepted.

use super::{Error, Event, Wire};

/// Bytes before a message's body.
pub(crate) const HEAD_BYTES: usize = 21;
/// A longer message is an error.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Appends a message of `bytes` bytes, or of [`HEAD_BYTES`] if that is more.
pub(crate) fn write(out: &mut Vec<u8>, bytes: usize, number: u64, sent_ns: u64, key: bool) {
    let bytes = bytes.clamp(HEAD_BYTES, MAX_MESSAGE_BYTES);
    out.extend_from_slice(&(bytes as u32).to_be_bytes());
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&sent_ns.to_be_bytes());
    out.push(u8::from(key));
    out.extend((0..bytes - HEAD_BYTES).map(|i| body_byte(number, i)));
}

/// The body's byte `i` in the message with this number.
const fn body_byte(number: u64, i: usize) -> u8 {
    (number.wrapping_mul(31).wrapping_add(i as u64 * 7) >> (i % 3)) as u8
}

/// Reads the raw stream and checks every byte of it.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    head: [u8; HEAD_BYTES],
    /// Bytes of the current message that were read.
    at: usize,
    total: u64,
    expected: Option<u64>,
}

impl Raw {
    fn length(&self) -> usize {
        let [a, b, c, d, ..] = self.head;
        u32::from_be_bytes([a, b, c, d]) as usize
    }

    fn number(&self) -> u64 {
        self.head[4..12].iter().fold(0, |n, b| n << 8 | u64::from(*b))
    }

    fn sent_ns(&self) -> u64 {
        self.head[12..20].iter().fold(0, |n, b| n << 8 | u64::from(*b))
    }

    fn check_head(&mut self) -> Result<(), String> {
        let (length, number) = (self.length(), self.number());
        if !(HEAD_BYTES..=MAX_MESSAGE_BYTES).contains(&length) {
            return Err(format!("message of {length} bytes"));
        }
        match self.expected {
            Some(expected) if expected != number => Err(format!("message {number} instead of {expected}")),
            _ => {
                self.expected = Some(number.wrapping_add(1));
                Ok(())
            }
        }
    }

    fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, String> {
        if self.at < HEAD_BYTES {
            let n = bytes.len().min(HEAD_BYTES - self.at);
            let (head, rest) = bytes.split_at(n);
            self.head[self.at..self.at + n].copy_from_slice(head);
            *bytes = rest;
            self.at += n;
            if self.at < HEAD_BYTES {
                return Ok(None);
            }
            self.check_head()?;
        }
        let n = bytes.len().min(self.length() - self.at);
        let (body, rest) = bytes.split_at(n);
        let (number, start) = (self.number(), self.at - HEAD_BYTES);
        if let Some(i) = (0..n).find(|i| body[*i] != body_byte(number, start + i)) {
            return Err(format!("byte {} of message {number} is wrong", self.at + i));
        }
        *bytes = rest;
        self.at += n;
        if self.at < self.length() {
            return Ok(None);
        }
        self.at = 0;
        Ok(Some(Event::Message { key: self.head[20] == 1, sent_ns: Some(self.sent_ns()) }))
    }
}

impl Wire for Raw {
    fn connected(&mut self, _: &mut Vec<u8>, on: &mut dyn FnMut(Event)) -> Result<(), Error> {
        on(Event::Started);
        Ok(())
    }

    fn feed(&mut self, mut bytes: &[u8], _: &mut Vec<u8>, on: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let fed = bytes.len();
        while !bytes.is_empty() {
            let taken = self.take(&mut bytes);
            let at = self.total + (fed - bytes.len()) as u64;
            if let Some(event) = taken.map_err(|what| Error::Broken { at, what })? {
                on(event);
            }
        }
        self.total += fed as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(raw: &mut Raw, bytes: &[u8]) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        raw.feed(bytes, &mut Vec::new(), &mut |e| events.push(e))?;
        Ok(events)
    }

    fn stream(sizes: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, size) in sizes.iter().enumerate() {
            write(&mut out, *size, 70 + n as u64, 1000 + n as u64, n % 2 == 0);
        }
        out
    }

    proptest! {
        #[test]
        fn cut_anywhere_it_reads_the_same(sizes in prop::collection::vec(0usize..300, 1..8), cut in 0usize..2400) {
            let bytes = stream(&sizes);
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut raw = Raw::default();
            let mut events = read(&mut raw, a)?;
            events.extend(read(&mut raw, b)?);
            let expected: Vec<Event> = (0..sizes.len())
                .map(|n| Event::Message { key: n % 2 == 0, sent_ns: Some(1000 + n as u64) })
                .collect();
            prop_assert_eq!(events, expected);
        }

        #[test]
        fn no_wrong_byte_passes(at in 0usize..600) {
            let mut bytes = stream(&[200, 200, 200]);
            bytes[at] ^= 0x40;
            let told_time = (12..=20).contains(&(at % 200));
            // The first message's number is taken as it comes, but then its body gives it away.
            let result = read(&mut Raw::default(), &bytes);
            let whole = result.map(|events| events.len() == 3).unwrap_or(false);
            prop_assert_eq!(whole, told_time, "byte {}", at);
        }
    }

    #[test]
    fn a_missing_message_is_told() {
        let bytes = stream(&[50, 50, 50]);
        let cut = [&bytes[..50], &bytes[100..]].concat();
        let told = read(&mut Raw::default(), &cut).map_err(|e| e.to_string());
        assert_eq!(told, Err("byte 71: message 72 instead of 71".into()));
    }
}
