from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.create_pool_fargate import CreatePoolFargate
    from ..models.create_pool_pull import CreatePoolPull


T = TypeVar("T", bound="UpdateProjectPools")


@_attrs_define
class UpdateProjectPools:
    """Its pools by name. The queue of a new pool must already be deployed."""

    additional_properties: dict[str, CreatePoolFargate | CreatePoolPull] = _attrs_field(
        init=False, factory=dict
    )

    def to_dict(self) -> dict[str, Any]:
        from ..models.create_pool_pull import CreatePoolPull

        field_dict: dict[str, Any] = {}
        for prop_name, prop in self.additional_properties.items():
            if isinstance(prop, CreatePoolPull):
                field_dict[prop_name] = prop.to_dict()
            else:
                field_dict[prop_name] = prop.to_dict()

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.create_pool_fargate import CreatePoolFargate
        from ..models.create_pool_pull import CreatePoolPull

        d = dict(src_dict)
        update_project_pools = cls()

        additional_properties = {}
        for prop_name, prop_dict in d.items():

            def _parse_additional_property(
                data: object,
            ) -> CreatePoolFargate | CreatePoolPull:
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_create_pool_type_0 = CreatePoolPull.from_dict(
                        data
                    )

                    return componentsschemas_create_pool_type_0
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_create_pool_type_1 = CreatePoolFargate.from_dict(data)

                return componentsschemas_create_pool_type_1

            additional_property = _parse_additional_property(prop_dict)

            additional_properties[prop_name] = additional_property

        update_project_pools.additional_properties = additional_properties
        return update_project_pools

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> CreatePoolFargate | CreatePoolPull:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: CreatePoolFargate | CreatePoolPull) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
