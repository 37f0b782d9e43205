//! A project as operators and admins set it up, through the handlers, before anything goes wrong.

use std::sync::Arc;

use aws_lambda_events::http::Method;
use sealfleet_domain::Timestamp;
use sealfleet_domain::access::Role;
use sealfleet_domain::credential::Home;
use serde_json::{Value, json};

use crate::handlers::{Handlers, Invoke, Outcome, ledger, request};
use crate::invariants::Invariants;
use crate::memory::Tables;
use crate::random::Random;
use crate::stage::{Stage, World};

pub const PROJECT: &str = "healthcare";
/// The queue of its Fargate pool.
pub const FARGATE_QUEUE: &str = "sealfleet-healthcare--fargate";
/// The queue of its pull pool.
pub const PULL_QUEUE: &str = "sealfleet-healthcare--workers";
/// The secret that its profile for Fargate names.
pub const SECRET: &str = "sealfleet/healthcare/crm";
/// What its profile for pull pools names.
pub const FILE: &str = "builtin://files@00000000-0000-4000-8000-000000000001";
/// What it names at other times.
pub const OTHER_FILE: &str = "builtin://other@00000000-0000-4000-8000-000000000001";
/// When every world begins: 2026-01-31T08:00:00Z.
pub const BEGINNING: i64 = 1_769_846_400_000;

/// Ids of the time before a seed's own.
const SEED: u64 = 0x5ea1_f1ee;

/// A pull worker that has registered.
#[derive(Clone, Debug)]
pub struct Registered {
    pub worker_id: String,
    pub credential: String,
}

/// A project that is ready.
#[derive(Clone, Debug)]
pub struct Project {
    /// The tables as they stand.
    pub tables: Tables,
    pub token: String,
    pub workers: Vec<Registered>,
}

/// Sets a project up.
pub async fn onboard() -> Result<Project, String> {
    let stage = Stage::new(World::new(
        Tables::default(),
        BEGINNING,
        Random::new(SEED),
        Invariants::default(),
    ));
    let handlers = Arc::new(Handlers::new(&stage, SEED));
    let expires = Timestamp::from_millis(BEGINNING).plus_seconds(360 * 24 * 3600);
    let operator = ledger(&stage, SEED + 1)
        .create_token(
            &Home::Operators,
            Role::Operator,
            None,
            expires,
            "simulation",
        )
        .await
        .map_err(|error| error.to_string())?
        .1;
    let ask = async |path: &str, credential: &str, body: Value| {
        let bearer = format!("Bearer {credential}");
        let request = request(
            Method::POST,
            path,
            &[("authorization", &bearer)],
            Some(&body),
        )?;
        match handlers.invoke(Invoke::Http(request)).await {
            Outcome::Http(Ok(answer)) => Ok(answer.body),
            other => Err(format!("{path}: {other:?}")),
        }
    };
    ask("/v1/projects", &operator, project()).await?;
    let admin = json!({ "project": PROJECT, "role": "admin", "expires_in_seconds": 31_000_000 });
    let token = field(&ask("/v1/tokens", &operator, admin).await?, "token")?;
    for profile in profiles() {
        ask("/v1/profiles", &token, profile).await?;
    }
    let key = json!({ "pool": "workers", "max_uses": 10, "expires_in_seconds": 3600 });
    let key = field(
        &ask("/v1/enrolment-keys", &token, key).await?,
        "enrolment_key",
    )?;
    let mut workers = Vec::new();
    for name in ["a", "b"] {
        let worker = json!({
            "project": PROJECT, "name": name, "pool": "workers", "max_concurrent": 2,
            "modes": ["bare", "sandboxed", "identity"],
        });
        let registered = ask("/v1/workers/register", &key, worker).await?;
        let (worker_id, credential) = (
            field(&registered, "worker_id")?,
            field(&registered, "credential")?,
        );
        workers.push(Registered {
            worker_id,
            credential,
        });
    }
    let mut world = stage.lock();
    world.tables.settle(0);
    Ok(Project {
        tables: world.tables.clone(),
        token,
        workers,
    })
}

fn project() -> Value {
    json!({
        "project": PROJECT,
        "pools": {
            "workers": { "kind": "pull" },
            "fargate": {
                "kind": "fargate", "image": format!("repository@sha256:{}", "0".repeat(64)), "max_concurrent": 3,
            },
        },
    })
}

/// Fargate pools reach `aws-sm://`, pull pools `builtin://`.
fn profiles() -> [Value; 2] {
    [
        json!({ "name": "crm", "secrets": { "API_KEY": format!("aws-sm://{SECRET}#api-key") } }),
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
