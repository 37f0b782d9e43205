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

T = TypeVar("T", bound="EventWorkflowRegistered")


@_attrs_define
class EventWorkflowRegistered:
    """A version of a workflow was registered. It waits for approval.

    Attributes:
        hash_ (str): SHA-256 of content, in lower-case hexadecimal digits.
        type_ (Literal['workflow.registered']):
        version (int):
        workflow (str): The name of a workflow: the kind of work that a run does.
    """

    hash_: str
    type_: Literal["workflow.registered"]
    version: int
    workflow: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        hash_ = self.hash_

        type_ = self.type_

        version = self.version

        workflow = self.workflow

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "hash": hash_,
                "type": type_,
                "version": version,
                "workflow": workflow,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        hash_ = d.pop("hash")

        type_ = cast(Literal["workflow.registered"], d.pop("type"))
        if type_ != "workflow.registered":
            raise ValueError(
                f"type must match const 'workflow.registered', got '{type_}'"
            )

        version = d.pop("version")

        workflow = d.pop("workflow")

        event_workflow_registered = cls(
            hash_=hash_,
            type_=type_,
            version=version,
            workflow=workflow,
        )

        event_workflow_registered.additional_properties = d
        return event_workflow_registered

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
