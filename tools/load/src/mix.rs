//! The work: what runs look like, and what becomes of their steps.
//!
//! What becomes of a step is written in its command, `["work", MILLISECONDS, FATE]`, so a worker
//! needs to know nothing but its claim.

use sealfleet_test_fakes::random::Random;
use serde_json::{Value, json};

use crate::world::POOL;

/// The profile of most identity steps.
pub const KEPT: &str = "kept";
/// The profile whose key is revoked.
pub const REVOKED: &str = "revoked";

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Succeeds,
    Fails,
    /// Its worker dies in the first attempt.
    Dies,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Self::Succeeds => "succeeds",
            Self::Fails => "fails",
            Self::Dies => "dies",
        }
    }
}

/// What a command says: how many milliseconds it takes, and what becomes of it.
#[must_use]
pub fn command(claim: &Value) -> (u64, Fate) {
    let word = |at: usize| claim.get("command")?.get(at)?.as_str();
    let millis = word(1).and_then(|millis| millis.parse().ok());
    let fates = [Fate::Succeeds, Fate::Fails, Fate::Dies];
    let fate = fates.into_iter().find(|fate| Some(fate.name()) == word(2));
    (millis.unwrap_or(0), fate.unwrap_or(Fate::Succeeds))
}

/// The profiles of a project. Their references and knobs name it, so that they are known anywhere.
#[must_use]
pub fn profiles(project: &str) -> [Value; 2] {
    let version = "00000000-0000-7000-8000-000000000000";
    [KEPT, REVOKED].map(|name| {
        json!({
            "name": name,
            "env": { "OF": project },
            "secrets": {
                "API_KEY": format!("builtin://{project}-{name}@{version}"),
                "OTHER_KEY": format!("builtin://{project}-other@{version}"),
            },
        })
    })
}

/// A run of a project: one to 25 steps, most of them short, and some with secrets.
#[must_use]
pub fn run(random: &mut Random, project: &str, haste: u64, deaths: u64) -> Value {
    let steps = match random.below(100) {
        0..50 => 1,
        50..80 => 2 + random.below(4),
        80..95 => 6 + random.below(7),
        _ => 13 + random.below(13),
    };
    let profile = if random.chance(300) { REVOKED } else { KEPT };
    let identity = random.chance(500);
    let steps: Vec<Value> = (0..steps)
        .map(|at| step(random, at, identity, haste, deaths))
        .collect();
    let mut run = json!({ "workflow": format!("w-{project}"), "steps": steps });
    if let Some(run) = run.as_object_mut().filter(|_| identity) {
        run.insert("profile".to_owned(), json!(profile));
    }
    run
}

fn step(random: &mut Random, at: u64, identity: bool, haste: u64, deaths: u64) -> Value {
    let first = at.saturating_sub(6);
    let needs: Vec<String> = (first..at)
        .filter(|_| random.chance(300))
        .map(name)
        .collect();
    let millis = match random.below(100) {
        0..80 => 100 + random.below(1_400),
        80..98 => 2_000 + random.below(6_000),
        // Longer than a lease.
        _ => 35_000 + random.below(55_000),
    };
    let fate = if random.chance(deaths) {
        Fate::Dies
    } else if random.chance(20) {
        Fate::Fails
    } else {
        Fate::Succeeds
    };
    let mode = match random.below(10) {
        0..6 if identity => "identity",
        0..9 => "sandboxed",
        _ => "bare",
    };
    json!({
        "id": name(at), "pool": POOL, "mode": mode, "needs": needs,
        "command": ["work", (millis / haste).to_string(), fate.name()],
        "max_attempts": 1 + random.below(3), "ttl_seconds": 12 * 3600, "timeout_seconds": 600,
    })
}

fn name(at: u64) -> String {
    format!("s{at}")
}
