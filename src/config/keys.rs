//! The keys that a configuration names: files are read when it is, by the master, at the start and with each reload; sets
//! behind URLs are added by whoever fetches them.

use super::check::{ConfigError, ConfigErrors, Place, Problem, position, vhost_path};
use super::load::By;
use super::reload::Values;
use super::schema::{Auth, Config};
use super::source::Source;
use super::units::quoted;
use crate::access::jwk::{KeyError, KeySet, SharedKeys};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A longer file is refused: it holds no keys.
const MAX_KEY_FILE_BYTES: u64 = 256 << 10;

/// Why a file's keys are not to be had.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("cannot be read: no regular file")]
    NoFile,
    #[error("longer than {MAX_KEY_FILE_BYTES} bytes")]
    TooLong,
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// The keys of all files and URLs that a configuration names.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    secrets: BTreeMap<PathBuf, Arc<SharedKeys>>,
    public: BTreeMap<PathBuf, Arc<SharedKeys>>,
    fetched: BTreeMap<KeyUrl, Arc<SharedKeys>>,
}

/// Where a set of keys is fetched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyUrl {
    /// The URL.
    pub url: String,
    /// How often.
    pub refresh: Duration,
}

impl KeyUrl {
    /// The one of a vhost.
    fn of(auth: &Auth) -> Option<KeyUrl> {
        let (url, refresh) = (auth.token.jwks_url.clone(), auth.token.jwks_refresh);
        (auth.enabled && !url.is_empty()).then_some(KeyUrl { url, refresh })
    }
}

impl Keys {
    /// The sets that a vhost's tokens are verified with.
    pub fn of(&self, auth: &Auth) -> Vec<Arc<SharedKeys>> {
        let secrets = auth.token.secret_files.iter().filter_map(|path| self.secrets.get(path));
        let public = auth.token.key_files.iter().filter_map(|path| self.public.get(path));
        let fetched = KeyUrl::of(auth).and_then(|url| self.fetched.get(&url));
        secrets.chain(public).chain(fetched).cloned().collect()
    }

    /// Adds the sets that are fetched; `of` gives the one of a URL.
    pub fn add_fetched(&mut self, config: &Config, mut of: impl FnMut(&KeyUrl) -> Arc<SharedKeys>) {
        let urls =
            config.vhosts.values().filter(|vhost| vhost.enabled).filter_map(|vhost| KeyUrl::of(&vhost.auth));
        for url in urls {
            self.fetched.entry(url).or_insert_with_key(&mut of);
        }
    }
}

impl Source {
    /// Reads the files that its configuration names for vhosts whose `auth` is on; all that is wrong comes back at once.
    pub fn keys(&self, config: &Config, values: &Values) -> Result<Keys, ConfigErrors> {
        let mut keys = Keys::default();
        let mut errors: Vec<ConfigError> = Vec::new();
        let vhosts = config.vhosts.iter().filter(|(_, vhost)| vhost.enabled && vhost.auth.enabled);
        for (name, vhost) in vhosts {
            let token = &vhost.auth.token;
            type Reader = fn(&[u8]) -> Result<KeySet, KeyError>;
            let files = [
                ("secret_files", &token.secret_files, &mut keys.secrets, KeySet::of_secret as Reader),
                ("key_files", &token.key_files, &mut keys.public, KeySet::of_file as Reader),
            ];
            for (key, paths, known, read) in files {
                for path in paths {
                    if known.contains_key(path) {
                        continue;
                    }
                    match contents(path).and_then(|bytes| Ok(read(&bytes)?)) {
                        Ok(set) => _ = known.insert(path.clone(), Arc::new(SharedKeys::new(set))),
                        Err(error) => {
                            let table = vhost_path(name, "auth.token");
                            let (found, fault) = (quoted(&path.display().to_string()), error.to_string());
                            let place = place(self.text(), values, &table, key);
                            let problem = Problem::Text { found, fault };
                            errors.push(ConfigError { place, key: format!("{table}.{key}"), problem });
                        }
                    }
                }
            }
        }
        if errors.is_empty() {
            return Ok(keys);
        }
        // What several vhosts share is told once.
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        errors.dedup_by(|a, b| (&a.place, &a.problem) == (&b.place, &b.problem));
        Err(ConfigErrors { file: self.name().to_owned(), errors })
    }
}

/// Where a value stands.
fn place(source: &str, values: &Values, table: &str, key: &str) -> Place {
    match values.0.iter().find(|value| value.table == table && value.key == key).map(|value| &value.by) {
        Some(By::File(at) | By::Shared(at)) => Place::At(position(source, &(at.byte..at.byte))),
        Some(By::Outside(by)) => Place::Outside(by.clone()),
        Some(By::Default) | None => Place::File,
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, FileError> {
    // Opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path)?.is_file() {
        return Err(FileError::NoFile);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_KEY_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_KEY_FILE_BYTES { Err(FileError::TooLong) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::jwk::Algorithm;
    use crate::config::Overrides;

    fn keys(text: &str) -> Result<(Config, Keys), String> {
        let source = Source::new("x.toml", text);
        let (config, values) = source.load(&Overrides::default()).expect("good");
        source.keys(&config, &values).map(|keys| (config, keys)).map_err(|errors| errors.to_string())
    }

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys");

    #[test]
    fn each_vhost_has_the_keys_of_its_files() {
        let table = "enabled = true\npublish = \"token\"\n";
        let text = format!(
            "[vhost.a.auth]\n{table}token.key_files = [\"{FOLDER}/rsa.pub.pem\", \"{FOLDER}/p256.pub.pem\"]\n\
             [vhost.b.auth]\n{table}token.key_files = \"{FOLDER}/p256.pub.pem\"\n\
             [vhost.off]\nenabled = false\nauth = {{ enabled = true, token.key_files = \"/nonexistent\" }}\n\
             [vhost.idle.auth]\ntoken.key_files = \"/nonexistent\"\n"
        );
        let (config, keys) = keys(&text).expect("good keys");
        let count = |vhost: &str, algorithm| {
            let sets = keys.of(&config.vhosts[vhost].auth);
            sets.iter().map(|set| set.current().candidates(algorithm, None).count()).sum::<usize>()
        };
        let counts =
            |vhost| [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256].map(|of| count(vhost, of));
        assert_eq!((counts("a"), counts("b"), counts("off")), ([0, 1, 1], [0, 0, 1], [0, 0, 0]));
    }

    #[test]
    fn a_bad_file_is_a_fault_at_its_key() {
        let text = format!(
            "[vhost_defaults.auth]\nenabled = true\npublish = \"token\"\n  token.key_files = \"/nonexistent\"\n\
             [vhost.a]\n[vhost.b]\n[vhost.\"c.d\".auth]\ntoken.secret_files = [\"{FOLDER}\", \"{FOLDER}/rsa.pub.pem\"]\n"
        );
        let found = keys(&text).expect_err("bad files");
        assert_eq!(
            found.lines().collect::<Vec<_>>(),
            [
                "x.toml:4:21: vhost.a.auth.token.key_files: found \"/nonexistent\": cannot be read: \
                 No such file or directory (os error 2)"
                    .to_owned(),
                format!(
                    "x.toml:8:22: vhost.\"c.d\".auth.token.secret_files: found \"{FOLDER}\": cannot be read: \
                     no regular file"
                ),
                format!(
                    "x.toml:8:22: vhost.\"c.d\".auth.token.secret_files: found \"{FOLDER}/rsa.pub.pem\": a secret \
                     that is a key in PEM or JSON: such a one belongs in key_files"
                ),
            ]
        );
    }
}
