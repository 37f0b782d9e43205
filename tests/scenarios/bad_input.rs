//! Bad input: each gets a 4xx that names the field and the remedy, and changes nothing.

use sealfleet_test_stack::project::{FARGATE, PULL, merged, run_of, step};
use sealfleet_test_stack::{Caller, Outcome, Project, Reply, Stack, ensure, ensure_eq};
use serde_json::{Value, json};

/// Whoever may do it at all.
#[derive(Clone, Copy)]
enum By {
    Operator,
    Admin,
    Member,
    Anyone,
    Worker,
}

/// A request, what makes it wrong, and the field that the answer must name.
type Wrong = (By, &'static str, Value, &'static str);

/// Each wrong body is refused with 400 and the name of the field; the right one beside it would
/// have been accepted.
pub async fn bodies_that_are_wrong_name_their_field(stack: &Stack) -> Outcome {
    let project = stack.project("bad-fields").await?;
    let worker = project.worker(&json!({})).await?;
    let before = (project.census().await?, project.trail().await?.len());
    let mut all = runs();
    all.extend(profiles());
    all.extend(cascades());
    all.extend(revocations());
    all.extend(enrolment());
    all.extend(projects());
    all.extend(work());
    let mut faults = Vec::new();
    for (by, path, body, field) in all {
        let answer = caller(stack, &project, &worker.caller, by)
            .post(path, &body)
            .await?;
        if let Err(failure) = names_its_field(&answer, field) {
            let shown: String = body.to_string().chars().take(200).collect();
            faults.push(format!("{path} {shown}\n  {failure}"));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    ensure_eq!(
        (project.census().await?, project.trail().await?.len()),
        before,
        "the project after it all"
    );
    Ok(())
}

fn names_its_field(answer: &Reply, field: &str) -> Outcome {
    let detail = answer.refused(400, "invalid_request")?;
    ensure!(
        answer.body["field"] == field,
        "the field is {}, not `{field}`: {detail}",
        answer.body["field"]
    );
    ensure!(detail.len() > 10, "it does not say what to do: {detail}");
    ensure!(
        !answer.body.to_string().contains("do-not-repeat"),
        "it repeats what was sent: {detail}"
    );
    Ok(())
}

fn caller<'a>(stack: &'a Stack, project: &'a Project, worker: &'a Caller, by: By) -> &'a Caller {
    match by {
        By::Operator => &stack.operator,
        By::Admin => &project.admin,
        By::Member => &project.member,
        By::Anyone => &stack.anonymous,
        By::Worker => worker,
    }
}

fn runs() -> Vec<Wrong> {
    const PATH: &str = "/v1/runs";
    let run = |body: Value, field: &'static str| (By::Member, PATH, body, field);
    let with = |more: Value, field: &'static str| run(run_of(&[step("only", &more)]), field);
    let many = |count: usize| {
        (0..count)
            .map(|n| (format!("K{n}"), json!("v")))
            .collect::<serde_json::Map<_, _>>()
    };
    let steps: Vec<Value> = (0..26)
        .map(|n| step(&format!("s{n}"), &json!({})))
        .collect();
    vec![
        run(json!({ "steps": [step("only", &json!({}))] }), "workflow"),
        run(json!({ "workflow": "tests" }), "steps"),
        run(json!({ "workflow": "tests", "steps": [] }), "steps"),
        run(
            json!({ "workflow": "tests", "steps": "do-not-repeat" }),
            "steps",
        ),
        run(
            json!({ "workflow": "Tests!", "steps": [step("only", &json!({}))] }),
            "workflow",
        ),
        run(
            merged(
                run_of(&[step("only", &json!({}))]),
                &json!({ "priority": 1 }),
            ),
            "priority",
        ),
        run(
            merged(
                run_of(&[step("only", &json!({}))]),
                &json!({ "secrets": { "API_KEY": "do-not-repeat" } }),
            ),
            "secrets",
        ),
        run(run_of(&steps), "steps"),
        run(
            run_of(&[step("only", &json!({})), step("only", &json!({}))]),
            "steps[1].id",
        ),
        run(
            run_of(&[step("a", &json!({ "needs": ["b"] }))]),
            "steps.a.needs",
        ),
        run(
            run_of(&[
                step("a", &json!({ "needs": ["b"] })),
                step("b", &json!({ "needs": ["a"] })),
            ]),
            "steps.a.needs",
        ),
        with(json!({ "id": "Only" }), "steps[0].id"),
        with(json!({ "comand": ["true"] }), "steps[0].comand"),
        with(json!({ "value": "do-not-repeat" }), "steps[0].value"),
        with(json!({ "pool": "no--pool" }), "steps[0].pool"),
        with(json!({ "pool": "absent" }), "steps[0].pool"),
        with(json!({ "mode": "full" }), "steps[0].mode"),
        with(json!({ "mode": "do-not-repeat" }), "steps[0].mode"),
        with(json!({ "pool": FARGATE, "mode": "bare" }), "steps[0].mode"),
        with(json!({ "mode": "identity" }), "profile"),
        with(json!({ "command": [] }), "steps[0].command"),
        with(json!({ "command": "true" }), "steps[0].command"),
        with(json!({ "command": vec!["x"; 65] }), "steps[0].command"),
        with(json!({ "command": ["x".repeat(9000)] }), "steps[0].command"),
        with(json!({ "command": ["tr\u{0}ue"] }), "steps[0].command"),
        with(
            json!({ "requires": { "sealfleet:pool": "x" } }),
            "steps[0].requires",
        ),
        with(json!({ "requires": { "region": "" } }), "steps[0].requires"),
        with(json!({ "model": "" }), "steps[0].model"),
        with(json!({ "model": "m".repeat(129) }), "steps[0].model"),
        with(json!({ "env": { "1A": "v" } }), "steps[0].env.1A"),
        with(
            json!({ "env": { "AWS_SECRET_ACCESS_KEY": "do-not-repeat" } }),
            "steps[0].env.AWS_SECRET_ACCESS_KEY",
        ),
        with(
            json!({ "env": { "LD_PRELOAD": "do-not-repeat" } }),
            "steps[0].env.LD_PRELOAD",
        ),
        with(
            json!({ "env": { "A": "v".repeat(1025) } }),
            "steps[0].env.A",
        ),
        with(json!({ "env": many(51) }), "steps[0].env"),
        with(json!({ "timeout_seconds": 0 }), "steps[0].timeout_seconds"),
        with(
            json!({ "timeout_seconds": 12 * 3600 + 1 }),
            "steps[0].timeout_seconds",
        ),
        with(json!({ "timeout_seconds": -1 }), "steps[0].timeout_seconds"),
        with(
            json!({ "timeout_seconds": 1.5 }),
            "steps[0].timeout_seconds",
        ),
        with(json!({ "max_attempts": 0 }), "steps[0].max_attempts"),
        with(json!({ "max_attempts": 11 }), "steps[0].max_attempts"),
        with(json!({ "ttl_seconds": 0 }), "steps[0].ttl_seconds"),
        with(
            json!({ "ttl_seconds": 14 * 24 * 3600 + 1 }),
            "steps[0].ttl_seconds",
        ),
    ]
}

fn profiles() -> Vec<Wrong> {
    let profile = |body: Value, field: &'static str| (By::Admin, "/v1/profiles", body, field);
    let secret = |uri: &str| json!({ "name": "bad", "secrets": { "API_KEY": uri } });
    vec![
        profile(json!({}), "name"),
        profile(json!({ "name": "Bad" }), "name"),
        profile(json!({ "name": "b".repeat(49) }), "name"),
        profile(
            json!({ "name": "bad", "values": { "API_KEY": "do-not-repeat" } }),
            "values",
        ),
        profile(secret("do-not-repeat"), "secrets.API_KEY"),
        profile(secret("ftp://do-not-repeat"), "secrets.API_KEY"),
        profile(secret("aws-sm://no-key"), "secrets.API_KEY"),
        profile(
            secret("aws-sm://sealfleet/somebody-else/crm#key"),
            "secrets.API_KEY",
        ),
        profile(secret("builtin://../up"), "secrets.API_KEY"),
        profile(secret("builtin://not-pinned"), "secrets.API_KEY"),
        profile(secret("builtin://system/not-ours@1"), "secrets.API_KEY"),
        profile(
            json!({ "name": "bad", "secrets": { "PATH": "builtin://x@1" } }),
            "secrets.PATH",
        ),
        profile(
            json!({ "name": "bad", "env": { "A": "1" }, "secrets": { "A": "builtin://x@1" } }),
            "secrets.A",
        ),
        profile(
            json!({ "name": "bad", "env": { "A": "1" }, "remove": ["A"] }),
            "remove.A",
        ),
        profile(
            json!({ "name": "bad", "tools": { "claude": ["not a key"] } }),
            "tools.claude.not a key",
        ),
        profile(
            json!({ "name": "bad", "env": { "SEALFLEET_RUN": "x" } }),
            "env.SEALFLEET_RUN",
        ),
        profile(
            json!({ "name": "bad", "allowed_workflows": ["No!"] }),
            "allowed_workflows[0]",
        ),
    ]
}

fn cascades() -> Vec<Wrong> {
    let resolve =
        |body: Value, field: &'static str| (By::Admin, "/v1/cascade/resolve", body, field);
    let overrides = |overrides: Value, field: &'static str| {
        let body = json!({ "workflow": "tests", "profile": "absent", "overrides": overrides });
        let steps = json!({ "steps": [step("only", &json!({ "mode": "identity" }))] });
        [
            resolve(body.clone(), field),
            (By::Member, "/v1/runs", merged(body, &steps), field),
        ]
    };
    let with = |more: Value, field: &'static str| {
        (
            By::Member,
            "/v1/runs",
            run_of(&[step("only", &more)]),
            field,
        )
    };
    let mut all = vec![
        resolve(json!({}), "workflow"),
        resolve(json!({ "workflow": "No!" }), "workflow"),
        resolve(json!({ "workflow": "tests", "profile": "No!" }), "profile"),
        resolve(json!({ "workflow": "tests", "tool": "No!" }), "tool"),
        resolve(
            json!({ "workflow": "tests", "secrets": { "A": "do-not-repeat" } }),
            "secrets",
        ),
        with(json!({ "tool": "No!" }), "steps[0].tool"),
        with(json!({ "on_drift": "do-not-repeat" }), "steps[0].on_drift"),
        (
            By::Member,
            "/v1/runs",
            merged(
                run_of(&[step("only", &json!({}))]),
                &json!({ "overrides": { "env": { "A": "do-not-repeat" } } }),
            ),
            "overrides",
        ),
    ];
    all.extend(overrides(
        json!({ "env": { "PATH": "do-not-repeat" } }),
        "overrides.env.PATH",
    ));
    all.extend(overrides(
        json!({ "env": { "A": "v".repeat(1025) } }),
        "overrides.env.A",
    ));
    all.extend(overrides(
        json!({ "env": { "A": "do-not-repeat" }, "remove": ["A"] }),
        "overrides.remove.A",
    ));
    all.extend(overrides(
        json!({ "remove": ["not a key"] }),
        "overrides.remove.not a key",
    ));
    all.extend(overrides(
        json!({ "secrets": { "A": "do-not-repeat" } }),
        "overrides.secrets",
    ));
    all
}

fn revocations() -> Vec<Wrong> {
    let key = json!({ "profile": "absent", "key": "API_KEY" });
    let right = json!({ "keys": [key], "reason": "a test" });
    let mut all = Vec::new();
    for path in ["/v1/revocations", "/v1/revocations:preview"] {
        let revoke = |body: Value, field: &'static str| (By::Admin, path, body, field);
        let with = |more: Value, field: &'static str| revoke(merged(right.clone(), &more), field);
        let many: Vec<Value> = (0..41)
            .map(|n| json!({ "profile": "absent", "key": format!("K{n}") }))
            .collect();
        all.extend([
            revoke(json!({}), "keys"),
            with(json!({ "keys": [] }), "keys"),
            with(json!({ "keys": many }), "keys"),
            with(json!({ "keys": [key, key] }), "keys"),
            with(
                json!({ "keys": [{ "profile": "No!", "key": "A" }] }),
                "keys[0].profile",
            ),
            with(json!({ "keys": [{ "profile": "absent" }] }), "keys[0].key"),
            with(
                json!({ "keys": [{ "profile": "absent", "key": "A", "value": "do-not-repeat" }] }),
                "keys[0].value",
            ),
            with(json!({ "hard": "do-not-repeat" }), "hard"),
            with(json!({ "until": "tomorrow" }), "until"),
        ]);
    }
    // A preview needs no reason, and ignores one.
    let revoke = |body: Value| (By::Admin, "/v1/revocations", body, "reason");
    all.push(revoke(json!({ "keys": [key] })));
    for reason in ["", "  ", &"r".repeat(257), "two\nlines"] {
        let reason = json!({ "reason": reason });
        all.push(revoke(merged(right.clone(), &reason)));
    }
    all
}

fn enrolment() -> Vec<Wrong> {
    let key = |body: Value, field: &'static str| (By::Admin, "/v1/enrolment-keys", body, field);
    let token = |body: Value, field: &'static str| (By::Admin, "/v1/tokens", body, field);
    let register = |more: Value, field: &'static str| {
        let body = json!({ "project": "bad", "name": "bad", "pool": PULL, "modes": ["bare"] });
        (
            By::Anyone,
            "/v1/workers/register",
            merged(body, &more),
            field,
        )
    };
    let models: Vec<String> = (0..33).map(|n| format!("m{n}")).collect();
    vec![
        key(json!({}), "pool"),
        key(json!({ "pool": "absent" }), "pool"),
        key(json!({ "pool": PULL, "max_uses": 0 }), "max_uses"),
        key(
            json!({ "pool": PULL, "expires_in_seconds": 0 }),
            "expires_in_seconds",
        ),
        key(
            json!({ "pool": PULL, "expires_in_seconds": 91 * 24 * 3600 }),
            "expires_in_seconds",
        ),
        key(
            json!({ "pool": PULL, "labels": { "sealfleet:x": "y" } }),
            "labels",
        ),
        key(json!({ "pool": PULL, "models": models }), "models"),
        key(json!({ "pool": PULL, "uses": 7 }), "uses"),
        token(json!({}), "role"),
        token(json!({ "role": "root" }), "role"),
        token(json!({ "role": "operator" }), "role"),
        token(
            json!({ "role": "viewer", "expires_in_seconds": 0 }),
            "expires_in_seconds",
        ),
        token(
            json!({ "role": "viewer", "expires_in_seconds": 366 * 24 * 3600 + 1 }),
            "expires_in_seconds",
        ),
        token(json!({ "role": "viewer", "note": "n".repeat(65) }), "note"),
        register(json!({ "project": "Bad" }), "project"),
        register(json!({ "name": "" }), "name"),
        register(json!({ "name": "n".repeat(65) }), "name"),
        register(json!({ "modes": [] }), "modes"),
        register(json!({ "modes": ["full"] }), "modes[0]"),
        register(json!({ "max_concurrent": 0 }), "max_concurrent"),
        register(json!({ "max_concurrent": 1001 }), "max_concurrent"),
        register(json!({ "labels": { "Sealfleet:x": "y" } }), "labels"),
        register(json!({ "models": [""] }), "models"),
        register(json!({ "status": "approved" }), "status"),
        register(json!({ "secret": "do-not-repeat" }), "secret"),
    ]
}

fn projects() -> Vec<Wrong> {
    let project = |body: Value, field: &'static str| (By::Operator, "/v1/projects", body, field);
    let pool = |more: Value| {
        let pool =
            json!({ "kind": "fargate", "image": format!("sandbox@sha256:{}", "0".repeat(64)) });
        json!({ "project": "bad-one", "pools": { "main": merged(pool, &more) } })
    };
    vec![
        project(
            json!({ "pools": { "main": { "kind": "pull" } } }),
            "project",
        ),
        project(
            json!({ "project": "bad--one", "pools": { "main": { "kind": "pull" } } }),
            "project",
        ),
        project(
            json!({ "project": "~system", "pools": { "main": { "kind": "pull" } } }),
            "project",
        ),
        project(json!({ "project": "bad-one" }), "pools"),
        project(json!({ "project": "bad-one", "pools": {} }), "pools"),
        project(
            pool(json!({ "image": "sandbox:latest" })),
            "pools.main.image",
        ),
        project(
            pool(json!({ "max_concurrent": 0 })),
            "pools.main.max_concurrent",
        ),
        project(
            pool(json!({ "labels": { "sealfleet:x": "y" } })),
            "pools.main.labels",
        ),
    ]
}

fn work() -> Vec<Wrong> {
    let run = "run_0198c0de-0000-7000-8000-00000000000a";
    let lease = json!({ "run_id": run, "step_id": "only", "fence": 1 });
    let work =
        |path: &'static str, body: Value, field: &'static str| (By::Worker, path, body, field);
    let report =
        |more: Value, field: &'static str| work("/v1/reports", merged(lease.clone(), &more), field);
    vec![
        work("/v1/claims", json!({ "step_id": "only" }), "run_id"),
        work(
            "/v1/claims",
            json!({ "run_id": "run_x", "step_id": "only" }),
            "run_id",
        ),
        work(
            "/v1/claims",
            json!({ "run_id": run, "step_id": "No!" }),
            "step_id",
        ),
        work(
            "/v1/claims",
            json!({ "run_id": run, "step_id": "only", "project": "bad" }),
            "project",
        ),
        work(
            "/v1/heartbeats",
            json!({ "leases": [{ "run_id": run, "step_id": "only" }] }),
            "leases[0].fence",
        ),
        work("/v1/heartbeats", json!({ "leases": {} }), "leases"),
        work(
            "/v1/starts",
            merged(lease.clone(), &json!({ "sandbox": 1 })),
            "sandbox",
        ),
        report(json!({}), "state"),
        report(json!({ "state": "done" }), "state"),
        report(json!({ "state": "failed" }), "failure"),
        report(
            json!({ "state": "succeeded", "failure": { "kind": "exit", "code": 1 } }),
            "failure",
        ),
        report(
            json!({ "state": "failed", "failure": { "kind": "do-not-repeat" } }),
            "failure.kind",
        ),
        report(json!({ "state": "succeeded", "fence": -1 }), "fence"),
        report(
            json!({ "state": "succeeded", "output": "do-not-repeat" }),
            "output",
        ),
    ]
}

/// What is no JSON, no object, or too much of it.
pub async fn bodies_that_are_no_request(stack: &Stack) -> Outcome {
    let project = stack.project("bad-bodies").await?;
    let runs_before = project.runs().await?.len();
    let good = run_of(&[step("only", &json!({}))]).to_string();
    let wrong: [(&str, Vec<u8>); 9] = [
        ("nothing", Vec::new()),
        ("a list", b"[]".to_vec()),
        ("a number", b"7".to_vec()),
        (
            "half an object",
            good.as_bytes()
                .iter()
                .take(good.len() / 2)
                .copied()
                .collect(),
        ),
        ("two objects", format!("{good}{good}").into_bytes()),
        ("bytes that are no text", vec![0xff, 0xfe, 0x00, 0x7b]),
        ("a form", b"workflow=tests".to_vec()),
        (
            "deep nesting",
            [b"[".repeat(20_000), b"]".repeat(20_000)].concat(),
        ),
        (
            "a name twice",
            good.replacen('{', r#"{"workflow":"other","#, 1)
                .into_bytes(),
        ),
    ];
    for (what, body) in wrong {
        let answer = project.member.post_bytes("/v1/runs", body, &[]).await?;
        ensure_eq!(answer.status, 400, "{what}: {}", answer.body);
        answer.is_problem()?;
    }
    let huge = merged(
        run_of(&[step("only", &json!({}))]),
        &json!({ "workflow": "w".repeat(70 * 1024) }),
    );
    project
        .member
        .post("/v1/runs", &huge)
        .await?
        .refused(413, "body_too_large")?;
    let key = "k".repeat(129);
    for key in ["", key.as_str(), "not all\tprintable"] {
        let answer = project
            .member
            .post_once("/v1/runs", key, &run_of(&[step("only", &json!({}))]))
            .await?;
        ensure_eq!(
            answer.status,
            400,
            "the idempotency key `{key}`: {}",
            answer.body
        );
        answer.is_problem()?;
    }
    ensure_eq!(
        project.runs().await?.len(),
        runs_before,
        "runs after it all"
    );
    Ok(())
}

/// Unknown or unusable query parameters, cursors of other lists and of other projects, and ids that
/// are none.
pub async fn queries_and_paths_that_are_wrong(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("bad-queries").await?;
    for (query, field) in [
        ("/v1/runs?limit=0", "limit"),
        ("/v1/runs?limit=101", "limit"),
        ("/v1/runs?limit=x", "limit"),
        ("/v1/runs?cursor=x", "cursor"),
        ("/v1/runs?project=other", "project"),
        ("/v1/audit?from=yesterday", "from"),
        ("/v1/audit?run_id=x", "run_id"),
        ("/v1/audit?color=red", "color"),
        ("/v1/profiles?x=y", "x"),
        ("/v1/profiles/p/versions?limit=0", "limit"),
        ("/v1/profiles/p/versions?state=active", "state"),
        ("/v1/revocations?state=gone", "state"),
        ("/v1/revocations?limit=101", "limit"),
        ("/v1/revocations?cursor=x", "cursor"),
        ("/v1/revocations?profile=p", "profile"),
    ] {
        let answer = project.admin.get(query).await?;
        ensure_eq!(answer.status, 400, "{query}: {}", answer.body);
        answer.is_problem()?;
        ensure_eq!(answer.body["field"], field, "the field of {query}");
    }
    for _ in 0..2 {
        project.enqueue_step(&json!({ "pool": "gpu" })).await?;
    }
    let page = project.viewer.get("/v1/runs?limit=1").await?.accepted()?;
    let cursor = page["next_cursor"].as_str().unwrap_or_default();
    ensure!(
        !cursor.is_empty(),
        "a list with more on it has no cursor: {page}"
    );
    for (caller, list) in [
        (&other.admin, "/v1/runs"),
        (&project.admin, "/v1/audit"),
        (&project.admin, "/v1/tokens"),
    ] {
        let answer = caller.get(&format!("{list}?cursor={cursor}")).await?;
        ensure_eq!(
            answer.status,
            400,
            "a cursor of another list in {list}: {}",
            answer.body
        );
        ensure_eq!(
            answer.body["field"],
            "cursor",
            "the field of a foreign cursor"
        );
    }
    for path in [
        "/v1/runs/x",
        "/v1/runs/run_x",
        "/v1/workers/run_0198c0de-0000-7000-8000-00000000000a",
        "/v1/profiles/No!",
        "/v1/revocations/x",
        "/v1/revocations/fan_0198c0de-0000-7000-8000-00000000000a",
        "/v1/fan-outs/rev_0198c0de-0000-7000-8000-00000000000a",
    ] {
        project.admin.get(path).await?.refused(404, "not_found")?;
    }
    Ok(())
}
