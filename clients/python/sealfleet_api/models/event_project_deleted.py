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

T = TypeVar("T", bound="EventProjectDeleted")


@_attrs_define
class EventProjectDeleted:
    """An operator deleted a project, whose tokens, keys and workers were revoked before.

    Attributes:
        project (str): The name of a project, which is a tenant. Never `system`.
        type_ (Literal['project.deleted']):
    """

    project: str
    type_: Literal["project.deleted"]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        project = self.project

        type_ = self.type_

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "project": project,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        project = d.pop("project")

        type_ = cast(Literal["project.deleted"], d.pop("type"))
        if type_ != "project.deleted":
            raise ValueError(f"type must match const 'project.deleted', got '{type_}'")

        event_project_deleted = cls(
            project=project,
            type_=type_,
        )

        event_project_deleted.additional_properties = d
        return event_project_deleted

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
