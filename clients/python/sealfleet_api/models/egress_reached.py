from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.egress_reach import EgressReach
    from ..models.egress_traffic import EgressTraffic


T = TypeVar("T", bound="EgressReached")


@_attrs_define
class EgressReached:
    """What a step has reached: `limits::EGRESS_ROWS` rows at most.

    Attributes:
        others (EgressTraffic | Unset): Connections, and the bytes that went over them.
        rows (list[EgressReach] | Unset): By host and port, each once.
    """

    others: EgressTraffic | Unset = UNSET
    rows: list[EgressReach] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
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

        field_dict.update({})
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

        egress_reached = cls(
            others=others,
            rows=rows,
        )

        return egress_reached
