//! What ECS puts into ARNs: the id of a task, and the role session that a task's calls are made by,
//! which ECS names by that id.

use sealfleet_domain::run::Handle;
use sealfleet_domain::scope::NoScope;
use sealfleet_domain::{NamePrefix, ProjectScope};

/// The id of a task, by its ARN: what follows the last slash.
#[must_use]
pub fn task_id(handle: &Handle) -> &str {
    let arn = handle.as_str();
    arn.rsplit('/').next().unwrap_or(arn)
}

/// The cluster of a task, by its ARN: `arn:PARTITION:ecs:REGION:ACCOUNT:task/CLUSTER/ID`.
#[must_use]
pub fn cluster(handle: &Handle) -> Option<&str> {
    let resource = handle
        .as_str()
        .strip_prefix("arn:")?
        .splitn(5, ':')
        .nth(4)?;
    let (cluster, _) = resource.strip_prefix("task/")?.split_once('/')?;
    Some(cluster)
}

/// The role of the code in sandboxes. All projects share it: it says which task calls, not whose.
#[must_use]
pub fn sandbox_role(prefix: &NamePrefix) -> String {
    format!("{prefix}-sandboxes")
}

/// The task of a call that it made by its task role, from the caller's ARN as API Gateway verified
/// it: `arn:aws:sts::ACCOUNT:assumed-role/PREFIX-sandboxes/TASK`. ECS alone assumes the role,
/// and names its sessions by the tasks' ids, which never come twice.
///
/// # Errors
/// When the ARN is not that of a sandbox's role session.
pub fn sandbox_session(prefix: &NamePrefix, arn: &str) -> Result<String, NoScope> {
    match session(arn)? {
        (role, task) if role == sandbox_role(prefix) => Ok(task.to_owned()),
        _ => Err(NoScope::of(arn)),
    }
}

/// The project and task of a call that ECS made to start a task, from the caller's ARN as
/// CloudTrail tells it: `arn:aws:sts::ACCOUNT:assumed-role/PREFIX-PROJECT--execution/TASK`.
///
/// # Errors
/// When the ARN is not that of an execution role's session.
pub fn execution_session(
    prefix: &NamePrefix,
    arn: &str,
) -> Result<(ProjectScope, String), NoScope> {
    let (role, task) = session(arn)?;
    let scope = ProjectScope::of_execution_role(prefix, role).map_err(|_| NoScope::of(arn))?;
    Ok((scope, task.to_owned()))
}

/// The role and the session of `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
fn session(arn: &str) -> Result<(&str, &str), NoScope> {
    arn.split_once(":assumed-role/")
        .and_then(|(_, rest)| rest.split_once('/'))
        .filter(|(role, task)| !role.is_empty() && !task.is_empty() && !task.contains('/'))
        .ok_or_else(|| NoScope::of(arn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_installations_sandboxes_are_nobody_here() {
        let acme: NamePrefix = "acme".parse().unwrap();
        for arn in [
            "arn:aws:sts::1:assumed-role/sealfleet-sandboxes/0123",
            "arn:aws:sts::1:assumed-role/sealfleet-a--execution/0123",
        ] {
            assert!(sandbox_session(&acme, arn).is_err(), "{arn}");
            assert!(execution_session(&acme, arn).is_err(), "{arn}");
        }
        assert!(sandbox_session(&acme, "arn:aws:sts::1:assumed-role/acme-sandboxes/0123").is_ok());
        assert!(
            execution_session(&acme, "arn:aws:sts::1:assumed-role/acme-a--execution/0123").is_ok()
        );
    }

    #[test]
    fn a_task_is_of_one_cluster() {
        let cluster_of = |arn: &str| cluster(&Handle::new(arn.to_owned())).map(str::to_owned);
        let task = "arn:aws:ecs:eu-west-1:111122223333:task/acme/0123";
        assert_eq!(cluster_of(task).as_deref(), Some("acme"));
        for bad in [
            "0123",
            "arn:aws:ecs:eu-west-1:111122223333:task/0123",
            "arn:aws:ecs:e:1:cluster/acme",
        ] {
            assert_eq!(cluster_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sandbox_is_known_by_its_role_session() {
        let ours = NamePrefix::default();
        let sandbox = "arn:aws:sts::1:assumed-role/sealfleet-sandboxes/0123";
        assert_eq!(sandbox_session(&ours, sandbox).unwrap(), "0123");
        for bad in [
            "arn:aws:sts::1:assumed-role/sealfleet-a--execution/x",
            "arn:aws:sts::1:assumed-role/sealfleet-a--sandbox/x",
            "arn:aws:sts::1:assumed-role/sealfleet-sandboxes/",
            "arn:aws:sts::1:assumed-role/sealfleet-sandboxes-2/x",
            "arn:aws:sts::1:assumed-role/other/sealfleet-sandboxes/x",
            "arn:aws:iam::1:user/sealfleet-sandboxes/x",
        ] {
            assert!(sandbox_session(&ours, bad).is_err(), "{bad}");
        }
        let execution = "arn:aws:sts::1:assumed-role/sealfleet-a--execution/0123";
        assert!(
            execution_session(&ours, execution)
                .is_ok_and(|(scope, _)| scope.project().as_str() == "a")
        );
        assert!(execution_session(&ours, sandbox).is_err());
    }
}
