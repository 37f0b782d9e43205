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
    from ..models.profile_use import ProfileUse


T = TypeVar("T", bound="EventProfileInjected")


@_attrs_define
class EventProfileInjected:
    """A sandbox received the keys of a profile.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        profiles (list[ProfileUse]):
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['profile.injected']):
    """

    fence: int
    profiles: list[ProfileUse]
    step_id: str
    type_: Literal["profile.injected"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        profiles = []
        for profiles_item_data in self.profiles:
            profiles_item = profiles_item_data.to_dict()
            profiles.append(profiles_item)

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "profiles": profiles,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.profile_use import ProfileUse

        d = dict(src_dict)
        fence = d.pop("fence")

        profiles = []
        _profiles = d.pop("profiles")
        for profiles_item_data in _profiles:
            profiles_item = ProfileUse.from_dict(profiles_item_data)

            profiles.append(profiles_item)

        step_id = d.pop("step_id")

        type_ = cast(Literal["profile.injected"], d.pop("type"))
        if type_ != "profile.injected":
            raise ValueError(f"type must match const 'profile.injected', got '{type_}'")

        event_profile_injected = cls(
            fence=fence,
            profiles=profiles,
            step_id=step_id,
            type_=type_,
        )

        event_profile_injected.additional_properties = d
        return event_profile_injected

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
