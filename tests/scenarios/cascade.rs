//! The cascade: what a run starts with, where each key comes from, and what a profile may not do.

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::identity::{NOWHERE, secrets};
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, named, run_of};
use sealfleet_test_stack::{Outcome, Reply, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};

use crate::seen::{SOON, injected, names, played, player, seen, sleeping, with_profile};

/// 26. system A=1,B=1; workflow B=2; run C=3 -> 1,2,3 with origins.
pub async fn s26_the_later_level_wins(stack: &Stack) -> Outcome {
    let project = stack.project("cascade").await?;
    let base = format!("base-{}", unique());
    stack
        .operator
        .create_profile(&base, &json!({ "env": { "A": "1", "B": "1" } }))
        .await?;
    project
        .admin
        .create_profile("nightly", &json!({ "env": { "B": "2" } }))
        .await?;
    project
        .admin
        .bind(&json!({ "system": base, "workflows": { "nightly": "nightly" } }))
        .await?;

    let asked = json!({ "workflow": "nightly", "overrides": { "env": { "C": "3" } } });
    let system = format!("system/{base}");
    let profiles = json!([
        { "level": "system", "profile": system, "version": 1 }, { "level": "workflow", "profile": "nightly", "version": 1 },
    ]);
    let resolved = json!({
        "profiles": profiles,
        "keys": [
            knob("A", "1", "system", Some(&system)), knob("B", "2", "workflow", Some("nightly")), knob("C", "3", "run", None),
        ],
        "removed": {},
    });
    ensure_eq!(
        project.viewer.resolve(&asked).await?,
        resolved,
        "the cascade of three levels"
    );

    // Sandboxes have the same. The step's own variables come last.
    let worker = project.live_worker(stack).await?;
    let (pull, fargate) = (Sleeper::new(), Sleeper::new());
    let own = json!({ "env": { "D": "4" } });
    let steps = [
        sleeping("pull", PULL, &pull, &own),
        sleeping("fargate", FARGATE, &fargate, &own),
    ];
    let run = project
        .enqueue(&merged(asked, &json!({ "steps": steps })))
        .await?;
    for (sleeper, pool) in [(&pull, PULL), (&fargate, FARGATE)] {
        let seen = seen(&project, &run, sleeper, &["A", "B", "C", "D"]).await?;
        let expected = json!({ "A": "1", "B": "2", "C": "3", "D": "4" });
        ensure_eq!(
            seen,
            expected,
            "the environment in `{pool}`; the worker says\n{}",
            worker.log()
        );
        sleeper.wake();
    }
    project.run_until(&run, RunState::Succeeded, SOON).await?;
    ensure_eq!(
        json!(project.run(&run).await?.profiles),
        profiles,
        "the profiles of the run"
    );
    let enqueued = project.events(&run, "run.enqueued").await?;
    ensure_eq!(
        enqueued.first().map(|event| event["profiles"].clone()),
        Some(profiles),
        "the audited profiles"
    );

    // All levels, and other workflows.
    project
        .admin
        .create_profile(
            "default",
            &json!({ "env": { "B": "default", "D": "default" } }),
        )
        .await?;
    project
        .admin
        .create_profile("own", &json!({ "env": { "A": "own", "E": "own" } }))
        .await?;
    project
        .admin
        .bind(
            &json!({ "system": base, "project": "default", "workflows": { "nightly": "nightly" } }),
        )
        .await?;
    let (nightly, hourly) = (
        json!({ "workflow": "nightly" }),
        json!({ "workflow": "hourly" }),
    );
    let (own, over) = (
        json!({ "profile": "own" }),
        json!({ "profile": "own", "overrides": { "env": { "E": "over" } } }),
    );
    for (request, expected) in [
        (nightly.clone(), knob("B", "2", "workflow", Some("nightly"))),
        (
            nightly.clone(),
            knob("D", "default", "project", Some("default")),
        ),
        (hourly.clone(), knob("A", "1", "system", Some(&system))),
        (
            hourly.clone(),
            knob("B", "default", "project", Some("default")),
        ),
        (merged(hourly, &own), knob("A", "own", "run", Some("own"))),
        (
            merged(nightly.clone(), &own),
            knob("E", "own", "run", Some("own")),
        ),
        (merged(nightly, &over), knob("E", "over", "run", None)),
    ] {
        let key = expected["key"].as_str().unwrap_or_default();
        ensure_eq!(
            project.viewer.resolved_key(&request, key).await?,
            expected,
            "`{key}` of {request}"
        );
    }
    ensure_eq!(
        named(&project.trail().await?, "cascade.bound").len(),
        2,
        "audited bindings"
    );
    Ok(())
}

fn origin(level: &str, profile: Option<&str>) -> Value {
    match profile {
        Some(profile) => json!({ "level": level, "profile": profile }),
        None => json!({ "level": level }),
    }
}

fn knob(key: &str, value: &str, level: &str, profile: Option<&str>) -> Value {
    json!({ "key": key, "value": value, "origin": origin(level, profile), "seen": true })
}

/// 27. Tombstone -> key absent, lower secret gone from the secret names.
pub async fn s27_a_tombstone_ends_a_key(stack: &Stack) -> Outcome {
    let project = stack.project("tombstones").await?;
    let kept = project
        .aws_secret(stack, "s27-kept", "the kept value")
        .await?;
    let ended = project
        .aws_secret(stack, "s27-ended", "the ended value")
        .await?;
    let default = secrets(&[("KEPT", &kept.uri), ("ENDED", &ended.uri)]);
    project
        .admin
        .create_profile(
            "default",
            &merged(default, &json!({ "env": { "REGION": "eu" } })),
        )
        .await?;
    project
        .admin
        .create_profile("slim", &json!({ "remove": ["ENDED", "REGION"] }))
        .await?;
    project
        .admin
        .create_profile("again", &secrets(&[("ENDED", &kept.uri)]))
        .await?;
    project
        .admin
        .bind(&json!({ "project": "default", "workflows": { "slim": "slim" } }))
        .await?;

    for (request, level, profile) in [
        (
            json!({ "workflow": "other", "profile": "slim" }),
            "run",
            Some("slim"),
        ),
        (json!({ "workflow": "slim" }), "workflow", Some("slim")),
        (
            json!({ "workflow": "other", "overrides": { "remove": ["ENDED", "REGION"] } }),
            "run",
            None,
        ),
    ] {
        let resolved = project.viewer.resolve(&request).await?;
        let keys: Vec<&str> = resolved["keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|k| k["key"].as_str())
            .collect();
        ensure_eq!(keys, ["KEPT"], "what is left of {request}");
        let expected = json!({ "ENDED": origin(level, profile), "REGION": origin(level, profile) });
        ensure_eq!(
            resolved["removed"],
            expected,
            "what was removed of {request}"
        );
    }
    let again = json!({ "workflow": "slim", "profile": "again" });
    let back = project.viewer.resolved_key(&again, "ENDED").await?;
    ensure_eq!(
        back["secret"],
        kept.uri.as_str(),
        "a later level declares the secret anew"
    );
    ensure_eq!(
        project.viewer.resolve(&again).await?["removed"],
        json!({ "REGION": origin("workflow", Some("slim")) }),
        "tombstones"
    );

    // In the run, in what ECS is told, and in the sandbox.
    let sleeper = Sleeper::new();
    let steps = [sleeping("only", FARGATE, &sleeper, &json!({}))];
    let run = project.enqueue(&with_profile("slim", &steps)).await?;
    let seen = seen(&project, &run, &sleeper, &["KEPT", "ENDED", "REGION"]).await?;
    ensure_eq!(seen, json!({ "KEPT": "the kept value" }), "the environment");
    let told = injected(stack, &project, &run).await?;
    let expected = format!(
        "{}:key::{}",
        kept.arn.clone().unwrap_or_default(),
        kept.version
    );
    ensure_eq!(
        told,
        json!({ "only": { "KEPT": expected } }),
        "the task definition"
    );
    sleeper.wake();
    let ended = project.run_until(&run, RunState::Succeeded, SOON).await?;
    let held: Vec<&str> = ended
        .secrets
        .iter()
        .map(|secret| secret.name.as_str())
        .collect();
    ensure_eq!(held, ["KEPT"], "the secret names of the run");
    let released = project.events(&run, "secret.released").await?;
    ensure_eq!(released.len(), 1, "audited releases");
    ensure!(
        released
            .iter()
            .all(|event| names(&event["secrets"]) == ["KEPT"]),
        "what was released: {released:?}"
    );

    // All of them: a worker is then told of none.
    let steps = [played("only", &json!({}))];
    let all = json!({ "overrides": { "remove": ["KEPT", "ENDED"] } });
    let run = project.enqueue(&merged(run_of(&steps), &all)).await?;
    let claim = player(&project, 1)
        .await?
        .try_claim(&run, "only")
        .await?
        .accepted()?;
    ensure_eq!(
        (&claim["secrets"], &claim["env"]),
        (&json!([]), &json!({ "REGION": "eu" })),
        "what a worker is told"
    );
    Ok(())
}

/// 31. Unknown scheme -> error that lists the known ones; several identity backends in one cascade
///     merge per key.
pub async fn s31_backends(stack: &Stack) -> Outcome {
    let project = stack.project("backends").await?;
    let admin = &project.admin;
    let known = async |reply: Reply| -> Outcome {
        let detail = reply.refused(400, "invalid_request")?;
        ensure_eq!(
            reply.body["field"],
            "secrets.API_KEY",
            "the field that is refused"
        );
        ensure!(
            detail.contains("aws-sm://") && detail.contains("builtin://"),
            "the known schemes are not listed: {detail}"
        );
        Ok(())
    };
    for uri in [
        "elsewhere://crm#key",
        "gcp-sm://crm",
        "crm",
        "AWS-SM://sealfleet/x#k",
        "://x",
    ] {
        known(
            admin
                .post(
                    "/v1/profiles",
                    &merged(secrets(&[("API_KEY", uri)]), &json!({ "name": "unknown" })),
                )
                .await?,
        )
        .await?;
    }
    admin
        .create_profile("known", &secrets(&[("API_KEY", NOWHERE)]))
        .await?;
    known(
        admin
            .try_put_profile("known", 1, &secrets(&[("API_KEY", "elsewhere://crm#key")]))
            .await?,
    )
    .await?;
    ensure_eq!(
        admin.profile("known").await?.version,
        1,
        "the profile after a refused change"
    );

    // Three levels, two backends, merged key by key.
    let worker = project.live_worker(stack).await?;
    let name = format!("s31-{}", unique());
    let system = stack.system_secret(&name, "of the system").await?;
    let beside = project
        .builtin_store(stack)
        .await?
        .put("s31", "beside the worker")
        .await?;
    let own = project.aws_secret(stack, "s31", "of the project").await?;
    stack
        .operator
        .create_profile(&name, &secrets(&[("SYSTEM", &system.uri)]))
        .await?;
    let both = secrets(&[("BESIDE", &beside.pinned()), ("BOTH", &beside.pinned())]);
    admin.create_profile("default", &both).await?;
    let lists = json!({ "tools": { "cloud": ["SYSTEM", "OWN", "BOTH"], "beside": ["BESIDE"] } });
    admin
        .create_profile(
            "listed",
            &merged(secrets(&[("OWN", &own.uri), ("BOTH", &own.uri)]), &lists),
        )
        .await?;
    let ended = json!({ "remove": ["BESIDE"] });
    admin
        .create_profile(
            "cloud",
            &merged(secrets(&[("OWN", &own.uri), ("BOTH", &own.uri)]), &ended),
        )
        .await?;
    admin
        .create_profile("beside", &json!({ "remove": ["SYSTEM"] }))
        .await?;
    admin
        .bind(&json!({ "system": name, "project": "default" }))
        .await?;

    let in_cloud =
        json!({ "SYSTEM": "of the system", "OWN": "of the project", "BOTH": "of the project" });
    let (one, two) = (
        json!({ "BESIDE": "beside the worker" }),
        json!({ "BESIDE": "beside the worker", "BOTH": "beside the worker" }),
    );
    let keys = ["SYSTEM", "OWN", "BESIDE", "BOTH"];
    let tool = |name: &str| json!({ "tool": name });
    for (profile, steps) in [
        (
            "listed",
            vec![
                ("cloud", FARGATE, tool("cloud"), &in_cloud),
                ("beside", PULL, tool("beside"), &one),
            ],
        ),
        ("cloud", vec![("cloud", FARGATE, json!({}), &in_cloud)]),
        ("beside", vec![("beside", PULL, json!({}), &two)]),
    ] {
        let sleepers: Vec<Sleeper> = steps.iter().map(|_| Sleeper::new()).collect();
        let body: Vec<Value> = steps
            .iter()
            .zip(&sleepers)
            .map(|((id, pool, more, _), sleeper)| sleeping(id, pool, sleeper, more))
            .collect();
        let run = project.enqueue(&with_profile(profile, &body)).await?;
        for ((id, _, _, expected), sleeper) in steps.iter().zip(&sleepers) {
            let seen = seen(&project, &run, sleeper, &keys).await?;
            ensure_eq!(
                &seen,
                *expected,
                "`{id}` with `{profile}`; the worker says\n{}",
                worker.log()
            );
            sleeper.wake();
        }
        project.run_until(&run, RunState::Succeeded, SOON).await?;
    }

    // A step that would see what its pool cannot resolve is told so, before anything is stored.
    for (profile, pool, more, key) in [
        ("listed", FARGATE, tool("beside"), "BESIDE"),
        ("beside", FARGATE, json!({}), "BESIDE"),
    ] {
        let steps = [sleeping("only", pool, &Sleeper::new(), &more)];
        let refused = project
            .member
            .post("/v1/runs", &with_profile(profile, &steps))
            .await?;
        let detail = refused.refused(400, "invalid_request")?;
        ensure_eq!(
            refused.body["field"],
            "steps.only.pool",
            "the field of {key} in `{pool}`: {detail}"
        );
        ensure!(
            detail.contains(&format!("`{key}`")) && detail.contains("tombstone"),
            "`{key}` in `{pool}`: {detail}"
        );
    }
    Ok(())
}
