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
    from ..models.parameter_schema_object_properties import (
        ParameterSchemaObjectProperties,
    )


T = TypeVar("T", bound="ParameterSchemaObject")


@_attrs_define
class ParameterSchemaObject:
    """
    Attributes:
        properties (ParameterSchemaObjectProperties): A `ParameterSchema` of each member that may be there.
        type_ (Literal['object']):
        required (list[str] | Unset):
    """

    properties: ParameterSchemaObjectProperties
    type_: Literal["object"]
    required: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        properties = self.properties.to_dict()

        type_ = self.type_

        required: list[str] | Unset = UNSET
        if not isinstance(self.required, Unset):
            required = self.required

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "properties": properties,
                "type": type_,
            }
        )
        if required is not UNSET:
            field_dict["required"] = required

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.parameter_schema_object_properties import (
            ParameterSchemaObjectProperties,
        )

        d = dict(src_dict)
        properties = ParameterSchemaObjectProperties.from_dict(d.pop("properties"))

        type_ = cast(Literal["object"], d.pop("type"))
        if type_ != "object":
            raise ValueError(f"type must match const 'object', got '{type_}'")

        required = cast(list[str], d.pop("required", UNSET))

        parameter_schema_object = cls(
            properties=properties,
            type_=type_,
            required=required,
        )

        return parameter_schema_object
