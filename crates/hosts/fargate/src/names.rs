//! What ECS puts into ARNs: the id of a task, and the role session that a task's calls are made by,
//! which ECS names by that id.

use sealfleet_domain::ProjectScope;
use sealfleet_domain::run::Handle;
use sealfleet_domain::scope::{NoScope, RoleKind};

/// The id of a task, by its ARN: what follows the last slash.
#[must_use]
pub fn task_id(handle: &Handle) -> &str {
    let arn = handle.as_str();
    arn.rsplit('/').next().unwrap_or(arn)
}

/// The project and task of a call that a task made by its task role, from the caller's ARN as API
/// Gateway verified it: `arn:aws:sts::ACCOUNT:assumed-role/sealfleet-PROJECT--sandbox/TASK`.
///
/// # Errors
/// When the ARN is not that of a sandbox's role session.
pub fn sandbox_session(arn: &str) -> Result<(ProjectScope, String), NoScope> {
    session(arn, RoleKind::Sandbox)
}

/// The project and task of a call that ECS made to start a task, from the caller's ARN as
/// CloudTrail tells it: `arn:aws:sts::ACCOUNT:assumed-role/sealfleet-PROJECT--execution/TASK`.
///
/// # Errors
/// When the ARN is not that of an execution role's session.
pub fn execution_session(arn: &str) -> Result<(ProjectScope, String), NoScope> {
    session(arn, RoleKind::Execution)
}

fn session(arn: &str, kind: RoleKind) -> Result<(ProjectScope, String), NoScope> {
    let no_scope = || NoScope::of(arn);
    let mut parts = arn.rsplit('/');
    let task = parts
        .next()
        .filter(|task| !task.is_empty())
        .ok_or_else(no_scope)?;
    let role = parts.next().ok_or_else(no_scope)?;
    let scope = ProjectScope::of_role(role, kind).map_err(|_| no_scope())?;
    if arn.contains(":assumed-role/") {
        Ok((scope, task.to_owned()))
    } else {
        Err(no_scope())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_known_by_its_role_session() {
        let (scope, task) =
            sandbox_session("arn:aws:sts::1:assumed-role/sealfleet-a--sandbox/0123").unwrap();
        assert_eq!((scope.project().as_str(), task.as_str()), ("a", "0123"));
        for bad in [
            "arn:aws:sts::1:assumed-role/sealfleet-a--execution/x",
            "arn:aws:sts::1:assumed-role/sealfleet-a--sandbox/",
            "arn:aws:iam::1:user/sealfleet-a--sandbox/x",
        ] {
            assert!(sandbox_session(bad).is_err(), "{bad}");
        }
        let execution = "arn:aws:sts::1:assumed-role/sealfleet-a--execution/0123";
        assert!(
            execution_session(execution).is_ok_and(|(scope, _)| scope.project().as_str() == "a")
        );
        let sandbox = "arn:aws:sts::1:assumed-role/sealfleet-a--sandbox/0123";
        assert!(execution_session(sandbox).is_err());
    }
}
