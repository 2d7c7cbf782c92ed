//! Prometheus's text exposition format, version 0.0.4.

use std::fmt::Write;

/// `Content-Type` of an exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric family's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts per upper bound.
    Histogram,
}

/// A text under construction, family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family with its HELP and TYPE lines. Name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.text.push_str("# HELP ");
        self.text.push_str(name);
        self.text.push(' ');
        escape(&mut self.text, help, false);
        self.text.push_str("\n# TYPE ");
        self.text.push_str(name);
        self.text.push(' ');
        self.text.push_str(word);
        self.text.push('\n');
        Family { text: &mut self.text, name }
    }

    /// The finished text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// A family that takes samples.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) -> &mut Self {
        self.line("", labels, None, value.into());
        self
    }

    /// A histogram: counts per bucket (not cumulative; one more than bounds, the last for what is above all),
    /// and the sum of all observed values.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        bounds: impl IntoIterator<Item = f64>,
        counts: &[u64],
        sum: f64,
    ) -> &mut Self {
        let mut below = 0u64;
        for (bound, count) in bounds.into_iter().zip(counts) {
            below = below.saturating_add(*count);
            self.line("_bucket", labels, Some(&Value::Float(bound).to_string()), Value::Uint(below));
        }
        let all = counts.iter().fold(0u64, |n, c| n.saturating_add(*c));
        self.line("_bucket", labels, Some("+Inf"), Value::Uint(all));
        self.line("_sum", labels, None, Value::Float(sum));
        self.line("_count", labels, None, Value::Uint(all));
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: Value) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|b| ("le", b));
        for (at, (name, value)) in labels.iter().chain(bound.as_ref()).enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value, true);
            self.text.push('"');
        }
        self.text.push_str(if labels.is_empty() && bound.is_none() { " " } else { "} " });
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{value}");
    }
}

/// A sample's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Uint(u64),
    /// Any number; NaN and infinities are written as the format wants them.
    Float(f64),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Value::Uint(n) => write!(f, "{n}"),
            Value::Float(x) if x.is_nan() => f.write_str("NaN"),
            Value::Float(f64::INFINITY) => f.write_str("+Inf"),
            Value::Float(f64::NEG_INFINITY) => f.write_str("-Inf"),
            Value::Float(x) => write!(f, "{x}"),
        }
    }
}

impl From<u64> for Value {
    fn from(n: u64) -> Self {
        Value::Uint(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Value::Uint(n.into())
    }
}

impl From<usize> for Value {
    fn from(n: usize) -> Self {
        Value::Uint(n as u64)
    }
}

impl From<f64> for Value {
    fn from(x: f64) -> Self {
        Value::Float(x)
    }
}

/// Backslash and line feed are escaped everywhere, the quote in label values only.
fn escape(out: &mut String, text: &str, in_label: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if in_label => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_samples_and_escapes() {
        let mut text = Exposition::default();
        text.family("up", Kind::Gauge, "Says \"yes\" \\ or\nno.").sample(&[], 1u64);
        text.family("x_total", Kind::Counter, "X.")
            .sample(&[("a", "q\"b\\s\nn"), ("b", "")], 2u64)
            .sample(&[("a", "z")], 0.25)
            .sample(&[("a", "n")], f64::NAN)
            .sample(&[("a", "i")], f64::NEG_INFINITY);
        let expected = "# HELP up Says \"yes\" \\\\ or\\nno.\n# TYPE up gauge\nup 1\n\
            # HELP x_total X.\n# TYPE x_total counter\n\
            x_total{a=\"q\\\"b\\\\s\\nn\",b=\"\"} 2\nx_total{a=\"z\"} 0.25\n\
            x_total{a=\"n\"} NaN\nx_total{a=\"i\"} -Inf\n";
        assert_eq!(text.finish(), expected);
    }

    #[test]
    fn histograms_are_cumulative_and_end_at_infinity() {
        let mut text = Exposition::default();
        text.family("lag_seconds", Kind::Histogram, "Lag.")
            .histogram(&[("s", "a")], [0.05, 1.0], &[3, 2, 1], 4.5)
            .histogram(&[], [0.05, 1.0], &[0, 0, 0], 0.0);
        let expected = "# HELP lag_seconds Lag.\n# TYPE lag_seconds histogram\n\
            lag_seconds_bucket{s=\"a\",le=\"0.05\"} 3\nlag_seconds_bucket{s=\"a\",le=\"1\"} 5\n\
            lag_seconds_bucket{s=\"a\",le=\"+Inf\"} 6\nlag_seconds_sum{s=\"a\"} 4.5\nlag_seconds_count{s=\"a\"} 6\n\
            lag_seconds_bucket{le=\"0.05\"} 0\nlag_seconds_bucket{le=\"1\"} 0\n\
            lag_seconds_bucket{le=\"+Inf\"} 0\nlag_seconds_sum 0\nlag_seconds_count 0\n";
        assert_eq!(text.finish(), expected);
    }
}
