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


T = TypeVar("T", bound="SecretRef")


@_attrs_define
class SecretRef:
    """One secret of an identity, by name and version.

    Attributes:
        from_ (str): The name of a profile of the project, or `system/NAME` for one of the system scope.
        name (str): The environment variable that a sandbox sees.
        uri (str): The address of a secret, never its value.
        arn (str | Unset): The backend's own full name of the secret, where a host needs it to inject the value.
        delivery (DeliveryEgress | Literal['env'] | Literal['file'] | Unset): How the value of one secret is delivered.
        redact (bool | Unset): Whether its value is taken out of the step's output.
        version (str | Unset): The version that it is pinned to. Absent only for a secret that no step can see: the
            control plane does not look it up.
    """

    from_: str
    name: str
    uri: str
    arn: str | Unset = UNSET
    delivery: Literal["env", "file"] | DeliveryEgress | Unset = UNSET
    redact: bool | Unset = UNSET
    version: str | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.delivery_egress import DeliveryEgress

        from_ = self.from_

        name = self.name

        uri = self.uri

        arn = self.arn

        delivery: Literal["env", "file"] | dict[str, Any] | Unset
        if isinstance(self.delivery, Unset):
            delivery = UNSET
        elif isinstance(self.delivery, DeliveryEgress):
            delivery = self.delivery.to_dict()
        else:
            delivery = self.delivery

        redact = self.redact

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "from": from_,
                "name": name,
                "uri": uri,
            }
        )
        if arn is not UNSET:
            field_dict["arn"] = arn
        if delivery is not UNSET:
            field_dict["delivery"] = delivery
        if redact is not UNSET:
            field_dict["redact"] = redact
        if version is not UNSET:
            field_dict["version"] = version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.delivery_egress import DeliveryEgress

        d = dict(src_dict)
        from_ = d.pop("from")

        name = d.pop("name")

        uri = d.pop("uri")

        arn = d.pop("arn", UNSET)

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

        redact = d.pop("redact", UNSET)

        version = d.pop("version", UNSET)

        secret_ref = cls(
            from_=from_,
            name=name,
            uri=uri,
            arn=arn,
            delivery=delivery,
            redact=redact,
            version=version,
        )

        secret_ref.additional_properties = d
        return secret_ref

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
