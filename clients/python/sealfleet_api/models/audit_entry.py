from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.event_approval_approved import EventApprovalApproved
    from ..models.event_approval_cancelled import EventApprovalCancelled
    from ..models.event_approval_denied import EventApprovalDenied
    from ..models.event_approval_expired import EventApprovalExpired
    from ..models.event_approval_requested import EventApprovalRequested
    from ..models.event_artifact_contains_secret import EventArtifactContainsSecret
    from ..models.event_cascade_bound import EventCascadeBound
    from ..models.event_claim_refused import EventClaimRefused
    from ..models.event_egress_allowed import EventEgressAllowed
    from ..models.event_egress_ceiling_set import EventEgressCeilingSet
    from ..models.event_egress_credential_mismatch import EventEgressCredentialMismatch
    from ..models.event_egress_denied import EventEgressDenied
    from ..models.event_egress_policy_changed import EventEgressPolicyChanged
    from ..models.event_enrolment_key_created import EventEnrolmentKeyCreated
    from ..models.event_enrolment_key_revoked import EventEnrolmentKeyRevoked
    from ..models.event_governance_set import EventGovernanceSet
    from ..models.event_identity_token_issued import EventIdentityTokenIssued
    from ..models.event_identity_token_refused import EventIdentityTokenRefused
    from ..models.event_pool_sandbox_reset import EventPoolSandboxReset
    from ..models.event_profile_created import EventProfileCreated
    from ..models.event_profile_deleted import EventProfileDeleted
    from ..models.event_profile_drift_at_injection import EventProfileDriftAtInjection
    from ..models.event_profile_injected import EventProfileInjected
    from ..models.event_profile_updated import EventProfileUpdated
    from ..models.event_project_closed import EventProjectClosed
    from ..models.event_project_contained import EventProjectContained
    from ..models.event_project_containment_ended import EventProjectContainmentEnded
    from ..models.event_project_created import EventProjectCreated
    from ..models.event_project_deleted import EventProjectDeleted
    from ..models.event_project_limits_set import EventProjectLimitsSet
    from ..models.event_project_updated import EventProjectUpdated
    from ..models.event_redaction_match import EventRedactionMatch
    from ..models.event_report_refused import EventReportRefused
    from ..models.event_revocation_fan_out_finished import EventRevocationFanOutFinished
    from ..models.event_run_aborted_by_revocation import EventRunAbortedByRevocation
    from ..models.event_run_cancelled import EventRunCancelled
    from ..models.event_run_denied import EventRunDenied
    from ..models.event_run_enqueued import EventRunEnqueued
    from ..models.event_run_finished import EventRunFinished
    from ..models.event_secret_decrypted import EventSecretDecrypted
    from ..models.event_secret_read_unexplained import EventSecretReadUnexplained
    from ..models.event_secret_released import EventSecretReleased
    from ..models.event_secret_revocation_lifted import EventSecretRevocationLifted
    from ..models.event_secret_revoked import EventSecretRevoked
    from ..models.event_step_aborted import EventStepAborted
    from ..models.event_step_dead import EventStepDead
    from ..models.event_step_failed import EventStepFailed
    from ..models.event_step_leased import EventStepLeased
    from ..models.event_step_queued import EventStepQueued
    from ..models.event_step_requeued import EventStepRequeued
    from ..models.event_step_retried import EventStepRetried
    from ..models.event_step_running import EventStepRunning
    from ..models.event_step_succeeded import EventStepSucceeded
    from ..models.event_tables_restored import EventTablesRestored
    from ..models.event_token_created import EventTokenCreated
    from ..models.event_token_revoked import EventTokenRevoked
    from ..models.event_worker_approved import EventWorkerApproved
    from ..models.event_worker_drained import EventWorkerDrained
    from ..models.event_worker_registered import EventWorkerRegistered
    from ..models.event_worker_rejected import EventWorkerRejected
    from ..models.event_worker_resumed import EventWorkerResumed
    from ..models.event_worker_revoked import EventWorkerRevoked
    from ..models.event_worker_sandboxes_told import EventWorkerSandboxesTold
    from ..models.event_workflow_promoted import EventWorkflowPromoted
    from ..models.event_workflow_registered import EventWorkflowRegistered
    from ..models.event_workflow_retired import EventWorkflowRetired


T = TypeVar("T", bound="AuditEntry")


@_attrs_define
class AuditEntry:
    """The record of one transaction.

    Attributes:
        actor (str): Who made the transaction, as `kind:id`.
        at (datetime.datetime): A date and time of RFC 3339.
        event_id (str): An audit entry's id.
        events (list[EventApprovalApproved | EventApprovalCancelled | EventApprovalDenied | EventApprovalExpired |
            EventApprovalRequested | EventArtifactContainsSecret | EventCascadeBound | EventClaimRefused |
            EventEgressAllowed | EventEgressCeilingSet | EventEgressCredentialMismatch | EventEgressDenied |
            EventEgressPolicyChanged | EventEnrolmentKeyCreated | EventEnrolmentKeyRevoked | EventGovernanceSet |
            EventIdentityTokenIssued | EventIdentityTokenRefused | EventPoolSandboxReset | EventProfileCreated |
            EventProfileDeleted | EventProfileDriftAtInjection | EventProfileInjected | EventProfileUpdated |
            EventProjectClosed | EventProjectContained | EventProjectContainmentEnded | EventProjectCreated |
            EventProjectDeleted | EventProjectLimitsSet | EventProjectUpdated | EventRedactionMatch | EventReportRefused |
            EventRevocationFanOutFinished | EventRunAbortedByRevocation | EventRunCancelled | EventRunDenied |
            EventRunEnqueued | EventRunFinished | EventSecretDecrypted | EventSecretReadUnexplained | EventSecretReleased |
            EventSecretRevocationLifted | EventSecretRevoked | EventStepAborted | EventStepDead | EventStepFailed |
            EventStepLeased | EventStepQueued | EventStepRequeued | EventStepRetried | EventStepRunning | EventStepSucceeded
            | EventTablesRestored | EventTokenCreated | EventTokenRevoked | EventWorkerApproved | EventWorkerDrained |
            EventWorkerRegistered | EventWorkerRejected | EventWorkerResumed | EventWorkerRevoked | EventWorkerSandboxesTold
            | EventWorkflowPromoted | EventWorkflowRegistered | EventWorkflowRetired]): What happened, in order.
        project (str): The project whose trail contains this entry. The operators' own trail is `~system`.
        containment_id (str | Unset): The id of a containment: an incident in which all work of a project was stopped.
        run_id (str | Unset): A run's id.
    """

    actor: str
    at: datetime.datetime
    event_id: str
    events: list[
        EventApprovalApproved
        | EventApprovalCancelled
        | EventApprovalDenied
        | EventApprovalExpired
        | EventApprovalRequested
        | EventArtifactContainsSecret
        | EventCascadeBound
        | EventClaimRefused
        | EventEgressAllowed
        | EventEgressCeilingSet
        | EventEgressCredentialMismatch
        | EventEgressDenied
        | EventEgressPolicyChanged
        | EventEnrolmentKeyCreated
        | EventEnrolmentKeyRevoked
        | EventGovernanceSet
        | EventIdentityTokenIssued
        | EventIdentityTokenRefused
        | EventPoolSandboxReset
        | EventProfileCreated
        | EventProfileDeleted
        | EventProfileDriftAtInjection
        | EventProfileInjected
        | EventProfileUpdated
        | EventProjectClosed
        | EventProjectContained
        | EventProjectContainmentEnded
        | EventProjectCreated
        | EventProjectDeleted
        | EventProjectLimitsSet
        | EventProjectUpdated
        | EventRedactionMatch
        | EventReportRefused
        | EventRevocationFanOutFinished
        | EventRunAbortedByRevocation
        | EventRunCancelled
        | EventRunDenied
        | EventRunEnqueued
        | EventRunFinished
        | EventSecretDecrypted
        | EventSecretReadUnexplained
        | EventSecretReleased
        | EventSecretRevocationLifted
        | EventSecretRevoked
        | EventStepAborted
        | EventStepDead
        | EventStepFailed
        | EventStepLeased
        | EventStepQueued
        | EventStepRequeued
        | EventStepRetried
        | EventStepRunning
        | EventStepSucceeded
        | EventTablesRestored
        | EventTokenCreated
        | EventTokenRevoked
        | EventWorkerApproved
        | EventWorkerDrained
        | EventWorkerRegistered
        | EventWorkerRejected
        | EventWorkerResumed
        | EventWorkerRevoked
        | EventWorkerSandboxesTold
        | EventWorkflowPromoted
        | EventWorkflowRegistered
        | EventWorkflowRetired
    ]
    project: str
    containment_id: str | Unset = UNSET
    run_id: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.event_approval_approved import EventApprovalApproved
        from ..models.event_approval_cancelled import EventApprovalCancelled
        from ..models.event_approval_denied import EventApprovalDenied
        from ..models.event_approval_expired import EventApprovalExpired
        from ..models.event_approval_requested import EventApprovalRequested
        from ..models.event_artifact_contains_secret import EventArtifactContainsSecret
        from ..models.event_cascade_bound import EventCascadeBound
        from ..models.event_claim_refused import EventClaimRefused
        from ..models.event_egress_allowed import EventEgressAllowed
        from ..models.event_egress_ceiling_set import EventEgressCeilingSet
        from ..models.event_egress_credential_mismatch import (
            EventEgressCredentialMismatch,
        )
        from ..models.event_egress_denied import EventEgressDenied
        from ..models.event_egress_policy_changed import EventEgressPolicyChanged
        from ..models.event_enrolment_key_created import EventEnrolmentKeyCreated
        from ..models.event_enrolment_key_revoked import EventEnrolmentKeyRevoked
        from ..models.event_governance_set import EventGovernanceSet
        from ..models.event_identity_token_issued import EventIdentityTokenIssued
        from ..models.event_identity_token_refused import EventIdentityTokenRefused
        from ..models.event_pool_sandbox_reset import EventPoolSandboxReset
        from ..models.event_profile_created import EventProfileCreated
        from ..models.event_profile_deleted import EventProfileDeleted
        from ..models.event_profile_drift_at_injection import (
            EventProfileDriftAtInjection,
        )
        from ..models.event_profile_injected import EventProfileInjected
        from ..models.event_profile_updated import EventProfileUpdated
        from ..models.event_project_closed import EventProjectClosed
        from ..models.event_project_contained import EventProjectContained
        from ..models.event_project_containment_ended import (
            EventProjectContainmentEnded,
        )
        from ..models.event_project_created import EventProjectCreated
        from ..models.event_project_deleted import EventProjectDeleted
        from ..models.event_project_limits_set import EventProjectLimitsSet
        from ..models.event_project_updated import EventProjectUpdated
        from ..models.event_redaction_match import EventRedactionMatch
        from ..models.event_revocation_fan_out_finished import (
            EventRevocationFanOutFinished,
        )
        from ..models.event_run_aborted_by_revocation import EventRunAbortedByRevocation
        from ..models.event_run_cancelled import EventRunCancelled
        from ..models.event_run_denied import EventRunDenied
        from ..models.event_run_enqueued import EventRunEnqueued
        from ..models.event_run_finished import EventRunFinished
        from ..models.event_secret_decrypted import EventSecretDecrypted
        from ..models.event_secret_read_unexplained import EventSecretReadUnexplained
        from ..models.event_secret_released import EventSecretReleased
        from ..models.event_secret_revocation_lifted import EventSecretRevocationLifted
        from ..models.event_secret_revoked import EventSecretRevoked
        from ..models.event_step_aborted import EventStepAborted
        from ..models.event_step_dead import EventStepDead
        from ..models.event_step_failed import EventStepFailed
        from ..models.event_step_leased import EventStepLeased
        from ..models.event_step_queued import EventStepQueued
        from ..models.event_step_requeued import EventStepRequeued
        from ..models.event_step_retried import EventStepRetried
        from ..models.event_step_running import EventStepRunning
        from ..models.event_step_succeeded import EventStepSucceeded
        from ..models.event_tables_restored import EventTablesRestored
        from ..models.event_token_created import EventTokenCreated
        from ..models.event_token_revoked import EventTokenRevoked
        from ..models.event_worker_approved import EventWorkerApproved
        from ..models.event_worker_drained import EventWorkerDrained
        from ..models.event_worker_registered import EventWorkerRegistered
        from ..models.event_worker_rejected import EventWorkerRejected
        from ..models.event_worker_resumed import EventWorkerResumed
        from ..models.event_worker_revoked import EventWorkerRevoked
        from ..models.event_worker_sandboxes_told import EventWorkerSandboxesTold
        from ..models.event_workflow_promoted import EventWorkflowPromoted
        from ..models.event_workflow_registered import EventWorkflowRegistered
        from ..models.event_workflow_retired import EventWorkflowRetired

        actor = self.actor

        at = self.at.isoformat()

        event_id = self.event_id

        events = []
        for events_item_data in self.events:
            events_item: dict[str, Any]
            if (
                isinstance(events_item_data, EventProjectCreated)
                or isinstance(events_item_data, EventProjectUpdated)
                or isinstance(events_item_data, EventProjectClosed)
                or isinstance(events_item_data, EventProjectDeleted)
                or isinstance(events_item_data, EventProjectLimitsSet)
                or isinstance(events_item_data, EventEgressCeilingSet)
                or isinstance(events_item_data, EventProjectContained)
                or isinstance(events_item_data, EventProjectContainmentEnded)
                or isinstance(events_item_data, EventTablesRestored)
                or isinstance(events_item_data, EventTokenCreated)
                or isinstance(events_item_data, EventTokenRevoked)
                or isinstance(events_item_data, EventEnrolmentKeyCreated)
                or isinstance(events_item_data, EventEnrolmentKeyRevoked)
                or isinstance(events_item_data, EventWorkerRegistered)
                or isinstance(events_item_data, EventWorkerApproved)
                or isinstance(events_item_data, EventWorkerRejected)
                or isinstance(events_item_data, EventWorkerRevoked)
                or isinstance(events_item_data, EventWorkerDrained)
                or isinstance(events_item_data, EventWorkerResumed)
                or isinstance(events_item_data, EventWorkerSandboxesTold)
                or isinstance(events_item_data, EventProfileCreated)
                or isinstance(events_item_data, EventProfileUpdated)
                or isinstance(events_item_data, EventProfileDeleted)
                or isinstance(events_item_data, EventCascadeBound)
                or isinstance(events_item_data, EventSecretRevoked)
                or isinstance(events_item_data, EventSecretRevocationLifted)
                or isinstance(events_item_data, EventRunAbortedByRevocation)
                or isinstance(events_item_data, EventRevocationFanOutFinished)
                or isinstance(events_item_data, EventGovernanceSet)
                or isinstance(events_item_data, EventWorkflowRegistered)
                or isinstance(events_item_data, EventWorkflowPromoted)
                or isinstance(events_item_data, EventWorkflowRetired)
                or isinstance(events_item_data, EventApprovalRequested)
                or isinstance(events_item_data, EventApprovalApproved)
                or isinstance(events_item_data, EventApprovalDenied)
                or isinstance(events_item_data, EventApprovalExpired)
                or isinstance(events_item_data, EventApprovalCancelled)
                or isinstance(events_item_data, EventRunEnqueued)
                or isinstance(events_item_data, EventRunDenied)
                or isinstance(events_item_data, EventStepQueued)
                or isinstance(events_item_data, EventStepLeased)
                or isinstance(events_item_data, EventSecretReleased)
                or isinstance(events_item_data, EventProfileDriftAtInjection)
                or isinstance(events_item_data, EventStepRunning)
                or isinstance(events_item_data, EventProfileInjected)
                or isinstance(events_item_data, EventIdentityTokenIssued)
                or isinstance(events_item_data, EventIdentityTokenRefused)
                or isinstance(events_item_data, EventSecretReadUnexplained)
                or isinstance(events_item_data, EventSecretDecrypted)
                or isinstance(events_item_data, EventStepSucceeded)
                or isinstance(events_item_data, EventStepFailed)
                or isinstance(events_item_data, EventStepRequeued)
                or isinstance(events_item_data, EventStepAborted)
                or isinstance(events_item_data, EventStepDead)
                or isinstance(events_item_data, EventStepRetried)
                or isinstance(events_item_data, EventPoolSandboxReset)
                or isinstance(events_item_data, EventRedactionMatch)
                or isinstance(events_item_data, EventEgressDenied)
                or isinstance(events_item_data, EventEgressCredentialMismatch)
                or isinstance(events_item_data, EventEgressAllowed)
                or isinstance(events_item_data, EventEgressPolicyChanged)
                or isinstance(events_item_data, EventArtifactContainsSecret)
                or isinstance(events_item_data, EventRunFinished)
                or isinstance(events_item_data, EventRunCancelled)
                or isinstance(events_item_data, EventClaimRefused)
            ):
                events_item = events_item_data.to_dict()
            else:
                events_item = events_item_data.to_dict()

            events.append(events_item)

        project = self.project

        containment_id = self.containment_id

        run_id = self.run_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "actor": actor,
                "at": at,
                "event_id": event_id,
                "events": events,
                "project": project,
            }
        )
        if containment_id is not UNSET:
            field_dict["containment_id"] = containment_id
        if run_id is not UNSET:
            field_dict["run_id"] = run_id

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.event_approval_approved import EventApprovalApproved
        from ..models.event_approval_cancelled import EventApprovalCancelled
        from ..models.event_approval_denied import EventApprovalDenied
        from ..models.event_approval_expired import EventApprovalExpired
        from ..models.event_approval_requested import EventApprovalRequested
        from ..models.event_artifact_contains_secret import EventArtifactContainsSecret
        from ..models.event_cascade_bound import EventCascadeBound
        from ..models.event_claim_refused import EventClaimRefused
        from ..models.event_egress_allowed import EventEgressAllowed
        from ..models.event_egress_ceiling_set import EventEgressCeilingSet
        from ..models.event_egress_credential_mismatch import (
            EventEgressCredentialMismatch,
        )
        from ..models.event_egress_denied import EventEgressDenied
        from ..models.event_egress_policy_changed import EventEgressPolicyChanged
        from ..models.event_enrolment_key_created import EventEnrolmentKeyCreated
        from ..models.event_enrolment_key_revoked import EventEnrolmentKeyRevoked
        from ..models.event_governance_set import EventGovernanceSet
        from ..models.event_identity_token_issued import EventIdentityTokenIssued
        from ..models.event_identity_token_refused import EventIdentityTokenRefused
        from ..models.event_pool_sandbox_reset import EventPoolSandboxReset
        from ..models.event_profile_created import EventProfileCreated
        from ..models.event_profile_deleted import EventProfileDeleted
        from ..models.event_profile_drift_at_injection import (
            EventProfileDriftAtInjection,
        )
        from ..models.event_profile_injected import EventProfileInjected
        from ..models.event_profile_updated import EventProfileUpdated
        from ..models.event_project_closed import EventProjectClosed
        from ..models.event_project_contained import EventProjectContained
        from ..models.event_project_containment_ended import (
            EventProjectContainmentEnded,
        )
        from ..models.event_project_created import EventProjectCreated
        from ..models.event_project_deleted import EventProjectDeleted
        from ..models.event_project_limits_set import EventProjectLimitsSet
        from ..models.event_project_updated import EventProjectUpdated
        from ..models.event_redaction_match import EventRedactionMatch
        from ..models.event_report_refused import EventReportRefused
        from ..models.event_revocation_fan_out_finished import (
            EventRevocationFanOutFinished,
        )
        from ..models.event_run_aborted_by_revocation import EventRunAbortedByRevocation
        from ..models.event_run_cancelled import EventRunCancelled
        from ..models.event_run_denied import EventRunDenied
        from ..models.event_run_enqueued import EventRunEnqueued
        from ..models.event_run_finished import EventRunFinished
        from ..models.event_secret_decrypted import EventSecretDecrypted
        from ..models.event_secret_read_unexplained import EventSecretReadUnexplained
        from ..models.event_secret_released import EventSecretReleased
        from ..models.event_secret_revocation_lifted import EventSecretRevocationLifted
        from ..models.event_secret_revoked import EventSecretRevoked
        from ..models.event_step_aborted import EventStepAborted
        from ..models.event_step_dead import EventStepDead
        from ..models.event_step_failed import EventStepFailed
        from ..models.event_step_leased import EventStepLeased
        from ..models.event_step_queued import EventStepQueued
        from ..models.event_step_requeued import EventStepRequeued
        from ..models.event_step_retried import EventStepRetried
        from ..models.event_step_running import EventStepRunning
        from ..models.event_step_succeeded import EventStepSucceeded
        from ..models.event_tables_restored import EventTablesRestored
        from ..models.event_token_created import EventTokenCreated
        from ..models.event_token_revoked import EventTokenRevoked
        from ..models.event_worker_approved import EventWorkerApproved
        from ..models.event_worker_drained import EventWorkerDrained
        from ..models.event_worker_registered import EventWorkerRegistered
        from ..models.event_worker_rejected import EventWorkerRejected
        from ..models.event_worker_resumed import EventWorkerResumed
        from ..models.event_worker_revoked import EventWorkerRevoked
        from ..models.event_worker_sandboxes_told import EventWorkerSandboxesTold
        from ..models.event_workflow_promoted import EventWorkflowPromoted
        from ..models.event_workflow_registered import EventWorkflowRegistered
        from ..models.event_workflow_retired import EventWorkflowRetired

        d = dict(src_dict)
        actor = d.pop("actor")

        at = datetime.datetime.fromisoformat(d.pop("at"))

        event_id = d.pop("event_id")

        events = []
        _events = d.pop("events")
        for events_item_data in _events:

            def _parse_events_item(
                data: object,
            ) -> (
                EventApprovalApproved
                | EventApprovalCancelled
                | EventApprovalDenied
                | EventApprovalExpired
                | EventApprovalRequested
                | EventArtifactContainsSecret
                | EventCascadeBound
                | EventClaimRefused
                | EventEgressAllowed
                | EventEgressCeilingSet
                | EventEgressCredentialMismatch
                | EventEgressDenied
                | EventEgressPolicyChanged
                | EventEnrolmentKeyCreated
                | EventEnrolmentKeyRevoked
                | EventGovernanceSet
                | EventIdentityTokenIssued
                | EventIdentityTokenRefused
                | EventPoolSandboxReset
                | EventProfileCreated
                | EventProfileDeleted
                | EventProfileDriftAtInjection
                | EventProfileInjected
                | EventProfileUpdated
                | EventProjectClosed
                | EventProjectContained
                | EventProjectContainmentEnded
                | EventProjectCreated
                | EventProjectDeleted
                | EventProjectLimitsSet
                | EventProjectUpdated
                | EventRedactionMatch
                | EventReportRefused
                | EventRevocationFanOutFinished
                | EventRunAbortedByRevocation
                | EventRunCancelled
                | EventRunDenied
                | EventRunEnqueued
                | EventRunFinished
                | EventSecretDecrypted
                | EventSecretReadUnexplained
                | EventSecretReleased
                | EventSecretRevocationLifted
                | EventSecretRevoked
                | EventStepAborted
                | EventStepDead
                | EventStepFailed
                | EventStepLeased
                | EventStepQueued
                | EventStepRequeued
                | EventStepRetried
                | EventStepRunning
                | EventStepSucceeded
                | EventTablesRestored
                | EventTokenCreated
                | EventTokenRevoked
                | EventWorkerApproved
                | EventWorkerDrained
                | EventWorkerRegistered
                | EventWorkerRejected
                | EventWorkerResumed
                | EventWorkerRevoked
                | EventWorkerSandboxesTold
                | EventWorkflowPromoted
                | EventWorkflowRegistered
                | EventWorkflowRetired
            ):
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_0 = EventProjectCreated.from_dict(data)

                    return componentsschemas_event_type_0
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_1 = EventProjectUpdated.from_dict(data)

                    return componentsschemas_event_type_1
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_2 = EventProjectClosed.from_dict(data)

                    return componentsschemas_event_type_2
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_3 = EventProjectDeleted.from_dict(data)

                    return componentsschemas_event_type_3
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_4 = EventProjectLimitsSet.from_dict(
                        data
                    )

                    return componentsschemas_event_type_4
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_5 = EventEgressCeilingSet.from_dict(
                        data
                    )

                    return componentsschemas_event_type_5
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_6 = EventProjectContained.from_dict(
                        data
                    )

                    return componentsschemas_event_type_6
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_7 = (
                        EventProjectContainmentEnded.from_dict(data)
                    )

                    return componentsschemas_event_type_7
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_8 = EventTablesRestored.from_dict(data)

                    return componentsschemas_event_type_8
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_9 = EventTokenCreated.from_dict(data)

                    return componentsschemas_event_type_9
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_10 = EventTokenRevoked.from_dict(data)

                    return componentsschemas_event_type_10
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_11 = (
                        EventEnrolmentKeyCreated.from_dict(data)
                    )

                    return componentsschemas_event_type_11
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_12 = (
                        EventEnrolmentKeyRevoked.from_dict(data)
                    )

                    return componentsschemas_event_type_12
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_13 = EventWorkerRegistered.from_dict(
                        data
                    )

                    return componentsschemas_event_type_13
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_14 = EventWorkerApproved.from_dict(
                        data
                    )

                    return componentsschemas_event_type_14
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_15 = EventWorkerRejected.from_dict(
                        data
                    )

                    return componentsschemas_event_type_15
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_16 = EventWorkerRevoked.from_dict(data)

                    return componentsschemas_event_type_16
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_17 = EventWorkerDrained.from_dict(data)

                    return componentsschemas_event_type_17
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_18 = EventWorkerResumed.from_dict(data)

                    return componentsschemas_event_type_18
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_19 = (
                        EventWorkerSandboxesTold.from_dict(data)
                    )

                    return componentsschemas_event_type_19
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_20 = EventProfileCreated.from_dict(
                        data
                    )

                    return componentsschemas_event_type_20
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_21 = EventProfileUpdated.from_dict(
                        data
                    )

                    return componentsschemas_event_type_21
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_22 = EventProfileDeleted.from_dict(
                        data
                    )

                    return componentsschemas_event_type_22
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_23 = EventCascadeBound.from_dict(data)

                    return componentsschemas_event_type_23
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_24 = EventSecretRevoked.from_dict(data)

                    return componentsschemas_event_type_24
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_25 = (
                        EventSecretRevocationLifted.from_dict(data)
                    )

                    return componentsschemas_event_type_25
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_26 = (
                        EventRunAbortedByRevocation.from_dict(data)
                    )

                    return componentsschemas_event_type_26
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_27 = (
                        EventRevocationFanOutFinished.from_dict(data)
                    )

                    return componentsschemas_event_type_27
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_28 = EventGovernanceSet.from_dict(data)

                    return componentsschemas_event_type_28
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_29 = EventWorkflowRegistered.from_dict(
                        data
                    )

                    return componentsschemas_event_type_29
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_30 = EventWorkflowPromoted.from_dict(
                        data
                    )

                    return componentsschemas_event_type_30
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_31 = EventWorkflowRetired.from_dict(
                        data
                    )

                    return componentsschemas_event_type_31
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_32 = EventApprovalRequested.from_dict(
                        data
                    )

                    return componentsschemas_event_type_32
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_33 = EventApprovalApproved.from_dict(
                        data
                    )

                    return componentsschemas_event_type_33
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_34 = EventApprovalDenied.from_dict(
                        data
                    )

                    return componentsschemas_event_type_34
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_35 = EventApprovalExpired.from_dict(
                        data
                    )

                    return componentsschemas_event_type_35
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_36 = EventApprovalCancelled.from_dict(
                        data
                    )

                    return componentsschemas_event_type_36
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_37 = EventRunEnqueued.from_dict(data)

                    return componentsschemas_event_type_37
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_38 = EventRunDenied.from_dict(data)

                    return componentsschemas_event_type_38
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_39 = EventStepQueued.from_dict(data)

                    return componentsschemas_event_type_39
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_40 = EventStepLeased.from_dict(data)

                    return componentsschemas_event_type_40
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_41 = EventSecretReleased.from_dict(
                        data
                    )

                    return componentsschemas_event_type_41
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_42 = (
                        EventProfileDriftAtInjection.from_dict(data)
                    )

                    return componentsschemas_event_type_42
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_43 = EventStepRunning.from_dict(data)

                    return componentsschemas_event_type_43
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_44 = EventProfileInjected.from_dict(
                        data
                    )

                    return componentsschemas_event_type_44
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_45 = (
                        EventIdentityTokenIssued.from_dict(data)
                    )

                    return componentsschemas_event_type_45
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_46 = (
                        EventIdentityTokenRefused.from_dict(data)
                    )

                    return componentsschemas_event_type_46
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_47 = (
                        EventSecretReadUnexplained.from_dict(data)
                    )

                    return componentsschemas_event_type_47
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_48 = EventSecretDecrypted.from_dict(
                        data
                    )

                    return componentsschemas_event_type_48
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_49 = EventStepSucceeded.from_dict(data)

                    return componentsschemas_event_type_49
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_50 = EventStepFailed.from_dict(data)

                    return componentsschemas_event_type_50
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_51 = EventStepRequeued.from_dict(data)

                    return componentsschemas_event_type_51
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_52 = EventStepAborted.from_dict(data)

                    return componentsschemas_event_type_52
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_53 = EventStepDead.from_dict(data)

                    return componentsschemas_event_type_53
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_54 = EventStepRetried.from_dict(data)

                    return componentsschemas_event_type_54
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_55 = EventPoolSandboxReset.from_dict(
                        data
                    )

                    return componentsschemas_event_type_55
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_56 = EventRedactionMatch.from_dict(
                        data
                    )

                    return componentsschemas_event_type_56
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_57 = EventEgressDenied.from_dict(data)

                    return componentsschemas_event_type_57
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_58 = (
                        EventEgressCredentialMismatch.from_dict(data)
                    )

                    return componentsschemas_event_type_58
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_59 = EventEgressAllowed.from_dict(data)

                    return componentsschemas_event_type_59
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_60 = (
                        EventEgressPolicyChanged.from_dict(data)
                    )

                    return componentsschemas_event_type_60
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_61 = (
                        EventArtifactContainsSecret.from_dict(data)
                    )

                    return componentsschemas_event_type_61
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_62 = EventRunFinished.from_dict(data)

                    return componentsschemas_event_type_62
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_63 = EventRunCancelled.from_dict(data)

                    return componentsschemas_event_type_63
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_event_type_64 = EventClaimRefused.from_dict(data)

                    return componentsschemas_event_type_64
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_event_type_65 = EventReportRefused.from_dict(data)

                return componentsschemas_event_type_65

            events_item = _parse_events_item(events_item_data)

            events.append(events_item)

        project = d.pop("project")

        containment_id = d.pop("containment_id", UNSET)

        run_id = d.pop("run_id", UNSET)

        audit_entry = cls(
            actor=actor,
            at=at,
            event_id=event_id,
            events=events,
            project=project,
            containment_id=containment_id,
            run_id=run_id,
        )

        audit_entry.additional_properties = d
        return audit_entry

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
