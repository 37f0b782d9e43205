//! `status`: what is wrong now, and what to do about it.
//!
//! In a project it reads a bounded number of runs: the newest of each state, and the steps of the
//! oldest of those that wait. Operators do not enter projects
//! (`docs/decisions/009-operator-does-not-enter-projects.md`): they see how many there are, how
//! much of each is unfinished, and the fan-outs of their own revocations.

use std::collections::BTreeSet;

use sealfleet_client::types::{ActivityView, ApprovalsOf, RunSummary};
use sealfleet_client::{Client, RevocationState};
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{Clock as _, FanOutId, RunId, StepId, WorkerId};
use sealfleet_system::SystemClock;
use serde::Serialize;

use super::connection::{self, Connection};
use super::failure::Failure;
use super::listing::first;
use super::output::{Table, ago, answer, joined, lines};
use super::whoami;

/// Runs of a state that are read.
const RUNS: usize = 100;
/// Waiting runs whose steps are looked at.
const LOOKED_AT: usize = 20;
/// Revocations whose fan-outs are looked at, newest first.
const REVOCATIONS: usize = 20;
/// Projects that are counted.
const PROJECTS: usize = 10_000;
/// Workers that are read.
const WORKERS: usize = 1000;
/// How long a run may wait before its steps are looked at, in seconds.
const PATIENCE_SECONDS: i64 = 30;

#[derive(Serialize)]
struct Status {
    /// Runs of each state that has not ended well, up to [`RUNS`].
    queued: usize,
    running: usize,
    dead: Vec<RunId>,
    /// Steps that nobody seems able to claim.
    stuck: Vec<Stuck>,
    approved_workers: usize,
    pending_workers: Vec<WorkerId>,
    /// Requests that somebody has to decide on, up to [`RUNS`].
    approvals: usize,
    /// Fan-outs of hard revocations that are not finished.
    fan_outs: Vec<FanOutId>,
}

#[derive(Serialize)]
struct Stuck {
    run_id: RunId,
    step_id: StepId,
    why: String,
}

/// What operators see.
#[derive(Serialize)]
struct Above {
    projects: usize,
    /// What is unfinished, by project.
    activity: ActivityView,
    /// Fan-outs of hard revocations of system profiles that are not finished.
    fan_outs: Vec<FanOutId>,
}

pub(super) async fn run(connection: &Connection) -> Result<(), Failure> {
    let (url, credential) = connection.whom(None)?;
    let is_operator = whoami::is_operator(&credential);
    let client = connection::client(&url, credential)?;
    if is_operator {
        let projects = first(PROJECTS, async |page| client.list_projects(page).await);
        let above = Above {
            projects: projects.await?.items.len(),
            activity: client.get_activity().await?,
            fan_outs: fan_outs(&client).await?,
        };
        return answer(connection.output, &above, || above.text());
    }
    let status = read(&client).await?;
    answer(connection.output, &status, || status.text())
}

async fn read(client: &Client) -> Result<Status, Failure> {
    let of_state = async |state| {
        let runs = first(RUNS, async |page| client.list_runs(Some(state), page).await).await?;
        Ok::<_, Failure>(runs.items)
    };
    let queued = of_state(RunState::Queued).await?;
    let running = of_state(RunState::Running).await?;
    let dead = of_state(RunState::Dead).await?;
    let stuck = stuck(client, &queued, &running).await?;
    let workers = first(WORKERS, async |page| client.list_workers(page).await).await?;
    let with = |status| {
        let workers = workers.items.iter();
        workers
            .filter(move |worker| worker.registered.status == status)
            .map(|worker| worker.registered.worker_id)
    };
    let approvals = first(RUNS, async |page| {
        client.list_approvals(ApprovalsOf::Pending, page).await
    });
    Ok(Status {
        approvals: approvals.await?.items.len(),
        queued: queued.len(),
        running: running.len(),
        dead: dead.into_iter().map(|run| run.run_id).collect(),
        stuck,
        approved_workers: with(WorkerStatus::Approved).count(),
        pending_workers: with(WorkerStatus::Pending).collect(),
        fan_outs: fan_outs(client).await?,
    })
}

/// Steps of the oldest waiting runs that no worker has claimed for a while.
async fn stuck(
    client: &Client,
    queued: &[RunSummary],
    running: &[RunSummary],
) -> Result<Vec<Stuck>, Failure> {
    let now = SystemClock.now();
    let mut waiting: Vec<&RunSummary> = queued.iter().chain(running).collect();
    waiting.retain(|run| now.millis_since(run.created_at) >= PATIENCE_SECONDS * 1000);
    waiting.sort_by_key(|run| run.created_at);
    let mut stuck = Vec::new();
    for run in waiting.into_iter().take(LOOKED_AT) {
        let view = client.get_run(run.run_id).await?;
        // One that waits for approval is in the inbox.
        let steps = view
            .steps
            .into_iter()
            .filter(|step| step.state != "waiting");
        stuck.extend(steps.filter_map(|step| {
            Some(Stuck {
                run_id: view.run_id,
                step_id: step.id,
                why: step.diagnosis?,
            })
        }));
    }
    Ok(stuck)
}

/// The fan-outs that are not finished, of the newest revocations that have one.
async fn fan_outs(client: &Client) -> Result<Vec<FanOutId>, Failure> {
    let revocations = first(RUNS, async |page| {
        client.list_revocations(RevocationState::Active, page).await
    });
    let mut revocations = revocations.await?.items;
    revocations.sort_by_key(|revocation| std::cmp::Reverse(revocation.at));
    let ids: BTreeSet<FanOutId> = revocations
        .into_iter()
        .filter_map(|revocation| revocation.fan_out_id)
        .take(REVOCATIONS)
        .collect();
    let mut unfinished = Vec::new();
    for id in ids {
        if client.get_fan_out(id).await?.finished_at.is_none() {
            unfinished.push(id);
        }
    }
    Ok(unfinished)
}

impl Above {
    fn text(&self) -> String {
        let ActivityView { projects, complete } = &self.activity;
        let mut table = Table::new(["PROJECT", "UNFINISHED", "OLDEST", "WAITING", "OVERDUE"]);
        for project in projects {
            table.row([
                project.project.to_string(),
                project.unfinished.to_string(),
                ago(project.oldest_created_at),
                project.waiting.to_string(),
                project.overdue.to_string(),
            ]);
        }
        let table = if projects.is_empty() {
            "no run is unfinished\n".to_owned()
        } else {
            table.text()
        };
        let mut text = format!(
            "{table}\n{}",
            lines([
                ("projects", self.projects.to_string()),
                ("fan-outs that go on", joined(&self.fan_outs)),
            ])
        );
        if !complete {
            text += "there are more unfinished runs than were counted\n";
        }
        if projects.iter().any(|project| project.waiting > 0) {
            text +=
                "runs wait for a worker: `sealfleet status` with a token of the project says why\n";
        }
        if projects.iter().any(|project| project.overdue > 0) {
            text += "runs are overdue: look at the log and the alarms of the function `sweep`\n";
        }
        text
    }
}

impl Status {
    fn text(&self) -> String {
        let mut table = Table::new(["WHAT", "COUNT", "WHAT TO DO"]);
        let mut wrong = |what: &str, count: usize, remedy: String| {
            if count > 0 {
                table.row([what.to_owned(), many(count), remedy]);
            }
        };
        wrong(
            "dead runs",
            self.dead.len(),
            "`sealfleet run list --state dead`, then `run retry --state dead` or `run cancel`"
                .to_owned(),
        );
        for stuck in &self.stuck {
            let Stuck {
                run_id,
                step_id,
                why,
            } = stuck;
            wrong("stuck step", 1, format!("{run_id} {step_id}: {why}"));
        }
        wrong(
            "workers that wait for approval",
            self.pending_workers.len(),
            format!(
                "`sealfleet worker approve`: {}",
                joined(&self.pending_workers)
            ),
        );
        wrong(
            "fan-outs that go on",
            self.fan_outs.len(),
            format!(
                "`sealfleet revocation fan-out --wait`: {}",
                joined(&self.fan_outs)
            ),
        );
        let calm = self.dead.is_empty()
            && self.stuck.is_empty()
            && self.pending_workers.is_empty()
            && self.fan_outs.is_empty();
        let wrong = if calm {
            "nothing is wrong\n".to_owned()
        } else {
            table.text()
        };
        format!(
            "{wrong}\n{} queued, {} running, {} wait for a decision, {} workers approved\n",
            many(self.queued),
            many(self.running),
            many(self.approvals),
            self.approved_workers
        )
    }
}

/// A count of something that was read up to [`RUNS`].
fn many(count: usize) -> String {
    if count >= RUNS {
        format!("{RUNS} or more")
    } else {
        count.to_string()
    }
}
