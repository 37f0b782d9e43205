//! What must hold of revocations: whoever comes after one sees it, and a hard one leaves nothing in
//! flight behind.
//!
//! The order of all effects decides who came first. A claim that was written after a revocation
//! must not be launched or answered; a start whose invocation began after one must not run; and
//! when a fan-out says that it is finished, no claim that was written before its revocations is
//! live unless they were lifted, and as many runs were aborted as it counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use sealfleet_domain::audit::{AuditEntry, Event};
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::revocation::{FanOut, Revocation};
use sealfleet_domain::run::{Run, StepState};
use sealfleet_domain::{FanOutId, RevocationId, RunId};
use sealfleet_ledger::store::Item;

use crate::invariants::Claim;
use crate::memory::Changed;

/// A revocation and the effect that wrote it.
#[derive(Clone, Debug)]
struct Seen {
    revocation: Revocation,
    since: u64,
}

/// The revocations of a world, and what their fan-outs came to.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    active: BTreeMap<(String, String), Seen>,
    aborted: BTreeMap<FanOutId, u64>,
    fan_outs: BTreeMap<FanOutId, FanOut>,
}

impl Revocations {
    /// The ids of those that are active.
    pub fn active(&self) -> Vec<RevocationId> {
        self.active
            .values()
            .map(|seen| seen.revocation.revocation_id)
            .collect()
    }

    /// The first secret that was revoked by an effect up to `effect`, and still is.
    pub fn revoked_by(&self, secrets: &[SecretRef], effect: u64) -> Option<String> {
        let seen = self.active.values().filter(|seen| seen.since <= effect);
        let mut pairs = seen.flat_map(|seen| secrets.iter().map(move |secret| (seen, secret)));
        let (seen, secret) = pairs.find(|(seen, secret)| takes_away(&seen.revocation, secret))?;
        Some(format!(
            "{} of {} by {}",
            secret.name, secret.from, seen.revocation.revocation_id
        ))
    }

    /// Follows a transaction's audit entries.
    pub fn told(&mut self, entries: &[AuditEntry]) {
        for event in entries.iter().flat_map(|entry| &entry.events) {
            if let Event::RunAbortedByRevocation {
                fan_out_id: Some(id),
                ..
            } = event
            {
                *self.aborted.entry(*id).or_default() += 1;
            }
        }
    }

    /// Follows a changed row, and tells what is wrong with it.
    pub fn changed(
        &mut self,
        change: &Changed,
        effect: u64,
        runs: &BTreeMap<RunId, Run>,
        leased: &BTreeMap<Claim, u64>,
    ) -> Option<String> {
        let address = (change.key.pk.clone(), change.key.sk.clone());
        if change.key.pk.ends_with("#REVOKED") {
            match change.after.as_ref().map(read::<Revocation>) {
                None => drop(self.active.remove(&address)),
                Some(Err(error)) => return Some(error),
                Some(Ok(revocation)) => {
                    if change.before.is_some() {
                        return Some(format!(
                            "{} replaces an active revocation",
                            revocation.revocation_id
                        ));
                    }
                    self.active.insert(
                        address,
                        Seen {
                            revocation,
                            since: effect,
                        },
                    );
                }
            }
        } else if change.key.pk.ends_with("#FAN_OUTS") {
            return match change.after.as_ref().map(read::<FanOut>) {
                None => Some("a fan-out was deleted".to_owned()),
                Some(Err(error)) => Some(error),
                Some(Ok(fan_out)) => self.fan_out_changed(fan_out, runs, leased),
            };
        }
        None
    }

    fn fan_out_changed(
        &mut self,
        fan_out: FanOut,
        runs: &BTreeMap<RunId, Run>,
        leased: &BTreeMap<Claim, u64>,
    ) -> Option<String> {
        let id = fan_out.fan_out_id;
        let before = self.fan_outs.insert(id, fan_out.clone());
        if before.is_some_and(|before| before.finished.is_some()) {
            return Some(format!("{id} goes on after it was finished"));
        }
        let finished = fan_out.finished.as_ref()?;
        let aborted = self.aborted.get(&id).copied().unwrap_or_default();
        if finished.counts.runs_aborted != aborted {
            return Some(format!(
                "{id} counts {} runs, {aborted} were aborted",
                finished.counts.runs_aborted
            ));
        }
        let left = runs
            .values()
            .find_map(|run| self.left_behind(run, &fan_out, leased));
        left.map(|left| format!("{id} is finished and {left} is live"))
    }

    /// A live claim from before a fan-out's revocations that holds one of their keys.
    fn left_behind(
        &self,
        run: &Run,
        fan_out: &FanOut,
        leased: &BTreeMap<Claim, u64>,
    ) -> Option<String> {
        let live = run
            .steps
            .iter()
            .filter(|(_, step)| matches!(step.state, StepState::Leased(_) | StepState::Running(_)));
        for (step_id, step) in live {
            let claim = (run.run_id, step_id.clone(), step.fence);
            let leased = leased.get(&claim).copied().unwrap_or_default();
            let Some(identity) = run.identity_of(step) else {
                continue;
            };
            let older = fan_out.revocations.iter().filter(|revocation| {
                self.active_since(revocation)
                    .is_some_and(|since| leased < since)
            });
            for revocation in older {
                if identity
                    .secrets
                    .iter()
                    .any(|secret| takes_away(revocation, secret))
                {
                    return Some(format!("{}/{step_id}/{}", run.run_id, step.fence));
                }
            }
        }
        None
    }

    /// When a revocation was written, if it is still active: one that was lifted meanwhile takes
    /// nothing away any more.
    fn active_since(&self, revocation: &Revocation) -> Option<u64> {
        let mut active = self.active.values();
        active
            .find(|seen| seen.revocation.revocation_id == revocation.revocation_id)
            .map(|seen| seen.since)
    }

    /// At the end of all, what is wrong: every fan-out is finished, and its count is still true.
    pub fn check_end(&self) -> Vec<String> {
        let wrong = self.fan_outs.values().filter_map(|fan_out| {
            let id = fan_out.fan_out_id;
            let aborted = self.aborted.get(&id).copied().unwrap_or_default();
            match &fan_out.finished {
                None => Some(format!("{id} is not finished")),
                Some(finished) if finished.counts.runs_aborted != aborted => Some(format!(
                    "{id} counts {} runs, {aborted} were aborted",
                    finished.counts.runs_aborted
                )),
                Some(_) => None,
            }
        });
        wrong.collect()
    }
}

/// By the profile that declares the key, or by its address, whoever names it.
fn takes_away(revocation: &Revocation, secret: &SecretRef) -> bool {
    let declared = revocation.profile == secret.from && revocation.key == secret.name;
    declared || revocation.uri == secret.uri
}

fn read<T: serde::de::DeserializeOwned>(item: &Arc<Item>) -> Result<T, String> {
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item.as_ref().clone())
        .map_err(|error| error.to_string())
}
