from __future__ import annotations

import datetime
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
    from ..models.egress_policy_allow import EgressPolicyAllow
    from ..models.limits_view import LimitsView
    from ..models.project_view_pools import ProjectViewPools


T = TypeVar("T", bound="ProjectView")


@_attrs_define
class ProjectView:
    """A project.

    Attributes:
        created_at (datetime.datetime): A date and time of RFC 3339.
        limits (LimitsView): The rate limits that hold for a project's callers.
        pools (ProjectViewPools): Its pools by name.
        project (str): The name of a project, which is a tenant. Never `system`.
        version (int): Counts the changes of its pools, from 1.
        egress_ceiling (EgressPolicyAllow | Literal['none'] | Literal['open'] | Unset): Which hosts a step may reach.
    """

    created_at: datetime.datetime
    limits: LimitsView
    pools: ProjectViewPools
    project: str
    version: int
    egress_ceiling: Literal["none", "open"] | EgressPolicyAllow | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.egress_policy_allow import EgressPolicyAllow

        created_at = self.created_at.isoformat()

        limits = self.limits.to_dict()

        pools = self.pools.to_dict()

        project = self.project

        version = self.version

        egress_ceiling: Literal["none", "open"] | dict[str, Any] | Unset
        if isinstance(self.egress_ceiling, Unset):
            egress_ceiling = UNSET
        elif isinstance(self.egress_ceiling, EgressPolicyAllow):
            egress_ceiling = self.egress_ceiling.to_dict()
        else:
            egress_ceiling = self.egress_ceiling

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "created_at": created_at,
                "limits": limits,
                "pools": pools,
                "project": project,
                "version": version,
            }
        )
        if egress_ceiling is not UNSET:
            field_dict["egress_ceiling"] = egress_ceiling

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.egress_policy_allow import EgressPolicyAllow
        from ..models.limits_view import LimitsView
        from ..models.project_view_pools import ProjectViewPools

        d = dict(src_dict)
        created_at = datetime.datetime.fromisoformat(d.pop("created_at"))

        limits = LimitsView.from_dict(d.pop("limits"))

        pools = ProjectViewPools.from_dict(d.pop("pools"))

        project = d.pop("project")

        version = d.pop("version")

        def _parse_egress_ceiling(
            data: object,
        ) -> Literal["none", "open"] | EgressPolicyAllow | Unset:
            if isinstance(data, Unset):
                return data
            componentsschemas_egress_policy_type_0 = cast(Literal["none"], data)
            if componentsschemas_egress_policy_type_0 != "none":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_0 must match const 'none', got '{componentsschemas_egress_policy_type_0}'"
                )
            return componentsschemas_egress_policy_type_0
            componentsschemas_egress_policy_type_1 = cast(Literal["open"], data)
            if componentsschemas_egress_policy_type_1 != "open":
                raise ValueError(
                    f"/components/schemas/EgressPolicy_type_1 must match const 'open', got '{componentsschemas_egress_policy_type_1}'"
                )
            return componentsschemas_egress_policy_type_1
            if not isinstance(data, dict):
                raise TypeError()
            componentsschemas_egress_policy_type_2 = EgressPolicyAllow.from_dict(data)

            return componentsschemas_egress_policy_type_2

        egress_ceiling = _parse_egress_ceiling(d.pop("egress_ceiling", UNSET))

        project_view = cls(
            created_at=created_at,
            limits=limits,
            pools=pools,
            project=project,
            version=version,
            egress_ceiling=egress_ceiling,
        )

        project_view.additional_properties = d
        return project_view

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
