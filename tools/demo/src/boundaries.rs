//! Boundaries that a tenant's own, real credentials do not cross.

use std::time::Duration;

use sealfleet_client::all_pages;
use sealfleet_domain::run::RunState;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, named, step};
use sealfleet_test_stack::{Claimed, Outcome, Stack, ensure, ensure_eq, eventually, unique};
use serde_json::json;

use crate::board::Board;
use crate::tenant::{BESIDE, Tenant};
use crate::work::{SOON, Work};

/// Asks Secrets Manager for a secret, inside a sandbox.
const ASK: &str = include_str!("ask.py");

/// An enrolment key is bound to its project, pool and labels.
pub async fn enrolment(own: &Tenant, other: &Tenant) -> Outcome<String> {
    let before = other.project.census().await?;
    let (_, key) = own
        .project
        .enrolment_key(&json!({ "labels": { "region": "eu" }, "max_uses": 10 }))
        .await?;
    for wish in [
        json!({ "project": other.id() }),
        json!({ "pool": FARGATE }),
        json!({ "labels": { "region": "us" } }),
    ] {
        let answer = own
            .project
            .try_register(Some(&key), &format!("intruder-{}", unique()), &wish)
            .await?;
        ensure!(
            matches!(answer.status, 400 | 403),
            "a registration with {wish} was answered with {}",
            answer.status
        );
        answer.is_problem()?;
    }
    ensure_eq!(
        other.project.census().await?,
        before,
        "the rows of `{}`",
        other.id()
    );
    Ok("403, and no row in the other project".to_owned())
}

/// A profile holds references to its own project's secrets.
pub async fn profiles(own: &Tenant, other: &Tenant) -> Outcome<String> {
    for (secret, what) in [
        (other.aws_reference(), "a foreign reference"),
        ("sk-plain-value-0123456789".to_owned(), "a value"),
    ] {
        let body = json!({ "name": "sneaky", "secrets": { "API_KEY": secret } });
        let answer = own.project.admin.post("/v1/profiles", &body).await?;
        answer.refused(400, "invalid_request")?;
        ensure_eq!(
            answer.body["field"],
            "secrets.API_KEY",
            "the field that is refused for {what}"
        );
        ensure!(
            !String::from_utf8_lossy(&answer.bytes).contains("sk-plain-value"),
            "the answer repeats what was sent"
        );
    }
    Ok("400, naming the field and not repeating what was sent".to_owned())
}

/// Tries every boundary with a tenant's real credentials while its work is under way.
pub async fn tried(
    board: &mut Board,
    stack: &Stack,
    tenants: [&Tenant; 2],
    works: &[Work],
) -> Outcome {
    let ([healthcare, finance], [own, others]) = (tenants, works) else {
        return Ok(());
    };
    board
        .check(
            "a foreign run does not exist: a claim across tenants is refused by the API, and audited",
            across(healthcare, finance, others),
        )
        .await;
    board
        .check(
            "a claim cannot name its project",
            named_project(healthcare, finance, others),
        )
        .await;
    board
        .check(
            "a worker's queue credentials open its own queue, and IAM refuses the other tenant's",
            queues(stack, healthcare, finance),
        )
        .await;
    board
        .check(
            "a sandbox that asks Secrets Manager for the other tenant's secret is denied by IAM",
            secrets(stack, healthcare, finance),
        )
        .await;
    board
        .check(
            "a step that requires region=us is not given to a region=eu worker",
            labels(healthcare, own),
        )
        .await;
    board
        .check(
            "a stolen fence is refused: another worker of the tenant, and another tenant",
            stolen(healthcare, finance, own),
        )
        .await;
    board
        .check(
            "a tenant's admin cannot see, cancel or audit the other's run",
            seen(healthcare, finance, others),
        )
        .await;
    Ok(())
}

async fn across(thief: &Tenant, owner: &Tenant, theirs: &Work) -> Outcome<String> {
    let run = &theirs.elsewhere;
    let before = owner.project.run(run).await?;
    let refused = thief.worker.played.try_claim(run, "only").await?;
    refused.refused(404, "not_found")?;
    // The run is not the thief's, so its trail is not found by it.
    let mut noted = thief.project.trail().await?;
    noted.retain(|entry| entry["run_id"] == run.as_str());
    let noted = named(&noted, "claim.refused");
    ensure_eq!(
        noted.len(),
        1,
        "refused claims in the trail of `{}`: {noted:?}",
        thief.id()
    );
    ensure_eq!(
        owner.project.run(run).await?,
        before,
        "the run of `{}`",
        owner.id()
    );
    Ok(format!(
        "404 for the worker of `{}` that claims run {run} of `{}`",
        thief.id(),
        owner.id()
    ))
}

/// The step's key is built from the worker's own project. A request that names one is refused, and
/// if it were not, it would reach the other tenant's step.
async fn named_project(thief: &Tenant, owner: &Tenant, theirs: &Work) -> Outcome<String> {
    let body = json!({ "run_id": theirs.elsewhere, "step_id": "only", "project": owner.id() });
    let refused = thief.worker.played.caller.post("/v1/claims", &body).await?;
    refused.refused(400, "invalid_request")?;
    ensure_eq!(
        refused.body["field"],
        "project",
        "the field that is refused"
    );
    Ok("400: a claim has no field `project`".to_owned())
}

async fn queues(stack: &Stack, thief: &Tenant, owner: &Tenant) -> Outcome<String> {
    let keys = thief.worker.played.queue_keys().await?;
    keys.receive(&stack.aws, 0).await?;
    let foreign = [PULL, FARGATE].map(|pool| {
        keys.url.replace(
            &format!("sealfleet-{}--{PULL}", thief.id()),
            &format!("sealfleet-{}--{pool}", owner.id()),
        )
    });
    let own_fargate = keys
        .url
        .replace(&format!("--{PULL}"), &format!("--{FARGATE}"));
    for url in foreign.iter().chain([&own_fargate]) {
        ensure!(
            *url != keys.url,
            "the queue's URL is another than expected: {url}"
        );
        for (operation, more) in [
            ("ReceiveMessage", json!({ "VisibilityTimeout": 0 })),
            ("SendMessage", json!({ "MessageBody": "{}" })),
        ] {
            let body = merged(json!({ "QueueUrl": url }), &more);
            let answer = stack
                .aws
                .call_as(&keys.keys, Service::Sqs, operation, body)
                .await?;
            ensure!(
                answer.denied(),
                "{operation} on {url}: {} {}",
                answer.status,
                answer.body
            );
        }
    }
    Ok(format!(
        "AccessDenied on the queues of `{}`, and on the Fargate queue of `{}` itself",
        owner.id(),
        thief.id()
    ))
}

async fn secrets(stack: &Stack, thief: &Tenant, owner: &Tenant) -> Outcome<String> {
    let command = json!({
        "pool": FARGATE, "mode": "sandboxed", "command": ["/usr/bin/python3", "-c", ASK],
        "env": {
            "ENDPOINT": stack.parts.endpoint, "EXPECTED_ROLE": format!("sealfleet-{}--sandbox", thief.id()),
            "SECRET": format!("sealfleet/{}/crm", owner.id()),
        },
    });
    let run = thief
        .enqueue("curious", BESIDE, &[step("only", &command)])
        .await?;
    let ended = thief.project.finished(&run, SOON).await?;
    ensure_eq!(
        ended.state,
        RunState::Succeeded,
        "the sandbox that is to be denied: {ended:?}"
    );
    Ok(format!(
        "AccessDenied for the role sealfleet-{}--sandbox, from inside a sandbox",
        thief.id()
    ))
}

/// The real worker has asked by itself, since the queue told it of the step. So does one with its
/// credential.
async fn labels(tenant: &Tenant, work: &Work) -> Outcome<String> {
    let run = &work.elsewhere;
    eventually(
        "the worker to ask for the step and be refused",
        Duration::from_secs(20),
        async || {
            let state = tenant.project.state(run, "only").await?;
            ensure_eq!(
                state,
                "queued",
                "the state of the step that requires region=us"
            );
            let refused = named(&tenant.project.audit(run).await?, "claim.refused");
            Ok(refused
                .iter()
                .any(|event| event["code"] == "step_mismatch")
                .then_some(()))
        },
    )
    .await?;
    tenant
        .worker
        .played
        .try_claim(run, "only")
        .await?
        .refused(409, "step_mismatch")?;
    ensure_eq!(
        tenant.project.state(run, "only").await?,
        "queued",
        "the state of the step that requires region=us"
    );
    tenant.project.cancel(run).await?;
    Ok("409 step_mismatch, audited; it stayed queued until it was cancelled".to_owned())
}

async fn stolen(tenant: &Tenant, other: &Tenant, work: &Work) -> Outcome<String> {
    let run = &work.beside.run;
    let shown = tenant.project.step(run, "call").await?;
    let claimed = Claimed {
        run: run.clone(),
        step: "call".to_owned(),
        fence: shown.fence.number(),
    };
    let colleague = tenant.project.worker(&json!({})).await?;
    colleague
        .try_succeed(&claimed)
        .await?
        .refused(403, "not_holder")?;
    ensure!(
        !colleague.holds(&claimed).await?,
        "another worker's heartbeat keeps a stolen claim"
    );
    other
        .worker
        .played
        .try_succeed(&claimed)
        .await?
        .refused(404, "not_found")?;
    ensure_eq!(
        tenant.project.state(run, "call").await?,
        "running",
        "the state of the step"
    );
    let noted = named(&tenant.project.audit(run).await?, "report.refused");
    ensure!(
        noted.iter().any(|event| event["code"] == "not_holder"),
        "the trail does not tell of the stolen fence: {noted:?}"
    );
    // It was only played: it must not be one of the tenant's workers any longer.
    tenant
        .project
        .admin
        .client()
        .revoke_worker(colleague.id.parse()?)
        .await?;
    Ok(format!(
        "403 and 404 for fence {}, audited; the step runs on",
        claimed.fence
    ))
}

async fn seen(thief: &Tenant, owner: &Tenant, theirs: &Work) -> Outcome<String> {
    let run = &theirs.beside.run;
    let admin = &thief.project.admin;
    admin
        .get(&format!("/v1/runs/{run}"))
        .await?
        .refused(404, "not_found")?;
    admin
        .post(&format!("/v1/runs/{run}/cancel"), &json!({}))
        .await?
        .refused(404, "not_found")?;
    admin
        .get(&format!("/v1/audit?run={run}"))
        .await?
        .refused(404, "not_found")?;
    let runs = all_pages(async |page| admin.client().list_runs(None, page).await).await?;
    let foreign = runs
        .iter()
        .any(|shown| theirs.runs().contains(&shown.run_id.to_string().as_str()));
    ensure!(
        !foreign,
        "a run of `{}` is listed for `{}`",
        owner.id(),
        thief.id()
    );
    Ok("404, the same as for a run that was never there".to_owned())
}
