//! `ProjectScope`: the proof that a caller acts inside one project.
//!
//! Every key of the ledger and of the audit trail is built from a scope. Only the constructors
//! below create one, each named after its evidence. So no request can address a row of another
//! project.

use crate::fence::Fence;
use crate::ids::{RunId, TokenId};
use crate::names::{NamePrefix, PoolName, ProjectId, StepId};

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

impl NoScope {
    /// The error for a text that is not evidence.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

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

    /// The scope and pool of a queue's message, from the queue's name, which the platform reported
    /// when it delivered the message: `PREFIX-PROJECT--POOL`. The message's own text is not
    /// evidence. The prefix is not compared: nobody may receive from a queue of another
    /// installation.
    ///
    /// # Errors
    /// When the name is not that of a pool's queue.
    pub fn of_queue(name: &str) -> Result<(Self, PoolName), NoScope> {
        let no_scope = || NoScope(name.to_owned());
        let (project, pool) = name
            .split_once('-')
            .filter(|(prefix, _)| prefix.parse::<NamePrefix>().is_ok())
            .and_then(|(_, rest)| rest.split_once("--"))
            .ok_or_else(no_scope)?;
        Ok((
            Self(project.parse().map_err(|_| no_scope())?),
            pool.parse().map_err(|_| no_scope())?,
        ))
    }

    /// The scope of a call, from the name of the caller's role, which the platform verified:
    /// `PREFIX-PROJECT--execution`, with which a sandbox's host fetches its image and secrets.
    ///
    /// # Errors
    /// When the name is not that of a project's execution role.
    pub fn of_execution_role(prefix: &NamePrefix, name: &str) -> Result<Self, NoScope> {
        Self::of_role(prefix, name, "--execution")
    }

    /// The scope of a call, as above: `PREFIX-PROJECT--reader`, with which a worker's sandbox
    /// fetches its secrets.
    ///
    /// # Errors
    /// When the name is not that of a project's reader role.
    pub fn of_reader_role(prefix: &NamePrefix, name: &str) -> Result<Self, NoScope> {
        Self::of_role(prefix, name, "--reader")
    }

    fn of_role(prefix: &NamePrefix, name: &str, purpose: &str) -> Result<Self, NoScope> {
        name.strip_prefix(prefix.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.strip_suffix(purpose))
            .and_then(|project| project.parse().ok())
            .map(Self)
            .ok_or_else(|| NoScope(name.to_owned()))
    }

    /// The scope that a sandbox names, which is no evidence yet. It reaches one row, that of the
    /// run which the sandbox names: the sandbox is told nothing unless that row says that this
    /// very sandbox, which the platform verified, holds the step.
    #[must_use]
    pub const fn named_by_sandbox(project: ProjectId) -> Self {
        Self(project)
    }

    /// The scope of a secret that was read: the project in its name, which the backend reported.
    #[must_use]
    pub const fn of_read_secret(project: ProjectId) -> Self {
        Self(project)
    }

    #[must_use]
    pub const fn project(&self) -> &ProjectId {
        &self.0
    }
}

/// The claim that a sandbox was launched for. The launcher writes this tag to the sandbox. Only the
/// control plane's roles can do that, so the tag is evidence.
///
/// Text form: `PROJECT/RUN/STEP/FENCE`, at most 127 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTag {
    pub scope: ProjectScope,
    pub run_id: RunId,
    pub step_id: StepId,
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
        let tag = Self {
            scope: ProjectScope(project.parse().map_err(|_| no_scope())?),
            run_id: run.parse().map_err(|_| no_scope())?,
            step_id: step.parse().map_err(|_| no_scope())?,
            fence: Fence::new(fence.parse().map_err(|_| no_scope())?),
        };
        // A number has other spellings, such as `01` and `+1`. A claim has one tag.
        if tag.to_string() == text {
            Ok(tag)
        } else {
            Err(no_scope())
        }
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
        for bad in [
            "",
            "-a--b",
            "Other-a--b",
            "sealfleet-a",
            "sealfleet-a--b--dlq",
        ] {
            assert!(ProjectScope::of_queue(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_role_names_one_project_and_what_it_is_for() {
        let of = |name| ProjectScope::of_execution_role(&NamePrefix::default(), name);
        let scope = of("sealfleet-a--execution").expect("valid");
        assert_eq!(scope.project().as_str(), "a");
        for bad in [
            "sealfleet-a--sandbox",
            "other-a--execution",
            "sealfleet---execution",
            "sealfleet-a--reader",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let of = |name| ProjectScope::of_reader_role(&NamePrefix::default(), name);
        let scope = of("sealfleet-a--reader").expect("valid");
        assert_eq!(scope.project().as_str(), "a");
        assert!(of("sealfleet-a--execution").is_err());
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
            "a/run_0198c0de-0000-7000-8000-00000000000a/main/07",
            "a/run_0198c0de-0000-7000-8000-00000000000a/main/+7",
        ] {
            assert!(bad.parse::<ClaimTag>().is_err(), "{bad}");
        }
    }
}
