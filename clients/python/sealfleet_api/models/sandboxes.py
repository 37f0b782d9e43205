from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.delivery_kind import DeliveryKind
from ..models.sandboxes_backends_item import SandboxesBackendsItem
from ..types import UNSET, Unset

T = TypeVar("T", bound="Sandboxes")


@_attrs_define
class Sandboxes:
    """What a worker tells of its sandboxes.

    Attributes:
        backends (list[SandboxesBackendsItem] | Unset): The sandbox backends that it has.
        delivery (DeliveryKind | None | Unset): The strictest way in which it delivers secrets; it has those before it,
            too. Absent: in the environment alone.
        egress (bool | Unset): Whether it holds sandboxes to an egress policy, by a proxy beside each.
        images (list[str] | Unset): The variants of sandbox images that it has.
    """

    backends: list[SandboxesBackendsItem] | Unset = UNSET
    delivery: DeliveryKind | None | Unset = UNSET
    egress: bool | Unset = UNSET
    images: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        backends: list[str] | Unset = UNSET
        if not isinstance(self.backends, Unset):
            backends = []
            for backends_item_data in self.backends:
                backends_item = backends_item_data.value
                backends.append(backends_item)

        delivery: None | str | Unset
        if isinstance(self.delivery, Unset):
            delivery = UNSET
        elif isinstance(self.delivery, DeliveryKind):
            delivery = self.delivery.value
        else:
            delivery = self.delivery

        egress = self.egress

        images: list[str] | Unset = UNSET
        if not isinstance(self.images, Unset):
            images = self.images

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if backends is not UNSET:
            field_dict["backends"] = backends
        if delivery is not UNSET:
            field_dict["delivery"] = delivery
        if egress is not UNSET:
            field_dict["egress"] = egress
        if images is not UNSET:
            field_dict["images"] = images

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        _backends = d.pop("backends", UNSET)
        backends: list[SandboxesBackendsItem] | Unset = UNSET
        if _backends is not UNSET:
            backends = []
            for backends_item_data in _backends:
                backends_item = SandboxesBackendsItem(backends_item_data)

                backends.append(backends_item)

        def _parse_delivery(data: object) -> DeliveryKind | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                delivery_type_0 = DeliveryKind(data)

                return delivery_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DeliveryKind | None | Unset, data)

        delivery = _parse_delivery(d.pop("delivery", UNSET))

        egress = d.pop("egress", UNSET)

        images = cast(list[str], d.pop("images", UNSET))

        sandboxes = cls(
            backends=backends,
            delivery=delivery,
            egress=egress,
            images=images,
        )

        return sandboxes
