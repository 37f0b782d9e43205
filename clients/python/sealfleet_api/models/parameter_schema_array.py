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

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.parameter_schema_array_items import ParameterSchemaArrayItems


T = TypeVar("T", bound="ParameterSchemaArray")


@_attrs_define
class ParameterSchemaArray:
    """
    Attributes:
        items (ParameterSchemaArrayItems): A `ParameterSchema` of each item.
        type_ (Literal['array']):
        max_items (int | None | Unset):
        min_items (int | None | Unset):
    """

    items: ParameterSchemaArrayItems
    type_: Literal["array"]
    max_items: int | None | Unset = UNSET
    min_items: int | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        items = self.items.to_dict()

        type_ = self.type_

        max_items: int | None | Unset
        if isinstance(self.max_items, Unset):
            max_items = UNSET
        else:
            max_items = self.max_items

        min_items: int | None | Unset
        if isinstance(self.min_items, Unset):
            min_items = UNSET
        else:
            min_items = self.min_items

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "items": items,
                "type": type_,
            }
        )
        if max_items is not UNSET:
            field_dict["maxItems"] = max_items
        if min_items is not UNSET:
            field_dict["minItems"] = min_items

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.parameter_schema_array_items import ParameterSchemaArrayItems

        d = dict(src_dict)
        items = ParameterSchemaArrayItems.from_dict(d.pop("items"))

        type_ = cast(Literal["array"], d.pop("type"))
        if type_ != "array":
            raise ValueError(f"type must match const 'array', got '{type_}'")

        def _parse_max_items(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        max_items = _parse_max_items(d.pop("maxItems", UNSET))

        def _parse_min_items(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        min_items = _parse_min_items(d.pop("minItems", UNSET))

        parameter_schema_array = cls(
            items=items,
            type_=type_,
            max_items=max_items,
            min_items=min_items,
        )

        return parameter_schema_array
