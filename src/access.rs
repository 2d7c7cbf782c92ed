//! Who may publish and play: by address (SRS's `security`), by the page that embeds a player (`refer`), and by what the
//! client shows ([`auth`]: a [`stream_key`], a [`signature`], or a token, [`jwt`]). Decisions only: addresses, texts and
//! the time are arguments.

pub mod auth;
pub mod jwk;
pub mod jwt;
pub mod secret;
pub mod signature;
pub mod stream_key;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Verb {
    /// To publish.
    Publish,
    /// To play.
    Play,
}

impl Verb {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Publish => "publish",
            Verb::Play => "play",
        }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// What it wants.
    pub verb: Verb,
    /// The vhost that serves it, by its configured name.
    pub vhost: &'a str,
    /// Application.
    pub app: &'a str,
    /// Stream name, without parameters.
    pub stream: &'a str,
}

/// Addresses of which the first bits are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    /// Any of them.
    pub ip: IpAddr,
    /// How many bits are the same.
    pub bits: u8,
}

impl Net {
    /// Reads `10.0.0.0/8`, or one address.
    pub fn parse(text: &str) -> Option<Net> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().ok()?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Net { ip, bits })
    }

    /// Whether an address is among them. An IPv4 address that came in over an IPv6 socket is one of IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                same_bits(net.to_bits().into(), ip.to_bits().into(), 32, self.bits)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                same_bits(net.to_bits(), Ipv6Addr::to_bits(ip), 128, self.bits)
            }
            _ => false,
        }
    }
}

fn same_bits(a: u128, b: u128, width: u32, bits: u8) -> bool {
    // A shift by all bits of a number is none.
    (a ^ b).checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

/// A line of `security`: for whom it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who wants this …
    pub verb: Verb,
    /// … from there; None: from anywhere.
    pub net: Option<Net>,
}

impl Rule {
    /// Reads `play all` or `publish 10.0.0.0/8`.
    pub fn parse(text: &str) -> Option<Rule> {
        let mut words = text.split_whitespace();
        let (verb, whom, None) = (words.next()?, words.next()?, words.next()) else { return None };
        let verb = [Verb::Publish, Verb::Play].into_iter().find(|known| known.as_str() == verb)?;
        let net = if whom == "all" { None } else { Some(Net::parse(whom)?) };
        Some(Rule { verb, net })
    }

    fn is_for(&self, verb: Verb, ip: IpAddr) -> bool {
        self.verb == verb && self.net.is_none_or(|net| net.contains(ip))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.net {
            None => write!(f, "{} all", self.verb.as_str()),
            Some(Net { ip, bits }) if u32::from(bits) == if ip.is_ipv4() { 32 } else { 128 } => {
                write!(f, "{} {ip}", self.verb.as_str())
            }
            Some(Net { ip, bits }) => write!(f, "{} {ip}/{bits}", self.verb.as_str()),
        }
    }
}

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// `security` is on and says nothing.
    #[error("security has no rule")]
    NoRules,
    /// A rule is against it.
    #[error("denied: {0}")]
    By(Rule),
    /// Some are allowed, and it is none of them.
    #[error("not among those allowed")]
    NotAllowed,
}

/// Judges as SRS does: what is denied is denied, what is allowed is allowed, and else it depends on whether anything at all
/// is allowed, be it for another verb.
pub fn judge(allow: &[Rule], deny: &[Rule], verb: Verb, ip: IpAddr) -> Result<(), Denied> {
    if allow.is_empty() && deny.is_empty() {
        return Err(Denied::NoRules);
    }
    if let Some(rule) = deny.iter().find(|rule| rule.is_for(verb, ip)) {
        return Err(Denied::By(*rule));
    }
    if allow.is_empty() || allow.iter().any(|rule| rule.is_for(verb, ip)) {
        Ok(())
    } else {
        Err(Denied::NotAllowed)
    }
}

/// Whether the page of a client is of one of these domains: its host ends with one of them, as SRS compares.
pub fn is_of(page_url: &str, domains: &[String]) -> bool {
    let rest = page_url.split_once("://").map_or(page_url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = if host.starts_with('[') { host } else { host.split(':').next().unwrap_or_default() };
    let ends_with = |domain: &String| {
        let at = host.len().checked_sub(domain.len());
        at.and_then(|at| host.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(domain))
    };
    domains.iter().any(ends_with)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| Rule::parse(text).expect("a rule")).collect()
    }

    fn judged(allow: &[&str], deny: &[&str], verb: Verb, ip: &str) -> Result<(), Denied> {
        judge(&rules(allow), &rules(deny), verb, ip.parse().expect("an address"))
    }

    #[test]
    fn rules_are_judged_in_the_order_of_srs() {
        use Verb::{Play, Publish};
        assert_eq!(judged(&[], &[], Play, "10.0.0.1"), Err(Denied::NoRules));
        let denied = Err(Denied::By(rules(&["play 10.0.0.0/8"])[0]));
        assert_eq!(judged(&["play all"], &["play 10.0.0.0/8"], Play, "10.1.2.3"), denied, "deny comes first");
        assert_eq!(judged(&["play all"], &["play 10.0.0.0/8"], Play, "11.1.2.3"), Ok(()));
        assert_eq!(
            judged(&[], &["play 10.0.0.1"], Play, "10.0.0.2"),
            Ok(()),
            "nothing is allowed in particular"
        );
        assert_eq!(
            judged(&["play all"], &[], Publish, "10.0.0.1"),
            Err(Denied::NotAllowed),
            "also for another verb"
        );
        assert_eq!(judged(&["publish 10.0.0.1"], &[], Publish, "10.0.0.1"), Ok(()));
        assert_eq!(judged(&["publish 10.0.0.1"], &[], Publish, "10.0.0.2"), Err(Denied::NotAllowed));
        assert_eq!(judged(&["publish 10.0.0.1"], &[], Publish, "::ffff:10.0.0.1"), Ok(()));
    }

    #[test]
    fn nets_of_both_families() {
        let contains =
            |net: &str, ip: &str| Net::parse(net).expect("a net").contains(ip.parse().expect("an address"));
        assert!(contains("0.0.0.0/0", "1.2.3.4") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("192.168.0.0/23", "192.168.1.255") && !contains("192.168.0.0/23", "192.168.2.0"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::1") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(contains("::/0", "::1") && contains("::1", "::1") && !contains("::1", "::2"));
        for text in ["10.0.0.0/33", "::/129", "10.0.0", "all", "10.0.0.0/", "/8", ""] {
            assert_eq!(Net::parse(text), None, "{text}");
        }
        for text in ["play", "play all all", "watch all", "", "play 1.2.3.4/x"] {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
    }

    #[test]
    fn pages_are_compared_by_the_end_of_their_host() {
        let of = |page: &str, domains: &[&str]| {
            is_of(page, &domains.iter().map(|domain| (*domain).to_owned()).collect::<Vec<_>>())
        };
        assert!(of("http://www.ossrs.net/players/x.html", &["ossrs.net"]));
        assert!(of("https://OSSRS.net:8080?x", &["a.b", "ossrs.net"]));
        assert!(of("ossrs.net", &["ossrs.net"]) && of("http://u:p@ossrs.net/", &["ossrs.net"]));
        assert!(
            !of("http://ossrs.net.evil/", &["ossrs.net"]) && !of("http://evil/?ossrs.net", &["ossrs.net"])
        );
        assert!(!of("", &["ossrs.net"]) && !of("http://ossrs.net/", &[]));
        assert!(of("http://[::1]:80/", &["[::1]:80"]), "an address of IPv6 as it stands");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_the_same(publish: bool, ip: IpAddr, bits in 0u8..=128) {
            let bits = bits.min(if ip.is_ipv4() { 32 } else { 128 });
            let rule = Rule { verb: if publish { Verb::Publish } else { Verb::Play }, net: Some(Net { ip, bits }) };
            prop_assert_eq!(Rule::parse(&rule.to_string()), Some(rule));
            prop_assert!(rule.is_for(rule.verb, ip) || ip.to_canonical() != ip);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = Rule::parse(&text);
            is_of(&text, &[text.clone(), "é".to_owned()]);
        }
    }
}
