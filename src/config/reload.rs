//! What a new configuration changes against the one in force, and when that takes effect.

use super::load::{By, Value};
use super::said::Said;
use super::schema::{Config, Reload};
use std::collections::BTreeMap;
use std::fmt;

/// A key that has another value now, or a table that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path of the key, or of the table.
    pub key: String,
    /// What became of it.
    pub what: What,
}

/// What became of a key or table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A vhost that is new.
    Added,
    /// A vhost that is no more: its clients are closed.
    Removed,
    /// Another value.
    Changed {
        /// As the file would have it.
        from: String,
        /// As the file would have it.
        to: String,
        /// When it takes effect.
        reload: Reload,
    },
}

impl What {
    /// The verdict in a word or two.
    pub fn verdict(&self) -> &'static str {
        match self {
            What::Added | What::Removed | What::Changed { reload: Reload::AtOnce, .. } => "applied",
            What::Changed { reload: Reload::NextClient, .. } => "applies to new clients",
            What::Changed { reload: Reload::NextPublish, .. } => "applies to new publishes",
            What::Changed { reload: Reload::Restart, .. } => "needs restart",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { key, what } = self;
        match what {
            What::Added => write!(f, "{key}: added"),
            What::Removed => write!(f, "{key}: removed"),
            // A secret: both are hidden.
            What::Changed { from, to, .. } if from == to => {
                write!(f, "{key}: is another now: {}", what.verdict())
            }
            What::Changed { from, to, .. } => write!(f, "{key}: {from} is {to} now: {}", what.verdict()),
        }
    }
}

/// Every value of a configuration, by which the next one is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values(pub(super) Vec<Value>);

impl Values {
    /// What `new` changes. Of a vhost that comes or goes no single keys are told.
    pub fn changes(&self, new: &Values) -> Vec<Change> {
        let (old, new) = (by_table(&self.0), by_table(&new.0));
        let mut changes = Vec::new();
        let vhosts = |tables: &Tables<'_>| -> Vec<String> {
            tables.keys().filter(|table| is_vhost(table)).map(|table| (*table).to_owned()).collect()
        };
        let missing = |from: &[String], of: &Tables<'_>| -> Vec<String> {
            from.iter().filter(|vhost| !of.contains_key(vhost.as_str())).cloned().collect()
        };
        let (removed, added) = (missing(&vhosts(&old), &new), missing(&vhosts(&new), &old));
        changes.extend(removed.into_iter().map(|key| Change { key, what: What::Removed }));
        changes.extend(added.into_iter().map(|key| Change { key, what: What::Added }));
        for (table, keys) in &new {
            let Some(before) = old.get(table) else { continue };
            for value in keys {
                let Some(was) = before.iter().find(|was| was.key == value.key) else { continue };
                if (&was.text, &was.hidden) != (&value.text, &value.hidden) {
                    let key = if table.is_empty() {
                        value.key.to_owned()
                    } else {
                        format!("{table}.{}", value.key)
                    };
                    let (from, to) = (was.text.clone(), value.text.clone());
                    changes.push(Change { key, what: What::Changed { from, to, reload: value.reload } });
                }
            }
        }
        changes
    }
}

impl Values {
    /// The keys that are not as by default because nobody says otherwise.
    pub fn said(&self) -> Said {
        let said = self.0.iter().filter(|value| value.by != By::Default);
        Said::of(said.map(|value| (value.table.as_str(), value.key)))
    }

    /// What only a restart changes is still as `old` has it.
    pub fn keep_until_restart(&mut self, old: &Values) {
        for value in self.0.iter_mut().filter(|value| value.reload == Reload::Restart) {
            let same = |was: &&Value| (&was.table, was.key) == (&value.table, value.key);
            if let Some(was) = old.0.iter().find(same) {
                value.clone_from(was);
            }
        }
    }
}

type Tables<'v> = BTreeMap<&'v str, Vec<&'v Value>>;

fn by_table(values: &[Value]) -> Tables<'_> {
    let mut tables = Tables::new();
    for value in values {
        tables.entry(&value.table).or_default().push(value);
    }
    tables
}

/// Whether a table is a vhost itself, not one within it. Its name may have dots, in quotes then.
fn is_vhost(table: &str) -> bool {
    let Some(name) = table.strip_prefix("vhost.") else { return false };
    match name.chars().next() {
        Some(quote @ ('"' | '\'')) => name.len() > 1 && name.ends_with(quote),
        _ => !name.contains('.'),
    }
}

impl Config {
    /// What only a restart changes stays as it is.
    pub fn keep_until_restart(&mut self, old: &Config) {
        self.daemon = old.daemon;
        self.pid.clone_from(&old.pid);
        self.work_dir.clone_from(&old.work_dir);
        self.user.clone_from(&old.user);
        self.group.clone_from(&old.group);
        self.cores = old.cores;
        self.pin = old.pin;
        self.demo = old.demo;
        self.srs_log_tank = old.srs_log_tank;
        self.srs_log_file.clone_from(&old.srs_log_file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Source};

    fn values(text: &str) -> Values {
        Source::new("x.toml", text).load(&Overrides::default()).expect("good").1
    }

    fn told(old: &str, new: &str) -> Vec<String> {
        values(old).changes(&values(new)).iter().map(Change::to_string).collect()
    }

    #[test]
    fn each_key_that_changed_says_when_it_takes_effect() {
        let old = "chunk_size = 4096\n[vhost_defaults]\nplay.queue_length = 10\n[vhost.\"a.b\"]\n[vhost.c]\n";
        let new = "cores = 2\n[vhost_defaults]\nplay.queue_length = 20\n[vhost.\"a.b\".play]\ntime_jitter = \"off\"\n\
                   [vhost.'x.y']\n";
        assert_eq!(
            told(old, new),
            [
                "vhost.c: removed",
                "vhost.\"x.y\": added",
                "chunk_size: 4096 is 60000 now: applies to new clients",
                "cores: \"auto\" is 2 now: needs restart",
                "vhost.\"a.b\".play.queue_length: \"10s\" is \"20s\" now: applied",
                "vhost.\"a.b\".play.time_jitter: \"full\" is \"off\" now: applies to new publishes",
                "vhost_defaults.play.queue_length: \"10s\" is \"20s\" now: applied",
            ]
        );
        assert_eq!(told(old, old), [""; 0]);
        assert_eq!(told("listen = 1935", ""), [""; 0], "what means the same is no change");
    }

    #[test]
    fn a_changed_secret_is_told_and_not_shown() {
        let of = |secret: &str| {
            let key = format!("[vhost.a.auth.key]\npublish = [\"first-secret\", \"live/a={secret}\"]\n");
            format!("{key}[http_api.auth]\nusername = \"admin\"\npassword = \"{secret}\"\n")
        };
        assert_eq!(
            told(&of("old-secret"), &of("new-secret")),
            [
                "http_api.auth.password: is another now: applied",
                "vhost.a.auth.key.publish: is another now: applies to new clients",
            ]
        );
        assert_eq!(told(&of("old-secret"), &of("old-secret")), [""; 0]);
        assert_eq!(
            told(&of("old-secret"), "[vhost.a]"),
            [
                "http_api.auth.username: \"admin\" is \"\" now: applied",
                "http_api.auth.password: \"***\" is \"\" now: applied",
                "vhost.a.auth.key.publish: [\"***\", \"live/a=***\"] is [] now: applies to new clients",
            ]
        );
    }

    #[test]
    fn what_needs_a_restart_is_kept() {
        let old = Config::parse(
            "x",
            "cores = 2\npin = false\ndemo = true\nsrs_log_tank = \"file\"\nwork_dir = \"/\"\n\
                 daemon = true\npid = \"x\"\nuser = \"a\"\ngroup = \"b\"\nsrs_log_file = \"y\"",
        )
        .expect("good");
        let mut new = Config::parse("x", "listen = 1936").expect("good");
        new.keep_until_restart(&old);
        let listen = new.listen.clone();
        assert_eq!(Config { listen, ..old }, new);
        let (old, mut new) = (values("cores = 2"), values("cores = 3\nlisten = 1"));
        assert_eq!(old.changes(&new).len(), 2);
        new.keep_until_restart(&old);
        assert_eq!(old.changes(&new).len(), 1);
    }
}
