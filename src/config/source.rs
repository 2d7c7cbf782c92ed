//! Where a configuration comes from: a file, or what is built in; and what is in force once it is read.

use super::check::{ConfigError, ConfigErrors, Place, Problem};
use super::load::{By, Loaded, Value, load};
use super::overrides::Overrides;
use super::reload::Values;
use super::schema::Config;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

/// A longer file is refused: it is not a configuration.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// The configuration that runs without a file.
const DEMO: &str = include_str!("../../conf/demo.toml");
/// The one that environment variables alone fill in.
const BARE: &str = "[vhost.__defaultVhost__]\n";
/// The comments of [`Source::in_force`] begin here, if the values are not longer.
const COMMENT_COLUMN: usize = 48;

/// The text of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
}

impl Source {
    /// A text, and its name in messages.
    pub fn new(name: &str, text: &str) -> Source {
        Source { name: name.to_owned(), text: text.to_owned() }
    }

    /// A file.
    pub fn file(path: &Path) -> Result<Source, ConfigErrors> {
        let name = path.display().to_string();
        let unreadable = |why: String| ConfigErrors {
            file: name.clone(),
            errors: vec![ConfigError {
                place: Place::File,
                key: String::new(),
                problem: Problem::Unreadable(why),
            }],
        };
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|open| open.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(error.to_string()))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(unreadable(format!("longer than {MAX_FILE_BYTES} bytes")));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source { name, text }),
            Err(error) => Err(unreadable(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))),
        }
    }

    /// What runs without a file: the built-in `conf/demo.toml`.
    pub fn demo() -> Source {
        Source::new("conf/demo.toml (built in)", DEMO)
    }

    /// Defaults and the default vhost, for who sets everything by environment variables.
    pub fn bare() -> Source {
        Source::new("the defaults", BARE)
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text itself.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads and checks it; all that is wrong comes back at once.
    pub fn config(&self, overrides: &Overrides) -> Result<Config, ConfigErrors> {
        Ok(self.load(overrides)?.0)
    }

    /// Every value that is in force, as a file, and who said it.
    pub fn in_force(&self, overrides: &Overrides) -> Result<String, ConfigErrors> {
        let mut text = String::new();
        let mut table = String::new();
        for value in self.load(overrides)?.1.0 {
            if value.table != table {
                let _ = writeln!(text, "\n[{}]", value.table);
                table.clone_from(&value.table);
            }
            let line = format!("{} = {}", value.key, value.text);
            let _ = writeln!(text, "{line:COMMENT_COLUMN$} # {}", self.origin(&value));
        }
        Ok(text)
    }

    fn origin(&self, value: &Value) -> String {
        match &value.by {
            By::Default => "default".to_owned(),
            By::File(at) => format!("{}:{}", self.name, at.line),
            By::Shared(at) => format!("vhost_defaults, {}:{}", self.name, at.line),
            By::Outside(by) => by.clone(),
        }
    }

    /// The same, with all values: to be compared with another's.
    pub fn load(&self, overrides: &Overrides) -> Result<(Config, Values), ConfigErrors> {
        let Loaded { config, values, faults } = load(&self.text, overrides);
        if faults.is_empty() {
            return Ok((config, Values(values)));
        }
        Err(ConfigErrors { file: self.name.clone(), errors: faults })
    }
}

impl Config {
    /// Reads and checks a text as it is; `name` is the name used in errors.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        Source::new(name, text).config(&Overrides::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
chunk_size = 4096
[vhost_defaults]
tcp_nodelay = true
play.queue_length = 10
[vhost.\"a.example\"]
play = { queue_length = 20, mw_latency = \"350ms\" }
[vhost.b.http_remux]
mount = [\"[vhost]/[app]/[stream].ts\", \"/x/[stream].flv\"]
";

    fn overrides() -> Overrides {
        let mut overrides = Overrides::of_environment([("SRS_LISTEN".to_owned(), "1 [::1]:2".to_owned())]);
        overrides.say("cores", "3", "--cores");
        overrides
    }

    #[test]
    fn what_is_in_force_says_who_said_it() {
        let text = Source::new("x.toml", FILE).in_force(&overrides()).expect("good");
        let lines = |key: &str| -> Vec<String> {
            let begin = format!("{key} = ");
            let lines = text.lines().filter(|line| line.starts_with(&begin));
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        assert_eq!(lines("listen")[0], "listen = [1, \"[::1]:2\"] # SRS_LISTEN");
        assert_eq!(lines("cores"), ["cores = 3 # --cores"]);
        assert_eq!(lines("chunk_size")[0], "chunk_size = 4096 # x.toml:1");
        assert_eq!(lines("max_connections"), ["max_connections = \"auto\" # default"]);
        let queues = [
            "queue_length = \"10s\" # x.toml:4",
            "queue_length = \"20s\" # x.toml:6",
            "queue_length = \"10s\" # vhost_defaults, x.toml:4",
        ];
        assert_eq!(lines("queue_length"), queues);
        assert_eq!(
            lines("mount")[2],
            "mount = [\"[vhost]/[app]/[stream].ts\", \"/x/[stream].flv\"] # x.toml:8"
        );
        assert!(text.contains("\n[vhost.\"a.example\".play]\n"), "{text}");
    }

    #[test]
    fn what_is_in_force_is_a_file_that_means_the_same() {
        for source in [Source::new("x.toml", FILE), Source::demo(), Source::bare(), Source::new("e", "")] {
            let config = source.config(&overrides()).expect("good");
            let text = source.in_force(&overrides()).expect("good");
            assert_eq!(Config::parse("again.toml", &text), Ok(config), "{text}");
        }
    }

    #[test]
    fn the_bare_one_is_the_defaults_and_a_vhost() {
        let config = Source::bare().config(&Overrides::default()).expect("good");
        assert_eq!(config.warnings(), Vec::<String>::new());
        assert_eq!(Config { vhosts: Default::default(), ..config }, Config::default());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error_of_its_own() {
        let text = |path: &str| Source::file(Path::new(path)).expect_err("no such file").to_string();
        assert_eq!(
            text("/nonexistent/x.toml"),
            "/nonexistent/x.toml: cannot be read: No such file or directory (os error 2)"
        );
        assert_eq!(text("/dev/zero"), "/dev/zero: cannot be read: longer than 4194304 bytes");
        let path = std::env::temp_dir().join(format!("srs-shard-config-{}.toml", std::process::id()));
        std::fs::write(&path, b"listen = 1\n#\xff").expect("a temporary file");
        let found = text(&path.display().to_string());
        std::fs::remove_file(&path).expect("our own file");
        assert_eq!(found, format!("{}: cannot be read: not UTF-8 at byte 12", path.display()));
    }
}
