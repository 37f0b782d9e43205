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

T = TypeVar("T", bound="EventRunDenied")


@_attrs_define
class EventRunDenied:
    """A rule of the profiles or a revocation refused an enqueue or a retry.

    Attributes:
        profiles (list[str]):
        reason (str): A line of free text without control characters, cut to `limits::REASON_BYTES` bytes.
        type_ (Literal['run.denied']):
        workflow (str): The name of a workflow: the kind of work that a run does.
    """

    profiles: list[str]
    reason: str
    type_: Literal["run.denied"]
    workflow: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        profiles = self.profiles

        reason = self.reason

        type_ = self.type_

        workflow = self.workflow

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "profiles": profiles,
                "reason": reason,
                "type": type_,
                "workflow": workflow,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        profiles = cast(list[str], d.pop("profiles"))

        reason = d.pop("reason")

        type_ = cast(Literal["run.denied"], d.pop("type"))
        if type_ != "run.denied":
            raise ValueError(f"type must match const 'run.denied', got '{type_}'")

        workflow = d.pop("workflow")

        event_run_denied = cls(
            profiles=profiles,
            reason=reason,
            type_=type_,
            workflow=workflow,
        )

        event_run_denied.additional_properties = d
        return event_run_denied

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
