//! The archive of the audit trail in S3: the names of its objects, and their bytes.
//!
//! An object's name says what the object holds: the trail, the day, the shard of the audit table,
//! and the first and last position in that shard. Equal rows give an equal name. They also give
//! equal bytes, because no part of an object depends on when it was written. So exporting again
//! writes an object that exists already.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use sealfleet_domain::Timestamp;

/// Prefix of exported events.
pub const EVENTS: &str = "audit/";
/// Prefix of rows that could not be exported.
pub const SET_ASIDE: &str = "set-aside/";
/// Prefix of digests.
pub const DIGESTS: &str = "digests/";
/// Prefix of the parts of digests.
pub const DIGEST_PARTS: &str = "digest-parts/";
/// Prefix of notes that a day is being exported again. They tell the next digest to look at that
/// day.
pub const RE_EXPORTS: &str = "re-exports/";

/// Bytes of a line's hash that a digest keeps to find the line: enough to distinguish the lines of
/// one object. The whole SHA-256 of the object is what reveals an edit.
pub const LOCATOR_BYTES: usize = 6;

/// The most bytes that an object may unpack to. Exported objects are far smaller, so a larger one
/// is not ours.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// The parsed name of an object with events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// The trail: a project, or `~system`.
    pub project: String,
    /// The UTC day, `YYYY-MM-DD`.
    pub day: String,
    /// The shard of the day in the audit table.
    pub shard: u8,
    /// The first and last row in it.
    pub span: Span,
}

/// The first and last row of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// Sequence numbers of the table's stream.
    Stream { first: String, last: String },
    /// Ids of entries, for rows that were exported again from the table.
    Table { first: String, last: String },
}

impl ObjectName {
    /// Prefix of all days of a trail.
    #[must_use]
    pub fn days(project: &str) -> String {
        format!("{EVENTS}project={project}/")
    }

    /// Prefix of one day of a trail.
    #[must_use]
    pub fn of_day(project: &str, day: &str) -> String {
        format!("{EVENTS}project={project}/date={day}/")
    }

    /// Parses a key. `None` when `export` would not write such a key.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let (project, rest) = key
            .strip_prefix(EVENTS)?
            .strip_prefix("project=")?
            .split_once("/date=")?;
        let (day, name) = rest.split_once('/')?;
        let (shard, span) = name.strip_suffix(".jsonl.gz")?.split_once('-')?;
        let span = match span.strip_prefix("table-") {
            Some(span) => {
                let (first, last) = span.split_once("-evt_")?;
                Span::Table {
                    first: first.to_owned(),
                    last: format!("evt_{last}"),
                }
            }
            None => {
                let (first, last) = span.split_once('-')?;
                let number =
                    |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_digit());
                if !number(first) || !number(last) {
                    return None;
                }
                Span::Stream {
                    first: first.to_owned(),
                    last: last.to_owned(),
                }
            }
        };
        let name = Self {
            project: project.to_owned(),
            day: day.to_owned(),
            shard: shard.parse().ok()?,
            span,
        };
        (name.to_string() == key).then_some(name)
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            project,
            day,
            shard,
            span,
        } = self;
        let prefix = Self::of_day(project, day);
        match span {
            Span::Stream { first, last } => {
                write!(f, "{prefix}{shard}-{first:0>40}-{last:0>40}.jsonl.gz")
            }
            Span::Table { first, last } => {
                write!(f, "{prefix}{shard}-table-{first}-{last}.jsonl.gz")
            }
        }
    }
}

/// The key of a row that was set aside.
#[must_use]
pub fn set_aside_key(day: &str, position: &str) -> String {
    format!("{SET_ASIDE}date={day}/{position}.json")
}

/// The key of the note that a day of a trail is being exported again.
#[must_use]
pub fn re_export_key(at: Timestamp, project: &str, day: &str) -> String {
    format!("{RE_EXPORTS}{at}/project={project}/date={day}")
}

/// The trail and day in the key of such a note.
#[must_use]
pub fn re_export_of(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix(RE_EXPORTS)?
        .split_once("/project=")?
        .1
        .split_once("/date=")
}

/// Packs lines with gzip. Equal lines give equal bytes, because the header holds neither a time nor
/// a name.
///
/// # Errors
/// Writing to memory does not fail; the error is that of the writer.
pub fn pack(lines: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::new(6));
    writer.write_all(lines)?;
    writer.finish()
}

/// Unpacks the result of [`pack`].
///
/// # Errors
/// When `bytes` are not gzip, are cut short, or are larger than any object of the archive.
pub fn unpack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    GzDecoder::new(bytes)
        .take(MOST_BYTES + 1)
        .read_to_end(&mut lines)?;
    if u64::try_from(lines.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(std::io::Error::other(
            "it unpacks to more than any object of the archive",
        ));
    }
    Ok(lines)
}

/// The content of an object. Unpacks it if its name says that it is packed.
///
/// # Errors
/// When it cannot be unpacked.
pub fn content(key: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    if key.to_ascii_lowercase().ends_with(".gz") {
        unpack(bytes)
    } else {
        Ok(bytes.to_vec())
    }
}

/// The lines of a content, without line ends. Text after the last line end is a line unless it is
/// empty.
pub fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = content.strip_suffix(b"\n").unwrap_or(content);
    ended
        .split(|byte| *byte == b'\n')
        .filter(move |_| !content.is_empty())
}

/// The part of a line's hash that a digest keeps.
#[must_use]
pub fn locator(line: &[u8]) -> [u8; LOCATOR_BYTES] {
    let mut locator = [0; LOCATOR_BYTES];
    for (to, from) in locator.iter_mut().zip(Sha256::digest(line)) {
        *to = from;
    }
    locator
}

/// Writes locators as a digest holds them: base64.
#[must_use]
pub fn write_locators(locators: &[[u8; LOCATOR_BYTES]]) -> String {
    BASE64_STANDARD.encode(locators.concat())
}

/// Parses them. `None` when the text is not valid.
#[must_use]
pub fn read_locators(text: &str) -> Option<Vec<[u8; LOCATOR_BYTES]>> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    bytes
        .chunks(LOCATOR_BYTES)
        .map(|chunk| chunk.try_into().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let stream = Span::Stream {
            first: format!("{:0>40}", 7),
            last: format!("{:0>40}", 12),
        };
        let table = Span::Table {
            first: "evt_0198c0de-0000-7000-8000-000000000001".to_owned(),
            last: "evt_0198c0de-0000-7000-8000-000000000002".to_owned(),
        };
        for span in [stream, table] {
            for project in ["a", "a-b", "~system"] {
                let name = ObjectName {
                    project: project.to_owned(),
                    day: "2026-01-31".to_owned(),
                    shard: 3,
                    span: span.clone(),
                };
                assert_eq!(
                    ObjectName::parse(&name.to_string()),
                    Some(name.clone()),
                    "{name}"
                );
            }
        }
        for foreign in [
            "audit/x",
            "audit/project=a/date=2026-01-31/3-1-2.jsonl.gz",
            "digests/1.json",
        ] {
            assert_eq!(ObjectName::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn equal_lines_make_equal_bytes() {
        let lines = b"{\"a\":1}\n{\"b\":2}\n".repeat(100);
        let packed = pack(&lines).expect("packed");
        assert_eq!(pack(&lines).expect("packed"), packed);
        assert_eq!(
            packed.get(4..8),
            Some(&[0, 0, 0, 0][..]),
            "the time in the header"
        );
        assert_eq!(unpack(&packed).expect("unpacked"), lines);
        assert!(
            unpack(packed.get(..packed.len() - 9).expect("longer")).is_err(),
            "cut short"
        );
    }

    #[test]
    fn a_line_is_a_line_with_or_without_its_end() {
        let count = |content: &[u8]| lines(content).count();
        assert_eq!(
            (
                count(b""),
                count(b"\n"),
                count(b"a"),
                count(b"a\n"),
                count(b"a\nb")
            ),
            (0, 1, 1, 1, 2)
        );
        let locators: Vec<_> = lines(b"a\nb\n").map(locator).collect();
        assert_eq!(read_locators(&write_locators(&locators)), Some(locators));
    }
}
