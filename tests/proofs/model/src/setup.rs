//! Who takes part, and within which bounds: small enough to visit every state.

use std::collections::BTreeMap;
use std::str::FromStr;

use sealfleet_domain::fleet::{Worker, WorkerStatus};
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::{Change, Executor, Mode, OnDrift, Pace, Run, StepSpec};
use sealfleet_domain::{StepId, Timestamp};

/// The one moment of the model. What waits for time may happen at any time.
pub const NOW: Timestamp = Timestamp::from_millis(0);
/// How long things take: nothing in the model looks at it.
pub const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};
/// Partitions that a fan-out reads, one page each. A holder's leases stand in the partition of its
/// number.
pub const PARTITIONS: u8 = 2;

/// What executes a step of the model's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ECS, launched by `dispatch`.
    Fargate,
    /// A `sealfleet-worker`.
    Pull,
}

/// Who takes part, and within which bounds.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The setup's name.
    pub name: &'static str,
    /// The steps of the one run.
    pub kinds: Vec<Kind>,
    /// Deliveries of a queue message that `dispatch` works on at once.
    pub launchers: u8,
    /// Pull workers.
    pub workers: u8,
    /// Claims of each step.
    pub claims: u64,
    /// Tries of each step before it is dead.
    pub attempts: u32,
    /// Revocations, one after another.
    pub revocations: u8,
    /// Whether a revocation may also be a soft one.
    pub soft: bool,
    /// How many of them are lifted.
    pub lifts: u8,
    /// Whether launchers, workers and `observe` may die, and answers be lost. Fan-outs always may
    /// die.
    pub deaths: bool,
    /// How often a dead step is retried.
    pub retries: u8,
    /// The pool and the pull workers, by partition.
    pub holders: Vec<Worker>,
    /// The revocations, in the order in which they are written.
    pub rows: Vec<Revocation>,
    /// The ids of the steps.
    pub steps: Vec<StepId>,
    /// What the run's steps see.
    pub identity: Identity,
}

impl Setup {
    /// One step of a Fargate pool whose message is delivered twice at once; a revocation and a
    /// lift.
    #[must_use]
    pub fn deliveries() -> Self {
        Self {
            launchers: 2,
            lifts: 1,
            ..Self::of("two deliveries", &[Kind::Fargate])
        }
    }

    /// One step of a Fargate pool that is lost and claimed again; a revocation and a lift.
    #[must_use]
    pub fn requeue() -> Self {
        Self {
            launchers: 1,
            claims: 2,
            attempts: 2,
            lifts: 1,
            ..Self::of("lost and claimed again", &[Kind::Fargate])
        }
    }

    /// One step of a Fargate pool that is lost, dead, and retried; a revocation.
    #[must_use]
    pub fn retry() -> Self {
        Self {
            launchers: 1,
            claims: 2,
            retries: 1,
            ..Self::of("dead and retried", &[Kind::Fargate])
        }
    }

    /// One step of a Fargate pool; a revocation, a lift, and another revocation.
    #[must_use]
    pub fn again() -> Self {
        Self {
            launchers: 1,
            revocations: 2,
            lifts: 1,
            ..Self::of("lifted and revoked again", &[Kind::Fargate])
        }
    }

    /// One step that two pull workers, in different partitions, claim one after the other; a
    /// revocation and a lift.
    #[must_use]
    pub fn workers() -> Self {
        Self {
            workers: 2,
            claims: 2,
            attempts: 2,
            lifts: 1,
            ..Self::of("two pull workers", &[Kind::Pull])
        }
    }

    /// A run of two steps, one in a Fargate pool and one with a pull worker; a hard revocation ends
    /// both.
    #[must_use]
    pub fn two_steps() -> Self {
        let bounds = Self::of("two steps", &[Kind::Fargate, Kind::Pull]);
        Self {
            launchers: 1,
            workers: 1,
            soft: false,
            deaths: false,
            ..bounds
        }
    }

    /// Every setup.
    #[must_use]
    pub fn all() -> [Self; 6] {
        [
            Self::deliveries(),
            Self::requeue(),
            Self::retry(),
            Self::again(),
            Self::workers(),
            Self::two_steps(),
        ]
    }

    fn of(name: &'static str, kinds: &[Kind]) -> Self {
        let steps = kinds
            .iter()
            .enumerate()
            .map(|(number, _)| fixed(&format!("step-{number}")))
            .collect();
        Self {
            name,
            kinds: kinds.to_vec(),
            launchers: 0,
            workers: 0,
            claims: 1,
            attempts: 1,
            revocations: 1,
            soft: true,
            lifts: 0,
            deaths: true,
            retries: 0,
            holders: (0..PARTITIONS)
                .map(|number| holder(kinds, number))
                .collect(),
            rows: (0..2).map(revocation).collect(),
            steps,
            identity: identity(),
        }
    }

    /// The pool's holder: its leases stand in the last partition.
    #[must_use]
    pub const fn pool(&self) -> u8 {
        PARTITIONS - 1
    }

    /// What runs the sandboxes of a step.
    #[must_use]
    pub fn executor(&self, step: u8) -> Executor {
        match self.kinds.get(usize::from(step)) {
            Some(Kind::Pull) => Executor::Worker,
            _ => Executor::Host,
        }
    }

    /// The numbers of the steps that `kind` executes.
    pub fn steps_of(&self, kind: Kind) -> impl Iterator<Item = u8> + '_ {
        (0_u8..)
            .zip(&self.kinds)
            .filter(move |(_, of)| **of == kind)
            .map(|(step, _)| step)
    }

    /// The run as it is first stored.
    #[must_use]
    pub fn enqueue(&self) -> (Run, Change) {
        let specs: BTreeMap<StepId, StepSpec> = self
            .steps
            .iter()
            .cloned()
            .zip(self.kinds.iter().map(|kind| self.spec(*kind)))
            .collect();
        let run_id = fixed("run_0198c0de-0000-7000-8000-00000000000a");
        Run::enqueue(
            run_id,
            fixed("work"),
            Some(self.identity.clone()),
            specs,
            PACE,
            NOW,
        )
    }

    fn spec(&self, kind: Kind) -> StepSpec {
        StepSpec {
            pool: fixed(pool_name(kind)),
            mode: Mode::Identity,
            command: vec!["true".to_owned()],
            needs: [].into(),
            requires: Labels::default(),
            model: None,
            env: BTreeMap::new(),
            tool: None,
            on_drift: OnDrift::Proceed,
            timeout_seconds: 60,
            max_attempts: self.attempts,
            ttl_seconds: 3600,
        }
    }
}

const fn pool_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Fargate => "fargate",
        Kind::Pull => "workers",
    }
}

/// The last holder is the Fargate pool where there is one; the others are pull workers.
fn holder(kinds: &[Kind], number: u8) -> Worker {
    let is_pool = number + 1 == PARTITIONS && kinds.contains(&Kind::Fargate);
    let kind = if is_pool { Kind::Fargate } else { Kind::Pull };
    Worker {
        worker_id: fixed(&format!("wrk_0198c0de-0000-7000-8000-00000000000{number}")),
        name: format!("holder {number}"),
        pool: fixed(pool_name(kind)),
        status: WorkerStatus::Approved,
        labels: Labels::default(),
        models: Vec::new(),
        modes: vec![Mode::Identity],
        max_concurrent: 1,
        hash: None,
        enrolled_by: None,
        registered_at: NOW,
    }
}

fn revocation(number: u8) -> Revocation {
    Revocation {
        revocation_id: fixed(&format!("rev_0198c0de-0000-7000-8000-00000000000{number}")),
        profile: fixed("crm"),
        key: "CRM_KEY".to_owned(),
        uri: fixed("builtin://crm"),
        // The model itself keeps which of them are hard.
        hard: true,
        reason: "leaked".to_owned(),
        actor: "token:operator".to_owned(),
        at: NOW,
        fan_out_id: None,
        lifted: None,
    }
}

fn identity() -> Identity {
    let secret = SecretRef {
        name: "CRM_KEY".to_owned(),
        uri: fixed("builtin://crm"),
        version: Some("1".to_owned()),
        arn: None,
        from: fixed("crm"),
    };
    Identity {
        secrets: vec![secret],
        ..Identity::default()
    }
}

/// A name or id that stands in this file.
#[expect(
    clippy::panic,
    reason = "a misspelt constant of the model: every test finds it"
)]
fn fixed<T: FromStr>(text: &str) -> T {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is misspelt"))
}
