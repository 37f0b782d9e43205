//! Who may do what: the only module that decides from principal, action and resource.
//!
//! A scope decides *where*: a principal of one project cannot name a row of another. This module
//! decides *what*. The policies are in infra/policies, written in Cedar. Principals and resources
//! differ in few ways, so all possible decisions fit into a small table. `table.rs` is generated
//! from the policies, and this module evaluates only that table
//! (`docs/decisions/014-policies-are-compiled.md`). An action that no policy permits is refused.

mod table;

pub use table::POLICIES;

use serde::{Deserialize, Serialize};

use crate::hash::sha256_hex;
use crate::ids::{EnrolmentKeyId, TokenId, WorkerId};
use crate::names::ProjectId;
use crate::scope::{Operator, ProjectScope};

/// Characters of a subject that the audit trail shows. A longer subject is shown as its beginning
/// and its hash.
const SHOWN: usize = 128;

/// What the holder of an API token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Above projects: onboards projects and creates their first tokens. Sees no project's runs,
    /// profiles or audit trail.
    Operator,
    /// May do everything in one project.
    Admin,
    /// Enqueues, cancels and retries runs of one project, and reads.
    Member,
    /// Reads one project, but not its audit trail.
    Viewer,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    Operator(Operator),
    /// A project's API token.
    Token {
        scope: ProjectScope,
        token_id: TokenId,
        role: Role,
        /// The login that made it ([`Token::login`](crate::credential::Token::login)).
        login: Option<String>,
    },
    /// A caller with a JWT of an OIDC issuer that the deployment trusts. Never an operator.
    Oidc {
        /// The project that the claims name.
        scope: ProjectScope,
        subject: Subject,
        /// The role that the claims name.
        role: Role,
    },
    Worker {
        scope: ProjectScope,
        worker_id: WorkerId,
    },
    Enrolment {
        scope: ProjectScope,
        key_id: EnrolmentKeyId,
    },
    /// A sandbox that the control plane launched, identified by the role session that its host gave
    /// it.
    Sandbox {
        /// The project of the task role.
        scope: ProjectScope,
        /// The host's short id for the sandbox.
        task_id: String,
    },
    /// A part of the control plane that acts on an event.
    System(&'static str),
}

impl Principal {
    /// The principal as the audit trail names it: `kind:id`.
    #[must_use]
    pub fn actor(&self) -> String {
        match self {
            Self::Operator(operator) => format!("operator:{}", operator.token_id()),
            Self::Token { token_id, .. } => format!("token:{token_id}"),
            Self::Oidc { subject, .. } => format!("oidc:{subject}"),
            Self::Worker { worker_id, .. } => format!("worker:{worker_id}"),
            Self::Enrolment { key_id, .. } => format!("enrolment_key:{key_id}"),
            Self::Sandbox { task_id, .. } => format!("sandbox:{task_id}"),
            Self::System(part) => format!("system:{part}"),
        }
    }

    /// The login behind the principal, as the audit trail names it: its own, or that of the token's
    /// maker.
    #[must_use]
    pub fn login(&self) -> Option<String> {
        match self {
            Self::Token { login, .. } => login.clone(),
            Self::Oidc { .. } => Some(self.actor()),
            Self::Operator(_)
            | Self::Worker { .. }
            | Self::Enrolment { .. }
            | Self::Sandbox { .. }
            | Self::System(_) => None,
        }
    }

    /// The role of whoever holds a token. `None` for what is no person's.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        match self {
            Self::Operator(_) => Some(Role::Operator),
            Self::Token { role, .. } | Self::Oidc { role, .. } => Some(*role),
            Self::Worker { .. }
            | Self::Enrolment { .. }
            | Self::Sandbox { .. }
            | Self::System(_) => None,
        }
    }

    /// The principal's project. `None` for operators and the control plane.
    #[must_use]
    pub const fn scope(&self) -> Option<&ProjectScope> {
        match self {
            Self::Token { scope, .. }
            | Self::Oidc { scope, .. }
            | Self::Worker { scope, .. }
            | Self::Enrolment { scope, .. }
            | Self::Sandbox { scope, .. } => Some(scope),
            Self::Operator(_) | Self::System(_) => None,
        }
    }
}

/// Whether an actor of the audit trail is a login: a caller with a JWT of an OIDC issuer.
#[must_use]
pub fn is_login(actor: &str) -> bool {
    actor.starts_with("oidc:")
}

/// An OIDC caller as the audit trail names it: `login.example.com/SUBJECT`. It contains letters,
/// digits and a few signs, and everything else percent-encoded. So no two subjects look alike, of
/// the same issuer or of different ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// The subject that `issuer` names in its `sub` claim.
    pub(crate) fn of(issuer: &str, sub: &str) -> Self {
        let place = issuer
            .split_once("://")
            .map_or(issuer, |(_, rest)| rest)
            .trim_end_matches('/');
        let mut shown = String::new();
        for byte in sub.bytes() {
            if byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'_' | b'.' | b':' | b'@' | b'|' | b'+' | b'=')
            {
                shown.push(char::from(byte));
            } else {
                shown.push_str(&format!("%{byte:02X}"));
            }
        }
        if shown.len() > SHOWN {
            // No other subject contains `~`.
            let hash = sha256_hex(sub.as_bytes());
            shown = format!(
                "{}~{}",
                shown.get(..SHOWN - 33).unwrap_or_default(),
                hash.get(..32).unwrap_or_default()
            );
        }
        Self(format!("{place}/{shown}"))
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])* $name:ident $phrase:literal;)*) => {
        /// An operation that a principal requests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action {
            $($(#[doc = $doc])* $name,)*
        }

        impl Action {
            /// All actions, in the order of this list.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The action's name in the policies.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The action as it follows "may": `enqueue a run`.
            #[must_use]
            pub const fn phrase(self) -> &'static str {
                match self { $(Self::$name => $phrase,)* }
            }
        }
    };
}

actions! {
    CreateProject "create a project";
    ListProjects "list projects";
    ReadProject "read the project";
    /// Change a project's pools.
    UpdateProject "change the project's pools";
    DeleteProject "delete the project";
    /// Set a project's request rate limit.
    SetLimits "set the project's limits";
    /// Create an API token of the named project.
    CreateToken "make a token";
    ListTokens "list tokens";
    RevokeToken "revoke a token";
    /// Create, list and revoke enrolment keys.
    ManageEnrolmentKeys "manage enrolment keys";
    RegisterWorker "register a worker";
    ReadWorkers "read workers";
    ManageWorkers "manage workers";
    /// Create, change and delete profiles, and bind them to levels of the cascade.
    WriteProfile "write a profile";
    ReadProfiles "read profiles";
    Enqueue "enqueue a run";
    /// Put a dead step back in its queue.
    Retry "retry a step";
    Cancel "cancel a run";
    ReadRuns "read runs";
    /// Revoke keys, and lift revocations.
    Revoke "revoke keys";
    /// Read revocations, and preview one.
    ReadRevocations "read revocations";
    /// Stop everything that the project does, and preview that.
    Contain "contain the project";
    ReadWorkflows "read registered workflows";
    /// Register a version of a workflow, for somebody else to approve.
    RegisterWorkflow "register a workflow";
    /// Take a workflow out of use.
    RetireWorkflow "retire a workflow";
    ReadApprovals "read approvals";
    /// Approve or deny what somebody else has asked for.
    Decide "decide on an approval";
    /// Set what callers may run, and how many must approve.
    Govern "set how the project is governed";
    ReadAudit "read the audit trail";
    /// Read what steps have used, and what that cost.
    ReadUsage "read usage";
    /// Claim a step, send heartbeats, and report its start and end.
    Work "claim or report work";
    /// Fetch the step that the caller's own sandbox was started for.
    AskForStep "ask for a sandbox's step";
    /// Get a token that names a step which the caller runs.
    NameStep "get a token that names a step";
}

impl Action {
    /// Whether the action takes power away. Incident response needs these actions, so no rate limit
    /// may delay them.
    #[must_use]
    pub const fn takes_power_away(self) -> bool {
        matches!(
            self,
            Self::Cancel
                | Self::DeleteProject
                | Self::Contain
                | Self::Revoke
                | Self::RevokeToken
                | Self::ManageEnrolmentKeys
                | Self::ManageWorkers
                | Self::RetireWorkflow
        )
    }
}

/// The resource of an action, reduced to what the decision needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Resources above projects.
    Platform,
    /// Profiles, revocations and the audit trail of the system scope.
    System,
    /// Resources of this project.
    Project(&'a ProjectId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// The principal may not know that the resource exists. Answer as if it did not.
    Hidden,
    /// The principal may know of the resource, but may not do this to it. The text says why.
    Forbidden(String),
}

/// The kinds of principals that the policies distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Operator,
    TokenAdmin,
    TokenMember,
    TokenViewer,
    OidcAdmin,
    OidcMember,
    OidcViewer,
    Worker,
    EnrolmentKey,
    Sandbox,
}

/// The kinds of resources that the policies distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Platform,
    System,
    /// The principal's own project. For an operator, who has no project, any project.
    Project,
    AnotherProject,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Operator,
        Self::TokenAdmin,
        Self::TokenMember,
        Self::TokenViewer,
        Self::OidcAdmin,
        Self::OidcMember,
        Self::OidcViewer,
        Self::Worker,
        Self::EnrolmentKey,
        Self::Sandbox,
    ];

    /// The kind of a principal. `None` for the control plane itself: it asks for no permission, and
    /// no policy grants it any.
    const fn of(principal: &Principal) -> Option<Self> {
        match principal {
            Principal::Operator(_) => Some(Self::Operator),
            Principal::Token {
                role: Role::Admin, ..
            } => Some(Self::TokenAdmin),
            Principal::Token {
                role: Role::Member, ..
            } => Some(Self::TokenMember),
            Principal::Token {
                role: Role::Viewer, ..
            } => Some(Self::TokenViewer),
            Principal::Oidc {
                role: Role::Admin, ..
            } => Some(Self::OidcAdmin),
            Principal::Oidc {
                role: Role::Member, ..
            } => Some(Self::OidcMember),
            Principal::Oidc {
                role: Role::Viewer, ..
            } => Some(Self::OidcViewer),
            Principal::Worker { .. } => Some(Self::Worker),
            Principal::Enrolment { .. } => Some(Self::EnrolmentKey),
            Principal::Sandbox { .. } => Some(Self::Sandbox),
            // A project's token never has an operator's role.
            Principal::Token {
                role: Role::Operator,
                ..
            }
            | Principal::Oidc {
                role: Role::Operator,
                ..
            }
            | Principal::System(_) => None,
        }
    }
}

impl Place {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::Platform,
        Self::System,
        Self::Project,
        Self::AnotherProject,
    ];

    fn of(resource: Resource<'_>, principal: &Principal) -> Self {
        match (resource, principal.scope()) {
            (Resource::Platform, _) => Self::Platform,
            (Resource::System, _) => Self::System,
            (Resource::Project(project), Some(scope)) if scope.project() != project => {
                Self::AnotherProject
            }
            (Resource::Project(_), _) => Self::Project,
        }
    }
}

/// Decides whether `principal` may do `action` to `resource`. Refuses everything that no policy
/// permits.
#[must_use]
pub fn decide(principal: &Principal, action: Action, resource: Resource<'_>) -> Decision {
    let place = Place::of(resource, principal);
    let Some(kind) = Kind::of(principal) else {
        return forbidden(principal, action);
    };
    if table::allowed(kind, place).contains(&action) {
        Decision::Allow
    } else if table::may_know_of(kind, place) {
        forbidden(principal, action)
    } else {
        Decision::Hidden
    }
}

/// What `principal` may do: to its own project and what is in it; an operator, above projects, in
/// the system scope and to any project. A client shows no other action.
#[must_use]
pub fn allowed(principal: &Principal) -> Vec<Action> {
    let Some(kind) = Kind::of(principal) else {
        return Vec::new();
    };
    let places = [Place::Platform, Place::System, Place::Project];
    let somewhere = |action: &Action| {
        places
            .iter()
            .any(|place| table::allowed(kind, *place).contains(action))
    };
    Action::ALL.iter().copied().filter(somewhere).collect()
}

fn forbidden(principal: &Principal, action: Action) -> Decision {
    Decision::Forbidden(format!(
        "{} may not {}",
        described(principal),
        action.phrase()
    ))
}

const fn described(principal: &Principal) -> &'static str {
    match principal {
        Principal::Operator(_) => "an operator",
        Principal::Token {
            role: Role::Admin, ..
        } => "a token with role `admin`",
        Principal::Token {
            role: Role::Member, ..
        } => "a token with role `member`",
        Principal::Token { .. } => "a token with role `viewer`",
        Principal::Oidc {
            role: Role::Admin, ..
        } => "an OIDC caller with role `admin`",
        Principal::Oidc {
            role: Role::Member, ..
        } => "an OIDC caller with role `member`",
        Principal::Oidc { .. } => "an OIDC caller with role `viewer`",
        Principal::Worker { .. } => "a worker",
        Principal::Enrolment { .. } => "an enrolment key",
        Principal::Sandbox { .. } => "a sandbox",
        Principal::System(_) => "the control plane",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(project: &str, role: Role) -> Principal {
        Principal::Token {
            scope: ProjectScope::verified(project.parse().expect("valid")),
            token_id: "tok_0198c0de-0000-7000-8000-00000000000a"
                .parse()
                .expect("valid"),
            role,
            login: None,
        }
    }

    /// `tests/proofs/policies` compares the whole table. This test only detects, without compiling
    /// Cedar, that the table is out of date.
    #[test]
    fn the_table_is_of_the_policies_beside_it() {
        let directory =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/policies");
        let files = std::fs::read_dir(directory).expect("read");
        let mut files: Vec<_> = files.map(|file| file.expect("read").path()).collect();
        files.sort();
        let texts: Vec<String> = files
            .iter()
            .map(|file| std::fs::read_to_string(file).expect("read"))
            .collect();
        let hash = sha256_hex(texts.concat().as_bytes());
        assert_eq!(
            table::POLICIES,
            hash,
            "run `cargo run --manifest-path tests/proofs/policies/Cargo.toml -- --write`"
        );
    }

    #[test]
    fn another_project_is_hidden_from_every_role() {
        let other = "finance".parse().expect("valid");
        for role in [Role::Admin, Role::Member, Role::Viewer] {
            let decision = decide(
                &token("healthcare", role),
                Action::ReadRuns,
                Resource::Project(&other),
            );
            assert_eq!(decision, Decision::Hidden);
        }
    }

    #[test]
    fn operators_read_their_own_trail_and_no_projects() {
        let operator = Principal::Operator(Operator::verified(
            "tok_0198c0de-0000-7000-8000-00000000000a"
                .parse()
                .expect("valid"),
        ));
        let project = "healthcare".parse().expect("valid");
        assert_eq!(
            decide(&operator, Action::ReadAudit, Resource::System),
            Decision::Allow
        );
        assert!(matches!(
            decide(&operator, Action::ReadAudit, Resource::Project(&project)),
            Decision::Forbidden(_)
        ));
        assert!(matches!(
            decide(
                &token("healthcare", Role::Admin),
                Action::ReadAudit,
                Resource::System
            ),
            Decision::Forbidden(_)
        ));
    }

    #[test]
    fn roles_are_nested_and_viewers_only_read() {
        let own = "healthcare".parse().expect("valid");
        let may = |role, action| {
            decide(&token("healthcare", role), action, Resource::Project(&own)) == Decision::Allow
        };
        assert!(may(Role::Admin, Action::ReadAudit) && may(Role::Member, Action::Enqueue));
        assert!(!may(Role::Member, Action::WriteProfile) && !may(Role::Member, Action::ReadAudit));
        assert!(!may(Role::Viewer, Action::Enqueue) && !may(Role::Viewer, Action::Cancel));
        assert!(!may(Role::Admin, Action::Work) && !may(Role::Admin, Action::CreateProject));
    }

    #[test]
    fn what_is_allowed_is_what_is_decided() {
        let own = "healthcare".parse().expect("valid");
        for role in [Role::Admin, Role::Member, Role::Viewer] {
            let principal = token("healthcare", role);
            let decided: Vec<Action> = Action::ALL
                .iter()
                .copied()
                .filter(|action| {
                    decide(&principal, *action, Resource::Project(&own)) == Decision::Allow
                })
                .collect();
            assert_eq!(allowed(&principal), decided, "{role:?}");
        }
        assert!(!allowed(&token("healthcare", Role::Viewer)).contains(&Action::Cancel));
    }
}
