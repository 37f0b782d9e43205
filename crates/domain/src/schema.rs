//! JSON Schemas (2020-12) for the OpenAPI document: of types that are written as text, and of maps
//! and lists with bounds.
//!
//! serde's attributes cannot describe these, because code parses or checks them. The code refuses
//! whatever a schema forbids. Where a bound is in bytes, the schema counts characters, which are
//! never more.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::acl::Acl;
use crate::approval::ApprovalId;
use crate::capability::{BACKENDS, EXAMPLE_REFERENCE, EXAMPLE_URI, Keyed, SCHEMES};
use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::egress::{HostName, HostPattern, Method, PathPattern};
use crate::hash::ContentHash;
use crate::ids::{
    ContainmentId, EnrolmentKeyId, EventId, FanOutId, IdentityTokenId, RevocationId, RunId,
    TokenId, UploadId, WorkerId,
};
use crate::inputs::Content;
use crate::labels::Labels;
use crate::limits;
use crate::names::{
    ParameterName, PoolName, ProfileName, ProjectId, StepId, ToolName, WorkflowName,
};
use crate::reference::{ProfileRef, Reference, SecretUri};
use crate::text::Line;
use crate::workflow::VARIABLE;
use crate::workload::Audience;

const HYPHENED: &str = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$";
const UNDERSCORED: &str = "^[a-z][a-z0-9_-]*$";
const ENV_KEY: &str = "(?!SEALFLEET_|AWS_CONTAINER_|LD_)[A-Za-z_][A-Za-z0-9_]*";
/// A part of a secret's name: neither `.` nor `..`.
const PART: &str = r"([A-Za-z0-9_-]|\.[A-Za-z0-9_-]|\.\.[A-Za-z0-9._-])[A-Za-z0-9._-]*";
/// Names with `/` between them, of which none is `.` or `..` and the first is not `.sealfleet`.
pub const PATH: &str = r"^(?!\.sealfleet(/|$))(?!(.*/)?\.{1,2}(/|$))[^/\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+(/[^/\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+)*$";
/// What [`Line`] accepts.
pub const LINE: &str =
    r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$";
/// What [`text::check`](crate::text::check) accepts.
pub const TEXT: &str =
    r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$";

/// The pattern of an address of any scheme.
fn uri() -> String {
    let forms = SCHEMES.map(|scheme| {
        let key = match scheme.keyed {
            Keyed::Never => String::new(),
            Keyed::Maybe => format!("(#{PART})?"),
            Keyed::Always => format!("#{PART}"),
        };
        format!("{}://{PART}(/{PART})*{key}", scheme.name)
    });
    format!("({})", forms.join("|"))
}

macro_rules! text {
    ($($name:ident $what:literal, $pattern:expr, $max:expr, $example:expr;)*) => {
        $(impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $what,
                    "type": "string",
                    "pattern": $pattern,
                    "minLength": 1,
                    "maxLength": $max,
                    "examples": [$example],
                })
            }
        })*

        #[cfg(test)]
        #[test]
        fn each_example_is_one() {
            $(assert!($example.parse::<$name>().is_ok(), "{}", $example);)*
        }
    };
}

text! {
    ProjectId "The name of a project, which is a tenant. Never `system`.", HYPHENED, 32, "healthcare";
    PoolName "The name of a pool, which is a queue of a project.", HYPHENED, 24, "default";
    ProfileName "The name of a Sealed Identity profile.", HYPHENED, 48, "crm";
    StepId "The id of a step, unique in its run.", UNDERSCORED, 32, "main";
    WorkflowName "The name of a workflow: the kind of work that a run does.", UNDERSCORED, 48, "billing";
    ParameterName "The name of a parameter of a registered workflow.", UNDERSCORED, 48, "ticket";
    ApprovalId "What an approval decides on: a version of a workflow, a worker, or a step.",
        r"^(workflow:[a-z][a-z0-9_-]*@[1-9][0-9]{0,9}|worker:wrk_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|step:run_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[a-z][a-z0-9_-]*)$", 80, "workflow:nightly@3";
    ToolName "The name of a tool that a step runs, such as a CLI agent.", UNDERSCORED, 48, "codex";
    ProfileRef "The name of a profile of the project, or `system/NAME` for one of the system scope.", "^(system/)?[a-z][a-z0-9]*(-[a-z0-9]+)*$", 55, "system/base";
    HostPattern "A DNS name, `*.NAME` for every name below it, or an IP address.",
        r"^((\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?|[0-9]{1,3}(\.[0-9]{1,3}){3}|\[?[0-9A-Fa-f:.]{2,45}\]?)$", 255, "api.example.com";
    Audience "Who an identity token is for: the `aud` of a JWT.",
        r"^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+$", limits::AUDIENCE_BYTES, "https://vault.example.com";
    HostName "A DNS name or an IP address.",
        r"^(([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?|[0-9]{1,3}(\.[0-9]{1,3}){3}|\[?[0-9A-Fa-f:.]{2,45}\]?)$", 255, "api.example.com";
    Method "An HTTP method in capitals.", "^(?!CONNECT$)[A-Z][A-Z0-9_-]*$", limits::METHOD_BYTES, "GET";
    PathPattern "A path, or `/v1/*` for every path that begins with `/v1/`.",
        r#"^/([!"$-)+-:<->@-\[\]-~]*|([!"$-)+-:<->@-\[\]-~]*/)?\*)$"#, limits::EGRESS_PATH_BYTES, "/v1/messages";
    SecretUri "The address of a secret, never its value.",
        format!("^{}$", uri()), limits::URI_BYTES, EXAMPLE_URI;
    Reference "The address of a secret, never its value. `@VERSION` pins it to a version. `?redact=false` leaves the value in the step's output.",
        format!(r"^{}(@[A-Za-z0-9-]{{1,64}})?(\?redact=false)?$", uri()), limits::URI_BYTES, EXAMPLE_REFERENCE;
}

macro_rules! id {
    ($($name:ident $prefix:literal $what:literal;)*) => {
        $(impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": $what,
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"),
                    "examples": [concat!($prefix, "_0198c0de-0000-7000-8000-00000000000a")],
                })
            }
        })*
    };
}

id! {
    RunId "run" "A run's id.";
    WorkerId "wrk" "The id of a worker: a `sealfleet-worker` process, or a pool that launches its own sandboxes.";
    TokenId "tok" "An API token's id.";
    EnrolmentKeyId "enk" "An enrolment key's id.";
    EventId "evt" "An audit entry's id.";
    RevocationId "rev" "A revocation's id.";
    FanOutId "fan" "The id of a hard revocation's fan-out.";
    UploadId "upl" "An upload's id.";
    ContainmentId "con" "The id of a containment: an incident in which all work of a project was stopped.";
    IdentityTokenId "idt" "An identity token's id: its `jti`.";
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A date and time of RFC 3339.",
            "type": "string",
            "format": "date-time",
            "examples": ["2026-01-31T08:00:00.000Z"],
        })
    }
}

impl JsonSchema for ContentHash {
    fn schema_name() -> Cow<'static, str> {
        "ContentHash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "SHA-256 of content, in lower-case hexadecimal digits.",
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "examples": ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
        })
    }
}

impl JsonSchema for Line {
    fn schema_name() -> Cow<'static, str> {
        "Line".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": LINE })
    }
}

/// A line of `least` to `most` characters.
fn bounded(least: usize, most: usize) -> Schema {
    json_schema!({ "type": "string", "minLength": least, "maxLength": most, "pattern": LINE })
}

fn env_key() -> Schema {
    json_schema!({ "type": "string", "pattern": format!("^{ENV_KEY}$"), "maxLength": 128, "examples": ["API_KEY"] })
}

macro_rules! schemas {
    ($($name:ident $schema:expr;)*) => {
        $(impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let schema: fn(&mut SchemaGenerator) -> Schema = $schema;
                schema(generator)
            }
        })*
    };
}

/// Stands for a map of plain environment variables.
pub struct Env;
/// Stands for a map of files by path.
pub struct Files;
/// Stands for a map of secret references by environment variable.
pub struct SecretReferences;
/// Stands for a map of deliveries by environment variable.
pub struct Deliveries;
/// Stands for the name of a step's state, as [`crate::step::StepState::name`] writes it.
pub struct StepState;

schemas! {
    StepState |_| json_schema!({
        "description": "Where a step stands.",
        "type": "string",
        "enum": ["blocked", "waiting", "queued", "leased", "running", "succeeded", "failed", "aborted", "dead"],
    });
    Env |_| json_schema!({
        "description": "Plain environment variables.",
        "type": "object",
        "propertyNames": env_key(),
        "additionalProperties": {
            "type": "string",
            "maxLength": limits::ENV_VALUE_BYTES,
            "pattern": TEXT,
        },
        "maxProperties": limits::ENV_ENTRIES,
        "examples": [{ "REGION": "eu" }],
    });
    Files |generator| json_schema!({
        "description": "Files by their path below the workspace, with `/` between names.",
        "type": "object",
        "propertyNames": { "pattern": PATH, "minLength": 1, "maxLength": limits::PATH_BYTES },
        "additionalProperties": generator.subschema_for::<Content>(),
        "maxProperties": limits::FILES,
        "examples": [{ "prompt.md": { "text": "Fix the tests.\n" } }],
    });
    SecretReferences |generator| json_schema!({
        "description": "Secret references by environment variable.",
        "type": "object",
        "propertyNames": env_key(),
        "additionalProperties": generator.subschema_for::<Reference>(),
        "maxProperties": limits::SECRETS,
        "examples": [{ "CRM_KEY": EXAMPLE_URI }],
    });
    Deliveries |generator| json_schema!({
        "description": "How secrets are delivered, by environment variable.",
        "type": "object",
        "propertyNames": env_key(),
        "additionalProperties": generator.subschema_for::<Delivery>(),
        "maxProperties": limits::SECRETS,
        "examples": [{ "CRM_KEY": "file" }],
    });
    // A list may name a key twice.
    Acl |generator| json_schema!({
        "description": "The secrets that each tool sees, by environment variable. `*` stands for all of them.",
        "type": "object",
        "propertyNames": generator.subschema_for::<ToolName>(),
        "additionalProperties": {
            "type": "array",
            "items": {
                "type": "string",
                "pattern": format!(r"^(\*|{ENV_KEY})$"),
                "maxLength": 128,
                "examples": ["API_KEY"],
            },
        },
        "maxProperties": limits::TOOLS,
        "examples": [{ "codex": ["CRM_KEY"], "psql": ["*"] }],
    });
    Labels |_| json_schema!({
        "description": "Labels by key. Keys that start with `sealfleet:` are reserved; so are those that start with `sandbox.`, which a step can require as `sandbox.backend` and `sandbox.image`, and each worker tells of itself.",
        "type": "object",
        "propertyNames": {
            "type": "string",
            "pattern": "^(?![sS][eE][aA][lL][fF][lL][eE][eE][tT]:)[!-<>-~]+$",
            "maxLength": limits::LABEL_BYTES,
        },
        "additionalProperties": {
            "type": "string",
            "pattern": "^[!-<>-~]+$",
            "maxLength": limits::LABEL_BYTES,
        },
        "maxProperties": limits::LABELS,
        "examples": [{ "region": "eu" }],
    });
}

/// Texts that a parameter's schema names.
pub fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": "string", "pattern": TEXT } })
}

/// A schema within the schema of a parameter. No reference to that: not every reader of a document
/// expects one that leads to itself.
pub fn inner_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": { "type": { "type": "string", "enum": ["string", "integer", "number", "boolean", "array", "object"] } },
        "required": ["type"],
    })
}

/// The same, of each member of an object.
pub fn inner_schemas(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "type": "string", "pattern": TEXT },
        "additionalProperties": inner_schema(generator),
    })
}

/// Values of parameters by name.
pub fn parameters(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "type": "string", "pattern": UNDERSCORED },
        "additionalProperties": true,
        "maxProperties": limits::PARAMETERS,
        "examples": [{ "ticket": "T-1" }],
    })
}

/// A file that a parameter goes to.
pub fn parameter_file(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "pattern": PATH, "minLength": 1, "maxLength": limits::PATH_BYTES, "examples": ["ticket.json"] })
}

/// A variable that a parameter goes to.
pub fn parameter_variable(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "pattern": format!("^{VARIABLE}[A-Za-z0-9_]*$"), "maxLength": 128, "examples": [format!("{VARIABLE}TICKET")] })
}

/// A reason that may be left out.
pub fn optional_reason(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "minLength": 1, "maxLength": limits::REASON_BYTES, "pattern": LINE })
}

/// A line for people that may be left out.
pub fn note(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "minLength": 1, "maxLength": limits::REASON_BYTES, "pattern": LINE })
}

/// Sandbox backends of a worker.
pub fn backends(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": backend_name(generator), "maxItems": BACKENDS.len() })
}

/// A sandbox backend.
pub fn backend_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": BACKENDS.map(|backend| backend.name) })
}

/// A sandbox backend, or none.
pub fn backend(_: &mut SchemaGenerator) -> Schema {
    let mut names: Vec<Option<&str>> = BACKENDS.iter().map(|backend| Some(backend.name)).collect();
    names.push(None);
    json_schema!({ "type": ["string", "null"], "enum": names })
}

/// Variants of sandbox images.
pub fn image_variants(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "string", "pattern": "^[!-<>-~]+$", "maxLength": limits::LABEL_BYTES },
        "maxItems": limits::IMAGE_VARIANTS,
    })
}

/// Models that a worker, a key or a pool has.
pub fn models(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": bounded(1, limits::MODEL_BYTES), "maxItems": limits::MODELS, "examples": [["openai/gpt-4o"]] })
}

/// The model that a step asks for.
pub fn model(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "minLength": 1, "maxLength": limits::MODEL_BYTES, "pattern": LINE, "examples": ["openai/gpt-4o"] })
}

/// A step's command.
pub fn command(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": word(generator),
        "minItems": 1,
        "maxItems": limits::COMMAND_WORDS,
        "examples": [["/usr/bin/python3", "-c", "print('hello')"]],
    })
}

/// A step's command, or nothing for an agent.
pub fn words(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": word(generator) })
}

fn word(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [
        { "type": "string", "maxLength": limits::COMMAND_BYTES, "pattern": TEXT },
        {
            "type": "object",
            "properties": { "file": input_path(generator) },
            "required": ["file"],
            "additionalProperties": false,
        },
    ] })
}

/// What an agent is to do.
pub fn prompt(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "minLength": 1, "maxLength": limits::PROMPT_BYTES, "pattern": TEXT, "examples": ["Mend the failing test, and say what was wrong."] })
}

/// The path of a step's file.
pub fn input_path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": PATH, "minLength": 1, "maxLength": limits::PATH_BYTES })
}

/// Names of environment variables.
pub fn env_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": env_key(), "maxItems": limits::CASCADE_SECRETS })
}

/// What a step is to leave: the path of a file or directory, or that with where it goes.
pub fn artifacts(generator: &mut SchemaGenerator) -> Schema {
    let path = json_schema!({ "type": "string", "pattern": PATH, "minLength": 1, "maxLength": limits::PATH_BYTES });
    json_schema!({
        "type": "array",
        "items": { "anyOf": [
            path,
            {
                "type": "object",
                "properties": {
                    "path": path,
                    "to": generator.subschema_for::<crate::artifact::Destination>(),
                    "on_secret": generator.subschema_for::<crate::artifact::OnSecret>(),
                },
                "required": ["path"],
                "additionalProperties": false,
            },
        ] },
        "maxItems": limits::ARTIFACTS,
        "examples": [["report.html", { "path": "patches", "on_secret": "tell" }]],
    })
}

/// Paths of files.
pub fn input_paths(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": input_path(generator), "maxItems": limits::ARTIFACTS })
}

/// The name of an artifact's file.
pub fn artifact_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": LINE, "minLength": 1, "maxLength": limits::ARTIFACT_NAME_BYTES, "examples": ["out/report.html"] })
}

/// A file below the workspace of a sandbox.
pub fn workspace_path(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "minLength": 1, "maxLength": limits::PATH_BYTES, "pattern": LINE, "examples": ["task.md"] })
}

/// Answers of a model at most.
pub fn max_turns(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["integer", "null"], "format": "uint32", "minimum": 1, "maximum": limits::AGENT_TURNS })
}

/// US dollars at most.
pub fn budget(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 10_000, "examples": [2.5] })
}

/// US dollars.
pub fn usd(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "number", "minimum": 0, "examples": [2.5] })
}

/// US dollars that were spent, if known.
pub fn cost(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["number", "null"], "minimum": 0, "examples": [0.042] })
}

/// An agent's own id of a session.
pub fn session(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "maxLength": limits::SESSION_BYTES, "pattern": LINE })
}

/// Further arguments of a command.
pub fn arguments(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "string", "maxLength": limits::COMMAND_BYTES, "pattern": TEXT },
        "maxItems": limits::COMMAND_WORDS,
    })
}

/// The versions that a sandbox resolved, by environment variable.
pub fn resolved(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "type": "string", "pattern": LINE },
        "additionalProperties": { "type": "string", "pattern": LINE, "maxLength": limits::VERSION_BYTES },
        "maxProperties": limits::CASCADE_SECRETS,
    })
}

/// What stores call requests, by environment variable.
pub fn store_request_ids(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "type": "string", "pattern": LINE },
        "additionalProperties": { "type": "string", "pattern": LINE, "maxLength": limits::STORE_REQUEST_ID_BYTES },
        "maxProperties": limits::CASCADE_SECRETS,
    })
}

/// The name of an environment variable.
pub fn env_name(_: &mut SchemaGenerator) -> Schema {
    env_key()
}

/// The methods of an egress rule.
pub fn methods(generator: &mut SchemaGenerator) -> Schema {
    let method = generator.subschema_for::<Method>();
    json_schema!({ "type": "array", "items": method, "minItems": 1, "maxItems": limits::EGRESS_METHODS })
}

/// The paths that a secret may be sent to.
pub fn path(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<PathPattern>()
}

/// The paths of an egress rule.
pub fn paths(generator: &mut SchemaGenerator) -> Schema {
    let path = generator.subschema_for::<PathPattern>();
    json_schema!({ "type": "array", "items": path, "minItems": 1, "maxItems": limits::EGRESS_MET_PATHS })
}

/// How a step failed, in words.
pub fn detail(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": LINE })
}

/// A display name.
pub fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": limits::NAME_BYTES,
        "pattern": LINE,
        "examples": ["eu-west workers 1"],
    })
}

/// Why something is done.
pub fn reason(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": limits::REASON_BYTES,
        "pattern": LINE,
        "examples": ["leaked in a ticket"],
    })
}

/// Tombstones: keys that a level takes away.
pub fn tombstones(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": env_key(), "maxItems": limits::ENV_ENTRIES })
}
