//! The OpenAPI 3.1 document, made from [`operations`](crate::operations) and the types that they
//! name.
//!
//! Schemas are derived from the types by the attributes that (de)serialise them, so a field that is
//! renamed, or made optional, is renamed in the document as well. What is read and what is written
//! are told apart: a request may leave out what has a default, an answer always holds it. A type
//! that would be both is refused.

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::operations::{self, Credential, Header, Operation, Success};
use crate::problem::{Code, Problem};

/// A type that a request and an answer share, and that is not read as it is written: each side
/// needs its own.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is read otherwise than it is written; give requests a type of their own")]
pub struct Ambiguous(String);

/// The document. `examples` are named request bodies of an operation.
///
/// # Errors
/// When one name would stand for two schemas.
pub fn document(examples: &dyn Fn(&Operation) -> Vec<(String, Value)>) -> Result<Value, Ambiguous> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut maker = Maker {
        requests: settings.clone().for_deserialize().into_generator(),
        answers: settings.for_serialize().into_generator(),
        responses: BTreeMap::new(),
    };
    let problem = maker.answers.subschema_for::<Problem>();
    maker.answers.subschema_for::<Code>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let mut described = described(operation);
        described.extend(maker.request(operation, examples(operation)));
        described.insert(
            "responses".to_owned(),
            maker.answers_of(operation, problem.as_value()),
        );
        let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
        if let Some(methods) = methods.as_object_mut() {
            methods.insert(
                operation.method.to_ascii_lowercase(),
                Value::Object(described),
            );
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": info(),
        "servers": [{
            "url": "https://{host}",
            "variables": { "host": { "default": "api.example", "description": "The stack's output `ApiUrl`." } },
        }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": maker.schemas()?,
            "responses": maker.responses,
            "headers": headers(),
            "securitySchemes": security_schemes(),
        },
    });
    plain(&mut document);
    Ok(document)
}

fn info() -> Value {
    json!({
        "title": "Sealfleet",
        "version": env!("CARGO_PKG_VERSION"),
        "license": { "name": "Apache License 2.0", "identifier": "Apache-2.0" },
        "description": "The control plane of Sealfleet. JSON everywhere; a field or query parameter that an operation does \
            not know is refused. Every refusal is `application/problem+json` (RFC 9457) with a stable `code`. What is \
            another project's is answered exactly like what does not exist. No field takes or shows a secret's value, but for \
            the credentials that an answer says it shows once.",
    })
}

fn tags() -> Value {
    let tag =
        |(name, description): (&str, &str)| json!({ "name": name, "description": description });
    let tags = [
        ("fleet", "Projects, API tokens, enrolment keys and workers."),
        ("profile", "Sealed Identity profiles and the cascade."),
        ("revoke", "Revocations of keys."),
        ("enqueue", "Takes runs in."),
        ("runs", "Reads runs."),
        ("cancel", "Ends runs."),
        ("claim", "What workers ask for."),
        ("report", "What workers tell."),
        ("sandbox", "What Fargate sandboxes ask for."),
        ("audit", "The audit trail."),
        ("openapi", "This document."),
    ];
    tags.into_iter().map(tag).collect()
}

fn security_schemes() -> Value {
    let bearer = |format: &str, description: &str| json!({ "type": "http", "scheme": "bearer", "bearerFormat": format, "description": description });
    json!({
        "api_token": bearer("sft.PROJECT.ID.SECRET", "An API token of a project, or of an operator."),
        "oidc": bearer("JWT", "An access token of an OpenID Connect issuer that the deployment trusts."),
        "worker": bearer("sfw.PROJECT.ID.SECRET", "What a worker got when it registered."),
        "enrolment_key": bearer("sfe.PROJECT.ID.SECRET", "An enrolment key."),
        "task_role": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "AWS Signature Version 4 of the project's sandbox role, by an ECS task.",
            "x-amazon-apigateway-authtype": "awsSigv4",
        },
    })
}

fn headers() -> Value {
    let text = |description: &str| json!({ "description": description, "required": true, "schema": { "type": "string" } });
    json!({
        "ETag": {
            "description": "The version of what is answered. `If-Match` names it.",
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
        ("tags".to_owned(), json!([operation.function])),
        ("security".to_owned(), security),
    ])
}

struct Maker {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
    responses: BTreeMap<String, Value>,
}

impl Maker {
    /// Parameters and body.
    fn request(
        &mut self,
        operation: &Operation,
        examples: Vec<(String, Value)>,
    ) -> Map<String, Value> {
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
            let examples: Map<String, Value> = examples
                .into_iter()
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

    fn answers_of(&mut self, operation: &Operation, problem: &Value) -> Value {
        let mut responses: Map<String, Value> = Map::new();
        for success in operation.answers.iter().flatten() {
            responses.insert(success.status.to_string(), self.success(success));
        }
        let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
        for code in operation.problems() {
            by_status.entry(code.status()).or_default().push(code);
        }
        by_status.entry(429).or_default();
        for (status, codes) in by_status {
            // These are also answered by API Gateway itself, which has words of its own.
            let by_gateway = matches!(status, 429 | 500 | 503)
                || (status == 403 && operation.credential == Credential::TaskRole);
            let name = if codes.is_empty() {
                "Throttled".to_owned()
            } else {
                let names: Vec<String> = codes.iter().map(|code| format!("{code:?}")).collect();
                format!(
                    "{}{}",
                    names.join("Or"),
                    if by_gateway { "OrGateway" } else { "" }
                )
            };
            responses.insert(
                status.to_string(),
                json!({ "$ref": format!("#/components/responses/{name}") }),
            );
            self.responses
                .entry(name)
                .or_insert_with(|| refusal(status, &codes, by_gateway, problem));
        }
        Value::Object(responses)
    }

    fn success(&mut self, success: &Success) -> Value {
        let mut response = Map::from_iter([("description".to_owned(), json!(success.summary))]);
        if let Some(shape) = success.shape {
            let schema = (shape.schema)(&mut self.answers);
            response.insert(
                "content".to_owned(),
                json!({ "application/json": { "schema": schema } }),
            );
        }
        if success.etag {
            response.insert(
                "headers".to_owned(),
                json!({ "ETag": { "$ref": "#/components/headers/ETag" } }),
            );
        }
        Value::Object(response)
    }

    /// The schemas of both sides, by name.
    fn schemas(&mut self) -> Result<Map<String, Value>, Ambiguous> {
        let mut schemas = self.answers.take_definitions(true);
        for (name, mut read) in self.requests.take_definitions(true) {
            // A set is read from a list that may say a thing twice.
            visit(&mut read, &mut |object| drop(object.remove("uniqueItems")));
            if schemas.get(&name).is_some_and(|written| *written != read) {
                return Err(Ambiguous(name));
            }
            schemas.insert(name, read);
        }
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
            "description": "The version that is replaced, as `ETag` told it.",
            "schema": version,
            "example": "\"3\"",
        }),
        Header::IdempotencyKey => json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same key with the same request is one run, for a day.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": sealfleet_domain::limits::IDEMPOTENCY_KEY_BYTES,
                "pattern": "^[!-~]([ -~]*[!-~])?$",
            },
        }),
    }
}

fn refusal(status: u16, codes: &[Code], by_gateway: bool, problem: &Value) -> Value {
    let mut content: Map<String, Value> = Map::new();
    let mut titles: Vec<String> = codes
        .iter()
        .map(|code| format!("`{}`: {}", code.text(), code.title()))
        .collect();
    if !codes.is_empty() {
        let texts: Vec<&str> = codes.iter().map(|code| code.text()).collect();
        let these =
            json!({ "properties": { "code": { "enum": texts }, "status": { "const": status } } });
        content.insert(
            "application/problem+json".to_owned(),
            json!({ "schema": { "allOf": [problem, these] } }),
        );
    }
    if by_gateway {
        titles.push("API Gateway refuses by itself.".to_owned());
        let message = json!({ "type": "object", "properties": { "message": { "type": "string" } }, "required": ["message"] });
        content.insert("application/json".to_owned(), json!({ "schema": message }));
    }
    let headers = match status {
        401 => json!({ "WWW-Authenticate": { "$ref": "#/components/headers/WWWAuthenticate" } }),
        429 | 503 => json!({ "Retry-After": { "$ref": "#/components/headers/RetryAfter" } }),
        _ => json!({}),
    };
    json!({ "description": titles.join(" "), "content": content, "headers": headers })
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

/// Descriptions come from doc comments: without the marks of their links.
fn plain(document: &mut Value) {
    visit(document, &mut |object| {
        if let Some(Value::String(text)) = object.get_mut("description") {
            *text = text
                .replace("[`", "`")
                .replace("`]", "`")
                .replace('\n', " ");
        }
    });
}
