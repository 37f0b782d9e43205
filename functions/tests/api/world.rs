//! The handlers of the API over a database in memory, two projects, and everybody who might call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use sealfleet_api::http::{Request, answer};
use sealfleet_api::operations::Operation;
use sealfleet_aws::Unavailable;
use sealfleet_aws::queue_access::{QueueAccess, QueueKey};
use sealfleet_aws::queues::Queues;
use sealfleet_domain::access::Role;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::credential::{Home, enrolment_key_text, token_text, worker_text};
use sealfleet_domain::fleet::{EnrolmentKey, Pool, Project, Worker, WorkerStatus};
use sealfleet_domain::hash::SecretHash;
use sealfleet_domain::identity::Pin;
use sealfleet_domain::labels::Labels;
use sealfleet_domain::oidc::Issuers;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::{Handle, Mode, Pace};
use sealfleet_domain::scope::ClaimTag;
use sealfleet_domain::{Clock as _, EnrolmentKeyId, PoolName, ProjectScope, TokenId, WorkerId};
use sealfleet_functions::shared::auth::{Door, Oidc};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_functions::{
    audit, cancel, claim, enqueue, fleet, openapi, profile, report, revoke, runs, sandbox,
};
use sealfleet_hosts::{Error as HostError, Hosts, Launched, Sandbox, SandboxHost, Template};
use sealfleet_ledger::{Ledger, Registration};
use sealfleet_oidc::Verifier;
use sealfleet_system::{SystemClock, SystemIds};
use sealfleet_test_issuer::{Issuer, Key};
use sealfleet_versions::{Error as SecretsError, SecretVersions, Versions};
use serde_json::{Value, json};

const PACE: Pace = Pace {
    lease_seconds: 600,
    resend_seconds: 600,
};
/// The project that the requests are about.
pub const OWN: &str = "healthcare";
/// Another one.
pub const OTHER: &str = "finance";
/// The pool of both.
pub const POOL: &str = "workers";
/// The id of the ECS task that the sandbox is.
pub const TASK: &str = "0123456789abcdef0123456789abcdef";

struct NoQueues;

#[async_trait]
impl Queues for NoQueues {
    async fn send(&self, _: &ProjectScope, _: &PoolName, _: String) -> Result<(), Unavailable> {
        Ok(())
    }
}

struct NoTasks;

#[async_trait]
impl SandboxHost for NoTasks {
    fn kind(&self) -> &'static str {
        "fargate"
    }

    fn owns(&self, _: &Handle) -> bool {
        true
    }

    fn template_key(&self, _: &Template) -> String {
        panic!("the API launches nothing")
    }

    async fn prepare(&self, _: &ProjectScope, _: &Template) -> Result<String, HostError> {
        panic!("the API launches nothing")
    }

    async fn launch(&self, _: &ClaimTag, _: &str) -> Result<Launched, HostError> {
        panic!("the API launches nothing")
    }

    async fn stop(&self, _: &Handle, _: &str) -> Result<(), HostError> {
        Ok(())
    }

    async fn look(&self, _: &Handle) -> Result<Option<Sandbox>, HostError> {
        Ok(None)
    }

    async fn find(&self, _: &ClaimTag) -> Result<Option<Handle>, HostError> {
        Ok(None)
    }
}

struct NoSecrets;

#[async_trait]
impl SecretVersions for NoSecrets {
    fn scheme(&self) -> &'static str {
        "aws-sm"
    }

    async fn describe(&self, name: &str) -> Result<Pin, SecretsError> {
        Ok(Pin {
            arn: Some(format!("arn:{name}")),
            version: "v1".to_owned(),
        })
    }
}

struct Keys;

#[async_trait]
impl QueueAccess for Keys {
    async fn queue_key(
        &self,
        scope: &ProjectScope,
        _: &PoolName,
        _: WorkerId,
    ) -> Result<QueueKey, Unavailable> {
        Ok(QueueKey {
            queue_url: format!("https://sqs.example/{}", scope.project()),
            region: "r".to_owned(),
            access_key_id: "a".to_owned(),
            secret_access_key: "b".to_owned(),
            session_token: "c".to_owned(),
            expires_at: sealfleet_domain::Timestamp::from_millis(0),
        })
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Nobody: no credential.
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
    /// An enrolment key.
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
    pub ledger: Ledger,
    credentials: BTreeMap<Who, String>,
    fleet: fleet::Ports,
    profile: profile::Ports,
    enqueue: enqueue::Ports,
    runs: runs::Ports,
    cancel: cancel::Ports,
    claim: claim::Ports,
    report: report::Ports,
    sandbox: sandbox::Ports,
    audit: audit::Ports,
    revoke: revoke::Ports,
}

pub fn scope(project: &str) -> ProjectScope {
    ProjectScope::of_stored_row(project.parse().unwrap())
}

impl World {
    pub async fn new() -> Self {
        let (store, _) = sealfleet_test_dynamo::start().await.unwrap();
        let ledger = Ledger::new(store, Arc::new(SystemClock), Arc::new(SystemIds));
        let of = || ledger.clone();
        let limits = Limits {
            requests_per_second: Limits::MOST,
            burst: Limits::MOST,
        };
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (issuer, key) = (Issuer::start().await.unwrap(), Key::es256("1").unwrap());
        issuer.publish(&[&key]);
        let door = || {
            let oidc = Oidc::On(Verifier::new(trusted(&issuer), Arc::new(SystemClock)));
            Door::new(of(), limits, oidc, Metrics::to("any", lines.clone()))
        };
        let mut world = Self {
            credentials: BTreeMap::new(),
            fleet: fleet::Ports {
                ledger: of(),
                door: door(),
                queues: Box::new(NoQueues),
                pace: PACE,
            },
            profile: profile::Ports {
                ledger: of(),
                door: door(),
            },
            enqueue: enqueue::Ports {
                ledger: of(),
                door: door(),
                queues: Box::new(NoQueues),
                secrets: Versions::of(NoSecrets),
                pace: PACE,
            },
            runs: runs::Ports {
                ledger: of(),
                door: door(),
            },
            cancel: cancel::Ports {
                ledger: of(),
                door: door(),
                hosts: Hosts::of(NoTasks),
            },
            claim: claim::Ports {
                ledger: of(),
                access: Box::new(Keys),
                pace: PACE,
            },
            report: report::Ports {
                ledger: of(),
                queues: Box::new(NoQueues),
                pace: PACE,
            },
            sandbox: sandbox::Ports { ledger: of() },
            audit: audit::Ports {
                ledger: of(),
                door: door(),
            },
            revoke: revoke::Ports {
                ledger: of(),
                door: door(),
                hosts: Hosts::of(NoTasks),
            },
            ledger,
        };
        for project in [OWN, OTHER] {
            world.onboard(project).await;
        }
        world.admit().await;
        world.credentials.extend(jwts(&issuer, &key));
        world
    }

    async fn onboard(&self, project: &str) {
        let row = Project {
            project: project.parse().unwrap(),
            pools: BTreeMap::from([(POOL.parse().unwrap(), Pool::Pull)]),
            cascade: Bindings::default(),
            created_at: self.ledger.now(),
        };
        self.ledger
            .create_project(&scope(project), &row, &[], "test")
            .await
            .unwrap();
    }

    async fn token(&self, home: &str, role: Role, seconds: i64) -> (TokenId, String) {
        let home = if home.is_empty() {
            Home::Operators
        } else {
            Home::Project(home.parse().unwrap())
        };
        let until = self.ledger.now().plus_seconds(seconds);
        let (token, text) = self
            .ledger
            .create_token(&home, role, None, until, "test")
            .await
            .unwrap();
        (token.token_id, text)
    }

    /// A worker of a project, registered, with its credential.
    pub async fn worker(&self, project: &str, status: WorkerStatus) -> (WorkerId, String) {
        let (now, secret) = (self.ledger.now(), self.ledger.ids().secret());
        let worker = Worker {
            worker_id: WorkerId::new(self.ledger.ids(), now),
            name: "w".to_owned(),
            pool: POOL.parse().unwrap(),
            status: WorkerStatus::Pending,
            labels: Labels::default(),
            models: vec![],
            modes: vec![Mode::Sandboxed],
            max_concurrent: 1000,
            hash: Some(SecretHash::of(&secret)),
            enrolled_by: None,
            registered_at: now,
        };
        let (scope, id) = (scope(project), worker.worker_id);
        self.ledger
            .register_worker(&scope, &worker, Registration::Pending, "test")
            .await
            .unwrap();
        if status != WorkerStatus::Pending {
            self.ledger
                .set_worker_status(&scope, id, &[WorkerStatus::Pending], status, "test")
                .await
                .unwrap();
        }
        (id, worker_text(&scope, id, &secret))
    }

    /// An enrolment key of the project, with its credential.
    pub async fn enrolment_key(&self) -> (EnrolmentKeyId, String) {
        let (now, secret) = (self.ledger.now(), self.ledger.ids().secret());
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

    /// The answer to a request, through everything that stands behind API Gateway: status and body.
    pub async fn ask(&self, who: Who, operation: &Operation, asked: &Asked) -> (u16, Value) {
        let response = self
            .serve(operation.function, event(self, who, operation, asked))
            .await;
        let body = response
            .body
            .as_ref()
            .map(|body| String::from_utf8(body.to_vec()).unwrap())
            .unwrap_or_default();
        (
            u16::try_from(response.status_code).unwrap(),
            serde_json::from_str(&body).unwrap_or_default(),
        )
    }

    async fn serve(
        &self,
        function: &str,
        event: ApiGatewayV2httpRequest,
    ) -> ApiGatewayV2httpResponse {
        let handle = async |request: Request| match function {
            "fleet" => fleet::handle(&self.fleet, &request).await,
            "profile" => profile::handle(&self.profile, &request).await,
            "enqueue" => enqueue::handle(&self.enqueue, &request).await,
            "runs" => runs::handle(&self.runs, &request).await,
            "cancel" => cancel::handle(&self.cancel, &request).await,
            "claim" => claim::handle(&self.claim, &request).await,
            "report" => report::handle(&self.report, &request).await,
            "sandbox" => sandbox::handle(&self.sandbox, &request).await,
            "audit" => audit::handle(&self.audit, &request).await,
            "revoke" => revoke::handle(&self.revoke, &request).await,
            "openapi" => openapi::handle(&request).await,
            other => panic!("serve the function `{other}` here, so that its operations are tested"),
        };
        answer(event, handle).await
    }
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
fn jwts(issuer: &Issuer, key: &Key) -> [(Who, String); 7] {
    let now = SystemClock.now().epoch_seconds();
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

/// The event as API Gateway sends it.
fn event(world: &World, who: Who, operation: &Operation, asked: &Asked) -> ApiGatewayV2httpRequest {
    let path = operation
        .parameters()
        .fold(operation.path.to_owned(), |path, parameter| {
            let name = parameter.name;
            let Some(value) = asked.path.get(name) else {
                panic!("{}: `{name}` is not given", operation.id)
            };
            path.replace(&format!("{{{name}}}"), value)
        });
    let mut headers = BTreeMap::from([("content-type", "application/json".to_owned())]);
    headers.extend(
        world
            .credentials
            .get(&who)
            .map(|text| ("authorization", format!("Bearer {text}"))),
    );
    headers.extend(
        asked
            .if_match
            .map(|version| ("if-match", format!("\"{version}\""))),
    );
    let mut context = json!({ "http": { "method": operation.method, "path": path } });
    let project = match who {
        Who::Sandbox => Some(OWN),
        Who::ForeignSandbox => Some(OTHER),
        _ => None,
    };
    if let (Some(project), Some(context)) = (project, context.as_object_mut()) {
        let arn =
            format!("arn:aws:sts::000000000000:assumed-role/sealfleet-{project}--sandbox/{TASK}");
        context.insert(
            "authorizer".to_owned(),
            json!({ "iam": { "userArn": arn } }),
        );
    }
    let body = if operation.body.is_some() {
        json!(asked.body.to_string())
    } else {
        Value::Null
    };
    serde_json::from_value(json!({
        "version": "2.0",
        "rawPath": path,
        "headers": headers,
        "queryStringParameters": asked.query,
        "requestContext": context,
        "body": body,
        "isBase64Encoded": false,
    }))
    .unwrap()
}
