//! Goal: the rules that keep this code base in one piece hold, and a breach is named by file and line.
//! Method: the files of the repository are read as text; the configurations are loaded as the server loads them.

use srs_shard::cli::Exit;
use srs_shard::config::{self, Overrides};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

/// What may stand at the top of the repository; hidden entries, logs and build output aside.
const TOP: [&str; 14] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "conf",
    "deploy",
    "fuzz",
    "loadtest",
    "rustfmt.toml",
    "shards",
    "src",
    "tests",
];
/// Made by building and running, not kept.
const MADE: [&str; 2] = ["target", "objs"];

/// Longer files than this are two files.
const MAX_LINES: usize = 600;
/// Files that are longer, and why.
const LONGER: [(&str, usize, &str); 3] = [
    ("src/rtmp/session/tests.rs", 750, "one table of dialogues"),
    ("src/stats/system.rs", 700, "one reader per file of /proc, and golden texts of each"),
    ("src/web/api/tests.rs", 700, "golden answers of one API"),
];

/// Modules of `src/` in dependency order: a module may use those before it, and itself.
const ORDER: [&str; 16] = [
    "formats", "access", "config", "stats", "logging", "faults", "outbound", "hooks", "rtmp", "http",
    "stream", "caster", "web", "cli", "server", "fuzzing",
];
/// Plain data and decisions: of the server's modules they may use these only.
const PLAIN: [(&str, &[&str]); 8] = [
    ("access", &[]),
    ("config", &["formats", "access"]),
    ("stats", &["formats"]),
    ("logging", &[]),
    ("outbound", &[]),
    ("hooks", &["logging", "outbound"]),
    ("http", &["formats", "config", "stats"]),
    ("cli", &["access", "config"]),
];
/// Modules that may use the engine.
const ON_THE_ENGINE: [&str; 3] = ["caster", "web", "server"];
/// Bytes and time in, events and bytes out: no sockets, files, clocks, threads or executor in these.
const SANS_IO: [&str; 4] = ["formats", "rtmp", "http", "stream"];
const IO_WORDS: [&str; 9] = [
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "std::process::Command",
    "shards::",
];

struct Source {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
}

/// A line of code, its comment taken off.
struct Line<'a> {
    path: &'a str,
    number: usize,
    code: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.number, self.code.trim())
    }
}

impl Source {
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.text.lines().enumerate().map(|(at, line)| Line {
            path: &self.path,
            number: at + 1,
            code: without_comment(line),
        })
    }

    /// The lines before the file's tests, which come last; none of a file that is nothing but tests.
    fn lines_without_tests(&self) -> impl Iterator<Item = Line<'_>> {
        let only_tests = self.path.ends_with("/tests.rs");
        self.lines().take_while(move |line| !only_tests && line.code.trim() != "#[cfg(test)]")
    }

    /// The module of `src/` that the file belongs to.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        Some(inside.split('/').next()?.trim_end_matches(".rs"))
    }
}

fn without_comment(line: &str) -> &str {
    // "://" is a URL in a string.
    let mut from = 0;
    while let Some(found) = line[from..].find("//") {
        let at = from + found;
        if !line[..at].ends_with(':') {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

/// All of our Rust files but this one, whose tables name what they forbid.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for folder in ["src", "shards", "loadtest", "tests", "benches", "fuzz/fuzz_targets"] {
        files(&root().join(folder), "rs", &mut paths);
    }
    paths.sort();
    let sources = paths.into_iter().map(|path| Source {
        text: fs::read_to_string(&path).expect("a source file is text"),
        path: path.strip_prefix(root()).expect("in the repository").to_string_lossy().replace('\\', "/"),
    });
    let sources: Vec<Source> = sources.filter(|source| source.path != "tests/rules.rs").collect();
    assert!(sources.len() > 100, "{} source files found", sources.len());
    sources
}

/// Fails with every breach, one per line.
fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n{}", breaches.join("\n"));
}

/// The modules that a line names by `crate::`; a list in braces counts in full.
fn named_modules(code: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = |text: &str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => named.push(&rest[..word(rest)]),
            Some(list) => {
                let mut depth = 0;
                for part in list.split_inclusive([',', '{', '}']) {
                    let part_word = part.trim_start();
                    if depth == 0 && word(part_word) > 0 {
                        named.push(&part_word[..word(part_word)]);
                    }
                    match part.chars().last() {
                        Some('{') => depth += 1,
                        Some('}') => depth -= 1,
                        _ => {}
                    }
                }
            }
        }
    }
    named.retain(|name| !name.is_empty());
    named
}

fn may_use(module: &str, used: &str) -> bool {
    if module == used {
        return true;
    }
    if let Some((_, allowed)) = PLAIN.iter().find(|(name, _)| *name == module) {
        return allowed.contains(&used);
    }
    let place = |name: &str| ORDER.iter().position(|m| *m == name);
    matches!((place(module), place(used)), (Some(mine), Some(its)) if its < mine)
}

#[test]
fn modules_use_only_what_is_before_them() {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    for source in &sources() {
        let Some(module) = source.module().filter(|m| !["lib", "main"].contains(m)) else { continue };
        seen.insert(module.to_owned());
        if !ORDER.contains(&module) {
            breaches.push(format!("{}: module {module} has no place in ORDER of this test", source.path));
            continue;
        }
        for line in source.lines() {
            let readable = !line.code.contains("crate::*") && !line.code.ends_with("crate::{");
            assert!(readable, "{line}: one `use` per module, by name, so that this test can read it");
            for used in named_modules(line.code) {
                if ORDER.contains(&used) && !may_use(module, used) {
                    breaches.push(format!("{line}: {module} must not know {used}"));
                }
            }
            let engine = line.code.contains("shards::") && !line.code.contains("::shards::");
            if engine && !ON_THE_ENGINE.contains(&module) {
                breaches.push(format!("{line}: {module} must not know the engine"));
            }
        }
    }
    assert_none("formats <- rtmp http <- stream <- caster <- web <- server", &breaches);
    let gone: Vec<&&str> = ORDER.iter().filter(|module| !seen.contains(**module)).collect();
    assert!(gone.is_empty(), "in ORDER, but not in src/: {gone:?}");
}

#[test]
fn the_order_is_read_from_use_lines() {
    assert_eq!(named_modules("use crate::formats::flv::{Role, inspect};"), ["formats"]);
    assert_eq!(
        named_modules("use crate::{formats::{flv, aac}, web, stats::reason};"),
        ["formats", "web", "stats"]
    );
    assert_eq!(named_modules("    hub: &crate::stream::hub::Hub<crate::web::X>,"), ["stream", "web"]);
    assert_eq!(named_modules("pub(crate) fn f() { other_crate::web::x() }"), [""; 0]);
    assert!(may_use("web", "http") && may_use("rtmp", "config") && may_use("server", "cli"));
    assert!(!may_use("http", "web") && !may_use("stats", "stream") && !may_use("formats", "rtmp"));
    assert_eq!(without_comment("a(); // crate::web"), "a(); ");
    assert_eq!(without_comment(r#"a("rtmp://h/x"); // b"#), r#"a("rtmp://h/x"); "#);
}

#[test]
fn protocols_and_stream_core_do_no_io() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|s| s.module().is_some_and(|m| SANS_IO.contains(&m))) {
        for line in source.lines_without_tests() {
            if let Some(word) = IO_WORDS.iter().find(|word| line.code.contains(**word)) {
                breaches.push(format!("{line}: {word}"));
            }
        }
    }
    assert_none("time and bytes are arguments there", &breaches);
}

#[test]
fn only_the_engine_names_glommio() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|s| !s.path.starts_with("shards/")) {
        let lines = source.lines();
        breaches.extend(
            lines.filter(|l| l.code.contains("glommio::") && !l.code.contains('"')).map(|l| l.to_string()),
        );
    }
    for manifest in ["Cargo.toml", "loadtest/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).expect("a manifest");
        let mut table = "";
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                table = line;
            } else if line.starts_with("glommio") && table != "[workspace.dependencies]" {
                breaches.push(format!("{manifest}: {table} {line}"));
            }
        }
    }
    assert_none("glommio is the business of shards/ alone", &breaches);
}

#[test]
fn unsafe_stays_in_the_engine() {
    let keyword = |code: &str| {
        code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == "unsafe")
    };
    let mut breaches = Vec::new();
    for source in &sources() {
        if source.path.starts_with("shards/") {
            continue;
        }
        breaches.extend(source.lines().filter(|l| keyword(l.code)).map(|l| l.to_string()));
    }
    assert_none("unsafe code belongs to shards/", &breaches);
}

#[test]
fn nothing_is_left_to_be_done_later() {
    let macros = ["todo!", "unimplemented!", "dbg!"];
    let mut breaches = Vec::new();
    for source in &sources() {
        breaches.extend(
            source.lines().filter(|l| macros.iter().any(|m| l.code.contains(m))).map(|l| l.to_string()),
        );
    }
    assert_none("no stubs", &breaches);
}

#[test]
fn the_readme_has_every_exit_code() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let table = readme.lines().skip_while(|line| !line.starts_with("| Exit code |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let told = rows.flat_map(|row| row.split('|').nth(1).unwrap_or_default().split(','));
    let told: Vec<u8> = told.map(|code| code.trim().parse().expect("a code")).collect();
    assert_eq!(told, Exit::ALL.map(|exit| exit as u8));
}

/// `srs_log_levels` knows every module that logs, and none that is not there.
#[test]
fn modules_that_log_have_levels() {
    let macros = ["error!", "warn!", "info!", "debug!", "trace!", "log!"].map(|name| format!("log::{name}("));
    let mut logging = BTreeSet::from(["rtmp".to_owned(), "http".to_owned()]); // their shells, in server
    for source in &sources() {
        let module = match source.path.strip_prefix("shards/src/") {
            Some(_) => Some("shards"),
            None => source.module().filter(|module| !["lib", "main", "faults"].contains(module)),
        };
        let logs = |line: Line<'_>| macros.iter().any(|name| line.code.contains(name));
        if let Some(module) = module
            && source.lines_without_tests().any(logs)
        {
            logging.insert(module.to_owned());
        }
    }
    assert_eq!(config::log_level::LOG_MODULES.map(str::to_owned).to_vec(), Vec::from_iter(logging));
}

#[test]
fn files_are_short() {
    let mut breaches = Vec::new();
    let mut sources = sources();
    let mut scripts = Vec::new();
    files(&root().join("src/web/page"), "js", &mut scripts);
    for path in scripts {
        let text = fs::read_to_string(&path).expect("a script is text");
        sources
            .push(Source { path: path.strip_prefix(root()).expect("ours").to_string_lossy().into(), text });
    }
    for source in &sources {
        let lines = source.text.lines().count();
        let listed = LONGER.iter().find(|(path, ..)| *path == source.path);
        let limit = listed.map_or(MAX_LINES, |(_, limit, _)| *limit);
        if lines > limit {
            breaches.push(format!("{}: {lines} lines, at most {limit}", source.path));
        } else if listed.is_some() && lines <= MAX_LINES {
            breaches.push(format!("{}: {lines} lines; no longer an exception", source.path));
        }
    }
    assert_none("long files are split", &breaches);
    let gone = |path: &str| !root().join(path).exists();
    assert_none(
        "listed but gone",
        &LONGER.iter().map(|l| l.0.to_owned()).filter(|p| gone(p)).collect::<Vec<_>>(),
    );
}

#[test]
fn every_example_configuration_loads() {
    let mut paths = Vec::new();
    files(&root().join("conf"), "toml", &mut paths);
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let source = config::Source::file(&path).unwrap_or_else(|errors| panic!("{errors}"));
        let config = source.config(&Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.warnings(), [""; 0], "{}", path.display());
    }
}

#[test]
fn the_top_of_the_repository_is_as_agreed() {
    let entries = fs::read_dir(root()).expect("the repository");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let strangers: Vec<String> = names
        .filter(|name| !name.starts_with('.') && !name.ends_with(".log"))
        .filter(|name| !TOP.contains(&name.as_str()) && !MADE.contains(&name.as_str()))
        .collect();
    assert_none("not in the agreed layout", &strangers);
    let missing: Vec<&&str> = TOP.iter().filter(|name| !root().join(name).exists()).collect();
    assert!(missing.is_empty(), "missing at the top: {missing:?}");
}

#[test]
fn ci_runs_the_readme_s_test_command() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let ci = read(".ci/run");
    let command = ci.lines().rfind(|line| !line.is_empty()).and_then(|line| line.strip_prefix("exec "));
    let command = command.expect(".ci/run ends with exec COMMAND");
    let readme = read("README.md");
    assert!(readme.lines().any(|line| line.trim() == command), "README.md does not hold `{command}`");
}

#[test]
fn the_map_s_functions_are_in_the_readme_s_files() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let rows: Vec<&str> =
        readme.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")).collect();
    assert!(rows.len() >= 6, "a packet's six steps: {rows:?}");
    let mut breaches = Vec::new();
    for row in rows {
        let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let mut text = String::new();
        for word in quoted {
            if word.ends_with(".rs") {
                text = fs::read_to_string(root().join(word)).unwrap_or_default();
                if text.is_empty() {
                    breaches.push(format!("{word}: no such file"));
                }
            } else if let Some(function) = word.strip_suffix("()") {
                let name = function.rsplit("::").next().unwrap_or(function);
                if !text.contains(&format!("fn {name}(")) && !text.contains(&format!("fn {name}<")) {
                    breaches.push(format!("{word}: not in the file named before it: {row}"));
                }
            }
        }
    }
    assert_none("the README's picture of a packet's way", &breaches);
}

#[test]
fn links_of_the_documents_lead_somewhere() {
    let mut paths = vec![];
    for folder in [".", "deploy", "benches"] {
        let entries = fs::read_dir(root().join(folder)).expect("a folder of ours");
        let found = entries.map(|entry| entry.expect("an entry").path());
        paths.extend(found.filter(|path| path.extension().is_some_and(|e| e == "md")));
    }
    assert!(paths.len() >= 3, "{paths:?}");
    let mut breaches = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a document is text");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        let ours = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
        let gone = ours.filter(|link| !path.with_file_name(link).exists());
        breaches.extend(gone.map(|link| format!("{}: {link}", path.display())));
    }
    assert_none("dead links", &breaches);
}
