//! The cascade: what a run starts with, where each key comes from, and what a profile may not do.

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::identity::{NOWHERE, secrets};
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, named, run_of};
use sealfleet_test_stack::{Outcome, Project, Reply, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};

use crate::seen::{
    SOON, gated, injected, names, nowhere, open_gate, played, player, seen, sleeping, tasks,
    with_profile,
};

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

    // And that is what sandboxes have. What a step says of itself comes last.
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

    // All of them: a pull pool, which could resolve none of them, is fine then.
    let steps = [played("only", &json!({}))];
    let refused = project.member.post("/v1/runs", &run_of(&steps)).await?;
    refused.refused(400, "invalid_request")?;
    ensure_eq!(
        refused.body["field"],
        "steps.only.pool",
        "the field of a backend that is out of reach"
    );
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

/// 28. Override of a secret key by a plain value -> refused; it never loses its secret tag.
pub async fn s28_a_secret_stays_a_secret(stack: &Stack) -> Outcome {
    let project = stack.project("overridden").await?;
    let admin = &project.admin;
    let default = merged(
        secrets(&[("API_KEY", NOWHERE)]),
        &json!({ "env": { "KNOB": "plain" } }),
    );
    admin.create_profile("default", &default).await?;
    admin
        .create_profile("ended", &json!({ "remove": ["API_KEY"] }))
        .await?;
    admin
        .create_profile("plain", &json!({ "env": { "API_KEY": "do-not-repeat" } }))
        .await?;
    admin
        .create_profile(
            "sealed",
            &secrets(&[("KNOB", NOWHERE), ("API_KEY", &nowhere("other"))]),
        )
        .await?;
    admin
        .create_profile("harmless", &json!({ "env": { "OTHER": "1" } }))
        .await?;
    let workflows = json!({ "plain": "plain", "ended": "ended" });
    admin
        .bind(&json!({ "project": "default", "workflows": workflows }))
        .await?;

    let plain = json!({ "API_KEY": "do-not-repeat" });
    let over = json!({ "env": plain });
    let in_step = json!({ "env": plain });
    let nothing = json!({});
    let cases = [
        (
            "a later profile",
            json!({ "workflow": "w", "profile": "plain" }),
            &nothing,
        ),
        (
            "a workflow's profile",
            json!({ "workflow": "plain" }),
            &nothing,
        ),
        (
            "overrides",
            json!({ "workflow": "w", "overrides": over }),
            &nothing,
        ),
        (
            "a profile after a tombstone",
            json!({ "workflow": "ended", "profile": "plain" }),
            &nothing,
        ),
        (
            "overrides after a tombstone",
            json!({ "workflow": "ended", "overrides": over }),
            &nothing,
        ),
        ("a step's env", json!({ "workflow": "w" }), &in_step),
        (
            "a step's env after a tombstone",
            json!({ "workflow": "ended" }),
            &in_step,
        ),
        (
            "a step's env after its own tombstone",
            json!({ "workflow": "w", "overrides": { "remove": ["API_KEY"] } }),
            &in_step,
        ),
    ];
    let before = (project.census().await?, project.trail().await?.len());
    let mut denied = 0;
    for (what, request, step) in &cases {
        let body = merged(request.clone(), &json!({ "steps": [played("only", step)] }));
        let refused = project.member.post("/v1/runs", &body).await?;
        let detail = refused.refused(400, "secret_override")?;
        ensure!(
            detail.contains("`API_KEY`"),
            "{what}: the key is not named: {detail}"
        );
        ensure!(
            !refused.body.to_string().contains("do-not-repeat"),
            "{what}: the value is repeated: {detail}"
        );
        if step.get("env").is_some() {
            ensure_eq!(
                refused.body["field"],
                "steps.only.env",
                "the field of {what}"
            );
        } else {
            denied += 1;
            project
                .viewer
                .post("/v1/cascade/resolve", request)
                .await?
                .refused(400, "secret_override")?;
        }
    }
    let trail = project.trail().await?;
    ensure_eq!(
        project.census().await?,
        before.0,
        "the project after it all"
    );
    ensure!(
        named(&trail, "run.denied").len() >= denied,
        "refusals in the trail: {trail:?}"
    );
    ensure!(
        !json!(trail).to_string().contains("do-not-repeat"),
        "the value is in the trail"
    );
    let both = json!({ "workflow": "w", "overrides": { "env": plain, "remove": ["API_KEY"] }, "steps": [played("only", &nothing)] });
    let refused = project.member.post("/v1/runs", &both).await?;
    refused.refused(400, "invalid_request")?;
    ensure_eq!(
        refused.body["field"],
        "overrides.remove.API_KEY",
        "the field of what is set and removed"
    );

    // A plain knob may become a secret, and a secret another one.
    let sealed = json!({ "workflow": "w", "profile": "sealed" });
    for key in ["KNOB", "API_KEY"] {
        let resolved = project.viewer.resolved_key(&sealed, key).await?;
        ensure!(
            resolved["secret"].is_string() && resolved["value"].is_null(),
            "`{key}` is no secret: {resolved}"
        );
        ensure_eq!(
            resolved["origin"],
            origin("run", Some("sealed")),
            "the origin of `{key}`"
        );
    }

    // What would be refused at enqueue is refused at start: the profiles have changed meanwhile.
    let worker = player(&project, 4).await?;
    for (content, step) in [
        (json!({ "env": plain }), json!({})),
        (
            secrets(&[("OTHER", NOWHERE)]),
            json!({ "env": { "OTHER": "do-not-repeat" } }),
        ),
    ] {
        project
            .admin
            .save_profile("harmless", &json!({ "env": { "OTHER": "1" } }))
            .await?;
        let run = project
            .enqueue(&with_profile("harmless", &[played("only", &step)]))
            .await?;
        project.admin.save_profile("harmless", &content).await?;
        refused_start(&project, &worker.try_claim(&run, "only").await?, &run).await?;
    }
    Ok(())
}

/// Whether a claim was refused for the profiles, which ended the step before anything was released.
async fn refused_start(project: &Project, claim: &Reply, run: &str) -> Outcome {
    claim.refused(409, "start_refused")?;
    failed_by_its_profile(project, run).await
}

async fn failed_by_its_profile(project: &Project, run: &str) -> Outcome {
    let step = json!(project.step(run, "only").await?);
    ensure_eq!(
        (&step["state"], &step["failure"]["kind"]),
        (&json!("failed"), &json!("profile_refused")),
        "{step}"
    );
    ensure!(
        step["failure"]["detail"]
            .as_str()
            .is_some_and(|detail| detail.len() > 10),
        "it does not say why: {step}"
    );
    ensure!(
        !step.to_string().contains("do-not-repeat"),
        "a value is repeated: {step}"
    );
    ensure_eq!(project.run(run).await?.state, RunState::Failed, "the run");
    let failed = project.events(run, "step.failed").await?;
    ensure_eq!(
        failed
            .iter()
            .map(|event| &event["failure"])
            .collect::<Vec<_>>(),
        [&step["failure"]],
        "audited failures"
    );
    for name in [
        "secret.released",
        "profile.injected",
        "secret.decrypted",
        "step.running",
    ] {
        ensure!(
            project
                .events(run, name)
                .await?
                .iter()
                .all(|event| event["step_id"] != "only"),
            "`{name}` of {run}"
        );
    }
    Ok(())
}

/// 29. Profile `allowed_workflows=[x]`: run y denied and audited; run x allowed, at start too.
pub async fn s29_a_profile_is_for_its_workflows(stack: &Stack) -> Outcome {
    let project = stack.project("allowed").await?;
    let only_x = merged(
        secrets(&[("API_KEY", NOWHERE)]),
        &json!({ "allowed_workflows": ["x"] }),
    );
    let base = format!("base-{}", unique());
    stack
        .operator
        .create_profile(&base, &json!({ "allowed_workflows": ["x", "z"] }))
        .await?;
    project.admin.create_profile("crm", &only_x).await?;
    project
        .admin
        .create_profile("anyone", &secrets(&[("OTHER", NOWHERE)]))
        .await?;

    let run_of = |workflow: &str, profile: &str| json!({ "workflow": workflow, "profile": profile, "steps": [played("only", &json!({}))] });
    let before = project.census().await?;
    let denied = project.member.post("/v1/runs", &run_of("y", "crm")).await?;
    let detail = denied.refused(403, "profile_denied")?;
    ensure!(
        detail.contains("`crm`") && detail.contains("`y`"),
        "it names the profile and the workflow: {detail}"
    );
    let asked = json!({ "workflow": "y", "profile": "crm" });
    project
        .viewer
        .post("/v1/cascade/resolve", &asked)
        .await?
        .refused(403, "profile_denied")?;
    ensure_eq!(
        project.census().await?,
        before,
        "the project after a denied run"
    );
    let audited = named(&project.trail().await?, "run.denied");
    ensure_eq!(audited.len(), 1, "audited refusals: {audited:?}");
    let event = audited.first().cloned().unwrap_or_default();
    ensure_eq!(
        (&event["workflow"], &event["profiles"]),
        (&json!("y"), &json!(["crm"])),
        "the audited refusal"
    );
    ensure_eq!(event["reason"], detail.as_str(), "its reason");

    // Every profile of the cascade has its say.
    project.enqueue(&run_of("y", "anyone")).await?;
    project.admin.bind(&json!({ "system": base })).await?;
    let detail = project
        .member
        .post("/v1/runs", &run_of("y", "anyone"))
        .await?
        .refused(403, "profile_denied")?;
    ensure!(
        detail.contains(&format!("`system/{base}`")),
        "it names the profile that denies: {detail}"
    );
    project
        .member
        .post("/v1/runs", &run_of("z", "crm"))
        .await?
        .refused(403, "profile_denied")?;

    // Allowed at enqueue, and at start: as the profile is then.
    let worker = player(&project, 8).await?;
    let run = project.enqueue(&run_of("x", "crm")).await?;
    let claimed = worker.claim(&run, "only").await?;
    worker.start(&claimed).await?;
    worker.succeed(&claimed).await?;
    let (denied, gone) = (
        project.enqueue(&run_of("x", "crm")).await?,
        project.enqueue(&run_of("x", "anyone")).await?,
    );
    let secret = project.aws_secret(stack, "s29", "never seen").await?;
    let cloud = merged(
        secrets(&[("API_KEY", &secret.uri)]),
        &json!({ "allowed_workflows": ["x"] }),
    );
    project.admin.create_profile("cloud", &cloud).await?;
    let sleeper = Sleeper::new();
    let steps = gated(&sleeping("only", FARGATE, &sleeper, &json!({})));
    let on_fargate = project
        .enqueue(&json!({ "workflow": "x", "profile": "cloud", "steps": steps }))
        .await?;
    for profile in ["crm", "cloud"] {
        project
            .admin
            .save_profile(
                profile,
                &merged(only_x.clone(), &json!({ "allowed_workflows": ["z"] })),
            )
            .await?;
    }
    project
        .admin
        .client()
        .delete_profile(&"anyone".parse()?, None)
        .await?;
    refused_start(&project, &worker.try_claim(&denied, "only").await?, &denied).await?;
    refused_start(&project, &worker.try_claim(&gone, "only").await?, &gone).await?;
    open_gate(&worker, &on_fargate).await?;
    project.finished(&on_fargate, SOON).await?;
    failed_by_its_profile(&project, &on_fargate).await?;
    ensure!(
        tasks(stack, &project, &on_fargate).await?.is_empty(),
        "a task was started with a denied profile"
    );
    Ok(())
}

/// 30. Project A references B's profile -> 404, audited.
pub async fn s30_another_projects_profile_does_not_exist(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("alpha").await?;
    // As long as each other: what is told of one differs from what is told of the other by the name
    // alone.
    let (theirs, nobodys) = (format!("s30-{}", unique()), format!("s30-{}", unique()));
    beta.admin
        .create_profile(&theirs, &secrets(&[("API_KEY", NOWHERE)]))
        .await?;
    let before = (
        beta.census().await?,
        beta.trail().await?.len(),
        alpha.census().await?,
    );

    let run = |profile: &str| with_profile(profile, &[played("only", &json!({}))]);
    let asked = |profile: &str| json!({ "workflow": "tests", "profile": profile });
    let bound = |profile: &str| json!({ "workflows": { "s30": profile } });
    let revoked = |profile: &str| json!({ "keys": [{ "profile": profile, "key": "API_KEY" }], "reason": "a test" });
    type Body<'a> = &'a dyn Fn(&str) -> Value;
    for (path, body) in [
        ("/v1/runs", &run as Body<'_>),
        ("/v1/cascade/resolve", &asked),
        ("/v1/revocations", &revoked),
        ("/v1/revocations:preview", &revoked),
    ] {
        let (exists, missing) = (
            alpha.admin.post(path, &body(&theirs)).await?,
            alpha.admin.post(path, &body(&nobodys)).await?,
        );
        same_but_for(&exists, &missing, &theirs, &nobodys)?;
    }
    let put = async |profile: &str| alpha.admin.put("/v1/cascade", None, &bound(profile)).await;
    same_but_for(
        &put(&theirs).await?,
        &put(&nobodys).await?,
        &theirs,
        &nobodys,
    )?;
    for suffix in ["", "/versions"] {
        let get = async |profile: &str| {
            alpha
                .admin
                .get(&format!("/v1/profiles/{profile}{suffix}"))
                .await
        };
        let (exists, missing) = (get(&theirs).await?, get(&nobodys).await?);
        ensure_eq!(
            (exists.status, &exists.bytes),
            (missing.status, &missing.bytes),
            "`{}`",
            exists.asked
        );
        ensure!(
            exists.etag.is_empty() && !exists.body.to_string().contains("API_KEY"),
            "it tells: {}",
            exists.body
        );
    }
    let replace = async |profile: &str| alpha.admin.try_put_profile(profile, 1, &json!({})).await;
    same_but_for(
        &replace(&theirs).await?,
        &replace(&nobodys).await?,
        &theirs,
        &nobodys,
    )?;
    same_but_for(
        &alpha.admin.try_delete_profile(&theirs).await?,
        &alpha.admin.try_delete_profile(&nobodys).await?,
        &theirs,
        &nobodys,
    )?;

    let denied = named(&alpha.trail().await?, "run.denied");
    for profile in [&theirs, &nobodys] {
        let of_it: Vec<&Value> = denied
            .iter()
            .filter(|event| event["profiles"] == json!([profile]))
            .collect();
        ensure_eq!(of_it.len(), 1, "audited refusals of `{profile}`: {of_it:?}");
    }
    ensure_eq!(
        (beta.census().await?, beta.trail().await?.len()),
        (before.0, before.1),
        "the project that was asked about"
    );
    let profiles = |census: &[(&'static str, usize)]| {
        census
            .iter()
            .find(|(list, _)| *list == "/v1/profiles")
            .map(|(_, count)| *count)
    };
    ensure_eq!(
        profiles(&alpha.census().await?),
        profiles(&before.2),
        "profiles of the project that asked"
    );
    Ok(())
}

/// Both are 404, and differ only where they repeat what was asked for.
fn same_but_for(exists: &Reply, missing: &Reply, theirs: &str, nobodys: &str) -> Outcome {
    exists.refused(404, "not_found")?;
    missing.refused(404, "not_found")?;
    let text =
        |reply: &Reply, name: &str| String::from_utf8_lossy(&reply.bytes).replace(name, "NAME");
    ensure_eq!(
        text(exists, theirs),
        text(missing, nobodys),
        "`{}` against `{}`",
        exists.asked,
        missing.asked
    );
    ensure_eq!(exists.etag, missing.etag, "the entity tags");
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
        "vault://crm#key",
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
            .try_put_profile("known", 1, &secrets(&[("API_KEY", "vault://crm#key")]))
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
        ("listed", PULL, tool("cloud"), "BOTH"),
        ("listed", FARGATE, tool("beside"), "BESIDE"),
        ("cloud", PULL, json!({}), "BOTH"),
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
