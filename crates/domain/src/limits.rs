//! Limits on the size of requests. Each is defined only here, so that documents, messages and code
//! agree.

/// Bytes of a request body.
pub const BODY_BYTES: usize = 64 * 1024;
/// Steps of a run.
pub const STEPS: usize = 100;
/// Steps that one step may need.
pub const NEEDS: usize = 99;
/// Words of a step's command.
pub const COMMAND_WORDS: usize = 64;
/// Bytes of a step's whole command.
pub const COMMAND_BYTES: usize = 8 * 1024;
/// Files of a step.
pub const FILES: usize = 50;
/// Bytes of a file's path.
pub const PATH_BYTES: usize = 255;
/// Bytes of all files and standard inputs that stand in a run, paths included.
pub const INPUT_BYTES: usize = 32 * 1024;
/// Bytes of an upload.
pub const UPLOAD_BYTES: u64 = 100 * 1024 * 1024;
/// Uploads that the steps of a run work with.
pub const UPLOADS: usize = 100;
/// Steps that one step takes results and artifacts of.
pub const TAKES: usize = 20;
/// Artifacts that a step names.
pub const ARTIFACTS: usize = 20;
/// Files that a step's artifacts are.
pub const ARTIFACT_FILES: usize = 500;
/// Bytes of a step's artifacts.
pub const ARTIFACT_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of the name of an artifact's file.
pub const ARTIFACT_NAME_BYTES: usize = 1024;
/// Bytes of a word of a command: what Linux accepts, without the NUL at its end (execve(2)).
pub const WORD_BYTES: u64 = 128 * 1024 - 1;
/// Bytes of an agent's prompt in a step, and of all prompts of a run.
pub const PROMPT_BYTES: usize = 32 * 1024;
/// Answers of a model that a step may ask for.
pub const AGENT_TURNS: u32 = 1000;
/// Bytes of an agent's own id of a session.
pub const SESSION_BYTES: usize = 128;
/// Entries of a map of environment variables.
pub const ENV_ENTRIES: usize = 50;
/// Bytes of one environment value.
pub const ENV_VALUE_BYTES: usize = 1024;
/// Secret references of a profile.
pub const SECRETS: usize = 50;
/// Secrets of a cascade: of one profile for each of its four levels.
pub const CASCADE_SECRETS: usize = 4 * SECRETS;
/// Tools of a profile's access list.
pub const TOOLS: usize = 32;
/// Rules of an egress policy.
pub const EGRESS_RULES: usize = 32;
/// Rules of the policies of several levels together.
pub const EGRESS_MET_RULES: usize = 4 * EGRESS_RULES;
/// Methods of one rule of an egress policy.
pub const EGRESS_METHODS: usize = 16;
/// Bytes of an HTTP method.
pub const METHOD_BYTES: usize = 20;
/// Paths of all rules of an egress policy.
pub const EGRESS_PATHS: usize = 64;
/// Paths of the policies of several levels together.
pub const EGRESS_MET_PATHS: usize = 2 * EGRESS_PATHS;
/// Bytes of a path of an egress rule.
pub const EGRESS_PATH_BYTES: usize = 128;
/// Secrets of a profile that are delivered at egress.
pub const EGRESS_SECRETS: usize = 10;
/// Places that one of them is bound to.
pub const EGRESS_BINDINGS: usize = 4;
/// Hosts of one step that a proxy tells by name.
pub const EGRESS_ROWS: usize = 64;
/// Models of one step that a proxy tells by name.
pub const EGRESS_MODELS: usize = 32;
/// Bytes of an audience of identity tokens.
pub const AUDIENCE_BYTES: usize = 200;
/// Audiences of a profile.
pub const AUDIENCES: usize = 4;
/// Longest validity of an identity token in seconds.
pub const IDENTITY_TOKEN_SECONDS: i64 = 300;
/// An identity token that would be good for less is not made.
pub const SHORTEST_IDENTITY_TOKEN_MILLIS: i64 = 1000;
/// Identity tokens of one claim in a minute.
pub const IDENTITY_TOKENS_A_MINUTE: u32 = 60;
/// Seconds from the claim of a step to the start of its command, at most.
pub const STEP_START_SECONDS: i64 = 300;
/// Seconds that clocks may differ by.
pub const CLOCK_SECONDS: i64 = 30;
/// Workflows that a profile allows or a cascade binds.
pub const WORKFLOWS: usize = 100;
/// Keys of one revocation request. One transaction writes all of them.
pub const REVOKED_KEYS: usize = 40;
/// Active revocations of one owner. Every check reads all of them.
pub const ACTIVE_REVOCATIONS: usize = 1000;
/// Seconds that the caller of a revocation works on its fan-out before `sweep` may take over.
pub const FAN_OUT_SECONDS: i64 = 15;
/// Seconds that the caller of a containment works on it before `sweep` may take over.
pub const CONTAINMENT_SECONDS: i64 = 15;
/// Bytes of a reason.
pub const REASON_BYTES: usize = 256;
/// Bytes of a secret reference.
pub const URI_BYTES: usize = 512;
/// Labels of a worker, an enrolment key or a step's requirements.
pub const LABELS: usize = 32;
/// Bytes of a label's key or value.
pub const LABEL_BYTES: usize = 64;
/// Variants of sandbox images of a worker.
pub const IMAGE_VARIANTS: usize = 16;
/// Models of a worker or an enrolment key.
pub const MODELS: usize = 32;
/// Bytes of a model's name.
pub const MODEL_BYTES: usize = 128;
/// Bytes of a display name or a note.
pub const NAME_BYTES: usize = 64;
/// Bytes of a secret's version.
pub const VERSION_BYTES: usize = 2 * NAME_BYTES;
/// Bytes of a store's own id of a request.
pub const STORE_REQUEST_ID_BYTES: usize = 128;
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY_BYTES: usize = 128;
/// Seconds for which an idempotency key is remembered.
pub const IDEMPOTENCY_SECONDS: i64 = 24 * 3600;
/// Steps that a worker or pool may hold at once.
pub const MAX_CONCURRENT: u32 = 1000;
/// Seconds that a step may run: 12 hours.
pub const TIMEOUT_SECONDS: u32 = 12 * 3600;
/// Attempts of a step.
pub const MAX_ATTEMPTS: u32 = 10;
/// Seconds that a step may wait to be claimed: 14 days, as long as a queue keeps a message.
pub const TTL_SECONDS: u32 = 14 * 24 * 3600;
/// Parameters of a registered workflow.
pub const PARAMETERS: usize = 32;
/// Places that one parameter goes to.
pub const PARAMETER_PLACES: usize = 16;
/// Schemas within the schema of a parameter.
pub const SCHEMAS: usize = 64;
/// Levels of schemas within the schema of a parameter.
pub const SCHEMA_DEPTH: usize = 6;
/// Steps of a run that need an approval. Each waits in a row of its own, and one transaction must
/// be able to end all of them.
pub const APPROVALS: usize = 25;
/// Approvals that a request may need.
pub const APPROVERS: u32 = 2;
/// Rows of one page of a list.
pub const PAGE: u32 = 100;
/// Seconds that a version of a workflow waits for approval: 30 days.
pub const PENDING_VERSION_SECONDS: i64 = 30 * 24 * 3600;
/// Seconds that a worker waits for approval before its registration is forgotten.
pub const PENDING_WORKER_SECONDS: i64 = 24 * 3600;
/// Bytes of a failure's detail to keep.
pub const DETAIL_BYTES: usize = 300;
/// Requests of one worker in a second, in the long run.
pub const WORKER_REQUESTS_PER_SECOND: u32 = 100;
/// Requests of one worker at once: a claim, a start and a key for outputs of each step that it may
/// hold.
pub const WORKER_REQUESTS_AT_ONCE: u32 = 3 * MAX_CONCURRENT;
/// Bytes of a step's result.
pub const RESULT_BYTES: usize = 256 * 1024;
/// Pools of a project.
pub const POOLS: usize = 10;
/// Longest validity of an API token in seconds: a year.
pub const TOKEN_SECONDS: u32 = 365 * 24 * 3600;
/// Longest validity of an enrolment key in seconds: ninety days.
pub const ENROLMENT_KEY_SECONDS: u32 = 90 * 24 * 3600;
/// Workers that one enrolment key may approve.
pub const ENROLMENT_KEY_USES: u32 = 1000;
/// Bytes of the reference to a pool's image.
pub const IMAGE_BYTES: usize = 512;
/// Registrations without an enrolment key that a project accepts in a minute, and at once. Each
/// takes a row until an admin decides on it or it expires.
pub const PENDING_WORKERS_A_MINUTE: u32 = 30;
