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

T = TypeVar("T", bound="FailureOverBudget")


@_attrs_define
class FailureOverBudget:
    """The agent spent more than its budget and was stopped: raise `budget_usd`, or ask for less.

    Attributes:
        budget_usd (float): The budget in US dollars.
        kind (Literal['over_budget']):
    """

    budget_usd: float
    kind: Literal["over_budget"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        budget_usd = self.budget_usd

        kind = self.kind

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "budget_usd": budget_usd,
                "kind": kind,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        budget_usd = d.pop("budget_usd")

        kind = cast(Literal["over_budget"], d.pop("kind"))
        if kind != "over_budget":
            raise ValueError(f"kind must match const 'over_budget', got '{kind}'")

        failure_over_budget = cls(
            budget_usd=budget_usd,
            kind=kind,
        )

        failure_over_budget.additional_properties = d
        return failure_over_budget

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
