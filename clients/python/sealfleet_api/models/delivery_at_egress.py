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
    from ..models.delivery_how_sigv_4 import DeliveryHowSigv4
    from ..models.egress_binding import EgressBinding


T = TypeVar("T", bound="DeliveryAtEgress")


@_attrs_define
class DeliveryAtEgress:
    """What a secret that is delivered at egress is bound to.

    Attributes:
        to (list[EgressBinding]): Where requests get the value.
        how (DeliveryHowSigv4 | Literal['header'] | Unset): How a request carries a value.
        prefix (str | Unset): What its placeholder begins with, for programs that look at the form of a key.
    """

    to: list[EgressBinding]
    how: DeliveryHowSigv4 | Literal["header"] | Unset = UNSET
    prefix: str | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.delivery_how_sigv_4 import DeliveryHowSigv4

        to = []
        for to_item_data in self.to:
            to_item = to_item_data.to_dict()
            to.append(to_item)

        how: dict[str, Any] | Literal["header"] | Unset
        if isinstance(self.how, Unset):
            how = UNSET
        elif isinstance(self.how, DeliveryHowSigv4):
            how = self.how.to_dict()
        else:
            how = self.how

        prefix = self.prefix

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "to": to,
            }
        )
        if how is not UNSET:
            field_dict["how"] = how
        if prefix is not UNSET:
            field_dict["prefix"] = prefix

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.delivery_how_sigv_4 import DeliveryHowSigv4
        from ..models.egress_binding import EgressBinding

        d = dict(src_dict)
        to = []
        _to = d.pop("to")
        for to_item_data in _to:
            to_item = EgressBinding.from_dict(to_item_data)

            to.append(to_item)

        def _parse_how(data: object) -> DeliveryHowSigv4 | Literal["header"] | Unset:
            if isinstance(data, Unset):
                return data
            componentsschemas_delivery_how_type_0 = cast(Literal["header"], data)
            if componentsschemas_delivery_how_type_0 != "header":
                raise ValueError(
                    f"/components/schemas/DeliveryHow_type_0 must match const 'header', got '{componentsschemas_delivery_how_type_0}'"
                )
            return componentsschemas_delivery_how_type_0
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_delivery_how_type_1 = DeliveryHowSigv4.from_dict(data)

            return componentsschemas_delivery_how_type_1

        how = _parse_how(d.pop("how", UNSET))

        prefix = d.pop("prefix", UNSET)

        delivery_at_egress = cls(
            to=to,
            how=how,
            prefix=prefix,
        )

        return delivery_at_egress
