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

T = TypeVar("T", bound="FailureTimedOut")


@_attrs_define
class FailureTimedOut:
    """It ran longer than its timeout.

    Attributes:
        after_seconds (int): The timeout in seconds.
        kind (Literal['timed_out']):
    """

    after_seconds: int
    kind: Literal["timed_out"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        after_seconds = self.after_seconds

        kind = self.kind

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "after_seconds": after_seconds,
                "kind": kind,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        after_seconds = d.pop("after_seconds")

        kind = cast(Literal["timed_out"], d.pop("kind"))
        if kind != "timed_out":
            raise ValueError(f"kind must match const 'timed_out', got '{kind}'")

        failure_timed_out = cls(
            after_seconds=after_seconds,
            kind=kind,
        )

        failure_timed_out.additional_properties = d
        return failure_timed_out

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
