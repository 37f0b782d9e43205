from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.delivery_at_egress import DeliveryAtEgress


T = TypeVar("T", bound="SandboxStepAtEgress")


@_attrs_define
class SandboxStepAtEgress:
    """Secrets that its egress proxy has in its place, by environment variable, and where they go."""

    additional_properties: dict[str, DeliveryAtEgress] = _attrs_field(
        init=False, factory=dict
    )

    def to_dict(self) -> dict[str, Any]:

        field_dict: dict[str, Any] = {}
        for prop_name, prop in self.additional_properties.items():
            field_dict[prop_name] = prop.to_dict()

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.delivery_at_egress import DeliveryAtEgress

        d = dict(src_dict)
        sandbox_step_at_egress = cls()

        additional_properties = {}
        for prop_name, prop_dict in d.items():
            additional_property = DeliveryAtEgress.from_dict(prop_dict)

            additional_properties[prop_name] = additional_property

        sandbox_step_at_egress.additional_properties = additional_properties
        return sandbox_step_at_egress

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> DeliveryAtEgress:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: DeliveryAtEgress) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
