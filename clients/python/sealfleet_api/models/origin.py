from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.level import Level
from ..types import UNSET, Unset

T = TypeVar("T", bound="Origin")


@_attrs_define
class Origin:
    """Where a key comes from.

    Attributes:
        level (Level): A level of the cascade, lowest first.

            - `system`: A profile of the operators.

            - `project`: The project's default profile.

            - `workflow`: The profile that the project binds to the workflow.

            - `run`: The profile that the run names.
        profile (str | Unset): The name of a profile of the project, or `system/NAME` for one of the system scope.
    """

    level: Level
    profile: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        level = self.level.value

        profile = self.profile

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "level": level,
            }
        )
        if profile is not UNSET:
            field_dict["profile"] = profile

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        level = Level(d.pop("level"))

        profile = d.pop("profile", UNSET)

        origin = cls(
            level=level,
            profile=profile,
        )

        origin.additional_properties = d
        return origin

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
