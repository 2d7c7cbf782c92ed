//! Reading a file against the schema.
//!
//! serde stops at the first fault and forgets where values stood, so the schema reads the parsed document
//! itself: a `Reader` is one table of it, hands out its keys, notes what is wrong and goes on with the
//! default. What nobody asked for is unknown. An empty document gives the defaults, and asking through it
//! gives the list of all keys.
//!
//! A value is what was said outside the file, else the file's, else that of the table which several share, else the
//! default.

use super::check::{self, ConfigError, Place, Position, Problem, hint, key_text};
use super::overrides::Overrides;
use super::schema::{Config, Reload};
use super::units::{Bad, Unit};
use crate::access::secret::{HIDDEN, Secret};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::LazyLock;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Stands for a vhost's name in the list of all keys.
pub(super) const ANY_NAME: &str = "NAME";

/// What reading a document gave.
pub(super) struct Loaded {
    pub(super) config: Config,
    /// Every value, in the order of the schema.
    pub(super) values: Vec<Value>,
    /// What is wrong.
    pub(super) faults: Vec<ConfigError>,
}

/// A key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// The path of its table.
    pub(super) table: String,
    pub(super) key: &'static str,
    /// As the file would have it, but for secrets.
    pub(super) text: String,
    /// What `text` hides.
    pub(super) hidden: Option<Secret>,
    pub(super) by: By,
    pub(super) reload: Reload,
}

/// Who said a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Nobody.
    Default,
    /// The file, here.
    File(At),
    /// The file, here in a table that several share.
    Shared(At),
    /// A flag or a variable.
    Outside(String),
}

/// A place in the file. Its column would take long to count for each value of a long line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) byte: usize,
}

/// Reads a document, and what is said over it.
pub(super) fn load(source: &str, overrides: &Overrides) -> Loaded {
    let (document, syntax) = DeTable::parse_recoverable(source);
    let mut notes = Notes::new(source, overrides);
    for error in &syntax {
        notes.fault(error.span(), String::new(), Problem::Syntax(error.message().trim().to_owned()));
    }
    let mut config = Config::default();
    // What was saved of a broken document would only yield faults that are none.
    if syntax.is_empty() {
        config = read_table(Path::default(), Some(document.get_ref()), None, &mut notes);
        check::rules(&config, &mut notes);
    }
    let Notes { values, mut faults, .. } = notes;
    faults.sort_by(|a, b| a.place.cmp(&b.place));
    Loaded { config, values, faults }
}

/// A table of the schema.
pub(super) trait Section {
    /// Reads it, asking for each of its keys once.
    fn read(reader: &mut Reader<'_, '_>) -> Self;
}

/// The path of a table or key.
#[derive(Clone, Debug, Default)]
struct Path {
    /// As in messages.
    shown: String,
    /// In the schema: a name of the user's choice is [`ANY_NAME`].
    schema: String,
}

impl Path {
    fn to(&self, name: &str) -> Path {
        Path { shown: join(&self.shown, name), schema: join(&self.schema, name) }
    }

    /// To a table with a name of the user's choice.
    fn to_named(&self, name: &str) -> Path {
        Path { shown: join(&self.shown, &key_text(name)), schema: join(&self.schema, ANY_NAME) }
    }
}

/// One table of the document, absent or not, while it is read.
pub(super) struct Reader<'n, 'd> {
    path: Path,
    table: Option<&'d DeTable<'d>>,
    /// The table that says what this one does not.
    shared: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
    notes: &'n mut Notes<'d>,
}

impl<'d> Reader<'_, 'd> {
    /// The value of a key, else its default; a bad value is noted.
    pub(super) fn key<U: Unit>(
        &mut self,
        name: &'static str,
        reload: Reload,
        unit: U,
        default: U::Value,
    ) -> U::Value {
        let path = self.ask(name, Some(reload));
        let of = |table: Option<&'d DeTable<'d>>| table.and_then(|table| table.get(name));
        let said = self.notes.said(&path, &unit);
        let written = match (of(self.table), of(self.shared)) {
            (Some(value), _) => self.notes.written(&path, &unit, value, By::File),
            (None, Some(value)) => self.notes.written(&path, &unit, value, By::Shared),
            (None, None) => None,
        };
        let (value, by) = said.or(written).unwrap_or((default, By::Default));
        let (table, text, hidden) = (self.path.shown.clone(), unit.show(&value), unit.hidden(&value));
        self.notes.values.push(Value { table, key: name, text, hidden, by, reload });
        value
    }

    /// A table within this one.
    pub(super) fn section<S: Section>(&mut self, name: &'static str) -> S {
        let path = self.ask(name, None);
        let table = self.sub_table(name, &path.shown, &format!("a table, [{}]", path.shown));
        let shared = self.shared.and_then(|shared| shared.get(name)?.get_ref().as_table());
        read_table(path, table, shared, self.notes)
    }

    /// A table that says what those of [`Reader::named_sections`] do not.
    pub(super) fn shared_section<S: Section>(&mut self, name: &'static str) -> S {
        let path = self.ask(name, None);
        let table = self.sub_table(name, &path.shown, &format!("a table, [{}]", path.shown));
        // Its keys are those of the tables that share it: the list of all keys has them there.
        let listing = std::mem::take(&mut self.notes.listing);
        let section = read_table(path, table, None, self.notes);
        self.notes.listing = listing;
        section
    }

    /// A table of tables with names of the user's choice, which `good` judges and `allowed` explains. What they don't
    /// say stands in the table `shared`.
    pub(super) fn named_sections<S: Section>(
        &mut self,
        name: &'static str,
        shared: &'static str,
        allowed: &str,
        good: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, S> {
        let path = self.ask(name, None);
        let shape = format!("tables, [{}.\"name\"]", path.shown);
        let shared = self.table.and_then(|table| table.get(shared)?.get_ref().as_table());
        let mut sections = BTreeMap::new();
        for (key, value) in self.sub_table(name, &path.shown, &shape).into_iter().flat_map(DeTable::iter) {
            let section_name = key.get_ref().as_ref();
            let path = path.to_named(section_name);
            if !good(section_name) {
                self.notes.bad_value(key.span(), path.shown, None, allowed.to_owned());
                continue;
            }
            match value.get_ref().as_table() {
                Some(table) => {
                    self.notes.places.insert(path.shown.clone(), key.span());
                    let section = read_table(path, Some(table), shared, self.notes);
                    sections.insert(section_name.to_owned(), section);
                }
                None => self.notes.bad_value(value.span(), path.shown, Some(value.get_ref()), shape.clone()),
            }
        }
        if self.notes.listing {
            let _: S = read_table(path.to_named(ANY_NAME), None, None, self.notes);
        }
        sections
    }

    fn sub_table(&mut self, name: &str, path: &str, allowed: &str) -> Option<&'d DeTable<'d>> {
        let value = self.table?.get(name)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            let found = Some(value.get_ref());
            self.notes.bad_value(value.span(), path.to_owned(), found, allowed.to_owned());
        }
        table
    }

    /// Notes that the schema has a key or table, and gives its path.
    fn ask(&mut self, name: &'static str, reload: Option<Reload>) -> Path {
        self.known.push(name);
        let path = self.path.to(name);
        if self.notes.listing {
            self.notes.keys.push(SchemaKey { path: path.schema.clone(), reload });
        }
        path
    }
}

/// What is found out while a document is read.
pub(super) struct Notes<'d> {
    source: &'d str,
    /// Where its lines end.
    line_ends: Vec<usize>,
    overrides: &'d Overrides,
    /// Whether [`Notes::keys`] is wanted.
    listing: bool,
    keys: Vec<SchemaKey>,
    values: Vec<Value>,
    places: BTreeMap<String, Range<usize>>,
    /// What was said outside and is bad, told once for all vhosts.
    refused: BTreeSet<String>,
    faults: Vec<ConfigError>,
}

impl<'d> Notes<'d> {
    fn new(source: &'d str, overrides: &'d Overrides) -> Self {
        Self {
            source,
            line_ends: source.match_indices('\n').map(|(at, _)| at).collect(),
            overrides,
            listing: false,
            keys: Vec::new(),
            values: Vec::new(),
            places: BTreeMap::new(),
            refused: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    /// What was said of a key outside the file.
    fn said<U: Unit>(&mut self, path: &Path, unit: &U) -> Option<(U::Value, By)> {
        let said = self.overrides.get(&path.schema)?;
        let value = unit.of_text(&said.text);
        if value.is_none() && self.refused.insert(path.schema.clone()) {
            let found = if unit.hides() { HIDDEN.to_owned() } else { shorten(&format!("{:?}", said.text)) };
            let problem = Problem::Value { found, allowed: unit.allowed() };
            let place = Place::Outside(said.by.clone());
            self.faults.push(ConfigError { place, key: path.schema.clone(), problem });
        }
        Some((value?, By::Outside(said.by.clone())))
    }

    /// What the file has for a key, in a table of its own or in one that several share. What is wrong with the
    /// latter's values is noted where they stand.
    fn written<U: Unit>(
        &mut self,
        path: &Path,
        unit: &U,
        value: &Spanned<DeValue<'_>>,
        by: fn(At) -> By,
    ) -> Option<(U::Value, By)> {
        self.places.insert(path.shown.clone(), value.span());
        let byte = value.span().start;
        let by = by(At { line: self.line_ends.partition_point(|end| *end < byte) + 1, byte });
        let mut bad = Vec::new();
        let parsed = unit.read(value, &mut bad);
        let bad = bad.into_iter().filter(|_| matches!(by, By::File(_)));
        for Bad { span, fault } in bad {
            if unit.hides() {
                let problem = Problem::Value { found: HIDDEN.to_owned(), allowed: unit.allowed() };
                self.fault(Some(span), path.shown.clone(), problem);
                continue;
            }
            match fault {
                Some(fault) => self.bad_text(span, path.shown.clone(), fault),
                None => {
                    self.bad_value(span, path.shown.clone(), Some(value.get_ref()), unit.allowed());
                }
            }
        }
        Some((parsed?, by))
    }

    /// A fault between keys, placed at the first of `paths` that the file has. It is none if one of them
    /// has a bad value, in whose place the default stands.
    pub(super) fn conflict(&mut self, paths: &[&str], text: String) {
        let bad = |e: &ConfigError| {
            matches!(e.problem, Problem::Value { .. } | Problem::Text { .. }) && paths.contains(&&*e.key)
        };
        if self.faults.iter().any(bad) {
            return;
        }
        let found = paths.iter().find_map(|path| Some((*path, self.places.get(*path)?.clone())));
        let (path, span) = match found {
            Some((path, span)) => (path, Some(span)),
            None => (paths.first().copied().unwrap_or_default(), None),
        };
        // The rule speaks of its first key; say so when the fault stands at another.
        let text = match paths.first() {
            Some(first) if *first != path => format!("{first}: {text}"),
            _ => text,
        };
        self.fault(span, path.to_owned(), Problem::Conflict(text));
    }

    fn bad_value(&mut self, span: Range<usize>, key: String, value: Option<&DeValue<'_>>, allowed: String) {
        let found = match value {
            Some(DeValue::Table(_)) => "a table".to_owned(),
            _ => shorten(self.source.get(span.clone()).unwrap_or_default()),
        };
        self.fault(Some(span), key, Problem::Value { found, allowed });
    }

    fn bad_text(&mut self, span: Range<usize>, key: String, fault: String) {
        let found = shorten(self.source.get(span.clone()).unwrap_or_default());
        self.fault(Some(span), key, Problem::Text { found, fault });
    }

    fn fault(&mut self, span: Option<Range<usize>>, key: String, problem: Problem) {
        let position: Option<Position> = span.map(|span| check::position(self.source, &span));
        let place = position.map_or(Place::File, Place::At);
        self.faults.push(ConfigError { place, key, problem });
    }
}

/// A table with no key set: the defaults.
pub(super) fn read_empty<S: Section>() -> S {
    read_table(Path::default(), None, None, &mut Notes::new("", &Overrides::default()))
}

/// A key of the schema, or a table.
pub(super) struct SchemaKey {
    /// Its path; a vhost's name is [`ANY_NAME`].
    pub(super) path: String,
    /// When a change takes effect; None: it is a table.
    pub(super) reload: Option<Reload>,
}

/// All keys and tables of the schema.
pub(super) fn schema_keys() -> &'static [SchemaKey] {
    static KEYS: LazyLock<Vec<SchemaKey>> = LazyLock::new(|| {
        let overrides = Overrides::default();
        let mut notes = Notes { listing: true, ..Notes::new("", &overrides) };
        let _: Config = read_table(Path::default(), None, None, &mut notes);
        notes.keys
    });
    &KEYS
}

fn read_table<'d, S: Section>(
    path: Path,
    table: Option<&'d DeTable<'d>>,
    shared: Option<&'d DeTable<'d>>,
    notes: &mut Notes<'d>,
) -> S {
    let mut reader = Reader { path, table, shared, known: Vec::new(), notes };
    let section = S::read(&mut reader);
    let Reader { path, known, notes, .. } = reader;
    for key in table.into_iter().flat_map(DeTable::keys) {
        let name = key.get_ref().as_ref();
        if !known.contains(&name) {
            let problem = Problem::UnknownKey(hint(name, &known));
            notes.fault(Some(Spanned::span(key)), join(&path.shown, &key_text(name)), problem);
        }
    }
    section
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value as a message quotes it: one line, not too long.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    let mut line: String =
        text.chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests;
