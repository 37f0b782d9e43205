//! The kinds of faults that verification finds, and their places.

use serde::Serialize;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No digest exists.
    NoDigests,
    /// The newest digests are missing: the chain ends too early.
    DigestsCut,
    /// Digests are missing, although later ones exist.
    DigestMissing,
    /// The file is not a digest.
    DigestUnreadable,
    /// The digest has another's key: digests were swapped, copied or renamed.
    DigestOutOfPlace,
    /// The next digest contains the hash of other bytes.
    DigestEdited,
    /// The key did not sign the digest.
    SignatureWrong,
    /// Different digests have the same number.
    ChainForked,
    /// A part of the digest is missing.
    PartMissing,
    /// A part of the digest has other bytes.
    PartEdited,
    /// The reader kept another hash of this digest.
    NotTheExpectedDigest,
    /// An object is missing.
    ObjectMissing,
    /// An object cannot be unpacked.
    ObjectUnreadable,
    /// An object has other bytes, but the same lines.
    ObjectEdited,
    /// An object has the content of another.
    ObjectSwapped,
    /// No digest lists the object, although digests cover its place.
    ObjectInserted,
    /// A line was changed.
    LineEdited,
    /// Lines were deleted that have others after them.
    LineDeleted,
    /// Lines at the end were deleted.
    TailDeleted,
    /// The same lines are in another order.
    LinesReordered,
    /// Lines were inserted.
    LineInserted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub kind: Kind,
    /// Number of the digest that is faulty or that lists the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The first line, counted from 1: in the original object, or, for inserted lines, in the
    /// current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// How many lines or digests, starting there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Details for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Fault {
    pub(super) const fn of_digest(kind: Kind, digest: Option<u64>) -> Self {
        Self {
            kind,
            digest,
            object: None,
            line: None,
            count: None,
            detail: None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = serde_json::to_value(self.kind).ok();
        write!(
            f,
            "{}",
            kind.as_ref()
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
        )?;
        let mut place = Vec::new();
        place.extend(self.digest.map(|number| format!("digest {number}")));
        place.extend(self.object.as_ref().map(|key| format!("object `{key}`")));
        place.extend(self.line.map(|line| format!("line {line}")));
        place.extend(
            self.count
                .filter(|count| *count > 1)
                .map(|count| format!("{count} of them")),
        );
        if !place.is_empty() {
            write!(f, ": {}", place.join(", "))?;
        }
        self.detail
            .as_ref()
            .map_or(Ok(()), |detail| write!(f, " ({detail})"))
    }
}
