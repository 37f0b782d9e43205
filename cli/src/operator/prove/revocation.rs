//! A key is revoked while steps run with it.

use std::time::{Duration, Instant};

use sealfleet_aws_json::ecs::Ecs;
use sealfleet_client::types::{ClaimStep, EnqueueRun};
use sealfleet_client::{Client, Code, Error};
use sealfleet_domain::cause::chain;
use sealfleet_domain::run::{Failure as StepFailure, RunState};
use sealfleet_domain::{RunId, StepId};

use super::report::{Seen, Why};
use super::sandboxes::whys;

/// How often to look.
const POLL: Duration = Duration::from_millis(500);

/// A sandbox, looked at from outside of the product.
pub trait Sandbox {
    async fn is_gone(&self) -> Result<bool, String>;
}

/// A Fargate task, as ECS tells of it.
pub struct Task<'a> {
    pub ecs: &'a Ecs,
    pub cluster: &'a str,
    pub arn: &'a str,
}

impl Sandbox for Task<'_> {
    /// `DEPROVISIONING` comes after the containers have stopped ("Amazon ECS task lifecycle").
    async fn is_gone(&self) -> Result<bool, String> {
        let task = self.ecs.task(self.cluster, self.arn).await;
        let task = task.map_err(|error| chain(&error))?;
        Ok(task.is_none_or(|task| {
            ["DEPROVISIONING", "STOPPED", "DELETED"].contains(&task.last_status.as_str())
        }))
    }
}

/// Processes of this machine that have a mark among their arguments.
pub struct Processes<'a> {
    pub mark: &'a str,
}

impl Sandbox for Processes<'_> {
    async fn is_gone(&self) -> Result<bool, String> {
        let mark = self.mark.as_bytes();
        let entries = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
        let command = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).ok();
        let mut commands = entries.flatten().filter_map(command);
        Ok(!commands.any(|command| command.split(|byte| *byte == 0).any(|word| word == mark)))
    }
}

/// Waits until the run is aborted and its sandbox is gone, since `began`, when the revocation was
/// sent.
pub async fn stops(
    client: &Client,
    run: RunId,
    sandbox: &impl Sandbox,
    began: Instant,
    limit: Duration,
) -> Seen {
    let mut aborted_after: Option<Duration> = None;
    let mut gone_after: Option<Duration> = None;
    loop {
        let shown = client.get_run(run).await?;
        let state = shown.state;
        if state == RunState::Aborted {
            aborted_after.get_or_insert_with(|| began.elapsed());
        }
        if gone_after.is_none() && sandbox.is_gone().await.map_err(Why::NotTried)? {
            gone_after = Some(began.elapsed());
        }
        if let (Some(aborted), Some(gone)) = (aborted_after, gone_after) {
            return Ok(format!(
                "the run was aborted after {:.1} s, and its sandbox was gone after {:.1} s",
                aborted.as_secs_f64(),
                gone.as_secs_f64()
            ));
        }
        if began.elapsed() > limit {
            let sandbox = match gone_after {
                Some(_) => "is gone",
                None => "still runs",
            };
            return Err(Why::Broken(format!(
                "{} s after the revocation the run is {}, and its sandbox {sandbox}: {}",
                limit.as_secs(),
                state.name(),
                whys(&shown)
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// No run is enqueued with the key.
pub async fn refuses_enqueue(client: &Client, wanted: &EnqueueRun) -> Seen {
    match client.enqueue_run(wanted, None).await {
        Ok(run) => {
            // Whether or not it can be cancelled, it was enqueued.
            drop(client.cancel_run(run.run_id).await);
            Err(Why::Broken(format!("run {} was enqueued", run.run_id)))
        }
        Err(Error::Problem(problem)) if problem.code == Code::SecretRevoked => {
            Ok("403 secret_revoked".to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

/// A worker that may have the step does not get it, and the step does not wait for another one.
pub async fn refuses_claim(worker: &Client, owner: &Client, run: RunId, step: &StepId) -> Seen {
    let claim = ClaimStep {
        run_id: run,
        step_id: step.clone(),
        passed_on_until: None,
    };
    let refused = match worker.claim_step(&claim).await {
        Ok(_) => return Err(Why::Broken("the worker was given the step".to_owned())),
        Err(Error::Problem(problem))
            if (400..500).contains(&problem.status) && problem.status != 429 =>
        {
            problem
        }
        Err(error) => return Err(error.into()),
    };
    let shown = owner.get_run(run).await?;
    let failed = shown.steps.iter().find(|shown| shown.id == *step);
    let failure = failed.and_then(|step| step.failure.clone());
    match failure {
        Some(StepFailure::SecretRevoked { .. }) => Ok(format!(
            "{} {}; the step has failed, since its secret is revoked",
            refused.status,
            refused.code.text()
        )),
        other => Err(Why::Broken(format!(
            "the claim was refused ({}), but not for the revocation: the run is {}, the step's failure is {other:?}",
            refused.code.text(),
            shown.state.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::prove::fake::{RUN, api, problem, run};
    use serde_json::json;

    struct Always(Result<bool, String>);

    impl Sandbox for Always {
        async fn is_gone(&self) -> Result<bool, String> {
            self.0.clone()
        }
    }

    async fn stopped(state: &'static str, gone: Result<bool, String>) -> Seen {
        let client = api(move |_, _| (200, run(state, state)));
        let id = RUN.parse().expect("an id");
        stops(&client, id, &Always(gone), Instant::now(), Duration::ZERO).await
    }

    #[tokio::test]
    async fn a_revocation_that_stops_only_the_row_or_only_the_sandbox_is_broken() {
        let seen = stopped("aborted", Ok(true)).await;
        assert!(
            matches!(&seen, Ok(told) if told.contains("gone after 0.")),
            "{seen:?}"
        );
        for (state, gone, told) in [
            ("aborted", false, "its sandbox still runs"),
            ("running", true, "the run is running"),
            ("running", false, "the run is running"),
        ] {
            let seen = stopped(state, Ok(gone)).await;
            assert!(
                matches!(&seen, Err(Why::Broken(why)) if why.contains(told)),
                "{seen:?}"
            );
        }
        let seen = stopped("aborted", Err("AccessDenied".to_owned())).await;
        assert_eq!(seen, Err(Why::NotTried("AccessDenied".to_owned())));
    }

    #[tokio::test]
    async fn a_run_that_is_enqueued_with_a_revoked_key_is_broken() {
        let wanted: EnqueueRun =
            serde_json::from_value(json!({ "workflow": "w", "steps": [] })).expect("a run");
        let refuses = api(|_, _| problem(Code::SecretRevoked));
        assert!(refuses_enqueue(&refuses, &wanted).await.is_ok());
        for cancelled in [(200, run("queued", "queued")), problem(Code::Conflict)] {
            let takes = api(move |_, path| match path {
                "/v1/runs" => (200, run("queued", "queued")),
                _ => cancelled.clone(),
            });
            let seen = refuses_enqueue(&takes, &wanted).await;
            assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");
        }
        let other = api(|_, _| problem(Code::Forbidden));
        let seen = refuses_enqueue(&other, &wanted).await;
        assert!(matches!(seen, Err(Why::NotTried(_))), "{seen:?}");
    }

    #[tokio::test]
    async fn a_claim_that_is_given_or_refused_for_another_reason_is_broken() {
        let (id, step) = (RUN.parse().expect("an id"), "only".parse().expect("a step"));
        let with = |failure: Option<serde_json::Value>| {
            let mut shown = run("failed", "failed");
            if let Some(failure) = failure {
                shown["steps"][0]["failure"] = failure;
            }
            api(move |_, _| (200, shown.clone()))
        };
        let worker = api(|_, _| problem(Code::SecretRevoked));
        let revoked = json!({ "kind": "secret_revoked", "detail": "CANARY" });
        let seen = refuses_claim(&worker, &with(Some(revoked)), id, &step).await;
        assert!(seen.is_ok(), "{seen:?}");
        let seen = refuses_claim(&worker, &with(None), id, &step).await;
        assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");
        let claimed = json!({ "project": "a", "run_id": RUN, "step_id": "only", "fence": 1, "attempt": 1,
            "lease_seconds": 60, "mode": "identity", "command": ["true"], "env": {}, "timeout_seconds": 60 });
        let given = api(move |_, _| (200, claimed.clone()));
        let seen = refuses_claim(&given, &with(None), id, &step).await;
        assert!(matches!(seen, Err(Why::Broken(_))), "{seen:?}");
    }

    #[tokio::test]
    async fn a_process_is_found_by_its_mark() {
        // Two numbers, so that this test's own arguments do not hold the mark.
        let mark = format!("30.{}", std::process::id());
        let sandbox = Processes { mark: &mark };
        assert_eq!(sandbox.is_gone().await, Ok(true));
        let mut sleep = std::process::Command::new("sleep");
        let mut child = sleep.arg(&mark).spawn().expect("a process");
        // The kernel shows its arguments a moment after it has begun.
        let patience = Instant::now() + Duration::from_secs(10);
        while sandbox.is_gone().await != Ok(false) {
            assert!(Instant::now() < patience, "never seen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert_eq!(sandbox.is_gone().await, Ok(true));
    }
}
