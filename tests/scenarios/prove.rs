//! `sealfleet prove` against this stack: what an operator runs against a deployed one.
//!
//! Here is shown that the program finds its way through a real deployment, that all that can be
//! tried there holds, that nothing is left, and that what cannot be tried is said. That it notices
//! a boundary that is gone is shown beside each check, in `cli/src/operator/prove`.

use std::process::Stdio;

use sealfleet_client::{PageQuery, all_pages};
use sealfleet_test_stack::aws::{Keys, Service};
use sealfleet_test_stack::{Outcome, Stack, ensure, ensure_eq, processes, unique};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::drill::user_with;

/// The emulator's simulator of IAM does not find roles with a path, so it denies everything, and it
/// asks for the permission to simulate on every resource: nothing is shown by it.
const UNTRIED: [&str; 3] = ["execution-role", "shared-roles", "control-plane-roles"];

/// All that can be tried holds, all that was made is gone, and the rest is told.
pub async fn a_deployed_stack_is_proved_by_one_command(stack: &Stack) -> Outcome {
    let token = stack.scratch.join(format!("prove-{}.token", unique()));
    let file = token.to_string_lossy();
    stack.cli(&["token", "bootstrap", "--out", &file]).await?;
    // Its rule makes one each hour.
    stack.digest().await?;

    let policy = include_str!("../../infra/deploy/prove.json").to_owned();
    let keys = user_with(stack, &[policy]).await?;

    let refused = prove(stack, &keys, &file, &[]).await?;
    ensure_eq!(
        refused.code,
        Some(2),
        "without `--yes` nothing is made: {}",
        refused.stderr
    );
    ensure!(
        refused.stderr.contains("It costs about $0.0"),
        "the cost is not told: {}",
        refused.stderr
    );

    let kept = stack.scratch.join(format!("prove-{}.json", unique()));
    let kept_name = kept.to_string_lossy();
    let mut options = vec!["--yes", "--report", &kept_name];
    options.extend(UNTRIED.iter().flat_map(|id| ["--accept-untried", id]));
    let proved = prove(stack, &keys, &file, &options).await?;
    let report: Value = serde_json::from_slice(&std::fs::read(&kept)?)?;
    let told = format!("{}\n{report:#}", proved.stderr);
    for check in report["checks"].as_array().into_iter().flatten() {
        let id = check["id"].as_str().unwrap_or_default();
        let expected = if UNTRIED.contains(&id) {
            "not_tried"
        } else {
            "held"
        };
        ensure_eq!(check["outcome"], expected, "`{id}`: {told}");
    }
    ensure_eq!(report["left"], json!([]), "what is left: {told}");
    ensure_eq!(report["verdict"], "held", "{told}");
    ensure_eq!(proved.code, Some(0), "{told}");
    ensure_eq!(
        report["emulator"],
        stack.parts.endpoint.as_str(),
        "the report must say that this is no AWS"
    );
    ensure!(
        proved.stdout.contains("this is NOT a proof about AWS"),
        "{}",
        proved.stdout
    );
    eprintln!("{}", proved.stdout);

    let projects = report["projects"].as_array().cloned().unwrap_or_default();
    ensure_eq!(projects.len(), 2, "projects: {projects:?}");
    for project in &projects {
        nothing_is_left(stack, project.as_str().unwrap_or_default()).await?;
    }
    let left = processes::with_argument("sealfleet-prove-");
    ensure!(left.is_empty(), "processes are left: {left:?}");
    let temporary = std::fs::read_dir(std::env::temp_dir())?;
    let left = temporary.flatten().filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("sealfleet-prove-")
    });
    ensure_eq!(left.count(), 0, "directories that are left");
    Ok(())
}

async fn nothing_is_left(stack: &Stack, project: &str) -> Outcome {
    let aws = &stack.aws;
    let queues = aws
        .call(
            Service::Sqs,
            "ListQueues",
            json!({ "QueueNamePrefix": format!("sealfleet-{project}--") }),
        )
        .await?;
    ensure!(
        queues["QueueUrls"].as_array().is_none_or(Vec::is_empty),
        "queues: {queues}"
    );
    let groups = aws
        .call(
            Service::Logs,
            "DescribeLogGroups",
            json!({ "logGroupNamePrefix": format!("/sealfleet/{project}") }),
        )
        .await?;
    ensure_eq!(groups["logGroups"], json!([]), "log groups");
    let secrets = aws
        .call(Service::SecretsManager, "ListSecrets", json!({}))
        .await?;
    ensure!(
        !secrets.to_string().contains(project),
        "a secret of {project} is left"
    );
    let id = project.parse()?;
    let operator = stack.operator.client();
    let tokens =
        all_pages(async |page: &PageQuery| operator.list_tokens(Some(&id), page).await).await?;
    ensure!(
        !tokens.is_empty() && tokens.iter().all(|token| token.revoked_at.is_some()),
        "tokens of {project}: {tokens:?}"
    );
    Ok(())
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

async fn prove(stack: &Stack, keys: &Keys, token: &str, options: &[&str]) -> Outcome<Ran> {
    let parts = &stack.parts;
    let output = Command::new(stack.binaries.join("sealfleet"))
        .args(["prove", "--image", &parts.sandbox_image])
        .args(options)
        .env("AWS_ENDPOINT_URL", &parts.endpoint)
        .env("AWS_ENDPOINT_URL_ECS", &parts.ecs_endpoint)
        .env("AWS_REGION", &parts.region)
        .env("AWS_ACCESS_KEY_ID", &keys.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key)
        .env("SEALFLEET_API_URL", &parts.api_url)
        .env("SEALFLEET_TOKEN_FILE", token)
        .stdin(Stdio::null())
        .output()
        .await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    })
}
