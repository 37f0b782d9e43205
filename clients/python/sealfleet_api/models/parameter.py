from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.parameter_schema_array import ParameterSchemaArray
    from ..models.parameter_schema_boolean import ParameterSchemaBoolean
    from ..models.parameter_schema_integer import ParameterSchemaInteger
    from ..models.parameter_schema_number import ParameterSchemaNumber
    from ..models.parameter_schema_object import ParameterSchemaObject
    from ..models.parameter_schema_string import ParameterSchemaString
    from ..models.place import Place


T = TypeVar("T", bound="Parameter")


@_attrs_define
class Parameter:
    """A parameter of a workflow.

    Attributes:
        schema (ParameterSchemaArray | ParameterSchemaBoolean | ParameterSchemaInteger | ParameterSchemaNumber |
            ParameterSchemaObject | ParameterSchemaString): What values of a parameter are: the part of JSON Schema
            (2020-12) that is listed here, each word with its meaning there. A schema with any other word is refused. An
            object has no other members than those in `properties`.
        to (list[Place]): Where it goes.
        default (Any | Unset): Its value where none is given. Absent: it must be given.
    """

    schema: (
        ParameterSchemaArray
        | ParameterSchemaBoolean
        | ParameterSchemaInteger
        | ParameterSchemaNumber
        | ParameterSchemaObject
        | ParameterSchemaString
    )
    to: list[Place]
    default: Any | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.parameter_schema_array import ParameterSchemaArray
        from ..models.parameter_schema_boolean import ParameterSchemaBoolean
        from ..models.parameter_schema_integer import ParameterSchemaInteger
        from ..models.parameter_schema_number import ParameterSchemaNumber
        from ..models.parameter_schema_string import ParameterSchemaString

        schema: dict[str, Any]
        if (
            isinstance(self.schema, ParameterSchemaString)
            or isinstance(self.schema, ParameterSchemaInteger)
            or isinstance(self.schema, ParameterSchemaNumber)
            or isinstance(self.schema, ParameterSchemaBoolean)
            or isinstance(self.schema, ParameterSchemaArray)
        ):
            schema = self.schema.to_dict()
        else:
            schema = self.schema.to_dict()

        to = []
        for to_item_data in self.to:
            to_item = to_item_data.to_dict()
            to.append(to_item)

        default = self.default

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "schema": schema,
                "to": to,
            }
        )
        if default is not UNSET:
            field_dict["default"] = default

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.parameter_schema_array import ParameterSchemaArray
        from ..models.parameter_schema_boolean import ParameterSchemaBoolean
        from ..models.parameter_schema_integer import ParameterSchemaInteger
        from ..models.parameter_schema_number import ParameterSchemaNumber
        from ..models.parameter_schema_object import ParameterSchemaObject
        from ..models.parameter_schema_string import ParameterSchemaString
        from ..models.place import Place

        d = dict(src_dict)

        def _parse_schema(
            data: object,
        ) -> (
            ParameterSchemaArray
            | ParameterSchemaBoolean
            | ParameterSchemaInteger
            | ParameterSchemaNumber
            | ParameterSchemaObject
            | ParameterSchemaString
        ):
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_parameter_schema_type_0 = (
                    ParameterSchemaString.from_dict(data)
                )

                return componentsschemas_parameter_schema_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_parameter_schema_type_1 = (
                    ParameterSchemaInteger.from_dict(data)
                )

                return componentsschemas_parameter_schema_type_1
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_parameter_schema_type_2 = (
                    ParameterSchemaNumber.from_dict(data)
                )

                return componentsschemas_parameter_schema_type_2
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_parameter_schema_type_3 = (
                    ParameterSchemaBoolean.from_dict(data)
                )

                return componentsschemas_parameter_schema_type_3
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_parameter_schema_type_4 = (
                    ParameterSchemaArray.from_dict(data)
                )

                return componentsschemas_parameter_schema_type_4
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_parameter_schema_type_5 = ParameterSchemaObject.from_dict(
                data
            )

            return componentsschemas_parameter_schema_type_5

        schema = _parse_schema(d.pop("schema"))

        to = []
        _to = d.pop("to")
        for to_item_data in _to:
            to_item = Place.from_dict(to_item_data)

            to.append(to_item)

        default = d.pop("default", UNSET)

        parameter = cls(
            schema=schema,
            to=to,
            default=default,
        )

        return parameter
