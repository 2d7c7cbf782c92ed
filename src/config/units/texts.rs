//! Values that are text: names, paths, URLs.

use super::{MAX_TEXT_BYTES, Unit, quoted};
use std::path::PathBuf;
use toml::de::DeValue;
use url::Url;

/// A text that `good` accepts; `allowed` says what that is.
pub(in crate::config) fn text(allowed: &'static str, good: fn(&str) -> bool) -> impl Unit<Value = String> {
    Text { allowed, good }
}

struct Text {
    allowed: &'static str,
    good: fn(&str) -> bool,
}

impl Unit for Text {
    type Value = String;

    fn show(&self, value: &String) -> String {
        quoted(value)
    }

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<String> {
        value.as_str().filter(|text| (self.good)(text)).map(str::to_owned)
    }
}

/// A path in the file system.
pub(in crate::config) fn path() -> impl Unit<Value = PathBuf> {
    FilePath
}

struct FilePath;

impl Unit for FilePath {
    type Value = PathBuf;

    fn show(&self, value: &PathBuf) -> String {
        quoted(&value.display().to_string())
    }

    fn allowed(&self) -> String {
        format!("a path of 1 to {MAX_TEXT_BYTES} bytes, as a string")
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<PathBuf> {
        let text = value.as_str()?;
        ((1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.contains('\0')).then(|| text.into())
    }
}

/// The URL of a web service.
pub(in crate::config) fn http_url() -> impl Unit<Value = String> {
    HttpUrl
}

struct HttpUrl;

impl Unit for HttpUrl {
    type Value = String;

    fn show(&self, value: &String) -> String {
        quoted(value)
    }

    fn allowed(&self) -> String {
        "a URL like \"http://127.0.0.1:8085/api/v1/clients\" or \"https://backend.example/hooks\"".to_owned()
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<String> {
        let text = value.as_str().filter(|text| text.len() <= MAX_TEXT_BYTES)?;
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "http" | "https") && url.has_host()).then(|| text.to_owned())
    }
}

/// A value, or `""`, which is `None`.
pub(in crate::config) fn or_none<U: Unit>(unit: U) -> impl Unit<Value = Option<U::Value>> {
    OrNone(unit)
}

struct OrNone<U>(U);

impl<U: Unit> Unit for OrNone<U> {
    type Value = Option<U::Value>;

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| quoted(""), |value| self.0.show(value))
    }

    fn allowed(&self) -> String {
        format!("\"\" for none, or {}", self.0.allowed())
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Self::Value> {
        match value.as_str() {
            Some("") => Some(None),
            _ => self.0.parse(value).map(Some),
        }
    }
}
