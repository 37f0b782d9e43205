from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.event_profile_updated_secrets import EventProfileUpdatedSecrets


T = TypeVar("T", bound="EventProfileUpdated")


@_attrs_define
class EventProfileUpdated:
    """A profile was changed. Lists the names in the new version.

    Attributes:
        env (list[str]):
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        secrets (EventProfileUpdatedSecrets):
        type_ (Literal['profile.updated']):
        version (int):
    """

    env: list[str]
    profile: str
    secrets: EventProfileUpdatedSecrets
    type_: Literal["profile.updated"]
    version: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        env = self.env

        profile = self.profile

        secrets = self.secrets.to_dict()

        type_ = self.type_

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "env": env,
                "profile": profile,
                "secrets": secrets,
                "type": type_,
                "version": version,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.event_profile_updated_secrets import EventProfileUpdatedSecrets

        d = dict(src_dict)
        env = cast(list[str], d.pop("env"))

        profile = d.pop("profile")

        secrets = EventProfileUpdatedSecrets.from_dict(d.pop("secrets"))

        type_ = cast(Literal["profile.updated"], d.pop("type"))
        if type_ != "profile.updated":
            raise ValueError(f"type must match const 'profile.updated', got '{type_}'")

        version = d.pop("version")

        event_profile_updated = cls(
            env=env,
            profile=profile,
            secrets=secrets,
            type_=type_,
            version=version,
        )

        event_profile_updated.additional_properties = d
        return event_profile_updated

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
