//! Mount templates: where a live stream is served over HTTP, and in which format.

use super::units::{MAX_TEXT_BYTES, Unit};
use toml::de::DeValue;

/// What a mount serves, from the extension of its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MountFormat {
    /// `.flv`: HTTP-FLV.
    Flv,
    /// `.ts`: MPEG-TS.
    Ts,
    /// `.aac`: ADTS frames, audio only.
    Aac,
    /// `.mp3`: MPEG audio frames, audio only.
    Mp3,
    /// `.live.mp4`: fragmented MP4 for a browser's Media Source.
    LiveMp4,
}

impl MountFormat {
    /// Every format with its extension.
    pub const ALL: [(&'static str, Self); 5] = [
        (".flv", Self::Flv),
        (".ts", Self::Ts),
        (".aac", Self::Aac),
        (".mp3", Self::Mp3),
        (".live.mp4", Self::LiveMp4),
    ];
}

/// Where a live stream is served over HTTP: a template such as `[vhost]/[app]/[stream].flv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The part before the first `/`: `[vhost]` or a host name ties the mount to that Host header; empty
    /// serves any Host. In `__defaultVhost__`, `[vhost]` means any Host too, as in SRS.
    pub host: String,
    /// The part from the first `/` on, extension included; may hold `[vhost]`, `[app]`; holds `[stream]`.
    pub path: String,
    /// What the extension asks for.
    pub format: MountFormat,
}

impl Mount {
    /// Reads a template; `None` if it is not one.
    pub fn parse(template: &str) -> Option<Self> {
        let fits = template.len() <= MAX_TEXT_BYTES
            && !template.contains(|c: char| c.is_whitespace() || c.is_control() || "?#\\".contains(c));
        let (host, path) = template.split_at_checked(template.find('/')?)?;
        let (_, format) = MountFormat::ALL.into_iter().find(|(extension, _)| path.ends_with(extension))?;
        let host_is_plain = host == "[vhost]" || !host.contains(['[', ']']);
        let known = ["[vhost]", "[app]", "[stream]"];
        let literal = known.iter().fold(path.to_owned(), |rest, name| rest.replace(name, ""));
        let good = fits && host_is_plain && path.contains("[stream]") && !literal.contains(['[', ']']);
        good.then(|| Self { host: host.to_owned(), path: path.to_owned(), format })
    }
}

/// A mount template.
pub(super) fn mount() -> impl Unit<Value = Mount> {
    MountTemplate
}

struct MountTemplate;

impl Unit for MountTemplate {
    type Value = Mount;

    fn allowed(&self) -> String {
        let extensions = MountFormat::ALL.map(|(extension, _)| extension).join(" ");
        format!(
            "a template like \"[vhost]/[app]/[stream].flv\": \
             with a '/', with [stream], ending in one of {extensions}"
        )
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Mount> {
        Mount::parse(value.as_str()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mounts_have_a_known_extension_and_a_stream() {
        let m = Mount::parse("[vhost]/[app]/[stream].live.mp4").expect("a good template");
        assert_eq!((m.host.as_str(), m.path.as_str()), ("[vhost]", "/[app]/[stream].live.mp4"));
        assert_eq!(m.format, MountFormat::LiveMp4);
        let m = Mount::parse("/live/[stream].flv").expect("a good template");
        assert_eq!((m.host.as_str(), m.format), ("", MountFormat::Flv));
        let bad = ["", "/", "[stream].flv", "/[app]/[stream]", "/[app]/[stream].mp4", "/[app]/x.flv"];
        let worse = ["/[foo]/[stream].flv", "[app]/[stream].flv", "/[app/[stream].flv", "/a b/[stream].ts"];
        for text in bad.into_iter().chain(worse) {
            assert_eq!(Mount::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_template_is_its_host_and_its_path(text in "(\\[vhost\\]|a|\\PC{0,3})/(\\[app\\]/)?\\PC{0,4}\\[stream\\]\\.(ts|flv|mp4)") {
            if let Some(mount) = Mount::parse(&text) {
                prop_assert_eq!(format!("{}{}", mount.host, mount.path), text);
            }
        }
    }
}
