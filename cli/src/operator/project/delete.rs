//! `sealfleet project delete`: closes a project, waits for what is under way, and deletes it.

use std::time::Duration;

use clap::Args;
use sealfleet_client::types::{ProjectDeletion, ProjectState};
use sealfleet_client::{Client, Code, Error};
use sealfleet_domain::ProjectId;
use sealfleet_domain::text::printable;

use crate::operator::connection::Connection;
use crate::operator::failure::Failure;
use crate::operator::output::{answer, lines, note, word};

/// Time between two requests.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Delete {
    /// Id of the project
    project: ProjectId,
    /// The project's id once more: what is deleted does not come back
    #[arg(long, value_name = "PROJECT")]
    confirm: ProjectId,
    /// Close it although it has unfinished runs, and wait until they end
    #[arg(long)]
    drain: bool,
    /// Only close it; run the command again to delete it
    #[arg(long)]
    no_wait: bool,
}

pub(super) async fn run(delete: Delete, connection: &Connection) -> Result<(), Failure> {
    if delete.confirm != delete.project {
        return Err(Failure::Usage(format!(
            "`--confirm` names `{}`, and the project is `{}`; name the same project twice",
            delete.confirm, delete.project
        )));
    }
    let client = connection.client()?;
    let mut deletion = client.delete_project(&delete.project, delete.drain).await?;
    if !delete.no_wait && deletion.state == ProjectState::Closing {
        note("the project takes nothing new; waiting until what is under way has ended\n");
        deletion = until_deleted(&client, &delete.project).await?;
    }
    answer(connection.output, &deletion, || text(&deletion))
}

/// Repeats the request until the project is deleted. It closes the project whatever runs.
///
/// # Errors
/// What the API refuses for another reason than unfinished runs.
pub(in crate::operator) async fn until_deleted(
    client: &Client,
    project: &ProjectId,
) -> Result<ProjectDeletion, Failure> {
    let mut told = String::new();
    loop {
        match client.delete_project(project, true).await {
            Ok(deletion) if deletion.state == ProjectState::Deleted => return Ok(deletion),
            Ok(_) => {}
            Err(Error::Problem(problem)) if problem.code == Code::ProjectInUse => {
                let line = printable(&problem.detail);
                if line != told {
                    note(&format!("{line}\n"));
                }
                told = line;
            }
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn text(deletion: &ProjectDeletion) -> String {
    let moment =
        |at: Option<sealfleet_domain::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let left = match deletion.state {
        ProjectState::Closing => "everything; run this command again to delete it",
        ProjectState::Deleted => {
            "its trail and archive; its stack and its secrets, which are yours to delete"
        }
    };
    lines([
        ("project", deletion.project.to_string()),
        ("state", word(&deletion.state)),
        ("closed", moment(deletion.closed_at)),
        ("deleted", moment(deletion.deleted_at)),
        ("left", left.to_owned()),
    ])
}
