//! The ports that handlers are given: each call waits for its turn on the stage.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use sealfleet_archive::digest::Signature;
use sealfleet_archive::objects::{self, EVENTS};
use sealfleet_aws::Unavailable;
use sealfleet_aws::inputs::{InputAccess, InputObjects, Slot, Stored, Uploads};
use sealfleet_aws::objects::{Listed, Objects};
use sealfleet_aws::outputs::{OutputKey, OutputKeys, OutputObjects};
use sealfleet_aws::queue_access::{NoKey, QueueAccess, QueueKey};
use sealfleet_aws::queues::{Continuations, Queues, queue_name};
use sealfleet_aws::signing::{Signer, TokenSigner};
use sealfleet_domain::identity::Pin;
use sealfleet_domain::output::Outputs;
use sealfleet_domain::run::{Handle, RequeueReason};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::upload::{self, Promise};
use sealfleet_domain::{NamePrefix, PoolName, ProjectScope, RunId, Timestamp, UploadId, WorkerId};
use sealfleet_fargate::definition_hash;
use sealfleet_hosts::{Error as HostError, Launched, Sandbox, SandboxHost, Template};
use sealfleet_ledger::store::{
    Consistency, DueRow, DueRows, Item, Key, Query, ReadError, Rows, Store, Table, Write,
    WriteError,
};
use sealfleet_versions::{Error as SecretsError, SecretVersions};

use crate::archive::signature_of;
use crate::ecs::Launching;
use crate::memory::{Tables, no_answer};
use crate::queues::Message;
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
    ) -> Result<Option<Item>, ReadError> {
        self.0
            .call("get", |world, verdict| {
                let stale = world.temper.as_ref().map_or(0, |temper| temper.stale);
                let is_stale = consistency == Consistency::Eventual && world.random.chance(stale);
                let how = if is_stale { " as it was" } else { "" };
                world.note_effect(|| told(format!("get {}{how}", place(key)), verdict.fault));
                world.note_access("GetItem", table, &key.pk);
                read_of(verdict.fault)?;
                let row = if is_stale {
                    world.tables.get_older(table, key)
                } else {
                    world.tables.get(table, key)
                };
                Ok(tampered(world, key, row).map(|item| item.as_ref().clone()))
            })
            .await
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        self.0
            .call("query", |world, verdict| {
                world.note_effect(|| told(format!("query {}", query.pk), verdict.fault));
                world.note_access("Query", query.table, &query.pk);
                read_of(verdict.fault)?;
                world.tables.query(query, after).map_err(ReadError::Refused)
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
    ) -> Result<DueRows, ReadError> {
        let page = index_page(&mut self.0.lock(), shard, until, after, limit)?;
        if page.rows.is_empty() {
            return Ok(page);
        }
        self.0
            .call("due", |world, verdict| {
                read_of(verdict.fault)?;
                let due = index_page(world, shard, until, after, limit)?;
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
                for write in &writes {
                    if let (table, Some(key)) = write.target() {
                        world.note_access(action(write), table, &key.pk);
                    }
                }
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

/// A row as a world shows it that breaks its promises.
fn tampered<J: Judge>(world: &World<J>, key: &Key, found: Option<Arc<Item>>) -> Option<Arc<Item>> {
    match found {
        None if world.breaks(Sabotage::SharedRows) => {
            let (_, rest) = key.pk.strip_prefix("PRJ#")?.split_once('#')?;
            let others = world.tables.partitions(&format!("#{rest}"));
            others.into_iter().find_map(|pk| {
                let key = Key {
                    pk,
                    sk: key.sk.clone(),
                };
                world.tables.get(Table::Ledger, &key)
            })
        }
        Some(mut item)
            if world.breaks(Sabotage::LostAccessLists) && key.pk.ends_with("#PROFILES") =>
        {
            Arc::make_mut(&mut item).remove("tools");
            Some(item)
        }
        found => found,
    }
}

fn index_page<J: Judge>(
    world: &mut World<J>,
    shard: &str,
    until: i64,
    after: Option<&DueRow>,
    limit: usize,
) -> Result<DueRows, ReadError> {
    let late = world.breaks(Sabotage::LateIndex);
    let short = world.breaks(Sabotage::ShortIndex);
    let until = if late { until - 300_000 } else { until };
    let mut page = follow_index(world)
        .due(shard, until, after, limit)
        .map_err(ReadError::Refused)?;
    if short {
        page.rows.truncate(1);
        page.more_after = None;
    }
    Ok(page)
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
                let queue = queue_name(&NamePrefix::default(), scope, pool);
                world.note_effect(|| told(format!("send to {queue}: {body}"), verdict.fault));
                world.judge.sent(&queue, &body);
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

    async fn is_deployed(
        &self,
        scope: &ProjectScope,
        pool: &PoolName,
    ) -> Result<bool, Unavailable> {
        self.0
            .call("look for a queue", |world, verdict| {
                let queue = queue_name(&NamePrefix::default(), scope, pool);
                answered(verdict.fault).map_err(|detail| Unavailable {
                    service: "SQS",
                    detail,
                })?;
                Ok(!world.undeployed.contains(&queue))
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
    let about = |letter: &Message| letter.queue == queue && letter.body == body;
    if world.breaks(Sabotage::DeafQueues) && world.queues.dead_letters().iter().any(about) {
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
                        return Err(HostError::NotNow {
                            reason: RequeueReason::NoCapacity,
                            detail: "RESOURCE:ENI".to_owned(),
                        });
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
                let (judge, actor, task) = world.judge_of(arn);
                if let Some(task) = task {
                    judge.stopped(task, actor);
                }
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
            let (judge, actor, _) = world.judge_of(&arn);
            judge.launched(claim, template.as_ref(), actor);
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
    ) -> Result<QueueKey, NoKey> {
        Ok(QueueKey {
            queue_url: format!(
                "https://sqs.example/{}",
                queue_name(&NamePrefix::default(), scope, pool)
            ),
            region: "r".to_owned(),
            access_key_id: "a".to_owned(),
            secret_access_key: "b".to_owned(),
            session_token: "c".to_owned(),
            expires_at: Timestamp::from_millis(0),
        })
    }
}

/// The bucket, as the names of keys show it.
const OUTPUT_BUCKET: &str = "sealfleet-outputs-000000000000-r";

#[async_trait]
impl<J: Judge> OutputKeys for Ports<J> {
    async fn output_key(&self, of: &Outputs, _: &str) -> Result<OutputKey, NoKey> {
        let seconds = Timestamp::from_millis(self.0.lock().time).plus_seconds(3600);
        Ok(OutputKey {
            endpoint: "https://s3.example".to_owned(),
            region: "r".to_owned(),
            bucket: OUTPUT_BUCKET.to_owned(),
            prefix: of.prefix(),
            access_key_id: "a".to_owned(),
            secret_access_key: "b".to_owned(),
            session_token: "c".to_owned(),
            expires_at: seconds,
        })
    }
}

#[async_trait]
impl<J: Judge> OutputObjects for Ports<J> {
    async fn list(
        &self,
        of: &Outputs,
        folder: &str,
        after: Option<&str>,
    ) -> Result<Vec<String>, NoKey> {
        let prefix = of.prefix();
        let after = after.map(|name| format!("{prefix}{name}"));
        self.0
            .call("list outputs", |world, verdict| {
                s3_answer(verdict.fault).map_err(NoKey::Unavailable)?;
                let below = format!("{prefix}{folder}");
                let listed = world.outputs.list(&below, after.as_deref());
                let names = listed
                    .iter()
                    .filter_map(|one| one.key.strip_prefix(&prefix));
                Ok(names.map(str::to_owned).collect())
            })
            .await
    }

    async fn get(&self, of: &Outputs, name: &str, most: usize) -> Result<Option<Vec<u8>>, NoKey> {
        let key = format!("{}{name}", of.prefix());
        self.0
            .call("get output", |world, verdict| {
                s3_answer(verdict.fault).map_err(NoKey::Unavailable)?;
                let mut found = world.outputs.get(&key);
                if let Some(bytes) = &mut found {
                    bytes.truncate(most);
                }
                Ok(found)
            })
            .await
    }

    async fn urls(
        &self,
        of: &Outputs,
        names: &[String],
    ) -> Result<(Vec<String>, Timestamp), NoKey> {
        let url = |name: &String| format!("https://s3.example/{}{name}", of.prefix());
        let expires_at = Timestamp::from_millis(self.0.lock().time).plus_seconds(900);
        Ok((names.iter().map(url).collect(), expires_at))
    }
}

#[async_trait]
impl<J: Judge> Uploads for Ports<J> {
    async fn slot(
        &self,
        scope: &ProjectScope,
        upload_id: UploadId,
        promise: Promise,
    ) -> Result<Slot, NoKey> {
        let prefix = upload::prefix(scope, upload_id);
        Ok(Slot {
            url: format!("https://s3.example/{prefix}{}", promise.name()),
            headers: BTreeMap::from([("if-none-match".to_owned(), "*".to_owned())]),
            expires_at: Timestamp::from_millis(self.0.lock().time).plus_seconds(900),
        })
    }

    async fn look(
        &self,
        scope: &ProjectScope,
        upload_id: UploadId,
    ) -> Result<Option<Stored>, NoKey> {
        let prefix = upload::prefix(scope, upload_id);
        self.0
            .call("list uploads", |world, verdict| {
                s3_answer(verdict.fault).map_err(NoKey::Unavailable)?;
                let listed = world.outputs.list(&prefix, None);
                let stored = listed.iter().find_map(|one| {
                    let promise = Promise::of_name(one.key.strip_prefix(&prefix)?)?;
                    let bytes = world.outputs.get(&one.key)?.len() as u64;
                    Some(Stored { promise, bytes })
                });
                Ok(stored)
            })
            .await
    }
}

#[async_trait]
impl<J: Judge> InputAccess for Ports<J> {
    async fn open(
        &self,
        scope: &ProjectScope,
        _: RunId,
        _: String,
    ) -> Result<Box<dyn InputObjects>, NoKey> {
        Ok(Box::new(OpenInputs {
            ports: Self(self.0.clone()),
            scope: scope.clone(),
        }))
    }
}

/// What the steps of a run work with.
struct OpenInputs<J: Judge> {
    ports: Ports<J>,
    scope: ProjectScope,
}

#[async_trait]
impl<J: Judge> InputObjects for OpenInputs<J> {
    async fn upload(&self, upload_id: UploadId) -> Result<Option<Stored>, NoKey> {
        Uploads::look(&self.ports, &self.scope, upload_id).await
    }

    async fn left(&self, of: &Outputs, name: &str, most: usize) -> Result<Option<Vec<u8>>, NoKey> {
        OutputObjects::get(&self.ports, of, name, most).await
    }

    async fn url(&self, key: &str) -> Result<String, NoKey> {
        Ok(format!("https://s3.example/{key}"))
    }

    fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.ports.0.lock().time).plus_seconds(900)
    }
}

#[async_trait]
impl<J: Judge> Objects for Ports<J> {
    async fn create(&self, key: &str, _: &str, bytes: Vec<u8>) -> Result<bool, Unavailable> {
        self.0
            .call("put object", |world, verdict| {
                world.note_effect(|| told(format!("put {key}"), verdict.fault));
                let mut new = false;
                if happens(verdict.fault) {
                    let bytes = forged(world, key, bytes);
                    let now = Timestamp::from_millis(world.time);
                    new = world.archive.create(key, bytes, now);
                }
                s3_answer(verdict.fault).map(|()| new)
            })
            .await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.0
            .call("get object", |world, verdict| {
                s3_answer(verdict.fault).map(|()| world.archive.get(key))
            })
            .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Unavailable> {
        self.0
            .call("list objects", |world, verdict| {
                s3_answer(verdict.fault).map(|()| world.archive.list(prefix, after))
            })
            .await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Unavailable> {
        self.0
            .call("list folders", |world, verdict| {
                s3_answer(verdict.fault).map(|()| world.archive.folders(prefix))
            })
            .await
    }
}

/// Puts another actor into an object's first event, now and then.
fn forged<J: Judge>(world: &mut World<J>, key: &str, bytes: Vec<u8>) -> Vec<u8> {
    let forges = world.breaks(Sabotage::ForgedObjects) && key.starts_with(EVENTS);
    if !forges || !world.random.chance(100) {
        return bytes;
    }
    let text = objects::content(key, &bytes).ok().and_then(|content| {
        let text = String::from_utf8(content).ok()?;
        let text = text.replacen("\"actor\":\"", "\"actor\":\"nobody", 1);
        objects::pack(text.as_bytes()).ok()
    });
    text.unwrap_or(bytes)
}

fn s3_answer(fault: Option<Fault>) -> Result<(), Unavailable> {
    answered(fault).map_err(|detail| Unavailable {
        service: "Amazon S3",
        detail,
    })
}

#[async_trait]
impl<J: Judge> Signer for Ports<J> {
    async fn sign(&self, sha256: [u8; 32]) -> Result<Signature, Unavailable> {
        self.0
            .call("sign", |_, verdict| {
                s3_answer(verdict.fault).map(|()| signature_of(sha256))
            })
            .await
    }
}

/// A key that nobody has: its signature is the hash that was to be signed.
#[async_trait]
impl<J: Judge> TokenSigner for Ports<J> {
    async fn sign(&self, sha256: [u8; 32]) -> Result<Vec<u8>, Unavailable> {
        self.0
            .call("sign a token", |_, verdict| {
                s3_answer(verdict.fault).map(|()| sha256.to_vec())
            })
            .await
    }

    async fn public_keys(&self) -> Result<Vec<Vec<u8>>, Unavailable> {
        self.0
            .call("public keys", |world, verdict| {
                world.note_effect(|| told("public keys".to_owned(), verdict.fault));
                s3_answer(verdict.fault).map(|()| vec![public_key()])
            })
            .await
    }
}

/// A DER-encoded `SubjectPublicKeyInfo` of RSA with made-up numbers.
fn public_key() -> Vec<u8> {
    let modulus = [&[0x02, 0x82, 0x01, 0x01, 0x00][..], &[0xa5; 256]].concat();
    let pair = [modulus, vec![0x02, 0x03, 0x01, 0x00, 0x01]].concat();
    let pair = [&[0x30, 0x82, 0x01, 0x0a][..], &pair].concat();
    let bits = [&[0x03, 0x82, 0x01, 0x0f, 0x00][..], &pair].concat();
    let algorithm = [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    ];
    [&[0x30, 0x82, 0x01, 0x22][..], &algorithm, &bits].concat()
}

fn happens(fault: Option<Fault>) -> bool {
    matches!(fault, None | Some(Fault::ReplyLost))
}

fn read_of(fault: Option<Fault>) -> Result<(), ReadError> {
    answered(fault).map_err(ReadError::Unavailable)
}

fn answered(fault: Option<Fault>) -> Result<(), String> {
    fault.map_or(Ok(()), |_| Err(no_answer()))
}

fn host_answer(fault: Option<Fault>) -> Result<(), HostError> {
    match fault {
        None => Ok(()),
        Some(Fault::Busy) => Err(HostError::NotNow {
            reason: RequeueReason::Throttled,
            detail: "Rate exceeded".to_owned(),
        }),
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

/// The action that IAM asks for, in a transaction as well ("IAM policies for transactions").
const fn action(write: &Write) -> &'static str {
    match write {
        Write::Put { .. } => "PutItem",
        Write::Update { .. } => "UpdateItem",
        Write::Delete { .. } => "DeleteItem",
    }
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
