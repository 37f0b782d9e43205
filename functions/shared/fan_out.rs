//! Works on a fan-out: aborts each run and stops its sandboxes, until all is done or the time is
//! over.
//!
//! Several workers may do so at once, in one invocation or in several, and each may be interrupted
//! at any point: `sealfleet_ledger::Lane` says how they share the work. A worker goes through a few
//! lanes at once, and in each it reads ahead while it aborts. Whoever runs out of time asks for
//! another invocation; should that be lost, `sweep` goes on.
//!
//! The result is counted at the end from what each abort left behind, so nothing is counted twice
//! and nothing that could not be stopped is hidden.

use std::sync::Mutex;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_api::types::FanOutView;
use sealfleet_aws::queues::Continuations;
use sealfleet_domain::revocation::{AbortedRun, FanOut, Finished, Place};
use sealfleet_domain::run::{StepState, Stopping};
use sealfleet_domain::scope::OPERATOR_SCOPE;
use sealfleet_domain::{FanOutId, Owner, ProjectScope, RunId, Timestamp, limits};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Error, Lane, Ledger, Page, Tally};
use serde::{Deserialize, Serialize};

use super::effects;

/// Lanes that a worker goes through at once. Others may be in the rest.
const LANES_AT_ONCE: usize = 2;
/// Pages of a lane that are worked on at once.
const PAGES_AT_ONCE: usize = 4;
/// Runs of one page whose sandboxes are stopped, or counted, at once.
const AT_ONCE: usize = 32;
/// Aborted runs that are counted at once.
const COUNTED: usize = 1000;
/// Runs that are named where sandboxes could not be stopped.
const NAMED: usize = 100;
/// Seconds after which a worker notes again that it is at work.
const NOTE_SECONDS: i64 = 5;
/// The lanes in which the workers begin who share what one could not finish.
const BEGINNINGS: [u8; 4] = [0, 2, 4, 6];

/// The part of a worker in a fan-out, as another invocation is asked to go on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The audit trail of its owner: a project, or `~system`.
    trail: String,
    fan_out_id: FanOutId,
    /// The lane in which the worker begins.
    first: u8,
}

impl Part {
    /// Whose fan-out it is. `None` when the message is none of ours.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        if self.trail == OPERATOR_SCOPE {
            return Some(Owner::System);
        }
        let project = self.trail.parse().ok()?;
        Some(Owner::Project(ProjectScope::of_stored_row(project)))
    }

    #[must_use]
    pub const fn fan_out_id(&self) -> FanOutId {
        self.fan_out_id
    }

    #[must_use]
    pub const fn first(&self) -> u8 {
        self.first
    }
}

/// Asks for invocations that share what is left of a fan-out.
pub async fn share(continuations: &dyn Continuations, owner: &Owner, id: FanOutId) {
    for first in BEGINNINGS {
        let part = Part {
            trail: owner.trail().to_owned(),
            fan_out_id: id,
            first,
        };
        go_on(continuations, &part).await;
    }
}

/// Asks for an invocation that goes on with a part.
pub async fn go_on(continuations: &dyn Continuations, part: &Part) {
    let Ok(body) = serde_json::to_string(part) else {
        return;
    };
    if let Err(error) = continuations.go_on(body).await {
        let fan_out_id = part.fan_out_id;
        tracing::warn!(%error, %fan_out_id, "no other invocation was asked to go on; `sweep` does");
    }
}

/// Works on a fan-out until it is finished or it is `until`, beginning with the lane `first`.
///
/// # Errors
/// When the tables do not answer. The fan-out stays due.
pub async fn advance(
    ledger: &Ledger,
    hosts: &Hosts,
    owner: &Owner,
    mut fan_out: FanOut,
    first: u8,
    until: Timestamp,
) -> Result<FanOut, Error> {
    if fan_out.finished.is_some() {
        return Ok(fan_out);
    }
    // What it aborts is part of the containment that it is part of.
    let ledger = &ledger.within(fan_out.containment_id);
    let worker = Worker {
        ledger,
        hosts,
        owner,
        fan_out: &fan_out,
        until,
        noted: Mutex::new(ledger.now()),
    };
    let Some(finished) = worker.work(first).await? else {
        // `sweep` need not wait for a worker that has stopped.
        ledger.keep_fan_out(owner, &fan_out, ledger.now()).await?;
        return Ok(fan_out);
    };
    ledger.finish_fan_out(owner, &fan_out, &finished).await?;
    fan_out.finished = Some(finished);
    Ok(fan_out)
}

/// A page of runs in flight, and what comes after it in its lane.
struct Reached {
    runs: Vec<(ProjectScope, RunId)>,
    next: Option<Place>,
}

struct Worker<'a> {
    ledger: &'a Ledger,
    hosts: &'a Hosts,
    owner: &'a Owner,
    fan_out: &'a FanOut,
    until: Timestamp,
    /// When it last noted that it is at work.
    noted: Mutex<Timestamp>,
}

impl Worker<'_> {
    /// `None` when the time is over.
    async fn work(&self, first: u8) -> Result<Option<Finished>, Error> {
        let id = self.fan_out.fan_out_id;
        let mut lanes = self.ledger.lanes(self.owner, id).await?;
        let turned = usize::from(first).min(lanes.len());
        lanes.rotate_left(turned);
        // All are tried, and the first error is told.
        let ends: Vec<Result<bool, Error>> = stream::iter(lanes)
            .map(|lane| self.walk(lane))
            .buffered(LANES_AT_ONCE)
            .collect()
            .await;
        for end in ends {
            if !end? {
                return Ok(None);
            }
        }
        self.count().await
    }

    /// Whether the lane is at its end.
    async fn walk(&self, mut lane: Lane) -> Result<bool, Error> {
        let id = self.fan_out.fan_out_id;
        while lane.next.is_some() {
            let mut pages = std::pin::pin!(
                self.pages(lane.next.clone())
                    .map(|page| self.abort(page))
                    .buffered(PAGES_AT_ONCE)
            );
            let mut overtaken = false;
            while let Some(done) = pages.next().await {
                let Reached { runs, next } = done?;
                // Where nothing was in flight there is nothing to be saved from doing again.
                if runs.is_empty() && !self.is_over() {
                    lane.next = next;
                    continue;
                }
                match self.ledger.move_lane(self.owner, id, &lane, next).await? {
                    Some(moved) => lane = moved,
                    None => {
                        overtaken = true;
                        break;
                    }
                }
                self.note().await?;
            }
            if overtaken {
                let lanes = self.ledger.lanes(self.owner, id).await?;
                let stored = lanes
                    .into_iter()
                    .find(|stored| stored.partition == lane.partition);
                lane = stored.ok_or(Error::NotFound)?;
            } else if lane.next.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The pages of a lane, as long as there is time. What cannot be read is the last.
    fn pages(&self, from: Option<Place>) -> impl stream::Stream<Item = Result<Reached, Error>> {
        stream::unfold(from, move |place: Option<Place>| async move {
            let place = place.filter(|_| !self.is_over())?;
            let page = self.page(&place).await;
            let next = page.as_ref().ok().and_then(|page| page.next.clone());
            Some((page, next))
        })
    }

    async fn page(&self, place: &Place) -> Result<Reached, Error> {
        let Page { items, more_after } =
            self.ledger.in_flight(place, place.after.as_deref()).await?;
        let next = match more_after {
            Some(after) => Some(Place {
                after: Some(after),
                ..place.clone()
            }),
            None => self.ledger.place_after_in_lane(self.owner, place).await?,
        };
        Ok(Reached { runs: items, next })
    }

    async fn abort(&self, page: Result<Reached, Error>) -> Result<Reached, Error> {
        let page = page?;
        let (ledger, owner, fan_out) = (self.ledger, self.owner, self.fan_out);
        let actor = format!("revocation:{}", fan_out.fan_out_id);
        let aborted = ledger.abort_page(owner, fan_out, &page.runs).await;
        let each = stream::iter(page.runs.iter().zip(aborted)).map(async |((scope, _), done)| {
            if let Some(done) = done? {
                effects::stop(self.hosts, ledger, scope, &done, &actor).await;
            }
            Ok(())
        });
        // All of them are tried, and the first error is told: the page is done again then.
        let results: Vec<Result<(), Error>> = each.buffer_unordered(AT_ONCE).collect().await;
        results.into_iter().collect::<Result<(), Error>>()?;
        Ok(page)
    }

    fn is_over(&self) -> bool {
        self.ledger.now() >= self.until
    }

    /// Notes that somebody is at work, unless that was noted a moment ago.
    async fn note(&self) -> Result<(), Error> {
        let now = self.ledger.now();
        if let Ok(mut noted) = self.noted.lock() {
            if noted.plus_seconds(NOTE_SECONDS) > now {
                return Ok(());
            }
            *noted = now;
        }
        let due = now.plus_seconds(limits::FAN_OUT_SECONDS);
        let noted = self.ledger.keep_fan_out(self.owner, self.fan_out, due);
        noted.await.map(drop)
    }

    /// What the fan-out has come to, from the rows that its aborts left. What is left to stop is
    /// stopped first: whoever aborted the run may have died before it did, or the host did not
    /// answer. `None` when the time is over: how far it is counted is stored.
    async fn count(&self) -> Result<Option<Finished>, Error> {
        let id = self.fan_out.fan_out_id;
        let mut tally = self.ledger.tally(self.owner, id).await?;
        loop {
            let more = add(self.ledger, Some(self.hosts), self.owner, id, &mut tally).await?;
            if !more {
                return Ok(Some(finished(tally, self.ledger.now())));
            }
            // Another worker that counts is as far as this one, or further.
            tally = match self.ledger.save_tally(self.owner, id, &tally).await? {
                Some(saved) => saved,
                None => self.ledger.tally(self.owner, id).await?,
            };
            if self.is_over() {
                return Ok(None);
            }
            self.note().await?;
        }
    }
}

/// Adds the next aborted runs. Whether there may be more of them. With `hosts`, what is left to
/// stop of them is stopped first.
async fn add(
    ledger: &Ledger,
    hosts: Option<&Hosts>,
    owner: &Owner,
    id: FanOutId,
    tally: &mut Tally,
) -> Result<bool, Error> {
    let actor = format!("revocation:{id}");
    let page = ledger
        .aborted_runs(owner, id, tally.after.as_deref(), COUNTED)
        .await?;
    let each = stream::iter(&page.items).map(|aborted| unstopped(ledger, hosts, aborted, &actor));
    let unstopped: Vec<u64> = each.buffered(AT_ONCE).try_collect().await?;
    for (aborted, unstopped) in page.items.iter().zip(unstopped) {
        let counts = &mut tally.counts;
        counts.runs_aborted += 1;
        counts.tasks_unstopped += unstopped;
        counts.tasks_stopped += u64::from(aborted.tasks).saturating_sub(unstopped);
        counts.worker_sandboxes += u64::from(aborted.workers);
        if unstopped > 0 && tally.unstopped.len() < NAMED {
            tally.unstopped.push(aborted.run_id);
        }
    }
    let more = page.more_after.is_some();
    tally.after = page.more_after.or_else(|| tally.after.take());
    Ok(more)
}

fn finished(tally: Tally, at: Timestamp) -> Finished {
    Finished {
        at,
        counts: tally.counts,
        unstopped: tally.unstopped,
    }
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
        None => {
            let mut tally = Tally::default();
            while add(ledger, None, owner, fan_out.fan_out_id, &mut tally).await? {}
            finished(tally, ledger.now())
        }
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
