//! Stored rows as the API shows them: never a hash of a credential.

use sealfleet_api::types::{
    EnrolmentKeyView, FargatePoolView, FargateSpec, LimitsView, PoolView, ProjectView, RunSummary,
    RunView, StepView, TokenView, WorkerView,
};
use sealfleet_domain::capability::FARGATE;
use sealfleet_domain::credential::Token;
use sealfleet_domain::fleet::{EnrolmentKey, HostedPool, Pool, Project, Worker};
use sealfleet_domain::labels::Labels;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::{Run, Step, StepState};
use sealfleet_domain::{Line, Timestamp};
use sealfleet_ledger::Error;
use std::collections::BTreeMap;

#[must_use]
pub fn run(run: Run, now: Timestamp) -> RunView {
    let state = run.state();
    let steps = run
        .steps
        .iter()
        .map(|(id, step)| step_view(id.clone(), step, now))
        .collect();
    let (profiles, secrets) = run
        .identity
        .map(|identity| (identity.profiles, identity.secrets))
        .unwrap_or_default();
    RunView {
        run_id: run.run_id,
        workflow: run.workflow,
        state,
        profiles,
        secrets,
        created_at: run.created_at,
        steps,
    }
}

#[must_use]
pub fn run_summary(run: &Run) -> RunSummary {
    RunSummary {
        run_id: run.run_id,
        workflow: run.workflow.clone(),
        state: run.state(),
        created_at: run.created_at,
    }
}

fn step_view(id: sealfleet_domain::StepId, step: &Step, now: Timestamp) -> StepView {
    let mut view = StepView {
        id,
        state: step.state.name().to_owned(),
        mode: step.spec.mode,
        pool: step.spec.pool.clone(),
        needs: step.spec.needs.clone(),
        attempt: step.attempt,
        fence: step.fence,
        worker_id: step.last_holder,
        handle: None,
        failure: None,
        lost: step.lost,
        output_cut_bytes: step.output_cut_bytes,
        aborted: None,
        dead: None,
        diagnosis: None,
    };
    match &step.state {
        StepState::Leased(hold) | StepState::Running(hold) => {
            view.handle = hold
                .handle
                .as_ref()
                .map(|handle| handle.as_str().to_owned());
        }
        StepState::Failed { failure, .. } => view.failure = Some(failure.clone()),
        StepState::Aborted { reason, .. } => view.aborted = Some(reason.clone()),
        StepState::Dead { reason, .. } => view.dead = Some(*reason),
        // Its message has been in the queue for so long that no worker seems able to claim it.
        StepState::Queued {
            resend_at, resent, ..
        } if *resent > 0 || *resend_at <= now => {
            view.diagnosis = Some(unclaimed(step));
        }
        StepState::Queued { .. } | StepState::Blocked | StepState::Succeeded { .. } => {}
    }
    view
}

/// Why nobody may have claimed a step.
fn unclaimed(step: &Step) -> String {
    let mut wants = vec![
        format!("pool `{}`", step.spec.pool),
        format!("mode `{}`", step.spec.mode),
    ];
    wants.extend(
        step.spec
            .requires
            .iter()
            .map(|(key, value)| format!("label `{key}={value}`")),
    );
    wants.extend(
        step.spec
            .model
            .iter()
            .map(|model| format!("model `{model}`")),
    );
    format!(
        "no worker has claimed it; it needs an approved worker with a free slot and {}",
        wants.join(", ")
    )
}

#[must_use]
pub fn token(token: Token) -> TokenView {
    TokenView {
        token_id: token.token_id,
        role: token.role,
        note: token.note,
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
    }
}

#[must_use]
pub fn enrolment_key(key: EnrolmentKey) -> EnrolmentKeyView {
    EnrolmentKeyView {
        enrolment_key_id: key.enrolment_key_id,
        pool: key.pool,
        labels: label_map(&key.labels),
        models: key.models,
        max_uses: key.max_uses,
        uses: key.uses,
        expires_at: key.expires_at,
        revoked_at: key.revoked_at,
    }
}

#[must_use]
pub fn worker(worker: Worker) -> WorkerView {
    WorkerView {
        worker_id: worker.worker_id,
        name: worker.name,
        pool: worker.pool,
        status: worker.status,
        labels: label_map(&worker.labels),
        models: worker.models,
        modes: worker.modes,
        max_concurrent: worker.max_concurrent,
        registered_at: worker.registered_at,
    }
}

/// A project's limits: its own, or the deployment's.
#[must_use]
pub fn limits(own: Option<Limits>, default: Limits) -> LimitsView {
    let Limits {
        requests_per_second,
        burst,
    } = own.unwrap_or(default);
    LimitsView {
        requests_per_second,
        burst,
        own: own.is_some(),
    }
}

/// A project, with the workers that stand for its Fargate pools.
///
/// # Errors
/// [`Error::Unreadable`] if one of them is not among `workers`, or is of a host that the API has no
/// form for.
pub fn project(
    project: Project,
    workers: &[Worker],
    limits: LimitsView,
) -> Result<ProjectView, Error> {
    let without = || Error::Unreadable("a Fargate pool without its worker".to_owned());
    let view = |pool| match pool {
        Pool::Pull => Ok::<_, Error>(PoolView::Pull {}),
        Pool::Hosted(HostedPool { host, .. }) if host != FARGATE.kind => Err(Error::Unreadable(
            format!("a pool of the host `{host}`, which the API cannot show"),
        )),
        Pool::Hosted(HostedPool {
            host: _,
            worker_id,
            image,
            cpu,
            memory_mib,
        }) => {
            let worker = workers
                .iter()
                .find(|worker| worker.worker_id == worker_id)
                .ok_or_else(without)?;
            let spec = FargateSpec {
                image,
                cpu,
                memory_mib,
                max_concurrent: worker.max_concurrent,
                labels: label_map(&worker.labels),
                models: worker
                    .models
                    .iter()
                    .map(|model| Line::escaped(model))
                    .collect(),
            };
            Ok(PoolView::Fargate(FargatePoolView { worker_id, spec }))
        }
    };
    let pools = project
        .pools
        .into_iter()
        .map(|(name, pool)| Ok((name, view(pool)?)))
        .collect::<Result<_, Error>>()?;
    Ok(ProjectView {
        project: project.project,
        pools,
        version: project.version,
        limits,
        created_at: project.created_at,
    })
}

fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
