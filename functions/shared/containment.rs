//! Works on a containment: stops page by page what there is to stop, until a round finds nothing or
//! the time is over.
//!
//! What comes next is decided by [`Containment::after`], and stored. So whoever goes on, another
//! invocation or `sweep`, begins where the last one was. What cannot be stopped keeps nothing else
//! from being stopped: it is tried again in a later round.
//!
//! It acts for the admin who asked for it, and the trail names that admin.

use futures_util::{StreamExt as _, stream};
use sealfleet_api::types::{ContainmentState, ContainmentView, OpenWork};
use sealfleet_aws::queues::Continuations;
use sealfleet_domain::containment::{Containment, Ended, Next, PageDone, Position, Stage, Tally};
use sealfleet_domain::credential::Home;
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{
    ContainmentId, EnrolmentKeyId, FanOutId, Owner, ProfileName, ProfileRef, ProjectId,
    ProjectScope, RevocationId, RunId, SecretUri, Timestamp, TokenId, WorkerId, limits,
};
use sealfleet_hosts::Hosts;
use sealfleet_ledger::{Error, Ledger, Page, RunFilter};
use serde::{Deserialize, Serialize};

use super::{effects, fan_out};

/// Rows of one page.
const PAGE: usize = 100;
/// Workers, tokens or runs that are stopped at once.
const AT_ONCE: usize = 32;
/// Pages of each kind that are looked through to say what is left.
const LOOKED_THROUGH: usize = 20;

/// A containment that another invocation is asked to go on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    project: ProjectId,
    containment_id: ContainmentId,
}

impl Part {
    #[must_use]
    pub fn scope(&self) -> ProjectScope {
        ProjectScope::of_stored_row(self.project.clone())
    }

    #[must_use]
    pub const fn containment_id(&self) -> ContainmentId {
        self.containment_id
    }
}

/// Asks for an invocation that goes on with a containment.
pub async fn go_on(continuations: &dyn Continuations, scope: &ProjectScope, id: ContainmentId) {
    let part = Part {
        project: scope.project().clone(),
        containment_id: id,
    };
    let Ok(body) = serde_json::to_string(&part) else {
        return;
    };
    if let Err(error) = continuations.go_on(body).await {
        tracing::warn!(%error, containment_id = %id, "no other invocation was asked to go on; `sweep` does");
    }
}

/// What it takes to work on a containment.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    pub ledger: &'a Ledger,
    pub hosts: &'a Hosts,
    pub continuations: &'a dyn Continuations,
}

/// Works on a containment until it has ended or it is `until`. Asks for another invocation when
/// there was no time for all.
///
/// # Errors
/// When the tables do not answer. The containment stays due.
pub async fn advance(
    with: Means<'_>,
    scope: &ProjectScope,
    mut containment: Containment,
    until: Timestamp,
) -> Result<Containment, Error> {
    let id = containment.containment_id;
    let ledger = &with.ledger.within(Some(id));
    let with = Means { ledger, ..with };
    while containment.ended.is_none() {
        let worker = Worker {
            with,
            scope,
            owner: Owner::Project(scope.clone()),
            until,
        };
        containment = match worker.work(containment).await? {
            Worked::Over(containment) => return Ok(containment),
            Worked::NoTime(containment) => {
                go_on(with.continuations, scope, id).await;
                return Ok(containment);
            }
            // Another worker has moved it: go on from there.
            Worked::Overtaken => ledger.containment(scope, id).await?,
        };
    }
    Ok(containment)
}

enum Worked {
    /// It has ended, or is to be tried again later.
    Over(Containment),
    NoTime(Containment),
    Overtaken,
}

impl Worked {
    fn over(stored: Option<Containment>) -> Self {
        stored.map_or(Self::Overtaken, Self::Over)
    }
}

struct Worker<'a> {
    with: Means<'a>,
    scope: &'a ProjectScope,
    owner: Owner,
    until: Timestamp,
}

impl Worker<'_> {
    async fn work(&self, mut containment: Containment) -> Result<Worked, Error> {
        let ledger = self.with.ledger;
        // As it is stored.
        let mut stored = containment.position.clone();
        loop {
            let now = ledger.now();
            if now >= self.until {
                let kept = self.keep(&stored, containment, now).await?;
                return Ok(kept.map_or(Worked::Overtaken, Worked::NoTime));
            }
            let page = self.page(&containment).await?;
            let is_empty = !page.found && !page.failed;
            let now = ledger.now();
            match containment.after(page, now) {
                Next::GoOn(position) => {
                    containment.position = position;
                    // Where nothing was to stop, nothing is to be saved from doing again.
                    if is_empty {
                        continue;
                    }
                    let due = now.plus_seconds(limits::CONTAINMENT_SECONDS);
                    match self.keep(&stored, containment, due).await? {
                        Some(kept) => containment = kept,
                        None => return Ok(Worked::Overtaken),
                    }
                    stored = containment.position.clone();
                }
                Next::Again(position, due) => {
                    containment.position = position;
                    return Ok(Worked::over(self.keep(&stored, containment, due).await?));
                }
                Next::Quiet if self.fan_outs_finish(&containment).await? => {
                    return self.end(&stored, &containment, true).await;
                }
                Next::Quiet => {
                    containment.position = Position::begin(containment.position.round);
                    let kept = self.keep(&stored, containment, now).await?;
                    return Ok(kept.map_or(Worked::Overtaken, Worked::NoTime));
                }
                Next::GiveUp => return self.end(&stored, &containment, false).await,
            }
        }
    }

    async fn keep(
        &self,
        stored: &Position,
        moved: Containment,
        due: Timestamp,
    ) -> Result<Option<Containment>, Error> {
        let ledger = self.with.ledger;
        ledger
            .move_containment(self.scope, stored, moved, due)
            .await
    }

    async fn end(
        &self,
        stored: &Position,
        containment: &Containment,
        complete: bool,
    ) -> Result<Worked, Error> {
        let (ledger, id) = (self.with.ledger, containment.containment_id);
        let so_far = ledger.contained_so_far(self.scope, id).await?;
        let ended = Ended {
            at: ledger.now(),
            complete,
            stopped: so_far.stopped,
        };
        let ended = ledger
            .end_containment(self.scope, stored, containment, ended)
            .await?;
        Ok(Worked::over(ended))
    }

    /// Works on the fan-outs of the containment's revocations. `false`: the time is over.
    async fn fan_outs_finish(&self, containment: &Containment) -> Result<bool, Error> {
        let Means { ledger, hosts, .. } = self.with;
        let id = containment.containment_id;
        for id in ledger.contained_so_far(self.scope, id).await?.fan_outs {
            let fan_out = ledger.fan_out(&self.owner, id).await?;
            let advanced = fan_out::advance(ledger, hosts, &self.owner, fan_out, 0, self.until);
            if advanced.await?.finished.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stops what a page of the stage has.
    async fn page(&self, containment: &Containment) -> Result<PageDone, Error> {
        let Position { stage, after, .. } = &containment.position;
        let look = Look {
            ledger: self.with.ledger,
            scope: self.scope,
            owner: &self.owner,
            actor: &containment.actor,
            tokens: containment.tokens,
        };
        let Page { items, more_after } = look.page(*stage, after.as_deref()).await?;
        let mut done = PageDone {
            after: more_after,
            ..PageDone::default()
        };
        let (keys, others): (Vec<Target>, Vec<Target>) = items
            .into_iter()
            .partition(|target| matches!(target, Target::Key(..)));
        let mut outcomes = Vec::new();
        for keys in keys.chunks(limits::REVOKED_KEYS) {
            outcomes.push(self.revoke(containment, keys).await);
        }
        let others = stream::iter(others).map(|target| self.stop(containment, target));
        outcomes.extend(others.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await);
        for outcome in outcomes {
            match outcome {
                Ok(stopped) => done.found |= stopped,
                // It is gone or over meanwhile.
                Err(Error::NotFound | Error::WrongState(_) | Error::Refused(_)) => {}
                Err(error) => {
                    let containment_id = containment.containment_id;
                    tracing::warn!(%error, %containment_id, "not stopped; it is tried again");
                    done.failed = true;
                }
            }
        }
        Ok(done)
    }

    /// Revokes keys hard. Others begin at once with the fan-out that aborts what runs with them.
    async fn revoke(&self, containment: &Containment, keys: &[Target]) -> Result<bool, Error> {
        let (ledger, now) = (self.with.ledger, self.with.ledger.now());
        let fan_out_id = FanOutId::new(ledger.ids(), now);
        let revocations = keys.iter().filter_map(|target| match target {
            Target::Key(profile, key, uri) => Some(Revocation {
                revocation_id: RevocationId::new(ledger.ids(), now),
                profile: ProfileRef::Own(profile.clone()),
                key: key.clone(),
                uri: uri.clone(),
                hard: true,
                reason: containment.reason.clone(),
                actor: containment.actor.clone(),
                at: now,
                fan_out_id: Some(fan_out_id),
                lifted: None,
            }),
            _ => None,
        });
        let revocations: Vec<Revocation> = revocations.collect();
        let revoked = ledger.revoke(&self.owner, &revocations, &containment.actor);
        let changed = revoked.await?.changed;
        if changed {
            fan_out::share(self.with.continuations, &self.owner, fan_out_id).await;
        }
        Ok(changed)
    }

    async fn stop(&self, containment: &Containment, target: Target) -> Result<bool, Error> {
        let (ledger, scope, actor) = (self.with.ledger, self.scope, &containment.actor);
        match target {
            Target::Key(..) => return Ok(false),
            Target::Worker(id) => drop(ledger.revoke_worker(scope, id, actor).await?),
            Target::Pool(id) => drop(ledger.drain_worker(scope, id, true, actor).await?),
            Target::EnrolmentKey(id) => {
                drop(ledger.revoke_enrolment_key(scope, id, actor).await?);
            }
            Target::Token(id) => {
                let home = Home::Project(scope.project().clone());
                drop(ledger.revoke_token(&home, id, actor).await?);
            }
            Target::Run(id) => {
                let cancelled = ledger.transition(scope, id, actor, |run, now| run.cancel(now));
                effects::stop(self.with.hosts, ledger, scope, &cancelled.await?, actor).await;
            }
        }
        Ok(true)
    }
}

/// Something to stop.
enum Target {
    Key(ProfileName, String, SecretUri),
    Worker(WorkerId),
    /// The worker that stands for a Fargate pool: no process has its credential, so it is drained.
    Pool(WorkerId),
    EnrolmentKey(EnrolmentKeyId),
    Token(TokenId),
    Run(RunId),
}

/// Looks for what there is to stop.
struct Look<'a> {
    ledger: &'a Ledger,
    scope: &'a ProjectScope,
    owner: &'a Owner,
    /// Who asks. Its own token is not revoked.
    actor: &'a str,
    tokens: bool,
}

impl Look<'_> {
    /// What a page of a stage has to stop: it may be nothing, while the stage has more pages.
    async fn page(&self, stage: Stage, after: Option<&str>) -> Result<Page<Target>, Error> {
        let (ledger, scope, now) = (self.ledger, self.scope, self.ledger.now());
        Ok(match stage {
            Stage::Keys => {
                let page = ledger.profiles(self.owner, after, PAGE).await?;
                let active = ledger.active_revocations(self.owner).await?;
                let keys = |profile| open_keys(profile, &active);
                Page {
                    items: page.items.into_iter().flat_map(keys).collect(),
                    more_after: page.more_after,
                }
            }
            Stage::Workers => {
                let page = ledger.workers(scope, after, PAGE).await?;
                only(page, |worker| match (worker.status, &worker.hash) {
                    (WorkerStatus::Approved, None) => {
                        let drains = worker.draining_since.is_some();
                        (!drains).then_some(Target::Pool(worker.worker_id))
                    }
                    (WorkerStatus::Approved | WorkerStatus::Pending, _) => {
                        Some(Target::Worker(worker.worker_id))
                    }
                    _ => None,
                })
            }
            Stage::EnrolmentKeys => {
                let page = ledger.enrolment_keys(scope, after, PAGE).await?;
                only(page, |key| {
                    let is_open = key.revoked_at.is_none() && key.expires_at > now;
                    is_open.then_some(Target::EnrolmentKey(key.enrolment_key_id))
                })
            }
            Stage::Tokens if !self.tokens => Page {
                items: Vec::new(),
                more_after: None,
            },
            Stage::Tokens => {
                let home = Home::Project(scope.project().clone());
                let page = ledger.tokens(&home, after, PAGE).await?;
                only(page, |token| {
                    let is_open = token.revoked_at.is_none() && token.expires_at > now;
                    let is_own = format!("token:{}", token.token_id) == self.actor;
                    (is_open && !is_own).then_some(Target::Token(token.token_id))
                })
            }
            Stage::Runs => {
                let filter = RunFilter {
                    states: vec![RunState::Queued, RunState::Running],
                    ..RunFilter::default()
                };
                let page = ledger.runs(scope, &filter, after, PAGE).await?;
                only(page, |run| Some(Target::Run(run.run_id)))
            }
        })
    }
}

fn only<T>(page: Page<T>, open: impl FnMut(T) -> Option<Target>) -> Page<Target> {
    Page {
        items: page.items.into_iter().filter_map(open).collect(),
        more_after: page.more_after,
    }
}

/// The keys of a profile that are not revoked hard.
fn open_keys(profile: Profile, active: &[Revocation]) -> Vec<Target> {
    let own = ProfileRef::Own(profile.name.clone());
    let is_revoked = |key: &str| {
        let mut active = active.iter();
        active.any(|row| row.hard && row.profile == own && row.key == key)
    };
    let secrets = profile.content.secrets.into_iter();
    secrets
        .filter(|(key, _)| !is_revoked(key))
        .map(|(key, reference)| Target::Key(profile.name.clone(), key, reference.uri))
        .collect()
}

/// What a containment would stop now. Changes nothing.
///
/// # Errors
/// When the tables do not answer.
pub async fn open(
    ledger: &Ledger,
    scope: &ProjectScope,
    actor: &str,
    tokens: bool,
) -> Result<OpenWork, Error> {
    let look = Look {
        ledger,
        scope,
        owner: &Owner::Project(scope.clone()),
        actor,
        tokens,
    };
    let (mut count, mut more) = (Tally::default(), false);
    for stage in Stage::ALL {
        let mut after: Option<String> = None;
        for looked in 1..=LOOKED_THROUGH {
            let page = look.page(stage, after.as_deref()).await?;
            count.add(stage, u64::try_from(page.items.len()).unwrap_or(u64::MAX));
            after = page.more_after;
            if after.is_none() {
                break;
            }
            more |= looked == LOOKED_THROUGH;
        }
    }
    Ok(OpenWork { count, more })
}

/// A containment as the API shows it. Says what is `left` only where that is asked for.
///
/// # Errors
/// When the tables do not answer.
pub async fn view(
    ledger: &Ledger,
    scope: &ProjectScope,
    containment: Containment,
    with_left: bool,
) -> Result<ContainmentView, Error> {
    let id = containment.containment_id;
    let (state, stopped) = match &containment.ended {
        None => (
            ContainmentState::GoingOn,
            ledger.contained_so_far(scope, id).await?.stopped,
        ),
        Some(ended) if ended.complete => (ContainmentState::Contained, ended.stopped),
        Some(ended) => (ContainmentState::Incomplete, ended.stopped),
    };
    let left = if with_left && state != ContainmentState::Contained {
        Some(open(ledger, scope, &containment.actor, containment.tokens).await?)
    } else {
        None
    };
    Ok(ContainmentView {
        containment_id: id,
        state,
        reason: containment.reason,
        tokens: containment.tokens,
        actor: containment.actor,
        started_at: containment.started_at,
        ended_at: containment.ended.map(|ended| ended.at),
        rounds: containment.position.round,
        stopped,
        left,
    })
}
