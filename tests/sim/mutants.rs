//! Whether the simulation sees anything at all: rules of the core are broken on purpose, one at a time, in a
//! copy of the tree, and each must be caught within 1000 seeds.
//!
//! `cargo test --test sim -- --ignored --nocapture` does so; `SIM_MUTANT=credit` only with those whose rule
//! names that. The copy is built once, with a switch at every place to be broken. What stands at such a place
//! must be in its file exactly once: that is looked at in every test run, so that the list does not rot.

mod list;

use list::MUTANTS;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Seeds within which each must be caught.
const SEEDS: u32 = 1_000;
/// A broken core may also never come to rest.
const PATIENCE: Duration = Duration::from_secs(600);

/// Stands for the switch in what is put at a place.
const SWITCH: &str = "BROKEN";
/// What the crate's root has more in the copy.
const SWITCHES: &str = r#"
/// Whether the rule of this number is broken.
fn broken(number: usize) -> bool {
    static WHICH: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    *WHICH.get_or_init(|| std::env::var("SIM_BROKEN").ok()?.parse().ok()) == Some(number)
}
"#;

/// A rule, and how to break it.
struct Mutant {
    rule: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

impl Mutant {
    /// The text of its file with the place behind the switch of this number.
    fn applied(&self, text: &str, number: usize) -> String {
        let places = text.matches(self.from).count();
        assert_eq!(places, 1, "{}: {:?} is to be there once, for: {}", self.file, self.from, self.rule);
        assert!(self.to.contains(SWITCH), "{}: there is no switch", self.rule);
        text.replace(self.from, &self.to.replace(SWITCH, &format!("crate::broken({number})")))
    }
}

/// Breaks all rules in a tree, each behind its switch.
fn break_all(tree: &Path) {
    for (number, mutant) in MUTANTS.iter().enumerate() {
        let file = tree.join(mutant.file);
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", mutant.file));
        fs::write(&file, mutant.applied(&text, number)).expect("a copy of the tree");
    }
    let root = tree.join("src/lib.rs");
    let text = fs::read_to_string(&root).expect("the crate's root");
    fs::write(root, text + SWITCHES).expect("a copy of the tree");
    // Nothing here needs the binary.
    fs::remove_file(tree.join("src/main.rs")).expect("a copy of the tree");
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_mutation_still_applies() {
    for mutant in MUTANTS {
        let text = fs::read_to_string(repository().join(mutant.file)).unwrap_or_default();
        mutant.applied(&text, 0);
    }
}

#[test]
#[ignore = "a build of its own, and a run for each"]
fn every_broken_rule_is_caught() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let (tree, target) = (place.join("tree"), place.join("target"));
    copy(repository(), &tree).expect("a copy of the tree");
    break_all(&tree);
    let built = cargo(&tree, &target).arg("--no-run").output().expect("cargo");
    assert!(built.status.success(), "they must build:\n{}", String::from_utf8_lossy(&built.stderr));
    let chosen = std::env::var("SIM_MUTANT").unwrap_or_default();
    assert_eq!(caught(cargo(&tree, &target), &target), None, "with no rule broken all must be well");
    let mut missed = Vec::new();
    for (number, mutant) in MUTANTS.iter().enumerate().filter(|(_, mutant)| mutant.rule.contains(&chosen)) {
        let mut run = cargo(&tree, &target);
        run.env("SIM_BROKEN", number.to_string());
        let caught = caught(run, &target);
        let said = caught.as_deref().unwrap_or("NOT CAUGHT");
        writeln!(io::stderr(), "{}: {said}", mutant.rule).expect("stderr");
        if caught.is_none() {
            missed.push(mutant.rule);
        }
    }
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:#?}");
}

fn cargo(tree: &Path, target: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(tree).env("CARGO_TARGET_DIR", target).args(["test", "--quiet", "--test", "sim"]);
    command.env("SIM_SEEDS", SEEDS.to_string()).env("SIM_BRIEF", "1");
    command.env_remove("SIM_SEED").env_remove("SIM_FIRST");
    command
}

/// Runs the simulation; what it caught.
fn caught(mut run: Command, target: &Path) -> Option<String> {
    let log = target.join("mutant.log");
    let output = fs::File::create(&log).expect("a log");
    run.arg("whatever_happens").stdin(Stdio::null());
    run.stderr(output.try_clone().expect("a log")).stdout(output);
    let mut run = run.spawn().expect("cargo");
    let began = Instant::now();
    let status = loop {
        match run.try_wait().expect("a child") {
            Some(status) => break status,
            None if began.elapsed() > PATIENCE => {
                run.kill().expect("a child");
                run.wait().expect("a child");
                return Some("it never ends".to_owned());
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    };
    let said = fs::read_to_string(&log).expect("a log");
    let story = said.lines().find(|line| line.starts_with("seed ") && line.contains(" fails: "));
    match (status.success(), story) {
        (true, _) => None,
        (false, Some(story)) => Some(story.chars().take(160).collect()),
        (false, None) => panic!("it failed without a story:\n{said}"),
    }
}

/// Makes `to` the same as `from`, hidden files and build output aside; files that are the same are not touched,
/// so that only what changed is built again.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with('.') || name == "target" || name == "objs" {
            continue;
        }
        let copied: PathBuf = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy(&source, &copied)?;
        } else {
            let bytes = fs::read(&source)?;
            if fs::read(&copied).ok().as_ref() != Some(&bytes) {
                fs::write(&copied, bytes)?;
            }
        }
    }
    Ok(())
}
