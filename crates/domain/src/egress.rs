//! Egress policies: which hosts a step may reach.
//!
//! A profile names hosts and ports. Several levels narrow each other: a step reaches what every
//! level allows that says anything. The egress proxy of a sandbox holds a policy against the host
//! that a program asks for, before it resolves the name, so a policy says nothing about addresses
//! that a name has. Which of those are refused is the proxy's own matter.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

/// Which hosts a step may reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressPolicy"))]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// No host.
    None,
    /// Every public host.
    Open,
    /// The hosts that a rule names.
    Allow(Rules),
}

/// Rules of which none is covered by another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(with = "Vec<Rule>", inline))]
#[serde(transparent)]
pub struct Rules(BTreeSet<Rule>);

/// Allows one port of a host, or of all hosts below a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressRule"))]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub host: HostPattern,
    /// A TCP port.
    #[serde(default = "https", skip_serializing_if = "is_https")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1)))]
    pub port: u16,
}

/// `api.example.com`, `*.example.com` for every name below it, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One host.
    Host(HostName),
    /// All names below this one, at any depth, and not the name itself.
    Below(HostName),
}

/// A host by its name, in lower case and without a final dot, or by its address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostName {
    Name(String),
    Address(IpAddr),
}

/// A text that names no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host is a DNS name as `api.example.com`, `*.example.com` for all names below it, or an IP address"
)]
pub struct InvalidHost;

/// The port of a rule that names none.
pub const HTTPS: u16 = 443;

const fn https() -> u16 {
    HTTPS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_https(port: &u16) -> bool {
    *port == HTTPS
}

impl Policy {
    /// Whether a step may reach this port of a host.
    #[must_use]
    pub fn allows(&self, host: &HostName, port: u16) -> bool {
        match self {
            Self::None => false,
            Self::Open => true,
            Self::Allow(rules) => rules.iter().any(|rule| rule.allows(host, port)),
        }
    }

    /// The policy that allows what both allow.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Open, narrower) | (narrower, Self::Open) => narrower.clone(),
            (Self::Allow(own), Self::Allow(theirs)) => {
                let pairs = own.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
                match Rules::of(pairs.filter_map(|(a, b)| a.both(b)).cloned()) {
                    rules if rules.is_empty() => Self::None,
                    rules => Self::Allow(rules),
                }
            }
        }
    }

    /// Checks a policy that somebody wrote.
    ///
    /// # Errors
    /// What is wrong and how to fix it; for people.
    pub fn check(&self) -> Result<(), String> {
        let Self::Allow(rules) = self else {
            return Ok(());
        };
        if rules.is_empty() {
            return Err("`allow` names no host; write `none` to allow nothing".to_owned());
        }
        if rules.len() > limits::EGRESS_RULES {
            return Err(format!("{} rules at most", limits::EGRESS_RULES));
        }
        if rules.iter().any(|rule| rule.port == 0) {
            return Err("a port is a number from 1 to 65535".to_owned());
        }
        Ok(())
    }
}

/// As people read it: `none`, `open`, or the rules.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Open => f.write_str("open"),
            Self::Allow(rules) => {
                let rules: Vec<String> = rules.iter().map(Rule::to_string).collect();
                f.write_str(&rules.join(", "))
            }
        }
    }
}

impl Rules {
    /// The widest of these rules.
    pub fn of(rules: impl IntoIterator<Item = Rule>) -> Self {
        let all: BTreeSet<Rule> = rules.into_iter().collect();
        let is_covered = |rule: &Rule| all.iter().any(|other| other != rule && other.covers(rule));
        Self(
            all.iter()
                .filter(|rule| !is_covered(rule))
                .cloned()
                .collect(),
        )
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(Vec::<Rule>::deserialize(deserializer)?))
    }
}

impl Rule {
    /// Whether it allows this port of a host.
    #[must_use]
    pub fn allows(&self, host: &HostName, port: u16) -> bool {
        self.port == port && self.host.matches(host)
    }

    fn covers(&self, other: &Self) -> bool {
        self.port == other.port && self.host.covers(&other.host)
    }

    /// The rule that allows what both allow. It is always one of the two: names are a tree.
    fn both<'a>(&'a self, other: &'a Self) -> Option<&'a Self> {
        match (self.covers(other), other.covers(self)) {
            (true, _) => Some(other),
            (_, true) => Some(self),
            _ => None,
        }
    }
}

/// `HOST:PORT`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Host(HostName::Address(IpAddr::V6(address))) => {
                write!(f, "[{address}]:{}", self.port)
            }
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

impl HostPattern {
    #[must_use]
    pub fn matches(&self, host: &HostName) -> bool {
        match self {
            Self::Host(own) => own == host,
            Self::Below(above) => host.is_below(above),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Host(host)) => self.matches(host),
            (Self::Below(own), Self::Below(theirs)) => own == theirs || theirs.is_below(own),
            (Self::Host(_), Self::Below(_)) => false,
        }
    }
}

impl HostName {
    fn is_below(&self, above: &Self) -> bool {
        match (self, above) {
            (Self::Name(name), Self::Name(above)) => {
                let rest = name.strip_suffix(above.as_str());
                rest.is_some_and(|rest| rest.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// RFC 1123, 2.1. A name whose last part is a number is refused: some resolvers take `127.1` or
/// `0x7f000001` for an address (WHATWG URL, 3.5).
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_part = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_".contains(&c);
        (1..=63).contains(&label.len())
            && label.bytes().all(is_part)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| {
        let hex = label.strip_prefix("0x");
        label.bytes().all(|c| c.is_ascii_digit())
            || hex.is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()))
    };
    name.len() <= 253
        && name.split('.').all(is_label)
        && !name.rsplit('.').next().is_some_and(is_number)
}

impl FromStr for HostName {
    type Err = InvalidHost;

    /// Takes IPv6 addresses with and without brackets, and IPv4 addresses in IPv6 for what they
    /// are.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if is_name(&name) {
            Ok(Self::Name(name))
        } else {
            Err(InvalidHost)
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        match text.strip_prefix("*.") {
            None => Ok(Self::Host(text.parse()?)),
            Some(above) => match above.parse()? {
                name @ HostName::Name(_) => Ok(Self::Below(name)),
                HostName::Address(_) => Err(InvalidHost),
            },
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => host.fmt(f),
            Self::Below(above) => write!(f, "*.{above}"),
        }
    }
}

/// Written as text.
macro_rules! text {
    ($($name:ident)*) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        })*
    };
}

text! { HostName HostPattern }

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(json: &str) -> Policy {
        serde_json::from_str(json).expect("a policy")
    }

    fn host(text: &str) -> HostName {
        text.parse().expect("a host")
    }

    #[test]
    fn a_rule_allows_its_host_and_port_and_nothing_else() {
        let policy = policy(
            r#"{"allow":[{"host":"api.example.com"},{"host":"*.git.example","port":22},{"host":"2001:db8::1","port":80}]}"#,
        );
        let allowed = [
            ("api.example.com", 443),
            ("API.example.COM.", 443),
            ("a.git.example", 22),
            ("a.b.git.example", 22),
            ("[2001:db8::1]", 80),
        ];
        for (name, port) in allowed {
            assert!(policy.allows(&host(name), port), "{name}:{port}");
        }
        let refused = [
            ("api.example.com", 80),
            ("example.com", 443),
            ("x.api.example.com", 443),
            ("api.example.com.evil.example", 443),
            ("git.example", 22),
            ("evilgit.example", 22),
            ("2001:db8::2", 80),
        ];
        for (name, port) in refused {
            assert!(!policy.allows(&host(name), port), "{name}:{port}");
        }
        assert!(Policy::Open.allows(&host("a.example"), 1));
        assert!(!Policy::None.allows(&host("a.example"), 443));
    }

    #[test]
    fn what_could_be_read_as_something_else_is_no_host() {
        let long = "a".repeat(64);
        let bad = [
            "",
            ".",
            "*",
            "*.",
            "*.1.2.3.4",
            "a..b",
            "-a.example",
            "a-.example",
            "a b",
            "a/b",
            "a:80",
            "a@b",
            "127.1",
            "0x7f.1",
            "1.2.3.4.5",
            "a.0x7f000001",
            "2130706433",
            "ä.example",
            "a%2e.example",
            "*a.example",
            "a.*.example",
            "a.example..",
            &long,
        ];
        for text in bad {
            assert_eq!(text.parse::<HostPattern>(), Err(InvalidHost), "{text}");
        }
        assert_eq!(host("::ffff:10.0.0.1"), host("10.0.0.1"));
        assert_eq!(host("localhost").to_string(), "localhost");
    }

    #[test]
    fn levels_only_narrow() {
        let lower =
            policy(r#"{"allow":[{"host":"*.example"},{"host":"a.test"},{"host":"b.test"}]}"#);
        let upper = policy(
            r#"{"allow":[{"host":"x.example"},{"host":"*.y.example"},{"host":"b.test","port":80},{"host":"a.test"}]}"#,
        );
        let both =
            policy(r#"{"allow":[{"host":"x.example"},{"host":"*.y.example"},{"host":"a.test"}]}"#);
        assert_eq!(lower.narrowed_by(&upper), both);
        assert_eq!(upper.narrowed_by(&lower), both);
        assert_eq!(Policy::Open.narrowed_by(&lower), lower);
        assert_eq!(lower.narrowed_by(&Policy::None), Policy::None);
        let other = policy(r#"{"allow":[{"host":"c.test"}]}"#);
        assert_eq!(lower.narrowed_by(&other), Policy::None);
    }

    #[test]
    fn it_is_written_as_people_write_it() {
        for text in [
            r#""none""#,
            r#""open""#,
            r#"{"allow":[{"host":"a.example"},{"host":"*.b.example","port":8443}]}"#,
        ] {
            assert_eq!(serde_json::to_string(&policy(text)).expect("json"), text);
        }
        let covered =
            policy(r#"{"allow":[{"host":"*.a.example"},{"host":"b.a.example","port":443}]}"#);
        assert_eq!(covered.to_string(), "*.a.example:443");
        assert_eq!(
            policy(r#"{"allow":[{"host":"::1","port":80}]}"#).to_string(),
            "[::1]:80"
        );
        for wrong in [
            r#"{"allow":[{"host":"a.example","methods":["GET"]}]}"#,
            r#"{"allow":[{"host":"https://a.example"}]}"#,
            r#"{"allow":[{"host":"a.example","port":70000}]}"#,
            r#""all""#,
        ] {
            assert!(serde_json::from_str::<Policy>(wrong).is_err(), "{wrong}");
        }
        assert!(policy(r#"{"allow":[]}"#).check().is_err());
        assert!(
            policy(r#"{"allow":[{"host":"a.example","port":0}]}"#)
                .check()
                .is_err()
        );
    }

    fn names() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b.a", "c.b.a", "b", "c.b", "ab", "10.0.0.1"])
            .prop_map(str::to_owned)
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let pattern = (names(), any::<bool>()).prop_filter_map("a pattern", |(name, below)| {
            let text = if below { format!("*.{name}") } else { name };
            text.parse::<HostPattern>().ok()
        });
        let rule = (pattern, prop::sample::select(vec![80, 443]))
            .prop_map(|(host, port)| Rule { host, port });
        prop_oneof![
            Just(Policy::None),
            Just(Policy::Open),
            prop::collection::vec(rule, 1..6).prop_map(|rules| Policy::Allow(Rules::of(rules))),
        ]
    }

    proptest! {
        #[test]
        fn narrowed_allows_exactly_what_both_allow(
            a in policies(), b in policies(), name in names(), port in prop::sample::select(vec![80, 443])
        ) {
            let host = host(&name);
            let both = a.allows(&host, port) && b.allows(&host, port);
            prop_assert_eq!(a.narrowed_by(&b).allows(&host, port), both);
        }
    }
}
