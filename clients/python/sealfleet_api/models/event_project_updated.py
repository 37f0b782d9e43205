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

if TYPE_CHECKING:
    from ..models.event_project_updated_pools import EventProjectUpdatedPools
    from ..models.event_project_updated_replaced import EventProjectUpdatedReplaced


T = TypeVar("T", bound="EventProjectUpdated")


@_attrs_define
class EventProjectUpdated:
    """An operator changed a project's pools: `pools` took the place of `replaced`.

    Attributes:
        pools (EventProjectUpdatedPools):
        project (str): The name of a project, which is a tenant. Never `system`.
        replaced (EventProjectUpdatedReplaced):
        type_ (Literal['project.updated']):
        version (int):
    """

    pools: EventProjectUpdatedPools
    project: str
    replaced: EventProjectUpdatedReplaced
    type_: Literal["project.updated"]
    version: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        pools = self.pools.to_dict()

        project = self.project

        replaced = self.replaced.to_dict()

        type_ = self.type_

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "pools": pools,
                "project": project,
                "replaced": replaced,
                "type": type_,
                "version": version,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.event_project_updated_pools import EventProjectUpdatedPools
        from ..models.event_project_updated_replaced import EventProjectUpdatedReplaced

        d = dict(src_dict)
        pools = EventProjectUpdatedPools.from_dict(d.pop("pools"))

        project = d.pop("project")

        replaced = EventProjectUpdatedReplaced.from_dict(d.pop("replaced"))

        type_ = cast(Literal["project.updated"], d.pop("type"))
        if type_ != "project.updated":
            raise ValueError(f"type must match const 'project.updated', got '{type_}'")

        version = d.pop("version")

        event_project_updated = cls(
            pools=pools,
            project=project,
            replaced=replaced,
            type_=type_,
            version=version,
        )

        event_project_updated.additional_properties = d
        return event_project_updated

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
