//! What callers of the API send: runs of one to four steps, some to be approved, profiles,
//! bindings, revocations.

use serde_json::{Value, json};

use crate::onboarding::{FILE, OTHER_FILE, secret_of};
use crate::random::Random;

/// The operators' profile.
pub const SYSTEM_PROFILE: &str = "base";
/// The secret that it names for Fargate pools.
pub const SYSTEM_SECRET: &str = "sealfleet/system/base";
/// What it names for pull pools.
const SYSTEM_FILE: &str = "builtin://system/base@00000000-0000-4000-8000-000000000001";

pub fn run(random: &mut Random, project: &str) -> Value {
    let fargate = random.chance(600);
    let steps = 1 + random.below(4);
    let steps: Vec<Value> = (0..steps)
        .map(|at| step(random, project, at, fargate))
        .collect();
    let profile = if fargate { "crm" } else { "files" };
    json!({ "workflow": "w", "profile": profile, "steps": steps })
}

/// The nth step of a run: it needs some of those before it.
fn step(random: &mut Random, project: &str, at: u64, fargate: bool) -> Value {
    let needs: Vec<String> = (0..at).filter(|_| random.chance(400)).map(name).collect();
    // The kind of pool decides which identity backend is in reach, and a run has one profile.
    let identity = random.chance(600);
    let own_kind = identity || random.chance(700);
    let fitting = if fargate { "cloud" } else { "local" };
    let tools = [fitting, fitting, fitting, "limited", "unknown"];
    let tool = random.pick(&tools).filter(|_| identity);
    json!({
        "id": name(at),
        "pool": if fargate == own_kind { "fargate" } else { "workers" },
        "mode": if identity { "identity" } else { "sandboxed" },
        "tool": tool.filter(|_| random.chance(850)),
        "command": ["true", project],
        "needs": needs,
        "approval": random.chance(150).then_some("required"),
        "on_drift": if random.chance(250) { "refuse" } else { "proceed" },
        "timeout_seconds": 20 + random.below(100),
        "max_attempts": 1 + random.below(3),
        "ttl_seconds": 100 + random.below(500),
    })
}

/// A run of a flood.
pub fn noise() -> Value {
    let step = json!({
        "id": "s0", "pool": "workers", "mode": "sandboxed", "command": ["true"], "max_attempts": 2, "ttl_seconds": 600,
    });
    json!({ "workflow": "noise", "steps": [step] })
}

/// What one of a project's profiles says anew: another knob, another address for its key, other
/// access lists, a tombstone for a key of the operators' profile.
pub fn profile(random: &mut Random, project: &str) -> (&'static str, Value) {
    let (name, one, other) = if random.chance(600) {
        let secret = secret_of(project);
        (
            "crm",
            format!("aws-sm://{secret}#api-key"),
            format!("aws-sm://{secret}#other-key"),
        )
    } else {
        ("files", FILE.to_owned(), OTHER_FILE.to_owned())
    };
    let secret = if random.chance(500) { one } else { other };
    let lists = [
        Value::Null,
        Value::Null,
        json!({ "cloud": ["*"], "local": ["API_KEY"], "limited": [] }),
        json!({ "cloud": ["API_KEY"], "local": ["*"] }),
    ];
    let removed: &[&str] = if random.chance(150) { &["SHARED"] } else { &[] };
    let body = json!({
        "env": { "KNOB": format!("{project}-{}", random.below(3)) },
        "secrets": { "API_KEY": secret },
        "remove": removed,
        "tools": random.pick(&lists),
    });
    (name, body)
}

/// The operators' profile: a key for each kind of pool, which access lists keep apart.
pub fn system_profile(number: u64, narrow: bool) -> Value {
    let key = if number.is_multiple_of(2) {
        "key"
    } else {
        "other"
    };
    let cloud: &[&str] = if narrow {
        &["API_KEY"]
    } else {
        &["API_KEY", "SHARED"]
    };
    json!({
        "env": { "PLACE": number.to_string() },
        "secrets": { "SHARED": format!("aws-sm://{SYSTEM_SECRET}#{key}"), "SHARED_FILE": SYSTEM_FILE },
        "tools": { "cloud": cloud, "local": ["API_KEY", "SHARED_FILE"], "limited": ["API_KEY"] },
    })
}

/// The profiles that a project binds.
pub fn bindings(system: bool) -> Value {
    if system {
        json!({ "system": SYSTEM_PROFILE })
    } else {
        json!({})
    }
}

/// A project's revocation of one or two keys of its cascades.
pub fn revocation(random: &mut Random) -> Value {
    let keys: &[(&str, &str)] = match random.below(4) {
        0 => &[("crm", "API_KEY")],
        1 => &[("files", "API_KEY")],
        2 => &[("system/base", "SHARED")],
        _ => &[("crm", "API_KEY"), ("files", "API_KEY")],
    };
    revoked(random, keys)
}

/// The operators' revocation of keys of their profile.
pub fn system_revocation(random: &mut Random) -> Value {
    let keys: &[(&str, &str)] = match random.below(3) {
        0 => &[("system/base", "SHARED")],
        1 => &[("system/base", "SHARED_FILE")],
        _ => &[("system/base", "SHARED"), ("system/base", "SHARED_FILE")],
    };
    revoked(random, keys)
}

fn revoked(random: &mut Random, keys: &[(&str, &str)]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(profile, key)| json!({ "profile": profile, "key": key }))
        .collect();
    json!({ "keys": keys, "hard": random.chance(700), "reason": "leaked" })
}

fn name(at: u64) -> String {
    format!("s{at}")
}
