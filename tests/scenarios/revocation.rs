//! Revocation: a key that is taken away starts nothing any more, and by a hard one stops what runs
//! with it.

use std::time::{Duration, Instant};

use futures_util::future::join;
use sealfleet_client::RevocationState;
use sealfleet_domain::run::RunState;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, named, run_of};
use sealfleet_test_stack::{
    Caller, Outcome, Project, Stack, Worker, ensure, ensure_eq, eventually, unique,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::seen::{
    PLAYED, SOON, gated, nowhere, open_gate, played, player, sleeping, tasks, while_alive,
    with_profile,
};

/// Until when all that a hard revocation stops is gone: a request works on it for 10 s, and
/// heartbeats come every 2.
const BOUND: Duration = Duration::from_secs(30);

/// 36. Soft revoke -> enqueue refused (`secret_revoked`) through every entry point.
pub async fn s36_a_revoked_key_is_refused_at_every_door(stack: &Stack) -> Outcome {
    let (project, neighbour) = stack.pair("thirtysix").await?;
    let admin = &project.admin;
    let base = format!("base-{}", unique());
    let system = format!("system/{base}");
    stack
        .operator
        .create_profile(&base, &secrets(&[("SYSTEM", &nowhere("system/s36"))]))
        .await?;
    admin
        .create_profile("default", &secrets(&[("DEFAULT", &nowhere("default"))]))
        .await?;
    admin
        .create_profile("nightly", &secrets(&[("NIGHTLY", &nowhere("nightly"))]))
        .await?;
    admin
        .create_profile("own", &secrets(&[("OWN", &nowhere("own"))]))
        .await?;
    // The same address, at another version, under another name and profile.
    admin
        .create_profile("alias", &secrets(&[("ALIAS", &nowhere("own"))]))
        .await?;
    admin
        .create_profile("other", &secrets(&[("DEFAULT", &nowhere("other"))]))
        .await?;
    admin
        .create_profile("listed", &json!({ "tools": { "codex": ["NIGHTLY"] } }))
        .await?;
    admin
        .bind(
            &json!({ "system": base, "project": "default", "workflows": { "nightly": "nightly" } }),
        )
        .await?;

    neighbour.admin.bind(&json!({ "system": base })).await?;

    let body = |asked: &Value, more: &Value| {
        merged(asked.clone(), &json!({ "steps": [played("only", more)] }))
    };
    let (direct, alias) = (
        json!({ "workflow": "w", "profile": "own" }),
        json!({ "workflow": "w", "profile": "alias" }),
    );
    let (plain, nightly) = (json!({ "workflow": "w" }), json!({ "workflow": "nightly" }));
    let operator = &stack.operator;
    let doors: [(&str, &Caller, &str, &str, &Value, &str); 6] = [
        ("its own profile", admin, "own", "OWN", &direct, "OWN"),
        (
            "its address, under another profile and name",
            admin,
            "own",
            "OWN",
            &alias,
            "ALIAS",
        ),
        (
            "the project's default",
            admin,
            "default",
            "DEFAULT",
            &plain,
            "DEFAULT",
        ),
        (
            "the workflow's profile",
            admin,
            "nightly",
            "NIGHTLY",
            &nightly,
            "NIGHTLY",
        ),
        (
            "the system's profile, revoked by operators",
            operator,
            &base,
            "SYSTEM",
            &plain,
            "SYSTEM",
        ),
        (
            "the system's profile, revoked by the project",
            admin,
            &system,
            "SYSTEM",
            &plain,
            "SYSTEM",
        ),
    ];
    // A dead step for each, which could be retried.
    let mut dead = Vec::new();
    for (_, _, _, _, asked, _) in &doors {
        dead.push(
            project
                .enqueue(&body(asked, &json!({ "ttl_seconds": 1 })))
                .await?,
        );
    }
    for run in &dead {
        eventually("a step to die of old age", SOON, async || {
            stack.sweep().await?;
            Ok((project.state(run, "only").await? == "dead").then_some(()))
        })
        .await?;
    }

    for ((what, owner, profile, key, asked, name), dead) in doors.iter().zip(&dead) {
        let revoked = owner.revoke(&[(profile, key)], false).await?;
        ensure!(
            revoked.fan_out.is_none(),
            "a soft revocation has a fan-out: {:?}",
            revoked.answer
        );
        let id = revoked.ids.first().cloned().unwrap_or_default();
        let before = project.runs().await?.len();

        let refused = project
            .member
            .post("/v1/runs", &body(asked, &json!({})))
            .await?;
        let detail = refused.refused(403, "secret_revoked")?;
        ensure!(
            detail.contains(&format!("`{name}`")) && detail.contains(&id),
            "{what}: it does not say which: {detail}"
        );
        let once = project
            .member
            .post_once("/v1/runs", &unique(), &body(asked, &json!({})))
            .await?;
        once.refused(403, "secret_revoked")?;
        let retry = project
            .member
            .post(&format!("/v1/runs/{dead}/steps/only/retry"), &json!({}))
            .await?;
        retry.refused(403, "secret_revoked")?;
        ensure_eq!(
            project.state(dead, "only").await?,
            "dead",
            "{what}: the step after a refused retry"
        );
        ensure_eq!(
            project.runs().await?.len(),
            before,
            "{what}: runs after refusals"
        );
        let denied = named(&project.trail().await?, "run.denied");
        let of_it = denied.iter().filter(|event| {
            event["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains(&id))
        });
        ensure_eq!(of_it.count(), 3, "{what}: audited refusals");
        ensure_eq!(
            project.viewer.resolved_key(asked, name).await?["revoked_by"],
            id.as_str(),
            "{what}: when asked before"
        );

        // Operators take a key away from all projects, a project from itself alone.
        let neighbours = neighbour
            .member
            .post("/v1/runs", &body(&plain, &json!({})))
            .await?;
        if *profile == base {
            neighbours.refused(403, "secret_revoked")?;
        } else {
            neighbours.accepted()?;
        }

        // Without the key it may go.
        let without = merged(
            (*asked).clone(),
            &json!({ "overrides": { "remove": [name] } }),
        );
        project.enqueue(&body(&without, &json!({}))).await?;
        if *key == "DEFAULT" {
            project
                .enqueue(&body(
                    &json!({ "workflow": "w", "profile": "other" }),
                    &json!({}),
                ))
                .await?;
            let unseen = json!({ "tool": "codex" });
            project
                .enqueue(&body(
                    &json!({ "workflow": "w", "profile": "listed" }),
                    &unseen,
                ))
                .await?;
        }
        owner.lift(&id).await?;
        project.enqueue(&body(asked, &json!({}))).await?;
        project
            .member
            .client()
            .retry_step(dead.parse()?, &"only".parse()?)
            .await?;
    }
    Ok(())
}

/// 38. Revoke twice -> 409; lift -> enqueue works; lift again -> 409.
pub async fn s38_a_revocation_is_lifted_once(stack: &Stack) -> Outcome {
    let project = stack.project("keys").await?;
    let profile = format!("s38-{}", unique());
    project
        .admin
        .create_profile(&profile, &secrets(&[("API_KEY", &nowhere(&profile))]))
        .await?;
    let key = [(profile.as_str(), "API_KEY")];
    let body = with_profile(&profile, &[played("only", &json!({}))]);

    let (one, other) = join(
        project.admin.try_revoke(&key, false),
        project.admin.try_revoke(&key, false),
    )
    .await;
    let (one, other) = (one?, other?);
    let (won, lost) = if one.status == 201 {
        (one, other)
    } else {
        (other, one)
    };
    let detail = lost.refused(409, "already_revoked")?;
    ensure!(
        detail.contains("`API_KEY`") && detail.contains(&profile),
        "the key is not named: {detail}"
    );
    let id = won.accepted()?["revocations"][0]["revocation_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    for hard in [false, true] {
        project
            .admin
            .try_revoke(&key, hard)
            .await?
            .refused(409, "already_revoked")?;
    }
    project
        .member
        .post("/v1/runs", &body)
        .await?
        .refused(403, "secret_revoked")?;
    let listed = async || -> Outcome<(bool, bool)> {
        let within = async |state| -> Outcome<bool> {
            let listed = project.viewer.revocations(state).await?;
            Ok(listed
                .iter()
                .any(|revocation| revocation.revocation_id.to_string() == id))
        };
        Ok((
            within(RevocationState::Active).await?,
            within(RevocationState::Lifted).await?,
        ))
    };
    ensure_eq!(listed().await?, (true, false), "where it is listed");
    let shown = project.viewer.revocation(&id).await?;
    ensure_eq!(
        (shown.hard, shown.reason.as_str(), shown.lifted),
        (false, "a test", None),
        "it"
    );

    project.admin.lift(&id).await?;
    project.enqueue(&body).await?;
    project
        .admin
        .try_lift(&id)
        .await?
        .refused(409, "not_active")?;
    ensure_eq!(
        listed().await?,
        (false, true),
        "where it is listed when lifted"
    );
    ensure!(
        project.viewer.revocation(&id).await?.lifted.is_some(),
        "who has lifted it"
    );
    ensure_eq!(
        of_key(&project, "secret.revoked", &profile).await?,
        1,
        "audited revocations"
    );
    ensure_eq!(
        of_key(&project, "secret.revocation_lifted", &profile).await?,
        1,
        "audited ends of it"
    );

    // And again, as another one.
    let again = project.admin.revoke(&key, false).await?;
    ensure!(
        again.ids.first() != Some(&id),
        "a new revocation has the id of the one before"
    );
    project
        .member
        .post("/v1/runs", &body)
        .await?
        .refused(403, "secret_revoked")?;
    project
        .admin
        .try_lift(&id)
        .await?
        .refused(409, "not_active")?;
    project
        .member
        .post("/v1/runs", &body)
        .await?
        .refused(403, "secret_revoked")
        .map(|_| ())
}

async fn of_key(project: &Project, event: &str, profile: &str) -> Outcome<usize> {
    let events = project.admin.events(event).await?;
    Ok(events
        .iter()
        .filter(|event| event["profile"] == profile)
        .count())
}

/// 39. Bulk revoke with one conflict -> none applied.
pub async fn s39_a_bulk_is_all_or_none(stack: &Stack) -> Outcome {
    let project = stack.project("keys").await?;
    let (one, two) = (format!("s39-{}", unique()), format!("s39-{}", unique()));
    for profile in [&one, &two] {
        let (a, b) = (
            nowhere(&format!("{profile}-a")),
            nowhere(&format!("{profile}-b")),
        );
        project
            .admin
            .create_profile(profile, &secrets(&[("A", &a), ("B", &b)]))
            .await?;
    }
    let worker = player(&project, 1).await?;
    let run = project
        .enqueue(&with_profile(&one, &[played("only", &json!({}))]))
        .await?;
    let held = worker.claim(&run, "only").await?;
    let first = project.admin.revoke(&[(&two, "B")], false).await?;
    let nothing_happened = async || -> Outcome {
        let active = project.admin.revocations(RevocationState::Active).await?;
        let ours = active
            .iter()
            .filter(|revocation| [&one, &two].contains(&&revocation.profile.to_string()));
        let ours: Vec<String> = ours
            .map(|revocation| revocation.revocation_id.to_string())
            .collect();
        ensure_eq!(ours, first.ids, "active revocations");
        ensure_eq!(
            of_key(&project, "secret.revoked", &one).await?,
            0,
            "audited revocations of the first profile"
        );
        ensure_eq!(
            of_key(&project, "secret.revoked", &two).await?,
            1,
            "audited revocations of the second profile"
        );
        ensure!(
            worker.holds(&held).await?,
            "the run in flight does not go on"
        );
        Ok(())
    };
    let refused = async {
        for hard in [false, true] {
            let bulk = [
                (one.as_str(), "A"),
                (one.as_str(), "B"),
                (two.as_str(), "A"),
                (two.as_str(), "B"),
            ];
            let detail = project
                .admin
                .try_revoke(&bulk, hard)
                .await?
                .refused(409, "already_revoked")?;
            ensure!(
                detail.contains(&format!("`B` of `{two}`")),
                "the key that was revoked is not named: {detail}"
            );
            ensure!(
                !detail.contains(&one) && !detail.contains("`A`"),
                "another key is named: {detail}"
            );
            nothing_happened().await?;
            let unknown = project
                .admin
                .try_revoke(&[(&one, "A"), (&two, "NO_SUCH_KEY")], hard)
                .await?;
            unknown.refused(404, "not_found")?;
            ensure_eq!(
                unknown.body["field"],
                "keys[1]",
                "the field of a key that nobody declared"
            );
            nothing_happened().await?;
        }
        Ok(())
    };
    worker.while_held(&held, refused).await?;
    worker.succeed(&held).await?;
    // Without the conflict: all.
    let all = project
        .admin
        .revoke(&[(&one, "A"), (&one, "B"), (&two, "A")], false)
        .await?;
    ensure_eq!(all.ids.len(), 3, "revocations of a bulk");
    for profile in [&one, &two] {
        let body = with_profile(profile, &[played("only", &json!({}))]);
        project
            .member
            .post("/v1/runs", &body)
            .await?
            .refused(403, "secret_revoked")?;
    }
    Ok(())
}

/// 40. Hard revoke of an inherited or URI-referenced key -> every run using it stops within the
///     bound, sandbox gone, `run.aborted_by_revocation` each.
pub async fn s40_a_hard_revocation_stops_all_that_runs(stack: &Stack) -> Outcome {
    let (one, two) = stack.pair("revoked").await?;
    beside_a_worker(stack, &one).await?;
    of_the_system(stack, &[&one, &two]).await
}

/// A key of the project's default: inherited by one run, and by its address in another; a third has
/// another key.
async fn beside_a_worker(stack: &Stack, project: &Project) -> Outcome {
    let worker = project.live_worker(stack).await?;
    let store = project.builtin_store(stack).await?;
    let (crm, other) = (
        store.put("s40-crm", "crm").await?,
        store.put("s40-other", "other").await?,
    );
    project
        .admin
        .create_profile("crm", &secrets(&[("API_KEY", &crm.pinned())]))
        .await?;
    let renamed = merged(
        secrets(&[("ALIAS", &crm.pinned())]),
        &json!({ "remove": ["API_KEY"] }),
    );
    project.admin.create_profile("alias", &renamed).await?;
    let spared = merged(
        secrets(&[("SPARED", &other.pinned())]),
        &json!({ "remove": ["API_KEY"] }),
    );
    project.admin.create_profile("spared", &spared).await?;
    project.admin.bind(&json!({ "project": "crm" })).await?;

    let (by_default, by_address, with_other) = (Sleeper::new(), Sleeper::new(), Sleeper::new());
    let only = |sleeper: &Sleeper| sleeping("only", PULL, sleeper, &json!({}));
    let after = played("after", &json!({ "needs": ["only"] }));
    let inherits = project
        .enqueue(&run_of(&[only(&by_default), after]))
        .await?;
    let aliased = project
        .enqueue(&with_profile("alias", &[only(&by_address)]))
        .await?;
    let goes_on = project
        .enqueue(&with_profile("spared", &[only(&with_other)]))
        .await?;
    for (sleeper, run) in [
        (&by_default, &inherits),
        (&by_address, &aliased),
        (&with_other, &goes_on),
    ] {
        let asleep = sleeper.until(1, SOON).await;
        ensure!(
            asleep.is_ok(),
            "{:?}\n{}",
            project.run(run).await?,
            worker.log()
        );
    }

    let began = Instant::now();
    let revoked = project.admin.revoke(&[("crm", "API_KEY")], true).await?;
    let fan_out = revoked.fan_out.unwrap_or_default();
    let finished = project.admin.fanned_out(stack, &fan_out, BOUND).await?;
    ensure_eq!(
        counts(&finished),
        json!({ "runs": 2, "stopped": 0, "unstopped": 0, "workers": 2 }),
        "{finished:?}"
    );
    for (sleeper, run, profile, key) in [
        (&by_default, &inherits, "crm", "API_KEY"),
        (&by_address, &aliased, "alias", "ALIAS"),
    ] {
        sleeper.until(0, BOUND).await?;
        let by = json!({ "revocation_id": revoked.ids.first(), "profile": profile, "key": key });
        aborted(project, run, &by, &fan_out).await?;
    }
    ensure!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
    ensure_eq!(
        project.state(&inherits, "after").await?,
        "aborted",
        "the step that waited for it"
    );
    let told = project.admin.events("revocation.fan_out_finished").await?;
    ensure_eq!(told.len(), 1, "audited ends of the fan-out: {told:?}");
    ensure_eq!(
        counts(told.first().unwrap_or(&Value::Null)),
        counts(&finished),
        "the audited counts"
    );

    ensure_eq!(with_other.asleep().len(), 1, "the sandbox with another key");
    with_other.wake();
    project
        .run_until(&goes_on, RunState::Succeeded, SOON)
        .await?;
    let body = run_of(&[only(&Sleeper::new())]);
    project
        .member
        .post("/v1/runs", &body)
        .await?
        .refused(403, "secret_revoked")
        .map(|_| ())
}

/// Keys of the operators that two projects inherit, on Fargate and with workers; another key of the
/// project goes on.
async fn of_the_system(stack: &Stack, projects: &[&Project]) -> Outcome {
    let name = format!("s40-{}", unique());
    let shared = stack.system_secret(&name, "shared").await?;
    let lists = json!({ "tools": { "cloud": ["CLOUD"], "beside": ["BESIDE"], "own": ["OWN"] } });
    let keys = secrets(&[
        ("CLOUD", &shared.uri),
        ("BESIDE", &nowhere(&format!("system/{name}"))),
    ]);
    stack
        .operator
        .create_profile(&name, &merged(keys, &lists))
        .await?;

    let (cloud, spared) = (Sleeper::new(), Sleeper::new());
    let (mut on_fargate, mut with_others) = (Vec::new(), Vec::new());
    for project in projects {
        let own = project.aws_secret(stack, &name, "own").await?;
        project
            .admin
            .create_profile("own", &secrets(&[("OWN", &own.uri)]))
            .await?;
        project.admin.bind(&json!({ "system": name })).await?;
        for _ in 0..2 {
            let step = sleeping("only", FARGATE, &cloud, &json!({ "tool": "cloud" }));
            on_fargate.push((*project, project.enqueue(&run_of(&[step])).await?));
        }
        let step = sleeping("only", FARGATE, &spared, &json!({ "tool": "own" }));
        with_others.push((
            *project,
            project.enqueue(&with_profile("own", &[step])).await?,
        ));
    }
    cloud.until(4, SOON).await?;
    spared.until(2, SOON).await?;
    for (project, run) in on_fargate.iter().chain(&with_others) {
        project.until(run, "only", &["running"], SOON).await?;
    }
    let mut held: Vec<(&Project, Worker, Vec<sealfleet_test_stack::Claimed>)> = Vec::new();
    for project in projects {
        let worker = player(project, 2).await?;
        let mut claims = Vec::new();
        for starts in [true, false] {
            let run = project
                .enqueue(&run_of(&[played("only", &json!({ "tool": "beside" }))]))
                .await?;
            let claimed = worker.claim(&run, "only").await?;
            if starts {
                worker.start(&claimed).await?;
            }
            claims.push(claimed);
        }
        held.push((project, worker, claims));
    }
    let alive: Vec<_> = held
        .iter()
        .map(|(_, worker, claims)| (worker, claims.clone()))
        .collect();
    let keys = [(name.as_str(), "CLOUD"), (name.as_str(), "BESIDE")];
    let mut affected: Vec<&String> = on_fargate.iter().map(|(_, run)| run).collect();
    affected.extend(
        held.iter()
            .flat_map(|(_, _, claims)| claims.iter().map(|claimed| &claimed.run)),
    );
    affected.sort();
    let (began, revoked, fan_out, finished) = while_alive(&alive, async {
        let mut previewed = stack.operator.preview(&keys).await?;
        previewed.sort();
        ensure_eq!(
            previewed.iter().collect::<Vec<_>>(),
            affected,
            "the runs of both projects that would be aborted"
        );
        let began = Instant::now();
        let revoked = stack.operator.revoke(&keys, true).await?;
        let fan_out = revoked.fan_out.clone().unwrap_or_default();
        let finished = stack.operator.fanned_out(stack, &fan_out, BOUND).await?;
        Ok((began, revoked, fan_out, finished))
    })
    .await?;
    ensure_eq!(
        counts(&finished),
        json!({ "runs": 8, "stopped": 4, "unstopped": 0, "workers": 4 }),
        "{finished:?}"
    );
    cloud.until(0, BOUND).await?;
    let system = format!("system/{name}");
    for (project, run) in &on_fargate {
        let by = json!({ "revocation_id": revoked.ids.first(), "profile": system, "key": "CLOUD" });
        aborted(project, run, &by, &fan_out).await?;
        eventually("the task to be gone", BOUND, async || {
            Ok(project
                .live_tasks(stack, run)
                .await?
                .is_empty()
                .then_some(()))
        })
        .await?;
    }
    for (project, worker, claims) in &held {
        for claimed in claims {
            ensure!(
                !worker.holds(claimed).await?,
                "a heartbeat says that an aborted step is held"
            );
            let by =
                json!({ "revocation_id": revoked.ids.get(1), "profile": system, "key": "BESIDE" });
            aborted(project, &claimed.run, &by, &fan_out).await?;
        }
    }
    ensure!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
    let told = operators_events(stack, "revocation.fan_out_finished", &fan_out).await?;
    ensure_eq!(told.len(), 1, "audited ends of the fan-out: {told:?}");
    let event = told.first().cloned().unwrap_or_default();
    ensure_eq!(
        (counts(&event), &event["revocations"]),
        (counts(&finished), &json!(revoked.ids)),
        "the audited end"
    );

    ensure_eq!(spared.asleep().len(), 2, "sandboxes with another key");
    spared.wake();
    for (project, run) in &with_others {
        project.run_until(run, RunState::Succeeded, SOON).await?;
    }
    // What ECS says late of stopped tasks changes nothing.
    for (project, run) in &on_fargate {
        ensure_eq!(
            project.run(run).await?.state,
            RunState::Aborted,
            "the run after its task has stopped"
        );
        ensure_eq!(
            project.events(run, "run.finished").await?.len(),
            1,
            "audited ends of the run"
        );
    }
    Ok(())
}

/// The counts of a fan-out, or of the event that ends it.
pub fn counts(told: &impl Serialize) -> Value {
    let told = json!(told);
    json!({
        "runs": told["runs_aborted"], "stopped": told["tasks_stopped"], "unstopped": told["tasks_unstopped"],
        "workers": told["worker_sandboxes"],
    })
}

/// Whether a run was aborted for this revocation, and the trail says so once.
async fn aborted(project: &Project, run: &str, by: &Value, fan_out: &str) -> Outcome {
    let shown = project.run_until(run, RunState::Aborted, BOUND).await?;
    let why = json!(project.step(run, "only").await?.aborted);
    ensure_eq!(
        why,
        merged(by.clone(), &json!({ "kind": "revoked" })),
        "why: {shown:?}"
    );
    let told = project.events(run, "run.aborted_by_revocation").await?;
    let event = merged(
        by.clone(),
        &json!({ "type": "run.aborted_by_revocation", "fan_out_id": fan_out }),
    );
    ensure_eq!(told, [event], "audited aborts of {run}");
    let ended = project.events(run, "run.finished").await?;
    ensure_eq!(
        ended
            .iter()
            .map(|event| &event["state"])
            .collect::<Vec<_>>(),
        [&json!("aborted")],
        "audited ends"
    );
    Ok(())
}

/// The events of one name in the operators' own trail that mention `what`. They are read from the
/// table.
async fn operators_events(stack: &Stack, name: &str, what: &str) -> Outcome<Vec<Value>> {
    let mut events = Vec::new();
    let all = json!({
        "TableName": stack.parts.audit_table, "FilterExpression": "begins_with(pk, :own)",
        "ExpressionAttributeValues": { ":own": { "S": "PRJ#~system#" } },
    });
    let read = |page: &Value, _: &[u8]| {
        for item in page["Items"].as_array().into_iter().flatten() {
            events.extend(
                plain(&item["events"])
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
            );
        }
    };
    let cursor = ("LastEvaluatedKey", "ExclusiveStartKey");
    stack
        .aws
        .pages(Service::DynamoDb, "Scan", all, cursor, read)
        .await?;
    events.retain(|event| event["type"] == name && event.to_string().contains(what));
    Ok(events)
}

/// DynamoDB's typed JSON as plain JSON.
fn plain(typed: &Value) -> Value {
    let Some((kind, value)) = typed.as_object().and_then(|typed| typed.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "L" => value.as_array().into_iter().flatten().map(plain).collect(),
        "M" => value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect::<Map<_, _>>()
            .into(),
        "N" => value
            .as_str()
            .and_then(|number| serde_json::from_str(number).ok())
            .unwrap_or_default(),
        "NULL" => Value::Null,
        _ => value.clone(),
    }
}

/// 41. Progress reports after a hard revoke -> the mark survives.
pub async fn s41_late_reports_do_not_wash_it_off(stack: &Stack) -> Outcome {
    let project = stack.project("keys").await?;
    let profile = format!("s41-{}", unique());
    project
        .admin
        .create_profile(&profile, &secrets(&[("API_KEY", &nowhere(&profile))]))
        .await?;
    let worker = player(&project, 3).await?;
    let after = played("after", &json!({ "needs": ["only"] }));
    let mut claims = Vec::new();
    for starts in [true, true, false] {
        let run = project
            .enqueue(&with_profile(
                &profile,
                &[played("only", &json!({})), after.clone()],
            ))
            .await?;
        let claimed = worker.claim(&run, "only").await?;
        if starts {
            worker.start(&claimed).await?;
        }
        claims.push(claimed);
    }
    let (revoked, fan_out, finished) = while_alive(&[(&worker, claims.clone())], async {
        let revoked = project.admin.revoke(&[(&profile, "API_KEY")], true).await?;
        let fan_out = revoked.fan_out.clone().unwrap_or_default();
        let finished = project.admin.fanned_out(stack, &fan_out, SOON).await?;
        Ok((revoked, fan_out, finished))
    })
    .await?;
    ensure_eq!(
        counts(&finished),
        json!({ "runs": 3, "stopped": 0, "unstopped": 0, "workers": 3 }),
        "{finished:?}"
    );
    let by = json!({ "revocation_id": revoked.ids.first(), "profile": profile, "key": "API_KEY" });

    for _ in 0..2 {
        for claimed in &claims {
            ensure!(
                !worker.holds(claimed).await?,
                "a heartbeat says that an aborted step is held"
            );
            for reply in [
                worker.try_start(claimed).await?,
                worker.try_succeed(claimed).await?,
                worker
                    .try_report(claimed, &json!({ "state": "failed", "failure": { "kind": "signal", "signal": 15 } }))
                    .await?,
                worker.try_claim(&claimed.run, "only").await?,
                worker.try_claim(&claimed.run, "after").await?,
            ] {
                ensure_eq!(reply.status, 409, "{}: {}", reply.asked, reply.body);
                reply.is_problem()?;
            }
            // Asked to end what has been ended, it shows how.
            project.cancel(&claimed.run).await?;
            let retry = project
                .member
                .post(
                    &format!("/v1/runs/{}/steps/only/retry", claimed.run),
                    &json!({}),
                )
                .await?;
            ensure!(
                [403, 409].contains(&retry.status),
                "a retry of an aborted step: {}",
                retry.body
            );
            aborted(&project, &claimed.run, &by, &fan_out).await?;
            let steps = project.run(&claimed.run).await?.steps;
            let marks = steps
                .iter()
                .map(|step| json!(step.aborted)["kind"].clone())
                .collect::<Vec<_>>();
            ensure_eq!(marks, ["revoked", "revoked"], "the marks of both steps");
        }
        stack.sweep().await?;
        // Lifted: what was aborted stays so.
        if project
            .admin
            .revocation(&revoked.ids.concat())
            .await?
            .lifted
            .is_none()
        {
            project.admin.lift(&revoked.ids.concat()).await?;
        }
    }
    let running = claims.iter().map(|claimed| &claimed.run);
    for (run, started) in running.zip([1, 1, 0]) {
        ensure_eq!(
            project.events(run, "step.running").await?.len(),
            started,
            "audited starts"
        );
        for name in ["step.succeeded", "step.failed", "run.cancelled"] {
            ensure!(
                project.events(run, name).await?.is_empty(),
                "`{name}` after the abort"
            );
        }
        ensure!(
            !project.events(run, "report.refused").await?.is_empty(),
            "refused reports are not in the trail"
        );
    }
    Ok(())
}

/// 42. `:preview` -> affected runs, nothing changed.
pub async fn s42_a_preview_changes_nothing(stack: &Stack) -> Outcome {
    let (project, other) = stack.pair("keys").await?;
    let name = format!("s42-{}", unique());
    let system = format!("system/{name}");
    stack
        .operator
        .create_profile(
            &name,
            &secrets(&[("SYSTEM", &nowhere(&format!("system/{name}")))]),
        )
        .await?;
    let address = nowhere(&name);
    let (alias, spared) = (format!("{name}-alias"), format!("{name}-spared"));
    for project in [&project, &other] {
        project
            .admin
            .create_profile(&name, &secrets(&[("API_KEY", &address)]))
            .await?;
        project
            .admin
            .create_profile(&alias, &secrets(&[("ALIAS", &address)]))
            .await?;
        project
            .admin
            .create_profile(&spared, &secrets(&[("SPARED", &nowhere(&spared))]))
            .await?;
    }
    let body = |profile: &str| with_profile(profile, &[played("only", &json!({}))]);
    let (worker, theirs) = (player(&project, 3).await?, player(&other, 1).await?);
    let mut held = Vec::new();
    for profile in [&name, &alias, &spared] {
        let run = project.enqueue(&body(profile)).await?;
        held.push(worker.claim(&run, "only").await?);
    }
    let waits = project.enqueue(&body(&name)).await?;
    let elsewhere = other.enqueue(&body(&name)).await?;
    let elsewhere = theirs.claim(&elsewhere, "only").await?;
    let started = held
        .first()
        .cloned()
        .ok_or_else(|| sealfleet_test_stack::Failure::new("no claim"))?;
    worker.start(&started).await?;

    let nothing_changes = async {
        let state = async || -> Outcome<(Vec<Value>, Vec<Value>, usize)> {
            let (mut states, mut events) = (Vec::new(), Vec::new());
            for run in held.iter().map(|claimed| &claimed.run).chain([&waits]) {
                let step = project.step(run, "only").await?;
                states.push(json!([
                    project.run(run).await?.state,
                    step.state,
                    step.fence,
                    step.aborted
                ]));
                events.extend(project.audit(run).await?);
            }
            Ok((
                states,
                events,
                of_key(&project, "secret.revoked", &name).await?,
            ))
        };
        let before = state().await?;
        let mut affected: Vec<&str> = held
            .iter()
            .take(2)
            .map(|claimed| claimed.run.as_str())
            .collect();
        affected.sort_unstable();
        for caller in [&project.admin, &project.member, &project.viewer] {
            let mut previewed = caller.preview(&[(&name, "API_KEY")]).await?;
            previewed.sort();
            ensure_eq!(previewed, affected, "the runs that would be aborted");
        }
        let shown = sealfleet_test_stack::identity::revocation(&[(&alias, "ALIAS")], true);
        let shown = project
            .admin
            .post("/v1/revocations:preview", &shown)
            .await?
            .accepted()?;
        let of_alias = shown["runs"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|run| run["run_id"] == held.get(1).map_or("", |c| &c.run));
        let expected = json!({
            "project": project.id, "run_id": held.get(1).map(|claimed| &claimed.run), "profile": alias, "key": "ALIAS",
        });
        ensure_eq!(of_alias, Some(&expected), "how a run is shown: {shown}");
        ensure_eq!(
            project.admin.preview(&[(&spared, "SPARED")]).await?.len(),
            1,
            "runs with the other key"
        );
        ensure!(
            stack
                .operator
                .preview(&[(&name, "SYSTEM")])
                .await?
                .is_empty(),
            "nobody uses the system's key"
        );
        ensure!(
            project
                .admin
                .preview(&[(&system, "SYSTEM")])
                .await?
                .is_empty(),
            "the project does not use the system's key"
        );

        for claimed in &held {
            ensure!(
                worker.holds(claimed).await?,
                "a previewed claim is not held any more"
            );
        }
        ensure!(
            theirs.holds(&elsewhere).await?,
            "a claim of another project is not held any more"
        );
        ensure_eq!(
            state().await?,
            before,
            "runs, their trail and revocations after it all"
        );
        for state in [RevocationState::Active, RevocationState::Lifted] {
            let listed = project.admin.revocations(state).await?;
            ensure!(
                listed.iter().all(|found| found.profile.to_string() != name),
                "a preview has revoked"
            );
        }
        Ok(())
    };
    while_alive(
        &[(&worker, held.clone()), (&theirs, vec![elsewhere.clone()])],
        nothing_changes,
    )
    .await?;
    project.enqueue(&body(&name)).await?;
    for claimed in &held {
        worker.succeed(claimed).await?;
    }
    theirs.succeed(&elsewhere).await?;
    ensure!(
        project
            .admin
            .preview(&[(&name, "API_KEY")])
            .await?
            .is_empty(),
        "ended runs are previewed"
    );
    Ok(())
}

/// 43. Soft revoke after enqueue -> start refused, run failed with the reason.
pub async fn s43_a_revoked_key_starts_nothing(stack: &Stack) -> Outcome {
    let project = stack.project("keys").await?;
    let (profile, cloud) = (
        format!("s43-{}", unique()),
        format!("s43-cloud-{}", unique()),
    );
    let secret = project.aws_secret(stack, &cloud, "never seen").await?;
    project
        .admin
        .create_profile(&profile, &secrets(&[("API_KEY", &nowhere(&profile))]))
        .await?;
    project
        .admin
        .create_profile(&cloud, &secrets(&[("API_KEY", &secret.uri)]))
        .await?;
    let worker = player(&project, 4).await?;
    let body = with_profile(&profile, &[played("only", &json!({}))]);
    let (waits, leased, running) = (
        project.enqueue(&body).await?,
        project.enqueue(&body).await?,
        project.enqueue(&body).await?,
    );
    let (leased, running) = (
        worker.claim(&leased, "only").await?,
        worker.claim(&running, "only").await?,
    );
    worker.start(&running).await?;
    let sleeper = Sleeper::new();
    let steps = gated(&sleeping("only", FARGATE, &sleeper, &json!({})));
    let alive = [(&worker, vec![leased.clone(), running.clone()])];
    let (on_fargate, revoked, refused) = while_alive(&alive, async {
        let on_fargate = project.enqueue(&with_profile(&cloud, &steps)).await?;
        let revoked = project
            .admin
            .revoke(&[(&profile, "API_KEY"), (&cloud, "API_KEY")], false)
            .await?;
        Ok((on_fargate, revoked, worker.try_claim(&waits, "only").await?))
    })
    .await?;

    // Claimed after it.
    let detail = refused.refused(403, "secret_revoked")?;
    let (id, in_cloud) = (
        revoked.ids.first().cloned().unwrap_or_default(),
        revoked.ids.get(1).cloned().unwrap_or_default(),
    );
    ensure!(
        detail.contains(&id) && detail.contains("`API_KEY`"),
        "the refused claim does not say why: {detail}"
    );
    failed_revoked(&project, &waits, &id).await?;

    // Claimed before it, started after it.
    worker
        .try_start(&leased)
        .await?
        .refused(403, "secret_revoked")?;
    let step = project.step(&leased.run, "only").await?;
    let by =
        json!({ "kind": "revoked", "revocation_id": id, "profile": profile, "key": "API_KEY" });
    ensure_eq!(
        (step.state.as_str(), json!(step.aborted)),
        ("aborted", by),
        "a start after the revocation"
    );
    ensure!(!worker.holds(&leased).await?, "a refused start is held");
    for name in ["step.running", "profile.injected", "secret.decrypted"] {
        ensure!(
            project.events(&leased.run, name).await?.is_empty(),
            "`{name}` of a refused start"
        );
    }
    // Started before it: a soft revocation lets it end.
    ensure!(
        worker.holds(&running).await?,
        "a soft revocation took a step that runs"
    );
    worker.succeed(&running).await?;

    open_gate(&worker, &on_fargate).await?;
    project.finished(&on_fargate, SOON).await?;
    failed_revoked(&project, &on_fargate, &in_cloud).await?;
    ensure!(
        tasks(stack, &project, &on_fargate).await?.is_empty(),
        "a task was started with a revoked key"
    );
    ensure!(
        sleeper.asleep().is_empty(),
        "a sandbox runs with a revoked key"
    );
    let gate = project.step(&on_fargate, "gate").await?;
    ensure_eq!(gate.pool.as_str(), PLAYED, "the step before it");
    Ok(())
}

async fn failed_revoked(project: &Project, run: &str, revocation: &str) -> Outcome {
    let step = json!(project.step(run, "only").await?);
    ensure_eq!(
        (&step["state"], &step["failure"]["kind"]),
        (&json!("failed"), &json!("secret_revoked")),
        "{step}"
    );
    ensure!(
        step["failure"]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains(revocation)),
        "the reason: {step}"
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
    for name in ["step.running", "profile.injected", "secret.decrypted"] {
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
