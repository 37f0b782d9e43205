//! Clients that are generated from the API's document, as a stranger would make them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use sealfleet_domain::run::RunState;
use sealfleet_test_stack::project::PULL;
use sealfleet_test_stack::{Failure, Outcome, Project, Stack, ensure, ensure_eq, unique};
use tokio::process::Command;

/// Generates the Python and the TypeScript client, checks their types, and has each run
/// `tests/clients/story.*`: onboards a project, changes a profile, enqueues a run, reads and
/// cancels it, and tells problems apart by their codes.
pub async fn s91_generated_clients_run_a_story(stack: &Stack) -> Outcome {
    let repository = repository();
    let generated = stack.scratch.join("clients");
    std::fs::create_dir_all(&generated)?;
    tell(stack, "python", &python(&repository, &generated).await?).await?;
    tell(stack, "typescript", &typescript(&repository).await?).await
}

/// Has a story told in a project of its own, and looks at the run that it leaves.
async fn tell(stack: &Stack, language: &str, story: &[PathBuf]) -> Outcome {
    let id = format!("{language}-{}", unique());
    stack.local(&["project", &id, "--pull-pool", PULL]).await?;
    let [program, file] = story else {
        return Err(Failure::new("a story is a program and its file"));
    };
    let told = run(Command::new(program)
        .arg(file)
        .env("PYTHONPATH", stack.scratch.join("clients"))
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

async fn python(repository: &Path, generated: &Path) -> Outcome<Vec<PathBuf>> {
    let programs = repository.join("target/venv/clients/bin");
    ensure!(
        programs.exists(),
        "`{}` is missing: run `. scripts/lib/common.sh && python_venv clients`",
        programs.display()
    );
    let story = repository.join("tests/clients/story.py");
    let package = generated.join("sealfleet_api");
    let said = run(Command::new(programs.join("openapi-python-client"))
        .args(["generate", "--meta", "none", "--fail-on-warning", "--path"])
        .arg(repository.join("docs/openapi.json"))
        .arg("--output-path")
        .arg(&package)
        .env("PATH", &programs))
    .await?;
    ensure!(!said.contains("Warning"), "the generator warns: {said}");
    run(Command::new(programs.join("mypy"))
        .args(["--strict", "--follow-imports", "silent"])
        .arg("--cache-dir")
        .arg(generated.join("mypy"))
        .arg(&story)
        .env("MYPYPATH", generated))
    .await?;
    Ok(vec![programs.join("python"), story])
}

async fn typescript(repository: &Path) -> Outcome<Vec<PathBuf>> {
    let folder = repository.join("tests/clients");
    let programs = folder.join("node_modules/.bin");
    ensure!(
        programs.exists(),
        "`{}` is missing: run `. scripts/lib/common.sh && node_modules tests/clients`",
        programs.display()
    );
    run(Command::new(programs.join("openapi-typescript"))
        .args(["../../docs/openapi.json", "--output", "build/api.d.ts"])
        .args(["--default-non-nullable", "false"])
        .current_dir(&folder))
    .await?;
    run(Command::new(programs.join("tsc"))
        .args(["--project", "."])
        .current_dir(&folder))
    .await?;
    Ok(vec!["node".into(), folder.join("build/story.js")])
}

fn repository() -> PathBuf {
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
