//! The witness over a ledger in which one claim was released two secrets, and an ECS that ran one
//! task for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sealfleet_domain::Clock;
use sealfleet_domain::cascade::Overrides;
use sealfleet_domain::fleet::{Project, Worker, WorkerStatus};
use sealfleet_domain::identity::{Identity, SecretRef};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::{Executor, Fresh, Mode, Pace, Run, SecretsRead};
use sealfleet_domain::workload::SECRETS_AUDIENCE;
use sealfleet_domain::{NamePrefix, RunId, WorkerId};
use sealfleet_fargate::TaskState;
use sealfleet_hosts::{Error as HostError, Launched, Template};
use sealfleet_ledger::store::{Item, Key, Table};
use sealfleet_ledger::{Added, NewClaim};
use sealfleet_system::SystemIds;
use sealfleet_test_fakes::memory::Memory;
use serde_json::{Value, json};

use super::*;

const PACE: Pace = Pace {
    lease_seconds: 30,
    resend_seconds: 60,
};
/// What the samples read, and who.
const VERSION: &str = "0198c0de-0000-7000-8000-00000000000b";
const TASK: &str = "1d2f3a4b5c6d7e8f90a1b2c3d4e5f607";

/// 600 ms before the samples' reads, which CloudTrail tells in whole seconds.
struct Released;

impl Clock for Released {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-01-31T08:00:00.400Z").unwrap()
    }
}

fn silent() -> HostError {
    HostError::Unavailable("no answer".to_owned())
}

#[derive(Clone, Default)]
struct FakeEcs {
    tasks: Arc<Mutex<BTreeMap<String, TaskState>>>,
    down: Arc<AtomicBool>,
}

#[async_trait]
impl SandboxHost for FakeEcs {
    fn kind(&self) -> &'static str {
        "fargate"
    }
    fn owns(&self, _: &Handle) -> bool {
        true
    }
    fn template_key(&self, _: &Template) -> String {
        String::new()
    }
    async fn prepare(&self, _: &ProjectScope, _: &Template) -> Result<String, HostError> {
        Err(silent())
    }
    async fn launch(&self, _: &ClaimTag, _: &str) -> Result<Launched, HostError> {
        Err(silent())
    }
    async fn stop(&self, _: &Handle, _: &str) -> Result<(), HostError> {
        Err(silent())
    }
    async fn look(&self, task: &Handle) -> Result<Option<Sandbox>, HostError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(silent());
        }
        let tasks = self.tasks.lock().unwrap();
        Ok(tasks.get(task.as_str()).cloned().map(Sandbox::from))
    }
    async fn find(&self, _: &ClaimTag) -> Result<Option<Handle>, HostError> {
        Err(silent())
    }
}

/// The row of a run, in whichever partition it is.
fn row_of(store: &Memory, run_id: RunId) -> Item {
    let rows = (0..8).find_map(|shard| {
        let key = Key {
            pk: format!("PRJ#healthcare#RUNS#{shard}"),
            sk: run_id.to_string(),
        };
        store.tables().get(Table::Ledger, &key)
    });
    rows.unwrap().as_ref().clone()
}

struct World {
    ports: Ports,
    ecs: FakeEcs,
    scope: ProjectScope,
    lines: Arc<Mutex<Vec<String>>>,
    store: Arc<Memory>,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(Memory::default());
        let ledger = Ledger::new(store.clone(), Arc::new(Released), Arc::new(SystemIds));
        let scope = ProjectScope::of_stored_row("healthcare".parse().unwrap());
        let project = Project::new(scope.project().clone(), BTreeMap::new(), ledger.now());
        ledger
            .create_project(&scope, &project, &[], "test")
            .await
            .unwrap();
        let run_id = released(&ledger, &scope).await;
        let row = row_of(&store, run_id);
        let added = Added::between(None, &row).unwrap();
        let entries = ledger.whole_entries(added).await.unwrap();
        ledger.add_to_trail(entries).await.unwrap();
        let started_by = format!("healthcare/{run_id}/a/1");
        let task = TaskState {
            arn: format!("arn:aws:ecs:eu-west-1:111122223333:task/sealfleet/{TASK}"),
            started_by: Some(started_by),
            started_at: Some(ledger.now().plus_seconds(20)),
            ..TaskState::default()
        };
        let ecs = FakeEcs::default();
        ecs.tasks.lock().unwrap().insert(TASK.to_owned(), task);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let metrics = Metrics::to("witness", lines.clone());
        Self {
            ports: Ports {
                ledger,
                fargate: Box::new(ecs.clone()),
                metrics,
                prefix: NamePrefix::default(),
            },
            ecs,
            scope,
            lines,
            store,
        }
    }

    fn change_task(&self, change: impl FnOnce(&mut TaskState)) {
        change(self.ecs.tasks.lock().unwrap().get_mut(TASK).unwrap());
    }

    /// The claim that was released the secrets.
    fn claim(&self) -> ClaimTag {
        let tasks = self.ecs.tasks.lock().unwrap();
        let started_by = tasks[TASK].started_by.as_ref().unwrap();
        started_by.parse().unwrap()
    }

    /// Its command starts.
    async fn start(&self) {
        let ClaimTag {
            scope,
            run_id,
            step_id,
            fence,
        } = self.claim();
        let handle = Some(Handle::new("sandbox".to_owned()));
        let read = SecretsRead::default();
        let start = |run: &mut Run, _| run.start(&step_id, None, fence, handle.clone(), &read);
        let ledger = &self.ports.ledger;
        ledger
            .transition(&scope, run_id, "test", start)
            .await
            .unwrap();
        let row = row_of(&self.store, run_id);
        let added = Added::between(None, &row).unwrap();
        let entries = ledger.whole_entries(added).await.unwrap();
        ledger.add_to_trail(entries).await.unwrap();
    }

    async fn tell(&self, event: &Value) -> Result<Witnessed, Error> {
        handle(&self.ports, serde_json::from_value(event.clone()).unwrap()).await
    }

    /// Why an event is not explained, by the project's trail.
    async fn why(&self, event: &Value) -> Option<Unexplained> {
        let before = self.noted().await.len();
        let witnessed = self.tell(event).await.unwrap();
        let noted = self.noted().await;
        assert_eq!(
            (
                witnessed.explained + witnessed.unexplained,
                noted.len() - before
            ),
            (1, witnessed.unexplained)
        );
        noted
            .iter()
            .find(|(id, _)| event["detail"]["eventID"] == json!(id))
            .map(|(_, why)| *why)
    }

    /// The witness's entries in the project's trail, by the CloudTrail event.
    async fn noted(&self) -> Vec<(String, Unexplained)> {
        let day = Timestamp::parse("2026-01-31T00:00:00Z").unwrap();
        let entries = entries(
            &self.ports,
            &self.scope,
            None,
            day,
            day.plus_seconds(24 * 3600),
        )
        .await
        .unwrap();
        let mut noted = Vec::new();
        for event in entries.into_iter().flat_map(|entry| entry.events) {
            if let Event::SecretReadUnexplained {
                cloudtrail_event_id,
                why,
                ..
            } = event
            {
                noted.push((cloudtrail_event_id, why));
            }
        }
        noted
    }

    /// Projects of the metric's lines.
    fn counted(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let lines = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| line["Project"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A claim that was released `sealfleet/healthcare/crm` and `sealfleet/system/base`.
async fn released(ledger: &Ledger, scope: &ProjectScope) -> RunId {
    let secret = |name: &str| SecretRef {
        delivery: sealfleet_domain::delivery::Delivery::Env,
        redact: true,
        name: "TOKEN".to_owned(),
        uri: format!("aws-sm://sealfleet/{name}#token").parse().unwrap(),
        version: Some(VERSION.to_owned()),
        arn: Some(format!(
            "arn:aws:secretsmanager:eu-west-1:111122223333:secret:sealfleet/{name}-AbCdEf"
        )),
        from: "crm".parse().unwrap(),
    };
    let identity = Identity {
        secrets: vec![secret("healthcare/crm"), secret("system/base")],
        overrides: Overrides::default(),
        ..Identity::default()
    };
    let spec = json!({
        "pool": "fargate", "mode": "identity", "command": ["true"], "timeout_seconds": 60, "max_attempts": 3,
        "ttl_seconds": 3600,
    });
    let now = ledger.now();
    let worker = Worker {
        worker_id: WorkerId::new(ledger.ids(), now),
        name: "w".to_owned(),
        pool: "fargate".parse().unwrap(),
        status: WorkerStatus::Approved,
        labels: Labels::default(),
        models: vec![],
        modes: vec![Mode::Identity],
        max_concurrent: 1,
        hash: None,
        enrolled_by: None,
        draining_since: None,
        sandboxes: Default::default(),
        registered_at: now,
    };
    let (run_id, step_id) = (RunId::new(ledger.ids(), now), "a".parse().unwrap());
    let steps = BTreeMap::from([("a".parse().unwrap(), serde_json::from_value(spec).unwrap())]);
    let (run, change) = Run::enqueue(
        run_id,
        "w".parse().unwrap(),
        Some(identity.clone()),
        steps,
        PACE,
        now,
    );
    ledger
        .enqueue(scope, run.clone(), &change, None, "test")
        .await
        .unwrap();
    let executor = Executor::Host;
    let wanted = NewClaim {
        scope,
        worker: &worker,
        run_id,
        step_id: &step_id,
        executor,
        pace: PACE,
    };
    ledger
        .claim(&wanted, async |_| Ok(Fresh::Identity(identity.clone())))
        .await
        .unwrap();
    run_id
}

fn sample(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../events/witness")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn with(pointer: &str, value: Value) -> Value {
    let mut event = sample("explained.json");
    *event.pointer_mut(pointer).unwrap() = value;
    event
}

#[tokio::test]
async fn each_sample_comes_to_what_its_name_says() {
    let world = World::new().await;
    for name in ["explained.json", "explained-system.json"] {
        assert_eq!(
            world.tell(&sample(name)).await.unwrap(),
            Witnessed {
                explained: 1,
                unexplained: 0
            },
            "{name}"
        );
    }
    for name in ["failed-call.json", "foreign-secret.json"] {
        assert_eq!(
            world.tell(&sample(name)).await.unwrap(),
            Witnessed::default(),
            "{name}"
        );
    }
    assert!(matches!(
        world.tell(&sample("refused-no-secret.json")).await,
        Err(Error::Unreadable(_))
    ));
    assert_eq!((world.noted().await, world.counted()), (vec![], vec![]));
    for (name, why) in [
        ("unexplained-person.json", Unexplained::NotAnExecutionRole),
        ("unexplained-other-project.json", Unexplained::OtherProject),
        ("unexplained-version.json", Unexplained::NotReleased),
    ] {
        assert_eq!(world.why(&sample(name)).await, Some(why), "{name}");
    }
    assert_eq!(world.counted(), ["healthcare"; 3]);
    // Two of the three names of the batch are ours, one of them the operators'.
    let batch = world.tell(&sample("unexplained-batch.json")).await.unwrap();
    assert_eq!(
        batch,
        Witnessed {
            explained: 0,
            unexplained: 2
        }
    );
    assert!(
        world
            .noted()
            .await
            .iter()
            .any(|(_, why)| *why == Unexplained::InABatch)
    );
    assert_eq!(world.counted()[3..], ["healthcare", "~system"]);
}

#[tokio::test]
async fn what_comes_again_is_put_and_counted_once() {
    let world = World::new().await;
    for _ in 0..3 {
        let witnessed = world
            .tell(&sample("unexplained-person.json"))
            .await
            .unwrap();
        assert_eq!(
            witnessed,
            Witnessed {
                explained: 0,
                unexplained: 1
            }
        );
    }
    assert_eq!(world.noted().await.len(), 1);
    assert_eq!(world.counted(), ["healthcare"]);
}

#[tokio::test]
async fn only_the_task_of_the_claim_explains() {
    let world = World::new().await;
    let session = |session: &str| {
        with(
            "/detail/userIdentity/arn",
            json!(format!("arn:aws:sts::{session}")),
        )
    };
    let mine = "assumed-role/sealfleet-healthcare--execution";
    for (caller, why) in [
        (
            format!("444455556666:{mine}/{TASK}"),
            Unexplained::NotAnExecutionRole,
        ),
        (
            format!("111122223333:assumed-role/sealfleet-sandboxes/{TASK}"),
            Unexplained::NotAnExecutionRole,
        ),
        (
            format!("111122223333:{mine}-2/{TASK}"),
            Unexplained::NotAnExecutionRole,
        ),
    ] {
        let mut event = session(&caller);
        event["detail"]["eventID"] = json!(caller);
        assert_eq!(world.why(&event).await, Some(why), "{caller}");
    }
    let mut unpinned = with("/detail/requestParameters/versionId", Value::Null);
    unpinned["detail"]["eventID"] = json!("unpinned");
    assert_eq!(
        world.why(&unpinned).await,
        Some(Unexplained::VersionNotPinned)
    );

    let of = |name: &str| with("/detail/eventID", json!(name));
    let run = world.ecs.tasks.lock().unwrap()[TASK]
        .started_by
        .clone()
        .unwrap();
    world.change_task(|task| task.started_by = Some(run.replace("/a/1", "/a/2")));
    assert_eq!(
        world.why(&of("another claim")).await,
        Some(Unexplained::NotReleased)
    );
    for by in [
        "ecs-svc/1".to_owned(),
        run.replace("healthcare/", "finance/"),
    ] {
        world.change_task(|task| task.started_by = Some(by.clone()));
        assert_eq!(world.why(&of(&by)).await, Some(Unexplained::ForeignTask));
    }
    world.change_task(|task| task.started_by = Some(run.clone()));
    let ClaimTag {
        scope,
        run_id,
        step_id,
        fence,
    } = run.parse().unwrap();
    let handle =
        Handle::new("arn:aws:ecs:eu-west-1:111122223333:task/sealfleet/another".to_owned());
    let attach = |run: &mut Run, now| run.attach(&step_id, fence, handle.clone(), now);
    world
        .ports
        .ledger
        .transition(&scope, run_id, "test", attach)
        .await
        .unwrap();
    assert_eq!(
        world.why(&of("another task")).await,
        Some(Unexplained::OtherTask)
    );
}

/// A token that was issued for the claim of a run, with this audience.
async fn issued(world: &World, audience: &str) -> IdentityTokenId {
    let ClaimTag {
        run_id,
        step_id,
        fence,
        ..
    } = world.claim();
    let ledger = &world.ports.ledger;
    let token_id = IdentityTokenId::new(ledger.ids(), ledger.now());
    let event = Event::IdentityTokenIssued {
        step_id,
        fence,
        token_id,
        audience: audience.parse().unwrap(),
        expires_at: ledger.now().plus_seconds(30),
    };
    let entry = AuditEntry {
        event_id: EventId::of(ledger.now(), &token_id.to_string()),
        at: ledger.now(),
        project: "healthcare".to_owned(),
        actor: "worker:w".to_owned(),
        run_id: Some(run_id),
        containment_id: None,
        events: vec![event],
    };
    ledger.add_to_trail(vec![entry]).await.unwrap();
    token_id
}

/// A read by the reader role, in a session of this source identity.
fn by_worker(name: &str, source_identity: &Value) -> Value {
    let caller = "arn:aws:sts::111122223333:assumed-role/sealfleet-healthcare--reader/run.a";
    let mut event = with("/detail/userIdentity/arn", json!(caller));
    event["detail"]["eventID"] = json!(name);
    event["detail"]["userIdentity"]["sessionContext"] =
        json!({ "sourceIdentity": source_identity });
    event
}

#[tokio::test]
async fn only_a_token_that_reads_secrets_explains_a_workers_read() {
    let world = World::new().await;
    // No task of ECS has a part in it.
    world.ecs.down.store(true, Ordering::SeqCst);
    let token = issued(&world, SECRETS_AUDIENCE).await;
    let own = by_worker("own", &json!(token));
    assert_eq!(world.why(&own).await, None);
    let other = issued(&world, "sts.amazonaws.com").await;
    let never = IdentityTokenId::new(world.ports.ledger.ids(), world.ports.ledger.now());
    for (name, source) in [
        ("another audience", json!(other)),
        ("never issued", json!(never)),
        ("no token", json!("alice")),
        ("none", Value::Null),
    ] {
        let why = world.why(&by_worker(name, &source)).await;
        assert_eq!(why, Some(Unexplained::UnknownToken), "{name}");
    }
    let mut foreign = by_worker("another project", &json!(token));
    foreign["detail"]["userIdentity"]["arn"] =
        json!("arn:aws:sts::111122223333:assumed-role/sealfleet-finance--reader/run.a");
    assert_eq!(world.why(&foreign).await, Some(Unexplained::OtherProject));
    let mut version = by_worker("another version", &json!(token));
    version["detail"]["requestParameters"]["versionId"] = json!("another");
    assert_eq!(world.why(&version).await, Some(Unexplained::NotReleased));
}

#[tokio::test]
async fn a_workers_read_is_before_its_command_and_its_claims_end() {
    let world = World::new().await;
    let token = issued(&world, SECRETS_AUDIENCE).await;
    let late = |name: &str| {
        let mut event = by_worker(name, &json!(token));
        event["detail"]["eventTime"] = json!("2026-01-31T08:01:00Z");
        event
    };
    // A slow start, whose lease is renewed.
    assert_eq!(world.why(&late("slow")).await, None);
    world.start().await;
    let why = world.why(&late("after the start")).await;
    assert_eq!(why, Some(Unexplained::LongAfterRelease));
}

#[tokio::test]
async fn a_task_that_ecs_has_forgotten_is_explained_by_the_trail() {
    let world = World::new().await;
    world.ecs.tasks.lock().unwrap().clear();
    assert_eq!(world.why(&sample("explained.json")).await, None);
    assert_eq!(
        world.why(&sample("unexplained-version.json")).await,
        Some(Unexplained::UnknownTask)
    );
    let late = with("/detail/eventTime", json!("2026-01-31T09:30:00Z"));
    assert_eq!(world.why(&late).await, Some(Unexplained::UnknownTask));
}

#[tokio::test]
async fn where_nobody_answers_nothing_is_decided() {
    let world = World::new().await;
    world.ecs.down.store(true, Ordering::SeqCst);
    assert!(matches!(
        world.tell(&sample("explained.json")).await,
        Err(Error::Unavailable(_))
    ));
    assert_eq!(world.noted().await, []);
    world.ecs.down.store(false, Ordering::SeqCst);
    assert_eq!(world.why(&sample("explained.json")).await, None);
}

#[tokio::test]
async fn a_secret_without_a_project_is_the_operators_to_look_at() {
    let world = World::new().await;
    for secret in [
        "sealfleet/nobody/x",
        "sealfleet/No_Project/x",
        "sealfleet/system/base",
    ] {
        let mut event = sample("unexplained-person.json");
        event["detail"]["requestParameters"]["secretId"] = json!(secret);
        assert_eq!(world.tell(&event).await.unwrap().unexplained, 1, "{secret}");
    }
    assert_eq!(world.noted().await, []);
    assert_eq!(world.counted(), ["~system"; 3]);
}
