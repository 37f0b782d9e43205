from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="EventProjectCreated")


@_attrs_define
class EventProjectCreated:
    """An operator onboarded a project.

    Attributes:
        pools (list[str]):
        project (str): The name of a project, which is a tenant. Never `system`.
        type_ (Literal['project.created']):
    """

    pools: list[str]
    project: str
    type_: Literal["project.created"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        pools = self.pools

        project = self.project

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "pools": pools,
                "project": project,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        pools = cast(list[str], d.pop("pools"))

        project = d.pop("project")

        type_ = cast(Literal["project.created"], d.pop("type"))
        if type_ != "project.created":
            raise ValueError(f"type must match const 'project.created', got '{type_}'")

        event_project_created = cls(
            pools=pools,
            project=project,
            type_=type_,
        )

        event_project_created.additional_properties = d
        return event_project_created

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
