//! What OCSF 1.9 says of an event beyond 1.6: under whose authority it happened, and which AI agent
//! acted.
//!
//! A caller delegates to a run, the run to each claim of a step, and the claim to whoever holds a
//! token that names it. Each event carries the delegation that it happened under, which names its
//! parent. The caller is the actor of `run.enqueued`, which carries the run's delegation.
//!
//! Source: OCSF schema 1.9.0: profiles `ai_operation` and `record_integrity`, objects `delegation`,
//! `ai_agent`, `ai_model`, `application`.

use sealfleet_domain::RunId;
use sealfleet_domain::agent::Cli;
use sealfleet_domain::audit::{AuditEntry, Event, Text};
use serde_json::{Map, Value, json};

use super::Class;

/// Who issues delegations.
const ISSUER: &str = "sealfleet";

/// Adds to an event of 1.6 what 1.9 has for it.
pub(super) fn add(
    members: &mut Map<String, Value>,
    class: Class,
    entry: &AuditEntry,
    event: &Event,
) {
    let mut profiles = vec!["record_integrity"];
    // Findings do not have the profile of AI operations.
    if class != Class::DetectionFinding
        && let Some(delegation) = delegation(entry, event)
    {
        profiles.push("ai_operation");
        members.insert("delegation".to_owned(), delegation);
        if let Some(agent) = agent(entry, event) {
            members.insert("ai_agent".to_owned(), agent);
        }
    }
    // The successor of `app`, which 1.9 deprecates.
    if let Some(app) = members.get("app").cloned() {
        members.insert("application".to_owned(), app);
    }
    if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
        metadata.insert("profiles".to_owned(), json!(profiles));
    }
}

/// A claim of a step, as delegations and sessions name it.
fn claim(run_id: RunId, step_id: &str, fence: &Value) -> String {
    format!("{run_id}/{step_id}/{fence}")
}

/// The delegation that an event of a run happened under.
fn delegation(entry: &AuditEntry, event: &Event) -> Option<Value> {
    let run_id = entry.run_id?;
    let own = serde_json::to_value(event).ok()?;
    let of_claim = own
        .get("step_id")
        .and_then(Value::as_str)
        .zip(own.get("fence"));
    let Some((step_id, fence)) = of_claim else {
        return Some(json!({
            "uid": run_id, "issuer_uid": ISSUER, "created_time": run_id.made_at().millis(),
        }));
    };
    let claim = claim(run_id, step_id, fence);
    Some(match event {
        Event::IdentityTokenIssued {
            token_id,
            audience,
            expires_at,
            ..
        } => json!({
            "uid": token_id, "parent_uid": claim, "issuer_uid": ISSUER, "audience": audience,
            "created_time": entry.at.millis(), "expiration_time": expires_at.millis(),
        }),
        Event::SecretReleased { secrets, .. } => {
            let names: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
            json!({ "uid": claim, "parent_uid": run_id, "issuer_uid": ISSUER, "scopes": names })
        }
        _ => json!({ "uid": claim, "parent_uid": run_id, "issuer_uid": ISSUER }),
    })
}

/// The AI agent that a claim is for.
fn agent(entry: &AuditEntry, event: &Event) -> Option<Value> {
    let Event::StepLeased {
        step_id,
        fence,
        agent: Some(cli),
        model,
        ..
    } = event
    else {
        return None;
    };
    let mut agent = json!({
        "uid": cli, "name": cli, "type_id": 1, "type": "Native",
        "instance_uid": claim(entry.run_id?, step_id.as_str(), &json!(fence)),
    });
    if let (Some(model), Some(members)) = (model_of(*cli, model.as_ref()), agent.as_object_mut()) {
        members.insert("ai_model".to_owned(), model);
    }
    Some(agent)
}

/// A model, if its provider is known: the schema requires both.
fn model_of(cli: Cli, model: Option<&Text>) -> Option<Value> {
    let model = model?.as_str();
    let named = model.split_once('/').map(|(provider, _)| provider);
    let provider = named.or(cli.provider())?;
    Some(json!({ "name": model, "ai_provider": provider }))
}
