//! Onboarding a project as an operator does: one command, which may be repeated.

use std::time::Duration;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::project::{FARGATE, PULL, run_of, step};
use sealfleet_test_stack::{Outcome, Project, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);

/// The project's stack is deployed and the project registered; again, nothing changes; then a run
/// works.
pub async fn a_project_is_onboarded_by_one_command(stack: &Stack) -> Outcome {
    let id = format!("deploy-{}", unique());
    let token = stack.scratch.join("operator.token");
    let token = token.to_string_lossy();
    stack.cli(&["token", "bootstrap", "--out", &token]).await?;
    let image = stack.parts.sandbox_image.as_str();
    let deploy = async |image: &str, more: &[&str]| {
        let command = [
            "--token-file",
            &token,
            "--output",
            "json",
            "project",
            "deploy",
            &id,
        ];
        let pools = [
            "--pull-pool",
            PULL,
            "--fargate-pool",
            FARGATE,
            "--image",
            image,
            "--label",
            "region=eu",
            "--model",
            "m",
        ];
        stack
            .cli(&[command.as_slice(), &pools, more].concat())
            .await
    };

    let first: Value =
        serde_json::from_str(&deploy(image, &["--queue-age-seconds", "600"]).await?)?;
    ensure_eq!(first["stack"]["change"], "created", "the stack, at first");
    ensure_eq!(
        first["registration"],
        "created",
        "the registration, at first"
    );
    ensure_eq!(first["project"]["project"], id.as_str(), "the project");
    let queue = first["stack"]["outputs"]["FargateQueueUrl"]
        .as_str()
        .unwrap_or_default();
    ensure!(
        queue.ends_with(&format!("/sealfleet-{id}--{FARGATE}")),
        "the queue's address is {queue}"
    );

    let again: Value = serde_json::from_str(&deploy(image, &[]).await?)?;
    ensure_eq!(
        again["stack"]["change"],
        "unchanged",
        "the stack, deployed again without the option that it was given"
    );
    ensure_eq!(
        again["registration"],
        "unchanged",
        "the registration, asked for again"
    );
    ensure_eq!(
        again["project"],
        first["project"],
        "the project, asked for again"
    );

    let changed: Value =
        serde_json::from_str(&deploy(image, &["--queue-age-seconds", "700"]).await?)?;
    ensure_eq!(
        changed["stack"]["change"],
        "updated",
        "the stack with another alarm"
    );

    let other = format!("sealfleet/other@sha256:{}", "0".repeat(64));
    for (image, more) in [
        (other.as_str(), ["--queue-age-seconds", "800"]),
        (image, ["--model", "another"]),
    ] {
        match deploy(image, &more).await {
            Ok(told) => ensure!(
                false,
                "a pool that is not the one that is there was taken: {told}"
            ),
            Err(refusal) => ensure!(
                refusal.to_string().contains("nothing was deployed"),
                "{refusal}"
            ),
        }
    }

    let project = Project::registered(stack, &id).await?;
    let run = project
        .enqueue(&run_of(&[step(
            "only",
            &json!({ "pool": FARGATE, "mode": "sandboxed" }),
        )]))
        .await?;
    ensure_eq!(
        project.finished(&run, SOON).await?.state,
        RunState::Succeeded,
        "a run of the project"
    );
    Ok(())
}
