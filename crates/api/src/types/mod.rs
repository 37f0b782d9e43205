//! Requests and answers, one file for each noun. Optional fields that are absent mean the default
//! that is named beside them.

mod approval;
mod cascade;
mod claim;
mod containment;
mod enrolment_key;
mod identity_token;
mod page;
mod profile;
mod project;
mod revocation;
mod run;
mod token;
mod upload;
mod usage;
mod worker;
mod workflow;

pub use approval::{ApprovalView, ApprovalsOf, Decide, SetGovernance};
pub use cascade::{ResolveCascade, ResolvedCascade, ResolvedKey};
pub use claim::{
    Claim, ClaimStep, Heartbeat, HeartbeatAnswer, LeaseRef, LeaseVerdict, OutputCredentials,
    OutputsKept, QueueMessage, ReportStep, SandboxEnd, SandboxHeartbeat, SandboxHeartbeatAnswer,
    SandboxLease, SandboxStep, StartStep, StepAnswer, StepDenials, WaitingStep,
};
pub use containment::{Contain, ContainmentState, ContainmentView, OpenWork, PreviewContainment};
pub use enrolment_key::{CreateEnrolmentKey, EnrolmentKeyCreated, EnrolmentKeyView};
pub use identity_token::{AskIdentityToken, AskSandboxToken, Discovery, IdentityToken, Key, Keys};
pub use page::Page;
pub use profile::{CreateProfile, ProfileVersionView};
pub use project::{
    ActivityView, CreatePool, CreateProject, EgressCeiling, FargatePoolView, FargateSpec,
    LimitsView, PoolView, ProjectActivity, ProjectDeletion, ProjectState, ProjectSummary,
    ProjectView, SetEgressCeiling, SetLimits, UpdateProject,
};
pub use revocation::{
    AffectedRun, FanOutView, PreviewRevocation, ProfileKey, RevocationPreview, RevocationState,
    RevocationsCreated, Revoke,
};
pub use run::{
    ArtifactView, ArtifactsView, AttemptView, EnqueueRun, EnqueueStep, OutputPage, OutputPlace,
    ResultView, RunSummary, RunView, StepView,
};
pub use sealfleet_domain::approval::{Approval, Governance};
pub use sealfleet_domain::profile::Content as ProfileContent;
pub use token::{CreateToken, TokenCreated, TokenView, WhoamiView};
pub use upload::{CreateUpload, FetchInputs, SignedUrl, StepInput, StepInputs, UploadCreated};
pub use usage::{PricesView, UsageRow, UsageSums};
pub use worker::{
    HeldStep, QueueCredentials, RegisterWorker, WorkerDetail, WorkerRegistered, WorkerSummary,
    WorkerView,
};
pub use workflow::{
    RegisterWorkflow, RunWorkflow, WorkflowDefinition, WorkflowVersionView, WorkflowView,
};
