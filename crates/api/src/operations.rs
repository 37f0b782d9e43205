//! The operations of the API, as data: one entry each, and nothing about one is said a second time
//! elsewhere.
//!
//! The OpenAPI document is made from this table; the routes of the template, the methods of the
//! client, the samples of `events/` and the tests of authorisation are compared with it. A request
//! is held to its entry before a handler sees it.

use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{
    EnrolmentKeyId, EventId, FanOutId, ProfileName, ProfileRef, ProjectId, RevocationId, RunId,
    StepId, Timestamp, TokenId, WorkerId,
};

use crate::problem::Code;
use crate::types::{
    Claim, ClaimStep, CreateEnrolmentKey, CreateProfile, CreateProject, CreateToken, EnqueueRun,
    EnrolmentKeyCreated, EnrolmentKeyView, FanOutView, Heartbeat, HeartbeatAnswer, LeaseRef,
    LimitsView, Page, ProfileVersionView, ProjectSummary, ProjectView, PutProfile,
    QueueCredentials, RegisterWorker, ReportStep, ResolveCascade, ResolvedCascade,
    RevocationPreview, RevocationState, RevocationsCreated, Revoke, RunSummary, RunView,
    SandboxStep, SetLimits, StartStep, StepAnswer, TokenCreated, TokenView, WorkerRegistered,
    WorkerView,
};

/// Something that the API does.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its stable name, which is also that of the client's method.
    pub id: &'static str,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// Its path, parameters in braces.
    pub path: &'static str,
    /// The function that serves it.
    pub function: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What its caller is known by.
    pub credential: Credential,
    /// The query parameters that it takes, and no others.
    pub query: &'static [Query],
    /// The request headers that mean something to it, beside the credential.
    pub headers: &'static [Header],
    /// Its body, if it takes one.
    pub body: Option<Shape>,
    /// What it answers when all is well, the usual answer first.
    pub answers: [Option<Success>; 2],
    /// The problems that are its own. [`Operation::problems`] adds those that follow from its
    /// parts.
    pub refusals: &'static [Code],
}

/// What a caller is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing: anybody may ask.
    Nothing,
    /// An API token, of a project or an operator.
    Token,
    /// A worker's own credential.
    Worker,
    /// A worker's own credential, whether it is approved or still waits.
    AnyWorker,
    /// An enrolment key, or nothing.
    EnrolmentKey,
    /// A signature of an ECS task role, which API Gateway verifies.
    TaskRole,
}

/// A query parameter. All are optional.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// Its values.
    pub shape: Shape,
}

/// A request header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// `If-Match`: the version that a change replaces. The change is refused without it.
    IfMatch,
    /// `If-Match`, where one is given.
    IfMatchOptional,
    /// `Idempotency-Key`.
    IdempotencyKey,
}

/// A successful answer.
#[derive(Clone, Copy, Debug)]
pub struct Success {
    /// The HTTP status.
    pub status: u16,
    /// What it means.
    pub summary: &'static str,
    /// The body, if there is one.
    pub shape: Option<Shape>,
    /// Whether an `ETag` tells the version.
    pub etag: bool,
}

/// A type on the wire. Its schema is known where the OpenAPI document is made, and nowhere else.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Adds the type to the document's schemas, and refers to it.
    #[cfg(feature = "openapi")]
    pub(crate) schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

#[cfg(feature = "openapi")]
use schemars::JsonSchema as Described;
#[cfg(not(feature = "openapi"))]
/// Any type: no schemas are made.
trait Described {}
#[cfg(not(feature = "openapi"))]
impl<T> Described for T {}

impl Shape {
    const fn of<T: Described>() -> Self {
        let _: std::marker::PhantomData<T> = std::marker::PhantomData;
        Self {
            #[cfg(feature = "openapi")]
            schema: |generator| generator.subschema_for::<T>(),
        }
    }
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shape")
    }
}

/// Values that only this table names.
mod values {
    pub(super) struct Limit;
    pub(super) struct Cursor;
    pub(super) struct Events;
    /// The OpenAPI document itself.
    pub(super) struct Document;

    #[cfg(feature = "openapi")]
    mod schema {
        use std::borrow::Cow;

        use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
        use sealfleet_domain::audit::catalogue::CATALOGUE;
        use sealfleet_domain::limits;

        /// Names of events, with commas between them.
        fn events() -> String {
            let names: Vec<String> = CATALOGUE
                .iter()
                .map(|row| row.name.replace('.', "\\."))
                .collect();
            let one = names.join("|");
            format!("^({one})(,({one}))*$")
        }

        macro_rules! inline {
            ($($name:ident $schema:tt;)*) => {
                $(impl JsonSchema for super::$name {
                    fn schema_name() -> Cow<'static, str> {
                        stringify!($name).into()
                    }

                    fn inline_schema() -> bool {
                        true
                    }

                    fn json_schema(_: &mut SchemaGenerator) -> Schema {
                        json_schema!($schema)
                    }
                })*
            };
        }

        inline! {
            Limit { "type": "integer", "minimum": 1, "maximum": limits::PAGE, "default": 50 };
            Cursor { "type": "string", "pattern": "^[A-Za-z0-9_-]+$" };
            Events { "type": "string", "pattern": events() };
            Document {
                "type": "object",
                "properties": { "openapi": { "type": "string" }, "paths": { "type": "object" } },
                "required": ["openapi", "paths"],
            };
        }
    }
}

const LIMIT: Query = Query {
    name: "limit",
    summary: "Items of a page at most.",
    shape: Shape::of::<values::Limit>(),
};
const CURSOR: Query = Query {
    name: "cursor",
    summary: "`next_cursor` of the page before; it belongs to this list with these filters.",
    shape: Shape::of::<values::Cursor>(),
};
const PROJECT: Query = Query {
    name: "project",
    summary: "The project, which operators must name and nobody else may.",
    shape: Shape::of::<ProjectId>(),
};
const PAGED: &[Query] = &[LIMIT, CURSOR];

const fn query<T: Described>(name: &'static str, summary: &'static str) -> Query {
    Query {
        name,
        summary,
        shape: Shape::of::<T>(),
    }
}

impl Operation {
    const fn new(
        id: &'static str,
        method: &'static str,
        path: &'static str,
        function: &'static str,
    ) -> Self {
        Self {
            id,
            method,
            path,
            function,
            summary: "",
            credential: Credential::Token,
            query: &[],
            headers: &[],
            body: None,
            answers: [None, None],
            refusals: &[],
        }
    }

    const fn does(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    const fn by(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    const fn with_query(mut self, query: &'static [Query]) -> Self {
        self.query = query;
        self
    }

    const fn with_headers(mut self, headers: &'static [Header]) -> Self {
        self.headers = headers;
        self
    }

    const fn takes<T: Described>(mut self) -> Self {
        self.body = Some(Shape::of::<T>());
        self
    }

    const fn gives<T: Described>(self, status: u16, summary: &'static str) -> Self {
        self.answering(Success {
            status,
            summary,
            shape: Some(Shape::of::<T>()),
            etag: false,
        })
    }

    const fn gives_versioned<T: Described>(self, status: u16, summary: &'static str) -> Self {
        self.answering(Success {
            status,
            summary,
            shape: Some(Shape::of::<T>()),
            etag: true,
        })
    }

    const fn gives_nothing(self, summary: &'static str) -> Self {
        self.answering(Success {
            status: 204,
            summary,
            shape: None,
            etag: false,
        })
    }

    const fn answering(mut self, success: Success) -> Self {
        self.answers = match self.answers {
            [None, _] => [Some(success), None],
            [first, _] => [first, Some(success)],
        };
        self
    }

    const fn refuses(mut self, codes: &'static [Code]) -> Self {
        self.refusals = codes;
        self
    }
}

const FLEET: &[Operation] = &[
    Operation::new("create_project", "POST", "/v1/projects", "fleet")
        .does("Creates a project with its pools; its queues and roles must already be deployed.")
        .takes::<CreateProject>()
        .gives::<ProjectView>(201, "The project.")
        .refuses(&[Code::AlreadyExists]),
    Operation::new("list_projects", "GET", "/v1/projects", "fleet")
        .does("Lists the projects.")
        .with_query(PAGED)
        .gives::<Page<ProjectSummary>>(200, "A page, in order of names."),
    Operation::new("get_project", "GET", "/v1/projects/{project}", "fleet")
        .does("Shows a project with its pools.")
        .gives::<ProjectView>(200, "The project."),
    Operation::new("set_limits", "PUT", "/v1/projects/{project}/limits", "fleet")
        .does("Sets how often a project's callers may call.")
        .takes::<SetLimits>()
        .gives::<LimitsView>(200, "The limits that hold now."),
    Operation::new("create_token", "POST", "/v1/tokens", "fleet")
        .does("Makes an API token of a project. Operators name the project.")
        .takes::<CreateToken>()
        .gives::<TokenCreated>(201, "The token, shown this once.")
        .refuses(&[Code::NotFound]),
    Operation::new("list_tokens", "GET", "/v1/tokens", "fleet")
        .does("Lists a project's API tokens, without their secrets.")
        .with_query(&[LIMIT, CURSOR, PROJECT])
        .gives::<Page<TokenView>>(200, "A page, oldest first.")
        .refuses(&[Code::NotFound]),
    Operation::new("revoke_token", "DELETE", "/v1/tokens/{token_id}", "fleet")
        .does("Revokes an API token. Again: the same answer.")
        .with_query(&[PROJECT])
        .gives::<TokenView>(200, "The token, revoked."),
    Operation::new("create_enrolment_key", "POST", "/v1/enrolment-keys", "fleet")
        .does("Makes an enrolment key: workers that register with it are approved at once.")
        .takes::<CreateEnrolmentKey>()
        .gives::<EnrolmentKeyCreated>(201, "The key, shown this once.")
        .refuses(&[Code::NotFound]),
    Operation::new("list_enrolment_keys", "GET", "/v1/enrolment-keys", "fleet")
        .does("Lists the project's enrolment keys, without their secrets.")
        .with_query(PAGED)
        .gives::<Page<EnrolmentKeyView>>(200, "A page, oldest first."),
    Operation::new("revoke_enrolment_key", "DELETE", "/v1/enrolment-keys/{enrolment_key_id}", "fleet")
        .does("Revokes an enrolment key. Workers that it approved stay.")
        .gives::<EnrolmentKeyView>(200, "The key, revoked."),
    Operation::new("register_worker", "POST", "/v1/workers/register", "fleet")
        .does("Registers a worker: with an enrolment key it is approved, without one an admin decides.")
        .by(Credential::EnrolmentKey)
        .takes::<RegisterWorker>()
        .gives::<WorkerRegistered>(201, "The worker is approved. Its credential is shown this once.")
        .gives::<WorkerRegistered>(202, "The worker waits for approval. Its credential is shown this once.")
        .refuses(&[Code::EnrolmentRefused]),
    Operation::new("list_workers", "GET", "/v1/workers", "fleet")
        .does("Lists the project's workers.")
        .with_query(PAGED)
        .gives::<Page<WorkerView>>(200, "A page, oldest first."),
    Operation::new("get_worker", "GET", "/v1/workers/{worker_id}", "fleet")
        .does("Shows a worker.")
        .gives::<WorkerView>(200, "The worker."),
    Operation::new("approve_worker", "POST", "/v1/workers/{worker_id}/approve", "fleet")
        .does("Approves a worker that waits.")
        .gives::<WorkerView>(200, "The worker, approved.")
        .refuses(&[Code::Conflict]),
    Operation::new("reject_worker", "POST", "/v1/workers/{worker_id}/reject", "fleet")
        .does("Rejects a worker that waits.")
        .gives::<WorkerView>(200, "The worker, rejected.")
        .refuses(&[Code::Conflict]),
    Operation::new("revoke_worker", "POST", "/v1/workers/{worker_id}/revoke", "fleet")
        .does("Revokes a worker; what it holds is queued again. Again: the same answer.")
        .gives::<WorkerView>(200, "The worker, revoked.")
        .refuses(&[Code::Conflict]),
];

const PROFILE: &[Operation] = &[
    Operation::new("create_profile", "POST", "/v1/profiles", "profile")
        .does(
            "Creates a profile: names and references, never values. An operator's is the system's.",
        )
        .takes::<CreateProfile>()
        .gives_versioned::<Profile>(201, "The profile.")
        .refuses(&[Code::AlreadyExists]),
    Operation::new("list_profiles", "GET", "/v1/profiles", "profile")
        .does("Lists the profiles of the caller's project, or of the system.")
        .with_query(PAGED)
        .gives::<Page<Profile>>(200, "A page, in order of names."),
    Operation::new("get_profile", "GET", "/v1/profiles/{name}", "profile")
        .does("Shows a profile.")
        .gives_versioned::<Profile>(200, "The profile."),
    Operation::new("put_profile", "PUT", "/v1/profiles/{name}", "profile")
        .does("Replaces all that a profile says.")
        .with_headers(&[Header::IfMatch])
        .takes::<PutProfile>()
        .gives_versioned::<Profile>(200, "The profile, one version on.")
        .refuses(&[Code::VersionConflict, Code::PreconditionRequired]),
    Operation::new("delete_profile", "DELETE", "/v1/profiles/{name}", "profile")
        .does("Deletes a profile that nothing in flight uses. Its history stays.")
        .with_headers(&[Header::IfMatchOptional])
        .gives_nothing("It is gone.")
        .refuses(&[Code::VersionConflict, Code::ProfileInUse]),
    Operation::new(
        "list_profile_versions",
        "GET",
        "/v1/profiles/{name}/versions",
        "profile",
    )
    .does("Lists what a profile has said so far.")
    .with_query(PAGED)
    .gives::<Page<ProfileVersionView>>(200, "A page, newest first."),
    Operation::new("get_cascade", "GET", "/v1/cascade", "profile")
        .does("Shows the profiles that the project puts below each run's own.")
        .gives::<Bindings>(200, "The bindings.")
        .refuses(&[Code::NotFound]),
    Operation::new("put_cascade", "PUT", "/v1/cascade", "profile")
        .does("Replaces the project's bindings.")
        .takes::<Bindings>()
        .gives::<Bindings>(200, "The bindings from now on.")
        .refuses(&[Code::NotFound]),
    Operation::new("resolve_cascade", "POST", "/v1/cascade/resolve", "profile")
        .does("Tells what a run would start with, by name. Nothing changes.")
        .takes::<ResolveCascade>()
        .gives::<ResolvedCascade>(200, "Each key with its origin.")
        .refuses(&[Code::NotFound, Code::ProfileDenied, Code::SecretOverride]),
];

const REVOKE: &[Operation] = &[
    Operation::new("revoke", "POST", "/v1/revocations", "revoke")
        .does("Revokes keys of profiles: all of them or none. Hard: runs in flight are aborted as well.")
        .takes::<Revoke>()
        .gives::<RevocationsCreated>(201, "The revocations, and how far the abortion of runs has come.")
        .refuses(&[Code::NotFound, Code::AlreadyRevoked, Code::Conflict]),
    Operation::new("preview_revocation", "POST", "/v1/revocations:preview", "revoke")
        .does("Lists the runs that a hard revocation would abort now. Nothing changes.")
        .takes::<Revoke>()
        .gives::<RevocationPreview>(200, "The runs.")
        .refuses(&[Code::NotFound]),
    Operation::new("list_revocations", "GET", "/v1/revocations", "revoke")
        .does("Lists revocations of the caller's project, or of the system.")
        .with_query(&[LIMIT, CURSOR, query::<RevocationState>("state", "`active` if absent.")])
        .gives::<Page<Revocation>>(200, "A page."),
    Operation::new("get_revocation", "GET", "/v1/revocations/{revocation_id}", "revoke")
        .does("Shows a revocation.")
        .gives::<Revocation>(200, "The revocation."),
    Operation::new("lift_revocation", "POST", "/v1/revocations/{revocation_id}/lift", "revoke")
        .does("Lifts a revocation: sandboxes may start with the key again.")
        .gives::<Revocation>(200, "The revocation, lifted.")
        .refuses(&[Code::NotActive]),
    Operation::new("get_fan_out", "GET", "/v1/fan-outs/{fan_out_id}", "revoke")
        .does("Shows how far a hard revocation's abortion of runs has come.")
        .gives::<FanOutView>(200, "The fan-out."),
];

const RUNS: &[Operation] = &[
    Operation::new("enqueue", "POST", "/v1/runs", "enqueue")
        .does("Enqueues a run. With an idempotency key, sent twice is enqueued once.")
        .with_headers(&[Header::IdempotencyKey])
        .takes::<EnqueueRun>()
        .gives::<RunView>(201, "The run.")
        .gives::<RunView>(200, "The run that this idempotency key stands for already.")
        .refuses(&[
            Code::NotFound,
            Code::ProfileDenied,
            Code::SecretOverride,
            Code::SecretRevoked,
            Code::IdempotencyMismatch,
        ]),
    Operation::new(
        "retry_step",
        "POST",
        "/v1/runs/{run_id}/steps/{step_id}/retry",
        "enqueue",
    )
    .does("Puts a dead step back in its queue.")
    .gives::<RunView>(200, "The run.")
    .refuses(&[Code::Conflict, Code::SecretRevoked]),
    Operation::new("list_runs", "GET", "/v1/runs", "runs")
        .does("Lists the project's runs.")
        .with_query(&[
            LIMIT,
            CURSOR,
            query::<RunState>("state", "Only runs in this state."),
        ])
        .gives::<Page<RunSummary>>(200, "A page, newest first."),
    Operation::new("get_run", "GET", "/v1/runs/{run_id}", "runs")
        .does("Shows a run with its steps.")
        .gives::<RunView>(200, "The run."),
    Operation::new("cancel_run", "POST", "/v1/runs/{run_id}/cancel", "cancel")
        .does("Ends a run and its sandboxes. Again: the same answer.")
        .gives::<RunView>(200, "The run, aborted.")
        .refuses(&[Code::Conflict]),
];

const EXECUTORS: &[Operation] = &[
    Operation::new("claim", "POST", "/v1/claims", "claim")
        .does("Claims a step.")
        .by(Credential::Worker)
        .takes::<ClaimStep>()
        .gives::<Claim>(200, "What to do, by name, and the claim's fence.")
        .refuses(&[
            Code::NotFound,
            Code::NotQueued,
            Code::StepMismatch,
            Code::AtCapacity,
            Code::StartRefused,
            Code::SecretRevoked,
        ]),
    Operation::new("heartbeat", "POST", "/v1/heartbeats", "claim")
        .does("Keeps a worker's claims, and tells which are lost.")
        .by(Credential::AnyWorker)
        .takes::<Heartbeat>()
        .gives::<HeartbeatAnswer>(200, "A verdict for each claim."),
    Operation::new(
        "queue_credentials",
        "POST",
        "/v1/queue-credentials",
        "claim",
    )
    .does("Hands out the key to the worker's own queue, and to nothing else.")
    .by(Credential::Worker)
    .gives::<QueueCredentials>(200, "Temporary AWS credentials."),
    Operation::new("start", "POST", "/v1/starts", "report")
        .does("Tells that the sandbox has its secrets and is about to run the command.")
        .by(Credential::Worker)
        .takes::<StartStep>()
        .gives::<StepAnswer>(200, "The step's state.")
        .refuses(&[
            Code::NotFound,
            Code::NotHolder,
            Code::StaleFence,
            Code::Conflict,
            Code::SecretRevoked,
        ]),
    Operation::new("report", "POST", "/v1/reports", "report")
        .does("Tells how the step ended. Again: the same answer.")
        .by(Credential::Worker)
        .takes::<ReportStep>()
        .gives::<StepAnswer>(200, "The step's state.")
        .refuses(&[
            Code::NotFound,
            Code::NotHolder,
            Code::StaleFence,
            Code::Conflict,
        ]),
    Operation::new("sandbox_step", "POST", "/v1/sandbox/step", "sandbox")
        .does("Tells a Fargate sandbox what it was started for.")
        .by(Credential::TaskRole)
        .takes::<LeaseRef>()
        .gives::<SandboxStep>(200, "The command, and the names of its secrets.")
        .refuses(&[Code::NotFound, Code::StaleFence, Code::NotReady]),
];

const TRAIL: Query = query::<String>(
    "project",
    "Whose trail: the caller's own, `~system` for operators. No other exists for it.",
);
const AUDIT: &[Operation] = &[
    Operation::new("list_audit", "GET", "/v1/audit", "audit")
        .does("Reads the project's audit trail; an operator, the operators' own.")
        .with_query(&[
            query::<RunId>("run", "Only entries of this run."),
            query::<ProfileRef>(
                "profile",
                "Only entries with an event that names this profile.",
            ),
            query::<String>("key", "Only entries with an event that names this key."),
            query::<String>("actor", "Only entries of this actor, as `kind:id`."),
            query::<values::Events>(
                "type",
                "Only entries with one of these events. The same event meets `profile` and `key`.",
            ),
            query::<Timestamp>(
                "from",
                "Entries of this moment and later; the last day if absent.",
            ),
            query::<Timestamp>(
                "to",
                "Entries before this moment; now if absent. 31 days after `from` at most.",
            ),
            TRAIL,
            LIMIT,
            CURSOR,
        ])
        .gives::<Page<AuditEntry>>(
            200,
            "A page, oldest first. It may be short or empty and have a `next_cursor`.",
        )
        .refuses(&[Code::NotFound]),
    Operation::new("get_audit_entry", "GET", "/v1/audit/{event_id}", "audit")
        .does("Reads one entry of the same trail.")
        .with_query(&[TRAIL])
        .gives::<AuditEntry>(200, "The entry."),
];

const OPENAPI: &[Operation] =
    &[
        Operation::new("get_openapi", "GET", "/v1/openapi.json", "openapi")
            .does("Shows this document.")
            .by(Credential::Nothing)
            .gives::<values::Document>(200, "The OpenAPI document."),
    ];

const GROUPS: [&[Operation]; 7] = [FLEET, PROFILE, REVOKE, RUNS, EXECUTORS, AUDIT, OPENAPI];

/// All operations.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    GROUPS.into_iter().flatten()
}

/// The operation of a method and the parts of a path.
#[must_use]
pub fn find<Part: AsRef<str>>(method: &str, path: &[Part]) -> Option<&'static Operation> {
    at(path)
        .into_iter()
        .find(|operation| operation.method == method)
}

/// The operations of a path. `/v1/workers/register` is not the worker `register`: a fixed part goes
/// before a parameter.
fn at<Part: AsRef<str>>(path: &[Part]) -> Vec<&'static Operation> {
    let mut found: Vec<_> = all().filter(|operation| operation.has_path(path)).collect();
    let parameters = found
        .iter()
        .map(|operation| operation.parameters().count())
        .min()
        .unwrap_or_default();
    found.retain(|operation| operation.parameters().count() == parameters);
    found
}

/// The methods that a path takes.
#[must_use]
pub fn methods(path: &[String]) -> Vec<&'static str> {
    at(path)
        .into_iter()
        .map(|operation| operation.method)
        .collect()
}

impl Operation {
    /// Names of the parameters in its path.
    pub fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    fn has_path<Part: AsRef<str>>(&self, path: &[Part]) -> bool {
        let own: Vec<&str> = self.path.split('/').skip(1).collect();
        own.len() == path.len()
            && own.iter().zip(path).all(|(own, part)| {
                let part = part.as_ref();
                if own.starts_with('{') {
                    !part.is_empty()
                } else {
                    *own == part
                }
            })
    }

    /// The codes of all problems that it may answer with.
    #[must_use]
    pub fn problems(&self) -> Vec<Code> {
        let mut codes = vec![Code::InvalidRequest, Code::BodyTooLarge, Code::Internal];
        if self.credential != Credential::Nothing {
            codes.extend([Code::Unauthenticated, Code::Forbidden, Code::Unavailable]);
        }
        match self.credential {
            Credential::Worker => codes.extend([
                Code::WorkerPending,
                Code::WorkerRejected,
                Code::WorkerRevoked,
            ]),
            Credential::AnyWorker => codes.extend([Code::WorkerRejected, Code::WorkerRevoked]),
            Credential::Token | Credential::EnrolmentKey => codes.push(Code::RateLimited),
            Credential::Nothing | Credential::TaskRole => {}
        }
        if self.parameters().next().is_some() {
            codes.push(Code::NotFound);
        }
        codes.extend(self.refusals);
        codes.sort_by_key(|code| (code.status(), code.text()));
        codes.dedup();
        codes
    }

    /// Whether its table of answers holds this one; `code` is that of a problem.
    #[must_use]
    pub fn answers_with(&self, status: u16, code: Option<Code>) -> bool {
        match code {
            Some(code) => code.status() == status && self.problems().contains(&code),
            None => self
                .answers
                .iter()
                .flatten()
                .any(|answer| answer.status == status),
        }
    }
}

/// The type of each parameter that stands in paths.
#[must_use]
pub fn path_shape(parameter: &str) -> Option<Shape> {
    Some(match parameter {
        "project" => Shape::of::<ProjectId>(),
        "token_id" => Shape::of::<TokenId>(),
        "enrolment_key_id" => Shape::of::<EnrolmentKeyId>(),
        "worker_id" => Shape::of::<WorkerId>(),
        "name" => Shape::of::<ProfileName>(),
        "revocation_id" => Shape::of::<RevocationId>(),
        "fan_out_id" => Shape::of::<FanOutId>(),
        "event_id" => Shape::of::<EventId>(),
        "run_id" => Shape::of::<RunId>(),
        "step_id" => Shape::of::<StepId>(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_routes_are_unique_and_complete() {
        let ids: BTreeSet<&str> = all().map(|operation| operation.id).collect();
        let routes: BTreeSet<_> = all()
            .map(|operation| (operation.method, operation.path))
            .collect();
        assert_eq!((ids.len(), routes.len()), (all().count(), all().count()));
        for operation in all() {
            assert!(
                !operation.summary.is_empty()
                    && operation.answers.first().is_some_and(Option::is_some)
            );
            assert!(
                operation
                    .parameters()
                    .all(|name| path_shape(name).is_some()),
                "{}",
                operation.path
            );
            let found = find(
                operation.method,
                &operation.path.split('/').skip(1).collect::<Vec<_>>(),
            );
            assert_eq!(
                found.map(|found| found.id),
                Some(operation.id),
                "{}",
                operation.path
            );
        }
    }

    #[test]
    fn a_fixed_part_goes_before_a_parameter() {
        let found = |method, path: &[&str]| find(method, path).map(|operation| operation.id);
        assert_eq!(
            found("GET", &["v1", "workers", "wrk_1"]),
            Some("get_worker")
        );
        assert_eq!(found("GET", &["v1", "workers", "register"]), None);
        assert_eq!(
            found("POST", &["v1", "workers", "register"]),
            Some("register_worker")
        );
        assert_eq!(found("GET", &["v1", "workers", ""]), None);
        assert_eq!(found("GET", &["v1"]), None);
    }
}
