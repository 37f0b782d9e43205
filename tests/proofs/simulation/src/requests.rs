//! What callers of the API send: runs of one to four steps, profiles, revocations.

use serde_json::{Value, json};

use crate::onboarding::{FILE, OTHER_FILE, SECRET};
use crate::random::Random;

pub fn run(random: &mut Random) -> Value {
    let fargate = random.chance(600);
    let steps = 1 + random.below(4);
    let steps: Vec<Value> = (0..steps).map(|at| step(random, at, fargate)).collect();
    let profile = if fargate { "crm" } else { "files" };
    json!({ "workflow": "w", "profile": profile, "steps": steps })
}

/// The nth step of a run: it needs some of those before it.
fn step(random: &mut Random, at: u64, fargate: bool) -> Value {
    let needs: Vec<String> = (0..at).filter(|_| random.chance(400)).map(name).collect();
    // The kind of pool decides which identity backend is in reach, and a run has one profile.
    let identity = random.chance(600);
    let own_kind = identity || random.chance(700);
    json!({
        "id": name(at),
        "pool": if fargate == own_kind { "fargate" } else { "workers" },
        "mode": if identity { "identity" } else { "sandboxed" },
        "command": ["true"],
        "needs": needs,
        "on_drift": if random.chance(250) { "refuse" } else { "proceed" },
        "timeout_seconds": 20 + random.below(100),
        "max_attempts": 1 + random.below(3),
        "ttl_seconds": 100 + random.below(500),
    })
}

/// What one of the profiles says anew: another knob, or another address for its key.
pub fn profile(random: &mut Random) -> (&'static str, Value) {
    let (name, one, other) = if random.chance(600) {
        (
            "crm",
            format!("aws-sm://{SECRET}#api-key"),
            format!("aws-sm://{SECRET}#other-key"),
        )
    } else {
        ("files", FILE.to_owned(), OTHER_FILE.to_owned())
    };
    let secret = if random.chance(500) { one } else { other };
    (
        name,
        json!({ "env": { "KNOB": random.below(3).to_string() }, "secrets": { "API_KEY": secret } }),
    )
}

/// A revocation of one profile's key, or of both's.
pub fn revocation(random: &mut Random) -> Value {
    let profiles: &[&str] = match random.below(3) {
        0 => &["crm"],
        1 => &["files"],
        _ => &["crm", "files"],
    };
    let keys: Vec<Value> = profiles
        .iter()
        .map(|profile| json!({ "profile": profile, "key": "API_KEY" }))
        .collect();
    json!({ "keys": keys, "hard": random.chance(700), "reason": "leaked" })
}

fn name(at: u64) -> String {
    format!("s{at}")
}
