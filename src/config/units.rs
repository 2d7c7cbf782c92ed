//! Values that parse themselves: switches, numbers, durations, sizes, listen addresses.
//!
//! A `Unit` knows what it accepts and can say so in words; the schema names one per key, ranges included,
//! so that what is documented, what is checked and what an error message says cannot differ.

mod access;
mod texts;

use crate::access::secret::Secret;
pub(super) use access::{rule, secret, stream_key};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
pub(super) use texts::{http_url, or_none, path, text};
use toml::Spanned;
use toml::de::DeValue;

/// No list in the configuration is longer than this.
pub const MAX_LIST: usize = 64;

/// Paths, in the file system and in URLs, are at most this long, as a path is on Linux.
pub const MAX_TEXT_BYTES: usize = 4096;

/// How one kind of value is written in the file.
pub(super) trait Unit {
    /// What a written value becomes.
    type Value;

    /// The accepted values, in the words of an error message.
    fn allowed(&self) -> String;

    /// The value, or `None` if it is not among the allowed ones.
    fn parse(&self, value: &DeValue<'_>) -> Option<Self::Value>;

    /// A value as the file would have it.
    fn show(&self, value: &Self::Value) -> String;

    /// The value that a word on the command line or in the environment means; a list's items stand between blanks.
    fn of_text(&self, text: &str) -> Option<Self::Value> {
        let string = DeValue::String(text.into());
        let literal = || self.parse(DeValue::parse(text).ok()?.get_ref());
        self.parse(&string).or_else(literal)
    }

    /// Of a value that nobody is to see, and that `show` therefore hides: what tells it from another.
    fn hidden(&self, _value: &Self::Value) -> Option<Secret> {
        None
    }

    /// Whether values are hidden, in messages too.
    fn hides(&self) -> bool {
        false
    }

    /// The mistake in a value that `parse` refuses, where more can be said than what is allowed.
    fn fault(&self, _value: &DeValue<'_>) -> Option<String> {
        None
    }

    /// Parses a value in its place; what is not allowed is added to `bad`.
    fn read(&self, value: &Spanned<DeValue<'_>>, bad: &mut Vec<Bad>) -> Option<Self::Value> {
        let parsed = self.parse(value.get_ref());
        if parsed.is_none() {
            bad.push(Bad::new(self, value));
        }
        parsed
    }
}

/// A value that is not allowed.
pub(super) struct Bad {
    /// Its place in the file.
    pub(super) span: Range<usize>,
    /// See [`Unit::fault`].
    pub(super) fault: Option<String>,
}

impl Bad {
    fn new<U: Unit + ?Sized>(unit: &U, value: &Spanned<DeValue<'_>>) -> Self {
        Self { span: value.span(), fault: unit.fault(value.get_ref()) }
    }
}

/// One address of a `listen` key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// A bare port: every IPv4 and every IPv6 address. A host without IPv6 serves IPv4 alone.
    Port(u16),
    /// One address; `[::]` is IPv6 only. It is an error if it cannot be bound.
    Addr(SocketAddr),
}

impl ListenAddr {
    /// The sockets to bind, IPv4 first.
    pub fn sockets(self) -> impl Iterator<Item = SocketAddr> {
        let (first, second) = match self {
            Self::Addr(addr) => (addr, None),
            Self::Port(port) => (
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
                Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
            ),
        };
        std::iter::once(first).chain(second)
    }

    /// The port; 0 lets the kernel choose one.
    pub fn port(self) -> u16 {
        match self {
            Self::Port(port) => port,
            Self::Addr(addr) => addr.port(),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Addr(addr) => addr.fmt(f),
        }
    }
}

/// A memory budget: a fixed number of bytes or a share of the machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Percent of what the machine (or its cgroup) has, 1 to 90.
    Percent(u8),
    /// Bytes.
    Bytes(u64),
}

impl MemoryLimit {
    /// The budget in bytes where there are `total_bytes` of memory.
    pub fn bytes(self, total_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total_bytes / 100 * u64::from(percent),
        }
    }
}

/// The text of a duration with its unit, as a duration key reads it: the largest unit that leaves no fraction.
pub fn show_duration(value: Duration) -> String {
    show(value.as_nanos(), &DURATIONS)
}

/// A duration with its unit, as a duration key reads it.
pub fn parse_duration(text: &str) -> Option<Duration> {
    quantity(text, &DURATIONS).map(Duration::from_nanos)
}

/// The text of a size with its unit, as a size key reads it.
pub fn show_size(bytes: u64) -> String {
    let binary = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    show(u128::from(bytes), &binary)
}

/// A TOML string (TOML 1.0, basic strings).
pub(super) fn quoted(text: &str) -> String {
    let mut string = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => string.extend(['\\', c]),
            c if c.is_control() => string.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => string.push(c),
        }
    }
    string.push('"');
    string
}

/// Largest first, in nanoseconds.
const DURATIONS: [(&str, u64); 5] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

fn show(value: u128, units: &[(&str, u64)]) -> String {
    let whole = |(_, factor): &&(&str, u64)| value != 0 && value.is_multiple_of(u128::from(*factor));
    match units.iter().find(whole) {
        Some((name, factor)) => format!("{}{name}", value / u128::from(*factor)),
        None => "0".to_owned(),
    }
}

/// `number` or `number.fraction`, times the factor of the unit that follows it; exact, or `None`.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim_start();
    let factor = match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        // Zero is zero in every unit.
        None if unit.is_empty() && number == "0" => 1,
        None => return None,
    };
    decimal(number, factor)
}

/// A decimal number times `factor`, if that is a whole number.
fn decimal(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |s: &str| (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())).then_some(());
    digits(whole)?;
    digits(fraction)?;
    let tenths = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = whole
        .parse::<u128>()
        .ok()?
        .checked_mul(tenths)?
        .checked_add(fraction.parse::<u128>().ok()?)?
        .checked_mul(u128::from(factor))?;
    scaled.is_multiple_of(tenths).then_some(scaled / tenths)?.try_into().ok()
}

fn integer_of(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// On or off: TOML's booleans, or SRS's words as strings.
pub(super) fn switch() -> impl Unit<Value = bool> {
    Words { words: &[("on", true), ("off", false)], booleans: true }
}

/// One of several words.
pub(super) fn word<T: Copy + PartialEq>(words: &'static [(&'static str, T)]) -> impl Unit<Value = T> {
    Words { words, booleans: false }
}

struct Words<T: 'static> {
    words: &'static [(&'static str, T)],
    booleans: bool,
}

impl<T: Copy + PartialEq> Unit for Words<T> {
    type Value = T;

    fn show(&self, value: &T) -> String {
        let word = self.words.iter().find(|(_, of)| of == value).map_or("", |(word, _)| word);
        match word {
            "on" if self.booleans => "true".to_owned(),
            "off" if self.booleans => "false".to_owned(),
            word => quoted(word),
        }
    }

    fn allowed(&self) -> String {
        let mut words: Vec<String> = self.words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        if self.booleans {
            words.splice(0..0, ["true".to_owned(), "false".to_owned()]);
        }
        let last = words.pop().unwrap_or_default();
        format!("{} or {last}", words.join(", "))
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<T> {
        let word = match value.as_bool() {
            Some(on) if self.booleans => ["off", "on"][usize::from(on)],
            _ => value.as_str()?,
        };
        self.words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
    }
}

/// A plain integer.
pub(super) fn integer(range: RangeInclusive<u32>) -> impl Unit<Value = u32> {
    Integer(range)
}

struct Integer(RangeInclusive<u32>);

impl Unit for Integer {
    type Value = u32;

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        format!("an integer from {} to {}", self.0.start(), self.0.end())
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<u32> {
        integer_of(value)?.try_into().ok().filter(|n| self.0.contains(n))
    }
}

/// A size: a string with a unit, or an integer of bytes.
pub(super) fn size(range: RangeInclusive<u64>) -> impl Unit<Value = u64> {
    Size(range)
}

struct Size(RangeInclusive<u64>);

impl Unit for Size {
    type Value = u64;

    fn show(&self, value: &u64) -> String {
        quoted(&show_size(*value))
    }

    fn allowed(&self) -> String {
        format!(
            "a size from {} to {}: \"64KiB\", \"1MiB\", \"250kB\" or an integer of bytes",
            show_size(*self.0.start()),
            show_size(*self.0.end())
        )
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<u64> {
        let bytes = match value {
            DeValue::String(text) => quantity(text, &SIZES),
            _ => integer_of(value),
        };
        bytes.filter(|bytes| self.0.contains(bytes))
    }
}

/// A share of the memory (`"25%"`) or a size.
pub(super) fn memory_limit() -> impl Unit<Value = MemoryLimit> {
    Memory(Size(1 << 20..=1 << 50))
}

struct Memory(Size);

impl Unit for Memory {
    type Value = MemoryLimit;

    fn show(&self, value: &MemoryLimit) -> String {
        match value {
            MemoryLimit::Percent(percent) => quoted(&format!("{percent}%")),
            MemoryLimit::Bytes(bytes) => self.0.show(bytes),
        }
    }

    fn allowed(&self) -> String {
        format!("a share of the memory from \"1%\" to \"90%\", or {}", self.0.allowed())
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<MemoryLimit> {
        match value.as_str().and_then(|text| text.trim().strip_suffix('%')) {
            Some(percent) => decimal(percent, 1)?
                .try_into()
                .ok()
                .filter(|percent| (1..=90).contains(percent))
                .map(MemoryLimit::Percent),
            None => self.0.parse(value).map(MemoryLimit::Bytes),
        }
    }
}

/// A duration: a string with a unit.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Unit<Value = Duration> {
    Time { range, bare: None }
}

/// A duration, or a bare number of seconds as SRS writes this key.
pub(super) fn seconds(range: RangeInclusive<Duration>) -> impl Unit<Value = Duration> {
    Time { range, bare: Some(("seconds", 1_000_000_000)) }
}

/// A duration, or a bare number of milliseconds as SRS writes this key.
pub(super) fn millis(range: RangeInclusive<Duration>) -> impl Unit<Value = Duration> {
    Time { range, bare: Some(("milliseconds", 1_000_000)) }
}

struct Time {
    range: RangeInclusive<Duration>,
    /// What a number without unit counts, and how many nanoseconds that is.
    bare: Option<(&'static str, u64)>,
}

impl Unit for Time {
    type Value = Duration;

    fn show(&self, value: &Duration) -> String {
        quoted(&show_duration(*value))
    }

    fn allowed(&self) -> String {
        let (start, end) = (show_duration(*self.range.start()), show_duration(*self.range.end()));
        let bare = self.bare.map(|(name, _)| format!(", or a number of {name}")).unwrap_or_default();
        format!("a duration from {start} to {end}: \"500us\", \"350ms\", \"10s\", \"1m\", \"1h\"{bare}")
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Duration> {
        let nanos = match (value, self.bare) {
            (DeValue::String(text), _) => quantity(text, &DURATIONS),
            (DeValue::Integer(_), Some((_, factor))) => integer_of(value)?.checked_mul(factor),
            (DeValue::Float(number), Some((_, factor))) => decimal(number.as_str(), factor),
            _ => None,
        };
        nanos.map(Duration::from_nanos).filter(|time| self.range.contains(time))
    }
}

/// A value, or `"auto"`, which is `None`.
pub(super) fn or_auto<U: Unit>(unit: U) -> impl Unit<Value = Option<U::Value>> {
    OrAuto(unit)
}

struct OrAuto<U>(U);

impl<U: Unit> Unit for OrAuto<U> {
    type Value = Option<U::Value>;

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| quoted("auto"), |value| self.0.show(value))
    }

    fn allowed(&self) -> String {
        format!("\"auto\", or {}", self.0.allowed())
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Self::Value> {
        match value.as_str() {
            Some("auto") => Some(None),
            _ => self.0.parse(value).map(Some),
        }
    }
}

/// One value, or a list of 1 to [`MAX_LIST`].
pub(super) fn one_or_more<U: Unit>(unit: U) -> impl Unit<Value = Vec<U::Value>> {
    List { unit, least: 1 }
}

/// A list of up to [`MAX_LIST`], or one value.
pub(super) fn any_number_of<U: Unit>(unit: U) -> impl Unit<Value = Vec<U::Value>> {
    List { unit, least: 0 }
}

struct List<U> {
    unit: U,
    least: usize,
}

impl<U> List<U> {
    fn is_long_enough(&self, length: usize) -> bool {
        (self.least..=MAX_LIST).contains(&length)
    }
}

impl<U: Unit> Unit for List<U> {
    type Value = Vec<U::Value>;

    fn show(&self, value: &Self::Value) -> String {
        let items: Vec<String> = value.iter().map(|item| self.unit.show(item)).collect();
        format!("[{}]", items.join(", "))
    }

    fn of_text(&self, text: &str) -> Option<Self::Value> {
        // An item may have blanks in it.
        if let Some(item) = self.unit.of_text(text) {
            return Some(vec![item]);
        }
        let items: Option<Vec<_>> = text.split_whitespace().map(|item| self.unit.of_text(item)).collect();
        items.filter(|items| self.is_long_enough(items.len()))
    }

    fn allowed(&self) -> String {
        format!("{}; or a list of {} to {MAX_LIST} of them", self.unit.allowed(), self.least)
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Self::Value> {
        match value.as_array() {
            Some(list) if self.is_long_enough(list.len()) => {
                list.iter().map(|item| self.unit.parse(item.get_ref())).collect()
            }
            Some(_) => None,
            None => self.unit.parse(value).map(|one| vec![one]),
        }
    }

    fn fault(&self, value: &DeValue<'_>) -> Option<String> {
        self.unit.fault(value)
    }

    fn hidden(&self, value: &Self::Value) -> Option<Secret> {
        let all: Vec<Secret> = value.iter().filter_map(|item| self.unit.hidden(item)).collect();
        let texts: Vec<&str> = all.iter().map(Secret::reveal).collect();
        self.hides().then(|| Secret::new(&texts.join("\n")))
    }

    fn hides(&self) -> bool {
        self.unit.hides()
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, bad: &mut Vec<Bad>) -> Option<Self::Value> {
        let parsed = self.parse(value.get_ref());
        if parsed.is_none() {
            let items = value.get_ref().as_array().into_iter().flatten();
            let refused = items.filter(|item| self.unit.parse(item.get_ref()).is_none());
            let before = bad.len();
            bad.extend(refused.map(|item| Bad::new(&self.unit, item)));
            if bad.len() == before {
                bad.push(Bad::new(self, value));
            }
        }
        parsed
    }
}

/// A listen address: `1935`, `"1935"`, `"127.0.0.1:1935"`, `"[::1]:1935"`.
pub(super) fn listen_addr() -> impl Unit<Value = ListenAddr> {
    Listen
}

struct Listen;

impl Unit for Listen {
    type Value = ListenAddr;

    fn show(&self, value: &ListenAddr) -> String {
        match value {
            ListenAddr::Port(_) => value.to_string(),
            ListenAddr::Addr(_) => quoted(&value.to_string()),
        }
    }

    fn allowed(&self) -> String {
        "1935, \"127.0.0.1:1935\" or \"[::1]:1935\" (a port alone: every address, IPv4 and IPv6)".to_owned()
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<ListenAddr> {
        let Some(text) = value.as_str() else {
            return integer_of(value)?.try_into().ok().map(ListenAddr::Port);
        };
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().map(ListenAddr::Port);
        }
        let addr: SocketAddr = text.parse().ok()?;
        let multicast = match addr.ip() {
            IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_multicast(),
        };
        (!multicast).then_some(ListenAddr::Addr(addr))
    }
}

#[cfg(test)]
mod tests;
