//! Requests and answers, one file for each noun. Optional fields that are absent mean the default
//! that is named beside them.

mod cascade;
mod claim;
mod enrolment_key;
mod page;
mod profile;
mod project;
mod revocation;
mod run;
mod token;
mod upload;
mod worker;

pub use cascade::{ResolveCascade, ResolvedCascade, ResolvedKey};
pub use claim::{
    Claim, ClaimStep, Heartbeat, HeartbeatAnswer, LeaseRef, LeaseVerdict, OutputCredentials,
    OutputsKept, QueueMessage, ReportStep, SandboxEnd, SandboxLease, SandboxStep, StartStep,
    StepAnswer, WaitingStep,
};
pub use enrolment_key::{CreateEnrolmentKey, EnrolmentKeyCreated, EnrolmentKeyView};
pub use page::Page;
pub use profile::{CreateProfile, ProfileVersionView};
pub use project::{
    ActivityView, CreatePool, CreateProject, FargatePoolView, FargateSpec, LimitsView, PoolView,
    ProjectActivity, ProjectDeletion, ProjectState, ProjectSummary, ProjectView, SetLimits,
    UpdateProject,
};
pub use revocation::{
    AffectedRun, FanOutView, PreviewRevocation, ProfileKey, RevocationPreview, RevocationState,
    RevocationsCreated, Revoke,
};
pub use run::{
    ArtifactView, ArtifactsView, AttemptView, EnqueueRun, EnqueueStep, OutputPage, OutputPlace,
    ResultView, RunSummary, RunView, StepView,
};
pub use sealfleet_domain::profile::Content as ProfileContent;
pub use token::{CreateToken, TokenCreated, TokenView};
pub use upload::{CreateUpload, FetchInputs, SignedUrl, StepInput, StepInputs, UploadCreated};
pub use worker::{
    HeldStep, QueueCredentials, RegisterWorker, WorkerDetail, WorkerRegistered, WorkerSummary,
    WorkerView,
};
