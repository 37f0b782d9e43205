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

T = TypeVar("T", bound="EventEnrolmentKeyCreated")


@_attrs_define
class EventEnrolmentKeyCreated:
    """An enrolment key was created.

    Attributes:
        enrolment_key_id (str): An enrolment key's id.
        expires_at (datetime.datetime): A date and time of RFC 3339.
        max_uses (int):
        pool (str): The name of a pool, which is a queue of a project.
        type_ (Literal['enrolment_key.created']):
    """

    enrolment_key_id: str
    expires_at: datetime.datetime
    max_uses: int
    pool: str
    type_: Literal["enrolment_key.created"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        enrolment_key_id = self.enrolment_key_id

        expires_at = self.expires_at.isoformat()

        max_uses = self.max_uses

        pool = self.pool

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "enrolment_key_id": enrolment_key_id,
                "expires_at": expires_at,
                "max_uses": max_uses,
                "pool": pool,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        enrolment_key_id = d.pop("enrolment_key_id")

        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        max_uses = d.pop("max_uses")

        pool = d.pop("pool")

        type_ = cast(Literal["enrolment_key.created"], d.pop("type"))
        if type_ != "enrolment_key.created":
            raise ValueError(
                f"type must match const 'enrolment_key.created', got '{type_}'"
            )

        event_enrolment_key_created = cls(
            enrolment_key_id=enrolment_key_id,
            expires_at=expires_at,
            max_uses=max_uses,
            pool=pool,
            type_=type_,
        )

        event_enrolment_key_created.additional_properties = d
        return event_enrolment_key_created

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
