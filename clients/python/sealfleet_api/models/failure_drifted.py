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

T = TypeVar("T", bound="FailureDrifted")


@_attrs_define
class FailureDrifted:
    """Its identity has changed since it was enqueued, and it asked not to start then.

    Attributes:
        detail (str): The keys that changed.
        kind (Literal['drifted']):
    """

    detail: str
    kind: Literal["drifted"]
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

        kind = cast(Literal["drifted"], d.pop("kind"))
        if kind != "drifted":
            raise ValueError(f"kind must match const 'drifted', got '{kind}'")

        failure_drifted = cls(
            detail=detail,
            kind=kind,
        )

        failure_drifted.additional_properties = d
        return failure_drifted

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
