//! Values that parse themselves: switches, numbers, durations, sizes, listen addresses.
//!
//! A `Unit` knows what it accepts and can say so in words; the schema names one per key, ranges included,
//! so that what is documented, what is checked and what an error message says cannot differ.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;
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

/// The text of a size with its unit, as a size key reads it.
pub fn show_size(bytes: u64) -> String {
    let binary = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
    show(u128::from(bytes), &binary)
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
pub(super) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Unit<Value = T> {
    Words { words, booleans: false }
}

struct Words<T: 'static> {
    words: &'static [(&'static str, T)],
    booleans: bool,
}

impl<T: Copy> Unit for Words<T> {
    type Value = T;

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
    OneOrMore(unit)
}

struct OneOrMore<U>(U);

impl<U: Unit> Unit for OneOrMore<U> {
    type Value = Vec<U::Value>;

    fn allowed(&self) -> String {
        format!("{}; or a list of 1 to {MAX_LIST} of them", self.0.allowed())
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<Self::Value> {
        match value.as_array() {
            Some(list) if (1..=MAX_LIST).contains(&list.len()) => {
                list.iter().map(|item| self.0.parse(item.get_ref())).collect()
            }
            Some(_) => None,
            None => self.0.parse(value).map(|one| vec![one]),
        }
    }

    fn fault(&self, value: &DeValue<'_>) -> Option<String> {
        self.0.fault(value)
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, bad: &mut Vec<Bad>) -> Option<Self::Value> {
        let parsed = self.parse(value.get_ref());
        if parsed.is_none() {
            let items = value.get_ref().as_array().into_iter().flatten();
            let refused = items.filter(|item| self.0.parse(item.get_ref()).is_none());
            let before = bad.len();
            bad.extend(refused.map(|item| Bad::new(&self.0, item)));
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

/// A path in the file system.
pub(super) fn path() -> impl Unit<Value = PathBuf> {
    FilePath
}

struct FilePath;

impl Unit for FilePath {
    type Value = PathBuf;

    fn allowed(&self) -> String {
        format!("a path of 1 to {MAX_TEXT_BYTES} bytes, as a string")
    }

    fn parse(&self, value: &DeValue<'_>) -> Option<PathBuf> {
        let text = value.as_str()?;
        ((1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.contains('\0')).then(|| text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read<U: Unit>(unit: &U, text: &str) -> Option<U::Value> {
        unit.parse(DeValue::parse(text).expect("the test wrote TOML").get_ref())
    }

    fn hour() -> RangeInclusive<Duration> {
        Duration::ZERO..=Duration::from_secs(3600)
    }

    #[test]
    fn switches_are_booleans_or_srs_words() {
        let cases = [("true", true), ("false", false), ("\"on\"", true), ("\"off\"", false)];
        for (text, on) in cases {
            assert_eq!(read(&switch(), text), Some(on), "{text}");
        }
        for text in ["1", "\"yes\"", "\"On\"", "\"\"", "[true]"] {
            assert_eq!(read(&switch(), text), None, "{text}");
        }
        assert_eq!(switch().allowed(), "true, false, \"on\" or \"off\"");
    }

    #[test]
    fn durations_carry_a_unit() {
        let cases = [
            ("\"500us\"", 500),
            ("\"350ms\"", 350_000),
            ("\"10s\"", 10_000_000),
            ("\"1m\"", 60_000_000),
            ("\"1h\"", 3_600_000_000),
            ("\"9.9s\"", 9_900_000),
            ("\" 10 s \"", 10_000_000),
            ("\"0\"", 0),
        ];
        for (text, micros) in cases {
            assert_eq!(read(&duration(hour()), text), Some(Duration::from_micros(micros)), "{text}");
        }
        for text in
            ["10", "\"10\"", "\"ten s\"", "\"-1s\"", "\"1 s s\"", "\"1.s\"", "\".5s\"", "\"2h\"", "true"]
        {
            assert_eq!(read(&duration(hour()), text), None, "{text}");
        }
        let huge = format!("\"{}h\"", "9".repeat(60));
        assert_eq!(read(&duration(hour()), &huge), None);
    }

    #[test]
    fn bare_numbers_count_what_srs_counts() {
        assert_eq!(read(&seconds(hour()), "30"), Some(Duration::from_secs(30)));
        assert_eq!(read(&seconds(hour()), "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read(&millis(hour()), "350"), Some(Duration::from_millis(350)));
        assert_eq!(read(&millis(hour()), "10.5"), Some(Duration::from_micros(10_500)));
        assert_eq!(read(&millis(hour()), "\"1s\""), Some(Duration::from_secs(1)));
        for text in ["-1", "1e3", "nan", "inf", "9223372036854775807"] {
            assert_eq!(read(&seconds(hour()), text), None, "{text}");
        }
    }

    #[test]
    fn sizes_tell_1000_from_1024() {
        let cases = [
            ("\"64KiB\"", 65_536),
            ("\"1MiB\"", 1 << 20),
            ("\"250kB\"", 250_000),
            ("\"1.5MiB\"", 3 << 19),
            ("\"2gb\"", 2_000_000_000),
            ("2500000", 2_500_000),
            ("0xFF", 255),
            ("1_000", 1000),
        ];
        for (text, bytes) in cases {
            assert_eq!(read(&size(0..=1 << 40), text), Some(bytes), "{text}");
        }
        for text in ["\"64\"", "\"64K\"", "\"0.3B\"", "1.5", "-1", "\"1PiB\"", "\"99999GiB\""] {
            assert_eq!(read(&size(0..=1 << 40), text), None, "{text}");
        }
    }

    #[test]
    fn memory_is_a_share_or_a_size() {
        assert_eq!(read(&memory_limit(), "\"25%\""), Some(MemoryLimit::Percent(25)));
        assert_eq!(read(&memory_limit(), "\"2GiB\""), Some(MemoryLimit::Bytes(2 << 30)));
        for text in ["\"0%\"", "\"91%\"", "\"2.5%\"", "\"%\"", "25", "\"-1%\""] {
            assert_eq!(read(&memory_limit(), text), None, "{text}");
        }
        assert_eq!(MemoryLimit::Percent(25).bytes(8 << 30), (8 << 30) / 100 * 25);
        assert_eq!(MemoryLimit::Bytes(7).bytes(8 << 30), 7);
    }

    #[test]
    fn a_port_alone_is_both_families() {
        for text in ["1935", "\"1935\""] {
            let addr = read(&listen_addr(), text).expect(text);
            assert_eq!(addr, ListenAddr::Port(1935));
            let sockets: Vec<String> = addr.sockets().map(|s| s.to_string()).collect();
            assert_eq!(sockets, ["0.0.0.0:1935", "[::]:1935"]);
        }
        for text in ["127.0.0.1:1935", "[::]:1935", "[::1]:0", "0.0.0.0:80"] {
            let addr = read(&listen_addr(), &format!("\"{text}\"")).expect(text);
            let sockets: Vec<String> = addr.sockets().map(|s| s.to_string()).collect();
            assert_eq!(sockets, [text]);
        }
        let bad = ["65536", "-1", "\"\"", "\":1935\"", "\"localhost:1935\"", "\"127.0.0.1\"", "\"::1:1935\""];
        for text in bad.into_iter().chain(["\"224.0.0.1:1935\"", "\"255.255.255.255:1\"", "19.35", "true"]) {
            assert_eq!(read(&listen_addr(), text), None, "{text}");
        }
    }

    #[test]
    fn a_list_or_a_single_one() {
        let ports = |text: &str| read(&one_or_more(listen_addr()), text).map(|l| l.len());
        assert_eq!(ports("1935"), Some(1));
        assert_eq!(ports("[1935]"), Some(1));
        assert_eq!(ports("[1935, \"127.0.0.1:19350\"]"), Some(2));
        assert_eq!(ports("[]"), None);
        assert_eq!(ports(&format!("[{}]", "1,".repeat(MAX_LIST))), Some(MAX_LIST));
        assert_eq!(ports(&format!("[{}]", "1,".repeat(MAX_LIST + 1))), None);
    }

    #[test]
    fn a_list_names_each_of_its_bad_items() {
        let text = "[1, true, 2, \"x\"]";
        let value = DeValue::parse(text).expect("TOML");
        let mut bad = Vec::new();
        assert_eq!(one_or_more(listen_addr()).read(&value, &mut bad), None);
        let found: Vec<&str> = bad.into_iter().map(|bad| &text[bad.span]).collect();
        assert_eq!(found, ["true", "\"x\""]);
    }

    proptest! {
        #[test]
        fn a_shown_duration_reads_back(micros in 0..3_600_000_000u64) {
            let time = Duration::from_micros(micros);
            let text = format!("\"{}\"", show_duration(time));
            prop_assert_eq!(read(&duration(hour()), &text), Some(time), "{}", text);
        }

        #[test]
        fn a_shown_size_reads_back(bytes in 1..=u64::MAX) {
            let text = format!("\"{}\"", show_size(bytes));
            prop_assert_eq!(read(&size(0..=u64::MAX), &text), Some(bytes), "{}", text);
        }

        #[test]
        fn no_text_makes_a_unit_panic(text in "\\PC{0,24}") {
            let value = DeValue::String(text.as_str().into());
            let _ = (size(0..=u64::MAX).parse(&value), duration(hour()).parse(&value));
            let _ = (listen_addr().parse(&value), memory_limit().parse(&value));
        }
    }
}
