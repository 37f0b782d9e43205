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
    from ..models.event_profile_created_secrets import EventProfileCreatedSecrets


T = TypeVar("T", bound="EventProfileCreated")


@_attrs_define
class EventProfileCreated:
    """A profile was created. Lists the names in it.

    Attributes:
        env (list[str]):
        profile (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        secrets (EventProfileCreatedSecrets):
        type_ (Literal['profile.created']):
        version (int):
    """

    env: list[str]
    profile: str
    secrets: EventProfileCreatedSecrets
    type_: Literal["profile.created"]
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
        from ..models.event_profile_created_secrets import EventProfileCreatedSecrets

        d = dict(src_dict)
        env = cast(list[str], d.pop("env"))

        profile = d.pop("profile")

        secrets = EventProfileCreatedSecrets.from_dict(d.pop("secrets"))

        type_ = cast(Literal["profile.created"], d.pop("type"))
        if type_ != "profile.created":
            raise ValueError(f"type must match const 'profile.created', got '{type_}'")

        version = d.pop("version")

        event_profile_created = cls(
            env=env,
            profile=profile,
            secrets=secrets,
            type_=type_,
            version=version,
        )

        event_profile_created.additional_properties = d
        return event_profile_created

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
