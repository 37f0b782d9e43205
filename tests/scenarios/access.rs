//! Who sees and who may change identities: tools inside sandboxes, and callers of the API.

use futures_util::future::join;
use sealfleet_client::RevocationState;
use sealfleet_domain::run::RunState;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::identity::{NOWHERE, revocation, secrets};
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged};
use sealfleet_test_stack::{Caller, Outcome, Project, Reply, Stack, ensure, ensure_eq, unique};
use serde_json::{Map, Value, json};

use crate::seen::{
    SOON, fresh_id, injected, names, nowhere, played, player, seen, sleeping, with_profile,
};

/// 49. ACL `codex: []` -> no secrets, env kept; a tool not listed -> none; a step without a tool ->
///     none.
pub async fn s49_a_tool_sees_what_it_is_granted(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let tag = unique();
    let store = project.builtin_store(stack).await?;
    let beside = (
        store.put(&format!("s49-{tag}-a"), "a").await?,
        store.put(&format!("s49-{tag}-b"), "b").await?,
    );
    let in_aws = (
        project
            .aws_secret(stack, &format!("s49-{tag}-a"), "a")
            .await?,
        project
            .aws_secret(stack, &format!("s49-{tag}-b"), "b")
            .await?,
    );
    let lists = json!({ "codex": [], "claude": ["A"], "all": ["*"], "other": ["C"] });
    let granted = [
        ("codex", Some("codex"), vec![]),
        ("not-listed", Some("gemini"), vec![]),
        ("no-tool", None, vec![]),
        ("other", Some("other"), vec![]),
        ("claude", Some("claude"), vec!["A"]),
        ("all", Some("all"), vec!["A", "B"]),
    ];
    for (pool, a, b) in [
        (PULL, beside.0.pinned(), beside.1.pinned()),
        (FARGATE, in_aws.0.uri, in_aws.1.uri),
    ] {
        let profile = format!("s49-{tag}-{pool}");
        let more = json!({ "env": { "REGION": "eu" }, "tools": lists });
        project
            .admin
            .create_profile(&profile, &merged(secrets(&[("A", &a), ("B", &b)]), &more))
            .await?;
        let sleepers: Vec<Sleeper> = granted.iter().map(|_| Sleeper::new()).collect();
        let steps = granted
            .iter()
            .zip(&sleepers)
            .map(|((id, tool, _), sleeper)| {
                let tool = tool.map_or_else(|| json!({}), |tool| json!({ "tool": tool }));
                sleeping(id, pool, sleeper, &tool)
            });
        let steps: Vec<Value> = steps.collect();
        let run = project.enqueue(&with_profile(&profile, &steps)).await?;
        for ((id, _, keys), sleeper) in granted.iter().zip(&sleepers) {
            let seen = seen(&project, &run, sleeper, &["A", "B", "REGION"]).await?;
            let mut expected = Map::from_iter([("REGION".to_owned(), json!("eu"))]);
            expected.extend(
                keys.iter()
                    .map(|key| ((*key).to_owned(), json!(key.to_lowercase()))),
            );
            ensure_eq!(
                seen,
                Value::Object(expected),
                "`{id}` in `{pool}`; the worker says\n{}",
                worker.log()
            );
        }
        if pool == FARGATE {
            let told = injected(stack, &project, &run).await?;
            for (id, _, keys) in &granted {
                let told: Vec<&str> = told[*id]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(key, _)| key.as_str())
                    .collect();
                ensure_eq!(&told, keys, "the secrets in the task definition of `{id}`");
            }
            ensure_eq!(told.as_object().map(Map::len), Some(granted.len()), "tasks");
        }
        sleepers.iter().for_each(Sleeper::wake);
        project.run_until(&run, RunState::Succeeded, SOON).await?;
        let released = project.events(&run, "secret.released").await?;
        let decrypted = project.events(&run, "secret.decrypted").await?;
        for (id, tool, keys) in &granted {
            let of_step = released
                .iter()
                .find(|event| event["step_id"] == *id)
                .cloned()
                .unwrap_or_default();
            ensure_eq!(
                &names(&of_step["secrets"]),
                keys,
                "what was released to `{id}` in `{pool}`"
            );
            let decrypted = decrypted.iter().filter(|event| event["step_id"] == *id);
            let decrypted: Vec<&str> = decrypted
                .filter_map(|event| event["key"].as_str())
                .collect();
            ensure_eq!(
                &decrypted,
                keys,
                "what was decrypted for `{id}` in `{pool}`"
            );
            let tool = tool.map_or_else(|| json!({}), |tool| json!({ "tool": tool }));
            let asked = merged(json!({ "workflow": "tests", "profile": profile }), &tool);
            for key in ["A", "B"] {
                let resolved = project.viewer.resolved_key(&asked, key).await?;
                ensure_eq!(
                    resolved["seen"],
                    keys.contains(&key),
                    "whether `{id}` sees `{key}`, when asked before"
                );
            }
        }
    }
    Ok(())
}

/// Viewers and members read; operators and projects have each their own.
pub async fn who_may_write_profiles_and_revoke(stack: &Stack) -> Outcome {
    let project = stack.project("keys").await?;
    let tag = unique();
    let (own, system) = (format!("own-{tag}"), format!("sys-{tag}"));
    project
        .admin
        .create_profile(&own, &secrets(&[("API_KEY", &nowhere("roles"))]))
        .await?;
    stack
        .operator
        .create_profile(&system, &secrets(&[("API_KEY", &nowhere("system/roles"))]))
        .await?;
    let revoked = project.admin.revoke(&[(&own, "API_KEY")], false).await?;
    let id = revoked.ids.first().cloned().unwrap_or_default();
    let worker = player(&project, 1).await?;

    let key = revocation(&[(&own, "API_KEY")], true);
    let asked = json!({ "workflow": "tests", "profile": own });
    let before = (
        project.admin.profile(&own).await?,
        project.admin.revocation(&id).await?,
    );
    let write = async |caller: &Caller| -> Outcome<Vec<Reply>> {
        let named = merged(secrets(&[]), &json!({ "name": format!("new-{tag}") }));
        Ok(vec![
            caller.post("/v1/profiles", &named).await?,
            caller.try_put_profile(&own, 1, &json!({})).await?,
            caller.try_delete_profile(&own).await?,
            caller
                .put(
                    "/v1/cascade",
                    None,
                    &json!({ "workflows": { "roles": own } }),
                )
                .await?,
            caller.post("/v1/revocations", &key).await?,
            caller.try_lift(&id).await?,
        ])
    };
    for caller in [&project.viewer, &project.member] {
        for reply in write(caller).await? {
            reply.refused(403, "forbidden")?;
        }
        caller.profile(&own).await?;
        caller.profile_versions(&own).await?;
        caller.client().get_cascade().await?;
        caller.resolve(&asked).await?;
        caller.revocations(RevocationState::Active).await?;
        caller.revocation(&id).await?;
        caller.preview(&[(&own, "API_KEY")]).await?;
    }
    for caller in [&worker.caller, &stack.anonymous] {
        for reply in write(caller).await? {
            reply.refused(401, "unauthenticated")?;
        }
        caller
            .post("/v1/cascade/resolve", &asked)
            .await?
            .refused(401, "unauthenticated")?;
        caller
            .get("/v1/revocations")
            .await?
            .refused(401, "unauthenticated")?;
        caller
            .post("/v1/revocations:preview", &key)
            .await?
            .refused(401, "unauthenticated")?;
    }

    // An operator's token: at the same paths, and on the system's alone.
    for reply in [
        stack.operator.get(&format!("/v1/profiles/{own}")).await?,
        stack.operator.try_put_profile(&own, 1, &json!({})).await?,
        stack.operator.try_delete_profile(&own).await?,
        stack.operator.post("/v1/revocations", &key).await?,
        stack.operator.get(&format!("/v1/revocations/{id}")).await?,
        stack.operator.try_lift(&id).await?,
    ] {
        reply.refused(404, "not_found")?;
    }
    for reply in [
        stack.operator.get("/v1/cascade").await?,
        stack.operator.put("/v1/cascade", None, &json!({})).await?,
        stack.operator.post("/v1/cascade/resolve", &asked).await?,
    ] {
        reply.refused(403, "forbidden")?;
    }
    let theirs = stack.operator.list("/v1/profiles?limit=100").await?;
    ensure!(
        theirs
            .iter()
            .any(|profile| profile["name"] == system.as_str()),
        "the operators' own profile is not listed"
    );
    ensure!(
        theirs.iter().all(|profile| profile["name"] != own.as_str()),
        "a project's profile is listed for operators"
    );

    // A project's admin: not on the system's.
    let path = format!("/v1/profiles/{system}");
    project.admin.get(&path).await?.refused(404, "not_found")?;
    project
        .admin
        .put(&path, Some("\"1\""), &json!({}))
        .await?
        .refused(404, "not_found")?;
    project
        .admin
        .delete(&path)
        .await?
        .refused(404, "not_found")?;
    let reached = project
        .admin
        .get(&format!("/v1/profiles/system/{system}"))
        .await?;
    ensure_eq!(
        reached.status,
        404,
        "a system profile by its full name: {}",
        reached.body
    );
    let named =
        |name: &str, uri: &str| merged(secrets(&[("API_KEY", uri)]), &json!({ "name": name }));
    for (body, field) in [
        (named(&format!("system/{tag}"), NOWHERE), "name"),
        (
            named("reaches", "aws-sm://sealfleet/system/crm#key"),
            "secrets.API_KEY",
        ),
        (named("reaches", &nowhere("system/crm")), "secrets.API_KEY"),
    ] {
        let refused = project.admin.post("/v1/profiles", &body).await?;
        refused.refused(400, "invalid_request")?;
        ensure_eq!(refused.body["field"], field, "the field of {body}");
    }
    let refused = stack
        .operator
        .post("/v1/profiles", &named(&format!("r-{tag}"), NOWHERE))
        .await?;
    refused.refused(400, "invalid_request")?;
    ensure_eq!(
        refused.body["field"],
        "secrets.API_KEY",
        "the field of a system profile with a project's secret"
    );
    ensure_eq!(
        stack.operator.profile(&system).await?.version,
        1,
        "the system's profile after it all"
    );
    ensure_eq!(
        (
            project.admin.profile(&own).await?,
            project.admin.revocation(&id).await?
        ),
        before,
        "the project's"
    );
    project
        .admin
        .get(&format!("/v1/profiles/new-{tag}"))
        .await?
        .refused(404, "not_found")?;
    Ok(())
}

/// Another project's revocations and fan-outs, and the operators', answer as those that are not
/// there.
pub async fn another_owners_revocations_do_not_exist(stack: &Stack) -> Outcome {
    let (alpha, beta) = stack.pair("alpha").await?;
    let name = format!("hidden-{}", unique());
    stack
        .operator
        .create_profile(&name, &secrets(&[("API_KEY", &nowhere("system/hidden"))]))
        .await?;
    beta.admin
        .create_profile(&name, &secrets(&[("API_KEY", &nowhere("hidden"))]))
        .await?;
    let owners = [
        (&beta.admin, &alpha.admin),
        (&stack.operator, &alpha.admin),
        (&alpha.admin, &stack.operator),
    ];
    alpha
        .admin
        .create_profile(&name, &secrets(&[("API_KEY", &nowhere("hidden"))]))
        .await?;
    for (owner, stranger) in owners {
        let revoked = owner.revoke(&[(&name, "API_KEY")], true).await?;
        let id = revoked.ids.first().cloned().unwrap_or_default();
        let fan_out = revoked.fan_out.unwrap_or_default();
        let seen = owner.revocation(&id).await?;
        owner.fan_out(&fan_out).await?;
        let (no_id, no_fan_out) = (fresh_id("rev"), fresh_id("fan"));
        for (theirs, nobodys) in [
            (
                format!("/v1/revocations/{id}"),
                format!("/v1/revocations/{no_id}"),
            ),
            (
                format!("/v1/fan-outs/{fan_out}"),
                format!("/v1/fan-outs/{no_fan_out}"),
            ),
        ] {
            same(
                &stranger.get(&theirs).await?,
                &stranger.get(&nobodys).await?,
            )?;
        }
        same(
            &stranger.try_lift(&id).await?,
            &stranger.try_lift(&no_id).await?,
        )?;
        for state in [RevocationState::Active, RevocationState::Lifted] {
            let listed = stranger.revocations(state).await?;
            ensure!(
                listed
                    .iter()
                    .all(|found| found.revocation_id != seen.revocation_id),
                "it is listed: {listed:?}"
            );
        }
        ensure_eq!(
            owner.revocation(&id).await?,
            seen,
            "the revocation after it all"
        );
        owner.lift(&id).await?;
        same(
            &stranger.get(&format!("/v1/revocations/{id}")).await?,
            &stranger.get(&format!("/v1/revocations/{no_id}")).await?,
        )?;
    }
    Ok(())
}

fn same(exists: &Reply, missing: &Reply) -> Outcome {
    exists.refused(404, "not_found")?;
    let parts = |reply: &Reply| {
        (
            reply.status,
            reply.content_type.clone(),
            reply.etag.clone(),
            String::from_utf8_lossy(&reply.bytes).into_owned(),
        )
    };
    ensure_eq!(
        parts(exists),
        parts(missing),
        "{} against {}",
        exists.asked,
        missing.asked
    );
    Ok(())
}

/// Every change names what it replaces, every version is kept, and what is in use stays.
pub async fn profiles_change_by_version(stack: &Stack) -> Outcome {
    let project = stack.project("keys").await?;
    let admin = &project.admin;
    let name = format!("versions-{}", unique());
    let path = format!("/v1/profiles/{name}");
    let content = |number: &str| {
        merged(
            secrets(&[("API_KEY", NOWHERE)]),
            &json!({ "env": { "N": number } }),
        )
    };
    let created = admin
        .post(
            "/v1/profiles",
            &merged(content("1"), &json!({ "name": name })),
        )
        .await?;
    ensure_eq!(
        (created.status, created.etag.as_str()),
        (201, "\"1\""),
        "a new profile"
    );
    admin
        .post(
            "/v1/profiles",
            &merged(content("1"), &json!({ "name": name })),
        )
        .await?
        .refused(409, "already_exists")?;

    let unconditional = admin.put(&path, None, &content("2")).await?;
    let detail = unconditional.refused(428, "precondition_required")?;
    ensure!(
        detail.contains("If-Match") && detail.contains("ETag"),
        "the remedy is not named: {detail}"
    );
    for wrong in ["1", "\"x\"", "W/\"1\"", "*"] {
        let refused = admin.put(&path, Some(wrong), &content("2")).await?;
        refused.refused(400, "invalid_request")?;
        ensure_eq!(refused.body["field"], "If-Match", "the field of `{wrong}`");
    }
    let stale = admin
        .try_put_profile(&name, 7, &content("2"))
        .await?
        .refused(412, "version_conflict")?;
    ensure!(
        stale.contains("\"1\""),
        "the version that it has is not told: {stale}"
    );
    ensure_eq!(
        admin.profile(&name).await?.version,
        1,
        "the version after refused changes"
    );

    // Of two who saw the same version one wins.
    let contents = (content("2"), content("3"));
    let (one, other) = join(
        admin.try_put_profile(&name, 1, &contents.0),
        admin.try_put_profile(&name, 1, &contents.1),
    )
    .await;
    let (one, other) = (one?, other?);
    let (won, lost) = if one.status == 200 {
        (&one, &other)
    } else {
        (&other, &one)
    };
    lost.refused(412, "version_conflict")?;
    ensure_eq!(
        (won.status, won.etag.as_str()),
        (200, "\"2\""),
        "the change that won"
    );
    let shown = admin.get(&path).await?;
    ensure_eq!(
        (&shown.body, shown.etag.as_str()),
        (&won.body, "\"2\""),
        "the profile after two changes at once"
    );

    // In use: a run in flight holds it. A run that waits does not.
    let worker = player(&project, 1).await?;
    let run = project
        .enqueue(&with_profile(&name, &[played("only", &json!({}))]))
        .await?;
    let held = worker.claim(&run, "only").await?;
    let kept = async {
        let detail = admin
            .try_delete_profile(&name)
            .await?
            .refused(409, "profile_in_use")?;
        ensure!(
            detail.contains("cancel") || detail.contains("wait"),
            "the remedy is not named: {detail}"
        );
        ensure_eq!(
            admin.profile(&name).await?.version,
            2,
            "the version of what is in use"
        );
        Ok(())
    };
    worker.while_held(&held, kept).await?;
    worker.succeed(&held).await?;
    admin
        .delete_if(&path, "\"1\"")
        .await?
        .refused(412, "version_conflict")?;
    let deleted = admin.delete_if(&path, "\"2\"").await?;
    ensure_eq!(
        deleted.status,
        204,
        "deleting what nobody uses: {}",
        deleted.body
    );
    admin.get(&path).await?.refused(404, "not_found")?;
    admin
        .try_delete_profile(&name)
        .await?
        .refused(404, "not_found")?;
    admin
        .try_put_profile(&name, 2, &content("4"))
        .await?
        .refused(404, "not_found")?;

    // A profile of the same name goes on counting, so that no two versions look alike.
    let again = admin.create_profile(&name, &content("4")).await?;
    ensure_eq!(
        again.version,
        4,
        "the version of a profile that was deleted before"
    );
    let versions = admin.profile_versions(&name).await?;
    let told: Vec<(u32, bool)> = versions
        .iter()
        .map(|told| (told.profile.version, told.deleted))
        .collect();
    ensure_eq!(
        told,
        [(4, false), (3, true), (2, false), (1, false)],
        "the history"
    );
    ensure!(
        versions
            .iter()
            .all(|version| version.by.starts_with("token:")),
        "{versions:?}"
    );
    let updated: Vec<Value> = admin.events("profile.updated").await?;
    let of_it = updated
        .iter()
        .filter(|event| event["profile"] == name.as_str());
    ensure_eq!(
        of_it.map(|event| &event["version"]).collect::<Vec<_>>(),
        [&json!(2)],
        "audited changes"
    );
    let deleted = admin.events("profile.deleted").await?;
    ensure_eq!(
        deleted
            .iter()
            .filter(|event| event["profile"] == name.as_str())
            .count(),
        1,
        "audited deletions"
    );
    Ok(())
}

/// A cursor goes on with the very list that it came from.
pub async fn cursors_are_bound_to_their_list(stack: &Stack) -> Outcome {
    let (project, other) = (stack.project("keys").await?, stack.project("alpha").await?);
    let (one, two) = (format!("one-{}", unique()), format!("two-{}", unique()));
    for name in [&one, &two] {
        project
            .admin
            .create_profile(name, &secrets(&[("API_KEY", &nowhere("cursors"))]))
            .await?;
        project
            .admin
            .save_profile(name, &secrets(&[("API_KEY", &nowhere("cursors"))]))
            .await?;
        project.admin.revoke(&[(name, "API_KEY")], false).await?;
    }
    let cursor = async |path: &str| -> Outcome<String> {
        text(&project.admin.get(path).await?.accepted()?, "next_cursor")
    };
    let active = cursor("/v1/revocations?state=active&limit=1").await?;
    let history = cursor(&format!("/v1/profiles/{one}/versions?limit=1")).await?;
    let profiles = cursor("/v1/profiles?limit=1").await?;
    project
        .admin
        .get(&format!("/v1/revocations?limit=1&cursor={active}"))
        .await?
        .accepted()?;
    for (caller, path) in [
        (&other.admin, format!("/v1/revocations?cursor={active}")),
        (&stack.operator, format!("/v1/revocations?cursor={active}")),
        (
            &project.admin,
            format!("/v1/revocations?state=lifted&cursor={active}"),
        ),
        (&project.admin, format!("/v1/profiles?cursor={active}")),
        (
            &project.admin,
            format!("/v1/profiles/{two}/versions?cursor={history}"),
        ),
        (&project.admin, format!("/v1/profiles?cursor={history}")),
        (&other.admin, format!("/v1/profiles?cursor={profiles}")),
        (&stack.operator, format!("/v1/profiles?cursor={profiles}")),
    ] {
        let refused = caller.get(&path).await?;
        refused.refused(400, "invalid_request")?;
        ensure_eq!(refused.body["field"], "cursor", "the field of {path}");
    }
    whole(&project, "/v1/profiles", "name").await?;
    whole(&project, "/v1/revocations", "revocation_id").await
}

/// A list read in pages of one is the list.
async fn whole(project: &Project, list: &str, id: &str) -> Outcome {
    let paged = project.admin.list(&format!("{list}?limit=1")).await?;
    let mut found: Vec<String> = paged
        .iter()
        .map(|item| text(item, id))
        .collect::<Outcome<_>>()?;
    let listed = found.len();
    found.sort();
    found.dedup();
    ensure_eq!(found.len(), listed, "items of {list} that came twice");
    // Others may have added to it meanwhile.
    ensure!(
        project.admin.list(list).await?.len() >= listed && listed >= 2,
        "items of {list}: {listed}"
    );
    Ok(())
}
