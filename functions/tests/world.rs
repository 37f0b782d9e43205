//! The handlers of all functions over the fakes, two projects, and everybody who might call.
//!
//! Every write is judged: no state changes without its event ([`Audited`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use sealfleet_api::Code;
use sealfleet_api::http::answer;
use sealfleet_api::operations::{Operation, find, parts};
use sealfleet_api::types::QueueMessage;
use sealfleet_domain::access::Role;
use sealfleet_domain::approval::{Decision, Verdict};
use sealfleet_domain::credential::{Home, enrolment_key_text, token_text, worker_text};
use sealfleet_domain::fleet::{EnrolmentKey, HostedPool, Pool, Project, Worker, WorkerStatus};
use sealfleet_domain::hash::SecretHash;
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::labels::Labels;
use sealfleet_domain::oidc::Issuers;
use sealfleet_domain::profile::Content;
use sealfleet_domain::run::Mode;
use sealfleet_domain::{
    ApprovalId, EnrolmentKeyId, Owner, ProjectScope, Timestamp, TokenId, WorkerId,
};
use sealfleet_functions::shared::auth::Oidc;
use sealfleet_ledger::store::{Condition, Item, Key as RowKey, Table, Write};
use sealfleet_ledger::{Ledger, Registration};
use sealfleet_oidc::Verifier;
use sealfleet_test_fakes::ecs::{End, Status, Task};
use sealfleet_test_fakes::handlers::{Handlers, Invoke, Outcome, ledger};
use sealfleet_test_fakes::memory::Tables;
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Fault};
use sealfleet_test_issuer::{Issuer, Key};
use serde_json::{Value, json};

use crate::audited::{Audited, Seen};

type Stage = stage::Stage<Audited>;

/// The project that the requests are about.
pub const OWN: &str = "healthcare";
pub const OTHER: &str = "finance";
/// The pull pool of both.
pub const POOL: &str = "workers";
/// The Fargate pool of both.
pub const FARGATE: &str = "fargate";
/// A profile of [`OWN`] with the secret `API_KEY` in AWS Secrets Manager.
pub const CRM: &str = "crm";
/// The id of the ECS task that the sandbox is.
pub const TASK: &str = "0123456789abcdef0123456789abcdef";
/// The id of the ECS task that a sandbox of another project is.
pub const FOREIGN_TASK: &str = "fedcba9876543210fedcba9876543210";
/// 2027-01-15T08:00:00Z.
const BEGINNING: i64 = 1_800_000_000_000;
/// How long a call takes where calls are counted by time.
const TRIP: Duration = Duration::from_secs(1);
/// Milliseconds that pass with each request, so that rates allow any number of them.
const PASSES: i64 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Nobody,
    /// Something that is no credential.
    Garbled,
    /// A token that was never made.
    Unknown,
    /// The id of the admin's token with another secret.
    WrongSecret,
    /// The admin's token as one of the other project.
    WrongHome,
    /// A token that has expired.
    Expired,
    /// A token that was revoked.
    Revoked,
    Operator,
    Admin,
    Member,
    Viewer,
    /// An admin of the other project, who names the ids of this one.
    Stranger,
    Pending,
    Approved,
    Rejected,
    RevokedWorker,
    /// An approved worker of the other project.
    ForeignWorker,
    Key,
    /// A sandbox of this project, by the role of its task.
    Sandbox,
    /// A sandbox of the other project.
    ForeignSandbox,
    /// An admin of this project by JWT.
    OidcAdmin,
    OidcMember,
    OidcViewer,
    /// An admin of the other project by JWT.
    OidcStranger,
    /// A genuine JWT whose claims stand for no role.
    OidcNobody,
    /// A JWT of an admin that has expired.
    OidcExpired,
    /// An admin's claims, signed by a key that is not the issuer's.
    OidcForged,
}

impl Who {
    pub const ALL: [Self; 27] = [
        Self::Nobody,
        Self::Garbled,
        Self::Unknown,
        Self::WrongSecret,
        Self::WrongHome,
        Self::Expired,
        Self::Revoked,
        Self::Operator,
        Self::Admin,
        Self::Member,
        Self::Viewer,
        Self::Stranger,
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::RevokedWorker,
        Self::ForeignWorker,
        Self::Key,
        Self::Sandbox,
        Self::ForeignSandbox,
        Self::OidcAdmin,
        Self::OidcMember,
        Self::OidcViewer,
        Self::OidcStranger,
        Self::OidcNobody,
        Self::OidcExpired,
        Self::OidcForged,
    ];

    /// Whether it is a JWT that does not hold, of which the answer tells what is wrong.
    pub const fn is_bad_jwt(self) -> bool {
        matches!(self, Self::OidcExpired | Self::OidcForged)
    }
}

/// A request of an operation.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// What stands for the parameters of its path.
    pub path: BTreeMap<&'static str, String>,
    pub query: BTreeMap<&'static str, String>,
    pub if_match: Option<u32>,
    pub body: Value,
    /// The text that names what it is about, if anything.
    pub subject: Option<String>,
}

pub struct World {
    /// The ledger with ids of its own, to prepare and to look.
    pub ledger: Ledger,
    stage: Stage,
    handlers: Arc<Handlers>,
    credentials: BTreeMap<Who, String>,
    /// Milliseconds that pass with each request.
    passes: AtomicI64,
}

pub fn scope(project: &str) -> ProjectScope {
    ProjectScope::of_stored_row(project.parse().unwrap())
}

impl World {
    pub async fn new() -> Self {
        let (issuer, key) = (Issuer::start().await.unwrap(), Key::es256("1").unwrap());
        issuer.publish(&[&key]);
        let mut world = Self::begun(&issuer, Tables::default(), BEGINNING, 1);
        for project in [OWN, OTHER] {
            world.onboard(project).await;
        }
        world.admit().await;
        let now = world.ledger.now().epoch_seconds();
        world.credentials.extend(jwts(&issuer, &key, now));
        world
    }

    /// A deployment of today over rows of another time. Nobody has a credential yet.
    pub async fn over(tables: Tables, at: i64) -> Self {
        let issuer = Issuer::start().await.unwrap();
        Self::begun(&issuer, tables, at, 101)
    }

    /// `seed` makes the ids: those that the tables have must not come again.
    fn begun(issuer: &Issuer, tables: Tables, at: i64, seed: u64) -> Self {
        let judge = Audited::over(&tables.rows());
        let world = stage::World::new(tables, at, Random::new(seed), judge);
        let stage = Stage::new(world);
        let oidc = |clock| Oidc::On(Verifier::new(trusted(issuer), clock));
        Self {
            ledger: ledger(&stage, seed + 1),
            handlers: Arc::new(Handlers::with_oidc(&stage, seed, oidc)),
            stage,
            credentials: BTreeMap::new(),
            passes: AtomicI64::new(PASSES),
        }
    }

    /// All rows, and the time.
    pub fn stored(&self) -> (Vec<(Table, Item)>, i64) {
        let world = self.stage.lock();
        (world.tables.rows(), world.time)
    }

    /// Gives somebody a token of this role.
    pub async fn admit_one(&mut self, who: Who, home: &str, role: Role) {
        let (_, token) = self.token(home, role, 3600).await;
        self.credentials.insert(who, token);
    }

    async fn onboard(&self, project: &str) {
        let runner = self.new_worker(FARGATE, WorkerStatus::Approved, None);
        let fargate = HostedPool {
            host: "fargate".to_owned(),
            worker_id: runner.worker_id,
            image: "i".to_owned(),
            cpu: 256,
            memory_mib: 512,
        };
        let row = Project::new(
            project.parse().unwrap(),
            BTreeMap::from([
                (POOL.parse().unwrap(), Pool::Pull { backend: None }),
                (FARGATE.parse().unwrap(), Pool::Hosted(fargate)),
            ]),
            self.ledger.now(),
        );
        self.ledger
            .create_project(&scope(project), &row, &[runner], "test")
            .await
            .unwrap();
        let uri = format!("aws-sm://sealfleet/{project}/crm#api-key");
        let content = Content {
            secrets: BTreeMap::from([("API_KEY".to_owned(), uri.parse().unwrap())]),
            ..Content::default()
        };
        let owner = Owner::Project(scope(project));
        self.ledger
            .create_profile(&owner, &CRM.parse().unwrap(), content, "test")
            .await
            .unwrap();
    }

    fn new_worker(&self, pool: &str, status: WorkerStatus, hash: Option<SecretHash>) -> Worker {
        let now = self.ledger.now();
        Worker {
            worker_id: WorkerId::new(self.ledger.ids(), now),
            name: "w".to_owned(),
            pool: pool.parse().unwrap(),
            status,
            labels: Labels::default(),
            models: vec![],
            modes: vec![Mode::Sandboxed, Mode::Identity],
            max_concurrent: 1000,
            hash,
            enrolled_by: None,
            draining_since: None,
            sandboxes: Default::default(),
            registered_at: now,
        }
    }

    /// A token of a project, or of the operators where `home` is empty.
    pub async fn token(&self, home: &str, role: Role, seconds: i64) -> (TokenId, String) {
        let home = if home.is_empty() {
            Home::Operators
        } else {
            Home::Project(home.parse().unwrap())
        };
        let until = self.ledger.now().plus_seconds(seconds);
        let (token, text) = self
            .ledger
            .create_token(&home, role, None, None, until, "test")
            .await
            .unwrap();
        (token.token_id, text)
    }

    /// An approved worker of [`OWN`] whose credential's secret is all zeros: its id and credential.
    pub async fn worker_with_known_secret(&self) -> (String, String) {
        let (id, credential) = self.worker_with([0; 32], OWN, WorkerStatus::Approved).await;
        (id.to_string(), credential)
    }

    /// A worker of a project, registered, with its credential.
    pub async fn worker(&self, project: &str, status: WorkerStatus) -> (WorkerId, String) {
        let secret = self.ledger.ids().secret();
        self.worker_with(secret, project, status).await
    }

    async fn worker_with(
        &self,
        secret: [u8; 32],
        project: &str,
        status: WorkerStatus,
    ) -> (WorkerId, String) {
        let hash = Some(SecretHash::of(&secret));
        let worker = self.new_worker(POOL, WorkerStatus::Pending, hash);
        let (scope, id) = (scope(project), worker.worker_id);
        self.ledger
            .register_worker(&scope, &worker, Registration::Pending, "test")
            .await
            .unwrap();
        let verdict = match status {
            WorkerStatus::Pending => None,
            WorkerStatus::Rejected => Some(Verdict::Deny),
            WorkerStatus::Approved | WorkerStatus::Revoked => Some(Verdict::Approve),
        };
        if let Some(verdict) = verdict {
            let decision = Decision {
                verdict,
                by: "test".to_owned(),
                login: None,
                reason: Some("test".into()),
                at: self.ledger.now(),
            };
            let approval = ApprovalId::Worker { worker_id: id };
            let decided = self.ledger.decide(&scope, &approval, decision, true);
            decided.await.unwrap();
        }
        if status == WorkerStatus::Revoked {
            let revoked = self.ledger.revoke_worker(&scope, id, "test");
            revoked.await.unwrap();
        }
        (id, worker_text(&scope, id, &secret))
    }

    /// An enrolment key of the project whose secret is all zeros.
    pub async fn key_with_known_secret(&self) -> String {
        self.enrolment_key_with([0; 32]).await.1
    }

    /// An enrolment key of the project, with its credential.
    pub async fn enrolment_key(&self) -> (EnrolmentKeyId, String) {
        let secret = self.ledger.ids().secret();
        self.enrolment_key_with(secret).await
    }

    async fn enrolment_key_with(&self, secret: [u8; 32]) -> (EnrolmentKeyId, String) {
        let now = self.ledger.now();
        let row = EnrolmentKey {
            enrolment_key_id: EnrolmentKeyId::new(self.ledger.ids(), now),
            pool: POOL.parse().unwrap(),
            labels: Labels::default(),
            models: vec![],
            max_uses: 1000,
            uses: 0,
            hash: SecretHash::of(&secret),
            created_at: now,
            expires_at: now.plus_seconds(3600),
            revoked_at: None,
        };
        self.ledger
            .create_enrolment_key(&scope(OWN), &row, "test")
            .await
            .unwrap();
        (
            row.enrolment_key_id,
            enrolment_key_text(&scope(OWN), row.enrolment_key_id, &secret),
        )
    }

    async fn admit(&mut self) {
        let own = Home::Project(OWN.parse().unwrap());
        let (admin_id, admin) = self.token(OWN, Role::Admin, 3600).await;
        let (revoked_id, revoked) = self.token(OWN, Role::Admin, 3600).await;
        self.ledger
            .revoke_token(&own, revoked_id, "test")
            .await
            .unwrap();
        let unknown = token_text(
            &own,
            TokenId::new(self.ledger.ids(), self.ledger.now()),
            &[7; 32],
        );
        let credentials = [
            (Who::Garbled, "nonsense".to_owned()),
            (Who::Unknown, unknown),
            (Who::WrongSecret, token_text(&own, admin_id, &[7; 32])),
            (Who::WrongHome, admin.replacen(OWN, OTHER, 1)),
            (Who::Expired, self.token(OWN, Role::Admin, -1).await.1),
            (Who::Revoked, revoked),
            (Who::Operator, self.token("", Role::Operator, 3600).await.1),
            (Who::Admin, admin),
            (Who::Member, self.token(OWN, Role::Member, 3600).await.1),
            (Who::Viewer, self.token(OWN, Role::Viewer, 3600).await.1),
            (Who::Stranger, self.token(OTHER, Role::Admin, 3600).await.1),
            (
                Who::Pending,
                self.worker(OWN, WorkerStatus::Pending).await.1,
            ),
            (
                Who::Approved,
                self.worker(OWN, WorkerStatus::Approved).await.1,
            ),
            (
                Who::Rejected,
                self.worker(OWN, WorkerStatus::Rejected).await.1,
            ),
            (
                Who::RevokedWorker,
                self.worker(OWN, WorkerStatus::Revoked).await.1,
            ),
            (
                Who::ForeignWorker,
                self.worker(OTHER, WorkerStatus::Approved).await.1,
            ),
            (Who::Key, self.enrolment_key().await.1),
        ];
        self.credentials = credentials.into_iter().collect();
    }

    /// The credential of a caller; nothing where it has none.
    pub fn credential(&self, who: Who) -> &str {
        self.credentials.get(&who).map_or("", String::as_str)
    }

    /// The answer to a request of an operation: status and body.
    pub async fn ask(&self, who: Who, operation: &Operation, asked: &Asked) -> (u16, Value) {
        let path = operation
            .parameters()
            .fold(operation.path.to_owned(), |path, parameter| {
                let name = parameter.name;
                let Some(value) = asked.path.get(name) else {
                    panic!("{}: `{name}` is not given", operation.id)
                };
                path.replace(&format!("{{{name}}}"), value)
            });
        let mut request = Sent {
            credential: self.credential(who).to_owned(),
            query: json!(asked.query),
            ..Sent::default()
        };
        if let Some(version) = asked.if_match {
            request.headers.insert("if-match", format!("\"{version}\""));
        }
        if operation.body.is_some() {
            request.body = Some(asked.body.to_string());
        }
        request.sandbox = match who {
            Who::Sandbox => Some(TASK.to_owned()),
            Who::ForeignSandbox => Some(FOREIGN_TASK.to_owned()),
            _ => None,
        };
        self.send(operation.method, &path, request).await
    }

    /// The answer to a JSON request by a credential: status and body.
    pub async fn request(
        &self,
        credential: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let request = Sent {
            credential: credential.to_owned(),
            body: (!body.is_null()).then(|| body.to_string()),
            ..Sent::default()
        };
        self.send(method, path, request).await
    }

    /// The answer to a request, through everything that stands behind API Gateway.
    pub async fn send(&self, method: &str, path: &str, request: Sent) -> (u16, Value) {
        self.stage.lock().time += self.passes.load(Ordering::Relaxed);
        self.copy_to_trail().await;
        let event = event(method, path, request);
        let response = answer(event, async |asked| self.handlers.answer(&asked).await).await;
        let body = response
            .body
            .as_ref()
            .map(|body| String::from_utf8(body.to_vec()).unwrap())
            .unwrap_or_default();
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let status = u16::try_from(response.status_code).unwrap();
        let plain = path.split('?').next().unwrap_or_default();
        if let Some(operation) = find(method, &parts(plain).collect::<Vec<_>>()) {
            let code: Option<Code> = serde_json::from_value(body["code"].clone()).ok();
            assert!(
                operation.answers_with(status, code.filter(|_| status >= 400)),
                "the document has no such answer of {method} {path}: {status} {body}"
            );
        }
        (status, body)
    }

    /// Does a part of a run. Counts the calls that follow one another on its longest way.
    pub async fn trips<T>(&self, part: impl Future<Output = T>) -> (T, u128) {
        self.copy_to_trail().await;
        self.stage.lock().latency = Some(|| Box::pin(tokio::time::sleep(TRIP)));
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let done = part.await;
        let trips = begun.elapsed().as_millis() / TRIP.as_millis();
        tokio::time::resume();
        self.stage.lock().latency = None;
        (done, trips)
    }

    /// The ledger's stream reaches the trail. While the audit table is away, it waits.
    async fn copy_to_trail(&self) {
        let changed = std::mem::take(&mut self.stage.lock().stream);
        let copied = self.handlers.invoke(Invoke::Stream(changed.clone())).await;
        if !matches!(copied, Outcome::Stream(true)) {
            self.stage.lock().stream = changed;
        }
    }

    /// The writes so far.
    pub fn seen(&self) -> Seen {
        self.stage.lock().judge.seen.clone()
    }

    /// From now on no time passes with requests.
    /// The worker has registered before workers had approvals.
    pub fn registered_long_ago(&self, worker_id: &str) {
        let key = RowKey {
            pk: format!("PRJ#{OWN}#APPROVALS"),
            sk: format!("worker:{worker_id}"),
        };
        let tables = &mut self.stage.lock().tables;
        tables.ignores_conditions = true;
        let only_if = Condition::Absent;
        tables.write(vec![Write::Delete { key, only_if }]).unwrap();
        tables.ignores_conditions = false;
    }

    pub fn time_stands_still(&self) {
        self.passes.store(0, Ordering::Relaxed);
    }

    pub fn time_goes_by(&self, seconds: i64) {
        self.stage.lock().time += seconds * 1000;
    }

    /// From now on the audit table takes no entry, or takes them again.
    pub fn audit_table_is_away(&self, away: bool) {
        self.stage.lock().audit_away = away.then_some(Fault::Unavailable);
    }

    pub async fn sweep(&self) {
        let Outcome::Sweep(swept) = self.handlers.invoke(Invoke::Sweep).await else {
            panic!("a sweep answers a sweep")
        };
        swept.unwrap();
    }

    /// SQS delivers the messages of the Fargate pool of [`OWN`].
    pub async fn deliver(&self) {
        let messages = {
            let mut world = self.stage.lock();
            let now = world.time;
            let visible = world.queues.visible("sealfleet-healthcare--fargate", now);
            visible
                .into_iter()
                .filter_map(|id| world.queues.receive(id, now))
                .collect()
        };
        self.handlers.invoke(Invoke::Batch(messages)).await;
    }

    /// A worker stores an object below the prefix that its key names. Whether there was none.
    pub fn store(&self, prefix: &str, name: &str, bytes: &[u8]) -> bool {
        let mut world = self.stage.lock();
        let now = Timestamp::from_millis(world.time);
        let key = format!("{prefix}{name}");
        world.outputs.create(&key, bytes.to_vec(), now)
    }

    /// All outputs are gone, as when they have expired.
    pub fn outputs_expire(&self) {
        self.stage.lock().outputs.0.clear();
    }

    /// Takes all messages out of the queue of the pull pool of [`OWN`].
    pub fn hints(&self) -> Vec<QueueMessage> {
        let mut world = self.stage.lock();
        let now = world.time;
        let visible = world.queues.visible("sealfleet-healthcare--workers", now);
        let hints = visible.into_iter().filter_map(|id| {
            let message = world.queues.receive(id, now)?;
            world.queues.delete(id);
            message.hint()
        });
        hints.collect()
    }

    /// The stack of a project has no such pool.
    pub fn undeploy(&self, project: &str, pool: &str) {
        let queue = format!("sealfleet-{project}--{pool}");
        self.stage.lock().undeployed.insert(queue);
    }

    /// A secret gets a new version.
    pub fn rotate(&self, name: &str) {
        let mut world = self.stage.lock();
        *world.secrets.entry(name.to_owned()).or_insert(1) += 1;
    }

    /// Calls of handlers whose description contains `what`, since this was first called.
    pub fn calls(&self, what: &str) -> usize {
        let mut world = self.stage.lock();
        let calls = world.schedule.get_or_insert_default().iter();
        calls.filter(|call| call.contains(what)).count()
    }

    /// The secrets that ECS injects into the tasks so far, by claim.
    pub fn injected(&self) -> BTreeMap<String, Vec<SecretRef>> {
        let world = self.stage.lock();
        let tasks = world.ecs.tasks.values();
        let secrets = |task: &Task| world.ecs.definitions[&task.definition].secrets.clone();
        tasks
            .map(|task| (task.started_by.clone(), secrets(task)))
            .collect()
    }

    /// The images of the tasks so far, by claim.
    pub fn images(&self) -> BTreeMap<String, String> {
        let world = self.stage.lock();
        let tasks = world.ecs.tasks.values();
        let image = |task: &Task| world.ecs.definitions[&task.definition].image.clone();
        tasks
            .map(|task| (task.started_by.clone(), image(task)))
            .collect()
    }

    /// Tasks that ECS was asked to run so far.
    pub fn tasks(&self) -> usize {
        self.stage.lock().ecs.tasks.len()
    }

    /// All tasks get to run, or end with a code; ECS tells of it.
    pub async fn tasks_go_on(&self, end: Option<i32>) {
        let events = {
            let mut world = self.stage.lock();
            let now = world.time;
            let live: Vec<_> = world.ecs.live().cloned().collect();
            for task in live {
                while world.ecs.tasks[&task.arn].status < Status::Running {
                    world.ecs.move_on(&task.arn, now);
                }
                if let Some(code) = end {
                    world.ecs.end(&task.arn, End::Exit(code), now);
                }
            }
            std::mem::take(&mut world.ecs.events)
        };
        for event in events {
            let told = self.handlers.invoke(Invoke::Event(Box::new(event.task)));
            let Outcome::Event(told) = told.await else {
                panic!("an event answers an event")
            };
            told.unwrap();
        }
    }
}

/// A request beside its method and path.
#[derive(Default)]
pub struct Sent {
    /// Sent as bearer; nothing where it is empty.
    pub credential: String,
    pub headers: BTreeMap<&'static str, String>,
    pub query: Value,
    pub body: Option<String>,
    /// Task of a sandbox that signs with its role.
    pub sandbox: Option<String>,
}

/// The event as API Gateway sends it.
fn event(method: &str, path: &str, request: Sent) -> ApiGatewayV2httpRequest {
    let mut headers = request.headers;
    headers
        .entry("content-type")
        .or_insert_with(|| "application/json".to_owned());
    if !request.credential.is_empty() {
        headers.insert("authorization", format!("Bearer {}", request.credential));
    }
    let mut context = json!({ "http": { "method": method, "path": path } });
    if let Some(task) = request.sandbox {
        let arn = format!("arn:aws:sts::000000000000:assumed-role/sealfleet-sandboxes/{task}");
        context["accountId"] = json!("000000000000");
        context["authorizer"] = json!({ "iam": { "userArn": arn } });
    }
    let query = if request.query.is_null() {
        json!({})
    } else {
        request.query
    };
    serde_json::from_value(json!({
        "version": "2.0",
        "rawPath": path,
        "headers": headers,
        "queryStringParameters": query,
        "requestContext": context,
        "body": request.body,
        "isBase64Encoded": false,
    }))
    .unwrap()
}

/// The deployment's issuers: this one, whose claims name project and role.
fn trusted(issuer: &Issuer) -> Issuers {
    let roles = json!({ "admins": "admin", "developers": "member", "guests": "viewer" });
    let issuers = json!([{
        "issuer": issuer.url, "audience": "sealfleet", "project": { "claim": "project" },
        "role": { "claim": "groups", "map": roles },
    }]);
    Issuers::parse(&issuers.to_string()).unwrap()
}

/// A JWT for each caller who comes by one.
fn jwts(issuer: &Issuer, key: &Key, now: i64) -> [(Who, String); 7] {
    let claims = |project: &str, group: &str, expires: i64| {
        json!({
            "iss": issuer.url, "aud": "sealfleet", "sub": "ada", "iat": now - 600, "exp": now + expires,
            "project": project, "groups": [group, "all-staff"],
        })
    };
    let jwt = |project: &str, group: &str| key.token(&claims(project, group, 600));
    let impostor = Key::es256(&key.kid).unwrap();
    [
        (Who::OidcAdmin, jwt(OWN, "admins")),
        (Who::OidcMember, jwt(OWN, "developers")),
        (Who::OidcViewer, jwt(OWN, "guests")),
        (Who::OidcStranger, jwt(OTHER, "admins")),
        (Who::OidcNobody, jwt(OWN, "cleaners")),
        (Who::OidcExpired, key.token(&claims(OWN, "admins", -60))),
        (Who::OidcForged, impostor.token(&claims(OWN, "admins", 600))),
    ]
}
