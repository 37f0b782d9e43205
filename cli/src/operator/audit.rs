//! The audit trail: read through the API, verified as exported.

use clap::Subcommand;
use sealfleet_domain::{EventId, Timestamp};

use super::archive;
use super::connection::Connection;
use super::failure::Failure;
use super::trail::{self, Filters};

#[derive(Subcommand)]
pub enum Command {
    /// List the entries of your trail, oldest first: the last day's, or all of `--run`, unless
    /// `--from` says otherwise
    List {
        #[command(flatten)]
        filters: Filters,
        /// Only those before this moment
        #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
        to: Option<Timestamp>,
    },
    /// Print the entries of your trail and stay: one line for each, as JSON one document a line.
    /// What enters the trail after its time is printed when it comes, up to an hour later: reads of
    /// secrets that no release explains, and what was revoked, cancelled or aborted while the audit
    /// table did not answer
    Follow {
        #[command(flatten)]
        filters: Filters,
    },
    /// Show one entry
    Show {
        /// `evt_…`
        event_id: EventId,
        /// Whose trail it stands in: only your own is there for you
        #[arg(long)]
        project: Option<String>,
    },
    /// Check the exported trail against its digests. Fails when anything was touched, and names
    /// what and where
    Verify(archive::Verify),
    /// Export a range of the trail again, with your own AWS credentials: after the stream lost it
    ReExport(archive::ReExport),
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::List { filters, to } => trail::list(connection, filters, to).await,
        Command::Follow { filters } => trail::follow(connection, filters).await,
        Command::Show { event_id, project } => {
            trail::show(connection, event_id, project.as_deref()).await
        }
        Command::Verify(verify) => archive::verify(verify, connection.output).await,
        Command::ReExport(range) => archive::re_export(range, connection.output).await,
    }
}
