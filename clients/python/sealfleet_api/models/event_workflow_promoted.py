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

T = TypeVar("T", bound="EventWorkflowPromoted")


@_attrs_define
class EventWorkflowPromoted:
    """A version of a workflow took the place of the one that ran.

    Attributes:
        type_ (Literal['workflow.promoted']):
        version (int):
        workflow (str): The name of a workflow: the kind of work that a run does.
        replaced (int | Unset):
    """

    type_: Literal["workflow.promoted"]
    version: int
    workflow: str
    replaced: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        type_ = self.type_

        version = self.version

        workflow = self.workflow

        replaced = self.replaced

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "type": type_,
                "version": version,
                "workflow": workflow,
            }
        )
        if replaced is not UNSET:
            field_dict["replaced"] = replaced

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        type_ = cast(Literal["workflow.promoted"], d.pop("type"))
        if type_ != "workflow.promoted":
            raise ValueError(
                f"type must match const 'workflow.promoted', got '{type_}'"
            )

        version = d.pop("version")

        workflow = d.pop("workflow")

        replaced = d.pop("replaced", UNSET)

        event_workflow_promoted = cls(
            type_=type_,
            version=version,
            workflow=workflow,
            replaced=replaced,
        )

        event_workflow_promoted.additional_properties = d
        return event_workflow_promoted

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
