//! The clients of `clients/`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::project::PULL;
use sealfleet_test_stack::{Outcome, Project, Stack, ensure, ensure_eq, unique};
use tokio::process::Command;

/// Each client runs its `tests/story.*`: onboards a project, changes a profile, enqueues a run,
/// waits for it, reads and cancels it, lists runs by page, and tells problems apart by their codes.
pub async fn s91_generated_clients_run_a_story(stack: &Stack) -> Outcome {
    let python = repository().join("target/venv/clients/bin/python");
    ensure!(
        python.exists(),
        "`{}` is missing: run `. scripts/lib/common.sh && python_venv clients`",
        python.display()
    );
    let client = repository().join("clients/python");
    let mut story = Command::new(python);
    story
        .arg(client.join("tests/story.py"))
        .env("PYTHONPATH", &client)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    tell(stack, "python", &mut story).await?;

    let client = repository().join("clients/typescript");
    let compiler = client.join("node_modules/.bin/tsc");
    ensure!(
        compiler.exists(),
        "`{}` is missing: run `. scripts/lib/common.sh && node_modules clients/typescript`",
        compiler.display()
    );
    run(Command::new(compiler)
        .arg("--project")
        .arg(client.join("tests")))
    .await?;
    let mut story = Command::new("node");
    story.arg(client.join("build/tests/story.js"));
    tell(stack, "typescript", &mut story).await
}

/// Has a story told in a project of its own, and looks at the run that it leaves.
async fn tell(stack: &Stack, language: &str, story: &mut Command) -> Outcome {
    let id = format!("{language}-{}", unique());
    stack.local(&["project", &id, "--pull-pool", PULL]).await?;
    let told = run(story
        .env("SEALFLEET_API_URL", &stack.parts.api_url)
        .env("SEALFLEET_OPERATOR_TOKEN", stack.operator.credential())
        .env("SEALFLEET_PROJECT", &id))
    .await?;
    let run_id = told.trim().parse()?;
    let project = Project::registered(stack, &id).await?;
    let run = project.viewer.client().get_run(run_id).await?;
    ensure_eq!(
        run.state,
        RunState::Aborted,
        "the run of the {language} story"
    );
    Ok(())
}

pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(Path::new(".")).to_owned()
}

/// Runs a program to its end; the answer is its standard output.
async fn run(command: &mut Command) -> Outcome<String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{:?}: {}\n{said}\n{complained}",
        command.as_std().get_program(),
        output.status
    );
    Ok(said.into_owned())
}
