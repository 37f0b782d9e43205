//! What a rule says of requests: HTTP methods, and paths.
//!
//! A path is compared as every server must read it. One that two servers could read differently
//! matches nothing: `/public/../admin`, `/public/%2e%2e/admin`, `/public//admin`,
//! `/public%2Fadmin`, `/public/..;/admin`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

/// An HTTP method, as `GET`. Methods are told apart by case (RFC 9110, 9.1), and all that are in
/// use are written in capitals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(String);

/// A text that is no method of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a method is written in capitals, as `GET`, and is not `CONNECT`")]
pub struct InvalidMethod;

/// `/v1/messages` for one path, `/v1/*` for every path that begins with `/v1/`. A query is no part
/// of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathPattern {
    /// One path.
    Exact(Path),
    /// Every path that begins with this one, which ends with a slash.
    Below(Path),
}

/// The path of a request in a form that can be compared: what RFC 3986, 6.2.2 says to be the same
/// is written the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

/// A text that is no path of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a path begins with `/`, as `/v1/messages`, or ends with `/*` for all paths below it; it has no query, no empty part, no `.`, `..`, `;` or other `*`, and nothing that two servers could read differently"
)]
pub struct InvalidPath;

impl Method {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Method {
    type Err = InvalidMethod;

    fn from_str(text: &str) -> Result<Self, InvalidMethod> {
        let is_letter = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"-_".contains(&c);
        let is_method = (1..=limits::METHOD_BYTES).contains(&text.len())
            && text.bytes().all(is_letter)
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text != "CONNECT";
        is_method
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidMethod)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Path {
    /// The path of a request, without its query. `None` if two servers could read it differently:
    ///
    /// - parts that are `.` or `..`, also before a `;`, which some servers cut off;
    /// - empty parts, which some servers leave out, but for the last;
    /// - a slash, a backslash, a `;`, a `%` or a control character that is written in percent;
    /// - a backslash, and what is not ASCII;
    /// - bytes that are not UTF-8, of which some are a slash to old decoders.
    #[must_use]
    pub fn of_request(path: &str) -> Option<Self> {
        let (mut plain, mut bytes) = (String::with_capacity(path.len()), Vec::new());
        let mut rest = path.bytes();
        while let Some(byte) = rest.next() {
            let is_encoded = byte == b'%';
            let byte = match byte {
                b'%' => 16 * hex(rest.next()?)? + hex(rest.next()?)?,
                b'\\' | b'?' | b'#' => return None,
                other => other,
            };
            bytes.push(byte);
            match byte {
                b'/' | b'\\' | b';' | b'%' if is_encoded => return None,
                0..=b' ' | 0x7f => return None,
                _ if is_unreserved(byte) => plain.push(char::from(byte)),
                _ if is_encoded => plain.push_str(&format!("%{byte:02X}")),
                b'!'..=b'~' => plain.push(char::from(byte)),
                _ => return None,
            }
        }
        let (first, parts) = plain.split_once('/')?;
        let last = parts.split('/').count() - 1;
        let is_clear = |(at, part): (usize, &str)| {
            let name = part.split(';').next().unwrap_or_default();
            !matches!(name, "." | "..") && (!name.is_empty() || at == last && part.is_empty())
        };
        let is_clear = first.is_empty()
            && parts.split('/').enumerate().all(is_clear)
            && std::str::from_utf8(&bytes).is_ok();
        is_clear.then_some(Self(plain))
    }
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// RFC 3986, 2.3: these mean the same with and without percent.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PathPattern {
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        match self {
            Self::Exact(own) => own == path,
            Self::Below(above) => path.0.starts_with(&above.0),
        }
    }

    /// Whether it matches all that the other one matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(path)) => self.matches(path),
            (Self::Below(own), Self::Below(theirs)) => theirs.0.starts_with(&own.0),
            (Self::Exact(_), Self::Below(_)) => false,
        }
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        if text.len() > limits::EGRESS_PATH_BYTES {
            return Err(InvalidPath);
        }
        let (path, is_below) = match text.strip_suffix('*') {
            Some(above) if above.ends_with('/') => (above, true),
            _ => (text, false),
        };
        match Path::of_request(path) {
            Some(path) if path.0.contains(['*', ';']) => Err(InvalidPath),
            Some(path) if is_below => Ok(Self::Below(path)),
            Some(path) => Ok(Self::Exact(path)),
            None => Err(InvalidPath),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => path.fmt(f),
            Self::Below(above) => write!(f, "{above}*"),
        }
    }
}

super::text! { Method PathPattern }

/// What both sets have, where an absent set has all. `None` if they have nothing in common.
pub(super) fn methods_of_both(
    own: Option<&BTreeSet<Method>>,
    theirs: Option<&BTreeSet<Method>>,
) -> Option<Option<BTreeSet<Method>>> {
    common(own, theirs, |own, theirs| {
        own.intersection(theirs).cloned().collect()
    })
}

/// As [`methods_of_both`]. Paths are a tree: of two patterns that have a path in common, one covers
/// the other.
pub(super) fn paths_of_both(
    own: Option<&BTreeSet<PathPattern>>,
    theirs: Option<&BTreeSet<PathPattern>>,
) -> Option<Option<BTreeSet<PathPattern>>> {
    common(own, theirs, |own, theirs| {
        let within = |set: &BTreeSet<PathPattern>, of: &BTreeSet<PathPattern>| {
            let is_in = |path: &&PathPattern| set.iter().any(|above| above.covers(path));
            of.iter().filter(is_in).cloned().collect::<Vec<_>>()
        };
        let all = within(own, theirs).into_iter().chain(within(theirs, own));
        all.collect()
    })
}

fn common<T: Clone + Ord>(
    own: Option<&BTreeSet<T>>,
    theirs: Option<&BTreeSet<T>>,
    both: impl FnOnce(&BTreeSet<T>, &BTreeSet<T>) -> BTreeSet<T>,
) -> Option<Option<BTreeSet<T>>> {
    match (own, theirs) {
        (Some(own), Some(theirs)) => match both(own, theirs) {
            none if none.is_empty() => None,
            some => Some(Some(some)),
        },
        (own, theirs) => Some(own.or(theirs).cloned()),
    }
}

/// Reads a set that is there. An empty one, or `null`, would look like one that is not.
pub(super) fn some<'de, D, T>(deserializer: D) -> Result<Option<BTreeSet<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    let set = BTreeSet::deserialize(deserializer)?;
    if set.is_empty() {
        return Err(D::Error::custom(
            "name one at least, or leave it out to allow all",
        ));
    }
    Ok(Some(set))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.parse().expect("a pattern")
    }

    fn matches(own: &str, path: &str) -> bool {
        Path::of_request(path).is_some_and(|path| pattern(own).matches(&path))
    }

    #[test]
    fn a_pattern_is_one_path_or_all_below_it() {
        for (own, path) in [
            ("/", "/"),
            ("/*", "/"),
            ("/*", "/a/b"),
            ("/v1/messages", "/v1/messages"),
            ("/v1/messages", "/v1/%6Dessages"),
            ("/v1/*", "/v1/"),
            ("/v1/*", "/v1/a/"),
            ("/a%2a", "/a%2A"),
            ("/~a", "/%7ea"),
            ("/p/*", "/p/a;b=c"),
        ] {
            assert!(matches(own, path), "{own} {path}");
        }
        for (own, path) in [
            ("/v1/messages", "/v1/messages/"),
            ("/v1/messages", "/V1/messages"),
            ("/v1/messages", "/v1/messages;a"),
            ("/v1/*", "/v1"),
            ("/v1/*", "/v10/a"),
            ("/v1/*", "/v1%2Fa"),
        ] {
            assert!(!matches(own, path), "{own} {path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_matches_nothing() {
        for path in [
            "",
            "*",
            "a",
            "//",
            "/a//b",
            "//a",
            "/public/../admin",
            "/public/..",
            "/public/./admin",
            "/public/%2e%2e/admin",
            "/public/.%2E/admin",
            "/public/..;/admin",
            "/public/..;x=y/admin",
            "/public/;/admin",
            "/public/%2e%2e%3b/admin",
            "/public%2fadmin",
            "/public%2F..%2Fadmin",
            "/public%5c..%5cadmin",
            "/public\\..\\admin",
            "/public/%252e%252e/admin",
            "/public/%25",
            "/public/%00",
            "/public/%0a",
            "/public/%c0%ae%c0%ae/admin",
            "/public/%c0%af",
            "/public/%",
            "/public/%2",
            "/public/%zz",
            "/public/ä",
            "/public/a b",
            "/public/\u{1}",
        ] {
            assert_eq!(Path::of_request(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_pattern_or_method_is_refused() {
        let long = format!("/{}", "a".repeat(limits::EGRESS_PATH_BYTES));
        for text in [
            "",
            "v1",
            "*",
            "/v1*",
            "/*/a",
            "/a/*/",
            "/a?b",
            "/a#b",
            "/a;b",
            "/a/../b",
            "/a//b",
            "/a%2fb",
            "https://a/b",
            &long,
        ] {
            assert_eq!(text.parse::<PathPattern>(), Err(InvalidPath), "{text}");
        }
        for text in ["", "get", "Get", "GET ", "GE T", "CONNECT", "1", "*"] {
            assert_eq!(text.parse::<Method>(), Err(InvalidMethod), "{text}");
        }
        assert_eq!(
            "M-SEARCH".parse::<Method>().expect("a method").as_str(),
            "M-SEARCH"
        );
    }

    proptest! {
        /// What was compared is what a server reads, whether it decodes first or splits first.
        #[test]
        fn a_path_has_one_meaning(text in "(/|\\.|%2[eEfF5]|%5[cC]|;|a|%61|%3[bB]|%[cC]0|%[aA][fF]|\\\\){0,12}") {
            let Some(path) = Path::of_request(&text) else { return Ok(()) };
            prop_assert_eq!(Path::of_request(&path.0), Some(path.clone()));
            let mut decoded = text.clone();
            for (from, to) in [("%2e", "."), ("%2E", "."), ("%61", "a")] {
                decoded = decoded.replace(from, to);
            }
            prop_assert!(!decoded.contains('%') && !decoded.contains("//"), "{}", text);
            prop_assert!(decoded.split('/').all(|part| !part.starts_with("..;") && part != ".." && part != "."));
        }
    }
}
