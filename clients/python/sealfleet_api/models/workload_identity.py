from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

T = TypeVar("T", bound="WorkloadIdentity")


@_attrs_define
class WorkloadIdentity:
    """What a profile says of the tokens that steps may ask for.

    Attributes:
        audiences (list[str]): Who tokens may be for. Empty: nobody.
    """

    audiences: list[str]

    def to_dict(self) -> dict[str, Any]:
        audiences = self.audiences

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "audiences": audiences,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        audiences = cast(list[str], d.pop("audiences"))

        workload_identity = cls(
            audiences=audiences,
        )

        return workload_identity
