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

T = TypeVar("T", bound="EventApprovalCancelled")


@_attrs_define
class EventApprovalCancelled:
    """What waited for a decision is not there any more.

    Attributes:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.
        type_ (Literal['approval.cancelled']):
    """

    approval: str
    type_: Literal["approval.cancelled"]
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

        type_ = cast(Literal["approval.cancelled"], d.pop("type"))
        if type_ != "approval.cancelled":
            raise ValueError(
                f"type must match const 'approval.cancelled', got '{type_}'"
            )

        event_approval_cancelled = cls(
            approval=approval,
            type_=type_,
        )

        event_approval_cancelled.additional_properties = d
        return event_approval_cancelled

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
