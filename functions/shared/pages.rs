//! Lists: `limit`, and an opaque `cursor` that is bound to the caller's scope and the list.

use sealfleet_api::cursor;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::Page;
use sealfleet_ledger::{Error, Page as Rows};
use serde::Serialize;

use super::fault::Answered;

/// The name of a list with the filters that a request sets, which its cursors are bound to.
pub fn name(list: &str, request: &Request, filters: &[&str]) -> String {
    let part = |name: &&str| {
        let value = request.query.get(*name);
        value.map_or_else(String::new, |value| format!("{}:{value}", value.len()))
    };
    let parts: Vec<String> = filters.iter().map(part).collect();
    format!("{list}:{}", parts.join(":"))
}

/// Answers with a page of the list `list` of `scope`. `fetch` reads rows from after a key, `view`
/// shows one.
///
/// # Errors
/// A 400 for a cursor or limit that is not one, and what `fetch` fails with.
pub async fn answer<T, V: Serialize>(
    request: &Request,
    scope: &str,
    list: &str,
    fetch: impl AsyncFnOnce(Option<&str>, usize) -> Result<Rows<T>, Error>,
    view: impl Fn(T) -> V,
) -> Answered {
    let after = request
        .query
        .get("cursor")
        .map(|text| cursor::read(scope, list, text))
        .transpose()?;
    let rows = fetch(after.as_deref(), request.limit()?).await?;
    let next_cursor = rows
        .more_after
        .map(|after| cursor::write(scope, list, &after));
    let items = rows.items.into_iter().map(view).collect();
    Answer::json(200, &Page { items, next_cursor })
}
