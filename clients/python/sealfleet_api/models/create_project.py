from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.create_project_pools import CreateProjectPools


T = TypeVar("T", bound="CreateProject")


@_attrs_define
class CreateProject:
    """A project to create.

    Attributes:
        pools (CreateProjectPools): Its pools by name.
        project (str): The name of a project, which is a tenant. Never `system`.
    """

    pools: CreateProjectPools
    project: str

    def to_dict(self) -> dict[str, Any]:
        pools = self.pools.to_dict()

        project = self.project

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "pools": pools,
                "project": project,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.create_project_pools import CreateProjectPools

        d = dict(src_dict)
        pools = CreateProjectPools.from_dict(d.pop("pools"))

        project = d.pop("project")

        create_project = cls(
            pools=pools,
            project=project,
        )

        return create_project
