//! Reads rows as types, and maps failed writes to errors.

use aws_sdk_dynamodb::types::AttributeValue;

use crate::Error;
use crate::store::{Item, Key, WriteError};

pub(crate) fn to_item(row: &impl serde::Serialize, key: Key) -> Result<Item, WriteError> {
    let mut item: Item = serde_dynamo::aws_sdk_dynamodb_1::to_item(row)
        .map_err(|error| WriteError::Unavailable(error.to_string()))?;
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
        WriteError::Unavailable(detail) => Error::Unavailable(detail),
    }
}
