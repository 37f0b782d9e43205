//! Reads rows as types, and maps failed writes to errors.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::Error;
use crate::store::{Item, Key, WriteError};

/// A row of these attributes.
pub(crate) fn row(
    key: Key,
    attributes: impl IntoIterator<Item = (&'static str, AttributeValue)>,
) -> Item {
    let keys = [
        ("pk", AttributeValue::S(key.pk)),
        ("sk", AttributeValue::S(key.sk)),
    ];
    let all = keys.into_iter().chain(attributes);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn n(number: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A part of a row, to be set alone.
pub(crate) fn attribute(part: &impl serde::Serialize) -> Result<AttributeValue, Error> {
    serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(part)
        .map_err(|error| Error::Unreadable(error.to_string()))
}

/// A row's whole number.
pub(crate) fn number(item: &Item, name: &str) -> Option<i64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// A row's text.
pub(crate) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(crate) fn to_item(row: &impl serde::Serialize, key: Key) -> Result<Item, WriteError> {
    let mut item: Item = serde_dynamo::aws_sdk_dynamodb_1::to_item(row)
        .map_err(|error| WriteError::Refused(error.to_string()))?;
    item.insert("pk".to_owned(), AttributeValue::S(key.pk));
    item.insert("sk".to_owned(), AttributeValue::S(key.sk));
    Ok(item)
}

pub(crate) fn from_item<T: serde::de::DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item)
        .map_err(|error| Error::Unreadable(error.to_string()))
}

/// The error of a write whose conditions nobody else can cause to fail.
pub(crate) fn unwritten(error: WriteError) -> Error {
    match error {
        WriteError::Condition(_) | WriteError::Busy => Error::Contended,
        WriteError::TooLarge => Error::RowTooLarge,
        WriteError::Unavailable(detail) => Error::Unavailable(detail),
        WriteError::Refused(detail) => Error::Broken(detail),
    }
}
