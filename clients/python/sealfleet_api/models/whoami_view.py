from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.role import Role
from ..models.whoami_view_may_item import WhoamiViewMayItem
from ..types import UNSET, Unset

T = TypeVar("T", bound="WhoamiView")


@_attrs_define
class WhoamiView:
    """Who the caller is, and what it may do.

    Attributes:
        actor (str): The caller as the audit trail names it: `token:ID`, `oidc:ISSUER/SUBJECT`, `operator:ID`.
        may (list[WhoamiViewMayItem]): What the caller may do in its project, by the actions' names in the policies; an
            operator, above projects, in the system scope and to any project.
        role (Role): What the holder of an API token may do.

            - `operator`: Above projects: onboards projects and creates their first tokens. Sees no project's runs,
            profiles or audit trail.

            - `admin`: May do everything in one project.

            - `member`: Enqueues, cancels and retries runs of one project, and reads.

            - `viewer`: Reads one project, but not its audit trail.
        project (str | Unset): The name of a project, which is a tenant. Never `system`.
    """

    actor: str
    may: list[WhoamiViewMayItem]
    role: Role
    project: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        actor = self.actor

        may = []
        for may_item_data in self.may:
            may_item = may_item_data.value
            may.append(may_item)

        role = self.role.value

        project = self.project

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "actor": actor,
                "may": may,
                "role": role,
            }
        )
        if project is not UNSET:
            field_dict["project"] = project

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        actor = d.pop("actor")

        may = []
        _may = d.pop("may")
        for may_item_data in _may:
            may_item = WhoamiViewMayItem(may_item_data)

            may.append(may_item)

        role = Role(d.pop("role"))

        project = d.pop("project", UNSET)

        whoami_view = cls(
            actor=actor,
            may=may,
            role=role,
            project=project,
        )

        whoami_view.additional_properties = d
        return whoami_view

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
