//! Fargate as a host: a local stack, whose control plane launches each step as a task of the local
//! stand-in for ECS. Everything goes by the API, as callers see it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_domain::agent::AgentReport;
use sealfleet_domain::capability::{self, Carries, Mode};
use sealfleet_domain::egress::Denials;
use sealfleet_domain::run::Outcome;
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, is_over, merged, run_of, step};
use sealfleet_test_stack::{Outcome as Done, Project, Stack, eventually, unique};
use serde_json::{Value, json};

use crate::host::{End, Facts, Host, Started, Step};
use crate::setup;
use crate::worker::PATIENCE;

/// Cases that say nothing of Fargate, because the stand-in differs from AWS there.
pub const NOT_CHECKED: [(&str, &str); 7] = [
    (
        "memory_of_a_hidden_process_is_bounded",
        "the stand-in ends the whole task; on AWS the kernel ends the process, and ECS decides what it says of that",
    ),
    (
        "files_are_no_memory_and_a_full_disk_is_told",
        "a task on AWS has 20 GiB of disk; the stand-in has 1 GiB of memory for each directory",
    ),
    (
        "processes_are_bounded_and_a_fork_bomb_ends",
        "a task on AWS has no limit of processes but its memory; the stand-in allows 256",
    ),
    (
        "the_user_has_a_name_and_no_rights",
        "user, capabilities and system calls are bubblewrap's; tests/images looks at the definition's on an engine",
    ),
    (
        "nothing_of_the_host_is_there",
        "its view of the machine is bubblewrap's; on AWS each task has a machine of its own",
    ),
    (
        "there_is_no_network_and_no_metadata",
        "the network of a task is that of its subnets; the stand-in gives it the host's",
    ),
    (
        "two_sandboxes_share_no_network",
        "each task on AWS has a network of its own; the stand-in gives all the host's",
    ),
];

/// The only step of each run.
const STEP: &str = "case";
/// How often the API is asked.
const PAUSE: Duration = Duration::from_millis(300);

/// A project with a Fargate pool.
pub struct Fargate {
    stack: Arc<Stack>,
    project: Arc<Project>,
    directory: PathBuf,
}

/// A run of one step.
struct Run {
    stack: Arc<Stack>,
    project: Arc<Project>,
    run: String,
    /// The profile that has its secrets.
    profile: Option<String>,
    redacts: bool,
}

impl Fargate {
    pub async fn of(stack: Arc<Stack>, directory: PathBuf) -> Done<Self> {
        Ok(Self {
            project: stack.project("conformance").await?,
            stack,
            directory,
        })
    }

    async fn enqueue(&self, asked: Step) -> Done<Run> {
        let mut profile = None;
        if !asked.secrets.is_empty() {
            let name = format!("case-{}", unique());
            let mut keys = Vec::new();
            for (key, value) in &asked.secrets {
                let stored = format!("{name}-{}", key.to_lowercase().replace('_', "-"));
                let stored = self.project.aws_secret(&self.stack, &stored, value).await?;
                keys.push((*key, stored.uri));
            }
            let keys: Vec<_> = keys.iter().map(|(key, uri)| (*key, uri.as_str())).collect();
            let mut content = secrets(&keys);
            if let Some(tools) = asked.tools {
                content["tools"] = tools;
            }
            self.project.admin.create_profile(&name, &content).await?;
            profile = Some(name);
        }
        let mut only = json!({
            "pool": FARGATE, "mode": asked.mode, "command": asked.command, "env": asked.env,
            "files": asked.files, "tty": asked.tty, "timeout_seconds": asked.timeout_seconds,
        });
        for (name, value) in [
            ("agent", asked.agent),
            ("tool", asked.tool.map(Value::from)),
            ("stdin", asked.stdin.map(|text| json!({ "text": text }))),
        ] {
            if let Some(value) = value {
                only[name] = value;
            }
        }
        let mut body = run_of(&[step(STEP, &only)]);
        if let Some(profile) = &profile {
            body["profile"] = json!(profile);
        }
        Ok(Run {
            run: self.project.enqueue(&body).await?,
            stack: Arc::clone(&self.stack),
            project: Arc::clone(&self.project),
            profile,
            redacts: asked.mode != "sandboxed" && !asked.secrets.is_empty(),
        })
    }
}

#[async_trait(?Send)]
impl Host for Fargate {
    fn facts(&self) -> Facts {
        Facts {
            memory: 512 << 20,
            kept: sealfleet_outputs::MOST_BYTES,
            much: 3 * sealfleet_outputs::MOST_BYTES,
            is_text: true,
            writable: &["/tmp", "/workspace", "/workspace/home"],
            // ECS on AWS has a variable with a relative address in the place of the first.
            variables: "AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_DEFAULT_REGION AWS_REGION HOME KNOB LANG PATH PWD PYTHONUNBUFFERED",
            revokes_at_once: false,
        }
    }

    async fn start(&self, step: Step) -> Box<dyn Started> {
        Box::new(self.enqueue(step).await.unwrap())
    }

    async fn without_image(&self) -> Box<dyn Host> {
        let image = format!("sealfleet/sandbox@sha256:{}", "0".repeat(64));
        let project = self.stack.project_with_image("without-image", &image).await;
        Box::new(Self {
            stack: Arc::clone(&self.stack),
            project: project.unwrap(),
            directory: self.directory.clone(),
        })
    }

    /// The stand-in has one image: the agent goes into it, beside what other cases look at.
    async fn with_agents(&self) -> Box<dyn Host> {
        let directory = self.directory.clone();
        let root = tokio::task::spawn_blocking(move || setup::agents_root(&directory)).await;
        let program = root.unwrap().join("usr/local/bin/codex");
        let inside = self
            .stack
            .parts
            .directory
            .join("rootfs/usr/local/bin/codex");
        std::fs::copy(program, inside).unwrap();
        Box::new(Self {
            stack: Arc::clone(&self.stack),
            project: Arc::clone(&self.project),
            directory: self.directory.clone(),
        })
    }
}

impl Run {
    async fn pages(&self) -> Done<(String, u64)> {
        let (run, step) = (self.run.parse()?, STEP.parse()?);
        let client = self.project.member.client();
        let (mut text, mut missing, mut cursor) = (String::new(), 0, None::<String>);
        loop {
            let page = client
                .get_output(run, &step, None, cursor.as_deref())
                .await?;
            let is_empty = page.items.is_empty();
            for piece in page.items {
                text.push_str(&piece.text);
                missing += piece.missing_bytes;
            }
            cursor = page.next_cursor;
            if cursor.is_none() || is_empty {
                return Ok((text, missing));
            }
        }
    }

    /// Waits until the run has ended and nothing of it runs.
    async fn ended(&self) -> Done<End> {
        let step = eventually("the end of the step", 3 * PATIENCE, async || {
            let run = self.project.run(&self.run).await?;
            tokio::time::sleep(PAUSE).await;
            Ok(is_over(&run)
                .then(|| run.steps.into_iter().next())
                .flatten())
        });
        let step = step.await?;
        eventually("the end of the task", PATIENCE, async || {
            let tasks = self
                .project
                .tasks(&self.stack, &self.run, &["RUNNING", "STOPPED"]);
            let tasks = tasks.await?;
            Ok(tasks
                .iter()
                .all(|task| task["lastStatus"] == "STOPPED")
                .then_some(()))
        })
        .await?;
        let (text, cut_bytes) = self.pages().await?;
        let mut redactions = Vec::new();
        if self.redacts && text.contains("<redacted:") {
            let event = self.project.event(&self.run, "redaction.match", PATIENCE);
            redactions = serde_json::from_value(event.await?["matches"].clone())?;
        }
        let result = match step.result_bytes {
            Some(_) => {
                let client = self.project.member.client();
                let shown = client.get_result(self.run.parse()?, &step.id).await?;
                shown.result
            }
            None => None,
        };
        Ok(End {
            outcome: match (step.state.as_str(), step.failure) {
                ("succeeded", None) => Some(Outcome::Succeeded),
                (_, Some(failure)) => Some(Outcome::Failed { failure }),
                _ => None,
            },
            output: text.into_bytes(),
            cut_bytes,
            result,
            agent: step.usage.map(|usage| AgentReport {
                usage: Some(usage),
                cost_usd: step.cost_usd,
                turns: step.turns,
                session_id: step.session_id,
            }),
            redactions,
            // Its pool refuses a step with a policy.
            denied: Denials::default(),
        })
    }
}

#[async_trait(?Send)]
impl Started for Run {
    async fn output(&self) -> Vec<u8> {
        tokio::time::sleep(PAUSE).await;
        self.pages().await.unwrap().0.into_bytes()
    }

    async fn cancel(&self) {
        self.project.cancel(&self.run).await.unwrap();
    }

    async fn revoke(&self) {
        let profile = self.profile.as_deref().unwrap();
        let keys = [(profile, "API_KEY")];
        self.project.admin.revoke(&keys, true).await.unwrap();
    }

    async fn end(&self) -> End {
        self.ended().await.unwrap()
    }
}

/// What the table of capabilities denies to Fargate is refused when it is enqueued, with the words
/// of the table.
pub async fn what_fargate_cannot_do_is_refused(host: &Fargate) {
    let denied = |checked: Result<(), String>| checked.unwrap_err();
    let local = json!([{ "path": "report", "to": "local" }]);
    for (more, why) in [
        (
            json!({ "mode": "bare" }),
            denied(capability::FARGATE.check_mode(Mode::Bare)),
        ),
        (
            json!({ "mode": "sandboxed", "artifacts": local }),
            denied(capability::FARGATE.check_carries(Carries::LocalArtifacts)),
        ),
    ] {
        let body = run_of(&[step(STEP, &merged(json!({ "pool": FARGATE }), &more))]);
        let refused = host.project.member.post("/v1/runs", &body).await.unwrap();
        let detail = refused.refused(400, "invalid_request").unwrap();
        assert!(detail.contains(&why), "`{why}` is not in `{detail}`");
    }
}
