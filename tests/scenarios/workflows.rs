//! Registered workflows: what somebody else has approved, run by name with parameters.

use std::time::Duration;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::project::{PULL, named, run_of, step};
use sealfleet_test_stack::{Outcome, Project, Reply, Stack, ensure, ensure_eq};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);
const VERSIONS: &str = "/v1/workflows/echo/versions";

/// A workflow whose steps leave what they were given as their results.
fn definition(description: &str) -> Value {
    let at = "mkdir -p .sealfleet && cd .sealfleet";
    let leave = |id: &str, script: &str| {
        let command = json!(["sh", "-c", format!("{at} && {script}")]);
        step(id, &json!({ "mode": "sandboxed", "command": command }))
    };
    let text = json!({ "type": "object", "properties": { "text": { "type": "string" } } });
    let to = json!([{ "step": "file", "file": "in/ticket.json" }, { "step": "stdin", "stdin": true }, { "step": "env", "env": "PARAM_TICKET" }]);
    json!({
        "description": description,
        "parameters": { "ticket": { "schema": text, "to": to } },
        "steps": [
            leave("file", "cp ../in/ticket.json result.json"),
            leave("stdin", "cat > result.json"),
            leave("env", r#"printf %s "$PARAM_TICKET" > result.json"#),
        ],
    })
}

async fn register(project: &Project, description: &str) -> Outcome<Value> {
    let body = json!({ "name": "echo", "definition": definition(description) });
    project
        .member
        .post("/v1/workflows", &body)
        .await?
        .accepted()
}

async fn decide(project: &Project, version: u32, more: &Value) -> Outcome<Reply> {
    let path = format!("/v1/approvals/workflow:echo@{version}");
    let shown = project.admin.get(&path).await?.accepted()?;
    let mut body = json!({ "review_token": shown["review_token"] });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    project.admin.post(&format!("{path}/decision"), &body).await
}

/// 86. Register, deny (the old version stays live), approve by another, promote, enqueue by name
///     and parameters; own approval -> 403; a project that requires registered workflows refuses
///     free steps; a parameter cannot become a command.
pub async fn s86_callers_run_what_others_approved(stack: &Stack) -> Outcome {
    let project = stack.project("workflows").await?;
    let worker = project.live_worker(stack).await?;
    let rules = json!({ "require_registered_workflows": true });
    project
        .admin
        .put("/v1/governance", None, &rules)
        .await?
        .accepted()?;
    let free = run_of(&[step("only", &json!({ "pool": PULL }))]);
    let refused = project.member.post("/v1/runs", &free).await?;
    ensure_eq!(refused.status, 403, "free steps: {refused:?}");
    ensure_eq!(
        refused.body["code"],
        "registered_required",
        "why: {refused:?}"
    );

    register(&project, "one").await?;
    let approve = json!({ "decision": "approve" });
    decide(&project, 1, &approve).await?.accepted()?;
    register(&project, "two").await?;
    let deny = json!({ "decision": "deny", "reason": "not yet" });
    decide(&project, 2, &deny).await?.accepted()?;
    let own = json!({ "name": "own", "definition": definition("own") });
    project
        .admin
        .post("/v1/workflows", &own)
        .await?
        .accepted()?;
    let path = "/v1/approvals/workflow:own@1";
    let shown = project.admin.get(path).await?.accepted()?;
    let approval = json!({ "decision": "approve", "review_token": shown["review_token"] });
    let refused = project
        .admin
        .post(&format!("{path}/decision"), &approval)
        .await?;
    ensure_eq!(refused.status, 403, "an own approval: {refused:?}");

    let ticket = json!({ "text": "$(touch /workspace/x); `id` --help\n\"'" });
    let body = json!({ "version": 1, "parameters": { "ticket": ticket } });
    let runs = "/v1/workflows/echo/runs";
    let run = project
        .member
        .post_once(runs, "once", &body)
        .await?
        .accepted()?;
    let again = project
        .member
        .post_once(runs, "once", &body)
        .await?
        .accepted()?;
    ensure_eq!(run["run_id"], again["run_id"], "the same key");
    ensure_eq!(run["workflow_version"], 1, "the version that stayed live");
    let id = run["run_id"].as_str().unwrap_or_default();
    let ended = project.finished(id, SOON).await?;
    ensure!(
        ended.state == RunState::Succeeded,
        "{ended:?}; the worker says\n{}",
        worker.log()
    );
    for step in ["file", "stdin", "env"] {
        let result = project
            .member
            .client()
            .get_result(id.parse()?, &step.parse()?)
            .await?;
        ensure_eq!(
            result.result.as_ref(),
            Some(&ticket),
            "what `{step}` was given"
        );
    }
    let body = json!({ "parameters": { "ticket": ticket, "command": "sh" } });
    let refused = project.member.post(runs, &body).await?;
    ensure_eq!(refused.body["field"], "parameters.command", "{refused:?}");

    register(&project, "three").await?;
    decide(&project, 3, &approve).await?.accepted()?;
    let versions = project.viewer.list(VERSIONS).await?;
    let states: Vec<&Value> = versions.iter().map(|version| &version["state"]).collect();
    ensure_eq!(states, ["live", "denied", "superseded"], "newest first");
    let refused = project.member.post(runs, &json!({ "version": 1 })).await?;
    ensure_eq!(refused.body["code"], "not_live", "{refused:?}");

    let trail = project.trail_now().await?;
    for (event, times) in [
        ("governance.set", 1),
        ("workflow.registered", 4),
        ("workflow.promoted", 2),
        ("approval.requested", 4),
        ("approval.approved", 2),
        ("approval.denied", 1),
        ("run.denied", 1),
    ] {
        ensure_eq!(named(&trail, event).len(), times, "{event}");
    }
    Ok(())
}
