//! `sealfleet-demo`: two tenants work on one control plane, and every boundary between them is
//! tried.
//!
//! The real templates and the real binaries run on the local stack (`sealfleet-local`); nothing is
//! played but the attackers. `scripts/demo` builds and starts it. It exits with 0 only if every
//! check passed, and takes down what it started however it ends, also by Ctrl-C.

#![expect(
    clippy::indexing_slicing,
    reason = "JSON read by name: what is absent reads as null"
)]

mod agents;
mod board;
mod boundaries;
mod losses;
mod over_time;
mod sealed;
mod tenant;
mod trail;
mod work;

use std::process::ExitCode;

use sealfleet_client::{PageQuery, all_pages};
use sealfleet_domain::fleet::WorkerStatus;
use sealfleet_test_stack::agents as codex;
use sealfleet_test_stack::{Failure, Outcome, Stack, Stage, ensure_eq};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use board::{Board, tell};
use tenant::Tenant;

const USAGE: &str =
    "usage: scripts/demo [--keep]\n\n  --keep   leave the stack's directory, with its logs, behind";

/// Short leases, so that the loss of a worker can be watched.
const PACE: [&str; 4] = ["--param", "LeaseSeconds=5", "--param", "ResendSeconds=3"];
/// The exit code of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let keep = match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => false,
        ["--keep"] => true,
        _ => {
            tell(USAGE);
            return ExitCode::from(2);
        }
    };
    match run(keep).await {
        Ok(code) => code,
        Err(failure) => {
            tell(&format!("sealfleet-demo: {failure}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(keep: bool) -> Outcome<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let stage = Stage::new("demo")?;
    let mut board = Board::new();
    let played = tokio::select! {
        played = play(&stage, &mut board) => Some(played),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        _ = hang_up.recv() => None,
    };
    tell("\ntaking the stack down …");
    let cleared = stage.clear(keep).await;
    if keep {
        tell(&format!("kept: {}", stage.directory().display()));
    }
    let Some(played) = played else {
        cleared?;
        tell("interrupted: everything that was started is gone");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    if let Err(failure) = played {
        board.broke_off(failure.to_string());
    }
    board
        .check("the demo leaves no process and no file behind", async {
            cleared.map(|()| String::new())
        })
        .await;
    board.conclude();
    Ok(if board.all_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The whole play. Worker processes go when it ends, or is dropped.
async fn play(stage: &Stage, board: &mut Board) -> Outcome {
    board.act(
        "The stack: an emulated AWS account with IAM enforced, our templates, our Lambda binaries",
    );
    board.say(&format!("directory {}", stage.directory().display()));
    let stack = stage.up(&PACE).await?;
    board.say(&format!("the API is at {}", stack.parts.api_url));
    board.say(
        "an operator's first token was made with the operator's own AWS credentials (`sealfleet token bootstrap`)",
    );
    board
        .check(
            "the control plane answers an operator, and nobody else",
            answers(&stack),
        )
        .await;

    let has_codex = codex::codex().is_some();
    if has_codex {
        codex::have_codex(&stack.parts.directory.join("rootfs"))?;
    }

    board.act("Two tenants, four workers");
    let (healthcare, finance) = tokio::join!(
        Tenant::onboard(&stack, "healthcare"),
        Tenant::onboard(&stack, "finance")
    );
    let (mut healthcare, mut finance) = (healthcare?, finance?);
    for tenant in [&healthcare, &finance] {
        board.say(&format!(
            "project `{}`, deployed from infra/sam/project.yaml, has the workers",
            tenant.id()
        ));
        board.say(&format!(
            "  {}  sealfleet-worker, region=eu, process {}",
            tenant.worker.played.id,
            tenant
                .worker
                .own_processes()
                .first()
                .copied()
                .unwrap_or_default()
        ));
        board.say(&format!(
            "  {}  the Fargate pool, region=eu",
            tenant.fargate_worker
        ));
    }
    for tenant in [&healthcare, &finance] {
        let name = format!(
            "the workers of `{}` are approved, each for one pool and its labels",
            tenant.id()
        );
        board.check(&name, enrolled(tenant)).await;
    }
    board
        .check(
            "an enrolment key admits nobody to another project, pool or label",
            boundaries::enrolment(&healthcare, &finance),
        )
        .await;

    board.act(
        "Secrets go straight to each tenant's own identity backend; the control plane learns names",
    );
    for tenant in [&healthcare, &finance] {
        let beside = tenant.store_secrets(&stack).await?;
        tenant
            .project
            .profile(tenant::BESIDE, &beside.pinned())
            .await?;
        tenant
            .project
            .profile(tenant::IN_AWS, &tenant.aws_reference())
            .await?;
        board.say(&format!(
            "`{}`: {} beside its worker, {} in Secrets Manager",
            tenant.id(),
            beside.uri,
            tenant.aws_reference()
        ));
    }
    board
        .check(
            "no profile takes a value, nor a reference to another tenant's secret",
            boundaries::profiles(&healthcare, &finance),
        )
        .await;

    board.act("Mixed work: bare, sandboxed and identity steps, in both kinds of sandbox");
    let mut works = Vec::new();
    for tenant in [&healthcare, &finance] {
        works.push(work::Work::enqueue(board, tenant).await?);
    }
    for (tenant, work) in [&healthcare, &finance].into_iter().zip(&works) {
        work.until_sleeping(tenant).await?;
    }
    board.say("each tenant has two identity steps that sleep with the secret in their environment, one in each kind of sandbox");

    board.act("While they run: where is the secret?");
    sealed::while_in_flight(board, &stack, [&healthcare, &finance], &works).await?;

    board.act("While they run: attackers with real credentials");
    boundaries::tried(board, &stack, [&healthcare, &finance], &works).await?;

    board.act("The work ends");
    for (tenant, work) in [&healthcare, &finance].into_iter().zip(&works) {
        work.release();
        work.checked(board, &stack, tenant).await;
    }

    if has_codex {
        board
            .act("Agents: the real Codex, for each tenant with that tenant's own key to its model");
        agents::played(board, &stack, [&mut healthcare, &mut finance]).await?;
    } else {
        board.leave_out("agents at work: Codex is not installed, as it could not be fetched from the npm registry");
    }

    board.act("Losses: a killed worker, an old fence, a cancelled sandbox");
    losses::killed_worker(board, &stack, &mut healthcare).await?;
    losses::cancelled_sandbox(board, &stack, &finance).await?;

    board.act("Sealed over time: rotated, revoked, given back");
    over_time::played(board, &stack, &mut healthcare).await?;

    board.act("The audit trail, and a last search");
    trail::checked(board, &stack, [&healthcare, &finance], &works).await;
    sealed::afterwards(board, &stack, [&healthcare, &finance]).await;
    Ok(())
}

async fn answers(stack: &Stack) -> Outcome<String> {
    stack
        .operator
        .client()
        .list_projects(&PageQuery::default())
        .await?;
    stack
        .anonymous
        .get("/v1/projects")
        .await?
        .refused(401, "unauthenticated")?;
    Ok(format!(
        "{} processes of Lambda functions run",
        stack.control_plane().len()
    ))
}

async fn enrolled(tenant: &Tenant) -> Outcome<String> {
    let client = tenant.project.admin.client();
    let workers = all_pages(async |page| client.list_workers(page).await).await?;
    ensure_eq!(workers.len(), 2, "workers of `{}`", tenant.id());
    for id in tenant.workers() {
        let worker = workers
            .iter()
            .find(|worker| worker.registered.worker_id.to_string() == id);
        let worker = worker.ok_or_else(|| Failure::new(format!("worker `{id}` is not listed")))?;
        ensure_eq!(
            worker.registered.status,
            WorkerStatus::Approved,
            "the status of `{id}`"
        );
        ensure_eq!(
            json!(worker.registered.labels),
            json!({ "region": "eu" }),
            "the labels of `{id}`"
        );
    }
    Ok(String::new())
}
