from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.step_input import StepInput


T = TypeVar("T", bound="StepInputs")


@_attrs_define
class StepInputs:
    """What has to be brought to a step before its command starts.

    Attributes:
        expires_at (datetime.datetime): A date and time of RFC 3339.
        items (list[StepInput]): A part of them, in order.
        next_ (int | Unset): The `from` of the next request. Absent: this was all.
    """

    expires_at: datetime.datetime
    items: list[StepInput]
    next_: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        expires_at = self.expires_at.isoformat()

        items = []
        for items_item_data in self.items:
            items_item = items_item_data.to_dict()
            items.append(items_item)

        next_ = self.next_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "expires_at": expires_at,
                "items": items,
            }
        )
        if next_ is not UNSET:
            field_dict["next"] = next_

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.step_input import StepInput

        d = dict(src_dict)
        expires_at = datetime.datetime.fromisoformat(d.pop("expires_at"))

        items = []
        _items = d.pop("items")
        for items_item_data in _items:
            items_item = StepInput.from_dict(items_item_data)

            items.append(items_item)

        next_ = d.pop("next", UNSET)

        step_inputs = cls(
            expires_at=expires_at,
            items=items,
            next_=next_,
        )

        step_inputs.additional_properties = d
        return step_inputs

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
