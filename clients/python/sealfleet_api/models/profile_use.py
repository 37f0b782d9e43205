from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.level import Level

T = TypeVar("T", bound="ProfileUse")


@_attrs_define
class ProfileUse:
    """A profile that an identity was resolved from.

    Attributes:
        level (Level): A level of the cascade, lowest first.

            - `system`: A profile of the operators.

            - `project`: The project's default profile.

            - `workflow`: The profile that the project binds to the workflow.

            - `run`: The profile that the run names.
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        version (int): The version that was resolved.
    """

    level: Level
    profile: str
    version: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        level = self.level.value

        profile = self.profile

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "level": level,
                "profile": profile,
                "version": version,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        level = Level(d.pop("level"))

        profile = d.pop("profile")

        version = d.pop("version")

        profile_use = cls(
            level=level,
            profile=profile,
            version=version,
        )

        profile_use.additional_properties = d
        return profile_use

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
