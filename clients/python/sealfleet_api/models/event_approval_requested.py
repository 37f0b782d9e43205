from __future__ import annotations

import datetime
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

T = TypeVar("T", bound="EventApprovalRequested")


@_attrs_define
class EventApprovalRequested:
    """Something waits for a decision.

    Attributes:
        approval (str): What an approval decides on: a version of a workflow, a worker, or a step.
        approvers (int):
        request (str): SHA-256 of content, in lower-case hexadecimal digits.
        type_ (Literal['approval.requested']):
        decide_by (datetime.datetime | Unset): A date and time of RFC 3339.
    """

    approval: str
    approvers: int
    request: str
    type_: Literal["approval.requested"]
    decide_by: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        approval = self.approval

        approvers = self.approvers

        request = self.request

        type_ = self.type_

        decide_by: str | Unset = UNSET
        if not isinstance(self.decide_by, Unset):
            decide_by = self.decide_by.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "approval": approval,
                "approvers": approvers,
                "request": request,
                "type": type_,
            }
        )
        if decide_by is not UNSET:
            field_dict["decide_by"] = decide_by

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        approval = d.pop("approval")

        approvers = d.pop("approvers")

        request = d.pop("request")

        type_ = cast(Literal["approval.requested"], d.pop("type"))
        if type_ != "approval.requested":
            raise ValueError(
                f"type must match const 'approval.requested', got '{type_}'"
            )

        _decide_by = d.pop("decide_by", UNSET)
        decide_by: datetime.datetime | Unset
        if isinstance(_decide_by, Unset):
            decide_by = UNSET
        else:
            decide_by = datetime.datetime.fromisoformat(_decide_by)

        event_approval_requested = cls(
            approval=approval,
            approvers=approvers,
            request=request,
            type_=type_,
            decide_by=decide_by,
        )

        event_approval_requested.additional_properties = d
        return event_approval_requested

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
