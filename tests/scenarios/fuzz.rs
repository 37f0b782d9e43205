//! The API against its own document: requests made up from it, well-formed and not, by everybody
//! whom it names.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sealfleet_test_stack::{Failure, Outcome, Stack, ensure};
use serde_json::json;
use tokio::process::Command;

/// Credentials of the run: of an API token, a worker and an enrolment key. `schemathesis.toml` says
/// how each is used.
struct Credentials<'a> {
    token: &'a str,
    worker: &'a str,
    key: &'a str,
}

/// An admin, a worker and an enrolment key of one project, and, by the checks themselves, nobody.
pub async fn no_answer_is_outside_of_the_document(stack: &Stack) -> Outcome {
    let project = stack.project("fuzzed").await?;
    let worker = project.worker(&json!({})).await?;
    let (_, key) = project.enrolment_key(&json!({ "max_uses": 1000 })).await?;
    let (token, worker, key) = (
        project.admin.credential(),
        worker.caller.credential(),
        key.credential(),
    );
    fuzz(stack, &Credentials { token, worker, key }, &[]).await
}

/// An operator, whose paths lead to what the system owns.
pub async fn no_answer_to_an_operator_is_outside_of_the_document(stack: &Stack) -> Outcome {
    let token = stack.operator.credential();
    // An operator's enrolment key and worker do not exist: those operations are fuzzed with the
    // project's.
    let credentials = Credentials {
        token,
        worker: "sfw.none",
        key: "sfe.none",
    };
    fuzz(
        stack,
        &credentials,
        &[
            "--include-tag",
            "profiles",
            "--include-tag",
            "cascade",
            "--include-tag",
            "revocations",
            "--max-time",
            "30",
        ],
    )
    .await
}

async fn fuzz(stack: &Stack, credentials: &Credentials<'_>, more: &[&str]) -> Outcome {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned();
    let program = program(&repository)?;
    let output = Command::new(&program)
        .args([
            "--config-file",
            "tests/scenarios/schemathesis.toml",
            "run",
            "docs/openapi.json",
            "--url",
        ])
        .arg(&stack.parts.api_url)
        .args(more)
        .current_dir(&repository)
        .env("SEALFLEET_FUZZ_TOKEN", credentials.token)
        .env("SEALFLEET_FUZZ_WORKER", credentials.worker)
        .env("SEALFLEET_FUZZ_KEY", credentials.key)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    for secret in [credentials.token, credentials.worker, credentials.key] {
        ensure!(!said.contains(secret), "the report holds a credential");
    }
    if output.status.success() {
        return Ok(());
    }
    let from = said
        .find("= FAILURES")
        .or_else(|| said.find("= ERRORS"))
        .unwrap_or_default();
    let told: String = said
        .get(from..)
        .unwrap_or_default()
        .chars()
        .take(20_000)
        .collect();
    Err(Failure::new(format!(
        "{}\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )))
}

fn program(repository: &Path) -> Outcome<PathBuf> {
    let program = repository.join("target/venv/schemathesis/bin/schemathesis");
    ensure!(
        program.exists(),
        "`{}` is missing: run `. scripts/lib/common.sh && python_venv schemathesis`",
        program.display()
    );
    Ok(program)
}
