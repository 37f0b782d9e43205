from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ProjectActivity")


@_attrs_define
class ProjectActivity:
    """How much of a project is unfinished.

    Attributes:
        oldest_created_at (datetime.datetime): A date and time of RFC 3339.
        overdue (int): Runs that the control plane should have visited two minutes ago. Any number but 0 is a fault of
            the installation.
        project (str): The name of a project, which is a tenant. Never `system`.
        unfinished (int): Runs that have not ended.
        waiting (int): Runs among the 20 oldest that have a step which nobody has claimed for 30 seconds, while no other
            step of theirs goes on.
    """

    oldest_created_at: datetime.datetime
    overdue: int
    project: str
    unfinished: int
    waiting: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        oldest_created_at = self.oldest_created_at.isoformat()

        overdue = self.overdue

        project = self.project

        unfinished = self.unfinished

        waiting = self.waiting

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "oldest_created_at": oldest_created_at,
                "overdue": overdue,
                "project": project,
                "unfinished": unfinished,
                "waiting": waiting,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        oldest_created_at = datetime.datetime.fromisoformat(d.pop("oldest_created_at"))

        overdue = d.pop("overdue")

        project = d.pop("project")

        unfinished = d.pop("unfinished")

        waiting = d.pop("waiting")

        project_activity = cls(
            oldest_created_at=oldest_created_at,
            overdue=overdue,
            project=project,
            unfinished=unfinished,
            waiting=waiting,
        )

        project_activity.additional_properties = d
        return project_activity

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
