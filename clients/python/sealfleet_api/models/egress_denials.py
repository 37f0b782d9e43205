from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.egress_denial import EgressDenial


T = TypeVar("T", bound="EgressDenials")


@_attrs_define
class EgressDenials:
    """What a proxy has refused in a while: `limits::EGRESS_ROWS` rows at most.

    Attributes:
        others (int | Unset): How often it refused hosts that have no row.
        rows (list[EgressDenial] | Unset): By host, port, reason and key, each once.
    """

    others: int | Unset = UNSET
    rows: list[EgressDenial] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        others = self.others

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
        from ..models.egress_denial import EgressDenial

        d = dict(src_dict)
        others = d.pop("others", UNSET)

        _rows = d.pop("rows", UNSET)
        rows: list[EgressDenial] | Unset = UNSET
        if _rows is not UNSET:
            rows = []
            for rows_item_data in _rows:
                rows_item = EgressDenial.from_dict(rows_item_data)

                rows.append(rows_item)

        egress_denials = cls(
            others=others,
            rows=rows,
        )

        return egress_denials
