from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
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


T = TypeVar("T", bound="EventStepFailed")


@_attrs_define
class EventStepFailed:
    """A step failed.

    Attributes:
        failure (FailureAgentAuth | FailureAgentContext | FailureAgentNetwork | FailureAgentRateLimited |
            FailureBadArtifacts | FailureBadResult | FailureCannotExecute | FailureCannotStart | FailureDrifted |
            FailureExit | FailureOutOfMemory | FailureOverBudget | FailureOverTurns | FailureProfileRefused |
            FailureSecretRevoked | FailureSecretUnavailable | FailureSignal | FailureTimedOut): How a command failed.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['step.failed']):
    """

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
    )
    fence: int
    step_id: str
    type_: Literal["step.failed"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.failure_agent_auth import FailureAgentAuth
        from ..models.failure_agent_context import FailureAgentContext
        from ..models.failure_agent_network import FailureAgentNetwork
        from ..models.failure_agent_rate_limited import FailureAgentRateLimited
        from ..models.failure_bad_artifacts import FailureBadArtifacts
        from ..models.failure_bad_result import FailureBadResult
        from ..models.failure_cannot_execute import FailureCannotExecute
        from ..models.failure_cannot_start import FailureCannotStart
        from ..models.failure_exit import FailureExit
        from ..models.failure_out_of_memory import FailureOutOfMemory
        from ..models.failure_over_budget import FailureOverBudget
        from ..models.failure_over_turns import FailureOverTurns
        from ..models.failure_profile_refused import FailureProfileRefused
        from ..models.failure_secret_revoked import FailureSecretRevoked
        from ..models.failure_secret_unavailable import FailureSecretUnavailable
        from ..models.failure_signal import FailureSignal
        from ..models.failure_timed_out import FailureTimedOut

        failure: dict[str, Any]
        if (
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
        ):
            failure = self.failure.to_dict()
        else:
            failure = self.failure.to_dict()

        fence = self.fence

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "failure": failure,
                "fence": fence,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
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

        d = dict(src_dict)

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
        ):
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
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_failure_type_17 = FailureDrifted.from_dict(data)

            return componentsschemas_failure_type_17

        failure = _parse_failure(d.pop("failure"))

        fence = d.pop("fence")

        step_id = d.pop("step_id")

        type_ = cast(Literal["step.failed"], d.pop("type"))
        if type_ != "step.failed":
            raise ValueError(f"type must match const 'step.failed', got '{type_}'")

        event_step_failed = cls(
            failure=failure,
            fence=fence,
            step_id=step_id,
            type_=type_,
        )

        event_step_failed.additional_properties = d
        return event_step_failed

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
