//! From an `srs.conf` to our TOML: `srs-shard import`.
//!
//! Names and nesting are the same, so what a directive becomes is asked of the schema: is there such a key, and does it
//! take these words? What it does not take stands as a comment where it would have been. Spec: the
//! directives of SRS 3.0's `full.conf`, the older spellings that SRS converts itself, and `include` of SRS 5.

mod syntax;

use super::check::{Hint, Problem, hint, key_text};
use super::load::{ANY_NAME, By, Loaded, Value, load, schema_keys};
use super::overrides::Overrides;
use super::units::quoted;
use std::fmt::Write;
pub use syntax::SyntaxError;
use syntax::{Directive, parse};

/// Directives of SRS 1 and 2 within a vhost, and where they are since.
const MOVED: &[(&str, &[&str])] = &[
    ("atc", &["play", "atc"]),
    ("atc_auto", &["play", "atc_auto"]),
    ("debug_srs_upnode", &["cluster", "debug_srs_upnode"]),
    ("gop_cache", &["play", "gop_cache"]),
    ("http", &["http_static"]),
    ("mix_correct", &["play", "mix_correct"]),
    ("mode", &["cluster", "mode"]),
    ("mw_latency", &["play", "mw_latency"]),
    ("origin", &["cluster", "origin"]),
    ("publish_1stpkt_timeout", &["publish", "firstpkt_timeout"]),
    ("publish_normal_timeout", &["publish", "normal_timeout"]),
    ("queue_length", &["play", "queue_length"]),
    ("refer", &["refer", "all"]),
    ("refer_play", &["refer", "play"]),
    ("refer_publish", &["refer", "publish"]),
    ("reduce_sequence_header", &["play", "reduce_sequence_header"]),
    ("send_min_interval", &["play", "send_min_interval"]),
    ("time_jitter", &["play", "time_jitter"]),
    ("token_traverse", &["cluster", "token_traverse"]),
    ("vhost", &["cluster", "vhost"]),
];

/// Directives that may come several times, each with an item of a list.
const REPEATED: &[&str] = &["allow", "deny"];

/// Why a directive is left out that was there before.
const TWICE: &str = "it is there already, and the first one counts";

/// What comes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Our TOML.
    pub toml: String,
    /// Directives that are comments there.
    pub left_out: usize,
}

/// Turns the text of an `srs.conf` into TOML; `include` gives the text of a file that it includes.
pub fn import(
    file: &str,
    text: &str,
    include: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<Imported, SyntaxError> {
    let directives = parse(file, text, include)?;
    let mut importer = Importer { file, tables: vec![Table::default()], left_out: 0 };
    importer.block(0, &directives);
    Ok(Imported { toml: importer.toml(), left_out: importer.left_out })
}

/// A table of ours, as it comes together.
#[derive(Debug, Default)]
struct Table {
    /// Its path, as TOML has it and as the schema does.
    path: Vec<String>,
    schema: Vec<String>,
    keys: Vec<&'static str>,
    /// Its block was there.
    opened: bool,
    lines: Vec<String>,
}

impl Table {
    /// A key's value; another one of a list is added to it.
    fn set(&mut self, name: &'static str, text: String) {
        let begin = format!("{name} = [");
        let before = self.lines.iter_mut().find(|line| line.starts_with(&begin) && REPEATED.contains(&name));
        match (before, text.strip_prefix('[')) {
            (Some(line), Some(more)) => *line = format!("{}, {more}", line.trim_end_matches(']')),
            _ => self.lines.push(format!("{name} = {text}")),
        }
        self.keys.push(name);
    }
}

struct Importer<'f> {
    file: &'f str,
    tables: Vec<Table>,
    left_out: usize,
}

impl Importer<'_> {
    /// The directives of a block, which is one of our tables.
    fn block(&mut self, table: usize, directives: &[Directive]) {
        for directive in directives {
            match &directive.block {
                Some(block) if directive.name == "vhost" && table == 0 => match &directive.args[..] {
                    [name] => {
                        if let Some(why) = vhost_fault(name) {
                            self.leave_out(table, directive, &why);
                            continue;
                        }
                        let vhost = self.table(0, "vhost", Some(name));
                        self.open(table, vhost, directive, block);
                    }
                    _ => self.leave_out(table, directive, "a vhost has one name"),
                },
                Some(block) => self.inner(table, directive, block),
                None => self.leaf(table, directive),
            }
        }
    }

    /// A block that is a table of ours.
    fn open(&mut self, within: usize, table: usize, directive: &Directive, block: &[Directive]) {
        if std::mem::replace(&mut self.tables[table].opened, true) {
            return self.leave_out(within, directive, TWICE);
        }
        // SRS asks for the password whatever is wanted of its API.
        if self.tables[table].schema == ["http_api", "auth"] {
            self.tables[table].set("reading", "true".to_owned());
        }
        self.block(table, block);
    }

    /// A block within a block.
    fn inner(&mut self, table: usize, directive: &Directive, block: &[Directive]) {
        let name = match directive.name.as_str() {
            "http_stream" if table == 0 => "http_server",
            name => name,
        };
        // The latency of "mr" has another name since.
        if name == "mr" && self.is_vhost(table) {
            return self.leave_out(table, directive, "reads are merged as they come");
        }
        let known = self.schema_of(table, name);
        match known {
            Some((name, true)) if directive.args.is_empty() => {
                let inner = self.table(table, name, None);
                self.open(table, inner, directive, block);
            }
            _ => {
                let why = self.why_not(table, name);
                self.leave_out(table, directive, &why);
            }
        }
    }

    /// A directive with values.
    fn leaf(&mut self, table: usize, directive: &Directive) {
        if self.is_vhost(table)
            && let Some((_, [moved @ .., name])) = MOVED.iter().find(|(old, _)| *old == directive.name)
        {
            let to = moved.iter().try_fold(table, |at, name| {
                self.schema_of(at, name).filter(|(_, is_table)| *is_table)?;
                Some(self.table(at, name, None))
            });
            return match to {
                Some(to) => {
                    // It had no switch.
                    if moved.first() == Some(&"refer") && !self.tables[to].keys.contains(&"enabled") {
                        self.tables[to].set("enabled", "true".to_owned());
                    }
                    self.value(to, name, directive);
                }
                None => {
                    let why = self.why_not(table, moved.first().unwrap_or(name));
                    self.leave_out(table, directive, &why);
                }
            };
        }
        self.value(table, &directive.name, directive);
    }

    fn value(&mut self, table: usize, name: &str, directive: &Directive) {
        let Some((name, false)) = self.schema_of(table, name) else {
            let why = self.why_not(table, name);
            return self.leave_out(table, directive, &why);
        };
        if self.tables[table].keys.contains(&name) && !REPEATED.contains(&name) {
            return self.leave_out(table, directive, TWICE);
        }
        match judge(&self.schema_path(table, name), &directive.args) {
            Ok(text) => self.tables[table].set(name, text),
            Err(why) => self.leave_out(table, directive, &why),
        }
    }

    /// A table, new or not.
    fn table(&mut self, within: usize, name: &str, own: Option<&str>) -> usize {
        let Table { path, schema, .. } = &self.tables[within];
        let (mut path, mut schema) = (path.clone(), schema.clone());
        path.push(key_text(name));
        schema.push(name.to_owned());
        if let Some(own) = own {
            path.push(key_text(own));
            schema.push(ANY_NAME.to_owned());
        }
        let found = self.tables.iter().position(|table| table.path == path);
        found.unwrap_or_else(|| {
            self.tables.push(Table { path, schema, ..Table::default() });
            self.tables.len() - 1
        })
    }

    fn is_vhost(&self, table: usize) -> bool {
        matches!(&self.tables[table].schema[..], [vhost, _] if vhost == "vhost")
    }

    /// A key of a table of the schema, and whether it is a table itself.
    fn schema_of(&self, table: usize, name: &str) -> Option<(&'static str, bool)> {
        let path = self.schema_path(table, name);
        let key = schema_keys().iter().find(|key| key.path == path)?;
        Some((key.path.rsplit('.').next().unwrap_or(&key.path), key.reload.is_none()))
    }

    fn schema_path(&self, table: usize, name: &str) -> String {
        let path = self.tables[table].schema.iter().map(String::as_str).chain([name]);
        path.collect::<Vec<_>>().join(".")
    }

    fn why_not(&self, table: usize, name: &str) -> String {
        match hint(name, &[]) {
            Hint::SrsOnly => "this version does not act on it".to_owned(),
            Hint::Elsewhere(tables) if self.schema_of(table, name).is_none() => {
                format!("it belongs {}", tables.join(" or "))
            }
            Hint::Elsewhere(_) => "it takes no block, or no name".to_owned(),
            _ => "no directive of SRS 3".to_owned(),
        }
    }

    /// A directive as a comment.
    fn leave_out(&mut self, table: usize, directive: &Directive, why: &str) {
        let Directive { file, line, .. } = directive;
        let lines = &mut self.tables[table].lines;
        lines.push(format!("# {}:{line}: left out, {why}:", comment(file)));
        let mut text = String::new();
        show(directive, 0, &mut text);
        lines.extend(text.lines().map(|line| format!("#     {line}")));
        self.left_out += 1;
    }

    fn toml(&self) -> String {
        let mut toml = format!(
            "# From {}, by srs-shard {}. A key that is not here has its default: SRS's, but for daemon,\n\
             # max_connections and play.mw_latency. conf/srs-shard.toml has them all.\n",
            comment(self.file),
            crate::VERSION
        );
        for table in &self.tables {
            if !table.path.is_empty() {
                let _ = write!(toml, "\n[{}]\n", table.path.join("."));
            }
            for line in &table.lines {
                let _ = writeln!(toml, "{line}");
            }
        }
        toml
    }
}

/// Why a name is none for a vhost.
fn vhost_fault(name: &str) -> Option<String> {
    let loaded = load(&format!("[vhost.{}]", key_text(name)), &Overrides::default());
    loaded.faults.into_iter().next().map(|fault| match fault.problem {
        Problem::Value { allowed, .. } => format!("allowed: {allowed}"),
        problem => problem.to_string(),
    })
}

/// The words of a directive as the value of a key, in TOML; or why they are none.
fn judge(path: &str, words: &[String]) -> Result<String, String> {
    const VHOST: &str = "[vhost.x]";
    let read = |text: &str| {
        let mut overrides = Overrides::default();
        overrides.say(path, text, "");
        load(VHOST, &overrides)
    };
    let said = |loaded: &Loaded| loaded.values.iter().position(|value| matches!(value.by, By::Outside(_)));
    let text_at = |loaded: &Loaded, at: Option<usize>| Some(text_of(loaded.values.get(at?)?, words));
    let loaded = read(&words.join(" "));
    if let Some(text) = text_at(&loaded, said(&loaded)) {
        return Ok(text);
    }
    // A switch: SRS looks at the word that changes it only, any other leaves it as it is.
    let on = read("on");
    if text_at(&on, said(&on)).as_deref() == Some("true")
        && let Some(default) = text_at(&load(VHOST, &Overrides::default()), said(&on))
    {
        return Ok(default);
    }
    Err(match loaded.faults.into_iter().next().map(|fault| fault.problem) {
        Some(Problem::Value { allowed, .. }) => format!("allowed: {allowed}"),
        Some(problem) => problem.to_string(),
        None => "it takes no value".to_owned(),
    })
}

/// A value that is these words, as the file would have it, secrets included: there are no blanks in those.
fn text_of(value: &Value, words: &[String]) -> String {
    let quoted_words = || words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ");
    match &value.hidden {
        None => value.text.clone(),
        Some(_) if value.text.starts_with('[') => format!("[{}]", quoted_words()),
        Some(_) => quoted_words(),
    }
}

/// A directive as SRS would have it.
fn show(directive: &Directive, depth: usize, into: &mut String) {
    let words = std::iter::once(&directive.name).chain(&directive.args);
    let words = words.map(|word| comment(word)).collect::<Vec<_>>().join(" ");
    let _ = write!(into, "{:1$}{words}", "", depth * 4);
    match &directive.block {
        None => into.push_str(";\n"),
        Some(block) => {
            into.push_str(" {\n");
            block.iter().for_each(|directive| show(directive, depth + 1, into));
            let _ = writeln!(into, "{:1$}}}", "", depth * 4);
        }
    }
}

/// A word as it may stand in a comment.
fn comment(word: &str) -> String {
    let plain = !word.chars().any(|c| c.is_control() || c.is_whitespace());
    if plain { word.to_owned() } else { quoted(word) }
}

#[cfg(test)]
mod tests;
