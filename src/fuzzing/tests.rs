//! Every input that is kept goes through its target's body, as it does in libFuzzer.

use super::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn inputs_of(kind: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_kept_input_holds() {
    for (name, body) in TARGETS {
        let (corpus, regressions) = (inputs_of("corpus", name), inputs_of("regressions", name));
        assert!(!corpus.is_empty(), "{name}: no corpus");
        body(&[]);
        for path in corpus.iter().chain(&regressions) {
            let input = fs::read(path).expect("an input");
            // A failure's message does not name the input.
            if std::panic::catch_unwind(|| body(&input)).is_err() {
                panic!("{}: see above", path.display());
            }
        }
    }
}

#[test]
fn targets_programs_and_folders_go_together() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len());
    let found = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(fuzz.join(folder)).into_iter().flatten();
        let stem = |path: PathBuf| path.file_stem().map(|name| name.to_string_lossy().into_owned());
        entries.filter_map(|entry| stem(entry.expect("an entry").path())).collect()
    };
    assert_eq!(found("fuzz_targets"), names);
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("fuzz/Cargo.toml");
    for name in &names {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{name}: not in fuzz/Cargo.toml");
    }
    for folder in ["corpus", "regressions", "dictionaries"] {
        let strangers: Vec<String> = found(folder).difference(&names).cloned().collect();
        assert_eq!(strangers, [""; 0], "fuzz/{folder}: inputs of no target");
    }
}
