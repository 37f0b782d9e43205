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

T = TypeVar("T", bound="AbortReasonApprovalExpired")


@_attrs_define
class AbortReasonApprovalExpired:
    """Nobody approved it in its time to live.

    Attributes:
        kind (Literal['approval_expired']):
    """

    kind: Literal["approval_expired"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["approval_expired"], d.pop("kind"))
        if kind != "approval_expired":
            raise ValueError(f"kind must match const 'approval_expired', got '{kind}'")

        abort_reason_approval_expired = cls(
            kind=kind,
        )

        abort_reason_approval_expired.additional_properties = d
        return abort_reason_approval_expired

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
