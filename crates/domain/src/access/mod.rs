//! Who may do what: the one module that decides, from principal, action and resource.
//!
//! A scope decides *where* (a principal of one project cannot name a row of another), this module
//! decides *what*. The policies are infra/policies, in Cedar. Principals and resources differ in
//! few ways, so all decisions that the policies can make are a small table, `table.rs`, which is
//! generated from them and is what runs here (`docs/decisions/014-policies-are-compiled.md`). An
//! action that no policy permits is refused.

mod table;

use serde::{Deserialize, Serialize};

use crate::hash::sha256_hex;
use crate::ids::{EnrolmentKeyId, TokenId, WorkerId};
use crate::names::ProjectId;
use crate::scope::{Operator, ProjectScope};

/// Characters of a subject that the audit trail shows; of a longer one, the beginning and its hash.
const SHOWN: usize = 128;

/// What the holder of an API token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Above projects: onboards projects and makes their first tokens. Sees no project's runs,
    /// profiles or audit.
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
    /// A caller with a JWT of an OIDC issuer that the deployment trusts. Never an operator.
    Oidc {
        /// The project that its claims name.
        scope: ProjectScope,
        /// Who it is.
        subject: Subject,
        /// The role that its claims name.
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
    /// A sandbox that the control plane launched, known by the role session that its host gave it.
    Sandbox {
        /// The project of the task role.
        scope: ProjectScope,
        /// The host's short id of the sandbox.
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
            Self::Oidc { subject, .. } => format!("oidc:{subject}"),
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
            | Self::Oidc { scope, .. }
            | Self::Worker { scope, .. }
            | Self::Enrolment { scope, .. }
            | Self::Sandbox { scope, .. } => Some(scope),
            Self::Operator(_) | Self::System(_) => None,
        }
    }
}

/// Who an OIDC caller is in the audit trail: `login.example.com/SUBJECT`. Made of letters, digits
/// and few signs; all else is percent-encoded, so that no subject can look like another one, or
/// like another issuer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// The subject that `issuer` calls `sub`.
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
            // `~` occurs in no other subject.
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
    ($($(#[doc = $doc:literal])+ $name:ident $phrase:literal;)*) => {
        /// Something that a principal asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Action {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Action {
            /// All of them, in the order of this list.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in the policies.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What is done, after "may": `enqueue a run`.
            #[must_use]
            pub const fn phrase(self) -> &'static str {
                match self { $(Self::$name => $phrase,)* }
            }
        }
    };
}

actions! {
    /// Create a project, with its pools.
    CreateProject "create a project";
    /// List projects.
    ListProjects "list projects";
    /// Read one project.
    ReadProject "read the project";
    /// Set how often a project's callers may call.
    SetLimits "set the project's limits";
    /// Make an API token of the named project.
    CreateToken "make a token";
    /// List API tokens.
    ListTokens "list tokens";
    /// Revoke an API token.
    RevokeToken "revoke a token";
    /// Make, list and revoke enrolment keys.
    ManageEnrolmentKeys "manage enrolment keys";
    /// Register a worker by enrolment key.
    RegisterWorker "register a worker";
    /// Read workers.
    ReadWorkers "read workers";
    /// Approve, reject and revoke workers.
    ManageWorkers "manage workers";
    /// Create, change and delete profiles, and bind them to the levels of the cascade.
    WriteProfile "write a profile";
    /// Read profiles.
    ReadProfiles "read profiles";
    /// Enqueue a run.
    Enqueue "enqueue a run";
    /// Put a dead step back in its queue.
    Retry "retry a step";
    /// Cancel a run.
    Cancel "cancel a run";
    /// Read runs.
    ReadRuns "read runs";
    /// Revoke keys, and lift revocations.
    Revoke "revoke keys";
    /// Read revocations, and preview one.
    ReadRevocations "read revocations";
    /// Read the audit trail.
    ReadAudit "read the audit trail";
    /// Claim a step, heartbeat, start and report.
    Work "claim or report work";
    /// Ask for the step that one's own sandbox was started for.
    AskForStep "ask for a sandbox's step";
}

impl Action {
    /// Whether it takes power away: what an incident calls for, and what no rate limit may
    /// therefore delay.
    #[must_use]
    pub const fn takes_power_away(self) -> bool {
        matches!(
            self,
            Self::Cancel
                | Self::Revoke
                | Self::RevokeToken
                | Self::ManageEnrolmentKeys
                | Self::ManageWorkers
        )
    }
}

/// What an action is about, as far as the decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Things above projects.
    Platform,
    /// Profiles, revocations and the audit trail of the system scope.
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

/// A principal as far as the policies tell principals apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The holder of an operator's token.
    Operator,
    /// The holder of a project's token with role `admin`.
    TokenAdmin,
    /// The holder of a project's token with role `member`.
    TokenMember,
    /// The holder of a project's token with role `viewer`.
    TokenViewer,
    /// An OIDC caller with role `admin`.
    OidcAdmin,
    /// An OIDC caller with role `member`.
    OidcMember,
    /// An OIDC caller with role `viewer`.
    OidcViewer,
    /// A worker.
    Worker,
    /// The holder of an enrolment key.
    EnrolmentKey,
    /// A sandbox.
    Sandbox,
}

/// A resource as far as the policies tell resources apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Above projects.
    Platform,
    /// The system scope.
    System,
    /// The principal's own project; for an operator, who has none, any project.
    Project,
    /// A project that is not the principal's own.
    AnotherProject,
}

impl Kind {
    /// All of them.
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

    /// The kind of a principal. The control plane itself is none: it asks nobody, and nothing
    /// permits it anything.
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
            // An operator's role is never a project's.
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
    /// All of them.
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

/// Decides whether `principal` may do `action` to `resource`. Everything that no policy permits is
/// refused.
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
        }
    }

    /// The whole comparison is in `tests/proofs/policies`; this one tells at once that it has to be
    /// made again.
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
}
