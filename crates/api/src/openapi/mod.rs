//! The OpenAPI 3.1 document, made from [`operations`](crate::operations) and the types that they
//! name.
//!
//! schemars derives the schemas from serde's attributes, so the document follows every change of a
//! type. Requests and answers have schemas of their own: a request may leave out a field with a
//! default, an answer always holds it. A type that is used for both must have the same schema in
//! both.

mod schemas;

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::operations::{self, Credential, Header, Operation, Success};
use crate::problem::{Code, Problem};

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{0}` names two schemas; give requests, or the variant, a type with another name")]
    Ambiguous(String),
    #[error("the example of `{0}` for status {1} is not what its type reads and writes")]
    Example(&'static str, u16),
}

/// Examples for the document.
pub trait Examples {
    /// Request bodies of an operation by name.
    fn requests(&self, operation: &Operation) -> Vec<(String, Value)>;
    /// The body that an operation answers with a status.
    fn answer(&self, operation: &Operation, status: u16) -> Option<Value>;
}

/// The document.
///
/// # Errors
/// See [`Error`].
pub fn document(examples: &dyn Examples) -> Result<Value, Error> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut maker = Maker {
        requests: settings.clone().for_deserialize().into_generator(),
        answers: settings.for_serialize().into_generator(),
        responses: BTreeMap::new(),
        examples,
    };
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let mut described = described(operation);
        described.extend(maker.request(operation));
        described.insert("responses".to_owned(), maker.answers_of(operation)?);
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(
                operation.method.to_ascii_lowercase(),
                Value::Object(described),
            );
        }
    }
    let mut components = maker.schemas()?;
    let roots = vec![json!(paths), json!(maker.responses)];
    schemas::prune(&mut components, roots);
    Ok(json!({
        "openapi": "3.1.0",
        "info": info(),
        "servers": [{
            "url": "https://{host}",
            "variables": { "host": { "default": "api.example", "description": "The stack's output `ApiUrl`." } },
        }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": maker.responses,
            "headers": headers(),
            "securitySchemes": security_schemes(),
        },
    }))
}

fn info() -> Value {
    json!({
        "title": "Sealfleet",
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "Apache License 2.0", "identifier": "Apache-2.0" },
        "description": "The control plane of Sealfleet. JSON everywhere; a field or query parameter that an operation does \
            not know is refused. Every refusal is `application/problem+json` (RFC 9457) with a stable `code`. The API answers \
            exactly alike for what belongs to another project and for what does not exist. No field takes or shows a secret's \
            value, except the new credentials that an answer shows once.",
    })
}

fn tags() -> Value {
    let tag =
        |(name, description): (&str, &str)| json!({ "name": name, "description": description });
    let tags = [
        ("projects", "Projects with their pools and rate limits."),
        ("tokens", "API tokens of projects."),
        (
            "enrolment-keys",
            "Keys that approve workers as they register.",
        ),
        ("workers", "Workers, and the credentials for their queues."),
        ("profiles", "Sealed Identity profiles."),
        (
            "cascade",
            "The profiles that a project binds below each run's own.",
        ),
        (
            "revocations",
            "Revocations of keys, and the runs that they abort.",
        ),
        (
            "containments",
            "Incidents in which everything of a project is stopped.",
        ),
        ("runs", "Runs and their steps."),
        (
            "workflows",
            "Workflows that are registered, and which of them a project may run.",
        ),
        ("approvals", "What waits for a person's decision."),
        (
            "uploads",
            "Content for steps to work with that is too large for a run's document.",
        ),
        (
            "claims",
            "Claims of steps: workers claim, start, keep and report them.",
        ),
        ("sandboxes", "The work of Fargate sandboxes."),
        (
            "identity",
            "Tokens that name a step to others, and the keys that check them.",
        ),
        ("usage", "What steps used, and what it cost."),
        ("audit", "The audit trail."),
        ("openapi", "This document."),
    ];
    tags.into_iter().map(tag).collect()
}

/// The noun that an operation is about: the first part of its path, but for those of another noun.
fn tag(operation: &Operation) -> &'static str {
    let noun = operation.path.split('/').nth(2).unwrap_or_default();
    match noun {
        "whoami" => "tokens",
        "queue-credentials" => "workers",
        "revocations:preview" | "fan-outs" => "revocations",
        "containments:preview" => "containments",
        "heartbeats" | "output-credentials" | "step-inputs" | "starts" | "reports" => "claims",
        "sandbox" => "sandboxes",
        "identity-tokens" | "jwks.json" | "openid-configuration" => "identity",
        "activity" => "projects",
        "governance" => "workflows",
        "openapi.json" => "openapi",
        noun => noun,
    }
}

fn security_schemes() -> Value {
    let bearer = |format: &str, description: &str| json!({ "type": "http", "scheme": "bearer", "bearerFormat": format, "description": description });
    json!({
        "api_token": bearer("sft.PROJECT.ID.SECRET", "An API token of a project, or of an operator."),
        "oidc": bearer("JWT", "An access token of an OpenID Connect issuer that the deployment trusts."),
        "worker": bearer("sfw.PROJECT.ID.SECRET", "The credential that a worker got when it registered."),
        "enrolment_key": bearer("sfe.PROJECT.ID.SECRET", "An enrolment key."),
        "task_role": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "AWS Signature Version 4 of the sandboxes' role, by an ECS task.",
            "x-amazon-apigateway-authtype": "awsSigv4",
        },
    })
}

fn headers() -> Value {
    let text = |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string" } });
    json!({
        "ETag": {
            "description": "The version of the answered profile. Send it as `If-Match` to replace that version.",
            "required": true,
            "schema": { "type": "string", "pattern": "^\"[0-9]+\"$" },
            "example": "\"3\"",
        },
        "WWWAuthenticate": text("`Bearer`."),
        "RetryAfter": {
            "description": "Seconds to wait before the same request may succeed. Absent where API Gateway refuses by itself.",
            "schema": { "type": "integer", "minimum": 1 },
        },
    })
}

fn described(operation: &Operation) -> Map<String, Value> {
    let security = match operation.credential {
        Credential::Nothing => json!([]),
        Credential::Token => json!([{ "api_token": [] }, { "oidc": [] }]),
        Credential::Worker | Credential::AnyWorker => json!([{ "worker": [] }]),
        Credential::EnrolmentKey => json!([{ "enrolment_key": [] }, {}]),
        Credential::TaskRole => json!([{ "task_role": [] }]),
    };
    Map::from_iter([
        ("operationId".to_owned(), json!(operation.id)),
        ("summary".to_owned(), json!(operation.summary)),
        ("tags".to_owned(), json!([tag(operation)])),
        ("security".to_owned(), security),
    ])
}

struct Maker<'a> {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
    responses: BTreeMap<String, Value>,
    examples: &'a dyn Examples,
}

impl Maker<'_> {
    /// Parameters and body.
    fn request(&mut self, operation: &Operation) -> Map<String, Value> {
        let mut parameters = Vec::new();
        for parameter in operation.parameters() {
            let schema = (parameter.shape.schema)(&mut self.requests);
            parameters.push(
                json!({ "name": parameter.name, "in": "path", "required": true, "schema": schema }),
            );
        }
        for query in operation.query {
            let schema = (query.shape.schema)(&mut self.requests);
            parameters
                .push(json!({ "name": query.name, "in": "query", "description": query.summary, "schema": schema }));
        }
        parameters.extend(
            operation
                .headers
                .iter()
                .map(|header| header_parameter(*header)),
        );
        let mut request = Map::from_iter([("parameters".to_owned(), Value::Array(parameters))]);
        if let Some(body) = operation.body {
            let schema = (body.schema)(&mut self.requests);
            let examples = self.examples.requests(operation).into_iter();
            let examples: Map<String, Value> = examples
                .map(|(name, value)| (name, json!({ "value": value })))
                .collect();
            let content = json!({ "application/json": { "schema": schema, "examples": examples } });
            request.insert(
                "requestBody".to_owned(),
                json!({ "required": true, "content": content }),
            );
        }
        request
    }

    fn answers_of(&mut self, operation: &Operation) -> Result<Value, Error> {
        let mut responses: Map<String, Value> = Map::new();
        for success in operation.answers.iter().flatten() {
            let response = self.success(operation, success)?;
            responses.insert(success.status.to_string(), response);
        }
        let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for code in operation.problems() {
            let title = format!("`{}`: {}", code.text(), code.title());
            by_status.entry(code.status()).or_default().push(title);
        }
        by_status.entry(429).or_default();
        for (status, mut titles) in by_status {
            let by_gateway = matches!(status, 429 | 500 | 503)
                || (status == 403 && operation.credential == Credential::TaskRole);
            if by_gateway {
                titles.push(
                    "API Gateway itself may refuse, with a body that holds a `message` alone."
                        .to_owned(),
                );
            }
            let name = response_name(status, by_gateway);
            responses.insert(
                status.to_string(),
                json!({
                    "$ref": format!("#/components/responses/{name}"),
                    "description": titles.join(" "),
                }),
            );
            if !self.responses.contains_key(name) {
                let response = self.refusal(status, by_gateway);
                self.responses.insert(name.to_owned(), response);
            }
        }
        Ok(Value::Object(responses))
    }

    fn success(&mut self, operation: &Operation, success: &Success) -> Result<Value, Error> {
        let mut response = Map::from_iter([("description".to_owned(), json!(success.summary))]);
        if let Some(shape) = success.shape {
            let schema = (shape.schema)(&mut self.answers);
            let mut content = Map::from_iter([("schema".to_owned(), schema.to_value())]);
            if let Some(example) = self.examples.answer(operation, success.status) {
                let written = (success.rewrite)(example.clone());
                if written.ok().as_ref() != Some(&example) {
                    return Err(Error::Example(operation.id, success.status));
                }
                content.insert("example".to_owned(), example);
            }
            let content = json!({ "application/json": content });
            response.insert("content".to_owned(), content);
        }
        if success.etag {
            response.insert(
                "headers".to_owned(),
                json!({ "ETag": { "$ref": "#/components/headers/ETag" } }),
            );
        }
        Ok(Value::Object(response))
    }

    /// The response of all problems of a status.
    fn refusal(&mut self, status: u16, by_gateway: bool) -> Value {
        let problem = self.answers.subschema_for::<Problem>();
        let mut content = Map::from_iter([(
            "application/problem+json".to_owned(),
            json!({ "schema": problem, "example": example(status) }),
        )]);
        if by_gateway {
            let error = self.answers.subschema_for::<GatewayError>();
            // Of two media types that they know, generators take the first alone, and would read a
            // problem as this one.
            content.insert("application/*".to_owned(), json!({ "schema": error }));
        }
        let headers = match status {
            401 => {
                json!({ "WWW-Authenticate": { "$ref": "#/components/headers/WWWAuthenticate" } })
            }
            429 | 503 => json!({ "Retry-After": { "$ref": "#/components/headers/RetryAfter" } }),
            _ => json!({}),
        };
        let titles = Code::ALL.iter().filter(|code| code.status() == status);
        let titles: Vec<&str> = titles.map(|code| code.title()).collect();
        json!({ "description": titles.join(" "), "content": content, "headers": headers })
    }

    /// The schemas of both sides, by name.
    fn schemas(&mut self) -> Result<Map<String, Value>, Error> {
        let mut schemas = self.answers.take_definitions(true);
        let requests = self.requests.take_definitions(true);
        // What requests also hold may be null: they accept it.
        let answers_alone = schemas
            .iter_mut()
            .filter(|(name, _)| !requests.contains_key(*name));
        for (_, schema) in answers_alone {
            visit(schema, &mut schemas::never_null);
        }
        for (name, mut read) in requests {
            // A set is read from a list that may say a thing twice.
            visit(&mut read, &mut |object| drop(object.remove("uniqueItems")));
            if schemas.get(&name).is_some_and(|written| *written != read) {
                return Err(Error::Ambiguous(name));
            }
            schemas.insert(name, read);
        }
        schemas::tidy(&mut schemas)?;
        Ok(schemas)
    }
}

fn header_parameter(header: Header) -> Value {
    let version = json!({ "type": "string", "pattern": "^\"[0-9]{1,9}\"$" });
    match header {
        Header::IfMatch | Header::IfMatchOptional => json!({
            "name": "If-Match",
            "in": "header",
            "required": header == Header::IfMatch,
            "description": "The version to replace, as `ETag` told it.",
            "schema": version,
            "example": "\"3\"",
        }),
        Header::IdempotencyKey => json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "For a day, the same key with the same request stands for one run, or one containment.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": sealfleet_domain::limits::IDEMPOTENCY_KEY_BYTES,
                "pattern": "^[!-~]([ -~]*[!-~])?$",
            },
        }),
    }
}

/// How API Gateway refuses a request by itself.
#[derive(schemars::JsonSchema, serde::Serialize)]
struct GatewayError {
    message: String,
}

/// The names of statuses in RFC 9110 and RFC 6585.
fn response_name(status: u16, by_gateway: bool) -> &'static str {
    match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 if by_gateway => "ForbiddenByGateway",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        412 => "PreconditionFailed",
        413 => "ContentTooLarge",
        422 => "UnprocessableContent",
        428 => "PreconditionRequired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalServerError",
    }
}

/// A problem of a status.
fn example(status: u16) -> Problem {
    match status {
        400 => Problem::invalid("steps[0].pool", "the project has no pool `gpu`"),
        401 => Problem::unauthenticated(),
        404 => Problem::not_found(),
        429 => Problem::rate_limited("retry after the `Retry-After` delay", 2),
        _ => {
            let of_status = |code: &&Code| code.status() == status;
            let code = Code::ALL.iter().copied().find(|code| of_status(&code));
            let code = code.unwrap_or(Code::Internal);
            Problem::new(code, code.title())
        }
    }
}

fn visit(value: &mut Value, each: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(object) => {
            each(object);
            object.values_mut().for_each(|value| visit(value, each));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| visit(value, each)),
        _ => {}
    }
}
