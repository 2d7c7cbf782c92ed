//! What is logged: SRS's levels, in the words of SRS 3 and of SRS 5, for all and for single modules.

use super::schema::word_of;
use super::units::{Unit, quoted};
use toml::de::DeValue;

/// Modules that have something to log, by the names that `srs_log_levels` has for them.
pub const LOG_MODULES: [&str; 7] = ["hooks", "http", "logging", "rtmp", "server", "shards", "stream"];

/// What is logged, in SRS's words, whose "trace" is what others call "info".
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Verbose,
    /// What a developer wants to see.
    Info,
    /// Sessions and events, the default.
    Trace,
    /// What needs attention.
    Warn,
    /// What failed.
    Error,
}

/// What one module logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleLevel {
    /// One of [`LOG_MODULES`].
    pub module: &'static str,
    /// What it logs.
    pub level: LogLevel,
}

impl ModuleLevel {
    /// Reads `rtmp=info`.
    pub fn parse(text: &str) -> Option<Self> {
        let (module, level) = text.split_once('=')?;
        let module = LOG_MODULES.iter().find(|name| **name == module.trim())?;
        let (_, level) = LogLevel::WORDS.iter().find(|(word, _)| *word == level.trim())?;
        Some(Self { module, level: *level })
    }
}

impl std::fmt::Display for ModuleLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.module, self.level.as_str())
    }
}

impl LogLevel {
    /// As in SRS 5 and later (`srs_log_level_v2`).
    pub(super) const WORDS_V2: &[(&str, Self)] = &[
        ("trace", Self::Verbose),
        ("debug", Self::Info),
        ("info", Self::Trace),
        ("warn", Self::Warn),
        ("error", Self::Error),
    ];
    /// As in SRS 3 (`srs_log_level`).
    pub(super) const WORDS: &[(&str, Self)] = &[
        ("verbose", Self::Verbose),
        ("info", Self::Info),
        ("trace", Self::Trace),
        ("warn", Self::Warn),
        ("error", Self::Error),
    ];

    /// As in the file.
    pub fn as_str(self) -> &'static str {
        word_of(Self::WORDS, self)
    }

    /// The same in the words of the `log` crate.
    pub fn filter(self) -> log::LevelFilter {
        match self {
            Self::Verbose => log::LevelFilter::Trace,
            Self::Info => log::LevelFilter::Debug,
            Self::Trace => log::LevelFilter::Info,
            Self::Warn => log::LevelFilter::Warn,
            Self::Error => log::LevelFilter::Error,
        }
    }
}

/// What one module logs: `"rtmp=info"`.
pub(super) fn module_level() -> impl Unit<Value = ModuleLevel> {
    LevelOfModule
}

struct LevelOfModule;

impl Unit for LevelOfModule {
    type Value = ModuleLevel;

    fn show(&self, value: &ModuleLevel) -> String {
        quoted(&value.to_string())
    }

    fn allowed(&self) -> String {
        format!("\"MODULE=LEVEL\" with a module of {} and a level of srs_log_level", LOG_MODULES.join(", "))
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<ModuleLevel> {
        ModuleLevel::parse(value.as_str()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn srs_words_for_levels_are_those_of_srs() {
        let levels = LogLevel::WORDS.iter().map(|(word, level)| (*word, level.filter()));
        let expected = [
            ("verbose", log::LevelFilter::Trace),
            ("info", log::LevelFilter::Debug),
            ("trace", log::LevelFilter::Info),
            ("warn", log::LevelFilter::Warn),
            ("error", log::LevelFilter::Error),
        ];
        assert!(levels.eq(expected));
        let levels = LogLevel::WORDS_V2.iter().map(|(word, level)| (*word, level.filter()));
        let expected =
            ["trace", "debug", "info", "warn", "error"].map(|word| (word, word.parse().expect("a level")));
        assert!(levels.eq(expected));
    }

    #[test]
    fn modules_have_levels_of_their_own() {
        let text = "srs_log_level = \"warn\"\nsrs_log_level_v2 = \"info\"\nsrs_log_levels = [\"rtmp=verbose\", \"shards=error\"]";
        let config = Config::parse("x", text).expect("good");
        assert_eq!(config.log_level(), LogLevel::Trace, "v2 beats the other");
        let told: Vec<String> = config.srs_log_levels.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["rtmp=verbose", "shards=error"]);
        let error =
            Config::parse("x", "srs_log_levels = \"rtsp=info\"").expect_err("no such module").to_string();
        assert!(error.contains("\"rtsp=info\"") && error.contains("rtmp, server"), "{error}");
    }
}
