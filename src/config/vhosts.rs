//! Which vhost serves a name: the one of that name or with that alias, else the default one.

use super::schema::{DEFAULT_VHOST, Vhost};
use std::collections::BTreeMap;
use std::ops::Deref;

/// The vhosts of a configuration by their names, and what else they are called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vhosts {
    tables: BTreeMap<String, Vhost>,
    /// Names and aliases in lower case, and the name of the table: they are names of hosts, which have no case
    /// (RFC 3986 §3.2.2).
    names: BTreeMap<String, String>,
}

impl Vhosts {
    /// The vhost that serves a name, with the name under which its streams are registered: names without a table
    /// of their own share the streams of [`DEFAULT_VHOST`], as in SRS. `None` if there is no such vhost, or if the
    /// one found is disabled: no client of it falls through to the default.
    pub fn resolve(&self, name: &str) -> Option<(&str, &Vhost)> {
        self.named(name).or_else(|| self.named(DEFAULT_VHOST)).filter(|(_, vhost)| vhost.enabled)
    }

    /// The vhost of this very name or alias, enabled or not.
    pub fn named(&self, name: &str) -> Option<(&str, &Vhost)> {
        let exact = || self.tables.get_key_value(self.names.get(&name.to_ascii_lowercase())?);
        self.tables.get_key_value(name).or_else(exact).map(|(name, vhost)| (name.as_str(), vhost))
    }
}

impl Deref for Vhosts {
    type Target = BTreeMap<String, Vhost>;

    fn deref(&self) -> &BTreeMap<String, Vhost> {
        &self.tables
    }
}

impl From<BTreeMap<String, Vhost>> for Vhosts {
    fn from(tables: BTreeMap<String, Vhost>) -> Self {
        let aliases =
            tables.iter().flat_map(|(name, vhost)| vhost.aliases.iter().map(move |alias| (alias, name)));
        // A name beats an alias; a configuration with both is refused.
        let all = aliases.chain(tables.keys().map(|name| (name, name)));
        let names = all.map(|(name, of)| (name.to_ascii_lowercase(), of.clone())).collect();
        Self { tables, names }
    }
}

impl FromIterator<(String, Vhost)> for Vhosts {
    fn from_iter<I: IntoIterator<Item = (String, Vhost)>>(tables: I) -> Self {
        tables.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl<const N: usize> From<[(String, Vhost); N]> for Vhosts {
    fn from(tables: [(String, Vhost); N]) -> Self {
        tables.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vhosts: &[(&str, bool, &[&str])]) -> Vhosts {
        let vhost = |(name, enabled, aliases): &(&str, bool, &[&str])| {
            let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
            ((*name).to_owned(), Vhost { enabled: *enabled, aliases, ..Vhost::default() })
        };
        vhosts.iter().map(vhost).collect()
    }

    #[test]
    fn a_vhost_is_the_exact_one_else_the_default_else_none() {
        let all = with(&[("a.example", true, &[]), ("off.example", false, &[]), (DEFAULT_VHOST, true, &[])]);
        let name = |n| all.resolve(n).map(|(name, _)| name.to_owned());
        assert_eq!(name("a.example").as_deref(), Some("a.example"));
        assert_eq!(name("b.example").as_deref(), Some(DEFAULT_VHOST));
        assert_eq!(name("").as_deref(), Some(DEFAULT_VHOST));
        assert_eq!(name("A.example").as_deref(), Some("a.example"), "names of hosts have no case");
        assert_eq!(name("off.example"), None, "a disabled vhost does not fall through");
        assert_eq!(name("OFF.example"), None);
        assert!(with(&[("a.example", true, &[])]).resolve("b.example").is_none());
        let all = with(&[("a.example", true, &[]), (DEFAULT_VHOST, false, &[])]);
        assert!(all.resolve("b.example").is_none());
        assert!(all.resolve("a.example").is_some());
    }

    #[test]
    fn an_alias_is_its_vhost() {
        let all = with(&[("a.example", true, &["www.A.example", "10.0.0.1"]), (DEFAULT_VHOST, true, &[])]);
        let name = |n| all.resolve(n).map(|(name, _)| name);
        assert_eq!(name("WWW.a.example"), Some("a.example"));
        assert_eq!(name("10.0.0.1"), Some("a.example"));
        assert_eq!(name("10.0.0.2"), Some(DEFAULT_VHOST));
        let all = with(&[("a.example", false, &["b.example"]), (DEFAULT_VHOST, true, &[])]);
        assert_eq!(all.resolve("b.example"), None, "disabled under all its names");
    }
}
