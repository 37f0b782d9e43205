//! `docs/openapi.json` is what the code says: compared here, and written anew with
//! `SEALFLEET_WRITE_DOCS=1`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sealfleet_api::openapi::{self, Examples};
use sealfleet_api::operations::{self, Operation};
use sealfleet_domain::schema;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The sample events that functions accept, and the samples of `answers/`.
struct Samples;

impl Examples for Samples {
    fn requests(&self, operation: &Operation) -> Vec<(String, Value)> {
        let route = format!("{} {}", operation.method, operation.path);
        let files = root()
            .join("events")
            .join(operation.function)
            .read_dir()
            .unwrap()
            .map(|file| file.unwrap().path());
        let mut examples: Vec<(String, Value)> = files
            .filter_map(|path| {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                let event = read(&path);
                let accepted = event.get("routeKey").and_then(Value::as_str) == Some(&route)
                    && !name.starts_with("refused-");
                let body = event.get("body").and_then(Value::as_str)?;
                accepted.then(|| (name, serde_json::from_str(body).unwrap()))
            })
            .collect();
        examples.sort_by(|one, other| one.0.cmp(&other.0));
        examples
    }

    fn answer(&self, operation: &Operation, status: u16) -> Option<Value> {
        let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("answers");
        [
            format!("{}.{status}.json", operation.id),
            format!("{}.json", operation.id),
        ]
        .iter()
        .map(|name| answers.join(name))
        .find(|path| path.exists())
        .map(|path| read(&path))
    }
}

#[test]
fn the_checked_in_document_is_of_this_code() {
    let path = root().join("docs/openapi.json");
    let document = openapi::document(&Samples).unwrap();
    if std::env::var_os("SEALFLEET_WRITE_DOCS").is_some() {
        std::fs::write(
            &path,
            format!("{}\n", serde_json::to_string_pretty(&document).unwrap()),
        )
        .unwrap();
    }
    assert!(
        read(&path) == document,
        "docs/openapi.json is not of this code: run `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-api --test openapi`"
    );
}

#[test]
fn an_optional_field_may_be_null_in_a_request_and_never_in_an_answer() {
    let document = openapi::document(&Samples).unwrap();
    let property = |schema: &str, name: &str| {
        let pointer = format!("/components/schemas/{schema}/properties/{name}");
        document.pointer(&pointer).unwrap().to_string()
    };
    for (schema, name) in [
        ("CreateToken", "note"),
        ("EnqueueRun", "profile"),
        // Required, and null where the default applies.
        ("EventProjectLimitsSet", "limits"),
    ] {
        assert!(property(schema, name).contains("\"null\""), "{name}");
    }
    for (schema, name) in [
        ("TokenView", "note"),
        ("StepView", "worker_id"),
        ("PageOfRunSummary", "next_cursor"),
        ("EventSecretDecrypted", "version"),
        ("AuditEntry", "run_id"),
        ("Problem", "field"),
    ] {
        assert!(!property(schema, name).contains("\"null\""), "{name}");
    }
}

#[test]
fn every_operation_has_a_tag_that_is_described_and_every_tag_an_operation() {
    let document = openapi::document(&Samples).unwrap();
    let described: BTreeSet<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let used: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|operation| operation["tags"][0].as_str().unwrap())
        .collect();
    assert_eq!(described, used);
}

#[test]
fn no_variant_of_a_schema_is_an_object_without_a_name() {
    let document = openapi::document(&Samples).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let unions: Vec<_> = schemas
        .iter()
        .filter(|(_, schema)| schema["oneOf"].is_array())
        .collect();
    assert!(unions.len() > 8, "only {} unions", unions.len());
    for (name, schema) in unions {
        for option in schema["oneOf"].as_array().unwrap() {
            assert!(option["type"] != "object", "{name}: {option}");
        }
    }
}

/// The schemas of all texts that a schema of requests has, by their place.
fn texts<'a>(
    document: &'a Value,
    schema: &'a Value,
    at: &str,
    found: &mut Vec<(String, &'a Value)>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap();
        return texts(document, target, at, found);
    }
    let kinds = &schema["type"];
    if kinds == "string"
        || kinds
            .as_array()
            .is_some_and(|kinds| kinds.contains(&"string".into()))
    {
        found.push((at.to_owned(), schema));
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        texts(document, property, &format!("{at}.{name}"), found);
    }
    for (keyword, at) in [
        ("items", format!("{at}[]")),
        ("additionalProperties", format!("{at}.*")),
    ] {
        if schema[keyword].is_object() {
            texts(document, &schema[keyword], &at, found);
        }
    }
    // Names are text whether their schema says so or not.
    if schema["additionalProperties"].is_object() {
        let names = &schema["propertyNames"];
        let names = names["$ref"].as_str().map_or(names, |reference| {
            document.pointer(reference.trim_start_matches('#')).unwrap()
        });
        found.push((format!("{at}: names"), names));
    }
    for keyword in ["oneOf", "anyOf", "allOf"] {
        for option in schema[keyword].as_array().into_iter().flatten() {
            texts(document, option, at, found);
        }
    }
}

/// Whether a pattern lists what it accepts, rather than what it does not.
fn lists(pattern: &str) -> bool {
    let (mut letters, mut in_class) = (pattern.chars().peekable(), false);
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next().is_none_or(|next| "SWDp".contains(next)) => return false,
            '[' if !in_class && letters.peek() == Some(&'^') => return false,
            '[' => in_class = true,
            ']' => in_class = false,
            '.' if !in_class => return false,
            _ => {}
        }
    }
    pattern.starts_with('^') && pattern.ends_with('$')
}

/// Data of a command: written byte for byte, and never printed but as JSON.
const DATA: [&str; 4] = [
    "register_workflow.definition.steps[].files.*.text",
    "register_workflow.definition.steps[].stdin.text",
    "enqueue_run.steps[].files.*.text",
    "enqueue_run.steps[].stdin.text",
];

#[test]
fn no_text_of_a_request_may_hold_what_a_terminal_acts_on() {
    let document = openapi::document(&Samples).unwrap();
    let mut found = Vec::new();
    for operation in operations::all() {
        let pointer = format!(
            "/paths/{}/{}",
            operation.path.replace('/', "~1"),
            operation.method.to_ascii_lowercase()
        );
        let described = document.pointer(&pointer).unwrap();
        for parameter in described["parameters"].as_array().unwrap() {
            let at = format!("{} {}", operation.id, parameter["name"]);
            texts(&document, &parameter["schema"], &at, &mut found);
        }
        let body = &described["requestBody"]["content"]["application/json"]["schema"];
        texts(&document, body, operation.id, &mut found);
    }
    assert!(found.len() > 100, "only {} texts", found.len());
    for (at, schema) in found {
        if DATA.contains(&at.as_str()) {
            continue;
        }
        let pattern = schema["pattern"].as_str();
        let bounded = pattern.is_some_and(|pattern| {
            [schema::LINE, schema::TEXT, schema::PATH].contains(&pattern) || lists(pattern)
        });
        let chosen = schema["enum"].is_array() || schema["const"].is_string();
        assert!(
            bounded || chosen || schema["format"] == "date-time",
            "{at} may hold any letter: use `Line`, or a schema with a pattern: {schema}"
        );
    }
}

#[test]
fn every_answer_has_an_example_and_no_example_is_left_over() {
    let answers = Path::new(env!("CARGO_MANIFEST_DIR")).join("answers");
    let mut files: BTreeSet<String> = answers
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    for operation in operations::all() {
        for answer in operation.answers.iter().flatten() {
            files.remove(&format!("{}.{}.json", operation.id, answer.status));
            let wanted = answer.shape.is_some() && operation.id != "get_openapi";
            assert_eq!(
                Samples.answer(operation, answer.status).is_some(),
                wanted,
                "crates/api/answers: {} {}",
                operation.id,
                answer.status
            );
        }
        files.remove(&format!("{}.json", operation.id));
    }
    assert!(files.is_empty(), "of no operation: {files:?}");
}
