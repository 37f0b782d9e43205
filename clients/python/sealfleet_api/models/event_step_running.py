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

T = TypeVar("T", bound="EventStepRunning")


@_attrs_define
class EventStepRunning:
    """A sandbox started.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['step.running']):
    """

    fence: int
    step_id: str
    type_: Literal["step.running"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        fence = d.pop("fence")

        step_id = d.pop("step_id")

        type_ = cast(Literal["step.running"], d.pop("type"))
        if type_ != "step.running":
            raise ValueError(f"type must match const 'step.running', got '{type_}'")

        event_step_running = cls(
            fence=fence,
            step_id=step_id,
            type_=type_,
        )

        event_step_running.additional_properties = d
        return event_step_running

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
