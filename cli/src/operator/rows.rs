//! Rows of the tables, decoded. Reads what the AWS CLI printed and asks nobody: whoever may read
//! the table may decode it, and nobody else learns anything.

use std::path::Path;

use serde_json::{Deserializer, Value, json};

use super::failure::Failure;
use super::input;
use super::output::document;

/// The longest input, in bytes. A row has 400 KB at most.
const MOST: u64 = 64 * 1024 * 1024;

/// Prints the rows of a file, or of standard input: one as an object, several as a list.
pub(super) fn show(file: &Path) -> Result<(), Failure> {
    let text = input::file(file, MOST)?;
    let wrong = |what: &str| Failure::Usage(format!("`{}`: {what}", file.display()));
    let mut rows = Vec::new();
    for read in Deserializer::from_str(&text).into_iter::<Value>() {
        let read = read.map_err(|error| wrong(&format!("it is no JSON: {error}")))?;
        rows.extend(rows_of(read).ok_or_else(|| wrong(NO_ROWS))?);
    }
    if rows.is_empty() {
        return Err(wrong("there is no row in it: `aws dynamodb` found none"));
    }
    let mut shown = sealfleet_ledger::shown(rows).map_err(|error| wrong(&error.to_string()))?;
    let all = match shown.len() {
        1 => shown.remove(0),
        _ => json!(shown),
    };
    document(&all)
}

const NO_ROWS: &str = "it is not what `aws dynamodb get-item`, `query` or `scan` print as JSON";

/// The rows of one answer of DynamoDB. `None` when it is something else.
fn rows_of(document: Value) -> Option<Vec<Value>> {
    let Value::Object(mut members) = document else {
        return None;
    };
    if let Some(item) = members.remove("Item") {
        return Some(vec![item]);
    }
    match members.remove("Items") {
        Some(Value::Array(items)) => Some(items),
        Some(_) => None,
        // What `get-item` answers where there is no row.
        None if members.is_empty() => Some(Vec::new()),
        // The row itself.
        None if members.contains_key("pk") => Some(vec![Value::Object(members)]),
        None => None,
    }
}
