from __future__ import annotations

import datetime
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

T = TypeVar("T", bound="EventTablesRestored")


@_attrs_define
class EventTablesRestored:
    """An operator put tables of an earlier moment in the place of the ones in use. What the trail has between the two was
    undone, except for what was taken away: that was done again.

        Attributes:
            moment (datetime.datetime): A date and time of RFC 3339.
            reapplied (int):
            type_ (Literal['tables.restored']):
    """

    moment: datetime.datetime
    reapplied: int
    type_: Literal["tables.restored"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        moment = self.moment.isoformat()

        reapplied = self.reapplied

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "moment": moment,
                "reapplied": reapplied,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        moment = datetime.datetime.fromisoformat(d.pop("moment"))

        reapplied = d.pop("reapplied")

        type_ = cast(Literal["tables.restored"], d.pop("type"))
        if type_ != "tables.restored":
            raise ValueError(f"type must match const 'tables.restored', got '{type_}'")

        event_tables_restored = cls(
            moment=moment,
            reapplied=reapplied,
            type_=type_,
        )

        event_tables_restored.additional_properties = d
        return event_tables_restored

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
