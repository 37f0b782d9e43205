//! Egress policies: which hosts a step may reach.
//!
//! A profile names hosts and ports, and methods and paths if it wants. Several levels narrow each
//! other: a step reaches what every level allows that says anything. The egress proxy of a sandbox
//! holds a policy against the host that a program asks for, before it resolves the name, so a
//! policy says nothing about addresses that a name has. Which of those are refused is the proxy's
//! own matter.

mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;
use crate::names::is_env_key;
pub use request::{InvalidMethod, InvalidPath, Method, Path, PathPattern};

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

use text;

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

/// Allows one port of a host, or of all hosts below a name. Without `methods` and `paths`, the
/// proxy lets all bytes through; with one of them, only HTTP, which it reads.
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
    /// The HTTP methods that it allows; all if absent. `GET` does not allow `HEAD`.
    #[serde(
        default,
        deserialize_with = "request::some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::methods"))]
    pub methods: Option<BTreeSet<Method>>,
    /// The paths that it allows; all if absent.
    #[serde(
        default,
        deserialize_with = "request::some",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::paths"))]
    pub paths: Option<BTreeSet<PathPattern>>,
}

/// Where the value of a secret may be sent by a proxy that holds it for a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressBinding"))]
#[serde(deny_unknown_fields)]
pub struct Binding {
    pub host: HostPattern,
    /// A TCP port.
    #[serde(default = "https", skip_serializing_if = "is_https")]
    #[cfg_attr(feature = "openapi", schemars(range(min = 1)))]
    pub port: u16,
    /// All paths if absent.
    #[serde(
        default,
        deserialize_with = "path",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::path"))]
    pub path: Option<PathPattern>,
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

/// Why an egress proxy did not let a step reach a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressDenied"))]
#[serde(rename_all = "snake_case")]
pub enum Denied {
    /// The policy has no rule for it.
    NoRule,
    /// It has an address that no step may reach.
    Address,
    /// No rule for the host allows the method on this path.
    NoMethod,
    /// No rule for the host allows the path.
    NoPath,
    /// A program asked for a host that the policy allows, and then named another one in TLS.
    Sni,
    /// A request held the placeholder of a secret that may not be sent there.
    CredentialMismatch,
    /// A request needed a secret that has been revoked.
    CredentialWithdrawn,
}

/// How often a step was kept from one port of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressDenial"))]
#[serde(deny_unknown_fields)]
pub struct Denial {
    pub host: HostName,
    pub port: u16,
    pub reason: Denied,
    /// The secret that the request was about, by the name of its variable.
    #[serde(
        default,
        deserialize_with = "env_key",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::env_name"))]
    pub key: Option<String>,
    pub count: u64,
}

/// What a proxy has refused in a while: [`limits::EGRESS_ROWS`] rows at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressDenials"))]
#[serde(deny_unknown_fields)]
pub struct Denials {
    /// By host, port, reason and key, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::EGRESS_ROWS)))]
    pub rows: Vec<Denial>,
    /// How often it refused hosts that have no row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub others: u64,
}

/// How often a step reached one port of a host, and how much went over those connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressReach"))]
pub struct Reach {
    pub host: HostName,
    pub port: u16,
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// Connections, and the bytes that went over them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressTraffic"))]
pub struct Traffic {
    pub connections: u64,
    /// Bytes from the step to the host.
    pub sent: u64,
    /// Bytes from the host to the step.
    pub received: u64,
}

/// What a step has reached: [`limits::EGRESS_ROWS`] rows at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "EgressReached"))]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// By host and port, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(length(max = limits::EGRESS_ROWS)))]
    pub rows: Vec<Reach>,
    /// Hosts that have no row.
    #[serde(default, skip_serializing_if = "Traffic::is_none")]
    pub others: Traffic,
}

/// A text that names no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host is a DNS name as `api.example.com`, `*.example.com` for all names below it, or an IP address"
)]
pub struct InvalidHost;

/// The port of a rule that names none.
pub const HTTPS: u16 = 443;

/// A met policy that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the egress rules of its profiles make more than {} rules together; let fewer levels name methods or paths",
    limits::EGRESS_MET_RULES
)]
pub struct TooManyRules;

fn env_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let key = Option::<String>::deserialize(deserializer)?;
    match key {
        Some(key) if !is_env_key(&key) => Err(serde::de::Error::custom(
            "a key is the name of an environment variable",
        )),
        key => Ok(key),
    }
}

/// A path that is there: `null` would look like one that is not.
fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathPattern>, D::Error> {
    PathPattern::deserialize(deserializer).map(Some)
}

const fn https() -> u16 {
    HTTPS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_https(port: &u16) -> bool {
    *port == HTTPS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Denials {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.others == 0
    }

    /// The same, without the names of the hosts that are to be `hidden`.
    #[must_use]
    pub fn without(self, hidden: impl Fn(&HostName) -> bool) -> Self {
        let (unnamed, rows): (Vec<Denial>, _) =
            self.rows.into_iter().partition(|row| hidden(&row.host));
        let counts = unnamed.iter().map(|row| row.count);
        Self {
            others: counts.fold(self.others, u64::saturating_add),
            rows,
        }
    }

    /// These and others: the most frequent ones by name.
    #[must_use]
    pub fn with(self, more: Self) -> Self {
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        let mut others = self.others.saturating_add(more.others);
        for row in self.rows.into_iter().chain(more.rows) {
            let key = (row.host, row.port, row.reason, row.key);
            let count = counts.entry(key).or_default();
            *count = count.saturating_add(row.count);
        }
        let mut rows: Vec<Denial> = counts
            .into_iter()
            .map(|((host, port, reason, key), count)| Denial {
                host,
                port,
                reason,
                key,
                count,
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        let left_out = rows.split_off(rows.len().min(limits::EGRESS_ROWS));
        for row in left_out {
            others = others.saturating_add(row.count);
        }
        Self { rows, others }
    }
}

impl Traffic {
    /// Whether nothing was reached.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    #[must_use]
    fn and(self, more: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(more.connections),
            sent: self.sent.saturating_add(more.sent),
            received: self.received.saturating_add(more.received),
        }
    }
}

impl Reached {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.others.is_none()
    }

    /// The same, without the names of the hosts that are to be `hidden`.
    #[must_use]
    pub fn without(self, hidden: impl Fn(&HostName) -> bool) -> Self {
        let (unnamed, rows): (Vec<Reach>, _) =
            self.rows.into_iter().partition(|row| hidden(&row.host));
        let traffic = unnamed.into_iter().map(|row| row.traffic);
        Self {
            others: traffic.fold(self.others, Traffic::and),
            rows,
        }
    }

    /// The same, with each host and port once, and those of the most connections by name.
    #[must_use]
    pub fn bounded(self) -> Self {
        let mut all: BTreeMap<_, Traffic> = BTreeMap::new();
        for row in self.rows {
            let traffic = all.entry((row.host, row.port)).or_default();
            *traffic = traffic.and(row.traffic);
        }
        let row = |((host, port), traffic)| Reach {
            host,
            port,
            traffic,
        };
        let mut rows: Vec<Reach> = all.into_iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.traffic.connections));
        let left_out = rows.split_off(rows.len().min(limits::EGRESS_ROWS));
        let traffic = left_out.into_iter().map(|row| row.traffic);
        Self {
            others: traffic.fold(self.others, Traffic::and),
            rows,
        }
    }
}

impl Policy {
    /// Whether a step may reach this port of a host: all of it, or some requests.
    #[must_use]
    pub fn allows(&self, host: &HostName, port: u16) -> bool {
        match self {
            Self::None => false,
            Self::Open => true,
            Self::Allow(rules) => rules.iter().any(|rule| rule.allows(host, port)),
        }
    }

    /// Whether a step may send any bytes to this port of a host.
    #[must_use]
    pub fn allows_all(&self, host: &HostName, port: u16) -> bool {
        match self {
            Self::None => false,
            Self::Open => true,
            Self::Allow(rules) => rules
                .iter()
                .any(|rule| rule.allows(host, port) && rule.is_whole()),
        }
    }

    /// Whether a step may send a request. `path` is as the request has it, without its query.
    ///
    /// # Errors
    /// What is missing.
    pub fn judge(
        &self,
        host: &HostName,
        port: u16,
        method: &str,
        path: &str,
    ) -> Result<(), Denied> {
        let rules = match self {
            Self::None => return Err(Denied::NoRule),
            Self::Open => return Ok(()),
            Self::Allow(rules) => rules,
        };
        let path = Path::of_request(path);
        let of_host: Vec<_> = rules
            .iter()
            .filter(|rule| rule.allows(host, port))
            .map(|rule| (rule.has_path(path.as_ref()), rule.has_method(method)))
            .collect();
        match of_host.as_slice() {
            [] => Err(Denied::NoRule),
            some if some.contains(&(true, true)) => Ok(()),
            some if some.contains(&(true, false)) => Err(Denied::NoMethod),
            _ => Err(Denied::NoPath),
        }
    }

    /// The policy that allows what both allow.
    ///
    /// # Errors
    /// Rules with methods and paths multiply when levels meet. There is a bound to it.
    pub fn narrowed_by(&self, other: &Self) -> Result<Self, TooManyRules> {
        let (own, theirs) = match (self, other) {
            (Self::None, _) | (_, Self::None) => return Ok(Self::None),
            (Self::Open, narrower) | (narrower, Self::Open) => return Ok(narrower.clone()),
            (Self::Allow(own), Self::Allow(theirs)) => (own, theirs),
        };
        let pairs = own.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
        let (mut met, mut paths) = (BTreeSet::new(), 0);
        for rule in pairs.filter_map(|(a, b)| a.both(b)) {
            let more = rule.paths.as_ref().map_or(0, BTreeSet::len);
            if met.insert(rule) {
                paths += more;
            }
            if met.len() > limits::EGRESS_MET_RULES || paths > limits::EGRESS_MET_PATHS {
                return Err(TooManyRules);
            }
        }
        Ok(match Rules::of(met) {
            rules if rules.is_empty() => Self::None,
            rules => Self::Allow(rules),
        })
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
        let methods = rules.iter().filter_map(|rule| rule.methods.as_ref());
        if methods
            .map(BTreeSet::len)
            .any(|of| of > limits::EGRESS_METHODS)
        {
            return Err(format!(
                "a rule has {} methods at most",
                limits::EGRESS_METHODS
            ));
        }
        let paths = rules.iter().filter_map(|rule| rule.paths.as_ref());
        if paths.map(BTreeSet::len).sum::<usize>() > limits::EGRESS_PATHS {
            return Err(format!(
                "{} paths at most, of all rules",
                limits::EGRESS_PATHS
            ));
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
        let all: BTreeSet<Rule> = rules.into_iter().map(Rule::reduced).collect();
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
    /// A rule for all bytes.
    #[must_use]
    pub const fn whole(host: HostPattern, port: u16) -> Self {
        Self {
            host,
            port,
            methods: None,
            paths: None,
        }
    }

    /// Whether it allows this port of a host: all of it, or some requests.
    #[must_use]
    pub fn allows(&self, host: &HostName, port: u16) -> bool {
        self.port == port && self.host.matches(host)
    }

    /// Whether it allows any bytes.
    const fn is_whole(&self) -> bool {
        self.methods.is_none() && self.paths.is_none()
    }

    fn has_method(&self, method: &str) -> bool {
        let methods = self.methods.as_ref();
        methods.is_none_or(|own| own.iter().any(|own| own.as_str() == method))
    }

    /// A path that can be read in two ways is in no rule that has paths.
    fn has_path(&self, path: Option<&Path>) -> bool {
        let matches = |own: &BTreeSet<PathPattern>| {
            path.is_some_and(|path| own.iter().any(|pattern| pattern.matches(path)))
        };
        self.paths.as_ref().is_none_or(matches)
    }

    fn covers(&self, other: &Self) -> bool {
        let methods = match (&self.methods, &other.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(theirs)) => own.is_superset(theirs),
        };
        let paths = match (&self.paths, &other.paths) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(theirs)) => theirs
                .iter()
                .all(|path| own.iter().any(|above| above.covers(path))),
        };
        self.port == other.port && self.host.covers(&other.host) && methods && paths
    }

    /// The rule that allows what both allow. Hosts and paths are trees, so the meet of two of them
    /// is one of the two.
    fn both(&self, other: &Self) -> Option<Self> {
        let host = match (self.host.covers(&other.host), other.host.covers(&self.host)) {
            (true, _) => &other.host,
            (_, true) => &self.host,
            _ => return None,
        };
        (self.port == other.port).then_some(Self {
            host: host.clone(),
            port: self.port,
            methods: request::methods_of_both(self.methods.as_ref(), other.methods.as_ref())?,
            paths: request::paths_of_both(self.paths.as_ref(), other.paths.as_ref())?,
        })
    }

    /// The same without paths that another one covers.
    fn reduced(mut self) -> Self {
        if let Some(paths) = &mut self.paths {
            let all = paths.clone();
            paths.retain(|path| !all.iter().any(|other| other != path && other.covers(path)));
        }
        self
    }
}

/// `HOST:PORT`, and then its methods and paths, if it has any.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::Host(HostName::Address(IpAddr::V6(address))) => {
                write!(f, "[{address}]:{}", self.port)?;
            }
            host => write!(f, "{host}:{}", self.port)?,
        }
        for method in self.methods.iter().flatten() {
            write!(f, " {method}")?;
        }
        for path in self.paths.iter().flatten() {
            write!(f, " {path}")?;
        }
        Ok(())
    }
}

impl Binding {
    /// Whether a request may carry the value. `path` is as the request has it, without its query.
    #[must_use]
    pub fn allows(&self, host: &HostName, port: u16, path: &str) -> bool {
        let has_path =
            |own: &PathPattern| Path::of_request(path).is_some_and(|path| own.matches(&path));
        self.binds(host, port) && self.path.as_ref().is_none_or(has_path)
    }

    /// Whether it is about this port of a host.
    #[must_use]
    pub fn binds(&self, host: &HostName, port: u16) -> bool {
        self.port == port && self.host.matches(host)
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
        let met = |a: &Policy, b: &Policy| a.narrowed_by(b).expect("few rules");
        assert_eq!(met(&lower, &upper), both);
        assert_eq!(met(&upper, &lower), both);
        assert_eq!(met(&Policy::Open, &lower), lower);
        assert_eq!(met(&lower, &Policy::None), Policy::None);
        let other = policy(r#"{"allow":[{"host":"c.test"}]}"#);
        assert_eq!(met(&lower, &other), Policy::None);
    }

    #[test]
    fn it_is_written_as_people_write_it() {
        for text in [
            r#""none""#,
            r#""open""#,
            r#"{"allow":[{"host":"a.example"},{"host":"*.b.example","port":8443}]}"#,
            r#"{"allow":[{"host":"a.example","methods":["GET","POST"],"paths":["/v1","/v1/*"]}]}"#,
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
            r#"{"allow":[{"host":"a.example","methods":[]}]}"#,
            r#"{"allow":[{"host":"a.example","methods":null}]}"#,
            r#"{"allow":[{"host":"a.example","methods":["get"]}]}"#,
            r#"{"allow":[{"host":"a.example","paths":[]}]}"#,
            r#"{"allow":[{"host":"a.example","paths":["v1"]}]}"#,
            r#"{"allow":[{"host":"a.example","queries":["a"]}]}"#,
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

    #[test]
    fn denials_are_bounded_and_none_is_lost() {
        let row = |at: u64| Denial {
            host: host(&format!("h{at}.example")),
            port: 443,
            reason: Denied::NoRule,
            key: None,
            count: at,
        };
        let some = |rows: std::ops::Range<u64>| Denials {
            rows: rows.map(row).collect(),
            others: 1,
        };
        let all = some(1..60).with(some(30..200));
        assert_eq!(all.rows.len(), limits::EGRESS_ROWS);
        assert_eq!(all.rows[0].host, host("h199.example"));
        let named: u64 = all.rows.iter().map(|row| row.count).sum();
        let tried: u64 = (1..60).chain(30..200).sum();
        assert_eq!(named + all.others, tried + 2);
        assert!(Denials::default().is_empty());
    }

    #[test]
    fn what_a_proxy_tells_has_well_formed_hosts() {
        let denials =
            r#"{"rows":[{"host":"a.example","port":443,"reason":"no_rule","count":2}],"others":1}"#;
        let reached = r#"{"rows":[{"host":"2600::1","port":80,"connections":1,"sent":2,"received":3}],"others":{"connections":4,"sent":0,"received":0}}"#;
        let read: Denials = serde_json::from_str(denials).expect("denials");
        assert_eq!(serde_json::to_string(&read).expect("json"), denials);
        let read: Reached = serde_json::from_str(reached).expect("what was reached");
        assert_eq!(serde_json::to_string(&read).expect("json"), reached);
        let hostile = denials.replace("a.example", "a\\u001b[2J.example");
        assert!(serde_json::from_str::<Denials>(&hostile).is_err());
    }

    fn names() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b.a", "c.b.a", "b", "c.b", "ab", "10.0.0.1"])
            .prop_map(str::to_owned)
    }

    fn methods() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["GET", "POST", "PUT"])
    }

    fn policies() -> impl Strategy<Value = Policy> {
        let pattern = (names(), any::<bool>()).prop_filter_map("a pattern", |(name, below)| {
            let text = if below { format!("*.{name}") } else { name };
            text.parse::<HostPattern>().ok()
        });
        let some = prop::collection::btree_set(methods(), 1..3).prop_map(|all| {
            all.iter()
                .map(|method| method.parse().expect("a method"))
                .collect()
        });
        let paths = prop::sample::select(vec!["/", "/*", "/a", "/a/", "/a/*", "/a/b", "/a/b/*"]);
        let paths = prop::collection::btree_set(paths, 1..4).prop_map(|all| {
            all.iter()
                .map(|path| path.parse().expect("a path"))
                .collect()
        });
        let port = prop::sample::select(vec![80, 443]);
        let rule = (
            pattern,
            port,
            prop::option::of(some),
            prop::option::of(paths),
        );
        let rule = rule.prop_map(|(host, port, methods, paths)| Rule {
            host,
            port,
            methods,
            paths,
        });
        prop_oneof![
            Just(Policy::None),
            Just(Policy::Open),
            prop::collection::vec(rule, 1..6).prop_map(|rules| Policy::Allow(Rules::of(rules))),
        ]
    }

    #[test]
    fn a_request_is_judged_by_method_and_path() {
        let policy = policy(
            r#"{"allow":[{"host":"a.test","methods":["GET"]},{"host":"a.test","methods":["POST"],"paths":["/v1/*"]},{"host":"b.test"},{"host":"*.c.test","paths":["/v1/*"]}]}"#,
        );
        let judge = |name: &str, method, path| policy.judge(&host(name), 443, method, path);
        for (name, method, path) in [
            ("a.test", "GET", "/any"),
            ("a.test", "GET", "/any//path"),
            ("a.test", "POST", "/v1/x"),
            ("b.test", "PUT", "/.."),
            ("x.c.test", "PUT", "/v1/x"),
        ] {
            assert_eq!(judge(name, method, path), Ok(()), "{name} {method} {path}");
        }
        for (name, method, path, denied) in [
            ("a.test", "POST", "/v2", Denied::NoMethod),
            ("a.test", "HEAD", "/v1/x", Denied::NoMethod),
            ("a.test", "POST", "/v1/../x", Denied::NoMethod),
            ("x.c.test", "GET", "/v2", Denied::NoPath),
            ("x.c.test", "GET", "/v1/%2e%2e/v2", Denied::NoPath),
            ("c.test", "GET", "/v1/x", Denied::NoRule),
        ] {
            assert_eq!(
                judge(name, method, path),
                Err(denied),
                "{name} {method} {path}"
            );
        }
        assert!(policy.allows(&host("a.test"), 443) && !policy.allows_all(&host("a.test"), 443));
        assert!(policy.allows_all(&host("b.test"), 443));
        assert_eq!(
            policy.to_string(),
            "a.test:443 GET, a.test:443 POST /v1/*, b.test:443, *.c.test:443 /v1/*"
        );
    }

    #[test]
    fn levels_may_not_multiply_without_bound() {
        let of_hosts = (0..limits::EGRESS_RULES).map(|n| format!(r#"{{"host":"h{n}.test"}}"#));
        let of_paths = (0..limits::EGRESS_RULES)
            .map(|n| format!(r#"{{"host":"*.test","methods":["M{n}"],"paths":["/{n}"]}}"#));
        let allow = |rules: Vec<String>| policy(&format!(r#"{{"allow":[{}]}}"#, rules.join(",")));
        let (hosts, paths) = (allow(of_hosts.collect()), allow(of_paths.collect()));
        assert!(hosts.check().is_ok() && paths.check().is_ok());
        assert_eq!(hosts.narrowed_by(&paths), Err(TooManyRules));
        assert_eq!(hosts.narrowed_by(&hosts).as_ref(), Ok(&hosts));
        let many: Vec<String> = (0..=limits::EGRESS_PATHS)
            .map(|n| format!(r#""/{n}""#))
            .collect();
        let many = format!(
            r#"{{"allow":[{{"host":"a.test","paths":[{}]}}]}}"#,
            many.join(",")
        );
        assert!(policy(&many).check().is_err());
    }

    #[test]
    fn a_binding_is_a_host_a_port_and_paths() {
        let read = |json: &str| serde_json::from_str::<Binding>(json).expect("a binding");
        let binding = read(r#"{"host":"*.a.test","path":"/v1/*"}"#);
        assert!(binding.allows(&host("x.a.test"), 443, "/v1/x"));
        for (name, port, path) in [
            ("a.test", 443, "/v1/x"),
            ("x.a.test", 80, "/v1/x"),
            ("x.a.test", 443, "/v2"),
            ("x.a.test", 443, "/v1/../v2"),
        ] {
            assert!(
                !binding.allows(&host(name), port, path),
                "{name}:{port}{path}"
            );
        }
        assert!(read(r#"{"host":"a.test"}"#).allows(&host("a.test"), 443, "/a//b"));
    }

    #[test]
    fn a_key_that_is_told_is_the_name_of_a_variable() {
        let row =
            r#"{"host":"a.test","port":443,"reason":"credential_mismatch","key":"KEY","count":1}"#;
        let read: Denial = serde_json::from_str(row).expect("a row");
        assert_eq!(serde_json::to_string(&read).expect("json"), row);
        assert!(serde_json::from_str::<Denial>(&row.replace("KEY", "a\\u001b[2J")).is_err());
    }

    proptest! {
        #[test]
        fn narrowed_allows_exactly_what_both_allow(
            a in policies(), b in policies(), name in names(), port in prop::sample::select(vec![80, 443]),
            method in methods(), path in prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/b/c", "/c", "/a//b"])
        ) {
            let host = host(&name);
            let met = a.narrowed_by(&b).expect("few rules");
            let both = a.allows_all(&host, port) && b.allows_all(&host, port);
            prop_assert_eq!(met.allows_all(&host, port), both);
            let judge = |policy: &Policy| policy.judge(&host, port, method, path).is_ok();
            prop_assert_eq!(judge(&met), judge(&a) && judge(&b));
            prop_assert!(!judge(&met) || met.allows(&host, port));
            let read: Policy = serde_json::from_str(&serde_json::to_string(&met).expect("json")).expect("a policy");
            prop_assert_eq!(read, met);
        }
    }
}
