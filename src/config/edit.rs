//! Single changes to a configuration's text that leave the rest of it as it is, comments and layout included: what
//! `/api/v1/raw?rpc=update` asks for. Whether the new text is a good configuration is for [`super::load`] to say.

use super::check::key_text;
use super::load::{ANY_NAME, schema_keys};
use super::overrides::Overrides;
use super::schema::Config;
use toml_edit::{Array, DocumentMut, Item, Key, Table, TableLike, Value, value};

/// The table of vhosts.
const VHOSTS: &str = "vhost";
/// Whether a vhost is enabled.
const ENABLED: &str = "enabled";

/// A change to a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A key at the top level has this value.
    Set {
        /// Which.
        key: String,
        /// Its value.
        to: Setting,
    },
    /// A vhost of this name, enabled and else as by default.
    AddVhost(String),
    /// A vhost, which is disabled, has another name.
    RenameVhost {
        /// What it is called.
        from: String,
        /// What it shall be called.
        to: String,
    },
    /// A vhost, which is disabled, is no more.
    RemoveVhost(String),
    /// A vhost is no longer disabled.
    EnableVhost(String),
    /// A vhost is no longer enabled.
    DisableVhost(String),
}

/// A value, as it will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A number.
    Integer(u32),
    /// A text in quotes.
    Text(String),
    /// `true` or `false`.
    Switch(bool),
    /// A list of them.
    List(Vec<Setting>),
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is no TOML.
    #[error("cannot be changed: {0}")]
    Syntax(String),
    /// There is none of this name.
    #[error("there is no vhost {0}")]
    NoSuchVhost(String),
    /// There is one already.
    #[error("there is a vhost {0} already")]
    VhostExists(String),
    /// It must be disabled first.
    #[error("vhost {0} is enabled; disable it first")]
    VhostEnabled(String),
    /// It is disabled already.
    #[error("vhost {0} is disabled already")]
    VhostDisabled(String),
    /// It is enabled already.
    #[error("vhost {0} is enabled already")]
    AlreadyEnabled(String),
    /// A flag or a variable has the last word.
    #[error("{key} is set by {by}, which no file changes")]
    Overridden {
        /// The path of the key.
        key: String,
        /// The flag or variable.
        by: String,
    },
}

/// Whether the schema has a key at this path.
pub fn has_key(path: &str) -> bool {
    schema_keys().iter().any(|key| key.reload.is_some() && key.path == path)
}

impl Edit {
    /// Whether it may be made in a configuration: SRS wants a vhost to be disabled before it goes or is renamed.
    pub fn check(&self, config: &Config, overrides: &Overrides) -> Result<(), EditError> {
        let enabled = |name: &String| match config.vhosts.get(name) {
            Some(vhost) => Ok(vhost.enabled),
            None => Err(EditError::NoSuchVhost(name.clone())),
        };
        let is_new = |name: &String| match config.vhosts.named(name) {
            Some(_) => Err(EditError::VhostExists(name.clone())),
            None => Ok(()),
        };
        match self {
            Edit::Set { key, .. } => not_overridden(key, key, overrides),
            Edit::AddVhost(name) => is_new(name),
            Edit::RenameVhost { from: name, .. } | Edit::RemoveVhost(name) if enabled(name)? => {
                Err(EditError::VhostEnabled(name.clone()))
            }
            Edit::RenameVhost { to, .. } => is_new(to),
            Edit::RemoveVhost(_) => Ok(()),
            Edit::EnableVhost(name) if enabled(name)? => Err(EditError::AlreadyEnabled(name.clone())),
            Edit::DisableVhost(name) if !enabled(name)? => Err(EditError::VhostDisabled(name.clone())),
            Edit::EnableVhost(name) | Edit::DisableVhost(name) => {
                let key = format!("{VHOSTS}.{}.{ENABLED}", key_text(name));
                not_overridden(&key, &format!("{VHOSTS}.{ANY_NAME}.{ENABLED}"), overrides)
            }
        }
    }

    /// The text with the change made.
    pub fn apply(&self, text: &str) -> Result<String, EditError> {
        let mut document: DocumentMut = text
            .parse()
            .map_err(|error: toml_edit::TomlError| EditError::Syntax(error.message().to_owned()))?;
        let root = document.as_table_mut();
        match self {
            Edit::Set { key, to } => set(root, key, to.value()),
            Edit::AddVhost(name) => {
                let all = root.entry(VHOSTS).or_insert_with(|| {
                    let mut all = Table::new();
                    all.set_implicit(true);
                    Item::Table(all)
                });
                let all = all.as_table_like_mut().ok_or_else(|| EditError::NoSuchVhost(name.clone()))?;
                let mut vhost = Table::new();
                vhost.insert(ENABLED, value(true));
                all.insert(name, Item::Table(vhost));
            }
            Edit::RenameVhost { from, to } => rename(root, from, to)?,
            Edit::RemoveVhost(name) => {
                let gone = vhosts(root, name)?.remove(name);
                gone.ok_or_else(|| EditError::NoSuchVhost(name.clone()))?;
            }
            Edit::EnableVhost(name) | Edit::DisableVhost(name) => {
                let missing = || EditError::NoSuchVhost(name.clone());
                let vhost = vhosts(root, name)?.get_mut(name).ok_or_else(missing)?;
                let vhost = vhost.as_table_like_mut().ok_or_else(missing)?;
                set(vhost, ENABLED, matches!(self, Edit::EnableVhost(_)).into());
            }
        }
        Ok(document.to_string())
    }
}

impl Setting {
    fn value(&self) -> Value {
        match self {
            Setting::Integer(number) => i64::from(*number).into(),
            Setting::Text(text) => text.as_str().into(),
            Setting::Switch(on) => (*on).into(),
            Setting::List(items) => Value::Array(items.iter().map(Setting::value).collect::<Array>()),
        }
    }
}

fn not_overridden(key: &str, in_schema: &str, overrides: &Overrides) -> Result<(), EditError> {
    match overrides.get(in_schema) {
        None => Ok(()),
        Some(said) => Err(EditError::Overridden { key: key.to_owned(), by: said.by.clone() }),
    }
}

/// Gives a key a value; what stands before and behind the old one, a comment perhaps, stays.
fn set(table: &mut dyn TableLike, key: &str, mut new: Value) {
    match table.get_mut(key) {
        Some(old) => {
            if let Some(old) = old.as_value() {
                *new.decor_mut() = old.decor().clone();
            }
            *old = Item::Value(new);
        }
        None => _ = table.insert(key, Item::Value(new)),
    }
}

fn vhosts<'t>(root: &'t mut Table, name: &str) -> Result<&'t mut dyn TableLike, EditError> {
    let all = root.get_mut(VHOSTS).and_then(Item::as_table_like_mut);
    all.ok_or_else(|| EditError::NoSuchVhost(name.to_owned()))
}

/// A table's place in the text is its own, so it stays where it is.
fn rename(root: &mut Table, from: &str, to: &str) -> Result<(), EditError> {
    let all = vhosts(root, from)?;
    let missing = || EditError::NoSuchVhost(from.to_owned());
    let key = all.key(from).ok_or_else(missing)?;
    let new =
        Key::new(to).with_leaf_decor(key.leaf_decor().clone()).with_dotted_decor(key.dotted_decor().clone());
    let vhost = all.remove(from).ok_or_else(missing)?;
    all.entry_format(&new).or_insert(vhost);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use proptest::prelude::*;

    const FILE: &str = "\
# The head.
listen = [ 1935, # the usual one
  \"127.0.0.1:1936\" ]  # both
chunk_size   =   4_096 # in pages

[http_api] # an API
enabled = true

# Of A.
[vhost.\"a.example\"] # dots
enabled = false # not yet
aliases = [\"b.example\"]
# How A plays.
[vhost.\"a.example\".play]
gop_cache = false

[vhost.c]
  [vhost.c.publish]
  normal_timeout = 5
# The end.
";

    fn applied(edit: &Edit, text: &str) -> String {
        edit.apply(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn a_value_changes_and_nothing_else() {
        let set = |key: &str, to| applied(&Edit::Set { key: text(key), to }, FILE);
        let expected = FILE.replace("=   4_096 #", "=   60000 #");
        assert_eq!(set("chunk_size", Setting::Integer(60_000)), expected);
        let ports = Setting::List(vec![Setting::Integer(1), Setting::Text(text("[::1]:2"))]);
        let (begin, end) = (FILE.find("[ 1935").unwrap(), FILE.find("  # both").unwrap());
        let expected = format!("{}[1, \"[::1]:2\"]{}", &FILE[..begin], &FILE[end..]);
        assert_eq!(set("listen", ports), expected);
        let expected = FILE.replace("in pages\n", "in pages\nsrs_log_level = \"warn\"\n");
        assert_eq!(set("srs_log_level", Setting::Text(text("warn"))), expected);
        let alone = "[vhost.a] # one\n";
        let to = Setting::Switch(true);
        assert_eq!(applied(&Edit::Set { key: text("pin"), to }, alone), format!("pin = true\n{alone}"));
    }

    #[test]
    fn vhosts_come_go_and_change_their_names() {
        let added = applied(&Edit::AddVhost(text("n.example")), FILE);
        let expected = FILE.replace("# The end.", "\n[vhost.\"n.example\"]\nenabled = true\n# The end.");
        assert_eq!(added, expected);
        assert_eq!(applied(&Edit::AddVhost(text("n")), ""), "[vhost.n]\nenabled = true\n");
        let renamed = applied(&Edit::RenameVhost { from: text("a.example"), to: text("z") }, FILE);
        assert_eq!(renamed, FILE.replace("vhost.\"a.example\"", "vhost.z"));
        let (begin, end) = (FILE.find("\n# Of A").unwrap(), FILE.find("\n[vhost.c]").unwrap());
        let without = FILE[..begin].to_owned() + &FILE[end..];
        assert_eq!(applied(&Edit::RemoveVhost(text("a.example")), FILE), without);
        let enabled = applied(&Edit::EnableVhost(text("a.example")), FILE);
        assert_eq!(enabled, FILE.replace("enabled = false #", "enabled = true #"));
        let disabled = applied(&Edit::DisableVhost(text("c")), FILE);
        assert_eq!(disabled, FILE.replace("[vhost.c]\n", "[vhost.c]\nenabled = false\n"));
    }

    #[test]
    fn other_ways_to_write_vhosts_are_understood() {
        for file in ["vhost = { a = { enabled = false }, b = {} }\n", "vhost.a.enabled = false\n[vhost.b]\n"]
        {
            for edit in [
                Edit::AddVhost(text("n")),
                Edit::RenameVhost { from: text("a"), to: text("n") },
                Edit::RemoveVhost(text("a")),
                Edit::EnableVhost(text("a")),
                Edit::DisableVhost(text("b")),
            ] {
                let written = applied(&edit, file);
                let config =
                    Config::parse("x", &written).unwrap_or_else(|e| panic!("{edit:?}: {e}\n{written}"));
                let named = |name: &str| config.vhosts.get(name).map(|vhost| vhost.enabled);
                let expected = match edit {
                    Edit::AddVhost(_) => [Some(false), Some(true), Some(true)],
                    Edit::RenameVhost { .. } => [None, Some(true), Some(false)],
                    Edit::RemoveVhost(_) => [None, Some(true), None],
                    Edit::EnableVhost(_) => [Some(true), Some(true), None],
                    _ => [Some(false), Some(false), None],
                };
                assert_eq!(["a", "b", "n"].map(named), expected, "{written}");
            }
        }
    }

    #[test]
    fn what_srs_refuses_is_refused() {
        let config = Config::parse("x", FILE).unwrap();
        let mut overrides = Overrides::default();
        overrides.say("chunk_size", "1024", "SRS_CHUNK_SIZE");
        let refused = |edit: Edit| edit.check(&config, &overrides).expect_err("refused").to_string();
        let good = |edit: Edit| edit.check(&config, &overrides).expect("permitted");
        let rename = |from: &str, to: &str| Edit::RenameVhost { from: text(from), to: text(to) };
        good(Edit::AddVhost(text("n")));
        assert_eq!(refused(Edit::AddVhost(text("C"))), "there is a vhost C already");
        assert_eq!(refused(Edit::AddVhost(text("b.example"))), "there is a vhost b.example already");
        good(rename("a.example", "n"));
        assert_eq!(refused(rename("a.example", "c")), "there is a vhost c already");
        assert_eq!(refused(rename("c", "n")), "vhost c is enabled; disable it first");
        good(Edit::RemoveVhost(text("a.example")));
        assert_eq!(refused(Edit::RemoveVhost(text("b.example"))), "there is no vhost b.example");
        good(Edit::EnableVhost(text("a.example")));
        assert_eq!(refused(Edit::EnableVhost(text("c"))), "vhost c is enabled already");
        assert_eq!(refused(Edit::DisableVhost(text("a.example"))), "vhost a.example is disabled already");
        let chunks = Edit::Set { key: text("chunk_size"), to: Setting::Integer(128) };
        assert_eq!(refused(chunks), "chunk_size is set by SRS_CHUNK_SIZE, which no file changes");
        overrides.say("vhost.NAME.enabled", "off", "SRS_VHOST_ENABLED");
        let enable = Edit::EnableVhost(text("a.example")).check(&config, &overrides);
        let expected = "vhost.\"a.example\".enabled is set by SRS_VHOST_ENABLED, which no file changes";
        assert_eq!(enable.expect_err("refused").to_string(), expected);
        assert!(Edit::AddVhost(text("n")).apply("listen = [").is_err());
        assert!(has_key("chunk_size") && !has_key("vhost") && !has_key("chunk_sizes"));
    }

    proptest! {
        #[test]
        fn any_name_and_value_is_read_back(name in "[^/?\\s\\p{Cc}]{1,20}", value in any::<String>(), port in 1..u16::MAX) {
            let to = Setting::List(vec![Setting::Integer(port.into())]);
            let written = applied(&Edit::Set { key: text("listen"), to }, FILE);
            prop_assert_eq!(Config::parse("x", &written).unwrap().listen[0].port(), port);
            let added = applied(&Edit::AddVhost(name.clone()), "");
            prop_assert!(Config::parse("x", &added).unwrap().vhosts.contains_key(&name));
            let level = applied(&Edit::Set { key: text("srs_log_file"), to: Setting::Text(value.clone()) }, "");
            if let Ok(config) = Source::new("x", &level).config(&Overrides::default()) {
                prop_assert_eq!(config.srs_log_file.to_str(), Some(value.as_str()));
            }
        }
    }
}
