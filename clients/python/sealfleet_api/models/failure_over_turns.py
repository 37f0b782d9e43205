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

T = TypeVar("T", bound="FailureOverTurns")


@_attrs_define
class FailureOverTurns:
    """The agent needed more answers of its model than it may and was stopped: raise `max_turns`, or ask for less.

    Attributes:
        kind (Literal['over_turns']):
        max_turns (int): How many it may have.
    """

    kind: Literal["over_turns"]
    max_turns: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind = self.kind

        max_turns = self.max_turns

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
                "max_turns": max_turns,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = cast(Literal["over_turns"], d.pop("kind"))
        if kind != "over_turns":
            raise ValueError(f"kind must match const 'over_turns', got '{kind}'")

        max_turns = d.pop("max_turns")

        failure_over_turns = cls(
            kind=kind,
            max_turns=max_turns,
        )

        failure_over_turns.additional_properties = d
        return failure_over_turns

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
