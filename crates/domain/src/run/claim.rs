//! From queued to running: a claim, its launch and its start.

use std::collections::{BTreeMap, BTreeSet};

use super::types::{Change, Claimant, Fresh, Lease, Pace, Refusal, Run};
use crate::audit::{Event, Text};
use crate::clock::Timestamp;
use crate::fleet::Worker;
use crate::identity::Drift;
use crate::ids::WorkerId;
use crate::names::StepId;
use crate::step::{Executor, Failure, Fence, Handle, Hold, OnDrift, OutputPlace, StepState};
use crate::usage::Size;

/// What a sandbox reports of the secrets that it resolved, by environment variable.
#[derive(Clone, Debug, Default)]
pub struct SecretsRead {
    /// Their versions.
    pub versions: BTreeMap<String, String>,
    /// What their stores call the requests that read them, where they tell.
    pub store_request_ids: BTreeMap<String, String>,
}

impl Run {
    /// Whether `worker` could claim a step now.
    ///
    /// # Errors
    /// When the step is not there, not waiting, or not for this worker, or the worker drains.
    pub fn claimable(&self, step_id: &StepId, worker: &Worker) -> Result<(), Refusal> {
        let step = self.step(step_id)?;
        match &step.state {
            StepState::Queued { .. } if worker.draining_since.is_none() => {}
            StepState::Queued { .. } => return Err(Refusal::Draining),
            // A worker that claims again what it holds and has not started: its first answer was
            // lost. A host's launches are resumed under the same fence instead, so that a launch
            // which is repeated ends at the same sandbox.
            StepState::Leased(hold)
                if hold.holder == worker.worker_id && hold.executor == Executor::Worker => {}
            other => return Err(Refusal::NotQueued(other.name())),
        }
        Ok(worker.can_run(&step.spec)?)
    }

    /// The lease of a claim, which is taken before its hold. What the step sees does not change it.
    ///
    /// # Errors
    /// When the step is not there, not waiting, or not for this worker.
    pub fn lease(
        &self,
        step_id: &StepId,
        by: Claimant<'_>,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Lease, Refusal> {
        self.claimable(step_id, by.worker)?;
        let step = self.step(step_id)?;
        Ok(Lease {
            run_id: self.run_id,
            step_id: step_id.clone(),
            fence: step.fence.next(),
            holder: by.worker.worker_id,
            slot: step.state.hold().map_or(by.slot, |hold| hold.slot),
            until: now.plus_seconds(pace.lease_seconds),
            identity: step.spec.mode.sees_identity(),
        })
    }

    /// `Queued -> Leased`: a worker claims a step into one of its slots, to start with `fresh`.
    /// What has drifted since the enqueue is on record with it. A step that its profiles do not let
    /// start, or that refuses drift, fails.
    ///
    /// A worker that claims a step again which it holds and has not started (its first answer was
    /// lost) gets it under a new fence, in the slot it already has.
    ///
    /// # Errors
    /// When the step is not there, not waiting, or not for this worker.
    pub fn claim(
        &mut self,
        step_id: &StepId,
        by: Claimant<'_>,
        fresh: &Fresh,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let lease = self.lease(step_id, by, pace, now)?;
        let (fence, holder) = (lease.fence, lease.holder);
        let step = self.step(step_id)?;
        let enqueued = self
            .identity
            .as_ref()
            .map(|identity| identity.seen_by(step.spec.tool.as_ref()));
        let (identity, drift) = match fresh {
            Fresh::Identity(now) if lease.identity => (
                Some(now),
                enqueued.as_ref().and_then(|then| then.drift_to(now)),
            ),
            Fresh::Nothing | Fresh::Identity(_) => (None, None),
            Fresh::Refused(failure) => {
                return self.refuse_start(step_id, None, failure.clone(), pace, now);
            }
        };
        if let Some(drift) = &drift
            && step.spec.on_drift == OnDrift::Refuse
        {
            let failure = Failure::Drifted {
                detail: describe(drift),
            };
            return self.refuse_start(step_id, Some(drift.clone()), failure, pace, now);
        }
        let step = self.step_mut(step_id)?;
        let queued_since = match &step.state {
            StepState::Queued { since, .. } => Some(*since),
            other => other.hold().and_then(|hold| hold.queued_since),
        };
        step.fence = fence;
        step.last_holder = Some(holder);
        let kept = identity
            .filter(|now| enqueued.as_ref() != Some(*now))
            .map(|now| Box::new(now.clone()));
        step.state = StepState::Leased(Hold {
            fence,
            holder,
            slot: lease.slot,
            executor: by.executor,
            since: now,
            queued_since,
            due: lease.until,
            handle: None,
            size: None,
            identity: kept,
        });
        let mut change = Change {
            take: Some(lease),
            ..Change::default()
        };
        let agent = step.spec.agent.as_ref();
        let (step_id, mode) = (step_id.clone(), step.spec.mode);
        change.events.push(Event::StepLeased {
            step_id: step_id.clone(),
            fence,
            worker_id: holder,
            mode,
            agent: agent.map(|agent| agent.cli),
            model: agent.and_then(|agent| agent.model.as_deref().map(Text::from)),
        });
        if let Some(drift) = drift {
            let on_drift = OnDrift::Proceed;
            change.events.push(Event::DriftAtInjection {
                step_id: step_id.clone(),
                fence,
                on_drift,
                drift,
            });
        }
        if let Some(identity) = identity {
            change.events.push(Event::SecretReleased {
                step_id,
                fence,
                secrets: identity.secrets.clone(),
            });
        }
        Ok(change)
    }

    /// Uses up the fence of a claim that took a lease and never came, so that it cannot come any
    /// more. Only a step that still waits for it changes.
    ///
    /// # Errors
    /// When the run has no such step.
    pub fn void(&mut self, step_id: &StepId, fence: Fence) -> Result<Change, Refusal> {
        let step = self.step_mut(step_id)?;
        let waits = matches!(step.state, StepState::Queued { .. }) && step.fence < fence;
        if waits {
            step.fence = fence;
        }
        Ok(Change {
            quiet: waits,
            ..Change::default()
        })
    }

    /// `Queued | Leased -> Failed`: a step may not start with what it would see. Nothing was
    /// released to it.
    pub(super) fn refuse_start(
        &mut self,
        step_id: &StepId,
        drift: Option<Drift>,
        failure: Failure,
        pace: Pace,
        now: Timestamp,
    ) -> Result<Change, Refusal> {
        let mut change = Change::default();
        let step = self.step(step_id)?;
        let fence = step.fence;
        if let Some(hold) = step.state.hold() {
            change.release.push(self.lease_key(step_id, hold));
        }
        if let Some(drift) = drift {
            let on_drift = OnDrift::Refuse;
            change.events.push(Event::DriftAtInjection {
                step_id: step_id.clone(),
                fence,
                on_drift,
                drift,
            });
        }
        change.events.push(Event::StepFailed {
            step_id: step_id.clone(),
            fence,
            failure: failure.clone(),
        });
        self.step_mut(step_id)?.state = StepState::Failed {
            fence,
            failure,
            at: now,
        };
        self.settle(&mut change, pace, now);
        Ok(change)
    }

    /// The step's live claim, if `fence` is its fence and `holder`, where one is given, its holder.
    ///
    /// # Errors
    /// When it is not.
    pub fn held(
        &self,
        step_id: &StepId,
        holder: Option<WorkerId>,
        fence: Fence,
    ) -> Result<&Hold, Refusal> {
        let step = self.step(step_id)?;
        if holder.is_some()
            && step.last_holder.is_some()
            && step.last_holder != holder
            && step.fence == fence
        {
            return Err(Refusal::NotHolder);
        }
        match step.state.hold() {
            Some(hold)
                if hold.fence == fence && holder.is_none_or(|holder| holder == hold.holder) =>
            {
                Ok(hold)
            }
            Some(hold) if holder.is_some_and(|holder| holder != hold.holder) => {
                Err(Refusal::NotHolder)
            }
            _ => Err(Refusal::StaleFence { given: fence }),
        }
    }

    /// Stores what a started sandbox is stopped by. Told twice: nothing changes.
    ///
    /// # Errors
    /// When the claim is no longer live (the launcher must then stop what it started), or has
    /// another handle.
    pub fn attach(
        &mut self,
        step_id: &StepId,
        fence: Fence,
        handle: Handle,
        due: Timestamp,
    ) -> Result<Change, Refusal> {
        self.held(step_id, None, fence)?;
        let step = self.step_mut(step_id)?;
        let Some(hold) = step.state.hold_mut() else {
            return Err(Refusal::StaleFence { given: fence });
        };
        match &hold.handle {
            Some(known) if *known == handle => Ok(Change::default()),
            Some(_) => Err(Refusal::OtherHandle),
            None => {
                hold.handle = Some(handle.clone());
                hold.due = due;
                step.output = Some(OutputPlace::Sandbox(handle));
                Ok(Change {
                    quiet: true,
                    ..Change::default()
                })
            }
        }
    }

    /// Notes the size of the sandbox that [`Self::attach`] stores.
    ///
    /// # Errors
    /// When the run has no such step.
    pub fn sized(&mut self, step_id: &StepId, size: Size) -> Result<(), Refusal> {
        if let Some(hold) = self.step_mut(step_id)?.state.hold_mut() {
            hold.size = Some(size);
        }
        Ok(())
    }

    /// `Leased -> Running`: the sandbox has started, with these versions of its secrets. Told
    /// twice: nothing changes.
    ///
    /// # Errors
    /// When the claim is no longer live, or has another sandbox.
    pub fn start(
        &mut self,
        step_id: &StepId,
        holder: Option<WorkerId>,
        fence: Fence,
        handle: Option<Handle>,
        read: &SecretsRead,
    ) -> Result<Change, Refusal> {
        let known = self.held(step_id, holder, fence)?.handle.as_ref();
        if known.is_some() && handle.is_some() && known != handle.as_ref() {
            return Err(Refusal::OtherHandle);
        }
        let identity = self.identity_of(self.step(step_id)?);
        let step = self.step_mut(step_id)?;
        let StepState::Leased(hold) = &step.state else {
            return Ok(Change::default());
        };
        let mut hold = hold.clone();
        let is_new = hold.handle.is_none();
        if is_new {
            hold.handle.clone_from(&handle);
        }
        step.state = StepState::Running(hold);
        if let (None, true, Some(handle)) = (holder, is_new, handle) {
            step.output = Some(OutputPlace::Sandbox(handle));
        }
        let mut change = Change::default();
        let step_id = step_id.clone();
        change.events.push(Event::StepRunning {
            step_id: step_id.clone(),
            fence,
        });
        if let Some(identity) = identity {
            change.events.push(Event::ProfileInjected {
                step_id: step_id.clone(),
                fence,
                profiles: identity.profiles,
            });
            change
                .events
                .extend(
                    identity
                        .secrets
                        .into_iter()
                        .map(|secret| Event::SecretDecrypted {
                            step_id: step_id.clone(),
                            fence,
                            version: read.versions.get(&secret.name).cloned().or(secret.version),
                            store_request_id: read.store_request_ids.get(&secret.name).cloned(),
                            uri: secret.uri.to_string(),
                            profile: secret.from,
                            key: secret.name,
                        }),
                );
        }
        Ok(change)
    }
}

/// The keys that drifted, for the one who asks why a step did not start.
fn describe(drift: &Drift) -> String {
    let set = |what: &str, keys: &BTreeSet<String>| {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        (!keys.is_empty()).then(|| format!("{what}: {}", keys.join(", ")))
    };
    let parts = [
        set("added", &drift.added),
        set("removed", &drift.removed),
        set("rotated", &drift.rotated),
        set("knobs", &drift.knobs),
        drift.egress.then(|| "egress: other hosts".to_owned()),
        drift
            .audiences
            .then(|| "identity: other audiences".to_owned()),
    ];
    Failure::detail(&parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}
