//! Claims: `Queued -> Leased`, into a free slot of the holder, and `Leased -> Running`.
//!
//! Intent, then check. A claim first writes its lease, then its hold, and then reads the active
//! revocations. A revocation first writes its rows and then reads the leases, and the runs that
//! they lead to. All reads see every write that was acknowledged before. So if a claim and a
//! revocation happen at once, at least one sees the other: either the claim ends its own step, or
//! the revoker does. Only the two functions here grant a claim or allow a start, so every one is
//! checked. `docs/reference/intent-then-check.md` has the whole argument and the model that checks
//! it.

use std::collections::BTreeSet;

use futures_util::future::{join, try_join};
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::revocation::{Revocation, Revoked};
use sealfleet_domain::run::{
    Change, Claimant, Executor, Failure, Fence, Fresh, Handle, Lease, Outcome, Pace, Refusal, Run,
    SecretsRead, StepState,
};
use sealfleet_domain::{Owner, ProjectScope, RunId, StepId, WorkerId};

use crate::error::Error;
use crate::leases::{self, HeldLease};
use crate::ledger::Ledger;
use crate::transition::{Attempt, StoredRun, TRIES, Transitioned};

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
    pub stored: StoredRun,
    pub fence: Fence,
}

/// What a start is decided by, read at once.
#[derive(Clone, Debug)]
pub struct BeforeStart {
    stored: StoredRun,
    /// The active revocations of the run's project, if they were read.
    own: Option<Vec<Revocation>>,
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
    /// What it reports of the secrets that it resolved.
    pub read: &'a SecretsRead,
    /// Where its worker keeps its output, as `HOST:PATH`.
    pub output: Option<String>,
    /// Whether it sends output and result to the project's outputs, too.
    pub uploads: bool,
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
    /// Claims a step. `fresh` resolves again what the step would see, while the lease is taken: a
    /// lease releases nothing.
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
        let stored = self.glimpsed_run(claim.scope, claim.run_id).await?;
        self.claim_of(claim, stored, fresh).await
    }

    /// The same for a run that has been read already.
    ///
    /// # Errors
    /// As [`Ledger::claim`].
    pub async fn claim_of(
        &self,
        claim: &NewClaim<'_>,
        mut stored: StoredRun,
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
        stored.is_stale = true;
        for attempt in 0..TRIES {
            if stored.is_stale && stored.run.claimable(step_id, worker).is_err() {
                stored = self.stored_run(scope, run_id).await?;
            }
            let by = Claimant {
                worker,
                slot,
                executor,
            };
            let now = self.now();
            let lease = stored.run.lease(step_id, by, pace, now)?;
            // A claim that is repeated has its lease.
            let lease = Some(lease).filter(|lease| !stored.holds(lease));
            let take = self.take_slot(scope, lease.as_ref());
            let (fresh, taken) = join(fresh(&stored.run), take).await;
            if !taken? {
                slot = self.other_slot(scope, worker).await?;
                stored = self.stored_run(scope, run_id).await?;
                continue;
            }
            let fresh = match fresh {
                Ok(fresh) => fresh,
                Err(error) => {
                    self.give_back(scope, lease.as_ref()).await;
                    return Err(error);
                }
            };
            let rule = |run: &mut Run, _| run.claim(step_id, by, &fresh, pace, now);
            let claimed = self.apply(scope, &stored, &actor, rule).await;
            let has_no_hold = match &claimed {
                Ok(Attempt::Done(done)) => done.change.take.is_none(),
                Ok(_) | Err(Error::Refused(_)) => true,
                // It may have been written: its lease stays.
                Err(_) => false,
            };
            if has_no_hold {
                self.give_back(scope, lease.as_ref()).await;
            }
            match claimed? {
                Attempt::Done(done) => return self.granted(claim, *done).await,
                Attempt::Stale => {}
                Attempt::Overtaken => self.back_off(attempt).await,
            }
            stored = self.stored_run(scope, run_id).await?;
        }
        Err(Error::Contended)
    }

    /// Takes the lease of a claim. `false`: another lease has the slot.
    async fn take_slot(&self, scope: &ProjectScope, lease: Option<&Lease>) -> Result<bool, Error> {
        match lease {
            Some(lease) => self.write_if(vec![leases::take(scope, lease)]).await,
            None => Ok(true),
        }
    }

    /// A free slot of a worker.
    async fn other_slot(&self, scope: &ProjectScope, worker: &Worker) -> Result<u32, Error> {
        let slots = worker.max_concurrent.max(1);
        let held = self.leases_of(scope, worker.worker_id).await?;
        let taken: BTreeSet<u32> = held.iter().map(|lease| lease.slot).collect();
        let free: Vec<u32> = (0..slots).filter(|slot| !taken.contains(slot)).collect();
        // Any of them: the worker's other claims look for one at the same moment.
        let chance = self.chance();
        if let Some(free) = free.get(chance as usize % free.len().max(1)) {
            return Ok(*free);
        }
        let over = self.take_over(scope, worker.worker_id, chance, held);
        over.await?.ok_or(Error::AtCapacity(slots))
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
        if let Some(lease) = &done.change.take {
            let claimed = Claimed {
                fence: lease.fence,
                stored: done.stored(),
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
        let run = claimed.stored.run();
        let Some(identity) = run.identity_of(run.step(claim.step_id)?) else {
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

    /// Reads what a start is decided by: the run, perhaps without its newest writes, and the
    /// revocations as they are. Those are read later if they are needed although `sees_secrets`
    /// says otherwise.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the tables do not answer.
    pub async fn before_start(
        &self,
        scope: &ProjectScope,
        run_id: RunId,
        sees_secrets: bool,
    ) -> Result<BeforeStart, Error> {
        let owner = Owner::Project(scope.clone());
        let own = async {
            match sees_secrets {
                true => self.active_revocations(&owner).await.map(Some),
                false => Ok(None),
            }
        };
        let (stored, own) = try_join(self.glimpsed_run(scope, run_id), own).await?;
        Ok(BeforeStart { stored, own })
    }

    /// `Leased -> Running`, after a second check of the revocations. Idempotent.
    ///
    /// # Errors
    /// A refusal of the step machine, or the tables do not answer. In both cases the command must
    /// not run.
    pub async fn start(&self, ready: &StartedSandbox<'_>, actor: &str) -> Result<Start, Error> {
        let before = self.before_start(ready.scope, ready.run_id, true).await?;
        self.start_after(before, ready, actor).await
    }

    /// The same by what has been read since the request came. It does not matter which was read
    /// first: what a step sees is settled at its claim, and only the claim with this fence starts.
    ///
    /// # Errors
    /// As [`Ledger::start`].
    pub async fn start_after(
        &self,
        mut before: BeforeStart,
        ready: &StartedSandbox<'_>,
        actor: &str,
    ) -> Result<Start, Error> {
        let StartedSandbox {
            scope,
            run_id,
            step_id,
            holder,
            fence,
            handle,
            read,
            output,
            uploads,
            pace,
        } = ready;
        let again = async || {
            let stored = self.stored_run(scope, *run_id).await?;
            Ok::<_, Error>(BeforeStart { stored, own: None })
        };
        for attempt in 0..6 {
            if before.stored.is_stale && may_start(ready, &before.stored.run).is_err() {
                before = again().await?;
            }
            let revoked = self.revoked_at_start(ready, &before).await?;
            let rule = |run: &mut Run, now| match &revoked {
                Some(revoked) => run.abort_start(step_id, *fence, revoked.clone(), *pace, now),
                None => {
                    let started =
                        run.start(step_id, *holder, *fence, Some(handle.clone()), read)?;
                    if !started.events.is_empty() && (output.is_some() || *uploads) {
                        run.output_at(step_id, output.clone(), *uploads)?;
                    }
                    Ok(started)
                }
            };
            match self.apply(scope, &before.stored, actor, rule).await? {
                Attempt::Done(done) => {
                    return Ok(match revoked {
                        Some(revoked) => Start::Revoked(*done, revoked),
                        None => Start::Running(*done),
                    });
                }
                Attempt::Stale => {}
                Attempt::Overtaken => self.back_off(attempt).await,
            }
            before = again().await?;
        }
        Err(Error::Contended)
    }

    async fn revoked_at_start(
        &self,
        ready: &StartedSandbox<'_>,
        before: &BeforeStart,
    ) -> Result<Option<Revoked>, Error> {
        let run = before.stored.run();
        // A caller that may not start the step may not end it either.
        may_start(ready, run)?;
        let step = run.step(ready.step_id)?;
        match run.identity_of(step) {
            Some(identity) if matches!(step.state, StepState::Leased(_)) => {
                let own = before.own.clone();
                self.check_with(ready.scope, &identity, own).await
            }
            _ => Ok(None),
        }
    }
}

/// Whether the step machine lets the sandbox start, whatever is revoked.
fn may_start(ready: &StartedSandbox<'_>, run: &Run) -> Result<(), Refusal> {
    let handle = Some(ready.handle.clone());
    run.clone()
        .start(ready.step_id, ready.holder, ready.fence, handle, ready.read)
        .map(drop)
}
