//! Who may do what: the one module that decides, from principal, action and resource.
//!
//! A scope decides *where* (a principal of one project cannot name a row of another), this module decides *what*.
//! The table below is the whole policy; a new action does not compile until it stands in it.

use serde::{Deserialize, Serialize};

use crate::ids::{EnrolmentKeyId, TokenId, WorkerId};
use crate::names::ProjectId;
use crate::scope::{Operator, ProjectScope};

/// What the holder of an API token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Above projects: onboards projects and makes their first tokens. Sees no project's runs, profiles or audit.
    Operator,
    /// All of one project.
    Admin,
    /// Enqueues, cancels and retries runs of one project and reads.
    Member,
    /// Reads one project, but not its audit trail.
    Viewer,
}

/// Who is asking, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// An operator's token.
    Operator(Operator),
    /// A project's API token.
    Token {
        /// The token's project.
        scope: ProjectScope,
        /// Which token.
        token_id: TokenId,
        /// Its role.
        role: Role,
    },
    /// A worker.
    Worker {
        /// The worker's project.
        scope: ProjectScope,
        /// Which worker.
        worker_id: WorkerId,
    },
    /// The holder of an enrolment key.
    Enrolment {
        /// The key's project.
        scope: ProjectScope,
        /// Which key.
        key_id: EnrolmentKeyId,
    },
    /// A sandbox of a Fargate pool, known by its task role session.
    Sandbox {
        /// The project of the task role.
        scope: ProjectScope,
        /// The ECS task's id.
        task_id: String,
    },
    /// A part of the control plane itself, acting on an event.
    System(&'static str),
}

impl Principal {
    /// The principal as the audit trail names it.
    #[must_use]
    pub fn actor(&self) -> String {
        match self {
            Self::Operator(operator) => format!("operator:{}", operator.token_id()),
            Self::Token { token_id, .. } => format!("token:{token_id}"),
            Self::Worker { worker_id, .. } => format!("worker:{worker_id}"),
            Self::Enrolment { key_id, .. } => format!("enrolment_key:{key_id}"),
            Self::Sandbox { task_id, .. } => format!("sandbox:{task_id}"),
            Self::System(part) => format!("system:{part}"),
        }
    }

    /// The principal's project, if it has one.
    #[must_use]
    pub const fn scope(&self) -> Option<&ProjectScope> {
        match self {
            Self::Token { scope, .. }
            | Self::Worker { scope, .. }
            | Self::Enrolment { scope, .. }
            | Self::Sandbox { scope, .. } => Some(scope),
            Self::Operator(_) | Self::System(_) => None,
        }
    }
}

/// Something that a principal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Create a project, with its pools.
    CreateProject,
    /// List projects.
    ListProjects,
    /// Read one project.
    ReadProject,
    /// Make an API token of the named project.
    CreateToken,
    /// List API tokens.
    ListTokens,
    /// Revoke an API token.
    RevokeToken,
    /// Make, list and revoke enrolment keys.
    ManageEnrolmentKeys,
    /// Register a worker by enrolment key.
    RegisterWorker,
    /// Read workers.
    ReadWorkers,
    /// Approve, reject and revoke workers.
    ManageWorkers,
    /// Create, change and delete profiles, and bind them to the levels of the cascade.
    WriteProfile,
    /// Read profiles.
    ReadProfiles,
    /// Enqueue a run.
    Enqueue,
    /// Put a dead step back in its queue.
    Retry,
    /// Cancel a run.
    Cancel,
    /// Read runs.
    ReadRuns,
    /// Revoke keys, and lift revocations.
    Revoke,
    /// Read revocations, and preview one.
    ReadRevocations,
    /// Read the audit trail.
    ReadAudit,
    /// Claim a step, heartbeat, start and report.
    Work,
    /// Ask for the step that one's own sandbox was started for.
    AskForStep,
}

/// What an action is about, as far as the decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Things above projects.
    Platform,
    /// Profiles and revocations of the system scope.
    System,
    /// Things of this project.
    Project(&'a ProjectId),
}

/// The outcome of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go ahead.
    Allow,
    /// The principal cannot see the resource at all: answer as if it did not exist.
    Hidden,
    /// The principal may know of the resource, but not do this to it.
    Forbidden(String),
}

/// Decides whether `principal` may do `action` to `resource`. Everything that no line allows is refused.
#[must_use]
pub fn decide(principal: &Principal, action: Action, resource: Resource<'_>) -> Decision {
    if let (Some(scope), Resource::Project(project)) = (principal.scope(), resource)
        && scope.project() != project
    {
        return Decision::Hidden;
    }
    if allowed(principal, action, resource) {
        Decision::Allow
    } else {
        Decision::Forbidden(format!("{} may not {}", described(principal), phrase(action)))
    }
}

fn allowed(principal: &Principal, action: Action, resource: Resource<'_>) -> bool {
    use Action as A;
    match (principal, resource) {
        (Principal::Operator(_), Resource::System) => {
            matches!(action, A::WriteProfile | A::ReadProfiles | A::Revoke | A::ReadRevocations)
        }
        (Principal::Operator(_), Resource::Platform) => matches!(action, A::CreateProject | A::ListProjects),
        // Operators onboard a project and make its first token; what the project then does is its own.
        (Principal::Operator(_), Resource::Project(_)) => {
            matches!(action, A::ReadProject | A::CreateToken | A::ListTokens | A::RevokeToken)
        }
        (Principal::Token { role, .. }, Resource::Project(_)) => match role {
            Role::Operator => false,
            Role::Admin => {
                !matches!(action, A::CreateProject | A::ListProjects | A::RegisterWorker | A::Work | A::AskForStep)
            }
            Role::Member => matches!(
                action,
                A::ReadProject
                    | A::ReadWorkers
                    | A::ReadProfiles
                    | A::ReadRevocations
                    | A::Enqueue
                    | A::Retry
                    | A::Cancel
                    | A::ReadRuns
            ),
            Role::Viewer => {
                matches!(action, A::ReadProject | A::ReadWorkers | A::ReadProfiles | A::ReadRevocations | A::ReadRuns)
            }
        },
        (Principal::Worker { .. }, Resource::Project(_)) => action == A::Work,
        (Principal::Enrolment { .. }, Resource::Project(_)) => action == A::RegisterWorker,
        (Principal::Sandbox { .. }, Resource::Project(_)) => action == A::AskForStep,
        (Principal::System(_), _)
        | (
            Principal::Token { .. }
            | Principal::Worker { .. }
            | Principal::Enrolment { .. }
            | Principal::Sandbox { .. },
            Resource::Platform | Resource::System,
        ) => false,
    }
}

const fn described(principal: &Principal) -> &'static str {
    match principal {
        Principal::Operator(_) => "an operator",
        Principal::Token { role: Role::Admin, .. } => "a token with role `admin`",
        Principal::Token { role: Role::Member, .. } => "a token with role `member`",
        Principal::Token { .. } => "a token with role `viewer`",
        Principal::Worker { .. } => "a worker",
        Principal::Enrolment { .. } => "an enrolment key",
        Principal::Sandbox { .. } => "a sandbox",
        Principal::System(_) => "the control plane",
    }
}

const fn phrase(action: Action) -> &'static str {
    match action {
        Action::CreateProject => "create a project",
        Action::ListProjects => "list projects",
        Action::ReadProject => "read the project",
        Action::CreateToken => "make a token",
        Action::ListTokens => "list tokens",
        Action::RevokeToken => "revoke a token",
        Action::ManageEnrolmentKeys => "manage enrolment keys",
        Action::RegisterWorker => "register a worker",
        Action::ReadWorkers => "read workers",
        Action::ManageWorkers => "manage workers",
        Action::WriteProfile => "write a profile",
        Action::ReadProfiles => "read profiles",
        Action::Enqueue => "enqueue a run",
        Action::Retry => "retry a step",
        Action::Cancel => "cancel a run",
        Action::ReadRuns => "read runs",
        Action::Revoke => "revoke keys",
        Action::ReadRevocations => "read revocations",
        Action::ReadAudit => "read the audit trail",
        Action::Work => "claim or report work",
        Action::AskForStep => "ask for a sandbox's step",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(project: &str, role: Role) -> Principal {
        Principal::Token {
            scope: ProjectScope::verified(project.parse().expect("valid")),
            token_id: "tok_0198c0de-0000-7000-8000-00000000000a".parse().expect("valid"),
            role,
        }
    }

    #[test]
    fn another_project_is_hidden_from_every_role() {
        let other = "finance".parse().expect("valid");
        for role in [Role::Admin, Role::Member, Role::Viewer] {
            let decision = decide(&token("healthcare", role), Action::ReadRuns, Resource::Project(&other));
            assert_eq!(decision, Decision::Hidden);
        }
    }

    #[test]
    fn roles_are_nested_and_viewers_only_read() {
        let own = "healthcare".parse().expect("valid");
        let may = |role, action| decide(&token("healthcare", role), action, Resource::Project(&own)) == Decision::Allow;
        assert!(may(Role::Admin, Action::ReadAudit) && may(Role::Member, Action::Enqueue));
        assert!(!may(Role::Member, Action::WriteProfile) && !may(Role::Member, Action::ReadAudit));
        assert!(!may(Role::Viewer, Action::Enqueue) && !may(Role::Viewer, Action::Cancel));
        assert!(!may(Role::Admin, Action::Work) && !may(Role::Admin, Action::CreateProject));
    }
}
