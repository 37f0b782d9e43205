from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.update_project_pools import UpdateProjectPools


T = TypeVar("T", bound="UpdateProject")


@_attrs_define
class UpdateProject:
    """The pools of a project from now on. Each pool that it has is named again and keeps its kind.

    Attributes:
        pools (UpdateProjectPools): Its pools by name. The queue of a new pool must already be deployed.
    """

    pools: UpdateProjectPools

    def to_dict(self) -> dict[str, Any]:
        pools = self.pools.to_dict()

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "pools": pools,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.update_project_pools import UpdateProjectPools

        d = dict(src_dict)
        pools = UpdateProjectPools.from_dict(d.pop("pools"))

        update_project = cls(
            pools=pools,
        )

        return update_project
