//! The form of a log line, as SRS 3 has it:
//!
//! ```text
//! [2026-01-31 13:00:00.123][Trace][PID][CLIENT] text
//! [2026-01-31 13:00:00.123][Warn][PID][CLIENT][ERRNO] text
//! ```
//!
//! `Verb`, `Debug` and `Trace` have four parts, `Warn` and `Error` five. CLIENT is 0 where a line is about nobody,
//! ERRNO where no system call failed; SRS puts there whatever error came last. Text cannot do harm.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

/// A longer line is cut.
pub const MAX_LINE_BYTES: usize = 4096;

/// What every line begins with.
pub(super) struct Head<'a> {
    /// When it was written.
    pub(super) now: SystemTime,
    /// Whose time that is to be.
    pub(super) zone: &'a TimeZone,
    /// How bad it is.
    pub(super) level: log::Level,
    /// This process.
    pub(super) pid: u32,
    /// The client that it is about.
    pub(super) client: &'a str,
    /// For a terminal.
    pub(super) colour: bool,
}

impl Head<'_> {
    /// The whole line, newline included. `place` is told if it is not ours.
    pub(super) fn line(&self, place: Option<&str>, text: &fmt::Arguments<'_>) -> String {
        let mut tame = Tame { text: String::with_capacity(160), room: MAX_LINE_BYTES };
        // Writing to a String does not fail; a `Display` of ours that does costs the rest of its line.
        let _ = place.map_or(Ok(()), |place| write!(tame, "{place}: ")).and_then(|()| write!(tame, "{text}"));
        let mut line = String::with_capacity(64 + tame.text.len());
        let _ = self.write(&mut line, &tame.text);
        line.push_str(&tame.text);
        line.push('\n');
        line
    }

    fn write(&self, out: &mut String, text: &str) -> fmt::Result {
        let (word, colour) = match self.level {
            log::Level::Error => ("Error", "\x1b[1;31m"),
            log::Level::Warn => ("Warn", "\x1b[33m"),
            log::Level::Info => ("Trace", "\x1b[32m"),
            log::Level::Debug => ("Debug", "\x1b[34m"),
            log::Level::Trace => ("Verb", "\x1b[36m"),
        };
        let (on, off) = if self.colour { (colour, "\x1b[0m") } else { ("", "") };
        let at = self.zone.to_datetime(Timestamp::try_from(self.now).unwrap_or_default());
        write!(out, "[{:04}-{:02}-{:02} ", at.year(), at.month(), at.day())?;
        write!(out, "{:02}:{:02}:{:02}.{:03}]", at.hour(), at.minute(), at.second(), at.millisecond())?;
        write!(out, "[{on}{word}{off}][{}][{}]", self.pid, self.client)?;
        if self.level <= log::Level::Warn {
            write!(out, "[{}]", errno_of(text))?;
        }
        out.write_char(' ')
    }
}

/// The number of the system's error that a text tells of, as `io::Error` ends: `(os error 98)`.
fn errno_of(text: &str) -> i32 {
    let number = text.rsplit_once("(os error ").and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
    number.unwrap_or(0)
}

/// Escapes control characters and stops at a length.
struct Tame {
    text: String,
    room: usize,
}

impl fmt::Write for Tame {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // Besides C0 and C1: line separators and the marks that turn the writing direction.
            let wild = c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let length = if wild { c.escape_default().len() } else { c.len_utf8() };
            let Some(room) = self.room.checked_sub(length) else {
                self.text.push('…');
                return Err(fmt::Error);
            };
            self.room = room;
            match wild {
                true => self.text.extend(c.escape_default()),
                false => self.text.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    static UTC: TimeZone = TimeZone::UTC;

    fn head(level: log::Level) -> Head<'static> {
        let now = UNIX_EPOCH + Duration::from_millis(1_769_860_800_123);
        Head { now, zone: &UTC, level, pid: 42, client: "103", colour: false }
    }

    fn format(text: &str) -> String {
        head(log::Level::Info).line(None, &format_args!("{text}"))
    }

    #[test]
    fn a_line_has_time_level_process_and_client() {
        assert_eq!(format("hello"), "[2026-01-31 12:00:00.123][Trace][42][103] hello\n");
        let words = [log::Level::Trace, log::Level::Debug, log::Level::Info].map(|level| {
            let line = head(level).line(None, &format_args!("x"));
            line.split(['[', ']']).nth(3).expect("a level").to_owned()
        });
        assert_eq!(words, ["Verb", "Debug", "Trace"]);
        let red = Head { colour: true, client: "0", ..head(log::Level::Error) };
        let red = red.line(None, &format_args!("y"));
        assert_eq!(red, "[2026-01-31 12:00:00.123][\x1b[1;31mError\x1b[0m][42][0][0] y\n");
        let foreign = head(log::Level::Warn).line(Some("glommio::sys"), &format_args!("z"));
        assert_eq!(foreign, "[2026-01-31 12:00:00.123][Warn][42][103][0] glommio::sys: z\n");
    }

    #[test]
    fn a_warning_has_the_system_s_error_that_it_tells_of() {
        let error = std::io::Error::from_raw_os_error(98);
        let line = head(log::Level::Warn).line(None, &format_args!("cannot listen: {error}; so what"));
        assert!(line.contains("[42][103][98] cannot listen: "), "{line}");
        assert_eq!((errno_of("(os error x)"), errno_of("(os error 5"), errno_of("")), (0, 5, 0));
    }

    #[test]
    fn times_are_local_where_that_is_wished() {
        let zone = TimeZone::posix("XYZ-05:30").expect("a zone");
        let line = Head { zone: &zone, ..head(log::Level::Info) }.line(None, &format_args!("x"));
        assert!(line.starts_with("[2026-01-31 17:30:00.123]"), "{line}");
    }

    #[test]
    fn peers_cannot_forge_lines_or_drive_the_terminal() {
        let text = format("live/a\n[2026] \x1b[2Jb\u{202e}c\u{9b}ü");
        assert!(text.ends_with("] live/a\\n[2026] \\u{1b}[2Jb\\u{202e}c\\u{9b}ü\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_long_line_is_cut() {
        let text = format(&"ü".repeat(MAX_LINE_BYTES));
        assert!(text.ends_with("ü…\n"));
        assert!(text.len() <= MAX_LINE_BYTES + 64, "{}", text.len());
    }

    proptest! {
        #[test]
        fn any_text_is_one_line(text in any::<String>()) {
            let line = format(&text);
            prop_assert_eq!(line.chars().filter(|c| c.is_control()).count(), 1);
            prop_assert!(line.ends_with('\n'));
        }
    }
}
