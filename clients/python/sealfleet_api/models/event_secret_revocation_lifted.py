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

T = TypeVar("T", bound="EventSecretRevocationLifted")


@_attrs_define
class EventSecretRevocationLifted:
    """A revocation was lifted.

    Attributes:
        key (str):
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        revocation_id (str): A revocation's id.
        type_ (Literal['secret.revocation_lifted']):
    """

    key: str
    profile: str
    revocation_id: str
    type_: Literal["secret.revocation_lifted"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        key = self.key

        profile = self.profile

        revocation_id = self.revocation_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "key": key,
                "profile": profile,
                "revocation_id": revocation_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        key = d.pop("key")

        profile = d.pop("profile")

        revocation_id = d.pop("revocation_id")

        type_ = cast(Literal["secret.revocation_lifted"], d.pop("type"))
        if type_ != "secret.revocation_lifted":
            raise ValueError(
                f"type must match const 'secret.revocation_lifted', got '{type_}'"
            )

        event_secret_revocation_lifted = cls(
            key=key,
            profile=profile,
            revocation_id=revocation_id,
            type_=type_,
        )

        event_secret_revocation_lifted.additional_properties = d
        return event_secret_revocation_lifted

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
