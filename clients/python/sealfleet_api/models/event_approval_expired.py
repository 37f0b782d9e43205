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

T = TypeVar("T", bound="EventApprovalExpired")


@_attrs_define
class EventApprovalExpired:
    """Nobody decided in time.

    Attributes:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.
        type_ (Literal['approval.expired']):
    """

    approval: str
    type_: Literal["approval.expired"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        approval = self.approval

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "approval": approval,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        approval = d.pop("approval")

        type_ = cast(Literal["approval.expired"], d.pop("type"))
        if type_ != "approval.expired":
            raise ValueError(f"type must match const 'approval.expired', got '{type_}'")

        event_approval_expired = cls(
            approval=approval,
            type_=type_,
        )

        event_approval_expired.additional_properties = d
        return event_approval_expired

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
