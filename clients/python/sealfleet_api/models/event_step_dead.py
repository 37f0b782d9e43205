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

from ..models.dead_reason import DeadReason

T = TypeVar("T", bound="EventStepDead")


@_attrs_define
class EventStepDead:
    """A step was given up. It stays listed and can be retried.

    Attributes:
        reason (DeadReason): Why a step was given up.

            - `attempts_exhausted`: It was lost as often as it may be tried.

            - `ttl_expired`: Nobody claimed it in its time to live.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['step.dead']):
    """

    reason: DeadReason
    step_id: str
    type_: Literal["step.dead"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        reason = self.reason.value

        step_id = self.step_id

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "reason": reason,
                "step_id": step_id,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        reason = DeadReason(d.pop("reason"))

        step_id = d.pop("step_id")

        type_ = cast(Literal["step.dead"], d.pop("type"))
        if type_ != "step.dead":
            raise ValueError(f"type must match const 'step.dead', got '{type_}'")

        event_step_dead = cls(
            reason=reason,
            step_id=step_id,
            type_=type_,
        )

        event_step_dead.additional_properties = d
        return event_step_dead

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
