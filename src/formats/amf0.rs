//! AMF0 values: what RTMP commands and FLV script tags are written in (AMF 0 specification, Adobe 2007).
//!
//! Reading is bounded in depth, in the number of values and in bytes, because anyone may send such data
//! before logging in. The AMF3 switch (marker 0x11) is an error that names itself: no client of RTMP needs
//! it in the messages that the server reads.

use super::bits::{Reader, Short};

/// Objects and arrays inside each other: deeper is refused. Real metadata is 3 deep.
pub const MAX_DEPTH: usize = 32;
/// Values in one message, nested ones and properties included. A keyframe index of hours fits.
pub const MAX_VALUES: usize = 32 * 1024;
/// Bytes of text and names in one message.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// Names and values, in the order in which they were written.
pub type Properties = Vec<(String, Value)>;

/// One AMF0 value. Text that is no UTF-8 is read with replacement characters.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// §2.2.
    Number(f64),
    /// §2.3.
    Boolean(bool),
    /// §2.4 and, above 65535 bytes, the long string of §2.14.
    String(String),
    /// §2.5, an anonymous object.
    Object(Properties),
    /// §2.7.
    Null,
    /// §2.8.
    Undefined,
    /// §2.10, an associative array.
    EcmaArray(Properties),
    /// §2.12, values without names.
    StrictArray(Vec<Value>),
    /// §2.13: milliseconds since 1970 (UTC), and a time zone in minutes that should be 0.
    Date {
        /// Milliseconds since 1970-01-01T00:00:00Z.
        ms: f64,
        /// Minutes from UTC; reserved, "should not be filled in".
        zone_minutes: i16,
    },
    /// §2.15.
    Unsupported,
    /// §2.17, an XML document as text.
    Xml(String),
    /// §2.18, an object with a class name.
    Typed(String, Properties),
}

impl From<f64> for Value {
    fn from(n: f64) -> Value {
        Value::Number(n)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::text(s)
    }
}

/// Why a value could not be read. `at` counts from the start of what the reader was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The data ends inside a value.
    #[error("AMF0 value ends early, {0}")]
    Short(#[from] Short),
    /// A marker that is reserved, or of a type this reader does not take (AMF3 switch).
    #[error("AMF0 marker {marker:#04x} at byte {at} cannot be read")]
    Marker {
        /// The marker byte.
        marker: u8,
        /// Its place.
        at: usize,
    },
    /// An object's list of names does not end as §2.11 says.
    #[error("AMF0 object at byte {at}: an empty name without the end marker")]
    End {
        /// Place of the empty name.
        at: usize,
    },
    /// One of [`MAX_DEPTH`], [`MAX_VALUES`], [`MAX_TEXT_BYTES`] was exceeded.
    #[error("AMF0 data at byte {at}: more than {limit} {what}")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// Its value.
        limit: usize,
        /// Where it was exceeded.
        at: usize,
    },
}

mod marker {
    pub(super) const NUMBER: u8 = 0x00;
    pub(super) const BOOLEAN: u8 = 0x01;
    pub(super) const STRING: u8 = 0x02;
    pub(super) const OBJECT: u8 = 0x03;
    pub(super) const NULL: u8 = 0x05;
    pub(super) const UNDEFINED: u8 = 0x06;
    pub(super) const REFERENCE: u8 = 0x07;
    pub(super) const ECMA_ARRAY: u8 = 0x08;
    pub(super) const OBJECT_END: u8 = 0x09;
    pub(super) const STRICT_ARRAY: u8 = 0x0a;
    pub(super) const DATE: u8 = 0x0b;
    pub(super) const LONG_STRING: u8 = 0x0c;
    pub(super) const UNSUPPORTED: u8 = 0x0d;
    pub(super) const XML: u8 = 0x0f;
    pub(super) const TYPED_OBJECT: u8 = 0x10;
}

impl Value {
    /// Text as a value.
    pub fn text(text: impl Into<String>) -> Value {
        Value::String(text.into())
    }

    /// Reads one value.
    pub fn read(r: &mut Reader<'_>) -> Result<Value, Error> {
        Budget { values: MAX_VALUES, text_bytes: MAX_TEXT_BYTES }.value(r, 0)
    }

    /// Appends this value. Names above 65535 bytes are cut, since the format has no room for them.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Number(n) => write_number(out, *n),
            Value::Boolean(b) => write_boolean(out, *b),
            Value::String(s) => write_string(out, s),
            Value::Object(p) => {
                out.push(marker::OBJECT);
                write_properties(out, p);
            }
            Value::Null => write_null(out),
            Value::Undefined => out.push(marker::UNDEFINED),
            Value::EcmaArray(p) => {
                out.push(marker::ECMA_ARRAY);
                out.extend_from_slice(&(p.len() as u32).to_be_bytes());
                write_properties(out, p);
            }
            Value::StrictArray(values) => {
                out.push(marker::STRICT_ARRAY);
                out.extend_from_slice(&(values.len() as u32).to_be_bytes());
                values.iter().for_each(|v| v.write(out));
            }
            Value::Date { ms, zone_minutes } => {
                out.push(marker::DATE);
                out.extend_from_slice(&ms.to_be_bytes());
                out.extend_from_slice(&zone_minutes.to_be_bytes());
            }
            Value::Unsupported => out.push(marker::UNSUPPORTED),
            Value::Xml(text) => {
                out.push(marker::XML);
                out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            Value::Typed(class, p) => {
                out.push(marker::TYPED_OBJECT);
                write_name(out, class);
                write_properties(out, p);
            }
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(n) => Some(*n),
            _ => None,
        }
    }

    /// The boolean; numbers count as true unless 0, as peers mix the two.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Boolean(b) => Some(*b),
            Value::Number(n) => Some(*n != 0.0),
            _ => None,
        }
    }

    /// The text, if it is some.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) | Value::Xml(s) => Some(s),
            _ => None,
        }
    }

    /// Names and values of an object, typed object or ECMA array.
    pub fn properties(&self) -> Option<&Properties> {
        match self {
            Value::Object(p) | Value::EcmaArray(p) | Value::Typed(_, p) => Some(p),
            _ => None,
        }
    }

    /// A property by its name; the first one if it is there twice.
    pub fn property(&self, name: &str) -> Option<&Value> {
        self.properties()?.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

/// Reads values until the end. One budget for all of them.
pub fn read_all(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let (values, error) = read_some(bytes);
    error.map_or(Ok(values), Err)
}

/// Reads values until the end or until one cannot be read: arguments of a call are often fewer, and
/// sometimes stranger, than the callee needs.
pub fn read_some(bytes: &[u8]) -> (Vec<Value>, Option<Error>) {
    let mut r = Reader::new(bytes);
    let mut budget = Budget { values: MAX_VALUES, text_bytes: MAX_TEXT_BYTES };
    let mut values = Vec::new();
    while !r.is_empty() {
        match budget.value(&mut r, 0) {
            Ok(v) => values.push(v),
            Err(e) => return (values, Some(e)),
        }
    }
    (values, None)
}

/// Appends a number.
pub fn write_number(out: &mut Vec<u8>, n: f64) {
    out.push(marker::NUMBER);
    out.extend_from_slice(&n.to_be_bytes());
}

/// Appends a boolean.
pub fn write_boolean(out: &mut Vec<u8>, b: bool) {
    out.extend_from_slice(&[marker::BOOLEAN, u8::from(b)]);
}

/// Appends a string, as a long one if it must be.
pub fn write_string(out: &mut Vec<u8>, s: &str) {
    match u16::try_from(s.len()) {
        Ok(length) => {
            out.push(marker::STRING);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(marker::LONG_STRING);
            out.extend_from_slice(&(s.len() as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(s.as_bytes());
}

/// Appends null.
pub fn write_null(out: &mut Vec<u8>) {
    out.push(marker::NULL);
}

fn write_properties(out: &mut Vec<u8>, properties: &Properties) {
    for (name, value) in properties.iter().filter(|(name, _)| !name.is_empty()) {
        write_name(out, name);
        value.write(out);
    }
    out.extend_from_slice(&[0, 0, marker::OBJECT_END]);
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    let mut length = name.len().min(usize::from(u16::MAX));
    while !name.is_char_boundary(length) {
        length -= 1;
    }
    out.extend_from_slice(&(length as u16).to_be_bytes());
    out.extend_from_slice(&name.as_bytes()[..length]);
}

/// What one message may still use up.
struct Budget {
    values: usize,
    text_bytes: usize,
}

impl Budget {
    fn value(&mut self, r: &mut Reader<'_>, depth: usize) -> Result<Value, Error> {
        let at = r.position();
        self.values = match self.values.checked_sub(1) {
            Some(left) => left,
            None => return Err(Error::Limit { what: "values", limit: MAX_VALUES, at }),
        };
        if depth >= MAX_DEPTH {
            return Err(Error::Limit { what: "levels", limit: MAX_DEPTH, at });
        }
        Ok(match r.u8()? {
            marker::NUMBER => Value::Number(r.f64()?),
            marker::BOOLEAN => Value::Boolean(r.u8()? != 0),
            marker::STRING => Value::String(self.short_text(r)?),
            marker::OBJECT => Value::Object(self.properties(r, depth)?),
            marker::NULL => Value::Null,
            marker::UNDEFINED => Value::Undefined,
            marker::ECMA_ARRAY => {
                r.u32()?; // "associative-count", which writers get wrong; the end marker counts
                Value::EcmaArray(self.properties(r, depth)?)
            }
            marker::STRICT_ARRAY => {
                let mut values = Vec::new(); // grows with what is there, not with what is claimed
                for _ in 0..r.u32()? {
                    values.push(self.value(r, depth + 1)?);
                }
                Value::StrictArray(values)
            }
            marker::DATE => Value::Date { ms: r.f64()?, zone_minutes: r.u16()? as i16 },
            marker::LONG_STRING => Value::String(self.long_text(r)?),
            marker::UNSUPPORTED => Value::Unsupported,
            marker::XML => Value::Xml(self.long_text(r)?),
            marker::TYPED_OBJECT => {
                let class = self.short_text(r)?;
                Value::Typed(class, self.properties(r, depth)?)
            }
            marker::REFERENCE => {
                // To what came before (§2.9). Nothing that we read is worth a table of it.
                r.u16()?;
                Value::Undefined
            }
            marker => return Err(Error::Marker { marker, at }),
        })
    }

    fn properties(&mut self, r: &mut Reader<'_>, depth: usize) -> Result<Properties, Error> {
        let mut properties = Vec::new();
        loop {
            let at = r.position();
            let name = self.short_text(r)?;
            if name.is_empty() {
                return match r.u8()? {
                    marker::OBJECT_END => Ok(properties),
                    _ => Err(Error::End { at }),
                };
            }
            properties.push((name, self.value(r, depth + 1)?));
        }
    }

    fn short_text(&mut self, r: &mut Reader<'_>) -> Result<String, Error> {
        let length = usize::from(r.u16()?);
        self.text(r, length)
    }

    fn long_text(&mut self, r: &mut Reader<'_>) -> Result<String, Error> {
        let length = r.u32()? as usize;
        self.text(r, length)
    }

    fn text(&mut self, r: &mut Reader<'_>, length: usize) -> Result<String, Error> {
        let at = r.position();
        self.text_bytes = match self.text_bytes.checked_sub(length) {
            Some(left) => left,
            None => return Err(Error::Limit { what: "bytes of text", limit: MAX_TEXT_BYTES, at }),
        };
        Ok(String::from_utf8_lossy(r.take(length)?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(v: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        v.write(&mut out);
        out
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let name = "[a-zA-Z_é]{1,8}";
        let leaf = prop_oneof![
            any::<f64>().prop_filter("NaN is not equal to itself", |n| !n.is_nan()).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            Just(Value::Null),
            Just(Value::Undefined),
            Just(Value::Unsupported),
            ".{0,20}".prop_map(Value::Xml),
            (-1e15..1e15f64, any::<i16>()).prop_map(|(ms, zone_minutes)| Value::Date { ms, zone_minutes }),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            let properties = prop::collection::vec((name, inner.clone()), 0..6);
            prop_oneof![
                properties.clone().prop_map(Value::Object),
                properties.clone().prop_map(Value::EcmaArray),
                (name, properties).prop_map(|(class, p)| Value::Typed(class, p)),
                prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_any_shorter_piece_is_short(v in any_value()) {
            let bytes = written(&v);
            prop_assert_eq!(read_all(&bytes), Ok(vec![v]));
            for end in 1..bytes.len() {
                let short = Value::read(&mut Reader::new(&bytes[..end]));
                prop_assert!(matches!(short, Err(Error::Short(_))), "{} of {}", end, bytes.len());
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_all(&bytes);
        }

        #[test]
        fn what_is_read_can_be_written_and_read_again(bytes in prop::collection::vec(0u8..18, 0..60)) {
            if let Ok(v) = Value::read(&mut Reader::new(&bytes)) {
                let again = written(&v);
                let v2 = Value::read(&mut Reader::new(&again)).unwrap();
                prop_assert_eq!(written(&v2), again);
            }
        }
    }

    #[test]
    fn each_type_has_the_bytes_of_the_specification() {
        let p = vec![("a".to_owned(), Value::Number(1.0))];
        let table: [(Value, &[u8]); 8] = [
            (Value::Number(1.0), b"\x00\x3f\xf0\0\0\0\0\0\0"),
            (Value::Boolean(true), b"\x01\x01"),
            (Value::text("live"), b"\x02\x00\x04live"),
            (Value::Object(p.clone()), b"\x03\0\x01a\x00\x3f\xf0\0\0\0\0\0\0\0\0\x09"),
            (Value::EcmaArray(p.clone()), b"\x08\0\0\0\x01\0\x01a\x00\x3f\xf0\0\0\0\0\0\0\0\0\x09"),
            (Value::StrictArray(vec![Value::Null]), b"\x0a\0\0\0\x01\x05"),
            (Value::Date { ms: 1.0, zone_minutes: -1 }, b"\x0b\x3f\xf0\0\0\0\0\0\0\xff\xff"),
            (Value::Typed("C".into(), p), b"\x10\0\x01C\0\x01a\x00\x3f\xf0\0\0\0\0\0\0\0\0\x09"),
        ];
        for (value, bytes) in table {
            assert_eq!(written(&value), bytes, "{value:?}");
        }
    }

    #[test]
    fn long_strings_change_their_marker() {
        let v = Value::text("x".repeat(65536));
        assert_eq!(written(&v)[..5], [0x0c, 0, 1, 0, 0]);
        assert_eq!(Value::read(&mut Reader::new(&written(&v))), Ok(v));
    }

    #[test]
    fn nesting_is_bounded_and_does_not_recurse_away() {
        let nest = |depth: usize| -> Vec<u8> { [&b"\x0a\0\0\0\x01"[..]].repeat(depth).concat() };
        let ok = [nest(MAX_DEPTH - 1), vec![0x05]].concat();
        assert!(Value::read(&mut Reader::new(&ok)).is_ok());
        for depth in [MAX_DEPTH, 100_000] {
            let deep = [nest(depth), vec![0x05]].concat();
            let limit = Error::Limit { what: "levels", limit: MAX_DEPTH, at: 5 * MAX_DEPTH };
            assert_eq!(Value::read(&mut Reader::new(&deep)), Err(limit));
        }
        let objects = b"\x03\0\x01a".repeat(100_000);
        assert!(matches!(Value::read(&mut Reader::new(&objects)), Err(Error::Limit { what: "levels", .. })));
    }

    #[test]
    fn values_and_text_are_bounded_for_the_whole_message() {
        let nulls = vec![0x05; MAX_VALUES + 1];
        assert!(matches!(read_all(&nulls), Err(Error::Limit { what: "values", .. })));
        assert_eq!(read_all(&nulls[1..]).unwrap().len(), MAX_VALUES);
        let text = [&b"\x02\xff\xff"[..], &[b'x'; 65535]].concat().repeat(17);
        assert!(matches!(read_all(&text), Err(Error::Limit { what: "bytes of text", .. })));
        // A claimed length alone takes no memory.
        assert!(matches!(read_all(b"\x0a\xff\xff\xff\xff\x05"), Err(Error::Short(_))));
        assert!(matches!(read_all(b"\x0c\0\x0f\xff\xffx"), Err(Error::Short(_))));
    }

    #[test]
    fn references_and_amf3_name_themselves() {
        assert_eq!(read_all(b"\x05\x07\0\0"), Ok(vec![Value::Null, Value::Undefined]));
        assert_eq!(read_all(b"\x05\x11\x0a"), Err(Error::Marker { marker: 0x11, at: 1 }));
        assert_eq!(read_some(b"\x05\x11\x0a").0, [Value::Null]);
        assert_eq!(read_all(b"\x03\0\0\x05"), Err(Error::End { at: 1 }));
    }
}
