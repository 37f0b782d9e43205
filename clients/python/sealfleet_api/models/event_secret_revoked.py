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

T = TypeVar("T", bound="EventSecretRevoked")


@_attrs_define
class EventSecretRevoked:
    """A key of a profile was revoked.

    Attributes:
        hard (bool):
        key (str):
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        reason (str): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
        revocation_id (str): A revocation's id.
        type_ (Literal['secret.revoked']):
        uri (str): The address of a secret, never its value.
    """

    hard: bool
    key: str
    profile: str
    reason: str
    revocation_id: str
    type_: Literal["secret.revoked"]
    uri: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        hard = self.hard

        key = self.key

        profile = self.profile

        reason = self.reason

        revocation_id = self.revocation_id

        type_ = self.type_

        uri = self.uri

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "hard": hard,
                "key": key,
                "profile": profile,
                "reason": reason,
                "revocation_id": revocation_id,
                "type": type_,
                "uri": uri,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        hard = d.pop("hard")

        key = d.pop("key")

        profile = d.pop("profile")

        reason = d.pop("reason")

        revocation_id = d.pop("revocation_id")

        type_ = cast(Literal["secret.revoked"], d.pop("type"))
        if type_ != "secret.revoked":
            raise ValueError(f"type must match const 'secret.revoked', got '{type_}'")

        uri = d.pop("uri")

        event_secret_revoked = cls(
            hard=hard,
            key=key,
            profile=profile,
            reason=reason,
            revocation_id=revocation_id,
            type_=type_,
            uri=uri,
        )

        event_secret_revoked.additional_properties = d
        return event_secret_revoked

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
