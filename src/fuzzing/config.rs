//! The configuration.

use crate::config::Config;

/// Any text is a configuration or a list of faults, each within the text and with words for it.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Config::parse("a.toml", &text) {
        Ok(config) => {
            config.warnings();
            let again = Config::parse("b.toml", &text).expect("it was good before");
            assert_eq!(format!("{again:?}"), format!("{config:?}"));
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            assert!(errors.errors.is_sorted_by_key(|error| error.position), "in the file's order");
            let lines = text.split('\n').count();
            for error in &errors.errors {
                assert!(!error.problem.to_string().is_empty());
                let Some(place) = error.position else { continue };
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
