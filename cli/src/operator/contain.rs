//! `contain`: everything that stops a project's work, as one operation of the API.
//!
//! The control plane drives it to its end, so whoever asked for it need not wait: this only shows
//! what it would stop, begins it, and watches. `crates/domain/src/containment.rs` has the order.

use std::time::Duration;

use clap::Args;
use sealfleet_client::Client;
use sealfleet_client::types::{
    Contain as Request, ContainmentState, ContainmentView, OpenWork, PreviewContainment,
};
use sealfleet_domain::containment::Tally;
use sealfleet_domain::{Clock as _, ContainmentId, Line};
use sealfleet_system::{SystemClock, SystemIds};

use super::connection::Connection;
use super::failure::Failure;
use super::listing::Listing;
use super::output::{Table, answer, lines, moment, note, or_dash, page};

/// Between two looks, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));
/// Containments that a list shows.
const LISTED: u32 = 50;

#[derive(Args)]
pub struct Contain {
    /// Reason to record in the audit trail
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["show", "list"])]
    reason: Option<Line>,
    /// Also revoke all API tokens of the project but the one that you use
    #[arg(long)]
    tokens: bool,
    /// Do it; without this, only show what it would do
    #[arg(long)]
    yes: bool,
    /// Watch a containment that was begun before, until it ends
    #[arg(long, value_name = "CONTAINMENT_ID", conflicts_with_all = ["reason", "tokens", "yes", "list"])]
    show: Option<ContainmentId>,
    /// List the project's containments, newest first
    #[arg(long, conflicts_with_all = ["reason", "tokens", "yes"])]
    list: bool,
    #[command(flatten)]
    listing: Listing,
}

pub(super) async fn run(contain: Contain, connection: &Connection) -> Result<(), Failure> {
    let (client, output) = (connection.client()?, connection.output);
    if contain.list {
        let listing = contain.listing.or(LISTED);
        let containments = listing.read(async |page| client.list_containments(page).await);
        return page(output, &containments.await?, table);
    }
    if let Some(id) = contain.show {
        let shown = client.get_containment(id).await?;
        return ended(connection, &until_ended(&client, shown).await?);
    }
    let Some(reason) = contain.reason else {
        return Err(Failure::usage("give a `--reason`"));
    };
    let tokens = contain.tokens;
    if !contain.yes {
        let previewed = PreviewContainment { tokens };
        let open = client.preview_containment(&previewed).await?;
        return answer(output, &open, || {
            open_text(&open) + "Nothing is changed yet: add `--yes` to do it.\n"
        });
    }
    // Only of this request: whoever asks again with the same reason means a new containment.
    let once = ContainmentId::new(&SystemIds, SystemClock.now()).to_string();
    let request = Request { reason, tokens };
    let begun = client.create_containment(&request, Some(&once)).await?;
    note(&format!(
        "containment {}: it goes on without this command, too\n",
        begun.containment_id
    ));
    ended(connection, &until_ended(&client, begun).await?)
}

/// Polls until the containment has ended, and prints each change on standard error.
async fn until_ended(
    client: &Client,
    mut view: ContainmentView,
) -> Result<ContainmentView, Failure> {
    let (first, most) = PAUSES;
    let (mut pause, mut told) = (first, Tally::default());
    while view.state == ContainmentState::GoingOn {
        let changed = std::mem::replace(&mut told, view.stopped) != view.stopped;
        if changed {
            note(&format!("{}\n", counts(&view.stopped)));
        }
        pause = if changed {
            first
        } else {
            (pause * 2).min(most)
        };
        tokio::time::sleep(pause).await;
        view = client.get_containment(view.containment_id).await?;
    }
    Ok(view)
}

/// Prints how it ended. It fails if something is left.
fn ended(connection: &Connection, view: &ContainmentView) -> Result<(), Failure> {
    answer(connection.output, view, || text(view))?;
    if view.state == ContainmentState::Incomplete {
        return Err(Failure::Other(
            "something is left: new work keeps coming, or it cannot be stopped. Revoke the tokens that enqueue it (`--tokens`), and try again"
                .to_owned(),
        ));
    }
    Ok(())
}

fn counts(tally: &Tally) -> String {
    let Tally {
        keys,
        workers,
        enrolment_keys,
        tokens,
        runs,
    } = tally;
    format!(
        "{keys} keys, {workers} workers, {enrolment_keys} enrolment keys and {tokens} tokens revoked, {runs} runs ended"
    )
}

fn parts(tally: &Tally) -> [(&'static str, String); 5] {
    [
        ("keys revoked hard", tally.keys.to_string()),
        ("workers revoked", tally.workers.to_string()),
        ("enrolment keys revoked", tally.enrolment_keys.to_string()),
        ("tokens revoked", tally.tokens.to_string()),
        ("runs ended", tally.runs.to_string()),
    ]
}

fn open_text(open: &OpenWork) -> String {
    let more = if open.more {
        "There is more: not all was counted.\n"
    } else {
        ""
    };
    lines(parts(&open.count)) + more
}

fn text(view: &ContainmentView) -> String {
    let head = [("containment", view.containment_id.to_string())];
    lines([&head[..], &parts(&view.stopped)].concat())
}

fn table(view: &[ContainmentView]) -> Table {
    let mut table = Table::new(["CONTAINMENT", "STATE", "STARTED", "ENDED", "BY", "REASON"]);
    for view in view {
        table.row([
            view.containment_id.to_string(),
            view.state.name().to_owned(),
            moment(view.started_at),
            or_dash(view.ended_at.map(moment)),
            view.actor.clone(),
            view.reason.clone(),
        ]);
    }
    table
}
