from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define

T = TypeVar("T", bound="ProfileKey")


@_attrs_define
class ProfileKey:
    """A key of a profile.

    Attributes:
        key (str):
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
    """

    key: str
    profile: str

    def to_dict(self) -> dict[str, Any]:
        key = self.key

        profile = self.profile

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "key": key,
                "profile": profile,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        key = d.pop("key")

        profile = d.pop("profile")

        profile_key = cls(
            key=key,
            profile=profile,
        )

        return profile_key
