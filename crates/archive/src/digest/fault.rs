//! What verification finds: a kind of fault, and its place.

use serde::Serialize;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There are no digests at all.
    NoDigests,
    /// The newest digests are gone: they end too early.
    DigestsCut,
    /// Digests are gone, of which later ones are there.
    DigestMissing,
    /// It is no digest.
    DigestUnreadable,
    /// It stands where another should: digests were swapped, copied or renamed.
    DigestOutOfPlace,
    /// Its bytes are not those that the next digest carries the hash of.
    DigestEdited,
    /// The key did not sign it.
    SignatureWrong,
    /// There are different digests of one number.
    ChainForked,
    /// It is not the one that the reader kept the hash of.
    NotTheExpectedDigest,
    /// An object is gone.
    ObjectMissing,
    /// An object cannot be unpacked.
    ObjectUnreadable,
    /// An object has other bytes, but the same lines.
    ObjectEdited,
    /// An object holds what another should.
    ObjectSwapped,
    /// An object is in no digest, though its place is digested.
    ObjectInserted,
    /// A line was changed.
    LineEdited,
    /// Lines were deleted, and there are others after them.
    LineDeleted,
    /// Lines at the end were deleted.
    TailDeleted,
    /// The same lines stand in another order.
    LinesReordered,
    /// Lines were put in.
    LineInserted,
}

/// One fault and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: Kind,
    /// The number of the digest that it is about, or that lists the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<u64>,
    /// The object's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The first line, counted from 1: of the object as it was written; of inserted lines, as it is
    /// now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// How many lines, or digests, from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// More, for people.
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
