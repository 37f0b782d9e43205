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

from ..models.run_state import RunState

T = TypeVar("T", bound="EventRunFinished")


@_attrs_define
class EventRunFinished:
    """The last step of a run ended.

    Attributes:
        state (RunState): A run's state, derived from its steps.

            - `queued`: No step has been claimed.

            - `running`: Some step has been claimed, and not all have ended.

            - `succeeded`: All steps succeeded.

            - `failed`: A step failed.

            - `aborted`: A caller ended it.

            - `dead`: A step was given up.
        type_ (Literal['run.finished']):
    """

    state: RunState
    type_: Literal["run.finished"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        state = self.state.value

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "state": state,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        state = RunState(d.pop("state"))

        type_ = cast(Literal["run.finished"], d.pop("type"))
        if type_ != "run.finished":
            raise ValueError(f"type must match const 'run.finished', got '{type_}'")

        event_run_finished = cls(
            state=state,
            type_=type_,
        )

        event_run_finished.additional_properties = d
        return event_run_finished

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
