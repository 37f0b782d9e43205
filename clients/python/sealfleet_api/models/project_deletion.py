from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.project_state import ProjectState
from ..types import UNSET, Unset

T = TypeVar("T", bound="ProjectDeletion")


@_attrs_define
class ProjectDeletion:
    """How far the deletion of a project is.

    Attributes:
        closed_at (datetime.datetime | None): Since when it takes no runs, tokens and keys any more.
        deletable_from (datetime.datetime | None): From when on a repeated request deletes it, if its runs have ended.
        project (str): The name of a project, which is a tenant. Never `system`.
        state (ProjectState): What has become of a project that is to be deleted.

            - `closing`: It takes nothing new. Repeat the request.

            - `deleted`: It is gone, and its name is never given again.
        deleted_at (datetime.datetime | Unset): A date and time of RFC 3339.
    """

    closed_at: datetime.datetime | None
    deletable_from: datetime.datetime | None
    project: str
    state: ProjectState
    deleted_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        closed_at: None | str
        if isinstance(self.closed_at, datetime.datetime):
            closed_at = self.closed_at.isoformat()
        else:
            closed_at = self.closed_at

        deletable_from: None | str
        if isinstance(self.deletable_from, datetime.datetime):
            deletable_from = self.deletable_from.isoformat()
        else:
            deletable_from = self.deletable_from

        project = self.project

        state = self.state.value

        deleted_at: str | Unset = UNSET
        if not isinstance(self.deleted_at, Unset):
            deleted_at = self.deleted_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "closed_at": closed_at,
                "deletable_from": deletable_from,
                "project": project,
                "state": state,
            }
        )
        if deleted_at is not UNSET:
            field_dict["deleted_at"] = deleted_at

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)

        def _parse_closed_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                closed_at_type_0 = datetime.datetime.fromisoformat(data)

                return closed_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        closed_at = _parse_closed_at(d.pop("closed_at"))

        def _parse_deletable_from(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                deletable_from_type_0 = datetime.datetime.fromisoformat(data)

                return deletable_from_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        deletable_from = _parse_deletable_from(d.pop("deletable_from"))

        project = d.pop("project")

        state = ProjectState(d.pop("state"))

        _deleted_at = d.pop("deleted_at", UNSET)
        deleted_at: datetime.datetime | Unset
        if isinstance(_deleted_at, Unset):
            deleted_at = UNSET
        else:
            deleted_at = datetime.datetime.fromisoformat(_deleted_at)

        project_deletion = cls(
            closed_at=closed_at,
            deletable_from=deletable_from,
            project=project,
            state=state,
            deleted_at=deleted_at,
        )

        project_deletion.additional_properties = d
        return project_deletion

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
