//! Which keys somebody has said, in the file or outside it; the others are as by default.

use super::check::key_text;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The keys that are said, by their tables' paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said(BTreeMap<String, BTreeSet<&'static str>>);

impl Said {
    /// Of tables' paths and keys.
    pub(super) fn of<'v>(keys: impl Iterator<Item = (&'v str, &'static str)>) -> Said {
        let mut said = Said::default();
        for (table, key) in keys {
            match said.0.get_mut(table) {
                Some(keys) => _ = keys.insert(key),
                None => _ = said.0.insert(table.to_owned(), BTreeSet::from([key])),
            }
        }
        said
    }

    /// Whether a key is said.
    pub fn key(&self, table: &str, key: &str) -> bool {
        self.0.get(table).is_some_and(|keys| keys.contains(key))
    }

    /// Whether anything in a table is said, or in one within it.
    pub fn table(&self, path: &str) -> bool {
        let from = self.0.range::<str, _>((Bound::Included(path), Bound::Unbounded));
        let mut below = from.take_while(|(table, _)| table.starts_with(path));
        below.any(|(table, _)| matches!(table.as_bytes().get(path.len()), None | Some(b'.')))
    }

    /// The path of a vhost's table.
    pub fn vhost_table(name: &str) -> String {
        format!("vhost.{}", key_text(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Source};

    #[test]
    fn what_is_said_is_what_the_file_or_a_variable_has() {
        let file =
            "[vhost_defaults]\natc = 1\n[vhost.a-b]\nenabled = true\n[vhost.\"a.b\".play]\natc = true\n";
        let file = file.replace("atc = 1\n", "tcp_nodelay = true\n");
        let overrides = Overrides::of_environment([("SRS_CHUNK_SIZE".to_owned(), "4096".to_owned())]);
        let (_, values) = Source::new("x", &file).load(&overrides).expect("good");
        let said = values.said();
        assert!(said.key("", "chunk_size") && !said.key("", "listen"));
        let vhost = Said::vhost_table("a.b");
        assert!(said.key(&vhost, "tcp_nodelay"), "several share it");
        assert!(
            said.key(&format!("{vhost}.play"), "atc") && !said.key(&format!("{vhost}.play"), "gop_cache")
        );
        assert!(said.table(&vhost) && said.table(&format!("{vhost}.play")));
        assert!(
            !said.table("vhost.a") && !said.table("http_api") && !said.table(&format!("{vhost}.publish"))
        );
    }
}
