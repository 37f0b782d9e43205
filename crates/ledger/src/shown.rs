//! Rows of the ledger and of the trail, decoded for people: what DynamoDB's console shows as bytes.
//!
//! Nothing is left out and nothing is looked up. Attributes keep their names (`run_rows` has what
//! they hold), packed ones are unpacked, and times are written out. A row holds names, references
//! and hashes; no row holds a secret's value.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::{Timestamp, identity::Identity};
use serde_json::{Map, Value, json};

use crate::entries::{self, ENTRIES, StoredEntry};
use crate::error::Error;
use crate::format;
use crate::identities::{hash_of, identity_of_image};
use crate::packed::unpack;
use crate::remembered::IdentityHash;
use crate::rows::text;
use crate::run_rows::RunRow;
use crate::store::Item;

/// Attributes that are times, in milliseconds and in seconds since the Unix epoch.
const MILLIS: [&str; 2] = ["due_at", "until"];
const SECONDS: [&str; 1] = ["expires_at"];

/// Decodes rows in DynamoDB's JSON, as `aws dynamodb get-item` prints them. Each row that names
/// identities also gets a member `identities`: the names of the secrets behind each hash, or null
/// where the row of that identity is not among these rows.
///
/// # Errors
/// [`Error::Unreadable`] when one is not a row, or when it cannot be unpacked.
pub fn shown(rows: Vec<Value>) -> Result<Vec<Value>, Error> {
    let items = rows.into_iter().map(item).collect::<Result<Vec<_>, _>>()?;
    let mut known: BTreeMap<IdentityHash, Identity> = BTreeMap::new();
    for item in &items {
        known.extend(identity(item)?);
    }
    items.iter().map(|item| decoded(item, &known)).collect()
}

fn item(row: Value) -> Result<Item, Error> {
    let item: serde_dynamo::Item = serde_json::from_value(row)
        .map_err(|error| Error::Unreadable(format!("no row in DynamoDB's JSON: {error}")))?;
    let item = Item::from(item);
    format::check(&item)?;
    match (text(&item, "pk"), text(&item, "sk")) {
        (Some(_), Some(_)) => Ok(item),
        _ => Err(Error::Unreadable("a row without `pk` and `sk`".to_owned())),
    }
}

/// A row in DynamoDB's JSON.
pub(crate) fn dynamodb_json(item: Item) -> Result<Value, Error> {
    serde_json::to_value(serde_dynamo::Item::from(item))
        .map_err(|error| Error::Unreadable(error.to_string()))
}

/// The identity of a row, if it is such a row, with the hash that it is stored under.
fn identity(item: &Item) -> Result<Option<(IdentityHash, Identity)>, Error> {
    let hash = text(item, "pk").and_then(|pk| pk.split_once("#IDENTITY#"));
    let Some((_, hash)) = hash else {
        return Ok(None);
    };
    let identity = identity_of_image(item)?;
    let is = hash_of(&identity).map_err(|error| Error::Unreadable(format!("{error:?}")))?;
    if is != hash {
        let changed = format!("the row of identity {hash} holds {is}: somebody changed it");
        return Err(Error::Unreadable(changed));
    }
    Ok(Some((hash.to_owned(), identity)))
}

fn decoded(item: &Item, known: &BTreeMap<IdentityHash, Identity>) -> Result<Value, Error> {
    let mut shown = Map::new();
    for (name, attribute) in item {
        let value = match attribute {
            AttributeValue::L(list) if name == ENTRIES => entries_of(list),
            _ => value(attribute),
        };
        let value = value.map_err(|error| Error::Unreadable(format!("`{name}`: {error}")))?;
        shown.insert(name.clone(), written_out(name, value));
    }
    let names = names(item)?;
    if !names.is_empty() {
        let named = names.into_iter().map(|hash| {
            let secrets = known.get(&hash).map(|identity| {
                let secrets = identity.secrets.iter();
                secrets
                    .map(|secret| secret.name.as_str())
                    .collect::<Vec<_>>()
            });
            (hash, json!(secrets))
        });
        shown.insert("identities".to_owned(), Value::Object(named.collect()));
    }
    Ok(Value::Object(shown))
}

/// The identities that a run, or entries that were moved out of one, name.
fn names(item: &Item) -> Result<BTreeSet<IdentityHash>, Error> {
    let mut names = if item.contains_key("plan") {
        RunRow::of_image(item)?.names()
    } else {
        BTreeSet::new()
    };
    for element in entries::list(item) {
        names.extend(entries::read(element)?.names());
    }
    Ok(names)
}

fn entries_of(list: &[AttributeValue]) -> Result<Value, Error> {
    let entries = list.iter().map(entries::read);
    entries.map(|entry| entry.map(StoredEntry::shown)).collect()
}

fn value(attribute: &AttributeValue) -> Result<Value, Error> {
    Ok(match attribute {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(number) => serde_json::from_str(number).unwrap_or(json!(number)),
        AttributeValue::Bool(is) => json!(is),
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::B(packed) => unpack(packed.as_ref())?,
        AttributeValue::L(list) => list.iter().map(value).collect::<Result<_, _>>()?,
        AttributeValue::M(map) => {
            let members = map.iter();
            let members = members.map(|(name, member)| Ok((name.clone(), value(member)?)));
            Value::Object(members.collect::<Result<_, Error>>()?)
        }
        other => {
            let strange = format!("a type that no row has: {other:?}");
            return Err(Error::Unreadable(strange));
        }
    })
}

/// A time as people read it; any other value as it is.
fn written_out(name: &str, value: Value) -> Value {
    let millis = match value.as_i64() {
        Some(millis) if MILLIS.contains(&name) => Some(millis),
        Some(seconds) if SECONDS.contains(&name) => seconds.checked_mul(1000),
        _ => None,
    };
    millis.map_or(value, |millis| json!(Timestamp::from_millis(millis)))
}
