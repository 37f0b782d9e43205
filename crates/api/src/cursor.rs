//! Cursors of lists: opaque to callers, and bound to the project and the list that made them.
//!
//! A cursor names only where to continue. Keys are built from the caller's own scope, so even
//! without this check a cursor of another project could not reach that project's rows.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

#[derive(Serialize, Deserialize)]
struct Bound {
    scope: String,
    list: String,
    after: String,
}

/// A cursor that continues after `after` in the list `list` of `scope`. `list` includes the
/// filters.
#[must_use]
pub fn write(scope: &str, list: &str, after: &str) -> String {
    let bound = Bound {
        scope: scope.to_owned(),
        list: list.to_owned(),
        after: after.to_owned(),
    };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&bound).unwrap_or_default())
}

/// The `after` that [`write()`] was given.
///
/// # Errors
/// A 400 when the cursor is malformed, or was made for another project or list.
pub fn read(scope: &str, list: &str, cursor: &str) -> Result<String, Problem> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Bound>(&bytes).ok())
        .filter(|bound| bound.scope == scope && bound.list == list)
        .map(|bound| bound.after)
        .ok_or_else(|| {
            Problem::invalid(
                "cursor",
                "the cursor belongs to another list; leave it out to start from the beginning",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_works_only_where_it_was_made() {
        let cursor = write("healthcare", "runs", "x");
        assert_eq!(
            read("healthcare", "runs", &cursor).ok().as_deref(),
            Some("x")
        );
        assert!(read("finance", "runs", &cursor).is_err());
        assert!(read("healthcare", "audit", &cursor).is_err());
        assert!(read("healthcare", "runs", "x").is_err());
    }
}
