//! Uploads: content that a caller puts beside its runs, because it is too large for a request.
//!
//! An upload is an object below `PROJECT/uploads/UPLOAD/`, and nothing else: no row says that it
//! exists. The object's name says what it was promised to be, so whoever lists the prefix knows
//! whether it is there, how large it is, and what its content must hash to. It is written once, by
//! a URL whose signature binds length and hash.

use crate::clock::Timestamp;
use crate::hash::ContentHash;
use crate::ids::UploadId;
use crate::limits;
use crate::scope::ProjectScope;

/// What stands in the place of a run in the keys of uploads. No run's id is written so.
pub const FOLDER: &str = "uploads";

/// What an upload is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    pub bytes: u64,
    pub sha256: ContentHash,
}

impl Promise {
    /// The name of its object.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.bytes, self.sha256)
    }

    /// The promise that an object's name states.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let (bytes, sha256) = name.split_once('-')?;
        let promise = Self {
            bytes: bytes.parse().ok()?,
            sha256: sha256.parse().ok()?,
        };
        (promise.name() == name).then_some(promise)
    }

    /// Whether an upload may be so large.
    #[must_use]
    pub fn fits(&self) -> bool {
        (1..=limits::UPLOAD_BYTES).contains(&self.bytes)
    }
}

/// What the keys of all uploads of a project begin with.
#[must_use]
pub fn all_prefix(scope: &ProjectScope) -> String {
    format!("{}/{FOLDER}/", scope.project())
}

/// What the key of an upload's object begins with.
#[must_use]
pub fn prefix(scope: &ProjectScope, upload_id: UploadId) -> String {
    format!("{}{upload_id}/", all_prefix(scope))
}

/// Until when an upload is surely there.
#[must_use]
pub fn kept_until(upload_id: UploadId, retention_days: i64) -> Timestamp {
    let made = upload_id.made_at();
    made.plus_seconds(retention_days.saturating_mul(24 * 3600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objects_name_is_the_promise_in_one_spelling() {
        let promise = Promise {
            bytes: 12,
            sha256: ContentHash::of(b"twelve bytes"),
        };
        assert_eq!(Promise::of_name(&promise.name()), Some(promise));
        let hash = promise.sha256;
        for other in [
            format!("012-{hash}"),
            format!("+12-{hash}"),
            format!("12-{hash}/x"),
            format!("12{hash}"),
            "12-".to_owned(),
        ] {
            assert_eq!(Promise::of_name(&other), None, "{other}");
        }
    }
}
