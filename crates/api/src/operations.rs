//! The operations of the API, as data: one row each. Nothing about an operation is written a second
//! time elsewhere.
//!
//! A request is matched with this table once, when it is read. The row says which credential and
//! which [`Action`] the caller needs, and a function finds its handler by the row. The client
//! builds its paths from the rows, and the OpenAPI document is made from them. Tests compare the
//! table with the routes of the template, the methods of the client and the samples of `events/`.

use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;

use sealfleet_domain::access::Action;
use sealfleet_domain::audit::AuditEntry;
use sealfleet_domain::cascade::Bindings;
use sealfleet_domain::output::Stream;
use sealfleet_domain::profile::Profile;
use sealfleet_domain::revocation::Revocation;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{
    ApprovalId, ContainmentId, EnrolmentKeyId, EventId, FanOutId, Line, ProfileName, ProfileRef,
    ProjectId, RevocationId, RunId, StepId, Timestamp, TokenId, WorkerId, WorkflowName,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
#[cfg(feature = "openapi")]
use serde_json::Value;

use crate::problem::Code;
use crate::types::{
    ActivityView, Approval, ApprovalView, ApprovalsOf, ArtifactsView, AskIdentityToken,
    AskSandboxToken, Claim, ClaimStep, Contain, ContainmentView, CreateEnrolmentKey, CreateProfile,
    CreateProject, CreateToken, CreateUpload, Decide, Discovery, EgressCeiling, EnqueueRun,
    EnrolmentKeyCreated, EnrolmentKeyView, FanOutView, FetchInputs, Governance, Heartbeat,
    HeartbeatAnswer, IdentityToken, Keys, LeaseRef, LimitsView, OpenWork, OutputCredentials,
    OutputPage, Page, PreviewContainment, PreviewRevocation, PricesView, ProfileContent,
    ProfileVersionView, ProjectDeletion, ProjectSummary, ProjectView, QueueCredentials,
    RegisterWorker, RegisterWorkflow, ReportStep, ResolveCascade, ResolvedCascade, ResultView,
    RevocationPreview, RevocationState, RevocationsCreated, Revoke, RunSummary, RunView,
    RunWorkflow, SandboxEnd, SandboxHeartbeat, SandboxHeartbeatAnswer, SandboxLease, SandboxStep,
    SetEgressCeiling, SetGovernance, SetLimits, StartStep, StepAnswer, StepInputs, TokenCreated,
    TokenView, UpdateProject, UploadCreated, UsageRow, WhoamiView, WorkerDetail, WorkerRegistered,
    WorkerSummary, WorkerView, WorkflowVersionView, WorkflowView,
};

#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Stable name; the client's method has the same.
    pub id: &'static str,
    pub method: &'static str,
    /// Parameters stand in braces.
    pub path: &'static str,
    /// The Lambda function that serves it.
    pub function: &'static str,
    pub summary: &'static str,
    pub credential: Credential,
    /// What the caller must be allowed to do. None only with [`Credential::Nothing`].
    pub action: Option<Action>,
    /// Whether the client may send it again when the answer was lost, because the second time
    /// changes nothing. A request with an idempotency key may always be sent again.
    pub repeatable: bool,
    /// The types of the path's parameters, in the path's order.
    parameters: &'static [Shape],
    /// The query parameters that it takes, and no others.
    pub query: &'static [Query],
    /// The request headers that it reads, beside the credential.
    pub headers: &'static [Header],
    pub body: Option<Shape>,
    /// Successful answers, the usual one first.
    pub answers: [Option<Success>; 2],
    /// The problems that are its own. [`Operation::problems`] adds those that follow from the rest
    /// of the row.
    pub refusals: &'static [Code],
}

/// How a caller proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Anybody may call.
    Nothing,
    /// An API token of a project or an operator, or a JWT of a trusted issuer.
    Token,
    /// The credential of an approved worker.
    Worker,
    /// The credential of a worker that is approved or waits for approval.
    AnyWorker,
    /// An enrolment key, or nothing.
    EnrolmentKey,
    /// A signature of an ECS task role, which API Gateway verifies.
    TaskRole,
}

/// A query parameter. All are optional.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    pub name: &'static str,
    pub summary: &'static str,
    pub shape: Shape,
}

/// A parameter of a path.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub name: &'static str,
    pub shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// `If-Match`: the version that the change replaces. The change is refused without it.
    IfMatch,
    /// `If-Match`, checked where it is given.
    IfMatchOptional,
    /// `Idempotency-Key`.
    IdempotencyKey,
}

#[derive(Clone, Copy, Debug)]
pub struct Success {
    pub status: u16,
    pub summary: &'static str,
    pub shape: Option<Shape>,
    /// Whether an `ETag` tells the version.
    pub etag: bool,
    /// Reads a body as its type, and writes it again.
    #[cfg(feature = "openapi")]
    pub(crate) rewrite: fn(Value) -> Result<Value, serde_json::Error>,
}

/// A type on the wire. Its schema exists only where the OpenAPI document is made.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Adds the type to the document's schemas, and refers to it.
    #[cfg(feature = "openapi")]
    pub(crate) schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

#[cfg(feature = "openapi")]
pub use schemars::JsonSchema as Described;
/// Any type: without the feature `openapi`, no schemas are made.
#[cfg(not(feature = "openapi"))]
pub trait Described {}
#[cfg(not(feature = "openapi"))]
impl<T> Described for T {}

impl Shape {
    const fn of<T: Described>() -> Self {
        let _: PhantomData<T> = PhantomData;
        Self {
            #[cfg(feature = "openapi")]
            schema: |generator| generator.subschema_for::<T>(),
        }
    }
}

/// The body of an answer.
trait Body: Described + Serialize + DeserializeOwned {}
impl<T: Described + Serialize + DeserializeOwned> Body for T {}

#[cfg(feature = "openapi")]
fn rewrite<T: Serialize + DeserializeOwned>(value: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value)?)
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shape")
    }
}

/// An operation with the types of its path's parameters: `Route<(RunId, StepId)>`.
pub struct Route<P> {
    pub operation: Operation,
    parameters: PhantomData<fn() -> P>,
}

/// The parameters of a path, as a tuple in the path's order.
pub trait Parameters: Sized {
    const SHAPES: &'static [Shape];

    /// Reads the texts of a request's path. None if one is not of its type.
    fn read(texts: &[String]) -> Option<Self>;

    fn write(&self) -> Vec<String>;
}

macro_rules! parameters {
    ($(($($letter:ident $position:tt)*))*) => {
        $(impl<$($letter: Described + FromStr + Display),*> Parameters for ($($letter,)*) {
            const SHAPES: &'static [Shape] = &[$(Shape::of::<$letter>()),*];

            fn read(texts: &[String]) -> Option<Self> {
                let mut texts = texts.iter();
                let read = ($($letter::from_str(texts.next()?).ok()?,)*);
                texts.next().is_none().then_some(read)
            }

            fn write(&self) -> Vec<String> {
                vec![$(self.$position.to_string()),*]
            }
        })*
    };
}
parameters! { () (A 0) (A 0 B 1) }

impl<P: Parameters> Route<P> {
    const fn new(mut operation: Operation) -> Self {
        operation.parameters = P::SHAPES;
        Self {
            operation,
            parameters: PhantomData,
        }
    }

    /// The path with these parameters in it.
    #[must_use]
    pub fn path(&self, parameters: &P) -> String {
        self.operation.with(&parameters.write())
    }
}

/// Values that only this table names.
mod values {
    pub(super) struct Limit;
    pub(super) struct Cursor;
    pub(super) struct Events;
    pub(super) struct WithLabel;
    pub(super) struct Day;
    pub(super) struct Groups;
    /// The OpenAPI document itself.
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Document(serde_json::Value);

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
            WithLabel { "type": "string", "pattern": "^[!-<>-~]+=[!-<>-~]+$" };
            Day { "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" };
            Groups {
                "type": "string",
                "pattern": "^(day|workflow|profile|model)(,(day|workflow|profile|model))*$",
            };
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
    summary: "Maximum number of items on the page.",
    shape: Shape::of::<values::Limit>(),
};
const CURSOR: Query = Query {
    name: "cursor",
    summary: "`next_cursor` of the previous page. Valid only for this list with the same filters.",
    shape: Shape::of::<values::Cursor>(),
};
const PROJECT: Query = Query {
    name: "project",
    summary: "The project. Operators must name it; nobody else may.",
    shape: Shape::of::<ProjectId>(),
};
const TRAIL: Query = query::<Line>(
    "project",
    "The project whose trail to read. You can read only your own; for operators it is `~system`.",
);
const PAGED: &[Query] = &[LIMIT, CURSOR];

const fn query<T: Described>(name: &'static str, summary: &'static str) -> Query {
    Query {
        name,
        summary,
        shape: Shape::of::<T>(),
    }
}

/// Who may call: how callers prove who they are, and what they must be allowed to do.
type Callers = (Credential, Option<Action>);

const ANYBODY: Callers = (Credential::Nothing, None);
const APPROVED_WORKERS: Callers = (Credential::Worker, Some(Action::Work));
const WORKERS: Callers = (Credential::AnyWorker, Some(Action::Work));
const NEW_WORKERS: Callers = (Credential::EnrolmentKey, Some(Action::RegisterWorker));
const SANDBOXES: Callers = (Credential::TaskRole, Some(Action::AskForStep));
const HOLDERS: Callers = (Credential::Worker, Some(Action::NameStep));
const NAMED_SANDBOXES: Callers = (Credential::TaskRole, Some(Action::NameStep));

const fn may(action: Action) -> Callers {
    (Credential::Token, Some(action))
}

impl Operation {
    const fn new(
        id: &'static str,
        (method, path): (&'static str, &'static str),
        function: &'static str,
        (credential, action): Callers,
    ) -> Self {
        Self {
            id,
            method,
            path,
            function,
            summary: "",
            credential,
            action,
            repeatable: matches!(method.as_bytes(), b"GET"),
            parameters: &[],
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

    const fn repeatable(mut self) -> Self {
        self.repeatable = true;
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

    const fn gives<T: Body>(self, status: u16, summary: &'static str) -> Self {
        self.answering(Success {
            status,
            summary,
            shape: Some(Shape::of::<T>()),
            etag: false,
            #[cfg(feature = "openapi")]
            rewrite: rewrite::<T>,
        })
    }

    const fn gives_versioned<T: Body>(self, status: u16, summary: &'static str) -> Self {
        self.answering(Success {
            status,
            summary,
            shape: Some(Shape::of::<T>()),
            etag: true,
            #[cfg(feature = "openapi")]
            rewrite: rewrite::<T>,
        })
    }

    const fn gives_nothing(self, summary: &'static str) -> Self {
        self.answering(Success {
            status: 204,
            summary,
            shape: None,
            etag: false,
            #[cfg(feature = "openapi")]
            rewrite: rewrite::<()>,
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

/// Declares each operation as a [`Route`] of its own, and lists them all.
macro_rules! operations {
    ($($name:ident $parameters:ty = $operation:expr;)*) => {
        $(pub static $name: Route<$parameters> = Route::new($operation);)*

        static ALL: &[&Operation] = &[$(&$name.operation),*];
    };
}

operations! {
    // Projects, tokens, enrolment keys and workers.
    CREATE_PROJECT () = Operation::new(
        "create_project",
        ("POST", "/v1/projects"),
        "fleet",
        may(Action::CreateProject),
    )
        .does("Creates a project and its pools. Deploy the project's queues and roles first.")
        .takes::<CreateProject>()
        .gives::<ProjectView>(201, "The new project.")
        .refuses(&[Code::AlreadyExists]);
    LIST_PROJECTS () = Operation::new(
        "list_projects",
        ("GET", "/v1/projects"),
        "fleet",
        may(Action::ListProjects),
    )
        .does("Lists the projects.")
        .with_query(PAGED)
        .gives::<Page<ProjectSummary>>(200, "One page, sorted by name.");
    GET_ACTIVITY () = Operation::new(
        "get_activity",
        ("GET", "/v1/activity"),
        "fleet",
        may(Action::ListProjects),
    )
        .does("Counts the unfinished runs of each project, and those that wait for a worker. Shows no run.")
        .gives::<ActivityView>(200, "The counts.");
    GET_PROJECT (ProjectId,) = Operation::new(
        "get_project",
        ("GET", "/v1/projects/{project}"),
        "fleet",
        may(Action::ReadProject),
    )
        .does("Returns a project with its pools.")
        .gives_versioned::<ProjectView>(200, "The project.");
    UPDATE_PROJECT (ProjectId,) = Operation::new(
        "update_project",
        ("PUT", "/v1/projects/{project}"),
        "fleet",
        may(Action::UpdateProject),
    )
        .does("Replaces the pools of a project. Steps that start from now on get the change.")
        .with_headers(&[Header::IfMatch])
        .takes::<UpdateProject>()
        .gives_versioned::<ProjectView>(200, "The project with its new version.")
        .refuses(&[Code::VersionConflict, Code::PreconditionRequired]);
    DELETE_PROJECT (ProjectId,) = Operation::new(
        "delete_project",
        ("DELETE", "/v1/projects/{project}"),
        "fleet",
        may(Action::DeleteProject),
    )
        .repeatable()
        .does(
            "Deletes a project, when repeated until it answers 200. The first request closes it: it takes no runs, \
             tokens and keys any more. A minute later, and when its runs have ended, a request revokes its tokens, \
             enrolment keys and workers, and deletes it. Its trail and its name stay.",
        )
        .with_query(&[query::<bool>("drain", "Close it although it has unfinished runs, which then go on to their end.")])
        .gives::<ProjectDeletion>(202, "It is closed, and not yet deleted.")
        .gives::<ProjectDeletion>(200, "It is deleted.")
        .refuses(&[Code::ProjectInUse]);
    SET_LIMITS (ProjectId,) = Operation::new(
        "set_limits",
        ("PUT", "/v1/projects/{project}/limits"),
        "fleet",
        may(Action::SetLimits),
    )
        .repeatable()
        .does("Sets the rate limit of a project's callers.")
        .takes::<SetLimits>()
        .gives::<LimitsView>(200, "The limit that is now in force.");
    SET_EGRESS_CEILING (ProjectId,) = Operation::new(
        "set_egress_ceiling",
        ("PUT", "/v1/projects/{project}/egress-ceiling"),
        "fleet",
        may(Action::SetLimits),
    )
        .repeatable()
        .does("Sets what a project's steps may reach at most, whatever its profiles allow. Holds for starts from now on.")
        .takes::<SetEgressCeiling>()
        .gives::<EgressCeiling>(200, "The ceiling that is now in force.");
    CREATE_TOKEN () = Operation::new(
        "create_token",
        ("POST", "/v1/tokens"),
        "fleet",
        may(Action::CreateToken),
    )
        .does("Creates an API token of a project. Operators name the project.")
        .takes::<CreateToken>()
        .gives::<TokenCreated>(201, "The token. This answer alone shows it.")
        .refuses(&[Code::NotFound, Code::ProjectClosed]);
    LIST_TOKENS () = Operation::new(
        "list_tokens",
        ("GET", "/v1/tokens"),
        "fleet",
        may(Action::ListTokens),
    )
        .does("Lists a project's API tokens without their secrets.")
        .with_query(&[LIMIT, CURSOR, PROJECT])
        .gives::<Page<TokenView>>(200, "One page, oldest first.")
        .refuses(&[Code::NotFound]);
    REVOKE_TOKEN (TokenId,) = Operation::new(
        "revoke_token",
        ("DELETE", "/v1/tokens/{token_id}"),
        "fleet",
        may(Action::RevokeToken),
    )
        .does("Revokes an API token. Idempotent.")
        .with_query(&[PROJECT])
        .gives::<TokenView>(200, "The revoked token.");
    GET_WHOAMI () = Operation::new(
        "get_whoami",
        ("GET", "/v1/whoami"),
        "fleet",
        // What everybody who holds a token may do where it belongs.
        may(Action::ReadProfiles),
    )
        .does("Tells the caller who it is and what it may do.")
        .gives::<WhoamiView>(200, "The caller.");
    CREATE_ENROLMENT_KEY () = Operation::new(
        "create_enrolment_key",
        ("POST", "/v1/enrolment-keys"),
        "fleet",
        may(Action::ManageEnrolmentKeys),
    )
        .does("Creates an enrolment key. Workers that register with it are approved immediately.")
        .takes::<CreateEnrolmentKey>()
        .gives::<EnrolmentKeyCreated>(201, "The key. This answer alone shows it.")
        .refuses(&[Code::NotFound, Code::ProjectClosed]);
    LIST_ENROLMENT_KEYS () = Operation::new(
        "list_enrolment_keys",
        ("GET", "/v1/enrolment-keys"),
        "fleet",
        may(Action::ManageEnrolmentKeys),
    )
        .does("Lists the project's enrolment keys without their secrets.")
        .with_query(PAGED)
        .gives::<Page<EnrolmentKeyView>>(200, "One page, oldest first.");
    REVOKE_ENROLMENT_KEY (EnrolmentKeyId,) = Operation::new(
        "revoke_enrolment_key",
        ("DELETE", "/v1/enrolment-keys/{enrolment_key_id}"),
        "fleet",
        may(Action::ManageEnrolmentKeys),
    )
        .does("Revokes an enrolment key. Workers that it approved stay approved.")
        .gives::<EnrolmentKeyView>(200, "The revoked key.");
    REGISTER_WORKER () = Operation::new(
        "register_worker",
        ("POST", "/v1/workers/register"),
        "fleet",
        NEW_WORKERS,
    )
        .does("Registers a worker. Without an enrolment key, an admin has to approve it.")
        .takes::<RegisterWorker>()
        .gives::<WorkerRegistered>(
            201, "The worker is approved. This answer alone shows its credential.",
        )
        .gives::<WorkerRegistered>(
            202, "The worker waits for approval. This answer alone shows its credential.",
        )
        .refuses(&[Code::EnrolmentRefused, Code::ProjectClosed]);
    LIST_WORKERS () = Operation::new(
        "list_workers",
        ("GET", "/v1/workers"),
        "fleet",
        may(Action::ReadWorkers),
    )
        .does("Lists the project's workers.")
        .with_query(PAGED)
        .gives::<Page<WorkerSummary>>(200, "One page, oldest first.");
    GET_WORKER (WorkerId,) = Operation::new(
        "get_worker",
        ("GET", "/v1/workers/{worker_id}"),
        "fleet",
        may(Action::ReadWorkers),
    )
        .does("Returns a worker.")
        .gives::<WorkerDetail>(200, "The worker.");
    APPROVE_WORKER (WorkerId,) = Operation::new(
        "approve_worker",
        ("POST", "/v1/workers/{worker_id}/approve"),
        "fleet",
        may(Action::ManageWorkers),
    )
        .does("Approves a pending worker.")
        .gives::<WorkerView>(200, "The approved worker.")
        .refuses(&[Code::Conflict, Code::LoginRequired, Code::ProjectClosed]);
    REJECT_WORKER (WorkerId,) = Operation::new(
        "reject_worker",
        ("POST", "/v1/workers/{worker_id}/reject"),
        "fleet",
        may(Action::ManageWorkers),
    )
        .does("Rejects a pending worker.")
        .gives::<WorkerView>(200, "The rejected worker.")
        .refuses(&[Code::Conflict, Code::LoginRequired]);
    REVOKE_WORKER (WorkerId,) = Operation::new(
        "revoke_worker",
        ("POST", "/v1/workers/{worker_id}/revoke"),
        "fleet",
        may(Action::ManageWorkers),
    )
        .does("Revokes a worker and puts the steps that it holds back in the queue. Idempotent. A pool of Fargate cannot be revoked; drain it.")
        .gives::<WorkerView>(200, "The revoked worker.")
        .refuses(&[Code::Conflict]);
    DRAIN_WORKER (WorkerId,) = Operation::new(
        "drain_worker",
        ("POST", "/v1/workers/{worker_id}/drain"),
        "fleet",
        may(Action::ManageWorkers),
    )
        .does("Gives a worker, or a pool of Fargate, no new steps. It ends those that it holds. Idempotent.")
        .gives::<WorkerView>(200, "The draining worker.")
        .refuses(&[Code::Conflict]);
    RESUME_WORKER (WorkerId,) = Operation::new(
        "resume_worker",
        ("POST", "/v1/workers/{worker_id}/resume"),
        "fleet",
        may(Action::ManageWorkers),
    )
        .does("Lets a draining worker take steps again. Idempotent.")
        .gives::<WorkerView>(200, "The worker.")
        .refuses(&[Code::Conflict]);
    // Profiles and the cascade.
    CREATE_PROFILE () = Operation::new(
        "create_profile",
        ("POST", "/v1/profiles"),
        "profile",
        may(Action::WriteProfile),
    )
        .does(
            "Creates a profile of names and references, never of values. An operator's is the system's.",
        )
        .takes::<CreateProfile>()
        .gives_versioned::<Profile>(201, "The new profile.")
        .refuses(&[Code::AlreadyExists]);
    LIST_PROFILES () = Operation::new(
        "list_profiles",
        ("GET", "/v1/profiles"),
        "profile",
        may(Action::ReadProfiles),
    )
        .does("Lists the project's profiles; for operators, the system profiles.")
        .with_query(PAGED)
        .gives::<Page<Profile>>(200, "One page, sorted by name.");
    GET_PROFILE (ProfileName,) = Operation::new(
        "get_profile",
        ("GET", "/v1/profiles/{name}"),
        "profile",
        may(Action::ReadProfiles),
    )
        .does("Returns a profile.")
        .gives_versioned::<Profile>(200, "The profile.");
    PUT_PROFILE (ProfileName,) = Operation::new(
        "put_profile",
        ("PUT", "/v1/profiles/{name}"),
        "profile",
        may(Action::WriteProfile),
    )
        .does("Replaces the content of a profile.")
        .with_headers(&[Header::IfMatch])
        .takes::<ProfileContent>()
        .gives_versioned::<Profile>(200, "The profile with its new version.")
        .refuses(&[Code::VersionConflict, Code::PreconditionRequired]);
    DELETE_PROFILE (ProfileName,) = Operation::new(
        "delete_profile",
        ("DELETE", "/v1/profiles/{name}"),
        "profile",
        may(Action::WriteProfile),
    )
        .does("Deletes a profile that no run in flight uses. Its history stays.")
        .with_headers(&[Header::IfMatchOptional])
        .gives_nothing("The profile is deleted.")
        .refuses(&[Code::VersionConflict, Code::ProfileInUse]);
    LIST_PROFILE_VERSIONS (ProfileName,) = Operation::new(
        "list_profile_versions",
        ("GET", "/v1/profiles/{name}/versions"),
        "profile",
        may(Action::ReadProfiles),
    )
        .does("Lists the versions of a profile.")
        .with_query(PAGED)
        .gives::<Page<ProfileVersionView>>(200, "One page, newest first.");
    GET_CASCADE () = Operation::new(
        "get_cascade",
        ("GET", "/v1/cascade"),
        "profile",
        may(Action::ReadProfiles),
    )
        .does("Returns the profiles that are bound to the project and to its workflows.")
        .gives::<Bindings>(200, "The bindings.")
        .refuses(&[Code::NotFound]);
    PUT_CASCADE () = Operation::new(
        "put_cascade",
        ("PUT", "/v1/cascade"),
        "profile",
        may(Action::WriteProfile),
    )
        .does("Replaces the profiles that are bound to the project and to its workflows.")
        .takes::<Bindings>()
        .gives::<Bindings>(200, "The new bindings.")
        .refuses(&[Code::NotFound]);
    RESOLVE_CASCADE () = Operation::new(
        "resolve_cascade",
        ("POST", "/v1/cascade/resolve"),
        "profile",
        may(Action::ReadProfiles),
    )
        .repeatable()
        .does("Shows what a run would start with, by name. Changes nothing.")
        .takes::<ResolveCascade>()
        .gives::<ResolvedCascade>(200, "Each key and where it comes from.")
        .refuses(&[Code::NotFound, Code::ProfileDenied, Code::SecretOverride]);

    // Revocations.
    CREATE_REVOCATIONS () = Operation::new("create_revocations", ("POST", "/v1/revocations"), "revoke", may(Action::Revoke))
        .does(
            "Revokes keys of profiles, all or none. A hard revocation also aborts runs in flight, and hardens a soft revocation \
             of its key.",
        )
        .takes::<Revoke>()
        .gives::<RevocationsCreated>(
            201, "The revocations, and how many runs have been aborted so far.",
        )
        .gives::<RevocationsCreated>(
            200, "All keys were revoked hard already: the revocations that hold, and the newest fan-out.",
        )
        .refuses(&[Code::NotFound, Code::AlreadyRevoked, Code::Conflict]);
    PREVIEW_REVOCATION () = Operation::new(
        "preview_revocation",
        ("POST", "/v1/revocations:preview"),
        "revoke",
        may(Action::ReadRevocations),
    )
        .repeatable()
        .does("Lists the runs that a hard revocation would abort now. Changes nothing.")
        .takes::<PreviewRevocation>()
        .gives::<RevocationPreview>(200, "The runs.")
        .refuses(&[Code::NotFound]);
    LIST_REVOCATIONS () = Operation::new(
        "list_revocations",
        ("GET", "/v1/revocations"),
        "revoke",
        may(Action::ReadRevocations),
    )
        .does("Lists the project's revocations; for operators, those of system profiles.")
        .with_query(&[LIMIT, CURSOR, query::<RevocationState>("state", "`active` by default.")])
        .gives::<Page<Revocation>>(200, "One page.");
    GET_REVOCATION (RevocationId,) = Operation::new(
        "get_revocation",
        ("GET", "/v1/revocations/{revocation_id}"),
        "revoke",
        may(Action::ReadRevocations),
    )
        .does("Returns a revocation.")
        .gives::<Revocation>(200, "The revocation.");
    LIFT_REVOCATION (RevocationId,) = Operation::new(
        "lift_revocation",
        ("POST", "/v1/revocations/{revocation_id}/lift"),
        "revoke",
        may(Action::Revoke),
    )
        .does("Lifts a revocation: sandboxes can start with the key again.")
        .gives::<Revocation>(200, "The lifted revocation.")
        .refuses(&[Code::NotActive]);
    CREATE_CONTAINMENT () = Operation::new(
        "create_containment",
        ("POST", "/v1/containments"),
        "revoke",
        may(Action::Contain),
    )
        .with_headers(&[Header::IdempotencyKey])
        .does(
            "Stops everything that the project does, and could begin: revokes all keys of its profiles hard, revokes its workers and \
             enrolment keys, drains its Fargate pools, revokes its API tokens if that is asked for, and cancels its runs. It goes on until \
             nothing is left, whatever becomes of the caller. Retrying with the same idempotency key never begins a second one.",
        )
        .takes::<Contain>()
        .gives::<ContainmentView>(202, "The containment, and how far it has come.")
        .refuses(&[Code::IdempotencyMismatch]);
    PREVIEW_CONTAINMENT () = Operation::new(
        "preview_containment",
        ("POST", "/v1/containments:preview"),
        "revoke",
        may(Action::Contain),
    )
        .repeatable()
        .does("Counts what a containment would stop now. Changes nothing.")
        .takes::<PreviewContainment>()
        .gives::<OpenWork>(200, "What there is to stop.");
    LIST_CONTAINMENTS () = Operation::new(
        "list_containments",
        ("GET", "/v1/containments"),
        "revoke",
        may(Action::ReadRevocations),
    )
        .does("Lists the project's containments, newest first.")
        .with_query(&[LIMIT, CURSOR])
        .gives::<Page<ContainmentView>>(200, "One page.");
    GET_CONTAINMENT (ContainmentId,) = Operation::new(
        "get_containment",
        ("GET", "/v1/containments/{containment_id}"),
        "revoke",
        may(Action::ReadRevocations),
    )
        .does("Shows what a containment has stopped so far, and what is left.")
        .gives::<ContainmentView>(200, "The containment.");
    GET_FAN_OUT (FanOutId,) = Operation::new(
        "get_fan_out",
        ("GET", "/v1/fan-outs/{fan_out_id}"),
        "revoke",
        may(Action::ReadRevocations),
    )
        .does("Shows how many runs a hard revocation has aborted so far.")
        .gives::<FanOutView>(200, "The fan-out of the revocation.");

    // Registered workflows, and approvals.
    REGISTER_WORKFLOW () = Operation::new(
        "register_workflow",
        ("POST", "/v1/workflows"),
        "fleet",
        may(Action::RegisterWorkflow),
    )
        .repeatable()
        .does("Registers a version of a workflow, which runs once somebody else approves it. Idempotent while the newest version says the same.")
        .takes::<RegisterWorkflow>()
        .gives::<WorkflowVersionView>(201, "The new version. It waits for approval.")
        .gives::<WorkflowVersionView>(200, "The newest version says the same, and waits or runs.")
        .refuses(&[Code::NotFound, Code::ProjectClosed]);
    LIST_WORKFLOWS () = Operation::new(
        "list_workflows",
        ("GET", "/v1/workflows"),
        "fleet",
        may(Action::ReadWorkflows),
    )
        .does("Lists the registered workflows.")
        .with_query(PAGED)
        .gives::<Page<WorkflowView>>(200, "One page, sorted by name.");
    GET_WORKFLOW (WorkflowName,) = Operation::new(
        "get_workflow",
        ("GET", "/v1/workflows/{workflow}"),
        "fleet",
        may(Action::ReadWorkflows),
    )
        .does("Returns a registered workflow.")
        .gives::<WorkflowView>(200, "The workflow.");
    LIST_WORKFLOW_VERSIONS (WorkflowName,) = Operation::new(
        "list_workflow_versions",
        ("GET", "/v1/workflows/{workflow}/versions"),
        "fleet",
        may(Action::ReadWorkflows),
    )
        .does("Lists the versions of a registered workflow, with their definitions.")
        .with_query(PAGED)
        .gives::<Page<WorkflowVersionView>>(200, "One page, newest first.");
    RETIRE_WORKFLOW (WorkflowName,) = Operation::new(
        "retire_workflow",
        ("POST", "/v1/workflows/{workflow}/retire"),
        "fleet",
        may(Action::RetireWorkflow),
    )
        .repeatable()
        .does("Takes a workflow out of use, and a version of it that waits. Runs that are enqueued go on. Idempotent.")
        .gives::<WorkflowView>(200, "The retired workflow.");
    RUN_WORKFLOW (WorkflowName,) = Operation::new(
        "run_workflow",
        ("POST", "/v1/workflows/{workflow}/runs"),
        "enqueue",
        may(Action::Enqueue),
    )
        .does("Enqueues a run of a registered workflow with these parameters. Retrying with the same idempotency key never creates a second run.")
        .with_headers(&[Header::IdempotencyKey])
        .takes::<RunWorkflow>()
        .gives::<RunView>(201, "The new run.")
        .gives::<RunView>(200, "The run that the same idempotency key created before.")
        .refuses(&[
            Code::NotLive,
            Code::ProjectClosed,
            Code::ProfileDenied,
            Code::SecretOverride,
            Code::SecretRevoked,
            Code::IdempotencyMismatch,
        ]);
    LIST_APPROVALS () = Operation::new(
        "list_approvals",
        ("GET", "/v1/approvals"),
        "fleet",
        may(Action::ReadApprovals),
    )
        .does("Lists what waits for a decision, or what was decided.")
        .with_query(&[LIMIT, CURSOR, query::<ApprovalsOf>("state", "`pending` by default.")])
        .gives::<Page<Approval>>(200, "One page.");
    GET_APPROVAL (ApprovalId,) = Operation::new(
        "get_approval",
        ("GET", "/v1/approvals/{approval}"),
        "fleet",
        may(Action::ReadApprovals),
    )
        .does("Returns an approval with all that a decision on it is about, and the token that stands for that.")
        .gives::<ApprovalView>(200, "The approval.");
    DECIDE_APPROVAL (ApprovalId,) = Operation::new(
        "decide_approval",
        ("POST", "/v1/approvals/{approval}/decision"),
        "fleet",
        may(Action::Decide),
    )
        .repeatable()
        .does("Approves or denies what somebody else has asked for. Idempotent for the same caller and decision.")
        .takes::<Decide>()
        .gives::<Approval>(200, "The approval.")
        .refuses(&[
            Code::OwnApproval,
            Code::LoginRequired,
            Code::StaleReview,
            Code::AlreadyDecided,
            Code::ProjectClosed,
            Code::SecretRevoked,
        ]);
    GET_GOVERNANCE () = Operation::new(
        "get_governance",
        ("GET", "/v1/governance"),
        "fleet",
        may(Action::ReadApprovals),
    )
        .does("Returns what callers of the project may run, how many must approve, and whether only logins do.")
        .gives::<Governance>(200, "What holds now.")
        .refuses(&[Code::NotFound]);
    PUT_GOVERNANCE () = Operation::new(
        "put_governance",
        ("PUT", "/v1/governance"),
        "fleet",
        may(Action::Govern),
    )
        .does("Sets what callers of the project may run, how many must approve, and whether only logins do. What waits already needs what it needed.")
        .takes::<SetGovernance>()
        .gives::<Governance>(200, "What holds from now on.")
        .refuses(&[Code::NotFound, Code::LoginRequired]);

    // Runs.
    ENQUEUE_RUN () = Operation::new("enqueue_run", ("POST", "/v1/runs"), "enqueue", may(Action::Enqueue))
        .does("Enqueues a run. Retrying with the same idempotency key never creates a second run.")
        .with_headers(&[Header::IdempotencyKey])
        .takes::<EnqueueRun>()
        .gives::<RunView>(201, "The new run.")
        .gives::<RunView>(200, "The run that an earlier request with this idempotency key created.")
        .refuses(&[
            Code::NotFound,
            Code::ProjectClosed,
            Code::RegisteredRequired,
            Code::RegisteredName,
            Code::ProfileDenied,
            Code::SecretOverride,
            Code::SecretRevoked,
            Code::IdempotencyMismatch,
        ]);
    CREATE_UPLOAD () = Operation::new(
        "create_upload",
        ("POST", "/v1/uploads"),
        "enqueue",
        may(Action::Enqueue),
    )
        .repeatable()
        .does(
            "Takes content that is too large for a run's document: gives it an id, for steps to name, and a URL to put it to.              Repeating the request gives another id, and costs nothing.",
        )
        .takes::<CreateUpload>()
        .gives::<UploadCreated>(201, "Where to put the content.")
        .refuses(&[Code::ProjectClosed]);
    RETRY_STEP (RunId, StepId) = Operation::new(
        "retry_step",
        ("POST", "/v1/runs/{run_id}/steps/{step_id}/retry"),
        "enqueue",
        may(Action::Retry),
    )
        .does("Puts a dead step back in its queue.")
        .gives::<RunView>(200, "The run.")
        .refuses(&[
            Code::Conflict,
            Code::ProjectClosed,
            Code::RegisteredRequired,
            Code::SecretRevoked,
        ]);
    LIST_RUNS () = Operation::new("list_runs", ("GET", "/v1/runs"), "runs", may(Action::ReadRuns))
        .does("Lists the project's runs.")
        .with_query(&[
            LIMIT,
            CURSOR,
            query::<RunState>("state", "Only runs in this state."),
            query::<WorkflowName>("workflow", "Only runs of this workflow."),
            query::<ProfileRef>(
                "profile",
                "Only runs that this profile was resolved for when they were enqueued.",
            ),
            query::<values::WithLabel>(
                "label",
                "Only runs with this label, as `KEY=VALUE`.",
            ),
            query::<Timestamp>("from", "Only runs that were enqueued at this time or later."),
            query::<Timestamp>("to", "Only runs that were enqueued before this time."),
        ])
        .gives::<Page<RunSummary>>(
            200,
            "One page, newest first. Each page looks through a bounded number of runs: with a filter it can be short, or \
             empty, and still have a `next_cursor`.",
        );
    GET_RUN (RunId,) = Operation::new(
        "get_run",
        ("GET", "/v1/runs/{run_id}"),
        "runs",
        may(Action::ReadRuns),
    )
        .does("Returns a run with its steps.")
        .gives::<RunView>(200, "The run.");
    GET_OUTPUT (RunId, StepId) = Operation::new(
        "get_output",
        ("GET", "/v1/runs/{run_id}/steps/{step_id}/output"),
        "runs",
        may(Action::ReadRuns),
    )
        .does(
            "Reads the output of a step, from the beginning or from where a cursor says, also while it runs. Ask again \
             with `next_cursor` until there is none.",
        )
        .with_query(&[
            query::<Stream>("stream", "Only this stream. Both if absent."),
            Query {
                name: "cursor",
                summary: "`next_cursor` of the answer before. Valid only for this step and stream.",
                shape: Shape::of::<values::Cursor>(),
            },
        ])
        .gives::<OutputPage>(200, "What was written since, or nothing yet.");
    GET_RESULT (RunId, StepId) = Operation::new(
        "get_result",
        ("GET", "/v1/runs/{run_id}/steps/{step_id}/result"),
        "runs",
        may(Action::ReadRuns),
    )
        .does("Returns the JSON document that a step has left as its result.")
        .gives::<ResultView>(200, "The result, or where it lies.")
        .refuses(&[Code::NotReady]);
    GET_ARTIFACTS (RunId, StepId) = Operation::new(
        "get_artifacts",
        ("GET", "/v1/runs/{run_id}/steps/{step_id}/artifacts"),
        "runs",
        may(Action::ReadRuns),
    )
        .does("Lists what a step has left behind, each file with a URL to get it by, which is good for minutes.")
        .with_query(&[Query {
            name: "cursor",
            summary: "`next_cursor` of the answer before. Valid only for this step.",
            shape: Shape::of::<values::Cursor>(),
        }])
        .gives::<ArtifactsView>(200, "The files, or where they lie.")
        .refuses(&[Code::NotReady]);
    CANCEL_RUN (RunId,) = Operation::new(
        "cancel_run",
        ("POST", "/v1/runs/{run_id}/cancel"),
        "cancel",
        may(Action::Cancel),
    )
        .does("Aborts a run and stops its sandboxes. Idempotent.")
        .gives::<RunView>(200, "The aborted run.")
        .refuses(&[Code::Conflict]);

    // What workers and sandboxes call.
    CLAIM_STEP () = Operation::new("claim_step", ("POST", "/v1/claims"), "claim", APPROVED_WORKERS)
        .does("Claims a step.")
        .takes::<ClaimStep>()
        .gives::<Claim>(200, "The command, its secrets by name, and the fence of the claim.")
        .refuses(&[
            Code::NotFound,
            Code::NotQueued,
            Code::WorkerDraining,
            Code::StepMismatch,
            Code::AtCapacity,
            Code::StartRefused,
            Code::SecretRevoked,
        ]);
    SEND_HEARTBEAT () = Operation::new("send_heartbeat", ("POST", "/v1/heartbeats"), "claim", WORKERS)
        .repeatable()
        .does("Renews a worker's leases and tells it which ones it has lost.")
        .takes::<Heartbeat>()
        .gives::<HeartbeatAnswer>(200, "Whether the worker still holds each lease.");
    GET_QUEUE_CREDENTIALS () = Operation::new(
        "get_queue_credentials",
        ("POST", "/v1/queue-credentials"),
        "claim",
        APPROVED_WORKERS,
    )
        .repeatable()
        .does("Issues temporary AWS credentials that open the worker's own queue and nothing else.")
        .gives::<QueueCredentials>(200, "The credentials.");
    GET_OUTPUT_CREDENTIALS () = Operation::new(
        "get_output_credentials",
        ("POST", "/v1/output-credentials"),
        "claim",
        APPROVED_WORKERS,
    )
        .repeatable()
        .does("Issues temporary AWS credentials to write what a claim puts out, and for nothing else.")
        .takes::<LeaseRef>()
        .gives::<OutputCredentials>(200, "The credentials.")
        .refuses(&[Code::NotFound, Code::NotHolder, Code::StaleFence]);
    GET_STEP_INPUTS () = Operation::new(
        "get_step_inputs",
        ("POST", "/v1/step-inputs"),
        "claim",
        APPROVED_WORKERS,
    )
        .repeatable()
        .does("Says where to get what has to be brought to a step before its command starts, by URLs that are good for minutes.")
        .takes::<FetchInputs>()
        .gives::<StepInputs>(200, "A part of the inputs.")
        .refuses(&[Code::NotFound, Code::NotHolder, Code::StaleFence, Code::Conflict]);
    START_STEP () = Operation::new("start_step", ("POST", "/v1/starts"), "report", APPROVED_WORKERS)
        .repeatable()
        .does("Reports that the sandbox has its secrets and is about to run the command.")
        .takes::<StartStep>()
        .gives::<StepAnswer>(200, "The step's state.")
        .refuses(&[
            Code::NotFound,
            Code::NotHolder,
            Code::StaleFence,
            Code::Conflict,
            Code::SecretRevoked,
        ]);
    REPORT_STEP () = Operation::new("report_step", ("POST", "/v1/reports"), "report", APPROVED_WORKERS)
        .repeatable()
        .does("Reports how the step ended. Idempotent.")
        .takes::<ReportStep>()
        .gives::<StepAnswer>(200, "The step's state.")
        .refuses(&[Code::NotFound, Code::NotHolder, Code::StaleFence, Code::Conflict]);
    GET_SANDBOX_STEP () = Operation::new(
        "get_sandbox_step",
        ("POST", "/v1/sandbox/step"),
        "sandbox",
        SANDBOXES,
    )
        .does("Tells a Fargate sandbox which step it runs.")
        .takes::<SandboxLease>()
        .gives::<SandboxStep>(200, "The command, and the names of its secrets.")
        .refuses(&[Code::NotFound, Code::StaleFence, Code::NotReady, Code::StepMismatch]);
    SEND_SANDBOX_HEARTBEAT () = Operation::new(
        "send_sandbox_heartbeat",
        ("POST", "/v1/sandbox/heartbeat"),
        "sandbox",
        SANDBOXES,
    )
        .does("Records which hosts the step of a Fargate sandbox was kept from, and tells which of the keys that its egress proxy delivers are revoked.")
        .takes::<SandboxHeartbeat>()
        .gives::<SandboxHeartbeatAnswer>(200, "What is revoked, and whether the hosts are on record.")
        .refuses(&[Code::NotFound, Code::StaleFence, Code::NotReady, Code::StepMismatch]);
    END_SANDBOX () = Operation::new(
        "end_sandbox",
        ("POST", "/v1/sandbox/end"),
        "sandbox",
        SANDBOXES,
    )
        .repeatable()
        .does("Takes down how the step of a Fargate sandbox ended, until ECS shows that the sandbox is gone.")
        .takes::<SandboxEnd>()
        .gives_nothing("It is taken down.")
        .refuses(&[Code::NotFound, Code::StaleFence, Code::NotReady]);

    // How a step proves itself to others.
    GET_IDENTITY_TOKEN () = Operation::new(
        "get_identity_token",
        ("POST", "/v1/identity-tokens"),
        "identity",
        HOLDERS,
    )
        .does("Issues a token that names a step which the worker holds, for one audience of the step's profiles.")
        .takes::<AskIdentityToken>()
        .gives::<IdentityToken>(200, "The token. It expires with the lease, and soon.")
        .refuses(&[
            Code::NotFound,
            Code::NotHolder,
            Code::StaleFence,
            Code::NotReady,
            Code::StartRefused,
            Code::SecretRevoked,
            Code::AudienceDenied,
        ]);
    GET_SANDBOX_TOKEN () = Operation::new(
        "get_sandbox_token",
        ("POST", "/v1/sandbox/token"),
        "identity",
        NAMED_SANDBOXES,
    )
        .does("Issues the same to a Fargate sandbox, for the step that it runs.")
        .takes::<AskSandboxToken>()
        .gives::<IdentityToken>(200, "The token. It expires soon.")
        .refuses(&[
            Code::NotFound,
            Code::StaleFence,
            Code::NotReady,
            Code::StartRefused,
            Code::SecretRevoked,
            Code::AudienceDenied,
            Code::RateLimited,
        ]);
    GET_DISCOVERY () = Operation::new(
        "get_discovery",
        ("GET", "/.well-known/openid-configuration"),
        "identity",
        ANYBODY,
    )
        .does("Says how identity tokens are verified (OpenID Connect Discovery 1.0).")
        .gives::<Discovery>(200, "The issuer, and where its keys are.");
    GET_KEYS () = Operation::new("get_keys", ("GET", "/.well-known/jwks.json"), "identity", ANYBODY)
        .does("Returns the keys that identity tokens are verified with (RFC 7517).")
        .gives::<Keys>(200, "The keys.")
        .refuses(&[Code::Unavailable]);

    // The audit trail.
    LIST_AUDIT_ENTRIES () = Operation::new(
        "list_audit_entries",
        ("GET", "/v1/audit"),
        "audit",
        may(Action::ReadAudit),
    )
        .does("Reads the project's audit trail; for operators, the operators' own.")
        .with_query(&[
            query::<RunId>("run", "Only entries of this run."),
            query::<ProfileRef>("profile", "Only entries with an event that names this profile."),
            query::<Line>("key", "Only entries with an event that names this key."),
            query::<Line>("actor", "Only entries of this actor, as `kind:id`, or by the id of a token, a worker or an enrolment key."),
            query::<ContainmentId>("containment", "Only entries that are part of this containment."),
            query::<values::Events>(
                "type",
                "Only entries with one of these events. It has to match `profile` and `key`, too.",
            ),
            query::<Timestamp>(
                "from",
                "Only entries of this time and later. Defaults to one day before `to`.",
            ),
            query::<Timestamp>(
                "to",
                "Only entries before this time, at most 31 days after `from`. Defaults to now.",
            ),
            TRAIL,
            LIMIT,
            CURSOR,
        ])
        .gives::<Page<AuditEntry>>(
            200,
            "One page, oldest first. It can be short, or empty, and still have a `next_cursor`.",
        )
        .refuses(&[Code::NotFound]);
    GET_AUDIT_ENTRY (EventId,) = Operation::new(
        "get_audit_entry",
        ("GET", "/v1/audit/{event_id}"),
        "audit",
        may(Action::ReadAudit),
    )
        .does("Returns one entry of the same trail.")
        .with_query(&[TRAIL])
        .gives::<AuditEntry>(200, "The entry.");

    // Usage.
    GET_USAGE () = Operation::new("get_usage", ("GET", "/v1/usage"), "runs", may(Action::ReadUsage))
        .does("Sums what the project's steps have used; for operators, by project, what those of all projects have.")
        .with_query(&[
            query::<values::Day>("from", "The first UTC day, `YYYY-MM-DD`. Defaults to 29 days before `to`."),
            query::<values::Day>("to", "The last UTC day, at most 91 days after `from`. Defaults to today."),
            query::<values::Groups>(
                "group_by",
                "What to sum by: `day`, `workflow`, `profile`, `model`, or several with commas between them. Operators see sums by `day` and `model` alone. Defaults to `day`.",
            ),
            LIMIT,
            CURSOR,
        ])
        .gives::<Page<UsageRow>>(
            200,
            "One page, sorted by project and by what is summed by. For operators it can be short, or empty, and still have a `next_cursor`.",
        );
    GET_PRICES () = Operation::new("get_prices", ("GET", "/v1/usage/prices"), "runs", may(Action::ReadUsage))
        .does("Returns the prices by which usage is charged from now on, each with its source and date.")
        .gives::<PricesView>(200, "The prices.");

    // The API itself.
    GET_OPENAPI () = Operation::new("get_openapi", ("GET", "/v1/openapi.json"), "openapi", ANYBODY)
        .does("Returns this document.")
        .gives::<values::Document>(200, "The OpenAPI document.");
}

/// All operations.
pub fn all() -> impl Iterator<Item = &'static Operation> {
    ALL.iter().copied()
}

/// The parts of a path. It begins with a slash, before which there is none.
pub fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
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
    let fewest = found
        .iter()
        .map(|operation| operation.parameters.len())
        .min()
        .unwrap_or_default();
    found.retain(|operation| operation.parameters.len() == fewest);
    found
}

/// The methods that a path takes.
#[must_use]
pub fn methods<Part: AsRef<str>>(path: &[Part]) -> Vec<&'static str> {
    at(path)
        .into_iter()
        .map(|operation| operation.method)
        .collect()
}

impl Operation {
    /// The parameters of its path.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter> {
        self.names()
            .zip(self.parameters)
            .map(|(name, shape)| Parameter {
                name,
                shape: *shape,
            })
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Its path with these texts in place of the parameters.
    pub(crate) fn with(&self, texts: &[String]) -> String {
        let path = self.path.to_owned();
        let pairs = self.names().zip(texts);
        pairs.fold(path, |path, (name, text)| {
            path.replace(&format!("{{{name}}}"), text)
        })
    }

    fn has_path<Part: AsRef<str>>(&self, path: &[Part]) -> bool {
        let own: Vec<&str> = parts(self.path).collect();
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

    /// What stands for its parameters in a path that is its own.
    pub(crate) fn texts(&self, path: &[String]) -> Vec<String> {
        parts(self.path)
            .zip(path)
            .filter(|(own, _)| own.starts_with('{'))
            .map(|(_, text)| text.clone())
            .collect()
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
                Code::RateLimited,
                Code::WorkerPending,
                Code::WorkerRejected,
                Code::WorkerRevoked,
            ]),
            Credential::AnyWorker => {
                codes.extend([Code::RateLimited, Code::WorkerRejected, Code::WorkerRevoked])
            }
            Credential::Token | Credential::EnrolmentKey => codes.push(Code::RateLimited),
            Credential::Nothing | Credential::TaskRole => {}
        }
        if !self.parameters.is_empty() {
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
            assert_eq!(
                operation.names().count(),
                operation.parameters.len(),
                "{}",
                operation.path
            );
            assert_eq!(
                operation.action.is_none(),
                operation.credential == Credential::Nothing,
                "{}",
                operation.id
            );
            let found = find(operation.method, &parts(operation.path).collect::<Vec<_>>());
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

    #[test]
    fn a_path_is_written_as_it_is_read() {
        let run = "run_0198c0de-0000-7000-8000-00000000000a";
        let given: (RunId, StepId) = (run.parse().expect("an id"), "main".parse().expect("an id"));
        let path = RETRY_STEP.path(&given);
        assert_eq!(path, format!("/v1/runs/{run}/steps/main/retry"));
        let parts: Vec<String> = super::parts(&path).map(str::to_owned).collect();
        let found = find("POST", &parts).expect("an operation");
        assert_eq!(Parameters::read(&found.texts(&parts)), Some(given));
        let bad = ["run_1".to_owned(), "main".to_owned()];
        assert_eq!(<(RunId, StepId)>::read(&bad), None);
    }
}
