//! Lists: `limit`, an opaque `cursor` that is bound to the caller's scope and the list, and the
//! next page's cursor.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::Page;
use sealfleet_api::{Problem, cursor};
use sealfleet_ledger::{Error, Page as Rows};
use serde::Serialize;

use super::problems;

/// Answers with a page of the list `list` of `scope`. `fetch` reads rows from after a key, `view`
/// is how they are shown.
///
/// # Errors
/// A 400 for a cursor or limit that is not one, and what `fetch` fails with.
pub async fn answer<T, V: Serialize>(
    request: &Request,
    scope: &str,
    list: &str,
    fetch: impl AsyncFnOnce(Option<&str>, usize) -> Result<Rows<T>, Error>,
    view: impl Fn(T) -> V,
) -> Result<Answer, Problem> {
    let after = request
        .query
        .get("cursor")
        .map(|text| cursor::read(scope, list, text))
        .transpose()?;
    let rows = fetch(after.as_deref(), request.limit()?)
        .await
        .map_err(problems::of_ledger)?;
    let next_cursor = rows
        .more_after
        .map(|after| cursor::write(scope, list, &after));
    Answer::json(
        200,
        &Page {
            items: rows.items.into_iter().map(view).collect(),
            next_cursor,
        },
    )
}
