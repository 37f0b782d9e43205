//! What was taken out of a step's output: by name and number, never by value or place.

use serde::{Deserialize, Serialize};

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
}

/// How often a secret's value was taken out of one stream of a step, in one encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Redaction {
    /// The environment variable that holds the secret.
    pub key: String,
    pub stream: Stream,
    pub encoding: Encoding,
    /// How often, at least 1.
    pub count: u64,
}
