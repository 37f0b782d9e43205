//! Tables that DynamoDB restored: what they lack, and how it is set.
//!
//! A restored table has the keys, indexes, billing and encryption of its source. It has no stream,
//! no time to live, no point-in-time recovery, no tags and no protection from deletion ("Restore a
//! table in DynamoDB", Amazon DynamoDB Developer Guide). Sealfleet needs each of them: without its
//! stream nothing reaches the archive, and without time to live nothing is ever forgotten.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::primitives::DateTime;
use aws_sdk_dynamodb::types::{
    PointInTimeRecoverySpecification, PointInTimeRecoveryStatus, StreamSpecification,
    StreamViewType, TableDescription, TableStatus, TimeToLiveSpecification, TimeToLiveStatus,
};
use sealfleet_domain::Timestamp;

use crate::cloudformation::reason;
use crate::operator::failure::Failure;
use crate::operator::output::note;

/// How often to ask whether a table is ready.
const POLL: Duration = Duration::from_secs(2);
/// The attribute with the time at which a row expires.
const EXPIRES: &str = "expires_at";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ledger,
    Audit,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Ledger, Self::Audit];

    /// The output of the control plane's stack that names the table in use.
    pub const fn output(self) -> &'static str {
        match self {
            Self::Ledger => "LedgerTableName",
            Self::Audit => "AuditTableName",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Audit => "audit",
        }
    }

    /// What the functions that read its stream need to see, as `infra/sam/template.yaml` says.
    const fn view(self) -> StreamViewType {
        match self {
            Self::Ledger => StreamViewType::NewAndOldImages,
            Self::Audit => StreamViewType::NewImage,
        }
    }
}

/// The tables of a moment.
pub struct Restored {
    client: Client,
    prefix: String,
    pub suffix: String,
}

/// A table, and what it has.
struct Found {
    table: TableDescription,
    expires: bool,
    recoverable: bool,
}

impl Restored {
    pub fn new(client: Client, prefix: &str, suffix: String) -> Self {
        Self {
            client,
            prefix: prefix.to_owned(),
            suffix,
        }
    }

    pub fn name(&self, kind: Kind) -> String {
        format!("{}-{}{}", self.prefix, kind.name(), self.suffix)
    }

    /// Asks DynamoDB for the table of the moment, unless it is there.
    pub async fn begin(&self, kind: Kind, source: &str, to: Timestamp) -> Result<(), Failure> {
        let name = self.name(kind);
        if let Some(table) = self.describe(&name).await? {
            note(&format!("`{name}` is there already\n"));
            return is_of(&table, source, to);
        }
        note(&format!("restoring `{source}` as `{name}`\n"));
        let restore = self.client.restore_table_to_point_in_time();
        let restore = restore
            .source_table_name(source)
            .target_table_name(name)
            .restore_date_time(DateTime::from_secs(to.epoch_seconds()));
        restore.send().await.map_err(failed("restoring a table"))?;
        Ok(())
    }

    /// Waits for the table, and sets what it lacks. Tags are those of the source.
    pub async fn finish(&self, kind: Kind, source: &str) -> Result<(), Failure> {
        let name = self.name(kind);
        let mut found = self.ready(&name).await?;
        if !has_stream(&found.table, kind) {
            let stream = StreamSpecification::builder()
                .stream_enabled(true)
                .stream_view_type(kind.view())
                .build()
                .map_err(Failure::other)?;
            let update = self.client.update_table().table_name(&name);
            let update = update.stream_specification(stream);
            update.send().await.map_err(failed("setting a stream"))?;
            found = self.ready(&name).await?;
        }
        if found.table.deletion_protection_enabled != Some(true) {
            let update = self.client.update_table().table_name(&name);
            let update = update.deletion_protection_enabled(true);
            update.send().await.map_err(failed("protecting a table"))?;
            found = self.ready(&name).await?;
        }
        if !found.expires {
            let expires = TimeToLiveSpecification::builder()
                .attribute_name(EXPIRES)
                .enabled(true)
                .build()
                .map_err(Failure::other)?;
            let update = self.client.update_time_to_live().table_name(&name);
            let update = update.time_to_live_specification(expires);
            update
                .send()
                .await
                .map_err(failed("setting a time to live"))?;
        }
        if !found.recoverable {
            let recovery = PointInTimeRecoverySpecification::builder()
                .point_in_time_recovery_enabled(true)
                .build()
                .map_err(Failure::other)?;
            let update = self.client.update_continuous_backups().table_name(&name);
            let update = update.point_in_time_recovery_specification(recovery);
            update
                .send()
                .await
                .map_err(failed("setting point-in-time recovery"))?;
        }
        self.tag(source, &name).await?;
        self.whole(kind).await.map(drop)
    }

    /// The stream of a table that lacks nothing.
    pub async fn whole(&self, kind: Kind) -> Result<String, Failure> {
        let name = self.name(kind);
        let again = "run `sealfleet restore tables` first";
        let Some(table) = self.describe(&name).await? else {
            return Err(Failure::Usage(format!(
                "there is no table `{name}`: {again}"
            )));
        };
        let found = self.look(table).await?;
        let lacks = found.lacks(kind);
        match found.table.latest_stream_arn {
            Some(stream) if lacks.is_empty() => Ok(stream),
            _ => Err(Failure::Usage(format!(
                "the table `{name}` has no {}: {again}",
                lacks.join(", no ")
            ))),
        }
    }

    async fn tag(&self, source: &str, name: &str) -> Result<(), Failure> {
        let arn = async |name: &str| {
            let found = self.describe(name).await?.and_then(|table| table.table_arn);
            found.ok_or_else(|| Failure::Usage(format!("there is no table `{name}`")))
        };
        let (from, to) = (arn(source).await?, arn(name).await?);
        let mut tags = Vec::new();
        let mut next = None;
        loop {
            let list = self.client.list_tags_of_resource().resource_arn(&from);
            let page = list.set_next_token(next).send().await;
            let page = page.map_err(failed("reading tags"))?;
            tags.extend(page.tags.unwrap_or_default());
            next = page.next_token;
            if next.is_none() {
                break;
            }
        }
        // AWS alone sets these.
        tags.retain(|tag| !tag.key().starts_with("aws:"));
        if tags.is_empty() {
            return Ok(());
        }
        let tag = self.client.tag_resource().resource_arn(to);
        let tagged = tag.set_tags(Some(tags)).send().await;
        tagged.map_err(failed("setting tags"))?;
        Ok(())
    }

    /// Waits until a table can be used and changed.
    async fn ready(&self, name: &str) -> Result<Found, Failure> {
        loop {
            match self.describe(name).await? {
                Some(table) if table.table_status == Some(TableStatus::Active) => {
                    return self.look(table).await;
                }
                Some(_) => tokio::time::sleep(POLL).await,
                None => return Err(Failure::Other(format!("the table `{name}` is gone"))),
            }
        }
    }

    async fn describe(&self, name: &str) -> Result<Option<TableDescription>, Failure> {
        match self.client.describe_table().table_name(name).send().await {
            Ok(described) => Ok(described.table),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(failed("describing a table")(error)),
        }
    }

    async fn look(&self, table: TableDescription) -> Result<Found, Failure> {
        let name = table.table_name.clone().unwrap_or_default();
        let expires = self.client.describe_time_to_live().table_name(&name);
        let expires = expires.send().await.map_err(failed("describing a table"))?;
        let expires = expires.time_to_live_description.is_some_and(|found| {
            let on = [TimeToLiveStatus::Enabled, TimeToLiveStatus::Enabling];
            found.attribute_name() == Some(EXPIRES)
                && found
                    .time_to_live_status()
                    .is_some_and(|status| on.contains(status))
        });
        let backups = self.client.describe_continuous_backups().table_name(&name);
        let backups = backups.send().await.map_err(failed("describing a table"))?;
        let recoverable = backups
            .continuous_backups_description
            .and_then(|found| found.point_in_time_recovery_description)
            .is_some_and(|found| {
                found.point_in_time_recovery_status == Some(PointInTimeRecoveryStatus::Enabled)
            });
        Ok(Found {
            table,
            expires,
            recoverable,
        })
    }
}

impl Found {
    fn lacks(&self, kind: Kind) -> Vec<&'static str> {
        let has = [
            ("stream", has_stream(&self.table, kind)),
            ("time to live", self.expires),
            ("point-in-time recovery", self.recoverable),
            (
                "protection from deletion",
                self.table.deletion_protection_enabled == Some(true),
            ),
        ];
        let lacks = has.into_iter().filter(|(_, has)| !has);
        lacks.map(|(what, _)| what).collect()
    }
}

fn has_stream(table: &TableDescription, kind: Kind) -> bool {
    table.stream_specification.as_ref().is_some_and(|stream| {
        stream.stream_enabled() && stream.stream_view_type() == Some(&kind.view())
    })
}

/// Whether a table that is there was restored from this source to this moment, as far as it says.
fn is_of(table: &TableDescription, source: &str, to: Timestamp) -> Result<(), Failure> {
    let Some(restored) = &table.restore_summary else {
        return Ok(());
    };
    let from = restored.source_table_arn().unwrap_or_default();
    let same = from.ends_with(&format!(":table/{source}"))
        && restored.restore_date_time().secs() == to.epoch_seconds();
    if same {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "the table `{}` was restored from another table or to another moment: delete it first",
        table.table_name().unwrap_or_default()
    )))
}

fn failed<E, R>(what: &'static str) -> impl FnOnce(SdkError<E, R>) -> Failure
where
    E: ProvideErrorMetadata,
    SdkError<E, R>: std::error::Error,
{
    move |error| Failure::Other(format!("{what}: {}; repeat the command", reason(&error)))
}
