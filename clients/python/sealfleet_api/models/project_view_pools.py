from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.pool_view_fargate import PoolViewFargate
    from ..models.pool_view_pull import PoolViewPull


T = TypeVar("T", bound="ProjectViewPools")


@_attrs_define
class ProjectViewPools:
    """Its pools by name."""

    additional_properties: dict[str, PoolViewFargate | PoolViewPull] = _attrs_field(
        init=False, factory=dict
    )

    def to_dict(self) -> dict[str, Any]:
        from ..models.pool_view_pull import PoolViewPull

        field_dict: dict[str, Any] = {}
        for prop_name, prop in self.additional_properties.items():
            if isinstance(prop, PoolViewPull):
                field_dict[prop_name] = prop.to_dict()
            else:
                field_dict[prop_name] = prop.to_dict()

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.pool_view_fargate import PoolViewFargate
        from ..models.pool_view_pull import PoolViewPull

        d = dict(src_dict)
        project_view_pools = cls()

        additional_properties = {}
        for prop_name, prop_dict in d.items():

            def _parse_additional_property(
                data: object,
            ) -> PoolViewFargate | PoolViewPull:
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    componentsschemas_pool_view_type_0 = PoolViewPull.from_dict(data)

                    return componentsschemas_pool_view_type_0
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                if not isinstance(data, dict):
                    raise TypeError()
                componentsschemas_pool_view_type_1 = PoolViewFargate.from_dict(data)

                return componentsschemas_pool_view_type_1

            additional_property = _parse_additional_property(prop_dict)

            additional_properties[prop_name] = additional_property

        project_view_pools.additional_properties = additional_properties
        return project_view_pools

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> PoolViewFargate | PoolViewPull:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: PoolViewFargate | PoolViewPull) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
