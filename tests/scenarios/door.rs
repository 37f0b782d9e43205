//! Who comes in: tokens of an OIDC issuer, API tokens, and how often.

use std::time::Duration;

use sealfleet_test_issuer::github::TokenService;
use sealfleet_test_stack::project::{PULL, named};
use sealfleet_test_stack::{Failure, Outcome, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::clients::repository;

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

pub async fn an_oidc_caller_comes_in_by_its_claims(stack: &Stack) -> Outcome {
    let Some((issuer, key)) = &stack.issuer else {
        return Err(Failure::new(
            "this stack trusts no OIDC issuer of the tests: let them start their own",
        ));
    };
    let (project, other) = stack.pair("oidc").await?;
    let claims = |groups: &Value| {
        json!({
            "iss": issuer.url, "aud": "sealfleet", "sub": "ada/7", "iat": now(), "exp": now() + 600,
            "project": project.id, "groups": groups,
        })
    };
    let with = |name: &str, value: Value| {
        let mut claims = claims(&json!(["developers"]));
        claims[name] = value;
        stack.anonymous.with(&key.token(&claims))
    };
    let body = json!({ "workflow": "w", "steps": [{ "id": "a", "pool": "workers", "mode": "sandboxed", "command": ["true"] }] });

    let member = with("groups", json!(["developers", "staff"]))?;
    let run = member.post("/v1/runs", &body).await?.accepted()?;
    let host = issuer.url.trim_start_matches("http://");
    let enqueued = named(&project.trail().await?, "run.enqueued");
    ensure_eq!(enqueued.len(), 1, "the run is on record once");
    let entries = project.admin.list("/v1/audit").await?;
    let actor = format!("oidc:{host}/ada%2F7");
    ensure!(
        entries.iter().any(|entry| entry["actor"] == actor.as_str()),
        "no entry of {actor}: {entries:?}"
    );
    member.get("/v1/audit").await?.refused(403, "forbidden")?;
    let viewer = with("groups", json!("guests"))?;
    viewer
        .get(&format!(
            "/v1/runs/{}",
            run["run_id"].as_str().unwrap_or_default()
        ))
        .await?
        .accepted()?;
    viewer
        .post("/v1/runs", &body)
        .await?
        .refused(403, "forbidden")?;
    with("groups", json!(["admins"]))?
        .get("/v1/audit")
        .await?
        .accepted()?;
    // The other project is entered by the claim alone, and from this one it cannot be seen.
    ensure!(
        with("project", json!(other.id))?
            .list("/v1/runs")
            .await?
            .is_empty(),
        "another project's run is listed"
    );
    member
        .get(&format!("/v1/projects/{}", other.id))
        .await?
        .refused(404, "not_found")?;

    for (name, value, status) in [
        ("groups", json!(["staff"]), 403),
        ("groups", json!(["developers", "admins"]), 403),
        ("project", json!([project.id]), 403),
        ("project", json!("nobody-onboarded-this"), 403),
        ("aud", json!("another-api"), 401),
        ("iss", json!("https://login.example.com"), 401),
        ("exp", json!(now() - 60), 401),
        ("iat", json!(now() - 3 * 24 * 3600), 401),
    ] {
        let reply = with(name, value.clone())?.get("/v1/runs").await?;
        ensure_eq!(
            reply.status,
            status,
            "{name}={value}: {}",
            reply.is_problem()?
        );
    }
    let header = json!({ "alg": "none", "kid": key.kid });
    let unsigned = format!(
        "{}.",
        sealfleet_test_issuer::signed_part(&header, &claims(&json!(["admins"])))
    );
    stack
        .anonymous
        .with(&unsigned)?
        .get("/v1/runs")
        .await?
        .refused(401, "unauthenticated")?;
    let impostor = sealfleet_test_issuer::Key::es256(&key.kid)?;
    let forged = stack
        .anonymous
        .with(&impostor.token(&claims(&json!(["admins"]))))?;
    forged
        .get("/v1/runs")
        .await?
        .refused(401, "unauthenticated")?;
    // Not even an admin's claims open what operators and workers do.
    let admin = with("groups", json!(["admins"]))?;
    admin.get("/v1/projects").await?.refused(403, "forbidden")?;
    admin
        .post("/v1/queue-credentials", &json!({}))
        .await?
        .refused(401, "unauthenticated")?;
    Ok(())
}

/// The job of `examples/github-action` comes in by the token that GitHub gives it, asks for another
/// while it waits, and ends as its run ends. Its credentials are in no argument and no output.
pub async fn a_github_job_needs_no_stored_token(stack: &Stack) -> Outcome {
    let Some((issuer, key)) = &stack.issuer else {
        return Err(Failure::new(
            "this stack trusts no OIDC issuer of the tests: let them start their own",
        ));
    };
    let (project, _) = stack.pair("outputs").await?;
    let _worker = project.live_worker(stack).await?;
    let token = |group: &str| {
        key.token(&json!({
            "iss": issuer.url, "aud": "sealfleet", "sub": "repo:my-company/shop:ref:refs/heads/main",
            "iat": now(), "exp": now() + 600, "project": project.id, "groups": group,
        }))
    };
    let secret = format!("secret-of-the-job-{}", unique());
    let job = async |group: &str, script: &str| -> Outcome<(Option<i32>, String, usize)> {
        let place = stack.scratch.join(format!("job-{}", unique()));
        std::fs::create_dir(&place)?;
        let file = place.join("run.json");
        let step = json!({ "id": "a", "pool": PULL, "mode": "sandboxed", "command": ["sh", "-c", script] });
        let run = json!({ "workflow": "w", "steps": [step] });
        std::fs::write(&file, run.to_string())?;
        let service = TokenService::start(&secret, "sealfleet", token(group)).await?;
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", stack.binaries.display());
        let done = Command::new(repository().join("examples/github-action/run.sh"))
            .arg(&file)
            .env("PATH", path)
            .env("SEALFLEET_API_URL", &stack.parts.api_url)
            .env("SEALFLEET_AUDIENCE", "sealfleet")
            .env("SEALFLEET_RENEW_SECONDS", "2")
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", &service.url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &secret)
            .env("RUNNER_TEMP", &place)
            .env("GITHUB_RUN_ID", unique())
            .env("GITHUB_RUN_ATTEMPT", "1")
            .kill_on_drop(true)
            .output()
            .await?;
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(
            !said.contains(&secret) && !said.contains("eyJ"),
            "a credential is printed: {said}"
        );
        ensure!(
            !place.join("sealfleet-token").exists(),
            "the token is left behind"
        );
        Ok((done.status.code(), said, service.given()))
    };

    let (code, said, tokens) = job("developers", "sleep 5").await?;
    ensure!(
        code == Some(0) && said.contains("succeeded"),
        "{code:?}: {said}"
    );
    ensure!(tokens > 1, "one token for a job that waited: {said}");
    let (code, said, _) = job("developers", "exit 3").await?;
    ensure!(
        code == Some(1) && said.contains("failed"),
        "{code:?}: {said}"
    );
    let (code, said, _) = job("guests", "true").await?;
    ensure_eq!(code, Some(3), "a viewer enqueues nothing: {said}");
    Ok(())
}

pub async fn a_project_calls_as_often_as_it_may(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("often").await?;
    let limits = format!("/v1/projects/{}/limits", project.id);
    let narrow = json!({ "limits": { "requests_per_second": 1, "burst": 5 } });
    project
        .admin
        .put(&limits, None, &narrow)
        .await?
        .refused(403, "forbidden")?;
    other
        .admin
        .put(&limits, None, &narrow)
        .await?
        .refused(404, "not_found")?;
    let none = json!({ "limits": { "requests_per_second": 0, "burst": 5 } });
    stack
        .operator
        .put(&limits, None, &none)
        .await?
        .refused(400, "invalid_request")?;
    stack
        .operator
        .put(&limits, None, &narrow)
        .await?
        .accepted()?;

    // Each function has instances of its own; the limit is the project's.
    let mut answers = Vec::new();
    for turn in 0..20 {
        let path = if turn % 2 == 0 {
            "/v1/runs"
        } else {
            "/v1/workers"
        };
        answers.push(project.member.get(path).await?);
    }
    let refused: Vec<_> = answers.iter().filter(|reply| reply.status == 429).collect();
    ensure!(
        !refused.is_empty(),
        "twenty requests came in where five may"
    );
    ensure!(
        answers.iter().filter(|reply| reply.status == 200).count() >= 5,
        "the burst did not come in"
    );
    for reply in &refused {
        reply.refused(429, "rate_limited")?;
        let seconds: u64 = reply.retry_after.parse().unwrap_or_default();
        ensure!(
            (1..=5).contains(&seconds),
            "Retry-After is `{}`",
            reply.retry_after
        );
        ensure_eq!(
            reply.body["retry_after"],
            seconds,
            "the body says another time"
        );
    }
    other.member.get("/v1/runs").await?.accepted()?;
    // Cancel and revoke are never held up.
    let nothing = "run_0198c0de-0000-7000-8000-00000000000a";
    for _ in 0..10 {
        project
            .member
            .post(&format!("/v1/runs/{nothing}/cancel"), &json!({}))
            .await?
            .refused(404, "not_found")?;
        let revoke = json!({ "keys": [{ "profile": "none", "key": "NONE" }], "hard": false, "reason": "leaked" });
        project
            .admin
            .post("/v1/revocations", &revoke)
            .await?
            .refused(404, "not_found")?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    project.member.get("/v1/runs").await?.accepted()?;

    let shown = stack
        .operator
        .get(&format!("/v1/projects/{}", project.id))
        .await?
        .accepted()?;
    ensure_eq!(
        shown["limits"],
        json!({ "requests_per_second": 1, "burst": 5, "own": true }),
        "the limits shown"
    );
    let back = stack
        .operator
        .put(&limits, None, &json!({ "limits": null }))
        .await?
        .accepted()?;
    ensure_eq!(back["own"], false, "the default's");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..20 {
        project.member.get("/v1/runs").await?.accepted()?;
    }
    ensure_eq!(
        named(&project.trail().await?, "project.limits_set").len(),
        2,
        "both changes are on record"
    );
    Ok(())
}
