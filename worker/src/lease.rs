//! The leases that this worker holds, and what takes them away.
//!
//! A lease lasts `lease_seconds` from its claim or its last good heartbeat, counted here from the
//! moment the request was *sent*: the control plane, which counts from its arrival, never sees a
//! lease end before this worker does. So when the control plane hands a step to another worker
//! because heartbeats stopped, the sandbox here is already dead.

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
    /// The control plane says so: cancelled, or taken over.
    NotHeld,
    /// No heartbeat got through for as long as it lasts.
    RanOut,
    /// The worker may not work any more.
    WorkerEnded,
    /// The worker stops.
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

/// One lease. Dropping it takes it out of the heartbeats.
pub struct Lease {
    leases: Leases,
    key: Key,
    state: watch::Receiver<State>,
}

impl Leases {
    /// Holds a granted claim that was asked for at `asked`.
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

    /// What the next heartbeat names.
    #[must_use]
    pub fn all(&self) -> Vec<LeaseRef> {
        let name = |(run_id, step_id, fence): &Key| LeaseRef {
            run_id: *run_id,
            step_id: step_id.clone(),
            fence: *fence,
        };
        self.lock().keys().map(name).collect()
    }

    /// Follows the answer to a heartbeat that was sent at `asked`.
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
                    state.loss = state.loss.or(Some(Loss::NotHeld));
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
        // Every change above is whole before the lock is released, even by a panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Waits until the lease is gone or may be.
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

    /// Waits until it is known to be gone: for a report, which the fence makes harmless when it
    /// comes late.
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
