//! `docs/openapi.json` is what the code says: compared here, and written anew with
//! `SEALFLEET_WRITE_DOCS=1`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sealfleet_api::openapi::{self, Examples};
use sealfleet_api::operations::{self, Operation};
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
