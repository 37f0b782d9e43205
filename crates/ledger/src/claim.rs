//! Claims: `Queued -> Leased`, into a free slot of the holder, and `Leased -> Running`.
//!
//! Intent, then check. A claim first writes its lease, then its hold, and then reads the active
//! revocations. A revocation first writes its rows and then reads the leases, and the runs that
//! they lead to. All reads see every write that was acknowledged before. So if a claim and a
//! revocation happen at once, at least one sees the other: either the claim ends its own step, or
//! the revoker does. Only the two functions here grant a claim or allow a start, so every one is
//! checked. `docs/reference/intent-then-check.md` has the whole argument and the model that checks
//! it.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::fleet::Worker;
use sealfleet_domain::revocation::Revoked;
use sealfleet_domain::run::{
    Change, Claimant, Executor, Failure, Fence, Fresh, Handle, Outcome, Pace, Refusal, Run,
    StepState,
};
use sealfleet_domain::{ProjectScope, RunId, StepId, WorkerId};

use crate::error::Error;
use crate::leases::{self, HeldLease};
use crate::ledger::Ledger;
use crate::transition::{Attempt, TRIES, Transitioned};

/// Leases that a claim looks behind when all slots are taken.
const LOOKED_AT: usize = 4;

/// A claim that a worker makes.
#[derive(Clone, Copy, Debug)]
pub struct NewClaim<'a> {
    /// The worker's own project.
    pub scope: &'a ProjectScope,
    pub worker: &'a Worker,
    pub run_id: RunId,
    pub step_id: &'a StepId,
    /// What will run the sandbox.
    pub executor: Executor,
    /// How long leases last.
    pub pace: Pace,
}

#[derive(Clone, Debug)]
pub struct Claimed {
    /// The run as it is now stored.
    pub run: Run,
    pub fence: Fence,
}

/// A sandbox that has its secrets and is about to run the command.
#[derive(Clone, Debug)]
pub struct StartedSandbox<'a> {
    pub scope: &'a ProjectScope,
    pub run_id: RunId,
    pub step_id: &'a StepId,
    /// The worker that must hold the claim, if it is known.
    pub holder: Option<WorkerId>,
    pub fence: Fence,
    /// What stops the sandbox.
    pub handle: Handle,
    /// The version of each secret that the sandbox resolved, if it reports them.
    pub resolved: &'a BTreeMap<String, String>,
    /// Where its worker keeps its output, as `HOST:PATH`.
    pub output: Option<String>,
    /// When queue messages are sent again.
    pub pace: Pace,
}

/// The result of a start.
#[derive(Clone, Debug)]
pub enum Start {
    Running(Transitioned),
    /// The step holds a revoked key. It was ended instead, and the caller must end its sandbox.
    Revoked(Transitioned, Revoked),
}

impl NewClaim<'_> {
    fn actor(&self) -> String {
        format!("worker:{}", self.worker.worker_id)
    }
}

impl Ledger {
    /// Claims a step. Before anything is written, `fresh` resolves again what the step would see.
    ///
    /// Tries a random slot first, which is nearly always free, and searches for a free one only if
    /// it is not. So the cost of a claim does not depend on the backlog or the number of workers.
    ///
    /// # Errors
    /// [`Error::NotFound`], a refusal of the step machine, [`Error::AtCapacity`],
    /// [`Error::StartRefused`] when the step failed because of what it would see, or the tables do
    /// not answer.
    pub async fn claim(
        &self,
        claim: &NewClaim<'_>,
        fresh: impl AsyncFn(&Run) -> Result<Fresh, Error>,
    ) -> Result<Claimed, Error> {
        let NewClaim {
            scope,
            worker,
            run_id,
            step_id,
            executor,
            pace,
        } = *claim;
        let slots = worker.max_concurrent.max(1);
        let mut slot = self.chance() % slots;
        let actor = claim.actor();
        let mut stored = self.glimpsed_run(scope, run_id).await?;
        for attempt in 0..TRIES {
            if stored.is_stale && stored.run.claimable(step_id, worker).is_err() {
                stored = self.stored_run(scope, run_id).await?;
            }
            stored.run.claimable(step_id, worker)?;
            let fresh = fresh(&stored.run).await?;
            let rule = |run: &mut Run, now| {
                run.claim(
                    step_id,
                    Claimant {
                        worker,
                        slot,
                        executor,
                    },
                    &fresh,
                    pace,
                    now,
                )
            };
            match self.apply(scope, &stored, &actor, rule).await? {
                Attempt::Done(done) => return self.granted(claim, *done).await,
                Attempt::SlotTaken => {
                    let held = self.leases_of(scope, worker.worker_id).await?;
                    let taken: BTreeSet<u32> = held.iter().map(|lease| lease.slot).collect();
                    let free: Vec<u32> = (0..slots).filter(|slot| !taken.contains(slot)).collect();
                    // Any of them: the worker's other claims look for one at the same moment.
                    let chance = self.chance();
                    slot = match free.get(chance as usize % free.len().max(1)) {
                        Some(free) => *free,
                        None => self
                            .take_over(scope, worker.worker_id, chance, held)
                            .await?
                            .ok_or(Error::AtCapacity(slots))?,
                    };
                }
                Attempt::Stale => {}
                Attempt::Overtaken => self.back_off(attempt).await,
            }
            stored = self.stored_run(scope, run_id).await?;
        }
        Err(Error::Contended)
    }

    /// Frees the slot of a lease that has run out and that no hold stands behind: its claim died
    /// before its hold, or its end before its delete. `None`: there is none.
    ///
    /// The claim behind it may only be slow. So the fence that it would write is used up first, and
    /// it can come no more.
    async fn take_over(
        &self,
        scope: &ProjectScope,
        holder: WorkerId,
        chance: u32,
        mut held: Vec<HeldLease>,
    ) -> Result<Option<u32>, Error> {
        let now = self.now();
        held.retain(|lease| lease.until < now);
        // Nobody renews the lease of a host's sandbox, so most of these may be live: each call
        // looks at some of them.
        let from = chance as usize % held.len().max(1);
        held.rotate_left(from);
        for lease in held.into_iter().take(LOOKED_AT) {
            let (run_id, step_id) = (lease.run_id, &lease.step_id);
            let mut live = false;
            let voided = self
                .transition(scope, run_id, "system:claim", |run, _| {
                    let step = run.step(step_id)?;
                    let hold = step.state.hold();
                    live =
                        hold.is_some_and(|hold| hold.holder == holder && hold.slot == lease.slot);
                    if live {
                        return Ok(Change::default());
                    }
                    run.void(step_id, lease.fence)
                })
                .await;
            match voided {
                Ok(_) if live => continue,
                Ok(_) | Err(Error::NotFound | Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            let reclaim = leases::reclaim(scope, holder, &lease);
            if self.write_if(vec![reclaim]).await? {
                return Ok(Some(lease.slot));
            }
        }
        Ok(None)
    }

    async fn granted(&self, claim: &NewClaim<'_>, done: Transitioned) -> Result<Claimed, Error> {
        if let Some(lease) = done.change.take {
            let claimed = Claimed {
                run: done.run,
                fence: lease.fence,
            };
            return self.unless_revoked(claim, claimed).await;
        }
        match &done.run.step(claim.step_id)?.state {
            StepState::Failed { failure, .. } => Err(Error::StartRefused(failure.clone())),
            _ => Err(Error::Unreadable("a claim without a lease".to_owned())),
        }
    }

    /// The check after the intent: a claim whose step would see a revoked key ends its own step.
    ///
    /// # Errors
    /// [`Error::StartRefused`], or the tables do not answer. In both cases the caller must start
    /// nothing.
    pub async fn unless_revoked(
        &self,
        claim: &NewClaim<'_>,
        claimed: Claimed,
    ) -> Result<Claimed, Error> {
        let Some(identity) = claimed.run.identity_of(claimed.run.step(claim.step_id)?) else {
            return Ok(claimed);
        };
        let Some(revoked) = self.check_revocations(claim.scope, &identity).await? else {
            return Ok(claimed);
        };
        let failure = Failure::SecretRevoked {
            detail: Failure::detail(&revoked.to_string()),
        };
        let outcome = Outcome::Failed {
            failure: failure.clone(),
        };
        let ended = self
            .transition(claim.scope, claim.run_id, &claim.actor(), |run, now| {
                // Another delivery of the same claim may have launched a sandbox in the meantime,
                // which must then be stopped. An aborted step stays due until its sandbox is
                // stopped; a failed one does not.
                if run
                    .held(claim.step_id, None, claimed.fence)?
                    .handle
                    .is_some()
                {
                    return run.abort_start(
                        claim.step_id,
                        claimed.fence,
                        revoked.clone(),
                        claim.pace,
                        now,
                    );
                }
                run.finish(
                    claim.step_id,
                    None,
                    claimed.fence,
                    &outcome,
                    claim.pace,
                    now,
                )
            })
            .await;
        match ended {
            // Somebody else ended the step in the meantime. Either way it does not start.
            Ok(_) | Err(Error::Refused(_)) => Err(Error::StartRefused(failure)),
            Err(error) => Err(error),
        }
    }

    /// `Leased -> Running`, after a second check of the revocations. Idempotent.
    ///
    /// # Errors
    /// A refusal of the step machine, or the tables do not answer. In both cases the command must
    /// not run.
    pub async fn start(&self, ready: &StartedSandbox<'_>, actor: &str) -> Result<Start, Error> {
        let StartedSandbox {
            scope,
            run_id,
            step_id,
            holder,
            fence,
            handle,
            resolved,
            output,
            pace,
        } = ready;
        let mut stored = self.glimpsed_run(scope, *run_id).await?;
        for attempt in 0..6 {
            if stored.is_stale && may_start(ready, &stored.run).is_err() {
                stored = self.stored_run(scope, *run_id).await?;
            }
            let revoked = self.revoked_at_start(ready, &stored.run).await?;
            let rule = |run: &mut Run, now| match &revoked {
                Some(revoked) => run.abort_start(step_id, *fence, revoked.clone(), *pace, now),
                None => {
                    let started =
                        run.start(step_id, *holder, *fence, Some(handle.clone()), resolved)?;
                    if let (false, Some(place)) = (started.events.is_empty(), output) {
                        run.output_at(step_id, place.clone())?;
                    }
                    Ok(started)
                }
            };
            match self.apply(scope, &stored, actor, rule).await? {
                Attempt::Done(done) => {
                    return Ok(match revoked {
                        Some(revoked) => Start::Revoked(*done, revoked),
                        None => Start::Running(*done),
                    });
                }
                Attempt::Stale => {}
                Attempt::SlotTaken | Attempt::Overtaken => self.back_off(attempt).await,
            }
            stored = self.stored_run(scope, *run_id).await?;
        }
        Err(Error::Contended)
    }

    async fn revoked_at_start(
        &self,
        ready: &StartedSandbox<'_>,
        run: &Run,
    ) -> Result<Option<Revoked>, Error> {
        // A caller that may not start the step may not end it either.
        may_start(ready, run)?;
        let step = run.step(ready.step_id)?;
        match run.identity_of(step) {
            Some(identity) if matches!(step.state, StepState::Leased(_)) => {
                self.check_revocations(ready.scope, &identity).await
            }
            _ => Ok(None),
        }
    }
}

/// Whether the step machine lets the sandbox start, whatever is revoked.
fn may_start(ready: &StartedSandbox<'_>, run: &Run) -> Result<(), Refusal> {
    let handle = Some(ready.handle.clone());
    run.clone()
        .start(
            ready.step_id,
            ready.holder,
            ready.fence,
            handle,
            ready.resolved,
        )
        .map(drop)
}
