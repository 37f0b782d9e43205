from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.create_token_role import CreateTokenRole
from ..types import UNSET, Unset

T = TypeVar("T", bound="CreateToken")


@_attrs_define
class CreateToken:
    """An API token to create.

    Attributes:
        role (CreateTokenRole): `admin`, `member` or `viewer`.
        expires_in_seconds (int | Unset): Seconds until it expires: 90 days if absent, a year at most. Default: 7776000.
        note (None | str | Unset): A note for people.
        project (None | str | Unset): Operators must name the project; nobody else may.
    """

    role: CreateTokenRole
    expires_in_seconds: int | Unset = 7776000
    note: None | str | Unset = UNSET
    project: None | str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        role = self.role.value

        expires_in_seconds = self.expires_in_seconds

        note: None | str | Unset
        if isinstance(self.note, Unset):
            note = UNSET
        else:
            note = self.note

        project: None | str | Unset
        if isinstance(self.project, Unset):
            project = UNSET
        else:
            project = self.project

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "role": role,
            }
        )
        if expires_in_seconds is not UNSET:
            field_dict["expires_in_seconds"] = expires_in_seconds
        if note is not UNSET:
            field_dict["note"] = note
        if project is not UNSET:
            field_dict["project"] = project

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        role = CreateTokenRole(d.pop("role"))

        expires_in_seconds = d.pop("expires_in_seconds", UNSET)

        def _parse_note(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        note = _parse_note(d.pop("note", UNSET))

        def _parse_project(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        project = _parse_project(d.pop("project", UNSET))

        create_token = cls(
            role=role,
            expires_in_seconds=expires_in_seconds,
            note=note,
            project=project,
        )

        return create_token
