//! The ports that handlers are given: each call waits for its turn on the stage.

use async_trait::async_trait;
use sealfleet_aws::Unavailable;
use sealfleet_aws::queue_access::{QueueAccess, QueueKey};
use sealfleet_aws::queues::{Continuations, Queues, queue_name};
use sealfleet_domain::identity::Pin;
use sealfleet_domain::run::Handle;
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{PoolName, ProjectScope, Timestamp, WorkerId};
use sealfleet_fargate::definition_hash;
use sealfleet_hosts::{Error as HostError, Launched, Sandbox, SandboxHost, Template};
use sealfleet_ledger::store::{
    Consistency, DueRow, DueRows, Item, Key, Query, Rows, Store, Table, Write, WriteError,
};
use sealfleet_versions::{Error as SecretsError, SecretVersions};

use crate::ecs::Launching;
use crate::memory::{Tables, no_answer};
use crate::sabotage::Sabotage;
use crate::stage::{Fault, Judge, LaunchVerdict, Stage, World};

pub struct Ports<J>(pub Stage<J>);

#[async_trait]
impl<J: Judge> Store for Ports<J> {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, String> {
        self.0
            .call("get", |world, verdict| {
                let stale = world.temper.as_ref().map_or(0, |temper| temper.stale);
                let is_stale = consistency == Consistency::Eventual && world.random.chance(stale);
                let how = if is_stale { " as it was" } else { "" };
                world.note_effect(|| told(format!("get {}{how}", place(key)), verdict.fault));
                answered(verdict.fault)?;
                let row = if is_stale {
                    world.tables.get_older(table, key)
                } else {
                    world.tables.get(table, key)
                };
                Ok(row.map(|item| item.as_ref().clone()))
            })
            .await
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, String> {
        self.0
            .call("query", |world, verdict| {
                world.note_effect(|| told(format!("query {}", query.pk), verdict.fault));
                answered(verdict.fault)?;
                world.tables.query(query, after)
            })
            .await
    }

    /// A shard with nothing in it takes no turn: a sweep reads sixteen, and nothing could come of
    /// it.
    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, String> {
        let page = follow_index(&mut self.0.lock()).due(shard, until, after, limit)?;
        if page.rows.is_empty() {
            return Ok(page);
        }
        self.0
            .call("due", |world, verdict| {
                answered(verdict.fault)?;
                let due = follow_index(world).due(shard, until, after, limit)?;
                world.note_effect(|| {
                    told(
                        format!("due in shard {shard}: {}", due.rows.len()),
                        verdict.fault,
                    )
                });
                Ok(due)
            })
            .await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        self.0
            .call("write", |world, verdict| {
                let what = world.schedule.is_some().then(|| written(&writes));
                let result = world.write(writes, verdict.fault);
                world.note_effect(|| {
                    let what = told(format!("write {}", what.unwrap_or_default()), verdict.fault);
                    match &result {
                        Err(WriteError::Condition(at)) => {
                            format!("{what} -> conditions {at:?} do not hold")
                        }
                        _ => what,
                    }
                });
                result
            })
            .await
    }
}

/// The due index follows the table, but for some of its newest changes.
fn follow_index<J: Judge>(world: &mut World<J>) -> &Tables {
    let most = world.temper.as_ref().map_or(0, |temper| temper.index_lag);
    let behind = if most == 0 {
        0
    } else {
        world.random.below(most + 1)
    };
    world
        .tables
        .settle(usize::try_from(behind).unwrap_or_default());
    &world.tables
}

#[async_trait]
impl<J: Judge> Queues for Ports<J> {
    async fn send(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
        body: String,
    ) -> Result<(), Unavailable> {
        self.0
            .call("send", |world, verdict| {
                let queue = queue_name(scope, pool);
                world.note_effect(|| told(format!("send to {queue}: {body}"), verdict.fault));
                if happens(verdict.fault) {
                    take_in(world, &queue, &body);
                }
                answered(verdict.fault).map_err(|detail| Unavailable {
                    service: "SQS",
                    detail,
                })
            })
            .await
    }
}

/// Nobody hears of it: what is left is found in the due index.
#[async_trait]
impl<J: Judge> Continuations for Ports<J> {
    async fn go_on(&self, _: String) -> Result<(), Unavailable> {
        Ok(())
    }
}

/// A message may be lost on its way, or be there twice.
fn take_in<J: Judge>(world: &mut World<J>, queue: &str, body: &str) {
    let (losing, doubling) = world
        .temper
        .as_ref()
        .map_or((0, 0), |temper| (temper.losing, temper.doubling));
    if world.random.chance(losing) {
        world.note_effect(|| "the message is lost".to_owned());
        return;
    }
    let now = world.time;
    world.queues.send(queue, body, now);
    if world.random.chance(doubling) {
        world.queues.send(queue, body, now);
    }
}

#[async_trait]
impl<J: Judge> SandboxHost for Ports<J> {
    fn kind(&self) -> &'static str {
        "fargate"
    }

    fn owns(&self, _: &Handle) -> bool {
        true
    }

    fn template_key(&self, template: &Template) -> String {
        definition_hash(template, "simulation")
    }

    async fn prepare(&self, _: &ProjectScope, template: &Template) -> Result<String, HostError> {
        self.0
            .call("register", |world, verdict| {
                let arn = format!("definition/{}", self.template_key(template));
                world.note_effect(|| told(format!("register {arn}"), verdict.fault));
                if happens(verdict.fault) {
                    world.ecs.register(arn.clone(), template);
                }
                host_answer(verdict.fault)?;
                Ok(arn)
            })
            .await
    }

    async fn launch(&self, claim: &ClaimTag, prepared: &str) -> Result<Launched, HostError> {
        self.0
            .call("run task", |world, verdict| {
                world.note_effect(|| {
                    told(
                        format!("run task for {claim}: {:?}", verdict.launch),
                        verdict.fault,
                    )
                });
                let started_by = claim.to_string();
                // The same launch again is answered with its task, room or not.
                let known = world
                    .ecs
                    .tasks
                    .values()
                    .any(|task| task.started_by == started_by);
                match verdict.launch {
                    _ if known => {}
                    LaunchVerdict::NoCapacity => {
                        return Ok(Launched::NoCapacity("RESOURCE:ENI".to_owned()));
                    }
                    LaunchVerdict::Refused => {
                        return Err(HostError::Refused("the image is gone".to_owned()));
                    }
                    LaunchVerdict::Accepted => {}
                }
                if !happens(verdict.fault) {
                    host_answer(verdict.fault)?;
                }
                let launched = start(world, claim, prepared)?;
                host_answer(verdict.fault)?;
                Ok(Launched::Sandbox(Handle::new(launched)))
            })
            .await
    }

    async fn stop(&self, handle: &Handle, _: &str) -> Result<(), HostError> {
        let arn = handle.as_str();
        self.0
            .call("stop task", |world, verdict| {
                world.note_effect(|| told(format!("stop {}", short(arn)), verdict.fault));
                if happens(verdict.fault) && !world.breaks(Sabotage::DeafTasks) {
                    world.ecs.stop(arn);
                }
                host_answer(verdict.fault)
            })
            .await
    }

    async fn look(&self, handle: &Handle) -> Result<Option<Sandbox>, HostError> {
        let arn = handle.as_str();
        self.0
            .call("describe task", |world, verdict| {
                host_answer(verdict.fault)?;
                let state = world.ecs.describe(arn);
                world.note_effect(|| {
                    let status = state.as_ref().map_or("unknown", |state| &state.last_status);
                    format!("describe {}: {status}", short(arn))
                });
                Ok(state.map(Sandbox::from))
            })
            .await
    }

    async fn find(&self, claim: &ClaimTag) -> Result<Option<Handle>, HostError> {
        self.0
            .call("find task", |world, verdict| {
                host_answer(verdict.fault)?;
                let found = world.ecs.find(&claim.to_string(), world.time);
                world.note_effect(|| {
                    format!(
                        "find the task of {claim}: {:?}",
                        found.as_deref().map(short)
                    )
                });
                Ok(found.map(Handle::new))
            })
            .await
    }
}

fn start<J: Judge>(
    world: &mut World<J>,
    claim: &ClaimTag,
    prepared: &str,
) -> Result<String, HostError> {
    let started_by = claim.to_string();
    let lag = world.temper.as_ref().map_or(0, |temper| temper.ecs_lag);
    let hanging = world.temper.as_ref().map_or(0, |temper| temper.hanging);
    let shown_from = world.time + world.random.millis(0, lag);
    let hangs = world.random.chance(hanging);
    if world.breaks(Sabotage::ForgottenClientTokens) {
        world.ecs.forget_token(&started_by);
    }
    let arn = match world.ecs.launch(started_by, prepared, hangs, shown_from) {
        Launching::New(arn) => {
            let template = world.ecs.definitions.get(prepared).cloned();
            world.judge.launched(claim, template.as_ref());
            arn
        }
        Launching::Before(arn) => arn,
        Launching::Conflict => {
            return Err(HostError::Refused(
                "ConflictException: the client token was used".to_owned(),
            ));
        }
    };
    let launcher = world
        .actor()
        .map(|actor| actor.name.clone())
        .unwrap_or_default();
    if let Some(task) = world.ecs.tasks.get_mut(&arn) {
        if task.launcher.is_empty() {
            task.launched = world.effects;
        }
        task.launcher = launcher;
    }
    Ok(arn)
}

#[async_trait]
impl<J: Judge> SecretVersions for Ports<J> {
    fn scheme(&self) -> &'static str {
        "aws-sm"
    }

    async fn describe(&self, name: &str) -> Result<Pin, SecretsError> {
        self.0
            .call("describe secret", |world, verdict| {
                world.note_effect(|| told(format!("describe secret {name}"), verdict.fault));
                answered(verdict.fault).map_err(|detail| SecretsError::Unavailable {
                    service: "the backend",
                    detail,
                })?;
                let version = world.secrets.get(name).copied().unwrap_or(1);
                Ok(Pin {
                    arn: Some(format!("arn:aws:secretsmanager:r:1:secret:{name}")),
                    version: version_id(version),
                })
            })
            .await
    }
}

/// The id of a secret's nth version.
pub fn version_id(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

#[async_trait]
impl<J: Judge> QueueAccess for Ports<J> {
    async fn queue_key(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
        _: WorkerId,
    ) -> Result<QueueKey, Unavailable> {
        Ok(QueueKey {
            queue_url: format!("https://sqs.example/{}", queue_name(scope, pool)),
            region: "r".to_owned(),
            access_key_id: "a".to_owned(),
            secret_access_key: "b".to_owned(),
            session_token: "c".to_owned(),
            expires_at: Timestamp::from_millis(0),
        })
    }
}

fn happens(fault: Option<Fault>) -> bool {
    matches!(fault, None | Some(Fault::ReplyLost))
}

fn answered(fault: Option<Fault>) -> Result<(), String> {
    fault.map_or(Ok(()), |_| Err(no_answer()))
}

fn host_answer(fault: Option<Fault>) -> Result<(), HostError> {
    match fault {
        None => Ok(()),
        Some(Fault::Busy) => Err(HostError::Throttled),
        Some(Fault::Unavailable | Fault::ReplyLost) => {
            Err(HostError::Unavailable("no answer".to_owned()))
        }
    }
}

fn told(what: String, fault: Option<Fault>) -> String {
    match fault {
        None => what,
        Some(Fault::Busy) => format!("{what} -> throttled"),
        Some(Fault::Unavailable) => format!("{what} -> fails, nothing happened"),
        Some(Fault::ReplyLost) => format!("{what} -> happens, its answer is lost"),
    }
}

fn place(key: &Key) -> String {
    format!("{} {}", key.pk, key.sk)
}

/// The end of an ARN that differs between tasks.
pub fn short(arn: &str) -> String {
    let id = arn.rsplit('/').next().unwrap_or(arn);
    format!("task {}", id.trim_start_matches('0'))
}

fn written(writes: &[Write]) -> String {
    let parts = writes.iter().map(|write| match write {
        Write::Put {
            table: Table::Audit,
            item,
            ..
        } => format!("audit{}", events(item)),
        Write::Put { item, .. } => {
            let name = |name: &str| {
                item.get(name)
                    .and_then(|value| value.as_s().ok())
                    .cloned()
                    .unwrap_or_default()
            };
            format!("put {} {}", name("pk"), name("sk"))
        }
        Write::Add { key, .. } => format!("add {}", place(key)),
        Write::Update { key, .. } => format!("update {}", place(key)),
        Write::Delete { key, .. } => format!("delete {}", place(key)),
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn events(item: &Item) -> String {
    let names = item
        .get("events")
        .and_then(|events| events.as_l().ok())
        .map(|events| {
            let names = events
                .iter()
                .filter_map(|event| event.as_m().ok()?.get("type")?.as_s().ok().cloned());
            names.collect::<Vec<_>>().join(" ")
        });
    format!("[{}]", names.unwrap_or_default())
}
