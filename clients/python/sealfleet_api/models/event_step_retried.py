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

T = TypeVar("T", bound="EventStepRetried")


@_attrs_define
class EventStepRetried:
    """A caller put a dead step back in its queue.

    Attributes:
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['step.retried']):
    """

    step_id: str
    type_: Literal["step.retried"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        step_id = d.pop("step_id")

        type_ = cast(Literal["step.retried"], d.pop("type"))
        if type_ != "step.retried":
            raise ValueError(f"type must match const 'step.retried', got '{type_}'")

        event_step_retried = cls(
            step_id=step_id,
            type_=type_,
        )

        event_step_retried.additional_properties = d
        return event_step_retried

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
