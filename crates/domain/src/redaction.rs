//! What was taken out of a step's output: by name and number, never by value or place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most rows that the report of a step has.
pub const MOST: usize = 20;

/// How a value was written where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "RedactionEncoding"))]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As it is.
    Raw,
    /// A part of it: half of a pair, a string inside JSON, a password inside a URL, the body of a
    /// PEM block.
    Part,
    /// One of its lines.
    Line,
    /// With other line ends, with escaped ones, or on one line.
    Newlines,
    /// As a string of JSON.
    Json,
    /// As a string literal of Go, Python or C.
    Literal,
    /// Quoted for a shell.
    Shell,
    /// With the entities of XML or HTML.
    Xml,
    /// Percent-encoded, as in URLs.
    Percent,
    /// In hexadecimal digits.
    Hex,
    /// In base64.
    Base64,
    /// In base64 that is broken into lines.
    Base64Wrapped,
    /// In UTF-16LE.
    Utf16,
}

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "RedactionStream"))]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The step's result.
    Result,
    /// The name of an artifact.
    Artifact,
}

/// How often a secret's value was taken out of one stream of a step, in one encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// The environment variable that holds the secret.
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::env_name"))]
    pub key: String,
    pub stream: Stream,
    pub encoding: Encoding,
    /// How often, at least 1.
    pub count: u64,
}

/// The rows of a report: the most frequent ones, in order, each key, stream and encoding once.
#[must_use]
pub fn reported(all: Vec<Redaction>) -> Vec<Redaction> {
    let mut counts = BTreeMap::new();
    for row in all {
        let count: &mut u64 = counts
            .entry((row.key, row.stream, row.encoding))
            .or_default();
        *count = count.saturating_add(row.count);
    }
    let row = |((key, stream, encoding), count)| Redaction {
        key,
        stream,
        encoding,
        count,
    };
    let mut all: Vec<Redaction> = counts.into_iter().map(row).collect();
    all.sort_by_key(|row| std::cmp::Reverse(row.count));
    all.truncate(MOST);
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_rows_are_reported() {
        let row = |count| Redaction {
            key: format!("KEY_{:03}", 100 - count),
            stream: Stream::Stdout,
            encoding: Encoding::Raw,
            count,
        };
        let kept = reported((1..=30).map(row).collect());
        let counts: Vec<u64> = kept.iter().map(|row| row.count).collect();
        assert_eq!(counts, (11..=30).rev().collect::<Vec<u64>>());
    }
}
