//! Which handler a path belongs to, by SRS's rules for patterns.

/// Handlers by path pattern. A pattern that ends in `/` takes everything below it and the longest one wins, any
/// other takes exactly itself. `/x/` also claims `/x`, which is redirected to it unless it is a pattern itself.
#[derive(Clone, Debug)]
pub(super) struct Mux<T> {
    patterns: Vec<(String, T)>,
}

/// What [`Mux::find`] says of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found<'a, T> {
    /// The handler, and what stands behind its pattern in the path (empty for exact ones).
    Handler(&'a T, &'a str),
    /// The same path with a `/` at its end is what to ask for.
    Redirect(String),
    /// Nobody's.
    Nothing,
}

impl<T> Mux<T> {
    /// A mux of these patterns; of equal ones the first counts.
    pub(super) fn new(patterns: impl IntoIterator<Item = (impl Into<String>, T)>) -> Self {
        Self { patterns: patterns.into_iter().map(|(pattern, handler)| (pattern.into(), handler)).collect() }
    }

    /// Finds the handler of a clean path.
    pub(super) fn find<'a>(&'a self, path: &'a str) -> Found<'a, T> {
        if let Some((_, handler)) = self.patterns.iter().find(|(pattern, _)| pattern == path) {
            return Found::Handler(handler, "");
        }
        let redirects = |pattern: &str| pattern.strip_suffix('/').is_some_and(|p| !p.is_empty() && p == path);
        if self.patterns.iter().any(|(pattern, _)| redirects(pattern)) {
            return Found::Redirect(format!("{path}/"));
        }
        let below = |(pattern, handler): &'a (String, T)| {
            let rest = pattern.ends_with('/').then(|| path.strip_prefix(pattern.as_str())).flatten()?;
            Some((handler, rest))
        };
        match self.patterns.iter().filter_map(below).min_by_key(|(_, rest)| rest.len()) {
            Some((handler, rest)) => Found::Handler(handler, rest),
            None => Found::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_then_redirect_then_the_longest_prefix() {
        let mux = Mux::new([
            ("/api/", 1),
            ("/api/v1/", 2),
            ("/api/v1/versions", 3),
            ("/api/v1/streams/", 4),
            ("/x", 5),
        ]);
        for (path, found) in [
            ("/api/v1/versions", Found::Handler(&3, "")),
            ("/api/v1/versions/", Found::Handler(&2, "versions/")),
            ("/api/v1/streams", Found::Redirect("/api/v1/streams/".into())),
            ("/api/v1/streams/", Found::Handler(&4, "")),
            ("/api/v1/streams/12", Found::Handler(&4, "12")),
            ("/api/v1/streamsx", Found::Handler(&2, "streamsx")),
            ("/api", Found::Redirect("/api/".into())),
            ("/x", Found::Handler(&5, "")),
            ("/x/", Found::Nothing),
            ("/", Found::Nothing),
        ] {
            assert_eq!(mux.find(path), found, "{path}");
        }
        assert_eq!(Mux::new([("/", 1)]).find("/a"), Found::Handler(&1, "a"));
    }
}
