//! Whether the simulation sees anything at all: rules of the core are broken on purpose, one at a time, in a
//! copy of the tree, and each must be caught within 1000 seeds.
//!
//! `cargo test --test sim -- --ignored --nocapture` breaks all of them, which takes a build each;
//! `SIM_MUTANT=credit` only those whose rule names that. What a mutation replaces must be in its file exactly
//! once: that is looked at in every test run, so that the list does not rot.

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

/// A rule, and how to break it.
struct Mutant {
    rule: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

impl Mutant {
    /// The file with the rule broken.
    fn applied(&self, tree: &Path) -> String {
        let text = fs::read_to_string(tree.join(self.file)).unwrap_or_else(|e| panic!("{}: {e}", self.file));
        let places = text.matches(self.from).count();
        assert_eq!(places, 1, "{}: {:?} is to be there once, for: {}", self.file, self.from, self.rule);
        text.replace(self.from, self.to)
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_mutation_still_applies() {
    for mutant in MUTANTS {
        mutant.applied(repository());
    }
}

#[test]
#[ignore = "a build for each"]
fn every_broken_rule_is_caught() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutants");
    let (tree, target) = (place.join("tree"), place.join("target"));
    let chosen = std::env::var("SIM_MUTANT").unwrap_or_default();
    let mut missed = Vec::new();
    for mutant in MUTANTS.iter().filter(|mutant| mutant.rule.contains(&chosen)) {
        copy(repository(), &tree).expect("a copy of the tree");
        // Nothing here needs the binary.
        fs::remove_file(tree.join("src/main.rs")).expect("a copy of the tree");
        fs::write(tree.join(mutant.file), mutant.applied(repository())).expect("a mutation");
        let caught = caught(&tree, &target);
        let said = caught.as_deref().unwrap_or("NOT CAUGHT");
        writeln!(io::stderr(), "{}: {said}", mutant.rule).expect("stderr");
        if caught.is_none() {
            missed.push(mutant.rule);
        }
    }
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:#?}");
}

/// Builds and runs a broken tree; what caught it.
fn caught(tree: &Path, target: &Path) -> Option<String> {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(tree).env("CARGO_TARGET_DIR", target).env("SIM_SEEDS", SEEDS.to_string());
        command
            .env_remove("SIM_SEED")
            .env_remove("SIM_FIRST")
            .args(["test", "--test", "sim"])
            .args(arguments);
        command
    };
    let built = cargo(&["--no-run", "--quiet"]).output().expect("cargo");
    assert!(built.status.success(), "a mutation must build:\n{}", String::from_utf8_lossy(&built.stderr));
    let log = target.join("mutant.log");
    let output = fs::File::create(&log).expect("a log");
    let mut run = cargo(&["--quiet", "whatever_happens"]);
    run.stderr(output.try_clone().expect("a log")).stdout(output).stdin(Stdio::null());
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
