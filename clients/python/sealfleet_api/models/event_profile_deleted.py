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

T = TypeVar("T", bound="EventProfileDeleted")


@_attrs_define
class EventProfileDeleted:
    """A profile was deleted.

    Attributes:
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        type_ (Literal['profile.deleted']):
        version (int):
    """

    profile: str
    type_: Literal["profile.deleted"]
    version: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        profile = self.profile

        type_ = self.type_

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "profile": profile,
                "type": type_,
                "version": version,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        profile = d.pop("profile")

        type_ = cast(Literal["profile.deleted"], d.pop("type"))
        if type_ != "profile.deleted":
            raise ValueError(f"type must match const 'profile.deleted', got '{type_}'")

        version = d.pop("version")

        event_profile_deleted = cls(
            profile=profile,
            type_=type_,
            version=version,
        )

        event_profile_deleted.additional_properties = d
        return event_profile_deleted

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
