//! JSON as SRS writes it: compact, members in the order they were added, numbers with a fraction always with two
//! decimals. The reason it is not serde_json is the last of these.

use std::borrow::Cow;
use std::fmt::Write;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any integer of 64 bits, with or without sign.
    Int(i128),
    /// Written with two decimals; 0.00 if it is not finite.
    Fixed2(f64),
    /// Text.
    Str(String),
    /// `[…]`
    Array(Vec<Json>),
    /// `{…}`
    Object(Object),
}

/// An object under construction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(Cow<'static, str>, Json)>);

impl Object {
    /// An empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member at the end.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Json>) -> Self {
        self.push(name, value);
        self
    }

    /// Adds a member at the end.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Json>) {
        self.0.push((name.into(), value.into()));
    }

    /// The text.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        write_object(self, &mut out);
        out
    }
}

fn write(value: &Json, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match value {
        Json::Null => out.write_str("null"),
        Json::Bool(b) => write!(out, "{b}"),
        Json::Int(n) => write!(out, "{n}"),
        Json::Fixed2(x) => write!(out, "{:.2}", if x.is_finite() { *x } else { 0.0 }),
        Json::Str(text) => {
            write_text(text, out);
            Ok(())
        }
        Json::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.write_char(']')
        }
        Json::Object(object) => {
            write_object(object, out);
            Ok(())
        }
    };
}

fn write_object(object: &Object, out: &mut String) {
    out.push('{');
    for (at, (name, value)) in object.0.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(name, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

/// Escapes what RFC 8259 §7 demands, and what would end a script: JSONP is read as JavaScript, where U+2028 and
/// U+2029 end lines, and `<` could open `</script>` or `<!--` in a page that pastes it.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '<' | '\u{7f}' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => write!(out, "\\u{:04x}", c as u32),
            c => out.write_char(c),
        };
    }
    out.push('"');
}

macro_rules! from_integers {
    ($($t:ty)*) => { $(impl From<$t> for Json { fn from(n: $t) -> Self { Json::Int(n as i128) } })* };
}
from_integers!(u16 u32 u64 usize i32 i64 i128);

impl From<bool> for Json {
    fn from(b: bool) -> Self {
        Json::Bool(b)
    }
}

impl From<f64> for Json {
    fn from(x: f64) -> Self {
        Json::Fixed2(x)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::Str(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::Str(text)
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Json::Object(object)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Json::Null, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Self {
        Json::Array(items.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_decimals_and_escapes() {
        let text = Object::new()
            .with("z", 1u64)
            .with("a", vec![0.5, -0.125, 100.0, f64::NAN])
            .with("none", Option::<u64>::None)
            .with("s", "a\"b\\c\n\u{1}ü</script>\u{2028}")
            .with("o", Object::new().with("max", u64::MAX).with("min", i64::MIN).with("t", true))
            .with("e", Vec::<Json>::new())
            .to_text();
        assert_eq!(
            text,
            "{\"z\":1,\"a\":[0.50,-0.12,100.00,0.00],\"none\":null,\"s\":\"a\\\"b\\\\c\\n\\u0001ü\\u003c/script>\\u2028\",\
             \"o\":{\"max\":18446744073709551615,\"min\":-9223372036854775808,\"t\":true},\"e\":[]}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_by_another_parser(name in any::<String>(), value in any::<String>()) {
            let text = Object::new().with(name.clone(), value.clone()).to_text();
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&read[&name], &serde_json::Value::String(value));
        }
    }
}
