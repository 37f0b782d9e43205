//! What an approval is about, and its review token: what whoever decides has seen, and what else
//! decides what that means.
//!
//! The token is a hash of the request, of the project's revision, of the versions of the profiles
//! that are used, of the revocations in force, and of the policies. An approval with another token
//! than the one of now is refused. What changes after the decision is found where it always is: at
//! enqueue, and at every start.

use futures_util::future::try_join;
use sealfleet_domain::access::POLICIES;
use sealfleet_domain::approval::{Approval, ApprovalId};
use sealfleet_domain::fleet::{Project, Worker};
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::reference::ProfileRef;
use sealfleet_domain::run::Run;
use sealfleet_domain::workflow::WorkflowVersion;
use sealfleet_domain::{Owner, ProjectScope, StepId};
use sealfleet_ledger::{Error, Ledger, owner_of};
use serde_json::json;

/// An approval, and what it is about.
pub struct Asked {
    pub approval: Approval,
    pub what: What,
    project: Project,
}

/// What an approval is about.
pub enum What {
    Workflow(Box<WorkflowVersion>),
    /// `None` once a registration that nobody decided on is forgotten.
    Worker(Option<Box<Worker>>),
    Step(Box<Run>, StepId),
}

/// Reads an approval and what it is about.
///
/// # Errors
/// [`Error::NotFound`], or the tables do not answer.
pub async fn asked(ledger: &Ledger, scope: &ProjectScope, id: &ApprovalId) -> Result<Asked, Error> {
    let project = ledger.project(scope).await?;
    let (mut approval, what) = match id {
        ApprovalId::Workflow { workflow, version } => {
            let approval = ledger.approval(scope, id).await?;
            let version = ledger.workflow_version(scope, workflow, *version).await?;
            (approval, What::Workflow(Box::new(version)))
        }
        ApprovalId::Worker { worker_id } => {
            let worker = ledger.worker(scope.project(), *worker_id).await?;
            let approval = ledger.approval(scope, id).await?;
            (approval, What::Worker(worker.map(Box::new)))
        }
        ApprovalId::Step { run_id, step_id } => {
            let run = ledger.run(scope, *run_id).await?;
            let step = run.steps.get(step_id).ok_or(Error::NotFound)?;
            let approval = step.approval.clone().ok_or(Error::NotFound)?;
            (approval, What::Step(Box::new(run), step_id.clone()))
        }
    };
    // Nobody may have noted yet that its time is over.
    approval.expire(ledger.now());
    Ok(Asked {
        approval,
        what,
        project,
    })
}

impl Asked {
    /// The token of what is there now.
    ///
    /// # Errors
    /// When the tables do not answer.
    pub async fn token(&self, ledger: &Ledger, scope: &ProjectScope) -> Result<ContentHash, Error> {
        let owner = Owner::Project(scope.clone());
        let (own, of_system) = try_join(
            ledger.active_revocations(&owner),
            ledger.active_revocations(&Owner::System),
        )
        .await?;
        let mut revocations: Vec<String> = own
            .iter()
            .chain(&of_system)
            .map(|revocation| format!("{} {}", revocation.revocation_id, revocation.hard))
            .collect();
        revocations.sort();
        let seen = json!({
            "approval": self.approval.approval,
            "request": self.approval.request,
            "requested_at": self.approval.requested_at,
            "project": self.project.revision,
            "profiles": versions(ledger, scope, self.profiles()).await?,
            "revocations": revocations,
            "policies": POLICIES,
        });
        Ok(ContentHash::of(seen.to_string().as_bytes()))
    }

    /// The profiles that it is used with.
    fn profiles(&self) -> Vec<ProfileRef> {
        match &self.what {
            What::Workflow(version) => {
                let own = version.definition.profile.as_ref();
                let levels = self.project.cascade.levels(&version.workflow, own);
                levels.into_iter().map(|(_, profile)| profile).collect()
            }
            What::Worker(_) => Vec::new(),
            What::Step(run, _) => {
                let used = run.identity.iter().flat_map(|identity| &identity.profiles);
                used.map(|used| used.profile.clone()).collect()
            }
        }
    }
}

/// The profiles with their versions, 0 for one that is not there.
async fn versions(
    ledger: &Ledger,
    scope: &ProjectScope,
    profiles: Vec<ProfileRef>,
) -> Result<Vec<(String, u32)>, Error> {
    let mut versions = Vec::new();
    for profile in profiles {
        let owner = owner_of(scope, &profile);
        let version = match ledger.profile(&owner, profile.name()).await {
            Ok(profile) => profile.version,
            Err(Error::NotFound) => 0,
            Err(error) => return Err(error),
        };
        versions.push((profile.to_string(), version));
    }
    Ok(versions)
}
