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

T = TypeVar("T", bound="AbortReasonApprovalDenied")


@_attrs_define
class AbortReasonApprovalDenied:
    """Somebody who had to approve it denied.

    Attributes:
        kind (Literal['approval_denied']):
        reason (str): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
    """

    kind: Literal["approval_denied"]
    reason: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        reason = self.reason

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "reason": reason,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["approval_denied"], d.pop("kind"))
        if kind != "approval_denied":
            raise ValueError(f"kind must match const 'approval_denied', got '{kind}'")

        reason = d.pop("reason")

        abort_reason_approval_denied = cls(
            kind=kind,
            reason=reason,
        )

        abort_reason_approval_denied.additional_properties = d
        return abort_reason_approval_denied

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
