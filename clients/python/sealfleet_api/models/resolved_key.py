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

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.delivery_egress import DeliveryEgress
    from ..models.origin import Origin


T = TypeVar("T", bound="ResolvedKey")


@_attrs_define
class ResolvedKey:
    """A key of the outcome.

    Attributes:
        key (str): The environment variable's name.
        origin (Origin): Where a key comes from.
        seen (bool): Whether the tool in question sees it. Every tool sees plain variables.
        delivery (DeliveryEgress | Literal['env'] | Literal['file'] | Unset): How the value of one secret is delivered.
        revoked_by (str | Unset): A revocation's id.
        secret (str | Unset): The address of a secret, never its value. `@VERSION` pins it to a version. `?redact=false`
            leaves the value in the step's output.
        value (str | Unset): The value of a plain variable.
    """

    key: str
    origin: Origin
    seen: bool
    delivery: Literal["env", "file"] | DeliveryEgress | Unset = UNSET
    revoked_by: str | Unset = UNSET
    secret: str | Unset = UNSET
    value: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.delivery_egress import DeliveryEgress

        key = self.key

        origin = self.origin.to_dict()

        seen = self.seen

        delivery: Literal["env", "file"] | dict[str, Any] | Unset
        if isinstance(self.delivery, Unset):
            delivery = UNSET
        elif isinstance(self.delivery, DeliveryEgress):
            delivery = self.delivery.to_dict()
        else:
            delivery = self.delivery

        revoked_by = self.revoked_by

        secret = self.secret

        value = self.value

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "key": key,
                "origin": origin,
                "seen": seen,
            }
        )
        if delivery is not UNSET:
            field_dict["delivery"] = delivery
        if revoked_by is not UNSET:
            field_dict["revoked_by"] = revoked_by
        if secret is not UNSET:
            field_dict["secret"] = secret
        if value is not UNSET:
            field_dict["value"] = value

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.delivery_egress import DeliveryEgress
        from ..models.origin import Origin

        d = dict(src_dict)
        key = d.pop("key")

        origin = Origin.from_dict(d.pop("origin"))

        seen = d.pop("seen")

        def _parse_delivery(
            data: object,
        ) -> Literal["env", "file"] | DeliveryEgress | Unset:
            if isinstance(data, Unset):
                return data
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

        delivery = _parse_delivery(d.pop("delivery", UNSET))

        revoked_by = d.pop("revoked_by", UNSET)

        secret = d.pop("secret", UNSET)

        value = d.pop("value", UNSET)

        resolved_key = cls(
            key=key,
            origin=origin,
            seen=seen,
            delivery=delivery,
            revoked_by=revoked_by,
            secret=secret,
            value=value,
        )

        resolved_key.additional_properties = d
        return resolved_key

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
