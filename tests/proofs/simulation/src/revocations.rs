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

use crate::approvals::Approvals;
use crate::invariants::Claim;
use crate::isolation::{Isolation, owner_of};
use crate::memory::{Changed, number};

/// A revocation, whose it is, and the effect that wrote it.
#[derive(Clone, Debug)]
struct Seen {
    revocation: Revocation,
    owner: Scope,
    since: u64,
    /// The effect that made it hard, or wrote it if it was never soft.
    hard_since: u64,
}

/// Whether a revocation is a soft one of before, now hard, with a fan-out of its own.
fn is_hardened(before: &Revocation, now: &Revocation) -> bool {
    let hardened = Revocation {
        hard: true,
        fan_out_id: now.fan_out_id,
        ..before.clone()
    };
    !before.hard && now.fan_out_id.is_some() && *now == hardened
}

/// The project whose runs something is about. `None`: the operators', about the runs of all.
type Scope = Option<&'static str>;

/// A fan-out, whose it is, when it is due, and the effect that wrote it last.
#[derive(Clone, Debug)]
struct Working {
    fan_out: FanOut,
    owner: Scope,
    due: i64,
    written: u64,
}

/// The revocations of a world, and what their fan-outs came to.
#[derive(Clone, Debug, Default)]
pub struct Revocations {
    active: BTreeMap<(String, String), Seen>,
    aborted: BTreeMap<FanOutId, u64>,
    fan_outs: BTreeMap<FanOutId, Working>,
}

/// The runs and claims that a fan-out is about.
pub struct InFlight<'a> {
    pub runs: &'a BTreeMap<RunId, Run>,
    pub isolation: &'a Isolation,
    pub approvals: &'a Approvals,
    /// The effect that wrote each claim.
    pub leased: &'a BTreeMap<Claim, u64>,
}

impl Revocations {
    /// The ids of an owner's that are active.
    pub fn active(&self, owner: Scope) -> Vec<RevocationId> {
        let active = self.active.values().filter(|seen| seen.owner == owner);
        active.map(|seen| seen.revocation.revocation_id).collect()
    }

    /// The first secret that was revoked for a project by an effect up to `effect`, and still is.
    pub fn revoked_by(&self, project: Scope, secrets: &[SecretRef], effect: u64) -> Option<String> {
        let seen = self
            .active
            .values()
            .filter(|seen| seen.since <= effect && (seen.owner.is_none() || seen.owner == project));
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
        in_flight: &InFlight<'_>,
    ) -> Option<String> {
        let owner = owner_of(&change.key.pk);
        let address = (change.key.pk.clone(), change.key.sk.clone());
        if change.key.pk.ends_with("#REVOKED") {
            match change.after.as_ref().map(read::<Revocation>) {
                None => drop(self.active.remove(&address)),
                Some(Err(error)) => return Some(error),
                Some(Ok(revocation)) => {
                    let before = self.active.get(&address);
                    if let Some(before) = before
                        && !is_hardened(&before.revocation, &revocation)
                    {
                        return Some(format!(
                            "{} replaces an active revocation",
                            revocation.revocation_id
                        ));
                    }
                    let since = before.map_or(effect, |before| before.since);
                    self.active.insert(
                        address,
                        Seen {
                            revocation,
                            owner,
                            since,
                            hard_since: effect,
                        },
                    );
                }
            }
        } else if change.key.pk.ends_with("#FAN_OUTS") {
            let Some(item) = &change.after else {
                return Some("a fan-out was deleted".to_owned());
            };
            return match read::<FanOut>(item) {
                Err(error) => Some(error),
                Ok(fan_out) => {
                    let working = Working {
                        fan_out,
                        owner,
                        due: number(item, "due_at").unwrap_or(i64::MAX),
                        written: effect,
                    };
                    self.fan_out_changed(working, in_flight)
                }
            };
        }
        None
    }

    fn fan_out_changed(&mut self, working: Working, in_flight: &InFlight<'_>) -> Option<String> {
        let (fan_out, owner) = (working.fan_out.clone(), working.owner);
        let id = fan_out.fan_out_id;
        let before = self.fan_outs.insert(id, working);
        if before.is_some_and(|before| before.fan_out.finished.is_some()) {
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
        let own = in_flight
            .runs
            .values()
            .filter(|run| owner.is_none() || owner == in_flight.isolation.of_run(run.run_id));
        let left = own
            .into_iter()
            .find_map(|run| self.left_behind(run, &fan_out, in_flight));
        left.map(|left| format!("{id} is finished and {left} is live"))
    }

    /// A live claim, or a step that waits for approval, from before a fan-out's revocations that
    /// holds one of their keys.
    fn left_behind(&self, run: &Run, fan_out: &FanOut, in_flight: &InFlight<'_>) -> Option<String> {
        for (step_id, step) in &run.steps {
            let leased = match step.state {
                StepState::Leased(_) | StepState::Running(_) => {
                    let claim = (run.run_id, step_id.clone(), step.fence);
                    in_flight.leased.get(&claim).copied()
                }
                StepState::Waiting { .. } => in_flight.approvals.waits_since(run.run_id, step_id),
                _ => continue,
            };
            let leased = leased.unwrap_or_default();
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

    /// When a revocation was written or made hard, if it is still active: one that was lifted
    /// meanwhile takes nothing away any more.
    fn active_since(&self, revocation: &Revocation) -> Option<u64> {
        let mut active = self.active.values();
        active
            .find(|seen| seen.revocation.revocation_id == revocation.revocation_id)
            .map(|seen| seen.hard_since)
    }

    /// The first fan-out that was due at `began` and still is, and that nobody has written since
    /// the effect `since`. Those of `excused`, and with it the operators', may take longer.
    pub fn late(&self, began: i64, since: u64, excused: Scope) -> Option<String> {
        let mut waiting = self.fan_outs.values().filter(|working| {
            working.fan_out.finished.is_none() && working.due <= began && working.written <= since
        });
        let late = waiting.find(|working| {
            excused.is_none() || (working.owner.is_some() && working.owner != excused)
        })?;
        Some(format!(
            "{} was due {} s before a sweep began, and the sweep left it",
            late.fan_out.fan_out_id,
            (began - late.due) / 1000
        ))
    }

    /// Whether nobody has to go on with a fan-out.
    pub fn are_finished(&self) -> bool {
        let mut fan_outs = self.fan_outs.values();
        fan_outs.all(|working| working.fan_out.finished.is_some())
    }

    /// At the end of all, what is wrong: every fan-out is finished, and its count is still true.
    pub fn check_end(&self) -> Vec<String> {
        let fan_outs = self.fan_outs.values().map(|working| &working.fan_out);
        let wrong = fan_outs.filter_map(|fan_out| {
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
