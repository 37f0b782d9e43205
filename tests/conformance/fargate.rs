//! Fargate as a host: a local stack, whose control plane launches each step as a task of the local
//! stand-in for ECS. Everything goes by the API, as callers see it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_domain::agent::AgentReport;
use sealfleet_domain::agent::ModelsUsed;
use sealfleet_domain::capability::{self, Carries, Mode};
use sealfleet_domain::egress::{Denial, Denials};
use sealfleet_domain::run::Outcome;
use sealfleet_test_stack::canary::{self, Kind};
use sealfleet_test_stack::identity::secrets;
use sealfleet_test_stack::project::{FARGATE, is_over, merged, run_of, step};
use sealfleet_test_stack::{
    Outcome as Done, Project, Stack, Upstream, eventually, processes, unique,
};
use serde_json::{Value, json};

use crate::host::{End, Facts, Host, Started, Step};
use crate::of_workers::{Server, asking, brokered, nowhere_in_the_step};
use crate::setup;
use crate::worker::PATIENCE;
use crate::{mark, processes_with, until};

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
    /// Whether it has an egress policy.
    denies: bool,
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
        if !asked.secrets.is_empty() || asked.egress.is_some() {
            let name = format!("case-{}", unique());
            let mut keys = Vec::new();
            for (key, value) in &asked.secrets {
                let stored = format!("{name}-{}", key.to_lowercase().replace('_', "-"));
                let stored = self.project.aws_secret(&self.stack, &stored, value).await?;
                keys.push((*key, stored.uri));
            }
            let keys: Vec<_> = keys.iter().map(|(key, uri)| (*key, uri.as_str())).collect();
            let mut content = secrets(&keys);
            content["delivery"] = asked.delivery;
            let more = [("tools", asked.tools), ("egress", asked.egress.clone())];
            for (name, value) in more {
                if let Some(value) = value {
                    content[name] = value;
                }
            }
            self.project.admin.create_profile(&name, &content).await?;
            profile = Some(name);
        }
        let mode = match asked.egress {
            // Others see no profile.
            Some(_) if asked.mode == "sandboxed" => "identity",
            _ => asked.mode,
        };
        let mut only = json!({
            "pool": FARGATE, "mode": mode, "command": asked.command, "env": asked.env,
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
            denies: asked.egress.is_some(),
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
        let root = root.unwrap();
        let inside = self.stack.parts.directory.join("rootfs");
        for program in ["usr/local/bin/codex", "usr/local/bin/claude"] {
            std::fs::copy(root.join(program), inside.join(program)).unwrap();
        }
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
        let mut denied = Denials::default();
        if self.denies {
            let end = match step.state.as_str() {
                "succeeded" => "step.succeeded",
                _ => "step.failed",
            };
            // What it was kept from stands in the same entry.
            self.project.event(&self.run, end, PATIENCE).await?;
            for name in ["egress.denied", "egress.credential_mismatch"] {
                for event in self.project.events(&self.run, name).await? {
                    let others = event["others"].as_u64().unwrap_or_default();
                    let more = json!({ "rows": event["rows"], "others": others });
                    denied = denied.with(serde_json::from_value(more)?);
                }
            }
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
            denied,
            models_used: ModelsUsed::default(),
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

/// How a command goes around its proxy: straight to these ports of loopback, to the credentials of
/// the task role, to where the proxy waits for init, and by datagrams. What works says so.
fn around(ports: &[u16]) -> String {
    let ports: Vec<String> = ports
        .iter()
        .map(|port| format!("127.0.0.1/{port}"))
        .collect();
    format!(
        "for at in {} 127.0.0.1/3127 169.254.170.2/80; do
             (exec 4<>/dev/tcp/$at) 2> /dev/null && echo BYPASSED $at
         done
         (exec 4<>/dev/udp/127.0.0.1/53) 2> /dev/null && echo BYPASSED datagrams
         env | grep AWS_CONTAINER_
        ",
        ports.join(" ")
    )
}

fn denials(end: &End) -> Vec<String> {
    let row = |row: &Denial| format!("{}:{} {:?}", row.host, row.port, row.reason);
    end.denied.rows.iter().map(row).collect()
}

/// 80. Allowed host passes; any other is refused and in the trail, also for a command that goes
///     around its proxy.
pub async fn s80_an_allowed_host_is_reached_and_no_other(host: &Fargate) {
    let (allowed, other) = (Server::start().await, Server::start().await);
    let rules = json!({ "allow": [
        { "host": "127.0.0.1", "port": allowed.port },
        { "host": "169.254.170.2", "port": 80 },
        { "host": "10.0.0.1", "port": 80 },
    ] });
    let script = format!(
        "ask 127.0.0.1:{allowed}; ask 127.0.0.1:{other}; ask other.example:80
         ask 169.254.170.2:80; ask 10.0.0.1:80
         {around}
         env | grep -i _proxy",
        allowed = allowed.port,
        other = other.port,
        around = around(&[allowed.port, other.port]),
    );
    let end = host.start(asking(&script, rules)).await.end().await;
    let text = end.text();
    assert_eq!(text.matches("welcome").count(), 1, "{text}");
    assert_eq!(text.matches("HTTP/1.1 403").count(), 4, "{text}");
    let free = text.contains("BYPASSED") || text.contains("AWS_CONTAINER_");
    assert!(!free, "{text}");
    assert!(text.contains("HTTPS_PROXY=http://127.0.0.1:3128"), "{text}");
    assert_eq!((allowed.greeted(), other.greeted()), (1, 0));
    let denied = denials(&end);
    for expected in [
        format!("127.0.0.1:{} NoRule", other.port),
        "other.example:80 NoRule".to_owned(),
        "127.0.0.1:3127 NoRule".to_owned(),
        "169.254.170.2:80 Address".to_owned(),
        "10.0.0.1:80 Address".to_owned(),
    ] {
        assert!(denied.contains(&expected), "{expected}: {denied:?}");
    }
}

pub async fn a_step_that_may_reach_nothing_reaches_not_even_its_role(host: &Fargate) {
    let other = Server::start().await;
    let script = format!(
        "{} ask other.example:80 || echo no proxy",
        around(&[other.port])
    );
    let end = host.start(asking(&script, json!("none"))).await.end().await;
    // Standard error has no order with standard output.
    assert!(end.text().contains("no proxy\n"), "{}", end.text());
    let free = end.text().contains("BYPASSED") || end.text().contains("AWS_CONTAINER_");
    assert!(!free, "{}", end.text());
    assert_eq!(other.greeted(), 0);
    let denied = denials(&end);
    for expected in [
        format!("127.0.0.1:{} NoRule", other.port),
        "169.254.170.2:80 NoRule".to_owned(),
    ] {
        assert!(denied.contains(&expected), "{expected}: {denied:?}");
    }
}

/// 81. A brokered key: upstream receives it, the step's memory, environment, files and /proc never
///     hold it; to another host -> 403 and an event.
pub async fn s81_a_key_at_egress_is_never_in_the_step(host: &Fargate) {
    let (bound, other) = (
        Upstream::tls().await.unwrap(),
        Upstream::plain().await.unwrap(),
    );
    // The proxy believes the authorities of its image.
    let image = host.stack.parts.directory.join("rootfs/etc/ssl/certs");
    std::fs::create_dir_all(&image).unwrap();
    let bundle = image.join("ca-certificates.crt");
    let before = std::fs::read_to_string(&bundle).unwrap_or_default();
    let authority = bound.authority.clone().unwrap();
    std::fs::write(&bundle, format!("{before}\n{authority}")).unwrap();
    let (value, control) = (canary::value(), canary::value());
    let mark = mark();
    let (at, elsewhere) = (
        format!("127.0.0.1:{}", bound.port),
        format!("127.0.0.1:{}", other.port),
    );
    let script = format!(
        "echo \"it is $API_KEY\"
         secure {at} /v1/messages; secure {at} /v2
         exec 3<>/dev/tcp/127.0.0.1/3128
         printf 'GET http://{elsewhere}/ HTTP/1.1\\r\\nHost: {elsewhere}\\r\\nX-Key: %s\\r\\nConnection: close\\r\\n\\r\\n' $API_KEY >&3
         cat <&3
         {}
         sleep {mark}; exit 0",
        around(&[bound.port]),
    );
    let mut step = brokered(&script, bound.port, &[other.port]);
    step.secrets = vec![("API_KEY", value.clone()), ("INSIDE", control.clone())];
    let run = host.start(step).await;
    until("it sleeps", || processes_with(&mark) > 0).await;
    let sent = bound.heads_with(&format!("Bearer {value}"));
    assert_eq!((sent, bound.heads().len()), (1, 1), "{:?}", bound.heads());
    assert!(
        other.heads().is_empty(),
        "another host: {:?}",
        other.heads()
    );

    let places = ["tmp", "workspace", "dev/shm"];
    let (sleeping, proof) = nowhere_in_the_step(&mark, &value, &control, &places);
    assert!(proof.found_in(Kind::Memory));
    for pid in sleeping {
        processes::kill(pid);
    }
    let end = run.end().await;
    let text = end.text();
    assert!(text.contains("it is <redacted:API_KEY>\n"), "{text}");
    assert_eq!(text.matches("HTTP/1.1 403").count(), 2, "{text}");
    assert!(!text.contains("BYPASSED"), "{text}");
    let mismatch = format!("{elsewhere} CredentialMismatch");
    assert!(denials(&end).contains(&mismatch), "{:?}", end.denied);
    std::fs::write(&bundle, before).unwrap();
}

pub async fn a_secret_may_be_a_file(host: &Fargate) {
    let value = canary::value();
    let script =
        "echo at $API_KEY; stat -c 'mode %a' $API_KEY; stat -f -c %T $API_KEY; cat $API_KEY; echo
                  env | grep -c canary; sha256sum < $API_KEY; cd /workspace && ls -A";
    let mut step = Step::shell(script).with_secret(&value);
    step.delivery = json!({ "API_KEY": "file" });
    let text = host.start(step).await.end().await.text();
    let file = "at /dev/shm/secrets/API_KEY\nmode 400\ntmpfs\n<redacted:API_KEY>\n0\n";
    assert!(text.starts_with(file), "{text}");
    let hash = sealfleet_domain::hash::sha256_hex(value.as_bytes());
    assert!(text.contains(&format!("{hash}  -\n")), "{text}");
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
