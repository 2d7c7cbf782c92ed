//! The configuration.

use crate::access::secret::HIDDEN;
use crate::config::import::import;
use crate::config::{Config, Overrides, Place, Problem, Source};

/// Any text is a configuration or a list of faults, each within the text and with words for it.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Config::parse("a.toml", &text) {
        Ok(config) => {
            config.warnings();
            let in_force =
                Source::new("a.toml", &text).in_force(&Overrides::default()).expect("it was good before");
            // Secrets are not shown; what stands for them is none.
            if !in_force.contains(HIDDEN) {
                let again = Config::parse("b.toml", &in_force);
                assert_eq!(again.as_ref(), Ok(&config), "what is in force means the same");
            }
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            assert!(errors.errors.is_sorted_by(|a, b| a.place <= b.place), "in the file's order");
            let lines = text.split('\n').count();
            for error in &errors.errors {
                assert!(!error.problem.to_string().is_empty());
                let Place::At(place) = &error.place else { continue };
                assert!((1..=lines).contains(&place.line), "{place:?} of {lines} lines: {error:?}");
                let line = text.split('\n').nth(place.line - 1).unwrap_or_default();
                assert!((1..=line.chars().count() + 1).contains(&place.column), "{place:?}: {line:?}");
            }
            let shown = errors.to_string();
            assert_eq!(
                shown.matches("a.toml").count().max(errors.errors.len()),
                shown.matches("a.toml").count()
            );
            assert_eq!(shown.lines().count(), errors.errors.len(), "a fault is one line: {shown}");
        }
    }
}

/// Any text is an `srs.conf` that becomes TOML, or has a fault in one of its lines.
pub fn srs_conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut include =
        |path: &str| if path == "a" { Ok("listen 1936;".to_owned()) } else { Err("no such file".to_owned()) };
    match import("a.conf", &text, &mut include) {
        Ok(imported) => {
            let again = Config::parse("a.toml", &imported.toml);
            // Values are good, but may be at odds with each other.
            let at_odds = |problem: &Problem| matches!(problem, Problem::Conflict(_));
            let good =
                again.as_ref().err().is_none_or(|all| all.errors.iter().all(|error| at_odds(&error.problem)));
            assert!(good, "{again:?}\n{}", imported.toml);
            assert!(imported.toml.matches(": left out, ").count() >= imported.left_out);
        }
        Err(error) => assert!((1..=text.split('\n').count()).contains(&error.line), "{error}"),
    }
}
