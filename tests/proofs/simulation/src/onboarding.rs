//! Projects as operators and admins set them up, through the handlers, before anything goes wrong.

use std::sync::Arc;

use aws_lambda_events::http::Method;
use sealfleet_api::http::Request;
use sealfleet_domain::Timestamp;
use sealfleet_domain::access::Role;
use sealfleet_domain::credential::Home;
use serde_json::{Value, json};

use crate::handlers::{Handlers, Invoke, Outcome, ledger, request};
use crate::invariants::Invariants;
use crate::memory::Tables;
use crate::random::Random;
use crate::requests;
use crate::stage::{Stage, World};

/// The projects. All have pools, profiles, steps and idempotency keys of the same names.
pub const PROJECTS: [&str; 3] = ["healthcare", "finance", "retail"];
/// The first of them. No system profile is bound to it at the beginning, as to all others.
pub const PROJECT: &str = "healthcare";
/// The one that floods the due index in some worlds.
pub const NOISY: &str = "finance";
/// What profiles for pull pools name.
pub const FILE: &str = "builtin://files@00000000-0000-4000-8000-000000000001";
/// What they name at other times.
pub const OTHER_FILE: &str = "builtin://other@00000000-0000-4000-8000-000000000001";
/// When every world begins: 2026-01-31T08:00:00Z.
pub const BEGINNING: i64 = 1_769_846_400_000;

/// Ids of the time before a seed's own.
const SEED: u64 = 0x5ea1_f1ee;
/// Runs of a flood.
const FLOOD: usize = 40;
/// Milliseconds before the beginning when a flood comes: its leases have run out by then.
const FLOOD_BEFORE: i64 = 50_000;

/// Who asks, with what, and for which project. Operators have none.
#[derive(Clone, Debug)]
pub struct Caller {
    pub bearer: String,
    pub home: Option<&'static str>,
}

/// A pull worker that has registered.
#[derive(Clone, Debug)]
pub struct Registered {
    pub project: &'static str,
    pub worker_id: String,
    pub credential: String,
}

/// A project that is ready.
#[derive(Clone, Debug)]
pub struct Project {
    pub name: &'static str,
    pub admin: Caller,
    /// Another admin, who enqueues nothing.
    pub approver: Caller,
    /// The queue of its Fargate pool.
    pub fargate: String,
    /// The queue of its pull pool.
    pub pull: String,
    pub workers: Vec<Registered>,
}

/// The tables as they stand, and what the invariants know of them.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub tables: Tables,
    pub judge: Invariants,
}

/// All that is there before a world begins.
#[derive(Clone, Debug)]
pub struct Onboarded {
    pub operator: Caller,
    pub projects: Vec<Project>,
    pub calm: Beginning,
    /// The same, with many due rows of one project.
    pub flooded: Beginning,
}

/// The secret that a project's profile for Fargate names.
pub fn secret_of(project: &str) -> String {
    format!("sealfleet/{project}/crm")
}

/// The name of a project that another one is told by.
pub fn project_of(name: &str) -> Option<&'static str> {
    PROJECTS.into_iter().find(|project| *project == name)
}

struct Onboarding {
    stage: Stage,
    handlers: Arc<Handlers>,
}

/// Sets all projects up.
pub async fn onboard() -> Result<Onboarded, String> {
    let stage = Stage::new(World::new(
        Tables::default(),
        BEGINNING - 2 * FLOOD_BEFORE,
        Random::new(SEED),
        Invariants::default(),
    ));
    let handlers = Arc::new(Handlers::new(&stage, SEED));
    let onboarding = Onboarding { stage, handlers };
    let operator = onboarding.operator().await?;
    let profile = requests::system_profile(0, false);
    let mut named = profile.clone();
    if let Some(named) = named.as_object_mut() {
        named.insert("name".to_owned(), json!(requests::SYSTEM_PROFILE));
    }
    onboarding
        .ask(Method::POST, "/v1/profiles", &operator.bearer, named)
        .await?;
    let mut projects = Vec::new();
    for name in PROJECTS {
        projects.push(onboarding.project(&operator, name).await?);
    }
    let calm = onboarding.beginning();
    for project in projects.iter().filter(|project| project.name == NOISY) {
        onboarding.flood(project).await?;
    }
    let flooded = onboarding.beginning();
    Ok(Onboarded {
        operator,
        projects,
        calm,
        flooded,
    })
}

impl Onboarding {
    async fn operator(&self) -> Result<Caller, String> {
        let expires = Timestamp::from_millis(BEGINNING).plus_seconds(360 * 24 * 3600);
        let (home, role) = (Home::Operators, Role::Operator);
        let token = ledger(&self.stage, SEED + 1)
            .create_token(&home, role, None, None, expires, "simulation")
            .await
            .map_err(|error| error.to_string())?
            .1;
        Ok(Caller {
            bearer: format!("Bearer {token}"),
            home: None,
        })
    }

    async fn project(&self, operator: &Caller, name: &'static str) -> Result<Project, String> {
        let post = Method::POST;
        let operator = &operator.bearer;
        self.ask(post.clone(), "/v1/projects", operator, pools(name))
            .await?;
        let admin = json!({ "project": name, "role": "admin", "expires_in_seconds": 31_000_000 });
        let mut tokens = Vec::new();
        for _ in 0..2 {
            let token = self.ask(post.clone(), "/v1/tokens", operator, admin.clone());
            tokens.push(field(&token.await?, "token")?);
        }
        let [token, approver] = tokens.as_slice() else {
            return Err("no tokens".to_owned());
        };
        let bearer = format!("Bearer {token}");
        for profile in profiles(name) {
            self.ask(post.clone(), "/v1/profiles", &bearer, profile)
                .await?;
        }
        if name != PROJECT {
            let bound = requests::bindings(true);
            self.ask(Method::PUT, "/v1/cascade", &bearer, bound).await?;
        }
        let key = json!({ "pool": "workers", "max_uses": 10, "expires_in_seconds": 3600 });
        let key = self.ask(post, "/v1/enrolment-keys", &bearer, key).await?;
        let key = format!("Bearer {}", field(&key, "enrolment_key")?);
        let mut workers = Vec::new();
        for worker in ["a", "b"] {
            workers.push(self.worker(&key, name, worker, 2).await?);
        }
        Ok(Project {
            name,
            admin: Caller {
                bearer,
                home: Some(name),
            },
            approver: Caller {
                bearer: format!("Bearer {approver}"),
                home: Some(name),
            },
            fargate: format!("sealfleet-{name}--fargate"),
            pull: format!("sealfleet-{name}--workers"),
            workers,
        })
    }

    async fn worker(
        &self,
        key: &str,
        project: &'static str,
        name: &str,
        most: usize,
    ) -> Result<Registered, String> {
        let worker = json!({
            "project": project, "name": name, "pool": "workers", "max_concurrent": most,
            "modes": ["bare", "sandboxed", "identity"],
        });
        let path = "/v1/workers/register";
        let registered = self.ask(Method::POST, path, key, worker).await?;
        Ok(Registered {
            project,
            worker_id: field(&registered, "worker_id")?,
            credential: field(&registered, "credential")?,
        })
    }

    /// Many runs at once. A worker takes half of them and dies; nobody hears of the others.
    async fn flood(&self, project: &Project) -> Result<(), String> {
        self.stage.lock().time = BEGINNING - FLOOD_BEFORE;
        let post = Method::POST;
        let admin = &project.admin.bearer;
        let key = json!({ "pool": "workers", "max_uses": 1, "expires_in_seconds": 3600 });
        let key = self
            .ask(post.clone(), "/v1/enrolment-keys", admin, key)
            .await?;
        let key = format!("Bearer {}", field(&key, "enrolment_key")?);
        let worker = self.worker(&key, project.name, "noise", FLOOD).await?;
        let credential = format!("Bearer {}", worker.credential);
        for number in 0..FLOOD {
            let key = format!("noise-{number}");
            let headers = [("authorization", admin.as_str()), ("idempotency-key", &key)];
            let run = request(post.clone(), "/v1/runs", &headers, Some(&requests::noise()))?;
            let run = self.answer("/v1/runs", run).await?;
            if number < FLOOD / 2 {
                let claim = json!({ "run_id": field(&run, "run_id")?, "step_id": "s0" });
                self.ask(post.clone(), "/v1/claims", &credential, claim)
                    .await?;
            }
        }
        let changed = std::mem::take(&mut self.stage.lock().stream);
        match self.handlers.invoke(Invoke::Stream(changed)).await {
            Outcome::Stream(true) => Ok(()),
            other => Err(format!("the flood: {other:?}")),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        bearer: &str,
        body: Value,
    ) -> Result<Value, String> {
        let headers = [("authorization", bearer)];
        let request = request(method, path, &headers, Some(&body))?;
        self.answer(path, request).await
    }

    async fn answer(&self, path: &str, request: Request) -> Result<Value, String> {
        match self.handlers.invoke(Invoke::Http(request)).await {
            Outcome::Http(Ok(answer)) => Ok(answer.body),
            other => Err(format!("{path}: {other:?}")),
        }
    }

    fn beginning(&self) -> Beginning {
        let mut world = self.stage.lock();
        world.tables.settle(0);
        world.judge.forget_trail();
        Beginning {
            tables: world.tables.clone(),
            judge: world.judge.clone(),
        }
    }
}

fn pools(project: &str) -> Value {
    json!({
        "project": project,
        "pools": {
            "workers": { "kind": "pull" },
            "fargate": {
                "kind": "fargate", "image": format!("repository@sha256:{}", "0".repeat(64)), "max_concurrent": 3,
            },
        },
    })
}

/// Fargate pools reach `aws-sm://`, pull pools `builtin://`.
fn profiles(project: &str) -> [Value; 2] {
    let secret = format!("aws-sm://{}#api-key", secret_of(project));
    [
        json!({ "name": "crm", "secrets": { "API_KEY": secret } }),
        json!({ "name": "files", "secrets": { "API_KEY": FILE } }),
    ]
}

fn field(answer: &Value, name: &str) -> Result<String, String> {
    answer
        .get(name)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("no `{name}` in {answer}"))
}
