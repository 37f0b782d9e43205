//! `contain`: everything that stops a project's work, in the order that protects most, first.
//!
//! 1. All keys of the project's profiles are revoked hard: nothing starts with them, and what holds
//!    one is aborted.
//! 2. Workers and enrolment keys are revoked, Fargate pools drained: nobody claims anything.
//! 3. Runs that are left are cancelled.
//! 4. If it is asked for, all other API tokens are revoked: nobody enqueues anything.
//!
//! Each is a request of its own, and they are one containment: all their entries in the trail carry
//! its id. The id follows from the project, the reason and the day. So whoever does it again with
//! the same reason goes on with the same containment, does what is left, and is told what was done
//! before.

use std::future::Future;

use clap::Args;
use futures_util::{StreamExt as _, stream};
use sealfleet_client::types::{ProfileKey, Revoke, WorkerView};
use sealfleet_client::{AuditQuery, Client, Error, RevocationState, all_pages};
use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{
    Clock as _, ContainmentId, Line, ProjectId, RunId, Timestamp, TokenId, limits,
};
use sealfleet_system::SystemClock;
use serde::Serialize;

use super::connection::Connection;
use super::failure::Failure;
use super::listing::first;
use super::output::{answer, lines, note};

/// Requests at once.
const AT_ONCE: usize = 8;
/// How often it looks for what came up meanwhile.
const ROUNDS: usize = 10;

#[derive(Args)]
pub struct Contain {
    /// Reason to record in the audit trail
    #[arg(long, value_name = "TEXT")]
    reason: Line,
    /// Also revoke all API tokens of the project but the one that you use
    #[arg(long)]
    tokens: bool,
    /// Do it; without this, only show what it would do
    #[arg(long)]
    yes: bool,
}

/// What there is to stop, or what was stopped.
#[derive(Serialize)]
struct Contained {
    containment_id: ContainmentId,
    /// Whether it was done, or is only what would be.
    done: bool,
    #[serde(flatten)]
    counts: Counts,
    /// What the same containment has stopped before, by the trail.
    before: Counts,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Counts {
    keys: usize,
    workers: usize,
    enrolment_keys: usize,
    runs: usize,
    tokens: usize,
}

pub(super) async fn run(contain: Contain, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let whoami = client.get_whoami().await?;
    let Some(project) = &whoami.project else {
        return Err(Failure::usage(
            "operators do not enter projects; use a token of an admin of the project",
        ));
    };
    let (containment_id, before) = begun(&client, project, &contain.reason).await?;
    let client = client.within(containment_id);
    let mut counts = Counts::default();
    let contained = |done, counts| Contained {
        containment_id,
        done,
        counts,
        before,
    };
    if !contain.yes {
        counts.keys = keys(&client).await?.len();
        counts.workers = workers(&client).await?.len();
        counts.enrolment_keys = enrolment_keys(&client).await?.len();
        counts.runs = runs(&client).await?.len();
        counts.tokens = tokens(&client, &contain, &whoami.actor).await?.len();
        let would = contained(false, counts);
        return answer(connection.output, &would, || {
            would.text() + "Nothing is changed yet: add `--yes` to do it.\n"
        });
    }
    note(&format!("containment {containment_id}\n"));
    if before != Counts::default() {
        note("it goes on where it was left: the same reason is the same containment\n");
    }
    // What came up while it looked is stopped in the next round.
    for _ in 0..ROUNDS {
        let before = counts.sum();
        let open = keys(&client).await?;
        for some in open.chunks(limits::REVOKED_KEYS) {
            let request = Revoke {
                keys: some.to_vec(),
                hard: true,
                reason: contain.reason.clone(),
            };
            client.create_revocations(&request).await?;
        }
        counts.keys += told("keys revoked", open.len());
        let left = workers(&client).await?;
        let revoked = each(left, async |worker| stop_worker(&client, &worker).await);
        counts.workers += told("workers revoked", revoked.await?);
        let left = enrolment_keys(&client).await?;
        let revoked = each(left, async |id| client.revoke_enrolment_key(id).await);
        counts.enrolment_keys += told("enrolment keys revoked", revoked.await?);
        let left = tokens(&client, &contain, &whoami.actor).await?;
        let revoked = each(left, async |id| client.revoke_token(None, id).await);
        counts.tokens += told("tokens revoked", revoked.await?);
        let left = runs(&client).await?;
        let cancelled = each(left, async |id| client.cancel_run(id).await.map(drop));
        counts.runs += told("runs cancelled", cancelled.await?);
        if counts.sum() == before {
            let done = contained(true, counts);
            return answer(connection.output, &done, || done.text());
        }
    }
    Err(Failure::Other(
        "new work keeps coming: revoke the tokens that enqueue it (`--tokens`), and try again"
            .to_owned(),
    ))
}

impl Counts {
    const fn sum(&self) -> usize {
        self.keys + self.workers + self.enrolment_keys + self.runs + self.tokens
    }

    /// Counts an event of the trail.
    const fn count(&mut self, event: &Event) {
        match event {
            Event::SecretRevoked { .. } => self.keys += 1,
            Event::WorkerRevoked { .. } | Event::WorkerDrained { .. } => self.workers += 1,
            Event::EnrolmentKeyRevoked { .. } => self.enrolment_keys += 1,
            Event::RunCancelled {} => self.runs += 1,
            Event::TokenRevoked { .. } => self.tokens += 1,
            _ => {}
        }
    }
}

impl Contained {
    fn text(&self) -> String {
        let Self { counts, before, .. } = self;
        let told = |now: usize, before: usize| match before {
            0 => now.to_string(),
            before => format!("{now}, and {before} before"),
        };
        let enrolment_keys = told(counts.enrolment_keys, before.enrolment_keys);
        lines([
            ("containment", self.containment_id.to_string()),
            ("keys revoked hard", told(counts.keys, before.keys)),
            ("workers revoked", told(counts.workers, before.workers)),
            ("enrolment keys revoked", enrolment_keys),
            ("runs cancelled", told(counts.runs, before.runs)),
            ("tokens revoked", told(counts.tokens, before.tokens)),
        ])
    }
}

/// The containment of this reason, and what it has stopped so far: one that was begun yesterday or
/// today, or a new one.
async fn begun(
    client: &Client,
    project: &ProjectId,
    reason: &Line,
) -> Result<(ContainmentId, Counts), Failure> {
    let today = SystemClock.now().day_number();
    let yesterday = Timestamp::of_day(today - 1);
    let of_day =
        |day| ContainmentId::of(Timestamp::of_day(day), &format!("{project}/{}", &**reason));
    for containment in [of_day(today - 1), of_day(today)] {
        let query = AuditQuery {
            containment: Some(containment),
            from: Some(yesterday),
            ..AuditQuery::default()
        };
        let entries = all_pages(async |page| {
            let page = page.clone();
            let query = AuditQuery {
                page,
                ..query.clone()
            };
            client.list_audit_entries(&query).await
        });
        let mut before = Counts::default();
        for event in entries.await?.iter().flat_map(|entry| &entry.events) {
            before.count(event);
        }
        if before != Counts::default() {
            return Ok((containment, before));
        }
    }
    Ok((of_day(today), Counts::default()))
}

/// Says on standard error what was done, and answers how much.
fn told(what: &str, count: usize) -> usize {
    if count > 0 {
        note(&format!("{count} {what}\n"));
    }
    count
}

/// Does something to each, a few at once. What is gone or over meanwhile needs nothing more.
async fn each<T, Done>(all: Vec<T>, stop: impl Fn(T) -> Done) -> Result<usize, Failure>
where
    Done: Future<Output = Result<(), Error>>,
{
    let mut stopped = stream::iter(all).map(stop).buffer_unordered(AT_ONCE);
    let mut count = 0;
    while let Some(outcome) = stopped.next().await {
        match outcome {
            Ok(()) => count += 1,
            Err(error) if matches!(error.status(), Some(404 | 409)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(count)
}

/// The keys of the project's profiles that are not revoked hard yet. Keys of system profiles are
/// the operators' to revoke.
async fn keys(client: &Client) -> Result<Vec<ProfileKey>, Failure> {
    let revoked = first(usize::MAX, async |page| {
        client.list_revocations(RevocationState::Active, page).await
    });
    let revoked = revoked.await?.items;
    let profiles = first(usize::MAX, async |page| client.list_profiles(page).await).await?;
    let mut keys = Vec::new();
    for profile in profiles.items {
        for key in profile.content.secrets.keys() {
            let key = ProfileKey {
                profile: profile
                    .name
                    .as_str()
                    .parse()
                    .map_err(|error| Failure::Other(format!("{error}")))?,
                key: Line::escaped(key.as_str()),
            };
            let is_revoked = revoked.iter().any(|revocation| {
                revocation.hard && revocation.profile == key.profile && revocation.key == *key.key
            });
            if !is_revoked {
                keys.push(key);
            }
        }
    }
    Ok(keys)
}

/// Revokes a worker. One that stands for a Fargate pool cannot be, and is drained.
async fn stop_worker(client: &Client, worker: &WorkerView) -> Result<(), Error> {
    let id = worker.worker_id;
    match client.revoke_worker(id).await {
        Err(error) if error.status() == Some(409) && worker.draining_since.is_none() => {
            client.drain_worker(id).await.map(drop)
        }
        revoked => revoked.map(drop),
    }
}

/// Those that may still claim.
async fn workers(client: &Client) -> Result<Vec<WorkerView>, Failure> {
    let workers = first(usize::MAX, async |page| client.list_workers(page).await).await?;
    let works = [WorkerStatus::Approved, WorkerStatus::Pending];
    let workers = workers.items.into_iter().map(|worker| worker.registered);
    Ok(workers
        .filter(|worker| works.contains(&worker.status))
        .collect())
}

async fn enrolment_keys(client: &Client) -> Result<Vec<sealfleet_domain::EnrolmentKeyId>, Failure> {
    let keys = first(usize::MAX, async |page| {
        client.list_enrolment_keys(page).await
    })
    .await?;
    Ok(keys
        .items
        .into_iter()
        .map(|key| key.enrolment_key_id)
        .collect())
}

async fn runs(client: &Client) -> Result<Vec<RunId>, Failure> {
    let mut found = Vec::new();
    for state in [RunState::Queued, RunState::Running] {
        let runs = first(usize::MAX, async |page| {
            client.list_runs(Some(state), page).await
        })
        .await?;
        found.extend(runs.items.into_iter().map(|run| run.run_id));
    }
    Ok(found)
}

/// The tokens to revoke, if that is asked for: all but the caller's own.
async fn tokens(client: &Client, contain: &Contain, actor: &str) -> Result<Vec<TokenId>, Failure> {
    if !contain.tokens {
        return Ok(Vec::new());
    }
    let tokens = first(usize::MAX, async |page| {
        client.list_tokens(None, page).await
    })
    .await?;
    let tokens = tokens.items.into_iter();
    Ok(tokens
        .filter(|token| token.revoked_at.is_none())
        .map(|token| token.token_id)
        .filter(|id| format!("token:{id}") != actor)
        .collect())
}
