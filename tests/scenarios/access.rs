//! The secrets that tools inside sandboxes see.

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::processes::Sleeper;
use sealfleet_test_stack::project::{FARGATE, PULL, merged};
use sealfleet_test_stack::{Outcome, Stack, ensure_eq, unique};
use serde_json::{Map, Value, json};

use crate::seen::{SOON, injected, names, padded, seen, sleeping, with_profile};

/// 49. ACL `codex: []` -> no secrets, env kept; a tool not listed -> none; a step without a tool ->
///     none.
pub async fn s49_a_tool_sees_what_it_is_granted(stack: &Stack) -> Outcome {
    let project = stack.project("live").await?;
    let worker = project.live_worker(stack).await?;
    let tag = unique();
    let store = project.builtin_store(stack).await?;
    let beside = (
        store.put(&format!("s49-{tag}-a"), &padded("a")).await?,
        store.put(&format!("s49-{tag}-b"), &padded("b")).await?,
    );
    let in_aws = (
        project
            .aws_secret(stack, &format!("s49-{tag}-a"), &padded("a"))
            .await?,
        project
            .aws_secret(stack, &format!("s49-{tag}-b"), &padded("b"))
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
