from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.role import Role

T = TypeVar("T", bound="EventTokenCreated")


@_attrs_define
class EventTokenCreated:
    """An API token was created.

    Attributes:
        expires_at (datetime.datetime): A date and time of RFC 3339.
        role (Role): What the holder of an API token may do.

            - `operator`: Above projects: onboards projects and creates their first tokens. Sees no project's runs,
            profiles or audit trail.

            - `admin`: May do everything in one project.

            - `member`: Enqueues, cancels and retries runs of one project, and reads.

            - `viewer`: Reads one project, but not its audit trail.
        token_id (str): An API token's id.
        type_ (Literal['token.created']):
    """

    expires_at: datetime.datetime
    role: Role
    token_id: str
    type_: Literal["token.created"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        expires_at = self.expires_at.isoformat()

        role = self.role.value

        token_id = self.token_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "expires_at": expires_at,
                "role": role,
                "token_id": token_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        role = Role(d.pop("role"))

        token_id = d.pop("token_id")

        type_ = cast(Literal["token.created"], d.pop("type"))
        if type_ != "token.created":
            raise ValueError(f"type must match const 'token.created', got '{type_}'")

        event_token_created = cls(
            expires_at=expires_at,
            role=role,
            token_id=token_id,
            type_=type_,
        )

        event_token_created.additional_properties = d
        return event_token_created

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
