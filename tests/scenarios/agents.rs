//! CLI agents: the real Codex in the sandboxes of a real worker, with the stand-in of its model's
//! API on this host.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sealfleet_local_model::{Fault, Model, Scripts, Turn};
use sealfleet_test_stack::agents::have_codex;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, PULL, merged, step};
use sealfleet_test_stack::worker::{BuiltinStore, WorkerProcess};
use sealfleet_test_stack::{Claimed, Outcome, Project, Stack, ensure, ensure_eq, unique};
use serde_json::{Value, json};

use crate::seen::with_profile;

/// An agent takes some seconds, and tries an error of its provider again.
const LONG: Duration = Duration::from_secs(150);
/// A model of the table of prices.
const MODEL: &str = "gpt-5.1-codex";

/// 77. Codex answers in bubblewrap and on Fargate, with the tenant's key, against the stand-in
///     model; usage and cost are on the step; the key is nowhere else. Each error has its own
///     reason.
pub async fn s77_an_agent_works_with_its_tenants_key(stack: &Stack) -> Outcome {
    let scripts = Scripts::all([
        Turn::shell("echo edited > note.txt && cat note.txt").costs(1000, 400, 50),
        Turn::say("I wrote `note.txt`.").costs(1200, 1000, 20),
    ]);
    let faults = [
        (Fault::RateLimit, "agent_rate_limited"),
        (Fault::Auth, "agent_auth"),
        (Fault::Context, "agent_context"),
        (Fault::Drop, "agent_network"),
    ];
    let scripts = faults.iter().fold(scripts, |scripts, (fault, name)| {
        scripts.and(name, [Turn::fail(*fault)])
    });
    let model = Model::start(scripts).await?;
    let place = Place::new(stack, "seventyseven", &model).await?;

    let asked = json!({ "max_turns": 2, "budget_usd": 0.01, "model": MODEL });
    let (ended, output) = place.run(&asked).await?;
    let told = place.worker.log();
    ensure_eq!(
        ended["state"],
        "succeeded",
        "the step: {ended}\n{told}\n{output}"
    );
    ensure_eq!(ended["agent"], "codex", "the agent");
    let used = json!({ "input_tokens": 2200, "cached_input_tokens": 1400, "output_tokens": 70 });
    ensure_eq!(ended["usage"], used, "the usage: {ended}");
    ensure_eq!(ended["cost_usd"], 0.001_875, "the cost: {ended}");
    ensure_eq!(ended["turns"], 2, "the turns: {ended}");
    ensure!(
        output.contains("I wrote `note.txt`."),
        "the output: {output}"
    );
    ensure!(!output.contains(&place.key), "the key is in the output");
    let asked = model.requests().len();
    ensure_eq!(asked, 2, "requests of the model");
    ensure_eq!(model.requests_with(&place.key), asked, "those with the key");

    for (_, failure) in faults {
        let (ended, output) = place.run(&json!({ "model": failure })).await?;
        ensure_eq!(
            ended["failure"]["kind"],
            failure,
            "the failure: {ended}\n{output}"
        );
    }

    // On Fargate, with the key in Secrets Manager.
    place.have_hosted(stack).await?;
    let hosted = place.step(
        &json!({ "max_turns": 2, "budget_usd": 0.01, "model": MODEL }),
        &json!({ "pool": FARGATE }),
    );
    let before = model.requests_with(&place.key);
    let (ended, _) = place.run_of("hosted-models", &hosted).await?;
    ensure_eq!(ended["state"], "succeeded", "the step: {ended}");
    ensure_eq!(ended["usage"], used, "the usage: {ended}");
    ensure_eq!(ended["cost_usd"], 0.001_875, "the cost: {ended}");
    ensure_eq!(model.requests_with(&place.key), before + 2, "with the key");

    // Another tool than the CLI does not see the key, so the agent has none.
    let other = place.step(&json!({ "model": MODEL }), &json!({ "tool": "other" }));
    let (ended, output) = place.run_step(&other).await?;
    ensure_eq!(
        ended["state"],
        "failed",
        "without its key: {ended}\n{output}"
    );
    ensure_eq!(model.requests_with(""), 0, "requests without a key");
    Ok(())
}

/// 78. An agent over its budget or turns is stopped and says so.
pub async fn s78_an_agent_over_its_limits_is_stopped(stack: &Stack) -> Outcome {
    let endless = [Turn::shell("sleep 0.2; echo again").costs(100_000, 0, 1000)];
    let model = Model::start(Scripts::all(endless)).await?;
    let place = Place::new(stack, "seventyeight", &model).await?;
    for (asked, failure) in [
        (
            json!({ "model": MODEL, "max_turns": 3 }),
            json!({ "kind": "over_turns", "max_turns": 3 }),
        ),
        (
            json!({ "model": MODEL, "budget_usd": 0.5 }),
            json!({ "kind": "over_budget", "budget_usd": 0.5 }),
        ),
    ] {
        let (ended, output) = place.run(&asked).await?;
        ensure_eq!(ended["state"], "failed", "the step: {ended}\n{output}");
        ensure_eq!(ended["failure"], failure, "the failure: {ended}");
        ensure!(ended["turns"].as_u64() > Some(3), "the turns: {ended}");
        ensure!(ended["cost_usd"].as_f64() > Some(0.4), "the cost: {ended}");
    }
    Ok(())
}

/// A project whose worker has Codex in its sandboxes' root and reaches the model.
struct Place {
    project: Arc<Project>,
    worker: WorkerProcess,
    /// The tenant's key to the model.
    key: String,
}

impl Place {
    async fn new(stack: &Stack, name: &str, model: &Model) -> Outcome<Self> {
        let project = stack.project(name).await?;
        let store = BuiltinStore::create(stack, &project).await?;
        let key = format!("key-{}-{}", unique(), unique());
        let stored = store.put("models/openai", &key).await?;
        let content = merged(
            secrets(&[("OPENAI_API_KEY", &stored.pinned())]),
            &json!({
                "env": { "OPENAI_BASE_URL": format!("{}/v1", model.url()) },
                "tools": { "codex": ["OPENAI_API_KEY"] },
            }),
        );
        project.admin.create_profile("models", &content).await?;
        let root = stack.scratch.join(format!("root-{}", unique()));
        with_codex(&stack.parts.directory.join("rootfs"), &root).await?;
        let options = [
            ("--network", "host"),
            ("--memory", "1024"),
            ("--heartbeat-seconds", "1"),
        ];
        let options = options.map(|(option, value)| (option, value.to_owned()));
        let worker =
            WorkerProcess::start_with(&root, &options, stack, &project, &store, &[]).await?;
        Ok(Self {
            project,
            worker,
            key,
        })
    }

    /// A step that runs Codex; `agent` and `more` add to it or change it.
    fn step(&self, agent: &Value, more: &Value) -> Value {
        let agent = merged(json!({ "cli": "codex", "prompt": "edit the note" }), agent);
        let full = json!({ "pool": PULL, "mode": "full", "command": [], "agent": agent });
        step("only", &merged(full, more))
    }

    async fn run(&self, agent: &Value) -> Outcome<(Value, String)> {
        self.run_step(&self.step(agent, &json!({}))).await
    }

    /// Makes ready what steps of the Fargate pool need: the key in Secrets Manager, and Codex in
    /// the one image that the stand-in of ECS has.
    async fn have_hosted(&self, stack: &Stack) -> Outcome {
        let stored = self.project.aws_secret(stack, "openai", &self.key).await?;
        let shown = self.project.member.get("/v1/profiles/models").await?.body;
        let content = merged(
            secrets(&[("OPENAI_API_KEY", &stored.uri)]),
            &json!({ "env": shown["env"], "tools": shown["tools"] }),
        );
        let admin = &self.project.admin;
        admin.create_profile("hosted-models", &content).await?;
        have_codex(&stack.parts.directory.join("rootfs"))
    }

    /// The step's end and its output.
    async fn run_step(&self, step: &Value) -> Outcome<(Value, String)> {
        self.run_of("models", step).await
    }

    async fn run_of(&self, profile: &str, step: &Value) -> Outcome<(Value, String)> {
        let run = self
            .project
            .enqueue(&with_profile(profile, std::slice::from_ref(step)))
            .await?;
        let ended = self
            .project
            .until(&run, "only", &["succeeded", "failed"], LONG)
            .await?;
        let claimed = Claimed {
            run,
            step: "only".to_owned(),
            fence: ended.fence.number(),
        };
        let output = self.worker.output(&claimed);
        Ok((json!(ended), output))
    }
}

/// A copy of a root for sandboxes, with Codex in it.
async fn with_codex(root: &Path, copy: &Path) -> Outcome {
    let copied = tokio::process::Command::new("cp")
        .args(["--archive", "--reflink=auto"])
        .args([root, copy])
        .output()
        .await?;
    ensure!(
        copied.status.success(),
        "copying the root: {}",
        String::from_utf8_lossy(&copied.stderr)
    );
    have_codex(copy)
}
