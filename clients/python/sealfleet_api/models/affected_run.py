from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="AffectedRun")


@_attrs_define
class AffectedRun:
    """A run in flight that holds a key.

    Attributes:
        key (str): The environment variable's name.
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        project (str): The name of a project, which is a tenant. Never `system`.
        run_id (str): A run's id.
    """

    key: str
    profile: str
    project: str
    run_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        key = self.key

        profile = self.profile

        project = self.project

        run_id = self.run_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "key": key,
                "profile": profile,
                "project": project,
                "run_id": run_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        key = d.pop("key")

        profile = d.pop("profile")

        project = d.pop("project")

        run_id = d.pop("run_id")

        affected_run = cls(
            key=key,
            profile=profile,
            project=project,
            run_id=run_id,
        )

        affected_run.additional_properties = d
        return affected_run

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
