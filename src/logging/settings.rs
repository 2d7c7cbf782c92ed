//! What is logged, and how times and clients are written: all that may change while the log runs.

use log::LevelFilter;

/// Crates whose lines the levels govern; others are heard from [`log::Level::Warn`] up.
const OWN_CRATES: [&str; 3] = ["srs_shard", "shards", "srs_load"];

/// All that may change while the log runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is logged.
    pub levels: Levels,
    /// Whether times are UTC rather than local.
    pub utc: bool,
    /// How a client's number is written.
    pub name_client: fn(u64) -> String,
}

impl Settings {
    /// With one level for all; local time, plain numbers.
    pub fn new(level: LevelFilter) -> Settings {
        Settings { levels: Levels::new(level), utc: false, name_client: |number| number.to_string() }
    }
}

/// A level for all, and others for single modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    all: LevelFilter,
    modules: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// One level for all.
    pub fn new(all: LevelFilter) -> Levels {
        Levels { all, modules: Vec::new() }
    }

    /// Another one for a module of `src/`, or for `shards`. What was said last of a module counts.
    pub fn with(mut self, module: &str, level: LevelFilter) -> Levels {
        self.modules.insert(0, (module.to_owned(), level));
        self
    }

    /// The most that anything logs.
    pub fn max(&self) -> LevelFilter {
        self.modules.iter().map(|(_, level)| *level).fold(self.all, Ord::max)
    }

    /// What the code at `target` logs, a path as `module_path!` gives it.
    pub fn of(&self, target: &str) -> LevelFilter {
        let (krate, path) = target.split_once("::").unwrap_or((target, ""));
        if !OWN_CRATES.contains(&krate) {
            return Ord::min(LevelFilter::Warn, self.max());
        }
        let module = if krate == "srs_shard" { path.split("::").next().unwrap_or_default() } else { krate };
        let own = self.modules.iter().find(|(name, _)| name == module);
        own.map_or(self.all, |(_, level)| *level)
    }
}

/// Whether a line is ours, so that its place need not be told.
pub(super) fn is_ours(target: &str) -> bool {
    OWN_CRATES.contains(&target.split("::").next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use LevelFilter::{Debug, Error, Info, Trace, Warn};

    #[test]
    fn a_module_s_level_beats_that_of_all() {
        let levels = Levels::new(Info).with("rtmp", Trace).with("shards", Error).with("rtmp", Debug);
        assert_eq!(levels.max(), Trace, "an upper bound");
        for (target, level) in [
            ("srs_shard::rtmp", Debug),
            ("srs_shard::rtmp::session", Debug),
            ("srs_shard::rtmpx", Info),
            ("srs_shard", Info),
            ("shards", Error),
            ("shards_of_others", Warn),
            ("glommio::sys", Warn),
        ] {
            assert_eq!(levels.of(target), level, "{target}");
        }
        assert_eq!(Levels::new(Error).of("glommio"), Error);
    }
}
