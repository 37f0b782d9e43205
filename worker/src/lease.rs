//! The leases that this worker holds, and how it loses them.
//!
//! A lease lasts `lease_seconds` from its claim or its last accepted heartbeat. The worker counts
//! from the moment it *sent* the request, the control plane from its arrival, so a lease never ends
//! there before it ends here. When heartbeats stop and the control plane hands the step to another
//! worker, the sandbox here is already dead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealfleet_client::types::{Claim, LeaseRef, LeaseVerdict};
use sealfleet_domain::run::Fence;
use sealfleet_domain::{RunId, StepId};
use tokio::sync::watch;
use tokio::time::Instant;

/// Why a lease is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The control plane says so: the step was taken over, or a secret of it revoked.
    NotHeld,
    /// The control plane says so: the run was cancelled. Nobody else has the step.
    Cancelled,
    /// No heartbeat got through in time.
    RanOut,
    /// The worker is no longer allowed to work.
    WorkerEnded,
    WorkerStops,
}

#[derive(Clone, Copy)]
struct State {
    deadline: Instant,
    loss: Option<Loss>,
}

struct Entry {
    state: watch::Sender<State>,
    lasts: Duration,
}

type Key = (RunId, StepId, Fence);

/// All leases of this worker.
#[derive(Clone, Default)]
pub struct Leases {
    held: Arc<Mutex<BTreeMap<Key, Entry>>>,
}

/// One lease. Once dropped, heartbeats no longer name it.
pub struct Lease {
    leases: Leases,
    key: Key,
    state: watch::Receiver<State>,
}

impl Leases {
    /// Holds the lease of a claim whose request was sent at `asked`.
    #[must_use]
    pub fn hold(&self, claim: &Claim, asked: Instant) -> Lease {
        let lasts = Duration::from_secs(u64::try_from(claim.lease_seconds).unwrap_or_default());
        let (state, receiver) = watch::channel(State {
            deadline: asked + lasts,
            loss: None,
        });
        let key = (claim.run_id, claim.step_id.clone(), claim.fence);
        self.lock().insert(key.clone(), Entry { state, lasts });
        Lease {
            leases: self.clone(),
            key,
            state: receiver,
        }
    }

    /// The leases for the next heartbeat.
    #[must_use]
    pub fn all(&self) -> Vec<LeaseRef> {
        let name = |(run_id, step_id, fence): &Key| LeaseRef {
            run_id: *run_id,
            step_id: step_id.clone(),
            fence: *fence,
        };
        self.lock().keys().map(name).collect()
    }

    /// Applies the answer to a heartbeat that was sent at `asked`.
    pub fn heard(&self, asked: Instant, verdicts: &[LeaseVerdict]) {
        let held = self.lock();
        for verdict in verdicts {
            let Some(entry) = held.get(&(verdict.run_id, verdict.step_id.clone(), verdict.fence))
            else {
                continue;
            };
            entry.state.send_modify(|state| {
                if verdict.held {
                    state.deadline = state.deadline.max(asked + entry.lasts);
                } else {
                    let loss = if verdict.cancelled {
                        Loss::Cancelled
                    } else {
                        Loss::NotHeld
                    };
                    state.loss = state.loss.or(Some(loss));
                }
            });
        }
    }

    /// Gives up all of them.
    pub fn lose_all(&self, loss: Loss) {
        for entry in self.lock().values() {
            entry
                .state
                .send_modify(|state| state.loss = state.loss.or(Some(loss)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Entry>> {
        // No change above is left half made, even by a panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Waits until the lease is lost, or may be.
    pub async fn lost(&mut self) -> Loss {
        loop {
            let State { deadline, loss } = *self.state.borrow_and_update();
            if let Some(loss) = loss {
                return loss;
            }
            tokio::select! {
                biased;
                changed = self.state.changed() => {
                    if changed.is_err() {
                        return Loss::WorkerStops;
                    }
                }
                () = tokio::time::sleep_until(deadline) => {
                    if self.state.borrow().deadline <= Instant::now() {
                        return Loss::RanOut;
                    }
                }
            }
        }
    }

    /// How long the command may take to end by itself after this loss, `most` at most. Where
    /// somebody else may have the step by then, it has no time.
    #[must_use]
    pub fn grace(&self, loss: Loss, most: Duration) -> Duration {
        match loss {
            Loss::Cancelled => most,
            Loss::WorkerStops => {
                let left = self.state.borrow().deadline - Instant::now();
                most.min(left)
            }
            Loss::NotHeld | Loss::RanOut | Loss::WorkerEnded => Duration::ZERO,
        }
    }

    /// Waits until the lease is known to be lost. Enough for a report: the fence makes a late one
    /// harmless.
    pub async fn taken(&mut self) -> Loss {
        let known = self.state.wait_for(|state| state.loss.is_some()).await;
        known
            .ok()
            .and_then(|state| state.loss)
            .unwrap_or(Loss::WorkerStops)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.lock().remove(&self.key);
    }
}
