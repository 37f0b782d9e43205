//! The witness compares AWS's record of reads with the releases.
//!
//! The emulator has no CloudTrail, so its records are made here of what really was read: the
//! stand-in for ECS assumes the project's execution role under the task's id and asks for the
//! version in the task definition, as ECS does.

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::project::{FARGATE, step};
use sealfleet_test_stack::{Outcome, Project, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};

use crate::seen::{SOON, injected, tasks, with_profile};

const UNEXPLAINED: &str = "secret.read_unexplained";

/// 62. A secret value read that matches no run (from CloudTrail events) ->
///     `secret.read_unexplained`.
pub async fn s62_a_read_that_no_release_explains_is_told(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("witness").await?;
    let stored = project
        .aws_secret(stack, "s62", &format!("s62-{}", unique()))
        .await?;
    project.profile("s62", &stored.uri).await?;
    let only = step(
        "only",
        &json!({ "pool": FARGATE, "mode": "identity", "command": ["true"] }),
    );
    let run = project.enqueue(&with_profile("s62", &[only])).await?;
    ensure_eq!(
        project.finished(&run, SOON).await?.state,
        RunState::Succeeded,
        "the run that reads the secret"
    );

    let task = tasks(stack, &project, &run)
        .await?
        .into_iter()
        .next()
        .unwrap_or_default();
    let task = task["taskArn"]
        .as_str()
        .and_then(|arn| arn.rsplit('/').next())
        .unwrap_or_default()
        .to_owned();
    let value_from = injected(stack, &project, &run).await?["only"]["API_KEY"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let (arn, version) = (
        value_from
            .splitn(8, ':')
            .take(7)
            .collect::<Vec<_>>()
            .join(":"),
        stored.version.as_str(),
    );
    ensure!(
        value_from.ends_with(version),
        "what ECS was told to read: {value_from}"
    );
    let released = project.audit(&run).await?;
    let released = released
        .iter()
        .find(|entry| entry["events"].to_string().contains("secret.released"));
    let at = released
        .and_then(|entry| entry["at"].as_str())
        .and_then(|at| at.get(..19))
        .unwrap_or_default();
    let read = Read {
        at: format!("{at}Z"),
        arn,
        account: stored
            .arn
            .iter()
            .flat_map(|arn| arn.split(':').nth(4))
            .collect(),
    };

    // What ECS read for the task, told twice, as AWS may: a release explains it.
    let execution =
        |project: &Project| format!("assumed-role/sealfleet-{}--execution/{task}", project.id);
    let own = read.event(
        "own",
        &execution(&project),
        &json!({ "versionId": version }),
    );
    for _ in 0..2 {
        ensure_eq!(witness(stack, &own).await?, (1, 0), "the task's own read");
    }
    let failed = read.event("failed", "assumed-role/Admin/mallory", &json!({}));
    let mut denied = failed.clone();
    denied["detail"]["errorCode"] = json!("AccessDenied");
    ensure_eq!(
        witness(stack, &denied).await?,
        (0, 0),
        "a call that read nothing"
    );
    ensure_eq!(
        unexplained(&project).await?,
        Vec::<Value>::new(),
        "what is told of reads that are explained"
    );

    let rotated = project
        .rotate_aws_secret(stack, "s62", &format!("s62-{}", unique()))
        .await?;
    for (name, caller, more, why) in [
        (
            "person",
            "assumed-role/Admin/mallory".to_owned(),
            json!({}),
            "not_an_execution_role",
        ),
        (
            "other",
            execution(&other),
            json!({ "versionId": version }),
            "other_project",
        ),
        (
            "version",
            execution(&project),
            json!({ "versionId": rotated.version }),
            "not_released",
        ),
        (
            "current",
            execution(&project),
            json!({}),
            "version_not_pinned",
        ),
    ] {
        let before = unexplained(&project).await?.len();
        let event = read.event(name, &caller, &more);
        for _ in 0..2 {
            ensure_eq!(witness(stack, &event).await?, (0, 1), "the read `{name}`");
        }
        let told = unexplained(&project).await?;
        ensure_eq!(
            told.len(),
            before + 1,
            "entries of the read `{name}`, which is told twice"
        );
        let told = told
            .into_iter()
            .find(|event| event["cloudtrail_event_id"] == name)
            .unwrap_or_default();
        ensure_eq!(told["why"], why, "why `{name}` is not explained");
        ensure_eq!(
            told["secret"],
            format!("sealfleet/{}/s62", project.id),
            "the secret of `{name}`"
        );
        ensure!(
            told["by"].as_str().is_some_and(|by| by.ends_with(&caller)),
            "the reader of `{name}`: {told}"
        );
        ensure_eq!(
            told["version"],
            more["versionId"],
            "the version of `{name}`"
        );
    }
    ensure_eq!(
        unexplained(&other).await?,
        Vec::<Value>::new(),
        "what the other project's trail has of it"
    );

    // A record that cannot be read does not count as explained.
    let invoked = stack
        .aws
        .invoke(
            "sealfleet-witness",
            &json!({ "detail-type": "x", "source": "x", "detail": {} }),
        )
        .await?;
    ensure!(
        invoked.function_error.is_some(),
        "an event that is not one: {invoked:?}"
    );
    Ok(())
}

/// CloudTrail's record of a read of a secret.
pub struct Read {
    pub at: String,
    pub arn: String,
    pub account: String,
}

impl Read {
    pub fn event(&self, id: &str, caller: &str, more: &Value) -> Value {
        let mut asked = json!({ "secretId": self.arn });
        for (name, value) in more.as_object().into_iter().flatten() {
            asked[name] = value.clone();
        }
        let region = self.arn.split(':').nth(3);
        json!({
            "version": "0", "id": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.secretsmanager",
            "account": self.account, "time": self.at, "region": region, "resources": [],
            "detail": {
                "eventVersion": "1.09", "eventTime": self.at, "eventSource": "secretsmanager.amazonaws.com",
                "eventName": "GetSecretValue", "awsRegion": region, "eventID": id, "readOnly": true,
                "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": self.account,
                "requestParameters": asked, "responseElements": null,
                "userIdentity": {
                    "type": "AssumedRole", "arn": format!("arn:aws:sts::{}:{caller}", self.account), "accountId": self.account,
                },
            },
        })
    }
}

/// How many reads of an event are explained, and how many are not.
pub async fn witness(stack: &Stack, event: &Value) -> Outcome<(u64, u64)> {
    let invoked = stack.aws.invoke("sealfleet-witness", event).await?;
    ensure!(invoked.function_error.is_none(), "the witness: {invoked:?}");
    let count = |name: &str| invoked.payload[name].as_u64().unwrap_or_default();
    Ok((count("explained"), count("unexplained")))
}

async fn unexplained(project: &Project) -> Outcome<Vec<Value>> {
    project.admin.events(UNEXPLAINED).await
}
