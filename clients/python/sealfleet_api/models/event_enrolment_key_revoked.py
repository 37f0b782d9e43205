from __future__ import annotations

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

T = TypeVar("T", bound="EventEnrolmentKeyRevoked")


@_attrs_define
class EventEnrolmentKeyRevoked:
    """An enrolment key was revoked.

    Attributes:
        enrolment_key_id (str): An enrolment key's id.
        type_ (Literal['enrolment_key.revoked']):
    """

    enrolment_key_id: str
    type_: Literal["enrolment_key.revoked"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        enrolment_key_id = self.enrolment_key_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "enrolment_key_id": enrolment_key_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        enrolment_key_id = d.pop("enrolment_key_id")

        type_ = cast(Literal["enrolment_key.revoked"], d.pop("type"))
        if type_ != "enrolment_key.revoked":
            raise ValueError(
                f"type must match const 'enrolment_key.revoked', got '{type_}'"
            )

        event_enrolment_key_revoked = cls(
            enrolment_key_id=enrolment_key_id,
            type_=type_,
        )

        event_enrolment_key_revoked.additional_properties = d
        return event_enrolment_key_revoked

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
