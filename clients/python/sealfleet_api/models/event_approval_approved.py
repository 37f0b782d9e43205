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

from ..types import UNSET, Unset

T = TypeVar("T", bound="EventApprovalApproved")


@_attrs_define
class EventApprovalApproved:
    """Somebody approved. Nothing happens while approvals are missing.

    Attributes:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.
        missing (int):
        type_ (Literal['approval.approved']):
        reason (str | Unset): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
    """

    approval: str
    missing: int
    type_: Literal["approval.approved"]
    reason: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        approval = self.approval

        missing = self.missing

        type_ = self.type_

        reason = self.reason

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "approval": approval,
                "missing": missing,
                "type": type_,
            }
        )
        if reason is not UNSET:
            field_dict["reason"] = reason

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        approval = d.pop("approval")

        missing = d.pop("missing")

        type_ = cast(Literal["approval.approved"], d.pop("type"))
        if type_ != "approval.approved":
            raise ValueError(
                f"type must match const 'approval.approved', got '{type_}'"
            )

        reason = d.pop("reason", UNSET)

        event_approval_approved = cls(
            approval=approval,
            missing=missing,
            type_=type_,
            reason=reason,
        )

        event_approval_approved.additional_properties = d
        return event_approval_approved

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
