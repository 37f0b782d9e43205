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

T = TypeVar("T", bound="EventTokenRevoked")


@_attrs_define
class EventTokenRevoked:
    """An API token was revoked.

    Attributes:
        token_id (str): An API token's id.
        type_ (Literal['token.revoked']):
    """

    token_id: str
    type_: Literal["token.revoked"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        token_id = self.token_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "token_id": token_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        token_id = d.pop("token_id")

        type_ = cast(Literal["token.revoked"], d.pop("type"))
        if type_ != "token.revoked":
            raise ValueError(f"type must match const 'token.revoked', got '{type_}'")

        event_token_revoked = cls(
            token_id=token_id,
            type_=type_,
        )

        event_token_revoked.additional_properties = d
        return event_token_revoked

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
