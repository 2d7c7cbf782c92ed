//! The form of a log line: time, level, place, text that cannot do harm.

use std::fmt::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

/// A longer line is cut.
pub const MAX_LINE_BYTES: usize = 4096;

/// One line, newline included.
pub(super) fn line(
    now: SystemTime,
    level: log::Level,
    target: &str,
    text: &fmt::Arguments<'_>,
    colour: bool,
) -> String {
    let (on, off) = match (colour, level) {
        (false, _) => ("", ""),
        (true, log::Level::Error) => ("\x1b[1;31m", "\x1b[0m"),
        (true, log::Level::Warn) => ("\x1b[33m", "\x1b[0m"),
        (true, log::Level::Info) => ("\x1b[32m", "\x1b[0m"),
        (true, log::Level::Debug) => ("\x1b[34m", "\x1b[0m"),
        (true, log::Level::Trace) => ("\x1b[36m", "\x1b[0m"),
    };
    let mut tame = Tame { line: String::with_capacity(160), room: MAX_LINE_BYTES };
    tame.line.push('[');
    // Writing to a String does not fail; a `Display` of ours that does costs the rest of its line.
    let _ = write_time(&mut tame.line, now);
    let _ = write!(tame.line, " {on}{level:<5}{off} ");
    let _ = write!(tame, "{target}] {text}");
    tame.line.push('\n');
    tame.line
}

/// Escapes control characters and stops at a length.
struct Tame {
    line: String,
    room: usize,
}

impl fmt::Write for Tame {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // Besides C0 and C1: line separators and the marks that turn the writing direction.
            let wild = c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let length = if wild { c.escape_default().len() } else { c.len_utf8() };
            let Some(room) = self.room.checked_sub(length) else {
                self.line.push('…');
                return Err(fmt::Error);
            };
            self.room = room;
            match wild {
                true => self.line.extend(c.escape_default()),
                false => self.line.push(c),
            }
        }
        Ok(())
    }
}

/// RFC 3339 in UTC with milliseconds.
fn write_time(out: &mut String, now: SystemTime) -> fmt::Result {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millis = since.subsec_millis();
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The Gregorian date of a day after 1970-01-01. Years are counted from March, which puts the leap day last
/// and makes the length of the months before any month linear in its number.
fn civil_date(days: u64) -> (u64, u64, u64) {
    /// Days from 0000-03-01 to 1970-01-01, and in 400, 100, 4 years.
    const EPOCH: u64 = 719_468;
    const ERA: u64 = 146_097;
    const CENTURY: u64 = 36_524;
    const LEAP_CYCLE: u64 = 1_461;
    let days = days + EPOCH;
    let (era, in_era) = (days / ERA, days % ERA);
    // The last day of an era and of a leap cycle would begin a century or year of its own.
    let century = (in_era / CENTURY).min(3);
    let in_century = in_era - century * CENTURY;
    let (cycle, in_cycle) = (in_century / LEAP_CYCLE, in_century % LEAP_CYCLE);
    let year_of_cycle = (in_cycle / 365).min(3);
    let in_year = in_cycle - year_of_cycle * 365;
    let year = era * 400 + century * 100 + cycle * 4 + year_of_cycle;
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    match from_march {
        0..=9 => (year, from_march + 3, day),
        _ => (year + 1, from_march - 9, day),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn format(text: &str) -> String {
        let now = UNIX_EPOCH + Duration::from_millis(1_769_860_800_123);
        line(now, log::Level::Info, "srs_shard::web", &format_args!("{text}"), false)
    }

    #[test]
    fn a_line_has_time_level_and_place() {
        assert_eq!(format("hello"), "[2026-01-31T12:00:00.123Z INFO  srs_shard::web] hello\n");
        let red = line(UNIX_EPOCH, log::Level::Error, "x", &format_args!("y"), true);
        assert_eq!(red, "[1970-01-01T00:00:00.000Z \x1b[1;31mERROR\x1b[0m x] y\n");
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

    #[test]
    fn dates_are_right_around_leap_days() {
        // Checked with date -u -d @N.
        let dates = [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (19_782, (2024, 2, 29)),
            (20_088, (2024, 12, 31)),
            (20_089, (2025, 1, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (156_935, (2399, 9, 4)),
        ];
        for (days, date) in dates {
            assert_eq!(civil_date(days), date, "{days}");
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let length = |year: u64, month| match month {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(civil_date(days), (year, month, day), "{days}");
            day += 1;
            if day > length(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
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
