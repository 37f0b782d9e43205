//! `enqueue`: takes runs and uploads in, and puts dead steps back in their queues.
//!
//! Validates the run, resolves its cascade by name and version, checks revocations, stores the run
//! in one write, and then sends messages to the pools' queues. A run is stored wholly or not
//! at all; `sweep` sends a message again that was not sent.

mod asked;
mod resolve;
mod uploads;

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::inputs::Uploads;
use sealfleet_aws::queues::Queues;
use sealfleet_domain::fleet::Project;
use sealfleet_domain::labels::Labels;
use sealfleet_domain::run::{Chosen, Pace, Run};
use sealfleet_domain::{ProjectScope, RunId, StepId, WorkflowName};
use sealfleet_ledger::{Before, Enqueued, Ledger};
use sealfleet_versions::Versions;

pub use self::asked::Cascades;
use self::asked::{Asked, New, asked, asked_by_name};
use self::resolve::NewRun;
use crate::shared::auth::{Door, ProjectCaller};
use crate::shared::fault::{Answered, Fault};
use crate::shared::route::route;
use crate::shared::{effects, validate, views};

/// What this function may use.
pub struct Ports {
    pub ledger: Ledger,
    pub door: Door,
    pub queues: Box<dyn Queues>,
    /// The versions of secrets; never their values.
    pub secrets: Versions,
    /// When a message is sent again.
    pub pace: Pace,
    pub cascades: Cascades,
    /// Where uploads are put.
    pub uploads: Box<dyn Uploads>,
    /// Days for which uploads and what comes out of steps are kept.
    pub retention_days: i64,
}

/// Answers one request.
///
/// # Errors
/// The problem to answer with.
pub async fn handle(ports: &Ports, request: &Request) -> Result<Answer, Problem> {
    route! { request, &ports.door;
        ENQUEUE_RUN reading async |scope: &ProjectScope| asked(ports, scope, request).await
            => |admitted, ()| enqueue(ports, admitted);
        RUN_WORKFLOW reading async |scope: &ProjectScope| asked_by_name(ports, scope, request).await
            => |admitted, (_name,)| enqueue(ports, admitted);
        CREATE_UPLOAD => |caller, ()| uploads::create(ports, caller, request);
        RETRY_STEP => |caller, (run_id, step_id)| retry(ports, caller, run_id, step_id);
    }
}

async fn enqueue(
    ports: &Ports,
    (caller, asked): (ProjectCaller, Result<Asked, Problem>),
) -> Answered {
    let Asked {
        new,
        is_named_alike,
        idempotency,
        before,
        project,
        sealed,
    } = asked?;
    if let Before::Stored(before) = before? {
        return Answer::json(200, &views::run(*before, ports.ledger.now()));
    }
    let New { run: new, version } = new?;
    let project = project?;
    if version.is_none() {
        refuse_free_steps(ports, &caller, &project, &new.workflow).await?;
    }
    if is_named_alike? {
        refuse_name(ports, &caller, &new.workflow).await?;
    }
    let profiles = project.cascade.levels(&new.workflow, new.profile.as_ref());
    let mut steps = validate::steps(&new, &project, !profiles.is_empty())?;
    let labels = Labels::checked(new.labels.clone())
        .map_err(|error| Problem::invalid("labels", error.to_string()))?;
    let identity = if let Some(sealed) = sealed {
        let new_run = NewRun {
            ports,
            caller: &caller,
            project: &project,
            run: &new,
            version,
            profiles,
            steps: &steps,
        };
        let identity = new_run.identity(sealed).await?;
        resolve::require_sandboxes(&mut steps, &project.pools, &identity);
        Some(identity)
    } else {
        None
    };
    uploads::check(ports, &caller.scope, &steps, None).await?;
    let asks = steps.values().any(|step| step.approval.is_some());
    let asker = asks.then(|| {
        let (actor, login) = (caller.actor.clone(), caller.login.clone());
        project.governance.asker(actor, login)
    });
    let now = ports.ledger.now();
    let run_id = RunId::new(ports.ledger.ids(), now);
    let (mut run, change) = Run::enqueue_version(
        run_id,
        (new.workflow, version),
        identity,
        steps,
        asker,
        ports.pace,
        now,
    );
    run.labels = labels;
    run.chosen = Some(Chosen {
        profile: new.profile,
        overrides: new.overrides,
    });
    let stored = ports
        .ledger
        .enqueue(
            &caller.scope,
            run,
            &change,
            idempotency.as_ref(),
            &caller.actor,
        )
        .await?;
    match stored {
        Enqueued::New(run) => {
            let (queues, ready) = (ports.queues.as_ref(), &change.ready);
            effects::tell(queues, &caller.scope, run.run_id, ready).await;
            Answer::json(201, &views::run(*run, now))
        }
        Enqueued::Before(before) => Answer::json(200, &views::run(*before, now)),
    }
}

/// Refuses steps that a caller wrote, where the project runs registered workflows only.
async fn refuse_free_steps(
    ports: &Ports,
    caller: &ProjectCaller,
    project: &Project,
    workflow: &WorkflowName,
) -> Result<(), Fault> {
    if !project.governance.require_registered_workflows {
        return Ok(());
    }
    let ProjectCaller { scope, actor, .. } = caller;
    let ledger = &ports.ledger;
    let reason = "the project runs registered workflows only";
    ledger
        .denied_run(scope, actor, workflow, Vec::new(), reason)
        .await?;
    let detail = "register the steps with `sealfleet workflow register`, have somebody else approve them, \
                  and run the workflow by its name: `sealfleet workflow run NAME`";
    Err(Problem::new(Code::RegisteredRequired, detail).into())
}

/// Refuses steps that a caller wrote under the name of a registered workflow: whoever reads the
/// name takes them for what was approved.
async fn refuse_name(
    ports: &Ports,
    caller: &ProjectCaller,
    workflow: &WorkflowName,
) -> Result<(), Fault> {
    let ProjectCaller { scope, actor, .. } = caller;
    let reason = "the name is that of a registered workflow, and the steps are not its own";
    let ledger = &ports.ledger;
    ledger
        .denied_run(scope, actor, workflow, Vec::new(), reason)
        .await?;
    let detail = format!(
        "`{workflow}` is a registered workflow: run it with `sealfleet workflow run {workflow}`, or give your steps another name"
    );
    Err(Fault::from(Problem::new(Code::RegisteredName, detail)).at("workflow"))
}

/// Refuses to put a step back whose claim would be refused, because a key that it sees is revoked.
async fn refuse_revoked(
    ports: &Ports,
    caller: &ProjectCaller,
    run: Run,
    step_id: &StepId,
) -> Result<(), Fault> {
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let Some(identity) = run.identity_of(run.step(step_id)?) else {
        return Ok(());
    };
    let Some(revoked) = ledger.check_revocations(scope, &identity).await? else {
        return Ok(());
    };
    let profiles = identity
        .profiles
        .into_iter()
        .map(|used| used.profile)
        .collect();
    let reason = revoked.to_string();
    ledger
        .denied_run(scope, &caller.actor, &run.workflow, profiles, &reason)
        .await?;
    Err(Problem::new(Code::SecretRevoked, reason).into())
}

async fn retry(ports: &Ports, caller: ProjectCaller, run_id: RunId, step_id: StepId) -> Answered {
    let project = ports.ledger.open_project(&caller.scope).await?;
    let run = ports.ledger.run(&caller.scope, run_id).await?;
    if run.workflow_version.is_none() {
        refuse_free_steps(ports, &caller, &project, &run.workflow).await?;
    }
    let again = uploads::put_back(ports, &run, &step_id);
    uploads::check(ports, &caller.scope, &again, Some(&run)).await?;
    refuse_revoked(ports, &caller, run, &step_id).await?;
    let done = ports
        .ledger
        .transition(&caller.scope, run_id, &caller.actor, |run, now| {
            run.retry(&step_id, ports.pace, now)
        })
        .await?;
    let ready = &done.change.ready;
    effects::tell(ports.queues.as_ref(), &caller.scope, run_id, ready).await;
    Answer::json(200, &views::run(done.run, ports.ledger.now()))
}
