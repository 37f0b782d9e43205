from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="Limits")


@_attrs_define
class Limits:
    """A project's request rate limit.

    Attributes:
        burst (int): Requests allowed at once.
        requests_per_second (int): Requests allowed each second, sustained.
    """

    burst: int
    requests_per_second: int

    def to_dict(self) -> dict[str, Any]:
        burst = self.burst

        requests_per_second = self.requests_per_second

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "burst": burst,
                "requests_per_second": requests_per_second,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        burst = d.pop("burst")

        requests_per_second = d.pop("requests_per_second")

        limits = cls(
            burst=burst,
            requests_per_second=requests_per_second,
        )

        return limits
