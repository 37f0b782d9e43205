//! Workers.

use clap::Subcommand;
use sealfleet_client::types::{HeldStep, WorkerDetail, WorkerSummary, WorkerView};
use sealfleet_domain::WorkerId;
use sealfleet_domain::fleet::WorkerStatus;

use super::connection::Connection;
use super::failure::Failure;
use super::listing::Listing;
use super::output::{Table, ago, answer, joined, lines, moment, page, pairs, word};

#[derive(Subcommand)]
pub enum Command {
    /// List workers
    List(Listing),
    /// Show one worker
    Show {
        /// Id of the worker
        worker_id: WorkerId,
    },
    /// Approve a waiting worker
    Approve {
        /// Id of the worker
        worker_id: WorkerId,
    },
    /// Reject a waiting worker
    Reject {
        /// Id of the worker
        worker_id: WorkerId,
    },
    /// Give a worker or a Fargate pool no new steps; it ends those that it holds
    Drain {
        /// Id of the worker
        worker_id: WorkerId,
    },
    /// Let a drained worker take steps again
    Resume {
        /// Id of the worker
        worker_id: WorkerId,
    },
    /// Revoke a worker; its steps go back to their queue
    Revoke {
        /// Id of the worker
        worker_id: WorkerId,
    },
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let view = match command {
        Command::List(listing) => {
            let workers = listing.read(async |page| client.list_workers(page).await);
            return page(connection.output, &workers.await?, |workers| {
                let mut table = Table::new([
                    "WORKER", "NAME", "POOL", "STATUS", "MODES", "LABELS", "HELD", "SEEN",
                    "VERSION",
                ]);
                for WorkerSummary {
                    registered: worker,
                    last_seen_at,
                    version,
                    held,
                } in workers
                {
                    table.row([
                        worker.worker_id.to_string(),
                        worker.name.clone(),
                        worker.pool.to_string(),
                        standing(worker),
                        joined(&worker.modes),
                        pairs(&worker.labels),
                        format!("{held}/{}", worker.max_concurrent),
                        last_seen_at.map(ago).unwrap_or_default(),
                        version.clone().unwrap_or_default(),
                    ]);
                }
                table
            });
        }
        Command::Show { worker_id } => {
            let detail = client.get_worker(worker_id).await?;
            return answer(connection.output, &detail, || known(&detail));
        }
        Command::Approve { worker_id } => client.approve_worker(worker_id).await?,
        Command::Reject { worker_id } => client.reject_worker(worker_id).await?,
        Command::Drain { worker_id } => client.drain_worker(worker_id).await?,
        Command::Resume { worker_id } => client.resume_worker(worker_id).await?,
        Command::Revoke { worker_id } => client.revoke_worker(worker_id).await?,
    };
    answer(connection.output, &view, || text(&view))
}

/// A worker with what is known of it besides its registration.
fn known(WorkerDetail { worker, steps }: &WorkerDetail) -> String {
    let seen = worker.last_seen_at.map(moment);
    let steps = steps.iter().map(|held| {
        let HeldStep {
            run_id, step_id, ..
        } = held;
        format!("{run_id}/{step_id}")
    });
    text(&worker.registered)
        + &lines([
            (
                "last seen",
                seen.unwrap_or_else(|| "not in the last day".to_owned()),
            ),
            ("version", worker.version.clone().unwrap_or_default()),
            ("holds", joined(steps.collect::<Vec<_>>())),
        ])
}

/// Where its registration stands, and whether it drains.
fn standing(view: &WorkerView) -> String {
    let status = word(&view.status);
    match view.draining_since {
        Some(_) if view.status == WorkerStatus::Approved => format!("{status}, drains"),
        _ => status,
    }
}

pub(super) fn text(view: &WorkerView) -> String {
    lines([
        ("worker", view.worker_id.to_string()),
        ("name", view.name.clone()),
        ("pool", view.pool.to_string()),
        ("status", standing(view)),
        ("modes", joined(&view.modes)),
        ("labels", pairs(&view.labels)),
        ("models", joined(&view.models)),
        ("slots", view.max_concurrent.to_string()),
        ("registered", moment(view.registered_at)),
    ])
}
