//! Works on a fan-out: aborts each run and stops its sandboxes, page by page, until all is done or
//! the time is over.
//!
//! It may be interrupted at any point and done by two at once. The result is counted at the end
//! from what each abort left behind, so nothing is counted twice and nothing that could not be
//! stopped is hidden.

use futures_util::{StreamExt as _, stream};
use sealfleet_api::types::FanOutView;
use sealfleet_domain::revocation::{AbortedRun, Counts, FanOut, Finished, Place};
use sealfleet_domain::run::{StepState, Stopping};
use sealfleet_domain::{Owner, ProjectScope, RunId, Timestamp, limits};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Error, Ledger};

use super::effects;

/// Runs that are worked on at once.
const AT_ONCE: usize = 16;
/// Runs that are named where sandboxes could not be stopped.
const NAMED: usize = 100;

/// Works on a fan-out until it is finished or it is `until`; what is left, `sweep` goes on with.
///
/// # Errors
/// When the tables do not answer. The fan-out stays due.
pub async fn advance(
    ledger: &Ledger,
    hosts: &Hosts,
    owner: &Owner,
    mut fan_out: FanOut,
    until: Timestamp,
) -> Result<FanOut, Error> {
    if fan_out.finished.is_some() {
        return Ok(fan_out);
    }
    while let Some(place) = fan_out.next.clone() {
        if ledger.now() >= until {
            ledger.save_fan_out(owner, &fan_out, until).await?;
            return Ok(fan_out);
        }
        let page = ledger.in_flight(&place, place.after.as_deref()).await?;
        abort(ledger, hosts, owner, &fan_out, &page.items).await?;
        fan_out.next = match page.more_after {
            Some(after) => Some(Place {
                after: Some(after),
                ..place
            }),
            None => ledger.place_after(owner, &place).await?,
        };
        // Where nothing was in flight there is nothing to be saved from doing again.
        if !page.items.is_empty() {
            let due = ledger.now().plus_seconds(limits::FAN_OUT_SECONDS);
            ledger.save_fan_out(owner, &fan_out, due).await?;
        }
    }
    let finished = count(ledger, Some(hosts), owner, &fan_out).await?;
    ledger.finish_fan_out(owner, &fan_out, &finished).await?;
    fan_out.finished = Some(finished);
    Ok(fan_out)
}

async fn abort(
    ledger: &Ledger,
    hosts: &Hosts,
    owner: &Owner,
    fan_out: &FanOut,
    runs: &[(ProjectScope, RunId)],
) -> Result<(), Error> {
    let actor = format!("revocation:{}", fan_out.fan_out_id);
    let each = stream::iter(runs).map(async |(scope, run_id)| {
        if let Some(done) = ledger.abort_revoked(owner, fan_out, scope, *run_id).await? {
            effects::stop(hosts, ledger, scope, &done.run, &done.change, &actor).await;
        }
        Ok(())
    });
    // All of them are tried, and the first error is told: the page is done again then.
    let results: Vec<Result<(), Error>> = each.buffer_unordered(AT_ONCE).collect().await;
    results.into_iter().collect()
}

/// What a fan-out has come to, from the rows that its aborts left. With `hosts`, what is left to
/// stop is stopped first: whoever aborted the run may have died before it did, or the host did not
/// take it then.
async fn count(
    ledger: &Ledger,
    hosts: Option<&Hosts>,
    owner: &Owner,
    fan_out: &FanOut,
) -> Result<Finished, Error> {
    let mut finished = Finished {
        at: ledger.now(),
        counts: Counts::default(),
        unstopped: Vec::new(),
    };
    let actor = format!("revocation:{}", fan_out.fan_out_id);
    let mut after = None;
    loop {
        let page = ledger
            .aborted_runs(owner, fan_out.fan_out_id, after.as_deref(), 100)
            .await?;
        let each = stream::iter(&page.items)
            .map(async |aborted| Ok((aborted, unstopped(ledger, hosts, aborted, &actor).await?)));
        let looked_at: Vec<Result<(&AbortedRun, u64), Error>> =
            each.buffered(AT_ONCE).collect().await;
        for looked_at in looked_at {
            let (aborted, unstopped) = looked_at?;
            add(&mut finished.counts, aborted, unstopped);
            if unstopped > 0 && finished.unstopped.len() < NAMED {
                finished.unstopped.push(aborted.run_id);
            }
        }
        after = page.more_after;
        if after.is_none() {
            return Ok(finished);
        }
    }
}

fn add(counts: &mut Counts, aborted: &AbortedRun, unstopped: u64) {
    counts.runs_aborted += 1;
    counts.tasks_unstopped += unstopped;
    counts.tasks_stopped += u64::from(aborted.tasks).saturating_sub(unstopped);
    counts.worker_sandboxes += u64::from(aborted.workers);
}

/// The run's sandboxes whose host has not been told to stop them yet.
async fn unstopped(
    ledger: &Ledger,
    hosts: Option<&Hosts>,
    aborted: &AbortedRun,
    actor: &str,
) -> Result<u64, Error> {
    if aborted.tasks == 0 {
        return Ok(0);
    }
    let scope = ProjectScope::of_stored_row(aborted.project.clone());
    let run = ledger.run(&scope, aborted.run_id).await?;
    let mut unstopped = 0;
    for (step_id, step) in &run.steps {
        let StepState::Aborted {
            stopping: Some(stopping),
            ..
        } = &step.state
        else {
            continue;
        };
        let stopped = match (hosts, stopping) {
            (Some(hosts), Stopping::Task(handle)) => {
                effects::stop_aborted(hosts, ledger, &scope, (run.run_id, step_id), handle, actor)
                    .await
            }
            // A launch that nobody has a handle of is looked for by `sweep`.
            (None, _) | (_, Stopping::Launch { .. }) => false,
        };
        unstopped += u64::from(!stopped);
    }
    Ok(unstopped)
}

/// A fan-out as the API shows it: what it came to, or how far it has come.
///
/// # Errors
/// When the tables do not answer.
pub async fn view(ledger: &Ledger, owner: &Owner, fan_out: FanOut) -> Result<FanOutView, Error> {
    let finished_at = fan_out.finished.as_ref().map(|finished| finished.at);
    let so_far = match fan_out.finished.clone() {
        Some(finished) => finished,
        None => count(ledger, None, owner, &fan_out).await?,
    };
    Ok(FanOutView {
        fan_out_id: fan_out.fan_out_id,
        revocations: fan_out
            .revocations
            .iter()
            .map(|revocation| revocation.revocation_id)
            .collect(),
        started_at: fan_out.started_at,
        finished_at,
        counts: so_far.counts,
        unstopped: so_far.unstopped,
    })
}
