from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="EventApprovalDenied")


@_attrs_define
class EventApprovalDenied:
    """Somebody denied.

    Attributes:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.
        reason (str): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
        type_ (Literal['approval.denied']):
    """

    approval: str
    reason: str
    type_: Literal["approval.denied"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        approval = self.approval

        reason = self.reason

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "approval": approval,
                "reason": reason,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        approval = d.pop("approval")

        reason = d.pop("reason")

        type_ = cast(Literal["approval.denied"], d.pop("type"))
        if type_ != "approval.denied":
            raise ValueError(f"type must match const 'approval.denied', got '{type_}'")

        event_approval_denied = cls(
            approval=approval,
            reason=reason,
            type_=type_,
        )

        event_approval_denied.additional_properties = d
        return event_approval_denied

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
