//! Steps that wait until somebody else approves them, by the operators' command line.

use std::path::PathBuf;
use std::time::Duration;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, PULL, run_of, step};
use sealfleet_test_stack::{Outcome, Project, Stack, canary, ensure, ensure_eq, private_file};
use serde_json::{Value, json};

use crate::seen::with_profile;

const SOON: Duration = Duration::from_secs(90);

/// What an admin of a project says to `sealfleet approval`, and the answer.
async fn approval(stack: &Stack, project: &Project, arguments: &[&str]) -> Outcome<Value> {
    let token = token_of(stack, project);
    let token = token.to_string_lossy();
    let who = ["--token-file", &token, "--output", "json", "approval"];
    let answer = stack.cli(&[&who, arguments].concat()).await?;
    Ok(serde_json::from_str(&answer)?)
}

fn token_of(stack: &Stack, project: &Project) -> PathBuf {
    stack.scratch.join(format!("{}.admin.token", project.id))
}

async fn approve(stack: &Stack, project: &Project, id: &str) -> Outcome<Value> {
    let shown = approval(stack, project, &["show", id]).await?;
    let token = shown["review_token"].as_str().unwrap_or_default();
    let arguments = ["approve", id, "--review-token", token];
    approval(stack, project, &arguments).await
}

fn id(run: &str) -> String {
    format!("step:{run}:only")
}

/// A run of one step that has to be approved, which waits.
async fn waiting(project: &Project, body: &Value) -> Outcome<String> {
    let run = project.enqueue(body).await?;
    let shown = project.step(&run, "only").await?;
    ensure_eq!(shown.state, "waiting", "the step of {run}");
    let diagnosis = shown.diagnosis.unwrap_or_default();
    ensure!(
        diagnosis.contains(&format!("sealfleet approval show {}", id(&run))),
        "it says what it waits for: {diagnosis}"
    );
    Ok(run)
}

/// 87. A step with `approval: required` waits, visible with its reason; approve, deny, time out;
///     hard revoke while it waits.
pub async fn s87_a_step_waits_until_somebody_else_approves_it(stack: &Stack) -> Outcome {
    let project = stack.project("approvals").await?;
    private_file(&token_of(stack, &project), project.admin.credential())?;
    let worker = project.live_worker(stack).await?;
    let needs = |more: &Value| {
        let mut only = step("only", &json!({ "approval": "required" }));
        for (name, value) in more.as_object().into_iter().flatten() {
            only[name] = value.clone();
        }
        only
    };
    let command = json!(["sh", "-c", "true"]);
    let on = |pool: &str| {
        let more = json!({ "pool": pool, "mode": "sandboxed", "command": command });
        run_of(&[needs(&more)])
    };

    // On a worker and on Fargate: nothing begins before the approval.
    let here = waiting(&project, &on(PULL)).await?;
    let there = waiting(&project, &on(FARGATE)).await?;
    let inbox = approval(stack, &project, &["list"]).await?;
    let listed = inbox["items"].as_array().or(inbox.as_array());
    let listed: Vec<&Value> = listed.into_iter().flatten().collect();
    for run in [&here, &there] {
        let is_own = |item: &&&Value| item["approval"] == json!(id(run));
        ensure!(
            listed.iter().any(|item| is_own(&item)),
            "in the inbox: {inbox}"
        );
        let begun = project.audit(run).await?;
        ensure!(
            !begun
                .iter()
                .any(|entry| entry.to_string().contains("step.leased")),
            "claimed before its approval: {begun:?}"
        );
    }
    ensure_eq!(
        project.live_tasks(stack, &there).await?,
        Vec::<String>::new(),
        "tasks before the approval"
    );
    for run in [&here, &there] {
        let decided = approve(stack, &project, &id(run)).await?;
        ensure_eq!(decided["state"], "approved", "{decided}");
        let ended = project.finished(run, SOON).await?;
        ensure!(
            ended.state == RunState::Succeeded,
            "{ended:?}; the worker says\n{}",
            worker.log()
        );
    }

    // Denied: its caller reads why.
    let denied = waiting(&project, &on(PULL)).await?;
    let arguments = ["deny", &id(&denied), "--reason", "not today"];
    approval(stack, &project, &arguments).await?;
    let ended = json!(project.finished(&denied, SOON).await?);
    let why = json!({ "kind": "approval_denied", "reason": "not today" });
    ensure_eq!(ended["steps"][0]["aborted"], why, "{ended}");

    // In time, or not at all: `sweep` ends it.
    let more = json!({ "pool": PULL, "mode": "sandboxed", "command": command, "ttl_seconds": 5 });
    let late = waiting(&project, &run_of(&[needs(&more)])).await?;
    let limit = Duration::from_secs(180);
    let ended = json!(project.finished(&late, limit).await?);
    let why = json!({ "kind": "approval_expired" });
    ensure_eq!(ended["steps"][0]["aborted"], why, "{ended}");

    // A hard revocation ends what waits.
    let stored = project
        .aws_secret(stack, "approvals", &canary::value())
        .await?;
    let content = secrets(&[("API_KEY", &stored.uri)]);
    project.admin.create_profile("approvals", &content).await?;
    let more = json!({ "pool": FARGATE, "mode": "identity", "command": command });
    let revoked = waiting(&project, &with_profile("approvals", &[needs(&more)])).await?;
    let keys = json!([{ "profile": "approvals", "key": "API_KEY" }]);
    let body = json!({ "keys": keys, "hard": true, "reason": "leaked" });
    project
        .admin
        .post("/v1/revocations", &body)
        .await?
        .accepted()?;
    let ended = json!(project.finished(&revoked, SOON).await?);
    ensure_eq!(ended["steps"][0]["aborted"]["kind"], "revoked", "{ended}");
    let shown = approval(stack, &project, &["show", &id(&revoked)]).await?;
    ensure_eq!(shown["state"], "cancelled", "{shown}");

    // Nobody approves what they have enqueued.
    let own = project
        .admin
        .post("/v1/runs", &on(PULL))
        .await?
        .accepted()?;
    let own = id(own["run_id"].as_str().unwrap_or_default());
    let shown = project.admin.get(&format!("/v1/approvals/{own}")).await?;
    let token = shown.accepted()?["review_token"].clone();
    let body = json!({ "decision": "approve", "review_token": token });
    let decide = format!("/v1/approvals/{own}/decision");
    let refused = project.admin.post(&decide, &body).await?;
    ensure_eq!(refused.status, 403, "an own approval: {refused:?}");
    ensure_eq!(refused.body["code"], "own_approval", "why: {refused:?}");
    Ok(())
}
