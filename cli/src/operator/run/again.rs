//! Dead steps back in their queues, and whole runs enqueued once more.

use std::str::FromStr;

use clap::Args;
use sealfleet_client::types::RunView;
use sealfleet_client::{Client, RunQuery};
use sealfleet_domain::{RunId, StepId};
use serde_json::json;

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::input::pair;
use super::super::listing::first;
use super::super::output::{Table, list, note};
use super::{State, enqueue, state_of};

/// Runs that `--state` picks where no limit is given.
const PICKED: u32 = 100;

#[derive(Args)]
pub struct Retry {
    /// Ids of runs, each alone (all its dead steps) or followed by ids of its steps
    #[arg(value_name = "RUN_ID [STEP_ID]", required_unless_present = "state")]
    ids: Vec<Target>,
    #[command(flatten)]
    pick: Pick,
}

#[derive(Args)]
pub struct Rerun {
    /// Ids of runs that have ended
    #[arg(value_name = "RUN_ID", required_unless_present = "state")]
    ids: Vec<RunId>,
    #[command(flatten)]
    pick: Pick,
    /// Key of this request [default: one that is made from the run's id, so that repeating the
    /// command within a day enqueues no run twice]
    #[arg(long, value_name = "KEY", conflicts_with = "state")]
    idempotency_key: Option<String>,
}

/// Which runs, in the place of their ids.
#[derive(Args)]
struct Pick {
    /// Take the newest runs in this state
    #[arg(long, value_enum, conflicts_with = "ids")]
    state: Option<State>,
    /// Take only runs with this label, as KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, requires = "state")]
    label: Option<(String, String)>,
    /// Take at most this many
    #[arg(long, value_name = "NUMBER", default_value_t = PICKED, requires = "state")]
    limit: u32,
}

/// An id of a run, or of a step of the run before it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Run(RunId),
    Step(StepId),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(run_id) = text.parse() {
            return Ok(Self::Run(run_id));
        }
        let step = text.parse().map(Self::Step);
        step.map_err(|_| "write the id of a run, `run_…`, or of a step".to_owned())
    }
}

impl Pick {
    async fn runs(&self, client: &Client, state: State) -> Result<Vec<RunId>, Failure> {
        let most = usize::try_from(self.limit).map_err(Failure::other)?;
        let runs = first(most, async |page| {
            let query = RunQuery {
                state: Some(state_of(state)),
                label: self.label.clone(),
                page: page.clone(),
                ..RunQuery::default()
            };
            client.list_runs_with(&query).await
        });
        let runs = runs.await?.items;
        Ok(runs.into_iter().map(|run| run.run_id).collect())
    }
}

pub(super) async fn retry(retry: Retry, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let targets = match retry.pick.state {
        Some(State::Dead) => {
            let runs = retry.pick.runs(&client, State::Dead).await?;
            runs.into_iter()
                .map(|run_id| (run_id, Vec::new()))
                .collect()
        }
        Some(_) => {
            return Err(Failure::Usage(
                "only dead steps are retried: use `--state dead`, or enqueue runs anew with `run rerun`".to_owned(),
            ));
        }
        None => grouped(retry.ids)?,
    };
    let mut done = Done::default();
    for (run_id, steps) in targets {
        done.note(run_id, retry_run(&client, run_id, steps).await);
    }
    done.show(connection, "RETRIED")
}

/// Puts the named steps of a run back, or all that are dead. Returns what it did, for people.
async fn retry_run(
    client: &Client,
    run_id: RunId,
    mut steps: Vec<StepId>,
) -> Result<String, Failure> {
    if steps.is_empty() {
        let run = client.get_run(run_id).await?;
        let dead = run.steps.into_iter().filter(|step| step.dead.is_some());
        steps = dead.map(|step| step.id).collect();
    }
    if steps.is_empty() {
        return Err(Failure::Refused("it has no dead step".to_owned()));
    }
    for step_id in &steps {
        client.retry_step(run_id, step_id).await?;
    }
    let steps: Vec<&str> = steps.iter().map(StepId::as_str).collect();
    Ok(steps.join(","))
}

/// Each run with the steps that follow it.
fn grouped(targets: Vec<Target>) -> Result<Vec<(RunId, Vec<StepId>)>, Failure> {
    let mut runs: Vec<(RunId, Vec<StepId>)> = Vec::new();
    for target in targets {
        match (target, runs.last_mut()) {
            (Target::Run(run_id), _) => runs.push((run_id, Vec::new())),
            (Target::Step(step_id), Some((_, steps))) => steps.push(step_id),
            (Target::Step(step_id), None) => {
                return Err(Failure::Usage(format!(
                    "`{step_id}` is no id of a run; name the run before its step"
                )));
            }
        }
    }
    Ok(runs)
}

pub(super) async fn rerun(rerun: Rerun, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let runs = match rerun.pick.state {
        Some(state @ (State::Failed | State::Aborted | State::Dead | State::Succeeded)) => {
            rerun.pick.runs(&client, state).await?
        }
        Some(State::Queued | State::Running) => {
            return Err(Failure::Usage(
                "only runs that have ended are enqueued anew".to_owned(),
            ));
        }
        None => rerun.ids,
    };
    if rerun.idempotency_key.is_some() && runs.len() > 1 {
        return Err(Failure::Usage(
            "one `--idempotency-key` is for one run".to_owned(),
        ));
    }
    let mut done = Done::default();
    for run_id in runs {
        let key = rerun.idempotency_key.clone();
        let key = key.unwrap_or_else(|| format!("rerun of {run_id}"));
        let again = rerun_one(&client, run_id, &key).await;
        done.note(run_id, again.map(|run| run.run_id.to_string()));
    }
    done.show(connection, "ENQUEUED AS")
}

async fn rerun_one(client: &Client, run_id: RunId, key: &str) -> Result<RunView, Failure> {
    let run = client.get_run(run_id).await?;
    if !run.state.is_terminal() {
        return Err(Failure::Refused("it has not ended".to_owned()));
    }
    if let Some(version) = run.workflow_version {
        let workflow = run.workflow;
        return Err(Failure::Refused(format!(
            "it is of the registered workflow `{workflow}@{version}`; run that once more with `sealfleet workflow run {workflow}` and its parameters"
        )));
    }
    let document = run.document.ok_or_else(|| {
        Failure::Refused("the control plane does not know its document any more".to_owned())
    })?;
    enqueue(client, &document, Some(key)).await
}

/// What was done to each run, and the first failure.
#[derive(Default)]
struct Done {
    done: Vec<(RunId, String)>,
    failure: Option<Failure>,
}

impl Done {
    fn note(&mut self, run_id: RunId, outcome: Result<String, Failure>) {
        match outcome {
            Ok(done) => self.done.push((run_id, done)),
            Err(failure) => {
                if self.failure.is_some() {
                    note(&format!("{run_id}: {failure}\n"));
                }
                self.failure
                    .get_or_insert(failure.about(run_id.to_string()));
            }
        }
    }

    fn show(self, connection: &Connection, heading: &str) -> Result<(), Failure> {
        let key = heading.to_lowercase().replace(' ', "_");
        let done: Vec<_> = self
            .done
            .iter()
            .map(|(run_id, done)| json!({ "run_id": run_id, &key: done }))
            .collect();
        if !done.is_empty() || self.failure.is_none() {
            list(connection.output, &done, || {
                let mut table = Table::new(["RUN", heading]);
                for (run_id, done) in &self.done {
                    table.row([run_id.to_string(), done.clone()]);
                }
                table
            })?;
        }
        self.failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_their_run() {
        let target = |text: &str| text.parse::<Target>().expect("a target");
        let run = "run_0198c0de-0000-7000-8000-00000000000a";
        let grouped_of = |texts: &[&str]| grouped(texts.iter().map(|text| target(text)).collect());
        let of = grouped_of(&[run, "a", "b", run]).expect("grouped");
        let shape: Vec<usize> = of.iter().map(|(_, steps)| steps.len()).collect();
        assert_eq!(shape, [2, 0]);
        assert!(grouped_of(&["a", run]).is_err());
        assert!("no step".parse::<Target>().is_err());
    }
}
