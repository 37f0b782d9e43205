from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.step_state import StepState
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.waiting_step import WaitingStep


T = TypeVar("T", bound="StepAnswer")


@_attrs_define
class StepAnswer:
    """A step's state after a start or a report.

    Attributes:
        state (StepState): Where a step stands.
        waiting (list[WaitingStep] | Unset): Steps that wait for this worker, since the other workers of its pool cannot
            run them. Claim them before you read the queue.
    """

    state: StepState
    waiting: list[WaitingStep] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        state = self.state.value

        waiting: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.waiting, Unset):
            waiting = []
            for waiting_item_data in self.waiting:
                waiting_item = waiting_item_data.to_dict()
                waiting.append(waiting_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "state": state,
            }
        )
        if waiting is not UNSET:
            field_dict["waiting"] = waiting

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.waiting_step import WaitingStep

        d = dict(src_dict)
        state = StepState(d.pop("state"))

        _waiting = d.pop("waiting", UNSET)
        waiting: list[WaitingStep] | Unset = UNSET
        if _waiting is not UNSET:
            waiting = []
            for waiting_item_data in _waiting:
                waiting_item = WaitingStep.from_dict(waiting_item_data)

                waiting.append(waiting_item)

        step_answer = cls(
            state=state,
            waiting=waiting,
        )

        step_answer.additional_properties = d
        return step_answer

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
