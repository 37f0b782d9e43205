//! Remembers registered task definitions by the hash of their content.
//!
//! This is only a cache: losing a row costs one more registration of an equal definition. So each
//! instance keeps what it has read, until ECS says that it is gone.

use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_domain::ProjectScope;

use crate::error::Error;
use crate::keys;
use crate::ledger::Ledger;
use crate::rows::{row, text};
use crate::store::Condition;

impl Ledger {
    /// The ARN of the registered task definition with this content, if there is another one than
    /// `gone`.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn task_definition(
        &self,
        scope: &ProjectScope,
        hash: &str,
        gone: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let is_there = |arn: &String| Some(arn.as_str()) != gone;
        let known = self.task_definitions.get(scope, hash);
        if let Some(known) = known.filter(is_there) {
            return Ok(Some(known));
        }
        let item = self.row(&keys::task_definition(scope, hash)).await?;
        let arn = item.and_then(|item| text(&item, "arn").map(str::to_owned));
        let arn = arn.filter(is_there);
        if let Some(arn) = &arn {
            self.task_definitions.add(scope, hash, arn.clone());
        }
        Ok(arn)
    }

    /// Remembers the ARN of a registered task definition, in the place of `gone` where that was
    /// remembered and is no longer there.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn remember_task_definition(
        &self,
        scope: &ProjectScope,
        hash: &str,
        arn: &str,
        gone: Option<&str>,
    ) -> Result<(), Error> {
        let key = keys::task_definition(scope, hash);
        let item = row(key, [("arn", AttributeValue::S(arn.to_owned()))]);
        let only_if = gone.map_or(Condition::Absent, |gone| {
            Condition::AbsentOr("arn", AttributeValue::S(gone.to_owned()))
        });
        // Somebody may have registered an equal one at the same time. Either will do.
        self.put_if(item, only_if).await?;
        self.task_definitions.add(scope, hash, arn.to_owned());
        Ok(())
    }
}
