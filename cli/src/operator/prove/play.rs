//! The proof from its first project to its last check.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealfleet_client::Client;
use sealfleet_client::types::{EnqueueRun, Revoke, RunView, WorkerRegistered};
use sealfleet_domain::{ProfileName, ProjectId, RunId, StepId, Timestamp};
use serde_json::json;
use tokio::process::Child;
use uuid::Uuid;

use super::boundaries::{self, Theirs, WorkerKeys};
use super::canary::{Canary, Ear, Needle};
use super::ground::Ground;
use super::made::{List, Made};
use super::report::{Board, Seen, Why};
use super::revocation::{self, Processes, Sandbox, Task};
use super::roles::{self, Denied, Question};
use super::sandboxes::{self, SEES};
use super::search::{self, Files};
use super::searches::{self, Waiting};
use super::tenant::{FARGATE, KEY, KEY_BESIDE, PULL, Tenant, typed};
use super::trail;
use super::worker::{Home, Programs};
use crate::operator::archive;
use crate::operator::failure::Failure;
use crate::operator::output::note;

/// A step on Fargate has to pull its image first.
const A_STEP: Duration = Duration::from_secs(300);
/// What a hard revocation stops is gone after this; docs/reference/guarantees.md says how much
/// earlier it should be.
const A_STOP: Duration = Duration::from_secs(90);
/// Entries of runs come to the trail late.
const AN_ENTRY: Duration = Duration::from_secs(60);
/// How often to look for an object.
const POLL: Duration = Duration::from_secs(2);
/// `ExportWindowSeconds` and more.
const AN_OBJECT: Duration = Duration::from_secs(420);
/// A hint of an earlier object's digest: a digest is made every hour.
const SINCE_SECONDS: i64 = 2 * 3600;

/// A secret that no store has. A run with it waits, and nothing more is asked of it.
const NOWHERE: &str = "builtin://canary@none";

/// What the proof has to work with.
pub struct Play<'a> {
    pub ground: &'a Ground,
    pub list: &'a List,
    pub image: &'a str,
    pub programs: Result<&'a Programs, String>,
    pub values: &'a Values,
    pub started_at: Timestamp,
    pub projects: [&'a ProjectId; 2],
}

/// The values that are looked for, and the text that must be found where they are not.
pub struct Values {
    a: Canary,
    b: Canary,
    beside: Canary,
    /// Printed by every step.
    mark: String,
}

impl Values {
    pub fn new() -> Self {
        Self {
            a: Canary::new("canary A"),
            b: Canary::new("canary B"),
            beside: Canary::new("canary A beside the worker"),
            mark: format!("prove-mark-{}", Uuid::new_v4().simple()),
        }
    }

    pub fn needle(&self) -> Result<Needle, Failure> {
        Needle::of(&[&self.a, &self.b, &self.beside]).map_err(Failure::Other)
    }
}

/// What project A has on its pull pool.
struct Beside {
    profile: ProfileName,
    /// The worker's files, if a worker can be started.
    home: Option<Home>,
}

/// How the runs of both projects on Fargate have ended.
struct Ends {
    runs: [Result<RunView, Why>; 2],
    seconds: f64,
}

fn own_secrets(board: &mut Board, ends: &Ends) {
    let judge = |judge: fn(&RunView) -> Seen| {
        let [a, b] = &ends.runs;
        let of = |run: &Result<RunView, Why>| run.as_ref().map_err(Clone::clone).and_then(judge);
        sandboxes::both(of(a), of(b))
    };
    let (own, blind) = (judge(sandboxes::saw_its_own), judge(sandboxes::saw_none));
    board.found("own-secret-fargate", own, ends.seconds);
    board.found("tool-without-grant", blind, ends.seconds);
}

impl Play<'_> {
    /// Fails when the projects cannot be made; what comes later is told check by check.
    pub async fn run(&self, board: &mut Board) -> Result<(), Failure> {
        let values = self.values;
        let ear = Arc::new(Ear::new(values.needle()?));
        let [id_a, id_b] = self.projects;
        let make = |id: &ProjectId, canary| {
            Tenant::made(self.ground, self.list, &ear, id.clone(), self.image, canary)
        };
        // Both to their end: one that is given up half-way could not be removed in order.
        let (a, b) = tokio::join!(make(id_a, &values.a), make(id_b, &values.b));
        let (a, b) = (a?, b?);
        let beside = self.beside(&a, values).await?;

        note("steps on Fargate in each project, and meanwhile what must be refused\n");
        let short = async |tenant: &Tenant, canary: &Canary| {
            let steps = sandboxes::short(FARGATE, KEY, &canary.sha256(), &values.mark);
            tenant.enqueue(self.list, &tenant.profile, steps).await
        };
        let (run_a, run_b) = (short(&a, &values.a).await?, short(&b, &values.b).await?);

        let (ends, meanwhile) = tokio::join!(
            self.ends([&a, &b], [run_a, run_b]),
            self.meanwhile(board, [&a, &b], &beside, ear.needle())
        );
        own_secrets(board, &ends);
        let (colleague, waiting) = meanwhile?;
        note("a step on a worker of this machine\n");
        let worker = self.worker(board, &a, &beside, values).await;

        note("a key is revoked while steps run with it\n");
        let revoked = self
            .revoked(board, &a, &beside, values, worker.is_some())
            .await;
        if let Err(why) = revoked {
            for id in [
                "revocation-stops-fargate",
                "revocation-stops-worker",
                "revocation-refuses-enqueue",
                "revocation-refuses-claim",
            ] {
                board.found(id, Err(why.clone()), 0.0);
            }
        } else {
            let refused = self.refuses(board, &a, &colleague, waiting).await;
            if let Err(failure) = refused {
                note(&format!("{failure}\n"));
            }
        }
        drop(worker);

        note("the trail, its archive, and the search\n");
        self.trail(board, [&a, &b], run_a).await;
        self.searched(board, [&a, &b], &beside, values, ear.needle())
            .await;
        let runs = [(&a, run_a), (&b, run_b)];
        self.archived(board, runs, ear.needle()).await;
        board
            .check("canary-in-answers", async { search::answers(&ear) })
            .await;
        Ok(())
    }

    /// Project A's profile of its pull pool.
    async fn beside(&self, a: &Tenant, values: &Values) -> Result<Beside, Failure> {
        let (home, reference) = match &self.programs {
            Ok(programs) => {
                let home = Home::new(self.list)?;
                let stored = home.store(programs, a.id.as_str(), &values.beside).await;
                match stored {
                    Ok(reference) => (Some(home), reference),
                    Err(failure) => {
                        note(&format!("{failure}\n"));
                        (None, NOWHERE.to_owned())
                    }
                }
            }
            Err(_) => (None, NOWHERE.to_owned()),
        };
        let profile: ProfileName = format!("{}-beside", a.id).parse().map_err(Failure::other)?;
        a.profile(self.list, &profile, KEY_BESIDE, &reference)
            .await?;
        Ok(Beside { profile, home })
    }

    /// What must be refused, and what can be searched while secrets are released. Answers a worker
    /// of project A that may have the step of a run that waits, and that run.
    async fn meanwhile(
        &self,
        board: &mut Board,
        [a, b]: [&Tenant; 2],
        beside: &Beside,
        needle: &Needle,
    ) -> Result<(Client, RunId), Failure> {
        let of_a = a
            .enqueue(self.list, &beside.profile, sandboxes::waiting(PULL))
            .await?;
        let name: ProfileName = format!("{}-beside", b.id).parse().map_err(Failure::other)?;
        b.profile(self.list, &name, KEY_BESIDE, NOWHERE).await?;
        let of_b = b
            .enqueue(self.list, &name, sandboxes::waiting(PULL))
            .await?;
        let labels = json!({ "prove": "nobody-else" });
        let (colleague, registered) = a.played_worker(self.list, &labels).await?;
        let (thief, _) = b.played_worker(self.list, &json!({})).await?;
        let theirs = theirs(a, of_a, &registered)?;
        self.refused(board, [a, b], &thief, &theirs).await;
        self.roles(board, [a, b]).await;
        let waiting = [(a, of_a), (b, of_b)].map(|(tenant, run)| Waiting {
            pull_queue: &tenant.pull_queue,
            fargate_queue: &tenant.fargate_queue,
            run,
        });
        let queues = searches::queues(self.ground, needle, waiting);
        board.check("canary-in-queues", queues).await;
        Ok((colleague, of_a))
    }

    async fn refused(
        &self,
        board: &mut Board,
        [a, b]: [&Tenant; 2],
        thief: &Client,
        theirs: &Theirs,
    ) {
        board
            .check(
                "api-of-another-project",
                boundaries::nothing_exists(&b.admin, theirs),
            )
            .await;
        board
            .check(
                "claim-of-another-project",
                boundaries::claims_nothing(thief, &a.admin, theirs),
            )
            .await;
        let queues = async {
            let given = thief.get_queue_credentials().await?;
            let door = WorkerKeys::new(&self.ground.config, given);
            let others = [
                a.pull_queue.as_str(),
                a.fargate_queue.as_str(),
                b.fargate_queue.as_str(),
            ];
            boundaries::opens_one_queue(&door, &b.pull_queue, &others).await
        };
        board.check("queue-of-another-project", queues).await;
        board
            .check(
                "profile-of-another-project",
                boundaries::names_no_secret(&b.admin, theirs),
            )
            .await;
    }

    async fn roles(&self, board: &mut Board, [a, b]: [&Tenant; 2]) {
        let ground = self.ground;
        let question = |role: &str, action| Question {
            role: role.to_owned(),
            action,
            resource: a.secret_arn.clone(),
            tag: a.id.to_string(),
        };
        const GET: &str = "secretsmanager:GetSecretValue";
        const BATCH: &str = "secretsmanager:BatchGetSecretValue";
        let both = |role: &str| [question(role, GET), question(role, BATCH)];
        let named = |folder: &str, name: &str| {
            format!(
                "arn:{}:iam::{}:role/sealfleet/{folder}/{name}",
                ground.partition, ground.account
            )
        };
        let control = question(&a.execution_role, GET);
        let of_b = both(&b.execution_role);
        board
            .check(
                "execution-role",
                roles::denied(&ground.iam, &control, &of_b, Denied::Anyhow),
            )
            .await;
        let shared = ["sandboxes", "queues"].map(|name| {
            let role = named("shared", &format!("{}-{name}", ground.prefix));
            both(&role)
        });
        board
            .check(
                "shared-roles",
                roles::denied(&ground.iam, &control, &shared.concat(), Denied::Anyhow),
            )
            .await;
        let functions = async {
            let names = ground.output("FunctionNames")?.split(',');
            let asked: Vec<Question> = names
                .flat_map(|name| both(&named("control", name)))
                .collect();
            roles::denied(&ground.iam, &control, &asked, Denied::ByStatement).await
        };
        board.check("control-plane-roles", functions).await;
    }

    /// Waits for the ends of both runs on Fargate, and notes the task definitions that they had.
    async fn ends(&self, [a, b]: [&Tenant; 2], [of_a, of_b]: [RunId; 2]) -> Ends {
        let began = Instant::now();
        let (mut first, mut second) = (BTreeSet::new(), BTreeSet::new());
        let (a, b) = tokio::join!(
            sandboxes::ended(&a.admin, of_a, A_STEP, &mut first),
            sandboxes::ended(&b.admin, of_b, A_STEP, &mut second)
        );
        for task in first.union(&second) {
            self.note_definition(task).await;
        }
        Ends {
            runs: [a, b],
            seconds: began.elapsed().as_secs_f64(),
        }
    }

    /// Starts the worker and has it run a step. The worker ends when it is dropped.
    async fn worker(
        &self,
        board: &mut Board,
        a: &Tenant,
        beside: &Beside,
        values: &Values,
    ) -> Option<Child> {
        let began = Instant::now();
        let started = async {
            let programs = self.programs.clone().map_err(Why::NotTried)?;
            let home = beside.home.as_ref();
            let home = home.ok_or_else(|| {
                Why::NotTried("`sealfleet-init` made no store for the worker".to_owned())
            })?;
            let child = home.worker(programs, self.ground, a, self.list).await?;
            let hash = values.beside.sha256();
            let steps = sandboxes::short(PULL, KEY_BESIDE, &hash, &values.mark);
            let run = a.enqueue(self.list, &beside.profile, steps).await?;
            let ended = sandboxes::ended(&a.admin, run, A_STOP, &mut BTreeSet::new()).await;
            let seen = ended.and_then(|run| {
                sandboxes::both(sandboxes::saw_its_own(&run), sandboxes::saw_none(&run))
            });
            let seen = seen.map_err(|why| match why {
                Why::NotTried(why) => Why::NotTried(format!("{why}\n{}", home.log())),
                broken @ Why::Broken(_) => broken,
            });
            Ok::<_, Why>((child, seen))
        };
        let (child, seen) = match started.await {
            Ok((child, seen)) => (Some(child), seen),
            Err(why) => (None, Err(why)),
        };
        let works = seen.is_ok();
        board.found("own-secret-worker", seen, began.elapsed().as_secs_f64());
        child.filter(|_| works)
    }

    /// Steps of both pools run with a secret each when both keys are revoked.
    async fn revoked(
        &self,
        board: &mut Board,
        a: &Tenant,
        beside: &Beside,
        values: &Values,
        has_worker: bool,
    ) -> Result<(), Why> {
        let mark = format!("prove-step-{}", Uuid::new_v4().simple());
        let steps = sandboxes::long(FARGATE, KEY, &values.a.sha256(), &values.mark);
        let on_fargate = a.enqueue(self.list, &a.profile, steps).await?;
        let on_worker = if has_worker {
            let steps = sandboxes::long(PULL, KEY_BESIDE, &values.beside.sha256(), &mark);
            Some(a.enqueue(self.list, &beside.profile, steps).await?)
        } else {
            None
        };
        let task = sandboxes::running(&a.admin, on_fargate, A_STEP).await;
        if let Ok(task) = &task {
            self.note_definition(task).await;
        }
        let cluster = self.ground.output("ClusterName");
        let task = match (task.as_ref(), cluster) {
            (Ok(arn), Ok(cluster)) => {
                let ecs = &self.ground.ecs;
                seen(Task { ecs, cluster, arn }).await
            }
            (Err(why), _) => Err(why.clone()),
            (_, Err(why)) => Err(why),
        };
        let process = match on_worker {
            Some(run) => match sandboxes::running(&a.admin, run, A_STOP).await {
                Ok(_) => seen(Processes { mark: &mark })
                    .await
                    .map(|process| (run, process)),
                Err(why) => Err(why),
            },
            None => Err(Why::NotTried("no worker was started".to_owned())),
        };

        let keys = [(&a.profile, KEY), (&beside.profile, KEY_BESIDE)];
        let keys = keys.map(|(profile, key)| json!({ "profile": profile, "key": key }));
        let wanted: Revoke = typed(json!({
            "keys": keys, "hard": true, "reason": "sealfleet prove",
        }))?;
        let began = Instant::now();
        a.admin.create_revocations(&wanted).await?;
        let fargate =
            async { revocation::stops(&a.admin, on_fargate, &task?, began, A_STOP).await };
        let worker = async {
            let (run, process) = process?;
            revocation::stops(&a.admin, run, &process, began, A_STOP).await
        };
        let (fargate, worker) = tokio::join!(fargate, worker);
        let seconds = began.elapsed().as_secs_f64();
        board.found("revocation-stops-fargate", fargate, seconds);
        board.found("revocation-stops-worker", worker, seconds);
        Ok(())
    }

    /// Both keys are revoked: nothing is enqueued or started with them.
    async fn refuses(
        &self,
        board: &mut Board,
        a: &Tenant,
        colleague: &Client,
        waiting: RunId,
    ) -> Result<(), Failure> {
        let wanted: EnqueueRun = typed(json!({
            "workflow": "prove", "profile": a.profile, "steps": sandboxes::waiting(FARGATE),
        }))?;
        board
            .check(
                "revocation-refuses-enqueue",
                revocation::refuses_enqueue(&a.admin, &wanted),
            )
            .await;
        let step: StepId = SEES.parse().map_err(Failure::other)?;
        board
            .check(
                "revocation-refuses-claim",
                revocation::refuses_claim(colleague, &a.admin, waiting, &step),
            )
            .await;
        Ok(())
    }

    /// The task's definition is to be removed, too. ECS forgets it an hour after the task.
    async fn note_definition(&self, task: &str) {
        let Some(cluster) = self.ground.control.find("ClusterName") else {
            return;
        };
        if let Ok(Some(task)) = self.ground.ecs.task(cluster, task).await {
            self.list.add(Made::TaskDefinition(task.definition_arn));
        }
    }

    async fn trail(&self, board: &mut Board, [a, b]: [&Tenant; 2], run: RunId) {
        let did = board.held("own-secret-fargate");
        let released = async {
            if !did {
                return Err(Why::NotTried("no step ended well with a secret".to_owned()));
            }
            trail::until(&a.admin, Some(run), AN_ENTRY, trail::released_first).await
        };
        board.check("release-on-record", released).await;
        // Only what was done can be told of.
        let done = [
            ("revocation-refuses-claim", "secret.revoked"),
            ("revocation-stops-fargate", "run.aborted_by_revocation"),
            ("revocation-refuses-enqueue", "run.denied"),
        ];
        let done = done.into_iter().filter(|(id, _)| board.held(id));
        let of_a: Vec<&str> = done.map(|(_, event)| event).collect();
        let of_b: &[&str] = if board.held("claim-of-another-project") {
            &["claim.refused"]
        } else {
            &[]
        };
        let own = async {
            let first = trail::until(&a.admin, None, AN_ENTRY, |entries| {
                trail::of_its_own(entries, &a.id, &of_a)
            });
            let second = trail::until(&b.admin, None, AN_ENTRY, |entries| {
                trail::of_its_own(entries, &b.id, of_b)
            });
            let (first, second) = tokio::join!(first, second);
            sandboxes::both(first, second)
        };
        board.check("trail-of-its-own", own).await;
    }

    async fn searched(
        &self,
        board: &mut Board,
        [a, b]: [&Tenant; 2],
        beside: &Beside,
        values: &Values,
        needle: &Needle,
    ) {
        let (ground, since) = (self.ground, self.started_at);
        let projects = [&a.id, &b.id];
        let tables = searches::tables(ground, needle, projects);
        board.check("canary-in-tables", tables).await;
        let functions = searches::function_logs(ground, needle, since);
        board.check("canary-in-function-logs", functions).await;
        let own = searches::sandbox_logs(ground, needle, since, projects, &values.mark);
        board.check("canary-in-sandbox-logs", own).await;
        let files = async {
            let home = beside.home.as_ref();
            let home = home.ok_or_else(|| Why::NotTried("no worker was started".to_owned()))?;
            let files = Files {
                directory: home.path().to_owned(),
            };
            search::nowhere(&[files], needle, &[&values.mark]).await
        };
        board.check("canary-in-worker-files", files).await;
    }

    /// Entries come to the archive when the window of export ends.
    async fn archived(&self, board: &mut Board, runs: [(&Tenant, RunId); 2], needle: &Needle) {
        let began = Instant::now();
        let runs = runs.map(|(tenant, run)| (&tenant.id, run));
        let read = loop {
            let seen = searches::archive(self.ground, needle, runs).await;
            if !matches!(seen, Err(Why::NotTried(_))) || began.elapsed() > AN_OBJECT {
                break seen;
            }
            tokio::time::sleep(POLL).await;
        };
        let is_there = match &read {
            Err(Why::NotTried(why)) => Err(Why::NotTried(why.clone())),
            _ => Ok(()),
        };
        board.found("canary-in-archive", read, began.elapsed().as_secs_f64());
        let verified = async {
            is_there?;
            let bucket = self.ground.output("AuditBucketName")?;
            let key = self.ground.output("DigestKeyArn")?.to_owned();
            let since = self.started_at.plus_seconds(-SINCE_SECONDS);
            let verified = archive::verified(&self.ground.config, bucket, key, since).await?;
            trail::verifies(&verified.faults)?;
            Ok(format!(
                "{} digests, {} objects, {} lines; {} objects are too new for a digest",
                verified.digests, verified.objects, verified.lines, verified.not_digested_yet
            ))
        };
        board.check("archive-verifies", verified).await;
    }
}

/// A sandbox that is seen now: only then does it tell something that it is gone later.
async fn seen<S: Sandbox>(sandbox: S) -> Result<S, Why> {
    match sandbox.is_gone().await {
        Ok(false) => Ok(sandbox),
        Ok(true) => Err(Why::NotTried(
            "the step runs, and its sandbox is not to be seen from here".to_owned(),
        )),
        Err(reason) => Err(Why::NotTried(reason)),
    }
}

fn theirs(a: &Tenant, run: RunId, worker: &WorkerRegistered) -> Result<Theirs, Failure> {
    Ok(Theirs {
        run,
        step: SEES.parse().map_err(Failure::other)?,
        profile: a.profile.clone(),
        worker: worker.worker_id,
        reference: a.reference(),
    })
}
