from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.report_step_state import ReportStepState
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.agent_report import AgentReport
    from ..models.artifact_total import ArtifactTotal
    from ..models.artifact_with_secret import ArtifactWithSecret
    from ..models.egress_denials import EgressDenials
    from ..models.egress_reached import EgressReached
    from ..models.failure_agent_auth import FailureAgentAuth
    from ..models.failure_agent_context import FailureAgentContext
    from ..models.failure_agent_network import FailureAgentNetwork
    from ..models.failure_agent_rate_limited import FailureAgentRateLimited
    from ..models.failure_bad_artifacts import FailureBadArtifacts
    from ..models.failure_bad_result import FailureBadResult
    from ..models.failure_cannot_execute import FailureCannotExecute
    from ..models.failure_cannot_start import FailureCannotStart
    from ..models.failure_drifted import FailureDrifted
    from ..models.failure_exit import FailureExit
    from ..models.failure_out_of_memory import FailureOutOfMemory
    from ..models.failure_over_budget import FailureOverBudget
    from ..models.failure_over_turns import FailureOverTurns
    from ..models.failure_profile_refused import FailureProfileRefused
    from ..models.failure_secret_revoked import FailureSecretRevoked
    from ..models.failure_secret_unavailable import FailureSecretUnavailable
    from ..models.failure_signal import FailureSignal
    from ..models.failure_timed_out import FailureTimedOut
    from ..models.models_used import ModelsUsed
    from ..models.redaction import Redaction


T = TypeVar("T", bound="ReportStep")


@_attrs_define
class ReportStep:
    """How a step ended, or that its sandbox is lost.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        run_id (str): A run's id.
        state (ReportStepState): `succeeded` or `failed`. `lost`: what ran its sandbox has gone, and nobody knows how it
            would have ended; it is tried again.
        step_id (str): The id of a step, unique in its run.
        agent (AgentReport | None | Unset): What the step's agent said of its work.
        artifact_secrets (list[ArtifactWithSecret] | Unset): Files among it that hold values of the step's secrets.
        artifacts (ArtifactTotal | None | Unset): How much it has left behind. Absent: it names no artifacts, or they
            could not be kept.
        egress_denied (EgressDenials | Unset): What a proxy has refused in a while: `limits::EGRESS_ROWS` rows at most.
        egress_reached (EgressReached | Unset): What a step has reached: `limits::EGRESS_ROWS` rows at most.
        failure (FailureAgentAuth | FailureAgentContext | FailureAgentNetwork | FailureAgentRateLimited |
            FailureBadArtifacts | FailureBadResult | FailureCannotExecute | FailureCannotStart | FailureDrifted |
            FailureExit | FailureOutOfMemory | FailureOverBudget | FailureOverTurns | FailureProfileRefused |
            FailureSecretRevoked | FailureSecretUnavailable | FailureSignal | FailureTimedOut | None | Unset): How it
            failed: required with `failed`, refused otherwise.
        models_used (ModelsUsed | Unset): What a step's egress proxy read in the answers of models:
            `limits::EGRESS_MODELS` rows at most.
        output_cut_bytes (int | Unset): Bytes of its output that the worker has not kept.
        output_missing_bytes (int | Unset): Bytes of its output that are not in the project's outputs, if output goes
            there.
        redactions (list[Redaction] | Unset): How often values of its secrets were taken out of its output.
        result_bytes (int | None | Unset): The size of its result, which is stored. Absent: it has none.
    """

    fence: int
    run_id: str
    state: ReportStepState
    step_id: str
    agent: AgentReport | None | Unset = UNSET
    artifact_secrets: list[ArtifactWithSecret] | Unset = UNSET
    artifacts: ArtifactTotal | None | Unset = UNSET
    egress_denied: EgressDenials | Unset = UNSET
    egress_reached: EgressReached | Unset = UNSET
    failure: (
        FailureAgentAuth
        | FailureAgentContext
        | FailureAgentNetwork
        | FailureAgentRateLimited
        | FailureBadArtifacts
        | FailureBadResult
        | FailureCannotExecute
        | FailureCannotStart
        | FailureDrifted
        | FailureExit
        | FailureOutOfMemory
        | FailureOverBudget
        | FailureOverTurns
        | FailureProfileRefused
        | FailureSecretRevoked
        | FailureSecretUnavailable
        | FailureSignal
        | FailureTimedOut
        | None
        | Unset
    ) = UNSET
    models_used: ModelsUsed | Unset = UNSET
    output_cut_bytes: int | Unset = UNSET
    output_missing_bytes: int | Unset = UNSET
    redactions: list[Redaction] | Unset = UNSET
    result_bytes: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.agent_report import AgentReport
        from ..models.artifact_total import ArtifactTotal
        from ..models.failure_agent_auth import FailureAgentAuth
        from ..models.failure_agent_context import FailureAgentContext
        from ..models.failure_agent_network import FailureAgentNetwork
        from ..models.failure_agent_rate_limited import FailureAgentRateLimited
        from ..models.failure_bad_artifacts import FailureBadArtifacts
        from ..models.failure_bad_result import FailureBadResult
        from ..models.failure_cannot_execute import FailureCannotExecute
        from ..models.failure_cannot_start import FailureCannotStart
        from ..models.failure_drifted import FailureDrifted
        from ..models.failure_exit import FailureExit
        from ..models.failure_out_of_memory import FailureOutOfMemory
        from ..models.failure_over_budget import FailureOverBudget
        from ..models.failure_over_turns import FailureOverTurns
        from ..models.failure_profile_refused import FailureProfileRefused
        from ..models.failure_secret_revoked import FailureSecretRevoked
        from ..models.failure_secret_unavailable import FailureSecretUnavailable
        from ..models.failure_signal import FailureSignal
        from ..models.failure_timed_out import FailureTimedOut

        fence = self.fence

        run_id = self.run_id

        state = self.state.value

        step_id = self.step_id

        agent: dict[str, Any] | None | Unset
        if isinstance(self.agent, Unset):
            agent = UNSET
        elif isinstance(self.agent, AgentReport):
            agent = self.agent.to_dict()
        else:
            agent = self.agent

        artifact_secrets: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.artifact_secrets, Unset):
            artifact_secrets = []
            for artifact_secrets_item_data in self.artifact_secrets:
                artifact_secrets_item = artifact_secrets_item_data.to_dict()
                artifact_secrets.append(artifact_secrets_item)

        artifacts: dict[str, Any] | None | Unset
        if isinstance(self.artifacts, Unset):
            artifacts = UNSET
        elif isinstance(self.artifacts, ArtifactTotal):
            artifacts = self.artifacts.to_dict()
        else:
            artifacts = self.artifacts

        egress_denied: dict[str, Any] | Unset = UNSET
        if not isinstance(self.egress_denied, Unset):
            egress_denied = self.egress_denied.to_dict()

        egress_reached: dict[str, Any] | Unset = UNSET
        if not isinstance(self.egress_reached, Unset):
            egress_reached = self.egress_reached.to_dict()

        failure: dict[str, Any] | None | Unset
        if isinstance(self.failure, Unset):
            failure = UNSET
        elif (
            isinstance(self.failure, FailureExit)
            or isinstance(self.failure, FailureSignal)
            or isinstance(self.failure, FailureCannotExecute)
            or isinstance(self.failure, FailureTimedOut)
            or isinstance(self.failure, FailureOutOfMemory)
            or isinstance(self.failure, FailureAgentRateLimited)
            or isinstance(self.failure, FailureAgentAuth)
            or isinstance(self.failure, FailureAgentContext)
            or isinstance(self.failure, FailureAgentNetwork)
            or isinstance(self.failure, FailureOverBudget)
            or isinstance(self.failure, FailureOverTurns)
            or isinstance(self.failure, FailureBadResult)
            or isinstance(self.failure, FailureBadArtifacts)
            or isinstance(self.failure, FailureCannotStart)
            or isinstance(self.failure, FailureSecretUnavailable)
            or isinstance(self.failure, FailureSecretRevoked)
            or isinstance(self.failure, FailureProfileRefused)
            or isinstance(self.failure, FailureDrifted)
        ):
            failure = self.failure.to_dict()
        else:
            failure = self.failure

        models_used: dict[str, Any] | Unset = UNSET
        if not isinstance(self.models_used, Unset):
            models_used = self.models_used.to_dict()

        output_cut_bytes = self.output_cut_bytes

        output_missing_bytes = self.output_missing_bytes

        redactions: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.redactions, Unset):
            redactions = []
            for redactions_item_data in self.redactions:
                redactions_item = redactions_item_data.to_dict()
                redactions.append(redactions_item)

        result_bytes: int | None | Unset
        if isinstance(self.result_bytes, Unset):
            result_bytes = UNSET
        else:
            result_bytes = self.result_bytes

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "fence": fence,
                "run_id": run_id,
                "state": state,
                "step_id": step_id,
            }
        )
        if agent is not UNSET:
            field_dict["agent"] = agent
        if artifact_secrets is not UNSET:
            field_dict["artifact_secrets"] = artifact_secrets
        if artifacts is not UNSET:
            field_dict["artifacts"] = artifacts
        if egress_denied is not UNSET:
            field_dict["egress_denied"] = egress_denied
        if egress_reached is not UNSET:
            field_dict["egress_reached"] = egress_reached
        if failure is not UNSET:
            field_dict["failure"] = failure
        if models_used is not UNSET:
            field_dict["models_used"] = models_used
        if output_cut_bytes is not UNSET:
            field_dict["output_cut_bytes"] = output_cut_bytes
        if output_missing_bytes is not UNSET:
            field_dict["output_missing_bytes"] = output_missing_bytes
        if redactions is not UNSET:
            field_dict["redactions"] = redactions
        if result_bytes is not UNSET:
            field_dict["result_bytes"] = result_bytes

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.agent_report import AgentReport
        from ..models.artifact_total import ArtifactTotal
        from ..models.artifact_with_secret import ArtifactWithSecret
        from ..models.egress_denials import EgressDenials
        from ..models.egress_reached import EgressReached
        from ..models.failure_agent_auth import FailureAgentAuth
        from ..models.failure_agent_context import FailureAgentContext
        from ..models.failure_agent_network import FailureAgentNetwork
        from ..models.failure_agent_rate_limited import FailureAgentRateLimited
        from ..models.failure_bad_artifacts import FailureBadArtifacts
        from ..models.failure_bad_result import FailureBadResult
        from ..models.failure_cannot_execute import FailureCannotExecute
        from ..models.failure_cannot_start import FailureCannotStart
        from ..models.failure_drifted import FailureDrifted
        from ..models.failure_exit import FailureExit
        from ..models.failure_out_of_memory import FailureOutOfMemory
        from ..models.failure_over_budget import FailureOverBudget
        from ..models.failure_over_turns import FailureOverTurns
        from ..models.failure_profile_refused import FailureProfileRefused
        from ..models.failure_secret_revoked import FailureSecretRevoked
        from ..models.failure_secret_unavailable import FailureSecretUnavailable
        from ..models.failure_signal import FailureSignal
        from ..models.failure_timed_out import FailureTimedOut
        from ..models.models_used import ModelsUsed
        from ..models.redaction import Redaction

        d = dict(src_dict)
        fence = d.pop("fence")

        run_id = d.pop("run_id")

        state = ReportStepState(d.pop("state"))

        step_id = d.pop("step_id")

        def _parse_agent(data: object) -> AgentReport | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                agent_type_0 = AgentReport.from_dict(data)

                return agent_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(AgentReport | None | Unset, data)

        agent = _parse_agent(d.pop("agent", UNSET))

        _artifact_secrets = d.pop("artifact_secrets", UNSET)
        artifact_secrets: list[ArtifactWithSecret] | Unset = UNSET
        if _artifact_secrets is not UNSET:
            artifact_secrets = []
            for artifact_secrets_item_data in _artifact_secrets:
                artifact_secrets_item = ArtifactWithSecret.from_dict(
                    artifact_secrets_item_data
                )

                artifact_secrets.append(artifact_secrets_item)

        def _parse_artifacts(data: object) -> ArtifactTotal | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                artifacts_type_0 = ArtifactTotal.from_dict(data)

                return artifacts_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ArtifactTotal | None | Unset, data)

        artifacts = _parse_artifacts(d.pop("artifacts", UNSET))

        _egress_denied = d.pop("egress_denied", UNSET)
        egress_denied: EgressDenials | Unset
        if isinstance(_egress_denied, Unset):
            egress_denied = UNSET
        else:
            egress_denied = EgressDenials.from_dict(_egress_denied)

        _egress_reached = d.pop("egress_reached", UNSET)
        egress_reached: EgressReached | Unset
        if isinstance(_egress_reached, Unset):
            egress_reached = UNSET
        else:
            egress_reached = EgressReached.from_dict(_egress_reached)

        def _parse_failure(
            data: object,
        ) -> (
            FailureAgentAuth
            | FailureAgentContext
            | FailureAgentNetwork
            | FailureAgentRateLimited
            | FailureBadArtifacts
            | FailureBadResult
            | FailureCannotExecute
            | FailureCannotStart
            | FailureDrifted
            | FailureExit
            | FailureOutOfMemory
            | FailureOverBudget
            | FailureOverTurns
            | FailureProfileRefused
            | FailureSecretRevoked
            | FailureSecretUnavailable
            | FailureSignal
            | FailureTimedOut
            | None
            | Unset
        ):
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_0 = FailureExit.from_dict(data)

                return componentsschemas_failure_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_1 = FailureSignal.from_dict(data)

                return componentsschemas_failure_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_2 = FailureCannotExecute.from_dict(data)

                return componentsschemas_failure_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_3 = FailureTimedOut.from_dict(data)

                return componentsschemas_failure_type_3
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_4 = FailureOutOfMemory.from_dict(data)

                return componentsschemas_failure_type_4
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_5 = FailureAgentRateLimited.from_dict(
                    data
                )

                return componentsschemas_failure_type_5
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_6 = FailureAgentAuth.from_dict(data)

                return componentsschemas_failure_type_6
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_7 = FailureAgentContext.from_dict(data)

                return componentsschemas_failure_type_7
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_8 = FailureAgentNetwork.from_dict(data)

                return componentsschemas_failure_type_8
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_9 = FailureOverBudget.from_dict(data)

                return componentsschemas_failure_type_9
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_10 = FailureOverTurns.from_dict(data)

                return componentsschemas_failure_type_10
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_11 = FailureBadResult.from_dict(data)

                return componentsschemas_failure_type_11
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_12 = FailureBadArtifacts.from_dict(data)

                return componentsschemas_failure_type_12
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_13 = FailureCannotStart.from_dict(data)

                return componentsschemas_failure_type_13
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_14 = FailureSecretUnavailable.from_dict(
                    data
                )

                return componentsschemas_failure_type_14
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_15 = FailureSecretRevoked.from_dict(data)

                return componentsschemas_failure_type_15
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_16 = FailureProfileRefused.from_dict(
                    data
                )

                return componentsschemas_failure_type_16
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_failure_type_17 = FailureDrifted.from_dict(data)

                return componentsschemas_failure_type_17
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(
                FailureAgentAuth
                | FailureAgentContext
                | FailureAgentNetwork
                | FailureAgentRateLimited
                | FailureBadArtifacts
                | FailureBadResult
                | FailureCannotExecute
                | FailureCannotStart
                | FailureDrifted
                | FailureExit
                | FailureOutOfMemory
                | FailureOverBudget
                | FailureOverTurns
                | FailureProfileRefused
                | FailureSecretRevoked
                | FailureSecretUnavailable
                | FailureSignal
                | FailureTimedOut
                | None
                | Unset,
                data,
            )

        failure = _parse_failure(d.pop("failure", UNSET))

        _models_used = d.pop("models_used", UNSET)
        models_used: ModelsUsed | Unset
        if isinstance(_models_used, Unset):
            models_used = UNSET
        else:
            models_used = ModelsUsed.from_dict(_models_used)

        output_cut_bytes = d.pop("output_cut_bytes", UNSET)

        output_missing_bytes = d.pop("output_missing_bytes", UNSET)

        _redactions = d.pop("redactions", UNSET)
        redactions: list[Redaction] | Unset = UNSET
        if _redactions is not UNSET:
            redactions = []
            for redactions_item_data in _redactions:
                redactions_item = Redaction.from_dict(redactions_item_data)

                redactions.append(redactions_item)

        def _parse_result_bytes(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        result_bytes = _parse_result_bytes(d.pop("result_bytes", UNSET))

        report_step = cls(
            fence=fence,
            run_id=run_id,
            state=state,
            step_id=step_id,
            agent=agent,
            artifact_secrets=artifact_secrets,
            artifacts=artifacts,
            egress_denied=egress_denied,
            egress_reached=egress_reached,
            failure=failure,
            models_used=models_used,
            output_cut_bytes=output_cut_bytes,
            output_missing_bytes=output_missing_bytes,
            redactions=redactions,
            result_bytes=result_bytes,
        )

        return report_step
