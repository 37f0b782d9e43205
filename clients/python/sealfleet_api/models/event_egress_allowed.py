from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.egress_reach import EgressReach
    from ..models.egress_traffic import EgressTraffic


T = TypeVar("T", bound="EventEgressAllowed")


@_attrs_define
class EventEgressAllowed:
    """A step reached hosts.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['egress.allowed']):
        others (EgressTraffic | Unset): Connections, and the bytes that went over them.
        rows (list[EgressReach] | Unset): By host and port, each once.
    """

    fence: int
    step_id: str
    type_: Literal["egress.allowed"]
    others: EgressTraffic | Unset = UNSET
    rows: list[EgressReach] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        step_id = self.step_id

        type_ = self.type_

        others: dict[str, Any] | Unset = UNSET
        if not isinstance(self.others, Unset):
            others = self.others.to_dict()

        rows: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.rows, Unset):
            rows = []
            for rows_item_data in self.rows:
                rows_item = rows_item_data.to_dict()
                rows.append(rows_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "fence": fence,
                "step_id": step_id,
                "type": type_,
            }
        )
        if others is not UNSET:
            field_dict["others"] = others
        if rows is not UNSET:
            field_dict["rows"] = rows

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_reach import EgressReach
        from ..models.egress_traffic import EgressTraffic

        d = dict(src_dict)
        fence = d.pop("fence")

        step_id = d.pop("step_id")

        type_ = cast(Literal["egress.allowed"], d.pop("type"))
        if type_ != "egress.allowed":
            raise ValueError(f"type must match const 'egress.allowed', got '{type_}'")

        _others = d.pop("others", UNSET)
        others: EgressTraffic | Unset
        if isinstance(_others, Unset):
            others = UNSET
        else:
            others = EgressTraffic.from_dict(_others)

        _rows = d.pop("rows", UNSET)
        rows: list[EgressReach] | Unset = UNSET
        if _rows is not UNSET:
            rows = []
            for rows_item_data in _rows:
                rows_item = EgressReach.from_dict(rows_item_data)

                rows.append(rows_item)

        event_egress_allowed = cls(
            fence=fence,
            step_id=step_id,
            type_=type_,
            others=others,
            rows=rows,
        )

        event_egress_allowed.additional_properties = d
        return event_egress_allowed

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
