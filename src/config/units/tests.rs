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
    for text in ["10", "\"10\"", "\"ten s\"", "\"-1s\"", "\"1 s s\"", "\"1.s\"", "\".5s\"", "\"2h\"", "true"]
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
