//! Projects, pools, workers and enrolment keys. Decides whether a worker can run a step.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::approval::{Approval, ApprovalId, Governance};
use crate::capability::{Backend, Host, PULL};
use crate::cascade::Bindings;
use crate::clock::Timestamp;
use crate::delivery::Kind;
use crate::egress::Policy;
use crate::hash::{ContentHash, SecretHash};
use crate::ids::{EnrolmentKeyId, WorkerId};
use crate::labels::{BACKEND, DELIVERY, EGRESS, EGRESS_POLICY, IMAGE, Labels, model_matches};
use crate::limits;
use crate::names::{PoolName, ProjectId};
use crate::step::{Mode, StepSpec};

/// A project (the tenant) and its pools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    pub project: ProjectId,
    pub pools: BTreeMap<PoolName, Pool>,
    /// Counts the contents that its pools have had, from 1.
    pub version: u32,
    /// Counts its changes, of its pools and of its cascade.
    pub revision: u32,
    /// The profiles below each run's own.
    #[serde(default, skip_serializing_if = "Bindings::is_empty")]
    pub cascade: Bindings,
    /// What its steps may reach at most, as operators say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_ceiling: Option<Policy>,
    /// What its callers may run, and how many approve.
    #[serde(default, skip_serializing_if = "Governance::is_default")]
    pub governance: Governance,
    pub created_at: Timestamp,
    /// Since when it takes no runs, tokens and keys any more, because it is to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// Since when it is deleted. Its row stays, so that nobody else gets its name and with it what
    /// is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// What an operator chose for a pool, as the trail keeps it. A pool of workers has only its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PoolSettings {
    /// As a project shows it.
    pub kind: String,
    /// The sandbox backend that runs its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The image of its tasks by digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// CPU units of a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Memory of a task in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// How many tasks may run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Labels that its tasks offer.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Models that its tasks can reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

impl Project {
    /// A new project with these pools.
    #[must_use]
    pub fn new(project: ProjectId, pools: BTreeMap<PoolName, Pool>, created_at: Timestamp) -> Self {
        Self {
            project,
            pools,
            version: 1,
            revision: 0,
            cascade: Bindings::default(),
            egress_ceiling: None,
            governance: Governance::default(),
            created_at,
            closed_at: None,
            deleted_at: None,
        }
    }

    /// What was chosen for each pool. `workers` has those that represent hosted pools.
    #[must_use]
    pub fn settings(&self, workers: &[Worker]) -> BTreeMap<PoolName, PoolSettings> {
        let of = |pool: &Pool| {
            let own = |worker: &&Worker| match pool {
                Pool::Pull { .. } => false,
                Pool::Hosted(hosted) => hosted.worker_id == worker.worker_id,
            };
            PoolSettings::of(pool, workers.iter().find(own))
        };
        let named = self
            .pools
            .iter()
            .map(|(name, pool)| (name.clone(), of(pool)));
        named.collect()
    }
}

impl PoolSettings {
    fn of(pool: &Pool, worker: Option<&Worker>) -> Self {
        let hosted = match pool {
            Pool::Pull { .. } => None,
            Pool::Hosted(hosted) => Some(hosted),
        };
        let worker = worker.filter(|_| hosted.is_some());
        Self {
            kind: pool.host().kind.to_owned(),
            backend: pool.backend().map(str::to_owned),
            image: hosted.map(|hosted| hosted.image.clone()),
            cpu: hosted.map(|hosted| hosted.cpu),
            memory_mib: hosted.map(|hosted| hosted.memory_mib),
            max_concurrent: worker.map(|worker| worker.max_concurrent),
            labels: worker.map_or_else(Labels::default, |worker| worker.labels.clone()),
            models: worker.map_or_else(Vec::new, |worker| worker.models.clone()),
        }
    }
}

/// A named queue of a project, and who takes work from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "PoolRow", try_from = "PoolRow")]
pub enum Pool {
    /// Workers in the customer's network claim from it.
    Pull {
        /// The sandbox backend that runs its steps: the worker's choice if absent.
        backend: Option<String>,
    },
    /// The control plane launches a sandbox for each step.
    Hosted(HostedPool),
}

/// A pool whose sandboxes the control plane launches. It is also a registered worker, so that
/// claims work the same way for every pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostedPool {
    /// The `kind` of its host in the capability table.
    pub host: String,
    /// The worker that represents this pool.
    pub worker_id: WorkerId,
    /// The sandbox image by digest: `repository@sha256:…`.
    pub image: String,
    /// CPU units of a sandbox (1024 units are one vCPU).
    pub cpu: u32,
    /// Memory of a sandbox, in MiB.
    pub memory_mib: u32,
}

impl Pool {
    /// The capabilities of its host.
    #[must_use]
    pub fn host(&self) -> &'static Host {
        match self {
            Self::Pull { .. } => &PULL,
            Self::Hosted(pool) => Host::of_kind(&pool.host),
        }
    }

    /// The sandbox backend that runs its steps, if that is not left to its workers.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        match self {
            Self::Pull { backend } => backend.as_deref(),
            Self::Hosted(_) => None,
        }
    }
}

/// The stored form of a pool: flat, with the host's `kind` as its own.
#[derive(Serialize, Deserialize)]
struct PoolRow {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker_id: Option<WorkerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u32>,
}

impl From<Pool> for PoolRow {
    fn from(pool: Pool) -> Self {
        let pool = match pool {
            Pool::Hosted(pool) => pool,
            Pool::Pull { backend } => {
                return Self {
                    kind: PULL.kind.to_owned(),
                    backend,
                    worker_id: None,
                    image: None,
                    cpu: None,
                    memory_mib: None,
                };
            }
        };
        Self {
            kind: pool.host,
            backend: None,
            worker_id: Some(pool.worker_id),
            image: Some(pool.image),
            cpu: Some(pool.cpu),
            memory_mib: Some(pool.memory_mib),
        }
    }
}

/// A stored pool that lacks a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pool of kind `{kind}` has no `{member}`")]
pub struct InvalidPool {
    kind: String,
    member: &'static str,
}

impl TryFrom<PoolRow> for Pool {
    type Error = InvalidPool;

    fn try_from(row: PoolRow) -> Result<Self, Self::Error> {
        if row.kind == PULL.kind {
            return Ok(Self::Pull {
                backend: row.backend,
            });
        }
        let lacks = |member| InvalidPool {
            kind: row.kind.clone(),
            member,
        };
        Ok(Self::Hosted(HostedPool {
            worker_id: row.worker_id.ok_or_else(|| lacks("worker_id"))?,
            image: row.image.ok_or_else(|| lacks("image"))?,
            cpu: row.cpu.ok_or_else(|| lacks("cpu"))?,
            memory_mib: row.memory_mib.ok_or_else(|| lacks("memory_mib"))?,
            host: row.kind,
        }))
    }
}

/// The status of a worker's registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// Registered without an enrolment key; waits for an admin.
    Pending,
    /// May claim steps.
    Approved,
    /// An admin rejected it.
    Rejected,
    /// May not do anything any more.
    Revoked,
}

impl WorkerStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Revoked => "revoked",
        }
    }
}

/// A worker: a `sealfleet-worker` process, or a pool whose sandboxes the control plane launches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    pub worker_id: WorkerId,
    /// Display name for people.
    pub name: String,
    /// The pool whose queue it reads.
    pub pool: PoolName,
    pub status: WorkerStatus,
    /// Its capabilities.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The models that it can reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    pub modes: Vec<Mode>,
    /// What it has told of its sandboxes.
    #[serde(default, skip_serializing_if = "Sandboxes::is_empty")]
    pub sandboxes: Sandboxes,
    /// The most steps that it may hold at once.
    pub max_concurrent: u32,
    /// SHA-256 of its secret. `None` for a hosted pool: nobody can authenticate as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<SecretHash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolled_by: Option<EnrolmentKeyId>,
    pub registered_at: Timestamp,
    /// Since when it gets no new steps, because an admin wants it to end those that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_since: Option<Timestamp>,
}

/// What a worker tells of its sandboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sandboxes {
    /// The sandbox backends that it has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "openapi", schemars(schema_with = "crate::schema::backends"))]
    pub backends: BTreeSet<String>,
    /// The variants of sandbox images that it has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(schema_with = "crate::schema::image_variants")
    )]
    pub images: BTreeSet<String>,
    /// Whether it holds sandboxes to an egress policy, by a proxy beside each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub egress: bool,
    /// The strictest way in which it delivers secrets; it has those before it, too. Absent: in the
    /// environment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Kind>,
}

impl Sandboxes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it delivers secrets in this way.
    #[must_use]
    pub fn delivers(&self, wanted: Kind) -> bool {
        self.delivery.unwrap_or(Kind::Env) >= wanted
    }

    /// Whether these can be a worker's.
    ///
    /// # Errors
    /// The field that is wrong, and what to do.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        for name in &self.backends {
            Backend::named(name).map_err(|message| ("backends", message))?;
        }
        if self.images.len() > limits::IMAGE_VARIANTS {
            let most = limits::IMAGE_VARIANTS;
            return Err(("images", format!("{most} variants of images at most")));
        }
        let images = self.images.iter();
        let labels = images.map(|name| (name.clone(), name.clone())).collect();
        Labels::required(labels)
            .map(drop)
            .map_err(|error| ("images", error.to_string()))
    }
}

/// An enrolment key. With it, workers of one pool register themselves as approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentKey {
    pub enrolment_key_id: EnrolmentKeyId,
    /// The only pool that the key is for.
    pub pool: PoolName,
    /// The labels that a worker may declare with this key.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The models that a worker may declare with this key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// How many workers the key may approve.
    pub max_uses: u32,
    /// How many workers the key has approved.
    pub uses: u32,
    pub hash: SecretHash,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// Why an enrolment key does not cover a registration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentRefusal {
    #[error("the enrolment key belongs to another project")]
    Project,
    #[error("the enrolment key is for pool `{0}`; register there, or ask for a key of your pool")]
    Pool(PoolName),
    /// The key does not carry this label.
    #[error(
        "the enrolment key does not carry label `{0}`; leave it out, or ask for a key that does"
    )]
    Label(String),
    /// The key does not carry this model.
    #[error(
        "the enrolment key does not carry model `{0}`; leave it out, or ask for a key that does"
    )]
    Model(String),
}

impl EnrolmentKey {
    /// Checks that this key covers a registration for `pool` with `labels` and `models`.
    ///
    /// # Errors
    /// The first part that the key does not cover.
    pub fn covers(
        &self,
        pool: &PoolName,
        labels: &Labels,
        models: &[String],
    ) -> Result<(), EnrolmentRefusal> {
        if *pool != self.pool {
            return Err(EnrolmentRefusal::Pool(self.pool.clone()));
        }
        let carried: BTreeMap<&str, &str> = self.labels.iter().collect();
        if let Some((key, _)) = labels
            .iter()
            .find(|(key, value)| carried.get(key) != Some(value))
        {
            return Err(EnrolmentRefusal::Label(key.to_owned()));
        }
        if let Some(model) = models
            .iter()
            .find(|model| !model_matches(Some(model), &self.models))
        {
            return Err(EnrolmentRefusal::Model(model.clone()));
        }
        Ok(())
    }
}

/// Why a worker cannot run a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("the step is for pool `{0}`")]
    Pool(PoolName),
    /// The worker lacks a label that the step requires.
    #[error("the step requires labels that this worker does not have")]
    Labels,
    /// The worker lacks the model that the step requires.
    #[error("the step requires a model that this worker does not have")]
    Model,
    #[error("the step requires execution mode `{0}`, which this worker cannot run")]
    Mode(Mode),
}

impl Worker {
    /// The request for its approval.
    #[must_use]
    pub fn request(&self, governance: &Governance) -> Approval {
        let declared = json!({
            "name": self.name,
            "pool": self.pool,
            "labels": self.labels,
            "models": self.models,
            "modes": self.modes,
            "max_concurrent": self.max_concurrent,
        });
        let approval = ApprovalId::Worker {
            worker_id: self.worker_id,
        };
        let request = ContentHash::of(declared.to_string().as_bytes());
        let at = self.registered_at;
        let until = at.plus_seconds(limits::PENDING_WORKER_SECONDS);
        governance
            .asker(format!("worker:{}", self.worker_id), None)
            .asks(approval, request, at, until)
    }

    /// Whether it has a label. A missing one never matches.
    #[must_use]
    pub fn offers(&self, key: &str, value: &str) -> bool {
        match key {
            BACKEND => self.sandboxes.backends.contains(value),
            IMAGE => self.sandboxes.images.contains(value),
            EGRESS => self.sandboxes.egress && value == EGRESS_POLICY,
            DELIVERY => {
                let mut kinds = [Kind::Env, Kind::File, Kind::Egress].into_iter();
                kinds.any(|kind| kind.text() == value && self.sandboxes.delivers(kind))
            }
            key => self.labels.has(key, value),
        }
    }

    /// Checks that this worker can run `step`.
    ///
    /// # Errors
    /// The first requirement that the worker does not meet.
    pub fn can_run(&self, step: &StepSpec) -> Result<(), Mismatch> {
        if self.pool != step.pool {
            return Err(Mismatch::Pool(step.pool.clone()));
        }
        if !self.modes.contains(&step.mode) {
            return Err(Mismatch::Mode(step.mode));
        }
        if !step
            .requires
            .iter()
            .all(|(key, value)| self.offers(key, value))
        {
            return Err(Mismatch::Labels);
        }
        if !model_matches(step.model.as_deref(), &self.models) {
            return Err(Mismatch::Model);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_stored_flat() {
        for stored in [
            r#"{"kind":"pull"}"#,
            r#"{"kind":"pull","backend":"bubblewrap"}"#,
            r#"{"kind":"fargate","worker_id":"wrk_0198c0de-0000-7000-8000-00000000000a","image":"i","cpu":256,"memory_mib":512}"#,
            r#"{"kind":"toy","worker_id":"wrk_0198c0de-0000-7000-8000-00000000000a","image":"i","cpu":256,"memory_mib":512}"#,
        ] {
            let pool: Pool = serde_json::from_str(stored).expect("a pool");
            assert_eq!(serde_json::to_string(&pool).expect("a row"), stored);
        }
        assert!(serde_json::from_str::<Pool>(r#"{"kind":"fargate","image":"i"}"#).is_err());
    }
}
