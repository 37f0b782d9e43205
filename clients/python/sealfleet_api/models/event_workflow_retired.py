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

from ..types import UNSET, Unset

T = TypeVar("T", bound="EventWorkflowRetired")


@_attrs_define
class EventWorkflowRetired:
    """A workflow was taken out of use.

    Attributes:
        type_ (Literal['workflow.retired']):
        workflow (str): The name of a workflow: the kind of work that a run does.
        version (int | Unset):
    """

    type_: Literal["workflow.retired"]
    workflow: str
    version: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        workflow = self.workflow

        version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "type": type_,
                "workflow": workflow,
            }
        )
        if version is not UNSET:
            field_dict["version"] = version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        type_ = cast(Literal["workflow.retired"], d.pop("type"))
        if type_ != "workflow.retired":
            raise ValueError(f"type must match const 'workflow.retired', got '{type_}'")

        workflow = d.pop("workflow")

        version = d.pop("version", UNSET)

        event_workflow_retired = cls(
            type_=type_,
            workflow=workflow,
            version=version,
        )

        event_workflow_retired.additional_properties = d
        return event_workflow_retired

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
