from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.delivery_at_egress import DeliveryAtEgress


T = TypeVar("T", bound="DeliveryEgress")


@_attrs_define
class DeliveryEgress:
    """By the egress proxy, to some hosts alone; the variable holds a placeholder.

    Attributes:
        egress (DeliveryAtEgress): What a secret that is delivered at egress is bound to.
    """

    egress: DeliveryAtEgress

    def to_dict(self) -> dict[str, Any]:
        egress = self.egress.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "egress": egress,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.delivery_at_egress import DeliveryAtEgress

        d = dict(src_dict)
        egress = DeliveryAtEgress.from_dict(d.pop("egress"))

        delivery_egress = cls(
            egress=egress,
        )

        return delivery_egress
