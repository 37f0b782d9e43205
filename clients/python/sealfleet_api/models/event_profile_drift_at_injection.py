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

from ..models.on_drift import OnDrift
from ..types import UNSET, Unset

T = TypeVar("T", bound="EventProfileDriftAtInjection")


@_attrs_define
class EventProfileDriftAtInjection:
    """A step starts with other keys or versions than it was enqueued with.

    Attributes:
        added (list[str]): Secrets that were not there.
        fence (int): The number of a claim. Only the newest claim of a step counts.
        on_drift (OnDrift): How a step starts when its identity has changed since it was enqueued.

            - `proceed`: It starts with the current identity, and the difference is on record.

            - `refuse`: It fails.
        removed (list[str]): Secrets that are gone.
        rotated (list[str]): Secrets with another version, another reference, or another delivery.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['profile.drift_at_injection']):
        audiences (bool | Unset): Whether it may prove itself to others than before.
        egress (bool | Unset): Whether it may reach other hosts than before.
        knobs (list[str] | Unset): Plain knobs that were added, removed or changed.
    """

    added: list[str]
    fence: int
    on_drift: OnDrift
    removed: list[str]
    rotated: list[str]
    step_id: str
    type_: Literal["profile.drift_at_injection"]
    audiences: bool | Unset = UNSET
    egress: bool | Unset = UNSET
    knobs: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        added = self.added

        fence = self.fence

        on_drift = self.on_drift.value

        removed = self.removed

        rotated = self.rotated

        step_id = self.step_id

        type_ = self.type_

        audiences = self.audiences

        egress = self.egress

        knobs: list[str] | Unset = UNSET
        if not isinstance(self.knobs, Unset):
            knobs = self.knobs

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "added": added,
                "fence": fence,
                "on_drift": on_drift,
                "removed": removed,
                "rotated": rotated,
                "step_id": step_id,
                "type": type_,
            }
        )
        if audiences is not UNSET:
            field_dict["audiences"] = audiences
        if egress is not UNSET:
            field_dict["egress"] = egress
        if knobs is not UNSET:
            field_dict["knobs"] = knobs

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        added = cast(list[str], d.pop("added"))

        fence = d.pop("fence")

        on_drift = OnDrift(d.pop("on_drift"))

        removed = cast(list[str], d.pop("removed"))

        rotated = cast(list[str], d.pop("rotated"))

        step_id = d.pop("step_id")

        type_ = cast(Literal["profile.drift_at_injection"], d.pop("type"))
        if type_ != "profile.drift_at_injection":
            raise ValueError(
                f"type must match const 'profile.drift_at_injection', got '{type_}'"
            )

        audiences = d.pop("audiences", UNSET)

        egress = d.pop("egress", UNSET)

        knobs = cast(list[str], d.pop("knobs", UNSET))

        event_profile_drift_at_injection = cls(
            added=added,
            fence=fence,
            on_drift=on_drift,
            removed=removed,
            rotated=rotated,
            step_id=step_id,
            type_=type_,
            audiences=audiences,
            egress=egress,
            knobs=knobs,
        )

        event_profile_drift_at_injection.additional_properties = d
        return event_profile_drift_at_injection

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
