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
/// When a queue message is sent again.
pub const RESEND: Timestamp = NOW.plus_seconds(PACE.resend_seconds);
/// When the time to live of a step that was queued at [`NOW`] is over.
pub const TTL: Timestamp = NOW.plus_seconds(TTL_SECONDS as i64);
/// Seconds that a step waits in its queue.
pub const TTL_SECONDS: u32 = 3600;
/// Holders of leases. Each has one slot.
pub const HOLDERS: u8 = 2;

/// What executes a step of the model's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// ECS, launched by `dispatch`.
    Fargate,
    /// A `sealfleet-worker`.
    Pull,
    /// Nobody: it needs all the others, and then waits in its queue.
    Last,
}

/// Who takes part, and within which bounds.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: &'static str,
    /// The steps of the one run.
    pub kinds: Vec<Kind>,
    /// Deliveries of a queue message that `dispatch` works on at once.
    pub launchers: u8,
    /// The holder of each pull worker. Twice the same: two requests of one worker.
    pub pulls: Vec<u8>,
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
    /// Whether launchers, workers and `observe` may die, and calls fail. Fan-outs, and those who
    /// delete a lease, always may die.
    pub deaths: bool,
    /// How often a dead step is retried.
    pub retries: u8,
    /// Whether a launch may find no room.
    pub full: bool,
    /// Whether a queued step may be told again, or outlive its time.
    pub waits: bool,
    /// Whether somebody takes over slots that a lease without a hold blocks.
    pub takes: bool,
    /// Processes that work on a fan-out at once.
    pub workers: u8,
    /// The partitions of leases: the pages of each, and the holder whose lease is on a page.
    pub pages: Vec<Vec<u8>>,
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
    pub fn deliveries() -> Self {
        Self {
            launchers: 2,
            lifts: 1,
            ..Self::of("two deliveries", &[Kind::Fargate])
        }
    }

    /// One step of a Fargate pool whose message is delivered twice at once, and whose host has no
    /// room; a hard revocation.
    pub fn full() -> Self {
        Self {
            launchers: 2,
            claims: 2,
            soft: false,
            deaths: false,
            full: true,
            ..Self::of("no room", &[Kind::Fargate])
        }
    }

    /// One step of a Fargate pool that is lost and claimed again; a revocation and a lift.
    pub fn requeue() -> Self {
        Self {
            launchers: 1,
            claims: 2,
            attempts: 2,
            lifts: 1,
            ..Self::of("lost and claimed again", &[Kind::Fargate])
        }
    }

    /// One step of a Fargate pool that is lost or outlives its time, dead, and retried; a
    /// revocation.
    pub fn retry() -> Self {
        Self {
            launchers: 1,
            claims: 2,
            retries: 1,
            waits: true,
            ..Self::of("dead and retried", &[Kind::Fargate])
        }
    }

    /// One step of a Fargate pool; a revocation, a lift, and another revocation.
    pub fn again() -> Self {
        Self {
            launchers: 1,
            revocations: 2,
            lifts: 1,
            ..Self::of("lifted and revoked again", &[Kind::Fargate])
        }
    }

    /// One step that two pull workers, in different partitions, claim one after the other; a
    /// revocation.
    pub fn workers() -> Self {
        Self {
            pulls: vec![0, 1],
            claims: 2,
            attempts: 2,
            ..Self::of("two pull workers", &[Kind::Pull])
        }
    }

    /// One step that two requests of one pull worker claim, also again, while somebody takes over
    /// the slot; a hard revocation.
    pub fn one_slot() -> Self {
        Self {
            pulls: vec![0, 0],
            claims: 3,
            attempts: 2,
            soft: false,
            takes: true,
            ..Self::of("one slot", &[Kind::Pull])
        }
    }

    /// Two steps that two requests of one pull worker claim into one slot, while somebody takes it
    /// over; no revocation.
    pub fn shared_slot() -> Self {
        Self {
            pulls: vec![0, 0],
            claims: 2,
            revocations: 0,
            takes: true,
            waits: true,
            ..Self::of("one slot, two steps", &[Kind::Pull, Kind::Pull])
        }
    }

    /// One step that outlives its time, dead, and retried, which two requests of one pull worker
    /// claim while somebody takes over the slot; no revocation.
    pub fn retried_slot() -> Self {
        Self {
            pulls: vec![0, 0],
            claims: 2,
            revocations: 0,
            retries: 1,
            takes: true,
            waits: true,
            ..Self::of("one slot, dead and retried", &[Kind::Pull])
        }
    }

    /// A run of two steps, one in a Fargate pool and one with a pull worker; a hard revocation ends
    /// both.
    pub fn two_steps() -> Self {
        let bounds = Self::of("two steps", &[Kind::Fargate, Kind::Pull]);
        Self {
            launchers: 1,
            pulls: vec![0],
            soft: false,
            deaths: false,
            ..bounds
        }
    }

    /// Two steps with two pull workers whose leases are on two pages of one partition; two
    /// processes work on the fan-out of a hard revocation.
    pub fn two_pages() -> Self {
        Self {
            pulls: vec![0, 1],
            soft: false,
            deaths: false,
            workers: 2,
            pages: vec![vec![0, 1]],
            ..Self::of("two pages", &[Kind::Pull, Kind::Pull])
        }
    }

    /// Two steps with two pull workers whose leases are in two partitions; two processes work on
    /// the fan-out of a hard revocation.
    pub fn two_partitions() -> Self {
        Self {
            pulls: vec![0, 1],
            soft: false,
            deaths: false,
            workers: 2,
            ..Self::of("two partitions", &[Kind::Pull, Kind::Pull])
        }
    }

    /// Two steps that end at the same time, and one that needs both. No revocation.
    pub fn ends() -> Self {
        let kinds = [Kind::Pull, Kind::Pull, Kind::Last];
        Self {
            pulls: vec![0, 1],
            revocations: 0,
            deaths: false,
            waits: true,
            ..Self::of("two ends", &kinds)
        }
    }

    /// A step that is lost or outlives its time, dead, and retried with the one that needs it. No
    /// revocation.
    pub fn needed() -> Self {
        Self {
            pulls: vec![0],
            claims: 2,
            revocations: 0,
            retries: 2,
            waits: true,
            ..Self::of("dead, retried, and needed", &[Kind::Pull, Kind::Last])
        }
    }

    pub fn all() -> [Self; 14] {
        [
            Self::deliveries(),
            Self::full(),
            Self::requeue(),
            Self::retry(),
            Self::again(),
            Self::workers(),
            Self::one_slot(),
            Self::shared_slot(),
            Self::retried_slot(),
            Self::two_steps(),
            Self::two_pages(),
            Self::two_partitions(),
            Self::ends(),
            Self::needed(),
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
            pulls: Vec::new(),
            claims: 1,
            attempts: 1,
            revocations: 1,
            soft: true,
            lifts: 0,
            deaths: true,
            retries: 0,
            full: false,
            waits: false,
            takes: false,
            workers: 1,
            pages: vec![vec![0], vec![1]],
            holders: (0..HOLDERS).map(|number| holder(kinds, number)).collect(),
            rows: (0..2).map(revocation).collect(),
            steps,
            identity: identity(),
        }
    }

    /// The pool's holder: the last one.
    pub const fn pool(&self) -> u8 {
        HOLDERS - 1
    }

    /// Whether all pull requests are of one worker, so that they are alike.
    pub fn one_worker(&self) -> bool {
        self.pulls.iter().all(|of| self.pulls.first() == Some(of))
    }

    /// What runs the sandboxes of a step.
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
        let others = self.steps.iter().zip(&self.kinds);
        let needs = others
            .filter(|(_, of)| kind == Kind::Last && **of != Kind::Last)
            .map(|(step, _)| step.clone());
        StepSpec {
            pool: fixed(pool_name(kind)),
            mode: Mode::Identity,
            command: vec!["true".into()],
            agent: None,
            needs: needs.collect(),
            takes: Default::default(),
            requires: Labels::default(),
            model: None,
            env: BTreeMap::new(),
            tool: None,
            inputs: Default::default(),
            tty: false,
            artifacts: Vec::new(),
            approval: None,
            on_drift: OnDrift::Proceed,
            timeout_seconds: 60,
            max_attempts: self.attempts,
            ttl_seconds: TTL_SECONDS,
        }
    }
}

const fn pool_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Fargate => "fargate",
        Kind::Pull => "workers",
        Kind::Last => "later",
    }
}

/// The last holder is the Fargate pool where there is one; the others are pull workers.
fn holder(kinds: &[Kind], number: u8) -> Worker {
    let is_pool = number + 1 == HOLDERS && kinds.contains(&Kind::Fargate);
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
        draining_since: None,
        sandboxes: Default::default(),
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
        delivery: sealfleet_domain::delivery::Delivery::Env,
        redact: true,
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
