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

if TYPE_CHECKING:
    from ..models.delivery_egress import DeliveryEgress


T = TypeVar("T", bound="Deliveries")


@_attrs_define
class Deliveries:
    """How secrets are delivered, by environment variable."""

    additional_properties: dict[str, Literal["env", "file"] | DeliveryEgress] = (
        _attrs_field(init=False, factory=dict)
    )

    def to_dict(self) -> dict[str, Any]:
        from ..models.delivery_egress import DeliveryEgress

        field_dict: dict[str, Any] = {}
        for prop_name, prop in self.additional_properties.items():
            if isinstance(prop, DeliveryEgress):
                field_dict[prop_name] = prop.to_dict()
            else:
                field_dict[prop_name] = prop

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.delivery_egress import DeliveryEgress

        d = dict(src_dict)
        deliveries = cls()

        additional_properties = {}
        for prop_name, prop_dict in d.items():

            def _parse_additional_property(
                data: object,
            ) -> Literal["env", "file"] | DeliveryEgress:
                componentsschemas_delivery_type_0 = cast(Literal["env"], data)
                if componentsschemas_delivery_type_0 != "env":
                    raise ValueError(
                        f"/components/schemas/Delivery_type_0 must match const 'env', got '{componentsschemas_delivery_type_0}'"
                    )
                return componentsschemas_delivery_type_0
                componentsschemas_delivery_type_1 = cast(Literal["file"], data)
                if componentsschemas_delivery_type_1 != "file":
                    raise ValueError(
                        f"/components/schemas/Delivery_type_1 must match const 'file', got '{componentsschemas_delivery_type_1}'"
                    )
                return componentsschemas_delivery_type_1
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_delivery_type_2 = DeliveryEgress.from_dict(data)

                return componentsschemas_delivery_type_2

            additional_property = _parse_additional_property(prop_dict)

            additional_properties[prop_name] = additional_property

        deliveries.additional_properties = additional_properties
        return deliveries

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Literal["env", "file"] | DeliveryEgress:
        return self.additional_properties[key]

    def __setitem__(
        self, key: str, value: Literal["env", "file"] | DeliveryEgress
    ) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
