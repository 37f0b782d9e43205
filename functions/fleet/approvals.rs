//! Approvals: the inbox, what an approval is about, and decisions. How a project decides.

use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{ApprovalView, ApprovalsOf, Decide, Governance, SetGovernance};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::approval::{Approval, ApprovalId, ApprovalState, Decision, Verdict};
use sealfleet_domain::revocation::revoked;
use sealfleet_domain::run::Run;
use sealfleet_domain::{ProjectScope, RunId, StepId, limits};

use super::Ports;
use crate::shared::auth::ProjectCaller;
use crate::shared::fault::{Answered, Fault};
use crate::shared::review::{self, What};
use crate::shared::{effects, pages, views};

pub(super) async fn list(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let of = match request.query.get("state").map(String::as_str) {
        None | Some("pending") => ApprovalsOf::Pending,
        Some("decided") => ApprovalsOf::Decided,
        Some(_) => return Err(Problem::invalid("state", "use `pending` or `decided`").into()),
    };
    let scope = &caller.scope;
    let decided = of == ApprovalsOf::Decided;
    let fetch = async |after: Option<&str>, limit| {
        ports.ledger.approvals(scope, decided, after, limit).await
    };
    let list = format!("approvals:{}", of.name());
    let project = scope.project().as_str();
    let now = ports.ledger.now();
    let as_of_now = |mut approval: Approval| {
        approval.expire(now);
        approval
    };
    pages::answer(request, project, &list, fetch, as_of_now).await
}

pub(super) async fn show(ports: &Ports, caller: ProjectCaller, id: ApprovalId) -> Answered {
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let asked = review::asked(ledger, scope, &id).await?;
    let review_token = match asked.approval.state {
        ApprovalState::Pending => Some(asked.token(ledger, scope).await?),
        _ => None,
    };
    let mut view = ApprovalView {
        approval: asked.approval,
        review_token,
        workflow_version: None,
        worker: None,
        run: None,
        step: None,
    };
    match asked.what {
        What::Workflow(version) => view.workflow_version = Some(views::workflow_version(*version)),
        What::Worker(worker) => view.worker = worker.map(|worker| views::worker(*worker)),
        What::Step(run, step_id) => {
            let spec = run.step(&step_id).map_err(Fault::from)?.spec.clone();
            view.step = views::steps([(step_id, spec)]).pop().map(Box::new);
            view.run = Some(Box::new(views::run(*run, ledger.now())));
        }
    }
    Answer::json(200, &view)
}

pub(super) async fn decide(
    ports: &Ports,
    caller: ProjectCaller,
    request: &Request,
    id: ApprovalId,
) -> Answered {
    let said: Decide = request.json()?;
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    let asked = review::asked(ledger, scope, &id).await?;
    let mut seen = true;
    if said.decision == Verdict::Approve {
        ledger.open_project(scope).await?;
        let Some(token) = said.review_token else {
            let detail = "read the approval, and send its `review_token` back";
            return Err(Problem::invalid("review_token", detail).into());
        };
        seen = token == asked.token(ledger, scope).await?;
    }
    let decision = Decision {
        verdict: said.decision,
        by: caller.actor.clone(),
        login: caller.login,
        reason: said.reason.map(|reason| (*reason).into()),
        at: ledger.now(),
    };
    let decided = match asked.what {
        What::Workflow(_) | What::Worker(_) => ledger.decide(scope, &id, decision, seen).await?,
        What::Step(run, step_id) => {
            if seen && decision.verdict == Verdict::Approve {
                refuse_revoked(ports, scope, (&run, &step_id), &caller.actor).await?;
            }
            decide_step(ports, scope, (run.run_id, &step_id), &decision, seen).await?
        }
    };
    Answer::json(200, &decided)
}

async fn decide_step(
    ports: &Ports,
    scope: &ProjectScope,
    (run_id, step_id): (RunId, &StepId),
    decision: &Decision,
    seen: bool,
) -> Result<Approval, Fault> {
    let done = ports
        .ledger
        .transition(scope, run_id, &decision.by, |run, now| {
            run.decide(step_id, decision, seen, ports.pace, now)
        })
        .await?;
    let ready = &done.change.ready;
    effects::tell(ports.queues.as_ref(), scope, run_id, ready).await;
    let approval = done.run.step(step_id)?.approval.clone();
    Ok(approval.ok_or_else(Problem::not_found)?)
}

/// Refuses to approve what no sandbox could start with. A hard revocation ends the step: its
/// fan-out may have looked before the step began to wait.
async fn refuse_revoked(
    ports: &Ports,
    scope: &ProjectScope,
    (run, step_id): (&Run, &StepId),
    actor: &str,
) -> Result<(), Fault> {
    let ledger = &ports.ledger;
    let Some(identity) = run.identity_of(run.step(step_id)?) else {
        return Ok(());
    };
    let mut active = ledger.revocations_for(scope, &identity).await?;
    let Some(first) = revoked(&identity, &active) else {
        return Ok(());
    };
    active.retain(|revocation| revocation.hard);
    if let Some(hard) = revoked(&identity, &active) {
        let ended = ledger.transition(scope, run.run_id, actor, |run, now| {
            run.abort_waiting(step_id, hard.clone(), ports.pace, now)
        });
        ended.await?;
    }
    Err(Problem::new(Code::SecretRevoked, first.to_string()).into())
}

pub(super) async fn governance(ports: &Ports, caller: ProjectCaller) -> Answered {
    let project = ports.ledger.project(&caller.scope).await?;
    Answer::json(200, &project.governance)
}

pub(super) async fn govern(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let SetGovernance {
        require_registered_workflows,
        approvers,
        logins_only,
    } = request.json()?;
    if !(1..=limits::APPROVERS).contains(&approvers) {
        let detail = format!("use a number from 1 to {}", limits::APPROVERS);
        return Err(Problem::invalid("approvers", detail).into());
    }
    let governance = Governance {
        require_registered_workflows,
        approvers,
        logins_only,
    };
    let ProjectCaller { scope, actor, .. } = &caller;
    let project = ports.ledger.set_governance(scope, governance, actor);
    Answer::json(200, &project.await?.governance)
}
