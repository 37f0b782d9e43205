//! Why a step gets no secret: each trouble has a reason of its own, with the secret's name whole.

use std::time::Duration;

use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, merged, step};
use sealfleet_test_stack::{Failure, Outcome, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};

use crate::seen::with_profile;

const SOON: Duration = Duration::from_secs(60);

/// 69. Secret deleted, untagged, binary, JSON key missing, role denied, registry denied, endpoint
///     unreachable -> seven different reasons, names whole.
///
/// The last three are told by ECS's words alone: `events/observe` has them, and the tests of the
/// functions read them. Here are those that AWS Secrets Manager is asked about.
pub async fn s69_each_secret_that_is_not_there_has_its_own_reason(stack: &Stack) -> Outcome {
    let project = stack.project("reasons").await?;
    let tag = unique();
    // As long as a name may get in practice: a reason that is cut loses it.
    let name = |kind: &str| format!("sealfleet/{}/{kind}-{tag}-{}", project.id, "n".repeat(80));
    let call = async |operation: &str, body: Value| {
        let body = merged(json!({}), &body);
        stack
            .aws
            .call(Service::SecretsManager, operation, body)
            .await
    };
    let store = async |kind: &str, more: Value| -> Outcome<String> {
        let stored = name(kind);
        let tagged = json!([{ "Key": "sealfleet:project", "Value": project.id }]);
        let body = json!({ "Name": stored, "Tags": tagged });
        call("CreateSecret", merged(body, &more)).await?;
        Ok(stored)
    };
    let of_step = step("only", &json!({ "pool": FARGATE, "mode": "identity" }));
    let enqueue = async |kind: &str, uri: &str| {
        project
            .admin
            .create_profile(kind, &secrets(&[("API_KEY", uri)]))
            .await?;
        let body = with_profile(kind, std::slice::from_ref(&of_step));
        project.member.post("/v1/runs", &body).await
    };

    // What is known is refused at the door.
    let json_text = json!({ "SecretString": r#"{"key":"v"}"# });
    let deleted = store("deleted", json_text.clone()).await?;
    call(
        "DeleteSecret",
        json!({ "SecretId": deleted, "RecoveryWindowInDays": 7 }),
    )
    .await?;
    let others = json!([{ "Key": "sealfleet:project", "Value": "another" }]);
    let untagged = store(
        "untagged",
        merged(json_text.clone(), &json!({ "Tags": [] })),
    )
    .await?;
    let anothers = store("anothers", merged(json_text, &json!({ "Tags": others }))).await?;
    let never = name("never");
    let mut reasons = Vec::new();
    for (kind, secret, words) in [
        ("deleted", &deleted, "is to be deleted"),
        ("untagged", &untagged, "does not have the tag"),
        ("anothers", &anothers, "does not have the tag"),
        ("never", &never, "does not exist"),
    ] {
        let refused = enqueue(kind, &format!("aws-sm://{secret}#key")).await?;
        let detail = refused.refused(400, "invalid_request")?;
        ensure!(
            detail.contains(words) && detail.contains(secret.as_str()),
            "the reason of `{kind}`: {detail}"
        );
        reasons.push(words);
    }

    // What only a sandbox's start can tell ends the step, with its cause.
    let text = store("text", json!({ "SecretString": "plain text" })).await?;
    let keyless = store("keyless", json!({ "SecretString": r#"{"other":"v"}"# })).await?;
    for (kind, uri, cause) in [
        ("text", format!("aws-sm://{text}#key"), "secret_unreadable"),
        (
            "keyless",
            format!("aws-sm://{keyless}#key"),
            "secret_key_missing",
        ),
    ] {
        let run = enqueue(kind, &uri).await?.accepted()?;
        let run = run["run_id"].as_str().unwrap_or_default().to_owned();
        project.until(&run, "only", &["failed"], SOON).await?;
        let shown = project.member.get(&format!("/v1/runs/{run}")).await?;
        let failure = shown.body["steps"][0]["failure"].clone();
        ensure_eq!(failure["kind"], "secret_unavailable", "{failure}");
        ensure_eq!(failure["cause"], cause, "{failure}");
        let detail = failure["detail"].as_str().unwrap_or_default();
        ensure!(
            !detail.contains("'p'"),
            "a character of the secret: {detail}"
        );
        if kind == "keyless" {
            ensure!(detail.contains("json key key"), "{detail}");
        }
        reasons.push(cause);
    }

    // ECS leaves the variable of a binary secret empty; the sandbox does not start the command.
    let binary = store("binary", json!({ "SecretBinary": "AAEC" })).await?;
    let run = enqueue("binary", &format!("aws-sm://{binary}"))
        .await?
        .accepted()?;
    let run = run["run_id"].as_str().unwrap_or_default().to_owned();
    project.until(&run, "only", &["failed"], SOON).await?;
    let shown = project.member.get(&format!("/v1/runs/{run}")).await?;
    let failure = &shown.body["steps"][0]["failure"];
    ensure_eq!(failure["kind"], "secret_unavailable", "{failure}");
    let detail = failure["detail"].as_str().unwrap_or_default();
    ensure!(detail.contains("is empty"), "{detail}");
    // And the whole text of a secret is its value where the reference names no key.
    let whole = enqueue("whole", &format!("aws-sm://{text}"))
        .await?
        .accepted()?;
    let whole = whole["run_id"].as_str().unwrap_or_default().to_owned();
    project.until(&whole, "only", &["succeeded"], SOON).await?;
    reasons.sort_unstable();
    reasons.dedup();
    ensure_eq!(reasons.len(), 5, "different reasons: {reasons:?}");
    Ok::<(), Failure>(())
}
