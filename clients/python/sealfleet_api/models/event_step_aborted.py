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
    from ..models.abort_reason_approval_denied import AbortReasonApprovalDenied
    from ..models.abort_reason_approval_expired import AbortReasonApprovalExpired
    from ..models.abort_reason_cancelled import AbortReasonCancelled
    from ..models.abort_reason_dependency_failed import AbortReasonDependencyFailed
    from ..models.abort_reason_revoked import AbortReasonRevoked


T = TypeVar("T", bound="EventStepAborted")


@_attrs_define
class EventStepAborted:
    """A step was ended from outside.

    Attributes:
        reason (AbortReasonApprovalDenied | AbortReasonApprovalExpired | AbortReasonCancelled |
            AbortReasonDependencyFailed | AbortReasonRevoked): Why a step was ended from outside.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['step.aborted']):
    """

    reason: (
        AbortReasonApprovalDenied
        | AbortReasonApprovalExpired
        | AbortReasonCancelled
        | AbortReasonDependencyFailed
        | AbortReasonRevoked
    )
    step_id: str
    type_: Literal["step.aborted"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.abort_reason_approval_denied import AbortReasonApprovalDenied
        from ..models.abort_reason_cancelled import AbortReasonCancelled
        from ..models.abort_reason_dependency_failed import AbortReasonDependencyFailed
        from ..models.abort_reason_revoked import AbortReasonRevoked

        reason: dict[str, Any]
        if (
            isinstance(self.reason, AbortReasonCancelled)
            or isinstance(self.reason, AbortReasonDependencyFailed)
            or isinstance(self.reason, AbortReasonRevoked)
            or isinstance(self.reason, AbortReasonApprovalDenied)
        ):
            reason = self.reason.to_dict()
        else:
            reason = self.reason.to_dict()

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "reason": reason,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.abort_reason_approval_denied import AbortReasonApprovalDenied
        from ..models.abort_reason_approval_expired import AbortReasonApprovalExpired
        from ..models.abort_reason_cancelled import AbortReasonCancelled
        from ..models.abort_reason_dependency_failed import AbortReasonDependencyFailed
        from ..models.abort_reason_revoked import AbortReasonRevoked

        d = dict(src_dict)

        def _parse_reason(
            data: object,
        ) -> (
            AbortReasonApprovalDenied
            | AbortReasonApprovalExpired
            | AbortReasonCancelled
            | AbortReasonDependencyFailed
            | AbortReasonRevoked
        ):
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_abort_reason_type_0 = AbortReasonCancelled.from_dict(
                    data
                )

                return componentsschemas_abort_reason_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_abort_reason_type_1 = (
                    AbortReasonDependencyFailed.from_dict(data)
                )

                return componentsschemas_abort_reason_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_abort_reason_type_2 = AbortReasonRevoked.from_dict(
                    data
                )

                return componentsschemas_abort_reason_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_abort_reason_type_3 = (
                    AbortReasonApprovalDenied.from_dict(data)
                )

                return componentsschemas_abort_reason_type_3
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_abort_reason_type_4 = (
                AbortReasonApprovalExpired.from_dict(data)
            )

            return componentsschemas_abort_reason_type_4

        reason = _parse_reason(d.pop("reason"))

        step_id = d.pop("step_id")

        type_ = cast(Literal["step.aborted"], d.pop("type"))
        if type_ != "step.aborted":
            raise ValueError(f"type must match const 'step.aborted', got '{type_}'")

        event_step_aborted = cls(
            reason=reason,
            step_id=step_id,
            type_=type_,
        )

        event_step_aborted.additional_properties = d
        return event_step_aborted

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
