//! The work of a tenant: runs of several steps, some of which wait with a secret in hand until they
//! are released.

use std::collections::BTreeSet;
use std::time::Duration;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::aws::Service;
use sealfleet_test_stack::project::{FARGATE, PULL, named, step};
use sealfleet_test_stack::{
    Claimed, Failure, Outcome, Project, Stack, ensure, ensure_eq, eventually, processes,
};
use serde_json::{Value, json};

use crate::board::Board;
use crate::tenant::{BESIDE, Canary, IN_AWS, Tenant};

/// On a slow machine that does much else.
pub const SOON: Duration = Duration::from_secs(60);

/// Prints the hash of the secret and nothing else of it.
const HASH: &str = r#"printf %s "$API_KEY" | sha256sum | cut -c 1-64"#;
/// Fails when there is a secret to see.
const BLIND: &str = r#"test -z "$API_KEY""#;

/// The runs of a tenant.
pub struct Work {
    /// Runs that end by themselves: their id and the steps that print a hash.
    short: Vec<(String, Vec<Printing>)>,
    /// A run whose identity step sleeps in a sandbox of the worker.
    pub beside: Sleeping,
    /// A run whose identity step sleeps in a Fargate task.
    pub in_aws: Sleeping,
    /// A run that asks for `region=us`.
    pub elsewhere: String,
}

/// A step that prints the hash of a secret.
struct Printing {
    step: &'static str,
    pool: &'static str,
}

/// A run of one identity step that prints its hash and sleeps.
pub struct Sleeping {
    /// The run.
    pub run: String,
    marker: String,
}

impl Sleeping {
    async fn enqueue(tenant: &Tenant, pool: &str, profile: &str) -> Outcome<Self> {
        // No other process has this argument.
        let marker = processes::marker();
        let script = format!("{HASH}; sleep {marker}; true");
        let steps = [step(
            "call",
            &json!({ "pool": pool, "mode": "identity", "command": ["sh", "-c", script] }),
        )];
        Ok(Self {
            run: tenant.enqueue("sync", profile, &steps).await?,
            marker,
        })
    }

    /// The process that sleeps inside the sandbox, as this machine's root sees it.
    pub fn process(&self) -> Option<u32> {
        let found = processes::with_argument(&self.marker);
        found
            .into_iter()
            .find(|process| process.name == "sleep")
            .map(|process| process.pid)
    }
}

impl Work {
    /// Enqueues all of it.
    pub async fn enqueue(board: &Board, tenant: &Tenant) -> Outcome<Self> {
        let shell = |id: &str, pool: &str, mode: &str, needs: &[&str], script: &str| {
            step(
                id,
                &json!({ "pool": pool, "mode": mode, "needs": needs, "command": ["sh", "-c", script] }),
            )
        };
        let intake = [
            shell("fetch", PULL, "bare", &[], BLIND),
            shell("clean", PULL, "sandboxed", &["fetch"], BLIND),
            shell("call", PULL, "identity", &["clean"], HASH),
        ];
        let report = [
            shell("prepare", FARGATE, "sandboxed", &[], BLIND),
            shell("sign", FARGATE, "identity", &["prepare"], HASH),
        ];
        let handover = [
            shell("collect", PULL, "bare", &[], BLIND),
            shell("check", PULL, "sandboxed", &["collect"], BLIND),
            shell("render", FARGATE, "sandboxed", &["collect"], BLIND),
            shell("publish", FARGATE, "identity", &["check", "render"], HASH),
        ];
        let short = vec![
            (
                tenant.enqueue("intake", BESIDE, &intake).await?,
                vec![Printing {
                    step: "call",
                    pool: PULL,
                }],
            ),
            (
                tenant.enqueue("report", IN_AWS, &report).await?,
                vec![Printing {
                    step: "sign",
                    pool: FARGATE,
                }],
            ),
            (
                tenant.enqueue("handover", IN_AWS, &handover).await?,
                vec![Printing {
                    step: "publish",
                    pool: FARGATE,
                }],
            ),
        ];
        let elsewhere = [step(
            "only",
            &json!({ "mode": "sandboxed", "requires": { "region": "us" } }),
        )];
        let work = Self {
            short,
            beside: Sleeping::enqueue(tenant, PULL, BESIDE).await?,
            in_aws: Sleeping::enqueue(tenant, FARGATE, IN_AWS).await?,
            elsewhere: tenant.enqueue("elsewhere", BESIDE, &elsewhere).await?,
        };
        board.say(&format!(
            "`{}`: 6 runs with 12 steps: 2 bare, 5 sandboxed, 5 identity",
            tenant.id()
        ));
        Ok(work)
    }

    /// All runs.
    pub fn runs(&self) -> Vec<&str> {
        let short = self.short.iter().map(|(run, _)| run.as_str());
        short
            .chain([
                self.beside.run.as_str(),
                self.in_aws.run.as_str(),
                self.elsewhere.as_str(),
            ])
            .collect()
    }

    /// Waits until both long steps sleep, with the secret in their environment.
    pub async fn until_sleeping(&self, tenant: &Tenant) -> Outcome {
        for sleeping in [&self.beside, &self.in_aws] {
            let slept = eventually("the identity step to sleep", SOON, async || {
                Ok(sleeping.process())
            })
            .await;
            let shown = tenant.project.run(&sleeping.run).await?;
            slept.map_err(|failure| {
                Failure::new(format!("{failure}\n{shown:?}\n{}", tenant.worker.log()))
            })?;
            tenant
                .project
                .until(&sleeping.run, "call", &["running"], SOON)
                .await?;
        }
        Ok(())
    }

    /// Ends the sleep of both long steps; they then succeed.
    pub fn release(&self) {
        for pid in [&self.beside, &self.in_aws]
            .into_iter()
            .filter_map(Sleeping::process)
        {
            processes::kill(pid);
        }
    }

    /// Waits for the end of all runs that can end, and checks them.
    pub async fn checked(&self, board: &mut Board, stack: &Stack, tenant: &Tenant) {
        let id = tenant.id().to_owned();
        board
            .check(
                &format!("all work of `{id}` succeeded, in each mode"),
                self.succeeded(tenant),
            )
            .await;
        board
            .check(
                &format!("each step of `{id}` reached only its own workers"),
                self.own_workers(tenant),
            )
            .await;
        board
            .check(
                &format!("the sandboxes of `{id}` saw its secret: they printed its SHA-256"),
                self.printed(stack, tenant),
            )
            .await;
    }

    async fn succeeded(&self, tenant: &Tenant) -> Outcome<String> {
        let mut steps = 0;
        for run in self.runs().into_iter().filter(|run| *run != self.elsewhere) {
            let ended = tenant.project.finished(run, SOON).await?;
            ensure_eq!(
                ended.state,
                RunState::Succeeded,
                "the run {ended:?}\n{}",
                tenant.worker.log()
            );
            steps += ended.steps.len();
        }
        Ok(format!("{} runs, {steps} steps", self.runs().len() - 1))
    }

    /// By the runs as the API shows them, and by the audit trail.
    async fn own_workers(&self, tenant: &Tenant) -> Outcome<String> {
        let own = tenant.workers();
        let mut claims = 0;
        for run in self.runs() {
            for step in tenant.project.run(run).await?.steps {
                let is_own = step
                    .worker_id
                    .is_none_or(|worker| own.contains(&worker.to_string().as_str()));
                ensure!(is_own, "a step reached a foreign worker: {step:?}");
            }
        }
        for claim in named(&tenant.project.trail().await?, "step.leased") {
            let worker = claim["worker_id"].as_str().unwrap_or_default();
            ensure!(
                own.contains(&worker),
                "the trail tells of a claim by a foreign worker: {claim}"
            );
            claims += 1;
        }
        ensure!(claims > 0, "the trail tells of no claim");
        Ok(format!(
            "{claims} claims in the trail, by {}",
            own.join(" and ")
        ))
    }

    async fn printed(&self, stack: &Stack, tenant: &Tenant) -> Outcome<String> {
        let mut printing: Vec<(&str, &str, &str)> = vec![
            (&self.beside.run, "call", PULL),
            (&self.in_aws.run, "call", FARGATE),
        ];
        printing.extend(
            self.short
                .iter()
                .flat_map(|(run, all)| all.iter().map(|one| (run.as_str(), one.step, one.pool))),
        );
        for (run, step, pool) in &printing {
            let secret: &Canary = if *pool == PULL {
                &tenant.beside
            } else {
                &tenant.in_aws
            };
            let said = said(stack, tenant, run, step, pool).await?;
            // What was told to sleep also says how it was woken.
            let first = said.lines().next().unwrap_or_default();
            ensure_eq!(
                first,
                secret.sha256(),
                "what step `{step}` of {run} printed"
            );
        }
        Ok(format!(
            "{} identity steps: CloudWatch Logs of its Fargate tasks, files of its worker",
            printing.len()
        ))
    }
}

/// The output of a step, once it is as long as a hash.
pub async fn said(
    stack: &Stack,
    tenant: &Tenant,
    run: &str,
    step: &str,
    pool: &str,
) -> Outcome<String> {
    let fence = tenant.project.step(run, step).await?.fence.number();
    let claimed = Claimed {
        run: run.to_owned(),
        step: step.to_owned(),
        fence,
    };
    eventually("the step's output", SOON, async || {
        let said = if pool == PULL {
            tenant.worker.output(&claimed)
        } else {
            in_logs(stack, &tenant.project, &claimed).await?
        };
        Ok((said.len() >= 64).then_some(said))
    })
    .await
}

/// The output of a Fargate step.
async fn in_logs(stack: &Stack, project: &Project, claimed: &Claimed) -> Outcome<String> {
    let mut said = String::new();
    let group = format!("/sealfleet/{}", project.id);
    let mut streams: Vec<String> = Vec::new();
    let listed = json!({ "logGroupName": group });
    let next = ("nextToken", "nextToken");
    let read = |page: &Value, _: &[u8]| {
        let all = page["logStreams"].as_array().into_iter().flatten();
        streams.extend(all.filter_map(|stream| text(stream, "logStreamName").ok()));
    };
    stack
        .aws
        .pages(Service::Logs, "DescribeLogStreams", listed, next, read)
        .await?;
    let task = task_of(stack, project, claimed).await?;
    for stream in streams.iter().filter(|stream| stream.ends_with(&task)) {
        let wanted =
            json!({ "logGroupName": group, "logStreamName": stream, "startFromHead": true });
        let page = stack
            .aws
            .call(Service::Logs, "GetLogEvents", wanted)
            .await?;
        for event in page["events"].as_array().into_iter().flatten() {
            said.push_str(event["message"].as_str().unwrap_or_default());
            said.push('\n');
        }
    }
    Ok(said)
}

/// The id of the ECS task of a claim, which ends the name of its log stream.
async fn task_of(stack: &Stack, project: &Project, claimed: &Claimed) -> Outcome<String> {
    let started_by = format!(
        "{}/{}/{}/{}",
        project.id, claimed.run, claimed.step, claimed.fence
    );
    let all = project.tasks(stack, &claimed.run, &["RUNNING", "STOPPED"]);
    let own = all.await?.into_iter();
    let own = own.filter(|task| task["startedBy"] == *started_by);
    let tasks: BTreeSet<String> = own
        .filter_map(|task| task["taskArn"].as_str().map(str::to_owned))
        .collect();
    match Vec::from_iter(tasks).as_slice() {
        [task] => Ok(task.rsplit('/').next().unwrap_or_default().to_owned()),
        tasks => Err(Failure::new(format!(
            "{} tasks were started by {started_by}, and not one",
            tasks.len()
        ))),
    }
}
