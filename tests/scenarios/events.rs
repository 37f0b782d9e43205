//! The events at the end of a run and of approvals, from the account's bus to a webhook.

use std::time::Duration;

use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::canary;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, PULL, run_of, step};
use sealfleet_test_stack::{Outcome, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::seen::with_profile;

const SOON: Duration = Duration::from_secs(90);
/// How long to wait for an event that must not come.
const QUIET: Duration = Duration::from_secs(5);

/// A call of the webhook: its key and its body.
type Call = (String, Value);

/// 74. The end of a run is an event on the bus, once, without a value; the webhook of
///     `examples/webhook` gets it.
///
/// The emulator's CloudFormation knows no API destination, so the parts of that template are made
/// one by one here, and over plain HTTP.
pub async fn s74_the_end_of_a_run_is_an_event(stack: &Stack) -> Outcome {
    let project = stack.project("events").await?;
    let (url, mut calls) = webhook().await?;
    rule(stack, &project.id, &["Run Ended"], &url).await?;

    // A run that succeeds on both kinds of pools, one that fails, and one that is cancelled.
    let value = canary::value();
    let stored = project.aws_secret(stack, "events", &value).await?;
    let content = secrets(&[("API_KEY", &stored.uri)]);
    project.admin.create_profile("events", &content).await?;
    let of = |script: &str| json!({ "pool": FARGATE, "mode": "identity", "command": ["sh", "-c", script] });
    let good = step("good", &of("echo $API_KEY"));
    let bad = step("bad", &of("echo $API_KEY >&2; exit 3"));
    let mut expected = Vec::new();
    for (steps, state) in [
        (vec![good.clone()], "succeeded"),
        (vec![good, bad], "failed"),
    ] {
        let run = project.enqueue(&with_profile("events", &steps)).await?;
        expected.push((run, state));
    }
    let waits = step(
        "waits",
        &json!({ "pool": PULL, "mode": "sandboxed", "command": ["true"] }),
    );
    let run = project.enqueue(&run_of(&[waits])).await?;
    project
        .member
        .post(&format!("/v1/runs/{run}/cancel"), &Value::Null)
        .await?;
    expected.push((run, "aborted"));

    let mut told = Vec::new();
    while told.len() < expected.len() {
        let (key, event) = tokio::time::timeout(SOON, calls.recv())
            .await?
            .ok_or("the webhook has ended")
            .map_err(sealfleet_test_stack::Failure::new)?;
        ensure_eq!(key, "webhook-key", "the key that the webhook expects");
        ensure!(
            !event.to_string().contains(&value),
            "a value is in the event"
        );
        told.push(event);
    }
    for (run, state) in &expected {
        let of_run = |event: &&Value| event["detail"]["run_id"] == json!(run);
        let events: Vec<&Value> = told.iter().filter(of_run).collect();
        ensure_eq!(events.len(), 1, "events of {run}: {told:?}");
        let event = events[0];
        ensure_eq!(event["source"], "sealfleet", "{event}");
        ensure_eq!(event["detail-type"], "Run Ended", "{event}");
        let detail = &event["detail"];
        ensure_eq!(detail["state"], *state, "{event}");
        ensure_eq!(detail["project"], project.id.as_str(), "{event}");
        let view = project.run(run).await?;
        ensure_eq!(
            detail["steps"].as_array().map(Vec::len),
            Some(view.steps.len()),
            "{event}"
        );
    }
    let failed = told
        .iter()
        .flat_map(|event| event["detail"]["steps"].as_array());
    let kinds: Vec<&Value> = failed
        .flatten()
        .filter_map(|step| step.get("failure"))
        .collect();
    ensure_eq!(kinds, [&json!("exit")], "kinds of failures");

    let more = tokio::time::timeout(QUIET, calls.recv()).await;
    ensure!(more.is_err(), "an end was told twice: {more:?}");
    Ok(())
}

/// 87. A request for approval, and what became of it, are events on the bus, without a reason.
pub async fn s87_a_request_for_approval_is_an_event(stack: &Stack) -> Outcome {
    let project = stack.project("asked").await?;
    let (url, mut calls) = webhook().await?;
    let kinds = ["Approval Requested", "Approval Decided"];
    rule(stack, &project.id, &kinds, &url).await?;
    let more =
        json!({ "pool": PULL, "mode": "sandboxed", "command": ["true"], "approval": "required" });
    let run = project.enqueue(&run_of(&[step("only", &more)])).await?;
    let id = format!("step:{run}:only");
    let mut told = async || -> Outcome<Value> {
        let call = tokio::time::timeout(SOON, calls.recv()).await?;
        let call = call.ok_or("the webhook has ended");
        Ok(call.map_err(sealfleet_test_stack::Failure::new)?.1)
    };
    let requested: Value = told().await?;
    ensure_eq!(
        requested["detail-type"],
        "Approval Requested",
        "{requested}"
    );
    ensure_eq!(requested["detail"]["approval"], json!(id), "{requested}");
    let deny = json!({ "decision": "deny", "reason": "words of theirs" });
    let path = format!("/v1/approvals/{id}/decision");
    project.admin.post(&path, &deny).await?.accepted()?;
    let decided: Value = told().await?;
    ensure_eq!(decided["detail-type"], "Approval Decided", "{decided}");
    ensure_eq!(decided["detail"]["state"], "denied", "{decided}");
    let of = |event: &Value| event["detail"]["request_id"].clone();
    ensure_eq!(of(&decided), of(&requested), "the request that both are of");
    ensure!(!decided.to_string().contains("theirs"), "{decided}");
    Ok(())
}

/// What `examples/webhook/template.yaml` makes, for one project.
async fn rule(stack: &Stack, project: &str, kinds: &[&str], url: &str) -> Outcome {
    let events =
        async |operation: &str, body: Value| stack.aws.call(Service::Events, operation, body).await;
    let name = format!("webhook-{}", unique());
    let key = json!({ "ApiKeyName": "X-Api-Key", "ApiKeyValue": "webhook-key" });
    let connection = events(
        "CreateConnection",
        json!({
            "Name": name, "AuthorizationType": "API_KEY",
            "AuthParameters": { "ApiKeyAuthParameters": key },
        }),
    )
    .await?;
    let destination = events(
        "CreateApiDestination",
        json!({
            "Name": name, "ConnectionArn": connection["ConnectionArn"], "HttpMethod": "POST",
            "InvocationEndpoint": url,
        }),
    )
    .await?;
    let pattern = json!({
        "source": ["sealfleet"], "detail-type": kinds, "detail": { "project": [{ "wildcard": project }] },
    });
    events(
        "PutRule",
        json!({ "Name": name, "EventPattern": pattern.to_string() }),
    )
    .await?;
    let role = format!("arn:aws:iam::{}:role/webhook", stack.parts.account_id);
    let target =
        json!({ "Id": "webhook", "Arn": destination["ApiDestinationArn"], "RoleArn": role });
    let put = events("PutTargets", json!({ "Rule": name, "Targets": [target] })).await?;
    ensure_eq!(put["FailedEntryCount"], 0, "{put}");
    Ok(())
}

/// A server on this host that takes calls.
async fn webhook() -> Outcome<(String, mpsc::UnboundedReceiver<Call>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/runs", listener.local_addr()?);
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                if let Ok(call) = taken(stream).await {
                    // Fails if the scenario has ended.
                    drop(sender.send(call));
                }
            });
        }
    });
    Ok((url, receiver))
}

async fn taken(mut stream: TcpStream) -> Outcome<Call> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let field = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.find_map(|(found, value)| {
                    found.eq_ignore_ascii_case(name).then(|| value.to_owned())
                })
            };
            let length: usize = field("content-length").unwrap_or_default().parse()?;
            if body.len() >= length {
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await?;
                return Ok((
                    field("x-api-key").unwrap_or_default(),
                    serde_json::from_str(body)?,
                ));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(sealfleet_test_stack::Failure::new("a call without an end"));
        }
    }
}
