//! Sealed: where a secret is, where it is not, and what happens when nobody can record that it is
//! used.

use std::time::Duration;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::aws::{Invoked, Service};
use sealfleet_test_stack::canary::{self, Kind, Needle, Report, Search, search_process};
use sealfleet_test_stack::identity::NOWHERE;
use sealfleet_test_stack::project::{FARGATE, PULL, is_over, merged, run_of, step};
use sealfleet_test_stack::{
    Caller, Failure, Outcome, Stack, ensure, ensure_eq, eventually, processes, sha256, unique,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);

/// 34. Canary value: in no list, run, log, audit row, queue, object, or process memory outside the
///     sandbox; in the sandbox it is there.
pub async fn s34_a_secret_is_in_the_sandbox_and_nowhere_else(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("canary").await?;
    let worker = project.live_worker(stack).await?;
    for pool in [PULL, FARGATE] {
        let value = canary::value();
        let needle = Needle::new(&value)?;
        let profile = format!("canary-{pool}");
        let reference = if pool == PULL {
            project
                .builtin_store(stack)
                .await?
                .put("canary", &value)
                .await?
                .pinned()
        } else {
            project.aws_secret(stack, "canary", &value).await?.uri
        };
        project.profile(&profile, &reference).await?;

        // The step says by a hash that it has the secret, and then waits with it in its
        // environment.
        let marker = processes::marker();
        let script =
            format!(r#"printf %s "$API_KEY" | sha256sum | cut -c 1-64; sleep {marker}; true"#);
        let steps = [step(
            "only",
            &json!({ "pool": pool, "mode": "identity", "command": ["sh", "-c", script] }),
        )];
        let run = project
            .enqueue(&merged(run_of(&steps), &json!({ "profile": profile })))
            .await?;
        let sleeping = eventually("the sandbox to run", SOON, async || {
            let found = processes::with_argument(&marker);
            Ok(found
                .into_iter()
                .find(|process| process.name == "sleep")
                .map(|process| process.pid))
        })
        .await;
        let sleeping =
            sleeping.map_err(|failure| Failure::new(format!("{failure}\n{}", worker.log())))?;
        project.until(&run, "only", &["running"], SOON).await?;

        let mut inside = Report::default();
        search_process(&needle, sleeping, &mut inside);
        ensure!(
            inside.found_in(Kind::Arguments),
            "the environment inside the sandbox does not hold the secret"
        );
        ensure!(
            inside.found_in(Kind::Memory),
            "the memory inside the sandbox does not hold the secret"
        );

        let search = Search {
            callers: vec![project.admin.clone(), other.admin.clone()],
            processes: worker.own_processes(),
            directories: vec![
                worker.directory.join("output"),
                stack.parts.directory.join("logs"),
                stack.parts.directory.join("fargate"),
            ],
        };
        if pool == PULL {
            search.proves_itself(stack).await?;
        }
        let report = search.run(stack, &needle).await?;
        report.ensure_clean("while it runs")?;

        // It ends by itself when its `sleep` does. The search keeps the stack so busy that the
        // lease may have run out: then another attempt sleeps.
        let ended = eventually("the end of the run", SOON, async || {
            let asleep = processes::with_argument(&marker);
            let asleep = asleep.iter().filter(|process| process.name == "sleep");
            asleep.for_each(|process| processes::kill(process.pid));
            let shown = project.run(&run).await?;
            Ok(is_over(&shown).then_some(shown))
        })
        .await?;
        ensure_eq!(
            ended.state,
            RunState::Succeeded,
            "the run with the secret: {ended:?}"
        );
        let said = if pool == PULL {
            in_files(&worker.directory.join("output").join(&run))?
        } else {
            project.logged(stack, 0.0).await?
        };
        ensure!(
            said.contains(&sha256(value.as_bytes())),
            "the step did not print the hash of the secret: {said}"
        );
        let report = search.run(stack, &needle).await?;
        report.ensure_clean("after it ran")?;
        let decrypted = project.events(&run, "secret.decrypted").await?;
        let attempts = ended.steps.first().map_or(0, |step| step.attempt);
        ensure_eq!(decrypted.len(), attempts as usize, "audited decryptions");
    }
    Ok(())
}

fn in_files(directory: &std::path::Path) -> Outcome<String> {
    let mut said = String::new();
    for entry in std::fs::read_dir(directory)? {
        said.push_str(&std::fs::read_to_string(entry?.path())?);
    }
    Ok(said)
}

/// 37. Ledger unreachable at enqueue or start -> refused, nothing started.
pub async fn s37_without_the_ledger_nothing_starts(stack: &Stack) -> Outcome {
    let project = stack.project("thirtyseven").await?;
    project.profile("crm", NOWHERE).await?;
    let tag = unique();
    let broken = |name: &str| format!("sealfleet-{name}-broken-{tag}");
    for name in ["enqueue", "claim", "report", "dispatch"] {
        // Nothing listens on port 1.
        let dead = [("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")];
        stack
            .aws
            .copy_function(&format!("sealfleet-{name}"), &broken(name), &dead)
            .await?;
    }
    let worker = project.worker(&json!({ "max_concurrent": 2 })).await?;
    let identity = json!({ "mode": "identity" });
    let run = project
        .enqueue(&merged(
            run_of(&[step("only", &identity)]),
            &json!({ "profile": "crm" }),
        ))
        .await?;
    let leased = project
        .enqueue(&merged(
            run_of(&[step("only", &identity)]),
            &json!({ "profile": "crm" }),
        ))
        .await?;
    let held = worker.claim(&leased, "only").await?;
    // No Fargate pool of this project has this label: its queue's message changes nothing, whoever
    // takes it.
    let unmatched =
        json!({ "pool": FARGATE, "mode": "sandboxed", "requires": { "region": "mars" } });
    let on_fargate = project.enqueue_step(&unmatched).await?;
    // The entries of the real `dispatch` about that message do not matter here.
    let trail = async || -> Outcome<Vec<Value>> {
        let mut trail = project.trail().await?;
        trail.retain(|entry| entry["run_id"] != on_fargate.as_str());
        Ok(trail)
    };
    let before = (
        project.census().await?,
        project.state(&run, "only").await?,
        trail().await?,
    );

    let body = merged(
        run_of(&[step("only", &identity)]),
        &json!({ "profile": "crm" }),
    );
    let claim = json!({ "run_id": run, "step_id": "only" });
    let start = held.with(&json!({ "sandbox": "s37" }));
    let refused = async {
        for (name, path, caller, body) in [
            ("enqueue", "/v1/runs", &project.member, &body),
            ("claim", "/v1/claims", &worker.caller, &claim),
            ("report", "/v1/starts", &worker.caller, &start),
        ] {
            let answer = stack
                .aws
                .invoke(&broken(name), &http_event(caller, path, body))
                .await?;
            unavailable(name, &answer)?;
        }
        let message = json!({ "run_id": on_fargate, "step_id": "only" }).to_string();
        let queue = format!("sealfleet-{}--{FARGATE}", project.id);
        let event = json!({ "Records": [{
            "messageId": "s37", "receiptHandle": "none", "body": message, "attributes": {}, "messageAttributes": {},
            "eventSource": "aws:sqs", "awsRegion": stack.parts.region,
            "eventSourceARN": format!("arn:aws:sqs:{}:{}:{queue}", stack.parts.region, stack.parts.account_id),
        }] });
        let dispatched = stack.aws.invoke(&broken("dispatch"), &event).await?;
        let given_back = dispatched.payload["batchItemFailures"][0]["itemIdentifier"] == "s37";
        ensure!(
            given_back || dispatched.function_error.is_some(),
            "dispatch took the message: {dispatched:?}"
        );
        let after = (
            project.census().await?,
            project.state(&run, "only").await?,
            trail().await?,
        );
        ensure_eq!(after, before, "the project after all was refused");
        ensure_eq!(
            project.state(&leased, "only").await?,
            "leased",
            "the step whose start was refused"
        );
        Ok(())
    };
    worker.while_held(&held, refused).await?;
    for name in ["enqueue", "claim", "report", "dispatch"] {
        stack.aws.delete_function(&broken(name)).await?;
    }

    for run in [&run, &leased] {
        ensure!(
            project.events(run, "secret.decrypted").await?.is_empty(),
            "a refused start is in the trail"
        );
    }
    ensure!(
        project.events(&run, "secret.released").await?.is_empty(),
        "a refused claim released a secret"
    );
    let tasks = stack
        .aws
        .call(
            Service::Ecs,
            "ListTasks",
            json!({ "cluster": stack.parts.cluster, "startedBy": format!("{}/{on_fargate}/only/1", project.id) }),
        )
        .await?;
    ensure_eq!(tasks["taskArns"], json!([]), "tasks that were started");
    Ok(())
}

fn unavailable(name: &str, answer: &Invoked) -> Outcome {
    ensure_eq!(
        answer.payload["statusCode"],
        503,
        "`{name}` without a ledger: {answer:?}"
    );
    let problem: Value = serde_json::from_str(&text(&answer.payload, "body")?)?;
    ensure_eq!(problem["code"], "unavailable", "the problem of `{name}`");
    Ok(())
}

/// A `POST` as API Gateway hands it to a function (payload format 2.0).
fn http_event(caller: &Caller, path: &str, body: &Value) -> Value {
    json!({
        "version": "2.0", "routeKey": format!("POST {path}"), "rawPath": path, "rawQueryString": "",
        "headers": { "authorization": format!("Bearer {}", caller.credential()), "content-type": "application/json" },
        "requestContext": {
            "accountId": "000000000000", "apiId": "tests", "domainName": "tests", "domainPrefix": "tests", "stage": "$default",
            "requestId": unique(), "routeKey": format!("POST {path}"), "time": "01/Jan/2026:00:00:00 +0000", "timeEpoch": 0,
            "http": { "method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "tests" },
        },
        "body": body.to_string(), "isBase64Encoded": false,
    })
}
