//! `sealfleet restore`: runs an installation on tables of an earlier moment.
//!
//! DynamoDB restores to a new table, which lacks much of what the first one had ([`tables`]), and
//! which knows nothing of what was taken away since the moment ([`reapply`]). So an installation is
//! closed first: its functions are denied the tables. It opens only on tables that lack nothing,
//! and only after everything that was taken away since is taken away in them, too. All of this uses
//! the operator's own AWS credentials, and each command may be repeated.

mod reapply;
mod tables;

use std::sync::Arc;

use aws_config::SdkConfig;
use clap::{Args, Subcommand};
use sealfleet_domain::Timestamp;
use sealfleet_ledger::{Dynamo, Ledger, Tables};
use sealfleet_system::{SystemClock, SystemIds};
use serde_json::json;

use super::archive;
use super::aws;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{answer, lines, note};
use super::project::deploy::{control, prefix, stacks};
use crate::cloudformation::{Deployment, Outputs, Stacks, Template};
use reapply::Report;
use tables::Kind;

#[derive(Subcommand)]
pub enum Command {
    /// Deny all functions the tables, except for those that fill the archive: nothing is served or
    /// started until `open`
    Close(Stack),
    /// Restore both tables to a moment, under new names, and set what a restored table lacks
    Tables(At),
    /// Take away in the restored tables what was taken away since the moment, by the archive, and
    /// list what else was undone
    Reapply(Reapply),
    /// Check the restored tables, take away in them what was taken away since, and run the
    /// installation on them; without `--to`, on the tables that it had when it was closed
    Open(Open),
}

#[derive(Args)]
pub struct Stack {
    /// CloudFormation stack of the control plane
    #[arg(long, value_name = "NAME", default_value = "sealfleet")]
    control_stack: String,
}

#[derive(Args)]
pub struct At {
    #[command(flatten)]
    stack: Stack,
    /// The moment, a whole second: `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Timestamp,
}

#[derive(Args)]
pub struct Reapply {
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    trust: Trust,
}

/// What the operator takes on.
#[derive(Args)]
struct Trust {
    /// Do not ask the tables in use whether the archive has all that they know: when they cannot be
    /// read, or in a rehearsal
    #[arg(long)]
    archive_only: bool,
    /// Go on although the archive does not verify
    #[arg(long)]
    despite_faults: bool,
}

#[derive(Args)]
pub struct Open {
    #[command(flatten)]
    stack: Stack,
    /// The moment that the tables were restored to
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    #[command(flatten)]
    trust: Trust,
}

/// DynamoDB restores to a second.
fn moment(text: &str) -> Result<Timestamp, String> {
    let at = Timestamp::parse(text).map_err(|error| error.to_string())?;
    if at.millis() % 1000 == 0 {
        Ok(at)
    } else {
        Err("name a whole second: `2026-01-31T08:00:00Z`".to_owned())
    }
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::Close(stack) => {
            let installation = Installation::of(stack).await?;
            let outputs = installation.set(&[("Closed", "true")]).await?;
            if outputs.find("Closed").is_none() {
                return Err(Failure::Other(format!(
                    "stack `{}` is not closed: its template is of another version",
                    installation.stack
                )));
            }
            let closed = json!({ "stack": installation.stack, "closed": true });
            answer(connection.output, &closed, || {
                lines([
                    ("stack", installation.stack.clone()),
                    ("state", "closed".to_owned()),
                ])
            })
        }
        Command::Tables(At { stack, to }) => {
            let installation = Installation::of(stack).await?;
            let restored = Restored::of(&installation, to)?;
            for kind in Kind::ALL {
                restored
                    .tables
                    .begin(kind, &restored.source(kind)?, to)
                    .await?;
            }
            for kind in Kind::ALL {
                restored
                    .tables
                    .finish(kind, &restored.source(kind)?)
                    .await?;
            }
            restored.told(connection)
        }
        Command::Reapply(Reapply { at, trust }) => {
            let installation = Installation::of(at.stack).await?;
            let restored = Restored::of(&installation, at.to)?;
            if !installation.is_closed() {
                note("the installation is open: what is taken away from now on is not reapplied\n");
            }
            let report = restored.reapply(&trust).await?;
            answer(connection.output, &report, || report.text())
        }
        Command::Open(Open {
            stack, to: None, ..
        }) => {
            let installation = Installation::of(stack).await?;
            installation.set(&[("Closed", "false")]).await?;
            let open = json!({ "stack": installation.stack, "closed": false });
            answer(connection.output, &open, || {
                lines([
                    ("stack", installation.stack.clone()),
                    ("state", "open".to_owned()),
                ])
            })
        }
        Command::Open(Open {
            stack,
            to: Some(to),
            trust,
        }) => {
            let installation = Installation::of(stack).await?;
            let restored = Restored::of(&installation, to)?;
            let report = restored.open(&trust).await?;
            answer(connection.output, &report, || report.text())
        }
    }
}

/// The control plane's stack, and what calls AWS.
struct Installation {
    config: SdkConfig,
    stacks: Stacks,
    stack: String,
    control: Outputs,
}

impl Installation {
    async fn of(stack: Stack) -> Result<Self, Failure> {
        let config = aws::config().await?;
        let stacks = stacks(&config);
        let control = control(&stacks, &stack.control_stack).await?;
        Ok(Self {
            config,
            stacks,
            stack: stack.control_stack,
            control,
        })
    }

    fn is_closed(&self) -> bool {
        self.control.find("Closed").is_some()
    }

    /// Sets parameters of the stack. All others stay as they are, and so does the template.
    async fn set(&self, parameters: &[(&str, &str)]) -> Result<Outputs, Failure> {
        let parameters = parameters.iter();
        let deployment = Deployment {
            stack: &self.stack,
            template: Template::Deployed,
            parameters: parameters
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            tags: Vec::new(),
        };
        let tell = |line: &str| note(&format!("{line}\n"));
        let deployed = self.stacks.deploy(deployment, tell).await;
        Ok(deployed.map_err(Failure::other)?.1)
    }

    /// A ledger over these tables, by the operator's own AWS credentials.
    fn ledger(&self, ledger: String, audit: String) -> Ledger {
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        let store = Dynamo::new(client, Tables { ledger, audit });
        Ledger::new(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemIds))
    }
}

/// The tables of a moment, beside the installation's own.
struct Restored<'a> {
    installation: &'a Installation,
    moment: Timestamp,
    tables: tables::Restored,
}

impl<'a> Restored<'a> {
    fn of(installation: &'a Installation, moment: Timestamp) -> Result<Self, Failure> {
        let suffix = suffix(moment);
        if installation.control.find("TableSuffix") == Some(&suffix) {
            return Err(Failure::Usage(format!(
                "the installation runs on the tables of {moment} already; if it is closed, `sealfleet restore open` opens it"
            )));
        }
        let client = aws_sdk_dynamodb::Client::new(&installation.config);
        let tables = tables::Restored::new(client, &prefix(&installation.control), suffix);
        Ok(Self {
            installation,
            moment,
            tables,
        })
    }

    /// The name of the table in use.
    fn source(&self, kind: Kind) -> Result<String, Failure> {
        let name = self.installation.control.get(kind.output());
        Ok(name.map_err(Failure::other)?.to_owned())
    }

    fn told(&self, connection: &Connection) -> Result<(), Failure> {
        let [ledger, audit] = Kind::ALL.map(|kind| self.tables.name(kind));
        let told = json!({ "moment": self.moment, "ledger_table": ledger, "audit_table": audit });
        answer(connection.output, &told, || {
            lines([
                ("moment", self.moment.to_string()),
                ("ledger table", ledger),
                ("audit table", audit),
            ])
        })
    }

    async fn reapply(&self, trust: &Trust) -> Result<Report, Failure> {
        let [ledger, audit] = Kind::ALL.map(|kind| self.tables.name(kind));
        let restored = self.installation.ledger(ledger, audit);
        let [ledger, audit] = [self.source(Kind::Ledger)?, self.source(Kind::Audit)?];
        let in_use = (!trust.archive_only).then(|| self.installation.ledger(ledger, audit));
        let Installation {
            config, control, ..
        } = self.installation;
        let bucket = control.get("AuditBucketName").map_err(Failure::other)?;
        let key = control.get("DigestKeyArn").map_err(Failure::other)?;
        if !trust.despite_faults {
            verify(config, bucket, key, self.moment).await?;
        }
        let archive = reapply::Archive::new(config, bucket.to_owned());
        reapply::reapply(&archive, in_use.as_ref(), &restored, self.moment).await
    }

    async fn open(&self, trust: &Trust) -> Result<Report, Failure> {
        if !self.installation.is_closed() {
            return Err(Failure::Usage(
                "the installation is open: run `sealfleet restore close` first, so that nothing \
                 is taken away unseen"
                    .to_owned(),
            ));
        }
        let [ledger, audit] = Kind::ALL.map(|kind| self.tables.whole(kind));
        let (ledger, audit) = (ledger.await?, audit.await?);
        let report = self.reapply(trust).await?;
        let [to, beside] = Kind::ALL.map(|kind| self.tables.name(kind));
        report.record(&self.installation.ledger(to, beside)).await?;
        let parameters = [
            ("TableSuffix", self.tables.suffix.as_str()),
            ("LedgerStreamArn", &ledger),
            ("AuditStreamArn", &audit),
        ];
        self.installation.set(&parameters).await?;
        // Only when no function names the other tables any more.
        self.installation.set(&[("Closed", "false")]).await?;
        Ok(report)
    }
}

/// Fails unless the archive is whole from the moment on: it could hide what was taken away.
async fn verify(
    config: &SdkConfig,
    bucket: &str,
    key: &str,
    moment: Timestamp,
) -> Result<(), Failure> {
    let verified = archive::verified(config, bucket, key.to_owned(), moment).await?;
    if verified.faults.is_empty() {
        return Ok(());
    }
    let faults: String = verified
        .faults
        .iter()
        .map(|fault| format!("\n  {fault}"))
        .collect();
    Err(Failure::Other(format!(
        "the archive does not verify, so it may hide what was taken away; find out what happened, or go on with \
         `--despite-faults`:{faults}"
    )))
}

/// What the names of the tables of a moment end with: `-20260131T080000Z`.
fn suffix(moment: Timestamp) -> String {
    let text = moment.to_string();
    let second = text.split('.').next().unwrap_or_default();
    let digits: String = second.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("-{digits}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_second_and_names_its_tables() {
        let at = moment("2026-01-31T08:00:07Z").unwrap();
        assert_eq!(suffix(at), "-20260131T080007Z");
        assert!(moment("2026-01-31T08:00:07.5Z").is_err());
    }
}
