//! A ledger with the real handlers over it, filled without the API: for what is measured.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sealfleet_domain::access::Role;
use sealfleet_domain::approval::{Decision, Verdict};
use sealfleet_domain::credential::{Home, worker_text};
use sealfleet_domain::fleet::{Pool, Project, Worker, WorkerStatus};
use sealfleet_domain::hash::SecretHash;
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::profile::Content;
use sealfleet_domain::run::{Executor, Fresh, Mode, OnDrift, Run, StepSpec};
use sealfleet_domain::{
    ApprovalId, Clock, Owner, ProfileName, ProjectScope, RunId, StepId, WorkerId,
};
use sealfleet_functions::shared::auth::Oidc;
use sealfleet_functions::sweep::Swept;
use sealfleet_ledger::{Ledger, NewClaim, Registration, Store};
use sealfleet_test_fakes::handlers::{Handlers, Invoke, Outcome as Came, PACE};
use sealfleet_test_fakes::memory::Tables;
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Stage};
use sealfleet_test_fakes::time::SeededIds;
use sealfleet_test_stack::identity::NOWHERE;
use sealfleet_test_stack::{Failure, Outcome};

use crate::memory;
use crate::world::{Answer, Asked, POOL};

/// The key that identity steps see.
pub const KEY: &str = "API_KEY";
/// The profile that has it.
pub const PROFILE: &str = "crm";

pub struct Field {
    pub ledger: Ledger,
    pub handlers: Arc<Handlers>,
}

pub fn scope(project: &str) -> Outcome<ProjectScope> {
    Ok(ProjectScope::of_stored_row(project.parse()?))
}

pub fn step_id(number: usize) -> Outcome<StepId> {
    Ok(format!("s{number}").parse()?)
}

impl Field {
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let ledger = Ledger::new(store, clock, Arc::new(SeededIds::new(seed)));
        // Nobody reads these queues, and there are no hosts.
        let world = stage::World::new(Tables::default(), 0, Random::new(1), ());
        let handlers = Handlers::over(ledger.clone(), &Stage::new(world), |_| Oidc::Off);
        Self {
            ledger,
            handlers: Arc::new(handlers),
        }
    }

    pub async fn ask(&self, credential: &str, asked: Asked<'_>) -> Outcome<Answer> {
        memory::ask(&self.handlers, credential, asked).await
    }

    /// Makes a project with its profile, and an admin's token.
    pub async fn project(&self, name: &str) -> Outcome<String> {
        let project = Project::new(
            name.parse()?,
            BTreeMap::from([(POOL.parse()?, Pool::Pull { backend: None })]),
            self.ledger.now(),
        );
        let scope = scope(name)?;
        self.ledger
            .create_project(&scope, &project, &[], "load")
            .await?;
        self.profile(name, PROFILE).await?;
        let home = Home::Project(name.parse()?);
        let until = self.ledger.now().plus_seconds(360 * 24 * 3600);
        let token = self
            .ledger
            .create_token(&home, Role::Admin, None, None, until, "load");
        Ok(token.await?.1)
    }

    pub async fn profile(&self, project: &str, name: &str) -> Outcome {
        let content = Content {
            secrets: BTreeMap::from([(KEY.to_owned(), NOWHERE.parse()?)]),
            ..Content::default()
        };
        let name: ProfileName = name.parse()?;
        let owner = Owner::Project(scope(project)?);
        self.ledger
            .create_profile(&owner, &name, content, "load")
            .await?;
        Ok(())
    }

    /// A worker with room for 1,000 steps, and its credential.
    pub async fn worker(&self, project: &str) -> Outcome<(Worker, String)> {
        let (secret, now) = (self.ledger.ids().secret(), self.ledger.now());
        let worker = Worker {
            worker_id: WorkerId::new(self.ledger.ids(), now),
            name: "w".to_owned(),
            pool: POOL.parse()?,
            status: WorkerStatus::Pending,
            labels: Labels::default(),
            models: vec![],
            modes: vec![Mode::Sandboxed, Mode::Identity],
            max_concurrent: 1000,
            hash: Some(SecretHash::of(&secret)),
            enrolled_by: None,
            draining_since: None,
            sandboxes: Default::default(),
            registered_at: now,
        };
        let (scope, id) = (scope(project)?, worker.worker_id);
        self.ledger
            .register_worker(&scope, &worker, Registration::Pending, "load")
            .await?;
        let decision = Decision {
            verdict: Verdict::Approve,
            by: "operator:load".to_owned(),
            login: None,
            reason: None,
            at: now,
        };
        let approval = ApprovalId::Worker { worker_id: id };
        let decided = self.ledger.decide(&scope, &approval, decision, true);
        decided.await?;
        let approved = Worker {
            status: WorkerStatus::Approved,
            ..worker
        };
        Ok((approved, worker_text(&scope, id, &secret)))
    }

    /// A run of so many parallel steps, with or without the project's secret.
    pub async fn enqueue(&self, project: &str, steps: usize, identity: bool) -> Outcome<RunId> {
        let now = self.ledger.now();
        let run_id = RunId::new(self.ledger.ids(), now);
        let mode = if identity {
            Mode::Identity
        } else {
            Mode::Sandboxed
        };
        let spec = StepSpec {
            pool: POOL.parse()?,
            mode,
            command: vec!["true".into()],
            agent: None,
            needs: BTreeSet::new(),
            takes: BTreeSet::new(),
            requires: Labels::default(),
            model: None,
            env: BTreeMap::new(),
            tool: None,
            inputs: Default::default(),
            tty: false,
            artifacts: Vec::new(),
            approval: None,
            on_drift: OnDrift::Proceed,
            timeout_seconds: 600,
            max_attempts: 3,
            ttl_seconds: 24 * 3600,
        };
        let steps = (0..steps).map(|number| Ok((step_id(number)?, spec.clone())));
        let steps: BTreeMap<StepId, StepSpec> = steps.collect::<Outcome<_>>()?;
        let identity = identity.then(sees).transpose()?;
        let (run, change) = Run::enqueue(run_id, "w".parse()?, identity, steps, PACE, now);
        self.ledger
            .enqueue(&scope(project)?, run, &change, None, "load")
            .await?;
        Ok(run_id)
    }

    /// Claims the first step of a run.
    pub async fn claim(&self, project: &str, worker: &Worker, run_id: RunId) -> Outcome {
        let (scope, step_id) = (scope(project)?, step_id(0)?);
        let wanted = NewClaim {
            scope: &scope,
            worker,
            run_id,
            step_id: &step_id,
            executor: Executor::Worker,
            pace: PACE,
        };
        let claimed = self.ledger.claim(&wanted, async |run| {
            let identity = run.identity.clone();
            Ok(identity.map_or(Fresh::Nothing, Fresh::Identity))
        });
        claimed.await?;
        Ok(())
    }

    pub async fn sweep(&self) -> Outcome<Swept> {
        match self.handlers.invoke(Invoke::Sweep).await {
            Came::Sweep(swept) => Ok(swept?),
            other => Err(Failure::new(format!("a sweep answers {other:?}"))),
        }
    }
}

/// What identity steps see.
fn sees() -> Outcome<Identity> {
    let (uri, version) = NOWHERE.split_once('@').unwrap_or((NOWHERE, ""));
    let secret = SecretRef {
        delivery: sealfleet_domain::delivery::Delivery::Env,
        redact: true,
        name: KEY.to_owned(),
        uri: uri.parse()?,
        version: Some(version.to_owned()),
        arn: None,
        from: PROFILE.parse()?,
    };
    Ok(Identity {
        secrets: vec![secret],
        ..Identity::default()
    })
}
