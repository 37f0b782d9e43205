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

T = TypeVar("T", bound="FailureProfileRefused")


@_attrs_define
class FailureProfileRefused:
    """Its profiles, as they are now, do not let it start.

    Attributes:
        detail (str): What stands in the way; names only.
        kind (Literal['profile_refused']):
    """

    detail: str
    kind: Literal["profile_refused"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        detail = self.detail

        kind = self.kind

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "detail": detail,
                "kind": kind,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        detail = d.pop("detail")

        kind = cast(Literal["profile_refused"], d.pop("kind"))
        if kind != "profile_refused":
            raise ValueError(f"kind must match const 'profile_refused', got '{kind}'")

        failure_profile_refused = cls(
            detail=detail,
            kind=kind,
        )

        failure_profile_refused.additional_properties = d
        return failure_profile_refused

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
