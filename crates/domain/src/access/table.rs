//! The decisions of the policies in infra/policies. Generated: change the policies, then run
//! `cargo run --manifest-path tests/proofs/policies/Cargo.toml -- --write`. Never edit this file; a
//! test compares it.

use super::{Action as A, Kind as K, Place as P};

/// SHA-256 of the policies and their schema.
pub const POLICIES: &str = "d9f94766b71fc3079c22ab4eae5b828501039529e2802526099cbda240039d86";

/// The actions that a principal may do to a resource.
#[rustfmt::skip]
pub(super) const fn allowed(kind: K, place: P) -> &'static [A] {
    match (kind, place) {
        (K::Operator, P::Platform) => &[
            A::CreateProject,
            A::ListProjects,
        ],
        (K::TokenAdmin, P::Platform)
        | (K::TokenMember, P::Platform)
        | (K::TokenViewer, P::Platform)
        | (K::OidcAdmin, P::Platform)
        | (K::OidcMember, P::Platform)
        | (K::OidcViewer, P::Platform)
        | (K::Worker, P::Platform)
        | (K::EnrolmentKey, P::Platform)
        | (K::Sandbox, P::Platform)
        | (K::TokenAdmin, P::System)
        | (K::TokenMember, P::System)
        | (K::TokenViewer, P::System)
        | (K::OidcAdmin, P::System)
        | (K::OidcMember, P::System)
        | (K::OidcViewer, P::System)
        | (K::Worker, P::System)
        | (K::EnrolmentKey, P::System)
        | (K::Sandbox, P::System)
        | (K::TokenAdmin, P::AnotherProject)
        | (K::TokenMember, P::AnotherProject)
        | (K::TokenViewer, P::AnotherProject)
        | (K::OidcAdmin, P::AnotherProject)
        | (K::OidcMember, P::AnotherProject)
        | (K::OidcViewer, P::AnotherProject)
        | (K::Worker, P::AnotherProject)
        | (K::EnrolmentKey, P::AnotherProject)
        | (K::Sandbox, P::AnotherProject) => &[],
        (K::Operator, P::System) => &[
            A::WriteProfile,
            A::ReadProfiles,
            A::Revoke,
            A::ReadRevocations,
            A::ReadAudit,
            A::ReadUsage,
        ],
        (K::Operator, P::Project)
        | (K::Operator, P::AnotherProject) => &[
            A::ReadProject,
            A::UpdateProject,
            A::DeleteProject,
            A::SetLimits,
            A::CreateToken,
            A::ListTokens,
            A::RevokeToken,
        ],
        (K::TokenAdmin, P::Project)
        | (K::OidcAdmin, P::Project) => &[
            A::ReadProject,
            A::CreateToken,
            A::ListTokens,
            A::RevokeToken,
            A::ManageEnrolmentKeys,
            A::ReadWorkers,
            A::ManageWorkers,
            A::WriteProfile,
            A::ReadProfiles,
            A::Enqueue,
            A::Retry,
            A::Cancel,
            A::ReadRuns,
            A::Revoke,
            A::ReadRevocations,
            A::Contain,
            A::ReadWorkflows,
            A::RegisterWorkflow,
            A::RetireWorkflow,
            A::ReadApprovals,
            A::Decide,
            A::Govern,
            A::ReadAudit,
            A::ReadUsage,
        ],
        (K::TokenMember, P::Project)
        | (K::OidcMember, P::Project) => &[
            A::ReadProject,
            A::ReadWorkers,
            A::ReadProfiles,
            A::Enqueue,
            A::Retry,
            A::Cancel,
            A::ReadRuns,
            A::ReadRevocations,
            A::ReadWorkflows,
            A::RegisterWorkflow,
            A::ReadApprovals,
            A::ReadUsage,
        ],
        (K::TokenViewer, P::Project)
        | (K::OidcViewer, P::Project) => &[
            A::ReadProject,
            A::ReadWorkers,
            A::ReadProfiles,
            A::ReadRuns,
            A::ReadRevocations,
            A::ReadWorkflows,
            A::ReadApprovals,
            A::ReadUsage,
        ],
        (K::Worker, P::Project) => &[
            A::Work,
            A::NameStep,
        ],
        (K::EnrolmentKey, P::Project) => &[
            A::RegisterWorker,
        ],
        (K::Sandbox, P::Project) => &[
            A::AskForStep,
            A::NameStep,
        ],
    }
}

/// Whether a principal may know that a resource exists. If not, the answer is the same as if it did
/// not exist.
#[rustfmt::skip]
pub(super) const fn may_know_of(kind: K, place: P) -> bool {
    match (kind, place) {
        (K::Operator, P::Platform)
        | (K::TokenAdmin, P::Platform)
        | (K::TokenMember, P::Platform)
        | (K::TokenViewer, P::Platform)
        | (K::OidcAdmin, P::Platform)
        | (K::OidcMember, P::Platform)
        | (K::OidcViewer, P::Platform)
        | (K::Worker, P::Platform)
        | (K::EnrolmentKey, P::Platform)
        | (K::Sandbox, P::Platform)
        | (K::Operator, P::System)
        | (K::TokenAdmin, P::System)
        | (K::TokenMember, P::System)
        | (K::TokenViewer, P::System)
        | (K::OidcAdmin, P::System)
        | (K::OidcMember, P::System)
        | (K::OidcViewer, P::System)
        | (K::Worker, P::System)
        | (K::EnrolmentKey, P::System)
        | (K::Sandbox, P::System)
        | (K::Operator, P::Project)
        | (K::TokenAdmin, P::Project)
        | (K::TokenMember, P::Project)
        | (K::TokenViewer, P::Project)
        | (K::OidcAdmin, P::Project)
        | (K::OidcMember, P::Project)
        | (K::OidcViewer, P::Project)
        | (K::Worker, P::Project)
        | (K::EnrolmentKey, P::Project)
        | (K::Sandbox, P::Project)
        | (K::Operator, P::AnotherProject) => true,
        (K::TokenAdmin, P::AnotherProject)
        | (K::TokenMember, P::AnotherProject)
        | (K::TokenViewer, P::AnotherProject)
        | (K::OidcAdmin, P::AnotherProject)
        | (K::OidcMember, P::AnotherProject)
        | (K::OidcViewer, P::AnotherProject)
        | (K::Worker, P::AnotherProject)
        | (K::EnrolmentKey, P::AnotherProject)
        | (K::Sandbox, P::AnotherProject) => false,
    }
}
