//! What is said outside the file: by flags, and by SRS's environment variables, with which containers are set up.
//!
//! A variable is named after its key's path: `http_api.enabled` is `SRS_HTTP_API_ENABLED`. One of a vhost's keys,
//! such as `SRS_VHOST_PLAY_GOP_CACHE`, is for every vhost, as in SRS 5 and later.

use super::load::{ANY_NAME, schema_keys};
use std::collections::BTreeMap;

/// What all of SRS's variables begin with.
const PREFIX: &str = "SRS_";

/// A value that is put over the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// The value, as a word on the command line.
    pub(super) text: String,
    /// The flag or the variable.
    pub(super) by: String,
}

/// The values that are put over a file's, again after each reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// By the path of the key; a vhost's name is [`ANY_NAME`].
    said: BTreeMap<String, Said>,
    /// Variables that are SRS's by their name, but no key's.
    unknown: Vec<String>,
}

impl Overrides {
    /// Takes SRS's variables out of an environment. An empty one is none.
    pub fn of_environment(variables: impl IntoIterator<Item = (String, String)>) -> Overrides {
        let values = schema_keys().iter().filter(|key| key.reload.is_some());
        let names: BTreeMap<String, &str> =
            values.flat_map(|key| names_of(&key.path).map(move |name| (name, key.path.as_str()))).collect();
        let mut overrides = Overrides::default();
        for (name, text) in variables {
            if !name.starts_with(PREFIX) || text.is_empty() {
                continue;
            }
            match names.get(&name) {
                Some(key) => overrides.say(key, &text, &name),
                None => overrides.unknown.push(name),
            }
        }
        overrides.unknown.sort();
        overrides
    }

    /// Puts a value over a key's; `by` is who says so. What was said of it before is forgotten.
    pub fn say(&mut self, key: &str, text: &str, by: &str) {
        self.said.insert(key.to_owned(), Said { text: text.to_owned(), by: by.to_owned() });
    }

    /// What is hardly meant, one line each.
    pub fn warnings(&self) -> Vec<String> {
        self.unknown.iter().map(|name| format!("{name}: no key goes by that name; it is ignored")).collect()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Said> {
        self.said.get(key)
    }
}

/// The variables of a key, of which the path is given; `srs_log_level` is also known as `SRS_LOG_LEVEL`.
fn names_of(key: &str) -> impl Iterator<Item = String> {
    let path = key.replace(&format!("{ANY_NAME}."), "");
    let name = path.replace('.', "_").to_ascii_uppercase();
    let short = name.strip_prefix(PREFIX).map(str::to_owned);
    short.into_iter().chain([name]).map(|name| format!("{PREFIX}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, LogLevel, Source};

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let overrides = Overrides::of_environment(variables);
        Source::new("x.toml", file).config(&overrides).map_err(|errors| errors.to_string())
    }

    #[test]
    fn variables_are_named_as_in_srs() {
        let names = |key| names_of(key).collect::<Vec<_>>();
        assert_eq!(names("listen"), ["SRS_LISTEN"]);
        assert_eq!(names("http_api.enabled"), ["SRS_HTTP_API_ENABLED"]);
        assert_eq!(names("vhost.NAME.play.gop_cache"), ["SRS_VHOST_PLAY_GOP_CACHE"]);
        assert_eq!(names("srs_log_tank"), ["SRS_LOG_TANK", "SRS_SRS_LOG_TANK"]);
    }

    #[test]
    fn a_variable_beats_the_file_in_every_vhost() {
        let file = "listen = 1\n[vhost.a]\n[vhost.b.play]\ngop_cache = true\n";
        let config = read(
            file,
            &[
                ("SRS_LISTEN", "1936 127.0.0.1:1937"),
                ("SRS_LOG_LEVEL", "warn"),
                ("SRS_VHOST_PLAY_GOP_CACHE", "off"),
                ("SRS_VHOST_PLAY_MW_LATENCY", "350"),
                ("SRS_VHOST_HTTP_REMUX_MOUNT", "[vhost]/[app]/[stream].ts"),
                ("SRS_MAX_CONNECTIONS", "auto"),
                ("SRS_HTTP_API_ENABLED", "true"),
                ("SRS_CHUNK_SIZE", ""),
                ("HOME", "/root"),
            ],
        );
        let config = config.expect("good");
        assert_eq!(config.listen.len(), 2);
        assert_eq!((config.listen[0].port(), config.srs_log_level), (1936, LogLevel::Warn));
        assert!(config.vhosts.values().all(|vhost| !vhost.play.gop_cache));
        assert!(
            config.vhosts.values().all(|vhost| vhost.play.mw_latency.is_some_and(|ms| ms.as_millis() == 350))
        );
        assert_eq!(config.vhosts["a"].http_remux.mount[0].to_string(), "[vhost]/[app]/[stream].ts");
        assert!(config.http_api.enabled && config.chunk_size == 60_000);
    }

    #[test]
    fn a_bad_variable_is_a_fault_that_names_it_once() {
        let file = "listen = true\n[vhost.a]\n[vhost.b]\n";
        let faults = read(file, &[("SRS_VHOST_PLAY_GOP_CACHE", "maybe"), ("SRS_CHUNK_SIZE", "1 2")]);
        let faults: Vec<String> = faults.expect_err("bad").lines().map(str::to_owned).collect();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert_eq!(
            faults[0],
            "SRS_CHUNK_SIZE: chunk_size: found \"1 2\"; allowed: an integer from 128 to 65536"
        );
        assert!(
            faults[1].starts_with("SRS_VHOST_PLAY_GOP_CACHE: vhost.NAME.play.gop_cache: found \"maybe\"")
        );
        assert!(faults[2].starts_with("x.toml:1:10: listen: found true"), "{faults:?}");
    }

    #[test]
    fn what_is_no_key_is_a_warning() {
        let variables = [("SRS_RTC_SERVER_LISTEN", "8000"), ("SRS_VHOST_PLAY", "1"), ("SRS_X", "")];
        let variables = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(
            Overrides::of_environment(variables).warnings(),
            [
                "SRS_RTC_SERVER_LISTEN: no key goes by that name; it is ignored",
                "SRS_VHOST_PLAY: no key goes by that name; it is ignored",
            ],
            "an empty one is not there"
        );
    }
}
