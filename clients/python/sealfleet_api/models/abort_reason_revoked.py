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

T = TypeVar("T", bound="AbortReasonRevoked")


@_attrs_define
class AbortReasonRevoked:
    """The run held a secret that was revoked.

    Attributes:
        key (str): The environment variable that a sandbox sees.
        kind (Literal['revoked']):
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        revocation_id (str): A revocation's id.
    """

    key: str
    kind: Literal["revoked"]
    profile: str
    revocation_id: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        key = self.key

        kind = self.kind

        profile = self.profile

        revocation_id = self.revocation_id

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "key": key,
                "kind": kind,
                "profile": profile,
                "revocation_id": revocation_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        key = d.pop("key")

        kind = cast(Literal["revoked"], d.pop("kind"))
        if kind != "revoked":
            raise ValueError(f"kind must match const 'revoked', got '{kind}'")

        profile = d.pop("profile")

        revocation_id = d.pop("revocation_id")

        abort_reason_revoked = cls(
            key=key,
            kind=kind,
            profile=profile,
            revocation_id=revocation_id,
        )

        abort_reason_revoked.additional_properties = d
        return abort_reason_revoked

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
