//! `ProjectScope`: the proof that a caller acts inside one project.
//!
//! Every key of the ledger and of the audit trail is built from a scope. Only the constructors
//! below create one, each named after its evidence. So no request can address a row of another
//! project.

use crate::fence::Fence;
use crate::ids::{RunId, TokenId};
use crate::names::{PoolName, ProjectId, StepId};

/// Stands in place of a project id for what the operators own. It is not a valid project id, so it
/// addresses no project.
pub const OPERATOR_SCOPE: &str = "~system";

/// One project, proven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProjectScope(ProjectId);

/// The owner of profiles and revocations: one project, or the operators.
///
/// Every project reads the operators' profiles through its cascade. Only an [`Operator`] can write
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    System,
    Project(ProjectScope),
}

impl Owner {
    /// `system`, or the project's id. No project can be called `system`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::System => "system",
            Self::Project(scope) => scope.project().as_str(),
        }
    }

    /// The name of its audit trail: the operators' own, or the project's.
    #[must_use]
    pub fn trail(&self) -> &str {
        match self {
            Self::System => OPERATOR_SCOPE,
            Self::Project(scope) => scope.project().as_str(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    token_id: TokenId,
}

impl Operator {
    pub(crate) const fn verified(token_id: TokenId) -> Self {
        Self { token_id }
    }

    /// The token that authenticated the operator.
    #[must_use]
    pub const fn token_id(self) -> TokenId {
        self.token_id
    }
}

/// Evidence that names no project, or not in the form that the control plane writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a project's resource")]
pub struct NoScope(String);

impl ProjectScope {
    /// The scope of a verified credential. Only two modules call this: `credential` after it
    /// compared the secret's hash, and `oidc` for the claims of a token with a verified signature.
    pub(crate) const fn verified(project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope that an operator enters to onboard a project. The operator's own authentication is
    /// the evidence.
    #[must_use]
    pub fn entered_by(_operator: &Operator, project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope of a stored row that `sweep` found through the control plane's own index: the
    /// row's project.
    #[must_use]
    pub const fn of_stored_row(project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope of a registration that nobody has approved yet. It can only reach its own pending
    /// row.
    #[must_use]
    pub const fn of_pending_registration(project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope and pool of an SQS event, from the ARN of the queue that Lambda polled
    /// (`arn:aws:sqs:REGION:ACCOUNT:sealfleet-PROJECT--POOL`). The message's own text is not
    /// evidence.
    ///
    /// # Errors
    /// When the ARN does not belong to a pool's queue.
    pub fn of_queue_arn(arn: &str) -> Result<(Self, PoolName), NoScope> {
        let no_scope = || NoScope(arn.to_owned());
        let name = arn.rsplit(':').next().ok_or_else(no_scope)?;
        let (project, pool) = name
            .strip_prefix("sealfleet-")
            .and_then(|rest| rest.split_once("--"))
            .ok_or_else(no_scope)?;
        Ok((
            Self(project.parse().map_err(|_| no_scope())?),
            pool.parse().map_err(|_| no_scope())?,
        ))
    }

    /// The scope and ECS task id of a sandbox, from the ARN of its caller identity, which API
    /// Gateway verified: `arn:aws:sts::ACCOUNT:assumed-role/sealfleet-PROJECT--sandbox/TASK`. ECS
    /// names the session after the task's id.
    ///
    /// # Errors
    /// When the ARN does not belong to a sandbox's role session.
    pub fn of_sandbox_arn(arn: &str) -> Result<(Self, String), NoScope> {
        Self::of_session_arn(arn, "--sandbox")
    }

    /// The scope and ECS task id of a call that ECS made to start a task, from the caller's ARN in
    /// CloudTrail: `arn:aws:sts::ACCOUNT:assumed-role/sealfleet-PROJECT--execution/TASK`. ECS names
    /// the session after the task's id.
    ///
    /// # Errors
    /// When the ARN does not belong to an execution role's session.
    pub fn of_execution_arn(arn: &str) -> Result<(Self, String), NoScope> {
        Self::of_session_arn(arn, "--execution")
    }

    fn of_session_arn(arn: &str, role_ends: &str) -> Result<(Self, String), NoScope> {
        let no_scope = || NoScope(arn.to_owned());
        let mut parts = arn.rsplit('/');
        let task = parts
            .next()
            .filter(|task| !task.is_empty())
            .ok_or_else(no_scope)?;
        let role = parts.next().ok_or_else(no_scope)?;
        let project = role
            .strip_prefix("sealfleet-")
            .and_then(|rest| rest.strip_suffix(role_ends))
            .and_then(|project| project.parse().ok())
            .ok_or_else(no_scope)?;
        if arn.contains(":assumed-role/") {
            Ok((Self(project), task.to_owned()))
        } else {
            Err(no_scope())
        }
    }

    /// The scope of a secret that AWS reported as read: the project in the secret's name.
    #[must_use]
    pub const fn of_read_secret(project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope and step of an ECS task, from its `startedBy`. Only the control plane's roles can
    /// set it.
    ///
    /// # Errors
    /// When [`started_by`] did not write `started_by`.
    pub fn of_started_by(started_by: &str) -> Result<(Self, RunId, StepId, Fence), NoScope> {
        let no_scope = || NoScope(started_by.to_owned());
        let parts: Vec<&str> = started_by.split('/').collect();
        let [project, run, step, fence] = parts.as_slice() else {
            return Err(no_scope());
        };
        Ok((
            Self(project.parse().map_err(|_| no_scope())?),
            run.parse().map_err(|_| no_scope())?,
            step.parse().map_err(|_| no_scope())?,
            Fence::new(fence.parse().map_err(|_| no_scope())?),
        ))
    }

    #[must_use]
    pub const fn project(&self) -> &ProjectId {
        &self.0
    }
}

/// The ECS `startedBy` of a step's task. At most 32 + 40 + 32 + 20 characters and three slashes,
/// below ECS's limit of 128.
#[must_use]
pub fn started_by(scope: &ProjectScope, run: RunId, step: &StepId, fence: Fence) -> String {
    format!("{}/{run}/{step}/{fence}", scope.project())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_arn_names_one_project_and_pool() {
        let (scope, pool) =
            ProjectScope::of_queue_arn("arn:aws:sqs:eu-west-1:1:sealfleet-a-b--fargate")
                .expect("valid");
        assert_eq!(
            (scope.project().as_str(), pool.as_str()),
            ("a-b", "fargate")
        );
        for bad in [
            "",
            "arn:aws:sqs:r:1:other-a--b",
            "arn:aws:sqs:r:1:sealfleet-a",
            "arn:aws:sqs:r:1:sealfleet-a--b--dlq",
        ] {
            assert!(ProjectScope::of_queue_arn(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sandbox_is_known_by_its_role_session() {
        let (scope, task) =
            ProjectScope::of_sandbox_arn("arn:aws:sts::1:assumed-role/sealfleet-a--sandbox/0123")
                .expect("valid");
        assert_eq!((scope.project().as_str(), task.as_str()), ("a", "0123"));
        for bad in [
            "arn:aws:sts::1:assumed-role/sealfleet-a--execution/x",
            "arn:aws:iam::1:user/sealfleet-a--sandbox/x",
        ] {
            assert!(ProjectScope::of_sandbox_arn(bad).is_err(), "{bad}");
        }
        let execution = "arn:aws:sts::1:assumed-role/sealfleet-a--execution/0123";
        assert!(
            ProjectScope::of_execution_arn(execution)
                .is_ok_and(|(scope, _)| scope.project().as_str() == "a")
        );
        assert!(
            ProjectScope::of_execution_arn("arn:aws:sts::1:assumed-role/sealfleet-a--sandbox/0123")
                .is_err()
        );
    }
}
