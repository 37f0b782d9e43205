//! The audit trail: reading it through the API and verifying its export.

use clap::Subcommand;
use sealfleet_domain::{EventId, Timestamp};

use super::archive;
use super::connection::Connection;
use super::failure::Failure;
use super::listing::Listing;
use super::path;
use super::repair;
use super::trail::{self, Filters};

#[derive(Subcommand)]
pub enum Command {
    /// List entries of your trail, oldest first; without `--from`, those of the last day, or all of
    /// `--run`
    List {
        #[command(flatten)]
        filters: Filters,
        /// Show only entries before this time
        #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
        to: Option<Timestamp>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Print new entries of your trail as they come, one line each (with `--output json`, one JSON
    /// document a line); entries that are recorded late, such as secret reads that no release
    /// explains, are printed up to an hour after their time
    Follow {
        #[command(flatten)]
        filters: Filters,
    },
    /// Show one entry
    Show {
        /// Id of the entry, `evt_…`
        event_id: EventId,
        /// Project whose trail to read; you can read only your own
        #[arg(long)]
        project: Option<String>,
    },
    /// Show the path of a credential: for each release of a key, its reference and version,
    /// profile, level, run and who enqueued it, step, tool, worker, sandbox and end
    Path(path::PathOf),
    /// Check the exported trail against its signed digests; fails if anything was changed, and
    /// names what and where
    Verify(archive::Verify),
    /// Export a range of the trail again with your own AWS credentials, after the stream lost it
    ReExport(archive::ReExport),
    /// Copy entries of a project's runs to its trail again with your own AWS credentials, after the
    /// ledger's stream lost them; each entry is still shown once
    Repair(repair::Repair),
}

pub(super) async fn run(command: Command, connection: &Connection) -> Result<(), Failure> {
    match command {
        Command::List {
            filters,
            to,
            listing,
        } => trail::list(connection, filters, to, listing).await,
        Command::Follow { filters } => trail::follow(connection, filters).await,
        Command::Show { event_id, project } => {
            trail::show(connection, event_id, project.as_deref()).await
        }
        Command::Path(of) => path::run(of, connection).await,
        Command::Verify(verify) => archive::verify(verify, connection.output).await,
        Command::ReExport(range) => archive::re_export(range, connection.output).await,
        Command::Repair(period) => repair::repair(period, connection.output).await,
    }
}
