//! Copies entries of runs to the trail again: for when the ledger's stream lost them, since it
//! keeps records for a day only.
//!
//! The entries still stand in the rows of the runs. An operator reads them with their own AWS
//! credentials, and hands them to the `trail` function as the stream would have. So no role of the
//! deployment may do more because of it, and entries are put by the one function that always puts
//! them. An entry keeps its id, so readers show it once, also if it was in the trail already.

use std::sync::Arc;

use clap::Args;
use sealfleet_aws_json::lambda::Lambda;
use sealfleet_domain::cause::chain;
use sealfleet_domain::{ProjectId, ProjectScope, Timestamp};
use sealfleet_ledger::{Dynamo, Ledger, RunsPlace, Tables};
use sealfleet_system::{SystemClock, SystemIds};
use serde_json::{Value, json};

use super::aws;
use super::failure::Failure;
use super::output::{Output, answer, joined, lines};

/// Bytes of one event for the function. Lambda takes 6 MB.
const EVENT_BYTES: usize = 1024 * 1024;

#[derive(Args)]
pub struct Repair {
    /// Project whose trail to repair
    #[arg(long)]
    project: ProjectId,
    /// Start of the period: `2026-01-31T08:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Timestamp,
    /// End of the period
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    to: Timestamp,
    /// Name of the ledger table
    #[arg(
        long,
        env = "SEALFLEET_LEDGER_TABLE",
        value_name = "NAME",
        default_value = "sealfleet-ledger"
    )]
    ledger_table: String,
    /// Name of the trail function
    #[arg(long, value_name = "NAME", default_value = "sealfleet-trail")]
    function: String,
}

/// Reads the project's runs, and hands their entries of the period to the function.
pub(super) async fn repair(repair: Repair, output: Output) -> Result<(), Failure> {
    let Repair {
        project,
        from,
        to,
        ledger_table,
        function,
    } = repair;
    if to < from {
        return Err(Failure::Usage("`--from` must be before `--to`".to_owned()));
    }
    let config = aws::config().await?;
    let lambda = Lambda::new(&config).map_err(|error| Failure::other(chain(&error)))?;
    let tables = Tables {
        ledger: ledger_table,
        // Only runs are read.
        audit: String::new(),
    };
    let store = Dynamo::new(aws_sdk_dynamodb::Client::new(&config), tables);
    let ledger = Ledger::new(Arc::new(store), Arc::new(SystemClock), Arc::new(SystemIds));
    let scope = ProjectScope::of_stored_row(project);
    let (mut runs, mut entries) = (0, 0);
    let mut unreadable = Vec::new();
    let mut place = RunsPlace::default();
    loop {
        let read = ledger.entries_again(&scope, (from, to), place).await;
        let read = read.map_err(Failure::other)?;
        for event in events(read.records) {
            copy(&lambda, &function, &event).await?;
        }
        runs += read.runs;
        entries += read.entries;
        unreadable.extend(read.unreadable);
        let Some(next) = read.next else { break };
        place = next;
    }
    let report = json!({ "runs": runs, "entries": entries, "unreadable": unreadable });
    answer(output, &report, || {
        lines([
            ("runs read", runs.to_string()),
            ("entries of the period", entries.to_string()),
            ("runs not readable", joined(&unreadable)),
        ])
    })?;
    if unreadable.is_empty() {
        return Ok(());
    }
    let somebody = "somebody else has changed entries of these runs; the others are copied";
    Err(Failure::Other(somebody.to_owned()))
}

/// Events that hold these records.
fn events(records: Vec<Value>) -> Vec<Value> {
    let mut events: Vec<Vec<Value>> = Vec::new();
    let mut bytes = EVENT_BYTES;
    for record in records {
        let more = record.to_string().len();
        if bytes + more > EVENT_BYTES {
            events.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        if let Some(event) = events.last_mut() {
            event.push(record);
        }
    }
    let events = events.into_iter();
    events
        .map(|records| json!({ "Records": records }))
        .collect()
}

async fn copy(lambda: &Lambda, function: &str, event: &Value) -> Result<(), Failure> {
    let invoked = lambda.invoke(function, event).await;
    let invoked = invoked.map_err(|error| Failure::other(chain(&error)))?;
    if invoked.function_error.is_none() {
        return Ok(());
    }
    let answer: Value = serde_json::from_slice(&invoked.payload).unwrap_or_default();
    let why = answer.get("errorMessage").and_then(Value::as_str);
    Err(Failure::Other(format!(
        "`{function}` failed: {}; run this again",
        why.unwrap_or("it does not say why")
    )))
}
