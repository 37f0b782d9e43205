from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.role import Role
from ..types import UNSET, Unset

T = TypeVar("T", bound="TokenView")


@_attrs_define
class TokenView:
    """An API token without its secret.

    Attributes:
        created_at (datetime.datetime): A date and time of RFC 3339.
        expires_at (datetime.datetime): A date and time of RFC 3339.
        role (Role): What the holder of an API token may do.

            - `operator`: Above projects: onboards projects and creates their first tokens. Sees no project's runs,
            profiles or audit trail.

            - `admin`: May do everything in one project.

            - `member`: Enqueues, cancels and retries runs of one project, and reads.

            - `viewer`: Reads one project, but not its audit trail.
        token_id (str): An API token's id.
        login (str | Unset): The login that made it, itself or with a token that it had made. Absent for a token that
            goes back to an operator's.
        note (str | Unset): A note for people.
        revoked_at (datetime.datetime | Unset): A date and time of RFC 3339.
    """

    created_at: datetime.datetime
    expires_at: datetime.datetime
    role: Role
    token_id: str
    login: str | Unset = UNSET
    note: str | Unset = UNSET
    revoked_at: datetime.datetime | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        created_at = self.created_at.isoformat()

        expires_at = self.expires_at.isoformat()

        role = self.role.value

        token_id = self.token_id

        login = self.login

        note = self.note

        revoked_at: str | Unset = UNSET
        if not isinstance(self.revoked_at, Unset):
            revoked_at = self.revoked_at.isoformat()

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "created_at": created_at,
                "expires_at": expires_at,
                "role": role,
                "token_id": token_id,
            }
        )
        if login is not UNSET:
            field_dict["login"] = login
        if note is not UNSET:
            field_dict["note"] = note
        if revoked_at is not UNSET:
            field_dict["revoked_at"] = revoked_at

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        role = Role(d.pop("role"))

        token_id = d.pop("token_id")

        login = d.pop("login", UNSET)

        note = d.pop("note", UNSET)

        _revoked_at = d.pop("revoked_at", UNSET)
        revoked_at: datetime.datetime | Unset
        if isinstance(_revoked_at, Unset):
            revoked_at = UNSET
        else:
            revoked_at = datetime.datetime.fromisoformat(_revoked_at)

        token_view = cls(
            created_at=created_at,
            expires_at=expires_at,
            role=role,
            token_id=token_id,
            login=login,
            note=note,
            revoked_at=revoked_at,
        )

        token_view.additional_properties = d
        return token_view

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
