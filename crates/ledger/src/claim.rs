//! Claims: `Queued -> Leased`, into a free slot of the holder.

use sealfleet_domain::audit::Event;
use sealfleet_domain::fleet::Worker;
use sealfleet_domain::run::{Executor, Fence, Pace, Run};
use sealfleet_domain::{ProjectScope, RunId, StepId};

use crate::transition::Once;
use crate::{Error, Ledger};

/// A claim that was granted.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The run as it is stored now.
    pub run: Run,
    /// The claim's fence.
    pub fence: Fence,
}

impl Ledger {
    /// Claims a step for `worker`.
    ///
    /// Tries a random slot first, which is nearly always free, and looks for a free one only when it is not. So a
    /// claim costs the same whatever the backlog and however many workers there are.
    ///
    /// # Errors
    /// [`Error::NotFound`], what the step machine refuses, [`Error::AtCapacity`], or that the tables do not answer.
    pub async fn claim(
        &self,
        scope: &ProjectScope,
        worker: &Worker,
        run_id: RunId,
        step_id: &StepId,
        executor: Executor,
        pace: Pace,
    ) -> Result<Claimed, Error> {
        let slots = worker.max_concurrent.max(1);
        let chance = self.ids.secret().iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
        let mut slot = chance % slots;
        let actor = format!("worker:{}", worker.worker_id);
        for attempt in 0..5 {
            let result = self
                .transition_once(scope, run_id, &actor, |run, now| {
                    run.claim(step_id, worker, slot, executor, pace, now)
                })
                .await?;
            match result {
                Once::Done(done) => {
                    let fence = done
                        .change
                        .take
                        .map(|lease| lease.fence)
                        .ok_or_else(|| Error::Unreadable("a claim without a lease".to_owned()))?;
                    return Ok(Claimed { run: done.run, fence });
                }
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
        let event = Event::ClaimRefused { step_id: step_id.clone(), code: code.to_owned() };
        self.record(scope, actor, Some(run_id), vec![event]).await
    }
}
