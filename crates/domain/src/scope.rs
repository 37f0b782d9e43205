//! `ProjectScope`: the proof that a caller acts inside one project.
//!
//! Every key of the ledger and of the audit trail is built from a scope, and a scope has only the
//! constructors below, each named by its evidence. A row of another project can therefore not be
//! addressed, whatever a request says.

use crate::fence::Fence;
use crate::ids::{RunId, TokenId};
use crate::names::{PoolName, ProjectId, StepId};

/// What is the operators' own, where a project's id would stand. It is no legal project id, so no
/// project can be addressed by it.
pub const OPERATOR_SCOPE: &str = "~system";

/// One project, proven.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProjectScope(ProjectId);

/// Who owns profiles and revocations: one project, or the operators.
///
/// What the operators own is read by every project, in its cascade; only an [`Operator`] writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The system scope.
    System,
    /// A project.
    Project(ProjectScope),
}

impl Owner {
    /// `system`, or the project's id: no project is called `system`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::System => "system",
            Self::Project(scope) => scope.project().as_str(),
        }
    }

    /// Its audit trail, by name: the operators' own, or the project's.
    #[must_use]
    pub fn trail(&self) -> &str {
        match self {
            Self::System => OPERATOR_SCOPE,
            Self::Project(scope) => scope.project().as_str(),
        }
    }
}

/// An authenticated operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    token_id: TokenId,
}

impl Operator {
    pub(crate) const fn verified(token_id: TokenId) -> Self {
        Self { token_id }
    }

    /// The token that proves it.
    #[must_use]
    pub const fn token_id(self) -> TokenId {
        self.token_id
    }
}

/// Evidence that names no project, or not in the form that the control plane gives it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a project's resource")]
pub struct NoScope(String);

impl NoScope {
    /// This text is no evidence.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl ProjectScope {
    /// The scope of a verified credential. Only `credential` calls this, after comparing the
    /// secret's hash, and `oidc`, by the claims of a token whose signature holds.
    pub(crate) const fn verified(project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope that an operator enters to onboard a project: the operator's own verified
    /// principal is the evidence.
    #[must_use]
    pub fn entered_by(_operator: &Operator, project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope of a stored row that the control plane found by its own index (`sweep`): the row's
    /// project.
    #[must_use]
    pub const fn of_stored_row(project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope of a registration that nobody has approved yet: it can only ever reach its own
    /// pending row.
    #[must_use]
    pub const fn of_pending_registration(project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope and pool of a queue's message, from the name of the queue as the platform that
    /// delivered it tells: `sealfleet-PROJECT--POOL`. The message's own text is no evidence.
    ///
    /// # Errors
    /// When the name is not that of a pool's queue.
    pub fn of_queue(name: &str) -> Result<(Self, PoolName), NoScope> {
        let no_scope = || NoScope(name.to_owned());
        let (project, pool) = name
            .strip_prefix("sealfleet-")
            .and_then(|rest| rest.split_once("--"))
            .ok_or_else(no_scope)?;
        Ok((
            Self(project.parse().map_err(|_| no_scope())?),
            pool.parse().map_err(|_| no_scope())?,
        ))
    }

    /// The scope of a call, from the name of the caller's role as the platform verified it:
    /// `sealfleet-PROJECT--sandbox`, or `sealfleet-PROJECT--execution`.
    ///
    /// # Errors
    /// When the name is not that of a project's role of this kind.
    pub fn of_role(name: &str, kind: RoleKind) -> Result<Self, NoScope> {
        let ending = match kind {
            RoleKind::Sandbox => "--sandbox",
            RoleKind::Execution => "--execution",
        };
        name.strip_prefix("sealfleet-")
            .and_then(|rest| rest.strip_suffix(ending))
            .and_then(|project| project.parse().ok())
            .map(Self)
            .ok_or_else(|| NoScope(name.to_owned()))
    }

    /// The scope of a secret that was read: the project in its name, as the backend tells it.
    #[must_use]
    pub const fn of_read_secret(project: ProjectId) -> Self {
        Self(project)
    }

    /// The project.
    #[must_use]
    pub const fn project(&self) -> &ProjectId {
        &self.0
    }
}

/// What a role of a project is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// Sandboxes call the control plane with it.
    Sandbox,
    /// The host of a sandbox fetches what it starts with by it.
    Execution,
}

/// Which claim a sandbox was launched for. The launcher writes it onto the sandbox, where nobody
/// but the control plane's roles can, so it is evidence.
///
/// Text form: `PROJECT/RUN/STEP/FENCE`, at most 127 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTag {
    /// The project.
    pub scope: ProjectScope,
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
}

impl std::fmt::Display for ClaimTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            scope,
            run_id,
            step_id,
            fence,
        } = self;
        write!(f, "{}/{run_id}/{step_id}/{fence}", scope.project())
    }
}

impl std::str::FromStr for ClaimTag {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let no_scope = || NoScope(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let [project, run, step, fence] = parts.as_slice() else {
            return Err(no_scope());
        };
        Ok(Self {
            scope: ProjectScope(project.parse().map_err(|_| no_scope())?),
            run_id: run.parse().map_err(|_| no_scope())?,
            step_id: step.parse().map_err(|_| no_scope())?,
            fence: Fence::new(fence.parse().map_err(|_| no_scope())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_names_one_project_and_pool() {
        let (scope, pool) = ProjectScope::of_queue("sealfleet-a-b--workers").expect("valid");
        assert_eq!(
            (scope.project().as_str(), pool.as_str()),
            ("a-b", "workers")
        );
        for bad in ["", "other-a--b", "sealfleet-a", "sealfleet-a--b--dlq"] {
            assert!(ProjectScope::of_queue(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_names_one_project_and_what_it_is_for() {
        let of = ProjectScope::of_role;
        let scope = of("sealfleet-a--sandbox", RoleKind::Sandbox).expect("valid");
        assert_eq!(scope.project().as_str(), "a");
        assert!(of("sealfleet-a--execution", RoleKind::Execution).is_ok());
        assert!(of("sealfleet-a--execution", RoleKind::Sandbox).is_err());
        assert!(of("sealfleet-a--sandbox", RoleKind::Execution).is_err());
        assert!(of("other-a--sandbox", RoleKind::Sandbox).is_err());
    }

    #[test]
    fn a_tag_is_read_as_it_is_written() {
        let tag = "a/run_0198c0de-0000-7000-8000-00000000000a/main/7";
        assert_eq!(
            tag.parse::<ClaimTag>().map(|tag| tag.to_string()),
            Ok(tag.to_owned())
        );
        for bad in [
            "",
            "a/b/c/1",
            "a/run_0198c0de-0000-7000-8000-00000000000a/main",
        ] {
            assert!(bad.parse::<ClaimTag>().is_err(), "{bad}");
        }
    }
}
