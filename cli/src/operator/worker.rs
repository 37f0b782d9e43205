//! Workers.

use clap::Subcommand;
use sealfleet_client::types::WorkerView;
use sealfleet_domain::WorkerId;

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
                    "WORKER",
                    "NAME",
                    "POOL",
                    "STATUS",
                    "MODES",
                    "LABELS",
                    "SLOTS",
                    "REGISTERED",
                ]);
                for worker in workers {
                    table.row([
                        worker.worker_id.to_string(),
                        worker.name.clone(),
                        worker.pool.to_string(),
                        word(&worker.status),
                        joined(&worker.modes),
                        pairs(&worker.labels),
                        worker.max_concurrent.to_string(),
                        ago(worker.registered_at),
                    ]);
                }
                table
            });
        }
        Command::Show { worker_id } => client.get_worker(worker_id).await?,
        Command::Approve { worker_id } => client.approve_worker(worker_id).await?,
        Command::Reject { worker_id } => client.reject_worker(worker_id).await?,
        Command::Revoke { worker_id } => client.revoke_worker(worker_id).await?,
    };
    answer(connection.output, &view, || text(&view))
}

fn text(view: &WorkerView) -> String {
    lines([
        ("worker", view.worker_id.to_string()),
        ("name", view.name.clone()),
        ("pool", view.pool.to_string()),
        ("status", word(&view.status)),
        ("modes", joined(&view.modes)),
        ("labels", pairs(&view.labels)),
        ("models", joined(&view.models)),
        ("slots", view.max_concurrent.to_string()),
        ("registered", moment(view.registered_at)),
    ])
}
