"""Contains all the data models used in inputs/outputs"""

from .abort_reason_approval_denied import AbortReasonApprovalDenied
from .abort_reason_approval_expired import AbortReasonApprovalExpired
from .abort_reason_cancelled import AbortReasonCancelled
from .abort_reason_dependency_failed import AbortReasonDependencyFailed
from .abort_reason_revoked import AbortReasonRevoked
from .acl import Acl
from .activity_view import ActivityView
from .affected_run import AffectedRun
from .agent import Agent
from .agent_report import AgentReport
from .approval import Approval
from .approval_state import ApprovalState
from .approval_view import ApprovalView
from .approval_view_step import ApprovalViewStep
from .approvals_of import ApprovalsOf
from .artifact_destination import ArtifactDestination
from .artifact_total import ArtifactTotal
from .artifact_view import ArtifactView
from .artifact_with_secret import ArtifactWithSecret
from .artifacts_view import ArtifactsView
from .ask_identity_token import AskIdentityToken
from .ask_sandbox_token import AskSandboxToken
from .attempt_view import AttemptView
from .attempt_view_end_type_1 import AttemptViewEndType1
from .audit_entry import AuditEntry
from .bindings import Bindings
from .bindings_workflows import BindingsWorkflows
from .claim import Claim
from .claim_agent import ClaimAgent
from .claim_artifacts_item_type_1 import ClaimArtifactsItemType1
from .claim_command_item_type_1 import ClaimCommandItemType1
from .claim_env import ClaimEnv
from .claim_step import ClaimStep
from .cli import Cli
from .code import Code
from .contain import Contain
from .containment_state import ContainmentState
from .containment_view import ContainmentView
from .content_text import ContentText
from .content_upload import ContentUpload
from .create_enrolment_key import CreateEnrolmentKey
from .create_pool_fargate import CreatePoolFargate
from .create_pool_fargate_cpu import CreatePoolFargateCpu
from .create_pool_pull import CreatePoolPull
from .create_pool_pull_backend_type_1 import CreatePoolPullBackendType1
from .create_pool_pull_backend_type_2_type_1 import CreatePoolPullBackendType2Type1
from .create_pool_pull_backend_type_3_type_1 import CreatePoolPullBackendType3Type1
from .create_profile import CreateProfile
from .create_project import CreateProject
from .create_project_pools import CreateProjectPools
from .create_token import CreateToken
from .create_token_role import CreateTokenRole
from .create_upload import CreateUpload
from .dead_reason import DeadReason
from .decide import Decide
from .decision import Decision
from .deliveries import Deliveries
from .delivery_at_egress import DeliveryAtEgress
from .delivery_egress import DeliveryEgress
from .delivery_how_sigv_4 import DeliveryHowSigv4
from .delivery_kind import DeliveryKind
from .discovery import Discovery
from .egress_binding import EgressBinding
from .egress_ceiling import EgressCeiling
from .egress_denial import EgressDenial
from .egress_denials import EgressDenials
from .egress_denied import EgressDenied
from .egress_policy_allow import EgressPolicyAllow
from .egress_reach import EgressReach
from .egress_reached import EgressReached
from .egress_rule import EgressRule
from .egress_traffic import EgressTraffic
from .enqueue_run import EnqueueRun
from .enqueue_step import EnqueueStep
from .enqueue_step_artifacts_item_type_1 import EnqueueStepArtifactsItemType1
from .enqueue_step_command_item_type_1 import EnqueueStepCommandItemType1
from .enrolment_key_created import EnrolmentKeyCreated
from .enrolment_key_view import EnrolmentKeyView
from .env import Env
from .event_approval_approved import EventApprovalApproved
from .event_approval_cancelled import EventApprovalCancelled
from .event_approval_denied import EventApprovalDenied
from .event_approval_expired import EventApprovalExpired
from .event_approval_requested import EventApprovalRequested
from .event_artifact_contains_secret import EventArtifactContainsSecret
from .event_cascade_bound import EventCascadeBound
from .event_claim_refused import EventClaimRefused
from .event_egress_allowed import EventEgressAllowed
from .event_egress_ceiling_set import EventEgressCeilingSet
from .event_egress_credential_mismatch import EventEgressCredentialMismatch
from .event_egress_denied import EventEgressDenied
from .event_egress_policy_changed import EventEgressPolicyChanged
from .event_enrolment_key_created import EventEnrolmentKeyCreated
from .event_enrolment_key_revoked import EventEnrolmentKeyRevoked
from .event_governance_set import EventGovernanceSet
from .event_identity_token_issued import EventIdentityTokenIssued
from .event_identity_token_refused import EventIdentityTokenRefused
from .event_pool_sandbox_reset import EventPoolSandboxReset
from .event_profile_created import EventProfileCreated
from .event_profile_created_secrets import EventProfileCreatedSecrets
from .event_profile_deleted import EventProfileDeleted
from .event_profile_drift_at_injection import EventProfileDriftAtInjection
from .event_profile_injected import EventProfileInjected
from .event_profile_updated import EventProfileUpdated
from .event_profile_updated_secrets import EventProfileUpdatedSecrets
from .event_project_closed import EventProjectClosed
from .event_project_contained import EventProjectContained
from .event_project_containment_ended import EventProjectContainmentEnded
from .event_project_created import EventProjectCreated
from .event_project_deleted import EventProjectDeleted
from .event_project_limits_set import EventProjectLimitsSet
from .event_project_updated import EventProjectUpdated
from .event_project_updated_pools import EventProjectUpdatedPools
from .event_project_updated_replaced import EventProjectUpdatedReplaced
from .event_redaction_match import EventRedactionMatch
from .event_report_refused import EventReportRefused
from .event_revocation_fan_out_finished import EventRevocationFanOutFinished
from .event_run_aborted_by_revocation import EventRunAbortedByRevocation
from .event_run_cancelled import EventRunCancelled
from .event_run_denied import EventRunDenied
from .event_run_enqueued import EventRunEnqueued
from .event_run_finished import EventRunFinished
from .event_secret_decrypted import EventSecretDecrypted
from .event_secret_read_unexplained import EventSecretReadUnexplained
from .event_secret_released import EventSecretReleased
from .event_secret_revocation_lifted import EventSecretRevocationLifted
from .event_secret_revoked import EventSecretRevoked
from .event_step_aborted import EventStepAborted
from .event_step_dead import EventStepDead
from .event_step_failed import EventStepFailed
from .event_step_leased import EventStepLeased
from .event_step_queued import EventStepQueued
from .event_step_requeued import EventStepRequeued
from .event_step_retried import EventStepRetried
from .event_step_running import EventStepRunning
from .event_step_succeeded import EventStepSucceeded
from .event_tables_restored import EventTablesRestored
from .event_token_created import EventTokenCreated
from .event_token_revoked import EventTokenRevoked
from .event_worker_approved import EventWorkerApproved
from .event_worker_drained import EventWorkerDrained
from .event_worker_registered import EventWorkerRegistered
from .event_worker_rejected import EventWorkerRejected
from .event_worker_resumed import EventWorkerResumed
from .event_worker_revoked import EventWorkerRevoked
from .event_worker_sandboxes_told import EventWorkerSandboxesTold
from .event_workflow_promoted import EventWorkflowPromoted
from .event_workflow_registered import EventWorkflowRegistered
from .event_workflow_retired import EventWorkflowRetired
from .failure_agent_auth import FailureAgentAuth
from .failure_agent_context import FailureAgentContext
from .failure_agent_network import FailureAgentNetwork
from .failure_agent_rate_limited import FailureAgentRateLimited
from .failure_bad_artifacts import FailureBadArtifacts
from .failure_bad_result import FailureBadResult
from .failure_cannot_execute import FailureCannotExecute
from .failure_cannot_start import FailureCannotStart
from .failure_drifted import FailureDrifted
from .failure_exit import FailureExit
from .failure_out_of_memory import FailureOutOfMemory
from .failure_over_budget import FailureOverBudget
from .failure_over_turns import FailureOverTurns
from .failure_profile_refused import FailureProfileRefused
from .failure_secret_revoked import FailureSecretRevoked
from .failure_secret_unavailable import FailureSecretUnavailable
from .failure_signal import FailureSignal
from .failure_timed_out import FailureTimedOut
from .fan_out_view import FanOutView
from .fetch_inputs import FetchInputs
from .files import Files
from .gateway_error import GatewayError
from .get_openapi_response_200 import GetOpenapiResponse200
from .get_openapi_response_200_paths import GetOpenapiResponse200Paths
from .governance import Governance
from .heartbeat import Heartbeat
from .heartbeat_answer import HeartbeatAnswer
from .held_step import HeldStep
from .identity_token import IdentityToken
from .input_place_artifact import InputPlaceArtifact
from .input_place_file import InputPlaceFile
from .input_place_result import InputPlaceResult
from .input_place_stdin import InputPlaceStdin
from .inputs import Inputs
from .keys import Keys
from .labels import Labels
from .lease_ref import LeaseRef
from .lease_verdict import LeaseVerdict
from .level import Level
from .lifted import Lifted
from .limits import Limits
from .limits_view import LimitsView
from .mode import Mode
from .model_answer_sums import ModelAnswerSums
from .model_answers import ModelAnswers
from .models_used import ModelsUsed
from .needed import Needed
from .on_drift import OnDrift
from .on_secret import OnSecret
from .open_work import OpenWork
from .origin import Origin
from .output_credentials import OutputCredentials
from .output_page import OutputPage
from .output_place_project import OutputPlaceProject
from .output_place_task import OutputPlaceTask
from .output_place_worker import OutputPlaceWorker
from .outputs_kept import OutputsKept
from .overrides import Overrides
from .page_of_approval import PageOfApproval
from .page_of_audit_entry import PageOfAuditEntry
from .page_of_containment_view import PageOfContainmentView
from .page_of_enrolment_key_view import PageOfEnrolmentKeyView
from .page_of_profile import PageOfProfile
from .page_of_profile_version_view import PageOfProfileVersionView
from .page_of_project_summary import PageOfProjectSummary
from .page_of_revocation import PageOfRevocation
from .page_of_run_summary import PageOfRunSummary
from .page_of_token_view import PageOfTokenView
from .page_of_usage_row import PageOfUsageRow
from .page_of_worker_summary import PageOfWorkerSummary
from .page_of_workflow_version_view import PageOfWorkflowVersionView
from .page_of_workflow_view import PageOfWorkflowView
from .parameter import Parameter
from .parameter_schema_array import ParameterSchemaArray
from .parameter_schema_array_items import ParameterSchemaArrayItems
from .parameter_schema_array_items_type import ParameterSchemaArrayItemsType
from .parameter_schema_boolean import ParameterSchemaBoolean
from .parameter_schema_integer import ParameterSchemaInteger
from .parameter_schema_number import ParameterSchemaNumber
from .parameter_schema_object import ParameterSchemaObject
from .parameter_schema_object_properties import ParameterSchemaObjectProperties
from .parameter_schema_object_properties_additional_property import (
    ParameterSchemaObjectPropertiesAdditionalProperty,
)
from .parameter_schema_object_properties_additional_property_type import (
    ParameterSchemaObjectPropertiesAdditionalPropertyType,
)
from .parameter_schema_string import ParameterSchemaString
from .piece import Piece
from .place import Place
from .pool_settings import PoolSettings
from .pool_view_fargate import PoolViewFargate
from .pool_view_fargate_cpu import PoolViewFargateCpu
from .pool_view_pull import PoolViewPull
from .pool_view_pull_backend import PoolViewPullBackend
from .preview_containment import PreviewContainment
from .preview_revocation import PreviewRevocation
from .price_tag import PriceTag
from .price_tag_usd import PriceTagUsd
from .prices_view import PricesView
from .prices_view_models import PricesViewModels
from .problem import Problem
from .profile import Profile
from .profile_content import ProfileContent
from .profile_key import ProfileKey
from .profile_use import ProfileUse
from .profile_version_view import ProfileVersionView
from .project_activity import ProjectActivity
from .project_deletion import ProjectDeletion
from .project_state import ProjectState
from .project_summary import ProjectSummary
from .project_view import ProjectView
from .project_view_pools import ProjectViewPools
from .queue_credentials import QueueCredentials
from .redaction import Redaction
from .redaction_encoding import RedactionEncoding
from .redaction_stream import RedactionStream
from .register_worker import RegisterWorker
from .register_workflow import RegisterWorkflow
from .report_step import ReportStep
from .report_step_state import ReportStepState
from .requeue_reason import RequeueReason
from .resolve_cascade import ResolveCascade
from .resolved_cascade import ResolvedCascade
from .resolved_cascade_removed import ResolvedCascadeRemoved
from .resolved_key import ResolvedKey
from .result_view import ResultView
from .revocation import Revocation
from .revocation_preview import RevocationPreview
from .revocation_state import RevocationState
from .revocations_created import RevocationsCreated
from .revoke import Revoke
from .role import Role
from .run_state import RunState
from .run_summary import RunSummary
from .run_view import RunView
from .run_view_document import RunViewDocument
from .run_view_document_steps_item import RunViewDocumentStepsItem
from .run_workflow import RunWorkflow
from .run_workflow_parameters import RunWorkflowParameters
from .sandbox_end import SandboxEnd
from .sandbox_heartbeat import SandboxHeartbeat
from .sandbox_heartbeat_answer import SandboxHeartbeatAnswer
from .sandbox_lease import SandboxLease
from .sandbox_step import SandboxStep
from .sandbox_step_artifacts_item_type_1 import SandboxStepArtifactsItemType1
from .sandbox_step_at_egress import SandboxStepAtEgress
from .sandbox_step_command_item_type_1 import SandboxStepCommandItemType1
from .sandbox_step_env import SandboxStepEnv
from .sandboxes import Sandboxes
from .sandboxes_backends_item import SandboxesBackendsItem
from .secret_ref import SecretRef
from .secret_references import SecretReferences
from .set_egress_ceiling import SetEgressCeiling
from .set_governance import SetGovernance
from .set_limits import SetLimits
from .signing_key import SigningKey
from .sigv_4 import Sigv4
from .start_cause import StartCause
from .start_step import StartStep
from .start_step_resolved import StartStepResolved
from .start_step_store_request_ids import StartStepStoreRequestIds
from .step_answer import StepAnswer
from .step_denials import StepDenials
from .step_input import StepInput
from .step_inputs import StepInputs
from .step_state import StepState
from .step_view import StepView
from .stream import Stream
from .tally import Tally
from .token_created import TokenCreated
from .token_view import TokenView
from .unexplained import Unexplained
from .update_project import UpdateProject
from .update_project_pools import UpdateProjectPools
from .upload_created import UploadCreated
from .upload_created_headers import UploadCreatedHeaders
from .usage import Usage
from .usage_row import UsageRow
from .usage_sums import UsageSums
from .verdict import Verdict
from .version_state import VersionState
from .waiting_step import WaitingStep
from .whoami_view import WhoamiView
from .whoami_view_may_item import WhoamiViewMayItem
from .worker_detail import WorkerDetail
from .worker_registered import WorkerRegistered
from .worker_status import WorkerStatus
from .worker_summary import WorkerSummary
from .worker_view import WorkerView
from .workflow_definition import WorkflowDefinition
from .workflow_definition_parameters import WorkflowDefinitionParameters
from .workflow_version_view import WorkflowVersionView
from .workflow_version_view_definition import WorkflowVersionViewDefinition
from .workflow_version_view_definition_steps_item import (
    WorkflowVersionViewDefinitionStepsItem,
)
from .workflow_view import WorkflowView
from .workload_identity import WorkloadIdentity

__all__ = (
    "AbortReasonApprovalDenied",
    "AbortReasonApprovalExpired",
    "AbortReasonCancelled",
    "AbortReasonDependencyFailed",
    "AbortReasonRevoked",
    "Acl",
    "ActivityView",
    "AffectedRun",
    "Agent",
    "AgentReport",
    "Approval",
    "ApprovalState",
    "ApprovalView",
    "ApprovalViewStep",
    "ApprovalsOf",
    "ArtifactDestination",
    "ArtifactTotal",
    "ArtifactView",
    "ArtifactWithSecret",
    "ArtifactsView",
    "AskIdentityToken",
    "AskSandboxToken",
    "AttemptView",
    "AttemptViewEndType1",
    "AuditEntry",
    "Bindings",
    "BindingsWorkflows",
    "Claim",
    "ClaimAgent",
    "ClaimArtifactsItemType1",
    "ClaimCommandItemType1",
    "ClaimEnv",
    "ClaimStep",
    "Cli",
    "Code",
    "Contain",
    "ContainmentState",
    "ContainmentView",
    "ContentText",
    "ContentUpload",
    "CreateEnrolmentKey",
    "CreatePoolFargate",
    "CreatePoolFargateCpu",
    "CreatePoolPull",
    "CreatePoolPullBackendType1",
    "CreatePoolPullBackendType2Type1",
    "CreatePoolPullBackendType3Type1",
    "CreateProfile",
    "CreateProject",
    "CreateProjectPools",
    "CreateToken",
    "CreateTokenRole",
    "CreateUpload",
    "DeadReason",
    "Decide",
    "Decision",
    "Deliveries",
    "DeliveryAtEgress",
    "DeliveryEgress",
    "DeliveryHowSigv4",
    "DeliveryKind",
    "Discovery",
    "EgressBinding",
    "EgressCeiling",
    "EgressDenial",
    "EgressDenials",
    "EgressDenied",
    "EgressPolicyAllow",
    "EgressReach",
    "EgressReached",
    "EgressRule",
    "EgressTraffic",
    "EnqueueRun",
    "EnqueueStep",
    "EnqueueStepArtifactsItemType1",
    "EnqueueStepCommandItemType1",
    "EnrolmentKeyCreated",
    "EnrolmentKeyView",
    "Env",
    "EventApprovalApproved",
    "EventApprovalCancelled",
    "EventApprovalDenied",
    "EventApprovalExpired",
    "EventApprovalRequested",
    "EventArtifactContainsSecret",
    "EventCascadeBound",
    "EventClaimRefused",
    "EventEgressAllowed",
    "EventEgressCeilingSet",
    "EventEgressCredentialMismatch",
    "EventEgressDenied",
    "EventEgressPolicyChanged",
    "EventEnrolmentKeyCreated",
    "EventEnrolmentKeyRevoked",
    "EventGovernanceSet",
    "EventIdentityTokenIssued",
    "EventIdentityTokenRefused",
    "EventPoolSandboxReset",
    "EventProfileCreated",
    "EventProfileCreatedSecrets",
    "EventProfileDeleted",
    "EventProfileDriftAtInjection",
    "EventProfileInjected",
    "EventProfileUpdated",
    "EventProfileUpdatedSecrets",
    "EventProjectClosed",
    "EventProjectContained",
    "EventProjectContainmentEnded",
    "EventProjectCreated",
    "EventProjectDeleted",
    "EventProjectLimitsSet",
    "EventProjectUpdated",
    "EventProjectUpdatedPools",
    "EventProjectUpdatedReplaced",
    "EventRedactionMatch",
    "EventReportRefused",
    "EventRevocationFanOutFinished",
    "EventRunAbortedByRevocation",
    "EventRunCancelled",
    "EventRunDenied",
    "EventRunEnqueued",
    "EventRunFinished",
    "EventSecretDecrypted",
    "EventSecretReadUnexplained",
    "EventSecretReleased",
    "EventSecretRevocationLifted",
    "EventSecretRevoked",
    "EventStepAborted",
    "EventStepDead",
    "EventStepFailed",
    "EventStepLeased",
    "EventStepQueued",
    "EventStepRequeued",
    "EventStepRetried",
    "EventStepRunning",
    "EventStepSucceeded",
    "EventTablesRestored",
    "EventTokenCreated",
    "EventTokenRevoked",
    "EventWorkerApproved",
    "EventWorkerDrained",
    "EventWorkerRegistered",
    "EventWorkerRejected",
    "EventWorkerResumed",
    "EventWorkerRevoked",
    "EventWorkerSandboxesTold",
    "EventWorkflowPromoted",
    "EventWorkflowRegistered",
    "EventWorkflowRetired",
    "FailureAgentAuth",
    "FailureAgentContext",
    "FailureAgentNetwork",
    "FailureAgentRateLimited",
    "FailureBadArtifacts",
    "FailureBadResult",
    "FailureCannotExecute",
    "FailureCannotStart",
    "FailureDrifted",
    "FailureExit",
    "FailureOutOfMemory",
    "FailureOverBudget",
    "FailureOverTurns",
    "FailureProfileRefused",
    "FailureSecretRevoked",
    "FailureSecretUnavailable",
    "FailureSignal",
    "FailureTimedOut",
    "FanOutView",
    "FetchInputs",
    "Files",
    "GatewayError",
    "GetOpenapiResponse200",
    "GetOpenapiResponse200Paths",
    "Governance",
    "Heartbeat",
    "HeartbeatAnswer",
    "HeldStep",
    "IdentityToken",
    "InputPlaceArtifact",
    "InputPlaceFile",
    "InputPlaceResult",
    "InputPlaceStdin",
    "Inputs",
    "Keys",
    "Labels",
    "LeaseRef",
    "LeaseVerdict",
    "Level",
    "Lifted",
    "Limits",
    "LimitsView",
    "Mode",
    "ModelAnswerSums",
    "ModelAnswers",
    "ModelsUsed",
    "Needed",
    "OnDrift",
    "OnSecret",
    "OpenWork",
    "Origin",
    "OutputCredentials",
    "OutputPage",
    "OutputPlaceProject",
    "OutputPlaceTask",
    "OutputPlaceWorker",
    "OutputsKept",
    "Overrides",
    "PageOfApproval",
    "PageOfAuditEntry",
    "PageOfContainmentView",
    "PageOfEnrolmentKeyView",
    "PageOfProfile",
    "PageOfProfileVersionView",
    "PageOfProjectSummary",
    "PageOfRevocation",
    "PageOfRunSummary",
    "PageOfTokenView",
    "PageOfUsageRow",
    "PageOfWorkerSummary",
    "PageOfWorkflowVersionView",
    "PageOfWorkflowView",
    "Parameter",
    "ParameterSchemaArray",
    "ParameterSchemaArrayItems",
    "ParameterSchemaArrayItemsType",
    "ParameterSchemaBoolean",
    "ParameterSchemaInteger",
    "ParameterSchemaNumber",
    "ParameterSchemaObject",
    "ParameterSchemaObjectProperties",
    "ParameterSchemaObjectPropertiesAdditionalProperty",
    "ParameterSchemaObjectPropertiesAdditionalPropertyType",
    "ParameterSchemaString",
    "Piece",
    "Place",
    "PoolSettings",
    "PoolViewFargate",
    "PoolViewFargateCpu",
    "PoolViewPull",
    "PoolViewPullBackend",
    "PreviewContainment",
    "PreviewRevocation",
    "PriceTag",
    "PriceTagUsd",
    "PricesView",
    "PricesViewModels",
    "Problem",
    "Profile",
    "ProfileContent",
    "ProfileKey",
    "ProfileUse",
    "ProfileVersionView",
    "ProjectActivity",
    "ProjectDeletion",
    "ProjectState",
    "ProjectSummary",
    "ProjectView",
    "ProjectViewPools",
    "QueueCredentials",
    "Redaction",
    "RedactionEncoding",
    "RedactionStream",
    "RegisterWorker",
    "RegisterWorkflow",
    "ReportStep",
    "ReportStepState",
    "RequeueReason",
    "ResolveCascade",
    "ResolvedCascade",
    "ResolvedCascadeRemoved",
    "ResolvedKey",
    "ResultView",
    "Revocation",
    "RevocationPreview",
    "RevocationState",
    "RevocationsCreated",
    "Revoke",
    "Role",
    "RunState",
    "RunSummary",
    "RunView",
    "RunViewDocument",
    "RunViewDocumentStepsItem",
    "RunWorkflow",
    "RunWorkflowParameters",
    "SandboxEnd",
    "SandboxHeartbeat",
    "SandboxHeartbeatAnswer",
    "SandboxLease",
    "SandboxStep",
    "SandboxStepArtifactsItemType1",
    "SandboxStepAtEgress",
    "SandboxStepCommandItemType1",
    "SandboxStepEnv",
    "Sandboxes",
    "SandboxesBackendsItem",
    "SecretRef",
    "SecretReferences",
    "SetEgressCeiling",
    "SetGovernance",
    "SetLimits",
    "SigningKey",
    "Sigv4",
    "StartCause",
    "StartStep",
    "StartStepResolved",
    "StartStepStoreRequestIds",
    "StepAnswer",
    "StepDenials",
    "StepInput",
    "StepInputs",
    "StepState",
    "StepView",
    "Stream",
    "Tally",
    "TokenCreated",
    "TokenView",
    "Unexplained",
    "UpdateProject",
    "UpdateProjectPools",
    "UploadCreated",
    "UploadCreatedHeaders",
    "Usage",
    "UsageRow",
    "UsageSums",
    "Verdict",
    "VersionState",
    "WaitingStep",
    "WhoamiView",
    "WhoamiViewMayItem",
    "WorkerDetail",
    "WorkerRegistered",
    "WorkerStatus",
    "WorkerSummary",
    "WorkerView",
    "WorkflowDefinition",
    "WorkflowDefinitionParameters",
    "WorkflowVersionView",
    "WorkflowVersionViewDefinition",
    "WorkflowVersionViewDefinitionStepsItem",
    "WorkflowView",
    "WorkloadIdentity",
)
