//! Where the secrets are, and where they are not.

use sealfleet_test_stack::canary::{Needle, Report, Search, search_process};
use sealfleet_test_stack::{Failure, Outcome, Stack, ensure_eq};

use crate::board::Board;
use crate::tenant::{Canary, Tenant};
use crate::work::Work;

/// Looks inside the sandboxes, where the secrets must be, and everywhere else, where they must not.
pub async fn while_in_flight(
    board: &mut Board,
    stack: &Stack,
    tenants: [&Tenant; 2],
    works: &[Work],
) -> Outcome {
    board
        .check(
            "each sandbox holds its own tenant's secret, and no other",
            async { inside(tenants, works) },
        )
        .await;
    let search = search(stack, tenants);
    board
        .check("the search finds a value planted in each kind of place", async {
            search.proves_itself(stack).await?;
            Ok("an item, a stream record, a message, a log event, an object, an answer, a file, an environment, memory"
                .to_owned())
        })
        .await;
    board
        .check(
            "the four secrets are nowhere else while the steps run",
            nowhere(&search, stack, tenants),
        )
        .await;
    Ok(())
}

/// The same search when all work is done.
pub async fn afterwards(board: &mut Board, stack: &Stack, tenants: [&Tenant; 2]) {
    let search = search(stack, tenants);
    board
        .check(
            "no secret is anywhere after the work: not the rotated ones, not the revoked ones",
            nowhere(&search, stack, tenants),
        )
        .await;
}

fn inside(tenants: [&Tenant; 2], works: &[Work]) -> Outcome<String> {
    let mut seen = 0;
    for (tenant, work) in tenants.into_iter().zip(works) {
        for (sleeping, own) in [
            (&work.beside, &tenant.beside),
            (&work.in_aws, &tenant.in_aws),
        ] {
            let gone = || Failure::new(format!("the sandbox of run {} is gone", sleeping.run));
            let pid = sleeping.process().ok_or_else(gone)?;
            for secret in tenants
                .iter()
                .flat_map(|tenant| [&tenant.beside, &tenant.in_aws])
            {
                ensure_eq!(
                    holds(pid, secret)?,
                    std::ptr::eq(secret, own),
                    "process {pid} of `{}` has the secret",
                    tenant.id()
                );
            }
            seen += 1;
        }
    }
    Ok(format!(
        "{seen} processes inside sandboxes, as root of this machine sees them"
    ))
}

/// Whether a process has a secret in its memory, its arguments or its environment.
pub fn holds(pid: u32, secret: &Canary) -> Outcome<bool> {
    let mut report = Report::default();
    search_process(&Needle::new(secret.value())?, pid, &mut report);
    Ok(!report.found.is_empty())
}

/// That no value of these tenants is anywhere but in their sandboxes.
pub async fn nowhere_else(stack: &Stack, tenants: [&Tenant; 2]) -> Outcome<String> {
    nowhere(&search(stack, tenants), stack, tenants).await
}

/// Everything but the sandboxes, the stand-in of Secrets Manager, and the stand-in of the ECS
/// agent.
fn search(stack: &Stack, tenants: [&Tenant; 2]) -> Search {
    let mut directories = vec![
        stack.parts.directory.join("logs"),
        stack.parts.directory.join("fargate"),
    ];
    directories.extend(tenants.iter().flat_map(|tenant| tenant.directories()));
    Search {
        callers: tenants
            .iter()
            .map(|tenant| tenant.project.admin.clone())
            .collect(),
        processes: tenants
            .iter()
            .flat_map(|tenant| tenant.worker.own_processes())
            .collect(),
        directories,
    }
}

async fn nowhere(search: &Search, stack: &Stack, tenants: [&Tenant; 2]) -> Outcome<String> {
    let values: Vec<&str> = tenants.iter().flat_map(|tenant| tenant.values()).collect();
    let processes: Vec<u32> = stack
        .control_plane()
        .into_iter()
        .chain(search.processes.iter().copied())
        .collect();
    for pid in &processes {
        readable(*pid)?;
    }
    let report = search.run(stack, &Needle::any(&values)?).await?;
    report.ensure_clean("outside of its sandbox")?;
    Ok(format!(
        "{} values; {}\nof {} processes of the control plane and {} of workers",
        values.len(),
        report.summary(),
        stack.control_plane().len(),
        search.processes.len()
    ))
}

/// Fails if this process may not read the other's memory: a search would find nothing there. A
/// process that has ended is fine.
fn readable(pid: u32) -> Outcome {
    match std::fs::File::open(format!("/proc/{pid}/mem")) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(Failure::new(
            format!("the memory of process {pid} may not be read: run the demo as root"),
        )),
        _ => Ok(()),
    }
}
