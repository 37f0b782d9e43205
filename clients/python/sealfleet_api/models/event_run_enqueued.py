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

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.profile_use import ProfileUse


T = TypeVar("T", bound="EventRunEnqueued")


@_attrs_define
class EventRunEnqueued:
    """A run was enqueued.

    Attributes:
        steps (list[str]):
        type_ (Literal['run.enqueued']):
        workflow (str): The name of a workflow: the kind of work that a run does.
        profiles (list[ProfileUse] | Unset):
        workflow_version (int | Unset):
    """

    steps: list[str]
    type_: Literal["run.enqueued"]
    workflow: str
    profiles: list[ProfileUse] | Unset = UNSET
    workflow_version: int | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        steps = self.steps

        type_ = self.type_

        workflow = self.workflow

        profiles: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.profiles, Unset):
            profiles = []
            for profiles_item_data in self.profiles:
                profiles_item = profiles_item_data.to_dict()
                profiles.append(profiles_item)

        workflow_version = self.workflow_version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "steps": steps,
                "type": type_,
                "workflow": workflow,
            }
        )
        if profiles is not UNSET:
            field_dict["profiles"] = profiles
        if workflow_version is not UNSET:
            field_dict["workflow_version"] = workflow_version

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.profile_use import ProfileUse

        d = dict(src_dict)
        steps = cast(list[str], d.pop("steps"))

        type_ = cast(Literal["run.enqueued"], d.pop("type"))
        if type_ != "run.enqueued":
            raise ValueError(f"type must match const 'run.enqueued', got '{type_}'")

        workflow = d.pop("workflow")

        _profiles = d.pop("profiles", UNSET)
        profiles: list[ProfileUse] | Unset = UNSET
        if _profiles is not UNSET:
            profiles = []
            for profiles_item_data in _profiles:
                profiles_item = ProfileUse.from_dict(profiles_item_data)

                profiles.append(profiles_item)

        workflow_version = d.pop("workflow_version", UNSET)

        event_run_enqueued = cls(
            steps=steps,
            type_=type_,
            workflow=workflow,
            profiles=profiles,
            workflow_version=workflow_version,
        )

        event_run_enqueued.additional_properties = d
        return event_run_enqueued

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
