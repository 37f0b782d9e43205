//! Remembers registered task definitions by the hash of their content.
//!
//! This is only a cache: losing a row costs one more registration of an equal definition.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::ProjectScope;

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::unwritten;
use crate::store::{Condition, Item, Table, Write, WriteError};

impl Ledger {
    /// The ARN of the registered task definition with this content, if there is one.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn task_definition(
        &self,
        scope: &ProjectScope,
        hash: &str,
    ) -> Result<Option<String>, Error> {
        let key = keys::task_definition(scope, hash);
        let item = self
            .store
            .get(Table::Ledger, &key)
            .await
            .map_err(Error::Unavailable)?;
        Ok(item.and_then(|item| item.get("arn").and_then(|arn| arn.as_s().ok().cloned())))
    }

    /// Remembers the ARN of a registered task definition.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn remember_task_definition(
        &self,
        scope: &ProjectScope,
        hash: &str,
        arn: &str,
    ) -> Result<(), Error> {
        let key = keys::task_definition(scope, hash);
        let item: Item = [("pk", key.pk), ("sk", key.sk), ("arn", arn.to_owned())]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
            .collect();
        match self
            .store
            .write(vec![Write::Put {
                table: Table::Ledger,
                item,
                only_if: Condition::Absent,
            }])
            .await
        {
            // Somebody registered an equal one at the same time. Either will do.
            Err(WriteError::Condition(_)) => Ok(()),
            other => other.map_err(unwritten),
        }
    }
}
