//! Stored rows as the API shows them: never a hash of a credential.

use sealfleet_api::types::{
    AttemptView, EnqueueRun, EnqueueStep, EnrolmentKeyView, FargatePoolView, FargateSpec,
    LimitsView, OutputCredentials, OutputPlace as OutputPlaceView, PoolView, ProjectView,
    RunSummary, RunView, StepView, TokenView, UsageSums, WorkerView, WorkflowDefinition,
    WorkflowVersionView, WorkflowView,
};
use sealfleet_aws::outputs::OutputKey;
use sealfleet_domain::approval::Approval;
use sealfleet_domain::audit::Event;
use sealfleet_domain::capability::FARGATE;
use sealfleet_domain::credential::Token;
use sealfleet_domain::fleet::{EnrolmentKey, HostedPool, Pool, Project, Worker};
use sealfleet_domain::labels::{EGRESS, Labels};
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::{
    Attempt, AttemptEnd, OutputPlace, Run, Step, StepSpec, StepState, attempts,
};
use sealfleet_domain::workflow::{Definition, Workflow, WorkflowVersion};
use sealfleet_domain::{Line, StepId, Timestamp};
use sealfleet_fargate::CONTAINER;
use sealfleet_fargate::names::task_id;
use sealfleet_ledger::Error;
use std::collections::BTreeMap;

/// Attempts that are shown of a step: the newest.
const ATTEMPTS: usize = 20;

/// The key to what comes out of a claim, for whoever holds it.
#[must_use]
pub fn output_credentials(key: OutputKey) -> OutputCredentials {
    OutputCredentials {
        endpoint: key.endpoint,
        region: key.region,
        bucket: key.bucket,
        prefix: key.prefix,
        access_key_id: key.access_key_id,
        secret_access_key: key.secret_access_key,
        session_token: key.session_token,
        expires_at: key.expires_at,
    }
}

/// A run with its document, and with what its events say about the attempts at its steps.
#[must_use]
pub fn whole_run(run: Run, events: Vec<(Timestamp, Event)>, now: Timestamp) -> RunView {
    let document = document(&run);
    let mut view = self::run(run, now);
    view.document = document.map(Box::new);
    let mut attempts = attempts(events);
    for step in &mut view.steps {
        let attempts = attempts.remove(&step.id).unwrap_or_default();
        let skipped = attempts.len().saturating_sub(ATTEMPTS);
        step.attempts = attempts.into_iter().skip(skipped).map(attempt).collect();
        let newest = step.attempts.last();
        let newest = newest.filter(|attempt| attempt.fence == step.fence);
        step.started_at = newest.and_then(|attempt| attempt.started_at);
    }
    view
}

fn attempt(attempt: Attempt) -> AttemptView {
    let (ended_at, end) = attempt.end.unzip();
    AttemptView {
        fence: attempt.fence,
        worker_id: attempt.worker_id,
        claimed_at: attempt.claimed_at,
        started_at: attempt.started_at,
        ended_at,
        end: end.map(|end| end.name().to_owned()),
        lost: match end {
            Some(AttemptEnd::Lost(reason)) => Some(reason),
            _ => None,
        },
    }
}

/// The run as its caller wrote it. A run of a registered workflow was written by others.
fn document(run: &Run) -> Option<EnqueueRun> {
    if run.workflow_version.is_some() {
        return None;
    }
    let chosen = run.chosen.clone()?;
    let specs = run.steps.iter();
    let specs = specs.map(|(id, step)| (id.clone(), step.spec.clone()));
    Some(EnqueueRun {
        workflow: run.workflow.clone(),
        profile: chosen.profile,
        overrides: chosen.overrides,
        labels: label_map(&run.labels),
        steps: steps(specs),
    })
}

/// Steps as their caller wrote them.
#[must_use]
pub fn steps(specs: impl IntoIterator<Item = (StepId, StepSpec)>) -> Vec<EnqueueStep> {
    let written = specs.into_iter().map(|(id, spec)| {
        let mut requires = label_map(&spec.requires);
        // Added at enqueue, and refused from a caller.
        requires.remove(EGRESS);
        EnqueueStep {
            id,
            pool: spec.pool,
            mode: spec.mode,
            command: spec.command,
            agent: spec.agent,
            needs: spec.needs,
            takes: spec.takes,
            requires,
            model: spec.model.as_deref().map(Line::escaped),
            env: spec.env,
            tool: spec.tool,
            files: spec.inputs.files,
            stdin: spec.inputs.stdin,
            tty: spec.tty,
            artifacts: spec.artifacts,
            approval: spec.approval,
            on_drift: spec.on_drift,
            timeout_seconds: spec.timeout_seconds,
            max_attempts: spec.max_attempts,
            ttl_seconds: spec.ttl_seconds,
        }
    });
    written.collect()
}

#[must_use]
pub fn workflow(workflow: Workflow) -> WorkflowView {
    WorkflowView {
        name: workflow.name,
        live: workflow.live,
        pending: workflow.pending,
        newest: workflow.newest,
    }
}

#[must_use]
pub fn workflow_version(version: WorkflowVersion) -> WorkflowVersionView {
    let Definition {
        description,
        profile,
        overrides,
        parameters,
        steps,
    } = version.definition;
    WorkflowVersionView {
        workflow: version.workflow,
        version: version.version,
        state: version.state,
        hash: version.hash,
        registered_by: version.registered_by,
        registered_at: version.registered_at,
        definition: Box::new(WorkflowDefinition {
            description,
            profile,
            overrides,
            parameters,
            steps: self::steps(steps),
        }),
    }
}

/// Where the output of a step's newest claim lies.
#[must_use]
pub fn output(step: &Step) -> Option<OutputPlaceView> {
    match &step.output {
        Some(OutputPlace::Sandbox(handle)) => {
            let task_id = task_id(handle).to_owned();
            Some(OutputPlaceView::Task {
                log_stream: format!("{CONTAINER}/{CONTAINER}/{task_id}"),
                task_id,
            })
        }
        Some(OutputPlace::Worker(place)) if !step.uploads => Some(OutputPlaceView::Worker {
            place: place.clone(),
        }),
        Some(OutputPlace::Worker(place)) => Some(OutputPlaceView::Project {
            place: Some(place.clone()),
        }),
        None if step.uploads => Some(OutputPlaceView::Project { place: None }),
        None => None,
    }
}

#[must_use]
pub fn run(run: Run, now: Timestamp) -> RunView {
    let state = run.state();
    let (ended_at, labels) = (run.ended_at(), label_map(&run.labels));
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
        workflow_version: run.workflow_version,
        state,
        profiles,
        secrets,
        labels,
        created_at: run.created_at,
        ended_at,
        document: None,
        steps,
    }
}

#[must_use]
pub fn run_summary(run: &Run) -> RunSummary {
    RunSummary {
        run_id: run.run_id,
        workflow: run.workflow.clone(),
        workflow_version: run.workflow_version,
        state: run.state(),
        labels: label_map(&run.labels),
        created_at: run.created_at,
    }
}

/// What the attempts at a step have used, of all models together.
fn used(step: &Step) -> Option<UsageSums> {
    let all = step.used.values().copied();
    let all = all.reduce(|all, sums| all.plus(&sums))?;
    Some(UsageSums::from(&all))
}

fn step_view(id: StepId, step: &Step, now: Timestamp) -> StepView {
    let said = step.agent.clone().unwrap_or_default();
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
        started_at: None,
        ended_at: step.state.ended_at(),
        attempts: Vec::new(),
        output: output(step),
        failure: None,
        lost: step.lost,
        output_cut_bytes: step.output_cut_bytes,
        agent: step.spec.agent.as_ref().map(|agent| agent.cli),
        usage: said.usage,
        cost_usd: said.cost_usd,
        turns: said.turns,
        session_id: said.session_id,
        output_missing_bytes: step.output_missing_bytes,
        result_bytes: step.result_bytes,
        artifacts: step.artifacts,
        used: used(step),
        approval: step.approval.clone(),
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
        StepState::Waiting { .. } => view.diagnosis = step.approval.as_ref().map(undecided),
        StepState::Queued { .. } | StepState::Blocked | StepState::Succeeded { .. } => {}
    }
    view
}

/// What a step waits for that has to be approved.
fn undecided(approval: &Approval) -> String {
    let Approval {
        approval: id,
        requested_by,
        ..
    } = approval;
    let missing = match approval.missing() {
        1 => "an approval".to_owned(),
        more => format!("{more} approvals"),
    };
    let until = approval.decide_by.map(|until| format!(" until {until}"));
    format!(
        "it waits for {missing} by somebody else than `{requested_by}`{}; see `sealfleet approval show {id}`",
        until.unwrap_or_default()
    )
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
        "no worker has claimed it; it needs an approved worker that does not drain, with a free slot and {}",
        wants.join(", ")
    )
}

#[must_use]
pub fn token(token: Token) -> TokenView {
    TokenView {
        token_id: token.token_id,
        role: token.role,
        note: token.note,
        login: token.login,
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
        sandboxes: worker.sandboxes,
        max_concurrent: worker.max_concurrent,
        registered_at: worker.registered_at,
        draining_since: worker.draining_since,
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
        Pool::Pull { backend } => Ok::<_, Error>(PoolView::Pull { backend }),
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
        egress_ceiling: project.egress_ceiling,
        created_at: project.created_at,
    })
}

fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
