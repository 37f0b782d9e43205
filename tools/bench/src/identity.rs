//! What runs start with: one secret, or those of a cascade; and what it costs to resolve one.

use std::time::Instant;

use sealfleet_test_stack::identity::NOWHERE;
use sealfleet_test_stack::{Outcome, ensure_eq};
use serde_json::{Map, Value, json};

use crate::costs::count;
use crate::figures::{Figures, percentile};
use crate::world::World;

/// Secrets of a cascade.
const SECRETS: usize = 15;
/// Profiles that a world has from its start.
const OF_WORLD: usize = 2;

/// Where the secrets of a cascade are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Beside the worker.
    Beside,
    /// In AWS Secrets Manager.
    InAws,
}

/// What a run starts with.
pub struct Identity {
    /// The run's own profile.
    pub profile: String,
    /// The names of all secrets.
    pub keys: Vec<String>,
    /// In words.
    pub said: String,
    bindings: Value,
}

impl Identity {
    /// A profile with one secret, with no other below it.
    pub fn of_one(profile: &str) -> Self {
        Self {
            profile: profile.to_owned(),
            keys: vec!["API_KEY".to_owned()],
            said: String::new(),
            bindings: json!({}),
        }
    }

    /// Makes the profiles of a cascade of three or four levels (system, project, workflow if four,
    /// run), unless they are there, and binds them.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn cascade(world: &World, backend: Backend, levels: usize) -> Outcome<Self> {
        let names: &[&str] = if levels > 3 {
            &["system", "project", "workflow", "run"]
        } else {
            &["system", "project", "run"]
        };
        let place = if backend == Backend::Beside {
            "beside"
        } else {
            "in-aws"
        };
        let name = |level: &str| format!("{place}-{levels}-{level}");
        let keys: Vec<String> = (0..SECRETS).map(|number| format!("KEY_{number}")).collect();
        if world.is_new(&name("run")).await {
            for (at, level) in names.iter().enumerate() {
                let system = *level == "system";
                let own = keys
                    .iter()
                    .enumerate()
                    .filter(|(number, _)| number % names.len() == at);
                let secrets: Map<String, Value> = own
                    .map(|(number, key)| (key.clone(), json!(backend.reference(system, number))))
                    .collect();
                let profile = json!({ "name": name(level), "secrets": secrets });
                if system {
                    world.system_profile(&profile).await?
                } else {
                    world.profile(&profile).await?
                }
            }
        }
        let workflows = if levels > 3 {
            json!({ "bench": name("workflow") })
        } else {
            json!({})
        };
        let bindings =
            json!({ "system": name("system"), "project": name("project"), "workflows": workflows });
        let made = Self {
            profile: name("run"),
            keys,
            said: format!("{levels} levels with {SECRETS} secrets"),
            bindings,
        };
        made.bind(world).await?;
        Ok(made)
    }

    async fn bind(&self, world: &World) -> Outcome {
        world.bind(&self.bindings).await
    }
}

impl Backend {
    fn reference(self, system: bool, number: usize) -> String {
        let version = NOWHERE.rsplit('@').next().unwrap_or_default();
        match (self, system) {
            (Self::Beside, true) => format!("builtin://system/key-{number}@{version}"),
            (Self::Beside, false) => format!("builtin://key-{number}@{version}"),
            (Self::InAws, true) => format!("aws-sm://sealfleet/system/key-{number}#key"),
            (Self::InAws, false) => format!("aws-sm://sealfleet/bench/key-{number}#key"),
        }
    }
}

/// `POST /v1/cascade/resolve` with few and many profiles in the ledger: what enqueue and each start
/// do (the profiles by name, the merge, the look at the revocations), with nothing written.
///
/// # Errors
/// When a request is refused.
pub async fn resolution(figures: &mut Figures, world: &World, requests: usize) -> Outcome {
    let three = Identity::cascade(world, Backend::Beside, 3).await?;
    let four = Identity::cascade(world, Backend::Beside, 4).await?;
    let few = OF_WORLD + 3 + 4;
    let mut profiles = few;
    let mut first: Vec<(f64, f64)> = Vec::new();
    for total in [few, 1000, 10_000] {
        world.copy_profiles(profiles..total).await?;
        profiles = total;
        for (at, identity) in [&three, &four].into_iter().enumerate() {
            identity.bind(world).await?;
            for _ in 0..requests / 5 {
                let resolved = world.resolve("bench", &identity.profile).await?;
                ensure_eq!(
                    resolved["keys"].as_array().map_or(0, Vec::len),
                    SECRETS,
                    "the keys of {resolved}"
                );
            }
            let (mut latencies, before) = (Vec::new(), world.consumed());
            for _ in 0..requests {
                let begun = Instant::now();
                world.resolve("bench", &identity.profile).await?;
                latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
            }
            let reads = (world.consumed() - before).read_units / count(requests);
            let p50 = percentile(&latencies, 0.5);
            let name = format!("resolve, {}, of {total} profiles", identity.said);
            figures.add(format!("{name}: latency, in-memory tables, p50"), p50, "ms");
            figures.add(
                format!("{name}: latency, p99"),
                percentile(&latencies, 0.99),
                "ms",
            );
            figures.add(
                format!("{name}: read units, 2 of them for the token and the project"),
                reads,
                "RRU",
            );
            match first.get(at) {
                None => first.push((p50, reads)),
                Some((few_p50, few_reads)) if total == 10_000 => {
                    let name = format!("resolve, {}", identity.said);
                    figures.add_against(
                        format!("{name}: units at {total} profiles to units at {few}"),
                        reads / few_reads,
                        "times",
                        1.0,
                    );
                    figures.add_against(
                        format!("{name}: p50 at {total} profiles to p50 at {few}"),
                        p50 / few_p50,
                        "times",
                        1.5,
                    );
                }
                Some(_) => {}
            }
        }
    }
    world.bind(&json!({})).await
}
