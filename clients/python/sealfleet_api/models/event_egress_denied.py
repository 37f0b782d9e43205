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
    from ..models.egress_denial import EgressDenial


T = TypeVar("T", bound="EventEgressDenied")


@_attrs_define
class EventEgressDenied:
    """A step was kept from hosts.

    Attributes:
        fence (int): The number of a claim. Only the newest claim of a step counts.
        step_id (str): The id of a step, unique in its run.
        type_ (Literal['egress.denied']):
        others (int | Unset): How often it refused hosts that have no row.
        rows (list[EgressDenial] | Unset): By host, port, reason and key, each once.
    """

    fence: int
    step_id: str
    type_: Literal["egress.denied"]
    others: int | Unset = UNSET
    rows: list[EgressDenial] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fence = self.fence

        step_id = self.step_id

        type_ = self.type_

        others = self.others

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
        from ..models.egress_denial import EgressDenial

        d = dict(src_dict)
        fence = d.pop("fence")

        step_id = d.pop("step_id")

        type_ = cast(Literal["egress.denied"], d.pop("type"))
        if type_ != "egress.denied":
            raise ValueError(f"type must match const 'egress.denied', got '{type_}'")

        others = d.pop("others", UNSET)

        _rows = d.pop("rows", UNSET)
        rows: list[EgressDenial] | Unset = UNSET
        if _rows is not UNSET:
            rows = []
            for rows_item_data in _rows:
                rows_item = EgressDenial.from_dict(rows_item_data)

                rows.append(rows_item)

        event_egress_denied = cls(
            fence=fence,
            step_id=step_id,
            type_=type_,
            others=others,
            rows=rows,
        )

        event_egress_denied.additional_properties = d
        return event_egress_denied

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
