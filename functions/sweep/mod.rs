//! `sweep`: visits what is due, and nothing else.
//!
//! It sends the message of a queued step again, or ends a step whose time to live is over. It looks
//! at the lease of a step that a worker holds, and asks the host of a step that a host holds. It
//! stops sandboxes left behind by ended steps, goes on with interrupted fan-outs and containments,
//! ends requests for approval that nobody has decided in time, and moves audit entries that wait in
//! the outbox to the trail. Queue messages, events and handlers may all be lost; this alone brings
//! every run to its end.
//!
//! All shards of the index are read at once, keys only, page by page, while what is already known
//! is worked on in a fair order ([`plan`]). It takes no new work in the last seconds of its time;
//! what is left stays due, and the next sweep goes on.

mod plan;
mod visit;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use sealfleet_aws::queues::{Continuations, Queues};
use sealfleet_domain::run::Pace;
use sealfleet_domain::{ContainmentId, FanOutId, Owner, ProjectScope, Timestamp};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{DuePage, DueRow, Error, Ledger, due_shards};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shared::metrics::{Metric, Metrics};
use crate::shared::{containment, fan_out};
use plan::{Plan, Share, Task, Turn};
use visit::{Looked, Visit};

/// Seconds that one sweep works on one fan-out or containment.
const SHARED_SECONDS: i64 = 20;
/// Seconds that an invocation of the queue works on a containment. Then it goes to the queue's end:
/// the invocations at once are few, and fan-outs of others wait for one, too.
const CONTAINED_SECONDS: i64 = 10;
/// Rows of one shard that are read at once.
const PAGE: usize = 1000;

/// Pieces of work at once, where calls do not wait for one another.
pub const AT_ONCE: usize = 32;

/// What this function may use.
pub struct Ports {
    /// The tables.
    pub ledger: Ledger,
    /// The queues.
    pub queues: Box<dyn Queues>,
    /// Where sandboxes run.
    pub hosts: Hosts,
    /// How long leases last and when a message is sent again.
    pub pace: Pace,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the rest of a fan-out or a containment is left to other invocations.
    pub continuations: Box<dyn Continuations>,
    /// Pieces of work at once.
    pub at_once: usize,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Runs, fan-outs, containments, approvals and waiting audit entries that were due.
    pub visited: u64,
    /// Those that could not be dealt with; they stay due.
    pub failed: u64,
    /// Those that were read in the index and that the time did not suffice for; they stay due.
    pub left: u64,
}

/// What an invocation came to: a sweep, or nothing that a batch of the queue has to repeat.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Invoked {
    Swept(Swept),
    Batch(SqsBatchResponse),
}

/// Handles the schedule's event, or a batch of the queue of what others could not finish.
///
/// # Errors
/// As [`handle`].
pub async fn invoked(ports: &Ports, event: Value, until: Timestamp) -> Result<Invoked, Error> {
    let Some(records) = event.get("Records").and_then(Value::as_array) else {
        return handle(ports, until).await.map(Invoked::Swept);
    };
    for record in records {
        let body = record.get("body").and_then(Value::as_str);
        match body.map(serde_json::from_str) {
            Some(Ok(Left::FanOut(part))) => go_on(ports, &part, until).await,
            Some(Ok(Left::Containment(part))) => {
                let (scope, id) = (part.scope(), part.containment_id());
                let until = until.min(ports.ledger.now().plus_seconds(CONTAINED_SECONDS));
                // What goes wrong is left to the next sweep.
                if let Err(error) = go_on_containing(ports, &scope, id, until).await {
                    tracing::warn!(%error, containment_id = %id, "`sweep` goes on with a containment");
                }
            }
            _ => tracing::error!("deleted a malformed message"),
        }
    }
    Ok(Invoked::Batch(SqsBatchResponse::default()))
}

/// What another invocation had no time for.
#[derive(Deserialize)]
#[serde(untagged)]
enum Left {
    FanOut(fan_out::Part),
    Containment(containment::Part),
}

/// A page of a shard, or what became of a piece of work.
enum Event {
    Page(String, Result<DuePage, Error>),
    Done(Turn, Done),
}

enum Done {
    /// It is dealt with, or not.
    Over(Result<(), Error>),
    FanOut(Result<bool, Error>),
    Looked(Result<Looked, Error>),
    Answered(Vec<(Share, Box<Visit>)>),
}

/// Visits what is due now, in a fair order, and takes nothing new once it is `until`.
///
/// # Errors
/// When a shard of the due index cannot be read; the others are visited nevertheless.
pub async fn handle(ports: &Ports, until: Timestamp) -> Result<Swept, Error> {
    let (mut swept, mut plan) = (Swept::default(), Plan::new(ports.at_once));
    let (mut unread, mut unfinished_fan_outs) = (None, 0.0);
    let now = ports.ledger.now();
    let mut working = FuturesUnordered::new();
    for shard in due_shards() {
        working.push(work(ports, Work::Page(shard, now, None), until));
    }
    loop {
        while let Some((turn, task)) = plan.next(ports.ledger.now(), until) {
            working.push(work(ports, Work::Task(turn, task), until));
        }
        let Some(event) = working.next().await else {
            break;
        };
        match event {
            Event::Page(shard, Ok(page)) => {
                plan.add(page.items);
                if let Some(after) = page.more_after
                    && ports.ledger.now() < until
                {
                    working.push(work(ports, Work::Page(shard, now, Some(after)), until));
                }
            }
            Event::Page(shard, Err(error)) => {
                tracing::error!(%error, shard, "a shard of the due index could not be read");
                unread = Some(error);
            }
            Event::Done(turn, done) => {
                plan.done(&turn);
                let over = match done {
                    Done::Looked(Ok(Looked::Ask(visit))) => {
                        if let Some(share) = turn.share {
                            plan.keep_to_ask(share, visit, ports.ledger.now());
                        }
                        continue;
                    }
                    Done::Looked(Ok(Looked::Resend(visit))) => {
                        if let Some(share) = turn.share {
                            plan.keep_to_resend(share, visit);
                        }
                        continue;
                    }
                    Done::Answered(visits) => {
                        plan.answered(visits);
                        continue;
                    }
                    Done::Looked(Ok(Looked::Done)) => Ok(()),
                    Done::Looked(Err(error)) => Err(error),
                    Done::Over(over) => over,
                    Done::FanOut(finished) => {
                        if !matches!(finished, Ok(true)) {
                            unfinished_fan_outs += 1.0;
                        }
                        finished.map(drop)
                    }
                };
                swept.visited += 1;
                if let Err(error) = over {
                    swept.failed += 1;
                    tracing::warn!(%error, "what is due could not be dealt with; it stays due");
                }
            }
        }
    }
    swept.left = plan.left();
    tell(ports, swept, unfinished_fan_outs);
    unread.map_or(Ok(swept), Err)
}

#[expect(clippy::cast_precision_loss, reason = "no sweep has so many rows")]
fn tell(ports: &Ports, swept: Swept, unfinished_fan_outs: f64) {
    let Swept {
        visited,
        failed,
        left,
    } = swept;
    ports.metrics.of_function(
        ports.ledger.now(),
        &[
            (Metric::FanOutsUnfinished, unfinished_fan_outs),
            (Metric::SweepLeft, left as f64),
        ],
    );
    if left > 0 {
        tracing::warn!(
            visited,
            failed,
            left,
            "the time did not suffice for all that is due"
        );
    } else {
        tracing::info!(visited, failed, "swept");
    }
}

enum Work {
    /// The page of a shard after a row.
    Page(String, Timestamp, Option<DueRow>),
    Task(Turn, Task),
}

async fn work(ports: &Ports, work: Work, until: Timestamp) -> Event {
    let (turn, task) = match work {
        Work::Page(shard, now, after) => {
            let page = ports.ledger.due(&shard, now, after.as_ref(), PAGE).await;
            return Event::Page(shard, page);
        }
        Work::Task(turn, task) => (turn, task),
    };
    let done = match task {
        Task::FanOut(owner, id) => Done::FanOut(resume(ports, &owner, id, until).await),
        Task::Containment(scope, id) => {
            let until = until.min(ports.ledger.now().plus_seconds(SHARED_SECONDS));
            Done::Over(go_on_containing(ports, &scope, id, until).await)
        }
        Task::Entry(entry) => Done::Over(ports.ledger.move_to_trail(&entry).await),
        Task::Approval(scope, id) => {
            let ended = ports.ledger.expire_approval(&scope, &id, visit::ACTOR);
            Done::Over(ended.await)
        }
        Task::Read(due) => Done::Looked(visit::look(ports, due).await),
        Task::Visit(visit) => Done::Over(visit::carry_out(ports, &visit).await),
        Task::Ask(mut visits) => {
            visit::ask(ports, visits.iter_mut().map(|(_, visit)| visit)).await;
            Done::Answered(visits)
        }
    };
    Event::Done(turn, done)
}

/// A fan-out whose workers died, or ran out of time. Whether it is finished now.
async fn resume(
    ports: &Ports,
    owner: &Owner,
    id: FanOutId,
    until: Timestamp,
) -> Result<bool, Error> {
    let (ledger, hosts) = (&ports.ledger, &ports.hosts);
    let fan_out = ledger.fan_out(owner, id).await?;
    let until = until.min(ledger.now().plus_seconds(SHARED_SECONDS));
    let fan_out = fan_out::advance(ledger, hosts, owner, fan_out, 0, until).await?;
    let finished = fan_out.finished.is_some();
    if !finished {
        fan_out::share(ports.continuations.as_ref(), owner, id).await;
    }
    Ok(finished)
}

/// Goes on with a containment whose worker died, or ran out of time.
async fn go_on_containing(
    ports: &Ports,
    scope: &ProjectScope,
    id: ContainmentId,
    until: Timestamp,
) -> Result<(), Error> {
    let means = containment::Means {
        ledger: &ports.ledger,
        hosts: &ports.hosts,
        continuations: ports.continuations.as_ref(),
    };
    let found = ports.ledger.containment(scope, id).await?;
    containment::advance(means, scope, found, until)
        .await
        .map(drop)
}

/// Goes on with a part of a fan-out that another invocation had no time for. What goes wrong is
/// left to the next sweep.
pub async fn go_on(ports: &Ports, part: &fan_out::Part, until: Timestamp) {
    let (ledger, hosts, fan_out_id) = (&ports.ledger, &ports.hosts, part.fan_out_id());
    let Some(owner) = part.owner() else {
        tracing::error!(%fan_out_id, "a fan-out of nobody");
        return;
    };
    let advanced = match ledger.fan_out(&owner, fan_out_id).await {
        Ok(fan_out) => fan_out::advance(ledger, hosts, &owner, fan_out, part.first(), until).await,
        Err(error) => Err(error),
    };
    match advanced {
        Ok(fan_out) if fan_out.finished.is_some() => {}
        Ok(_) => fan_out::go_on(ports.continuations.as_ref(), part).await,
        Err(error) => tracing::warn!(%error, %fan_out_id, "`sweep` goes on with a fan-out"),
    }
}
