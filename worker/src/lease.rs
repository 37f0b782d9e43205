//! The leases that this worker holds, and how it loses them.
//!
//! A lease lasts `lease_seconds` from its claim or its last accepted heartbeat. The worker counts
//! from the moment it *sent* the request, the control plane from its arrival, so a lease never ends
//! there before it ends here. When heartbeats stop and the control plane hands the step to another
//! worker, the sandbox here is already dead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sealfleet_client::types::{Claim, LeaseRef, LeaseVerdict, StepDenials};
use sealfleet_domain::egress::Denials;
use sealfleet_domain::run::Fence;
use sealfleet_domain::{RunId, StepId};
use tokio::sync::{Notify, watch};
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
    /// Its keys that are revoked.
    revoked: watch::Sender<BTreeSet<String>>,
    /// Which hosts the step was kept from, until they are on record.
    denied: Denials,
    /// Those of them that a heartbeat tells just now.
    telling: Denials,
}

type Key = (RunId, StepId, Fence);

/// All leases of this worker.
#[derive(Clone, Default)]
pub struct Leases {
    held: Arc<Mutex<BTreeMap<Key, Entry>>>,
    taken: Arc<Notify>,
}

/// One lease. Once dropped, heartbeats no longer name it.
pub struct Lease {
    leases: Leases,
    key: Key,
    state: watch::Receiver<State>,
    revoked: watch::Receiver<BTreeSet<String>>,
}

impl Leases {
    /// Waits until a lease is taken, unless one was since this was asked last.
    pub async fn taken(&self) {
        self.taken.notified().await;
    }

    /// How long the shortest of them lasts without a heartbeat.
    #[must_use]
    pub fn shortest(&self) -> Option<Duration> {
        self.lock().values().map(|entry| entry.lasts).min()
    }

    /// Holds the lease of a claim whose request was sent at `asked`.
    #[must_use]
    pub fn hold(&self, claim: &Claim, asked: Instant) -> Lease {
        let lasts = Duration::from_secs(u64::try_from(claim.lease_seconds).unwrap_or_default());
        let (state, receiver) = watch::channel(State {
            deadline: asked + lasts,
            loss: None,
        });
        let key = (claim.run_id, claim.step_id.clone(), claim.fence);
        let (revoked, keys) = watch::channel(BTreeSet::new());
        let entry = Entry {
            state,
            lasts,
            revoked,
            denied: Denials::default(),
            telling: Denials::default(),
        };
        self.lock().insert(key.clone(), entry);
        self.taken.notify_one();
        Lease {
            leases: self.clone(),
            key,
            state: receiver,
            revoked: keys,
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

    /// What the next heartbeat tells of hosts. What the last one told and is not on record is told
    /// again: rather twice than never.
    #[must_use]
    pub fn denials(&self) -> Vec<StepDenials> {
        let mut held = self.lock();
        let told = held.iter_mut().filter_map(|(key, entry)| {
            let (run_id, step_id, fence) = key;
            let untold = std::mem::take(&mut entry.denied);
            entry.telling = std::mem::take(&mut entry.telling).with(untold);
            (!entry.telling.is_empty()).then(|| StepDenials {
                run_id: *run_id,
                step_id: step_id.clone(),
                fence: *fence,
                hosts: entry.telling.clone(),
            })
        });
        told.collect()
    }

    /// Applies the answer to a heartbeat that was sent at `asked`.
    pub fn heard(&self, asked: Instant, verdicts: &[LeaseVerdict]) {
        let mut held = self.lock();
        for verdict in verdicts {
            let key = (verdict.run_id, verdict.step_id.clone(), verdict.fence);
            let Some(entry) = held.get_mut(&key) else {
                continue;
            };
            entry.revoked.send_if_modified(|keys| {
                let before = keys.len();
                keys.extend(verdict.revoked.iter().cloned());
                keys.len() > before
            });
            if verdict.denials_recorded {
                entry.telling = Denials::default();
            }
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

    /// The keys of the step that are revoked while it runs, whenever there is one more.
    #[must_use]
    pub fn revoked(&self) -> watch::Receiver<BTreeSet<String>> {
        self.revoked.clone()
    }

    /// Has the next heartbeat tell which hosts the step was kept from.
    pub fn denied(&self, denied: Denials) {
        if let Some(entry) = self.leases.lock().get_mut(&self.key) {
            entry.denied = std::mem::take(&mut entry.denied).with(denied);
        }
    }

    /// What no heartbeat has told of hosts, or not successfully so far.
    #[must_use]
    pub fn take_denied(&self) -> Denials {
        let mut held = self.leases.lock();
        let Some(entry) = held.get_mut(&self.key) else {
            return Denials::default();
        };
        std::mem::take(&mut entry.telling).with(std::mem::take(&mut entry.denied))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn held() -> (Leases, Lease, LeaseVerdict) {
        let claim: Claim = serde_json::from_value(json!({
            "project": "healthcare", "run_id": "run_0198c0de-0000-7000-8000-00000000000a",
            "step_id": "only", "fence": 1, "attempt": 1, "lease_seconds": 60, "mode": "identity",
            "command": ["true"], "env": {}, "timeout_seconds": 60,
        }))
        .expect("a claim");
        let verdict = LeaseVerdict {
            run_id: claim.run_id,
            step_id: claim.step_id.clone(),
            fence: claim.fence,
            held: true,
            cancelled: false,
            revoked: Vec::new(),
            denials_recorded: false,
        };
        let leases = Leases::default();
        let lease = leases.hold(&claim, Instant::now());
        (leases, lease, verdict)
    }

    fn denied(host: &str) -> Denials {
        let row = json!({ "host": host, "port": 443, "reason": "no_rule", "count": 1 });
        serde_json::from_value(json!({ "rows": [row] })).expect("denials")
    }

    #[tokio::test]
    async fn denials_are_told_until_they_are_on_record() {
        let (leases, lease, verdict) = held();
        let told = || -> Vec<Denials> {
            let told = leases.denials().into_iter();
            told.map(|step| step.hosts).collect()
        };
        assert!(told().is_empty());
        lease.denied(denied("a.example"));
        assert_eq!(told(), [denied("a.example")]);
        // The heartbeat was lost, or the trail did not answer.
        leases.heard(Instant::now(), std::slice::from_ref(&verdict));
        lease.denied(denied("b.example"));
        let both = denied("a.example").with(denied("b.example"));
        assert_eq!(told(), [both]);
        // What comes while one is under way is told by the next.
        lease.denied(denied("c.example"));
        let recorded = LeaseVerdict {
            denials_recorded: true,
            ..verdict
        };
        leases.heard(Instant::now(), &[recorded]);
        assert_eq!(told(), [denied("c.example")]);
        // The report has what no heartbeat has told successfully.
        lease.denied(denied("d.example"));
        let rest = denied("c.example").with(denied("d.example"));
        assert_eq!(lease.take_denied(), rest);
        assert!(told().is_empty());
    }

    #[tokio::test]
    async fn each_revoked_key_is_heard_of_once() {
        let (leases, lease, verdict) = held();
        let mut revoked = lease.revoked();
        let hear = |keys: &[&str]| {
            let verdict = LeaseVerdict {
                revoked: keys.iter().map(|key| (*key).to_owned()).collect(),
                ..verdict.clone()
            };
            leases.heard(Instant::now(), &[verdict]);
        };
        hear(&[]);
        assert!(!revoked.has_changed().expect("held"));
        hear(&["A"]);
        assert!(revoked.has_changed().expect("held"));
        assert_eq!(
            *revoked.borrow_and_update(),
            BTreeSet::from(["A".to_owned()])
        );
        hear(&["A"]);
        assert!(!revoked.has_changed().expect("held"));
        // Lifted or not: what was taken back stays so.
        hear(&["B"]);
        assert_eq!(revoked.borrow_and_update().len(), 2);
    }
}
