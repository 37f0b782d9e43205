//! Claims: `Queued -> Leased`, into a free slot of the holder, and `Leased -> Running`.
//!
//! Intent, then check. The lease is written first, then the active revocations are read; whoever
//! revokes writes the revocation first and then reads the leases. Both reads see every write that
//! was acknowledged before, so of a claim and a revocation that happen at once at least one sees
//! the other: the claim ends its own step, or the revoker does. A claim is granted, and a start let
//! go, by the two functions here and by nothing else, so none goes unchecked.
//! `docs/reference/intent-then-check.md` has the whole argument, and the model that checks it.

use std::collections::BTreeMap;

use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::revocation::Revoked;
use sealfleet_domain::run::{
    Claimant, Executor, Failure, Fence, Fresh, Handle, Outcome, Pace, Run, StepState,
};
use sealfleet_domain::{ProjectScope, RunId, StepId, WorkerId};

use crate::error::Error;
use crate::ledger::Ledger;
use crate::transition::{Once, Transitioned};

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

/// A claim that was granted.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The run as it is stored now.
    pub run: Run,
    /// The claim's fence.
    pub fence: Fence,
}

/// A sandbox that has its secrets and is about to run the command.
#[derive(Clone, Debug)]
pub struct StartedSandbox<'a> {
    pub scope: &'a ProjectScope,
    pub run_id: RunId,
    pub step_id: &'a StepId,
    /// Who must hold it, where that is known.
    pub holder: Option<WorkerId>,
    /// The claim's fence.
    pub fence: Fence,
    /// What the sandbox is stopped by.
    pub handle: Handle,
    /// The version of each secret that it resolved, where it says so.
    pub resolved: &'a BTreeMap<String, String>,
    /// When messages are sent again.
    pub pace: Pace,
}

/// What became of a start.
#[derive(Clone, Debug)]
pub enum Start {
    /// The step runs.
    Running(Transitioned),
    /// A key that it holds is revoked: the step was ended instead, and its sandbox must be.
    Revoked(Transitioned, Revoked),
}

impl NewClaim<'_> {
    fn actor(&self) -> String {
        format!("worker:{}", self.worker.worker_id)
    }
}

impl Ledger {
    /// Claims a step. `fresh` resolves again what it would see, before anything is written.
    ///
    /// Tries a random slot first, which is nearly always free, and looks for a free one only when
    /// it is not. So a claim costs the same whatever the backlog and however many workers there
    /// are.
    ///
    /// # Errors
    /// [`Error::NotFound`], what the step machine refuses, [`Error::AtCapacity`],
    /// [`Error::StartRefused`] when the step has failed because of what it would see, or that the
    /// tables do not answer.
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
        let chance = self
            .ids
            .secret()
            .iter()
            .take(4)
            .fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        let mut slot = chance % slots;
        let actor = claim.actor();
        for attempt in 0..5 {
            let stored = self.stored_run(scope, run_id).await?;
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
                Once::Done(done) => return self.granted(claim, *done).await,
                Once::SlotTaken => {
                    let held = self.leases_of(scope, worker.worker_id).await?;
                    slot = (0..slots)
                        .map(|offset| chance.wrapping_add(offset) % slots)
                        .find(|slot| held.iter().all(|lease| lease.slot != *slot))
                        .ok_or(Error::AtCapacity(slots))?;
                }
                Once::Overtaken => self.back_off(attempt).await,
            }
        }
        Err(Error::Contended)
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
    /// [`Error::StartRefused`], or that the tables do not answer: then nothing may be started.
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
                // Another delivery of the same claim may have launched it meanwhile: then its
                // sandbox has to be stopped, which an aborted step stays due for and a failed one
                // does not.
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
            // Ended by somebody else meanwhile: it does not start either way.
            Ok(_) | Err(Error::Refused(_)) => Err(Error::StartRefused(failure)),
            Err(error) => Err(error),
        }
    }

    /// `Leased -> Running`, after another look at the revocations. Told twice: nothing changes.
    ///
    /// # Errors
    /// What the step machine refuses, or that the tables do not answer: then the command must not
    /// run.
    pub async fn start(&self, ready: &StartedSandbox<'_>, actor: &str) -> Result<Start, Error> {
        let StartedSandbox {
            scope,
            run_id,
            step_id,
            holder,
            fence,
            handle,
            resolved,
            pace,
        } = ready;
        for attempt in 0..5 {
            let stored = self.stored_run(scope, *run_id).await?;
            let revoked = self.revoked_at_start(ready, &stored.run).await?;
            let rule = |run: &mut Run, now| match &revoked {
                Some(revoked) => run.abort_start(step_id, *fence, revoked.clone(), *pace, now),
                None => run.start(step_id, *holder, *fence, Some(handle.clone()), resolved),
            };
            match self.apply(scope, &stored, actor, rule).await? {
                Once::Done(done) => {
                    return Ok(match revoked {
                        Some(revoked) => Start::Revoked(*done, revoked),
                        None => Start::Running(*done),
                    });
                }
                Once::SlotTaken | Once::Overtaken => self.back_off(attempt).await,
            }
        }
        Err(Error::Contended)
    }

    async fn revoked_at_start(
        &self,
        ready: &StartedSandbox<'_>,
        run: &Run,
    ) -> Result<Option<Revoked>, Error> {
        // Whoever may not start it may not end it either.
        let mut trial = run.clone();
        trial.start(
            ready.step_id,
            ready.holder,
            ready.fence,
            Some(ready.handle.clone()),
            ready.resolved,
        )?;
        let step = run.step(ready.step_id)?;
        match run.identity_of(step) {
            Some(identity) if matches!(step.state, StepState::Leased(_)) => {
                self.check_revocations(ready.scope, &identity).await
            }
            _ => Ok(None),
        }
    }

    /// Notes a claim that was refused.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn refused_claim(
        &self,
        scope: &ProjectScope,
        actor: &str,
        run_id: RunId,
        step_id: &StepId,
        code: &str,
    ) -> Result<(), Error> {
        let event = Event::ClaimRefused {
            step_id: step_id.clone(),
            code: code.into(),
        };
        self.record(scope, actor, Some(run_id), vec![event]).await
    }
}
