from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="WorkflowView")


@_attrs_define
class WorkflowView:
    """A registered workflow.

    Attributes:
        name (str): The name of a workflow: the kind of work that a run does.
        newest (int): The newest version.
        live (int | Unset): The version that runs. Absent: none does.
        pending (int | Unset): The version that waits for approval.
    """

    name: str
    newest: int
    live: int | Unset = UNSET
    pending: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        newest = self.newest

        live = self.live

        pending = self.pending

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "name": name,
                "newest": newest,
            }
        )
        if live is not UNSET:
            field_dict["live"] = live
        if pending is not UNSET:
            field_dict["pending"] = pending

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        name = d.pop("name")

        newest = d.pop("newest")

        live = d.pop("live", UNSET)

        pending = d.pop("pending", UNSET)

        workflow_view = cls(
            name=name,
            newest=newest,
            live=live,
            pending=pending,
        )

        workflow_view.additional_properties = d
        return workflow_view

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
